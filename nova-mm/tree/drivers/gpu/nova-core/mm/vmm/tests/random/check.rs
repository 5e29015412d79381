// SPDX-License-Identifier: GPL-2.0

//! Properties that are checked after each step.

use super::*;

/// Size in pages above which only samples of unmapped parts of a range are checked.
const MANY: u64 = 8 * LARGE;

/// Number of pages that are checked in place of [`LARGE`] ones.
const SAMPLE: u64 = 6;

impl<F: TestFormat> World<F> {
    /// Checks everything after a step that has touched `touched`.
    pub(super) fn check(&mut self, touched: &Range<u64>) -> Result {
        self.fixture.check()?;
        ensure_eq!(self.fixture.vmm.has_deferred(), self.stale);
        ensure_eq!(self.fixture.hw.is_wedged(), self.stale);

        self.compare_range(touched)?;
        for _ in 0..2 * SAMPLE {
            let page = self.any_page();
            self.look(page)?;
        }

        self.check_held()
    }

    /// Compares all that is mapped, and all that is not mapped where something may be.
    pub(super) fn compare(&mut self) -> Result {
        for index in 0..self.windows.len() {
            self.compare_range(&self.windows[index].clone())?;
        }
        for index in 0..self.oracle.extents().len() {
            let extent = self.oracle.extents()[index];
            self.compare_range(&(extent.start..extent.end))?;
            self.look_around(&extent)?;
        }
        if self.of_bar {
            places::check_firmware(&self.fixture)?;
        }

        Ok(())
    }

    fn look_around(&self, extent: &Extent) -> Result {
        if extent.start > 0 {
            self.look(extent.start - 1)?;
        }
        if extent.end < self.end_page() {
            self.look(extent.end)?;
        }

        Ok(())
    }

    /// Compares all pages of a range.
    ///
    /// Where the GPU finds a page of 2 MiB or more, only some of its pages are compared.
    fn compare_range(&mut self, pages: &Range<u64>) -> Result {
        let many = pages.end - pages.start > MANY;
        let mut page = pages.start;

        while page < pages.end {
            let large = page..page + LARGE;
            let is_whole = page % LARGE == 0 && large.end <= pages.end;
            let size = self.look(page)?;
            if page % size.pages() == 0 {
                self.check_page(page, size)?;
            }

            let is_sampled = size >= PageSize::Size2M || many && self.is_plain(&large);
            if !is_whole || !is_sampled {
                page += 1;
                continue;
            }
            for _ in 0..SAMPLE {
                let page = self.random.within(large.clone());
                self.look(page)?;
            }
            page = large.end;
        }

        Ok(())
    }

    /// Returns whether none of the pages should be mapped, or all should be sparse.
    fn is_plain(&self, pages: &Range<u64>) -> bool {
        match self.oracle.within(pages).next() {
            None => true,
            Some(part) => {
                part.target == Target::Sparse && part.start == pages.start && part.end == pages.end
            }
        }
    }

    /// Checks that a page that the GPU has found can have `size`.
    fn check_page(&self, page: u64, size: PageSize) -> Result {
        let pages = page..page + size.pages();
        if size == PageSize::Size4K {
            return Ok(());
        }
        let first = self.oracle.at(page).ok_or(EINVAL)?;
        let mut behind = page;

        for part in self.oracle.within(&pages) {
            ensure_eq!(part.start, behind);
            let expected = first.after(part.start - page);
            ensure_eq!(part.target, expected);
            behind = part.end;
        }
        ensure_eq!(behind, pages.end);

        Ok(())
    }

    /// Checks that the translation of a page matches the oracle, and returns the size of the page.
    pub(super) fn look(&self, page: u64) -> Result<PageSize> {
        if self.is_firmware(page) {
            return Ok(PageSize::Size4K);
        }
        let found = if self.stale {
            self.look_before_invalidation(page)?;
            walk(&self.fixture, &self.fixture.gpu, page)?
        } else {
            self.fixture.translate(page)?
        };
        let expected = self.oracle.translation(page);
        if small(found) != expected {
            pr_err!("page {:#x}: {:x?}, not {:x?}\n", page, found, expected);
            return Err(EINVAL);
        }

        Ok(found.map_or(PageSize::Size4K, |found| found.page_size))
    }

    /// Checks that a GPU whose TLB is out of date, after a failed invalidation, finds the old or
    /// the new translation of a page.
    ///
    /// If the GPU has cached entries of directories, it may find nothing at a page that the job has
    /// replaced. Other pages stay mapped.
    fn look_before_invalidation(&self, page: u64) -> Result {
        let Fixture { gpu, .. } = &self.fixture;
        let address = Vfn::new(page)?.address();
        let found = small(gpu.translate(self.fixture.pdb(), address, ModelAccess::HUB_READ));
        let may_be_invalid = self.replaced.contains(&page);
        let expected = [self.before.translation(page), self.oracle.translation(page)];

        let is_fault = may_be_invalid && found == Err(Fault::Unmapped);
        if !expected.contains(&found) && !is_fault {
            pr_err!("page {:#x}: {:x?}, none of {:x?}\n", page, found, expected);
            return Err(EINVAL);
        }

        Ok(())
    }

    /// Checks the sizes of the pages with which a job has just mapped `extents` at `pages`: the
    /// largest ones that the addresses on both sides allow.
    ///
    /// Where the job may have split a page of 64 KiB, all those in the same 2 MiB may have become
    /// small.
    pub(super) fn check_sizes(&mut self, pages: &Range<u64>, extents: &[Extent]) -> Result {
        let splits = [pages.start, pages.end - 1]
            .into_iter()
            .zip([pages.start, pages.end])
            .filter(|(_, end)| end % PageSize::Size64K.pages() != 0)
            .map(|(page, _)| page / LARGE);
        for _ in 0..4 * SAMPLE {
            let Some(index) = self.random.pick(extents) else {
                return Ok(());
            };
            let extent = &extents[index];
            if extent.target == Target::Sparse {
                continue;
            }
            let page = self.random.within(extent.start..extent.end);
            let expected = self.page_size(extent, page);
            let found = self.look(page)?;
            let may_be_small =
                expected == PageSize::Size64K && splits.clone().any(|split| split == page / LARGE);
            if !may_be_small || found != PageSize::Size4K {
                ensure_eq!((page, found), (page, expected));
            }
        }

        Ok(())
    }

    /// Returns the size of the page that contains `page`, when a job maps `extent`.
    fn page_size(&self, extent: &Extent, page: u64) -> PageSize {
        let fits = |size: &&PageSize| {
            let start = page - page % size.pages();
            start >= extent.start
                && start + size.pages() <= extent.end
                && extent
                    .target
                    .after(start - extent.start)
                    .vram_frame()
                    .is_some_and(|frame| frame % size.pages() == 0)
        };

        self.sizes
            .iter()
            .find(fits)
            .copied()
            .unwrap_or(PageSize::Size4K)
    }

    /// Returns a page of a window.
    fn any_page(&mut self) -> u64 {
        let window = self.random.pick(&self.windows).unwrap_or(0);

        self.random.within(self.windows[window].clone())
    }

    /// Checks that exactly the memory and the tables that are needed are allocated.
    fn check_held(&mut self) -> Result {
        self.forget_free()?;

        let vram = self
            .blocks
            .iter()
            .filter(|it| it.aperture == Aperture::Vram);
        let held: u64 = vram.map(|block| block.pages).sum();
        ensure_eq!(self.data_size - self.fixture.data.avail(), held * PAGE_SIZE);

        let mut tables = self.fixture.owned()?;
        if self.stale {
            // The TLB may hold pointers to tables from when it was up to date.
            for &table in &self.tables {
                if !tables.contains(&table) {
                    tables.push(table, GFP_KERNEL)?;
                }
            }
        }
        let needed = u64::try_from(tables.len())? * PAGE_SIZE;
        let held = self.fixture.memory.size() - self.fixture.memory.avail();
        ensure!(held >= needed);
        if !self.stale {
            ensure!(!self.pending.is_empty() || held == needed);
            self.tables = tables;
        }

        Ok(())
    }

    /// Removes blocks of memory that nothing needs any longer.
    fn forget_free(&mut self) -> Result {
        let Self {
            oracle,
            pending,
            deferred,
            blocks,
            ..
        } = self;
        let mut is_right = true;

        blocks.retain(|block| {
            let is_needed = block.memory.is_some()
                || oracle
                    .extents()
                    .iter()
                    .any(|extent| extent.target.memory() == Some(block.number))
                || pending.iter().any(|job| job.maps(block.number))
                || deferred.contains(&block.number);
            if let Some(is_freed) = &block.is_freed {
                is_right &= is_freed.is_set() != is_needed;
            }

            is_needed
        });
        ensure!(is_right);

        Ok(())
    }
}

/// Translates a page by the page tables on `gpu`.
pub(super) fn walk<F: TestFormat>(
    fixture: &Fixture<F>,
    gpu: &SoftGpu,
    page: u64,
) -> Result<Result<Translation, Fault>> {
    Ok(gpu.walk(fixture.pdb(), Vfn::new(page)?.address()))
}

/// Returns a translation as if the page had 4 KiB.
pub(super) fn small(found: Result<Translation, Fault>) -> Result<Translation, Fault> {
    found.map(|found| Translation {
        page_size: PageSize::Size4K,
        ..found
    })
}

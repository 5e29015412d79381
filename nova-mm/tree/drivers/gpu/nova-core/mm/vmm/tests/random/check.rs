// SPDX-License-Identifier: GPL-2.0

//! Checks after each step.

use super::*;

/// Size in pages above which unmapped parts of a range are only sampled.
const MAX_FULL: u64 = 8 * LARGE;

/// Number of pages that are checked per [`LARGE`] pages when sampling.
const SAMPLE: u64 = 6;

impl<F: TestFormat> RandomTest<F> {
    /// Checks all properties after a step that may have changed the pages `touched`.
    pub(super) fn check(&mut self, touched: &Range<u64>) -> Result {
        self.fixture.check()?;
        ensure_eq!(self.fixture.vmm.has_deferred(), self.stale);
        ensure_eq!(self.fixture.hw.is_wedged(), self.stale);

        self.compare_range(touched)?;
        for _ in 0..2 * SAMPLE {
            let page = self.random_page();
            self.check_translation(page)?;
        }

        self.check_allocated()
    }

    /// Compares all mappings, and all unmapped pages in the ranges of the test.
    pub(super) fn compare(&mut self) -> Result {
        for index in 0..self.windows.len() {
            self.compare_range(&self.windows[index].clone())?;
        }
        for index in 0..self.oracle.extents().len() {
            let extent = self.oracle.extents()[index];
            self.compare_range(&(extent.start..extent.end))?;
            self.check_adjacent(&extent)?;
        }
        if self.of_bar {
            layout::check_firmware(&self.fixture)?;
        }

        Ok(())
    }

    fn check_adjacent(&self, extent: &Extent) -> Result {
        if extent.start > 0 {
            self.check_translation(extent.start - 1)?;
        }
        if extent.end < self.end_page() {
            self.check_translation(extent.end)?;
        }

        Ok(())
    }

    /// Compares all pages of a range with the oracle.
    ///
    /// Pages of 2 MiB and above are only sampled.
    fn compare_range(&mut self, pages: &Range<u64>) -> Result {
        let many = pages.end - pages.start > MAX_FULL;
        let mut page = pages.start;

        while page < pages.end {
            let large = page..page + LARGE;
            let is_whole = page % LARGE == 0 && large.end <= pages.end;
            let size = self.check_translation(page)?;
            if page % size.pages() == 0 {
                self.check_page(page, size)?;
            }

            let is_sampled = size >= PageSize::Size2M || many && self.is_uniform(&large);
            if !is_whole || !is_sampled {
                page += 1;
                continue;
            }
            for _ in 0..SAMPLE {
                let page = self.random.within(large.clone());
                self.check_translation(page)?;
            }
            page = large.end;
        }

        Ok(())
    }

    /// Returns whether the oracle has no mapping in `pages`, or a sparse range that covers them.
    fn is_uniform(&self, pages: &Range<u64>) -> bool {
        match self.oracle.within(pages).next() {
            None => true,
            Some(part) => {
                part.target == Target::Sparse && part.start == pages.start && part.end == pages.end
            }
        }
    }

    /// Checks that a page that the GPU has found may have `size`.
    fn check_page(&self, page: u64, size: PageSize) -> Result {
        let pages = page..page + size.pages();
        if size == PageSize::Size4K {
            return Ok(());
        }
        let first = self.oracle.at(page).ok_or(EINVAL)?;
        let mut end = page;

        for part in self.oracle.within(&pages) {
            ensure_eq!(part.start, end);
            let expected = first.after(part.start - page);
            ensure_eq!(part.target, expected);
            end = part.end;
        }
        ensure_eq!(end, pages.end);

        Ok(())
    }

    /// Checks that the translation of a page matches the oracle. Returns the size of the page.
    pub(super) fn check_translation(&self, page: u64) -> Result<PageSize> {
        if self.is_firmware(page) {
            return Ok(PageSize::Size4K);
        }
        let found = if self.stale {
            self.check_stale_translation(page)?;
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

    /// Checks that a GPU whose TLB is stale after a failed invalidation finds the old or the new
    /// translation of a page.
    ///
    /// If the GPU has cached directory entries, pages that the job has replaced may appear
    /// unmapped. Other pages stay mapped.
    fn check_stale_translation(&self, page: u64) -> Result {
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

    /// Checks that a job which has just mapped `extents` at `pages` used the largest page sizes
    /// that the addresses allow.
    ///
    /// If the job may have split a 64 KiB page, all such pages in the same 2 MiB may have become
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
            let found = self.check_translation(page)?;
            let may_be_small =
                expected == PageSize::Size64K && splits.clone().any(|split| split == page / LARGE);
            if !may_be_small || found != PageSize::Size4K {
                ensure_eq!((page, found), (page, expected));
            }
        }

        Ok(())
    }

    /// Returns the expected size of the page that contains `page` after a job has mapped `extent`.
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

    /// Returns a random page from the ranges of the test.
    fn random_page(&mut self) -> u64 {
        let window = self.random.pick(&self.windows).unwrap_or(0);

        self.random.within(self.windows[window].clone())
    }

    /// Checks that exactly the needed memory and tables are allocated.
    fn check_allocated(&mut self) -> Result {
        self.drop_free_blocks()?;

        let vram = self
            .blocks
            .iter()
            .filter(|it| it.aperture == Aperture::Vram);
        let held: u64 = vram.map(|block| block.pages).sum();
        ensure_eq!(self.data_size - self.fixture.data.avail(), held * PAGE_SIZE);

        let mut tables = self.fixture.owned()?;
        if self.stale {
            // The TLB may hold pointers to tables from the time when it was last up to date.
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

    /// Removes blocks of memory that are no longer needed.
    fn drop_free_blocks(&mut self) -> Result {
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
    gpu: &GpuModel,
    page: u64,
) -> Result<Result<Translation, Fault>> {
    Ok(gpu.walk(fixture.pdb(), Vfn::new(page)?.address()))
}

/// Returns a translation with the page size replaced by 4 KiB.
pub(super) fn small(found: Result<Translation, Fault>) -> Result<Translation, Fault> {
    found.map(|found| Translation {
        page_size: PageSize::Size4K,
        ..found
    })
}

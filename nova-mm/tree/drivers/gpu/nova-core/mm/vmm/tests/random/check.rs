// SPDX-License-Identifier: GPL-2.0

//! What has to be true after each step.

use super::*;

/// Pages above which those of a free range are not looked at one by one.
const MANY: u64 = 8 * LARGE;

/// How many pages are looked at in place of [`LARGE`] ones.
const SAMPLE: u64 = 6;

impl<F: TestFormat> World<F> {
    /// Checks everything after a step that has touched `touched`.
    pub(super) fn check(&mut self, touched: &Range<u64>) -> Result {
        self.bench.check()?;
        ensure_eq!(self.bench.vmm.is_quarantined(), self.stale);

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
            self.look_next_to(&extent)?;
        }
        if self.of_bar {
            places::check_firmware(&self.bench)?;
        }

        Ok(())
    }

    fn look_next_to(&self, extent: &oracle::Extent) -> Result {
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
    /// A large page that the GPU finds stands for all its pages.
    fn compare_range(&mut self, pages: &Range<u64>) -> Result {
        let many = pages.end - pages.start > MANY;
        let mut page = pages.start;

        while page < pages.end {
            let large = page..page + LARGE;
            let is_whole = page % LARGE == 0 && large.end <= pages.end;
            let is_large = self.look(page)?;

            if is_whole && is_large {
                self.check_large(&large)?;
            } else if !(is_whole && many && self.oracle.within(&large).next().is_none()) {
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

    /// Checks that a range which the GPU finds to be a large page can be one.
    fn check_large(&self, pages: &Range<u64>) -> Result {
        let (frame, read_only) = self.oracle.at(pages.start).ok_or(EINVAL)?;
        let mut behind = pages.start;

        for part in self.oracle.within(pages) {
            ensure_eq!(part.start, behind);
            ensure_eq!(part.frame, frame + (part.start - pages.start));
            ensure_eq!(part.read_only, read_only);
            behind = part.end;
        }
        ensure_eq!(behind, pages.end);

        Ok(())
    }

    /// Checks that the GPU finds at a page what the oracle says; returns whether it is in a large
    /// page.
    pub(super) fn look(&self, page: u64) -> Result<bool> {
        if self.is_firmware(page) {
            return Ok(false);
        }
        let address = Vfn::new(page)?.address();
        let found = match self.stale {
            // What the TLB holds may be of before.
            true => self.bench.gpu.walk(self.bench.vmm.pdb(), address).ok(),
            false => self.bench.look(page)?,
        };

        let translated = found.map(|found| (found.address, found.read_only));
        let expected = self.oracle.at(page);
        if translated != expected.map(|(frame, read_only)| (frame * PAGE_SIZE, read_only)) {
            pr_err!("page {:#x}: {:x?}, not {:x?}\n", page, found, expected);
            return Err(EINVAL);
        }
        // Only BARs are of the hub alone.
        if !self.of_bar && !self.stale {
            self.look_from_engine(page)?;
        }

        Ok(found.is_some_and(|found| found.page_size == PageSize::Size2M))
    }

    /// Checks that an engine that is not behind the hub finds the same.
    fn look_from_engine(&self, page: u64) -> Result {
        let pdb = self.bench.vmm.pdb();
        let address = Vfn::new(page)?.address();
        let frame = |access| {
            let found = self.bench.gpu.translate(pdb, address, access);
            found.map(|found| found.address / PAGE_SIZE)
        };
        let (read, write) = match self.oracle.at(page) {
            Some((frame, true)) => (Ok(frame), Err(Fault::ReadOnly)),
            Some((frame, false)) => (Ok(frame), Ok(frame)),
            None => (Err(Fault::Unmapped), Err(Fault::Unmapped)),
        };
        ensure_eq!(frame(ModelAccess::READ), read);
        ensure_eq!(frame(ModelAccess::WRITE), write);

        Ok(())
    }

    /// Returns a page of a window.
    fn any_page(&mut self) -> u64 {
        let window = self.random.pick(&self.windows).unwrap_or(0);

        self.random.within(self.windows[window].clone())
    }

    /// Checks that what is needed is held, and what is not is free.
    fn check_held(&mut self) -> Result {
        self.forget_free();

        let held: u64 = self.blocks.iter().map(|block| block.pages).sum();
        ensure_eq!(self.data_size - self.bench.data.avail(), held * PAGE_SIZE);

        let mut tables = self.bench.owned()?;
        if self.stale {
            // What there was when the TLB was up to date is kept as well.
            for &table in &self.tables {
                if !tables.contains(&table) {
                    tables.push(table, GFP_KERNEL)?;
                }
            }
        }
        let needed = u64::try_from(tables.len())? * PAGE_SIZE;
        let held = self.bench.memory.size() - self.bench.memory.avail();
        ensure!(held >= needed);
        if !self.stale {
            ensure!(!self.pending.is_empty() || held == needed);
            self.tables = tables;
        }

        Ok(())
    }

    /// Forgets addresses and memory that nothing needs any more.
    pub(super) fn forget_free(&mut self) {
        let Self {
            oracle,
            pending,
            quarantine,
            areas,
            blocks,
            ..
        } = self;
        let extents = oracle.extents();

        areas.retain(|area| {
            area.va.is_some()
                || area.number == Area::FIRMWARE
                || extents.iter().any(|extent| extent.area == area.number)
                || pending.iter().any(|job| job.area == area.number)
                || quarantine.iter().any(|&(_, number)| number == area.number)
        });
        blocks.retain(|block| {
            block.vram.is_some()
                || extents.iter().any(|extent| extent.memory == block.number)
                || pending.iter().any(|job| job.memory() == Some(block.number))
                || quarantine.iter().any(|&(number, _)| number == block.number)
        });
    }
}

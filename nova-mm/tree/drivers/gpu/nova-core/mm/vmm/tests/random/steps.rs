// SPDX-License-Identifier: GPL-2.0

//! The steps.

use super::{
    oracle::Extent,
    places::{
        end_page,
        firmware_pages, //
    },
    *, //
};

/// A step that has changed nothing that is mapped.
const NOTHING: Range<u64> = 0..0;

/// How much may be held at once.
const AREAS: usize = 16;
const BLOCKS: usize = 12;
const JOBS: usize = 4;

/// How many pages are mapped at most if all of them are small.
const MANY_SMALL: u64 = 8 * LARGE;

impl<F: TestFormat> World<F> {
    /// Takes a step, and returns the pages that it may have changed.
    pub(super) fn step(&mut self) -> Result<Range<u64>> {
        if self.hung && self.random.once_in(3) {
            self.bench.gpu.recover();
            self.hung = false;
        }

        match self.random.below(100) {
            0..8 => self.reserve(),
            8..14 => self.allocate(),
            14..19 => self.drop_block(),
            19..22 => self.drop_area(),
            22..27 if self.pending.len() < JOBS => self.submit().map(|_| NOTHING),
            27..29 => self.cancel(),
            29..36 => match self.random.pick(&self.pending) {
                Some(index) => self.run(index),
                None => Ok(NOTHING),
            },
            _ => match self.submit()? {
                true => self.run(self.pending.len() - 1),
                false => Ok(NOTHING),
            },
        }
    }

    /// Reserves addresses, which are refused exactly if they are in use.
    fn reserve(&mut self) -> Result<Range<u64>> {
        if self.areas.iter().filter(|area| area.va.is_some()).count() >= AREAS {
            return self.drop_area();
        }
        if self.random.once_in(4) {
            return self.reserve_any();
        }

        let window = self.random.pick(&self.windows).ok_or(EINVAL)?;
        let window = self.windows[window].clone();
        let pages = match self.random.once_in(2) {
            true => window,
            false => self.range_in(&window),
        };
        let in_use = self.is_reserved(&pages);
        match self.bench.reserve_at(pages) {
            Ok(va) => {
                ensure!(!in_use);
                self.add_area(va)?;
            }
            Err(error) => {
                ensure_eq!(error, EBUSY);
                ensure!(in_use);
            }
        }

        Ok(NOTHING)
    }

    fn reserve_any(&mut self) -> Result<Range<u64>> {
        let pages = 1 + self.random.below(3 * LARGE);
        let align = match self.random.below(3) {
            0 => PageSize::Size4K,
            1 => PageSize::Size64K,
            _ => PageSize::Size2M,
        };
        let lowest = self.lowest_free(pages, align.pages());

        match self.bench.vmm.reserve(VaRequest::Any { pages, align }) {
            Ok(va) => {
                let found = va.pages();
                ensure_eq!(Some(found.start.into_raw()), lowest);
                ensure_eq!(found.end.into_raw(), found.start.into_raw() + pages);
                self.add_area(va)?;
            }
            Err(error) => {
                ensure_eq!(error, ENOSPC);
                ensure_eq!(lowest, None);
            }
        }

        Ok(NOTHING)
    }

    /// Returns the first page of the lowest free range: the start of a free range is the end of one
    /// in use.
    fn lowest_free(&self, pages: u64, align: u64) -> Option<u64> {
        let ends = self.areas.iter().map(|area| area.pages.end);

        Iterator::chain(core::iter::once(0), ends)
            .map(|start| start.next_multiple_of(align))
            .filter(|start| start + pages <= self.end_page())
            .filter(|start| !self.is_reserved(&(*start..start + pages)))
            .min()
    }

    fn is_reserved(&self, pages: &Range<u64>) -> bool {
        self.areas
            .iter()
            .any(|area| area.pages.start < pages.end && pages.start < area.pages.end)
    }

    fn add_area(&mut self, va: Arc<VaRange>) -> Result {
        let pages = va.pages();
        self.next += 1;
        self.areas.push(
            Area {
                number: self.next,
                pages: pages.start.into_raw()..pages.end.into_raw(),
                va: Some(va),
            },
            GFP_KERNEL,
        )?;

        Ok(())
    }

    /// Drops a handle to addresses. If something is mapped there, it stays until the end.
    fn drop_area(&mut self) -> Result<Range<u64>> {
        let lost = self.areas.iter().filter(|area| area.va.is_none()).count();
        let may_lose = lost < AREAS / 4 && self.random.once_in(8);

        if let Some(index) = self.random.pick(&self.areas) {
            let area = &mut self.areas[index];
            if may_lose || self.oracle.within(&area.pages).next().is_none() {
                area.va = None;
            }
        }

        Ok(NOTHING)
    }

    /// Allocates memory, of which there is enough if there is as much.
    fn allocate(&mut self) -> Result<Range<u64>> {
        if self
            .blocks
            .iter()
            .filter(|block| block.vram.is_some())
            .count()
            >= BLOCKS
        {
            return self.drop_block();
        }
        let pages = match self.random.below(40) {
            0 if self.fragments.is_empty() => 300 * LARGE,
            1..10 => 1 + self.random.below(16),
            10..20 => LARGE << self.random.below(3),
            _ => 1 + self.random.below(3 * LARGE),
        };
        let size = pages * PAGE_SIZE;
        let min_page = match self.random.once_in(2) {
            true => PageSize::Size2M,
            false => PageSize::Size4K,
        };

        match self.bench.data.alloc(size, min_page) {
            Ok(vram) => {
                self.next += 1;
                self.blocks.push(
                    Block {
                        number: self.next,
                        vram: Some(Arc::new(vram, GFP_KERNEL)?),
                        pages,
                    },
                    GFP_KERNEL,
                )?;
            }
            Err(error) => {
                ensure_eq!(error, ENOSPC);
                ensure!(size > self.bench.data.avail());
            }
        }

        Ok(NOTHING)
    }

    /// Drops a handle to memory. What is mapped stays.
    fn drop_block(&mut self) -> Result<Range<u64>> {
        if let Some(index) = self.random.pick(&self.blocks) {
            self.blocks[index].vram = None;
        }

        Ok(NOTHING)
    }

    /// Cancels a job.
    fn cancel(&mut self) -> Result<Range<u64>> {
        if let Some(index) = self.random.pick(&self.pending) {
            self.pending.remove(index)?.job.cancel();
        }

        Ok(NOTHING)
    }

    /// Submits a job, which is the last one then; returns whether there is one.
    fn submit(&mut self) -> Result<bool> {
        let Some(index) = self.random.pick(&self.areas) else {
            return self.reserve().map(|_| false);
        };
        let Some(va) = self.areas[index].va.clone() else {
            return Ok(false);
        };
        let number = self.areas[index].number;
        let pages = self.range_in(&self.areas[index].pages.clone());

        match self.random.below(20) {
            0..9 => self.submit_map(&va, number, pages),
            9..15 => {
                let job = self.bench.vmm.submit_unmap(&va, vfns(pages.clone())?);
                self.submitted(job, Kind::Unmap, number, pages, KVec::new())
            }
            _ => {
                let access = self.any_access();
                let job = self
                    .bench
                    .vmm
                    .submit_protect(&va, vfns(pages.clone())?, access);
                self.submitted(job, Kind::Protect(access), number, pages, KVec::new())
            }
        }
    }

    fn submit_map(&mut self, va: &Arc<VaRange>, area: u64, pages: Range<u64>) -> Result<bool> {
        let Some(index) = self.random.pick(&self.blocks) else {
            return self.allocate().map(|_| false);
        };
        let Block {
            number,
            vram: Some(ref vram),
            pages: count,
        } = self.blocks[index]
        else {
            return Ok(false);
        };
        let vram = vram.clone();

        // Where memory starts at a large page, the remainders agree.
        let skip = match self.random.below(3) {
            0 => self.random.below(count),
            _ => pages.start % LARGE,
        };
        let skip = if skip < count { skip } else { 0 };
        let mut end = pages.end.min(pages.start + (count - skip));
        if skip % LARGE != pages.start % LARGE {
            // Small pages only, so not too many.
            end = end.min(pages.start + MANY_SMALL);
        }
        let pages = pages.start..end;

        let access = self.any_access();
        let kind = Kind::Map {
            memory: number,
            access,
        };
        let extents = extents(&vram, skip, &pages, kind, area)?;
        let memory = Memory {
            vram,
            offset: skip * PAGE_SIZE,
        };
        let job = self
            .bench
            .vmm
            .submit_map(va, vfns(pages.clone())?, memory, access);

        self.submitted(job, kind, area, pages, extents)
    }

    /// Notes a job, which may be refused only if there are not enough tables.
    fn submitted(
        &mut self,
        job: Result<Submitted<F>>,
        kind: Kind,
        area: u64,
        pages: Range<u64>,
        extents: KVec<Extent>,
    ) -> Result<bool> {
        let levels = u64::try_from(F::LEVELS.len())?;
        let enough = (pages.end - pages.start) / LARGE + 2 * levels;

        match job {
            Ok(job) => {
                self.pending.push(
                    Pending {
                        job,
                        kind,
                        area,
                        pages,
                        extents,
                    },
                    GFP_KERNEL,
                )?;
                Ok(true)
            }
            Err(error) => {
                ensure_eq!(error, ENOSPC);
                ensure!(self.bench.free_tables() < enough);
                Ok(false)
            }
        }
    }

    /// Runs a job; now and then the invalidate is not acknowledged.
    fn run(&mut self, index: usize) -> Result<Range<u64>> {
        let pending = self.pending.remove(index)?;
        let pages = pending.pages.clone();
        // The TLB has seen some of what will change.
        for _ in 0..8 {
            let page = self.random.within(pages.clone());
            self.look(page)?;
        }
        if !self.hung && self.random.once_in(20) {
            self.bench.gpu.hang_invalidate(0);
            self.hung = true;
        }

        let ran = self.run_job(pending.job)?;
        let expected = match self.hung {
            true => Err(ETIMEDOUT),
            false => Ok(()),
        };
        ensure_eq!(ran.result(), expected);
        ensure_eq!(ran.cleanup(), expected);

        self.apply(pending.kind, &pages, &pending.extents)?;
        self.stale = self.hung;
        if !self.stale {
            self.quarantine.clear();
        }

        Ok(pages)
    }

    fn run_job(&self, job: Submitted<F>) -> Result<Ran<F>> {
        let mut job = Some(job);
        let mut ran = None;
        (self.plan.around_run)(&mut || ran = job.take().map(|job| self.bench.run(job)));

        ran.ok_or(EINVAL)
    }

    /// Does to the oracle what a job has done.
    fn apply(&mut self, kind: Kind, pages: &Range<u64>, extents: &[Extent]) -> Result {
        if let Kind::Protect(access) = kind {
            return self.oracle.protect(pages, access == Access::ReadOnly);
        }
        for extent in self.oracle.within(pages) {
            self.quarantine
                .push((extent.memory, extent.area), GFP_KERNEL)?;
        }

        self.oracle.replace(pages, extents)
    }

    fn any_access(&mut self) -> Access {
        match self.random.once_in(3) {
            true => Access::ReadOnly,
            false => Access::ReadWrite,
        }
    }

    /// Returns a part of a range of pages; its ends often are those of large pages.
    fn range_in(&mut self, all: &Range<u64>) -> Range<u64> {
        let count = all.end - all.start;
        let length = match self.random.below(16) {
            0 => count,
            1 => 1 + self.random.below(count),
            2..4 => LARGE,
            4..6 => 1 + self.random.below(600),
            6..8 => 1,
            _ => 1 + self.random.below(16),
        };
        let length = length.min(count);
        let mut start = all.start + self.random.below(count - length + 1);
        let mut end = start + length;
        if self.random.once_in(4) {
            start = (start / LARGE * LARGE).max(all.start);
        }
        if self.random.once_in(4) {
            end = end.next_multiple_of(LARGE).min(all.end);
        }
        // All but one page.
        if end - start > 2 && self.random.once_in(8) {
            match self.random.once_in(2) {
                true => start += 1,
                false => end -= 1,
            }
        }

        start..end
    }

    /// Returns the page behind the last one that can be reserved.
    pub(super) fn end_page(&self) -> u64 {
        end_page::<F>(self.of_bar)
    }

    /// Returns whether a page is mapped by the firmware.
    pub(super) fn is_firmware(&self, page: u64) -> bool {
        firmware_pages(self.of_bar)
            .iter()
            .any(|pages| pages.contains(&page))
    }

    /// Tears the address space down and drops all that is held; then all has to be free.
    pub(super) fn end(mut self) -> Result {
        if self.hung {
            ensure_eq!(self.bench.teardown(), Err(ETIMEDOUT));
            self.bench.gpu.recover();
        }
        self.bench.teardown()?;
        self.oracle = Oracle::new();
        self.stale = false;
        self.quarantine.clear();
        self.compare()?;

        while let Some(pending) = self.pending.pop() {
            let ran = self.run_job(pending.job)?;
            ensure_eq!(ran.cleanup(), Err(ENODEV));
        }
        for area in &mut self.areas {
            area.va = None;
        }
        for block in &mut self.blocks {
            block.vram = None;
        }
        self.check(&NOTHING)?;
        ensure_eq!(self.bench.data.avail(), self.data_size);
        ensure_eq!(self.areas.len(), firmware_pages(self.of_bar).len());

        let memory = self.bench.memory.clone();
        drop(self);
        ensure_eq!(memory.avail(), memory.size());

        Ok(())
    }
}

/// Returns what is mapped when memory, from its page `skip` on, is mapped at `pages`.
fn extents(
    vram: &Vram,
    skip: u64,
    pages: &Range<u64>,
    kind: Kind,
    area: u64,
) -> Result<KVec<Extent>> {
    let Kind::Map { memory, access } = kind else {
        return Err(EINVAL);
    };
    let mut extents = KVec::new();
    let mut skip = skip;
    let mut start = pages.start;

    for range in vram.ranges() {
        let count = (range.end.into_raw() - range.start.into_raw()) / PAGE_SIZE;
        let skipped = skip.min(count);
        let end = pages.end.min(start + (count - skipped));
        skip -= skipped;
        if start < end {
            let extent = Extent {
                start,
                end,
                frame: range.start.into_raw() / PAGE_SIZE + skipped,
                read_only: access == Access::ReadOnly,
                memory,
                area,
            };
            extents.push(extent, GFP_KERNEL)?;
        }
        start = end;
    }
    ensure_eq!(start, pages.end);

    Ok(extents)
}

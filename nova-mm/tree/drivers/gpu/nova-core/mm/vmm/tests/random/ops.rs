// SPDX-License-Identifier: GPL-2.0

//! The random steps.

use super::{
    check::{
        small,
        walk, //
    },
    layout::{
        end_page,
        firmware_pages, //
    },
    *, //
};

/// Result of a step that has not changed any mapping.
const UNCHANGED: Range<u64> = 0..0;

/// Maximum number of memory blocks, and of prepared jobs.
const BLOCKS: usize = 12;
const JOBS: usize = 4;

/// Maximum number of pages in a mapping that uses page sizes below 2 MiB.
const MAX_SMALL: u64 = 8 * LARGE;

/// Maximum number of pages of a job whose writes are traced.
const MAX_TRACED: u64 = 80;

const BIG: u64 = PageSize::Size64K.pages();
const HUGE: u64 = PageSize::Size512M.pages();

/// Page kinds that all formats support.
const KINDS: [PteKind; 3] = [PteKind::Pitch, PteKind::Generic, PteKind::Other(0x0d)];

impl<F: TestFormat> RandomTest<F> {
    /// Performs a step. Returns the pages that it may have changed.
    pub(super) fn step(&mut self) -> Result<Range<u64>> {
        if self.stale && self.random.once_in(3) {
            return self.retry();
        }

        match self.random.below(100) {
            0..9 => self.allocate(),
            9..14 => self.drop_block(),
            14..20 if self.pending.len() < JOBS => self.prepare().map(|_| UNCHANGED),
            20..23 => self.cancel(),
            23..31 => match self.random.pick(&self.pending) {
                Some(index) => self.run(index),
                None => Ok(UNCHANGED),
            },
            31..33 => self.prepare_invalid(),
            _ => match self.prepare()? {
                true => self.run(self.pending.len() - 1),
                false => Ok(UNCHANGED),
            },
        }
    }

    /// Allocates memory.
    fn allocate(&mut self) -> Result<Range<u64>> {
        let held = self.blocks.iter().filter(|it| it.memory.is_some());
        if held.count() >= BLOCKS {
            return self.drop_block();
        }
        let pages = match self.random.below(40) {
            0 | 1 if self.fragments.is_empty() => 300 * LARGE,
            2..10 => 1 + self.random.below(16),
            10..20 => LARGE << self.random.below(3),
            _ => 1 + self.random.below(3 * LARGE),
        };

        match self.random.once_in(4) {
            true => self.allocate_sysmem(pages.min(3 * LARGE))?,
            false => self.allocate_vram(pages)?,
        }

        Ok(UNCHANGED)
    }

    /// Allocates VRAM. This may fail only if there are fewer free pages.
    fn allocate_vram(&mut self, pages: u64) -> Result {
        let size = pages * PAGE_SIZE;
        let min_page = match self.random.once_in(2) {
            true => PageSize::Size2M,
            false => PageSize::Size4K,
        };
        let vram = match self.fixture.data.alloc(size, min_page) {
            Ok(vram) => vram,
            Err(error) => {
                ensure_eq!(error, ENOSPC);
                ensure!(size > self.fixture.data.avail());
                return Ok(());
            }
        };

        let mut runs = KVec::new();
        for range in vram.ranges() {
            let count = (range.end.into_raw() - range.start.into_raw()) / PAGE_SIZE;
            runs.push((range.start.into_raw() / PAGE_SIZE, count), GFP_KERNEL)?;
        }

        self.add_block(Arc::new(vram, GFP_KERNEL)?, Aperture::Vram, runs, None)
    }

    /// Allocates system memory in runs of random lengths and addresses.
    fn allocate_sysmem(&mut self, pages: u64) -> Result {
        let (aperture, coherence) = match self.random.once_in(2) {
            true => (Aperture::SysCoherent, Coherence::Coherent),
            false => (Aperture::SysNonCoherent, Coherence::NonCoherent),
        };
        let longest = 1 << self.random.below(11);
        let mut runs = KVec::<(u64, u64)>::new();
        let mut left = pages;
        while left > 0 {
            let count = (1 + self.random.below(longest)).min(left);
            let frame = match runs.last() {
                Some((frame, count)) if self.random.once_in(4) => frame + count,
                _ => self.random.below(1 << 34),
            };
            runs.push((frame, count), GFP_KERNEL)?;
            left -= count;
        }
        let is_freed = Arc::new(Flag::new(), GFP_KERNEL)?;
        let ranges = runs
            .iter()
            .map(|(frame, count)| (frame * PAGE_SIZE, count * PAGE_SIZE));
        let memory = SysMemory::new(ranges, coherence, Owner(is_freed.clone()))?;

        self.add_block(
            Arc::new(memory, GFP_KERNEL)?,
            aperture,
            runs,
            Some(is_freed),
        )
    }

    fn add_block(
        &mut self,
        memory: Arc<dyn Mappable>,
        aperture: Aperture,
        runs: KVec<(u64, u64)>,
        is_freed: Option<Arc<Flag>>,
    ) -> Result {
        self.next += 1;
        self.blocks.push(
            Block {
                number: self.next,
                memory: Some(memory),
                aperture,
                pages: runs.iter().map(|(_, count)| count).sum(),
                runs,
                is_freed,
            },
            GFP_KERNEL,
        )?;

        Ok(())
    }

    /// Drops a handle to memory. Its mappings stay.
    fn drop_block(&mut self) -> Result<Range<u64>> {
        if let Some(index) = self.random.pick(&self.blocks) {
            self.blocks[index].memory = None;
        }

        Ok(UNCHANGED)
    }

    /// Cancels a job.
    fn cancel(&mut self) -> Result<Range<u64>> {
        if let Some(index) = self.random.pick(&self.pending) {
            self.pending.remove(index)?.job.free();
        }

        Ok(UNCHANGED)
    }

    /// Attempts to prepare jobs that must be rejected.
    fn prepare_invalid(&mut self) -> Result<Range<u64>> {
        let end = self.end_page();
        let vmm = &self.fixture.vmm;
        // The end of the address space may be the end of all page numbers.
        if let Ok(pages) = vfns(end - 1..end + 1) {
            ensure_eq!(vmm.prepare_unmap(pages).err(), Some(EINVAL));
        }
        ensure_eq!(vmm.prepare_unmap(vfns(3..3)?).err(), Some(EINVAL));
        for used in firmware_pages(self.of_bar) {
            let page = self.random.within(used.clone());
            let pages = page - self.random.below(LARGE)..page + 1 + self.random.below(LARGE);
            let job = vmm.prepare_map(vfns(pages)?, Backing::sparse());
            ensure_eq!(job.err(), Some(EBUSY));
        }
        if let Some(index) = self.random.pick(&self.blocks) {
            let block = &self.blocks[index];
            if let Some(memory) = &block.memory {
                let backing = Backing::new(memory.clone(), 1, PageAttributes::default());
                let job = vmm.prepare_map(vfns(0..block.pages)?, backing);
                ensure_eq!(job.err(), Some(EINVAL));
            }
        }

        Ok(UNCHANGED)
    }

    /// Prepares a job and appends it to the list. Returns whether a job was prepared.
    fn prepare(&mut self) -> Result<bool> {
        let Some(pages) = self.random_pages() else {
            return Ok(false);
        };

        match self.random.below(20) {
            0..8 => self.prepare_map(pages),
            8..10 => self.prepare_sparse(pages),
            10..15 => {
                let job = self.fixture.vmm.prepare_unmap(vfns(pages.clone())?);
                self.add_job(job, Kind::Unmap, pages, KVec::new())
            }
            _ => {
                let access = self.random_access();
                let job = self
                    .fixture
                    .vmm
                    .prepare_protect(vfns(pages.clone())?, access);
                self.add_job(job, Kind::Protect(access), pages, KVec::new())
            }
        }
    }

    fn prepare_sparse(&mut self, pages: Range<u64>) -> Result<bool> {
        let job = self
            .fixture
            .vmm
            .prepare_map(vfns(pages.clone())?, Backing::sparse());
        let mut extents = KVec::new();
        extents.push(
            Extent {
                start: pages.start,
                end: pages.end,
                target: Target::Sparse,
            },
            GFP_KERNEL,
        )?;

        self.add_job(job, Kind::Map, pages, extents)
    }

    fn prepare_map(&mut self, pages: Range<u64>) -> Result<bool> {
        let attributes = self.random_attributes();
        let Some(index) = self.random.pick(&self.blocks) else {
            return self.allocate().map(|_| false);
        };
        let block = &self.blocks[index];
        let Some(memory) = block.memory.clone() else {
            return Ok(false);
        };

        // Often choose an offset with the alignment of `pages`, so that larger pages can be used.
        let skip = match self.random.below(5) {
            0 => self.random.below(block.pages),
            1 => pages.start % BIG + self.random.below(block.pages / BIG) * BIG,
            2 => pages.start % HUGE,
            _ => pages.start % LARGE,
        };
        let skip = if skip < block.pages { skip } else { 0 };
        let mut end = pages.end.min(pages.start + (block.pages - skip));
        if skip % LARGE != pages.start % LARGE || block.aperture != Aperture::Vram {
            end = end.min(pages.start + MAX_SMALL);
        }
        let pages = pages.start..end;

        let extents = extents(block, skip, &pages, attributes)?;
        let backing = Backing::new(memory, skip, attributes);
        let job = self.fixture.vmm.prepare_map(vfns(pages.clone())?, backing);

        self.add_job(job, Kind::Map, pages, extents)
    }

    /// Appends a job. Its preparation may fail only for lack of page tables.
    fn add_job(
        &mut self,
        job: Result<Job>,
        kind: Kind,
        pages: Range<u64>,
        extents: KVec<Extent>,
    ) -> Result<bool> {
        let levels = u64::try_from(F::LEVELS.len())?;
        // Two tables of PTEs for each entry of the last directory.
        let enough = 2 * ((pages.end - pages.start) / LARGE + 2) + 2 * levels;

        match job {
            Ok(job) => {
                self.pending.push(
                    PendingJob {
                        job,
                        kind,
                        pages,
                        extents,
                    },
                    GFP_KERNEL,
                )?;
                Ok(true)
            }
            Err(error) => {
                ensure_eq!(error, ENOSPC);
                ensure!(self.fixture.free_tables() < enough);
                Ok(false)
            }
        }
    }

    /// Runs a job. In some cases, the GPU does not complete the invalidation.
    fn run(&mut self, index: usize) -> Result<Range<u64>> {
        let mut pending = self.pending.remove(index)?;
        let pages = pending.pages.clone();
        if self.stale {
            return self.run_while_stale(pending).map(|()| UNCHANGED);
        }
        // Make the TLB cache some of the pages that will change.
        for _ in 0..8 {
            let page = self.random.within(pages.clone());
            self.check_translation(page)?;
        }
        if pages.end - pages.start <= MAX_TRACED && self.random.once_in(8) {
            self.run_traced(pending)?;
            return Ok(pages);
        }

        let hangs = self.random.once_in(20);
        if hangs {
            self.before = self.oracle.copy()?;
            self.replaced = match pending.kind {
                Kind::Protect(_) => UNCHANGED,
                Kind::Map | Kind::Unmap => pages.clone(),
            };
            self.fixture.gpu.hang_invalidate(0);
        }
        let (expected, again) = match hangs {
            true => (Err(JobError::NotInvalidated(ETIMEDOUT)), EIO),
            false => (Ok(()), EINVAL),
        };
        ensure_eq!(self.run_job(&mut pending.job), expected);
        self.apply(&pending)?;
        self.stale = hangs;
        self.hung = hangs;
        if matches!(pending.kind, Kind::Map) {
            self.check_sizes(&pages, &pending.extents)?;
        }
        if self.random.once_in(8) {
            let result = self.run_job(&mut pending.job);
            ensure_eq!(result, Err(JobError::Unchanged(again)));
        }
        pending.job.free();
        if !hangs {
            self.deferred.clear();
        }

        Ok(pages)
    }

    /// Runs a job that fails because the TLB is stale. The job can be run later.
    fn run_while_stale(&mut self, pending: PendingJob) -> Result {
        let mut pending = pending;
        self.fixture.gpu.reset_counts();
        let result = self.run_job(&mut pending.job);
        ensure_eq!(result, Err(JobError::Unchanged(EIO)));
        // It does not wait for the GPU.
        ensure_eq!(self.fixture.gpu.counts().total(), 0);
        self.pending.push(pending, GFP_KERNEL)?;

        Ok(())
    }

    /// Runs a job, and checks each state of the page tables that the GPU can see.
    ///
    /// A page that is mapped before and after the job is mapped at all times. A page may be
    /// temporarily invalid only if it is sparse before or after the job.
    fn run_traced(&mut self, pending: PendingJob) -> Result {
        let before = self.oracle.copy()?;
        self.apply(&pending)?;
        let PendingJob { job, pages, .. } = pending;
        let around = pages.start.saturating_sub(BIG)..(pages.end + BIG).min(self.end_page());
        let (fixture, after) = (&self.fixture, &self.oracle);

        let (job, _) = fixture.trace(job, &mut |gpu| {
            for page in around.clone() {
                if self.is_firmware(page) {
                    continue;
                }
                let found = small(walk(fixture, gpu, page)?);
                let (old, new) = (before.translation(page), after.translation(page));
                let may_be_invalid = [old, new].contains(&Err(Fault::Sparse));
                if found != old
                    && found != new
                    && !(may_be_invalid && found == Err(Fault::Unmapped))
                {
                    pr_err!(
                        "page {:#x}: {:x?}, neither {:x?} nor {:x?}\n",
                        page,
                        found,
                        old,
                        new
                    );
                    return Err(EINVAL);
                }
            }

            Ok(())
        })?;
        job.free();
        self.deferred.clear();

        Ok(())
    }

    fn run_job(&self, job: &mut Job) -> Result<(), JobError> {
        let mut result = Err(JobError::Unchanged(EINVAL));
        (self.plan.around_run)(&mut || result = job.run());

        result
    }

    /// Retries the failed invalidation.
    fn retry(&mut self) -> Result<Range<u64>> {
        if self.hung && self.random.once_in(3) {
            ensure_eq!(self.fixture.vmm.retry_invalidate(), Err(ETIMEDOUT));
            return Ok(UNCHANGED);
        }
        self.fixture.gpu.recover();
        self.hung = false;
        if self.random.once_in(3) {
            // Jobs keep failing until the invalidation is retried.
            return Ok(UNCHANGED);
        }
        self.fixture.vmm.retry_invalidate()?;
        self.stale = false;
        self.deferred.clear();

        Ok(UNCHANGED)
    }

    /// Applies a job to the oracle.
    fn apply(&mut self, pending: &PendingJob) -> Result {
        let pages = &pending.pages;
        if let Kind::Protect(access) = pending.kind {
            return self.oracle.protect(pages, access);
        }
        for extent in self.oracle.within(pages) {
            if let Some(memory) = extent.target.memory() {
                self.deferred.push(memory, GFP_KERNEL)?;
            }
        }

        self.oracle.replace(pages, &pending.extents)
    }

    fn random_access(&mut self) -> Access {
        match self.random.once_in(3) {
            true => Access::ReadOnly,
            false => Access::ReadWrite,
        }
    }

    fn random_attributes(&mut self) -> PageAttributes {
        PageAttributes {
            kind: match self.random.once_in(4) {
                true => KINDS[self.random.pick(&KINDS).unwrap_or(0)],
                false => PteKind::Pitch,
            },
            access: self.random_access(),
            volatile: self.random.once_in(6),
            privileged: self.random.once_in(6),
        }
    }

    /// Returns pages that do not belong to the firmware, or [`None`] if the attempt to find some
    /// fails: part of a window, or pages that overlap a mapping.
    fn random_pages(&mut self) -> Option<Range<u64>> {
        let index = self.random.pick(self.oracle.extents());
        let pages = match index.filter(|_| self.random.once_in(2)) {
            Some(index) => {
                let extent = self.oracle.extents()[index];
                let around = self.random.below(2 * BIG);
                let all =
                    extent.start.saturating_sub(around)..(extent.end + around).min(self.end_page());
                self.range_in(&all)
            }
            None => {
                let window = self.windows[self.random.pick(&self.windows)?].clone();
                self.range_in(&window)
            }
        };

        self.without_firmware(pages)
    }

    /// Removes the firmware's pages, and all pages that follow them.
    fn without_firmware(&self, pages: Range<u64>) -> Option<Range<u64>> {
        let mut pages = pages;
        for used in firmware_pages(self.of_bar) {
            if used.contains(&pages.start) {
                pages.start = used.end;
            } else if used.start >= pages.start {
                pages.end = pages.end.min(used.start);
            }
        }

        (!pages.is_empty()).then_some(pages)
    }

    /// Returns part of a range of pages. Its ends are often aligned to large pages.
    fn range_in(&mut self, all: &Range<u64>) -> Range<u64> {
        let count = all.end - all.start;
        let has_huge = self.sizes.contains(&PageSize::Size512M);
        let length = match self.random.below(18) {
            0 => count,
            1 => 1 + self.random.below(count),
            2..4 => LARGE,
            4..6 => 1 + self.random.below(600),
            6..8 => 1,
            8..10 => BIG * (1 + self.random.below(40)),
            10 if has_huge => HUGE,
            _ => 1 + self.random.below(16),
        };
        let length = length.min(count);
        let mut start = all.start + self.random.below(count - length + 1);
        if length == HUGE {
            start = start.next_multiple_of(HUGE).min(all.end - HUGE);
        }
        let mut end = start + length;
        let align = match self.random.once_in(2) {
            true => LARGE,
            false => BIG,
        };
        if self.random.once_in(4) {
            start = (start / align * align).max(all.start);
        }
        if self.random.once_in(4) {
            end = end.next_multiple_of(align).min(all.end);
        }
        // Leave out one page.
        if end - start > 2 && self.random.once_in(8) {
            match self.random.once_in(2) {
                true => start += 1,
                false => end -= 1,
            }
        }

        start..end
    }

    /// Returns the end of the pages that can be mapped.
    pub(super) fn end_page(&self) -> u64 {
        end_page::<F>(self.of_bar)
    }

    /// Returns whether the firmware has mapped a page.
    pub(super) fn is_firmware(&self, page: u64) -> bool {
        firmware_pages(self.of_bar)
            .iter()
            .any(|pages| pages.contains(&page))
    }

    /// Tears down the address space and drops all objects. All memory must be free afterwards.
    pub(super) fn end(mut self) -> Result {
        if self.hung {
            ensure_eq!(self.fixture.teardown(), Err(ETIMEDOUT));
            self.fixture.gpu.recover();
        }
        self.fixture.teardown()?;
        self.oracle = Oracle::new();
        self.stale = false;
        self.deferred.clear();
        self.compare()?;

        while let Some(mut pending) = self.pending.pop() {
            let result = self.run_job(&mut pending.job);
            ensure_eq!(result, Err(JobError::Unchanged(ENODEV)));
        }
        for block in &mut self.blocks {
            block.memory = None;
        }
        self.check(&UNCHANGED)?;
        ensure_eq!(self.fixture.data.avail(), self.data_size);
        ensure!(self.blocks.is_empty());

        let memory = self.fixture.memory.clone();
        drop(self);
        ensure_eq!(memory.avail(), memory.size());

        Ok(())
    }
}

/// Returns the mappings of a job that maps `block`, starting at its page `skip`, at `pages`.
fn extents(
    block: &Block,
    skip: u64,
    pages: &Range<u64>,
    attributes: PageAttributes,
) -> Result<KVec<Extent>> {
    let mut extents = KVec::new();
    let mut skip = skip;
    let mut start = pages.start;

    for &(frame, count) in &block.runs {
        let skipped = skip.min(count);
        let end = pages.end.min(start + (count - skipped));
        skip -= skipped;
        if start < end {
            let target = Target::Page {
                memory: block.number,
                aperture: block.aperture,
                frame: frame + skipped,
                attributes,
            };
            extents.push(Extent { start, end, target }, GFP_KERNEL)?;
        }
        start = end;
    }
    ensure_eq!(start, pages.end);

    Ok(extents)
}

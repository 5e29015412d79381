// SPDX-License-Identifier: GPL-2.0

//! Whatever fails, and whenever: what is mapped is what was mapped before or what was to be mapped,
//! and what is not needed is given back.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    address::{
        PageSize,
        VramAddress,
        PAGE_SIZE, //
    },
    va::VaRange,
    vmm::{
        job::{
            Access,
            Submitted, //
        },
        tests::{
            bench::{
                ensure,
                ensure_eq,
                vfns,
                within_raw,
                Bench,
                TestFormat,
                LARGE, //
            },
            observe::DOWNGRADE,
            random::places, //
        },
        Vmm, //
    },
    vram::TablePage, //
};

/// An operation on the pages of a [`Scene`].
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Maps new memory, from its page `skip` on.
    Map {
        pages: Range<u64>,
        skip: u64,
        access: Access,
    },
    Unmap(Range<u64>),
    Protect(Range<u64>, Access),
}

use self::Operation::*;

/// Number of pages of a [`Scene`].
const PAGES: u64 = 4 * LARGE;

/// The page of a [`Scene`] at which entries of nearly all levels end.
const MIDDLE: u64 = 2 * LARGE;

/// Maps memory in large pages where there are such.
const fn map(pages: Range<u64>) -> Operation {
    Map {
        skip: pages.start,
        pages,
        access: Access::ReadWrite,
    }
}

/// Maps memory in small pages only.
const fn map_small(pages: Range<u64>) -> Operation {
    Map {
        skip: pages.start + 1,
        pages,
        access: Access::ReadOnly,
    }
}

/// What is mapped in a populated [`Scene`].
const POPULATED: [Operation; 3] = [
    map(0..LARGE),
    map_small(LARGE + 3..MIDDLE + 5),
    map(3 * LARGE..PAGES),
];

/// One operation after the other.
pub(crate) const OPERATIONS: [Operation; 12] = [
    map_small(MIDDLE + 7..MIDDLE + 8),
    map_small(MIDDLE - 3..MIDDLE + 3),
    Unmap(100..140),
    map(MIDDLE..MIDDLE + LARGE),
    Protect(3 * LARGE + 7..3 * LARGE + 9, Access::ReadOnly),
    map_small(300..PAGES - 300),
    map(3 * LARGE + 100..3 * LARGE + 200),
    Protect(0..PAGES, Access::ReadOnly),
    map(0..PAGES),
    Unmap(LARGE - 3..MIDDLE + 20),
    Protect(0..PAGES, Access::ReadWrite),
    Unmap(0..PAGES),
];

/// What is found at each page: the address of the memory, and whether writes fault.
pub(crate) type Mapped = KVec<Option<(u64, bool)>>;

/// An address space around a place where entries of nearly all levels end.
///
/// Nothing but what is mapped keeps memory allocated.
pub(crate) struct Scene<F: TestFormat> {
    pub(crate) bench: Bench<F>,
    va: Arc<VaRange>,
    data_size: u64,
}

impl<F: TestFormat> Scene<F> {
    /// Makes one in which nothing, or something of everything, is mapped.
    pub(crate) fn new(populated: bool) -> Result<Self> {
        let bench = Bench::new()?;
        // The first look finds that an invalidate is done: no delay of this thread is a time-out.
        bench.gpu.set_trigger_polls(0);
        let middle = PageSize::Size256G.pages();
        let mut scene = Self {
            va: bench.reserve_at(middle - MIDDLE..middle + (PAGES - MIDDLE))?,
            data_size: bench.data.avail(),
            bench,
        };
        if populated {
            for operation in &POPULATED {
                scene.complete(scene.submit(operation)?)?;
            }
        }

        Ok(scene)
    }

    pub(crate) fn submit(&self, operation: &Operation) -> Result<Submitted<F>> {
        match operation {
            Map {
                pages,
                skip,
                access,
            } => {
                let vram = self.bench.alloc(PAGES + 1)?;
                self.bench
                    .submit_map(&self.va, pages.clone(), &vram, *skip, *access)
            }
            Unmap(pages) => self.bench.submit_unmap(&self.va, pages.clone()),
            Protect(pages, access) => self.bench.submit_protect(&self.va, pages.clone(), *access),
        }
    }

    /// Runs a job, cleans up and checks.
    pub(crate) fn complete(&mut self, job: Submitted<F>) -> Result {
        self.bench.run(job).cleanup()?;

        self.check()
    }

    /// Checks what has to be true while no job is submitted and nothing is in quarantine.
    pub(crate) fn check(&mut self) -> Result {
        self.bench.check()?;
        ensure!(!self.bench.vmm.is_quarantined());
        ensure_eq!(self.held().tables, self.bench.table_count()? * PAGE_SIZE);

        Ok(())
    }

    /// Returns what the GPU finds. With what the TLB holds, unless that may be of before.
    pub(crate) fn mapped(&self) -> Result<Mapped> {
        let mut mapped = KVec::new();
        let pdb = self.bench.vmm.pdb();

        for page in within_raw(&self.va, &(0..PAGES)) {
            let found = match self.bench.vmm.is_quarantined() {
                true => self.bench.gpu.walk(pdb, address(page)?).ok(),
                false => self.bench.look(page)?,
            };
            let found = found.map(|found| (found.address, found.read_only));
            mapped.push(found, GFP_KERNEL)?;
        }

        Ok(mapped)
    }

    /// Returns what is allocated.
    pub(crate) fn held(&self) -> Held {
        Held {
            tables: self.bench.memory.size() - self.bench.memory.avail(),
            data: self.data_size - self.bench.data.avail(),
        }
    }

    /// Ends it, after which everything has to be free.
    pub(crate) fn end(mut self) -> Result {
        self.bench.teardown()?;
        self.check()?;
        ensure_eq!(self.held().data, 0);

        let memory = self.bench.memory.clone();
        drop(self);
        ensure_eq!(memory.avail(), memory.size());

        Ok(())
    }
}

fn address(page: u64) -> Result<crate::mm::address::VirtualAddress> {
    Ok(crate::mm::address::Vfn::new(page)?.address())
}

/// Bytes that are allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) tables: u64,
    pub(crate) data: u64,
}

/// However few tables there are left, a job that cannot be submitted has no effect.
pub(crate) fn vram_runs_out<F: TestFormat>() -> Result {
    for populated in [false, true] {
        for operation in &OPERATIONS {
            let scene = Scene::<F>::new(populated)?;
            let job = scene.submit(operation)?;
            run_out_for(scene, job, operation, populated)?;
        }
    }

    Ok(())
}

/// Lets tables run out for `operation`, after it has been done in `model`, which tells the result.
fn run_out_for<F: TestFormat>(
    mut model: Scene<F>,
    job: Submitted<F>,
    operation: &Operation,
    populated: bool,
) -> Result {
    model.complete(job)?;
    let mut scene = Scene::<F>::new(populated)?;
    let before = (scene.mapped()?, scene.held());

    let mut taken = KVec::<TablePage>::new();
    while let Ok(table) = scene.bench.memory.alloc_table() {
        taken.push(table, GFP_KERNEL)?;
    }
    let job = loop {
        let full = scene.held();
        match scene.submit(operation) {
            Ok(job) => break job,
            Err(error) => ensure_eq!(error, ENOSPC),
        }
        ensure_eq!(scene.held(), full);
        scene.bench.check()?;
        // One more table.
        ensure!(taken.pop().is_some());
    };
    taken.clear();
    drop(job);
    ensure!((scene.mapped()?, scene.held()) == before);

    scene.complete(scene.submit(operation)?)?;
    ensure!(scene.mapped()? == model.mapped()?);
    model.end()?;
    scene.end()
}

/// A job that is cancelled has no effect, whatever is done between.
pub(crate) fn jobs_are_cancelled<F: TestFormat>() -> Result {
    for cancelled in 0..OPERATIONS.len() {
        let mut scene = Scene::<F>::new(true)?;
        let mut model = Scene::<F>::new(true)?;
        let mut jobs = KVec::new();
        for operation in &OPERATIONS {
            jobs.push(scene.submit(operation)?, GFP_KERNEL)?;
        }

        for (number, operation) in OPERATIONS.iter().enumerate() {
            let job = jobs.remove(0)?;
            if number == cancelled {
                job.cancel();
                continue;
            }
            scene.bench.run(job).cleanup()?;
            scene.bench.check()?;
            model.complete(model.submit(operation)?)?;
            ensure!(same_pages(&scene.mapped()?, &model.mapped()?));
        }
        scene.check()?;
        ensure_eq!(scene.held(), model.held());
        model.end()?;
        scene.end()?;
    }

    Ok(())
}

/// Whether the same pages are mapped, in the same way, if not to the same memory.
fn same_pages(a: &Mapped, b: &Mapped) -> bool {
    let access = |mapped: &Option<(u64, bool)>| mapped.map(|(_, read_only)| read_only);

    a.iter().map(access).eq(b.iter().map(access))
}

/// What is mapped and held after each operation if nothing fails.
fn expected<F: TestFormat>() -> Result<KVec<(Mapped, Held)>> {
    let mut model = Scene::<F>::new(true)?;
    let mut expected = KVec::new();
    for operation in &OPERATIONS {
        model.complete(model.submit(operation)?)?;
        expected.push((model.mapped()?, model.held()), GFP_KERNEL)?;
    }
    model.end()?;

    Ok(expected)
}

/// After a time-out nothing is freed, until the next invalidate that is acknowledged.
pub(crate) fn invalidates_time_out<F: TestFormat>() -> Result {
    let expected = expected::<F>()?;

    for first in 0..OPERATIONS.len() {
        for count in 1..=2 {
            time_out::<F>(first..first + count, &expected)?;
        }
    }

    Ok(())
}

/// Lets the invalidates of some operations time out.
fn time_out<F: TestFormat>(hung: Range<usize>, expected: &[(Mapped, Held)]) -> Result {
    let mut scene = Scene::<F>::new(true)?;

    for ((number, operation), (mapped, held)) in OPERATIONS.iter().enumerate().zip(expected) {
        if number == hung.start {
            scene.bench.gpu.hang_invalidate(0);
        }
        if number == hung.end {
            scene.bench.gpu.recover();
        }

        let tables = scene.bench.owned()?;
        let before = scene.held();
        let job = scene.submit(operation)?;
        let allocated = scene.held();
        let result = scene.bench.run(job).cleanup();
        if hung.contains(&number) {
            ensure_eq!(result, Err(ETIMEDOUT));
            scene.bench.check()?;
            check_kept(&scene, &tables)?;
            ensure!(before.data <= scene.held().data && scene.held().data <= allocated.data);
        } else {
            result?;
            scene.check()?;
            ensure_eq!(scene.held(), *held);
        }
        ensure!(same_pages(&scene.mapped()?, mapped));
    }

    scene.bench.gpu.recover();
    scene.end()
}

/// Checks that tables of before, which the TLB may know, have not been freed.
fn check_kept<F: TestFormat>(scene: &Scene<F>, before: &[VramAddress]) -> Result {
    ensure!(scene.bench.vmm.is_quarantined());
    let mut kept = scene.bench.owned()?;
    for &table in before {
        if !kept.contains(&table) {
            kept.push(table, GFP_KERNEL)?;
        }
    }
    let kept = u64::try_from(kept.len())? * PAGE_SIZE;
    ensure!(scene.held().tables >= kept);

    // Nobody else gets one.
    let mut taken = KVec::new();
    while let Ok(table) = scene.bench.memory.alloc_table() {
        ensure!(!before.contains(&table.address()));
        taken.push(table, GFP_KERNEL)?;
    }

    Ok(())
}

/// What was left in quarantine is freed only after an invalidate that waits for accesses, even if
/// the job itself has only added something.
pub(crate) fn a_later_upgrade_waits_for_accesses<F: TestFormat>() -> Result {
    let mut scene = Scene::<F>::new(true)?;
    let unmap = scene.submit(&Unmap(0..LARGE))?;
    let map = scene.submit(&map(0..1))?;

    scene.bench.gpu.hang_invalidate(0);
    ensure_eq!(scene.bench.run(unmap).cleanup(), Err(ETIMEDOUT));
    scene.bench.gpu.recover();
    ensure_eq!(scene.bench.observe_all(map)?.command, DOWNGRADE);

    scene.end()
}

/// A directory of the firmware stays, though all that it spans is unmapped at once, and is empty
/// then.
pub(crate) fn a_directory_of_the_firmware_stays<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::of_bar(|gpu, root| places::directories::<F>(gpu, root).map(drop))?;
    let (root, pages) = (bench.vmm.pdb(), PageSize::Size512M.pages());
    // One that is large enough for all that the last directory spans.
    let limits = vfns(0..2 * pages)?;
    bench.vmm = Vmm::of_bar(root, limits, bench.memory.clone(), &bench.mmu, &bench.bar)?;
    let before = bench.gpu.reach(root)?.len();

    let va = bench.reserve_at(0..pages)?;
    let vram = bench.alloc(pages)?;
    bench.map(&va, 0..pages, &vram, 0, Access::ReadWrite)?;
    bench.check()?;
    bench.unmap(&va, 0..pages)?;
    bench.check()?;
    ensure_eq!(bench.gpu.reach(root)?.len(), before);

    bench.teardown()
}

#[kunit_tests(nova_mm_faults_v2)]
mod suite {
    use super::*;
    use crate::mm::format::v2::MmuV2;

    #[test]
    fn vram_for_tables_runs_out_anywhere() -> Result {
        vram_runs_out::<MmuV2>()
    }

    #[test]
    fn any_job_is_cancelled() -> Result {
        jobs_are_cancelled::<MmuV2>()
    }

    #[test]
    fn any_invalidate_times_out() -> Result {
        invalidates_time_out::<MmuV2>()
    }

    #[test]
    fn what_is_in_quarantine_needs_a_strong_invalidate() -> Result {
        a_later_upgrade_waits_for_accesses::<MmuV2>()
    }

    #[test]
    fn directories_of_the_firmware_stay() -> Result {
        a_directory_of_the_firmware_stays::<MmuV2>()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Failures of each stage of a job: each page is mapped either as before the job or as requested,
//! and resources that are no longer needed are freed.

use core::ops::Range;

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        Vfn,
        VirtualAddress,
        VramAddress,
        PAGE_SIZE, //
    },
    format::Access,
    model::Logged,
    vmm::{
        tests::{
            fixture::{
                all_pages,
                complete,
                ensure,
                ensure_eq,
                vfns,
                within_raw,
                Area,
                Fixture,
                TestFormat,
                LARGE, //
            },
            observe::{
                DOWNGRADE,
                UPGRADE, //
            },
            random::places, //
        },
        Job,
        JobError,
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

/// Maps memory in the largest pages that the range allows: of 2 MiB, 64 KiB and 4 KiB.
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

/// Mappings of a populated [`Scene`].
const POPULATED: [Operation; 3] = [
    map(0..LARGE),
    map_small(LARGE + 3..MIDDLE + 5),
    map(3 * LARGE..PAGES),
];

/// A sequence of operations.
pub(crate) const OPERATIONS: [Operation; 14] = [
    map_small(MIDDLE + 7..MIDDLE + 8),
    map_small(MIDDLE - 3..MIDDLE + 3),
    Unmap(100..140),
    map(MIDDLE..MIDDLE + LARGE),
    Protect(3 * LARGE + 7..3 * LARGE + 9, Access::ReadOnly),
    map_small(300..PAGES - 300),
    map(3 * LARGE + 100..3 * LARGE + 200),
    // Pages of 64 KiB in place of small ones, and a split of one of them.
    map(MIDDLE + 16..MIDDLE + 64),
    Unmap(MIDDLE + 20..MIDDLE + 36),
    Protect(0..PAGES, Access::ReadOnly),
    map(0..PAGES),
    Unmap(LARGE - 3..MIDDLE + 20),
    Protect(0..PAGES, Access::ReadWrite),
    Unmap(0..PAGES),
];

/// The translation of each page: the address of the memory, and whether writes fault.
pub(crate) type Mapped = KVec<Option<(u64, bool)>>;

/// An address space in which the pages in use cross an entry boundary of nearly all levels.
///
/// Mapped memory has no other owner than the mapping.
pub(crate) struct Scene<F: TestFormat> {
    pub(crate) fixture: Fixture<F>,
    va: Area,
    data_size: u64,
}

impl<F: TestFormat> Scene<F> {
    /// Creates a scene that is empty or has the mappings [`POPULATED`].
    pub(crate) fn new(populated: bool) -> Result<Self> {
        let fixture = Fixture::new()?;
        let middle = PageSize::Size256G.pages();
        let mut scene = Self {
            va: fixture.reserve_at(middle - MIDDLE..middle + (PAGES - MIDDLE))?,
            data_size: fixture.data.avail(),
            fixture,
        };
        if populated {
            for operation in &POPULATED {
                scene.complete(scene.prepare(operation)?)?;
            }
        }

        Ok(scene)
    }

    pub(crate) fn prepare(&self, operation: &Operation) -> Result<Job> {
        match operation {
            Map {
                pages,
                skip,
                access,
            } => {
                let vram = self.fixture.alloc(PAGES + 1)?;
                self.fixture
                    .prepare_map(&self.va, pages.clone(), &vram, *skip, *access)
            }
            Unmap(pages) => self.fixture.prepare_unmap(&self.va, pages.clone()),
            Protect(pages, access) => {
                self.fixture
                    .prepare_protect(&self.va, pages.clone(), *access)
            }
        }
    }

    /// Runs and frees a job, and checks the address space. No other job is prepared.
    pub(crate) fn complete(&mut self, job: Job) -> Result {
        complete(job)?;

        self.check()
    }

    /// Fails unless the address space is consistent. No job is prepared, and no frees are deferred.
    pub(crate) fn check(&mut self) -> Result {
        self.fixture.check()?;
        ensure!(!self.fixture.vmm.has_deferred());
        ensure_eq!(self.held().tables, self.fixture.table_count()? * PAGE_SIZE);

        Ok(())
    }

    /// Returns the translations of all pages, through the TLB unless it may be stale.
    pub(crate) fn mapped(&self) -> Result<Mapped> {
        let mut mapped = KVec::new();
        let pdb = self.fixture.pdb();

        for page in within_raw(&self.va, &(0..PAGES)) {
            let found = match self.fixture.vmm.has_deferred() {
                true => self.fixture.gpu.walk(pdb, address(page)?).ok(),
                false => self.fixture.look(page)?,
            };
            let found = found.map(|found| (found.address, found.read_only));
            mapped.push(found, GFP_KERNEL)?;
        }

        Ok(mapped)
    }

    /// Returns how much is allocated.
    pub(crate) fn held(&self) -> Held {
        Held {
            tables: self.fixture.memory.size() - self.fixture.memory.avail(),
            data: self.data_size - self.fixture.data.avail(),
        }
    }

    /// Tears the address space down, and fails unless everything is free afterwards.
    pub(crate) fn end(mut self) -> Result {
        self.fixture.teardown()?;
        self.check()?;
        ensure_eq!(self.held().data, 0);

        let memory = self.fixture.memory.clone();
        drop(self);
        ensure_eq!(memory.avail(), memory.size());

        Ok(())
    }
}

fn address(page: u64) -> Result<VirtualAddress> {
    Ok(Vfn::new(page)?.address())
}

/// Numbers of allocated bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) tables: u64,
    pub(crate) data: u64,
}

/// If there is not enough VRAM for tables, preparing a job fails and has no effect.
pub(crate) fn vram_runs_out<F: TestFormat>() -> Result {
    for populated in [false, true] {
        for operation in &OPERATIONS {
            let scene = Scene::<F>::new(populated)?;
            let job = scene.prepare(operation)?;
            run_out_for(scene, job, operation, populated)?;
        }
    }

    Ok(())
}

/// Lets the VRAM for tables run out while `operation` is prepared. `job` does the same operation in
/// `model`, which yields the expected result.
fn run_out_for<F: TestFormat>(
    mut model: Scene<F>,
    job: Job,
    operation: &Operation,
    populated: bool,
) -> Result {
    model.complete(job)?;
    let mut scene = Scene::<F>::new(populated)?;
    let before = (scene.mapped()?, scene.held());

    let mut taken = KVec::<TablePage>::new();
    while let Ok(table) = scene.fixture.memory.alloc_table() {
        taken.push(table, GFP_KERNEL)?;
    }
    let job = loop {
        let full = scene.held();
        match scene.prepare(operation) {
            Ok(job) => break job,
            Err(error) => ensure_eq!(error, ENOSPC),
        }
        ensure_eq!(scene.held(), full);
        scene.fixture.check()?;
        // One more table.
        ensure!(taken.pop().is_some());
    };
    taken.clear();
    job.free();
    ensure!((scene.mapped()?, scene.held()) == before);

    scene.complete(scene.prepare(operation)?)?;
    ensure!(scene.mapped()? == model.mapped()?);
    model.end()?;
    scene.end()
}

/// Cancelling a job has no effect, whatever other jobs do meanwhile.
pub(crate) fn jobs_are_cancelled<F: TestFormat>() -> Result {
    for cancelled in 0..OPERATIONS.len() {
        let mut scene = Scene::<F>::new(true)?;
        let mut model = Scene::<F>::new(true)?;
        let mut jobs = KVec::new();
        for operation in &OPERATIONS {
            jobs.push(scene.prepare(operation)?, GFP_KERNEL)?;
        }

        for (number, operation) in OPERATIONS.iter().enumerate() {
            let job = jobs.remove(0)?;
            if number == cancelled {
                job.free();
                continue;
            }
            complete(job)?;
            scene.fixture.check()?;
            model.complete(model.prepare(operation)?)?;
            ensure!(same_pages(&scene.mapped()?, &model.mapped()?));
        }
        scene.check()?;
        ensure_eq!(scene.held().data, model.held().data);
        model.end()?;
        scene.end()?;
    }

    Ok(())
}

/// Returns whether the same pages are mapped with the same access, possibly to other memory.
fn same_pages(a: &Mapped, b: &Mapped) -> bool {
    let access = |mapped: &Option<(u64, bool)>| mapped.map(|(_, read_only)| read_only);

    a.iter().map(access).eq(b.iter().map(access))
}

/// Returns the mappings and the allocations after each operation if nothing fails.
fn expected<F: TestFormat>() -> Result<KVec<(Mapped, Held)>> {
    let mut model = Scene::<F>::new(true)?;
    let mut expected = KVec::new();
    for operation in &OPERATIONS {
        model.complete(model.prepare(operation)?)?;
        expected.push((model.mapped()?, model.held()), GFP_KERNEL)?;
    }
    model.end()?;

    Ok(expected)
}

/// After a timeout, nothing is freed and jobs fail at once, until the invalidation is repeated.
pub(crate) fn invalidates_time_out<F: TestFormat>() -> Result {
    let expected = expected::<F>()?;

    for first in 0..OPERATIONS.len() {
        for skipped in 0..=2 {
            time_out::<F>(first, skipped, &expected)?;
        }
    }

    Ok(())
}

/// Lets the invalidation of operation `hung` time out. The next `skipped` operations are attempted
/// before the GPU recovers.
fn time_out<F: TestFormat>(hung: usize, skipped: usize, expected: &[(Mapped, Held)]) -> Result {
    let mut scene = Scene::<F>::new(true)?;
    let mut number = 0;
    while let (Some(operation), Some((mapped, held))) =
        (OPERATIONS.get(number), expected.get(number))
    {
        number += 1;
        if number - 1 == hung {
            time_out_once(&mut scene, operation, mapped)?;
            let rest = &OPERATIONS[number..];
            let rest = &rest[..skipped.min(rest.len())];
            fail_at_once_and_recover(&mut scene, rest)?;
            number += rest.len();
        } else {
            scene.complete(scene.prepare(operation)?)?;
            ensure!(same_pages(&scene.mapped()?, mapped));
            ensure_eq!(scene.held(), *held);
            continue;
        }
        let (mapped, held) = expected.get(number - 1).ok_or(EINVAL)?;
        scene.check()?;
        ensure!(same_pages(&scene.mapped()?, mapped));
        ensure_eq!(scene.held(), *held);
    }

    scene.end()
}

/// Runs an operation whose invalidation times out. Page tables are changed, and nothing is freed.
fn time_out_once<F: TestFormat>(
    scene: &mut Scene<F>,
    operation: &Operation,
    mapped: &Mapped,
) -> Result {
    let tables = scene.fixture.owned()?;
    let before = scene.held();
    let mut job = scene.prepare(operation)?;
    let allocated = scene.held();

    scene.fixture.gpu.hang_invalidate(0);
    ensure_eq!(job.run(), Err(JobError::NotInvalidated(ETIMEDOUT)));
    ensure_eq!(scene.held(), allocated);
    job.free();
    scene.fixture.check()?;
    check_kept(scene, &tables)?;
    ensure!(before.data <= scene.held().data && scene.held().data <= allocated.data);
    ensure!(same_pages(&scene.mapped()?, mapped));

    Ok(())
}

/// Attempts `operations` on a wedged GPU, which is not accessed. They succeed once the invalidation
/// has been repeated.
fn fail_at_once_and_recover<F: TestFormat>(
    scene: &mut Scene<F>,
    operations: &[Operation],
) -> Result {
    let mut jobs = KVec::new();
    for operation in operations {
        jobs.push(scene.prepare(operation)?, GFP_KERNEL)?;
    }
    let (mapped, held) = (scene.mapped()?, scene.held());
    scene.fixture.gpu.reset_counts();
    for recovers in [false, true] {
        if recovers {
            scene.fixture.gpu.recover();
        }
        for job in jobs.iter_mut() {
            ensure_eq!(job.run(), Err(JobError::Unchanged(EIO)));
        }
    }
    ensure_eq!(scene.fixture.gpu.counts().total(), 0);
    ensure!((scene.mapped()?, scene.held()) == (mapped, held));

    scene.fixture.vmm.retry_invalidate()?;
    ensure!(!scene.fixture.vmm.has_deferred());
    scene.fixture.check()?;
    while !jobs.is_empty() {
        complete(jobs.remove(0)?)?;
        scene.fixture.check()?;
    }

    Ok(())
}

/// Fails if one of the tables `before`, which the TLB may have cached, is free.
fn check_kept<F: TestFormat>(scene: &Scene<F>, before: &[VramAddress]) -> Result {
    ensure!(scene.fixture.vmm.has_deferred());
    let mut kept = scene.fixture.owned()?;
    for &table in before {
        if !kept.contains(&table) {
            kept.push(table, GFP_KERNEL)?;
        }
    }
    let kept = u64::try_from(kept.len())? * PAGE_SIZE;
    ensure!(scene.held().tables >= kept);

    // The allocator does not return any of them.
    let mut taken = KVec::new();
    while let Ok(table) = scene.fixture.memory.alloc_table() {
        ensure!(!before.contains(&table.address()));
        taken.push(table, GFP_KERNEL)?;
    }

    Ok(())
}

/// Returns the commands with which `run` invalidates the TLB.
fn invalidations<F: TestFormat>(
    fixture: &Fixture<F>,
    run: impl FnOnce() -> Result,
) -> Result<KVec<u32>> {
    fixture.gpu.start_log(2048)?;
    run()?;
    let mut commands = KVec::new();
    for logged in &fixture.gpu.take_log() {
        if let Logged::Invalidate { command, .. } = *logged {
            commands.push(command, GFP_KERNEL)?;
        }
    }

    Ok(commands)
}

/// Deferred frees require an invalidation that waits for accesses under way, even by a job that
/// only adds mappings. That of another address space does not release them.
pub(crate) fn deferred_frees_need_downgrade<F: TestFormat>() -> Result {
    let scene = Scene::<F>::new(true)?;
    let other = Vmm::new(
        scene.fixture.hw.clone(),
        scene.fixture.memory.clone(),
        all_pages::<F>()?,
    )?;
    let tables = scene.fixture.owned()?;
    let unmap = scene.prepare(&Unmap(LARGE + 3..MIDDLE + 5))?;
    let map = scene.prepare(&map(LARGE..LARGE + 1))?;
    let again = scene.prepare(&map_small(LARGE + 7..LARGE + 8))?;

    scene.fixture.gpu.hang_invalidate(0);
    ensure_eq!(complete(unmap), Err(ETIMEDOUT));
    scene.fixture.gpu.recover();
    let commands = invalidations(&scene.fixture, || other.retry_invalidate())?;
    ensure_eq!(&commands[..], &[DOWNGRADE]);
    check_kept(&scene, &tables)?;

    let commands = invalidations(&scene.fixture, || complete(map))?;
    ensure_eq!(&commands[..], &[DOWNGRADE]);
    ensure!(!scene.fixture.vmm.has_deferred());
    let commands = invalidations(&scene.fixture, || complete(again))?;
    ensure_eq!(&commands[..], &[UPGRADE]);
    drop(other);

    scene.end()
}

/// A directory of the firmware is not removed when all pages that it spans are unmapped at once.
pub(crate) fn empty_firmware_directory_stays<F: TestFormat>() -> Result {
    let mut fixture =
        Fixture::<F>::of_bar(|gpu, root| places::directories::<F>(gpu, root).map(drop))?;
    let (root, pages) = (fixture.pdb(), PageSize::Size512M.pages());
    // Large enough for everything that the last directory spans.
    let limits = vfns(0..2 * pages)?;
    fixture.vmm = Vmm::of_bar(fixture.hw.clone(), fixture.memory.clone(), limits, root)?;
    let before = fixture.gpu.reach(root)?.len();

    let va = fixture.reserve_at(0..pages)?;
    let vram = fixture.alloc(pages)?;
    fixture.map(&va, 0..pages, &vram, 0, Access::ReadWrite)?;
    fixture.check()?;
    fixture.unmap(&va, 0..pages)?;
    fixture.check()?;
    ensure_eq!(fixture.gpu.reach(root)?.len(), before);

    fixture.teardown()
}

#[kunit_tests(nova_core_mm_faults_v2)]
mod suite {
    use super::*;
    use crate::mm::format::v2::MmuV2;

    #[test]
    fn prepare_without_vram_fails() -> Result {
        vram_runs_out::<MmuV2>()
    }

    #[test]
    fn cancelled_job_has_no_effect() -> Result {
        jobs_are_cancelled::<MmuV2>()
    }

    #[test]
    fn timeout_defers_frees() -> Result {
        invalidates_time_out::<MmuV2>()
    }

    #[test]
    fn deferred_frees_need_downgrade() -> Result {
        super::deferred_frees_need_downgrade::<MmuV2>()
    }

    #[test]
    fn empty_firmware_directory_stays() -> Result {
        super::empty_firmware_directory_stays::<MmuV2>()
    }
}

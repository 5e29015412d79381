// SPDX-License-Identifier: GPL-2.0

//! Tests of failures in each stage of a job. Each page must be mapped either as before the job or
//! as requested, and resources that are no longer needed must be freed.

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
            random::layout,
            trace::{
                DOWNGRADE,
                UPGRADE, //
            },
        },
        Job,
        JobError,
        Vmm, //
    },
    vram::TablePage, //
};

/// An operation on the pages of a [`Setup`].
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Maps new memory, starting at its page `skip`.
    Map {
        pages: Range<u64>,
        skip: u64,
        access: Access,
    },
    Unmap(Range<u64>),
    Protect(Range<u64>, Access),
}

use self::Operation::*;

/// Number of pages of a [`Setup`].
const PAGES: u64 = 4 * LARGE;

/// Page of a [`Setup`] at which entries of nearly all levels end.
const MIDDLE: u64 = 2 * LARGE;

/// Maps memory with the largest pages that the range allows: 2 MiB, 64 KiB and 4 KiB.
const fn map(pages: Range<u64>) -> Operation {
    Map {
        skip: pages.start,
        pages,
        access: Access::ReadWrite,
    }
}

/// Maps memory with small pages only.
const fn map_small(pages: Range<u64>) -> Operation {
    Map {
        skip: pages.start + 1,
        pages,
        access: Access::ReadOnly,
    }
}

/// Mappings of a populated [`Setup`].
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
    // 64 KiB pages in place of small ones, and a split of one of them.
    map(MIDDLE + 16..MIDDLE + 64),
    Unmap(MIDDLE + 20..MIDDLE + 36),
    Protect(0..PAGES, Access::ReadOnly),
    map(0..PAGES),
    Unmap(LARGE - 3..MIDDLE + 20),
    Protect(0..PAGES, Access::ReadWrite),
    Unmap(0..PAGES),
];

/// Translation of each page: address of the memory, and whether writes fault.
pub(crate) type Mapped = KVec<Option<(u64, bool)>>;

/// An address space whose pages cross an entry boundary of nearly all levels.
///
/// The mappings own the only references to the mapped memory.
pub(crate) struct Setup<F: TestFormat> {
    pub(crate) fixture: Fixture<F>,
    va: Area,
    data_size: u64,
}

impl<F: TestFormat> Setup<F> {
    /// Creates a setup that is either empty or has the mappings [`POPULATED`].
    pub(crate) fn new(populated: bool) -> Result<Self> {
        let fixture = Fixture::new()?;
        let middle = PageSize::Size256G.pages();
        let mut setup = Self {
            va: fixture.reserve_at(middle - MIDDLE..middle + (PAGES - MIDDLE))?,
            data_size: fixture.data.avail(),
            fixture,
        };
        if populated {
            for operation in &POPULATED {
                setup.complete(setup.prepare(operation)?)?;
            }
        }

        Ok(setup)
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

    /// Runs and frees a job and checks the address space. No other job may be prepared.
    pub(crate) fn complete(&mut self, job: Job) -> Result {
        complete(job)?;

        self.check()
    }

    /// Fails unless the address space is consistent. No job may be prepared, and no frees deferred.
    pub(crate) fn check(&mut self) -> Result {
        self.fixture.check()?;
        ensure!(!self.fixture.vmm.has_deferred());
        ensure_eq!(self.held().tables, self.fixture.table_count()? * PAGE_SIZE);

        Ok(())
    }

    /// Returns the translations of all pages. Uses the TLB unless it may be stale.
    pub(crate) fn mapped(&self) -> Result<Mapped> {
        let mut mapped = KVec::new();
        let pdb = self.fixture.pdb();

        for page in within_raw(&self.va, &(0..PAGES)) {
            let found = match self.fixture.vmm.has_deferred() {
                true => self.fixture.gpu.walk(pdb, address(page)?).ok(),
                false => self.fixture.lookup(page)?,
            };
            let found = found.map(|found| (found.address, found.read_only));
            mapped.push(found, GFP_KERNEL)?;
        }

        Ok(mapped)
    }

    /// Returns the numbers of allocated bytes.
    pub(crate) fn held(&self) -> Held {
        Held {
            tables: self.fixture.memory.size() - self.fixture.memory.avail(),
            data: self.data_size - self.fixture.data.avail(),
        }
    }

    /// Tears down the address space, and fails unless all memory is free afterwards.
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

/// If there is not enough VRAM for page tables, preparing a job fails and has no effect.
pub(crate) fn vram_runs_out<F: TestFormat>() -> Result {
    for populated in [false, true] {
        for operation in &OPERATIONS {
            let setup = Setup::<F>::new(populated)?;
            let job = setup.prepare(operation)?;
            run_out_for(setup, job, operation, populated)?;
        }
    }

    Ok(())
}

/// Exhausts the VRAM for page tables while `operation` is prepared. `job` performs the same
/// operation on `model` to compute the expected result.
fn run_out_for<F: TestFormat>(
    mut model: Setup<F>,
    job: Job,
    operation: &Operation,
    populated: bool,
) -> Result {
    model.complete(job)?;
    let mut setup = Setup::<F>::new(populated)?;
    let before = (setup.mapped()?, setup.held());

    let mut taken = KVec::<TablePage>::new();
    while let Ok(table) = setup.fixture.memory.alloc_table() {
        taken.push(table, GFP_KERNEL)?;
    }
    let job = loop {
        let full = setup.held();
        match setup.prepare(operation) {
            Ok(job) => break job,
            Err(error) => ensure_eq!(error, ENOSPC),
        }
        ensure_eq!(setup.held(), full);
        setup.fixture.check()?;
        // Provide one more table.
        ensure!(taken.pop().is_some());
    };
    taken.clear();
    job.free();
    ensure!((setup.mapped()?, setup.held()) == before);

    setup.complete(setup.prepare(operation)?)?;
    ensure!(setup.mapped()? == model.mapped()?);
    model.end()?;
    setup.end()
}

/// Cancelling a job has no effect, even if other jobs run between its preparation and cancellation.
pub(crate) fn jobs_are_cancelled<F: TestFormat>() -> Result {
    for cancelled in 0..OPERATIONS.len() {
        let mut setup = Setup::<F>::new(true)?;
        let mut model = Setup::<F>::new(true)?;
        let mut jobs = KVec::new();
        for operation in &OPERATIONS {
            jobs.push(setup.prepare(operation)?, GFP_KERNEL)?;
        }

        for (number, operation) in OPERATIONS.iter().enumerate() {
            let job = jobs.remove(0)?;
            if number == cancelled {
                job.free();
                continue;
            }
            complete(job)?;
            setup.fixture.check()?;
            model.complete(model.prepare(operation)?)?;
            ensure!(same_pages(&setup.mapped()?, &model.mapped()?));
        }
        setup.check()?;
        ensure_eq!(setup.held().data, model.held().data);
        model.end()?;
        setup.end()?;
    }

    Ok(())
}

/// Returns whether the same pages are mapped with the same access, possibly to other memory.
fn same_pages(a: &Mapped, b: &Mapped) -> bool {
    let access = |mapped: &Option<(u64, bool)>| mapped.map(|(_, read_only)| read_only);

    a.iter().map(access).eq(b.iter().map(access))
}

/// Returns the mappings and the allocations after each operation if no operation fails.
fn expected<F: TestFormat>() -> Result<KVec<(Mapped, Held)>> {
    let mut model = Setup::<F>::new(true)?;
    let mut expected = KVec::new();
    for operation in &OPERATIONS {
        model.complete(model.prepare(operation)?)?;
        expected.push((model.mapped()?, model.held()), GFP_KERNEL)?;
    }
    model.end()?;

    Ok(expected)
}

/// After a timeout, memory is not freed and jobs fail immediately until the invalidation is
/// retried.
pub(crate) fn invalidates_time_out<F: TestFormat>() -> Result {
    let expected = expected::<F>()?;

    for first in 0..OPERATIONS.len() {
        for skipped in 0..=2 {
            time_out::<F>(first, skipped, &expected)?;
        }
    }

    Ok(())
}

/// Makes the invalidation of operation `hung` time out. The next `skipped` operations are attempted
/// before the GPU recovers.
fn time_out<F: TestFormat>(hung: usize, skipped: usize, expected: &[(Mapped, Held)]) -> Result {
    let mut setup = Setup::<F>::new(true)?;
    let mut number = 0;
    while let (Some(operation), Some((mapped, held))) =
        (OPERATIONS.get(number), expected.get(number))
    {
        number += 1;
        if number - 1 == hung {
            time_out_once(&mut setup, operation, mapped)?;
            let rest = &OPERATIONS[number..];
            let rest = &rest[..skipped.min(rest.len())];
            fail_at_once_and_recover(&mut setup, rest)?;
            number += rest.len();
        } else {
            setup.complete(setup.prepare(operation)?)?;
            ensure!(same_pages(&setup.mapped()?, mapped));
            ensure_eq!(setup.held(), *held);
            continue;
        }
        let (mapped, held) = expected.get(number - 1).ok_or(EINVAL)?;
        setup.check()?;
        ensure!(same_pages(&setup.mapped()?, mapped));
        ensure_eq!(setup.held(), *held);
    }

    setup.end()
}

/// Runs an operation whose invalidation times out. The page tables change, and no memory is freed.
fn time_out_once<F: TestFormat>(
    setup: &mut Setup<F>,
    operation: &Operation,
    mapped: &Mapped,
) -> Result {
    let tables = setup.fixture.owned()?;
    let before = setup.held();
    let mut job = setup.prepare(operation)?;
    let allocated = setup.held();

    setup.fixture.gpu.hang_invalidate(0);
    ensure_eq!(job.run(), Err(JobError::NotInvalidated(ETIMEDOUT)));
    ensure_eq!(setup.held(), allocated);
    job.free();
    setup.fixture.check()?;
    check_kept(setup, &tables)?;
    ensure!(before.data <= setup.held().data && setup.held().data <= allocated.data);
    ensure!(same_pages(&setup.mapped()?, mapped));

    Ok(())
}

/// Attempts `operations` on a wedged GPU without accessing it. They succeed after the invalidation
/// was retried.
fn fail_at_once_and_recover<F: TestFormat>(
    setup: &mut Setup<F>,
    operations: &[Operation],
) -> Result {
    let mut jobs = KVec::new();
    for operation in operations {
        jobs.push(setup.prepare(operation)?, GFP_KERNEL)?;
    }
    let (mapped, held) = (setup.mapped()?, setup.held());
    setup.fixture.gpu.reset_counts();
    for recovers in [false, true] {
        if recovers {
            setup.fixture.gpu.recover();
        }
        for job in jobs.iter_mut() {
            ensure_eq!(job.run(), Err(JobError::Unchanged(EIO)));
        }
    }
    ensure_eq!(setup.fixture.gpu.counts().total(), 0);
    ensure!((setup.mapped()?, setup.held()) == (mapped, held));

    setup.fixture.vmm.retry_invalidate()?;
    ensure!(!setup.fixture.vmm.has_deferred());
    setup.fixture.check()?;
    while !jobs.is_empty() {
        complete(jobs.remove(0)?)?;
        setup.fixture.check()?;
    }

    Ok(())
}

/// Fails if any of the tables `before`, which the TLB may have cached, is free.
fn check_kept<F: TestFormat>(setup: &Setup<F>, before: &[VramAddress]) -> Result {
    ensure!(setup.fixture.vmm.has_deferred());
    let mut kept = setup.fixture.owned()?;
    for &table in before {
        if !kept.contains(&table) {
            kept.push(table, GFP_KERNEL)?;
        }
    }
    let kept = u64::try_from(kept.len())? * PAGE_SIZE;
    ensure!(setup.held().tables >= kept);

    // The allocator does not return any of the tables.
    let mut taken = KVec::new();
    while let Ok(table) = setup.fixture.memory.alloc_table() {
        ensure!(!before.contains(&table.address()));
        taken.push(table, GFP_KERNEL)?;
    }

    Ok(())
}

/// Returns the commands of the TLB invalidations that `run` issues.
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

/// Deferred frees require an invalidation that waits for accesses in flight, even by a job that
/// only adds mappings. An invalidation of another address space does not release them.
pub(crate) fn deferred_frees_need_downgrade<F: TestFormat>() -> Result {
    let setup = Setup::<F>::new(true)?;
    let other = Vmm::new(
        setup.fixture.hw.clone(),
        setup.fixture.memory.clone(),
        all_pages::<F>()?,
    )?;
    let tables = setup.fixture.owned()?;
    let unmap = setup.prepare(&Unmap(LARGE + 3..MIDDLE + 5))?;
    let map = setup.prepare(&map(LARGE..LARGE + 1))?;
    let again = setup.prepare(&map_small(LARGE + 7..LARGE + 8))?;

    setup.fixture.gpu.hang_invalidate(0);
    ensure_eq!(complete(unmap), Err(ETIMEDOUT));
    setup.fixture.gpu.recover();
    let commands = invalidations(&setup.fixture, || other.retry_invalidate())?;
    ensure_eq!(&commands[..], &[DOWNGRADE]);
    check_kept(&setup, &tables)?;

    let commands = invalidations(&setup.fixture, || complete(map))?;
    ensure_eq!(&commands[..], &[DOWNGRADE]);
    ensure!(!setup.fixture.vmm.has_deferred());
    let commands = invalidations(&setup.fixture, || complete(again))?;
    ensure_eq!(&commands[..], &[UPGRADE]);
    drop(other);

    setup.end()
}

/// A directory of the firmware stays linked when all pages that it spans are unmapped at once.
pub(crate) fn empty_firmware_directory_kept<F: TestFormat>() -> Result {
    let mut fixture =
        Fixture::<F>::of_bar(|gpu, root| layout::directories::<F>(gpu, root).map(drop))?;
    let (root, pages) = (fixture.pdb(), PageSize::Size512M.pages());
    // Large enough for all pages that the last directory spans.
    let limits = vfns(0..2 * pages)?;
    fixture.vmm = Vmm::of_bar(fixture.hw.clone(), fixture.memory.clone(), limits, root)?;
    let before = fixture.gpu.reachable_tables(root)?.len();

    let va = fixture.reserve_at(0..pages)?;
    let vram = fixture.alloc(pages)?;
    fixture.map(&va, 0..pages, &vram, 0, Access::ReadWrite)?;
    fixture.check()?;
    fixture.unmap(&va, 0..pages)?;
    fixture.check()?;
    ensure_eq!(fixture.gpu.reachable_tables(root)?.len(), before);

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
    fn cancel_has_no_effect() -> Result {
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
    fn empty_firmware_directory_kept() -> Result {
        super::empty_firmware_directory_kept::<MmuV2>()
    }
}

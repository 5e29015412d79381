// SPDX-License-Identifier: GPL-2.0

//! Tests with failing hardware accesses, and with a device that is unbound.
//!
//! Memory that the GPU can access is never freed, each page is mapped either as before the job or
//! as requested, and the address space either keeps working or is broken as a whole.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    address::{
        PageSize,
        Vfn,
        VramAddress,
        PAGE_SIZE, //
    },
    format::Access::*,
    model::{
        Access as ModelAccess,
        Direction,
        GpuModel,
        Translation, //
    },
    vmm::{
        tests::fixture::{
            backing,
            complete,
            ensure,
            ensure_eq,
            within,
            within_raw,
            Area,
            Fixture,
            TestFormat,
            LARGE, //
        },
        Job,
        JobError,
        Vmm, //
    },
    vram::{
        TablePage,
        VramAllocator, //
    }, //
};

/// An operation on the pages of a [`Setup`].
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Maps new memory, starting at its page `skip`.
    Map(Range<u64>, u64),
    Unmap(Range<u64>),
    Protect(Range<u64>),
}

pub(crate) use self::Operation::*;

impl Operation {
    /// Prepares a job for the operation on pages of `area`, with memory from `data`.
    pub(crate) fn prepare(&self, vmm: &Arc<Vmm>, area: &Area, data: &VramAllocator) -> Result<Job> {
        let pages = within(area, self.pages().clone())?;

        match self {
            Map(_, skip) => {
                let vram = data.alloc(2 * LARGE * PAGE_SIZE, PageSize::Size2M)?;
                let vram = Arc::new(vram, GFP_KERNEL)?;

                vmm.prepare_map(pages, backing(&vram, *skip, ReadWrite))
            }
            Unmap(_) => vmm.prepare_unmap(pages),
            Protect(_) => vmm.prepare_protect(pages, ReadOnly),
        }
    }

    /// Returns the pages of the operation.
    pub(crate) fn pages(&self) -> &Range<u64> {
        match self {
            Map(pages, _) | Unmap(pages) | Protect(pages) => pages,
        }
    }
}

/// Mappings of a new [`Setup`]: a 2 MiB page, small pages, and 64 KiB pages.
pub(crate) const POPULATED: [Operation; 3] = [
    Map(0..LARGE, 0),
    Map(LARGE + 3..LARGE + 20, 0),
    Map(LARGE + 64..LARGE + 128, 64),
];

/// Operations on these mappings.
pub(crate) const OPERATIONS: [Operation; 20] = [
    // With and without an existing table.
    Map(LARGE + 30..LARGE + 33, 0),
    Map(LARGE + 160..LARGE + 192, 32),
    Map(2 * LARGE + 3..2 * LARGE + 5, 0),
    Map(2 * LARGE + 16..2 * LARGE + 35, 16),
    // In place of small pages: small pages, 64 KiB pages, and a 2 MiB page.
    Map(LARGE + 5..LARGE + 9, 0),
    Map(LARGE..LARGE + 32, 32),
    Map(LARGE..2 * LARGE, LARGE),
    // In place of 64 KiB pages: part of one, and all of them.
    Map(LARGE + 70..LARGE + 73, 0),
    Map(LARGE + 64..LARGE + 128, 1),
    // In place of a 2 MiB page: part of it, and all of it with small pages.
    Map(3..5, 0),
    Map(0..LARGE, 1),
    Protect(LARGE + 5..LARGE + 8),
    Protect(LARGE + 72..LARGE + 96),
    Protect(0..LARGE),
    Protect(3..5),
    Unmap(LARGE + 5..LARGE + 8),
    Unmap(LARGE + 3..LARGE + 20),
    Unmap(LARGE + 70..LARGE + 100),
    Unmap(3..5),
    Unmap(0..2 * LARGE),
];

/// Number of pages of a [`Setup`].
pub(crate) const PAGES: u64 = 3 * LARGE;

/// An address space whose pages cross an entry boundary of nearly all levels.
///
/// The mappings own the only references to the mapped memory.
pub(crate) struct Setup<F: TestFormat> {
    pub(crate) fixture: Fixture<F>,
    pub(crate) va: Area,
}

/// Translation of each page: address of the memory, and whether writes fault.
pub(crate) type Mapped = KVec<Option<(u64, bool)>>;

impl<F: TestFormat> Setup<F> {
    fn new() -> Result<Self> {
        let middle = PageSize::Size256G.pages();

        Self::on(Fixture::new()?, middle - 2 * LARGE..middle + LARGE)
    }

    /// Creates a setup at `pages` of an address space.
    pub(crate) fn on(fixture: Fixture<F>, pages: Range<u64>) -> Result<Self> {
        let setup = Self {
            va: fixture.reserve_at(pages)?,
            fixture,
        };
        for operation in &POPULATED {
            setup.complete(operation)?;
        }
        // Fill the TLB.
        fill_tlb(
            &setup.fixture.gpu,
            setup.fixture.pdb(),
            &setup.va,
            setup.fixture.is_bar,
        )?;

        Ok(setup)
    }

    pub(crate) fn prepare(&self, operation: &Operation) -> Result<Job> {
        operation.prepare(&self.fixture.vmm, &self.va, &self.fixture.data)
    }

    /// Prepares, runs and frees a job for an operation.
    pub(crate) fn complete(&self, operation: &Operation) -> Result {
        complete(self.prepare(operation)?)
    }

    /// Returns the translation of each page by the page tables.
    pub(crate) fn mapped(&self) -> Result<Mapped> {
        mapped(&self.fixture.gpu, self.fixture.pdb(), &self.va)
    }
}

/// Returns the kinds of access that use an address space.
fn accesses(is_bar: bool) -> &'static [ModelAccess] {
    match is_bar {
        true => &[ModelAccess::HUB_READ],
        false => &[ModelAccess::HUB_READ, ModelAccess::READ],
    }
}

/// Fills the TLB by reading at each page of `va`.
pub(crate) fn fill_tlb(gpu: &GpuModel, pdb: VramAddress, va: &Area, is_bar: bool) -> Result {
    for page in within_raw(va, &(0..PAGES)) {
        for &access in accesses(is_bar) {
            let _ = gpu.translate(pdb, Vfn::new(page)?.address(), access);
        }
    }

    Ok(())
}

/// Returns the translation of each page of `va` by the page tables.
pub(crate) fn mapped(gpu: &GpuModel, pdb: VramAddress, va: &Area) -> Result<Mapped> {
    let mut mapped = KVec::with_capacity(usize::try_from(PAGES)?, GFP_KERNEL)?;
    for page in within_raw(va, &(0..PAGES)) {
        let found = gpu.walk(pdb, Vfn::new(page)?.address()).ok();
        mapped.push(found.map(|it| (it.address, it.read_only)), GFP_KERNEL)?;
    }

    Ok(mapped)
}

/// Returns whether the same pages are mapped.
pub(crate) fn same_pages(a: &Mapped, b: &Mapped) -> bool {
    a.iter()
        .map(Option::is_some)
        .eq(b.iter().map(Option::is_some))
}

/// Fails if the GPU can access free memory through the page tables or its TLB, or if any of the
/// tables `before`, which the TLB may have cached, is free.
pub(crate) fn ensure_free_unreachable(
    gpu: &GpuModel,
    pdb: VramAddress,
    (pages, is_bar): (Range<u64>, bool),
    (memory, data): (&VramAllocator, &VramAllocator),
    before: &[VramAddress],
) -> Result {
    gpu.drain();
    let mut tables = KVec::<TablePage>::new();
    while let Ok(table) = memory.alloc_table() {
        tables.push(table, GFP_KERNEL)?;
    }
    let is_free = |address| tables.iter().any(|table| table.address() == address);
    for table in gpu.reachable_tables(pdb)? {
        ensure!(!is_free(table.address));
    }
    for &table in before {
        ensure!(!is_free(table));
    }

    let free = data.alloc(data.avail(), PageSize::Size4K)?;
    let ensure_in_use = |found: Translation| {
        let address = VramAddress::new(found.address);
        ensure!(!free.ranges().any(|range| range.contains(&address)));

        Ok(())
    };
    for page in pages {
        let address = Vfn::new(page)?.address();
        gpu.walk(pdb, address).map_or(Ok(()), ensure_in_use)?;
        for &access in accesses(is_bar) {
            gpu.translate(pdb, address, access)
                .map_or(Ok(()), ensure_in_use)?;
        }
    }

    Ok(())
}

/// Returns whether access `number` is tested. Most writes that fill a table are skipped.
fn is_tested(number: u64) -> bool {
    number % (LARGE / 2) < 8 || number % (LARGE / 2) > LARGE / 2 - 8
}

/// A hardware failure that is injected while a job runs.
#[derive(Clone, Copy, Debug)]
enum Injected {
    /// One access fails, after this number of other accesses in the same direction.
    Access(Direction, u64),
    /// The device is unbound after this number of RCU read-side critical sections.
    Unbound(u64),
}

impl Injected {
    /// Makes the hardware fail until [`Self::end`].
    fn start(self, gpu: &GpuModel) {
        match self {
            Self::Access(direction, skip) => gpu.fail_access(direction, skip),
            Self::Unbound(sections) => gpu.unbind_after(Some(sections)),
        }
    }

    /// Returns whether this makes an access fail. An unbind has no effect if it happens after the
    /// last access.
    fn is_access(self) -> bool {
        matches!(self, Self::Access(..))
    }

    /// Ends the failure. Returns the error of failing accesses, or [`None`] if too few accesses
    /// were made.
    fn end(self, gpu: &GpuModel) -> Option<Error> {
        match self {
            Self::Access(..) => gpu.has_failed().then_some(EIO),
            Self::Unbound(_) => {
                let is_unbound = gpu.is_unbound();
                gpu.unbind_after(None);

                is_unbound.then_some(ENODEV)
            }
        }
    }
}

/// Makes each access of each operation fail once.
pub(crate) fn each_access_fails<F: TestFormat>() -> Result {
    let write = |number| Injected::Access(Direction::Write, number);
    ensure_each_failure::<F>(write)?;

    let read = |number| Injected::Access(Direction::Read, number);
    let (broken, pending) = ensure_each_failure::<F>(read)?;
    // Updates do not read page tables.
    ensure!(broken == 0 && pending > 50);

    Ok(())
}

/// Unbinds the device at each point of each operation.
pub(crate) fn each_unbind<F: TestFormat>() -> Result {
    let (broken, pending) = ensure_each_failure::<F>(Injected::Unbound)?;
    ensure!(broken > 50 && pending > 50);

    Ok(())
}

/// Makes the hardware fail at each point of each operation. Returns the number of failures that
/// broke the address space, and of failures after which only the invalidation was missing.
fn ensure_each_failure<F: TestFormat>(injected: impl Fn(u64) -> Injected) -> Result<(u32, u32)> {
    let mut failures = (0, 0);
    for operation in &OPERATIONS {
        let model = Setup::<F>::new()?;
        let job = model.prepare(operation)?;
        model.fixture.gpu.reset_counts();
        complete(job)?;
        let expected = Expected {
            words: model.fixture.gpu.counts().pramin_writes,
            mapped: model.mapped()?,
        };

        for number in (0..).filter(|&number| is_tested(number)) {
            match run_with_failure::<F>(operation, injected(number), &expected)? {
                None => break,
                Some(JobError::Broken(_)) => failures.0 += 1,
                Some(_) => failures.1 += 1,
            }
        }
    }

    Ok(failures)
}

/// Effect of an operation without failures.
struct Expected {
    /// Number of words that running the job writes.
    words: u64,
    /// Translations after the operation.
    mapped: Mapped,
}

/// Performs `operation` on failing hardware and checks the result. Returns the error, or [`None`]
/// if the operation makes too few accesses to fail.
fn run_with_failure<F: TestFormat>(
    operation: &Operation,
    injected: Injected,
    expected: &Expected,
) -> Result<Option<JobError>> {
    let setup = Setup::<F>::new()?;
    let (before, tables) = (setup.mapped()?, setup.fixture.owned()?);
    let mut job = setup.prepare(operation)?;
    let gpu = setup.fixture.gpu.clone();

    gpu.reset_counts();
    injected.start(&gpu);
    let result = job.run();
    let error = injected.end(&gpu);
    let Some(error) = error.filter(|_| result.is_err() || injected.is_access()) else {
        result?;
        return Ok(None);
    };
    let failure = match gpu.counts().pramin_writes < expected.words {
        true => JobError::Broken(error),
        false => JobError::NotInvalidated(error),
    };
    ensure_eq!(result, Err(failure));
    let again = match failure {
        JobError::Broken(_) => EIO,
        _ => EINVAL,
    };
    ensure_eq!(job.run(), Err(JobError::Unchanged(again)));
    job.free();

    let pools = (setup.fixture.memory.clone(), setup.fixture.data.clone());
    let pdb = setup.fixture.pdb();
    let pages = (within_raw(&setup.va, &(0..PAGES)), false);
    let ensure_kept =
        || ensure_free_unreachable(&gpu, pdb, pages.clone(), (&pools.0, &pools.1), &tables);
    ensure_kept()?;
    let found = setup.mapped()?;
    for ((found, before), after) in found.iter().zip(&before).zip(&expected.mapped) {
        ensure!(found == before || found == after);
    }

    match failure {
        JobError::Broken(_) => {
            ensure_broken(setup, operation)?;
            ensure_kept()?;
        }
        _ => ensure_works(setup, operation, &expected.mapped)?,
    }
    gpu.check_clean()?;

    Ok(Some(failure))
}

/// Fails unless the address space stays unusable although the hardware works again. Drops the
/// address space.
fn ensure_broken<F: TestFormat>(setup: Setup<F>, operation: &Operation) -> Result {
    let free = setup.fixture.data.avail();
    let mut job = setup.prepare(operation)?;
    setup.fixture.gpu.reset_counts();
    for _ in 0..2 {
        ensure_eq!(job.run(), Err(JobError::Unchanged(EIO)));
    }
    job.free();
    // Only memory that was not mapped is freed.
    ensure_eq!(setup.fixture.data.avail(), free);
    ensure_eq!(setup.fixture.vmm.retry_invalidate(), Err(EIO));
    ensure_eq!(setup.fixture.teardown(), Err(EIO));
    ensure_eq!(setup.fixture.gpu.counts().total(), 0);
    ensure_eq!(setup.fixture.data.avail(), free);

    Ok(())
}

/// Fails unless the address space is usable after `operation` has updated the page tables without
/// an invalidation. All memory is freed at the end.
fn ensure_works<F: TestFormat>(
    mut setup: Setup<F>,
    operation: &Operation,
    expected: &Mapped,
) -> Result {
    let pools = (setup.fixture.memory.clone(), setup.fixture.data.clone());
    ensure!(setup.fixture.vmm.has_deferred());
    setup.complete(operation)?;
    ensure!(!setup.fixture.vmm.has_deferred());
    setup.fixture.check()?;
    ensure!(same_pages(&setup.mapped()?, expected));
    setup.fixture.teardown()?;
    setup.fixture.check()?;
    drop(setup);
    ensure_eq!(pools.0.avail(), pools.0.size());
    ensure_eq!(pools.1.avail(), pools.1.size());

    Ok(())
}

/// Makes each access of a teardown fail once, and unbinds the device at each point of it. A second
/// teardown frees either all memory or none.
pub(crate) fn each_teardown_access_fails<F: TestFormat>() -> Result {
    let kinds: [fn(u64) -> Injected; 3] = [
        |number| Injected::Access(Direction::Write, number),
        |number| Injected::Access(Direction::Read, number),
        Injected::Unbound,
    ];
    for injected in kinds {
        let mut number = 0;
        while teardown_with_failure::<F>(injected(number))? {
            number += 1;
        }
        ensure!(number > 1);
    }

    Ok(())
}

/// Tears down an address space on failing hardware. Returns whether the failure occurred.
fn teardown_with_failure<F: TestFormat>(injected: Injected) -> Result<bool> {
    let mut setup = Setup::<F>::new()?;
    // One more mapping at a distance from the others.
    let vram = setup.fixture.alloc(1)?;
    setup.fixture.map_all(&vram, ReadOnly)?;
    drop(vram);
    let (gpu, pdb, tables) = (
        setup.fixture.gpu.clone(),
        setup.fixture.pdb(),
        setup.fixture.owned()?,
    );
    let pools = (setup.fixture.memory.clone(), setup.fixture.data.clone());
    let pages = (within_raw(&setup.va, &(0..PAGES)), false);
    let ensure_kept =
        || ensure_free_unreachable(&gpu, pdb, pages.clone(), (&pools.0, &pools.1), &tables);

    injected.start(&gpu);
    let result = setup.fixture.teardown();
    let error = injected.end(&gpu);
    let Some(error) = error.filter(|_| result.is_err() || injected.is_access()) else {
        result?;
        return Ok(false);
    };
    ensure_eq!(result, Err(error));
    ensure_kept()?;

    match setup.fixture.teardown() {
        Ok(()) => {
            setup.fixture.check()?;
            drop(setup);
            ensure_eq!(pools.0.avail(), pools.0.size());
            ensure_eq!(pools.1.avail(), pools.1.size());
        }
        Err(error) => {
            ensure_eq!(error, EIO);
            drop(setup);
            ensure_kept()?;
        }
    }
    gpu.check_clean()?;

    Ok(true)
}

/// Tests of chips on which PRAMIN does not support 64-bit accesses.
pub(crate) mod narrow {
    use super::*;
    use crate::mm::{
        model::{
            Logged,
            WideAccess, //
        },
        vmm::tests::{
            fixture::TABLES,
            trace::TABLE_WORDS, //
        }, //
    };

    /// A second GPU model on which the writes of a job are repeated.
    struct Replay {
        gpu: Arc<GpuModel>,
    }

    impl Replay {
        /// Copies all tables, including prepared ones, to a new GPU model.
        fn new<F: TestFormat>(fixture: &Fixture<F>) -> Result<Self> {
            let gpu = Fixture::<F>::gpu()?;
            fixture.gpu.drain();
            for page in TABLES.step_by(PAGE_SIZE.try_into()?) {
                let page = VramAddress::new(page);
                gpu.vram_write(page, &fixture.gpu.vram_read(page, TABLE_WORDS)?);
            }

            Ok(Self { gpu })
        }

        /// Repeats the writes of a job, each of which covers half a word, and calls `visit` after
        /// each.
        fn write(&self, log: &[Logged], visit: &mut dyn FnMut(&GpuModel) -> Result) -> Result {
            for event in log {
                let Logged::Write {
                    address,
                    value,
                    width,
                } = *event
                else {
                    continue;
                };
                ensure_eq!(width, 4);
                let word = VramAddress::new(address.into_raw() & !7);
                let shift = 8 * (address.into_raw() - word.into_raw());
                let old = self.gpu.vram_read64(word) & !(0xffff_ffff << shift);
                self.gpu.vram_write64(word, old | value << shift);
                visit(&self.gpu)?;
            }

            Ok(())
        }
    }

    /// Memory below and above an address at which the upper half of an entry changes.
    fn data<F: TestFormat>() -> Result<[VramAllocator; 2]> {
        let pool = |address: u64| {
            let start = VramAddress::new(address);
            VramAllocator::new(&[start..start.checked_add(16 * LARGE * PAGE_SIZE)?])
        };

        Ok([pool(F::HALF - 16 * LARGE * PAGE_SIZE)?, pool(F::HALF)?])
    }

    /// No page is ever mapped to memory other than its old or its new memory.
    pub(crate) fn pages_are_never_mixed<F: TestFormat>() -> Result {
        for operation in &OPERATIONS {
            let mut fixture = Fixture::<F>::with_wide_access(WideAccess::Dropped)?;
            let [below, above] = data::<F>()?;
            let middle = PageSize::Size256G.pages();
            fixture.data = below;
            let mut setup = Setup::on(fixture, middle - 2 * LARGE..middle + LARGE)?;
            setup.fixture.check()?;
            let before = setup.mapped()?;
            ensure_eq!(
                before.iter().flatten().count(),
                usize::try_from(LARGE + 17 + 64)?
            );

            setup.fixture.data = above;
            let job = setup.prepare(operation)?;
            let replay = Replay::new(&setup.fixture)?;
            setup.fixture.gpu.start_log(8192)?;
            complete(job)?;
            let log = setup.fixture.gpu.take_log();
            setup.fixture.check()?;
            let after = setup.mapped()?;

            // A sample of the pages that change, of which there are at most a few hundred.
            let pdb = setup.fixture.pdb();
            let first = setup.va.pages().start;
            let changed = |number: &usize| before[*number] != after[*number];
            let sampled = || (0..before.len()).filter(changed).step_by(61);
            replay.write(&log, &mut |gpu| {
                for number in sampled() {
                    let page = first.checked_add(u64::try_from(number)?)?;
                    let found = gpu.walk(pdb, page.address()).ok();
                    let found = found.map(|it| (it.address, it.read_only));
                    ensure!(found.is_none() || found == before[number] || found == after[number]);
                }

                Ok(())
            })?;
            for number in sampled() {
                let page = first.checked_add(u64::try_from(number)?)?;
                let found = replay.gpu.walk(pdb, page.address()).ok();
                ensure_eq!(found.map(|it| (it.address, it.read_only)), after[number]);
            }
            replay.gpu.check_clean()?;
            setup.fixture.teardown()?;
            setup.fixture.check()?;
        }

        Ok(())
    }
}

#[kunit_tests(nova_core_mm_hardware_v2)]
mod suite {
    use super::*;
    use crate::mm::format::v2::MmuV2;

    #[test]
    fn job_access_failure() -> Result {
        each_access_fails::<MmuV2>()
    }

    #[test]
    fn teardown_access_failure() -> Result {
        each_teardown_access_fails::<MmuV2>()
    }

    #[test]
    fn job_device_unbound() -> Result {
        each_unbind::<MmuV2>()
    }

    #[test]
    fn narrow_writes_never_mixed() -> Result {
        narrow::pages_are_never_mixed::<MmuV2>()
    }
}

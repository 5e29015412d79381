// SPDX-License-Identifier: GPL-2.0

//! Accesses to the hardware that fail, and devices that are unbound.
//!
//! Memory that the GPU can reach is not freed, each page is mapped as before or as requested, and
//! the address space either works as before or is broken as a whole.

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
        SoftGpu,
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

/// An operation on the pages of a [`Scene`].
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Maps new memory, from its page `skip` on.
    Map(Range<u64>, u64),
    Unmap(Range<u64>),
    Protect(Range<u64>),
}

pub(crate) use self::Operation::*;

impl Operation {
    /// Prepares a job that does the operation on pages of `area`, with memory from `data`.
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

    /// Returns the pages that it changes.
    pub(crate) fn pages(&self) -> &Range<u64> {
        match self {
            Map(pages, _) | Unmap(pages) | Protect(pages) => pages,
        }
    }
}

/// Mappings of a new [`Scene`]: a page of 2 MiB, small pages, and pages of 64 KiB.
pub(crate) const POPULATED: [Operation; 3] = [
    Map(0..LARGE, 0),
    Map(LARGE + 3..LARGE + 20, 0),
    Map(LARGE + 64..LARGE + 128, 64),
];

/// Operations on these mappings.
pub(crate) const OPERATIONS: [Operation; 20] = [
    // Where there is a table, or none.
    Map(LARGE + 30..LARGE + 33, 0),
    Map(LARGE + 160..LARGE + 192, 32),
    Map(2 * LARGE + 3..2 * LARGE + 5, 0),
    Map(2 * LARGE + 16..2 * LARGE + 35, 16),
    // Over small pages: small pages, pages of 64 KiB, and a page of 2 MiB.
    Map(LARGE + 5..LARGE + 9, 0),
    Map(LARGE..LARGE + 32, 32),
    Map(LARGE..2 * LARGE, LARGE),
    // Over pages of 64 KiB: a part of one, and all of them.
    Map(LARGE + 70..LARGE + 73, 0),
    Map(LARGE + 64..LARGE + 128, 1),
    // Over a page of 2 MiB: a part of it, or all of it with small pages.
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

/// Number of pages of a [`Scene`].
pub(crate) const PAGES: u64 = 3 * LARGE;

/// An address space in which the pages in use cross an entry boundary of nearly all levels.
///
/// The mappings are the only owners of the mapped memory.
pub(crate) struct Scene<F: TestFormat> {
    pub(crate) fixture: Fixture<F>,
    pub(crate) va: Area,
}

/// The translation of each page: the address of the memory, and whether writes fault.
pub(crate) type Mapped = KVec<Option<(u64, bool)>>;

impl<F: TestFormat> Scene<F> {
    fn new() -> Result<Self> {
        let middle = PageSize::Size256G.pages();

        Self::on(Fixture::new()?, middle - 2 * LARGE..middle + LARGE)
    }

    /// Creates a scene at `pages` of an address space.
    pub(crate) fn on(fixture: Fixture<F>, pages: Range<u64>) -> Result<Self> {
        let scene = Self {
            va: fixture.reserve_at(pages)?,
            fixture,
        };
        for operation in &POPULATED {
            scene.complete(operation)?;
        }
        // Fills the TLB.
        look(
            &scene.fixture.gpu,
            scene.fixture.pdb(),
            &scene.va,
            scene.fixture.is_bar,
        )?;

        Ok(scene)
    }

    pub(crate) fn prepare(&self, operation: &Operation) -> Result<Job> {
        operation.prepare(&self.fixture.vmm, &self.va, &self.fixture.data)
    }

    /// Does an operation in all stages.
    pub(crate) fn complete(&self, operation: &Operation) -> Result {
        complete(self.prepare(operation)?)
    }

    /// Returns the translation of each page according to the page tables.
    pub(crate) fn mapped(&self) -> Result<Mapped> {
        mapped(&self.fixture.gpu, self.fixture.pdb(), &self.va)
    }
}

/// Returns the kinds of access that an address space serves.
fn accesses(is_bar: bool) -> &'static [ModelAccess] {
    match is_bar {
        true => &[ModelAccess::HUB_READ],
        false => &[ModelAccess::HUB_READ, ModelAccess::READ],
    }
}

/// Lets the GPU read at each page of `va`.
pub(crate) fn look(gpu: &SoftGpu, pdb: VramAddress, va: &Area, is_bar: bool) -> Result {
    for page in within_raw(va, &(0..PAGES)) {
        for &access in accesses(is_bar) {
            let _ = gpu.translate(pdb, Vfn::new(page)?.address(), access);
        }
    }

    Ok(())
}

/// Returns the translation of each page of `va` according to the page tables.
pub(crate) fn mapped(gpu: &SoftGpu, pdb: VramAddress, va: &Area) -> Result<Mapped> {
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

/// Fails if the GPU can reach free memory through the page tables or its TLB, or if one of the
/// tables `before`, which the TLB may have cached, is free.
pub(crate) fn ensure_apart(
    gpu: &SoftGpu,
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
    for table in gpu.reach(pdb)? {
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

/// Returns whether access `number` is tested. Most writes that fill a table are left out.
fn is_tried(number: u64) -> bool {
    number % (LARGE / 2) < 8 || number % (LARGE / 2) > LARGE / 2 - 8
}

/// A way in which the hardware fails while a job runs.
#[derive(Clone, Copy, Debug)]
enum Failing {
    /// One access fails, after this number of accesses in the same direction.
    Access(Direction, u64),
    /// The device is unbound after this number of RCU read-side critical sections.
    Unbound(u64),
}

impl Failing {
    /// Lets the hardware fail. It works again after [`Self::ended`].
    fn start(self, gpu: &SoftGpu) {
        match self {
            Self::Access(direction, skip) => gpu.fail_access(direction, skip),
            Self::Unbound(sections) => gpu.unbind_after(Some(sections)),
        }
    }

    /// Returns whether this lets an access fail. That the device is unbound need not have any
    /// effect, if it happens after the last access.
    fn is_access(self) -> bool {
        matches!(self, Self::Access(..))
    }

    /// Returns the error of accesses that fail; [`None`] if there were not enough accesses.
    fn ended(self, gpu: &SoftGpu) -> Option<Error> {
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

/// Each access of each operation fails once.
pub(crate) fn each_access_fails<F: TestFormat>() -> Result {
    let write = |number| Failing::Access(Direction::Write, number);
    ensure_each_failure::<F>(write)?;

    let read = |number| Failing::Access(Direction::Read, number);
    let (broken, pending) = ensure_each_failure::<F>(read)?;
    // Updates do not read page tables.
    ensure!(broken == 0 && pending > 50);

    Ok(())
}

/// The device is unbound at each moment of each operation.
pub(crate) fn each_unbind<F: TestFormat>() -> Result {
    let (broken, pending) = ensure_each_failure::<F>(Failing::Unbound)?;
    ensure!(broken > 50 && pending > 50);

    Ok(())
}

/// Lets the hardware fail at each moment of each operation. Returns how many times that has left
/// the address space broken, and how many times only the invalidation was missing.
fn ensure_each_failure<F: TestFormat>(failing: impl Fn(u64) -> Failing) -> Result<(u32, u32)> {
    let mut failures = (0, 0);
    for operation in &OPERATIONS {
        let model = Scene::<F>::new()?;
        let job = model.prepare(operation)?;
        model.fixture.gpu.reset_counts();
        complete(job)?;
        let expected = Expected {
            words: model.fixture.gpu.counts().pramin_writes,
            mapped: model.mapped()?,
        };

        for number in (0..).filter(|&number| is_tried(number)) {
            match fail::<F>(operation, failing(number), &expected)? {
                None => break,
                Some(JobError::Broken(_)) => failures.0 += 1,
                Some(_) => failures.1 += 1,
            }
        }
    }

    Ok(failures)
}

/// What an operation does if nothing fails.
struct Expected {
    /// Number of words that it writes while it runs.
    words: u64,
    /// Translations after it.
    mapped: Mapped,
}

/// Does `operation` on hardware that fails, and checks what is left. Returns the error; [`None`] if
/// the operation makes too few accesses to fail.
fn fail<F: TestFormat>(
    operation: &Operation,
    failing: Failing,
    expected: &Expected,
) -> Result<Option<JobError>> {
    let scene = Scene::<F>::new()?;
    let (before, tables) = (scene.mapped()?, scene.fixture.owned()?);
    let mut job = scene.prepare(operation)?;
    let gpu = scene.fixture.gpu.clone();

    gpu.reset_counts();
    failing.start(&gpu);
    let result = job.run();
    let error = failing.ended(&gpu);
    let Some(error) = error.filter(|_| result.is_err() || failing.is_access()) else {
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

    let pools = (scene.fixture.memory.clone(), scene.fixture.data.clone());
    let pdb = scene.fixture.pdb();
    let pages = (within_raw(&scene.va, &(0..PAGES)), false);
    let ensure_kept = || ensure_apart(&gpu, pdb, pages.clone(), (&pools.0, &pools.1), &tables);
    ensure_kept()?;
    let found = scene.mapped()?;
    for ((found, before), after) in found.iter().zip(&before).zip(&expected.mapped) {
        ensure!(found == before || found == after);
    }

    match failure {
        JobError::Broken(_) => {
            ensure_broken(scene, operation)?;
            ensure_kept()?;
        }
        _ => ensure_works(scene, operation, &expected.mapped)?,
    }
    gpu.check_clean()?;

    Ok(Some(failure))
}

/// Fails unless the address space cannot be used, although the hardware works again. Drops it.
fn ensure_broken<F: TestFormat>(scene: Scene<F>, operation: &Operation) -> Result {
    let free = scene.fixture.data.avail();
    let mut job = scene.prepare(operation)?;
    scene.fixture.gpu.reset_counts();
    for _ in 0..2 {
        ensure_eq!(job.run(), Err(JobError::Unchanged(EIO)));
    }
    job.free();
    // Memory that was not mapped is freed, and no other memory.
    ensure_eq!(scene.fixture.data.avail(), free);
    ensure_eq!(scene.fixture.vmm.retry_invalidate(), Err(EIO));
    ensure_eq!(scene.fixture.teardown(), Err(EIO));
    ensure_eq!(scene.fixture.gpu.counts().total(), 0);
    ensure_eq!(scene.fixture.data.avail(), free);

    Ok(())
}

/// Fails unless the address space can be used after `operation` has changed the page tables without
/// an invalidation. Everything is freed in the end.
fn ensure_works<F: TestFormat>(
    mut scene: Scene<F>,
    operation: &Operation,
    expected: &Mapped,
) -> Result {
    let pools = (scene.fixture.memory.clone(), scene.fixture.data.clone());
    ensure!(scene.fixture.vmm.has_deferred());
    scene.complete(operation)?;
    ensure!(!scene.fixture.vmm.has_deferred());
    scene.fixture.check()?;
    ensure!(same_pages(&scene.mapped()?, expected));
    scene.fixture.teardown()?;
    scene.fixture.check()?;
    drop(scene);
    ensure_eq!(pools.0.avail(), pools.0.size());
    ensure_eq!(pools.1.avail(), pools.1.size());

    Ok(())
}

/// Each access of a teardown fails once, and the device is unbound at each moment of it. A second
/// teardown frees all memory, or none is ever freed.
pub(crate) fn each_teardown_access_fails<F: TestFormat>() -> Result {
    let kinds: [fn(u64) -> Failing; 3] = [
        |number| Failing::Access(Direction::Write, number),
        |number| Failing::Access(Direction::Read, number),
        Failing::Unbound,
    ];
    for failing in kinds {
        let mut number = 0;
        while fail_teardown::<F>(failing(number))? {
            number += 1;
        }
        ensure!(number > 1);
    }

    Ok(())
}

/// Tears an address space down on hardware that fails. Returns whether it has failed.
fn fail_teardown<F: TestFormat>(failing: Failing) -> Result<bool> {
    let mut scene = Scene::<F>::new()?;
    // One more mapping, far from the others.
    let vram = scene.fixture.alloc(1)?;
    scene.fixture.map_all(&vram, ReadOnly)?;
    drop(vram);
    let (gpu, pdb, tables) = (
        scene.fixture.gpu.clone(),
        scene.fixture.pdb(),
        scene.fixture.owned()?,
    );
    let pools = (scene.fixture.memory.clone(), scene.fixture.data.clone());
    let pages = (within_raw(&scene.va, &(0..PAGES)), false);
    let ensure_kept = || ensure_apart(&gpu, pdb, pages.clone(), (&pools.0, &pools.1), &tables);

    failing.start(&gpu);
    let result = scene.fixture.teardown();
    let error = failing.ended(&gpu);
    let Some(error) = error.filter(|_| result.is_err() || failing.is_access()) else {
        result?;
        return Ok(false);
    };
    ensure_eq!(result, Err(error));
    ensure_kept()?;

    match scene.fixture.teardown() {
        Ok(()) => {
            scene.fixture.check()?;
            drop(scene);
            ensure_eq!(pools.0.avail(), pools.0.size());
            ensure_eq!(pools.1.avail(), pools.1.size());
        }
        Err(error) => {
            ensure_eq!(error, EIO);
            drop(scene);
            ensure_kept()?;
        }
    }
    gpu.check_clean()?;

    Ok(true)
}

/// Chips on which PRAMIN takes no accesses of 64 bits.
pub(crate) mod narrow {
    use super::*;
    use crate::mm::{
        model::{
            Logged,
            WideAccess, //
        },
        vmm::tests::fixture::TABLES, //
    };

    /// A second GPU model, which goes through each state of the page tables.
    struct Replay {
        gpu: Arc<SoftGpu>,
    }

    impl Replay {
        /// Copies all tables, including those that are prepared, to a new GPU model.
        fn new<F: TestFormat>(fixture: &Fixture<F>) -> Result<Self> {
            let gpu = Fixture::<F>::gpu()?;
            fixture.gpu.drain();
            for address in TABLES.step_by(8) {
                let address = VramAddress::new(address);
                gpu.vram_write64(address, fixture.gpu.vram_read64(address));
            }

            Ok(Self { gpu })
        }

        /// Repeats the writes of a job, each of which is half a word, and calls `moment` after
        /// each.
        fn write(&self, log: &[Logged], moment: &mut dyn FnMut(&SoftGpu) -> Result) -> Result {
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
                moment(&self.gpu)?;
            }

            Ok(())
        }
    }

    /// Memory on both sides of an address at which the upper half of an entry changes.
    fn data<F: TestFormat>() -> Result<[VramAllocator; 2]> {
        let pool = |address: u64| {
            let start = VramAddress::new(address);
            VramAllocator::new(&[start..start.checked_add(16 * LARGE * PAGE_SIZE)?])
        };

        Ok([pool(F::HALF - 16 * LARGE * PAGE_SIZE)?, pool(F::HALF)?])
    }

    /// At no moment is a page mapped to memory that neither was nor is to be mapped there.
    pub(crate) fn pages_are_never_mixed<F: TestFormat>() -> Result {
        for operation in &OPERATIONS {
            let mut fixture = Fixture::<F>::with_wide_access(WideAccess::Dropped)?;
            let [below, above] = data::<F>()?;
            let middle = PageSize::Size256G.pages();
            fixture.data = below;
            let mut scene = Scene::on(fixture, middle - 2 * LARGE..middle + LARGE)?;
            scene.fixture.check()?;
            let before = scene.mapped()?;
            ensure_eq!(
                before.iter().flatten().count(),
                usize::try_from(LARGE + 17 + 64)?
            );

            scene.fixture.data = above;
            let job = scene.prepare(operation)?;
            let replay = Replay::new(&scene.fixture)?;
            scene.fixture.gpu.start_log(8192)?;
            complete(job)?;
            let log = scene.fixture.gpu.take_log();
            scene.fixture.check()?;
            let after = scene.mapped()?;

            // Some of the pages that change, of which there are some hundreds at most.
            let pdb = scene.fixture.pdb();
            let first = scene.va.pages().start;
            let changed = |number: &usize| before[*number] != after[*number];
            let looked_at = || (0..before.len()).filter(changed).step_by(61);
            replay.write(&log, &mut |gpu| {
                for number in looked_at() {
                    let page = first.checked_add(u64::try_from(number)?)?;
                    let found = gpu.walk(pdb, page.address()).ok();
                    let found = found.map(|it| (it.address, it.read_only));
                    ensure!(found.is_none() || found == before[number] || found == after[number]);
                }

                Ok(())
            })?;
            for number in looked_at() {
                let page = first.checked_add(u64::try_from(number)?)?;
                let found = replay.gpu.walk(pdb, page.address()).ok();
                ensure_eq!(found.map(|it| (it.address, it.read_only)), after[number]);
            }
            replay.gpu.check_clean()?;
            scene.fixture.teardown()?;
            scene.fixture.check()?;
        }

        Ok(())
    }
}

#[kunit_tests(nova_core_mm_hardware_v2)]
mod suite {
    use super::*;
    use crate::mm::format::v2::MmuV2;

    #[test]
    fn access_fails() -> Result {
        each_access_fails::<MmuV2>()
    }

    #[test]
    fn access_of_teardown_fails() -> Result {
        each_teardown_access_fails::<MmuV2>()
    }

    #[test]
    fn device_is_unbound() -> Result {
        each_unbind::<MmuV2>()
    }

    #[test]
    fn narrow_writes_are_never_mixed() -> Result {
        narrow::pages_are_never_mixed::<MmuV2>()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! One access to the hardware fails.
//!
//! Memory that the GPU can reach is not freed, each page is mapped as before or as requested, and
//! the address space either works as before or is lost as a whole.

use core::{
    cell::Cell,
    ops::Range, //
};

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
    mmio::Mmio,
    model::{
        Access as ModelAccess,
        ModelBar0,
        SoftGpu,
        Translation, //
    },
    va::VaRange,
    vmm::{
        job::{
            Access::*,
            Memory,
            Submitted, //
        },
        tests::bench::{
            ensure,
            ensure_eq,
            within,
            within_raw,
            Bench,
            TestFormat,
            LARGE, //
        },
        Vmm, //
    },
    vram::{
        TablePage,
        VramAllocator, //
    }, //
};

/// Which accesses are counted, and fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// BAR0 of a software GPU on which one access fails, without being made.
pub(crate) struct Faulty<'a> {
    bar: &'a ModelBar0,
    direction: Direction,
    /// Number of accesses before the failing one; [`None`] after it.
    left: Cell<Option<u64>>,
}

impl<'a> Faulty<'a> {
    /// Makes one on which the access in `direction` after `skip` others fails.
    pub(crate) fn new(bar: &'a ModelBar0, direction: Direction, skip: u64) -> Self {
        Self {
            bar,
            direction,
            left: Cell::new(Some(skip)),
        }
    }

    /// Returns whether there was the access that fails.
    pub(crate) fn has_failed(&self) -> bool {
        self.left.get().is_none()
    }

    fn count(&self, direction: Direction) -> Result {
        if direction == self.direction {
            if let Some(left) = self.left.get() {
                self.left.set(left.checked_sub(1));
                if left == 0 {
                    return Err(EIO);
                }
            }
        }

        Ok(())
    }
}

impl Mmio for Faulty<'_> {
    fn read32(&self, offset: usize) -> Result<u32> {
        self.count(Direction::Read)?;
        self.bar.read32(offset)
    }

    fn read64(&self, offset: usize) -> Result<u64> {
        self.count(Direction::Read)?;
        self.bar.read64(offset)
    }

    fn write32(&self, value: u32, offset: usize) -> Result {
        self.count(Direction::Write)?;
        self.bar.write32(value, offset)
    }

    fn write64(&self, value: u64, offset: usize) -> Result {
        self.count(Direction::Write)?;
        self.bar.write64(value, offset)
    }
}

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
    /// Submits it for `va`, with memory of `data`.
    pub(crate) fn submit<F: TestFormat>(
        &self,
        vmm: &Arc<Vmm<F>>,
        va: &Arc<VaRange>,
        data: &VramAllocator,
    ) -> Result<Submitted<F>> {
        match self {
            Map(pages, skip) => {
                let vram = data.alloc(2 * LARGE * PAGE_SIZE, PageSize::Size2M)?;
                let memory = Memory {
                    vram: Arc::new(vram, GFP_KERNEL)?,
                    offset: skip * PAGE_SIZE,
                };

                vmm.submit_map(va, within(va, pages.clone())?, memory, ReadWrite)
            }
            Unmap(pages) => vmm.submit_unmap(va, within(va, pages.clone())?),
            Protect(pages) => vmm.submit_protect(va, within(va, pages.clone())?, ReadOnly),
        }
    }

    /// Returns the pages that it is about.
    pub(crate) fn pages(&self) -> &Range<u64> {
        match self {
            Map(pages, _) | Unmap(pages) | Protect(pages) => pages,
        }
    }
}

/// Mappings made at first: a large page, followed by some small ones.
pub(crate) const POPULATED: [Operation; 2] = [Map(0..LARGE, 0), Map(LARGE + 3..LARGE + 20, 0)];

/// Operations on these mappings.
pub(crate) const OPERATIONS: [Operation; 13] = [
    // Where there is a table, or none.
    Map(LARGE + 30..LARGE + 33, 0),
    Map(2 * LARGE + 3..2 * LARGE + 5, 0),
    // Over small pages: of other memory, or with a large one.
    Map(LARGE + 5..LARGE + 9, 0),
    Map(LARGE..2 * LARGE, LARGE),
    // Over a large page: a part of it, or all of it with small ones.
    Map(3..5, 0),
    Map(0..LARGE, 1),
    Protect(LARGE + 5..LARGE + 8),
    Protect(0..LARGE),
    Protect(3..5),
    Unmap(LARGE + 5..LARGE + 8),
    Unmap(LARGE + 3..LARGE + 20),
    Unmap(3..5),
    Unmap(0..2 * LARGE),
];

/// Number of pages of a [`Scene`].
pub(crate) const PAGES: u64 = 3 * LARGE;

/// An address space with an end of entries of nearly all levels in it, in which something is mapped
/// that nothing else keeps allocated.
pub(crate) struct Scene<F: TestFormat> {
    pub(crate) bench: Bench<F>,
    pub(crate) va: Arc<VaRange>,
}

/// For each page, the address of the memory, and whether writes fault.
pub(crate) type Mapped = KVec<Option<(u64, bool)>>;

impl<F: TestFormat> Scene<F> {
    fn new() -> Result<Self> {
        let middle = PageSize::Size256G.pages();

        Self::on(Bench::new()?, middle - 2 * LARGE..middle + LARGE)
    }

    /// Makes one at `pages` of an address space.
    pub(crate) fn on(bench: Bench<F>, pages: Range<u64>) -> Result<Self> {
        let scene = Self {
            va: bench.reserve_at(pages)?,
            bench,
        };
        for operation in &POPULATED {
            scene.bench.run(scene.submit(operation)?).cleanup()?;
        }
        // The TLB then caches the mappings.
        look(
            &scene.bench.gpu,
            scene.bench.vmm.pdb(),
            &scene.va,
            scene.bench.is_bar,
        )?;

        Ok(scene)
    }

    pub(crate) fn submit(&self, operation: &Operation) -> Result<Submitted<F>> {
        operation.submit(&self.bench.vmm, &self.va, &self.bench.data)
    }

    /// Returns the mapping of each page in the page tables.
    pub(crate) fn mapped(&self) -> Result<Mapped> {
        mapped(&self.bench.gpu, self.bench.vmm.pdb(), &self.va)
    }
}

/// Returns the kinds of access that an address space serves.
fn accesses(is_bar: bool) -> &'static [ModelAccess] {
    match is_bar {
        true => &[ModelAccess::HUB_READ],
        false => &[ModelAccess::HUB_READ, ModelAccess::READ],
    }
}

/// Has the GPU read at each page of `va`.
pub(crate) fn look(gpu: &SoftGpu, pdb: VramAddress, va: &VaRange, is_bar: bool) -> Result {
    for page in within_raw(va, &(0..PAGES)) {
        for &access in accesses(is_bar) {
            let _ = gpu.translate(pdb, Vfn::new(page)?.address(), access);
        }
    }

    Ok(())
}

/// Returns the mapping of each page of `va` in the page tables.
pub(crate) fn mapped(gpu: &SoftGpu, pdb: VramAddress, va: &VaRange) -> Result<Mapped> {
    let mut mapped = KVec::with_capacity(usize::try_from(PAGES)?, GFP_KERNEL)?;
    for page in within_raw(va, &(0..PAGES)) {
        let found = gpu.walk(pdb, Vfn::new(page)?.address()).ok();
        mapped.push(found.map(|it| (it.address, it.read_only)), GFP_KERNEL)?;
    }

    Ok(mapped)
}

/// Fails if the GPU can reach free memory through the page tables or its TLB, or if a table of
/// `before`, which the TLB may hold, is free.
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

/// Returns whether access `number` is tested. Most writes that fill a table before it is linked are
/// left out.
fn is_tried(number: u64) -> bool {
    number % (LARGE / 2) < 8 || number % (LARGE / 2) > LARGE / 2 - 8
}

/// How a job failed.
struct Failure {
    /// Number of words that it had written by then.
    words: u64,
    /// Number of words that it would have written.
    of: u64,
    is_readback: bool,
}

impl Failure {
    /// Returns whether the contents of the tables are unknown.
    fn is_fatal(&self) -> bool {
        self.is_readback || self.words < self.of
    }
}

/// Each access of each operation fails once.
pub(crate) fn each_access_fails<F: TestFormat>() -> Result {
    let mut failures = (0, 0);
    for direction in [Direction::Write, Direction::Read] {
        for operation in &OPERATIONS {
            let model = Scene::<F>::new()?;
            model.bench.gpu.reset_counts();
            model.bench.run(model.submit(operation)?).cleanup()?;
            let after = model.mapped()?;
            let words = model.bench.gpu.counts().pramin_writes;

            for number in (0..).filter(|&number| is_tried(number)) {
                let Some(fatal) = fail::<F>(operation, direction, number, words, &after)? else {
                    break;
                };
                failures.0 += u32::from(!fatal);
                failures.1 += u32::from(fatal);
            }
        }
    }
    ensure!(failures.0 > 50 && failures.1 > 50);

    Ok(())
}

/// Lets the access after `number` others fail. Returns whether the address space was lost by that;
/// [`None`] if the operation makes fewer accesses.
fn fail<F: TestFormat>(
    operation: &Operation,
    direction: Direction,
    number: u64,
    words: u64,
    after: &Mapped,
) -> Result<Option<bool>> {
    let mut scene = Scene::<F>::new()?;
    let (before, tables) = (scene.mapped()?, scene.bench.owned()?);
    let job = scene.submit(operation)?;

    scene.bench.gpu.reset_counts();
    let bar = Faulty::new(&scene.bench.bar, direction, number);
    let result = job.run(&scene.bench.mmu, &bar).cleanup();
    if !bar.has_failed() {
        result?;
        return Ok(None);
    }
    ensure_eq!(result, Err(EIO));
    let failure = Failure {
        words: scene.bench.gpu.counts().pramin_writes,
        of: words,
        is_readback: direction == Direction::Read && number == 0,
    };

    let pools = (scene.bench.memory.clone(), scene.bench.data.clone());
    let (gpu, pdb) = (scene.bench.gpu.clone(), scene.bench.vmm.pdb());
    let pages = within_raw(&scene.va, &(0..PAGES));
    let pages = (pages, false);
    let ensure_kept = || ensure_apart(&gpu, pdb, pages.clone(), (&pools.0, &pools.1), &tables);
    ensure_kept()?;
    let found = scene.mapped()?;
    for ((found, before), after) in found.iter().zip(&before).zip(after) {
        ensure!(found == before || found == after);
    }

    // Once more, with hardware that works.
    let result = scene.bench.run(scene.submit(operation)?).cleanup();
    if failure.is_fatal() {
        ensure_eq!(result, Err(EIO));
        ensure_eq!(scene.bench.teardown(), Err(EIO));
        drop(scene);
        ensure_kept()?;
    } else {
        result?;
        scene.bench.check()?;
        let is_same = |(a, b): (&Option<_>, &Option<_>)| a.is_some() == b.is_some();
        ensure!(scene.mapped()?.iter().zip(after).all(is_same));
        scene.bench.teardown()?;
        scene.bench.check()?;
        drop(scene);
        ensure_eq!(pools.0.avail(), pools.0.size());
        ensure_eq!(pools.1.avail(), pools.1.size());
    }
    gpu.check_clean()?;

    Ok(Some(failure.is_fatal()))
}

/// Each access of a teardown fails once. A second teardown frees all memory, or none is ever freed.
pub(crate) fn each_access_of_a_teardown_fails<F: TestFormat>() -> Result {
    for direction in [Direction::Write, Direction::Read] {
        for number in 0.. {
            let mut scene = Scene::<F>::new()?;
            // One more mapping, which the teardown may have unmapped before.
            let vram = scene.bench.alloc(1)?;
            let other = scene.bench.map_all(&vram, ReadOnly)?;
            drop((vram, other));

            let bar = Faulty::new(&scene.bench.bar, direction, number);
            let result = scene.bench.vmm.teardown(&scene.bench.mmu, &bar);
            if !bar.has_failed() {
                result?;
                ensure!(number > 2);
                break;
            }
            ensure_eq!(result, Err(EIO));

            let pools = (scene.bench.memory.clone(), scene.bench.data.clone());
            let (gpu, pdb) = (scene.bench.gpu.clone(), scene.bench.vmm.pdb());
            let pages = within_raw(&scene.va, &(0..PAGES));
            let pages = (pages, false);
            // Tables that were unmapped before may be free: the TLB is invalidated for them.
            let ensure_kept = || ensure_apart(&gpu, pdb, pages.clone(), (&pools.0, &pools.1), &[]);
            ensure_kept()?;

            match scene.bench.teardown() {
                Ok(()) => {
                    scene.bench.check()?;
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
        }
    }

    Ok(())
}

/// Chips whose PRAMIN takes no accesses of 64 bits.
pub(crate) mod narrow {
    use super::*;
    use crate::mm::model::{
        Logged,
        WideAccess, //
    };

    /// A second GPU, which sees each state of the page tables by itself.
    struct Replay {
        gpu: Arc<SoftGpu>,
    }

    impl Replay {
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
            let mut bench = Bench::<F>::with_wide_access(WideAccess::Dropped)?;
            let [below, above] = data::<F>()?;
            let middle = PageSize::Size256G.pages();
            bench.data = below;
            let mut scene = Scene::on(bench, middle - 2 * LARGE..middle + LARGE)?;
            scene.bench.check()?;
            let before = scene.mapped()?;
            ensure_eq!(
                before.iter().flatten().count(),
                usize::try_from(LARGE + 17)?
            );
            let old = scene.bench.gpu.reach(scene.bench.vmm.pdb())?;
            let replay = Replay {
                gpu: Bench::<F>::gpu()?,
            };
            for table in &old {
                for offset in (0..PAGE_SIZE).step_by(8) {
                    let address = table.address.checked_add(offset)?;
                    replay
                        .gpu
                        .vram_write64(address, scene.bench.gpu.vram_read64(address));
                }
            }

            scene.bench.data = above;
            let job = scene.submit(operation)?;
            scene.bench.gpu.start_log(8192)?;
            scene.bench.run(job).cleanup()?;
            let log = scene.bench.gpu.take_log();
            scene.bench.check()?;
            let after = scene.mapped()?;

            // Those at which something changes, of which there are some hundreds at most.
            let pdb = scene.bench.vmm.pdb();
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
            scene.bench.teardown()?;
            scene.bench.check()?;
        }

        Ok(())
    }
}

#[kunit_tests(nova_mm_hardware_v2)]
mod suite {
    use super::*;
    use crate::mm::format::v2::MmuV2;

    #[test]
    fn each_access_fails() -> Result {
        super::each_access_fails::<MmuV2>()
    }

    #[test]
    fn each_access_of_a_teardown_fails() -> Result {
        super::each_access_of_a_teardown_fails::<MmuV2>()
    }

    #[test]
    fn narrow_writes_are_never_mixed() -> Result {
        narrow::pages_are_never_mixed::<MmuV2>()
    }
}

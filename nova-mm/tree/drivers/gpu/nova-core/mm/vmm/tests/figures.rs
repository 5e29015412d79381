// SPDX-License-Identifier: GPL-2.0

//! Costs of operations: accesses to the hardware, counted by the GPU model.
//!
//! An invalidation always takes the same accesses. All others are the price of the operation.

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
    format::{
        Access,
        PageSizes, //
    },
    memory::Backing,
    model::{
        Config,
        Counts,
        Logged,
        SoftGpu, //
    },
    vmm::{
        tests::fixture::{
            all_pages,
            backing,
            ensure,
            ensure_eq,
            mmu_of,
            vfns,
            TestFormat,
            LARGE, //
        },
        Job,
        Vmm, //
    },
    vram::{
        Vram,
        VramAllocator, //
    }, //
};

const MIB: u64 = 1 << 20;

/// Number of pages of 2 MiB in 1 GiB.
const GIB_IN_LARGE: u64 = 512;

/// Where page tables are. The root is allocated first, from the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The root alone, and all others one after the other.
    RootApart,
    /// Each in a different MiB, so that the window moves whenever another table is accessed.
    Scattered,
}

impl Layout {
    /// Returns memory for tables.
    pub(crate) fn memory(self) -> Result<VramAllocator> {
        let last = match self {
            Self::RootApart => 5,
            Self::Scattered => 23,
        };
        let mut regions = KVec::new();
        for number in 1..=last {
            let size = match (self, number) {
                (Self::RootApart, 1) => 3 * MIB,
                (Self::RootApart, 2..5) => continue,
                _ => PAGE_SIZE,
            };
            let start = VramAddress::new(number * MIB);
            regions.push(start..start.checked_add(size)?, GFP_KERNEL)?;
        }

        VramAllocator::new(&regions)
    }
}

/// Creates a GPU model with VRAM for the tables of each [`Layout`].
pub(crate) fn gpu<F: TestFormat>() -> Result<Arc<SoftGpu>> {
    SoftGpu::new(Config {
        generation: F::GENERATION,
        vram_size: 24 * MIB,
        bar1_pdb: VramAddress::new(0),
        // A delay of the thread must not be taken for a timeout.
        trigger_polls: 0,
        ..Config::default()
    })
}

/// An address space with its tables in a [`Layout`].
pub(crate) struct Rig {
    pub(crate) gpu: Arc<SoftGpu>,
    vmm: Arc<Vmm>,
    vram: Arc<Vram>,
}

/// The first page of the range that is mapped, aligned to 1 GiB.
pub(crate) const FIRST_PAGE: u64 = 4 * pages_of_gib();

/// The first page of the memory.
pub(crate) const FIRST_FRAME: u64 = 16 * pages_of_gib();

/// Pages that are mapped before, so that tables are there, counted from [`FIRST_PAGE`].
pub(crate) const NEIGHBORS: [u64; 2] = [5, 2 * LARGE - 7];

impl Rig {
    pub(crate) fn new<F: TestFormat>(layout: Layout) -> Result<Self> {
        let gpu = gpu::<F>()?;
        let hw = mmu_of::<F>(&gpu, PageSizes::COMMON)?;
        let vmm = Vmm::new(hw, layout.memory()?, all_pages::<F>()?)?;

        // 2 GiB and some more. Nothing accesses it.
        let pages = (2 * GIB_IN_LARGE + 2) * LARGE;
        let start = VramAddress::new(FIRST_FRAME * PAGE_SIZE);
        let end = start.checked_add(pages * PAGE_SIZE)?;
        let data = VramAllocator::new(&[start..end])?;
        let vram = data.alloc(pages * PAGE_SIZE, PageSize::Size2M)?;

        Ok(Self {
            vram: Arc::new(vram, GFP_KERNEL)?,
            gpu,
            vmm,
        })
    }

    /// Maps [`NEIGHBORS`].
    pub(crate) fn populate(&self) -> Result {
        for page in NEIGHBORS {
            self.run(self.prepare(&Map(0), page..page + 1)?)?;
        }

        Ok(())
    }

    /// Prepares a job for `pages`, counted from [`FIRST_PAGE`].
    pub(crate) fn prepare(&self, operation: &Operation, pages: Range<u64>) -> Result<Job> {
        let pages = vfns(FIRST_PAGE + pages.start..FIRST_PAGE + pages.end)?;

        match *operation {
            Map(skip) => {
                let backing = backing(&self.vram, skip, Access::ReadWrite);
                self.vmm.prepare_map(pages, backing)
            }
            MapSparse => self.vmm.prepare_map(pages, Backing::sparse()),
            Unmap => self.vmm.prepare_unmap(pages),
        }
    }

    /// Runs a job, and returns its accesses in that stage.
    pub(crate) fn run(&self, job: Job) -> Result<Counts> {
        let mut job = job;
        self.gpu.reset_counts();
        job.run()?;
        let counts = self.gpu.counts();
        job.free();
        // Only the first stages access the hardware.
        ensure_eq!(self.gpu.counts(), counts);
        self.gpu.check_clean()?;

        Ok(counts)
    }

    pub(crate) fn end(self) -> Result {
        self.vmm.teardown()?;

        self.gpu.check_clean()
    }
}

/// Returns the number of pages in 1 GiB.
pub(crate) const fn pages_of_gib() -> u64 {
    GIB_IN_LARGE * LARGE
}

/// An operation on pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// They are mapped to memory, from this page of it on.
    Map(u64),
    /// They become sparse.
    MapSparse,
    /// They are unmapped.
    Unmap,
}

use Operation::{
    Map,
    MapSparse,
    Unmap, //
};

/// An operation, and its maximum cost.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Whether [`NEIGHBORS`] are mapped before.
    pub(crate) populated: bool,
    /// Operations done before.
    pub(crate) before: Option<(Range<u64>, Operation)>,
    pub(crate) pages: Range<u64>,
    pub(crate) operation: Operation,
    /// Number of tables that it accesses.
    pub(crate) tables: u64,
    /// Maximum number of words that it writes.
    pub(crate) words: u64,
    /// Number of tables that are zeroed before it runs.
    pub(crate) zeroed: u64,
}

/// Number of words of a table.
const TABLE: u64 = 512;

/// The start of the second GiB.
const SECOND: u64 = pages_of_gib();

/// Returns the cases for a format with `levels` levels.
pub(crate) fn cases(levels: u64) -> [Case; 14] {
    let case = |name, pages, operation, tables, words| Case {
        name,
        populated: true,
        before: None,
        pages,
        operation,
        tables,
        words,
        zeroed: 0,
    };
    let after = |before, operation| Some((before, operation));
    let small = 4 * LARGE..5 * LARGE;
    let gib = SECOND..2 * SECOND;

    [
        case(
            "map 512 pages of 4 KiB, tables are there",
            100..612,
            Map(1),
            2,
            512,
        ),
        Case {
            before: after(100..612, Map(1)),
            ..case("unmap them, adjacent ones stay", 100..612, Unmap, 2, 512)
        },
        case(
            "map 512 pages of 4 KiB, a new table",
            small.clone(),
            Map(1),
            2,
            TABLE + 1,
        ),
        Case {
            before: after(small.clone(), Map(1)),
            ..case("unmap them, and with them the table", small, Unmap, 1, 1)
        },
        case(
            "map 4096 pages of 4 KiB, 8 new tables",
            4 * LARGE..12 * LARGE,
            Map(1),
            9,
            8 * (TABLE + 1),
        ),
        Case {
            populated: false,
            zeroed: levels - 1,
            ..case(
                "map 1 page, nothing is mapped",
                0..1,
                Map(0),
                levels,
                levels,
            )
        },
        Case {
            populated: false,
            before: after(0..1, Map(0)),
            ..case(
                "unmap it, and with it the tables",
                0..1,
                Unmap,
                levels,
                levels,
            )
        },
        Case {
            zeroed: 4,
            ..case(
                "map 128 pages of 64 KiB, 4 new tables",
                4 * LARGE..8 * LARGE,
                Map(16),
                5,
                128 + 4,
            )
        },
        Case {
            zeroed: 2,
            ..case(
                "map 1 GiB in pages of 2 MiB, 2 new tables",
                gib.clone(),
                Map(0),
                3,
                TABLE + 2,
            )
        },
        Case {
            before: after(gib.clone(), Map(0)),
            ..case(
                "map 1 GiB over it, tables are there",
                gib.clone(),
                Map(LARGE),
                2,
                512,
            )
        },
        Case {
            before: after(gib.clone(), Map(0)),
            ..case(
                "unmap 1 GiB except both ends",
                SECOND + LARGE..2 * SECOND - LARGE,
                Unmap,
                2,
                510,
            )
        },
        Case {
            before: after(gib.clone(), Map(0)),
            ..case(
                "unmap 1 GiB, and with it the tables",
                gib.clone(),
                Unmap,
                1,
                2,
            )
        },
        case("make 1 GiB sparse", gib.clone(), MapSparse, 1, 2),
        Case {
            before: after(gib.clone(), MapSparse),
            ..case("unmap it", gib, Unmap, 1, 2)
        },
    ]
}

impl Case {
    /// Measures the operation in a new address space.
    pub(crate) fn measure<F: TestFormat>(&self, layout: Layout) -> Result<Cost> {
        let rig = self.rig::<F>(layout)?;
        rig.gpu.reset_counts();
        let job = rig.prepare(&self.operation, self.pages.clone())?;
        let prepare = rig.gpu.counts();
        let run = rig.run(job)?;
        rig.end()?;

        Ok(Cost { prepare, run })
    }

    fn rig<F: TestFormat>(&self, layout: Layout) -> Result<Rig> {
        let rig = Rig::new::<F>(layout)?;
        if self.populated {
            rig.populate()?;
        }
        if let Some((pages, operation)) = &self.before {
            rig.run(rig.prepare(operation, pages.clone())?)?;
        }

        Ok(rig)
    }
}

/// Accesses to the hardware, by the stages of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) prepare: Counts,
    pub(crate) run: Counts,
}

/// No case exceeds its maximum cost.
pub(crate) fn costs_are_bounded<F: TestFormat>() -> Result {
    let levels = u64::try_from(F::LEVELS.len())?;

    for layout in [Layout::RootApart, Layout::Scattered] {
        for case in &cases(levels) {
            let cost = case.measure::<F>(layout)?;
            check_run(case, &cost.run)
                .and_then(|()| check_prepare(case, &cost.prepare))
                .inspect_err(|_| pr_err!("{} ({:?}): {:?}\n", case.name, layout, cost))?;
        }
    }

    Ok(())
}

fn check_run(case: &Case, counts: &Counts) -> Result {
    ensure!(counts.pramin_writes <= case.words);
    // The last word is read back. Tables are not read.
    ensure_eq!(counts.pramin_reads, 1);
    ensure!(counts.window_writes <= case.tables + 1);
    // The register that starts it is polled before and after.
    ensure_eq!(counts.invalidates, 1);
    ensure_eq!(counts.other_writes, 2);
    ensure_eq!(counts.trigger_polls, 2);
    ensure_eq!(counts.other_reads, 0);
    if case.tables <= 2 {
        ensure!(counts.window_writes + counts.pramin_reads <= 3);
        ensure!(counts.total() <= case.words + 8);
    }
    // A single page takes no more than this.
    if case.pages.end - case.pages.start == 1 {
        ensure!(counts.total() <= 20);
    }

    Ok(())
}

fn check_prepare(case: &Case, counts: &Counts) -> Result {
    ensure_eq!(counts.pramin_writes, case.zeroed * TABLE);
    ensure!(counts.window_writes <= case.zeroed);
    ensure_eq!(counts.total(), counts.pramin_writes + counts.window_writes);

    Ok(())
}

/// A table of which all entries are written is written before it is linked, and not zeroed.
pub(crate) fn full_table_written_once<F: TestFormat>() -> Result {
    let rig = Rig::new::<F>(Layout::RootApart)?;
    rig.populate()?;
    let job = rig.prepare(&Map(1), 4 * LARGE..5 * LARGE)?;

    rig.gpu.start_log(1024)?;
    rig.run(job)?;
    let log = rig.gpu.take_log();
    let mut writes = log.iter().filter_map(|logged| match logged {
        Logged::Write { address, value, .. } => Some((address.into_raw(), *value)),
        _ => None,
    });

    let (first, _) = writes.next().ok_or(EINVAL)?;
    ensure_eq!(first % PAGE_SIZE, 0);
    for word in 1..TABLE {
        let (address, value) = writes.next().ok_or(EINVAL)?;
        ensure_eq!(address, first + 8 * word);
        ensure!(value != 0);
    }
    let (entry, _) = writes.next().ok_or(EINVAL)?;
    ensure!(!(first..first + PAGE_SIZE).contains(&entry));
    ensure_eq!(writes.next(), None);

    rig.end()
}

/// Tables that have become empty are not zeroed again when they are used again.
pub(crate) fn empty_table_not_zeroed_again<F: TestFormat>() -> Result {
    // A page of 4 KiB, some next to each other, one of 64 KiB and one of 2 MiB.
    for (pages, skip) in [(0..1, 0), (3..19, 1), (16..32, 0), (0..LARGE, 0)] {
        let rig = Rig::new::<F>(Layout::Scattered)?;
        rig.run(rig.prepare(&Map(skip), pages.clone())?)?;
        rig.run(rig.prepare(&Unmap, pages.clone())?)?;

        rig.gpu.reset_counts();
        let job = rig.prepare(&Map(skip), pages.clone())?;
        ensure_eq!(rig.gpu.counts().total(), 0);
        let tables = u64::try_from(F::LEVELS.len())? + 1;
        let words = pages.end - pages.start + tables;
        ensure!(rig.run(job)?.total() <= words + tables + 7);
        rig.end()?;
    }

    Ok(())
}

#[kunit_tests(nova_core_mm_figures_v2)]
mod suite {
    use super::*;
    use crate::mm::format::v2::MmuV2;

    #[test]
    fn costs_are_bounded() -> Result {
        super::costs_are_bounded::<MmuV2>()
    }

    #[test]
    fn full_table_written_once() -> Result {
        super::full_table_written_once::<MmuV2>()
    }

    #[test]
    fn empty_table_not_zeroed_again() -> Result {
        super::empty_table_not_zeroed_again::<MmuV2>()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of the number of hardware accesses per operation, counted by the GPU model.
//!
//! The accesses for an invalidation are constant. All others depend on the operation.

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
        GpuModel,
        Logged, //
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

/// Number of 2 MiB pages in 1 GiB.
const GIB_IN_LARGE: u64 = 512;

/// Location of the page tables. The root is allocated first, from the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The root is separate from all other tables, which are contiguous.
    RootApart,
    /// Each table is in a different MiB, so that the window moves with each change of the table.
    Scattered,
}

impl Layout {
    /// Returns an allocator for page tables.
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
pub(crate) fn gpu<F: TestFormat>() -> Result<Arc<GpuModel>> {
    GpuModel::new(Config {
        generation: F::GENERATION,
        vram_size: 24 * MIB,
        bar1_pdb: VramAddress::new(0),
        // Complete at the first poll, so that a delayed thread does not run into the timeout.
        trigger_polls: 0,
        ..Config::default()
    })
}

/// An address space with its tables in a [`Layout`].
pub(crate) struct Setup {
    pub(crate) gpu: Arc<GpuModel>,
    vmm: Arc<Vmm>,
    vram: Arc<Vram>,
}

/// First page of the mapped range, aligned to 1 GiB.
pub(crate) const FIRST_PAGE: u64 = 4 * pages_of_gib();

/// First page of the memory.
pub(crate) const FIRST_FRAME: u64 = 16 * pages_of_gib();

/// Pages, relative to [`FIRST_PAGE`], that are mapped beforehand so that tables exist.
pub(crate) const NEIGHBORS: [u64; 2] = [5, 2 * LARGE - 7];

impl Setup {
    pub(crate) fn new<F: TestFormat>(layout: Layout) -> Result<Self> {
        let gpu = gpu::<F>()?;
        let hw = mmu_of::<F>(&gpu, PageSizes::COMMON)?;
        let vmm = Vmm::new(hw, layout.memory()?, all_pages::<F>()?)?;

        // Slightly more than 2 GiB. The memory is never accessed.
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

    /// Prepares a job for `pages`, which are relative to [`FIRST_PAGE`].
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

    /// Runs a job. Returns the accesses of that stage.
    pub(crate) fn run(&self, job: Job) -> Result<Counts> {
        let mut job = job;
        self.gpu.reset_counts();
        job.run()?;
        let counts = self.gpu.counts();
        job.free();
        // Freeing the job does not access the hardware.
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
    /// Maps memory, starting with this page of it.
    Map(u64),
    /// Makes the pages sparse.
    MapSparse,
    /// Unmaps the pages.
    Unmap,
}

use Operation::{
    Map,
    MapSparse,
    Unmap, //
};

/// An operation and its maximum cost.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Whether [`NEIGHBORS`] are mapped beforehand.
    pub(crate) populated: bool,
    /// Operation performed beforehand.
    pub(crate) before: Option<(Range<u64>, Operation)>,
    pub(crate) pages: Range<u64>,
    pub(crate) operation: Operation,
    /// Number of tables that the operation accesses.
    pub(crate) tables: u64,
    /// Maximum number of words that the operation writes.
    pub(crate) words: u64,
    /// Number of tables that are zeroed before the operation runs.
    pub(crate) zeroed: u64,
}

/// Number of words in a table.
const TABLE: u64 = 512;

/// First page of the second GiB.
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
            "map 512 pages of 4 KiB, tables exist",
            100..612,
            Map(1),
            2,
            512,
        ),
        Case {
            before: after(100..612, Map(1)),
            ..case("unmap them, not adjacent ones", 100..612, Unmap, 2, 512)
        },
        case(
            "map 512 pages of 4 KiB, 1 new table",
            small.clone(),
            Map(1),
            2,
            TABLE + 1,
        ),
        Case {
            before: after(small.clone(), Map(1)),
            ..case("unmap them, freeing the table", small, Unmap, 1, 1)
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
            ..case("map 1 page, no tables exist", 0..1, Map(0), levels, levels)
        },
        Case {
            populated: false,
            before: after(0..1, Map(0)),
            ..case("unmap it, freeing the tables", 0..1, Unmap, levels, levels)
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
                "map other memory there, tables exist",
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
            ..case("unmap 1 GiB, freeing the tables", gib.clone(), Unmap, 1, 2)
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
        let setup = self.setup::<F>(layout)?;
        setup.gpu.reset_counts();
        let job = setup.prepare(&self.operation, self.pages.clone())?;
        let prepare = setup.gpu.counts();
        let run = setup.run(job)?;
        setup.end()?;

        Ok(Cost { prepare, run })
    }

    fn setup<F: TestFormat>(&self, layout: Layout) -> Result<Setup> {
        let setup = Setup::new::<F>(layout)?;
        if self.populated {
            setup.populate()?;
        }
        if let Some((pages, operation)) = &self.before {
            setup.run(setup.prepare(operation, pages.clone())?)?;
        }

        Ok(setup)
    }
}

/// Accesses to the hardware in each stage of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) prepare: Counts,
    pub(crate) run: Counts,
}

/// The cost of each case is within its bounds.
pub(crate) fn mmio_counts_bounded<F: TestFormat>() -> Result {
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
    // The last word is read back. The tables are not read.
    ensure_eq!(counts.pramin_reads, 1);
    ensure!(counts.window_writes <= case.tables + 1);
    // The register that starts the invalidation is polled before and after.
    ensure_eq!(counts.invalidates, 1);
    ensure_eq!(counts.other_writes, 2);
    ensure_eq!(counts.trigger_polls, 2);
    ensure_eq!(counts.other_reads, 0);
    if case.tables <= 2 {
        ensure!(counts.window_writes + counts.pramin_reads <= 3);
        ensure!(counts.total() <= case.words + 8);
    }
    // An absolute limit for a single page.
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

/// A table whose entries are all written is written before it is linked, and is not zeroed.
pub(crate) fn full_table_written_once<F: TestFormat>() -> Result {
    let setup = Setup::new::<F>(Layout::RootApart)?;
    setup.populate()?;
    let job = setup.prepare(&Map(1), 4 * LARGE..5 * LARGE)?;

    setup.gpu.start_log(1024)?;
    setup.run(job)?;
    let log = setup.gpu.take_log();
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

    setup.end()
}

/// Tables that have become empty are not zeroed again when they are reused.
pub(crate) fn empty_table_zeroed_once<F: TestFormat>() -> Result {
    // A single 4 KiB page, several of them, a 64 KiB page, and a 2 MiB page.
    for (pages, skip) in [(0..1, 0), (3..19, 1), (16..32, 0), (0..LARGE, 0)] {
        let setup = Setup::new::<F>(Layout::Scattered)?;
        setup.run(setup.prepare(&Map(skip), pages.clone())?)?;
        setup.run(setup.prepare(&Unmap, pages.clone())?)?;

        setup.gpu.reset_counts();
        let job = setup.prepare(&Map(skip), pages.clone())?;
        ensure_eq!(setup.gpu.counts().total(), 0);
        let tables = u64::try_from(F::LEVELS.len())? + 1;
        let words = pages.end - pages.start + tables;
        ensure!(setup.run(job)?.total() <= words + tables + 7);
        setup.end()?;
    }

    Ok(())
}

#[kunit_tests(nova_core_mm_figures_v2)]
mod suite {
    use super::*;
    use crate::mm::format::v2::MmuV2;

    #[test]
    fn mmio_counts_bounded() -> Result {
        super::mmio_counts_bounded::<MmuV2>()
    }

    #[test]
    fn full_table_written_once() -> Result {
        super::full_table_written_once::<MmuV2>()
    }

    #[test]
    fn empty_table_zeroed_once() -> Result {
        super::empty_table_zeroed_once::<MmuV2>()
    }
}

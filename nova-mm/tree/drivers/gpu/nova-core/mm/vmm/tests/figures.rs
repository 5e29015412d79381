// SPDX-License-Identifier: GPL-2.0

//! What operations cost: the accesses to the hardware, counted by the software GPU.
//!
//! An invalidate takes the same accesses each time, whatever it is for; all others are here the
//! price of the operation.

use core::ops::Range;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::mm::{
    address::{
        PageSize,
        VramAddress,
        PAGE_SIZE, //
    },
    format::PageSizes,
    mmu::Mmu,
    model::{
        Config,
        Counts,
        Logged,
        ModelBar0,
        SoftGpu, //
    },
    pramin::Pramin,
    tlb::Tlb,
    va::{
        VaRange,
        VaRequest, //
    },
    vmm::{
        job::{
            Access,
            Memory,
            Submitted, //
        },
        tests::bench::{
            ensure,
            ensure_eq,
            vfns,
            within,
            TestFormat,
            LARGE, //
        },
        Vmm, //
    },
    vram::{
        Vram,
        VramAllocator, //
    }, //
};

const MIB: u64 = 1 << 20;

/// Number of large pages in 1 GiB.
const GIB_IN_LARGE: u64 = 512;

/// Where page tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The root alone, and all others one behind the other.
    RootApart,
    /// Each in a MiB of its own, so that the window has to be moved from each to each other.
    Scattered,
}

impl Layout {
    /// Returns memory for tables.
    pub(crate) fn memory(self) -> Result<VramAllocator> {
        let mut regions = KVec::new();
        for number in 1..24 {
            let size = match (self, number) {
                (Self::RootApart, 2) => 4 * MIB,
                (Self::RootApart, 3..) => break,
                _ => PAGE_SIZE,
            };
            let start = VramAddress::new(number * MIB);
            regions.push(start..start.checked_add(size)?, GFP_KERNEL)?;
        }

        VramAllocator::new(&regions)
    }
}

/// Makes a GPU with VRAM for the tables of each [`Layout`].
pub(crate) fn gpu<F: TestFormat>() -> Result<Arc<SoftGpu>> {
    SoftGpu::new(Config {
        generation: F::GENERATION,
        vram_size: 24 * MIB,
        bar1_pdb: VramAddress::new(0),
        ..Config::default()
    })
}

/// An address space whose tables lie where a [`Layout`] says.
pub(crate) struct Rig<F: TestFormat> {
    pub(crate) gpu: Arc<SoftGpu>,
    pub(crate) bar: ModelBar0,
    pub(crate) mmu: Pin<KBox<Mutex<Mmu>>>,
    vmm: Arc<Vmm<F>>,
    va: Arc<VaRange>,
    vram: Arc<Vram>,
}

/// Pages that the figures are not about, to keep tables in place.
///
/// Pages are counted from the start of a range that is aligned to 1 GiB.
pub(crate) const NEIGHBOURS: [u64; 2] = [5, 2 * LARGE - 7];

impl<F: TestFormat> Rig<F> {
    pub(crate) fn new(layout: Layout) -> Result<Self> {
        let gpu = gpu::<F>()?;
        let mmu = Mmu {
            pramin: Pramin::with_hal(F::hal()),
            tlb: Tlb::new(),
            page_sizes: PageSizes::COMMON,
        };
        let mmu = KBox::pin_init(new_mutex!(mmu, "nova_mm_bench"), GFP_KERNEL)?;
        let bar = gpu.bar0();
        let memory = layout.memory()?;
        let limits = vfns(0..(1 << F::VA_BITS) / PAGE_SIZE)?;
        let vmm = Vmm::new(limits, memory, &mmu, &bar)?;

        // 2 GiB, and some behind them, wherever that is: nobody accesses it.
        let pages = (2 * GIB_IN_LARGE + 2) * LARGE;
        let start = VramAddress::new(16 * GIB_IN_LARGE * LARGE * PAGE_SIZE);
        let end = start.checked_add(pages * PAGE_SIZE)?;
        let data = VramAllocator::new(&[start..end])?;
        let vram = data.alloc(pages * PAGE_SIZE, PageSize::Size2M)?;

        Ok(Self {
            va: vmm.reserve(VaRequest::Fixed(vfns(
                4 * pages_of_gib()..6 * pages_of_gib(),
            )?))?,
            vram: Arc::new(vram, GFP_KERNEL)?,
            gpu,
            bar,
            mmu,
            vmm,
        })
    }

    /// Maps [`NEIGHBOURS`].
    pub(crate) fn populate(&self) -> Result {
        for page in NEIGHBOURS {
            self.run(self.map(page..page + 1, 0)?)?;
        }

        Ok(())
    }

    /// Submits a job that maps memory, from its page `skip` on.
    pub(crate) fn map(&self, pages: Range<u64>, skip: u64) -> Result<Submitted<F>> {
        let memory = Memory {
            vram: self.vram.clone(),
            offset: skip * PAGE_SIZE,
        };
        let pages = within(&self.va, pages)?;

        self.vmm
            .submit_map(&self.va, pages, memory, Access::ReadWrite)
    }

    pub(crate) fn unmap(&self, pages: Range<u64>) -> Result<Submitted<F>> {
        self.vmm.submit_unmap(&self.va, within(&self.va, pages)?)
    }

    /// Runs a job, and returns what accesses it has taken.
    pub(crate) fn run(&self, job: Submitted<F>) -> Result<Counts> {
        self.gpu.reset_counts();
        job.run(&self.mmu, &self.bar).cleanup()?;
        self.gpu.check_clean()?;

        Ok(self.gpu.counts())
    }

    pub(crate) fn end(self) -> Result {
        self.vmm.teardown(&self.mmu, &self.bar)?;

        self.gpu.check_clean()
    }
}

/// Returns the number of pages in 1 GiB.
pub(crate) const fn pages_of_gib() -> u64 {
    GIB_IN_LARGE * LARGE
}

/// An operation whose cost is of interest.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Whether [`NEIGHBOURS`] are mapped before.
    pub(crate) populated: bool,
    /// What else is mapped before: pages, and where in the memory the first one is.
    pub(crate) before: Option<(Range<u64>, u64)>,
    pub(crate) pages: Range<u64>,
    /// Where in the memory the first page is that is mapped; if nothing is, they are unmapped.
    pub(crate) skip: Option<u64>,
    /// How many tables it touches.
    pub(crate) tables: u64,
    /// How many words it may write at most.
    pub(crate) words: u64,
}

/// Number of words of a table.
const TABLE: u64 = 512;

/// The start of the second GiB.
const SECOND: u64 = pages_of_gib();

/// Returns the cases, for a format with so many levels.
pub(crate) fn cases(levels: u64) -> [Case; 10] {
    [
        Case {
            name: "map 512 pages of 4 KiB, tables are there",
            populated: true,
            before: None,
            pages: 100..612,
            skip: Some(1),
            tables: 2,
            words: 512,
        },
        Case {
            name: "unmap them, their neighbours stay",
            populated: true,
            before: Some((100..612, 1)),
            pages: 100..612,
            skip: None,
            tables: 2,
            words: 512,
        },
        Case {
            name: "map 512 pages of 4 KiB, a new table",
            populated: true,
            before: None,
            pages: 4 * LARGE..5 * LARGE,
            skip: Some(1),
            tables: 2,
            words: TABLE + 1,
        },
        Case {
            name: "unmap them, and with them the table",
            populated: true,
            before: Some((4 * LARGE..5 * LARGE, 1)),
            pages: 4 * LARGE..5 * LARGE,
            skip: None,
            tables: 1,
            words: 1,
        },
        Case {
            name: "map 4096 pages of 4 KiB, 8 new tables",
            populated: true,
            before: None,
            pages: 4 * LARGE..12 * LARGE,
            skip: Some(1),
            tables: 9,
            words: 8 * (TABLE + 1),
        },
        Case {
            name: "map 1 page, nothing is mapped yet",
            populated: false,
            before: None,
            pages: 0..1,
            skip: Some(0),
            tables: levels,
            words: (levels - 1) * TABLE + 1,
        },
        Case {
            name: "map 1 GiB in pages of 2 MiB, 2 new tables",
            populated: true,
            before: None,
            pages: SECOND..2 * SECOND,
            skip: Some(0),
            tables: 3,
            words: 2 * (TABLE + 1),
        },
        Case {
            name: "map 1 GiB over it, tables are there",
            populated: true,
            before: Some((SECOND..2 * SECOND, 0)),
            pages: SECOND..2 * SECOND,
            skip: Some(LARGE),
            tables: 2,
            words: 512,
        },
        Case {
            name: "unmap 1 GiB but for both ends",
            populated: true,
            before: Some((SECOND..2 * SECOND, 0)),
            pages: SECOND + LARGE..2 * SECOND - LARGE,
            skip: None,
            tables: 2,
            words: 510,
        },
        Case {
            name: "unmap 1 GiB, and with it the tables",
            populated: true,
            before: Some((SECOND..2 * SECOND, 0)),
            pages: SECOND..2 * SECOND,
            skip: None,
            tables: 1,
            words: 2,
        },
    ]
}

impl Case {
    /// Measures the operation in an address space of its own.
    pub(crate) fn measure<F: TestFormat>(&self, layout: Layout) -> Result<Counts> {
        let rig = self.prepare::<F>(layout)?;
        let counts = rig.run(self.submit(&rig)?)?;
        rig.end()?;

        Ok(counts)
    }

    fn prepare<F: TestFormat>(&self, layout: Layout) -> Result<Rig<F>> {
        let rig = Rig::new(layout)?;
        if self.populated {
            rig.populate()?;
        }
        if let Some((pages, skip)) = &self.before {
            rig.run(rig.map(pages.clone(), *skip)?)?;
        }

        Ok(rig)
    }

    fn submit<F: TestFormat>(&self, rig: &Rig<F>) -> Result<Submitted<F>> {
        match self.skip {
            Some(skip) => rig.map(self.pages.clone(), skip),
            None => rig.unmap(self.pages.clone()),
        }
    }
}

/// Returns the number of accesses but for words of tables and for the invalidate.
fn others(counts: &Counts) -> u64 {
    counts.window_writes + counts.pramin_reads
}

/// Each case costs as much as it says, and not more.
pub(crate) fn costs_are_bounded<F: TestFormat>() -> Result {
    let levels = u64::try_from(F::LEVELS.len())?;

    for layout in [Layout::RootApart, Layout::Scattered] {
        for case in &cases(levels) {
            let counts = case.measure::<F>(layout)?;
            check(case, &counts).inspect_err(|_| {
                pr_err!("{} ({:?}): {:?}\n", case.name, layout, counts);
            })?;
        }
    }

    Ok(())
}

fn check(case: &Case, counts: &Counts) -> Result {
    ensure!(counts.pramin_writes <= case.words);
    // The last word is read back; tables are not read.
    ensure_eq!(counts.pramin_reads, 1);
    ensure!(counts.window_writes <= case.tables + 1);
    // Two registers that say what; one that starts it, and is looked at before and after.
    ensure_eq!(counts.invalidates, 1);
    ensure_eq!(counts.other_writes, 2);
    ensure!(counts.trigger_polls <= 3);
    ensure_eq!(counts.other_reads, 0);
    if case.tables <= 2 {
        ensure!(others(counts) <= 4);
    }

    Ok(())
}

/// A table that is filled whole is filled before it is linked, and not zeroed first.
pub(crate) fn tables_are_filled_once<F: TestFormat>() -> Result {
    let levels = u64::try_from(F::LEVELS.len())?;
    let cases = cases(levels);
    let case = cases.get(2).ok_or(EINVAL)?;
    let rig = case.prepare::<F>(Layout::RootApart)?;
    let job = case.submit(&rig)?;

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

#[kunit_tests(nova_mm_figures_v2)]
mod suite {
    use super::*;
    use crate::mm::format::v2::MmuV2;

    #[test]
    fn operations_cost_no_more_than_they_must() -> Result {
        costs_are_bounded::<MmuV2>()
    }

    #[test]
    fn a_table_that_is_filled_is_written_once_and_then_linked() -> Result {
        tables_are_filled_once::<MmuV2>()
    }
}

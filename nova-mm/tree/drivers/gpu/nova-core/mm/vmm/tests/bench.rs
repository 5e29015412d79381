// SPDX-License-Identifier: GPL-2.0

//! An address space on a software GPU, and what has to be true of it at any time.

use core::ops::Range;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    time::Delta, //
};

use crate::{
    mm::{
        address::{
            PageSize,
            Vfn,
            VramAddress,
            PAGE_SIZE, //
        },
        format::{
            v2::MmuV2,
            Format,
            PageSizes, //
        },
        mmu::Mmu,
        model::{
            Config,
            Generation,
            ModelBar0,
            SoftGpu,
            WideAccess, //
        },
        pramin::{
            hal::{
                tu102::TU102_HAL,
                PraminHal, //
            },
            Pramin, //
        },
        tlb::Tlb,
        va::{
            VaRange,
            VaRequest, //
        },
        vmm::{
            job::{
                Access,
                Memory,
                Ran,
                Submitted, //
            },
            Vmm, //
        },
        vram::{
            Vram,
            VramAllocator, //
        }, //
    },
    num::usize_as_u64, //
};

/// Fails a test unless a condition is true.
///
/// Tests that are written once for several formats are no KUnit tests themselves, so `assert!`
/// would panic there.
macro_rules! ensure {
    ($condition:expr $(,)?) => {
        if !$condition {
            pr_err!(
                "{}:{}: not true: {}\n",
                file!(),
                line!(),
                stringify!($condition)
            );
            return Err(EINVAL);
        }
    };
}
pub(crate) use ensure;

/// Fails a test unless two values are equal.
macro_rules! ensure_eq {
    ($left:expr, $right:expr $(,)?) => {
        match (&$left, &$right) {
            (left, right) => {
                if left != right {
                    pr_err!(
                        "{}:{}: {} is {:?}, not {:?}\n",
                        file!(),
                        line!(),
                        stringify!($left),
                        left,
                        right
                    );
                    return Err(EINVAL);
                }
            }
        }
    };
}
pub(crate) use ensure_eq;

/// A format for which there is a software GPU.
pub(crate) trait TestFormat: Format {
    /// A chip with this format.
    const GENERATION: Generation;

    /// The first address of VRAM that entries have no room for.
    const VRAM_END: u64;

    /// The first address of VRAM that is not only in the lower half of an entry.
    const HALF: u64;

    /// Returns what moves the window of PRAMIN on that chip.
    fn hal() -> &'static dyn PraminHal;
}

impl TestFormat for MmuV2 {
    const GENERATION: Generation = Generation::Turing;
    const VRAM_END: u64 = 1 << 37;
    const HALF: u64 = 1 << 36;

    fn hal() -> &'static dyn PraminHal {
        TU102_HAL
    }
}

/// Number of pages of 4 KiB in a page of 2 MiB.
pub(crate) const LARGE: u64 = PageSize::Size2M.pages();

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Size of the VRAM that there is.
const VRAM_SIZE: u64 = 4 * MIB;

/// Where tables come from, in VRAM that there is.
const TABLES: Range<u64> = MIB..2 * MIB;

/// Where the firmware has its tables: there is no allocator of this, and its root is the last page.
pub(crate) const FIRMWARE: Range<u64> = 3 * MIB..VRAM_SIZE;

/// Where memory to be mapped comes from. Nobody accesses it, so there is none.
const DATA: Range<u64> = 16 * GIB..18 * GIB;

/// Number of pages of a BAR.
pub(crate) const BAR_PAGES: u64 = 256 * MIB / PAGE_SIZE;

/// Makes a range of addresses of numbers of bytes.
pub(crate) fn vram_range(range: &Range<u64>) -> Range<VramAddress> {
    VramAddress::new(range.start)..VramAddress::new(range.end)
}

/// Makes a range of pages of their numbers.
pub(crate) fn vfns(pages: Range<u64>) -> Result<Range<Vfn>> {
    Ok(Vfn::new(pages.start)?..Vfn::new(pages.end)?)
}

/// An address space on a software GPU.
///
/// Page tables come from a region of VRAM of their own. Nobody has written VRAM at first, and what
/// has been freed becomes so again in [`Self::check`]: the software GPU notes who walks there.
pub(crate) struct Bench<F: TestFormat> {
    pub(crate) gpu: Arc<SoftGpu>,
    pub(crate) bar: ModelBar0,
    pub(crate) mmu: Pin<KBox<Mutex<Mmu>>>,
    /// For page tables.
    pub(crate) memory: VramAllocator,
    /// For what is mapped.
    pub(crate) data: VramAllocator,
    pub(crate) vmm: Arc<Vmm<F>>,
    /// Whether only accesses through BARs use the address space, and not those of engines.
    pub(super) is_bar: bool,
    /// The tables that the address space had at the last check.
    pub(super) known: KVec<VramAddress>,
}

impl<F: TestFormat> Bench<F> {
    /// Makes an address space with tables of its own and all addresses that the format has.
    pub(crate) fn new() -> Result<Self> {
        Self::with_tables(TABLES)
    }

    /// Makes one whose tables are in `tables`, a range of at most one MiB from the first on.
    pub(crate) fn with_tables(tables: Range<u64>) -> Result<Self> {
        Self::build(tables, |mmu, bar, memory| {
            let limits = vfns(0..(1 << F::VA_BITS) / PAGE_SIZE)?;
            Vmm::new(limits, memory.clone(), mmu, bar)
        })
    }

    /// Makes one on a chip that does this with accesses of 64 bits through PRAMIN, after a probe.
    pub(crate) fn with_wide_access(wide_access: WideAccess) -> Result<Self> {
        let gpu = SoftGpu::new(Config {
            wide_access,
            ..Self::config()
        })?;

        Self::on(gpu, TABLES, |mmu, bar, memory| {
            let scratch = memory.alloc_table()?;
            mmu.lock().pramin.probe(bar, scratch.address())?;
            drop(scratch);

            let limits = vfns(0..(1 << F::VA_BITS) / PAGE_SIZE)?;
            Vmm::new(limits, memory.clone(), mmu, bar)
        })
    }

    /// Makes the address space of a BAR, in whose tables `firmware` has entries before.
    pub(crate) fn of_bar(firmware: impl FnOnce(&SoftGpu, VramAddress) -> Result) -> Result<Self> {
        Self::of_bar_on(Self::gpu()?, firmware)
    }

    /// Makes the same on a GPU that does not mind attributes of directories that are not published.
    pub(crate) fn of_newer_bar(
        firmware: impl FnOnce(&SoftGpu, VramAddress) -> Result,
    ) -> Result<Self> {
        let gpu = SoftGpu::new(Config {
            unknown_attributes: true,
            ..Self::config()
        })?;

        Self::of_bar_on(gpu, firmware)
    }

    fn of_bar_on(
        gpu: Arc<SoftGpu>,
        firmware: impl FnOnce(&SoftGpu, VramAddress) -> Result,
    ) -> Result<Self> {
        let root = Self::config().bar1_pdb;
        firmware(&gpu, root)?;

        let bench = Self::on(gpu, TABLES, |mmu, bar, memory| {
            Vmm::of_bar(root, vfns(0..BAR_PAGES)?, memory.clone(), mmu, bar)
        })?;

        Ok(Self {
            is_bar: true,
            ..bench
        })
    }

    fn build(
        tables: Range<u64>,
        vmm: impl FnOnce(&Mutex<Mmu>, &ModelBar0, &VramAllocator) -> Result<Arc<Vmm<F>>>,
    ) -> Result<Self> {
        Self::on(Self::gpu()?, tables, vmm)
    }

    fn on(
        gpu: Arc<SoftGpu>,
        tables: Range<u64>,
        vmm: impl FnOnce(&Mutex<Mmu>, &ModelBar0, &VramAllocator) -> Result<Arc<Vmm<F>>>,
    ) -> Result<Self> {
        let mmu = Mmu {
            pramin: Pramin::with_hal(F::hal()),
            tlb: Tlb::with_timeout(Delta::from_micros(200)),
            page_sizes: PageSizes::COMMON,
        };
        let mmu = KBox::pin_init(new_mutex!(mmu, "nova_mm_bench"), GFP_KERNEL)?;
        let bar = gpu.bar0();
        let memory = VramAllocator::new(&[vram_range(&tables)])?;

        Ok(Self {
            vmm: vmm(&mmu, &bar, &memory)?,
            gpu,
            bar,
            mmu,
            memory,
            data: VramAllocator::new(&[vram_range(&DATA)])?,
            is_bar: false,
            known: KVec::new(),
        })
    }

    fn config() -> Config {
        Config {
            generation: F::GENERATION,
            vram_size: VRAM_SIZE,
            bar1_pdb: VramAddress::new(VRAM_SIZE - PAGE_SIZE),
            bar1_size: BAR_PAGES * PAGE_SIZE,
            // The first look finds that an invalidate is done: with a short time-out, a delay of
            // the thread must not be taken for one.
            trigger_polls: 0,
            ..Config::default()
        }
    }

    /// Makes a software GPU like that of the bench.
    pub(crate) fn gpu() -> Result<Arc<SoftGpu>> {
        SoftGpu::new(Self::config())
    }

    /// Reserves `pages` pages, aligned to 2 MiB.
    pub(crate) fn reserve(&self, pages: u64) -> Result<Arc<VaRange>> {
        let align = PageSize::Size2M;

        self.vmm.reserve(VaRequest::Any { pages, align })
    }

    /// Reserves these pages.
    pub(crate) fn reserve_at(&self, pages: Range<u64>) -> Result<Arc<VaRange>> {
        self.vmm.reserve(VaRequest::Fixed(vfns(pages)?))
    }

    /// Allocates memory for at least `pages` pages, of a size that is a power of two, and in one
    /// piece that is aligned to it.
    pub(crate) fn alloc(&self, pages: u64) -> Result<Arc<Vram>> {
        let size = pages.next_power_of_two() * PAGE_SIZE;
        let vram = self.data.alloc(size, PageSize::Size2M)?;
        ensure_eq!(start_of(&vram)? & (size - 1), 0);
        ensure_eq!(vram.ranges().count(), 1);

        Ok(Arc::new(vram, GFP_KERNEL)?)
    }

    /// Submits a job that maps memory, from its page `skip` on, at `pages`, counted from the start
    /// of `va`.
    pub(crate) fn submit_map(
        &self,
        va: &Arc<VaRange>,
        pages: Range<u64>,
        vram: &Arc<Vram>,
        skip: u64,
        access: Access,
    ) -> Result<Submitted<F>> {
        let memory = Memory {
            vram: vram.clone(),
            offset: skip * PAGE_SIZE,
        };

        self.vmm.submit_map(va, within(va, pages)?, memory, access)
    }

    /// Submits a job that unmaps `pages`, counted from the start of `va`.
    pub(crate) fn submit_unmap(
        &self,
        va: &Arc<VaRange>,
        pages: Range<u64>,
    ) -> Result<Submitted<F>> {
        self.vmm.submit_unmap(va, within(va, pages)?)
    }

    /// Submits a job that changes what may be done with `pages`, counted from the start of `va`.
    pub(crate) fn submit_protect(
        &self,
        va: &Arc<VaRange>,
        pages: Range<u64>,
        access: Access,
    ) -> Result<Submitted<F>> {
        self.vmm.submit_protect(va, within(va, pages)?, access)
    }

    /// Runs a job.
    pub(crate) fn run(&self, job: Submitted<F>) -> Ran<F> {
        job.run(&self.mmu, &self.bar)
    }

    /// Maps memory, in all stages; see [`Self::submit_map`].
    pub(crate) fn map(
        &self,
        va: &Arc<VaRange>,
        pages: Range<u64>,
        vram: &Arc<Vram>,
        skip: u64,
        access: Access,
    ) -> Result {
        self.run(self.submit_map(va, pages, vram, skip, access)?)
            .cleanup()
    }

    /// Unmaps pages, in all stages.
    pub(crate) fn unmap(&self, va: &Arc<VaRange>, pages: Range<u64>) -> Result {
        self.run(self.submit_unmap(va, pages)?).cleanup()
    }

    /// Changes what may be done with pages, in all stages.
    pub(crate) fn protect(&self, va: &Arc<VaRange>, pages: Range<u64>, access: Access) -> Result {
        self.run(self.submit_protect(va, pages, access)?).cleanup()
    }

    /// Unmaps everything.
    pub(crate) fn teardown(&self) -> Result {
        self.vmm.teardown(&self.mmu, &self.bar)
    }

    /// Reserves addresses for memory and maps all of it.
    pub(crate) fn map_all(&self, vram: &Arc<Vram>, access: Access) -> Result<Arc<VaRange>> {
        let pages = vram.size() / PAGE_SIZE;
        let va = self.reserve(pages)?;
        self.map(&va, 0..pages, vram, 0, access)?;

        Ok(va)
    }

    /// Returns how many pages there are for tables that nobody has.
    pub(crate) fn free_tables(&self) -> u64 {
        self.memory.avail() / PAGE_SIZE
    }

    /// Returns how many tables the address space has.
    pub(crate) fn table_count(&self) -> Result<u64> {
        Ok(usize_as_u64(self.owned()?.len()))
    }
}

/// Returns where memory starts.
pub(crate) fn start_of(vram: &Vram) -> Result<u64> {
    Ok(vram.ranges().next().ok_or(EINVAL)?.start.into_raw())
}

/// Returns pages counted from the start of `va` by their numbers.
pub(crate) fn within_raw(va: &VaRange, pages: &Range<u64>) -> Range<u64> {
    let start = va.pages().start.into_raw();

    start + pages.start..start + pages.end
}

/// Returns pages counted from the start of `va`.
pub(crate) fn within(va: &VaRange, pages: Range<u64>) -> Result<Range<Vfn>> {
    vfns(within_raw(va, &pages))
}

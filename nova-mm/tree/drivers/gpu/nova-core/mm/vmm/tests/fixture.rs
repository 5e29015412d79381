// SPDX-License-Identifier: GPL-2.0

//! An address space on a GPU model, and what has to be true of it at any time.

use core::{
    cell::Cell,
    marker::PhantomData,
    ops::Range, //
};

use kernel::{
    prelude::*,
    sync::Arc,
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
            Access,
            Format,
            MmuFormat,
            PageAttributes,
            PageSizes, //
        },
        hw::{
            MmuConfig,
            MmuHw, //
        },
        memory::Backing,
        model::{
            Config,
            Generation,
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
        vmm::{
            Job,
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

/// A format for which there is a GPU model.
pub(crate) trait TestFormat: Format {
    /// A chip with this format.
    const GENERATION: Generation;

    /// The first address of VRAM that entries have no room for.
    const VRAM_END: u64;

    /// The first address of VRAM that is not only in the lower half of an entry.
    const HALF: u64;

    /// Returns what moves the window of PRAMIN on that chip.
    fn hal() -> &'static dyn PraminHal;

    /// Returns the format.
    fn mmu() -> &'static dyn MmuFormat;
}

impl TestFormat for MmuV2 {
    const GENERATION: Generation = Generation::Turing;
    const VRAM_END: u64 = 1 << 37;
    const HALF: u64 = 1 << 36;

    fn hal() -> &'static dyn PraminHal {
        TU102_HAL
    }

    fn mmu() -> &'static dyn MmuFormat {
        &MmuV2
    }
}

/// Number of pages of 4 KiB in a page of 2 MiB.
pub(crate) const LARGE: u64 = PageSize::Size2M.pages();

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Size of the VRAM that there is.
const VRAM_SIZE: u64 = 4 * MIB;

/// Where tables come from, in VRAM that there is.
pub(crate) const TABLES: Range<u64> = MIB..2 * MIB;

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

/// Pages of an address space that a test uses.
#[derive(Clone, Debug)]
pub(crate) struct Area(Range<u64>);

impl Area {
    /// Returns the pages.
    pub(crate) fn pages(&self) -> Range<Vfn> {
        // The page numbers of tests fit.
        let vfn = |page| Vfn::new(page).unwrap_or_else(|_| unreachable!());

        vfn(self.0.start)..vfn(self.0.end)
    }

    /// Returns the number of the first page.
    pub(crate) fn start(&self) -> u64 {
        self.0.start
    }
}

/// An address space on a GPU model.
///
/// Page tables come from a region of VRAM of their own. Nobody has written VRAM at first, and what
/// has been freed becomes so again in [`Self::check`]: the GPU model notes who walks there.
pub(crate) struct Fixture<F: TestFormat> {
    pub(crate) gpu: Arc<SoftGpu>,
    pub(crate) hw: Arc<MmuHw>,
    /// For page tables.
    pub(crate) memory: VramAllocator,
    /// For what is mapped.
    pub(crate) data: VramAllocator,
    pub(crate) vmm: Arc<Vmm>,
    /// The first page that no area has.
    next: Cell<u64>,
    /// The chip of the GPU model.
    generation: Generation,
    /// Whether only accesses through BARs use the address space, and not those of engines.
    pub(super) is_bar: bool,
    /// The tables that the address space had at the last check.
    pub(super) known: KVec<VramAddress>,
    _format: PhantomData<F>,
}

/// Returns the MMU of `gpu`, of format `F` with the sizes of pages `sizes`.
pub(crate) fn mmu_of<F: TestFormat>(gpu: &SoftGpu, page_sizes: PageSizes) -> Result<Arc<MmuHw>> {
    let config = MmuConfig {
        format: F::mmu(),
        page_sizes,
        pramin: Pramin::with_hal(F::hal()),
        tlb: Tlb::with_timeout(Delta::from_micros(200)),
    };

    MmuHw::new(gpu.registers()?, config)
}

/// Returns all pages of an address space of format `F`.
pub(crate) fn all_pages<F: TestFormat>() -> Result<Range<Vfn>> {
    vfns(0..(1 << F::VA_BITS) / PAGE_SIZE)
}

impl<F: TestFormat> Fixture<F> {
    /// Makes an address space with tables of its own and all addresses that the format has.
    pub(crate) fn new() -> Result<Self> {
        Self::with_tables(TABLES)
    }

    /// Makes one whose tables are in `tables`, a range of at most one MiB from the first on.
    pub(crate) fn with_tables(tables: Range<u64>) -> Result<Self> {
        Self::on(Self::gpu()?, PageSizes::COMMON, tables, |hw, memory| {
            Vmm::new(hw, memory, all_pages::<F>()?)
        })
    }

    /// Makes one on a chip with other sizes of pages.
    pub(crate) fn with_page_sizes(generation: Generation, sizes: PageSizes) -> Result<Self> {
        let gpu = SoftGpu::new(Config {
            generation,
            ..Self::config()
        })?;

        let fixture = Self::on(gpu, sizes, TABLES, |hw, memory| {
            Vmm::new(hw, memory, all_pages::<F>()?)
        })?;

        Ok(Self {
            generation,
            ..fixture
        })
    }

    /// Makes one on a chip that does this with accesses of 64 bits through PRAMIN, after a probe.
    pub(crate) fn with_wide_access(wide_access: WideAccess) -> Result<Self> {
        let gpu = SoftGpu::new(Config {
            wide_access,
            ..Self::config()
        })?;

        Self::on(gpu, PageSizes::COMMON, TABLES, |hw, memory| {
            let scratch = memory.alloc_table()?;
            hw.probe_pramin(scratch.address())?;
            drop(scratch);

            Vmm::new(hw, memory, all_pages::<F>()?)
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

        let fixture = Self::on(gpu, PageSizes::COMMON, TABLES, |hw, memory| {
            Vmm::of_bar(hw, memory, vfns(0..BAR_PAGES)?, root)
        })?;

        Ok(Self {
            is_bar: true,
            ..fixture
        })
    }

    fn on(
        gpu: Arc<SoftGpu>,
        page_sizes: PageSizes,
        tables: Range<u64>,
        vmm: impl FnOnce(Arc<MmuHw>, VramAllocator) -> Result<Arc<Vmm>>,
    ) -> Result<Self> {
        let hw = mmu_of::<F>(&gpu, page_sizes)?;
        let memory = VramAllocator::new(&[vram_range(&tables)])?;

        Ok(Self {
            vmm: vmm(hw.clone(), memory.clone())?,
            gpu,
            hw,
            memory,
            data: VramAllocator::new(&[vram_range(&DATA)])?,
            next: Cell::new(0),
            generation: F::GENERATION,
            is_bar: false,
            known: KVec::new(),
            _format: PhantomData,
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

    /// Makes a GPU model like that of the fixture.
    pub(crate) fn gpu() -> Result<Arc<SoftGpu>> {
        SoftGpu::new(Self::config())
    }

    /// Makes another GPU model of the same chip.
    pub(super) fn another_gpu(&self) -> Result<Arc<SoftGpu>> {
        SoftGpu::new(Config {
            generation: self.generation,
            ..Self::config()
        })
    }

    /// Returns another handle to the same address space, for another thread. Areas that it reserves
    /// start at page `first`.
    pub(crate) fn share(&self, first: u64) -> Self {
        Self {
            gpu: self.gpu.clone(),
            hw: self.hw.clone(),
            memory: self.memory.clone(),
            data: self.data.clone(),
            vmm: self.vmm.clone(),
            next: Cell::new(first),
            generation: self.generation,
            is_bar: self.is_bar,
            known: KVec::new(),
            _format: PhantomData,
        }
    }

    /// Returns the next `pages` pages that no area has, aligned to 2 MiB.
    pub(crate) fn reserve(&self, pages: u64) -> Result<Area> {
        let start = self.next.get();
        self.next.set(start + pages.next_multiple_of(LARGE));

        Ok(Area(start..start + pages))
    }

    /// Returns these pages.
    pub(crate) fn reserve_at(&self, pages: Range<u64>) -> Result<Area> {
        let next = self.next.get().max(pages.end.next_multiple_of(LARGE));
        self.next.set(next);

        Ok(Area(pages))
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

    /// Prepares a job that maps memory, from its page `skip` on, at `pages`, counted from the start
    /// of `va`.
    pub(crate) fn prepare_map(
        &self,
        va: &Area,
        pages: Range<u64>,
        vram: &Arc<Vram>,
        skip: u64,
        access: Access,
    ) -> Result<Job> {
        self.vmm
            .prepare_map(within(va, pages)?, backing(vram, skip, access))
    }

    /// Prepares a job that unmaps `pages`, counted from the start of `va`.
    pub(crate) fn prepare_unmap(&self, va: &Area, pages: Range<u64>) -> Result<Job> {
        self.vmm.prepare_unmap(within(va, pages)?)
    }

    /// Prepares a job that changes the access to `pages`, counted from the start of `va`.
    pub(crate) fn prepare_protect(
        &self,
        va: &Area,
        pages: Range<u64>,
        access: Access,
    ) -> Result<Job> {
        self.vmm.prepare_protect(within(va, pages)?, access)
    }

    /// Maps memory, in all stages; see [`Self::prepare_map`].
    pub(crate) fn map(
        &self,
        va: &Area,
        pages: Range<u64>,
        vram: &Arc<Vram>,
        skip: u64,
        access: Access,
    ) -> Result {
        complete(self.prepare_map(va, pages, vram, skip, access)?)
    }

    /// Unmaps pages, in all stages.
    pub(crate) fn unmap(&self, va: &Area, pages: Range<u64>) -> Result {
        complete(self.prepare_unmap(va, pages)?)
    }

    /// Changes the access to pages, in all stages.
    pub(crate) fn protect(&self, va: &Area, pages: Range<u64>, access: Access) -> Result {
        complete(self.prepare_protect(va, pages, access)?)
    }

    /// Unmaps everything.
    pub(crate) fn teardown(&self) -> Result {
        self.vmm.teardown()
    }

    /// Maps all of some memory at the next free pages.
    pub(crate) fn map_all(&self, vram: &Arc<Vram>, access: Access) -> Result<Area> {
        let pages = vram.size() / PAGE_SIZE;
        let va = self.reserve(pages)?;
        self.map(&va, 0..pages, vram, 0, access)?;

        Ok(va)
    }

    /// Returns the address of the root of the page tables.
    pub(crate) fn pdb(&self) -> VramAddress {
        self.vmm.pdb().address()
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

/// Returns the pages of `va` by their numbers, of pages counted from its start.
pub(crate) fn within_raw(va: &Area, pages: &Range<u64>) -> Range<u64> {
    va.start() + pages.start..va.start() + pages.end
}

/// Returns pages counted from the start of `va`.
pub(crate) fn within(va: &Area, pages: Range<u64>) -> Result<Range<Vfn>> {
    vfns(within_raw(va, &pages))
}

/// Returns memory to be mapped, from its page `skip` on.
pub(crate) fn backing(vram: &Arc<Vram>, skip: u64, access: Access) -> Backing {
    let attributes = PageAttributes {
        access,
        ..PageAttributes::default()
    };

    Backing::new(vram.clone(), skip, attributes)
}

/// Runs a job, and frees it.
pub(crate) fn complete(mut job: Job) -> Result {
    Ok(job.run()?)
}

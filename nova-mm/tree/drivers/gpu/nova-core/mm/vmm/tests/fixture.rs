// SPDX-License-Identifier: GPL-2.0

//! The fixture of the tests: an address space on a GPU model.

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
            GpuModel,
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

/// Returns an error from the test unless a condition is true.
///
/// Tests that are generic over the format are not KUnit tests themselves, so `assert!` would panic
/// in them.
macro_rules! ensure {
    ($condition:expr $(,)?) => {
        if !$condition {
            pr_err!(
                "{}:{}: check failed: {}\n",
                file!(),
                line!(),
                stringify!($condition)
            );
            return Err(EINVAL);
        }
    };
}
pub(crate) use ensure;

/// Returns an error from the test unless two values are equal.
macro_rules! ensure_eq {
    ($left:expr, $right:expr $(,)?) => {
        match (&$left, &$right) {
            (left, right) => {
                if left != right {
                    pr_err!(
                        "{}:{}: {} is {:?}, expected {:?}\n",
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

/// A format that the GPU model supports.
pub(crate) trait TestFormat: Format {
    /// A chip generation with this format.
    const GENERATION: Generation;

    /// First VRAM address that entries cannot represent.
    const VRAM_END: u64;

    /// First VRAM address that also uses the upper half of an entry.
    const HALF: u64;

    /// Returns the HAL that programs the PRAMIN window of this chip.
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

/// Number of 4 KiB pages in a 2 MiB page.
pub(crate) const LARGE: u64 = PageSize::Size2M.pages();

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// VRAM from which page tables are allocated.
pub(crate) const TABLES: Range<u64> = MIB..2 * MIB;

/// VRAM of the firmware's page tables, which is never allocated. The last page is the root of BAR1.
///
/// The GPU model has no VRAM other than this and [`TABLES`], because most test cases create a model
/// of their own.
pub(crate) const FIRMWARE: Range<u64> = TABLES.end..TABLES.end + 32 * PAGE_SIZE;

/// VRAM from which memory to be mapped is allocated. It is never accessed, and not provided by the
/// GPU model.
const DATA: Range<u64> = 16 * GIB..18 * GIB;

/// Number of pages of a BAR.
pub(crate) const BAR_PAGES: u64 = 256 * MIB / PAGE_SIZE;

/// Converts a range of numbers of bytes to a range of addresses.
pub(crate) fn vram_range(range: &Range<u64>) -> Range<VramAddress> {
    VramAddress::new(range.start)..VramAddress::new(range.end)
}

/// Converts a range of page numbers.
pub(crate) fn vfns(pages: Range<u64>) -> Result<Range<Vfn>> {
    Ok(Vfn::new(pages.start)?..Vfn::new(pages.end)?)
}

/// Pages of an address space that a test has reserved.
#[derive(Clone, Debug)]
pub(crate) struct Area(Range<u64>);

impl Area {
    /// Returns the pages.
    pub(crate) fn pages(&self) -> Range<Vfn> {
        // Tests use only page numbers whose addresses fit.
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
/// Page tables have their own region of VRAM. It is uninitialized at first, and [`Self::check`]
/// retires freed tables, so that the GPU model detects walks through unused memory.
pub(crate) struct Fixture<F: TestFormat> {
    pub(crate) gpu: Arc<GpuModel>,
    pub(crate) hw: Arc<MmuHw>,
    /// Allocates page tables.
    pub(crate) memory: VramAllocator,
    /// Allocates memory to be mapped.
    pub(crate) data: VramAllocator,
    pub(crate) vmm: Arc<Vmm>,
    /// First page that is not reserved.
    next: Cell<u64>,
    /// Chip generation of the GPU model.
    generation: Generation,
    /// Whether the address space serves only accesses through a BAR, and none by engines.
    pub(super) is_bar: bool,
    /// Tables of the address space at the last check.
    pub(super) known: KVec<VramAddress>,
    _format: PhantomData<F>,
}

/// Returns the MMU of `gpu` with format `F` and the page sizes `page_sizes`.
pub(crate) fn mmu_of<F: TestFormat>(gpu: &GpuModel, page_sizes: PageSizes) -> Result<Arc<MmuHw>> {
    let config = MmuConfig {
        format: F::mmu(),
        page_sizes,
        pramin: Pramin::new(F::hal()),
        tlb: Tlb::with_timeout(Delta::from_micros(200)),
    };

    MmuHw::new(gpu.registers()?, config)
}

/// Determines how VRAM is accessed through PRAMIN.
fn probe(hw: &MmuHw, memory: &VramAllocator) -> Result {
    let scratch = memory.alloc_table()?;

    hw.probe_pramin(scratch.address())
}

/// Returns all pages of an address space of format `F`.
pub(crate) fn all_pages<F: TestFormat>() -> Result<Range<Vfn>> {
    vfns(0..(1 << F::VA_BITS) / PAGE_SIZE)
}

impl<F: TestFormat> Fixture<F> {
    /// Creates an address space without firmware tables, covering all addresses of the format.
    pub(crate) fn new() -> Result<Self> {
        Self::with_tables(TABLES)
    }

    /// Creates the same with page tables allocated from `tables`, a range of addresses in
    /// [`TABLES`].
    pub(crate) fn with_tables(tables: Range<u64>) -> Result<Self> {
        Self::on(Self::gpu()?, PageSizes::COMMON, tables, |hw, memory| {
            Vmm::new(hw, memory, all_pages::<F>()?)
        })
    }

    /// Creates the same on another chip with other page sizes.
    pub(crate) fn with_page_sizes(generation: Generation, sizes: PageSizes) -> Result<Self> {
        let gpu = GpuModel::new(Config {
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

    /// Creates the same on a chip on which 64-bit accesses through PRAMIN have this effect, after a
    /// probe.
    pub(crate) fn with_wide_access(wide_access: WideAccess) -> Result<Self> {
        let gpu = GpuModel::new(Config {
            wide_access,
            ..Self::config()
        })?;

        Self::on(gpu, PageSizes::COMMON, TABLES, |hw, memory| {
            probe(&hw, &memory)?;

            Vmm::new(hw, memory, all_pages::<F>()?)
        })
    }

    /// Creates the address space of a BAR after `firmware` has written its page tables.
    pub(crate) fn of_bar(firmware: impl FnOnce(&GpuModel, VramAddress) -> Result) -> Result<Self> {
        Self::of_bar_on(Self::gpu()?, firmware)
    }

    /// Creates the same on a GPU that accepts directory entries with unpublished attributes.
    pub(crate) fn of_newer_bar(
        firmware: impl FnOnce(&GpuModel, VramAddress) -> Result,
    ) -> Result<Self> {
        let gpu = GpuModel::new(Config {
            unknown_attributes: true,
            ..Self::config()
        })?;

        Self::of_bar_on(gpu, firmware)
    }

    /// Makes the same on a chip that drops accesses of 64 bits through PRAMIN, after a probe.
    pub(crate) fn of_narrow_bar(
        firmware: impl FnOnce(&GpuModel, VramAddress) -> Result,
    ) -> Result<Self> {
        let gpu = GpuModel::new(Config {
            wide_access: WideAccess::Dropped,
            ..Self::config()
        })?;
        let root = Self::config().bar1_pdb;
        firmware(&gpu, root)?;

        let fixture = Self::on(gpu, PageSizes::COMMON, TABLES, |hw, memory| {
            probe(&hw, &memory)?;

            Vmm::of_bar(hw, memory, vfns(0..BAR_PAGES)?, root)
        })?;

        Ok(Self {
            is_bar: true,
            ..fixture
        })
    }

    fn of_bar_on(
        gpu: Arc<GpuModel>,
        firmware: impl FnOnce(&GpuModel, VramAddress) -> Result,
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
        gpu: Arc<GpuModel>,
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
            vram_start: VramAddress::new(TABLES.start),
            vram_size: FIRMWARE.end - TABLES.start,
            bar1_pdb: VramAddress::new(FIRMWARE.end - PAGE_SIZE),
            bar1_size: BAR_PAGES * PAGE_SIZE,
            // Invalidations complete at the first poll, so that a delayed thread does not run into
            // the short timeout.
            trigger_polls: 0,
            ..Config::default()
        }
    }

    /// Creates a GPU model with the default configuration of the fixture.
    pub(crate) fn gpu() -> Result<Arc<GpuModel>> {
        GpuModel::new(Self::config())
    }

    /// Creates another GPU model of the same chip generation.
    pub(super) fn new_gpu(&self) -> Result<Arc<GpuModel>> {
        GpuModel::new(Config {
            generation: self.generation,
            ..Self::config()
        })
    }

    /// Returns another handle to the same address space, for use by another thread. It reserves
    /// areas starting at page `first`.
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

    /// Reserves the next `pages` pages, aligned to 2 MiB.
    pub(crate) fn reserve(&self, pages: u64) -> Result<Area> {
        let start = self.next.get();
        self.next.set(start + pages.next_multiple_of(LARGE));

        Ok(Area(start..start + pages))
    }

    /// Reserves `pages`.
    pub(crate) fn reserve_at(&self, pages: Range<u64>) -> Result<Area> {
        let next = self.next.get().max(pages.end.next_multiple_of(LARGE));
        self.next.set(next);

        Ok(Area(pages))
    }

    /// Allocates contiguous memory for at least `pages` pages. Its size is a power of two, and its
    /// address is aligned to the size.
    pub(crate) fn alloc(&self, pages: u64) -> Result<Arc<Vram>> {
        let size = pages.next_power_of_two() * PAGE_SIZE;
        let vram = self.data.alloc(size, PageSize::Size2M)?;
        ensure_eq!(start_of(&vram)? & (size - 1), 0);
        ensure_eq!(vram.ranges().count(), 1);

        Ok(Arc::new(vram, GFP_KERNEL)?)
    }

    /// Prepares a job that maps `vram`, starting at its page `skip`, at `pages`, which are relative
    /// to the start of `va`.
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

    /// Prepares a job that unmaps `pages`, which are relative to the start of `va`.
    pub(crate) fn prepare_unmap(&self, va: &Area, pages: Range<u64>) -> Result<Job> {
        self.vmm.prepare_unmap(within(va, pages)?)
    }

    /// Prepares a job that changes the access to `pages`, which are relative to the start of `va`.
    pub(crate) fn prepare_protect(
        &self,
        va: &Area,
        pages: Range<u64>,
        access: Access,
    ) -> Result<Job> {
        self.vmm.prepare_protect(within(va, pages)?, access)
    }

    /// Prepares, runs and frees a map job; see [`Self::prepare_map`].
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

    /// Prepares, runs and frees an unmap job; see [`Self::prepare_unmap`].
    pub(crate) fn unmap(&self, va: &Area, pages: Range<u64>) -> Result {
        complete(self.prepare_unmap(va, pages)?)
    }

    /// Prepares, runs and frees a protect job; see [`Self::prepare_protect`].
    pub(crate) fn protect(&self, va: &Area, pages: Range<u64>, access: Access) -> Result {
        complete(self.prepare_protect(va, pages, access)?)
    }

    /// Tears down the address space.
    pub(crate) fn teardown(&self) -> Result {
        self.vmm.teardown()
    }

    /// Maps all of `vram` at the next free pages.
    pub(crate) fn map_all(&self, vram: &Arc<Vram>, access: Access) -> Result<Area> {
        let pages = vram.size() / PAGE_SIZE;
        let va = self.reserve(pages)?;
        self.map(&va, 0..pages, vram, 0, access)?;

        Ok(va)
    }

    /// Returns the address of the root page directory.
    pub(crate) fn pdb(&self) -> VramAddress {
        self.vmm.pdb().address()
    }

    /// Returns the number of free pages for page tables.
    pub(crate) fn free_tables(&self) -> u64 {
        self.memory.avail() / PAGE_SIZE
    }

    /// Returns the number of page tables that the address space owns.
    pub(crate) fn table_count(&self) -> Result<u64> {
        Ok(usize_as_u64(self.owned()?.len()))
    }
}

/// Returns the address of the first byte of `vram`.
pub(crate) fn start_of(vram: &Vram) -> Result<u64> {
    Ok(vram.ranges().next().ok_or(EINVAL)?.start.into_raw())
}

/// Returns the page numbers of `pages`, which are relative to the start of `va`.
pub(crate) fn within_raw(va: &Area, pages: &Range<u64>) -> Range<u64> {
    va.start() + pages.start..va.start() + pages.end
}

/// Returns `pages`, which are relative to the start of `va`, as pages of the address space.
pub(crate) fn within(va: &Area, pages: Range<u64>) -> Result<Range<Vfn>> {
    vfns(within_raw(va, &pages))
}

/// Returns the backing for mapping `vram`, starting at its page `skip`.
pub(crate) fn backing(vram: &Arc<Vram>, skip: u64, access: Access) -> Backing {
    let attributes = PageAttributes {
        access,
        ..PageAttributes::default()
    };

    Backing::new(vram.clone(), skip, attributes)
}

/// Runs and frees a job.
pub(crate) fn complete(mut job: Job) -> Result {
    Ok(job.run()?)
}

// SPDX-License-Identifier: GPL-2.0

//! The memory management of a GPU.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    address::VramAddress,
    bar1::Bar1,
    hw::{
        MmuConfig,
        MmuHw, //
    },
    mmio::{
        Aperture,
        Registers, //
    },
    regions::FbInfo,
    vram::VramAllocator, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod tests;

/// The memory management of a GPU: its VRAM, its MMU, and BAR1.
///
/// It depends on the GSP, which owns the unusable parts of VRAM and the root page directory of
/// BAR1. It must therefore be created after the GSP has booted, and torn down with
/// [`Self::teardown`] and dropped before the GSP is shut down.
///
/// # Locking
///
/// Locks are taken in this order:
///
/// 1. the table lock of an address space ([`Vmm`](crate::mm::vmm::Vmm));
/// 2. the hardware lock ([`MmuHw`]).
///
/// Running jobs, for which a DMA fence may wait, take both. Holders of either lock may sleep, but
/// must not allocate kernel memory or VRAM, free VRAM, or wait for anything that does.
///
/// The VRAM allocator allocates memory while it holds its lock. Jobs take this lock only while they
/// are prepared and freed, and never while they hold another lock.
pub(crate) struct GpuMm {
    fb: FbInfo,
    vram: VramAllocator,
    hw: Arc<MmuHw>,
    bar1: Arc<Bar1>,
}

impl GpuMm {
    /// Creates the memory management of a GPU. `fb` describes its memory, and `bar1_size` is the
    /// size of BAR1 in bytes. This adopts the page tables of BAR1.
    ///
    /// May sleep and allocates memory; takes the hardware lock.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if PRAMIN cannot show all of the memory, or page tables cannot translate all
    ///   addresses of BAR1.
    /// - [`EIO`] if VRAM cannot be accessed through PRAMIN.
    /// - [`ENOSPC`] if no page of VRAM is usable.
    /// - [`ENOMEM`] if memory allocation fails.
    /// - [`ENODEV`] if the device is unbound.
    pub(crate) fn new(
        config: MmuConfig,
        fb: FbInfo,
        registers: Registers,
        aperture: Option<Aperture>,
        bar1_size: u64,
    ) -> Result<Self> {
        let hw = MmuHw::new(registers, config)?;
        // The firmware's page tables can be anywhere, including in unusable memory.
        hw.check_addressable(fb.range())?;
        let vram = VramAllocator::new(fb.usable_regions())?;
        // Probe with a page that the driver owns, before any page table is read.
        hw.probe_pramin(vram.alloc_table()?.address())?;
        let bar1 = Bar1::new(hw.clone(), vram.clone(), fb.bar1_pdb(), aperture, bar1_size)?;

        Ok(Self { fb, vram, hw, bar1 })
    }

    /// Removes the driver's mappings in BAR1 from the firmware's page tables. May sleep; takes the
    /// locks of an address space.
    ///
    /// # Errors
    ///
    /// See [`Bar1::teardown`].
    pub(crate) fn teardown(&self) -> Result {
        self.bar1.teardown()
    }

    /// Returns the allocator of VRAM.
    pub(crate) fn vram(&self) -> &VramAllocator {
        &self.vram
    }

    /// Returns the MMU, for address spaces of this GPU.
    pub(crate) fn hw(&self) -> &Arc<MmuHw> {
        &self.hw
    }

    /// Returns the regions of VRAM that the driver may use, in ascending order.
    pub(crate) fn usable_regions(&self) -> &[Range<VramAddress>] {
        self.fb.usable_regions()
    }

    /// Returns the address space behind BAR1.
    pub(crate) fn bar1(&self) -> &Arc<Bar1> {
        &self.bar1
    }
}

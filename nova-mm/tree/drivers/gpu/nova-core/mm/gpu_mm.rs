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
/// It needs the GSP, which owns the unusable parts of VRAM and the root page directory of BAR1. So
/// it is created after the GSP has booted, and dropped before the GSP is. [`Self::teardown`] is
/// called before that.
///
/// # Locking
///
/// A thread holds more than one of these locks in this order only:
///
/// 1. the table lock of an address space ([`Vmm`](crate::mm::vmm::Vmm));
/// 2. the hardware lock ([`MmuHw`]).
///
/// Both are taken by running jobs, for which a DMA fence may wait. So no one allocates memory of
/// the kernel or of VRAM, frees VRAM, or waits for someone who does, while holding one of them.
/// Sleeping is allowed.
///
/// The VRAM allocator has a lock of its own, under which it allocates memory. Jobs take it while
/// they are prepared and freed only, and never while they hold another one.
pub(crate) struct GpuMm {
    fb: FbInfo,
    vram: VramAllocator,
    hw: Arc<MmuHw>,
    bar1: Arc<Bar1>,
}

impl GpuMm {
    /// Creates the memory management of a GPU with this framebuffer, and with a BAR1 of
    /// `bar1_size` bytes, whose page tables are adopted.
    ///
    /// Context: may sleep; allocates, and takes the hardware lock.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if PRAMIN does not reach all of the framebuffer, or BAR1 is larger than what
    ///   page tables can translate.
    /// - [`EIO`] if VRAM cannot be accessed through PRAMIN.
    /// - [`ENOSPC`] if no page of VRAM is usable.
    /// - [`ENOMEM`] if memory runs out.
    /// - [`ENODEV`] if the device is unbound.
    pub(crate) fn new(
        config: MmuConfig,
        fb: FbInfo,
        registers: Registers,
        aperture: Option<Aperture>,
        bar1_size: u64,
    ) -> Result<Self> {
        let hw = MmuHw::new(registers, config)?;
        // Page tables of the firmware can be anywhere, also in unusable memory.
        hw.check_addressable(fb.range())?;
        let vram = VramAllocator::new(fb.usable_regions())?;
        // The driver owns the page while it writes it, and no table is read before.
        hw.probe_pramin(vram.alloc_table()?.address())?;
        let bar1 = Bar1::new(hw.clone(), vram.clone(), fb.bar1_pdb(), aperture, bar1_size)?;

        Ok(Self { fb, vram, hw, bar1 })
    }

    /// Removes everything that the driver has mapped in BAR1 from the firmware's page tables.
    ///
    /// Context: may sleep; takes the locks of an address space.
    ///
    /// # Errors
    ///
    /// As for [`Bar1::teardown`].
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

    /// Returns the ranges of VRAM that the driver may use, in ascending order.
    pub(crate) fn usable_regions(&self) -> &[Range<VramAddress>] {
        self.fb.usable_regions()
    }

    /// Returns the address space behind BAR1.
    pub(crate) fn bar1(&self) -> &Arc<Bar1> {
        &self.bar1
    }
}

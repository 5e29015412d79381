// SPDX-License-Identifier: GPL-2.0

//! What memory management there is once in a GPU.

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
    address::VramAddress,
    bar1::Bar1,
    format::v2::MmuV2,
    mmio::Mmio,
    mmu::Mmu,
    regions::Framebuffer,
    vram::VramAllocator, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// The memory management of a GPU: its VRAM, its access to page tables, and BAR1.
///
/// It needs the GSP, which owns what is not usable of VRAM and the root page directory of BAR1. So
/// it is made when the GSP is up, and dropped before the GSP is. [`Self::teardown`] comes before
/// that, as long as the device is bound.
///
/// # Locking
///
/// There are three locks, of which a thread holds more than one in this order only:
///
/// 1. the lock of the page tables of an address space, which each has one of;
/// 2. [`mmu`](Self::mmu), the lock of the hardware: who holds it may access VRAM by way of PRAMIN,
///    and invalidate TLBs.
///
/// Both are taken in the stage "run" of a job, which a DMA fence may wait for. So nobody allocates
/// memory, be it of the kernel or of VRAM, frees VRAM, or waits for anybody who does, while holding
/// one of them. To sleep is allowed.
///
/// The third one is inside of [`vram`](Self::vram). Memory is allocated under it, so it is taken in
/// the stages "submit" and "cleanup" only, and never while one of the other two is held.
#[pin_data]
pub(crate) struct GpuMm {
    framebuffer: Framebuffer,
    vram: VramAllocator,
    #[pin]
    mmu: Mutex<Mmu>,
    /// The chips that the driver knows have MMU v2.
    bar1: Arc<Bar1<MmuV2>>,
}

impl GpuMm {
    /// Creates the memory management of a GPU with this `framebuffer`, and with a BAR1 of
    /// `bar1_size` bytes, whose page tables are read; `bar0` is BAR0.
    ///
    /// Context: may sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `mmu` cannot reach all of the framebuffer, or BAR1 is larger than what page
    ///   tables can translate.
    /// - [`EIO`] if VRAM cannot be accessed through PRAMIN.
    /// - [`ENOSPC`] if no page of VRAM is usable.
    /// - [`ENOMEM`] if there is no memory for the driver's own data.
    pub(crate) fn new<'a>(
        mut mmu: Mmu,
        framebuffer: Framebuffer,
        bar1_size: u64,
        bar0: &'a dyn Mmio,
    ) -> impl PinInit<Self, Error> + 'a {
        try_pin_init!(Self {
            // Page tables can be anywhere, those of the firmware in what is not usable.
            _: { mmu.pramin.check_reach(framebuffer.range())? },
            vram: VramAllocator::new(framebuffer.usable())?,
            // The page is the driver's while it is written, and no table is read before.
            _: { mmu.pramin.probe(bar0, vram.alloc_table()?.address())? },
            mmu <- new_mutex!(mmu, "nova_core_mmu"),
            bar1: Bar1::new(framebuffer.bar1_root(), bar1_size, vram.clone(), &mmu, bar0)?,
            framebuffer,
        })
    }

    /// Takes everything that the driver has mapped in BAR1 out of the firmware's page tables.
    ///
    /// Context: may sleep; takes the locks of an address space.
    ///
    /// # Errors
    ///
    /// As for [`Bar1::teardown`].
    pub(crate) fn teardown(&self, bar0: &dyn Mmio) -> Result {
        self.bar1.teardown(&self.mmu, bar0)
    }

    /// Returns the allocator of VRAM.
    pub(crate) fn vram(&self) -> &VramAllocator {
        &self.vram
    }

    /// Returns the lock of the hardware: see [Locking](Self#locking).
    pub(crate) fn mmu(&self) -> &Mutex<Mmu> {
        &self.mmu
    }

    /// Returns the ranges of VRAM that the driver may use, in ascending order.
    pub(crate) fn usable(&self) -> &[Range<VramAddress>] {
        self.framebuffer.usable()
    }

    /// Returns the address space behind BAR1.
    pub(crate) fn bar1(&self) -> &Arc<Bar1<MmuV2>> {
        &self.bar1
    }
}

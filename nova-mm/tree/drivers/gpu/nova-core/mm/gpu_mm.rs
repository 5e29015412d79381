// SPDX-License-Identifier: GPL-2.0

//! What memory management there is once in a GPU.

use core::ops::Range;

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

use crate::mm::{
    address::VramAddress,
    mmu::Mmu,
    regions::Framebuffer,
    vram::VramAllocator, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// The memory management of a GPU: its VRAM, and its access to page tables.
///
/// It needs the GSP, which owns what is not usable of VRAM and the root page directory of BAR1. So
/// it is made when the GSP is up, and dropped before the GSP is.
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
}

impl GpuMm {
    /// Creates the memory management of a GPU with this `framebuffer`; the hardware is not touched.
    ///
    /// Context: may sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `mmu` cannot reach all of the framebuffer.
    /// - [`ENOMEM`] if there is no memory for the driver's own data.
    pub(crate) fn new(mmu: Mmu, framebuffer: Framebuffer) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // Page tables can be anywhere, those of the firmware in what is not usable.
            _: { mmu.pramin.check_reach(framebuffer.range())? },
            vram: VramAllocator::new(framebuffer.usable())?,
            framebuffer,
            mmu <- new_mutex!(mmu, "nova_core_mmu"),
        })
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

    /// Returns the address of the root page directory of BAR1.
    ///
    /// It belongs to the firmware: entries may be added to it and taken out again, no more.
    pub(crate) fn bar1_root(&self) -> VramAddress {
        self.framebuffer.bar1_root()
    }
}

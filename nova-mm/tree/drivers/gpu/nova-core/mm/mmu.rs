// SPDX-License-Identifier: GPL-2.0

//! The parts of the hardware that changes of page tables go through.

use crate::{
    gpu::Chipset,
    mm::{
        format::PageSizes,
        pramin::Pramin,
        tlb::Tlb, //
    },
};

/// What there is once in a GPU, and only one change of page tables may use at a time.
///
/// It lives in a mutex. Changes are made in the stage "run" of a job, which may be waited for by
/// way of a DMA fence, and take the mutex there. Hence nobody may allocate memory while holding it;
/// nor may anyone hold it who waits for somebody that allocates. Sleeping is allowed.
///
/// Both parts are borrowed at once by taking the guard apart: `let mmu = &mut *guard;`.
pub(crate) struct Mmu {
    /// Access to VRAM.
    pub(crate) pramin: Pramin,
    /// Invalidation of what the GPU has cached of page tables.
    pub(crate) tlb: Tlb,
    /// The sizes of pages that entries can have.
    pub(crate) page_sizes: PageSizes,
}

impl Mmu {
    /// Returns the parts of a GPU of model `chipset`; the hardware is not touched.
    pub(crate) fn new(chipset: Chipset) -> Self {
        Self {
            pramin: Pramin::new(chipset),
            tlb: Tlb::new(),
            page_sizes: PageSizes::of(chipset),
        }
    }
}

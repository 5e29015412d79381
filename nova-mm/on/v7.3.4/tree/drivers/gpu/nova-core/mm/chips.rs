// SPDX-License-Identifier: GPL-2.0

//! The chips that memory management supports.

use crate::{
    gpu::Chipset::{
        self,
        *, //
    },
    mm::{
        address::PageSize,
        format::{
            v2::MmuV2,
            v3::MmuV3,
            MmuFormat,
            PageSizes, //
        },
        pramin::hal::{
            gb100::GB100_HAL,
            gh100::GH100_HAL,
            tu102::TU102_HAL,
            PraminHal, //
        },
    },
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// Chips with the same MMU.
pub(super) struct ChipMmu {
    chips: &'static [Chipset],
    /// The format of the page tables.
    pub(super) format: &'static dyn MmuFormat,
    /// The page sizes that entries can have.
    pub(super) page_sizes: PageSizes,
    /// The register that selects the part of VRAM that PRAMIN shows.
    pub(super) pramin: &'static dyn PraminHal,
}

const TURING: ChipMmu = ChipMmu {
    chips: &[TU102, TU104, TU106, TU117, TU116],
    format: &MmuV2,
    page_sizes: PageSizes::COMMON,
    pramin: TU102_HAL,
};

const AMPERE_AND_ADA: ChipMmu = ChipMmu {
    chips: &[
        GA100, GA102, GA103, GA104, GA106, GA107, AD102, AD103, AD104, AD106, AD107,
    ],
    format: &MmuV2,
    page_sizes: PageSizes::COMMON.with(PageSize::Size512M),
    pramin: TU102_HAL,
};

const HOPPER: ChipMmu = ChipMmu {
    chips: &[GH100],
    format: &MmuV3,
    page_sizes: PageSizes::COMMON.with(PageSize::Size512M),
    pramin: GH100_HAL,
};

const BLACKWELL: ChipMmu = ChipMmu {
    chips: &[GB100, GB102, GB202, GB203, GB205, GB206, GB207],
    format: &MmuV3,
    page_sizes: PageSizes::COMMON
        .with(PageSize::Size512M)
        .with(PageSize::Size256G),
    pramin: GB100_HAL,
};

const MMUS: &[&ChipMmu] = &[
    &TURING, //
    &AMPERE_AND_ADA,
    &HOPPER,
    &BLACKWELL,
];

/// Returns the MMU of `chipset`, or [`None`] if memory management does not support the chip.
pub(super) fn find(chipset: Chipset) -> Option<&'static ChipMmu> {
    MMUS.iter()
        .copied()
        .find(|mmu| mmu.chips.contains(&chipset))
}

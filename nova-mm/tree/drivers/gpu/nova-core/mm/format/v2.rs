// SPDX-License-Identifier: GPL-2.0

//! MMU version 2: Turing, Ampere and Ada.
//!
//! Virtual addresses have 49 bits in five levels. VRAM addresses have 37 bits (128 GiB), addresses
//! of system memory 58.
//!
//! The bit positions come from `dev_mmu.h` of GP100 and TU102 in open-gpu-kernel-modules. PTEs have
//! two fields that the driver does not use. An entry is [`Entry::Malformed`] unless they are zero:
//!
//! - COMPTAGLINE, from bit 36 up, whose width differs between chips. The driver does not compress
//!   pages.
//! - ENCRYPTED, bit 4.
//!
//! NO_ATS is bit 5 of a PDE since Volta. The driver leaves it clear, as the resource manager in
//! open-gpu-kernel-modules does, but firmware may set it. The header defines the same bit in the
//! first word of a dual entry, where it overlaps the address of the big table. The driver treats it
//! as a bit of the address there.

mod bits;

use crate::mm::{
    address::PageSize,
    format::{
        EntryType,
        Format,
        Level, //
    },
};

use bits::{
    PdeBits,
    PteBits, //
};

/// The page table format of MMU version 2.
#[derive(Default)]
pub(crate) struct MmuV2;

impl Format for MmuV2 {
    const VA_BITS: u32 = 49;

    const LEVELS: &'static [Level] = &[
        // PD3.
        Level {
            shift: 47,
            bits: 2,
            kind: EntryType::Pde,
            leaf: None,
        },
        // PD2.
        Level {
            shift: 38,
            bits: 9,
            kind: EntryType::Pde,
            leaf: None,
        },
        // PD1. Turing does not support pages here, see `PageSizes`.
        Level {
            shift: 29,
            bits: 9,
            kind: EntryType::Pde,
            leaf: Some(PageSize::Size512M),
        },
        // PD0.
        Level {
            shift: 21,
            bits: 8,
            kind: EntryType::Dual,
            leaf: Some(PageSize::Size2M),
        },
        // PT.
        Level {
            shift: 12,
            bits: 9,
            kind: EntryType::Pte,
            leaf: Some(PageSize::Size4K),
        },
    ];

    const NO_ATS: bool = false;

    type PdeBits = PdeBits;
    type PteBits = PteBits;
}

// SPDX-License-Identifier: GPL-2.0

//! MMU version 3: Hopper and Blackwell.
//!
//! Virtual addresses have 57 bits in six levels. Addresses of system memory and peer memory have 52
//! bits. VRAM addresses have 40 bits (1 TiB). The published headers disagree on whether the field
//! is wider, so an entry with a larger address is [`Entry::Malformed`].
//!
//! The bit positions come from `dev_mmu.h` of GH100 in open-gpu-kernel-modules. The header defines
//! the attributes of an entry as an enumeration, PCF. In a valid entry, each bit of PCF is one
//! attribute, and a field of its bitfield below. In an entry that is not valid, PCF selects the
//! meaning of the entry instead.

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

/// The page table format of MMU version 3.
#[derive(Default)]
pub(crate) struct MmuV3;

impl Format for MmuV3 {
    const VA_BITS: u32 = 57;

    const LEVELS: &'static [Level] = &[
        // PD4.
        Level {
            shift: 56,
            bits: 1,
            kind: EntryType::Pde,
            leaf: None,
        },
        // PD3.
        Level {
            shift: 47,
            bits: 9,
            kind: EntryType::Pde,
            leaf: None,
        },
        // PD2. Hopper does not support pages here, see `PageSizes`.
        Level {
            shift: 38,
            bits: 9,
            kind: EntryType::Pde,
            leaf: Some(PageSize::Size256G),
        },
        // PD1.
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

    const NO_ATS: bool = true;

    type PdeBits = PdeBits;
    type PteBits = PteBits;
}

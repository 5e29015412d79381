// SPDX-License-Identifier: GPL-2.0

//! Configuration of a GPU model.

use kernel::sizes::*;

use crate::{
    mm::{
        address::VramAddress,
        model::{
            walk::Walker,
            walk_v2::WalkerV2, //
        }, //
    },
    num::usize_as_u64, //
};

use crate::mm::model::walk_v3::WalkerV3;

/// Generation of chips that the model represents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// TU10x: MMU v2.
    Turing,
    /// GA10x and AD10x: MMU v2 with pages of 512 MiB.
    Ampere,
    /// GH100: MMU v3 and another register for the PRAMIN window.
    Hopper,
    /// GB10x and GB20x: MMU v3 with pages of 256 GiB, and a window register with one more bit.
    Blackwell,
}

/// The register that programs the PRAMIN window.
#[derive(Clone, Copy)]
pub(super) struct WindowRegister {
    /// Offset in BAR0.
    pub(super) offset: usize,
    /// Mask of the field that holds the address in units of 64 KiB.
    pub(super) base: u32,
}

impl Generation {
    /// Returns the register that programs the window.
    ///
    /// Sources: `dev_bus.h` of GM107, `dev_nv_xal_ep_zb.h` of GH100 and GB100.
    pub(super) fn window(self) -> WindowRegister {
        let (offset, base) = match self {
            // Bits 25:24 select the memory that the window shows; zero is VRAM.
            Self::Turing => (0x1700, 0x00ff_ffff),
            Self::Ampere => (0x1700, 0x00ff_ffff),
            Self::Hopper => (0x10_fd40, 0x003f_ffff),
            Self::Blackwell => (0x10_fd40, 0x007f_ffff),
        };

        WindowRegister { offset, base }
    }
}

/// Effect of a 64-bit access through PRAMIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WideAccess {
    /// All 64 bits are accessed.
    Whole,
    /// Only the lower 32 bits are accessed. The upper ones are not written, and read as zero.
    LowerHalf,
    /// Nothing is accessed, and reads return all ones.
    Dropped,
    /// The two halves are exchanged.
    Swapped,
}

/// Configuration of a GPU model. [`Config::default`] is a Turing with 16 MiB of VRAM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Chip generation, which determines the registers and the page table format.
    pub(crate) generation: Generation,
    /// Start address of VRAM, a multiple of 4 KiB. It is zero on real GPUs; another value allows
    /// tests of high addresses with little memory.
    pub(crate) vram_start: VramAddress,
    /// Size of VRAM in bytes, a multiple of 4 KiB.
    pub(crate) vram_size: u64,
    /// Address of the root page directory of BAR1, a page of VRAM.
    pub(crate) bar1_pdb: VramAddress,
    /// Size of BAR1 in bytes.
    pub(crate) bar1_size: u64,
    /// Whether writes through PRAMIN are posted, so that they reach VRAM late.
    pub(crate) posted_writes: bool,
    /// Whether the TLB caches invalid entries.
    pub(crate) negative_caching: bool,
    /// Whether VRAM initially holds [`POISON`](super::POISON), except in the root page directory of
    /// BAR1. It is zero otherwise.
    pub(crate) poisoned: bool,
    /// Number of reads of the register that report an invalidate as pending.
    pub(crate) trigger_polls: u32,
    /// Effect of a 64-bit access through PRAMIN.
    pub(crate) wide_access: WideAccess,
    /// Whether PDEs that point to directories in VRAM may have attributes whose meaning is not
    /// published, which newer firmware might set.
    pub(crate) unknown_attributes: bool,
}

impl Config {
    /// Returns the walker for the page table format.
    pub(super) fn walker(&self) -> &'static dyn Walker {
        match (self.generation, self.unknown_attributes) {
            (Generation::Turing, false) => &WalkerV2::<false, false>,
            (Generation::Turing, true) => &WalkerV2::<false, true>,
            (Generation::Ampere, false) => &WalkerV2::<true, false>,
            (Generation::Ampere, true) => &WalkerV2::<true, true>,
            (Generation::Hopper, false) => &WalkerV3::<false, false>,
            (Generation::Hopper, true) => &WalkerV3::<false, true>,
            (Generation::Blackwell, false) => &WalkerV3::<true, false>,
            (Generation::Blackwell, true) => &WalkerV3::<true, true>,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            generation: Generation::Turing,
            vram_start: VramAddress::new(0),
            vram_size: usize_as_u64(SZ_16M),
            bar1_pdb: VramAddress::new(usize_as_u64(SZ_16M - SZ_64K)),
            bar1_size: usize_as_u64(SZ_256M),
            posted_writes: true,
            negative_caching: true,
            poisoned: true,
            trigger_polls: 1,
            wide_access: WideAccess::Whole,
            unknown_attributes: false,
        }
    }
}

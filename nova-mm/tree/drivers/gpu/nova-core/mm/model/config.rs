// SPDX-License-Identifier: GPL-2.0

//! What a GPU model is like.

use kernel::sizes::*;

use crate::{
    mm::{
        address::VramAddress,
        model::{
            walk::Walker,
            walk_v2::WalkerV2,
            walk_v3::WalkerV3, //
        }, //
    },
    num::usize_as_u64, //
};

/// Which chips the GPU is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// TU10x: MMU v2.
    Turing,
    /// GA10x and AD10x: MMU v2 with pages of 512 MiB.
    Ampere,
    /// GH100: MMU v3, and another register that moves the window of PRAMIN.
    Hopper,
    /// GB10x and GB20x: MMU v3 with pages of 256 GiB, and the register has one more bit.
    Blackwell,
}

/// The register that moves the window of PRAMIN.
#[derive(Clone, Copy)]
pub(super) struct WindowRegister {
    /// Offset in BAR0.
    pub(super) offset: usize,
    /// Mask of the field that holds the address in units of 64 KiB.
    pub(super) base: u32,
}

impl Generation {
    /// Returns the register that moves the window.
    ///
    /// Sources: `dev_bus.h` of GM107, `dev_nv_xal_ep_zb.h` of GH100 and GB100.
    pub(super) fn window(self) -> WindowRegister {
        let (offset, base) = match self {
            // Bits 25:24 say what the window shows; zero is VRAM.
            Self::Turing => (0x1700, 0x00ff_ffff),
            Self::Ampere => (0x1700, 0x00ff_ffff),
            Self::Hopper => (0x10_fd40, 0x003f_ffff),
            Self::Blackwell => (0x10_fd40, 0x007f_ffff),
        };

        WindowRegister { offset, base }
    }
}

/// Effect of an access of 64 bits through PRAMIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WideAccess {
    /// It is done.
    Whole,
    /// It is done for the lower 32 bits. The upper ones are not written, and read as zero.
    LowerHalf,
    /// It is not done, and reads as all ones.
    Dropped,
    /// It is done with the halves in each other's place.
    Swapped,
}

/// What a GPU model is like; [`Config::default`] is a Turing with 16 MiB of VRAM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Registers and page tables.
    pub(crate) generation: Generation,
    /// Where VRAM starts. Real ones start at zero; this allows for high addresses without much
    /// memory. A multiple of 4 KiB.
    pub(crate) vram_start: VramAddress,
    /// Size of VRAM in bytes, a multiple of 4 KiB.
    pub(crate) vram_size: u64,
    /// The root page directory of BAR1, which is a page of VRAM.
    pub(crate) bar1_pdb: VramAddress,
    /// Size of BAR1 in bytes.
    pub(crate) bar1_size: u64,
    /// Whether what is written through PRAMIN arrives late.
    pub(crate) posted_writes: bool,
    /// Whether the TLB remembers that there was no entry.
    pub(crate) negative_caching: bool,
    /// Whether fresh VRAM is poisoned, but for the root page directory of BAR1; else it is zero.
    pub(crate) poisoned: bool,
    /// How many reads of the register find an invalidate pending.
    pub(crate) trigger_polls: u32,
    /// Effect of an access of 64 bits through PRAMIN.
    pub(crate) wide_access: WideAccess,
    /// Whether entries that point to directories in VRAM may have attributes without a published
    /// meaning, which a newer firmware might set.
    pub(crate) unknown_attributes: bool,
}

impl Config {
    /// Returns the walker for the page tables.
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

// SPDX-License-Identifier: GPL-2.0

//! Page table walker for MMU v3.
//!
//! The bit positions are taken from `dev_mmu.h` of GH100 in open-gpu-kernel-modules, not from the
//! formats of the driver. An entry with bits outside all fields is malformed.

use crate::mm::{
    address::PageSize,
    format::Aperture,
    model::walk::{
        DirectoryLevel,
        Leaf,
        Pointer,
        Step,
        Walker, //
    }, //
};

/// MMU v3, with 57-bit addresses.
///
/// `PAGE_256G` is set if the chip supports pages of 256 GiB, as chips since GB100 do. `UNKNOWN` is
/// set if PDEs that point to directories in VRAM may have unpublished attributes.
pub(super) struct WalkerV3<const PAGE_256G: bool, const UNKNOWN: bool>;

static DIRECTORIES: [DirectoryLevel; 5] = [
    DirectoryLevel { shift: 56, bits: 1 },
    DirectoryLevel { shift: 47, bits: 9 },
    DirectoryLevel { shift: 38, bits: 9 },
    DirectoryLevel { shift: 29, bits: 9 },
    DirectoryLevel { shift: 21, bits: 8 },
];

/// Mask of an address, which is not shifted: bits 51:12, or 51:8 for tables of big pages.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const ADDRESS_BIG: u64 = 0x000f_ffff_ffff_ff00;

/// Decoded word that may point to a table.
enum Half {
    Invalid,
    Sparse,
    Pointer(Pointer),
    Malformed,
}

/// Decodes a pointer to a directory.
fn directory(word: u64, unknown: bool) -> Half {
    match (word >> 1) & 0x3 {
        1 if unknown && word & 1 == 0 => pointer(word & !0xfff0_0000_0000_0fe0, ADDRESS),
        _ => pointer(word, ADDRESS),
    }
}

/// Decodes a pointer with the address in the bits of `mask`.
fn pointer(word: u64, mask: u64) -> Half {
    // IS_PTE 0, APERTURE 2:1, PCF 5:3.
    let pcf = (word >> 3) & 0x7;
    if word & !(mask | 0x3e) != 0 || pcf > 3 {
        return Half::Malformed;
    }
    match ((word >> 1) & 0x3, word & mask, pcf) {
        // Invalid with and without ATS.
        (0, 0, 0 | 2) => Half::Invalid,
        // Sparse with and without ATS.
        (0, 0, _) => Half::Sparse,
        (1, address, _) => Half::Pointer(Pointer {
            vram: Some(address),
        }),
        (2 | 3, _, _) => Half::Pointer(Pointer { vram: None }),
        _ => Half::Malformed,
    }
}

/// Decodes an entry of the last directory that is not a PTE.
fn dual(words: [u64; 2]) -> Step {
    match (pointer(words[0], ADDRESS_BIG), pointer(words[1], ADDRESS)) {
        (Half::Invalid, Half::Invalid) => Step::Invalid,
        (Half::Sparse, Half::Invalid) => Step::Sparse,
        (Half::Pointer(big), Half::Invalid) => Step::Dual {
            big: Some(big),
            small: None,
        },
        (Half::Invalid, Half::Pointer(small)) => Step::Dual {
            big: None,
            small: Some(small),
        },
        (Half::Pointer(big), Half::Pointer(small)) => Step::Dual {
            big: Some(big),
            small: Some(small),
        },
        _ => Step::Malformed,
    }
}

/// Decodes a PTE.
fn page(word: u64, size: PageSize) -> Step {
    // VALID 0, APERTURE 2:1, PCF 7:3, KIND 11:8, ADDRESS 51:12, PEER_ID 63:61.
    let (aperture, peers) = match (word >> 1) & 0x3 {
        0 => (Aperture::Vram, 0),
        1 => (Aperture::Peer, 0x7 << 61),
        2 => (Aperture::SysCoherent, 0),
        _ => (Aperture::SysNonCoherent, 0),
    };
    let kind = (word >> 8) & 0xf;
    let address = word & ADDRESS;
    // 7 is not a valid kind.
    if word & !(ADDRESS | 0xfff | peers) != 0 || address % size.bytes() != 0 || kind == 7 {
        return Step::Malformed;
    }

    Step::Page(Leaf {
        aperture,
        address,
        page_size: size,
        // CAST: The value has three bits.
        peer: (word >> 61) as u8,
        // CAST: The value has four bits.
        kind: kind as u8,
        // PCF fields: UNCACHED 0, PRIVILEGE 1, READ_ONLY 2, NO_ATOMIC 3, ACD 4.
        volatile: word & (1 << 3) != 0,
        privileged: word & (1 << 4) != 0,
        read_only: word & (1 << 5) != 0,
        no_atomics: word & (1 << 6) != 0,
    })
}

impl<const PAGE_256G: bool, const UNKNOWN: bool> Walker for WalkerV3<PAGE_256G, UNKNOWN> {
    fn directories(&self) -> &'static [DirectoryLevel] {
        &DIRECTORIES
    }

    fn directory_entry(&self, shift: u32, words: [u64; 2]) -> Step {
        // Bit 0 marks a PTE.
        if words[0] & 1 != 0 {
            return match shift {
                // The second word is ignored. It may still point to the table that the PTE
                // replaces, or already to the table that replaces the PTE.
                21 if !matches!(pointer(words[1], ADDRESS), Half::Sparse | Half::Malformed) => {
                    page(words[0], PageSize::Size2M)
                }
                29 => page(words[0], PageSize::Size512M),
                38 if PAGE_256G => page(words[0], PageSize::Size256G),
                _ => Step::Malformed,
            };
        }
        if shift == 21 {
            return dual(words);
        }
        match directory(words[0], UNKNOWN) {
            Half::Invalid => Step::Invalid,
            Half::Sparse => Step::Sparse,
            Half::Pointer(table) => Step::Table(table),
            Half::Malformed => Step::Malformed,
        }
    }

    fn page_entry(&self, size: PageSize, word: u64) -> Step {
        if word & 1 != 0 {
            return page(word, size);
        }
        // PCF 7:3 selects the meaning.
        match word {
            0 => Step::Invalid,
            0x08 => Step::Sparse,
            0x18 if size == PageSize::Size64K => Step::NoSmallPages,
            _ => Step::Malformed,
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Page table walker for MMU v2.
//!
//! The bit positions are taken from `dev_mmu.h` of GP100 and TU102 in open-gpu-kernel-modules, not
//! from the formats of the driver. An entry with bits outside all fields is malformed.

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

/// MMU v2, with 49-bit addresses.
///
/// `PAGE_512M` is set if the chip supports pages of 512 MiB, as chips since GA100 do. `UNKNOWN` is
/// set if PDEs that point to directories in VRAM may have unpublished attributes.
pub(super) struct WalkerV2<const PAGE_512M: bool, const UNKNOWN: bool>;

static DIRECTORIES: [DirectoryLevel; 4] = [
    DirectoryLevel { shift: 47, bits: 2 },
    DirectoryLevel { shift: 38, bits: 9 },
    DirectoryLevel { shift: 29, bits: 9 },
    DirectoryLevel { shift: 21, bits: 8 },
];

/// Returns bits `high..=low`.
#[inline]
fn bits(word: u64, high: u32, low: u32) -> u64 {
    (word << (63 - high)) >> (63 - high + low)
}

/// Returns whether a bit is set.
#[inline]
fn bit(word: u64, number: u32) -> bool {
    bits(word, number, number) == 1
}

/// Returns whether all bits outside the `(high, low)` ranges are clear.
#[inline]
fn only(word: u64, ranges: &[(u32, u32)]) -> bool {
    let allowed = ranges.iter().fold(0, |mask, &(high, low)| {
        mask | (bits(u64::MAX, high, low) << low)
    });

    word & !allowed == 0
}

/// Decoded word that may point to a table.
enum Half {
    Invalid,
    Sparse,
    Pointer(Pointer),
    Malformed,
}

/// Decodes a pointer to a directory, with the address in bits 32:8 (VRAM) in units of 4 KiB.
fn directory(word: u64, unknown: bool) -> Half {
    // NO_ATS 5; VOL 3 makes an entry without an aperture sparse.
    match (bits(word, 2, 1), bit(word, 3)) {
        (0, false) if only(word, &[(5, 5)]) => Half::Invalid,
        (0, true) if only(word, &[(3, 3), (5, 5)]) => Half::Sparse,
        (1, _) if unknown && !bit(word, 0) => pointer(word & !0xffc0_0000_0000_00d0),
        _ => pointer(word),
    }
}

/// Decodes a pointer with the address in bits 32:8 (VRAM) in units of 4 KiB.
fn pointer(word: u64) -> Half {
    // APERTURE 2:1, VOL 3, NO_ATS 5.
    match bits(word, 2, 1) {
        0 if word == 0 => Half::Invalid,
        0 if only(word, &[(3, 3)]) => Half::Sparse,
        1 if only(word, &[(2, 1), (3, 3), (5, 5), (32, 8)]) => Half::Pointer(Pointer {
            vram: Some(bits(word, 32, 8) << 12),
        }),
        2 | 3 if only(word, &[(2, 1), (3, 3), (5, 5), (53, 8)]) => {
            Half::Pointer(Pointer { vram: None })
        }
        _ => Half::Malformed,
    }
}

/// Decodes a pointer to a table of big pages, with the address in bits 32:4 (VRAM) in units of 256
/// bytes. Bit 5 belongs to the address and is not NO_ATS.
fn big_pointer(word: u64) -> Half {
    match bits(word, 2, 1) {
        0 if word == 0 => Half::Invalid,
        0 if only(word, &[(3, 3)]) => Half::Sparse,
        1 if only(word, &[(2, 1), (3, 3), (32, 4)]) => Half::Pointer(Pointer {
            vram: Some(bits(word, 32, 4) << 8),
        }),
        2 | 3 if only(word, &[(2, 1), (3, 3), (53, 4)]) => Half::Pointer(Pointer { vram: None }),
        _ => Half::Malformed,
    }
}

/// Decodes an entry of the last directory that is not a PTE.
fn dual(words: [u64; 2]) -> Step {
    match (big_pointer(words[0]), pointer(words[1])) {
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
    // VALID 0, APERTURE 2:1, VOL 3, PRIVILEGE 5, READ_ONLY 6, ATOMIC_DISABLE 7, KIND 63:56.
    let flags = [(3, 0), (7, 5), (63, 56)];
    let (aperture, address, peer, fits) = match bits(word, 2, 1) {
        0 => (
            Aperture::Vram,
            bits(word, 32, 8),
            0,
            only(word, &[flags[0], flags[1], flags[2], (32, 8)]),
        ),
        1 => (
            Aperture::Peer,
            bits(word, 32, 8),
            bits(word, 35, 33),
            only(word, &[flags[0], flags[1], flags[2], (35, 8)]),
        ),
        aperture => (
            if aperture == 2 {
                Aperture::SysCoherent
            } else {
                Aperture::SysNonCoherent
            },
            bits(word, 53, 8),
            0,
            only(word, &[flags[0], flags[1], flags[2], (53, 8)]),
        ),
    };
    let address = address << 12;
    // 7 is not a valid kind.
    if !fits || address % size.bytes() != 0 || bits(word, 63, 56) == 7 {
        return Step::Malformed;
    }

    Step::Page(Leaf {
        aperture,
        address,
        page_size: size,
        // CAST: The value has three bits.
        peer: peer as u8,
        // CAST: The value has eight bits.
        kind: bits(word, 63, 56) as u8,
        read_only: bit(word, 6),
        privileged: bit(word, 5),
        volatile: bit(word, 3),
        no_atomics: bit(word, 7),
    })
}

impl<const PAGE_512M: bool, const UNKNOWN: bool> Walker for WalkerV2<PAGE_512M, UNKNOWN> {
    fn directories(&self) -> &'static [DirectoryLevel] {
        &DIRECTORIES
    }

    fn directory_entry(&self, shift: u32, words: [u64; 2]) -> Step {
        // Bit 0 marks a PTE.
        if bit(words[0], 0) {
            return match shift {
                // The second word is ignored. It may still point to the table that the PTE
                // replaces, or already to the table that replaces the PTE.
                21 if !matches!(pointer(words[1]), Half::Sparse | Half::Malformed) => {
                    page(words[0], PageSize::Size2M)
                }
                29 if PAGE_512M => page(words[0], PageSize::Size512M),
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
        match word {
            _ if bit(word, 0) => page(word, size),
            0 => Step::Invalid,
            // VOL.
            0x08 => Step::Sparse,
            // PRIVILEGE, or that and VOL.
            0x20 | 0x28 if size == PageSize::Size64K => Step::NoSmallPages,
            _ => Step::Malformed,
        }
    }
}

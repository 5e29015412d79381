// SPDX-License-Identifier: GPL-2.0

//! Version 2 of the MMU: Turing, Ampere and Ada.
//!
//! Virtual addresses have 49 bits, in five levels. Addresses of VRAM have 37 bits (128 GiB), those
//! of system memory 58.
//!
//! The bits are those of `dev_mmu.h` of GP100 and TU102 in open-gpu-kernel-modules. Chips have more
//! than is used here; an entry with such a bit set is [`Entry::Invalid`]:
//!
//! - NO_ATS, bit 5 of a PDE since Volta, is not published for them. Address translation by way of
//!   the CPU's page tables has to be turned on elsewhere as well, which Nova never does. So a table
//!   here always rules it out. In a dual entry, the bit is part of the address of the big table.
//! - COMPTAGLINE, from bit 36 of a PTE up, differs in width between chips. No page is compressed.
//! - ENCRYPTED, bit 4 of a PTE.

use crate::mm::{
    address::PageSize,
    format::{
        Aperture,
        Entry,
        EntryKind,
        Format,
        Kind,
        Level,
        PageBits,
        Pde,
        Pte,
        TableBits, //
    },
};

/// Version 2 of the MMU.
pub(crate) struct MmuV2;

impl Format for MmuV2 {
    const VA_BITS: u32 = 49;

    const LEVELS: &'static [Level] = &[
        // PD3.
        Level {
            shift: 47,
            bits: 2,
            kind: EntryKind::Pde,
            leaf: None,
        },
        // PD2.
        Level {
            shift: 38,
            bits: 9,
            kind: EntryKind::Pde,
            leaf: None,
        },
        // PD1. There are pages here on Ampere and Ada, but not on Turing.
        Level {
            shift: 29,
            bits: 9,
            kind: EntryKind::Pde,
            leaf: Some(PageSize::Size512M),
        },
        // PD0.
        Level {
            shift: 21,
            bits: 8,
            kind: EntryKind::Dual,
            leaf: Some(PageSize::Size2M),
        },
        // PT.
        Level {
            shift: 12,
            bits: 9,
            kind: EntryKind::Pte,
            leaf: Some(PageSize::Size4K),
        },
    ];

    type PdeBits = PdeBits;
    type PteBits = PteBits;
}

bitfield! {
    pub(crate) struct PdeBits(u64), "A PDE, or one half of a dual entry." {
        53:4    frame_sys as u64, "ADDRESS_SYS, the address in system memory, see below.";
        32:4    frame_vid as u64, "ADDRESS_VID, the address in VRAM, see below.";
        3:3     volatile as bool, "VOL, whether reads of the table by-pass the caches.";
        2:1     aperture as u8, "APERTURE, zero unless the word points to a table.";
    }
}

impl PdeBits {
    /// Binary logarithm of the unit of addresses, in bytes.
    ///
    /// That is the unit of the big half. All others have 4 KiB, in fields that start at bit 8; the
    /// bits below, which they leave unused, are zero here because their tables are aligned.
    const UNIT_SHIFT: u32 = 8;
}

impl TableBits for PdeBits {
    // VOL, but no aperture.
    const SPARSE: u64 = 1 << 3;

    fn pack(pde: &Pde) -> u64 {
        let frame = pde.address >> Self::UNIT_SHIFT;
        let bits = Self(0)
            .set_aperture(pde.aperture.into_pde_field())
            .set_volatile(pde.volatile);

        match pde.aperture {
            Aperture::Vram | Aperture::Peer => bits.set_frame_vid(frame).0,
            Aperture::SysCoherent | Aperture::SysNonCoherent => bits.set_frame_sys(frame).0,
        }
    }

    fn unpack(word: u64) -> Option<Pde> {
        let bits = Self(word);
        let aperture = Aperture::from_pde_field(bits.aperture())?;
        let frame = match aperture {
            Aperture::Vram | Aperture::Peer => bits.frame_vid(),
            Aperture::SysCoherent | Aperture::SysNonCoherent => bits.frame_sys(),
        };

        Some(Pde {
            aperture,
            address: frame << Self::UNIT_SHIFT,
            volatile: bits.volatile(),
            no_ats: true,
        })
    }

    fn decode_unused(word: u64) -> Entry {
        match word {
            0 => Entry::Absent,
            Self::SPARSE => Entry::Sparse,
            _ => Entry::Invalid,
        }
    }
}

bitfield! {
    pub(crate) struct PteBits(u64), "A PTE." {
        63:56   kind as u8 => Kind, "KIND.";
        53:8    frame_sys as u64, "ADDRESS_SYS, the address in system memory in units of 4 KiB.";
        35:33   peer as u8, "ADDRESS_VID_PEER, which GPU's memory it is.";
        32:8    frame_vid as u64, "ADDRESS_VID, the address in VRAM in units of 4 KiB.";
        7:7     no_atomics as bool, "ATOMIC_DISABLE.";
        6:6     read_only as bool, "READ_ONLY.";
        5:5     privileged as bool, "PRIVILEGE.";
        3:3     volatile as bool, "VOL, whether accesses by-pass the caches.";
        2:1     aperture as u8, "APERTURE.";
        0:0     valid as bool, "VALID; in a directory, that the entry is a PTE.";
    }
}

impl PteBits {
    /// Binary logarithm of the unit of addresses, in bytes.
    const UNIT_SHIFT: u32 = 12;

    // PRIVILEGE, but not VALID. Some drivers write VOL as well.
    const NO_SMALL_PAGES: u64 = 1 << 5;
    const NO_SMALL_PAGES_VOL: u64 = Self::NO_SMALL_PAGES | 1 << 3;
}

impl PageBits for PteBits {
    // VOL, but neither VALID nor PRIVILEGE.
    const SPARSE: u64 = 1 << 3;

    fn pack(pte: &Pte) -> u64 {
        let frame = pte.address >> Self::UNIT_SHIFT;
        let bits = Self(0)
            .set_valid(true)
            .set_aperture(pte.aperture.into_pte_field())
            .set_volatile(pte.volatile)
            .set_privileged(pte.privileged)
            .set_read_only(pte.read_only)
            .set_no_atomics(pte.no_atomics)
            .set_kind(pte.kind);

        match pte.aperture {
            Aperture::Vram => bits.set_frame_vid(frame).0,
            Aperture::Peer => bits.set_frame_vid(frame).set_peer(pte.peer).0,
            Aperture::SysCoherent | Aperture::SysNonCoherent => bits.set_frame_sys(frame).0,
        }
    }

    fn unpack(word: u64) -> Option<Pte> {
        let bits = Self(word);
        if !bits.valid() {
            return None;
        }

        let aperture = Aperture::from_pte_field(bits.aperture());
        let (frame, peer) = match aperture {
            Aperture::Vram => (bits.frame_vid(), 0),
            Aperture::Peer => (bits.frame_vid(), bits.peer()),
            Aperture::SysCoherent | Aperture::SysNonCoherent => (bits.frame_sys(), 0),
        };

        Some(Pte {
            aperture,
            address: frame << Self::UNIT_SHIFT,
            peer,
            kind: bits.kind(),
            volatile: bits.volatile(),
            privileged: bits.privileged(),
            read_only: bits.read_only(),
            no_atomics: bits.no_atomics(),
            no_access_counting: true,
        })
    }

    fn decode_unused(word: u64) -> Entry {
        match word {
            0 => Entry::Absent,
            Self::SPARSE => Entry::Sparse,
            Self::NO_SMALL_PAGES | Self::NO_SMALL_PAGES_VOL => Entry::NoSmallPages,
            _ => Entry::Invalid,
        }
    }
}

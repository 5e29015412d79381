// SPDX-License-Identifier: GPL-2.0

//! The fields of the entries of MMU version 3.

use kernel::bits::genmask_u64;

use crate::mm::format::{
    Aperture,
    Entry,
    PageBits,
    Pde,
    Pte,
    PteKind,
    TableBits,
    TableWord, //
};

bitfield! {
    pub(crate) struct PdeBits(u64), "A PDE, or one half of a dual entry." {
        51:12   frame_sys as u64, "ADDRESS in system memory in units of 4 KiB.";
        51:8    frame_sys_big as u64, "ADDRESS_BIG of the big half, in units of 256 bytes.";
        39:12   frame_vid as u64, "ADDRESS in VRAM in units of 4 KiB.";
        39:8    frame_vid_big as u64, "ADDRESS_BIG of the big half, in units of 256 bytes.";
        4:4     no_ats as bool, "PCF, ATS not allowed.";
        3:3     volatile as bool, "PCF, uncached: whether reads of the table bypass the caches.";
        2:1     aperture as u8, "APERTURE, zero unless the word points to a table.";
    }
}

impl PdeBits {
    /// Binary logarithm of the unit of addresses, in bytes.
    const UNIT_SHIFT: u32 = 12;

    /// Binary logarithm of the unit of the address of a table of big pages, in bytes.
    const BIG_UNIT_SHIFT: u32 = 8;

    /// Attributes of an entry of one word without a published meaning: all bits except the fields
    /// above and bit 0, which makes the entry a page. The lowest is the third bit of PCF.
    const UNKNOWN: u64 = genmask_u64(52..=63) | genmask_u64(5..=11);

    // PCF if APERTURE is zero.
    const INVALID_ATS_ALLOWED: u64 = 0 << 3;
    const SPARSE_ATS_ALLOWED: u64 = 1 << 3;
    const INVALID_ATS_NOT_ALLOWED: u64 = 2 << 3;
    const SPARSE_ATS_NOT_ALLOWED: u64 = 3 << 3;

    fn set_address(self, place: TableWord, aperture: Aperture, address: u64) -> Self {
        let (frame, big) = (address >> Self::UNIT_SHIFT, address >> Self::BIG_UNIT_SHIFT);

        match (aperture, place) {
            (Aperture::Vram | Aperture::Peer, TableWord::Big) => self.set_frame_vid_big(big),
            (Aperture::Vram | Aperture::Peer, _) => self.set_frame_vid(frame),
            (Aperture::SysCoherent | Aperture::SysNonCoherent, TableWord::Big) => {
                self.set_frame_sys_big(big)
            }
            (Aperture::SysCoherent | Aperture::SysNonCoherent, _) => self.set_frame_sys(frame),
        }
    }

    fn address(self, place: TableWord, aperture: Aperture) -> u64 {
        match (aperture, place) {
            (Aperture::Vram | Aperture::Peer, TableWord::Big) => {
                self.frame_vid_big() << Self::BIG_UNIT_SHIFT
            }
            (Aperture::Vram | Aperture::Peer, _) => self.frame_vid() << Self::UNIT_SHIFT,
            (Aperture::SysCoherent | Aperture::SysNonCoherent, TableWord::Big) => {
                self.frame_sys_big() << Self::BIG_UNIT_SHIFT
            }
            (Aperture::SysCoherent | Aperture::SysNonCoherent, _) => {
                self.frame_sys() << Self::UNIT_SHIFT
            }
        }
    }
}

impl TableBits for PdeBits {
    const SPARSE: u64 = Self::SPARSE_ATS_NOT_ALLOWED;

    fn pack(place: TableWord, pde: &Pde) -> u64 {
        Self(pde.unknown)
            .set_aperture(pde.aperture.into_pde_field())
            .set_volatile(pde.volatile)
            .set_no_ats(pde.no_ats)
            .set_address(place, pde.aperture, pde.address)
            .0
    }

    fn unpack(place: TableWord, word: u64) -> Option<Pde> {
        let bits = Self(word);
        let aperture = Aperture::from_pde_field(bits.aperture())?;

        Some(Pde {
            aperture,
            address: bits.address(place, aperture),
            volatile: bits.volatile(),
            no_ats: bits.no_ats(),
            unknown: match (place, aperture) {
                (TableWord::Single, Aperture::Vram) => word & Self::UNKNOWN,
                _ => 0,
            },
        })
    }

    fn decode_unused(_place: TableWord, word: u64) -> Entry {
        match word {
            Self::INVALID_ATS_ALLOWED | Self::INVALID_ATS_NOT_ALLOWED => Entry::Invalid,
            Self::SPARSE_ATS_ALLOWED | Self::SPARSE_ATS_NOT_ALLOWED => Entry::Sparse,
            _ => Entry::Malformed,
        }
    }
}

bitfield! {
    pub(crate) struct PteBits(u64), "A PTE." {
        63:61   peer as u8, "PEER_ID, the number of the peer GPU.";
        51:12   frame as u64, "ADDRESS in units of 4 KiB, unless it is in VRAM.";
        39:12   frame_vid as u64, "ADDRESS in VRAM in units of 4 KiB.";
        11:8    kind as u8 => PteKind, "KIND.";
        7:7     no_access_counting as bool, "PCF, access counting disabled.";
        6:6     no_atomics as bool, "PCF, no atomics.";
        5:5     read_only as bool, "PCF, read-only.";
        4:4     privileged as bool, "PCF, privilege.";
        3:3     volatile as bool, "PCF, uncached: whether accesses bypass the caches.";
        2:1     aperture as u8, "APERTURE.";
        0:0     valid as bool, "VALID; in a directory, that the entry is a PTE.";
    }
}

impl PteBits {
    /// Binary logarithm of the unit of addresses, in bytes.
    const UNIT_SHIFT: u32 = 12;

    // PCF if VALID is not set. No driver uses 2, MAPPING_NOWHERE.
    const INVALID: u64 = 0 << 3;
    const NO_SMALL_PAGES: u64 = 3 << 3;
}

impl PageBits for PteBits {
    const SPARSE: u64 = 1 << 3;
    const ADDRESS_SHIFT: u32 = Self::UNIT_SHIFT - Self::FRAME_VID_SHIFT;

    fn pack(pte: &Pte) -> u64 {
        let frame = pte.address >> Self::UNIT_SHIFT;
        let bits = Self(0)
            .set_valid(true)
            .set_aperture(pte.aperture.into_pte_field())
            .set_volatile(pte.volatile)
            .set_privileged(pte.privileged)
            .set_read_only(pte.read_only)
            .set_no_atomics(pte.no_atomics)
            .set_no_access_counting(pte.no_access_counting)
            .set_kind(pte.kind)
            .set_peer(pte.peer);

        match pte.aperture {
            Aperture::Vram => bits.set_frame_vid(frame).0,
            Aperture::Peer | Aperture::SysCoherent | Aperture::SysNonCoherent => {
                bits.set_frame(frame).0
            }
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
            Aperture::Peer => (bits.frame(), bits.peer()),
            Aperture::SysCoherent | Aperture::SysNonCoherent => (bits.frame(), 0),
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
            no_access_counting: bits.no_access_counting(),
        })
    }

    fn decode_unused(word: u64) -> Entry {
        match word {
            Self::INVALID => Entry::Invalid,
            Self::SPARSE => Entry::Sparse,
            Self::NO_SMALL_PAGES => Entry::NoSmallPages,
            _ => Entry::Malformed,
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The fields of the entries of MMU version 2.

use kernel::bits::{
    bit_u64,
    genmask_u64, //
};

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
        53:8    frame_sys as u64, "ADDRESS_SYS, the address in system memory in units of 4 KiB.";
        53:4    frame_sys_big as u64, "ADDRESS_BIG_SYS of the big half, in units of 256 bytes.";
        32:8    frame_vid as u64, "ADDRESS_VID, the address in VRAM in units of 4 KiB.";
        32:4    frame_vid_big as u64, "ADDRESS_BIG_VID of the big half, in units of 256 bytes.";
        5:5     no_ats as bool, "NO_ATS, not in a dual entry.";
        3:3     volatile as bool, "VOL, whether reads of the table bypass the caches.";
        2:1     aperture as u8, "APERTURE, zero unless the word points to a table.";
    }
}

impl PdeBits {
    /// Binary logarithm of the unit of addresses, in bytes.
    const UNIT_SHIFT: u32 = 12;

    /// Binary logarithm of the unit of the address of a table of big pages, in bytes.
    const BIG_UNIT_SHIFT: u32 = 8;

    /// Attributes of an entry of one word without a published meaning: all bits except the fields
    /// above and bit 0, which makes the entry a page.
    const UNKNOWN: u64 = genmask_u64(54..=63) | genmask_u64(6..=7) | bit_u64(4);

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
    // VOL, but no aperture.
    const SPARSE: u64 = 1 << 3;

    fn pack(place: TableWord, pde: &Pde) -> u64 {
        let bits = Self(pde.unknown)
            .set_aperture(pde.aperture.into_pde_field())
            .set_volatile(pde.volatile)
            .set_address(place, pde.aperture, pde.address);

        match place {
            TableWord::Single => bits.set_no_ats(pde.no_ats).0,
            TableWord::Big | TableWord::Small => bits.0,
        }
    }

    fn unpack(place: TableWord, word: u64) -> Option<Pde> {
        let bits = Self(word);
        let aperture = Aperture::from_pde_field(bits.aperture())?;

        Some(Pde {
            aperture,
            address: bits.address(place, aperture),
            volatile: bits.volatile(),
            no_ats: place == TableWord::Single && bits.no_ats(),
            unknown: match (place, aperture) {
                (TableWord::Single, Aperture::Vram) => word & Self::UNKNOWN,
                _ => 0,
            },
        })
    }

    fn decode_unused(place: TableWord, word: u64) -> Entry {
        let bits = Self(word);
        let attributes = match place {
            TableWord::Single => bits.set_no_ats(false).0,
            TableWord::Big | TableWord::Small => word,
        };

        match attributes {
            0 => Entry::Invalid,
            Self::SPARSE => Entry::Sparse,
            _ => Entry::Malformed,
        }
    }
}

bitfield! {
    pub(crate) struct PteBits(u64), "A PTE." {
        63:56   kind as u8 => PteKind, "KIND.";
        53:8    frame_sys as u64, "ADDRESS_SYS, the address in system memory in units of 4 KiB.";
        35:33   peer as u8, "ADDRESS_VID_PEER, the number of the peer GPU.";
        32:8    frame_vid as u64, "ADDRESS_VID, the address in VRAM in units of 4 KiB.";
        7:7     no_atomics as bool, "ATOMIC_DISABLE.";
        6:6     read_only as bool, "READ_ONLY.";
        5:5     privileged as bool, "PRIVILEGE.";
        3:3     volatile as bool, "VOL, whether accesses bypass the caches.";
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
            0 => Entry::Invalid,
            Self::SPARSE => Entry::Sparse,
            Self::NO_SMALL_PAGES | Self::NO_SMALL_PAGES_VOL => Entry::NoSmallPages,
            _ => Entry::Malformed,
        }
    }
}

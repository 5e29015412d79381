// SPDX-License-Identifier: GPL-2.0

//! The fields of the entries of MMU version 2.

use kernel::{
    bitfield,
    bits::{
        bit_u64,
        genmask_u64, //
    },
    num::Bounded,
    prelude::*, //
};

use crate::mm::format::{
    Aperture,
    Entry,
    PageBits,
    Pde,
    Pte,
    TableBits,
    TableWord, //
};

/// A number of which a field stores the low bits.
///
/// A word that has lost bits unpacks to another entry, which the caller notices.
struct LowBits(u64);

impl<const BITS: u32> From<LowBits> for Bounded<u64, BITS> {
    #[inline(always)]
    fn from(number: LowBits) -> Self {
        Self::from_expr(number.0 & (u64::MAX >> (u64::BITS - BITS)))
    }
}

bitfield! {
    /// A PDE, or one half of a dual entry.
    pub(crate) struct PdeBits(u64) {
        /// ADDRESS_SYS, the address in system memory in units of 4 KiB.
        53:8    frame_sys;
        /// ADDRESS_BIG_SYS of the big half, in units of 256 bytes.
        53:4    frame_sys_big;
        /// ADDRESS_VID, the address in VRAM in units of 4 KiB.
        32:8    frame_vid;
        /// ADDRESS_BIG_VID of the big half, in units of 256 bytes.
        32:4    frame_vid_big;
        /// NO_ATS, not in a dual entry.
        5:5     no_ats => bool;
        /// VOL, whether reads of the table bypass the caches.
        3:3     volatile => bool;
        /// APERTURE, zero unless the word points to a table.
        2:1     aperture;
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

    fn with_address(self, place: TableWord, aperture: Aperture, address: u64) -> Self {
        let (frame, big) = (address >> Self::UNIT_SHIFT, address >> Self::BIG_UNIT_SHIFT);

        match (aperture, place) {
            (Aperture::Vram | Aperture::Peer, TableWord::Big) => {
                self.with_frame_vid_big(LowBits(big))
            }
            (Aperture::Vram | Aperture::Peer, _) => self.with_frame_vid(LowBits(frame)),
            (Aperture::SysCoherent | Aperture::SysNonCoherent, TableWord::Big) => {
                self.with_frame_sys_big(LowBits(big))
            }
            (Aperture::SysCoherent | Aperture::SysNonCoherent, _) => {
                self.with_frame_sys(LowBits(frame))
            }
        }
    }

    fn address(self, place: TableWord, aperture: Aperture) -> u64 {
        match (aperture, place) {
            (Aperture::Vram | Aperture::Peer, TableWord::Big) => {
                self.frame_vid_big().get() << Self::BIG_UNIT_SHIFT
            }
            (Aperture::Vram | Aperture::Peer, _) => self.frame_vid().get() << Self::UNIT_SHIFT,
            (Aperture::SysCoherent | Aperture::SysNonCoherent, TableWord::Big) => {
                self.frame_sys_big().get() << Self::BIG_UNIT_SHIFT
            }
            (Aperture::SysCoherent | Aperture::SysNonCoherent, _) => {
                self.frame_sys().get() << Self::UNIT_SHIFT
            }
        }
    }
}

impl TableBits for PdeBits {
    // VOL, but no aperture.
    const SPARSE: u64 = 1 << 3;

    fn pack(place: TableWord, pde: &Pde) -> u64 {
        let bits = Self::from_raw(pde.unknown)
            .with_aperture(LowBits(pde.aperture.into_pde_field().into()))
            .with_volatile(pde.volatile)
            .with_address(place, pde.aperture, pde.address);

        match place {
            TableWord::Single => bits.with_no_ats(pde.no_ats).into_raw(),
            TableWord::Big | TableWord::Small => bits.into_raw(),
        }
    }

    fn unpack(place: TableWord, word: u64) -> Option<Pde> {
        let bits = Self::from_raw(word);
        let aperture = Aperture::from_pde_field(bits.aperture().into())?;

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
        let bits = Self::from_raw(word);
        let attributes = match place {
            TableWord::Single => bits.with_no_ats(false).into_raw(),
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
    /// A PTE.
    pub(crate) struct PteBits(u64) {
        /// KIND.
        63:56   kind;
        /// ADDRESS_SYS, the address in system memory in units of 4 KiB.
        53:8    frame_sys;
        /// ADDRESS_VID_PEER, the number of the peer GPU.
        35:33   peer;
        /// ADDRESS_VID, the address in VRAM in units of 4 KiB.
        32:8    frame_vid;
        /// ATOMIC_DISABLE.
        7:7     no_atomics => bool;
        /// READ_ONLY.
        6:6     read_only => bool;
        /// PRIVILEGE.
        5:5     privileged => bool;
        /// VOL, whether accesses bypass the caches.
        3:3     volatile => bool;
        /// APERTURE.
        2:1     aperture;
        /// VALID; in a directory, that the entry is a PTE.
        0:0     valid => bool;
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
        let bits = Self::zeroed()
            .with_valid(true)
            .with_aperture(LowBits(pte.aperture.into_pte_field().into()))
            .with_volatile(pte.volatile)
            .with_privileged(pte.privileged)
            .with_read_only(pte.read_only)
            .with_no_atomics(pte.no_atomics)
            .with_kind(LowBits(u8::from(pte.kind).into()));

        match pte.aperture {
            Aperture::Vram => bits.with_frame_vid(LowBits(frame)).into_raw(),
            Aperture::Peer => bits
                .with_frame_vid(LowBits(frame))
                .with_peer(LowBits(pte.peer.into()))
                .into_raw(),
            Aperture::SysCoherent | Aperture::SysNonCoherent => {
                bits.with_frame_sys(LowBits(frame)).into_raw()
            }
        }
    }

    fn unpack(word: u64) -> Option<Pte> {
        let bits = Self::from_raw(word);
        if !bits.valid() {
            return None;
        }

        let aperture = Aperture::from_pte_field(bits.aperture().into());
        let (frame, peer) = match aperture {
            Aperture::Vram => (bits.frame_vid().get(), 0),
            Aperture::Peer => (bits.frame_vid().get(), bits.peer().into()),
            Aperture::SysCoherent | Aperture::SysNonCoherent => (bits.frame_sys().get(), 0),
        };

        Some(Pte {
            aperture,
            address: frame << Self::UNIT_SHIFT,
            peer,
            kind: u8::from(bits.kind()).into(),
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

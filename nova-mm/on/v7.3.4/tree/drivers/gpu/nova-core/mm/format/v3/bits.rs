// SPDX-License-Identifier: GPL-2.0

//! The fields of the entries of MMU version 3.

use kernel::{
    bitfield,
    bits::genmask_u64,
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
        /// ADDRESS in system memory in units of 4 KiB.
        51:12   frame_sys;
        /// ADDRESS_BIG of the big half, in units of 256 bytes.
        51:8    frame_sys_big;
        /// ADDRESS in VRAM in units of 4 KiB.
        39:12   frame_vid;
        /// ADDRESS_BIG of the big half, in units of 256 bytes.
        39:8    frame_vid_big;
        /// PCF, ATS not allowed.
        4:4     no_ats => bool;
        /// PCF, uncached: whether reads of the table bypass the caches.
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
    /// above and bit 0, which makes the entry a page. The lowest is the third bit of PCF.
    const UNKNOWN: u64 = genmask_u64(52..=63) | genmask_u64(5..=11);

    // PCF if APERTURE is zero.
    const INVALID_ATS_ALLOWED: u64 = 0 << 3;
    const SPARSE_ATS_ALLOWED: u64 = 1 << 3;
    const INVALID_ATS_NOT_ALLOWED: u64 = 2 << 3;
    const SPARSE_ATS_NOT_ALLOWED: u64 = 3 << 3;

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
    const SPARSE: u64 = Self::SPARSE_ATS_NOT_ALLOWED;

    fn pack(place: TableWord, pde: &Pde) -> u64 {
        Self::from_raw(pde.unknown)
            .with_aperture(LowBits(pde.aperture.into_pde_field().into()))
            .with_volatile(pde.volatile)
            .with_no_ats(pde.no_ats)
            .with_address(place, pde.aperture, pde.address)
            .into_raw()
    }

    fn unpack(place: TableWord, word: u64) -> Option<Pde> {
        let bits = Self::from_raw(word);
        let aperture = Aperture::from_pde_field(bits.aperture().into())?;

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
    /// A PTE.
    pub(crate) struct PteBits(u64) {
        /// PEER_ID, the number of the peer GPU.
        63:61   peer;
        /// ADDRESS in units of 4 KiB, unless it is in VRAM.
        51:12   frame;
        /// ADDRESS in VRAM in units of 4 KiB.
        39:12   frame_vid;
        /// KIND.
        11:8    kind;
        /// PCF, access counting disabled.
        7:7     no_access_counting => bool;
        /// PCF, no atomics.
        6:6     no_atomics => bool;
        /// PCF, read-only.
        5:5     read_only => bool;
        /// PCF, privilege.
        4:4     privileged => bool;
        /// PCF, uncached: whether accesses bypass the caches.
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

    // PCF if VALID is not set. No driver uses 2, MAPPING_NOWHERE.
    const INVALID: u64 = 0 << 3;
    const NO_SMALL_PAGES: u64 = 3 << 3;
}

impl PageBits for PteBits {
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
            .with_no_access_counting(pte.no_access_counting)
            .with_kind(LowBits(u8::from(pte.kind).into()))
            .with_peer(LowBits(pte.peer.into()));

        match pte.aperture {
            Aperture::Vram => bits.with_frame_vid(LowBits(frame)).into_raw(),
            Aperture::Peer | Aperture::SysCoherent | Aperture::SysNonCoherent => {
                bits.with_frame(LowBits(frame)).into_raw()
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
            Aperture::Peer => (bits.frame().get(), bits.peer().into()),
            Aperture::SysCoherent | Aperture::SysNonCoherent => (bits.frame().get(), 0),
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

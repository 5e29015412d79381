// SPDX-License-Identifier: GPL-2.0

//! What the entries of page tables say, whatever their format.

use crate::mm::address::{
    PageSize,
    VramAddress, //
};

/// What an entry means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Nothing: an access faults.
    Absent,
    /// Nothing is mapped, but accesses do not fault.
    Sparse,
    /// In a table of big pages: nothing, and small pages at the same place do not count either.
    NoSmallPages,
    /// Points to a table; from a directory of single words.
    Table(Pde),
    /// Points to a table of big pages, to one of small pages, or to both.
    Dual {
        /// The table of 64 KiB pages.
        big: Option<Pde>,
        /// The table of 4 KiB pages.
        small: Option<Pde>,
    },
    /// A page.
    Page(Pte),
    /// Has no meaning that this driver knows.
    Invalid,
}

/// What an entry that points to a table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pde {
    /// Where the table is.
    pub(crate) aperture: Aperture,
    /// Address of the table in the aperture, in bytes.
    pub(crate) address: u64,
    /// Whether reads of the table by-pass the GPU's caches.
    pub(crate) volatile: bool,
    /// Whether ATS, the translation by the page tables of the CPU, is ruled out for all addresses
    /// below. Unless it is enabled for an address space, which Nova never does, this has no effect.
    ///
    /// Clear where the format has no bit for it.
    pub(crate) no_ats: bool,
    /// The bits of attributes that have no published meaning, in their places of the word.
    ///
    /// Zero in entries of the driver, and for tables that are not directories in VRAM.
    pub(crate) unknown: u64,
}

impl Pde {
    /// Returns the description of a table in VRAM without any attributes.
    #[inline]
    pub(crate) const fn vram(address: VramAddress) -> Self {
        Self {
            aperture: Aperture::Vram,
            address: address.into_raw(),
            volatile: false,
            no_ats: false,
            unknown: 0,
        }
    }
}

/// What an entry that is a page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pte {
    /// Where the page is.
    pub(crate) aperture: Aperture,
    /// Address of the page in the aperture, in bytes.
    pub(crate) address: u64,
    /// Which GPU's memory it is; zero unless the aperture is [`Aperture::Peer`].
    pub(crate) peer: u8,
    /// How the page is laid out in memory.
    pub(crate) kind: Kind,
    /// Whether accesses by-pass the GPU's caches.
    pub(crate) volatile: bool,
    /// Whether accesses are restricted to privileged clients.
    pub(crate) privileged: bool,
    /// Whether writes fault.
    pub(crate) read_only: bool,
    /// Whether atomic operations fault.
    pub(crate) no_atomics: bool,
    /// Whether accesses are left out by the access counters.
    ///
    /// Must be set where the format has no other choice.
    pub(crate) no_access_counting: bool,
}

impl Pte {
    /// Returns what describes a linear page of VRAM, cached and for all clients.
    #[inline]
    pub(crate) const fn vram(address: VramAddress, read_only: bool) -> Self {
        Self {
            aperture: Aperture::Vram,
            address: address.into_raw(),
            peer: 0,
            kind: Kind::Pitch,
            volatile: false,
            privileged: false,
            read_only,
            no_atomics: false,
            no_access_counting: true,
        }
    }

    /// Whether a page of `size` can be so, as far as all formats agree.
    pub(super) fn is_sound(&self, size: PageSize) -> bool {
        self.address % size.bytes() == 0 && self.kind != Kind::INVALID
    }
}

/// Where the memory is that an entry names.
///
/// The number that stands for it depends on whether the entry is a PTE, but not on the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aperture {
    /// The VRAM of this GPU.
    Vram,
    /// The VRAM of another GPU. Pages only, not tables.
    Peer,
    /// System memory, coherent with the caches of the CPU.
    SysCoherent,
    /// System memory, not coherent with the caches of the CPU.
    SysNonCoherent,
}

impl Aperture {
    /// Returns the field APERTURE of a PDE. Peer memory has no number there, so it gets the one of
    /// an entry that is not valid.
    pub(super) const fn into_pde_field(self) -> u8 {
        match self {
            Self::Peer => 0,
            Self::Vram => 1,
            Self::SysCoherent => 2,
            Self::SysNonCoherent => 3,
        }
    }

    /// Returns what the field APERTURE of a PDE says; [`None`] if the entry is not valid.
    pub(super) const fn from_pde_field(field: u8) -> Option<Self> {
        match field {
            1 => Some(Self::Vram),
            2 => Some(Self::SysCoherent),
            3 => Some(Self::SysNonCoherent),
            _ => None,
        }
    }

    /// Returns the field APERTURE of a PTE. The numbers are not those of a PDE.
    pub(super) const fn into_pte_field(self) -> u8 {
        match self {
            Self::Vram => 0,
            Self::Peer => 1,
            Self::SysCoherent => 2,
            Self::SysNonCoherent => 3,
        }
    }

    /// Returns what the field APERTURE of a PTE, which has two bits, says.
    pub(super) const fn from_pte_field(field: u8) -> Self {
        match field {
            0 => Self::Vram,
            1 => Self::Peer,
            2 => Self::SysCoherent,
            _ => Self::SysNonCoherent,
        }
    }
}

/// How a page is laid out in memory: the "kind".
///
/// The numbers are those of Turing and later; see `dev_mmu.h` of TU102 and GH100 in
/// open-gpu-kernel-modules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Linear.
    #[default]
    Pitch,
    /// Block-linear, generic.
    Generic,
    /// Any other, by its number; that of one with a name has no encoding.
    Other(u8),
}

impl Kind {
    /// The kind of no page: accesses fault.
    const INVALID: Self = Self::Other(0x07);
}

impl From<u8> for Kind {
    fn from(number: u8) -> Self {
        match number {
            0x00 => Self::Pitch,
            0x06 => Self::Generic,
            _ => Self::Other(number),
        }
    }
}

impl From<Kind> for u8 {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Pitch => 0x00,
            Kind::Generic => 0x06,
            Kind::Other(number) => number,
        }
    }
}

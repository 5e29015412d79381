// SPDX-License-Identifier: GPL-2.0

//! The meaning of page table entries, independent of the format.

use crate::mm::address::{
    PageSize,
    VramAddress, //
};

/// The meaning of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Not valid: accesses fault.
    Invalid,
    /// Not valid, but accesses do not fault: reads return zero, and writes are dropped.
    Sparse,
    /// An entry of a table of 64 KiB pages that is not valid, and that also makes the GPU ignore
    /// 4 KiB pages at the same addresses.
    NoSmallPages,
    /// Points to a table, in an entry of one word.
    Table(Pde),
    /// Points to a table of big pages, to a table of small pages, or to both.
    Dual {
        /// The table of 64 KiB pages.
        big: Option<Pde>,
        /// The table of 4 KiB pages.
        small: Option<Pde>,
    },
    /// A page.
    Page(Pte),
    /// Words whose meaning is not published.
    Malformed,
}

/// An entry that points to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pde {
    /// The memory that the table is in.
    pub(crate) aperture: Aperture,
    /// Address of the table in the aperture, in bytes.
    pub(crate) address: u64,
    /// Whether reads of the table bypass the GPU's caches.
    pub(crate) volatile: bool,
    /// Whether ATS, translation through the page tables of the CPU, is disabled for the addresses
    /// below. This has no effect unless ATS is enabled for the address space, which Nova never
    /// does.
    ///
    /// Clear if the format has no bit for it.
    pub(crate) no_ats: bool,
    /// Bits of attributes without a published meaning, at their positions in the word.
    ///
    /// Zero in entries of the driver, and for tables other than directories in VRAM.
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

/// An entry that is a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pte {
    /// The memory that the page is in.
    pub(crate) aperture: Aperture,
    /// Address of the page in the aperture, in bytes.
    pub(crate) address: u64,
    /// Number of the GPU that the memory belongs to; zero unless the aperture is
    /// [`Aperture::Peer`].
    pub(crate) peer: u8,
    /// Layout of the page in memory.
    pub(crate) kind: PteKind,
    /// Whether accesses bypass the GPU's caches.
    pub(crate) volatile: bool,
    /// Whether accesses are restricted to privileged clients.
    pub(crate) privileged: bool,
    /// Whether writes fault.
    pub(crate) read_only: bool,
    /// Whether atomic operations fault.
    pub(crate) no_atomics: bool,
    /// Whether the access counters ignore accesses.
    ///
    /// Must be set if the format has no bit for it.
    pub(crate) no_access_counting: bool,
}

impl Pte {
    /// Creates the description of a page of the driver at `address` in `aperture`, in bytes.
    ///
    /// Pages of system memory are always volatile: the GPU's L2 cache does not see writes of the
    /// CPU, and the driver does not invalidate its lines of system memory. nouveau does the same
    /// for buffers of user space (`nouveau_uvmm.c`, `nouveau_mem.c`).
    #[inline]
    pub(crate) const fn new(aperture: Aperture, address: u64, attributes: &PageAttributes) -> Self {
        Self {
            aperture,
            address,
            peer: 0,
            kind: attributes.kind,
            volatile: attributes.volatile || aperture.is_system(),
            privileged: attributes.privileged,
            read_only: attributes.access.is_read_only(),
            no_atomics: false,
            no_access_counting: true,
        }
    }

    /// Checks the constraints on a page of `size` that all formats share.
    pub(super) fn is_sound(&self, size: PageSize) -> bool {
        self.address % size.bytes() == 0 && self.kind != PteKind::INVALID
    }
}

/// The attributes that all pages of a mapping have.
///
/// The default is a linear, cached mapping that all clients can read and write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageAttributes {
    /// Layout of the pages in memory.
    pub(crate) kind: PteKind,
    /// The accesses that do not fault.
    pub(crate) access: Access,
    /// Whether accesses bypass the GPU's caches.
    pub(crate) volatile: bool,
    /// Whether accesses are restricted to privileged clients.
    pub(crate) privileged: bool,
}

/// The accesses to a mapping that do not fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reads only.
    ReadOnly,
    /// Reads and writes.
    #[default]
    ReadWrite,
}

impl Access {
    /// Returns whether writes fault.
    #[inline]
    const fn is_read_only(self) -> bool {
        matches!(self, Self::ReadOnly)
    }
}

/// The memory that an address in an entry refers to.
///
/// Its encoding differs between PDEs and PTEs, but not between formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aperture {
    /// The VRAM of this GPU.
    Vram,
    /// The VRAM of another GPU. Pages only, not tables.
    Peer,
    /// System memory; accesses snoop the caches of the CPU.
    SysCoherent,
    /// System memory; accesses do not snoop the caches of the CPU.
    SysNonCoherent,
}

impl Aperture {
    /// Returns whether this is system memory.
    #[inline]
    const fn is_system(self) -> bool {
        matches!(self, Self::SysCoherent | Self::SysNonCoherent)
    }

    /// Returns the APERTURE field of a PDE. Peer memory has no encoding there and returns the value
    /// of an invalid entry.
    pub(super) const fn into_pde_field(self) -> u8 {
        match self {
            Self::Peer => 0,
            Self::Vram => 1,
            Self::SysCoherent => 2,
            Self::SysNonCoherent => 3,
        }
    }

    /// Decodes the APERTURE field of a PDE, which is [`None`] if the entry is not valid.
    pub(super) const fn from_pde_field(field: u8) -> Option<Self> {
        match field {
            1 => Some(Self::Vram),
            2 => Some(Self::SysCoherent),
            3 => Some(Self::SysNonCoherent),
            _ => None,
        }
    }

    /// Returns the APERTURE field of a PTE. The values differ from those in a PDE.
    pub(super) const fn into_pte_field(self) -> u8 {
        match self {
            Self::Vram => 0,
            Self::Peer => 1,
            Self::SysCoherent => 2,
            Self::SysNonCoherent => 3,
        }
    }

    /// Decodes the two bits of the APERTURE field of a PTE.
    pub(super) const fn from_pte_field(field: u8) -> Self {
        match field {
            0 => Self::Vram,
            1 => Self::Peer,
            2 => Self::SysCoherent,
            _ => Self::SysNonCoherent,
        }
    }
}

/// The layout of a page in memory, called its "kind".
///
/// The numbers are valid for Turing and later; see `dev_mmu.h` of TU102 and GH100 in
/// open-gpu-kernel-modules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PteKind {
    /// Linear.
    #[default]
    Pitch,
    /// Block-linear, generic.
    Generic,
    /// Any other kind, by its number. The numbers of the kinds above have no encoding here.
    Other(u8),
}

impl PteKind {
    /// The invalid kind: accesses fault (`NV_MMU_PTE_KIND_INVALID`).
    const INVALID: Self = Self::Other(0x07);
}

impl From<u8> for PteKind {
    fn from(number: u8) -> Self {
        match number {
            0x00 => Self::Pitch,
            0x06 => Self::Generic,
            _ => Self::Other(number),
        }
    }
}

impl From<PteKind> for u8 {
    fn from(kind: PteKind) -> Self {
        match kind {
            PteKind::Pitch => 0x00,
            PteKind::Generic => 0x06,
            PteKind::Other(number) => number,
        }
    }
}

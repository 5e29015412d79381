// SPDX-License-Identifier: GPL-2.0

//! Formats of the page tables.
//!
//! A format is data, the [`Level`]s of the tables, and pure functions between the 64-bit words of
//! the tables and what they mean. Nothing here touches the hardware. Code that walks or changes
//! tables is generic over [`Format`] and is compiled once for each.
//!
//! Nothing is masked: what a format cannot express is an error, and a word that means nothing in a
//! format is decoded as [`Entry::Invalid`].

use kernel::prelude::*;

use crate::{
    mm::address::{
        PageSize,
        Vfn,
        VramAddress, //
    },
    num::FromSafeCast,
};

/// A format of page tables.
pub(crate) trait Format: Send + Sync + 'static {
    /// Number of bits of a virtual address.
    const VA_BITS: u32;

    /// The levels, from the root to the tables of 4 KiB pages.
    ///
    /// The last but one holds dual entries, the last one PTEs, all others PDEs.
    const LEVELS: &'static [Level];

    /// Encodes an entry of a directory that points to a table; not for dual entries.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the address is not aligned to 4 KiB, or it or an attribute has no encoding.
    fn encode_pde(pde: &Pde) -> Result<u64>;

    /// Encodes the two words of a dual entry that points to a table of 64 KiB pages, to one of
    /// 4 KiB pages, to both, or to none, which is the absent entry.
    ///
    /// The first word is the one at the lower address and describes the big pages.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if an address is not aligned to 256 bytes (big) or 4 KiB (small), or it or an
    /// attribute has no encoding.
    fn encode_dual(big: Option<&Pde>, small: Option<&Pde>) -> Result<[u64; 2]>;

    /// Encodes a page of `size`: an entry of a table of 4 KiB or 64 KiB pages, the first word of a
    /// dual entry, whose second word is then zero, or an entry of a directory.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the format has no pages of `size`, the address is not aligned to it, or it or
    /// an attribute has no encoding.
    fn encode_pte(pte: &Pte, size: PageSize) -> Result<u64>;

    /// Returns the words of a sparse entry: accesses to it do not fault, although nothing is
    /// mapped. For entries of one word, the first is it.
    fn encode_sparse(kind: EntryKind) -> [u64; 2];

    /// Decodes an entry; if it has one word, the second is ignored.
    ///
    /// `size` is the size of the page that the entry would be if it were one: that of
    /// [`Level::leaf`], or [`PageSize::Size64K`] for an entry of a table of big pages.
    fn decode(kind: EntryKind, size: PageSize, words: [u64; 2]) -> Entry;
}

/// A level of the page tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    /// The lowest bit of a virtual address that selects an entry; an entry spans `1 << shift`
    /// bytes.
    pub(crate) shift: u32,
    /// Number of bits that select an entry; a table has `1 << bits` entries.
    pub(crate) bits: u32,
    /// What the entries are.
    pub(crate) kind: EntryKind,
    /// Whether an entry can be a page, of which size, rather than point to a table.
    ///
    /// This is what the format has; a chip may have less.
    pub(crate) leaf: Option<PageSize>,
}

impl Level {
    /// Returns the number of entries of a table.
    #[inline]
    pub(crate) const fn entries(&self) -> usize {
        1 << self.bits
    }

    /// Returns the number of the entry that decides about `page`, in the table of this level that
    /// does: always less than [`Self::entries`].
    ///
    /// What is above the bits of this level selects that table, so it does not count here. Whether
    /// the page is one that the format can address at all is for the caller to check.
    #[inline]
    pub(crate) fn index(&self, page: Vfn) -> usize {
        let number = page.address().into_raw() >> self.shift;

        usize::from_safe_cast(number & ((1 << self.bits) - 1))
    }
}

/// What a table of 64 KiB pages is, as if it were a level. All formats have the same.
///
/// It stands beside the last level: a dual entry points to one such table and to one of that level.
pub(crate) const BIG_PAGES: Level = Level {
    shift: PageSize::Size64K.shift(),
    bits: 5,
    kind: EntryKind::Pte,
    leaf: Some(PageSize::Size64K),
};

/// What an entry of a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// One word: points to a table, or is a large page.
    Pde,
    /// Two words: points to a table of big pages, to one of small pages, or to both; or is a page
    /// of 2 MiB.
    Dual,
    /// One word: a page of 4 KiB or 64 KiB.
    Pte,
}

impl EntryKind {
    /// Returns the number of 64-bit words of an entry.
    #[inline]
    pub(crate) const fn words(self) -> usize {
        match self {
            Self::Dual => 2,
            Self::Pde | Self::Pte => 1,
        }
    }
}

/// Where the memory is that an entry names.
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

/// What an entry that points to a table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pde {
    /// Where the table is.
    pub(crate) aperture: Aperture,
    /// Address of the table in the aperture, in bytes.
    pub(crate) address: u64,
    /// Whether reads of the table by-pass the GPU's caches.
    pub(crate) volatile: bool,
    /// Whether a translation by way of ATS is ruled out below.
    pub(crate) no_ats: bool,
}

impl Pde {
    /// Returns what points to a table in VRAM that the driver owns.
    #[inline]
    pub(crate) const fn vram(address: VramAddress) -> Self {
        Self {
            aperture: Aperture::Vram,
            address: address.into_raw(),
            volatile: false,
            no_ats: true,
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
    /// Whether accesses are not counted; formats that cannot express it ignore it as they never
    /// count.
    pub(crate) no_access_counting: bool,
}

impl Pte {
    /// Returns what describes a linear page of VRAM: cached, for all clients, not counted.
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
}

/// How a page is laid out in memory: the "kind".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Linear.
    Pitch,
    /// Block-linear, generic.
    Generic,
    /// Any other, by its number.
    Other(u8),
}

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

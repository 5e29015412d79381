// SPDX-License-Identifier: GPL-2.0

//! Formats of the page tables.
//!
//! A format is data, the [`Level`]s of the tables and the bits of their entries, and pure functions
//! between the 64-bit words of the tables and what they mean. Nothing here touches the hardware.
//! Code that walks or changes tables is generic over [`Format`] and is compiled once for each.
//!
//! Nothing is masked or dropped. A value that a format cannot express is an error. A word with a
//! bit of unknown meaning is [`Entry::Invalid`], unless it points to a directory in VRAM: its
//! unknown attributes are kept in [`Pde::unknown`], so that directories of a newer firmware can be
//! used. So encoding and decoding undo each other: decoding an encoded entry returns the entry, and
//! encoding a decoded table or page returns the same words.
//!
//! An entry that is not valid has fields, too. Only the words that are published for this are
//! recognized, with all else zero: an absent entry is not a word with stray bits.

use kernel::prelude::*;

mod entry;
pub(crate) mod v2;
// Nova drives no chip with this format yet.
#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod v3;

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod tests;

pub(crate) use entry::{
    Aperture,
    Entry,
    Kind,
    Pde,
    Pte, //
};

use crate::{
    gpu::Chipset,
    mm::address::{
        PageSize,
        Vfn,
        VramAddress, //
    },
    num::FromSafeCast, //
};

/// A format of page tables.
pub(crate) trait Format: Send + Sync + 'static {
    /// Number of bits of a virtual address.
    const VA_BITS: u32;

    /// The levels, from the root to the tables of 4 KiB pages.
    ///
    /// The last but one holds dual entries, the last one PTEs, all others PDEs.
    const LEVELS: &'static [Level];

    /// Whether entries that point to tables of the driver rule out ATS; see [`Pde::no_ats`].
    const NO_ATS: bool;

    /// The bits of a PDE, and of each word of a dual entry.
    type PdeBits: TableBits;

    /// The bits of a PTE.
    type PteBits: PageBits;

    /// Returns the description of a table of the driver at `address` of VRAM.
    fn own_table(address: VramAddress) -> Pde {
        Pde {
            no_ats: Self::NO_ATS,
            ..Pde::vram(address)
        }
    }

    /// Encodes an entry of a directory that points to a table; not for dual entries.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the address is not aligned to 4 KiB, or it or an attribute has no encoding.
    /// Peer memory holds no tables.
    fn encode_pde(pde: &Pde) -> Result<u64> {
        encode_table::<Self>(TableWord::Single, pde)
    }

    /// Encodes the two words of a dual entry that points to a table of 64 KiB pages, to one of
    /// 4 KiB pages, to both, or to none, which is the absent entry.
    ///
    /// The first word is the one at the lower address and describes the big pages.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if an address is not aligned to 256 bytes (big) or 4 KiB (small), or it or an
    /// attribute has no encoding.
    fn encode_dual(big: Option<&Pde>, small: Option<&Pde>) -> Result<[u64; 2]> {
        let encode = |word, half: Option<&Pde>| match half {
            Some(pde) => encode_table::<Self>(word, pde),
            None => Ok(0),
        };

        Ok([
            encode(TableWord::Big, big)?,
            encode(TableWord::Small, small)?,
        ])
    }

    /// Encodes a page of `size`: an entry of a table of 4 KiB or 64 KiB pages, the first word of a
    /// dual entry, whose second word is then zero, or an entry of a directory.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the format has no pages of `size`, the address is not aligned to it, or it or
    /// an attribute has no encoding.
    fn encode_pte(pte: &Pte, size: PageSize) -> Result<u64> {
        let kind = page_kind::<Self>(size).ok_or(EINVAL)?;
        let word = Self::PteBits::pack(pte);

        expect(
            word,
            decode_page::<Self>(kind, size, word),
            Entry::Page(*pte),
        )
    }

    /// Encodes an entry that maps nothing: one that is `sparse`, which accesses do not fault at, or
    /// an absent one. If entries of `kind` have one word, it is the first.
    ///
    /// Only tests make sparse entries yet.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `no_ats` is set, and entries of `kind` cannot rule out ATS.
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    fn encode_unmapped(kind: EntryKind, sparse: bool, no_ats: bool) -> Result<[u64; 2]> {
        let (sparse_word, no_ats_word) = match kind {
            EntryKind::Pde => (Self::PdeBits::SPARSE, Self::PdeBits::NO_ATS),
            EntryKind::Dual => (Self::PdeBits::SPARSE, Self::PdeBits::NO_ATS_DUAL),
            EntryKind::Pte => (Self::PteBits::SPARSE, None),
        };
        let mut word = 0;

        if sparse {
            word |= sparse_word;
        }
        if no_ats {
            word |= no_ats_word.ok_or(EINVAL)?;
        }

        Ok([word, 0])
    }

    /// Returns the words of a sparse entry, with the same attributes as [`Self::own_table`].
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    fn encode_sparse(kind: EntryKind) -> [u64; 2] {
        let no_ats = Self::NO_ATS && kind != EntryKind::Pte;

        Self::encode_unmapped(kind, true, no_ats).unwrap_or_default()
    }

    /// Decodes an entry; if it has one word, the second is ignored. All words can be decoded.
    ///
    /// `size` is the size of the page that the entry would be if it were one: that of
    /// [`Level::leaf`], or [`PageSize::Size64K`] for an entry of a table of big pages. With a size
    /// that entries of `kind` cannot have, no word is a page. See [`Level::decode`].
    fn decode(kind: EntryKind, size: PageSize, [first, second]: [u64; 2]) -> Entry {
        // In a directory, this bit does not say that the entry is valid, but that it is a PTE.
        let is_page = first & IS_PTE != 0;

        match kind {
            EntryKind::Pte => decode_page::<Self>(kind, size, first),
            EntryKind::Pde if is_page => decode_page::<Self>(kind, size, first),
            EntryKind::Pde => decode_table::<Self>(TableWord::Single, first),
            EntryKind::Dual if is_page && second != 0 => Entry::Invalid,
            EntryKind::Dual if is_page => decode_page::<Self>(kind, size, first),
            EntryKind::Dual => merge_dual(
                decode_table::<Self>(TableWord::Big, first),
                decode_table::<Self>(TableWord::Small, second),
            ),
        }
    }
}

/// Which word of an entry points to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableWord {
    /// The only one; the table is a directory, aligned to 4 KiB.
    Single,
    /// The first one of a dual entry; the table is one of big pages, aligned to 256 bytes.
    Big,
    /// The second one of a dual entry; the table is one of small pages, aligned to 4 KiB.
    Small,
}

/// The bits of a word that points to a table.
///
/// Implementations only move bits. [`pack`](Self::pack) cuts off values that do not fit, and
/// [`unpack`](Self::unpack) ignores bits without a field; [`Format`] detects both.
pub(crate) trait TableBits {
    /// The word of a sparse entry.
    const SPARSE: u64;

    /// The bit that rules out ATS in an entry of one word that maps nothing; [`None`] if the format
    /// lacks such a bit.
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    const NO_ATS: Option<u64>;

    /// The same bit of the first word of a dual entry.
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    const NO_ATS_DUAL: Option<u64>;

    /// Packs `pde` into a word. A `pde` that does not fit gives a word with another meaning.
    fn pack(place: TableWord, pde: &Pde) -> u64;

    /// Returns what the word says; [`None`] if it is not valid.
    fn unpack(place: TableWord, word: u64) -> Option<Pde>;

    /// Returns what a word means that is not valid.
    fn decode_unused(place: TableWord, word: u64) -> Entry;
}

/// The bits of a word that is a page; see [`TableBits`].
pub(crate) trait PageBits {
    /// The word of a sparse entry.
    const SPARSE: u64;

    /// Returns the word for `pte`, or one that says something else if there is none.
    fn pack(pte: &Pte) -> u64;

    /// Returns what the word says; [`None`] if it is not valid.
    fn unpack(word: u64) -> Option<Pte>;

    /// Returns what a word of a table of big pages means that is not valid.
    fn decode_unused(word: u64) -> Entry;
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
    /// A chip with the format may have fewer sizes; see [`PageSizes`].
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

    /// Decodes an entry of this level; see [`Format::decode`].
    #[inline]
    pub(crate) fn decode<F: Format>(&self, words: [u64; 2]) -> Entry {
        // Where no entry can be a page, 4 KiB is a size that none can have: only PTEs can.
        F::decode(self.kind, self.leaf.unwrap_or(PageSize::Size4K), words)
    }
}

/// The page sizes that a chip supports, a subset of the sizes in its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageSizes {
    /// The sum of the sizes in bytes, all of which are powers of two.
    bytes: u64,
}

impl PageSizes {
    /// The sizes that all chips have.
    pub(crate) const COMMON: Self = Self { bytes: 0 }
        .with(PageSize::Size4K)
        .with(PageSize::Size64K)
        .with(PageSize::Size2M);

    /// Returns the sizes that a GPU of model `chipset` has.
    pub(crate) const fn of(chipset: Chipset) -> Self {
        use Chipset::*;

        match chipset {
            TU102 | TU104 | TU106 | TU117 | TU116 => Self::COMMON,
            GA100 | GA102 | GA103 | GA104 | GA106 | GA107 | AD102 | AD103 | AD104 | AD106
            | AD107 => Self::COMMON.with(PageSize::Size512M),
        }
    }

    /// Returns these sizes and `size`.
    pub(crate) const fn with(self, size: PageSize) -> Self {
        Self {
            bytes: self.bytes | size.bytes(),
        }
    }

    /// Returns whether `size` is one of them.
    #[inline]
    pub(crate) const fn contains(self, size: PageSize) -> bool {
        self.bytes & size.bytes() != 0
    }
}

/// The bit of the (first) word of a directory's entry that makes a PTE of it, in all formats.
const IS_PTE: u64 = 1 << 0;

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

/// Returns what kind of entry a page of `size` is; [`None`] if there are no such pages.
fn page_kind<F: Format + ?Sized>(size: PageSize) -> Option<EntryKind> {
    if BIG_PAGES.leaf == Some(size) {
        return Some(BIG_PAGES.kind);
    }

    F::LEVELS
        .iter()
        .find(|level| level.leaf == Some(size))
        .map(|level| level.kind)
}

/// Encodes a word that points to a table.
fn encode_table<F: Format + ?Sized>(place: TableWord, pde: &Pde) -> Result<u64> {
    let word = F::PdeBits::pack(place, pde);

    expect(word, decode_table::<F>(place, word), Entry::Table(*pde))
}

/// Decodes a word that is not a page, but may point to a table.
fn decode_table<F: Format + ?Sized>(place: TableWord, word: u64) -> Entry {
    match F::PdeBits::unpack(place, word) {
        None => F::PdeBits::decode_unused(place, word),
        Some(pde) if F::PdeBits::pack(place, &pde) != word => Entry::Invalid,
        Some(pde) => Entry::Table(pde),
    }
}

/// Decodes a word of an entry of `kind` that is no table, but perhaps a page of `size`.
fn decode_page<F: Format + ?Sized>(kind: EntryKind, size: PageSize, word: u64) -> Entry {
    let Some(pte) = F::PteBits::unpack(word) else {
        return match F::PteBits::decode_unused(word) {
            Entry::NoSmallPages if size != PageSize::Size64K => Entry::Invalid,
            entry => entry,
        };
    };

    let fits = page_kind::<F>(size) == Some(kind) && pte.is_sound(size);
    if !fits || F::PteBits::pack(&pte) != word {
        return Entry::Invalid;
    }

    Entry::Page(pte)
}

/// Returns what a dual entry means that is no page, of what its words mean.
fn merge_dual(big: Entry, small: Entry) -> Entry {
    let (big, small) = match (big, small) {
        (Entry::Absent, Entry::Absent) => return Entry::Absent,
        (Entry::Sparse, Entry::Absent) => return Entry::Sparse,
        (Entry::Table(big), Entry::Absent) => (Some(big), None),
        (Entry::Absent, Entry::Table(small)) => (None, Some(small)),
        (Entry::Table(big), Entry::Table(small)) => (Some(big), Some(small)),
        _ => return Entry::Invalid,
    };

    Entry::Dual { big, small }
}

/// Returns a word just encoded if it is decoded to what it was made of.
///
/// This is where what has no encoding becomes an error: it was cut off, and does not come back.
fn expect(word: u64, decoded: Entry, encoded: Entry) -> Result<u64> {
    if decoded != encoded {
        return Err(EINVAL);
    }

    Ok(word)
}

// SPDX-License-Identifier: GPL-2.0

//! Page table formats.
//!
//! The rest of `mm` uses a format through [`MmuFormat`], and `mm/chips.rs` selects the format of a
//! chip. The formats themselves implement [`Format`]: the [`Level`]s of the tables, the bit fields
//! of their entries, and pure functions that translate between 64-bit words and their meaning.
//! Nothing here accesses the hardware.
//!
//! Encoding never truncates: a value that a format cannot express is an error. Decoding never
//! ignores a bit: a word with a bit of unknown meaning is [`Entry::Malformed`]. The exception is a
//! PDE that points to a directory in VRAM. It keeps unknown attributes in [`Pde::unknown`], so that
//! the driver can use directories of newer firmware. Encoding and decoding are therefore inverse to
//! each other: decoding an encoded entry returns the entry, and encoding a decoded table or page
//! returns the same words.
//!
//! Entries that are not valid have defined words, too. Decoding accepts only the published ones. A
//! word with stray bits is malformed, not just invalid.

use kernel::prelude::*;

mod entry;
pub(crate) mod v2;
pub(crate) mod v3;

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod tests;

pub(crate) use entry::{
    Access,
    Aperture,
    Entry,
    PageAttributes,
    Pde,
    Pte,
    PteKind, //
};

use crate::{
    mm::address::{
        PageSize,
        Vfn,
        VramAddress, //
    },
    num::FromSafeCast, //
};

/// A page table format, selected at run time.
///
/// All [`Format`]s implement it. Entries are pairs of words; the second word of an entry of one
/// word is zero.
pub(crate) trait MmuFormat: Send + Sync + 'static {
    /// Returns the number of bits of a virtual address.
    fn va_bits(&self) -> u32;

    /// Returns the levels; see [`Format::LEVELS`].
    fn levels(&self) -> &'static [Level];

    /// Encodes a PDE that points to a `table` of the driver in VRAM.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the address is not a multiple of 4 KiB, or exceeds the field of the format.
    fn encode_own_pde(&self, table: VramAddress) -> Result<[u64; 2]>;

    /// Encodes a dual PDE that points to tables of the driver in VRAM: a table of `big` pages
    /// (64 KiB), a table of `small` pages (4 KiB), both, or none. The entry is invalid without a
    /// table.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if an address is not a multiple of 256 bytes (`big`) or 4 KiB (`small`), or
    /// exceeds the field of the format.
    fn encode_own_dual(
        &self,
        big: Option<VramAddress>,
        small: Option<VramAddress>,
    ) -> Result<[u64; 2]>;

    /// Encodes `count` pages of `size` bytes with the attributes of `first`, at contiguous
    /// addresses that start at the address of `first`.
    ///
    /// The run time does not depend on `count`. Depending on `size`, the words are entries of
    /// tables of 4 KiB or 64 KiB pages, first words of dual entries, or entries of directories. The
    /// chip need not support all sizes in the format; see [`PageSizes`].
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `count` is zero, the format has no pages of `size`, the address of `first` is
    /// not a multiple of it, an attribute has no encoding, or the address of a page exceeds the
    /// field of the format.
    fn encode_run(&self, first: &Pte, size: PageSize, count: u64) -> Result<PteRun>;

    /// Returns the words of a sparse entry, with the attributes that the entries of the driver
    /// have.
    fn encode_sparse(&self, kind: EntryType) -> [u64; 2];

    /// Decodes an entry; see [`Format::decode`].
    fn decode(&self, kind: EntryType, size: PageSize, words: [u64; 2]) -> Entry;
}

impl<F: Format> MmuFormat for F {
    fn va_bits(&self) -> u32 {
        F::VA_BITS
    }

    fn levels(&self) -> &'static [Level] {
        F::LEVELS
    }

    fn encode_own_pde(&self, table: VramAddress) -> Result<[u64; 2]> {
        Ok([F::encode_pde(&F::own_table(table))?, 0])
    }

    fn encode_own_dual(
        &self,
        big: Option<VramAddress>,
        small: Option<VramAddress>,
    ) -> Result<[u64; 2]> {
        F::encode_dual(
            big.map(F::own_table).as_ref(),
            small.map(F::own_table).as_ref(),
        )
    }

    fn encode_run(&self, first: &Pte, size: PageSize, count: u64) -> Result<PteRun> {
        let run = PteRun {
            first: F::encode_pte(first, size)?,
            step: size.bytes() >> F::PteBits::ADDRESS_SHIFT,
        };
        let last_index = count.checked_sub(1).ok_or(EINVAL)?;

        if last_index > 0 {
            // Pages differ in the address only, whose bits are contiguous. If the addresses of the
            // first and the last page fit, all addresses between them do.
            let offset = last_index.checked_mul(size.bytes()).ok_or(EINVAL)?;
            let address = first.address.checked_add(offset).ok_or(EINVAL)?;
            let last = F::encode_pte(&Pte { address, ..*first }, size)?;

            if last != run.word(last_index) {
                return Err(EINVAL);
            }
        }

        Ok(run)
    }

    fn encode_sparse(&self, kind: EntryType) -> [u64; 2] {
        F::encode_sparse(kind)
    }

    fn decode(&self, kind: EntryType, size: PageSize, words: [u64; 2]) -> Entry {
        F::decode(kind, size, words)
    }
}

/// The words of the PTEs of contiguous pages, created by [`MmuFormat::encode_run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PteRun {
    /// The word of the first page.
    pub(crate) first: u64,
    /// The difference between the words of adjacent pages.
    pub(crate) step: u64,
}

impl PteRun {
    /// Returns the word of the page with this `index`, which must be less than the number of pages
    /// in the run.
    #[inline]
    const fn word(&self, index: u64) -> u64 {
        self.first + index * self.step
    }
}

/// The definition of a page table format.
///
/// Implementations are unit types, so that a reference to one is a [`MmuFormat`].
pub(crate) trait Format: Default + Send + Sync + 'static {
    /// Number of bits of a virtual address.
    const VA_BITS: u32;

    /// The levels, from the root to the tables of 4 KiB pages.
    ///
    /// The last level holds PTEs, the level above it dual entries, and all other levels PDEs.
    const LEVELS: &'static [Level];

    /// Whether entries that point to tables of the driver disable ATS; see [`Pde::no_ats`].
    const NO_ATS: bool;

    /// The bits of a PDE, and of each word of a dual entry.
    type PdeBits: TableBits;

    /// The bits of a PTE.
    type PteBits: PageBits;

    /// Returns the description of a table of the driver at `address` in VRAM.
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
    /// [`EINVAL`] if the address is not a multiple of 4 KiB, or if the address or an attribute has
    /// no encoding. Tables cannot be in peer memory.
    fn encode_pde(pde: &Pde) -> Result<u64> {
        encode_table::<Self>(TableWord::Single, pde)
    }

    /// Encodes the two words of a dual entry that points to a table of 64 KiB pages, to a table of
    /// 4 KiB pages, or to both. The entry is invalid without a table.
    ///
    /// The first word is the one at the lower address and describes the big pages.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if an address is not a multiple of 256 bytes (big) or 4 KiB (small), or if an
    /// address or attribute has no encoding.
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
    /// dual entry, whose second word must be zero, or an entry of a directory.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the format has no pages of `size`, the address is not a multiple of it, or the
    /// address or an attribute has no encoding.
    fn encode_pte(pte: &Pte, size: PageSize) -> Result<u64> {
        let word = Self::PteBits::pack(pte);
        // A value that exceeds its field was truncated, and unpacks to another one.
        let is_packed = Self::PteBits::unpack(word) == Some(*pte);

        if !is_packed || !pte.is_sound(size) || leaf_type::<Self>(size).is_none() {
            return Err(EINVAL);
        }

        Ok(word)
    }

    /// Returns the words of a sparse entry, with the same attributes as [`Self::own_table`].
    fn encode_sparse(kind: EntryType) -> [u64; 2] {
        match kind {
            EntryType::Pde | EntryType::Dual => [Self::PdeBits::SPARSE, 0],
            EntryType::Pte => [Self::PteBits::SPARSE, 0],
        }
    }

    /// Decodes an entry. If it has one word, the second is ignored. Any word can be decoded.
    ///
    /// `size` is the size of the page if the entry is one: [`Level::leaf`], or
    /// [`PageSize::Size64K`] for an entry of a table of big pages. If entries of `kind` cannot be
    /// pages of `size`, then no word is a page. See [`Level::decode`].
    fn decode(kind: EntryType, size: PageSize, [first, second]: [u64; 2]) -> Entry {
        // In a directory, this bit does not mean that the entry is valid, but that it is a PTE.
        let is_page = first & IS_PTE != 0;

        match kind {
            EntryType::Pte => decode_page::<Self>(kind, size, first),
            EntryType::Pde if is_page => decode_page::<Self>(kind, size, first),
            EntryType::Pde => decode_table::<Self>(TableWord::Single, first),
            EntryType::Dual if is_page && second != 0 => Entry::Malformed,
            EntryType::Dual if is_page => decode_page::<Self>(kind, size, first),
            EntryType::Dual => merge_dual(
                decode_table::<Self>(TableWord::Big, first),
                decode_table::<Self>(TableWord::Small, second),
            ),
        }
    }
}

/// The word of an entry that points to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableWord {
    /// The only word. The table is a directory, aligned to 4 KiB.
    Single,
    /// The first word of a dual entry. The table holds big pages and is aligned to 256 bytes.
    Big,
    /// The second word of a dual entry. The table holds small pages and is aligned to 4 KiB.
    Small,
}

/// The bits of a word that points to a table.
///
/// Implementations only move bits. [`pack`](Self::pack) truncates values that exceed their fields,
/// and [`unpack`](Self::unpack) ignores bits without a field; [`Format`] detects both.
pub(crate) trait TableBits {
    /// The word of a sparse entry, with the same attributes as [`Format::own_table`].
    const SPARSE: u64;

    /// Packs `pde` into a word. The word has another meaning if a value exceeds its field.
    fn pack(place: TableWord, pde: &Pde) -> u64;

    /// Returns the meaning of a word, or [`None`] if it is not valid.
    fn unpack(place: TableWord, word: u64) -> Option<Pde>;

    /// Returns the meaning of a word that is not valid.
    fn decode_unused(place: TableWord, word: u64) -> Entry;
}

/// The bits of a word that is a page; see [`TableBits`].
///
/// The address occupies contiguous bits, which start at the same bit in all apertures.
pub(crate) trait PageBits {
    /// The word of a sparse entry.
    const SPARSE: u64;

    /// Number of bits by which the address is shifted down in a word.
    const ADDRESS_SHIFT: u32;

    /// Packs `pte` into a word. The word has another meaning if a value exceeds its field.
    fn pack(pte: &Pte) -> u64;

    /// Returns the meaning of a word, or [`None`] if it is not valid.
    fn unpack(word: u64) -> Option<Pte>;

    /// Returns the meaning that a word that is not valid has in a table of big pages.
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
    /// The type of the entries.
    pub(crate) kind: EntryType,
    /// Size of the page that an entry can be instead of pointing to a table, if any.
    ///
    /// The chip need not support all sizes in the format; see [`PageSizes`].
    pub(crate) leaf: Option<PageSize>,
}

impl Level {
    /// Returns the number of entries of a table.
    #[inline]
    pub(crate) const fn entries(&self) -> usize {
        1 << self.bits
    }

    /// Returns the index of the entry for `page` in a table of this level, which is always less
    /// than [`Self::entries`].
    ///
    /// Higher bits of the page number select the table and are ignored here. The caller checks that
    /// the format can address the page.
    #[inline]
    pub(crate) fn index(&self, page: Vfn) -> usize {
        let number = page.address().into_raw() >> self.shift;

        usize::from_safe_cast(number & ((1 << self.bits) - 1))
    }

    /// Decodes an entry of this level; see [`MmuFormat::decode`].
    #[inline]
    pub(crate) fn decode(&self, format: &dyn MmuFormat, words: [u64; 2]) -> Entry {
        // Only PTEs can be pages of 4 KiB, so with this size no entry of a directory is a page.
        format.decode(self.kind, self.leaf.unwrap_or(PageSize::Size4K), words)
    }
}

/// The page sizes that a chip supports, a subset of the sizes in its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageSizes {
    /// The sum of the sizes in bytes, which are powers of two.
    bytes: u64,
}

impl PageSizes {
    /// The sizes that all chips support.
    pub(crate) const COMMON: Self = Self { bytes: 0 }
        .with(PageSize::Size4K)
        .with(PageSize::Size64K)
        .with(PageSize::Size2M);

    /// Returns these sizes and `size`.
    pub(crate) const fn with(self, size: PageSize) -> Self {
        Self {
            bytes: self.bytes | size.bytes(),
        }
    }

    /// Returns whether `size` is supported.
    #[inline]
    pub(crate) const fn contains(self, size: PageSize) -> bool {
        self.bytes & size.bytes() != 0
    }
}

/// The bit of the first word of a directory entry that makes it a PTE, in all formats.
const IS_PTE: u64 = 1 << 0;

/// The tables of 64 KiB pages, which are the same in all formats.
///
/// They are an alternative to the last level: a dual entry points to a table of each.
pub(crate) const BIG_PAGES: Level = Level {
    shift: PageSize::Size64K.shift(),
    bits: 5,
    kind: EntryType::Pte,
    leaf: Some(PageSize::Size64K),
};

/// The type of the entries of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryType {
    /// One word, which points to a table or is a large page.
    Pde,
    /// Two words, which point to a table of big pages, to a table of small pages, or to both, or
    /// are a page of 2 MiB.
    Dual,
    /// One word, which is a page of 4 KiB or 64 KiB.
    Pte,
}

impl EntryType {
    /// Returns the number of 64-bit words of an entry.
    #[inline]
    pub(crate) const fn words(self) -> usize {
        match self {
            Self::Dual => 2,
            Self::Pde | Self::Pte => 1,
        }
    }
}

/// Returns the type of the entries that are pages of `size`, or [`None`] without such pages.
fn leaf_type<F: Format>(size: PageSize) -> Option<EntryType> {
    if BIG_PAGES.leaf == Some(size) {
        return Some(BIG_PAGES.kind);
    }

    F::LEVELS
        .iter()
        .find(|level| level.leaf == Some(size))
        .map(|level| level.kind)
}

/// Encodes a word that points to a table.
fn encode_table<F: Format>(place: TableWord, pde: &Pde) -> Result<u64> {
    let word = F::PdeBits::pack(place, pde);

    // A value that exceeds its field was truncated, and unpacks to another one.
    if F::PdeBits::unpack(place, word) != Some(*pde) {
        return Err(EINVAL);
    }

    Ok(word)
}

/// Decodes a word that is not a page, but may point to a table.
fn decode_table<F: Format>(place: TableWord, word: u64) -> Entry {
    match F::PdeBits::unpack(place, word) {
        None => F::PdeBits::decode_unused(place, word),
        Some(pde) if F::PdeBits::pack(place, &pde) != word => Entry::Malformed,
        Some(pde) => Entry::Table(pde),
    }
}

/// Decodes a word of an entry of `kind` that does not point to a table, but may be a page of
/// `size`.
fn decode_page<F: Format>(kind: EntryType, size: PageSize, word: u64) -> Entry {
    let Some(pte) = F::PteBits::unpack(word) else {
        return match F::PteBits::decode_unused(word) {
            Entry::NoSmallPages if size != PageSize::Size64K => Entry::Malformed,
            entry => entry,
        };
    };

    let fits = leaf_type::<F>(size) == Some(kind) && pte.is_sound(size);
    if !fits || F::PteBits::pack(&pte) != word {
        return Entry::Malformed;
    }

    Entry::Page(pte)
}

/// Returns the meaning of a dual entry that is not a page from the meanings of its words.
fn merge_dual(big: Entry, small: Entry) -> Entry {
    let (big, small) = match (big, small) {
        (Entry::Invalid, Entry::Invalid) => return Entry::Invalid,
        (Entry::Sparse, Entry::Invalid) => return Entry::Sparse,
        (Entry::Table(big), Entry::Invalid) => (Some(big), None),
        (Entry::Invalid, Entry::Table(small)) => (None, Some(small)),
        (Entry::Table(big), Entry::Table(small)) => (Some(big), Some(small)),
        _ => return Entry::Malformed,
    };

    Entry::Dual { big, small }
}

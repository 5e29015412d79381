// SPDX-License-Identifier: GPL-2.0

//! What is true of all formats of page tables, to be shown for each.
//!
//! The suites are in the files of the formats.

use core::panic::Location;

use kernel::prelude::*;

use crate::{
    mm::{
        address::{
            PageSize,
            Vfn,
            VramAddress,
            PAGE_SIZE, //
        },
        format::{
            Aperture,
            Entry,
            EntryKind,
            Format,
            Kind,
            Level,
            Pde,
            Pte,
            BIG_PAGES, //
        },
    },
    num::usize_as_u64, //
};

mod v2;
mod v3;

/// Passes if `condition` is true, as `assert!` does in a test; this is for functions that tests
/// call.
#[track_caller]
pub(crate) fn ensure(condition: bool) -> Result {
    if !condition {
        let location = Location::caller();

        pr_err!("not true: {}:{}\n", location.file(), location.line());
        return Err(EINVAL);
    }

    Ok(())
}

/// Numbers that look random, always the same: xorshift of 64 bits.
struct Numbers(u64);

impl Numbers {
    fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns a word that has a chance to be an entry: with few bits in the upper half.
    fn next_word(&mut self) -> u64 {
        let word = self.next();

        match self.next() % 4 {
            0 => word,
            1 => word >> (self.next() % 64),
            2 => word & self.next() & self.next(),
            // Aligned to 2 MiB, whether addresses start at bit 8 or at bit 12.
            _ => (word & self.next() & self.next() & 0xff_ffe0_0000) | (word & self.next() & 0xfff),
        }
    }
}

const BOOLS: [bool; 2] = [false, true];

const APERTURES: [Aperture; 4] = [
    Aperture::Vram,
    Aperture::Peer,
    Aperture::SysCoherent,
    Aperture::SysNonCoherent,
];

const SIZES: [PageSize; 5] = [
    PageSize::Size4K,
    PageSize::Size64K,
    PageSize::Size2M,
    PageSize::Size512M,
    PageSize::Size256G,
];

/// All that [`Format::decode`] can be asked for.
fn kinds_and_sizes() -> impl Iterator<Item = (EntryKind, PageSize)> {
    const KINDS: [EntryKind; 3] = [EntryKind::Pde, EntryKind::Dual, EntryKind::Pte];

    KINDS
        .into_iter()
        .flat_map(|kind| SIZES.into_iter().map(move |size| (kind, size)))
}

/// The level whose entries can be pages of `size`.
fn level_of<F: Format>(size: PageSize) -> Option<&'static Level> {
    if size == PageSize::Size64K {
        return Some(&BIG_PAGES);
    }

    F::LEVELS.iter().find(|level| level.leaf == Some(size))
}

/// Encodes again what was decoded; [`None`] if it is neither a table nor a page.
fn encode_again<F: Format>(size: PageSize, entry: Entry) -> Option<Result<[u64; 2]>> {
    match entry {
        Entry::Table(pde) => Some(F::encode_pde(&pde).map(|word| [word, 0])),
        Entry::Page(pte) => Some(F::encode_pte(&pte, size).map(|word| [word, 0])),
        Entry::Dual { big, small } => Some(F::encode_dual(big.as_ref(), small.as_ref())),
        _ => None,
    }
}

/// The levels share out the bits of an address, and are of the kinds that the trait promises.
fn levels_cover_the_address<F: Format>() -> Result {
    let mut end = F::VA_BITS;

    for (number, level) in F::LEVELS.iter().enumerate() {
        let kind = match F::LEVELS.len() - number {
            1 => EntryKind::Pte,
            2 => EntryKind::Dual,
            _ => EntryKind::Pde,
        };

        ensure(level.shift + level.bits == end)?;
        ensure(level.kind == kind)?;
        ensure(level.entries() * level.kind.words() * 8 <= 4096)?;
        if let Some(size) = level.leaf {
            ensure(size.shift() == level.shift)?;
        }
        end = level.shift;
    }

    ensure(end == PageSize::Size4K.shift())?;
    ensure(
        F::LEVELS
            .last()
            .is_some_and(|level| level.leaf == Some(PageSize::Size4K)),
    )?;
    ensure(BIG_PAGES.shift == 16 && BIG_PAGES.entries() * 8 == 256)
}

/// The numbers of its entries make up the number of a page again.
fn indices_make_up_the_page<F: Format>() -> Result {
    let mut numbers = Numbers::new();

    for _ in 0..100 {
        let page = Vfn::new(numbers.next() >> (64 - F::VA_BITS + 12))?;
        let mut address = 0;

        for level in F::LEVELS {
            ensure(level.index(page) < level.entries())?;
            address += usize_as_u64(level.index(page)) << level.shift;
        }
        ensure(address == page.address().into_raw())?;
        ensure(usize_as_u64(BIG_PAGES.index(page)) == address >> 16 & 31)?;
    }

    Ok(())
}

/// Memory full of zeroes is a table of absent entries.
fn zero_is_absent<F: Format>() -> Result {
    for (kind, size) in kinds_and_sizes() {
        ensure(F::decode(kind, size, [0; 2]) == Entry::Absent)?;
    }

    ensure(F::encode_dual(None, None)? == [0; 2])
}

/// A sparse entry is decoded as one.
fn sparse_comes_back<F: Format>() -> Result {
    for (kind, size) in kinds_and_sizes() {
        ensure(F::decode(kind, size, F::encode_sparse(kind)) == Entry::Sparse)?;
    }

    Ok(())
}

/// Only a table of big pages can say that small ones do not count.
fn only_big_entries_hide_small_pages<F: Format>(word: u64) -> Result {
    for (kind, size) in kinds_and_sizes() {
        let big = kind == EntryKind::Pte && size == PageSize::Size64K;
        let hides = F::decode(kind, size, [word, 0]) == Entry::NoSmallPages;

        ensure(hides == big)?;
    }

    Ok(())
}

/// A table is encoded so that it comes back, or not at all.
///
/// `vram_bits` and `sys_bits` are how many bits an address has.
fn tables_come_back<F: Format>(vram_bits: u32, sys_bits: u32) -> Result {
    for aperture in APERTURES {
        let bits = match aperture {
            Aperture::Peer => 0,
            Aperture::Vram => vram_bits,
            Aperture::SysCoherent | Aperture::SysNonCoherent => sys_bits,
        };

        for shift in 0..64 {
            for volatile in BOOLS {
                let pde = Pde {
                    aperture,
                    address: 1 << shift,
                    volatile,
                    no_ats: F::NO_ATS,
                    unknown: 0,
                };

                table_comes_back::<F>(
                    &pde,
                    (12..bits).contains(&shift),
                    (8..bits).contains(&shift),
                )?;
            }
        }
    }

    Ok(())
}

/// `pde` can be encoded as a PDE or the small half of a dual entry if `small`, as the big half if
/// `big`.
fn table_comes_back<F: Format>(pde: &Pde, small: bool, big: bool) -> Result {
    let decode_pde = |word| F::decode(EntryKind::Pde, PageSize::Size4K, [word, !0]);
    let decode_dual = |words| F::decode(EntryKind::Dual, PageSize::Size2M, words);

    ensure(F::encode_pde(pde).map(decode_pde) == comes_back(small, Entry::Table(*pde)))?;
    for (first, second, fits) in [
        (Some(pde), None, big),
        (None, Some(pde), small),
        (Some(pde), Some(pde), big && small),
    ] {
        let entry = Entry::Dual {
            big: first.copied(),
            small: second.copied(),
        };

        ensure(F::encode_dual(first, second).map(decode_dual) == comes_back(fits, entry))?;
    }

    Ok(())
}

/// The result of encoding and decoding again what `fits`, or does not.
fn comes_back(fits: bool, entry: Entry) -> Result<Entry> {
    if fits {
        Ok(entry)
    } else {
        Err(EINVAL)
    }
}

/// A directory in VRAM with attributes that are not published comes back with them, and nothing
/// else does.
///
/// `bits` is the mask of such attributes.
fn unknown_attributes_come_back<F: Format>(bits: u64) -> Result {
    let table = Pde::vram(VramAddress::new(0x1234_5000));
    let sys = Pde {
        aperture: Aperture::SysCoherent,
        ..table
    };
    let decode = |word| F::decode(EntryKind::Pde, PageSize::Size512M, [word, 0]);
    let dual = |words| F::decode(EntryKind::Dual, PageSize::Size2M, words);
    let word = F::encode_pde(&table)?;

    for number in 0..=64 {
        // Each bit by itself, and all of them.
        let unknown = 1u64.checked_shl(number).unwrap_or(bits);
        let pde = Pde { unknown, ..table };
        let fits = unknown & !bits == 0;

        ensure(F::encode_pde(&pde).map(decode) == comes_back(fits, Entry::Table(pde)))?;
        ensure(F::encode_pde(&Pde { unknown, ..sys }) == Err(EINVAL))?;
        ensure(F::encode_dual(Some(&pde), None) == Err(EINVAL))?;
        ensure(F::encode_dual(None, Some(&pde)) == Err(EINVAL))?;
        if fits {
            ensure(F::encode_pde(&pde)? == word | unknown)?;
            ensure(decode(F::encode_pde(&sys)? | unknown) == Entry::Invalid)?;
            ensure(decode(unknown) == Entry::Invalid)?;
            ensure(dual([0, word | unknown]) == Entry::Invalid)?;
        }
    }

    Ok(())
}

/// Absent and sparse entries come back, with ATS allowed and not allowed.
///
/// `single` and `dual` are whether entries of one word and of two can rule it out.
fn unmapped_entries_come_back<F: Format>(single: bool, dual: bool) -> Result {
    for (kind, size) in kinds_and_sizes() {
        let has_ats = match kind {
            EntryKind::Pde => single,
            EntryKind::Dual => dual,
            EntryKind::Pte => false,
        };

        for (sparse, entry) in [(false, Entry::Absent), (true, Entry::Sparse)] {
            let decode = |words| F::decode(kind, size, words);

            ensure(F::encode_unmapped(kind, sparse, false).map(decode) == Ok(entry))?;
            ensure(
                F::encode_unmapped(kind, sparse, true).map(decode) == comes_back(has_ats, entry),
            )?;
        }
    }

    Ok(())
}

/// A page is encoded so that it comes back, or not at all: its address.
///
/// `vram_bits`, `peer_bits` and `sys_bits` are how many bits an address has.
fn addresses_of_pages_come_back<F: Format>(
    vram_bits: u32,
    peer_bits: u32,
    sys_bits: u32,
) -> Result {
    for size in SIZES {
        for aperture in APERTURES {
            let bits = match aperture {
                Aperture::Vram => vram_bits,
                Aperture::Peer => peer_bits,
                Aperture::SysCoherent | Aperture::SysNonCoherent => sys_bits,
            };

            for shift in 0..64 {
                let fits = (size.shift()..bits).contains(&shift) && level_of::<F>(size).is_some();
                let pte = Pte {
                    aperture,
                    ..Pte::vram(VramAddress::new(1 << shift), false)
                };

                page_comes_back::<F>(&pte, size, fits)?;
            }
        }
    }

    Ok(())
}

/// A page is encoded so that it comes back, or not at all: its kind, of which there are `kinds`
/// with the one that is invalid.
fn kinds_come_back<F: Format>(kinds: u16) -> Result {
    for number in 0..=u8::MAX {
        let kind = Kind::from(number);
        let fits = u16::from(number) < kinds && number != 7;
        let named = number == 0 || number == 6;

        ensure(u8::from(kind) == number)?;
        for (kind, fits) in [(kind, fits), (Kind::Other(number), fits && !named)] {
            let pte = Pte {
                kind,
                ..Pte::vram(VramAddress::new(0), false)
            };

            page_comes_back::<F>(&pte, PageSize::Size4K, fits)?;
        }
    }

    Ok(())
}

/// A page is encoded so that it comes back, or not at all: which GPU's memory it is.
fn peers_come_back<F: Format>() -> Result {
    for aperture in APERTURES {
        for peer in 0..=u8::MAX {
            let fits = peer == 0 || (aperture == Aperture::Peer && peer < 8);
            let pte = Pte {
                aperture,
                peer,
                ..Pte::vram(VramAddress::new(PAGE_SIZE), false)
            };

            page_comes_back::<F>(&pte, PageSize::Size4K, fits)?;
        }
    }

    Ok(())
}

/// A page is encoded so that it comes back: all combinations of attributes.
fn attributes_come_back<F: Format>() -> Result {
    for attributes in 0..16 {
        let has = |bit: u32| attributes & 1 << bit != 0;

        for size in SIZES {
            for aperture in APERTURES {
                let pte = Pte {
                    aperture,
                    volatile: has(0),
                    privileged: has(1),
                    no_atomics: has(2),
                    ..Pte::vram(VramAddress::new(size.bytes()), has(3))
                };

                // Not all formats have as much VRAM as the largest page.
                let fits = level_of::<F>(size).is_some();
                page_comes_back::<F>(&pte, size, fits)?;
            }
        }
    }

    Ok(())
}

fn page_comes_back<F: Format>(pte: &Pte, size: PageSize, fits: bool) -> Result {
    let word = F::encode_pte(pte, size);
    ensure(word.is_ok() == fits)?;

    match (word, level_of::<F>(size)) {
        (Ok(word), Some(level)) => ensure(level.decode::<F>([word, 0]) == Entry::Page(*pte)),
        (word, _) => ensure(word == Err(EINVAL)),
    }
}

/// An entry of two words that is a page has no second word.
fn large_pages_have_one_word<F: Format>() -> Result {
    let size = PageSize::Size2M;
    let word = F::encode_pte(&Pte::vram(VramAddress::new(size.bytes()), true), size)?;

    for bit in 0..64 {
        ensure(F::decode(EntryKind::Dual, size, [word, 1 << bit]) == Entry::Invalid)?;
    }

    Ok(())
}

/// Whatever the words are, they can be decoded; and if they are a table or a page, encoding that
/// gives them back.
fn random_words_come_back<F: Format>() -> Result {
    let mut numbers = Numbers::new();
    let mut encoded = 0;

    for _ in 0..20_000 {
        let words = [numbers.next_word(), numbers.next_word()];

        for (kind, size) in kinds_and_sizes() {
            let words = match kind {
                EntryKind::Dual => [words[0], words[1] & numbers.next_word()],
                EntryKind::Pde | EntryKind::Pte => [words[0], 0],
            };
            let entry = F::decode(kind, size, words);

            if let Some(again) = encode_again::<F>(size, entry) {
                ensure(again? == normal::<F>(kind, words))?;
                encoded += 1;
            }
        }
    }

    // Else the words would have shown nothing.
    ensure(encoded > 1000)
}

/// Returns the words with an absent half of a dual entry as it is encoded.
fn normal<F: Format>(kind: EntryKind, words: [u64; 2]) -> [u64; 2] {
    let pde = |word| F::decode(EntryKind::Pde, PageSize::Size4K, [word, 0]);

    match kind {
        EntryKind::Dual => words.map(|word| if pde(word) == Entry::Absent { 0 } else { word }),
        EntryKind::Pde | EntryKind::Pte => words,
    }
}

/// No bit of an entry is overlooked: with another bit, it means something else.
fn every_bit_counts<F: Format>() -> Result {
    let table = Pde::vram(VramAddress::new(0x1234_5000));
    let page = Pte::vram(VramAddress::new(1 << 29), false);

    let [big, small] = F::encode_dual(Some(&table), Some(&table))?;
    bits_count::<F>(
        EntryKind::Pde,
        PageSize::Size4K,
        [F::encode_pde(&table)?, 0],
    )?;
    bits_count::<F>(EntryKind::Dual, PageSize::Size2M, [big, small])?;

    for size in SIZES {
        if let (Some(level), Ok(word)) = (level_of::<F>(size), F::encode_pte(&page, size)) {
            bits_count::<F>(level.kind, size, [word, 0])?;
        }
    }

    Ok(())
}

fn bits_count<F: Format>(kind: EntryKind, size: PageSize, words: [u64; 2]) -> Result {
    let entry = F::decode(kind, size, words);
    ensure(encode_again::<F>(size, entry).is_some())?;

    for number in 0..kind.words() {
        for bit in 0..64 {
            let mut other = words;

            other[number] ^= 1 << bit;
            ensure(F::decode(kind, size, other) != entry)?;
        }
    }

    Ok(())
}

/// The word that follows an entry of one word is of no concern to it.
fn single_words_stand_alone<F: Format>() -> Result {
    let mut numbers = Numbers::new();

    for _ in 0..1000 {
        let (word, next) = (numbers.next_word(), numbers.next());

        for kind in [EntryKind::Pde, EntryKind::Pte] {
            for size in SIZES {
                let entry = F::decode(kind, size, [word, 0]);

                ensure(F::decode(kind, size, [word, next]) == entry)?;
            }
        }
    }

    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! Tests common to all page table formats. The suites are in the files of the formats.

use core::{
    marker::PhantomData,
    panic::Location, //
};

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
            EntryType,
            Format,
            Level,
            MmuFormat,
            PageAttributes,
            PageBits,
            Pde,
            Pte,
            PteKind,
            PteRun,
            BIG_PAGES, //
        },
    },
    num::usize_as_u64, //
};

mod v2;
mod v3;

/// Fails unless `condition` is true. Helper functions use it in place of `assert!`.
#[track_caller]
pub(crate) fn ensure(condition: bool) -> Result {
    if !condition {
        let location = Location::caller();

        pr_err!("check failed: {}:{}\n", location.file(), location.line());
        return Err(EINVAL);
    }

    Ok(())
}

/// Returns a PTE of VRAM with default attributes.
pub(crate) fn vram_page(address: u64) -> Pte {
    Pte::new(Aperture::Vram, address, &PageAttributes::default())
}

/// A deterministic 64-bit xorshift generator of pseudorandom numbers.
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

    /// Returns a word that is likely to be a valid entry, with few bits set in the upper half.
    fn next_word(&mut self) -> u64 {
        let word = self.next();

        match self.next() % 4 {
            0 => word,
            1 => word >> (self.next() % 64),
            2 => word & self.next() & self.next(),
            // The address is aligned to 2 MiB, whether addresses start at bit 8 or bit 12.
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

/// Returns all combinations of the arguments of [`Format::decode`] other than the words.
fn kinds_and_sizes() -> impl Iterator<Item = (EntryType, PageSize)> {
    const KINDS: [EntryType; 3] = [EntryType::Pde, EntryType::Dual, EntryType::Pte];

    KINDS
        .into_iter()
        .flat_map(|kind| SIZES.into_iter().map(move |size| (kind, size)))
}

/// Returns the level whose entries can be PTEs for pages of `size`.
fn level_of<F: Format>(size: PageSize) -> Option<&'static Level> {
    if size == PageSize::Size64K {
        return Some(&BIG_PAGES);
    }

    F::LEVELS.iter().find(|level| level.leaf == Some(size))
}

/// Encodes a decoded entry, or returns [`None`] if it is neither a PDE nor a PTE.
fn encode_again<F: Format>(size: PageSize, entry: Entry) -> Option<Result<[u64; 2]>> {
    match entry {
        Entry::Table(pde) => Some(F::encode_pde(&pde).map(|word| [word, 0])),
        Entry::Page(pte) => Some(F::encode_pte(&pte, size).map(|word| [word, 0])),
        Entry::Dual { big, small } => Some(F::encode_dual(big.as_ref(), small.as_ref())),
        _ => None,
    }
}

/// The levels partition the bits of an address, and have the entry types that the trait requires.
fn levels_cover_address<F: Format>() -> Result {
    let mut end = F::VA_BITS;

    for (number, level) in F::LEVELS.iter().enumerate() {
        let kind = match F::LEVELS.len() - number {
            1 => EntryType::Pte,
            2 => EntryType::Dual,
            _ => EntryType::Pde,
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

/// The indices of the entries for a page compose its number.
fn indices_compose_page<F: Format>() -> Result {
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

/// Zeroed memory is a table of invalid entries.
fn zero_words_decode_invalid<F: Format>() -> Result {
    for (kind, size) in kinds_and_sizes() {
        ensure(F::decode(kind, size, [0; 2]) == Entry::Invalid)?;
    }

    ensure(F::encode_dual(None, None)? == [0; 2])
}

/// An encoded sparse entry decodes as sparse.
fn sparse_round_trips<F: Format>() -> Result {
    for (kind, size) in kinds_and_sizes() {
        ensure(F::decode(kind, size, F::encode_sparse(kind)) == Entry::Sparse)?;
    }

    Ok(())
}

/// Only entries of tables of big pages can disable small pages.
fn no_small_pages_only_in_big_tables<F: Format>(word: u64) -> Result {
    for (kind, size) in kinds_and_sizes() {
        let big = kind == EntryType::Pte && size == PageSize::Size64K;
        let hides = F::decode(kind, size, [word, 0]) == Entry::NoSmallPages;

        ensure(hides == big)?;
    }

    Ok(())
}

/// A PDE either decodes to the same PDE after encoding, or has no encoding.
///
/// `vram_bits` and `sys_bits` are the widths of an address.
fn tables_round_trip<F: Format>(vram_bits: u32, sys_bits: u32) -> Result {
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

                table_round_trips::<F>(
                    &pde,
                    (12..bits).contains(&shift),
                    (8..bits).contains(&shift),
                )?;
            }
        }
    }

    Ok(())
}

/// `pde` can be encoded as a PDE or the small half of a dual PDE if `small` is set, and as the big
/// half if `big` is set.
fn table_round_trips<F: Format>(pde: &Pde, small: bool, big: bool) -> Result {
    let decode_pde = |word| F::decode(EntryType::Pde, PageSize::Size4K, [word, !0]);
    let decode_dual = |words| F::decode(EntryType::Dual, PageSize::Size2M, words);

    ensure(F::encode_pde(pde).map(decode_pde) == round_trip(small, Entry::Table(*pde)))?;
    for (first, second, fits) in [
        (Some(pde), None, big),
        (None, Some(pde), small),
        (Some(pde), Some(pde), big && small),
    ] {
        let entry = Entry::Dual {
            big: first.copied(),
            small: second.copied(),
        };

        ensure(F::encode_dual(first, second).map(decode_dual) == round_trip(fits, entry))?;
    }

    Ok(())
}

/// Returns the expected result of encoding and decoding `entry`. The entry has an encoding if
/// `fits` is set.
fn round_trip(fits: bool, entry: Entry) -> Result<Entry> {
    if fits {
        Ok(entry)
    } else {
        Err(EINVAL)
    }
}

/// Only PDEs for directories in VRAM can have unpublished attributes, and preserve them.
///
/// `bits` is the mask of these attributes.
fn unknown_attributes_round_trip<F: Format>(bits: u64) -> Result {
    let table = Pde::vram(VramAddress::new(0x1234_5000));
    let sys = Pde {
        aperture: Aperture::SysCoherent,
        ..table
    };
    let decode = |word| F::decode(EntryType::Pde, PageSize::Size512M, [word, 0]);
    let dual = |words| F::decode(EntryType::Dual, PageSize::Size2M, words);
    let word = F::encode_pde(&table)?;

    for number in 0..=64 {
        // Each bit individually, and all of them together.
        let unknown = 1u64.checked_shl(number).unwrap_or(bits);
        let pde = Pde { unknown, ..table };
        let fits = unknown & !bits == 0;

        ensure(F::encode_pde(&pde).map(decode) == round_trip(fits, Entry::Table(pde)))?;
        ensure(F::encode_pde(&Pde { unknown, ..sys }) == Err(EINVAL))?;
        ensure(F::encode_dual(Some(&pde), None) == Err(EINVAL))?;
        ensure(F::encode_dual(None, Some(&pde)) == Err(EINVAL))?;
        if fits {
            ensure(F::encode_pde(&pde)? == word | unknown)?;
            ensure(decode(F::encode_pde(&sys)? | unknown) == Entry::Malformed)?;
            ensure(decode(unknown) == Entry::Malformed)?;
            ensure(dual([0, word | unknown]) == Entry::Malformed)?;
        }
    }

    Ok(())
}

/// A PTE with any address either decodes to the same PTE after encoding, or has no encoding.
///
/// `vram_bits`, `peer_bits` and `sys_bits` are the widths of an address.
fn page_addresses_round_trip<F: Format>(vram_bits: u32, peer_bits: u32, sys_bits: u32) -> Result {
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
                    ..vram_page(1 << shift)
                };

                page_round_trips::<F>(&pte, size, fits)?;
            }
        }
    }

    Ok(())
}

/// A PTE with any kind either decodes to the same PTE after encoding, or has no encoding. The field
/// has `kinds` values, one of which is invalid.
fn page_kinds_round_trip<F: Format>(kinds: u16) -> Result {
    for number in 0..=u8::MAX {
        let kind = PteKind::from(number);
        let fits = u16::from(number) < kinds && number != 7;
        let named = number == 0 || number == 6;

        ensure(u8::from(kind) == number)?;
        for (kind, fits) in [(kind, fits), (PteKind::Other(number), fits && !named)] {
            let pte = Pte {
                kind,
                ..vram_page(0)
            };

            page_round_trips::<F>(&pte, PageSize::Size4K, fits)?;
        }
    }

    Ok(())
}

/// A PTE with any peer GPU either decodes to the same PTE after encoding, or has no encoding.
fn page_peers_round_trip<F: Format>() -> Result {
    for aperture in APERTURES {
        for peer in 0..=u8::MAX {
            let fits = peer == 0 || (aperture == Aperture::Peer && peer < 8);
            let pte = Pte {
                aperture,
                peer,
                ..vram_page(PAGE_SIZE)
            };

            page_round_trips::<F>(&pte, PageSize::Size4K, fits)?;
        }
    }

    Ok(())
}

/// PTEs with all combinations of attributes decode to the same PTE after encoding.
fn page_attributes_round_trip<F: Format>() -> Result {
    for attributes in 0..16 {
        let has = |bit: u32| attributes & 1 << bit != 0;

        for size in SIZES {
            for aperture in APERTURES {
                let pte = Pte {
                    aperture,
                    volatile: has(0),
                    privileged: has(1),
                    no_atomics: has(2),
                    read_only: has(3),
                    ..vram_page(size.bytes())
                };

                // Not all formats support pages of all sizes.
                let fits = level_of::<F>(size).is_some();
                page_round_trips::<F>(&pte, size, fits)?;
            }
        }
    }

    Ok(())
}

fn page_round_trips<F: Format>(pte: &Pte, size: PageSize, fits: bool) -> Result {
    let word = F::encode_pte(pte, size);
    ensure(word.is_ok() == fits)?;

    match (word, level_of::<F>(size)) {
        (Ok(word), Some(level)) => {
            ensure(level.decode(&F::default(), [word, 0]) == Entry::Page(*pte))
        }
        (word, _) => ensure(word == Err(EINVAL)),
    }
}

/// The second word of a dual entry that is a PTE must be zero.
fn large_page_second_word_malformed<F: Format>() -> Result {
    let size = PageSize::Size2M;
    let word = F::encode_pte(&vram_page(size.bytes()), size)?;

    for bit in 0..64 {
        ensure(F::decode(EntryType::Dual, size, [word, 1 << bit]) == Entry::Malformed)?;
    }

    Ok(())
}

/// All words can be decoded, and encoding a decoded PDE or PTE returns the same words.
fn random_words_round_trip<F: Format>() -> Result {
    let mut numbers = Numbers::new();
    let mut encoded = 0;

    for _ in 0..20_000 {
        let words = [numbers.next_word(), numbers.next_word()];

        for (kind, size) in kinds_and_sizes() {
            let words = match kind {
                EntryType::Dual => [words[0], words[1] & numbers.next_word()],
                EntryType::Pde | EntryType::Pte => [words[0], 0],
            };
            let entry = F::decode(kind, size, words);

            if let Some(again) = encode_again::<F>(size, entry) {
                ensure(again? == normal::<F>(kind, words))?;
                encoded += 1;
            }
        }
    }

    // The test needs enough words that are PDEs or PTEs.
    ensure(encoded > 1000)
}

/// Clears invalid halves of a dual entry, as encoding does.
fn normal<F: Format>(kind: EntryType, words: [u64; 2]) -> [u64; 2] {
    let pde = |word| F::decode(EntryType::Pde, PageSize::Size4K, [word, 0]);

    match kind {
        EntryType::Dual => words.map(|word| if pde(word) == Entry::Invalid { 0 } else { word }),
        EntryType::Pde | EntryType::Pte => words,
    }
}

/// Decoding ignores no bit: changing one bit of an entry changes its meaning.
fn decode_every_bit<F: Format>() -> Result {
    let table = Pde::vram(VramAddress::new(0x1234_5000));
    let page = vram_page(1 << 29);

    let [big, small] = F::encode_dual(Some(&table), Some(&table))?;
    bits_matter::<F>(
        EntryType::Pde,
        PageSize::Size4K,
        [F::encode_pde(&table)?, 0],
    )?;
    bits_matter::<F>(EntryType::Dual, PageSize::Size2M, [big, small])?;

    for size in SIZES {
        if let (Some(level), Ok(word)) = (level_of::<F>(size), F::encode_pte(&page, size)) {
            bits_matter::<F>(level.kind, size, [word, 0])?;
        }
    }

    Ok(())
}

fn bits_matter<F: Format>(kind: EntryType, size: PageSize, words: [u64; 2]) -> Result {
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

/// Decoding a one-word entry ignores the second word.
fn second_word_ignored<F: Format>() -> Result {
    let mut numbers = Numbers::new();

    for _ in 0..1000 {
        let (word, next) = (numbers.next_word(), numbers.next());

        for kind in [EntryType::Pde, EntryType::Pte] {
            for size in SIZES {
                let entry = F::decode(kind, size, [word, 0]);

                ensure(F::decode(kind, size, [word, next]) == entry)?;
            }
        }
    }

    Ok(())
}

/// A run has the words of its pages, for each size and aperture.
fn runs_match_pages<F: Format>() -> Result {
    let format: &dyn MmuFormat = &F::default();

    for (size, count) in [
        (PageSize::Size4K, 512),
        (PageSize::Size64K, 32),
        (PageSize::Size2M, 256),
        (PageSize::Size512M, 4),
    ] {
        for aperture in APERTURES {
            let first = Pte {
                peer: u8::from(aperture == Aperture::Peer),
                kind: PteKind::Generic,
                read_only: true,
                ..Pte::new(aperture, 3 * size.bytes(), &PageAttributes::default())
            };
            let run = format.encode_run(&first, size, count)?;

            for index in 0..count {
                let page = Pte {
                    address: first.address + index * size.bytes(),
                    ..first
                };

                ensure(Ok(run.word(index)) == F::encode_pte(&page, size))?;
                // The number of further pages does not matter.
                ensure(format.encode_run(&first, size, index + 1)? == run)?;
            }
        }
    }

    Ok(())
}

/// A run may end with the last page that the format can address, and not after it.
///
/// `vram_bits`, `peer_bits` and `sys_bits` are the widths of an address.
fn runs_end_at_address_limit<F: Format>(vram_bits: u32, peer_bits: u32, sys_bits: u32) -> Result {
    let format: &dyn MmuFormat = &F::default();

    for size in SIZES {
        for aperture in APERTURES {
            let bits = match aperture {
                Aperture::Vram => vram_bits,
                Aperture::Peer => peer_bits,
                Aperture::SysCoherent | Aperture::SysNonCoherent => sys_bits,
            };
            let encode = |address, count| {
                let first = Pte::new(aperture, address, &PageAttributes::default());

                format.encode_run(&first, size, count)
            };
            let pages = (1 << bits) / size.bytes();

            if level_of::<F>(size).is_none() {
                ensure(encode(0, 1) == Err(EINVAL))?;
                continue;
            }
            ensure(encode(0, pages).is_ok())?;
            ensure(encode(0, pages + 1) == Err(EINVAL))?;
            ensure(encode((1 << bits) - size.bytes(), 1).is_ok())?;
            ensure(encode((1 << bits) - size.bytes(), 2) == Err(EINVAL))?;
            ensure(encode(1 << bits, 1) == Err(EINVAL))?;
        }
    }

    Ok(())
}

/// Runs without pages, and runs with pages that cannot be encoded, are errors.
fn run_invalid_einval<F: Format>() -> Result {
    let format: &dyn MmuFormat = &F::default();
    let first = vram_page(1 << 29);
    let encode = |first: Pte, count| format.encode_run(&first, PageSize::Size64K, count);

    ensure(encode(first, 1).is_ok())?;
    // With 2^48 or more pages, the address of the last page exceeds 64 bits.
    for count in [0, 1 << 47, 1 << 48, (1 << 48) + 1, u64::MAX] {
        ensure(encode(first, count) == Err(EINVAL))?;
    }

    for pte in [
        vram_page((1 << 29) + PAGE_SIZE),
        Pte { peer: 1, ..first },
        Pte {
            kind: PteKind::Other(7),
            ..first
        },
    ] {
        ensure(encode(pte, 1) == Err(EINVAL))?;
        ensure(encode(pte, 2) == Err(EINVAL))?;
    }

    Ok(())
}

/// PTE bits with a wrong [`PageBits::ADDRESS_SHIFT`].
struct WrongShift<B>(PhantomData<B>);

impl<B: PageBits> PageBits for WrongShift<B> {
    const SPARSE: u64 = B::SPARSE;
    const ADDRESS_SHIFT: u32 = B::ADDRESS_SHIFT + 1;

    fn pack(pte: &Pte) -> u64 {
        B::pack(pte)
    }

    fn unpack(word: u64) -> Option<Pte> {
        B::unpack(word)
    }

    fn decode_unused(word: u64) -> Entry {
        B::decode_unused(word)
    }
}

/// A format whose PTE bits have a wrong [`PageBits::ADDRESS_SHIFT`].
#[derive(Default)]
struct WrongStep<F>(F);

impl<F: Format> Format for WrongStep<F> {
    const VA_BITS: u32 = F::VA_BITS;
    const LEVELS: &'static [Level] = F::LEVELS;
    const NO_ATS: bool = F::NO_ATS;

    type PdeBits = F::PdeBits;
    type PteBits = WrongShift<F::PteBits>;
}

/// A run is an error if the word of its last page does not match the step.
fn run_wrong_step_einval<F: Format>() -> Result {
    let encode = |count| WrongStep(F::default()).encode_run(&vram_page(0), PageSize::Size2M, count);

    ensure(encode(1).is_ok())?;
    ensure(encode(2) == Err(EINVAL))?;
    ensure(encode(256) == Err(EINVAL))
}

/// Expected encoding of a run: size and number of pages, address of the first page, words of the
/// first and the last page, and the step.
struct GoldenRun {
    size: PageSize,
    count: u64,
    address: u64,
    first: u64,
    last: u64,
    step: u64,
}

/// Checks that the runs have these words in `aperture`. The peer GPU is number 5.
fn runs_have_words(format: &dyn MmuFormat, aperture: Aperture, runs: &[GoldenRun]) -> Result {
    for run in runs {
        let pte = Pte {
            peer: if aperture == Aperture::Peer { 5 } else { 0 },
            ..Pte::new(aperture, run.address, &PageAttributes::default())
        };
        let words = format.encode_run(&pte, run.size, run.count)?;

        ensure(
            words
                == PteRun {
                    first: run.first,
                    step: run.step,
                },
        )?;
        ensure(words.word(run.count - 1) == run.last)?;
    }

    Ok(())
}

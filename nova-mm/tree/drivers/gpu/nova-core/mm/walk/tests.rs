// SPDX-License-Identifier: GPL-2.0

//! What is true of the walk in all formats of page tables, to be shown for each.
//!
//! The suites are in the files of the formats.

use core::{
    cell::Cell,
    marker::PhantomData, //
};

use kernel::prelude::*;

use super::{
    walk,
    Found,
    Walk, //
};

use crate::{
    mm::{
        address::{
            PageSize,
            VirtualAddress,
            VramAddress, //
        },
        format::{
            tests::ensure,
            Aperture,
            EntryKind,
            Format,
            Level,
            PageSizes,
            Pde,
            Pte,
            BIG_PAGES, //
        },
    },
    num::usize_as_u64, //
};

mod v2;
mod v3;

/// The address to walk to.
const ADDRESS: u64 = 0xaaaa_5555_5678;

/// Where the root is. Those of the levels below follow, one every 4 KiB.
const ROOT: u64 = 0x12_3456_0000;

/// Where the table of big pages is: it need not be aligned to 4 KiB.
const BIG_TABLE: u64 = 0x5_4321_0700;

/// A page, aligned for most sizes.
const PAGE: u64 = 0x8000_0000;

/// All sizes that there are.
const ALL_SIZES: PageSizes = PageSizes::COMMON
    .with(PageSize::Size512M)
    .with(PageSize::Size256G);

/// A table that is not in VRAM.
const FOREIGN: u64 = 0x7654_3000;

/// Memory with tables of each level, in which one entry of each is used.
struct Tables<F> {
    words: KVec<(u64, u64)>,
    reads: Cell<usize>,
    fail: Option<usize>,
    format: PhantomData<F>,
}

impl<F: Format> Tables<F> {
    /// Makes tables of the `levels` uppermost levels, each with an entry that points to the next.
    fn new(levels: usize) -> Result<Self> {
        let mut tables = Self {
            words: KVec::new(),
            reads: Cell::new(0),
            fail: None,
            format: PhantomData,
        };

        for number in 1..levels {
            let table = vram_table(number);
            let words = match F::LEVELS[number - 1].kind {
                EntryKind::Dual => F::encode_dual(None, Some(&table))?,
                EntryKind::Pde | EntryKind::Pte => [F::encode_pde(&table)?, 0],
            };
            tables.set(number - 1, words)?;
        }

        Ok(tables)
    }

    /// Makes tables of all levels but the last, and the dual entry from two tables that are given.
    fn with_dual(big: Option<Pde>, small: Option<Pde>) -> Result<Self> {
        let mut tables = Self::new(F::LEVELS.len() - 1)?;
        let words = F::encode_dual(big.as_ref(), small.as_ref())?;

        tables.set(F::LEVELS.len() - 2, words)?;
        Ok(tables)
    }

    /// Sets the entry of [`ADDRESS`] in the table of a level.
    fn set(&mut self, number: usize, words: [u64; 2]) -> Result {
        let table = ROOT + 0x1000 * usize_as_u64(number);

        self.set_entry(table, &F::LEVELS[number], words)
    }

    /// Sets the entry of [`ADDRESS`] in the table of big pages.
    fn set_big(&mut self, word: u64) -> Result {
        self.set_entry(BIG_TABLE, &BIG_PAGES, [word, 0])
    }

    fn set_entry(&mut self, table: u64, level: &Level, words: [u64; 2]) -> Result {
        let index = (ADDRESS >> level.shift) % (1 << level.bits);
        let size = 8 * usize_as_u64(level.kind.words());
        let first = table + index * size;

        for (address, word) in (first..first + size).step_by(8).zip(words) {
            self.words.retain(|(other, _)| *other != address);
            self.words.push((address, word), GFP_KERNEL)?;
        }

        Ok(())
    }

    /// Reads 64 bits: of a table, zero where nothing was set.
    fn read(&self, address: VramAddress) -> Result<u64> {
        let number = self.reads.replace(self.reads.get() + 1);
        let address = address.into_raw();
        let end = ROOT + 0x1000 * usize_as_u64(F::LEVELS.len());
        let is_table =
            (ROOT..end).contains(&address) || (BIG_TABLE..BIG_TABLE + 0x100).contains(&address);

        if !is_table || address % 8 != 0 || self.fail == Some(number) {
            return Err(EIO);
        }

        let word = self.words.iter().find(|(other, _)| *other == address);
        Ok(word.map_or(0, |(_, word)| *word))
    }

    fn walk_to(&self, address: u64) -> Result<Walk> {
        self.walk_with(ALL_SIZES, address)
    }

    fn walk_with(&self, sizes: PageSizes, address: u64) -> Result<Walk> {
        self.reads.set(0);
        walk::<F>(
            &mut |address| self.read(address),
            sizes,
            VramAddress::new(ROOT),
            VirtualAddress::new(address),
        )
    }

    /// Whether a walk to [`ADDRESS`] finds this in an entry of a level.
    #[track_caller]
    fn ensure(&self, level: usize, found: Found) -> Result {
        ensure(self.walk_to(ADDRESS) == Ok(Walk { level, found }))
    }
}

/// Returns what points to the table of a level.
fn vram_table(number: usize) -> Pde {
    Pde::vram(VramAddress::new(ROOT + 0x1000 * usize_as_u64(number)))
}

/// Returns what points to the table of big pages.
fn big_table() -> Pde {
    Pde::vram(VramAddress::new(BIG_TABLE))
}

/// Returns what points to a table in system memory.
fn foreign_table(aperture: Aperture) -> Pde {
    Pde {
        aperture,
        ..Pde::vram(VramAddress::new(FOREIGN))
    }
}

/// Nothing is at whatever level the tables end.
fn nothing_at_any_level<F: Format>() -> Result {
    for levels in 1..=F::LEVELS.len() {
        let tables = Tables::<F>::new(levels)?;

        tables.ensure(levels - 1, Found::Nothing)?;
        // Each level is one word to be read, but that of dual entries, which is two.
        let dual = usize::from(levels >= F::LEVELS.len() - 1);
        ensure(tables.reads.get() == levels + dual)?;
    }

    Ok(())
}

/// A sparse entry is found at whatever level it is.
fn sparse_at_any_level<F: Format>() -> Result {
    for (number, level) in F::LEVELS.iter().enumerate() {
        let mut tables = Tables::<F>::new(number + 1)?;

        tables.set(number, F::encode_sparse(level.kind))?;
        tables.ensure(number, Found::Sparse)?;
    }

    Ok(())
}

/// A page is found at whatever level it may be; where none may be, its entry has no meaning.
fn pages_at_any_level<F: Format>() -> Result {
    for (number, level) in F::LEVELS.iter().enumerate() {
        let mut tables = Tables::<F>::new(number + 1)?;
        let size = level.leaf.unwrap_or(PageSize::Size4K);
        let pte = Pte::vram(VramAddress::new(PAGE & !(size.bytes() - 1)), true);
        let words = [F::encode_pte(&pte, size)?, 0];

        tables.set(number, words)?;
        match level.leaf {
            Some(size) => tables.ensure(number, Found::Page { pte, size })?,
            None => tables.ensure(number, Found::Invalid(words))?,
        }
    }

    Ok(())
}

/// A page of a size that the chip does not have is not one: the GPU faults there.
fn pages_of_the_chip<F: Format>(sizes: PageSizes) -> Result {
    for (number, level) in F::LEVELS.iter().enumerate() {
        let Some(size) = level.leaf else {
            continue;
        };
        let mut tables = Tables::<F>::new(number + 1)?;
        let pte = Pte::vram(VramAddress::new(0), true);
        let words = [F::encode_pte(&pte, size)?, 0];
        let found = match sizes.contains(size) {
            true => Found::Page { pte, size },
            false => Found::Invalid(words),
        };

        tables.set(number, words)?;
        ensure(tables.walk_with(sizes, ADDRESS)?.found == found)?;
    }

    Ok(())
}

/// A page ends where it ends: at the next one there is nothing.
fn pages_end<F: Format>() -> Result {
    for (number, level) in F::LEVELS.iter().enumerate() {
        let Some(size) = level.leaf else {
            continue;
        };
        let mut tables = Tables::<F>::new(number + 1)?;
        let pte = Pte::vram(VramAddress::new(0), false);
        let first = ADDRESS & !(size.bytes() - 1);

        tables.set(number, [F::encode_pte(&pte, size)?, 0])?;
        ensure(tables.walk_to(first)?.found == Found::Page { pte, size })?;
        ensure(tables.walk_to(first + size.bytes() - 1)?.found == Found::Page { pte, size })?;
        ensure(tables.walk_to(first - 1)?.found == Found::Nothing)?;
        ensure(tables.walk_to(first + size.bytes())?.found == Found::Nothing)?;
    }

    Ok(())
}

/// The big page counts, not the small ones at the same place; unless there is none.
///
/// `hides` is the word of a big entry that says that small pages do not count.
fn big_pages_come_first<F: Format>(hides: u64) -> Result {
    let last = F::LEVELS.len() - 1;
    let small = Pte::vram(VramAddress::new(PAGE), false);
    let big = Pte::vram(VramAddress::new(PAGE), true);
    let small_page = Found::Page {
        pte: small,
        size: PageSize::Size4K,
    };
    let big_page = Found::Page {
        pte: big,
        size: PageSize::Size64K,
    };
    let invalid = !0;

    let mut tables = Tables::<F>::with_dual(Some(big_table()), Some(vram_table(last)))?;
    tables.ensure(last, Found::Nothing)?;
    tables.set(last, [F::encode_pte(&small, PageSize::Size4K)?, 0])?;
    tables.ensure(last, small_page)?;
    ensure(tables.reads.get() == F::LEVELS.len() + 2)?;

    for (word, found) in [
        (F::encode_pte(&big, PageSize::Size64K)?, big_page),
        (F::encode_sparse(EntryKind::Pte)[0], Found::Sparse),
        (hides, Found::Nothing),
        (invalid, Found::Invalid([invalid, 0])),
        (0, small_page),
    ] {
        tables.set_big(word)?;
        tables.ensure(last, found)?;
    }

    Ok(())
}

/// A table of big pages need not have one of small pages beside it.
fn big_pages_alone<F: Format>() -> Result {
    let last = F::LEVELS.len() - 1;
    let size = PageSize::Size64K;
    let pte = Pte::vram(VramAddress::new(PAGE), false);

    let mut tables = Tables::<F>::with_dual(Some(big_table()), None)?;
    tables.ensure(last, Found::Nothing)?;
    tables.set_big(F::encode_pte(&pte, size)?)?;
    tables.ensure(last, Found::Page { pte, size })
}

/// A table that cannot be read is never taken for nothing, nor is anything read there.
fn foreign_tables_at_any_level<F: Format>() -> Result {
    let last = F::LEVELS.len() - 1;

    for aperture in [Aperture::SysCoherent, Aperture::SysNonCoherent] {
        let foreign = foreign_table(aperture);

        for number in 0..last - 1 {
            let mut tables = Tables::<F>::new(number + 1)?;

            tables.set(number, [F::encode_pde(&foreign)?, 0])?;
            tables.ensure(number, Found::Foreign(foreign))?;
        }

        // The table of big pages might have one.
        let mut tables = Tables::<F>::with_dual(Some(foreign), Some(vram_table(last)))?;
        let pte = Pte::vram(VramAddress::new(PAGE), false);
        tables.set(last, [F::encode_pte(&pte, PageSize::Size4K)?, 0])?;
        tables.ensure(last - 1, Found::Foreign(foreign))?;

        // The table of small pages might have one, but only counts if there is no big page.
        let mut tables = Tables::<F>::with_dual(Some(big_table()), Some(foreign))?;
        let size = PageSize::Size64K;
        tables.ensure(last - 1, Found::Foreign(foreign))?;
        tables.set_big(F::encode_pte(&pte, size)?)?;
        tables.ensure(last, Found::Page { pte, size })?;
    }

    Ok(())
}

/// Words without a meaning are never taken for nothing.
fn invalid_entries_at_any_level<F: Format>() -> Result {
    for (number, level) in F::LEVELS.iter().enumerate() {
        let mut tables = Tables::<F>::new(number + 1)?;
        let words = match level.kind {
            EntryKind::Dual => [0, !0],
            EntryKind::Pde | EntryKind::Pte => [!0, 0],
        };

        tables.set(number, words)?;
        tables.ensure(number, Found::Invalid(words))?;
    }

    Ok(())
}

/// An address with a bit that the format has not got is an error, not another address.
fn addresses_are_not_cut_off<F: Format>() -> Result {
    let last = F::LEVELS.len() - 1;
    let mut tables = Tables::<F>::new(last + 1)?;
    let pte = Pte::vram(VramAddress::new(PAGE), false);

    tables.set(last, [F::encode_pte(&pte, PageSize::Size4K)?, 0])?;
    for bit in 0..64 {
        let walk = tables.walk_to(ADDRESS ^ 1 << bit);

        if bit < 12 {
            ensure(walk == tables.walk_to(ADDRESS))?;
        } else if bit < F::VA_BITS {
            ensure(walk?.found == Found::Nothing)?;
        } else {
            ensure(walk == Err(EINVAL) && tables.reads.get() == 0)?;
        }
    }

    Ok(())
}

/// The root has to be aligned, and may be anywhere.
fn roots_are_aligned<F: Format>() -> Result {
    let walk_from = |root, read: &mut dyn FnMut(VramAddress) -> Result<u64>| {
        walk::<F>(
            &mut |address| read(address),
            ALL_SIZES,
            VramAddress::new(root),
            VirtualAddress::new((1 << F::VA_BITS) - 1),
        )
    };
    let mut last_read = None;

    for bit in 0..12 {
        ensure(walk_from(ROOT | 1 << bit, &mut |_| Ok(0)) == Err(EINVAL))?;
    }
    walk_from(!0xfff, &mut |address| {
        last_read = Some(address);
        Ok(0)
    })?;

    let last = usize_as_u64(F::LEVELS[0].entries() - 1);
    ensure(last_read == Some(VramAddress::new(!0xfff + 8 * last)))
}

/// An error of any read ends the walk.
fn errors_are_passed_on<F: Format>() -> Result {
    let last = F::LEVELS.len() - 1;
    let mut tables = Tables::<F>::with_dual(Some(big_table()), Some(vram_table(last)))?;

    for number in 0..last + 3 {
        tables.fail = Some(number);
        ensure(tables.walk_to(ADDRESS) == Err(EIO))?;
        ensure(tables.reads.get() == number + 1)?;
    }
    tables.fail = Some(last + 3);
    ensure(tables.walk_to(ADDRESS).is_ok())
}

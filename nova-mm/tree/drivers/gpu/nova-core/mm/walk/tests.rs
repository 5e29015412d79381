// SPDX-License-Identifier: GPL-2.0

//! Walker tests common to all page table formats. The suites are in the files of the formats.

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
            tests::{
                ensure,
                vram_page, //
            },
            Aperture,
            EntryType,
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

/// The virtual address to translate.
const ADDRESS: u64 = 0xaaaa_5555_5678;

/// Address of the root. The tables of the lower levels follow at intervals of 4 KiB.
const ROOT: u64 = 0x12_3456_0000;

/// Address of the table of big pages, which need not be aligned to 4 KiB.
const BIG_TABLE: u64 = 0x5_4321_0700;

/// Address of a page, aligned for most sizes.
const PAGE: u64 = 0x8000_0000;

/// All page sizes.
const ALL_SIZES: PageSizes = PageSizes::COMMON
    .with(PageSize::Size512M)
    .with(PageSize::Size256G);

/// Address of a table in system memory.
const SYSMEM_TABLE: u64 = 0x7654_3000;

/// Memory that contains a table of each level. Each table has one entry that is not zero.
struct Tables<F> {
    words: KVec<(u64, u64)>,
    reads: Cell<usize>,
    fail: Option<usize>,
    format: PhantomData<F>,
}

impl<F: Format> Tables<F> {
    /// Creates the tables of the upper `levels` levels, each with an entry that points to the next.
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
                EntryType::Dual => F::encode_dual(None, Some(&table))?,
                EntryType::Pde | EntryType::Pte => [F::encode_pde(&table)?, 0],
            };
            tables.set(number - 1, words)?;
        }

        Ok(tables)
    }

    /// Creates the tables of all levels except the last, and a dual PDE that points to the given
    /// tables.
    fn with_dual(big: Option<Pde>, small: Option<Pde>) -> Result<Self> {
        let mut tables = Self::new(F::LEVELS.len() - 1)?;
        let words = F::encode_dual(big.as_ref(), small.as_ref())?;

        tables.set(F::LEVELS.len() - 2, words)?;
        Ok(tables)
    }

    /// Sets the entry for [`ADDRESS`] in the table of a level.
    fn set(&mut self, number: usize, words: [u64; 2]) -> Result {
        let table = ROOT + 0x1000 * usize_as_u64(number);

        self.set_entry(table, &F::LEVELS[number], words)
    }

    /// Sets the entry for [`ADDRESS`] in the table of big pages.
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

    /// Reads a word of a table. The word is zero if it was not set.
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
        walk(
            &F::default(),
            &mut |address| self.read(address),
            sizes,
            VramAddress::new(ROOT),
            VirtualAddress::new(address),
        )
    }

    /// Checks that a walk to [`ADDRESS`] finds `found` in an entry of `level`.
    #[track_caller]
    fn ensure(&self, level: usize, found: Found) -> Result {
        ensure(self.walk_to(ADDRESS) == Ok(Walk { level, found }))
    }
}

/// Returns a PDE for the table of a level.
fn vram_table(number: usize) -> Pde {
    Pde::vram(VramAddress::new(ROOT + 0x1000 * usize_as_u64(number)))
}

/// Returns a PDE for the table of big pages.
fn big_table() -> Pde {
    Pde::vram(VramAddress::new(BIG_TABLE))
}

/// Returns a PDE for a table in system memory.
fn sysmem_table(aperture: Aperture) -> Pde {
    Pde {
        aperture,
        ..Pde::vram(VramAddress::new(SYSMEM_TABLE))
    }
}

/// A walk ends at the first level without a table.
fn invalid_entries_at_any_level<F: Format>() -> Result {
    for levels in 1..=F::LEVELS.len() {
        let tables = Tables::<F>::new(levels)?;

        tables.ensure(levels - 1, Found::Invalid)?;
        // The walk reads one word per level, and two at the level of dual entries.
        let dual = usize::from(levels >= F::LEVELS.len() - 1);
        ensure(tables.reads.get() == levels + dual)?;
    }

    Ok(())
}

/// A walk finds a sparse entry at any level.
fn sparse_at_any_level<F: Format>() -> Result {
    for (number, level) in F::LEVELS.iter().enumerate() {
        let mut tables = Tables::<F>::new(number + 1)?;

        tables.set(number, F::encode_sparse(level.kind))?;
        tables.ensure(number, Found::Sparse)?;
    }

    Ok(())
}

/// A walk finds a PTE at each level that supports pages. At other levels, the entry is malformed.
fn pages_at_any_level<F: Format>() -> Result {
    for (number, level) in F::LEVELS.iter().enumerate() {
        let mut tables = Tables::<F>::new(number + 1)?;
        let size = level.leaf.unwrap_or(PageSize::Size4K);
        let pte = Pte {
            read_only: true,
            ..vram_page(PAGE & !(size.bytes() - 1))
        };
        let words = [F::encode_pte(&pte, size)?, 0];

        tables.set(number, words)?;
        match level.leaf {
            Some(size) => tables.ensure(number, Found::Page { pte, size })?,
            None => tables.ensure(number, Found::Malformed(words))?,
        }
    }

    Ok(())
}

/// A PTE for a page size that the chip does not support is malformed, because the GPU faults.
fn pages_of_chip<F: Format>(sizes: PageSizes) -> Result {
    for (number, level) in F::LEVELS.iter().enumerate() {
        let Some(size) = level.leaf else {
            continue;
        };
        let mut tables = Tables::<F>::new(number + 1)?;
        let pte = Pte {
            read_only: true,
            ..vram_page(0)
        };
        let words = [F::encode_pte(&pte, size)?, 0];
        let found = match sizes.contains(size) {
            true => Found::Page { pte, size },
            false => Found::Malformed(words),
        };

        tables.set(number, words)?;
        ensure(tables.walk_with(sizes, ADDRESS)?.found == found)?;
    }

    Ok(())
}

/// A PTE translates its page size, and the addresses around the page are not mapped.
fn pages_span_size<F: Format>() -> Result {
    for (number, level) in F::LEVELS.iter().enumerate() {
        let Some(size) = level.leaf else {
            continue;
        };
        let mut tables = Tables::<F>::new(number + 1)?;
        let pte = vram_page(0);
        let first = ADDRESS & !(size.bytes() - 1);

        tables.set(number, [F::encode_pte(&pte, size)?, 0])?;
        ensure(tables.walk_to(first)?.found == Found::Page { pte, size })?;
        ensure(tables.walk_to(first + size.bytes() - 1)?.found == Found::Page { pte, size })?;
        ensure(tables.walk_to(first - 1)?.found == Found::Invalid)?;
        ensure(tables.walk_to(first + size.bytes())?.found == Found::Invalid)?;
    }

    Ok(())
}

/// A big page takes precedence over small pages at the same addresses.
///
/// `no_small_pages` is the word of an entry in a table of big pages that disables small pages.
fn big_pages_precede_small<F: Format>(no_small_pages: u64) -> Result {
    let last = F::LEVELS.len() - 1;
    let small = vram_page(PAGE);
    let big = Pte {
        read_only: true,
        ..vram_page(PAGE)
    };
    let small_page = Found::Page {
        pte: small,
        size: PageSize::Size4K,
    };
    let big_page = Found::Page {
        pte: big,
        size: PageSize::Size64K,
    };
    let malformed = !0;

    let mut tables = Tables::<F>::with_dual(Some(big_table()), Some(vram_table(last)))?;
    tables.ensure(last, Found::Invalid)?;
    tables.set(last, [F::encode_pte(&small, PageSize::Size4K)?, 0])?;
    tables.ensure(last, small_page)?;
    ensure(tables.reads.get() == F::LEVELS.len() + 2)?;

    for (word, found) in [
        (F::encode_pte(&big, PageSize::Size64K)?, big_page),
        (F::encode_sparse(EntryType::Pte)[0], Found::Sparse),
        (no_small_pages, Found::Invalid),
        (malformed, Found::Malformed([malformed, 0])),
        (0, small_page),
    ] {
        tables.set_big(word)?;
        tables.ensure(last, found)?;
    }

    Ok(())
}

/// A dual PDE can point to a table of big pages without a table of small pages.
fn big_pages_alone<F: Format>() -> Result {
    let last = F::LEVELS.len() - 1;
    let size = PageSize::Size64K;
    let pte = vram_page(PAGE);

    let mut tables = Tables::<F>::with_dual(Some(big_table()), None)?;
    tables.ensure(last, Found::Invalid)?;
    tables.set_big(F::encode_pte(&pte, size)?)?;
    tables.ensure(last, Found::Page { pte, size })
}

/// A walk reports a table in system memory and does not read it.
fn system_tables_at_any_level<F: Format>() -> Result {
    let last = F::LEVELS.len() - 1;

    for aperture in [Aperture::SysCoherent, Aperture::SysNonCoherent] {
        let sysmem = sysmem_table(aperture);

        for number in 0..last - 1 {
            let mut tables = Tables::<F>::new(number + 1)?;

            tables.set(number, [F::encode_pde(&sysmem)?, 0])?;
            tables.ensure(number, Found::SysmemTable(sysmem))?;
        }

        // The table of big pages might map the address.
        let mut tables = Tables::<F>::with_dual(Some(sysmem), Some(vram_table(last)))?;
        let pte = vram_page(PAGE);
        tables.set(last, [F::encode_pte(&pte, PageSize::Size4K)?, 0])?;
        tables.ensure(last - 1, Found::SysmemTable(sysmem))?;

        // The table of small pages might map the address, but is used only if no big page does.
        let mut tables = Tables::<F>::with_dual(Some(big_table()), Some(sysmem))?;
        let size = PageSize::Size64K;
        tables.ensure(last - 1, Found::SysmemTable(sysmem))?;
        tables.set_big(F::encode_pte(&pte, size)?)?;
        tables.ensure(last, Found::Page { pte, size })?;
    }

    Ok(())
}

/// A walk reports malformed entries at any level.
fn malformed_entries_at_any_level<F: Format>() -> Result {
    for (number, level) in F::LEVELS.iter().enumerate() {
        let mut tables = Tables::<F>::new(number + 1)?;
        let words = match level.kind {
            EntryType::Dual => [0, !0],
            EntryType::Pde | EntryType::Pte => [!0, 0],
        };

        tables.set(number, words)?;
        tables.ensure(number, Found::Malformed(words))?;
    }

    Ok(())
}

/// An address with more bits than the format translates is an error and is not truncated.
fn address_too_large_einval<F: Format>() -> Result {
    let last = F::LEVELS.len() - 1;
    let mut tables = Tables::<F>::new(last + 1)?;
    let pte = vram_page(PAGE);

    tables.set(last, [F::encode_pte(&pte, PageSize::Size4K)?, 0])?;
    for bit in 0..64 {
        let walk = tables.walk_to(ADDRESS ^ 1 << bit);

        if bit < 12 {
            ensure(walk == tables.walk_to(ADDRESS))?;
        } else if bit < F::VA_BITS {
            ensure(walk?.found == Found::Invalid)?;
        } else {
            ensure(walk == Err(EINVAL) && tables.reads.get() == 0)?;
        }
    }

    Ok(())
}

/// The root must be aligned. It can be at any address.
fn root_misaligned_einval<F: Format>() -> Result {
    let walk_from = |root, read: &mut dyn FnMut(VramAddress) -> Result<u64>| {
        walk(
            &F::default(),
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

/// If a read fails, the walk fails with the same error.
fn read_error_ends_walk<F: Format>() -> Result {
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

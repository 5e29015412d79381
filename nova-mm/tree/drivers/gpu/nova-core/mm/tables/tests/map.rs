// SPDX-License-Identifier: GPL-2.0

//! Tests of mapping memory at unmapped addresses.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    mm::format::Access::*,
    mm::{
        address::{
            PageSize,
            PAGE_SIZE, //
        },
        tables::{
            prepare::Counts,
            Change,
            PageTables,
            PtPrealloc, //
        },
        vmm::tests::{
            fixture::{
                backing,
                ensure,
                ensure_eq,
                vram_range,
                Fixture,
                TestFormat,
                LARGE, //
            },
            trace::UPGRADE, //
        },
        vram::{
            Vram,
            VramAllocator, //
        }, //
    },
    num::usize_as_u64, //
};

/// Returns the number of levels of the format.
pub(crate) fn levels<F: TestFormat>() -> u64 {
    usize_as_u64(F::LEVELS.len())
}

pub(crate) fn map_one_page<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(1)?;
    let va = fixture.reserve_at(0x1_2345..0x1_2346)?;
    // Makes the TLB cache invalid entries for the page.
    fixture.expect_unmapped(&va, 0..1)?;
    ensure_eq!(fixture.table_count()?, 1);

    let seen = fixture.trace_and_free(fixture.prepare_map(&va, 0..1, &vram, 0, ReadWrite)?)?;
    ensure_eq!(seen.command, UPGRADE);
    ensure_eq!(seen.reads, 0);
    // One word of each table. All tables except the root are new.
    let levels = F::LEVELS.len();
    ensure_eq!((seen.writes, seen.fresh), (levels, levels - 1));
    ensure_eq!(fixture.table_count()?, usize_as_u64(levels));
    fixture.expect_mapped(&va, 0..1, &vram, 0, ReadWrite)?;
    for adjacent in [0x1_2344, 0x1_2346, 0, 0x1_2345 + LARGE] {
        ensure_eq!(fixture.lookup(adjacent)?, None);
    }

    fixture.unmap(&va, 0..1)?;
    fixture.expect_unmapped(&va, 0..1)?;
    ensure_eq!(fixture.table_count()?, 1);
    fixture.check()
}

/// Maps some pages of a table, all pages of a table, and pages of several tables.
pub(crate) fn map_small_pages<F: TestFormat>() -> Result {
    for pages in [5..17, 0..LARGE, 1..3 * LARGE - 1] {
        let mut fixture = Fixture::<F>::new()?;
        let count = pages.end - pages.start;
        let vram = fixture.alloc(count + 1)?;
        let va = fixture.reserve_at(pages.clone())?;

        // An offset of one page prevents larger pages.
        let skip = 1 - pages.start % 2;
        fixture.map(&va, 0..count, &vram, skip, ReadWrite)?;
        fixture.check()?;
        fixture.expect_mapped(&va, 0..count, &vram, skip, ReadWrite)?;
        ensure_eq!(fixture.lookup(pages.end)?, None);
        let tables = pages.end.div_ceil(LARGE) - pages.start / LARGE;
        ensure_eq!(fixture.table_count()?, levels::<F>() - 1 + tables);
    }

    Ok(())
}

/// Two pages next to a boundary use separate tables from the level of the boundary down.
pub(crate) fn map_across_each_boundary<F: TestFormat>() -> Result {
    for (number, level) in F::LEVELS.iter().enumerate() {
        if level.shift == PageSize::Size4K.shift() {
            continue;
        }
        let mut fixture = Fixture::<F>::new()?;
        let boundary = (1 << level.shift) / PAGE_SIZE;
        let vram = fixture.alloc(2)?;
        let va = fixture.reserve_at(boundary - 1..boundary + 1)?;
        fixture.expect_unmapped(&va, 0..2)?;

        fixture.map(&va, 0..2, &vram, 0, ReadWrite)?;
        fixture.check()?;
        fixture.expect_mapped(&va, 0..2, &vram, 0, ReadWrite)?;
        ensure_eq!(fixture.lookup(boundary - 2)?, None);
        ensure_eq!(fixture.lookup(boundary + 1)?, None);
        let shared = usize_as_u64(number) + 1;
        ensure_eq!(
            fixture.table_count()?,
            shared + 2 * (levels::<F>() - shared)
        );

        // The second page stays mapped when the first one is unmapped.
        fixture.unmap(&va, 0..1)?;
        fixture.check()?;
        fixture.expect_unmapped(&va, 0..1)?;
        fixture.expect_mapped(&va, 1..2, &vram, 1, ReadWrite)?;
        ensure_eq!(fixture.table_count()?, levels::<F>());
    }

    Ok(())
}

/// Returns the size of the page that maps page `page` of `pages` to aligned, contiguous memory,
/// starting at page `skip` of the memory.
fn expected_size(pages: &Range<u64>, skip: u64, page: u64) -> PageSize {
    for size in [PageSize::Size2M, PageSize::Size64K] {
        let start = page - page % size.pages();
        let is_aligned = (pages.start + size.pages() - skip % size.pages()) % size.pages() == 0;
        if is_aligned && start >= pages.start && start + size.pages() <= pages.end {
            return size;
        }
    }

    PageSize::Size4K
}

/// A large page is used if and only if both addresses are aligned and the range covers it.
pub(crate) fn map_uses_largest_pages<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(5 * LARGE)?;

    for (first, skip, count) in [
        (0, 0, LARGE),
        (0, 0, LARGE - 1),
        (0, 0, LARGE + 1),
        (0, 0, 3 * LARGE),
        (0, LARGE, LARGE),
        (1, 0, LARGE),
        (0, 1, LARGE),
        (0, LARGE - 1, 2 * LARGE),
        (1, 1, 2 * LARGE),
        (1, 1, 3 * LARGE - 1),
        (LARGE - 1, LARGE - 1, LARGE + 2),
        (LARGE / 2, LARGE / 2, 3 * LARGE),
        (LARGE / 2, 0, 3 * LARGE),
        (0, 0, 15),
        (0, 0, 16),
        (16, 32, 33),
        (3, 19, 60),
        (3, 18, 60),
        (LARGE - 20, 12, 50),
        (0, 16, LARGE),
    ] {
        // In the middle of a directory and across its end.
        for base in [64 * LARGE, (256 - 1) * LARGE] {
            let start = base + first;
            let va = fixture.reserve_at(start..start + count)?;
            fixture.map(&va, 0..count, &vram, skip, ReadWrite)?;
            fixture.check()?;
            fixture.expect_mapped(&va, 0..count, &vram, skip, ReadWrite)?;

            for page in 0..count {
                let size = fixture.lookup(start + page)?.map(|found| found.page_size);
                let expected = expected_size(&(start..start + count), skip, start + page);
                ensure_eq!(size, Some(expected));
            }

            fixture.unmap(&va, 0..count)?;
            fixture.check()?;
            ensure_eq!(fixture.table_count()?, 1);
        }
    }

    Ok(())
}

/// Allocates the page ranges `pages`, whose numbers are relative to a multiple of 2 MiB.
pub(crate) fn scattered(pages: &[Range<u64>]) -> Result<Arc<Vram>> {
    const START: u64 = 32 << 30;

    let mut regions = KVec::new();
    for pages in pages {
        let range = START + pages.start * PAGE_SIZE..START + pages.end * PAGE_SIZE;
        regions.push(vram_range(&range), GFP_KERNEL)?;
    }
    let memory = VramAllocator::new(&regions)?;
    let vram = memory.alloc(memory.avail(), PageSize::Size4K)?;

    Ok(Arc::new(vram, GFP_KERNEL)?)
}

pub(crate) fn map_scattered_vram<F: TestFormat>() -> Result {
    for regions in [
        // An aligned range that is one page short of 2 MiB.
        &[0..LARGE - 1, LARGE..LARGE + 1][..],
        &[
            0..1,
            2..4,
            6..7,
            LARGE - 1..2 * LARGE,
            3 * LARGE..4 * LARGE + 4,
        ],
    ] {
        let mut fixture = Fixture::<F>::new()?;
        let vram = scattered(regions)?;
        let count = vram.size() / PAGE_SIZE;
        ensure!(vram.ranges().count() >= 2);

        let va = fixture.reserve(count)?;
        // Starting with the first page, and with later pages of the memory.
        for skip in [0, 1, 3] {
            fixture.map(&va, 0..count - skip, &vram, skip, ReadWrite)?;
            fixture.check()?;
            fixture.expect_mapped(&va, 0..count - skip, &vram, skip, ReadWrite)?;
            fixture.unmap(&va, 0..count)?;
        }
        fixture.check()?;
    }

    Ok(())
}

/// Each PTE is written once, before its table is linked, and each table is linked once.
pub(crate) fn map_writes_tables_before_linking<F: TestFormat>() -> Result {
    for count in [1, LARGE / 2 - 1, LARGE, LARGE + 1] {
        let mut fixture = Fixture::<F>::new()?;
        let vram = fixture.alloc(count + 1)?;
        let va = fixture.reserve(count)?;

        let seen =
            fixture.trace_and_free(fixture.prepare_map(&va, 0..count, &vram, 1, ReadWrite)?)?;
        let tables = usize::try_from(fixture.table_count()?)?;
        ensure_eq!(seen.writes, usize::try_from(count)? + tables - 1);
        // The last word is a PDE in the root and links all tables.
        ensure_eq!(seen.fresh, seen.writes - 1);
    }

    Ok(())
}

/// If the tables are linked already, one word is written per page.
pub(crate) fn map_uses_present_tables<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(3 * LARGE)?;
    let va = fixture.reserve(3 * LARGE)?;
    fixture.map(&va, 0..1, &vram, 1, ReadWrite)?;
    fixture.check()?;

    let seen = fixture.trace_and_free(fixture.prepare_map(&va, 1..LARGE, &vram, 2, ReadOnly)?)?;
    ensure_eq!((seen.writes, seen.fresh), (511, 0));
    ensure_eq!(seen.command, UPGRADE);
    // One table is new.
    let seen = fixture.trace_and_free(fixture.prepare_map(
        &va,
        LARGE..LARGE + 3,
        &vram,
        0,
        ReadOnly,
    )?)?;
    ensure_eq!((seen.writes, seen.fresh), (3 + 1, 3));
    let job = fixture.prepare_map(&va, 2 * LARGE..3 * LARGE, &vram, LARGE, ReadWrite)?;
    let seen = fixture.trace_and_free(job)?;
    ensure_eq!((seen.writes, seen.fresh), (1, 0));

    fixture.expect_mapped(&va, 0..1, &vram, 1, ReadWrite)?;
    fixture.expect_mapped(&va, 1..LARGE, &vram, 2, ReadOnly)?;
    fixture.expect_mapped(&va, LARGE..LARGE + 3, &vram, 0, ReadOnly)?;
    fixture.expect_unmapped(&va, LARGE + 3..2 * LARGE)?;
    fixture.expect_mapped(&va, 2 * LARGE..3 * LARGE, &vram, LARGE, ReadWrite)
}

/// A directory maps 256 pages of 2 MiB, so the mapping fills two directories.
pub(crate) fn map_gigabyte_of_2m_pages<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(512 * LARGE)?;
    let va = fixture.reserve_at(512 * LARGE..1024 * LARGE)?;

    fixture.map(&va, 0..512 * LARGE, &vram, 0, ReadWrite)?;
    fixture.check()?;
    // Two directories and no tables of small pages.
    ensure_eq!(fixture.table_count()?, levels::<F>() - 2 + 2);
    for page in (0..512 * LARGE).step_by(255) {
        fixture.expect_mapped(&va, page..page + 1, &vram, page, ReadWrite)?;
    }

    Ok(())
}

/// Pages of all sizes have the access of their mapping.
pub(crate) fn map_access<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    for (count, skip) in [(7, 0), (16, 0), (LARGE, 0), (LARGE, 1)] {
        let vram = fixture.alloc(LARGE + 1)?;
        for access in [ReadOnly, ReadWrite] {
            let va = fixture.reserve(count)?;
            fixture.map(&va, 0..count, &vram, skip, access)?;
            fixture.check()?;
            fixture.expect_mapped(&va, 0..count, &vram, skip, access)?;
            fixture.unmap(&va, 0..count)?;
        }
    }

    fixture.check()
}

/// Maps the last small and the last large page that the format can address.
pub(crate) fn map_last_page<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(LARGE)?;
    let end = (1 << F::VA_BITS) / PAGE_SIZE;

    let va = fixture.reserve_at(end - LARGE..end)?;
    fixture.map(&va, 0..LARGE, &vram, 0, ReadWrite)?;
    fixture.check()?;
    fixture.expect_mapped(&va, 0..LARGE, &vram, 0, ReadWrite)?;
    fixture.map(&va, LARGE - 1..LARGE, &vram, 0, ReadOnly)?;
    fixture.check()?;
    fixture.expect_mapped(&va, LARGE - 1..LARGE, &vram, 0, ReadOnly)?;
    fixture.expect_mapped(&va, 0..LARGE - 1, &vram, 0, ReadWrite)?;
    fixture.unmap(&va, 0..LARGE)?;
    ensure_eq!(fixture.table_count()?, 1);

    fixture.check()
}

/// Returns page tables, and how many tables have to be allocated to map their first page with
/// `change`.
fn missing<F: TestFormat>(fixture: &Fixture<F>, change: &Change) -> Result<(PageTables, Counts)> {
    let mut tables = PageTables::new(&fixture.hw, &fixture.memory)?;
    let counts = tables.pin(&fixture.hw, change, &(0..1), &mut PtPrealloc::new())?;

    Ok((tables, counts.ok_or(EINVAL)?))
}

/// Tables that were allocated before are not allocated again.
pub(crate) fn fill_up_allocates_missing_only<F: TestFormat>() -> Result {
    let fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(1)?;
    let change = Change::Map(backing(&vram, 0, ReadWrite));
    let (mut tables, counts) = missing(&fixture, &change)?;
    let free = fixture.free_tables();

    let mut prealloc = PtPrealloc::new();
    for _ in 0..2 {
        prealloc.fill_up(&counts, &fixture.hw, &fixture.memory)?;
        ensure_eq!(free - fixture.free_tables(), levels::<F>() - 1);
    }
    let missing = tables.pin(&fixture.hw, &change, &(0..1), &mut prealloc)?;
    ensure!(missing.is_none());

    Ok(())
}

/// A table to which entries cannot point is refused before it is written.
pub(crate) fn fill_up_unencodable_einval<F: TestFormat>() -> Result {
    let fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(1)?;
    let change = Change::Map(backing(&vram, 0, ReadWrite));
    let (_tables, counts) = missing(&fixture, &change)?;
    let far = F::VRAM_END..F::VRAM_END + PageSize::Size2M.bytes();
    let memory = VramAllocator::new(&[vram_range(&far)])?;
    fixture.gpu.reset_counts();

    let filled = PtPrealloc::new().fill_up(&counts, &fixture.hw, &memory);
    ensure_eq!(filled, Err(EINVAL));
    ensure_eq!(fixture.gpu.counts().total(), 0);

    Ok(())
}

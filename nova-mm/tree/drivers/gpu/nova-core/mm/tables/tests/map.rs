// SPDX-License-Identifier: GPL-2.0

//! Tests of mapping memory where nothing is mapped.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    mm::{
        address::{
            PageSize,
            PAGE_SIZE, //
        },
        vmm::{
            job::Access::*,
            tests::{
                bench::{
                    ensure,
                    ensure_eq,
                    vram_range,
                    Bench,
                    TestFormat,
                    LARGE, //
                },
                observe::{
                    TABLE_WORDS,
                    UPGRADE, //
                },
            },
        },
        vram::{
            Vram,
            VramAllocator, //
        }, //
    },
    num::usize_as_u64, //
};

/// Returns the number of levels.
pub(crate) fn levels<F: TestFormat>() -> u64 {
    usize_as_u64(F::LEVELS.len())
}

pub(crate) fn map_a_page<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(1)?;
    let va = bench.reserve_at(0x1_2345..0x1_2346)?;
    // The TLB remembers that there is nothing.
    bench.expect_unmapped(&va, 0..1)?;
    ensure_eq!(bench.table_count()?, 1);

    let seen = bench.observe_all(bench.submit_map(&va, 0..1, &vram, 0, ReadWrite)?)?;
    ensure_eq!(seen.command, UPGRADE);
    ensure_eq!(seen.reads, 0);
    ensure_eq!(bench.table_count()?, levels::<F>());
    bench.expect_mapped(&va, 0..1, &vram, 0, ReadWrite)?;
    for neighbour in [0x1_2344, 0x1_2346, 0, 0x1_2345 + LARGE] {
        ensure_eq!(bench.look(neighbour)?, None);
    }

    bench.unmap(&va, 0..1)?;
    bench.expect_unmapped(&va, 0..1)?;
    ensure_eq!(bench.table_count()?, 1);
    bench.check()
}

/// Some pages, all of a table, and those of several tables.
pub(crate) fn map_pages_of_a_table<F: TestFormat>() -> Result {
    for pages in [5..17, 0..LARGE, 1..3 * LARGE - 1] {
        let mut bench = Bench::<F>::new()?;
        let count = pages.end - pages.start;
        let vram = bench.alloc(count + 1)?;
        let va = bench.reserve_at(pages.clone())?;

        // One page off, so that no page is large.
        let skip = 1 - pages.start % 2;
        bench.map(&va, 0..count, &vram, skip, ReadWrite)?;
        bench.check()?;
        bench.expect_mapped(&va, 0..count, &vram, skip, ReadWrite)?;
        ensure_eq!(bench.look(pages.end)?, None);
        let tables = pages.end.div_ceil(LARGE) - pages.start / LARGE;
        ensure_eq!(bench.table_count()?, levels::<F>() - 1 + tables);
    }

    Ok(())
}

/// Two pages next to a boundary: from there down, each has tables of its own.
pub(crate) fn across_a_boundary_of_each_level<F: TestFormat>() -> Result {
    for (number, level) in F::LEVELS.iter().enumerate() {
        if level.shift == PageSize::Size4K.shift() {
            continue;
        }
        let mut bench = Bench::<F>::new()?;
        let boundary = (1 << level.shift) / PAGE_SIZE;
        let vram = bench.alloc(2)?;
        let va = bench.reserve_at(boundary - 1..boundary + 1)?;
        bench.expect_unmapped(&va, 0..2)?;

        bench.map(&va, 0..2, &vram, 0, ReadWrite)?;
        bench.check()?;
        bench.expect_mapped(&va, 0..2, &vram, 0, ReadWrite)?;
        ensure_eq!(bench.look(boundary - 2)?, None);
        ensure_eq!(bench.look(boundary + 1)?, None);
        let shared = usize_as_u64(number) + 1;
        ensure_eq!(bench.table_count()?, shared + 2 * (levels::<F>() - shared));

        // The second one stays when the first one goes.
        bench.unmap(&va, 0..1)?;
        bench.check()?;
        bench.expect_unmapped(&va, 0..1)?;
        bench.expect_mapped(&va, 1..2, &vram, 1, ReadWrite)?;
        ensure_eq!(bench.table_count()?, levels::<F>());
    }

    Ok(())
}

/// A page is large if and only if its addresses and its memory are aligned and all of it is mapped.
pub(crate) fn large_pages_where_everything_allows_them<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(5 * LARGE)?;

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
    ] {
        // In the middle of a directory, and across the end of one.
        for base in [64 * LARGE, (256 - 1) * LARGE] {
            let start = base + first;
            let va = bench.reserve_at(start..start + count)?;
            bench.map(&va, 0..count, &vram, skip, ReadWrite)?;
            bench.check()?;
            bench.expect_mapped(&va, 0..count, &vram, skip, ReadWrite)?;

            for page in 0..count {
                let slot = (start + page) / LARGE * LARGE;
                let is_large = slot >= start
                    && slot + LARGE <= start + count
                    && (slot - start + skip) % LARGE == 0;
                let size = bench.look(start + page)?.map(|found| found.page_size);
                ensure_eq!(size == Some(PageSize::Size2M), is_large);
                ensure_eq!(size == Some(PageSize::Size4K), !is_large);
            }

            bench.unmap(&va, 0..count)?;
            bench.check()?;
            ensure_eq!(bench.table_count()?, 1);
        }
    }

    Ok(())
}

/// Returns all memory of the ranges `pages` of pages, counted from a multiple of 2 MiB.
fn pieces(pages: &[Range<u64>]) -> Result<Arc<Vram>> {
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

pub(crate) fn map_memory_in_pieces<F: TestFormat>() -> Result {
    for regions in [
        // Aligned, but one page short of a large page.
        &[0..LARGE - 1, LARGE..LARGE + 1][..],
        &[
            0..1,
            2..4,
            6..7,
            LARGE - 1..2 * LARGE,
            3 * LARGE..4 * LARGE + 4,
        ],
    ] {
        let mut bench = Bench::<F>::new()?;
        let vram = pieces(regions)?;
        let count = vram.size() / PAGE_SIZE;
        ensure!(vram.ranges().count() >= 2);

        let va = bench.reserve(count)?;
        // From the start, and from somewhere in the middle of it.
        for skip in [0, 1, 3] {
            bench.map(&va, 0..count - skip, &vram, skip, ReadWrite)?;
            bench.check()?;
            bench.expect_mapped(&va, 0..count - skip, &vram, skip, ReadWrite)?;
            bench.unmap(&va, 0..count)?;
        }
        bench.check()?;
    }

    Ok(())
}

/// None is zeroed before it is filled: each word is written once, before the table can be found.
pub(crate) fn new_tables_are_written_once_before_they_are_linked<F: TestFormat>() -> Result {
    for count in [1, LARGE, LARGE + 1] {
        let mut bench = Bench::<F>::new()?;
        let vram = bench.alloc(count + 1)?;
        let va = bench.reserve(count)?;

        let seen = bench.observe_all(bench.submit_map(&va, 0..count, &vram, 1, ReadWrite)?)?;
        let tables = usize::try_from(bench.table_count()? - 1)?;
        ensure_eq!(seen.fresh, tables * TABLE_WORDS);
        // The one that links all of them is in the root.
        ensure_eq!(seen.writes, seen.fresh + 1);
    }

    Ok(())
}

/// With tables present, there is one write for each page.
pub(crate) fn present_tables_are_used<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(3 * LARGE)?;
    let va = bench.reserve(3 * LARGE)?;
    bench.map(&va, 0..1, &vram, 1, ReadWrite)?;
    bench.check()?;

    let seen = bench.observe_all(bench.submit_map(&va, 1..LARGE, &vram, 2, ReadOnly)?)?;
    ensure_eq!((seen.writes, seen.fresh), (511, 0));
    ensure_eq!(seen.command, UPGRADE);
    // A table is new, and a large page is an entry of one.
    let seen = bench.observe_all(bench.submit_map(&va, LARGE..LARGE + 3, &vram, 0, ReadOnly)?)?;
    ensure_eq!((seen.writes, seen.fresh), (TABLE_WORDS + 1, TABLE_WORDS));
    let job = bench.submit_map(&va, 2 * LARGE..3 * LARGE, &vram, LARGE, ReadWrite)?;
    let seen = bench.observe_all(job)?;
    ensure_eq!((seen.writes, seen.fresh), (1, 0));

    bench.expect_mapped(&va, 0..1, &vram, 1, ReadWrite)?;
    bench.expect_mapped(&va, 1..LARGE, &vram, 2, ReadOnly)?;
    bench.expect_mapped(&va, LARGE..LARGE + 3, &vram, 0, ReadOnly)?;
    bench.expect_unmapped(&va, LARGE + 3..2 * LARGE)?;
    bench.expect_mapped(&va, 2 * LARGE..3 * LARGE, &vram, LARGE, ReadWrite)
}

/// The number of accesses is that of the large pages, of which a directory holds 256.
pub(crate) fn map_a_gigabyte_of_large_pages<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(512 * LARGE)?;
    let va = bench.reserve_at(512 * LARGE..1024 * LARGE)?;

    bench.map(&va, 0..512 * LARGE, &vram, 0, ReadWrite)?;
    bench.check()?;
    // Two directories of large pages, no table of small ones.
    ensure_eq!(bench.table_count()?, levels::<F>() - 2 + 2);
    for page in (0..512 * LARGE).step_by(255) {
        bench.expect_mapped(&va, page..page + 1, &vram, page, ReadWrite)?;
    }

    Ok(())
}

pub(crate) fn permissions<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    for (count, skip) in [(7, 0), (LARGE, 0), (LARGE, 1)] {
        let vram = bench.alloc(LARGE + 1)?;
        for access in [ReadOnly, ReadWrite] {
            let va = bench.reserve(count)?;
            bench.map(&va, 0..count, &vram, skip, access)?;
            bench.check()?;
            bench.expect_mapped(&va, 0..count, &vram, skip, access)?;
            bench.unmap(&va, 0..count)?;
        }
    }

    bench.check()
}

/// The last pages that the format has, small and large.
pub(crate) fn map_the_last_page<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(LARGE)?;
    let end = (1 << F::VA_BITS) / PAGE_SIZE;

    let va = bench.reserve_at(end - LARGE..end)?;
    bench.map(&va, 0..LARGE, &vram, 0, ReadWrite)?;
    bench.check()?;
    bench.expect_mapped(&va, 0..LARGE, &vram, 0, ReadWrite)?;
    bench.map(&va, LARGE - 1..LARGE, &vram, 0, ReadOnly)?;
    bench.check()?;
    bench.expect_mapped(&va, LARGE - 1..LARGE, &vram, 0, ReadOnly)?;
    bench.expect_mapped(&va, 0..LARGE - 1, &vram, 0, ReadWrite)?;
    bench.unmap(&va, 0..LARGE)?;
    ensure_eq!(bench.table_count()?, 1);

    bench.check()
}

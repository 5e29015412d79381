// SPDX-License-Identifier: GPL-2.0

//! Tests of taking away what is mapped, or a part of it.

use core::ops::Range;

use kernel::prelude::*;

use crate::mm::{
    address::PAGE_SIZE,
    tables::tests::map::levels,
    vmm::{
        job::Access::*,
        tests::{
            bench::{
                ensure_eq,
                start_of,
                Bench,
                TestFormat,
                LARGE, //
            },
            observe::{
                ensure_mapped_on,
                DOWNGRADE,
                TABLE_WORDS,
                UPGRADE, //
            },
        },
    }, //
};

/// Only one entry of each directory is cleared, for the tables are not used any more.
pub(crate) fn unmap_all_of_it<F: TestFormat>() -> Result {
    for (count, skip) in [(1, 0), (LARGE, 1), (LARGE - 1, 0), (LARGE, 0)] {
        let mut bench = Bench::<F>::new()?;
        let vram = bench.alloc(LARGE + 1)?;
        let va = bench.reserve(count)?;
        bench.map(&va, 0..count, &vram, skip, ReadWrite)?;
        bench.expect_mapped(&va, 0..count, &vram, skip, ReadWrite)?;

        let seen = bench.observe_all(bench.submit_unmap(&va, 0..count)?)?;
        ensure_eq!(seen.writes, F::LEVELS.len() - 1);
        ensure_eq!(seen.command, DOWNGRADE);
        ensure_eq!(seen.reads, 0);
        bench.expect_unmapped(&va, 0..count)?;
        ensure_eq!(bench.table_count()?, 1);
    }

    Ok(())
}

/// The parts of a range from which a part is taken away.
fn rest(count: u64, part: &Range<u64>) -> [Range<u64>; 2] {
    [0..part.start, part.end..count]
}

pub(crate) fn unmap_parts_of_small_pages<F: TestFormat>() -> Result {
    const COUNT: u64 = 24;

    for part in [0..3, COUNT - 5..COUNT, 7..9, 0..1, COUNT - 1..COUNT] {
        let mut bench = Bench::<F>::new()?;
        let vram = bench.alloc(COUNT)?;
        // Across the end of a table.
        let va = bench.reserve_at(LARGE - 8..LARGE - 8 + COUNT)?;
        let (pdb, first, memory) = (bench.vmm.pdb(), LARGE - 8, start_of(&vram)?);
        bench.map(&va, 0..COUNT, &vram, 0, ReadOnly)?;
        bench.expect_mapped(&va, 0..COUNT, &vram, 0, ReadOnly)?;

        let job = bench.submit_unmap(&va, part.clone())?;
        let (ran, seen) = bench.observe(job, &mut |gpu| {
            rest(COUNT, &part)
                .into_iter()
                .try_for_each(|rest| ensure_mapped_on(gpu, pdb, first, memory, rest))
        })?;
        ran.cleanup()?;
        bench.check()?;
        ensure_eq!(seen.writes, usize::try_from(part.end - part.start)?);
        ensure_eq!(seen.command, DOWNGRADE);

        bench.expect_unmapped(&va, part.clone())?;
        for rest in rest(COUNT, &part) {
            bench.expect_mapped(&va, rest.clone(), &vram, rest.start, ReadOnly)?;
        }
        // What is left can be unmapped in one go.
        bench.unmap(&va, 0..COUNT)?;
        bench.check()?;
        ensure_eq!(bench.table_count()?, 1);
    }

    Ok(())
}

/// The rest of the page becomes small pages, and is mapped at any moment.
pub(crate) fn unmap_parts_of_a_large_page<F: TestFormat>() -> Result {
    for part in [0..1, 0..100, 100..200, 511..512, 256..512, 1..512, 0..511] {
        for access in [ReadOnly, ReadWrite] {
            let mut bench = Bench::<F>::new()?;
            let vram = bench.alloc(LARGE)?;
            let va = bench.map_all(&vram, access)?;
            bench.check()?;
            bench.expect_mapped(&va, 0..LARGE, &vram, 0, access)?;
            ensure_eq!(bench.table_count()?, levels::<F>() - 1);

            let (pdb, memory) = (bench.vmm.pdb(), start_of(&vram)?);
            let first = va.pages().start.into_raw();
            let job = bench.submit_unmap(&va, part.clone())?;
            let (ran, seen) = bench.observe(job, &mut |gpu| {
                rest(LARGE, &part)
                    .into_iter()
                    .try_for_each(|rest| ensure_mapped_on(gpu, pdb, first, memory, rest))
            })?;
            // The TLB has what is there now, with the large page gone.
            bench.expect_unmapped(&va, part.clone())?;
            ran.cleanup()?;
            bench.check()?;
            ensure_eq!((seen.writes, seen.fresh), (TABLE_WORDS + 2, TABLE_WORDS));
            ensure_eq!(seen.command, DOWNGRADE);

            bench.expect_unmapped(&va, part.clone())?;
            for rest in rest(LARGE, &part) {
                bench.expect_mapped(&va, rest.clone(), &vram, rest.start, access)?;
            }
            ensure_eq!(bench.table_count()?, levels::<F>());
            for rest in rest(LARGE, &part)
                .into_iter()
                .filter(|rest| !rest.is_empty())
            {
                bench.unmap(&va, rest)?;
            }
            bench.check()?;
            ensure_eq!(bench.table_count()?, 1);
        }
    }

    Ok(())
}

/// Nothing is written and no table is needed.
pub(crate) fn unmap_what_is_not_mapped<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let va = bench.reserve(3 * LARGE)?;
    let free = bench.free_tables();

    for pages in [0..1, 5..LARGE + 5, 0..3 * LARGE, LARGE..2 * LARGE] {
        let seen = bench.observe_all(bench.submit_unmap(&va, pages)?)?;
        ensure_eq!((seen.writes, seen.reads), (0, 0));
        ensure_eq!(seen.command, UPGRADE);
        ensure_eq!(bench.free_tables(), free);
    }

    Ok(())
}

/// Up to the root, which stays; tables that something else uses stay, too.
pub(crate) fn tables_that_are_empty_are_freed<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let free = bench.free_tables();
    let vram = bench.alloc(4)?;
    let page_of = |shift: u32| (1 << shift) / PAGE_SIZE;

    // Each has more tables in common with the first one than the one before it.
    let first = bench.reserve_at(0..1)?;
    bench.map(&first, 0..1, &vram, 0, ReadWrite)?;
    let mut others = KVec::new();
    for level in F::LEVELS {
        let at = page_of(level.shift);
        let va = bench.reserve_at(at..at + 1)?;
        bench.map(&va, 0..1, &vram, 1, ReadWrite)?;
        others.push(va, GFP_KERNEL)?;
    }
    bench.check()?;
    let levels = levels::<F>();
    ensure_eq!(bench.table_count()?, levels + levels * (levels - 1) / 2);

    for (number, va) in (1..).zip(others.iter()) {
        let count = bench.table_count()?;
        bench.unmap(va, 0..1)?;
        bench.check()?;
        ensure_eq!(bench.table_count()?, count - (levels - number));
        ensure_eq!(bench.free_tables(), free + 1 - bench.table_count()?);
        bench.expect_mapped(&first, 0..1, &vram, 0, ReadWrite)?;
    }
    bench.unmap(&first, 0..1)?;
    bench.check()?;
    ensure_eq!(bench.table_count()?, 1);
    ensure_eq!(bench.free_tables(), free);

    Ok(())
}

/// What is mapped in several pieces is unmapped in one, whatever lies between.
pub(crate) fn unmap_a_range_with_holes<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(2 * LARGE)?;
    let count = 300 * LARGE;
    let va = bench.reserve(count)?;
    bench.map(&va, 3..5, &vram, 0, ReadWrite)?;
    bench.map(&va, LARGE..2 * LARGE, &vram, 0, ReadWrite)?;
    bench.map(&va, 2 * LARGE..3 * LARGE, &vram, 1, ReadWrite)?;
    bench.map(&va, 290 * LARGE + 7..291 * LARGE, &vram, 0, ReadOnly)?;
    bench.check()?;

    bench.unmap(&va, 4..290 * LARGE + 8)?;
    bench.check()?;
    bench.expect_mapped(&va, 3..4, &vram, 0, ReadWrite)?;
    bench.expect_unmapped(&va, 4..4 * LARGE)?;
    bench.expect_unmapped(&va, 290 * LARGE..290 * LARGE + 8)?;
    bench.expect_mapped(&va, 290 * LARGE + 8..291 * LARGE, &vram, 1, ReadOnly)?;

    bench.unmap(&va, 0..count)?;
    bench.check()?;
    ensure_eq!(bench.table_count()?, 1);

    Ok(())
}

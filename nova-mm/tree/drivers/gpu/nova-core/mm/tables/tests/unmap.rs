// SPDX-License-Identifier: GPL-2.0

//! Tests of unmapping whole mappings and parts of mappings.

use core::ops::Range;

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        PAGE_SIZE, //
    },
    format::Access::*,
    tables::tests::map::levels,
    vmm::tests::{
        fixture::{
            complete,
            ensure,
            ensure_eq,
            start_of,
            Fixture,
            TestFormat,
            LARGE, //
        },
        trace::{
            ensure_mapped_on,
            DOWNGRADE,
            TABLE_WORDS,
            UPGRADE, //
        },
    }, //
};

/// One entry of each directory is cleared. Tables with many entries are unlinked without clearing.
pub(crate) fn unmap_whole_mapping<F: TestFormat>() -> Result {
    for (count, skip) in [(1, 0), (16, 0), (LARGE, 1), (LARGE - 1, 0), (LARGE, 0)] {
        let mut fixture = Fixture::<F>::new()?;
        let vram = fixture.alloc(LARGE + 1)?;
        let va = fixture.reserve(count)?;
        fixture.map(&va, 0..count, &vram, skip, ReadWrite)?;
        fixture.expect_mapped(&va, 0..count, &vram, skip, ReadWrite)?;

        let seen = fixture.trace_and_free(fixture.prepare_unmap(&va, 0..count)?)?;
        // Few entries are cleared individually. A dual PDE with both pointers has two words.
        let words = match count {
            1 | 16 => 2,
            count if count == LARGE - 1 => 2,
            _ => 1,
        };
        ensure_eq!(seen.writes, F::LEVELS.len() - 2 + words);
        ensure_eq!(seen.command, DOWNGRADE);
        ensure_eq!(seen.reads, 0);
        fixture.expect_unmapped(&va, 0..count)?;
        ensure_eq!(fixture.table_count()?, 1);
    }

    Ok(())
}

/// No table becomes empty. The invalidation waits for accesses to the page nevertheless.
pub(crate) fn unmap_one_of_two_2m_pages<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(2 * LARGE)?;
    let va = fixture.map_all(&vram, ReadWrite)?;
    let tables = fixture.table_count()?;

    let seen = fixture.trace_and_free(fixture.prepare_unmap(&va, 0..LARGE)?)?;
    ensure_eq!((seen.writes, seen.command), (1, DOWNGRADE));
    ensure_eq!(fixture.table_count()?, tables);
    fixture.expect_unmapped(&va, 0..LARGE)?;
    fixture.expect_mapped(&va, LARGE..2 * LARGE, &vram, LARGE, ReadWrite)
}

/// Returns the parts of `count` pages before and after `part`.
fn rest(count: u64, part: &Range<u64>) -> [Range<u64>; 2] {
    [0..part.start, part.end..count]
}

/// One word is written per page. The other pages stay mapped at all times.
pub(crate) fn unmap_part_of_small_pages<F: TestFormat>() -> Result {
    const COUNT: u64 = 24;

    for part in [0..3, COUNT - 5..COUNT, 7..9, 0..1, COUNT - 1..COUNT] {
        let mut fixture = Fixture::<F>::new()?;
        let vram = fixture.alloc(COUNT)?;
        // The range crosses the end of a table, and its alignment allows only small pages.
        let va = fixture.reserve_at(LARGE - 8..LARGE - 8 + COUNT)?;
        let (pdb, first, memory) = (fixture.pdb(), LARGE - 8, start_of(&vram)?);
        fixture.map(&va, 0..COUNT, &vram, 0, ReadOnly)?;
        fixture.expect_mapped(&va, 0..COUNT, &vram, 0, ReadOnly)?;

        let job = fixture.prepare_unmap(&va, part.clone())?;
        let (job, seen) = fixture.trace(job, &mut |gpu| {
            rest(COUNT, &part)
                .into_iter()
                .try_for_each(|rest| ensure_mapped_on(gpu, pdb, first, memory, rest))
        })?;
        job.free();
        fixture.check()?;
        ensure_eq!(seen.writes, usize::try_from(part.end - part.start)?);
        ensure_eq!(seen.command, DOWNGRADE);

        fixture.expect_unmapped(&va, part.clone())?;
        for rest in rest(COUNT, &part) {
            fixture.expect_mapped(&va, rest.clone(), &vram, rest.start, ReadOnly)?;
        }
        // One job unmaps the remaining pages.
        fixture.unmap(&va, 0..COUNT)?;
        fixture.check()?;
        ensure_eq!(fixture.table_count()?, 1);
    }

    Ok(())
}

/// Small pages replace the rest of the large page, which stays mapped at all times.
pub(crate) fn unmap_part_of_2m_page<F: TestFormat>() -> Result {
    for part in [0..1, 0..100, 100..200, 511..512, 256..512, 1..512, 0..511] {
        for access in [ReadOnly, ReadWrite] {
            let mut fixture = Fixture::<F>::new()?;
            let vram = fixture.alloc(LARGE)?;
            let va = fixture.map_all(&vram, access)?;
            fixture.check()?;
            fixture.expect_mapped(&va, 0..LARGE, &vram, 0, access)?;
            ensure_eq!(fixture.table_count()?, levels::<F>() - 1);

            let (pdb, memory) = (fixture.pdb(), start_of(&vram)?);
            let first = va.start();
            let job = fixture.prepare_unmap(&va, part.clone())?;
            let (job, seen) = fixture.trace(job, &mut |gpu| {
                rest(LARGE, &part)
                    .into_iter()
                    .try_for_each(|rest| ensure_mapped_on(gpu, pdb, first, memory, rest))
            })?;
            // The TLB no longer holds the translation of the large page.
            fixture.expect_unmapped(&va, part.clone())?;
            job.free();
            fixture.check()?;
            // The PTEs next to the part, and both words of the dual PDE.
            let rest_words = TABLE_WORDS - usize::try_from(part.end - part.start)?;
            ensure_eq!((seen.writes, seen.fresh), (rest_words + 2, rest_words));
            ensure_eq!(seen.command, DOWNGRADE);

            fixture.expect_unmapped(&va, part.clone())?;
            for rest in rest(LARGE, &part) {
                fixture.expect_mapped(&va, rest.clone(), &vram, rest.start, access)?;
            }
            ensure_eq!(fixture.table_count()?, levels::<F>());
            for rest in rest(LARGE, &part)
                .into_iter()
                .filter(|rest| !rest.is_empty())
            {
                fixture.unmap(&va, rest)?;
            }
            fixture.check()?;
            ensure_eq!(fixture.table_count()?, 1);
        }
    }

    Ok(())
}

/// No word is written, and prepared tables are freed.
pub(crate) fn unmap_unmapped<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let va = fixture.reserve(3 * LARGE)?;
    let free = fixture.free_tables();

    for pages in [0..1, 5..LARGE + 5, 0..3 * LARGE, LARGE..2 * LARGE] {
        let job = fixture.prepare_unmap(&va, pages)?;
        // The job would otherwise read back the last word of the prepared tables.
        let _ = fixture.hw.vram().finish()?;
        let seen = fixture.trace_and_free(job)?;
        ensure_eq!((seen.writes, seen.reads), (0, 0));
        ensure_eq!(seen.command, UPGRADE);
        ensure_eq!(fixture.free_tables(), free);
    }

    Ok(())
}

/// Empty tables except the root are freed. Tables with other mappings remain.
pub(crate) fn unmap_frees_empty_tables<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let free = fixture.free_tables();
    let vram = fixture.alloc(4)?;
    let page_of = |shift: u32| (1 << shift) / PAGE_SIZE;

    // Each mapping shares more tables with the first one than the previous mapping does.
    let first = fixture.reserve_at(0..1)?;
    fixture.map(&first, 0..1, &vram, 0, ReadWrite)?;
    let mut others = KVec::new();
    for level in F::LEVELS {
        let at = page_of(level.shift);
        let va = fixture.reserve_at(at..at + 1)?;
        fixture.map(&va, 0..1, &vram, 1, ReadWrite)?;
        others.push(va, GFP_KERNEL)?;
    }
    fixture.check()?;
    let levels = levels::<F>();
    ensure_eq!(fixture.table_count()?, levels + levels * (levels - 1) / 2);

    for (number, va) in (1..).zip(others.iter()) {
        let count = fixture.table_count()?;
        fixture.unmap(va, 0..1)?;
        fixture.check()?;
        ensure_eq!(fixture.table_count()?, count - (levels - number));
        ensure_eq!(fixture.free_tables(), free + 1 - fixture.table_count()?);
        fixture.expect_mapped(&first, 0..1, &vram, 0, ReadWrite)?;
    }
    fixture.unmap(&first, 0..1)?;
    fixture.check()?;
    ensure_eq!(fixture.table_count()?, 1);
    ensure_eq!(fixture.free_tables(), free);

    Ok(())
}

/// One job unmaps several mappings and the unmapped pages between them.
pub(crate) fn unmap_range_with_holes<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(2 * LARGE)?;
    let count = 300 * LARGE;
    let va = fixture.reserve(count)?;
    fixture.map(&va, 3..5, &vram, 0, ReadWrite)?;
    fixture.map(&va, LARGE..2 * LARGE, &vram, 0, ReadWrite)?;
    fixture.map(&va, 2 * LARGE..3 * LARGE, &vram, 1, ReadWrite)?;
    fixture.map(&va, 290 * LARGE + 7..291 * LARGE, &vram, 0, ReadOnly)?;
    fixture.check()?;

    fixture.unmap(&va, 4..290 * LARGE + 8)?;
    fixture.check()?;
    fixture.expect_mapped(&va, 3..4, &vram, 0, ReadWrite)?;
    fixture.expect_unmapped(&va, 4..4 * LARGE)?;
    fixture.expect_unmapped(&va, 290 * LARGE..290 * LARGE + 8)?;
    fixture.expect_mapped(&va, 290 * LARGE + 8..291 * LARGE, &vram, 1, ReadOnly)?;

    fixture.unmap(&va, 0..count)?;
    fixture.check()?;
    ensure_eq!(fixture.table_count()?, 1);

    Ok(())
}

/// Unmapping big pages does not write a table of small pages that is only prepared, unless a big
/// page is split.
pub(crate) fn unmap_skips_prepared_table<F: TestFormat>() -> Result {
    const BIG: u64 = PageSize::Size64K.pages();

    for (part, writes) in [(BIG..2 * BIG, Some(1)), (1..BIG, None)] {
        let mut fixture = Fixture::<F>::new()?;
        let vram = fixture.alloc(LARGE + 1)?;
        let va = fixture.reserve(LARGE)?;
        fixture.map(&va, 0..LARGE - BIG, &vram, 0, ReadWrite)?;

        // With no zeroed page left, a job that fills a table gets a page with other contents.
        let mut zeroed = KVec::new();
        loop {
            let page = fixture.memory.alloc_table()?;
            if !page.is_zero() {
                break;
            }
            zeroed.push(page, GFP_KERNEL)?;
        }
        let other = fixture.prepare_map(&va, 0..LARGE, &vram, 1, ReadOnly)?;
        drop(zeroed);

        let (job, seen) =
            fixture.trace(fixture.prepare_unmap(&va, part.clone())?, &mut |_| Ok(()))?;
        ensure!(writes.is_none() || writes == Some(seen.writes));
        job.free();
        fixture.expect_unmapped(&va, part.clone())?;
        for rest in rest(LARGE - BIG, &part) {
            fixture.expect_mapped(&va, rest.clone(), &vram, rest.start, ReadWrite)?;
        }

        complete(other)?;
        fixture.check()?;
        fixture.expect_mapped(&va, 0..LARGE, &vram, 1, ReadOnly)?;
    }

    Ok(())
}

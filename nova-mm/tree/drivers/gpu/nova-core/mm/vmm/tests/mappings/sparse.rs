// SPDX-License-Identifier: GPL-2.0

//! Tests of sparse ranges.

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        Vfn, //
    },
    format::Access::*,
    memory::Backing,
    model::Fault,
    tables::tests::map::levels,
    vmm::tests::{
        fixture::{
            ensure,
            ensure_eq,
            within,
            Fixture,
            TestFormat,
            LARGE, //
        },
        mappings::{
            expect_fault,
            map,
            FirstWords,
            Published, //
        },
        trace::DOWNGRADE,
    }, //
};

/// Number of pages that an entry of the second to last directory spans: 512 MiB.
const HUGE: u64 = PageSize::Size512M.pages();

/// Accesses to the range do not fault, and accesses next to it do.
pub(crate) fn sparse_range_no_fault<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let (avail, free) = (fixture.data.avail(), fixture.free_tables());
    for pages in [
        5..6,
        3..40,
        0..LARGE,
        7..3 * LARGE + 9,
        LARGE..2 * LARGE + 1,
    ] {
        let va = fixture.reserve(4 * LARGE)?;
        map(&fixture, &va, pages.clone(), Backing::sparse())?;
        fixture.check()?;

        expect_fault(&fixture, &va, 0..pages.start, Fault::Unmapped)?;
        expect_fault(&fixture, &va, pages.clone(), Fault::Sparse)?;
        expect_fault(&fixture, &va, pages.end..4 * LARGE, Fault::Unmapped)?;
        fixture.unmap(&va, pages)?;
        fixture.check()?;
        expect_fault(&fixture, &va, 0..4 * LARGE, Fault::Unmapped)?;
        ensure_eq!(fixture.table_count()?, 1);
        ensure_eq!((fixture.data.avail(), fixture.free_tables()), (avail, free));
    }

    Ok(())
}

/// Directory entries are sparse where the range covers them completely.
pub(crate) fn sparse_range_uses_few_tables<F: TestFormat>() -> Result {
    for (pages, tables) in [
        (0..1, levels::<F>()),
        (0..LARGE, levels::<F>() - 1),
        (0..3 * LARGE, levels::<F>() - 1),
        (HUGE..2 * HUGE, levels::<F>() - 2),
        (HUGE..9 * HUGE, levels::<F>() - 2),
        // One table each for the slot and for the page after it.
        (HUGE..2 * HUGE + LARGE + 1, levels::<F>()),
    ] {
        let mut fixture = Fixture::<F>::new()?;
        let va = fixture.reserve_at(pages.clone())?;
        map(&fixture, &va, 0..pages.end - pages.start, Backing::sparse())?;
        fixture.check()?;

        ensure_eq!(fixture.table_count()?, tables);
        let last = pages.end - pages.start - 1;
        for page in [0, last / 2, last] {
            expect_fault(&fixture, &va, page..page + 1, Fault::Sparse)?;
        }
        fixture.unmap(&va, 0..last + 1)?;
        fixture.check()?;
        ensure_eq!(fixture.table_count()?, 1);
    }

    Ok(())
}

/// Sparse entries of each level have the published words.
pub(crate) fn sparse_words_match_headers<F: Published>() -> Result {
    let [directory, dual, page] = F::SPARSE;

    for (pages, expected) in [
        (1, [None, None, Some(page)]),
        (LARGE, [None, Some(dual), None]),
        (HUGE, [Some(directory), None, None]),
    ] {
        let fixture = Fixture::<F>::new()?;
        let va = fixture.reserve_at(0..pages)?;
        map(&fixture, &va, 0..pages, Backing::sparse())?;

        let words = FirstWords::read(&fixture)?;
        let [directory, dual, page] = expected;
        if let Some(word) = directory {
            ensure_eq!(words.directories.last(), Some(&word));
        }
        if let Some(word) = dual {
            ensure_eq!(words.dual, [word, 0]);
        }
        if let Some(word) = page {
            ensure_eq!(words.small, word);
        }
    }

    Ok(())
}

/// The rest stays sparse, except for the moment at which a directory entry changes.
pub(crate) fn sparse_unmap_part<F: TestFormat>() -> Result {
    for (count, part) in [
        (40, 3..9),
        (LARGE, 0..1),
        (LARGE, 100..200),
        (LARGE, LARGE - 1..LARGE),
        (3 * LARGE, LARGE - 5..2 * LARGE + 5),
        (HUGE, 2 * LARGE + 7..3 * LARGE + 9),
    ] {
        let mut fixture = Fixture::<F>::new()?;
        let va = fixture.reserve_at(HUGE..HUGE + count)?;
        map(&fixture, &va, 0..count, Backing::sparse())?;
        fixture.check()?;

        let (pdb, first) = (fixture.pdb(), va.start());
        let last = count.min(part.end + 2 * LARGE);
        let job = fixture.prepare_unmap(&va, part.clone())?;
        let (job, _) = fixture.trace(job, &mut |gpu| {
            // A sample of the pages, and all pages next to the part.
            let before = (0..part.start).filter(|page| page % 61 == 0 || page + 9 > part.start);
            let after = (part.end..last).filter(|page| page % 61 == 0 || *page < part.end + 9);
            let mut ensure_sparse = |page| {
                let found = gpu.walk(pdb, Vfn::new(first + page)?.address());
                let is_split =
                    page / LARGE == part.start / LARGE || page / LARGE == part.end / LARGE;
                ensure!(
                    found == Err(Fault::Sparse)
                        || is_split && count >= LARGE && found == Err(Fault::Unmapped)
                );

                Ok(())
            };
            before.into_iter().try_for_each(&mut ensure_sparse)?;
            after.into_iter().try_for_each(&mut ensure_sparse)
        })?;
        job.free();
        fixture.check()?;
        expect_fault(&fixture, &va, 0..part.start, Fault::Sparse)?;
        expect_fault(&fixture, &va, part.clone(), Fault::Unmapped)?;
        expect_fault(&fixture, &va, part.end..last, Fault::Sparse)?;
        fixture.unmap(&va, 0..count)?;
        fixture.check()?;
        ensure_eq!(fixture.table_count()?, 1);
    }

    Ok(())
}

/// Memory is mapped in a sparse range, as for a sparse buffer, which then becomes sparse again.
pub(crate) fn sparse_replaces_memory_and_back<F: TestFormat>() -> Result {
    for count in [40, 2 * LARGE, 3 * LARGE + 5] {
        for part in [0..16, 3..9, 16..32, 0..40, 5..count.min(LARGE + 7)] {
            for skip in [part.start, part.start + 1] {
                let mut fixture = Fixture::<F>::new()?;
                let avail = fixture.data.avail();
                let vram = fixture.alloc(2 * LARGE)?;
                let va = fixture.reserve(count)?;
                map(&fixture, &va, 0..count, Backing::sparse())?;
                fixture.map(&va, part.clone(), &vram, skip, ReadWrite)?;
                fixture.check()?;
                expect_fault(&fixture, &va, 0..part.start, Fault::Sparse)?;
                fixture.expect_mapped(&va, part.clone(), &vram, skip, ReadWrite)?;
                expect_fault(&fixture, &va, part.end..count, Fault::Sparse)?;

                drop(vram);
                map(&fixture, &va, part.clone(), Backing::sparse())?;
                fixture.check()?;
                expect_fault(&fixture, &va, 0..count, Fault::Sparse)?;
                ensure_eq!(fixture.data.avail(), avail);
                fixture.unmap(&va, 0..count)?;
                fixture.check()?;
                ensure_eq!(fixture.table_count()?, 1);
            }
        }
    }

    Ok(())
}

/// Changing the access to a sparse range has no effect, and the range can be split afterwards.
pub(crate) fn sparse_protect_keeps_sparse<F: TestFormat>() -> Result {
    for pages in [0..LARGE, 100..200, 0..100] {
        for part in [50..60, 150..160, 300..310] {
            let mut fixture = Fixture::<F>::new()?;
            let vram = fixture.alloc(4)?;
            let va = fixture.reserve(2 * LARGE)?;
            map(&fixture, &va, 0..LARGE, Backing::sparse())?;
            fixture.map(&va, LARGE..LARGE + 4, &vram, 0, ReadWrite)?;

            for access in [ReadOnly, ReadWrite] {
                fixture.protect(&va, pages.clone(), access)?;
                fixture.protect(&va, LARGE - 3..LARGE + 4, access)?;
                fixture.check()?;
                expect_fault(&fixture, &va, 0..LARGE, Fault::Sparse)?;
                fixture.expect_mapped(&va, LARGE..LARGE + 4, &vram, 0, access)?;
            }
            fixture.unmap(&va, part.clone())?;
            fixture.check()?;
            expect_fault(&fixture, &va, 0..part.start, Fault::Sparse)?;
            expect_fault(&fixture, &va, part.clone(), Fault::Unmapped)?;
            expect_fault(&fixture, &va, part.end..LARGE, Fault::Sparse)?;
        }
    }

    Ok(())
}

/// At no moment is an entry sparse that still points to a table.
pub(crate) fn sparse_replaces_tables<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(LARGE)?;
    let va = fixture.reserve(3 * LARGE)?;
    // Below the first entry are small pages, below the second big ones, below the third both.
    fixture.map(&va, 0..LARGE - 1, &vram, 1, ReadWrite)?;
    fixture.map(&va, LARGE..2 * LARGE - 16, &vram, 16, ReadWrite)?;
    fixture.map(&va, 2 * LARGE + 3..3 * LARGE, &vram, 3, ReadWrite)?;
    fixture.check()?;

    let pages = within(&va, 0..3 * LARGE)?;
    let seen = fixture.trace_and_free(fixture.vmm.prepare_map(pages, Backing::sparse())?)?;
    ensure_eq!(seen.command, DOWNGRADE);

    expect_fault(&fixture, &va, 0..3 * LARGE, Fault::Sparse)
}

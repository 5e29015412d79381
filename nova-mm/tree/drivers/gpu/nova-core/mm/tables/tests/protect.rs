// SPDX-License-Identifier: GPL-2.0

//! Tests of changing the access to mapped memory.

use kernel::prelude::*;

use crate::mm::{
    address::PageSize,
    format::Access::*,
    tables::tests::map::levels,
    vmm::tests::{
        fixture::{
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

/// One word is written per page whose access changes.
pub(crate) fn protect_small_pages<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(17)?;
    let va = fixture.reserve(16)?;
    // An offset of one page prevents larger pages.
    fixture.map(&va, 0..16, &vram, 1, ReadWrite)?;
    fixture.expect_mapped(&va, 0..16, &vram, 1, ReadWrite)?;

    let seen = fixture.trace_and_free(fixture.prepare_protect(&va, 3..9, ReadOnly)?)?;
    ensure_eq!((seen.writes, seen.command), (6, DOWNGRADE));
    fixture.expect_mapped(&va, 0..3, &vram, 1, ReadWrite)?;
    fixture.expect_mapped(&va, 3..9, &vram, 4, ReadOnly)?;
    fixture.expect_mapped(&va, 9..16, &vram, 10, ReadWrite)?;

    // Only jobs that forbid writes wait for earlier accesses.
    let seen = fixture.trace_and_free(fixture.prepare_protect(&va, 0..8, ReadWrite)?)?;
    ensure_eq!((seen.writes, seen.command), (5, UPGRADE));
    fixture.expect_mapped(&va, 0..8, &vram, 1, ReadWrite)?;
    fixture.expect_mapped(&va, 8..9, &vram, 9, ReadOnly)?;

    fixture.check()
}

/// A large page that is protected as a whole is not split.
pub(crate) fn protect_2m_page<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(LARGE)?;
    let va = fixture.map_all(&vram, ReadOnly)?;
    fixture.expect_mapped(&va, 0..LARGE, &vram, 0, ReadOnly)?;

    for (access, command) in [(ReadWrite, UPGRADE), (ReadOnly, DOWNGRADE)] {
        let seen = fixture.trace_and_free(fixture.prepare_protect(&va, 0..LARGE, access)?)?;
        ensure_eq!((seen.writes, seen.command), (1, command));
        fixture.expect_mapped(&va, 0..LARGE, &vram, 0, access)?;
        let size = fixture.lookup(va.start())?;
        ensure_eq!(size.map(|found| found.page_size), Some(PageSize::Size2M));
        ensure_eq!(fixture.table_count()?, levels::<F>() - 1);
    }

    Ok(())
}

/// The whole page stays mapped while it is split.
pub(crate) fn protect_part_of_2m_page<F: TestFormat>() -> Result {
    for part in [0..1, 0..300, 100..200, 511..512, 300..512] {
        for (old, new, command) in [
            (ReadOnly, ReadWrite, UPGRADE),
            (ReadWrite, ReadOnly, DOWNGRADE),
        ] {
            let mut fixture = Fixture::<F>::new()?;
            let vram = fixture.alloc(LARGE)?;
            let va = fixture.map_all(&vram, old)?;
            fixture.expect_mapped(&va, 0..LARGE, &vram, 0, old)?;

            let (pdb, memory) = (fixture.pdb(), start_of(&vram)?);
            let first = va.start();
            let job = fixture.prepare_protect(&va, part.clone(), new)?;
            let (job, seen) = fixture.trace(job, &mut |gpu| {
                ensure_mapped_on(gpu, pdb, first, memory, 0..LARGE)
            })?;
            job.free();
            fixture.check()?;
            ensure_eq!((seen.writes, seen.fresh), (TABLE_WORDS + 2, TABLE_WORDS));
            ensure_eq!(seen.command, command);

            fixture.expect_mapped(&va, 0..part.start, &vram, 0, old)?;
            fixture.expect_mapped(&va, part.clone(), &vram, part.start, new)?;
            fixture.expect_mapped(&va, part.end..LARGE, &vram, part.end, old)?;
        }
    }

    Ok(())
}

/// If the access does not change, no word is written and no large page is split.
pub(crate) fn protect_same_access<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(LARGE)?;

    for access in [ReadOnly, ReadWrite] {
        for count in [LARGE, 5] {
            let va = fixture.reserve(LARGE)?;
            fixture.map(&va, 0..count, &vram, 0, access)?;
            let tables = fixture.table_count()?;

            for pages in [0..LARGE, 2..4] {
                let seen = fixture.trace_and_free(fixture.prepare_protect(&va, pages, access)?)?;
                ensure_eq!((seen.writes, seen.command), (0, UPGRADE));
                ensure_eq!(fixture.table_count()?, tables);
            }
            fixture.expect_mapped(&va, 0..count, &vram, 0, access)?;
        }
    }

    Ok(())
}

/// A large page can be split after part of it was protected without a change.
pub(crate) fn protect_same_access_then_unmap<F: TestFormat>() -> Result {
    for pages in [100..200, 0..200, 300..LARGE] {
        for part in [150..160, 50..60, 350..360, 90..310] {
            let mut fixture = Fixture::<F>::new()?;
            let vram = fixture.alloc(LARGE)?;
            let va = fixture.map_all(&vram, ReadWrite)?;
            fixture.protect(&va, pages.clone(), ReadWrite)?;

            fixture.unmap(&va, part.clone())?;
            fixture.check()?;
            fixture.expect_mapped(&va, 0..part.start, &vram, 0, ReadWrite)?;
            fixture.expect_unmapped(&va, part.clone())?;
            fixture.expect_mapped(&va, part.end..LARGE, &vram, part.end, ReadWrite)?;
        }
    }

    Ok(())
}

/// Unmapped pages stay unmapped, and prepared tables are freed.
pub(crate) fn protect_unmapped<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(4)?;
    let va = fixture.reserve(4 * LARGE)?;

    let seen = fixture.trace_and_free(fixture.prepare_protect(&va, 1..3 * LARGE, ReadOnly)?)?;
    ensure_eq!((seen.writes, seen.command), (0, UPGRADE));
    ensure_eq!(fixture.table_count()?, 1);

    fixture.map(&va, LARGE + 1..LARGE + 5, &vram, 0, ReadWrite)?;
    let seen = fixture.trace_and_free(fixture.prepare_protect(&va, 0..4 * LARGE, ReadOnly)?)?;
    ensure_eq!((seen.writes, seen.command), (4, DOWNGRADE));
    fixture.expect_unmapped(&va, 0..LARGE + 1)?;
    fixture.expect_mapped(&va, LARGE + 1..LARGE + 5, &vram, 0, ReadOnly)?;
    fixture.expect_unmapped(&va, LARGE + 5..4 * LARGE)?;

    fixture.check()
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of changing what may be done with what is mapped.

use kernel::prelude::*;

use crate::mm::{
    address::PageSize,
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

/// There is one write for each page.
pub(crate) fn protect_small_pages<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(16)?;
    let va = bench.map_all(&vram, ReadWrite)?;
    bench.expect_mapped(&va, 0..16, &vram, 0, ReadWrite)?;

    let seen = bench.observe_all(bench.submit_protect(&va, 3..9, ReadOnly)?)?;
    ensure_eq!((seen.writes, seen.command), (6, DOWNGRADE));
    bench.expect_mapped(&va, 0..3, &vram, 0, ReadWrite)?;
    bench.expect_mapped(&va, 3..9, &vram, 3, ReadOnly)?;
    bench.expect_mapped(&va, 9..16, &vram, 9, ReadWrite)?;

    // Writes are waited for only when they are forbidden.
    let seen = bench.observe_all(bench.submit_protect(&va, 0..8, ReadWrite)?)?;
    ensure_eq!((seen.writes, seen.command), (5, UPGRADE));
    bench.expect_mapped(&va, 0..8, &vram, 0, ReadWrite)?;
    bench.expect_mapped(&va, 8..9, &vram, 8, ReadOnly)?;

    bench.check()
}

/// It stays one page.
pub(crate) fn protect_a_large_page<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(LARGE)?;
    let va = bench.map_all(&vram, ReadOnly)?;
    bench.expect_mapped(&va, 0..LARGE, &vram, 0, ReadOnly)?;

    for (access, command) in [(ReadWrite, UPGRADE), (ReadOnly, DOWNGRADE)] {
        let seen = bench.observe_all(bench.submit_protect(&va, 0..LARGE, access)?)?;
        ensure_eq!((seen.writes, seen.command), (1, command));
        bench.expect_mapped(&va, 0..LARGE, &vram, 0, access)?;
        let size = bench.look(va.pages().start.into_raw())?;
        ensure_eq!(size.map(|found| found.page_size), Some(PageSize::Size2M));
        ensure_eq!(bench.table_count()?, levels::<F>() - 1);
    }

    Ok(())
}

/// All of it stays mapped, at any moment.
pub(crate) fn protect_parts_of_a_large_page<F: TestFormat>() -> Result {
    for part in [0..1, 0..300, 100..200, 511..512, 300..512] {
        for (old, new, command) in [
            (ReadOnly, ReadWrite, UPGRADE),
            (ReadWrite, ReadOnly, DOWNGRADE),
        ] {
            let mut bench = Bench::<F>::new()?;
            let vram = bench.alloc(LARGE)?;
            let va = bench.map_all(&vram, old)?;
            bench.expect_mapped(&va, 0..LARGE, &vram, 0, old)?;

            let (pdb, memory) = (bench.vmm.pdb(), start_of(&vram)?);
            let first = va.pages().start.into_raw();
            let job = bench.submit_protect(&va, part.clone(), new)?;
            let (ran, seen) = bench.observe(job, &mut |gpu| {
                ensure_mapped_on(gpu, pdb, first, memory, 0..LARGE)
            })?;
            ran.cleanup()?;
            bench.check()?;
            ensure_eq!((seen.writes, seen.fresh), (TABLE_WORDS + 2, TABLE_WORDS));
            ensure_eq!(seen.command, command);

            bench.expect_mapped(&va, 0..part.start, &vram, 0, old)?;
            bench.expect_mapped(&va, part.clone(), &vram, part.start, new)?;
            bench.expect_mapped(&va, part.end..LARGE, &vram, part.end, old)?;
        }
    }

    Ok(())
}

/// Nothing is written, and no large page is split for it.
pub(crate) fn protect_what_is_so_already<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(LARGE)?;

    for access in [ReadOnly, ReadWrite] {
        for count in [LARGE, 5] {
            let va = bench.reserve(LARGE)?;
            bench.map(&va, 0..count, &vram, 0, access)?;
            let tables = bench.table_count()?;

            for pages in [0..LARGE, 2..4] {
                let seen = bench.observe_all(bench.submit_protect(&va, pages, access)?)?;
                ensure_eq!((seen.writes, seen.command), (0, UPGRADE));
                ensure_eq!(bench.table_count()?, tables);
            }
            bench.expect_mapped(&va, 0..count, &vram, 0, access)?;
        }
    }

    Ok(())
}

/// It stays so, and needs no tables.
pub(crate) fn protect_what_is_not_mapped<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(4)?;
    let va = bench.reserve(4 * LARGE)?;

    let seen = bench.observe_all(bench.submit_protect(&va, 1..3 * LARGE, ReadOnly)?)?;
    ensure_eq!((seen.writes, seen.command), (0, UPGRADE));
    ensure_eq!(bench.table_count()?, 1);

    bench.map(&va, LARGE + 1..LARGE + 5, &vram, 0, ReadWrite)?;
    let seen = bench.observe_all(bench.submit_protect(&va, 0..4 * LARGE, ReadOnly)?)?;
    ensure_eq!((seen.writes, seen.command), (4, DOWNGRADE));
    bench.expect_unmapped(&va, 0..LARGE + 1)?;
    bench.expect_mapped(&va, LARGE + 1..LARGE + 5, &vram, 0, ReadOnly)?;
    bench.expect_unmapped(&va, LARGE + 5..4 * LARGE)?;

    bench.check()
}

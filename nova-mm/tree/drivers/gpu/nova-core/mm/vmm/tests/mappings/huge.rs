// SPDX-License-Identifier: GPL-2.0

//! Tests of 512 MiB pages, which some chips support.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    address::PageSize,
    format::{
        Access::*,
        PageSizes, //
    },
    model::Generation,
    tables::tests::map::levels,
    vmm::tests::{
        fixture::{
            ensure_eq,
            start_of,
            Area,
            Fixture,
            TestFormat,
            LARGE, //
        },
        mappings::{
            expect_size,
            vram_at, //
        },
        trace::{
            ensure_mapped_on,
            DOWNGRADE, //
        },
    },
    vram::Vram, //
};

/// Number of 4 KiB pages in a 512 MiB page.
const HUGE: u64 = PageSize::Size512M.pages();

/// Creates an address space on a chip with 512 MiB pages.
fn fixture<F: TestFormat>() -> Result<Fixture<F>> {
    let generation = match F::GENERATION {
        Generation::Turing => Generation::Ampere,
        other => other,
    };

    Fixture::with_page_sizes(generation, PageSizes::COMMON.with(PageSize::Size512M))
}

/// Creates an address space in which a 512 MiB page is mapped.
fn mapped<F: TestFormat>() -> Result<(Fixture<F>, Area, Arc<Vram>)> {
    let mut fixture = fixture::<F>()?;
    let vram = fixture.alloc(HUGE)?;
    let va = fixture.reserve_at(HUGE..2 * HUGE)?;
    fixture.map(&va, 0..HUGE, &vram, 0, ReadWrite)?;
    fixture.check()?;

    Ok((fixture, va, vram))
}

/// Fails unless `pages` are mapped to contiguous memory that begins at `memory`. Checks a sample of
/// the pages.
fn expect_some<F: TestFormat>(
    fixture: &Fixture<F>,
    va: &Area,
    pages: Range<u64>,
    memory: u64,
) -> Result {
    let address = vram_at(memory);
    let is_near = |page: u64| page < pages.start + 40 || page + 40 >= pages.end;

    for page in pages
        .clone()
        .filter(|&page| is_near(page) || page % 1021 == 0)
    {
        let found = fixture.translate(va.start() + page)?;
        ensure_eq!(found.map(|found| found.address), Ok(address(page)));
    }

    Ok(())
}

/// Parts of a 512 MiB page: within a 2 MiB slot, whole slots, and both.
const PARTS: [Range<u64>; 6] = [
    0..1,
    LARGE..2 * LARGE,
    5 * LARGE + 7..9 * LARGE + 3,
    HUGE - 1..HUGE,
    7 * LARGE + 16..7 * LARGE + 32,
    1..HUGE - 1,
];

pub(crate) fn huge_page_maps_512m<F: TestFormat>() -> Result {
    let (mut fixture, va, vram) = mapped::<F>()?;
    expect_some(&fixture, &va, 0..HUGE, start_of(&vram)?)?;
    expect_size(&fixture, &va, 0..1, PageSize::Size512M)?;
    expect_size(&fixture, &va, HUGE - 1..HUGE, PageSize::Size512M)?;
    ensure_eq!(fixture.table_count()?, levels::<F>() - 2);
    for page in [HUGE - 1, 2 * HUGE] {
        ensure_eq!(fixture.lookup(page)?, None);
    }

    // A range that is one page short cannot use a 512 MiB page.
    fixture.unmap(&va, 0..HUGE)?;
    fixture.check()?;
    ensure_eq!(fixture.table_count()?, 1);
    fixture.map(&va, 0..HUGE - 1, &vram, 0, ReadOnly)?;
    fixture.check()?;
    expect_size(&fixture, &va, 0..1, PageSize::Size2M)?;
    expect_some(&fixture, &va, 0..HUGE - 1, start_of(&vram)?)
}

/// Chips without 512 MiB pages use 2 MiB pages.
pub(crate) fn huge_page_without_size_maps_2m<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(HUGE)?;
    let va = fixture.reserve_at(HUGE..2 * HUGE)?;
    fixture.map(&va, 0..HUGE, &vram, 0, ReadWrite)?;
    fixture.check()?;

    expect_some(&fixture, &va, 0..HUGE, start_of(&vram)?)?;
    expect_size(&fixture, &va, 0..1, PageSize::Size2M)?;
    ensure_eq!(fixture.table_count()?, levels::<F>() - 1);

    Ok(())
}

/// The rest becomes 2 MiB pages, and small pages next to the part.
pub(crate) fn huge_page_unmap_part<F: TestFormat>() -> Result {
    for part in PARTS {
        let (mut fixture, va, vram) = mapped::<F>()?;
        let memory = start_of(&vram)?;

        fixture.unmap(&va, part.clone())?;
        fixture.check()?;
        expect_some(&fixture, &va, 0..part.start, memory)?;
        for page in [part.start, part.end - 1] {
            ensure_eq!(fixture.lookup(va.start() + page)?, None);
        }
        expect_some(&fixture, &va, part.end..HUGE, memory)?;
        let before = part.start - part.start % LARGE;
        if before > 0 {
            expect_size(&fixture, &va, before - 1..before, PageSize::Size2M)?;
        }

        fixture.unmap(&va, 0..HUGE)?;
        fixture.check()?;
        ensure_eq!(fixture.table_count()?, 1);
    }

    Ok(())
}

pub(crate) fn huge_page_protect_part<F: TestFormat>() -> Result {
    for part in PARTS {
        let (mut fixture, va, vram) = mapped::<F>()?;

        fixture.protect(&va, part.clone(), ReadOnly)?;
        fixture.check()?;
        expect_some(&fixture, &va, 0..HUGE, start_of(&vram)?)?;
        for (page, read_only) in [
            (part.start.wrapping_sub(1), false),
            (part.start, true),
            (part.end - 1, true),
            (part.end, false),
        ] {
            if page < HUGE {
                let found = fixture.lookup(va.start() + page)?;
                ensure_eq!(found.map(|found| found.read_only), Some(read_only));
            }
        }
    }

    Ok(())
}

pub(crate) fn huge_page_remap_part<F: TestFormat>() -> Result {
    for part in PARTS {
        let (mut fixture, va, vram) = mapped::<F>()?;
        let new = fixture.alloc(HUGE)?;

        fixture.map(&va, part.clone(), &new, part.start, ReadWrite)?;
        fixture.check()?;
        expect_some(&fixture, &va, 0..part.start, start_of(&vram)?)?;
        expect_some(&fixture, &va, part.clone(), start_of(&new)?)?;
        expect_some(&fixture, &va, part.end..HUGE, start_of(&vram)?)?;
    }

    Ok(())
}

/// All tables below the page are removed.
pub(crate) fn huge_page_replaces_smaller<F: TestFormat>() -> Result {
    let mut fixture = fixture::<F>()?;
    let vram = fixture.alloc(HUGE)?;
    let va = fixture.reserve_at(HUGE..2 * HUGE)?;
    fixture.map(&va, 0..3 * LARGE, &vram, 0, ReadWrite)?;
    fixture.map(&va, 4 * LARGE..5 * LARGE, &vram, 1, ReadWrite)?;
    fixture.map(&va, 6 * LARGE..6 * LARGE + 32, &vram, 0, ReadWrite)?;
    fixture.check()?;

    fixture.map(&va, 0..HUGE, &vram, 0, ReadOnly)?;
    fixture.check()?;
    ensure_eq!(fixture.table_count()?, levels::<F>() - 2);
    expect_some(&fixture, &va, 0..HUGE, start_of(&vram)?)?;
    expect_size(&fixture, &va, 0..1, PageSize::Size512M)
}

/// The rest stays mapped while directories and tables replace the page.
pub(crate) fn huge_page_split_keeps_rest<F: TestFormat>() -> Result {
    for part in [5 * LARGE + 7..5 * LARGE + 9, 5 * LARGE..6 * LARGE, 0..1] {
        for is_protect in [false, true] {
            let (fixture, va, vram) = mapped::<F>()?;
            let (pdb, memory) = (fixture.pdb(), start_of(&vram)?);
            let job = match is_protect {
                true => fixture.prepare_protect(&va, part.clone(), ReadOnly)?,
                false => fixture.prepare_unmap(&va, part.clone())?,
            };

            let (job, seen) = fixture.trace(job, &mut |gpu| {
                for pages in [
                    part.start.saturating_sub(LARGE)..part.start,
                    part.end..part.end + LARGE,
                    HUGE - 1..HUGE,
                ] {
                    ensure_mapped_on(gpu, pdb, va.start(), memory, pages)?;
                }

                Ok(())
            })?;
            job.free();
            ensure_eq!(seen.command, DOWNGRADE);
        }
    }

    Ok(())
}

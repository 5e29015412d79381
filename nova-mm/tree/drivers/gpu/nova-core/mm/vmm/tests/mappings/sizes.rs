// SPDX-License-Identifier: GPL-2.0

//! Tests of 64 KiB pages, next to and in place of 4 KiB and 2 MiB pages.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    address::{
        PageSize,
        PAGE_SIZE, //
    },
    format::{
        Access,
        Access::*, //
    },
    tables::tests::map::{
        levels,
        scattered, //
    },
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
            ensure_either,
            expect_size,
            run_with_cached_directories,
            vram_at, //
        },
        trace::{
            ensure_mapped_on,
            DOWNGRADE,
            UPGRADE, //
        },
    },
    vram::Vram, //
};

/// Number of 4 KiB pages in a 64 KiB page.
const BIG: u64 = PageSize::Size64K.pages();

/// Number of 4 KiB pages that a test maps with 64 KiB pages.
const COUNT: u64 = 4 * BIG;

/// The 4 KiB page in the same 2 MiB slot, if a test maps one.
const SMALL: u64 = 2 * COUNT;

/// Parts of the pages: within a 64 KiB page, whole ones, and across their boundaries.
const PARTS: [Range<u64>; 9] = [
    16..17,
    20..27,
    31..32,
    16..32,
    8..40,
    5..60,
    0..1,
    0..63,
    31..33,
];

/// An address space with memory mapped by 64 KiB pages.
struct Setup<F: TestFormat> {
    fixture: Fixture<F>,
    va: Area,
    vram: Arc<Vram>,
}

impl<F: TestFormat> Setup<F> {
    /// Maps `COUNT` pages, and a 4 KiB page in the same 2 MiB slot if `has_small` is set.
    fn new(access: Access, has_small: bool) -> Result<Self> {
        let mut fixture = Fixture::<F>::new()?;
        let vram = fixture.alloc(COUNT)?;
        let va = fixture.reserve_at(3 * LARGE..4 * LARGE)?;
        fixture.map(&va, 0..COUNT, &vram, 0, access)?;
        if has_small {
            fixture.map(&va, SMALL..SMALL + 1, &vram, 0, access)?;
        }
        fixture.check()?;
        expect_size(&fixture, &va, 0..COUNT, PageSize::Size64K)?;
        ensure_eq!(fixture.table_count()?, levels::<F>() + u64::from(has_small));

        Ok(Self { fixture, va, vram })
    }

    /// Fails unless the pages before and after `part` are mapped as before, and pages beyond the
    /// memory are unmapped.
    fn expect_rest(&mut self, part: &Range<u64>, access: Access, has_small: bool) -> Result {
        let Self { fixture, va, vram } = self;
        fixture.check()?;
        fixture.expect_mapped(va, 0..part.start, vram, 0, access)?;
        fixture.expect_mapped(va, part.end..COUNT, vram, part.end, access)?;
        fixture.expect_unmapped(va, COUNT..SMALL)?;
        match has_small {
            true => fixture.expect_mapped(va, SMALL..SMALL + 1, vram, 0, access)?,
            false => fixture.expect_unmapped(va, SMALL..SMALL + 1)?,
        }
        if has_small {
            // If a table of small pages exists, only pages at the ends of the part are split.
            let whole = part.start - part.start % BIG..part.end.next_multiple_of(BIG);
            expect_size(fixture, va, 0..whole.start, PageSize::Size64K)?;
            expect_size(fixture, va, whole.end..COUNT, PageSize::Size64K)?;
        }

        Ok(())
    }

    /// Returns the pages before and after `part`.
    fn rest(part: &Range<u64>) -> impl Iterator<Item = u64> {
        [0..part.start, part.end..COUNT].into_iter().flatten()
    }
}

/// 64 KiB pages are used where the memory is contiguous and aligned.
pub(crate) fn big_pages_of_scattered_vram<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = scattered(&[
        0..32,
        35..36,
        48..80,
        2 * LARGE - 16..2 * LARGE + 16,
        3 * LARGE..3 * LARGE + 8,
    ])?;
    let count = vram.size() / PAGE_SIZE;
    let va = fixture.reserve(count)?;
    fixture.map(&va, 0..count, &vram, 0, ReadWrite)?;
    fixture.check()?;
    fixture.expect_mapped(&va, 0..count, &vram, 0, ReadWrite)?;

    // Each range of the memory is aligned to its size.
    let mut first = 0;
    for range in vram.ranges() {
        let (start, end) = (range.start.into_raw(), range.end.into_raw());
        let pages = (end - start) / PAGE_SIZE;
        let is_big = first % BIG == 0 && start % PageSize::Size64K.bytes() == 0 && pages >= BIG;
        let size = match is_big {
            true => PageSize::Size64K,
            false => PageSize::Size4K,
        };
        expect_size(&fixture, &va, first..first + pages, size)?;
        first += pages;
    }

    Ok(())
}

/// Mappings of both sizes share a 2 MiB slot, and can be unmapped independently.
pub(crate) fn big_and_small_pages_share_slot<F: TestFormat>() -> Result {
    for (first, second) in [(0..5, 16..48), (16..48, 0..5), (48..64, 37..48)] {
        for order in [[0, 1], [1, 0]] {
            let mut fixture = Fixture::<F>::new()?;
            let vram = fixture.alloc(64)?;
            let va = fixture.reserve(64)?;
            let parts = [first.clone(), second.clone()];
            for part in &parts {
                fixture.map(&va, part.clone(), &vram, part.start, ReadWrite)?;
                fixture.check()?;
            }
            ensure_eq!(fixture.table_count()?, levels::<F>() + 1);
            for part in &parts {
                fixture.expect_mapped(&va, part.clone(), &vram, part.start, ReadWrite)?;
                let size = match part.start % BIG {
                    0 if part.end - part.start >= BIG => PageSize::Size64K,
                    _ => PageSize::Size4K,
                };
                expect_size(&fixture, &va, part.clone(), size)?;
            }

            let [gone, kept] = order.map(|index: usize| &parts[index]);
            let seen = fixture.trace_and_free(fixture.prepare_unmap(&va, gone.clone())?)?;
            ensure_eq!(seen.command, DOWNGRADE);
            fixture.expect_unmapped(&va, gone.clone())?;
            fixture.expect_mapped(&va, kept.clone(), &vram, kept.start, ReadWrite)?;
            ensure_eq!(fixture.table_count()?, levels::<F>());
            fixture.unmap(&va, kept.clone())?;
            fixture.check()?;
            ensure_eq!(fixture.table_count()?, 1);
        }
    }

    Ok(())
}

/// The rest of the pages stays mapped at all times.
pub(crate) fn big_page_unmap_part<F: TestFormat>() -> Result {
    for part in PARTS {
        for has_small in [false, true] {
            let mut setup = Setup::<F>::new(ReadOnly, has_small)?;
            let Setup { fixture, va, vram } = &mut setup;
            let (pdb, memory) = (fixture.pdb(), start_of(vram)?);

            let job = fixture.prepare_unmap(va, part.clone())?;
            let (job, seen) = fixture.trace(job, &mut |gpu| {
                ensure_mapped_on(gpu, pdb, va.start(), memory, Setup::<F>::rest(&part))
            })?;
            fixture.expect_unmapped(va, part.clone())?;
            job.free();
            ensure_eq!(seen.command, DOWNGRADE);

            setup.expect_rest(&part, ReadOnly, has_small)?;
            let Setup { fixture, va, .. } = &mut setup;
            fixture.expect_unmapped(va, part.clone())?;
            fixture.unmap(va, 0..LARGE)?;
            fixture.check()?;
            ensure_eq!(fixture.table_count()?, 1);
        }
    }

    Ok(())
}

/// All pages stay mapped at all times.
pub(crate) fn big_page_protect_part<F: TestFormat>() -> Result {
    for part in PARTS {
        for (old, new, command) in [
            (ReadOnly, ReadWrite, UPGRADE),
            (ReadWrite, ReadOnly, DOWNGRADE),
        ] {
            for has_small in [false, true] {
                let mut setup = Setup::<F>::new(old, has_small)?;
                let Setup { fixture, va, vram } = &mut setup;
                let (pdb, memory) = (fixture.pdb(), start_of(vram)?);

                let job = fixture.prepare_protect(va, part.clone(), new)?;
                let (job, seen) = fixture.trace(job, &mut |gpu| {
                    ensure_mapped_on(gpu, pdb, va.start(), memory, 0..COUNT)
                })?;
                job.free();
                if command == DOWNGRADE {
                    ensure_eq!(seen.command, command);
                }
                fixture.expect_mapped(va, part.clone(), vram, part.start, new)?;
                setup.expect_rest(&part, old, has_small)?;
            }
        }
    }

    Ok(())
}

/// The rest of the pages stays mapped at all times, and the part is mapped to the old or the new
/// memory.
pub(crate) fn big_page_remap_part<F: TestFormat>() -> Result {
    for part in PARTS {
        // With new memory that is aligned like the pages, and with memory that is not.
        for skip in [part.start, part.start + 1] {
            for has_small in [false, true] {
                let mut setup = Setup::<F>::new(ReadWrite, has_small)?;
                let Setup { fixture, va, vram } = &mut setup;
                let new = fixture.alloc(2 * COUNT)?;
                let (pdb, memory) = (fixture.pdb(), start_of(vram)?);
                let new_start = start_of(&new)? + (skip - part.start) * PAGE_SIZE;

                let job = fixture.prepare_map(va, part.clone(), &new, skip, ReadOnly)?;
                let (job, seen) = fixture.trace(job, &mut |gpu| {
                    ensure_mapped_on(gpu, pdb, va.start(), memory, Setup::<F>::rest(&part))?;
                    let (old, new) = (vram_at(memory), vram_at(new_start));
                    ensure_either(gpu, pdb, va.start(), part.clone(), &old, &new)
                })?;
                job.free();
                ensure_eq!(seen.command, DOWNGRADE);
                fixture.expect_mapped(va, part.clone(), &new, skip, ReadOnly)?;
                setup.expect_rest(&part, ReadWrite, has_small)?;
            }
        }
    }

    Ok(())
}

/// Pages that are protected as a whole are not split. One word is written per page.
pub(crate) fn big_page_protect_whole<F: TestFormat>() -> Result {
    for has_small in [false, true] {
        let mut setup = Setup::<F>::new(ReadOnly, has_small)?;
        let Setup { fixture, va, vram } = &mut setup;
        let tables = fixture.table_count()?;

        for (access, command) in [(ReadWrite, UPGRADE), (ReadOnly, DOWNGRADE)] {
            let job = fixture.prepare_protect(va, BIG..3 * BIG, access)?;
            let seen = fixture.trace_and_free(job)?;
            ensure_eq!((seen.writes, seen.command), (2, command));
            fixture.expect_mapped(va, BIG..3 * BIG, vram, BIG, access)?;
            expect_size(fixture, va, 0..COUNT, PageSize::Size64K)?;
            ensure_eq!(fixture.table_count()?, tables);
        }
    }

    Ok(())
}

/// A job that only adds rights unlinks a table. The invalidation waits for accesses through it.
pub(crate) fn big_page_protect_unlinks_table<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(BIG)?;
    let va = fixture.reserve(LARGE)?;
    fixture.map(&va, 0..BIG, &vram, 0, ReadOnly)?;
    fixture.map(&va, SMALL..SMALL + 1, &vram, 0, ReadOnly)?;
    fixture.check()?;
    ensure_eq!(fixture.table_count()?, levels::<F>() + 1);

    let seen = fixture.trace_and_free(fixture.prepare_protect(&va, 3..9, ReadWrite)?)?;
    ensure_eq!(seen.command, DOWNGRADE);
    ensure_eq!(fixture.table_count()?, levels::<F>());
    expect_size(&fixture, &va, 0..BIG, PageSize::Size4K)?;
    fixture.expect_mapped(&va, 0..3, &vram, 0, ReadOnly)?;
    fixture.expect_mapped(&va, 3..9, &vram, 3, ReadWrite)?;
    fixture.expect_mapped(&va, 9..BIG, &vram, 9, ReadOnly)
}

/// A job changes the access to several mappings in a 2 MiB slot, and splits big pages at its ends.
pub(crate) fn big_page_protect_two_mappings<F: TestFormat>() -> Result {
    const HALF: u64 = COUNT / 2;

    for pages in [
        0..HALF + 3,
        3..HALF + 3,
        3..COUNT,
        BIG..COUNT - 5,
        5..COUNT - 5,
    ] {
        for has_small in [false, true] {
            let mut fixture = Fixture::<F>::new()?;
            let memory = [fixture.alloc(COUNT)?, fixture.alloc(COUNT)?];
            let va = fixture.reserve(LARGE)?;
            for (start, vram) in [0, HALF].into_iter().zip(&memory) {
                fixture.map(&va, start..start + HALF, vram, start, ReadOnly)?;
            }
            if has_small {
                fixture.map(&va, SMALL..SMALL + 1, &memory[0], 0, ReadOnly)?;
            }
            fixture.check()?;

            fixture.protect(&va, pages.clone(), ReadWrite)?;
            fixture.check()?;
            for page in 0..COUNT {
                let vram = &memory[usize::from(page >= HALF)];
                let access = match pages.contains(&page) {
                    true => ReadWrite,
                    false => ReadOnly,
                };
                fixture.expect_mapped(&va, page..page + 1, vram, page, access)?;
            }
        }
    }

    Ok(())
}

/// Pages are mapped to the old or the new memory at all times.
pub(crate) fn big_pages_replace_small<F: TestFormat>() -> Result {
    for pages in [0..COUNT, 16..32, 3..COUNT, 0..LARGE, 1..LARGE] {
        for has_big in [false, true] {
            let mut fixture = Fixture::<F>::new()?;
            let old = fixture.alloc(2 * LARGE)?;
            let new = fixture.alloc(2 * LARGE)?;
            let va = fixture.reserve(LARGE)?;
            let count = match has_big {
                false => LARGE,
                true => LARGE - BIG,
            };
            fixture.map(&va, 0..count, &old, 1, ReadWrite)?;
            if has_big {
                fixture.map(&va, count..LARGE, &old, count, ReadWrite)?;
            }
            fixture.check()?;

            // An offset of 64 KiB prevents larger pages.
            let skip = pages.start + BIG;
            let (pdb, first) = (fixture.pdb(), va.start());
            let (old_start, new_start) = (start_of(&old)?, start_of(&new)? + BIG * PAGE_SIZE);
            let old_address = |page| {
                let skip = if page < count { 1 } else { 0 };

                old_start + (page + skip) * PAGE_SIZE
            };
            let job = fixture.prepare_map(&va, pages.clone(), &new, skip, ReadWrite)?;
            let (job, seen) = fixture.trace(job, &mut |gpu| {
                ensure_either(gpu, pdb, first, 0..LARGE, &old_address, &vram_at(new_start))
            })?;
            job.free();
            ensure_eq!(seen.command, DOWNGRADE);
            fixture.check()?;
            fixture.expect_mapped(&va, pages.clone(), &new, skip, ReadWrite)?;
            let big = pages.start.next_multiple_of(BIG)..pages.end - pages.end % BIG;
            expect_size(&fixture, &va, big, PageSize::Size64K)?;
            fixture.expect_mapped(&va, 0..pages.start, &old, 1, ReadWrite)?;
            if pages.end < count {
                let skip = pages.end + 1;
                fixture.expect_mapped(&va, pages.end..count, &old, skip, ReadWrite)?;
            }
        }
    }

    Ok(())
}

/// Pages are mapped to the old or the new memory at all times.
pub(crate) fn small_pages_replace_big<F: TestFormat>() -> Result {
    for pages in [0..LARGE, 0..COUNT, 16..32, 5..7] {
        let mut fixture = Fixture::<F>::new()?;
        let old = fixture.alloc(2 * LARGE)?;
        let new = fixture.alloc(2 * LARGE)?;
        let va = fixture.reserve(LARGE)?;
        // An offset of 64 KiB prevents larger pages.
        fixture.map(&va, 0..LARGE, &old, BIG, ReadWrite)?;
        expect_size(&fixture, &va, 0..LARGE, PageSize::Size64K)?;
        fixture.check()?;

        let skip = pages.start + 1;
        let (pdb, first) = (fixture.pdb(), va.start());
        let old_address = vram_at(start_of(&old)? + BIG * PAGE_SIZE);
        let new_address = vram_at(start_of(&new)? + PAGE_SIZE);
        let job = fixture.prepare_map(&va, pages.clone(), &new, skip, ReadWrite)?;
        let (job, seen) = fixture.trace(job, &mut |gpu| {
            ensure_either(gpu, pdb, first, 0..LARGE, &old_address, &new_address)
        })?;
        job.free();
        ensure_eq!(seen.command, DOWNGRADE);
        fixture.check()?;
        fixture.expect_mapped(&va, pages.clone(), &new, skip, ReadWrite)?;
        fixture.expect_mapped(&va, 0..pages.start, &old, BIG, ReadWrite)?;
        fixture.expect_mapped(&va, pages.end..LARGE, &old, BIG + pages.end, ReadWrite)?;
        if pages == (0..LARGE) {
            // The table of big pages is unlinked.
            ensure_eq!(fixture.table_count()?, levels::<F>());
        }
    }

    Ok(())
}

/// 64 KiB pages replace a 2 MiB page, and a 2 MiB page replaces 64 KiB pages.
pub(crate) fn big_pages_replace_2m<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(2 * LARGE)?;
    let va = fixture.map_all(&fixture.alloc(LARGE)?, ReadWrite)?;
    fixture.check()?;

    for (skip, size, tables) in [
        (BIG, PageSize::Size64K, levels::<F>()),
        (0, PageSize::Size2M, levels::<F>() - 1),
        (BIG, PageSize::Size64K, levels::<F>()),
        (LARGE, PageSize::Size2M, levels::<F>() - 1),
    ] {
        let (pdb, first) = (fixture.pdb(), va.start());
        let old = fixture.lookup(first)?.ok_or(EINVAL)?.address;
        let new = start_of(&vram)? + skip * PAGE_SIZE;
        let job = fixture.prepare_map(&va, 0..LARGE, &vram, skip, ReadWrite)?;
        let (job, seen) = fixture.trace(job, &mut |gpu| {
            ensure_either(gpu, pdb, first, 0..LARGE, &vram_at(old), &vram_at(new))
        })?;
        job.free();
        ensure_eq!(seen.command, DOWNGRADE);
        fixture.check()?;
        fixture.expect_mapped(&va, 0..LARGE, &vram, skip, ReadWrite)?;
        expect_size(&fixture, &va, 0..LARGE, size)?;
        ensure_eq!(fixture.table_count()?, tables);
    }

    Ok(())
}

/// A GPU that has cached the directory entry of a 2 MiB slot still finds pages whose access has
/// changed, even if a job has prepared a table of big pages there.
pub(crate) fn cached_directory_sees_protected<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(2 * COUNT)?;
    let va = fixture.reserve(LARGE)?;
    // Small pages that could have been big ones, because they were mapped in parts.
    for start in (0..COUNT).step_by(8) {
        fixture.map(&va, start..start + 8, &vram, start, ReadWrite)?;
    }
    fixture.check()?;
    expect_size(&fixture, &va, 0..COUNT, PageSize::Size4K)?;
    let other = fixture.prepare_map(&va, COUNT..2 * COUNT, &vram, COUNT, ReadWrite)?;

    let memory = vram_at(start_of(&vram)?);
    let job = fixture.prepare_protect(&va, 0..COUNT - BIG, ReadOnly)?;
    run_with_cached_directories(&mut fixture, &va, COUNT - 1, job, &mut |translate| {
        (0..COUNT - BIG).try_for_each(|page| {
            ensure_eq!(translate(page)?, memory(page));

            Ok(())
        })
    })?;
    fixture.expect_mapped(&va, 0..COUNT - BIG, &vram, 0, ReadOnly)?;
    other.free();

    fixture.check()
}

/// Each kind of mapping of a 2 MiB slot replaces each other kind.
pub(crate) fn remap_to_other_sizes<F: TestFormat>() -> Result {
    /// Parts of the slot that are mapped, and the first page of memory for each part.
    const LAYOUTS: [&[(Range<u64>, u64)]; 7] = [
        &[],
        &[(0..LARGE, 0)],
        &[(0..LARGE, 16)],
        &[(0..LARGE, 1)],
        &[(0..40, 0), (100..110, 7)],
        &[(8..24, 8), (32..64, 64), (500..512, 3)],
        &[(16..17, 0)],
    ];

    for before in LAYOUTS {
        for after in LAYOUTS {
            let mut fixture = Fixture::<F>::new()?;
            let [old, new] = [fixture.alloc(2 * LARGE)?, fixture.alloc(2 * LARGE)?];
            let va = fixture.reserve(LARGE)?;
            for (pages, skip) in before {
                fixture.map(&va, pages.clone(), &old, *skip, ReadWrite)?;
            }
            for (pages, skip) in after {
                fixture.map(&va, pages.clone(), &new, *skip, ReadOnly)?;
                fixture.check()?;
            }
            for (pages, skip) in after {
                fixture.expect_mapped(&va, pages.clone(), &new, *skip, ReadOnly)?;
            }
            for (pages, skip) in before {
                for page in pages.clone() {
                    if !after.iter().any(|(pages, _)| pages.contains(&page)) {
                        let skip = skip + page - pages.start;
                        fixture.expect_mapped(&va, page..page + 1, &old, skip, ReadWrite)?;
                    }
                }
            }
            fixture.unmap(&va, 0..LARGE)?;
            fixture.check()?;
            ensure_eq!(fixture.table_count()?, 1);
        }
    }

    Ok(())
}

/// A GPU that has cached the directory entry of a 2 MiB slot still finds all pages that stay
/// mapped, before the TLB is invalidated.
pub(crate) fn cached_directory_sees_rest<F: TestFormat>() -> Result {
    for part in PARTS {
        for has_small in [false, true] {
            for change in 0..3 {
                let mut setup = Setup::<F>::new(ReadWrite, has_small)?;
                let Setup { fixture, va, vram } = &mut setup;
                let memory = vram_at(start_of(vram)?);
                let new = fixture.alloc(2 * COUNT)?;
                let job = match change {
                    0 => fixture.prepare_unmap(va, part.clone())?,
                    1 => fixture.prepare_protect(va, part.clone(), ReadOnly)?,
                    _ => fixture.prepare_map(va, part.clone(), &new, part.start + 1, ReadWrite)?,
                };
                // Protected pages stay mapped as well.
                let changed = if change == 1 { 0..0 } else { part.clone() };

                // The last page is in a different 64 KiB page than the rest that is checked.
                run_with_cached_directories(fixture, va, COUNT - 1, job, &mut |translate| {
                    for page in Setup::<F>::rest(&changed).filter(|&page| page < COUNT - BIG) {
                        ensure_eq!(translate(page)?, memory(page));
                    }

                    Ok(())
                })?;
            }
        }
    }

    Ok(())
}

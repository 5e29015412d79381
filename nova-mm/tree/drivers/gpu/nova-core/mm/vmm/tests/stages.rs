// SPDX-License-Identifier: GPL-2.0

//! Tests of the stages of jobs: allocations, updates and frees.

use core::ops::Range;

use kernel::prelude::*;

use crate::{
    mm::{
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
                Fixture,
                TestFormat,
                LARGE, //
            },
            trace::TABLE_WORDS, //
        }, //
    },
    num::usize_as_u64, //
};

/// Number of pages that an entry of the second to last directory spans: 512 MiB.
const HUGE: u64 = PageSize::Size512M.pages();

/// Number of words in a table.
const WORDS: u64 = usize_as_u64(TABLE_WORDS);

/// Maps `pages` to aligned memory, starting at its page `skip`, in an address space without tables.
/// Fails unless *prepare* allocates `prepared` tables and *free* leaves `linked` of them.
fn ensure_tables<F: TestFormat>(
    pages: Range<u64>,
    skip: u64,
    prepared: u64,
    linked: u64,
) -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let count = pages.end - pages.start;
    let vram = fixture.alloc(count + skip)?;
    let va = fixture.reserve_at(pages)?;
    let free = fixture.free_tables();

    let mut job = fixture.prepare_map(&va, 0..count, &vram, skip, ReadWrite)?;
    ensure_eq!(free - fixture.free_tables(), prepared);
    job.run()?;
    ensure_eq!(free - fixture.free_tables(), prepared);
    job.free();
    fixture.check()?;
    ensure_eq!(free - fixture.free_tables(), linked);
    ensure_eq!(fixture.table_count()?, 1 + linked);

    Ok(())
}

/// *prepare* allocates the tables that a job may need, and *free* frees the unused ones.
pub(crate) fn prepare_allocates_missing_tables<F: TestFormat>() -> Result {
    let below_root = levels::<F>() - 1;
    let root_span = (1 << F::LEVELS.first().ok_or(EINVAL)?.shift) / PAGE_SIZE;

    for (pages, skip, tables) in [
        (0..1, 0, below_root),
        (LARGE - 1..LARGE + 1, 0, below_root + 1),
        // Two pages need two tables of PTEs and two directories above them: 6 tables in MMU v2.
        (HUGE - 1..HUGE + 1, 0, below_root + 2),
        // All tables below the root are needed twice.
        (root_span - 1..root_span + 1, 0, 2 * below_root),
        // 2 MiB pages need no tables of smaller ones.
        (0..LARGE, 0, below_root - 1),
        (0..LARGE, 1, below_root),
        (1..LARGE + 1, 0, below_root + 1),
        (1..3 * LARGE, 0, below_root + 2),
        (HUGE - LARGE..HUGE + LARGE, 0, below_root),
        (HUGE - LARGE - 1..HUGE + LARGE, LARGE - 1, below_root + 1),
        // 64 KiB pages next to 4 KiB pages.
        (0..LARGE, 16, below_root),
        (0..17, 0, below_root + 1),
        (1..3 * LARGE, 1, below_root + 1),
        (1..3 * LARGE + 1, 1, below_root + 2),
    ] {
        ensure_tables::<F>(pages, skip, tables, tables)?;
    }

    // A 2 MiB page may exist when the job runs and would have to be split.
    ensure_tables::<F>(0..16, 0, below_root + 1, below_root)
}

/// Changing part of a mapping may split a large page at each end.
pub(crate) fn prepare_allocates_for_splits<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(4 * LARGE)?;
    let va = fixture.map_all(&vram, ReadWrite)?;
    let free = fixture.free_tables();

    for (pages, tables) in [
        (0..4 * LARGE, 0),
        (LARGE..3 * LARGE, 0),
        (0..1, 1),
        (5..10, 1),
        (5..LARGE, 1),
        (LARGE - 1..LARGE + 1, 2),
        (5..3 * LARGE + 5, 2),
    ] {
        let job = fixture.prepare_protect(&va, pages.clone(), ReadOnly)?;
        ensure_eq!(free - fixture.free_tables(), tables);
        job.free();
        ensure_eq!(fixture.free_tables(), free);
        let job = fixture.prepare_unmap(&va, pages.clone())?;
        ensure_eq!(free - fixture.free_tables(), tables);

        complete(job)?;
        fixture.check()?;
        fixture.map(&va, 0..4 * LARGE, &vram, 0, ReadWrite)?;
        fixture.check()?;
        ensure_eq!(fixture.free_tables(), free);
    }

    Ok(())
}

/// *prepare* zeroes tables, except those of which *run* fills at least half.
pub(crate) fn prepare_zeroes_tables<F: TestFormat>() -> Result {
    let directories = levels::<F>() - 2;

    for (count, zeroed) in [
        (1, directories + 1),
        (LARGE / 2 - 1, directories + 1),
        (LARGE / 2, directories),
        (LARGE, directories),
        (LARGE + 1, directories + 1),
    ] {
        let mut fixture = Fixture::<F>::new()?;
        let vram = fixture.alloc(count + 1)?;
        let va = fixture.reserve(count)?;

        fixture.gpu.reset_counts();
        let job = fixture.prepare_map(&va, 0..count, &vram, 1, ReadWrite)?;
        ensure_eq!(fixture.gpu.counts().pramin_writes, zeroed * WORDS);
        let seen = fixture.trace_and_free(job)?;
        let linked = fixture.table_count()? - 1;
        // A table that is not zeroed is written completely.
        let words = if count == LARGE / 2 { WORDS } else { count };
        ensure_eq!(usize_as_u64(seen.writes), words + linked);
        fixture.expect_mapped(&va, 0..count, &vram, 1, ReadWrite)?;
    }

    Ok(())
}

/// A table that was empty when it was freed is not zeroed again.
pub(crate) fn prepare_reuses_zeroed_tables<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(2 * LARGE)?;
    let va = fixture.reserve(2 * LARGE)?;
    let writes_of_prepare = |fixture: &Fixture<F>, pages: Range<u64>| {
        fixture.gpu.reset_counts();
        let job = fixture.prepare_map(&va, pages, &vram, 1, ReadWrite)?;

        Ok::<_, Error>((fixture.gpu.counts().pramin_writes, job))
    };

    // Cancel the job.
    let (writes, job) = writes_of_prepare(&fixture, 0..1)?;
    ensure_eq!(writes, (levels::<F>() - 1) * WORDS);
    job.free();
    let (writes, job) = writes_of_prepare(&fixture, 0..1)?;
    ensure_eq!(writes, 0);
    complete(job)?;
    fixture.expect_mapped(&va, 0..1, &vram, 1, ReadWrite)?;

    // A table with few entries is cleared before it is unlinked.
    fixture.unmap(&va, 0..1)?;
    fixture.check()?;
    let (writes, job) = writes_of_prepare(&fixture, 0..1)?;
    ensure_eq!(writes, 0);
    job.free();

    // A table that is unlinked with many entries must be zeroed.
    fixture.map(&va, 0..100, &vram, 1, ReadWrite)?;
    fixture.unmap(&va, 0..100)?;
    fixture.check()?;
    let (writes, job) = writes_of_prepare(&fixture, LARGE + 5..LARGE + 6)?;
    ensure_eq!(writes, WORDS);
    complete(job)?;
    fixture.check()?;
    fixture.expect_unmapped(&va, 0..LARGE + 5)?;
    fixture.expect_mapped(&va, LARGE + 5..LARGE + 6, &vram, 1, ReadWrite)?;
    fixture.expect_unmapped(&va, LARGE + 6..2 * LARGE)
}

/// Freeing jobs that have not run frees their memory without accessing the hardware.
pub(crate) fn cancel_frees_everything<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let (avail, free) = (fixture.data.avail(), fixture.free_tables());
    let vram = fixture.alloc(LARGE)?;
    let va = fixture.reserve_at(7..7 + LARGE)?;

    let map = fixture.prepare_map(&va, 0..LARGE, &vram, 0, ReadWrite)?;
    let unmap = fixture.prepare_unmap(&va, 3..9)?;
    let protect = fixture.prepare_protect(&va, 3..9, ReadOnly)?;
    drop(vram);
    ensure!(fixture.data.avail() < avail);
    fixture.gpu.reset_counts();
    map.free();
    unmap.free();
    drop(protect);

    ensure_eq!(fixture.gpu.counts().total(), 0);
    ensure_eq!(fixture.data.avail(), avail);
    ensure_eq!(fixture.free_tables(), free);
    fixture.check()?;

    // Other jobs are not affected.
    let vram = fixture.alloc(1)?;
    fixture.map(&va, 0..1, &vram, 0, ReadWrite)?;
    fixture.check()?;
    fixture.expect_mapped(&va, 0..1, &vram, 0, ReadWrite)?;
    fixture.expect_unmapped(&va, 1..LARGE)?;
    ensure_eq!(fixture.table_count()?, levels::<F>());

    Ok(())
}

/// Jobs share the tables that they need. The last job frees unused tables.
pub(crate) fn jobs_share_prepared_tables<F: TestFormat>() -> Result {
    let tables = levels::<F>() - 1;

    for first_runs in [false, true] {
        for second_runs in [false, true] {
            let mut fixture = Fixture::<F>::new()?;
            let vram = fixture.alloc(2)?;
            let va = fixture.reserve(2)?;
            let free = fixture.free_tables();

            let mut first = fixture.prepare_map(&va, 0..1, &vram, 0, ReadWrite)?;
            ensure_eq!(free - fixture.free_tables(), tables);
            let mut second = fixture.prepare_map(&va, 1..2, &vram, 1, ReadWrite)?;
            ensure_eq!(free - fixture.free_tables(), tables);
            if first_runs {
                first.run()?;
            }
            first.free();
            ensure_eq!(free - fixture.free_tables(), tables);
            if second_runs {
                second.run()?;
            }
            ensure_eq!(free - fixture.free_tables(), tables);
            second.free();

            fixture.check()?;
            let is_used = first_runs || second_runs;
            ensure_eq!(
                free - fixture.free_tables(),
                if is_used { tables } else { 0 }
            );
            for (page, is_mapped) in [(0, first_runs), (1, second_runs)] {
                match is_mapped {
                    true => fixture.expect_mapped(&va, page..page + 1, &vram, page, ReadWrite)?,
                    false => fixture.expect_unmapped(&va, page..page + 1)?,
                }
            }
        }
    }

    Ok(())
}

/// The tables that a job needs stay linked when another job unmaps all their pages.
pub(crate) fn unmap_keeps_prepared_tables<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(2 * LARGE)?;
    let va = fixture.reserve(2 * LARGE)?;
    let free = fixture.free_tables();

    // A table that is cleared, one that is unlinked with entries, one below a large page, and none.
    for before in [0..1, 0..300, 0..LARGE, 0..0] {
        for skip in [0, 1] {
            if !before.is_empty() {
                fixture.map(&va, before.clone(), &vram, skip, ReadWrite)?;
            }
            let mut job = fixture.prepare_map(&va, 5..LARGE + 9, &vram, 1, ReadOnly)?;
            fixture.unmap(&va, 0..2 * LARGE)?;
            ensure_eq!(fixture.table_count()?, 1);
            fixture.check()?;
            let free_before = fixture.free_tables();
            job.run()?;
            ensure_eq!(fixture.free_tables(), free_before);
            job.free();

            fixture.check()?;
            fixture.expect_unmapped(&va, 0..5)?;
            fixture.expect_mapped(&va, 5..LARGE + 9, &vram, 1, ReadOnly)?;
            fixture.expect_unmapped(&va, LARGE + 9..2 * LARGE)?;
            fixture.unmap(&va, 0..2 * LARGE)?;
            fixture.check()?;
            ensure_eq!(fixture.free_tables(), free);
        }
    }

    Ok(())
}

/// A job handles mappings that have changed since it was prepared.
pub(crate) fn run_after_other_jobs<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(4 * LARGE)?;
    let va = fixture.map_all(&vram, ReadWrite)?;

    // All tables are unlinked in the meantime.
    let map = fixture.prepare_map(&va, 5..LARGE + 5, &vram, 0, ReadOnly)?;
    fixture.unmap(&va, 0..4 * LARGE)?;
    fixture.check()?;
    ensure_eq!(fixture.table_count()?, 1);
    complete(map)?;
    fixture.check()?;
    fixture.expect_mapped(&va, 5..LARGE + 5, &vram, 0, ReadOnly)?;

    // A large page replaces small ones, and small ones replace a large page.
    let unmap = fixture.prepare_unmap(&va, 7..9)?;
    let protect = fixture.prepare_protect(&va, 2 * LARGE + 7..2 * LARGE + 9, ReadOnly)?;
    fixture.map(&va, 0..LARGE, &vram, LARGE, ReadWrite)?;
    fixture.map(&va, 2 * LARGE..3 * LARGE, &vram, 1, ReadWrite)?;
    complete(protect)?;
    complete(unmap)?;
    fixture.check()?;
    fixture.expect_mapped(&va, 0..7, &vram, LARGE, ReadWrite)?;
    fixture.expect_unmapped(&va, 7..9)?;
    fixture.expect_mapped(&va, 9..LARGE, &vram, LARGE + 9, ReadWrite)?;
    fixture.expect_mapped(&va, 2 * LARGE..2 * LARGE + 7, &vram, 1, ReadWrite)?;
    fixture.expect_mapped(&va, 2 * LARGE + 7..2 * LARGE + 9, &vram, 8, ReadOnly)?;
    fixture.expect_mapped(&va, 2 * LARGE + 9..3 * LARGE, &vram, 10, ReadWrite)
}

/// *prepare* has allocated all VRAM that a job needs.
pub(crate) fn run_needs_no_vram<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(4 * LARGE)?;
    let va = fixture.reserve(4 * LARGE)?;
    let other = fixture.map_all(&vram, ReadWrite)?;
    let apart = fixture.reserve_at(HUGE..HUGE + 1)?;

    let map = fixture.prepare_map(&va, 1..4 * LARGE, &vram, 0, ReadWrite)?;
    let split = fixture.prepare_unmap(&other, 5..2 * LARGE + 5)?;
    let left = fixture
        .memory
        .alloc(fixture.memory.avail(), PageSize::Size4K)?;
    ensure_eq!(fixture.free_tables(), 0);
    let job = fixture.prepare_map(&apart, 0..1, &vram, 0, ReadWrite);
    ensure_eq!(job.err(), Some(ENOSPC));
    // The tables for this job exist already.
    let shared = fixture.prepare_map(&va, 0..1, &vram, 7, ReadWrite)?;
    complete(map)?;
    complete(shared)?;
    complete(split)?;
    drop(left);

    fixture.check()?;
    fixture.expect_mapped(&va, 0..1, &vram, 7, ReadWrite)?;
    fixture.expect_mapped(&va, 1..4 * LARGE, &vram, 0, ReadWrite)?;
    fixture.expect_unmapped(&other, 5..2 * LARGE + 5)
}

/// Only *free* frees memory and tables.
pub(crate) fn memory_freed_by_free_only<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let (avail, free) = (fixture.data.avail(), fixture.free_tables());
    let old = fixture.alloc(2 * LARGE)?;
    let va = fixture.reserve_at(0..2 * LARGE)?;
    fixture.map(&va, 0..2 * LARGE, &old, 0, ReadWrite)?;
    drop(old);

    // Map other memory in its place.
    let new = fixture.alloc(4 * LARGE)?;
    let mut job = fixture.prepare_map(&va, 0..2 * LARGE, &new, 1, ReadWrite)?;
    let before = (fixture.data.avail(), fixture.free_tables());
    job.run()?;
    ensure_eq!((fixture.data.avail(), fixture.free_tables()), before);
    job.free();
    ensure_eq!(fixture.data.avail(), before.0 + 2 * LARGE * PAGE_SIZE);
    drop(new);
    fixture.check()?;

    // Unmap the memory.
    let mut job = fixture.prepare_unmap(&va, 0..2 * LARGE)?;
    let before = (fixture.data.avail(), fixture.free_tables());
    job.run()?;
    ensure_eq!((fixture.data.avail(), fixture.free_tables()), before);
    job.free();
    ensure_eq!((fixture.data.avail(), fixture.free_tables()), (avail, free));

    fixture.check()
}

/// A mapped part of memory keeps the whole memory allocated.
pub(crate) fn mapped_part_keeps_memory<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let avail = fixture.data.avail();
    let vram = fixture.alloc(32)?;
    let va = fixture.reserve_at(0..32)?;
    fixture.map(&va, 0..32, &vram, 0, ReadWrite)?;
    drop(vram);

    for part in [4..8, 20..32, 0..4, 9..20] {
        fixture.unmap(&va, part)?;
        fixture.check()?;
        ensure!(fixture.data.avail() < avail);
    }
    fixture.unmap(&va, 8..9)?;
    ensure_eq!(fixture.data.avail(), avail);
    ensure_eq!(fixture.table_count()?, 1);

    fixture.check()
}

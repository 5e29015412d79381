// SPDX-License-Identifier: GPL-2.0

//! Tests of the stages of jobs: what is allocated, changed and freed in which.

use core::ops::Range;

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        PAGE_SIZE, //
    },
    tables::tests::map::levels,
    vmm::{
        job::Access::*,
        tests::bench::{
            ensure,
            ensure_eq,
            Bench,
            TestFormat,
            LARGE, //
        }, //
    }, //
};

/// Number of pages that an entry of the last directory but one spans: 512 MiB.
const HUGE: u64 = PageSize::Size512M.pages();

/// Maps `pages`, from page `skip` of aligned memory on, where there are no tables, and fails unless
/// so many tables are allocated by the submit, and all of them are needed.
fn ensure_tables<F: TestFormat>(pages: Range<u64>, skip: u64, tables: u64) -> Result {
    let mut bench = Bench::<F>::new()?;
    let count = pages.end - pages.start;
    let vram = bench.alloc(count + skip)?;
    let va = bench.reserve_at(pages)?;
    let free = bench.free_tables();

    let job = bench.submit_map(&va, 0..count, &vram, skip, ReadWrite)?;
    ensure_eq!(free - bench.free_tables(), tables);
    bench.run(job).cleanup()?;
    bench.check()?;
    ensure_eq!(free - bench.free_tables(), tables);
    ensure_eq!(bench.table_count()?, 1 + tables);

    Ok(())
}

/// A submit allocates the tables that can be missing, no more and no less, whatever the alignment.
pub(crate) fn tables_are_counted<F: TestFormat>() -> Result {
    let below_root = levels::<F>() - 1;

    ensure_tables::<F>(0..1, 0, below_root)?;
    ensure_tables::<F>(LARGE - 1..LARGE + 1, 0, below_root + 1)?;
    // Two pages need two tables of pages and two directories above them: 6 tables in MMU v2.
    ensure_tables::<F>(HUGE - 1..HUGE + 1, 0, below_root + 2)?;
    // And all of them twice but for the root.
    let root_span = (1 << F::LEVELS.first().ok_or(EINVAL)?.shift) / PAGE_SIZE;
    ensure_tables::<F>(root_span - 1..root_span + 1, 0, 2 * below_root)?;
    // Large pages need no table of small ones.
    ensure_tables::<F>(0..LARGE, 0, below_root - 1)?;
    ensure_tables::<F>(0..LARGE, 1, below_root)?;
    ensure_tables::<F>(1..LARGE + 1, 0, below_root + 1)?;
    ensure_tables::<F>(1..3 * LARGE, 1, below_root)?;
    ensure_tables::<F>(1..3 * LARGE + 1, 1, below_root + 1)?;
    ensure_tables::<F>(1..3 * LARGE, 0, below_root + 2)?;
    ensure_tables::<F>(HUGE - LARGE..HUGE + LARGE, 0, below_root)?;
    ensure_tables::<F>(HUGE - LARGE - 1..HUGE + LARGE, LARGE - 1, below_root + 1)
}

/// Changing a part can split a large page at each end.
pub(crate) fn tables_for_splits_are_counted<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(4 * LARGE)?;
    let va = bench.map_all(&vram, ReadWrite)?;
    let free = bench.free_tables();

    for (pages, tables) in [
        (0..4 * LARGE, 0),
        (LARGE..3 * LARGE, 0),
        (0..1, 1),
        (5..10, 1),
        (5..LARGE, 1),
        (LARGE - 1..LARGE + 1, 2),
        (5..3 * LARGE + 5, 2),
    ] {
        for job in [
            bench.submit_unmap(&va, pages.clone())?,
            bench.submit_protect(&va, pages.clone(), ReadOnly)?,
        ] {
            job.cancel();
        }
        ensure_eq!(bench.free_tables(), free);
        let job = bench.submit_unmap(&va, pages.clone())?;
        ensure_eq!(free - bench.free_tables(), tables);

        bench.run(job).cleanup()?;
        bench.check()?;
        bench.map(&va, 0..4 * LARGE, &vram, 0, ReadWrite)?;
        bench.check()?;
        ensure_eq!(bench.free_tables(), free);
    }

    Ok(())
}

/// The GPU is not touched, and what was only kept for the job is free.
pub(crate) fn cancel_leaves_nothing<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let (avail, free) = (bench.data.avail(), bench.free_tables());
    let vram = bench.alloc(LARGE)?;
    let va = bench.reserve_at(7..7 + LARGE)?;
    bench.gpu.reset_counts();

    let map = bench.submit_map(&va, 0..LARGE, &vram, 0, ReadWrite)?;
    let unmap = bench.submit_unmap(&va, 3..9)?;
    let protect = bench.submit_protect(&va, 3..9, ReadOnly)?;
    drop((va, vram));
    ensure_eq!(bench.reserve_at(7..8).err(), Some(EBUSY));
    ensure!(bench.data.avail() < avail);
    map.cancel();
    unmap.cancel();
    drop(protect);

    ensure_eq!(bench.gpu.counts().total(), 0);
    ensure_eq!(bench.data.avail(), avail);
    ensure_eq!(bench.free_tables(), free);
    let va = bench.reserve_at(7..7 + LARGE)?;
    bench.check()?;

    // Another job does not find any of it.
    let vram = bench.alloc(1)?;
    bench.map(&va, 0..1, &vram, 0, ReadWrite)?;
    bench.check()?;
    bench.expect_mapped(&va, 0..1, &vram, 0, ReadWrite)?;
    bench.expect_unmapped(&va, 1..LARGE)?;
    ensure_eq!(bench.table_count()?, levels::<F>());

    Ok(())
}

/// Two jobs bring the same tables: those of the second one are given back, by its cleanup.
pub(crate) fn two_jobs_bring_the_same_tables<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let tables = levels::<F>() - 1;
    let vram = bench.alloc(2)?;
    let va = bench.reserve(2)?;
    let free = bench.free_tables();

    let first = bench.submit_map(&va, 0..1, &vram, 0, ReadWrite)?;
    let second = bench.submit_map(&va, 1..2, &vram, 1, ReadWrite)?;
    ensure_eq!(free - bench.free_tables(), 2 * tables);
    let second = bench.run(second);
    let first = bench.run(first);
    ensure_eq!(free - bench.free_tables(), 2 * tables);
    second.cleanup()?;
    ensure_eq!(free - bench.free_tables(), 2 * tables);
    first.cleanup()?;
    ensure_eq!(free - bench.free_tables(), tables);

    bench.check()?;
    bench.expect_mapped(&va, 0..2, &vram, 0, ReadWrite)
}

/// What a job finds when it is run need not be what was there when it was submitted.
pub(crate) fn other_jobs_run_first<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(4 * LARGE)?;
    let va = bench.map_all(&vram, ReadWrite)?;

    // All tables are gone that there were at the submit.
    let map = bench.submit_map(&va, 5..LARGE + 5, &vram, 0, ReadOnly)?;
    bench.unmap(&va, 0..4 * LARGE)?;
    bench.check()?;
    ensure_eq!(bench.table_count()?, 1);
    bench.run(map).cleanup()?;
    bench.check()?;
    bench.expect_mapped(&va, 5..LARGE + 5, &vram, 0, ReadOnly)?;

    // A page is large that was not, and the other way round.
    let unmap = bench.submit_unmap(&va, 7..9)?;
    let protect = bench.submit_protect(&va, 2 * LARGE + 7..2 * LARGE + 9, ReadOnly)?;
    bench.map(&va, 0..LARGE, &vram, LARGE, ReadWrite)?;
    bench.map(&va, 2 * LARGE..3 * LARGE, &vram, 1, ReadWrite)?;
    bench.run(protect).cleanup()?;
    bench.run(unmap).cleanup()?;
    bench.check()?;
    bench.expect_mapped(&va, 0..7, &vram, LARGE, ReadWrite)?;
    bench.expect_unmapped(&va, 7..9)?;
    bench.expect_mapped(&va, 9..LARGE, &vram, LARGE + 9, ReadWrite)?;
    bench.expect_mapped(&va, 2 * LARGE..2 * LARGE + 7, &vram, 1, ReadWrite)?;
    bench.expect_mapped(&va, 2 * LARGE + 7..2 * LARGE + 9, &vram, 8, ReadOnly)?;
    bench.expect_mapped(&va, 2 * LARGE + 9..3 * LARGE, &vram, 10, ReadWrite)
}

/// All that a job needs was allocated when it was submitted.
pub(crate) fn memory_is_exhausted_before_the_run<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(4 * LARGE)?;
    let va = bench.reserve(4 * LARGE)?;
    let other = bench.map_all(&vram, ReadWrite)?;

    let map = bench.submit_map(&va, 1..4 * LARGE, &vram, 0, ReadWrite)?;
    let split = bench.submit_unmap(&other, 5..2 * LARGE + 5)?;
    let left = bench.memory.alloc(bench.memory.avail(), PageSize::Size4K)?;
    ensure_eq!(bench.free_tables(), 0);
    let job = bench.submit_map(&va, 0..1, &vram, 0, ReadWrite);
    ensure_eq!(job.err(), Some(ENOSPC));
    bench.run(map).cleanup()?;
    bench.run(split).cleanup()?;
    drop(left);

    bench.check()?;
    bench.expect_mapped(&va, 1..4 * LARGE, &vram, 0, ReadWrite)?;
    bench.expect_unmapped(&other, 5..2 * LARGE + 5)
}

/// Addresses, memory and tables are given back by the cleanup, and by nothing before it.
pub(crate) fn only_the_cleanup_frees<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let (avail, free) = (bench.data.avail(), bench.free_tables());
    let old = bench.alloc(2 * LARGE)?;
    let va = bench.reserve_at(0..2 * LARGE)?;
    bench.map(&va, 0..2 * LARGE, &old, 0, ReadWrite)?;
    drop(old);

    // The memory that was there before is free when other memory has taken its place.
    let new = bench.alloc(4 * LARGE)?;
    let job = bench.submit_map(&va, 0..2 * LARGE, &new, 1, ReadWrite)?;
    let before = (bench.data.avail(), bench.free_tables());
    let ran = bench.run(job);
    ensure_eq!(ran.result(), Ok(()));
    ensure_eq!((bench.data.avail(), bench.free_tables()), before);
    ran.cleanup()?;
    ensure_eq!(bench.data.avail(), before.0 + 2 * LARGE * PAGE_SIZE);
    drop(new);
    bench.check()?;

    // What is unmapped is free, when nobody else has it.
    let job = bench.submit_unmap(&va, 0..2 * LARGE)?;
    drop(va);
    let before = (bench.data.avail(), bench.free_tables());
    let ran = bench.run(job);
    ensure_eq!((bench.data.avail(), bench.free_tables()), before);
    ensure_eq!(bench.reserve_at(0..1).err(), Some(EBUSY));
    ran.cleanup()?;
    ensure_eq!((bench.data.avail(), bench.free_tables()), (avail, free));
    let _va = bench.reserve_at(0..2 * LARGE)?;

    bench.check()
}

/// A part that is still mapped keeps all of the memory, and all of the addresses.
pub(crate) fn parts_keep_the_whole<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let avail = bench.data.avail();
    let vram = bench.alloc(32)?;
    let va = bench.reserve_at(0..32)?;
    bench.map(&va, 0..32, &vram, 0, ReadWrite)?;
    drop(vram);

    for part in [4..8, 20..32, 0..4, 9..20] {
        bench.unmap(&va, part)?;
        bench.check()?;
        ensure!(bench.data.avail() < avail);
    }
    let job = bench.submit_unmap(&va, 8..9)?;
    drop(va);
    ensure_eq!(bench.reserve_at(0..1).err(), Some(EBUSY));
    bench.run(job).cleanup()?;
    ensure_eq!(bench.data.avail(), avail);
    let _va = bench.reserve_at(0..32)?;

    bench.check()
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of mapping memory where something else is mapped.

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        Vfn,
        VramAddress,
        PAGE_SIZE, //
    },
    model::SoftGpu,
    tables::tests::map::levels,
    vmm::{
        job::Access::*,
        tests::{
            bench::{
                ensure,
                ensure_eq,
                start_of,
                Bench,
                TestFormat,
                LARGE, //
            },
            observe::{
                DOWNGRADE,
                TABLE_WORDS,
                UPGRADE, //
            },
        },
    }, //
};

/// Fails unless each page is mapped to the old memory or to the new one.
///
/// The addresses are those of the memory of the first of `LARGE` pages.
fn ensure_old_or_new(gpu: &SoftGpu, pdb: VramAddress, first: u64, old: u64, new: u64) -> Result {
    for n in 0..LARGE {
        let found = gpu.walk(pdb, Vfn::new(first + n)?.address());
        let found = found.map(|found| found.address.wrapping_sub(n * PAGE_SIZE));
        ensure!(found == Ok(old) || found == Ok(new));
    }

    Ok(())
}

/// The table of small pages is not used any more.
pub(crate) fn remap_a_large_page_over_small_ones<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let old = bench.alloc(2 * LARGE)?;
    let new = bench.alloc(LARGE)?;
    let va = bench.reserve(LARGE)?;
    let (pdb, first) = (bench.vmm.pdb(), va.pages().start.into_raw());
    bench.map(&va, 0..LARGE, &old, 1, ReadWrite)?;
    bench.expect_mapped(&va, 0..LARGE, &old, 1, ReadWrite)?;
    bench.check()?;

    let (from, to) = (start_of(&old)? + PAGE_SIZE, start_of(&new)?);
    let job = bench.submit_map(&va, 0..LARGE, &new, 0, ReadOnly)?;
    let (ran, seen) =
        bench.observe(job, &mut |gpu| ensure_old_or_new(gpu, pdb, first, from, to))?;
    ensure_eq!((seen.writes, seen.fresh), (2, 0));
    ensure_eq!(seen.command, DOWNGRADE);
    ran.cleanup()?;

    bench.check()?;
    bench.expect_mapped(&va, 0..LARGE, &new, 0, ReadOnly)?;
    let size = bench.look(first)?.map(|found| found.page_size);
    ensure_eq!(size, Some(PageSize::Size2M));
    ensure_eq!(bench.table_count()?, levels::<F>() - 1);

    Ok(())
}

pub(crate) fn remap_small_pages_over_a_large_one<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let old = bench.alloc(LARGE)?;
    let new = bench.alloc(2 * LARGE)?;
    let va = bench.map_all(&old, ReadWrite)?;
    let (pdb, first) = (bench.vmm.pdb(), va.pages().start.into_raw());
    bench.expect_mapped(&va, 0..LARGE, &old, 0, ReadWrite)?;
    bench.check()?;

    let (from, to) = (start_of(&old)?, start_of(&new)? + PAGE_SIZE);
    let job = bench.submit_map(&va, 0..LARGE, &new, 1, ReadWrite)?;
    let (ran, seen) =
        bench.observe(job, &mut |gpu| ensure_old_or_new(gpu, pdb, first, from, to))?;
    ensure_eq!((seen.writes, seen.fresh), (TABLE_WORDS + 2, TABLE_WORDS));
    ensure_eq!(seen.command, DOWNGRADE);
    ran.cleanup()?;

    bench.check()?;
    bench.expect_mapped(&va, 0..LARGE, &new, 1, ReadWrite)?;
    ensure_eq!(bench.table_count()?, levels::<F>());

    Ok(())
}

/// What is next to it stays, at any moment.
pub(crate) fn remap_into_the_middle_of_a_large_page<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let old = bench.alloc(LARGE)?;
    let new = bench.alloc(16)?;
    let va = bench.map_all(&old, ReadWrite)?;
    let (pdb, first) = (bench.vmm.pdb(), va.pages().start.into_raw());
    bench.expect_mapped(&va, 0..LARGE, &old, 0, ReadWrite)?;

    let (from, to) = (start_of(&old)?, start_of(&new)?);
    let job = bench.submit_map(&va, 100..116, &new, 0, ReadOnly)?;
    let (ran, seen) = bench.observe(job, &mut |gpu| {
        ensure_old_or_new(gpu, pdb, first, from, to.wrapping_sub(100 * PAGE_SIZE))
    })?;
    ensure_eq!((seen.writes, seen.fresh), (TABLE_WORDS + 2, TABLE_WORDS));
    ensure_eq!(seen.command, DOWNGRADE);
    ran.cleanup()?;

    bench.check()?;
    bench.expect_mapped(&va, 0..100, &old, 0, ReadWrite)?;
    bench.expect_mapped(&va, 100..116, &new, 0, ReadOnly)?;
    bench.expect_mapped(&va, 116..LARGE, &old, 116, ReadWrite)
}

/// Nothing is written where nothing changes, and nothing is taken away.
pub(crate) fn remap_the_same_again<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(2 * LARGE)?;
    let va = bench.reserve(2 * LARGE)?;
    // A large page and small ones.
    bench.map(&va, 0..LARGE + 9, &vram, 0, ReadWrite)?;
    bench.check()?;

    let seen = bench.observe_all(bench.submit_map(&va, 0..LARGE + 9, &vram, 0, ReadWrite)?)?;
    ensure_eq!((seen.writes, seen.command), (0, UPGRADE));
    // One page more is a new one, and another permission is another entry.
    let seen = bench.observe_all(bench.submit_map(&va, 0..LARGE + 10, &vram, 0, ReadWrite)?)?;
    ensure_eq!((seen.writes, seen.command), (1, UPGRADE));
    let seen = bench.observe_all(bench.submit_map(&va, 0..LARGE, &vram, 0, ReadOnly)?)?;
    ensure_eq!((seen.writes, seen.command), (1, DOWNGRADE));

    bench.expect_mapped(&va, 0..LARGE, &vram, 0, ReadOnly)?;
    bench.expect_mapped(&va, LARGE..LARGE + 10, &vram, LARGE, ReadWrite)
}

/// Over the end of one, all of another, and the start of a third one.
pub(crate) fn remap_some_of_several_mappings<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let avail = bench.data.avail();
    let va = bench.reserve(6 * LARGE)?;
    let [a, b, c, new] = [
        bench.alloc(2 * LARGE)?,
        bench.alloc(16)?,
        bench.alloc(2 * LARGE)?,
        bench.alloc(8 * LARGE)?,
    ];
    bench.map(&va, 0..2 * LARGE, &a, 0, ReadWrite)?;
    bench.map(&va, 2 * LARGE + 3..2 * LARGE + 19, &b, 0, ReadWrite)?;
    bench.map(&va, 3 * LARGE..5 * LARGE, &c, 0, ReadOnly)?;
    bench.check()?;

    let (start, end) = (LARGE + 7, 4 * LARGE + 5);
    bench.map(&va, start..end, &new, 0, ReadWrite)?;
    bench.check()?;
    bench.expect_mapped(&va, 0..start, &a, 0, ReadWrite)?;
    bench.expect_mapped(&va, start..end, &new, 0, ReadWrite)?;
    bench.expect_mapped(&va, end..5 * LARGE, &c, end - 3 * LARGE, ReadOnly)?;
    bench.expect_unmapped(&va, 5 * LARGE..6 * LARGE)?;

    // Only the one in the middle is not used any more.
    drop((a, b, c, new));
    ensure_eq!(bench.data.avail(), avail - 12 * LARGE * PAGE_SIZE);
    bench.unmap(&va, 0..6 * LARGE)?;
    bench.check()?;
    ensure_eq!(bench.data.avail(), avail);
    ensure_eq!(bench.table_count()?, 1);

    Ok(())
}

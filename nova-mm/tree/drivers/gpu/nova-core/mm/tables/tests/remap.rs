// SPDX-License-Identifier: GPL-2.0

//! Tests of mapping memory in place of other memory.

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        Vfn,
        VramAddress,
        PAGE_SIZE, //
    },
    format::Access::*,
    model::GpuModel,
    tables::tests::map::levels,
    vmm::tests::{
        fixture::{
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
            TABLE_WORDS, //
        },
    }, //
};

/// Fails unless each of `LARGE` pages is mapped to the old or to the new memory.
///
/// `old` and `new` are the addresses of the memory for page `first`.
fn ensure_old_or_new(gpu: &GpuModel, pdb: VramAddress, first: u64, old: u64, new: u64) -> Result {
    for n in 0..LARGE {
        let found = gpu.walk(pdb, Vfn::new(first + n)?.address());
        let found = found.map(|found| found.address.wrapping_sub(n * PAGE_SIZE));
        ensure!(found == Ok(old) || found == Ok(new));
    }

    Ok(())
}

/// A large page replaces small pages, and their table is unlinked.
pub(crate) fn remap_2m_over_small<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let old = fixture.alloc(2 * LARGE)?;
    let new = fixture.alloc(LARGE)?;
    let va = fixture.reserve(LARGE)?;
    let (pdb, first) = (fixture.pdb(), va.start());
    fixture.map(&va, 0..LARGE, &old, 1, ReadWrite)?;
    fixture.expect_mapped(&va, 0..LARGE, &old, 1, ReadWrite)?;
    fixture.check()?;

    let (from, to) = (start_of(&old)? + PAGE_SIZE, start_of(&new)?);
    let job = fixture.prepare_map(&va, 0..LARGE, &new, 0, ReadOnly)?;
    let (job, seen) =
        fixture.trace(job, &mut |gpu| ensure_old_or_new(gpu, pdb, first, from, to))?;
    ensure_eq!((seen.writes, seen.fresh), (2, 0));
    ensure_eq!(seen.command, DOWNGRADE);
    job.free();

    fixture.check()?;
    fixture.expect_mapped(&va, 0..LARGE, &new, 0, ReadOnly)?;
    let size = fixture.lookup(first)?.map(|found| found.page_size);
    ensure_eq!(size, Some(PageSize::Size2M));
    ensure_eq!(fixture.table_count()?, levels::<F>() - 1);

    Ok(())
}

/// Small pages replace a large page. Their table is filled before it is linked.
pub(crate) fn remap_small_over_2m<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let old = fixture.alloc(LARGE)?;
    let new = fixture.alloc(2 * LARGE)?;
    let va = fixture.map_all(&old, ReadWrite)?;
    let (pdb, first) = (fixture.pdb(), va.start());
    fixture.expect_mapped(&va, 0..LARGE, &old, 0, ReadWrite)?;
    fixture.check()?;

    let (from, to) = (start_of(&old)?, start_of(&new)? + PAGE_SIZE);
    let job = fixture.prepare_map(&va, 0..LARGE, &new, 1, ReadWrite)?;
    let (job, seen) =
        fixture.trace(job, &mut |gpu| ensure_old_or_new(gpu, pdb, first, from, to))?;
    ensure_eq!((seen.writes, seen.fresh), (TABLE_WORDS + 2, TABLE_WORDS));
    ensure_eq!(seen.command, DOWNGRADE);
    job.free();

    fixture.check()?;
    fixture.expect_mapped(&va, 0..LARGE, &new, 1, ReadWrite)?;
    ensure_eq!(fixture.table_count()?, levels::<F>());

    Ok(())
}

/// The rest of the large page stays mapped while its middle is replaced.
pub(crate) fn remap_middle_of_2m_page<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let old = fixture.alloc(LARGE)?;
    let new = fixture.alloc(16)?;
    let va = fixture.map_all(&old, ReadWrite)?;
    let (pdb, first) = (fixture.pdb(), va.start());
    fixture.expect_mapped(&va, 0..LARGE, &old, 0, ReadWrite)?;

    let (from, to) = (start_of(&old)?, start_of(&new)?);
    let job = fixture.prepare_map(&va, 100..116, &new, 0, ReadOnly)?;
    let (job, seen) = fixture.trace(job, &mut |gpu| {
        ensure_old_or_new(gpu, pdb, first, from, to.wrapping_sub(100 * PAGE_SIZE))
    })?;
    ensure_eq!((seen.writes, seen.fresh), (TABLE_WORDS + 2, TABLE_WORDS));
    ensure_eq!(seen.command, DOWNGRADE);
    job.free();

    fixture.check()?;
    fixture.expect_mapped(&va, 0..100, &old, 0, ReadWrite)?;
    fixture.expect_mapped(&va, 100..116, &new, 0, ReadOnly)?;
    fixture.expect_mapped(&va, 116..LARGE, &old, 116, ReadWrite)
}

/// Mapping the same memory again rewrites the PTEs, which stay valid. The tables and PDEs do not
/// change.
pub(crate) fn remap_same_again<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(2 * LARGE)?;
    let va = fixture.reserve(2 * LARGE)?;
    // A large page and small ones, too few for a 64 KiB page.
    fixture.map(&va, 0..LARGE + 9, &vram, 0, ReadWrite)?;
    fixture.check()?;

    for count in [9, 10] {
        let job = fixture.prepare_map(&va, 0..LARGE + count, &vram, 0, ReadWrite)?;
        let (pdb, memory) = (fixture.pdb(), start_of(&vram)?);
        let (job, seen) = fixture.trace(job, &mut |gpu| {
            ensure_mapped_on(gpu, pdb, va.start(), memory, 0..LARGE + 9)
        })?;
        job.free();
        fixture.check()?;
        // One word per small page and one for the large page.
        ensure_eq!(seen.writes, usize::try_from(count)? + 1);
    }
    let tables = fixture.table_count()?;
    let seen = fixture.trace_and_free(fixture.prepare_map(&va, 0..LARGE, &vram, 0, ReadOnly)?)?;
    ensure_eq!((seen.writes, seen.command), (1, DOWNGRADE));

    ensure_eq!(fixture.table_count()?, tables);
    fixture.expect_mapped(&va, 0..LARGE, &vram, 0, ReadOnly)?;
    fixture.expect_mapped(&va, LARGE..LARGE + 10, &vram, LARGE, ReadWrite)
}

/// A job replaces the end of one mapping, a whole mapping, and the start of a third one.
pub(crate) fn remap_several_mappings<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let avail = fixture.data.avail();
    let va = fixture.reserve(6 * LARGE)?;
    let [a, b, c, new] = [
        fixture.alloc(2 * LARGE)?,
        fixture.alloc(16)?,
        fixture.alloc(2 * LARGE)?,
        fixture.alloc(8 * LARGE)?,
    ];
    fixture.map(&va, 0..2 * LARGE, &a, 0, ReadWrite)?;
    fixture.map(&va, 2 * LARGE + 3..2 * LARGE + 19, &b, 0, ReadWrite)?;
    fixture.map(&va, 3 * LARGE..5 * LARGE, &c, 0, ReadOnly)?;
    fixture.check()?;

    let (start, end) = (LARGE + 7, 4 * LARGE + 5);
    fixture.map(&va, start..end, &new, 0, ReadWrite)?;
    fixture.check()?;
    fixture.expect_mapped(&va, 0..start, &a, 0, ReadWrite)?;
    fixture.expect_mapped(&va, start..end, &new, 0, ReadWrite)?;
    fixture.expect_mapped(&va, end..5 * LARGE, &c, end - 3 * LARGE, ReadOnly)?;
    fixture.expect_unmapped(&va, 5 * LARGE..6 * LARGE)?;

    // Only the memory of the second mapping is freed.
    drop((a, b, c, new));
    ensure_eq!(fixture.data.avail(), avail - 12 * LARGE * PAGE_SIZE);
    fixture.unmap(&va, 0..6 * LARGE)?;
    fixture.check()?;
    ensure_eq!(fixture.data.avail(), avail);
    ensure_eq!(fixture.table_count()?, 1);

    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of updates that fail after some of their writes, as when the device is unbound.
//!
//! The GPU may access both the old and the new memory, so neither is freed.

use kernel::prelude::*;

use crate::{
    mm::{
        address::PAGE_SIZE,
        format::Access::*,
        model::Direction,
        vmm::{
            tests::fixture::{
                ensure,
                ensure_eq,
                Fixture,
                TestFormat,
                LARGE, //
            },
            Job,
            JobError, //
        }, //
    },
    num::usize_as_u64, //
};

/// Runs a job in which one write fails, after `writes` others. Checks that neither the job nor
/// dropping the address space frees VRAM. Returns whether the failed write was to VRAM.
fn ensure_kept<F: TestFormat>(fixture: Fixture<F>, mut job: Job, writes: u64) -> Result<bool> {
    let tables = fixture.owned()?;
    let data = fixture.data.avail();
    fixture.gpu.fail_access(Direction::Write, writes);
    let result = job.run();
    ensure!(fixture.gpu.has_failed());
    job.free();
    if result == Err(JobError::NotInvalidated(EIO)) {
        return Ok(false);
    }
    ensure_eq!(result, Err(JobError::Broken(EIO)));
    ensure_eq!(fixture.data.avail(), data);

    for _ in 0..2 {
        ensure_eq!(fixture.teardown(), Err(EIO));
    }
    ensure_eq!(fixture.data.avail(), data);
    let free = fixture.free_tables();
    let Fixture {
        vmm,
        data: pool,
        memory,
        ..
    } = fixture;
    drop(vmm);
    ensure_eq!((pool.avail(), memory.avail() / PAGE_SIZE), (data, free));

    // The allocator does not return a table that the GPU may walk through.
    let mut taken = KVec::new();
    while let Ok(table) = memory.alloc_table() {
        ensure!(!tables.contains(&table.address()));
        taken.push(table, GFP_KERNEL)?;
    }

    Ok(true)
}

/// New memory stays allocated, although only the job refers to it and only part of it is mapped.
pub(crate) fn interrupted_map_keeps_memory<F: TestFormat>() -> Result {
    for writes in 0.. {
        let fixture = Fixture::<F>::new()?;
        let first = fixture.alloc(1)?;
        let va = fixture.reserve(LARGE)?;
        // The table is linked already, so each write maps a page.
        fixture.map(&va, LARGE - 1..LARGE, &first, 0, ReadWrite)?;
        let vram = fixture.alloc(8)?;
        let job = fixture.prepare_map(&va, 0..5, &vram, 0, ReadWrite)?;
        drop((first, vram));
        if !ensure_kept(fixture, job, writes)? {
            // One write programs the PRAMIN window.
            ensure_eq!(writes, 1 + 5);
            break;
        }
    }

    Ok(())
}

/// Tables of small pages, some of them unlinked, stay allocated, as does the memory that they map.
pub(crate) fn interrupted_remap_keeps_tables<F: TestFormat>() -> Result {
    for writes in 0.. {
        let fixture = Fixture::<F>::new()?;
        let small = fixture.alloc(4 * LARGE)?;
        let va = fixture.reserve(3 * LARGE)?;
        fixture.map(&va, 0..3 * LARGE, &small, 1, ReadWrite)?;
        let large = fixture.alloc(4 * LARGE)?;
        let job = fixture.prepare_map(&va, 0..3 * LARGE, &large, 0, ReadWrite)?;
        drop((small, large));
        if !ensure_kept(fixture, job, writes)? {
            // Both words of each entry change.
            ensure_eq!(writes, 1 + 2 * 3);
            break;
        }
    }

    Ok(())
}

/// A new table stays allocated if an entry points to it with one of its two words, because the
/// write of the other word failed.
pub(crate) fn interrupted_link_keeps_tables<F: TestFormat>() -> Result {
    let mut half_linked = 0;
    for writes in 0.. {
        let fixture = Fixture::<F>::new()?;
        let vram = fixture.alloc(2 * LARGE)?;
        let va = fixture.reserve(2 * LARGE)?;
        // The directories are linked, and a big page and a small one are mapped below a new entry.
        fixture.map(&va, LARGE..2 * LARGE, &vram, LARGE, ReadWrite)?;
        let tables = fixture.owned()?;
        let mut job = fixture.prepare_map(&va, 0..17, &vram, 0, ReadWrite)?;

        fixture.gpu.fail_access(Direction::Write, writes);
        let result = job.run();
        ensure!(fixture.gpu.has_failed());
        job.free();
        if result == Err(JobError::NotInvalidated(EIO)) {
            break;
        }
        ensure_eq!(result, Err(JobError::Broken(EIO)));
        fixture.gpu.drain();
        let reached = fixture.gpu.reachable_tables(fixture.pdb())?;
        half_linked += usize::from(reached.len() > tables.len());

        let Fixture { vmm, memory, .. } = fixture;
        drop(vmm);
        let mut taken = KVec::new();
        while let Ok(table) = memory.alloc_table() {
            ensure!(reached.iter().all(|it| it.address != table.address()));
            taken.push(table, GFP_KERNEL)?;
        }
    }
    ensure_eq!(half_linked, 1);

    Ok(())
}

/// An interrupted teardown frees no memory.
pub(crate) fn interrupted_teardown_keeps_memory<F: TestFormat>() -> Result {
    const COUNT: u64 = 4;

    // One write programs the PRAMIN window.
    for writes in 0..=COUNT {
        let fixture = Fixture::<F>::new()?;
        let avail = fixture.data.avail();
        for number in 0..COUNT {
            let vram = fixture.alloc(LARGE)?;
            let va = fixture.reserve_at(2 * number * LARGE..(2 * number + 1) * LARGE)?;
            fixture.map(&va, 0..LARGE, &vram, 0, ReadWrite)?;
        }
        let left = avail - COUNT * LARGE * PAGE_SIZE;
        fixture.gpu.fail_access(Direction::Write, writes);
        ensure_eq!(fixture.teardown(), Err(EIO));
        ensure!(fixture.gpu.has_failed());
        ensure_eq!(fixture.data.avail(), left);
        ensure_eq!(fixture.teardown(), Err(EIO));
        ensure_eq!(fixture.data.avail(), left);

        let Fixture { vmm, data, gpu, .. } = fixture;
        drop(vmm);
        ensure_eq!((data.avail(), data.leaked()), (left, avail - left));
        gpu.check_clean()?;
    }

    Ok(())
}

/// A teardown that is interrupted between the tables of a mapping does not free the table that it
/// has unlinked.
pub(crate) fn interrupted_teardown_keeps_tables<F: TestFormat>() -> Result {
    let fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(4 * LARGE)?;
    let va = fixture.reserve(3 * LARGE)?;
    fixture.map(&va, 0..3 * LARGE, &vram, 1, ReadWrite)?;
    let tables = fixture.owned()?;
    let free = fixture.free_tables();
    // The first write programs the PRAMIN window, and the next one unlinks a table.
    fixture.gpu.fail_access(Direction::Write, 2);
    ensure_eq!(fixture.teardown(), Err(EIO));
    ensure_eq!(fixture.table_count()?, usize_as_u64(tables.len()) - 1);
    ensure_eq!(fixture.free_tables(), free);
    ensure_eq!(fixture.vmm.retry_invalidate(), Err(EIO));
    ensure_eq!(fixture.free_tables(), free);

    let Fixture { vmm, memory, .. } = fixture;
    drop((vram, vmm));
    ensure_eq!(memory.avail() / PAGE_SIZE, free);
    let leaked = usize_as_u64(tables.len()) * PAGE_SIZE;
    ensure_eq!(memory.leaked(), leaked);

    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of the teardown of address spaces.

use kernel::prelude::*;

use crate::mm::{
    address::{
        VirtualAddress,
        PAGE_SIZE, //
    },
    format::Access::*,
    model::Fault,
    vmm::{
        tests::fixture::{
            complete,
            ensure,
            ensure_eq,
            Fixture,
            TestFormat,
            LARGE, //
        },
        JobError, //
    }, //
};

/// Maps small pages, 64 KiB pages, large pages, and the last page of the address space.
fn map_something<F: TestFormat>(fixture: &Fixture<F>) -> Result {
    for (page, count, skip) in [
        (3, 5, 0),
        (16, 64, 0),
        (LARGE, 3 * LARGE, 0),
        (5 * LARGE, LARGE, 1),
        ((1 << F::VA_BITS) / PAGE_SIZE - 1, 1, 0),
    ] {
        let vram = fixture.alloc(count + skip)?;
        let va = fixture.reserve_at(page..page + count)?;
        fixture.map(&va, 0..count, &vram, skip, ReadWrite)?;
    }

    Ok(())
}

/// A teardown frees all memory, and the GPU finds no mappings. Another teardown does nothing.
pub(crate) fn teardown_unmaps_everything<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let (avail, free) = (fixture.data.avail(), fixture.free_tables());
    map_something(&fixture)?;
    fixture.check()?;
    ensure!(fixture.lookup(3)?.is_some());
    ensure!(fixture.lookup(LARGE)?.is_some());

    fixture.gpu.reset_counts();
    fixture.teardown()?;
    ensure_eq!(fixture.gpu.counts().invalidates, 1);
    ensure_eq!((fixture.data.avail(), fixture.free_tables()), (avail, free));
    ensure_eq!(fixture.table_count()?, 1);
    fixture.check()?;
    for page in [3, LARGE, 5 * LARGE, (1 << F::VA_BITS) / PAGE_SIZE - 1] {
        ensure_eq!(fixture.lookup(page)?, None);
    }

    fixture.gpu.reset_counts();
    fixture.teardown()?;
    ensure_eq!(fixture.gpu.counts().total(), 0);
    fixture.check()
}

/// Jobs fail without accessing the hardware, whether they are prepared before or after the
/// teardown.
pub(crate) fn teardown_fails_jobs<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let (avail, free) = (fixture.data.avail(), fixture.free_tables());
    let vram = fixture.alloc(LARGE)?;
    let va = fixture.map_all(&vram, ReadWrite)?;

    let mut jobs = KVec::new();
    for is_closed in [false, true] {
        if is_closed {
            fixture.teardown()?;
        }
        jobs.push(fixture.prepare_unmap(&va, 3..9)?, GFP_KERNEL)?;
        let map = fixture.prepare_map(&va, 3..9, &vram, 0, ReadWrite)?;
        jobs.push(map, GFP_KERNEL)?;
        let map = fixture.prepare_map(&va, 0..LARGE, &vram, 0, ReadWrite)?;
        jobs.push(map, GFP_KERNEL)?;
        jobs.push(fixture.prepare_protect(&va, 0..1, ReadOnly)?, GFP_KERNEL)?;
    }
    fixture.gpu.reset_counts();
    for job in jobs.iter_mut() {
        for _ in 0..2 {
            ensure_eq!(job.run(), Err(JobError::Unchanged(ENODEV)));
        }
    }
    drop((jobs, vram));
    ensure_eq!(fixture.gpu.counts().total(), 0);
    ensure_eq!((fixture.data.avail(), fixture.free_tables()), (avail, free));
    fixture.check()?;

    // The same applies if the first teardown fails.
    let fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(1)?;
    let va = fixture.map_all(&vram, ReadWrite)?;
    let unmap = fixture.prepare_unmap(&va, 0..1)?;
    fixture.gpu.hang_invalidate(0);
    ensure_eq!(fixture.teardown(), Err(ETIMEDOUT));
    ensure_eq!(complete(unmap), Err(ENODEV));
    fixture.gpu.recover();
    fixture.teardown()
}

/// If the invalidation times out, memory is not freed until a later teardown succeeds.
pub(crate) fn teardown_timeout<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let (avail, free) = (fixture.data.avail(), fixture.free_tables());
    map_something(&fixture)?;
    fixture.check()?;
    let before = (fixture.data.avail(), fixture.free_tables());

    fixture.gpu.hang_invalidate(0);
    for _ in 0..2 {
        ensure_eq!(fixture.teardown(), Err(ETIMEDOUT));
        ensure_eq!((fixture.data.avail(), fixture.free_tables()), before);
        ensure!(fixture.vmm.has_deferred());
    }
    fixture.gpu.recover();
    fixture.teardown()?;
    ensure_eq!((fixture.data.avail(), fixture.free_tables()), (avail, free));
    ensure!(!fixture.vmm.has_deferred());

    fixture.check()
}

/// A teardown also frees memory that an earlier job has deferred.
pub(crate) fn teardown_frees_deferred<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let (avail, free) = (fixture.data.avail(), fixture.free_tables());
    let vram = fixture.alloc(LARGE)?;
    let va = fixture.map_all(&vram, ReadWrite)?;
    fixture.check()?;
    fixture.gpu.hang_invalidate(0);
    ensure_eq!(fixture.unmap(&va, 0..9), Err(ETIMEDOUT));
    fixture.gpu.recover();
    drop(vram);
    ensure!(fixture.data.avail() < avail);

    fixture.teardown()?;
    ensure_eq!((fixture.data.avail(), fixture.free_tables()), (avail, free));
    fixture.check()
}

/// Dropping an address space without a teardown frees all memory if no pages are mapped. Otherwise,
/// the tables and the mapped memory stay allocated.
pub(crate) fn missing_teardown_keeps_memory<F: TestFormat>() -> Result {
    for maps in [false, true] {
        let mut fixture = Fixture::<F>::new()?;
        let (avail, free) = (fixture.data.avail(), fixture.free_tables());
        let vram = fixture.alloc(LARGE)?;
        let va = fixture.map_all(&vram, ReadWrite)?;
        if !maps {
            fixture.unmap(&va, 0..LARGE)?;
        }
        fixture.check()?;
        let before = (fixture.data.avail(), fixture.free_tables());
        drop(vram);

        let gpu = fixture.gpu.clone();
        let pdb = fixture.pdb();
        let Fixture {
            vmm, data, memory, ..
        } = fixture;
        drop(vmm);
        let after = (data.avail(), memory.avail() / PAGE_SIZE);
        if maps {
            ensure_eq!(after, before);
            // The tables are unchanged.
            ensure!(gpu.reachable_tables(pdb).is_ok());
        } else {
            ensure_eq!(after, (avail, free + 1));
            let start = VirtualAddress::new(0);
            ensure_eq!(gpu.walk(pdb, start), Err(Fault::Unmapped));
        }
        gpu.check_clean()?;
    }

    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of the end of address spaces.

use kernel::prelude::*;

use crate::mm::{
    address::PAGE_SIZE,
    model::Fault,
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

/// Maps some small pages, some large ones, and some that are far away.
fn map_something<F: TestFormat>(bench: &Bench<F>) -> Result {
    for (page, count, skip) in [
        (3, 5, 0),
        (LARGE, 3 * LARGE, 0),
        (5 * LARGE, LARGE, 1),
        ((1 << F::VA_BITS) / PAGE_SIZE - 1, 1, 0),
    ] {
        let vram = bench.alloc(count + skip)?;
        let va = bench.reserve_at(page..page + count)?;
        bench.map(&va, 0..count, &vram, skip, ReadWrite)?;
    }

    Ok(())
}

/// Everything is free, and the GPU finds nothing; it can be done again.
pub(crate) fn everything_is_unmapped<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let (avail, free) = (bench.data.avail(), bench.free_tables());
    map_something(&bench)?;
    bench.check()?;
    ensure!(bench.look(3)?.is_some());
    ensure!(bench.look(LARGE)?.is_some());

    bench.gpu.reset_counts();
    bench.teardown()?;
    ensure_eq!(bench.gpu.counts().invalidates, 1);
    ensure_eq!((bench.data.avail(), bench.free_tables()), (avail, free));
    ensure_eq!(bench.table_count()?, 1);
    bench.check()?;
    for page in [3, LARGE, 5 * LARGE, (1 << F::VA_BITS) / PAGE_SIZE - 1] {
        ensure_eq!(bench.look(page)?, None);
        bench.reserve_at(page..page + 1)?;
    }

    bench.gpu.reset_counts();
    bench.teardown()?;
    ensure_eq!(bench.gpu.counts().total(), 0);
    bench.check()
}

pub(crate) fn jobs_cannot_be_run_any_more<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let (avail, free) = (bench.data.avail(), bench.free_tables());
    let vram = bench.alloc(LARGE)?;
    let va = bench.map_all(&vram, ReadWrite)?;

    // Whether they were submitted before or are afterwards.
    let unmap = bench.submit_unmap(&va, 3..9)?;
    let map = bench.submit_map(&va, 3..9, &vram, 0, ReadWrite)?;
    bench.teardown()?;
    bench.gpu.reset_counts();
    ensure_eq!(bench.run(unmap).cleanup(), Err(ENODEV));
    ensure_eq!(bench.run(map).cleanup(), Err(ENODEV));
    let result = bench.map(&va, 0..LARGE, &vram, 0, ReadWrite);
    ensure_eq!(result, Err(ENODEV));
    ensure_eq!(bench.unmap(&va, 0..LARGE), Err(ENODEV));
    ensure_eq!(bench.protect(&va, 0..1, ReadOnly), Err(ENODEV));
    ensure_eq!(bench.gpu.counts().total(), 0);

    drop((va, vram));
    ensure_eq!((bench.data.avail(), bench.free_tables()), (avail, free));
    bench.check()
}

/// Nothing is freed; it can be called again, and then everything is.
pub(crate) fn a_time_out<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let (avail, free) = (bench.data.avail(), bench.free_tables());
    map_something(&bench)?;
    bench.check()?;
    let before = (bench.data.avail(), bench.free_tables());

    bench.gpu.hang_invalidate(0);
    for _ in 0..2 {
        ensure_eq!(bench.teardown(), Err(ETIMEDOUT));
        ensure_eq!((bench.data.avail(), bench.free_tables()), before);
        ensure_eq!(bench.reserve_at(3..4).err(), Some(EBUSY));
    }
    bench.gpu.recover();
    bench.teardown()?;
    ensure_eq!((bench.data.avail(), bench.free_tables()), (avail, free));
    let _va = bench.reserve_at(3..4)?;

    bench.check()
}

/// What an earlier job could not give back is given back, too.
pub(crate) fn of_a_quarantine<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let (avail, free) = (bench.data.avail(), bench.free_tables());
    let vram = bench.alloc(LARGE)?;
    let va = bench.map_all(&vram, ReadWrite)?;
    bench.check()?;
    bench.gpu.hang_invalidate(0);
    ensure_eq!(bench.unmap(&va, 0..9), Err(ETIMEDOUT));
    bench.gpu.recover();
    drop((va, vram));
    ensure!(bench.data.avail() < avail);

    bench.teardown()?;
    ensure_eq!((bench.data.avail(), bench.free_tables()), (avail, free));
    bench.check()
}

/// With nothing mapped, there is nothing to lose; else it is lost, as the GPU may use it.
pub(crate) fn is_not_called<F: TestFormat>() -> Result {
    for maps in [false, true] {
        let mut bench = Bench::<F>::new()?;
        let (avail, free) = (bench.data.avail(), bench.free_tables());
        let vram = bench.alloc(LARGE)?;
        let va = bench.map_all(&vram, ReadWrite)?;
        if !maps {
            bench.unmap(&va, 0..LARGE)?;
        }
        bench.check()?;
        let before = (bench.data.avail(), bench.free_tables());
        drop((va, vram));

        let gpu = bench.gpu.clone();
        let pdb = bench.vmm.pdb();
        let Bench {
            vmm, data, memory, ..
        } = bench;
        drop(vmm);
        let after = (data.avail(), memory.avail() / PAGE_SIZE);
        if maps {
            ensure_eq!(after, before);
            // The tables are as they were.
            ensure!(gpu.reach(pdb).is_ok());
        } else {
            ensure_eq!(after, (avail, free + 1));
            let start = crate::mm::address::VirtualAddress::new(0);
            ensure_eq!(gpu.walk(pdb, start), Err(Fault::Unmapped));
        }
        gpu.check_clean()?;
    }

    Ok(())
}

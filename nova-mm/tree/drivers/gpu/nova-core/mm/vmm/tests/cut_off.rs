// SPDX-License-Identifier: GPL-2.0

//! Tests of changes that fail after some of their writes.
//!
//! The GPU may then access both the old and the new memory, so neither is freed.

use core::cell::Cell;

use kernel::prelude::*;

use crate::{
    mm::{
        address::PAGE_SIZE,
        mmio::Mmio,
        model::ModelBar0,
        vmm::{
            job::{
                Access::*,
                Submitted, //
            },
            tests::bench::{
                ensure,
                ensure_eq,
                Bench,
                TestFormat,
                LARGE, //
            }, //
        }, //
    },
    num::usize_as_u64, //
};

/// BAR0 of a software GPU that is there for some writes of 64 bits only.
struct Failing<'a> {
    bar: &'a ModelBar0,
    writes: Cell<u32>,
}

impl Mmio for Failing<'_> {
    fn read32(&self, offset: usize) -> Result<u32> {
        self.bar.read32(offset)
    }

    fn read64(&self, offset: usize) -> Result<u64> {
        self.bar.read64(offset)
    }

    fn write32(&self, value: u32, offset: usize) -> Result {
        self.bar.write32(value, offset)
    }

    fn write64(&self, value: u64, offset: usize) -> Result {
        let left = self.writes.get().checked_sub(1).ok_or(EIO)?;
        self.writes.set(left);

        self.bar.write64(value, offset)
    }
}

/// Makes a BAR0 that is there for so many writes.
fn failing(bar: &ModelBar0, writes: u32) -> Failing<'_> {
    Failing {
        bar,
        writes: Cell::new(writes),
    }
}

/// Runs a job that fails after `writes` writes. Neither that nor dropping the address space frees
/// VRAM.
fn ensure_kept<F: TestFormat>(bench: Bench<F>, job: Submitted<F>, writes: u32) -> Result {
    let tables = bench.owned()?;
    let data = bench.data.avail();
    let bar = failing(&bench.bar, writes);
    ensure_eq!(job.run(&bench.mmu, &bar).cleanup(), Err(EIO));
    ensure_eq!(bar.writes.get(), 0);
    ensure_eq!(bench.data.avail(), data);

    for _ in 0..2 {
        ensure_eq!(bench.teardown(), Err(EIO));
    }
    ensure_eq!(bench.data.avail(), data);
    let free = bench.free_tables();
    let Bench {
        vmm,
        data: pool,
        memory,
        ..
    } = bench;
    drop(vmm);
    ensure_eq!((pool.avail(), memory.avail() / PAGE_SIZE), (data, free));

    // The allocator does not return a table that the GPU may walk through.
    let mut taken = KVec::new();
    while let Ok(table) = memory.alloc_table() {
        ensure!(!tables.contains(&table.address()));
        taken.push(table, GFP_KERNEL)?;
    }

    Ok(())
}

/// Only the job has a reference to the memory. Nothing was mapped there before.
pub(crate) fn maps_are_cut_off<F: TestFormat>() -> Result {
    for writes in 0..5 {
        let bench = Bench::<F>::new()?;
        let first = bench.alloc(1)?;
        let va = bench.reserve(LARGE)?;
        // There is a table, so that each write maps a page.
        bench.map(&va, LARGE - 1..LARGE, &first, 0, ReadWrite)?;
        let vram = bench.alloc(8)?;
        let job = bench.submit_map(&va, 0..5, &vram, 0, ReadWrite)?;
        drop((first, vram, va));
        ensure_kept(bench, job, writes)?;
    }

    Ok(())
}

/// Large pages replace tables of small pages, some of which are already unlinked.
pub(crate) fn maps_over_tables_are_cut_off<F: TestFormat>() -> Result {
    // Two words each.
    for writes in 0..6 {
        let bench = Bench::<F>::new()?;
        let small = bench.alloc(4 * LARGE)?;
        let va = bench.reserve(3 * LARGE)?;
        bench.map(&va, 0..3 * LARGE, &small, 1, ReadWrite)?;
        let large = bench.alloc(4 * LARGE)?;
        let job = bench.submit_map(&va, 0..3 * LARGE, &large, 0, ReadWrite)?;
        drop((small, large, va));
        ensure_kept(bench, job, writes)?;
    }

    Ok(())
}

/// A teardown frees the mappings that it unmapped before the failure, and no others.
pub(crate) fn teardowns_are_cut_off<F: TestFormat>() -> Result {
    const COUNT: u32 = 4;

    for writes in 0..COUNT {
        let bench = Bench::<F>::new()?;
        let avail = bench.data.avail();
        for number in 0..u64::from(COUNT) {
            let vram = bench.alloc(LARGE)?;
            let va = bench.reserve_at(2 * number * LARGE..(2 * number + 1) * LARGE)?;
            bench.map(&va, 0..LARGE, &vram, 0, ReadWrite)?;
        }
        let bar = failing(&bench.bar, writes);
        ensure_eq!(bench.vmm.teardown(&bench.mmu, &bar), Err(EIO));
        let left = avail - u64::from(COUNT - writes) * LARGE * PAGE_SIZE;
        ensure_eq!(bench.data.avail(), left);
        ensure_eq!(bench.teardown(), Err(EIO));
        ensure_eq!(bench.data.avail(), left);

        let Bench { vmm, data, gpu, .. } = bench;
        drop(vmm);
        ensure_eq!((data.avail(), data.kept()), (left, avail - left));
        gpu.check_clean()?;
    }

    Ok(())
}

/// A teardown that fails between the tables of one mapping keeps the table that it has unlinked.
pub(crate) fn unlinked_tables_are_kept<F: TestFormat>() -> Result {
    let bench = Bench::<F>::new()?;
    let vram = bench.alloc(4 * LARGE)?;
    let va = bench.reserve(3 * LARGE)?;
    bench.map(&va, 0..3 * LARGE, &vram, 1, ReadWrite)?;
    let tables = bench.owned()?;
    let free = bench.free_tables();
    // One write unlinks a table.
    let bar = failing(&bench.bar, 1);
    ensure_eq!(bench.vmm.teardown(&bench.mmu, &bar), Err(EIO));
    ensure_eq!(bench.table_count()?, usize_as_u64(tables.len()) - 1);
    ensure_eq!(bench.free_tables(), free);

    let Bench { vmm, memory, .. } = bench;
    drop((va, vram, vmm));
    ensure_eq!(memory.avail() / PAGE_SIZE, free);
    let kept = usize_as_u64(tables.len()) * PAGE_SIZE;
    ensure_eq!(memory.kept(), kept);

    Ok(())
}

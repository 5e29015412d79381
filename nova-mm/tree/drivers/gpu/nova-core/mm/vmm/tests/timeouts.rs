// SPDX-License-Identifier: GPL-2.0

//! Tests of what happens if the GPU does not answer.

use core::cell::Cell;

use kernel::prelude::*;

use crate::mm::{
    address::PAGE_SIZE,
    mmio::Mmio,
    model::{
        Logged,
        ModelBar0, //
    },
    tables::tests::map::levels,
    tlb::Tlb,
    vmm::{
        job::{
            Access::*,
            Submitted, //
        },
        tests::{
            bench::{
                ensure,
                ensure_eq,
                Bench,
                TestFormat,
                LARGE, //
            },
            observe::DOWNGRADE, //
        }, //
    }, //
};

/// Nothing of a mapping is used for anything else before the TLB has forgotten it: the next user of
/// the addresses does not see the old memory, nor the GPU what the memory is used for next.
pub(crate) fn failed_job_frees_nothing<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let (avail, free) = (bench.data.avail(), bench.free_tables());
    let vram = bench.alloc(16)?;
    let va = bench.reserve_at(0..16)?;
    let other = bench.reserve_at(LARGE..LARGE + 1)?;
    bench.map(&va, 0..16, &vram, 0, ReadWrite)?;
    bench.check()?;
    bench.expect_mapped(&va, 0..16, &vram, 0, ReadWrite)?;
    drop(vram);

    bench.gpu.hang_invalidate(0);
    let job = bench.submit_unmap(&va, 0..16)?;
    drop(va);
    let before = (bench.data.avail(), bench.free_tables());
    let ran = bench.run(job);
    ensure_eq!(ran.result(), Err(ETIMEDOUT));
    ensure_eq!(ran.cleanup(), Err(ETIMEDOUT));
    // The tables hold nothing any more, but the TLB may.
    ensure_eq!(bench.table_count()?, 1);
    ensure!(bench.vmm.is_quarantined());
    ensure_eq!((bench.data.avail(), bench.free_tables()), before);
    ensure_eq!(bench.reserve_at(0..1).err(), Some(EBUSY));
    bench.check()?;

    // The GPU does not answer the next one either, and is not disturbed.
    let vram = bench.alloc(1)?;
    let result = bench.map(&other, 0..1, &vram, 0, ReadWrite);
    ensure_eq!(result, Err(ETIMEDOUT));
    ensure_eq!(bench.reserve_at(0..1).err(), Some(EBUSY));

    // Then it does, and all of it is free. Accesses that were on their way are waited for, although
    // the job only adds something.
    bench.gpu.recover();
    bench.gpu.start_log(16)?;
    bench.map(&other, 0..1, &vram, 0, ReadWrite)?;
    let log = bench.gpu.take_log();
    let command = log.iter().find_map(|it| match it {
        Logged::Invalidate { command, .. } => Some(*command),
        _ => None,
    });
    ensure_eq!(command, Some(DOWNGRADE));
    ensure!(!bench.vmm.is_quarantined());
    ensure_eq!(bench.data.avail(), avail - PAGE_SIZE);
    ensure_eq!(bench.free_tables(), free + 1 - levels::<F>());
    let va = bench.reserve_at(0..16)?;
    bench.check()?;
    bench.expect_unmapped(&va, 0..16)?;
    bench.expect_mapped(&other, 0..1, &vram, 0, ReadWrite)
}

/// A page that is split, a table that a large page has taken the place of: they may still be used.
pub(crate) fn tables_stay_in_quarantine<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(2 * LARGE)?;
    let va = bench.reserve(LARGE)?;
    bench.map(&va, 0..LARGE, &vram, 1, ReadWrite)?;
    bench.check()?;
    bench.expect_mapped(&va, 0..LARGE, &vram, 1, ReadWrite)?;
    let free = bench.free_tables();

    bench.gpu.hang_invalidate(0);
    let result = bench.map(&va, 0..LARGE, &vram, LARGE, ReadWrite);
    ensure_eq!(result, Err(ETIMEDOUT));
    ensure_eq!(bench.free_tables(), free);
    bench.check()?;
    // What it has is the change nevertheless, and so is what a later job starts from.
    bench.gpu.recover();
    bench.unmap(&va, 3..5)?;
    bench.check()?;
    bench.expect_mapped(&va, 0..3, &vram, LARGE, ReadWrite)?;
    bench.expect_unmapped(&va, 3..5)?;
    bench.expect_mapped(&va, 5..LARGE, &vram, LARGE + 5, ReadWrite)?;
    ensure_eq!(bench.free_tables(), free);

    Ok(())
}

/// An invalidate of the firmware is waited for; its registers are not touched meanwhile.
pub(crate) fn pending_invalidates<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(1)?;
    let va = bench.reserve(1)?;

    // As long as it takes.
    bench.mmu.lock().tlb = Tlb::new();
    bench.gpu.leave_pending(3);
    bench.gpu.set_trigger_polls(5);
    bench.map(&va, 0..1, &vram, 0, ReadWrite)?;
    bench.check()?;
    bench.expect_mapped(&va, 0..1, &vram, 0, ReadWrite)?;
    // Nothing is freed that the GPU could use: it has to tell that it does not.
    bench.gpu.leave_pending(3);
    let job = bench.submit_unmap(&va, 0..1)?;
    let (ran, seen) = bench.observe(job, &mut |_| Ok(()))?;
    ensure_eq!(seen.command, DOWNGRADE);
    ran.cleanup()?;
    bench.check()?;
    bench.expect_unmapped(&va, 0..1)
}

/// If it never answers, what it may use is lost rather than used for something else.
pub(crate) fn quarantine_is_never_freed<F: TestFormat>() -> Result {
    let bench = Bench::<F>::new()?;
    let vram = bench.alloc(LARGE)?;
    let va = bench.map_all(&vram, ReadWrite)?;
    drop(vram);
    bench.gpu.hang_invalidate(0);
    ensure_eq!(bench.unmap(&va, 0..LARGE), Err(ETIMEDOUT));
    ensure_eq!(bench.teardown(), Err(ETIMEDOUT));

    let before = (bench.data.avail(), bench.free_tables());
    let Bench {
        vmm, data, memory, ..
    } = bench;
    drop((va, vmm));
    ensure_eq!((data.avail(), memory.avail() / PAGE_SIZE), before);

    Ok(())
}

/// BAR0 of a software GPU that is there for some writes only.
struct Breaking<'a> {
    bar: &'a ModelBar0,
    writes: Cell<u32>,
}

impl Mmio for Breaking<'_> {
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
        self.writes
            .set(self.writes.get().checked_sub(1).ok_or(EIO)?);

        self.bar.write64(value, offset)
    }
}

/// Runs a job on hardware that is there for so many writes only. Returns the numbers of free bytes
/// for data and of free pages for tables after that.
fn cut_off<F: TestFormat>(bench: &Bench<F>, job: Submitted<F>, writes: u32) -> Result<(u64, u64)> {
    let before = bench.data.avail();
    let bar = Breaking {
        bar: &bench.bar,
        writes: Cell::new(writes),
    };
    ensure_eq!(job.run(&bench.mmu, &bar).cleanup(), Err(EIO));
    ensure_eq!(bench.data.avail(), before);

    Ok((before, bench.free_tables()))
}

/// Fails unless the address space, whose tables are broken, keeps all that it has.
fn ensure_lost<F: TestFormat>(bench: Bench<F>, left: (u64, u64)) -> Result {
    ensure_eq!(bench.teardown(), Err(EIO));
    ensure_eq!(bench.teardown(), Err(EIO));

    let Bench {
        vmm, data, memory, ..
    } = bench;
    drop(vmm);
    ensure_eq!((data.avail(), memory.avail() / PAGE_SIZE), left);

    Ok(())
}

/// If a change is cut off in the middle, nobody knows what the GPU may use.
pub(crate) fn tables_that_are_broken_are_never_freed<F: TestFormat>() -> Result {
    // The first 512 ones are the new table, the next links it, and one clears the large page.
    for writes in [0, 1, 100, 512, 513, 514] {
        let bench = Bench::<F>::new()?;
        let vram = bench.alloc(2 * LARGE)?;
        let va = bench.map_all(&vram, ReadWrite)?;
        drop(vram);
        let job = bench.submit_unmap(&va, LARGE - 5..2 * LARGE)?;
        let left = cut_off(&bench, job, writes)?;

        // Although the hardware is there again. What was not mapped is given back.
        ensure_eq!(bench.unmap(&va, 0..2 * LARGE), Err(EIO));
        let vram = bench.alloc(1)?;
        let result = bench.map(&va, 0..1, &vram, 0, ReadWrite);
        ensure_eq!(result, Err(EIO));
        drop((va, vram));
        ensure_lost(bench, left)?;
    }

    Ok(())
}

/// The same if nothing would be mapped any more.
pub(crate) fn tables_that_are_broken_and_empty_are_never_freed<F: TestFormat>() -> Result {
    for writes in 0..2 {
        let bench = Bench::<F>::new()?;
        let vram = bench.alloc(2 * LARGE)?;
        let va = bench.map_all(&vram, ReadWrite)?;
        let job = bench.submit_unmap(&va, 0..2 * LARGE)?;
        let left = cut_off(&bench, job, writes)?;
        drop((va, vram));
        ensure_lost(bench, left)?;
    }

    Ok(())
}

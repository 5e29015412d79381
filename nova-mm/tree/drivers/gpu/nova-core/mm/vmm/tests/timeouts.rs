// SPDX-License-Identifier: GPL-2.0

//! Tests of a GPU that does not respond, in which memory must not be freed.

use kernel::{
    prelude::*,
    time::Delta, //
};

use crate::{
    mm::{
        address::PAGE_SIZE,
        format::{
            Access::*,
            PageSizes, //
        },
        hw::{
            MmuConfig,
            MmuHw, //
        },
        model::{
            Direction,
            Logged, //
        },
        pramin::Pramin,
        tlb::Tlb,
        vmm::{
            tests::{
                fixture::{
                    all_pages,
                    complete,
                    ensure,
                    ensure_eq,
                    Fixture,
                    TestFormat,
                    LARGE, //
                },
                trace::DOWNGRADE, //
            },
            Job,
            JobError,
            Vmm, //
        }, //
    },
    num::usize_as_u64, //
};

/// Memory and tables are not reused before the TLB has been invalidated. Their pages cannot be
/// mapped again either, because jobs fail immediately until the invalidation is retried.
pub(crate) fn timeout_frees_nothing<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let (avail, free) = (fixture.data.avail(), fixture.free_tables());
    let vram = fixture.alloc(16)?;
    let va = fixture.reserve_at(0..16)?;
    let other = fixture.reserve_at(LARGE..LARGE + 1)?;
    fixture.map(&va, 0..15, &vram, 1, ReadWrite)?;
    fixture.check()?;
    fixture.expect_mapped(&va, 0..15, &vram, 1, ReadWrite)?;
    drop(vram);

    let mut job = fixture.prepare_unmap(&va, 0..16)?;
    let before = (fixture.data.avail(), fixture.free_tables());
    fixture.gpu.hang_invalidate(0);
    ensure_eq!(job.run(), Err(JobError::NotInvalidated(ETIMEDOUT)));
    job.free();
    // The page tables are empty, but the TLB may still hold translations.
    ensure_eq!(fixture.table_count()?, 1);
    ensure!(fixture.vmm.has_deferred());
    ensure_eq!((fixture.data.avail(), fixture.free_tables()), before);
    fixture.check()?;

    // The GPU is not accessed while it does not respond.
    let vram = fixture.alloc(1)?;
    let mut map = fixture.prepare_map(&other, 0..1, &vram, 0, ReadWrite)?;
    let mut again = fixture.prepare_map(&va, 0..1, &vram, 0, ReadWrite)?;
    fixture.gpu.reset_counts();
    for job in [&mut map, &mut again] {
        ensure_eq!(job.run(), Err(JobError::Unchanged(EIO)));
    }
    ensure_eq!(fixture.gpu.counts().total(), 0);
    again.free();
    ensure_eq!(fixture.vmm.retry_invalidate(), Err(ETIMEDOUT));
    ensure!(fixture.vmm.has_deferred());

    // The invalidation before the deferred frees waits for accesses in flight.
    fixture.gpu.recover();
    ensure_eq!(map.run(), Err(JobError::Unchanged(EIO)));
    fixture.gpu.start_log(16)?;
    fixture.vmm.retry_invalidate()?;
    let log = fixture.gpu.take_log();
    let mut commands = log.iter().filter_map(|it| match it {
        Logged::Invalidate { command, .. } => Some(*command),
        _ => None,
    });
    ensure_eq!((commands.next(), commands.next()), (Some(DOWNGRADE), None));
    ensure!(!fixture.vmm.has_deferred());
    complete(map)?;
    ensure_eq!(fixture.data.avail(), avail - PAGE_SIZE);
    ensure_eq!(
        fixture.free_tables(),
        free + 1 - usize_as_u64(F::LEVELS.len())
    );
    fixture.check()?;
    fixture.expect_unmapped(&va, 0..16)?;
    fixture.expect_mapped(&other, 0..1, &vram, 0, ReadWrite)
}

/// A table that a large page has replaced stays allocated. Later jobs see the page tables as the
/// failed job has left them.
pub(crate) fn timeout_keeps_replaced_table<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(2 * LARGE)?;
    let va = fixture.reserve(LARGE)?;
    fixture.map(&va, 0..LARGE, &vram, 1, ReadWrite)?;
    fixture.check()?;
    fixture.expect_mapped(&va, 0..LARGE, &vram, 1, ReadWrite)?;
    let free = fixture.free_tables();

    fixture.gpu.hang_invalidate(0);
    let result = fixture.map(&va, 0..LARGE, &vram, LARGE, ReadWrite);
    ensure_eq!(result, Err(ETIMEDOUT));
    ensure_eq!(fixture.free_tables(), free);
    fixture.check()?;

    let mut unmap = fixture.prepare_unmap(&va, 3..5)?;
    ensure_eq!(fixture.free_tables(), free - 1);
    fixture.gpu.recover();
    ensure_eq!(unmap.run(), Err(JobError::Unchanged(EIO)));
    fixture.vmm.retry_invalidate()?;
    ensure_eq!(fixture.free_tables(), free);
    unmap.run()?;
    unmap.free();
    fixture.check()?;
    fixture.expect_mapped(&va, 0..3, &vram, LARGE, ReadWrite)?;
    fixture.expect_unmapped(&va, 3..5)?;
    fixture.expect_mapped(&va, 5..LARGE, &vram, LARGE + 5, ReadWrite)?;
    ensure_eq!(fixture.free_tables(), free);

    Ok(())
}

/// Replaces the address space of `fixture` with one whose timeout is several seconds.
fn wait_longer<F: TestFormat>(fixture: &mut Fixture<F>) -> Result {
    let config = MmuConfig {
        format: F::mmu(),
        page_sizes: PageSizes::COMMON,
        pramin: Pramin::new(F::hal()),
        tlb: Tlb::with_timeout(Delta::from_secs(10)),
    };
    fixture.hw = MmuHw::new(fixture.gpu.registers()?, config)?;
    fixture.vmm = Vmm::new(
        fixture.hw.clone(),
        fixture.memory.clone(),
        all_pages::<F>()?,
    )?;

    Ok(())
}

/// The driver waits for invalidations of the firmware before it writes the registers.
pub(crate) fn run_waits_for_pending_invalidate<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    wait_longer(&mut fixture)?;
    let vram = fixture.alloc(1)?;
    let va = fixture.reserve(1)?;

    // With busy polling only, and with sleeping.
    for polls in [3, 30] {
        fixture.gpu.set_trigger_polls(polls + 2);
        fixture.gpu.leave_pending(polls);
        fixture.map(&va, 0..1, &vram, 0, ReadWrite)?;
        fixture.check()?;
        fixture.expect_mapped(&va, 0..1, &vram, 0, ReadWrite)?;
        fixture.gpu.leave_pending(polls);
        let job = fixture.prepare_unmap(&va, 0..1)?;
        let seen = fixture.trace_and_free(job)?;
        ensure_eq!(seen.command, DOWNGRADE);
        fixture.expect_unmapped(&va, 0..1)?;
    }

    Ok(())
}

/// If the GPU never responds, memory that it may access stays allocated.
pub(crate) fn hung_gpu_deferred_never_freed<F: TestFormat>() -> Result {
    let fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(LARGE)?;
    let va = fixture.map_all(&vram, ReadWrite)?;
    drop(vram);
    fixture.gpu.hang_invalidate(0);
    ensure_eq!(fixture.unmap(&va, 0..LARGE), Err(ETIMEDOUT));
    ensure_eq!(fixture.teardown(), Err(ETIMEDOUT));

    let before = (fixture.data.avail(), fixture.free_tables());
    let Fixture {
        vmm, data, memory, ..
    } = fixture;
    drop(vmm);
    ensure_eq!((data.avail(), memory.avail() / PAGE_SIZE), before);

    Ok(())
}

/// Runs a job in which one write fails, after `writes` others. Returns the free bytes of memory to
/// be mapped and the free pages for page tables after that, or [`None`] if the page tables were
/// complete by then.
fn interrupt<F: TestFormat>(
    fixture: &Fixture<F>,
    mut job: Job,
    writes: u64,
) -> Result<Option<(u64, u64)>> {
    let before = fixture.data.avail();
    fixture.gpu.fail_access(Direction::Write, writes);
    let result = job.run();
    ensure!(fixture.gpu.has_failed());
    job.free();
    if result == Err(JobError::NotInvalidated(EIO)) {
        return Ok(None);
    }
    ensure_eq!(result, Err(JobError::Broken(EIO)));
    ensure_eq!(fixture.data.avail(), before);

    Ok(Some((before, fixture.free_tables())))
}

/// Fails unless a broken address space leaves all its memory allocated.
fn ensure_lost<F: TestFormat>(fixture: Fixture<F>, left: (u64, u64)) -> Result {
    for _ in 0..2 {
        ensure_eq!(fixture.teardown(), Err(EIO));
        ensure_eq!(fixture.vmm.retry_invalidate(), Err(EIO));
    }

    let Fixture {
        vmm, data, memory, ..
    } = fixture;
    drop(vmm);
    ensure_eq!((data.avail(), memory.avail() / PAGE_SIZE), left);

    Ok(())
}

/// After an interrupted update, mapped memory and page tables are never freed. Memory that was not
/// mapped is freed.
pub(crate) fn broken_tables_never_freed<F: TestFormat>() -> Result {
    let mut count = 0;

    // Most writes fill a new table, so only some of these are tested.
    for writes in (0..).filter(|writes| *writes > 500 || writes % 99 == 0) {
        let fixture = Fixture::<F>::new()?;
        let vram = fixture.alloc(2 * LARGE)?;
        let va = fixture.map_all(&vram, ReadWrite)?;
        drop(vram);
        let job = fixture.prepare_unmap(&va, LARGE - 5..2 * LARGE)?;
        let Some((data, tables)) = interrupt(&fixture, job, writes)? else {
            break;
        };
        count += 1;

        // The hardware works again by now.
        let unmap = fixture.prepare_unmap(&va, LARGE..2 * LARGE)?;
        ensure_eq!(complete(unmap), Err(EIO));
        let vram = fixture.alloc(1)?;
        let mut map = fixture.prepare_map(&va, LARGE..LARGE + 1, &vram, 0, ReadWrite)?;
        ensure_eq!(map.run(), Err(JobError::Unchanged(EIO)));
        drop((map, vram));
        ensure_eq!(fixture.data.avail(), data);
        let left = (data, fixture.free_tables());
        ensure!(left.1 <= tables);
        ensure_lost(fixture, left)?;
    }
    ensure!(count > 10);

    Ok(())
}

/// The same for an update that would have unmapped all pages.
pub(crate) fn broken_empty_tables_never_freed<F: TestFormat>() -> Result {
    // The first write programs the PRAMIN window.
    for writes in 0..3 {
        let fixture = Fixture::<F>::new()?;
        let vram = fixture.alloc(2 * LARGE)?;
        let va = fixture.map_all(&vram, ReadWrite)?;
        let job = fixture.prepare_unmap(&va, 0..2 * LARGE)?;
        let left = interrupt(&fixture, job, writes)?.ok_or(EINVAL)?;
        drop(vram);
        ensure_lost(fixture, left)?;
    }

    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! Tests with lockdep that the stage "run", which DMA fences may wait for, does not wait for
//! memory.

use core::ops::Range;

use kernel::prelude::*;

use crate::mm::{
    address::PAGE_SIZE,
    format::Access::*,
    vmm::{
        tests::fixture::{
            ensure_eq,
            Fixture,
            TestFormat,
            LARGE, //
        }, //
        Job,
        JobError, //
    }, //
};

#[cfg(CONFIG_LOCKDEP)]
mod lockdep {
    use kernel::bindings;

    /// Runs `f` as if memory were being reclaimed.
    ///
    /// Afterwards, lockdep reports memory allocations in `f`. It also reports locks taken in `f`
    /// under which memory is allocated anywhere, directly or through other locks.
    pub(super) fn in_reclaim<T>(f: impl FnOnce() -> T) -> T {
        // SAFETY: This only informs lockdep. The section is ended below in the same context.
        unsafe { bindings::fs_reclaim_acquire(bindings::GFP_KERNEL) };
        let result = f();
        // SAFETY: As above.
        unsafe { bindings::fs_reclaim_release(bindings::GFP_KERNEL) };

        result
    }

    /// Returns whether lockdep is enabled. It disables itself after its first report.
    pub(super) fn is_on() -> bool {
        // SAFETY: `debug_locks` is a valid static `int`. The read is volatile because other threads
        // may write it.
        unsafe { (&raw const bindings::debug_locks).read_volatile() != 0 }
    }

    pub(super) const STATE: &str = "on";
}

#[cfg(not(CONFIG_LOCKDEP))]
mod lockdep {
    pub(super) fn in_reclaim<T>(f: impl FnOnce() -> T) -> T {
        f()
    }

    pub(super) fn is_on() -> bool {
        true
    }

    pub(super) const STATE: &str = "not configured";
}

/// Runs a job as if a DMA fence waited for it.
fn run(mut job: Job) -> Result {
    lockdep::in_reclaim(|| job.run())?;
    job.free();

    Ok(())
}

/// Takes each lock outside of "run", so that lockdep learns how it is used there.
fn acquire_each_lock<F: TestFormat>(fixture: &mut Fixture<F>) -> Result {
    let vram = fixture.alloc(1)?;
    let va = fixture.reserve(1)?;
    fixture.prepare_map(&va, 0..1, &vram, 0, ReadWrite)?.free();
    fixture.map(&va, 0..1, &vram, 0, ReadWrite)?;
    fixture.unmap(&va, 0..1)?;
    drop((va, vram));

    fixture.check()
}

/// "run" does not allocate memory, and takes no lock under which memory is allocated.
pub(crate) fn run_no_memory_wait<F: TestFormat>() -> Result {
    let on = lockdep::is_on();
    let mut fixture = Fixture::<F>::new()?;
    acquire_each_lock(&mut fixture)?;
    let vram = fixture.alloc(4 * LARGE)?;
    let va = fixture.reserve(4 * LARGE)?;

    let all: Range<u64> = 0..4 * LARGE;
    // Large pages, part of them, small pages in their place, and large pages again.
    run(fixture.prepare_map(&va, all.clone(), &vram, 0, ReadWrite)?)?;
    run(fixture.prepare_protect(&va, 3..LARGE + 3, ReadOnly)?)?;
    run(fixture.prepare_unmap(&va, 2 * LARGE - 7..2 * LARGE + 7)?)?;
    run(fixture.prepare_map(&va, 1..3 * LARGE, &vram, 0, ReadOnly)?)?;
    run(fixture.prepare_map(&va, all.clone(), &vram, 0, ReadWrite)?)?;
    fixture.check()?;
    fixture.expect_mapped(&va, all.clone(), &vram, 0, ReadWrite)?;
    run(fixture.prepare_unmap(&va, all.clone())?)?;
    // With several prepared jobs, one of which is not run.
    let first = fixture.prepare_map(&va, 0..LARGE, &vram, 1, ReadWrite)?;
    let second = fixture.prepare_map(&va, 1..LARGE, &vram, 7, ReadWrite)?;
    let third = fixture.prepare_unmap(&va, 5..9)?;
    run(second)?;
    third.free();
    run(first)?;
    fixture.teardown()?;
    drop((va, vram));
    fixture.check()?;

    report(on)
}

/// The same when firmware tables are read, and when the GPU does not respond.
pub(crate) fn run_in_bar_no_memory_wait<F: TestFormat>() -> Result {
    let on = lockdep::is_on();
    let mut fixture = Fixture::<F>::of_bar(|_, _| Ok(()))?;
    acquire_each_lock(&mut fixture)?;
    let vram = fixture.alloc(2 * LARGE)?;
    let va = fixture.reserve(2 * LARGE)?;

    run(fixture.prepare_map(&va, 0..2 * LARGE, &vram, 0, ReadWrite)?)?;
    fixture.gpu.hang_invalidate(0);
    let mut job = fixture.prepare_unmap(&va, 5..LARGE + 5)?;
    let result = lockdep::in_reclaim(|| job.run());
    job.free();
    fixture.gpu.recover();
    ensure_eq!(result, Err(JobError::NotInvalidated(ETIMEDOUT)));
    fixture.vmm.retry_invalidate()?;
    run(fixture.prepare_unmap(&va, 0..2 * LARGE)?)?;
    drop((va, vram));
    fixture.check()?;
    if fixture.data.avail() % (LARGE * PAGE_SIZE) != 0 {
        return Err(EINVAL);
    }

    report(on)
}

/// Logs whether lockdep was enabled, and fails if it has reported anything since then.
///
/// Earlier reports are caused by other parts of the kernel.
fn report(was_on: bool) -> Result {
    let state = match was_on {
        true => lockdep::STATE,
        false => "disabled by an earlier report",
    };
    pr_info!("lockdep: {}\n", state);

    if was_on && !lockdep::is_on() {
        pr_err!("lockdep reported a problem\n");
        return Err(EINVAL);
    }

    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of the locks: a DMA fence may wait for the stage "run".

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
    /// From here on, lockdep reports memory that is allocated in `f`, and each lock taken in it
    /// under which memory is allocated anywhere, or a lock is taken for which this holds.
    pub(super) fn in_reclaim<T>(f: impl FnOnce() -> T) -> T {
        // SAFETY: It tells lockdep, which forgets it by the call below, in the same context.
        unsafe { bindings::fs_reclaim_acquire(bindings::GFP_KERNEL) };
        let result = f();
        // SAFETY: As above.
        unsafe { bindings::fs_reclaim_release(bindings::GFP_KERNEL) };

        result
    }

    /// Returns whether lockdep has had nothing to report. It does so once and is then off.
    pub(super) fn is_on() -> bool {
        // SAFETY: It is an `int` that is there all the time. Others may write it, hence volatile.
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

/// Takes each lock in the way in which it is taken outside of "run", so that lockdep knows it.
fn take_each_lock<F: TestFormat>(fixture: &mut Fixture<F>) -> Result {
    let vram = fixture.alloc(1)?;
    let va = fixture.reserve(1)?;
    fixture.prepare_map(&va, 0..1, &vram, 0, ReadWrite)?.free();
    fixture.map(&va, 0..1, &vram, 0, ReadWrite)?;
    fixture.unmap(&va, 0..1)?;
    drop((va, vram));

    fixture.check()
}

/// In "run", no memory is allocated, and no lock is taken under which anybody does.
pub(crate) fn run_does_not_wait_for_memory<F: TestFormat>() -> Result {
    let on = lockdep::is_on();
    let mut fixture = Fixture::<F>::new()?;
    take_each_lock(&mut fixture)?;
    let vram = fixture.alloc(4 * LARGE)?;
    let va = fixture.reserve(4 * LARGE)?;

    let all: Range<u64> = 0..4 * LARGE;
    // Large pages, a part of them, small ones in their place, and large ones again.
    run(fixture.prepare_map(&va, all.clone(), &vram, 0, ReadWrite)?)?;
    run(fixture.prepare_protect(&va, 3..LARGE + 3, ReadOnly)?)?;
    run(fixture.prepare_unmap(&va, 2 * LARGE - 7..2 * LARGE + 7)?)?;
    run(fixture.prepare_map(&va, 1..3 * LARGE, &vram, 0, ReadOnly)?)?;
    run(fixture.prepare_map(&va, all.clone(), &vram, 0, ReadWrite)?)?;
    fixture.check()?;
    fixture.expect_mapped(&va, all.clone(), &vram, 0, ReadWrite)?;
    run(fixture.prepare_unmap(&va, all.clone())?)?;
    // With more than one job on the way, and one that is not run.
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

/// The same where the firmware's tables are looked at, and where the GPU does not answer.
pub(crate) fn run_does_not_wait_for_memory_in_a_bar<F: TestFormat>() -> Result {
    let on = lockdep::is_on();
    let mut fixture = Fixture::<F>::of_bar(|_, _| Ok(()))?;
    take_each_lock(&mut fixture)?;
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

/// Says whether lockdep has watched, and fails if it has seen something.
///
/// What it has seen before, in whatever else the kernel does, is not ours.
fn report(was_on: bool) -> Result {
    let state = match was_on {
        true => lockdep::STATE,
        false => "off before",
    };
    pr_info!("lockdep: {}\n", state);

    if was_on && !lockdep::is_on() {
        pr_err!("lockdep has reported something\n");
        return Err(EINVAL);
    }

    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! Tests with failing allocations of the allocator's data.

use super::{
    alloc::{
        alloc,
        occupy,
        Blocks, //
    },
    *, //
};
use crate::{
    alloc::flags::__GFP_ZERO,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use core::ffi::c_void;

/// The number of allocations of a block since [`Fault::arm`].
static COUNT: Atomic<i32> = Atomic::new(0);

/// The numbers of the first and the last allocation that fails.
static FIRST: Atomic<i32> = Atomic::new(0);
static LAST: Atomic<i32> = Atomic::new(0);

/// Replaces `gpu_buddy_block_zalloc()`.
///
/// # Safety
///
/// `cache` must be the cache of `struct gpu_buddy_block`.
unsafe extern "C" fn zalloc(cache: *mut bindings::kmem_cache) -> *mut bindings::gpu_buddy_block {
    let count = COUNT.fetch_add(1, Relaxed);
    if (FIRST.load(Relaxed)..=LAST.load(Relaxed)).contains(&count) {
        return core::ptr::null_mut();
    }
    // SAFETY: `cache` is valid by the safety requirements.
    unsafe { bindings::kmem_cache_alloc_noprof(cache, (GFP_KERNEL | __GFP_ZERO).as_raw()) }.cast()
}

/// Makes allocations of blocks by this test fail, until it is dropped.
struct Fault(*mut bindings::kunit);

impl Fault {
    fn arm(first: i32, last: i32) -> Self {
        COUNT.store(0, Relaxed);
        FIRST.store(first, Relaxed);
        LAST.store(last, Relaxed);
        // SAFETY: This can always be called. It does not return null, because only test cases arm a
        // fault, each on the thread on which KUnit runs it.
        let test = unsafe { bindings::kunit_get_current_test() };
        let replacement: unsafe extern "C" fn(_) -> _ = zalloc;
        // SAFETY: `test` is the running test, and the replacement has the type of the function.
        unsafe {
            bindings::__kunit_activate_static_stub(test, Self::real(), replacement as *mut c_void)
        };
        Self(test)
    }

    fn real() -> *mut c_void {
        let real: unsafe extern "C" fn(_) -> _ = bindings::gpu_buddy_block_zalloc;
        real as *mut c_void
    }

    /// Returns whether an allocation has failed.
    fn has_failed(&self) -> bool {
        COUNT.load(Relaxed) > FIRST.load(Relaxed)
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        // SAFETY: The replacement was activated for this test.
        unsafe { bindings::kunit_deactivate_static_stub(self.0, Self::real()) };
    }
}

/// Makes a request repeatedly, each time failing another allocation of a block: at first only that
/// one, then that one and all that follow. `prepare` runs before each request.
///
/// Returns how often the request has failed, each time with [`ENOMEM`] and without a change of the
/// free memory; [`EIO`] if a failure was different.
fn each_fault(
    buddy: &GpuBuddy,
    prepare: impl Fn() -> Result,
    request: impl Fn() -> Result<Blocks>,
) -> Result<u32> {
    let avail = buddy.avail();
    let mut failures = 0;
    for lasting in [false, true] {
        for first in 0..1000 {
            prepare()?;
            let before = Snapshot::new(buddy);

            let fault = Fault::arm(first, if lasting { i32::MAX } else { first });
            let ret = request();
            let has_failed = fault.has_failed();
            drop(fault);

            if has_failed {
                if ret.err() != Some(ENOMEM) || before != Snapshot::new(buddy) {
                    return Err(EIO);
                }
                failures += 1;
            } else {
                drop(ret?);
            }
            if buddy.avail() != avail || !Snapshot::new(buddy).adds_up(4 * KIB) {
                return Err(EIO);
            }
            if !has_failed {
                break;
            }
        }
    }
    Ok(failures)
}

#[macros::kunit_tests(rust_gpu_buddy_faults)]
mod suite {
    use super::*;
    use GpuBuddyAllocFlag::{
        Clear,
        Contiguous, //
    };
    use GpuBuddyAllocMode::{
        Range as In,
        Simple,
        TopDown, //
    };

    #[test]
    fn new_enomem() -> Result {
        for (size, roots) in [(MIB, 1), (7 * MIB, 3)] {
            for first in 0..roots {
                let fault = Fault::arm(first, first);
                assert_eq!(buddy(size).err(), Some(ENOMEM));
                drop(fault);
            }
            let fault = Fault::arm(roots, roots);
            assert_eq!(buddy(size)?.avail(), size);
            assert!(!fault.has_failed());
        }
        Ok(())
    }

    #[test]
    fn alloc_enomem_changes_nothing() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(MIB)?;
        let range = 4 * KIB..512 * KIB;
        for (mode, size, flags, failures) in [
            // For one chunk the only block is split eight times, each time into two new ones.
            (Simple, 4 * KIB, none, 2 * 16),
            (TopDown, 4 * KIB, none, 2 * 16),
            (In(range.clone()), 4 * KIB, none, 2 * 16),
            (Simple, MIB - 4 * KIB, none, 2 * 16),
            // Two chunks are left out at the bottom, so one split less is needed.
            (In(range.clone()), 504 * KIB, none, 2 * 14),
            (In(range.clone()), 508 * KIB, none, 2 * 16),
            // Five splits give a block of 32 KiB, and three more trim it by 12 KiB.
            (Simple, 20 * KIB, Contiguous.into(), 2 * 16),
            (In(range), 20 * KIB, Contiguous.into(), 2 * 16),
        ] {
            let request = || alloc(&buddy, mode.clone(), size, 4 * KIB, flags);
            assert_eq!(each_fault(&buddy, || Ok(()), request)?, failures);
        }
        Ok(())
    }

    #[test]
    fn contiguous_enomem_changes_nothing() -> Result {
        let buddy = buddy(MIB)?;
        // The blocks of 64 KiB from 320 KiB on are free, but no two that make up one of 128 KiB.
        let _low = occupy(&buddy, 0..320 * KIB)?;
        let _high = occupy(&buddy, 448 * KIB..MIB)?;
        for size in [68 * KIB, 100 * KIB, 124 * KIB] {
            let request = || alloc(&buddy, Simple, size, 4 * KIB, Contiguous);
            assert!(each_fault(&buddy, || Ok(()), request)? > 0);
        }
        Ok(())
    }

    #[test]
    fn reserve_enomem_changes_nothing() -> Result {
        let buddy = buddy(MIB)?;
        for (range, splits) in [
            (0..4 * KIB, 8),
            (508 * KIB..512 * KIB, 8),
            (4 * KIB..MIB - 4 * KIB, 15),
            (512 * KIB - 4 * KIB..512 * KIB + 4 * KIB, 15),
        ] {
            let request = || KBox::pin_init(buddy.reserve(range.clone()), GFP_KERNEL);
            assert_eq!(each_fault(&buddy, || Ok(()), request)?, 2 * 2 * splits);
        }
        Ok(())
    }

    #[test]
    fn clear_and_dirty_enomem_changes_nothing() -> Result {
        let buddy = buddy(MIB)?;
        for mode in [Simple, TopDown, In(0..MIB)] {
            for flags in [GpuBuddyAllocFlags::default(), Clear.into()] {
                let prepare = || {
                    drop(occupy(&buddy, 0..MIB)?);
                    occupy(&buddy, 256 * KIB..MIB)?.as_mut().free_cleared();
                    Ok(())
                };
                let request = || alloc(&buddy, mode.clone(), 300 * KIB, 4 * KIB, flags);
                assert!(each_fault(&buddy, prepare, request)? > 0);
            }
        }
        Ok(())
    }

    /// A clear chunk of the range is merged with a dirty one, but stays clear if that fails.
    #[test]
    fn exact_range_enomem_stays_clear() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(MIB)?;
        let prepare = || {
            drop(occupy(&buddy, 0..MIB)?);
            occupy(&buddy, 8 * KIB..12 * KIB)?.as_mut().free_cleared();
            Ok(())
        };
        let range = In(8 * KIB..40 * KIB);
        let request = || alloc(&buddy, range.clone(), 32 * KIB, 8 * KIB, none);
        // The last 8 KiB are split off a block of 32 KiB.
        assert_eq!(each_fault(&buddy, prepare, request)?, 2 * 2 * 2);
        Ok(())
    }
}

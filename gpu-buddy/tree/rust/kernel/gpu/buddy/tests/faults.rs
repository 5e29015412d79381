// SPDX-License-Identifier: GPL-2.0

//! Tests with failing allocations of the allocator's data.

use super::*;
use crate::{
    alloc::flags::__GFP_ZERO,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use core::ffi::c_void;

/// How many allocations of a block there have been since [`Fault::arm`].
static COUNT: Atomic<i32> = Atomic::new(0);

/// The first allocation that fails, and the last one.
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

/// Lets allocations of blocks by this test fail while it lives.
struct Fault(*mut bindings::kunit);

impl Fault {
    fn arm(first: i32, last: i32) -> Self {
        COUNT.store(0, Relaxed);
        FIRST.store(first, Relaxed);
        LAST.store(last, Relaxed);
        // SAFETY: This can always be called. It is not null, for only test cases arm a fault, each
        // on the thread that KUnit runs it on.
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
    fn has_struck(&self) -> bool {
        COUNT.load(Relaxed) > FIRST.load(Relaxed)
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        // SAFETY: It was activated for this very test.
        unsafe { bindings::kunit_deactivate_static_stub(self.0, Self::real()) };
    }
}

/// Returns a hash of the blocks.
fn digest(blocks: &AllocatedBlocks) -> u64 {
    blocks.iter().fold(1, |digest, block| {
        let clear = u64::from(block.is_clear());
        digest.wrapping_mul(31) + block.offset() + 2 * u64::from(block.order()) + clear
    })
}

/// Runs `op` on the blocks of `prepare` repeatedly, each time failing another allocation of a
/// block: at first only that one, then that one and all that follow.
///
/// Returns how often `op` has failed, each time with [`ENOMEM`] and without leaving a trace;
/// [`EIO`] if it was otherwise.
fn each_fault(
    buddy: &GpuBuddy,
    prepare: impl Fn() -> Result<Blocks>,
    op: impl Fn(Pin<&mut AllocatedBlocks>) -> Result,
) -> Result<u32> {
    let avail = buddy.avail();
    let mut failed = 0;
    for lasting in [false, true] {
        for first in 0.. {
            let mut blocks = prepare()?;
            let before = (Snapshot::new(buddy), digest(&blocks));

            let fault = Fault::arm(first, if lasting { i32::MAX } else { first });
            let ret = op(blocks.as_mut());
            let struck = fault.has_struck();
            drop(fault);

            if struck {
                if ret != Err(ENOMEM) || before != (Snapshot::new(buddy), digest(&blocks)) {
                    return Err(EIO);
                }
                failed += 1;
            } else {
                ret?;
            }
            drop(blocks);
            if buddy.avail() != avail || !Snapshot::new(buddy).adds_up(4 * KIB) {
                return Err(EIO);
            }
            if !struck {
                break;
            }
        }
    }
    Ok(failed)
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

    fn nothing(buddy: &GpuBuddy) -> Result<Blocks> {
        KBox::pin_init(AllocatedBlocks::empty(buddy.0.clone()), GFP_KERNEL)
    }

    /// Lets each allocation of a block for a request fail.
    fn each_fault_of_request(
        buddy: &GpuBuddy,
        mode: GpuBuddyAllocMode,
        size: u64,
        flags: GpuBuddyAllocFlags,
    ) -> Result<u32> {
        each_fault(
            buddy,
            || nothing(buddy),
            |blocks| {
                let mut more = alloc(buddy, mode.clone(), size, 4 * KIB, flags)?;
                blocks.append(more.as_mut())
            },
        )
    }

    #[test]
    fn new() -> Result {
        for (size, roots) in [(MIB, 1), (7 * MIB, 3)] {
            for first in 0..roots {
                let fault = Fault::arm(first, first);
                assert_eq!(buddy(size).err(), Some(ENOMEM));
                drop(fault);
            }
            let fault = Fault::arm(roots, roots);
            assert_eq!(buddy(size)?.avail(), size);
            assert!(!fault.has_struck());
        }
        Ok(())
    }

    #[test]
    fn requests() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(MIB)?;
        let range = 4 * KIB..512 * KIB;
        for (mode, size, flags, failures) in [
            // To get a chunk, the only block is split eight times, into two new ones each time.
            (Simple, 4 * KIB, none, 2 * 16),
            (TopDown, 4 * KIB, none, 2 * 16),
            (In(range.clone()), 4 * KIB, none, 2 * 16),
            (Simple, MIB - 4 * KIB, none, 2 * 16),
            // Two chunks are left out at the bottom, so one split less is needed.
            (In(range.clone()), 504 * KIB, none, 2 * 14),
            (In(range.clone()), 508 * KIB, none, 2 * 16),
            // Five splits give a block of 32 KiB, of which three more cut off 12 KiB.
            (Simple, 20 * KIB, Contiguous.into(), 2 * 16),
            (In(range), 20 * KIB, Contiguous.into(), 2 * 16),
        ] {
            assert_eq!(each_fault_of_request(&buddy, mode, size, flags)?, failures);
        }
        Ok(())
    }

    #[test]
    fn contiguous_around_what_is_taken() -> Result {
        let buddy = buddy(MIB)?;
        // The blocks of 64 KiB from 320 KiB on are free, but no two that make up one of 128 KiB.
        let _low = reserve(&buddy, 0..320 * KIB)?;
        let _high = reserve(&buddy, 448 * KIB..MIB)?;
        for size in [68 * KIB, 100 * KIB, 124 * KIB] {
            let faults = each_fault_of_request(&buddy, Simple, size, Contiguous.into())?;
            assert!(faults > 0);
        }
        Ok(())
    }

    #[test]
    fn clear_and_dirty() -> Result {
        let buddy = buddy(MIB)?;
        for mode in [Simple, TopDown, In(0..MIB)] {
            for flags in [GpuBuddyAllocFlags::default(), Clear.into()] {
                let faults = each_fault(
                    &buddy,
                    || {
                        buddy.reset_clear(false);
                        reserve(&buddy, 256 * KIB..MIB)?.as_mut().free_cleared();
                        nothing(&buddy)
                    },
                    |blocks| {
                        let mut more = alloc(&buddy, mode.clone(), 300 * KIB, 4 * KIB, flags)?;
                        blocks.append(more.as_mut())
                    },
                )?;
                assert!(faults > 0);
            }
        }
        Ok(())
    }

    #[test]
    fn fixed_ranges() -> Result {
        let buddy = buddy(MIB)?;
        for (range, splits) in [
            (0..4 * KIB, 8),
            (508 * KIB..512 * KIB, 8),
            (4 * KIB..MIB - 4 * KIB, 15),
            (512 * KIB - 4 * KIB..512 * KIB + 4 * KIB, 15),
        ] {
            let faults = each_fault(
                &buddy,
                || nothing(&buddy),
                |blocks| blocks.append(reserve(&buddy, range.clone())?.as_mut()),
            )?;
            assert_eq!(faults, 2 * 2 * splits);
        }
        Ok(())
    }

    /// A clear chunk of the range is joined with a dirty one, but stays clear if that fails.
    #[test]
    fn exact_range_joined() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(MIB)?;
        let range = In(8 * KIB..40 * KIB);
        let faults = each_fault(
            &buddy,
            || {
                buddy.reset_clear(false);
                reserve(&buddy, 8 * KIB..12 * KIB)?.as_mut().free_cleared();
                nothing(&buddy)
            },
            |blocks| {
                let mut more = alloc(&buddy, range.clone(), 32 * KIB, 8 * KIB, none)?;
                blocks.append(more.as_mut())
            },
        )?;
        // The last 8 KiB are split off a block of 32 KiB.
        assert_eq!(faults, 2 * 2 * 2);
        Ok(())
    }

    #[test]
    fn trim() -> Result {
        let buddy = buddy(MIB)?;
        for is_clear in [false, true] {
            for (start, end, splits) in
                [(0, 4, 4), (4, 60, 7), (28, 36, 7), (60, 64, 4), (0, 32, 1)]
            {
                let faults = each_fault(
                    &buddy,
                    || {
                        buddy.reset_clear(is_clear);
                        reserve(&buddy, 64 * KIB..128 * KIB)
                    },
                    |blocks| blocks.trim(BASE + (64 + start) * KIB..BASE + (64 + end) * KIB),
                )?;
                assert_eq!(faults, 2 * 2 * splits);
            }
        }
        Ok(())
    }

    #[test]
    fn shrink() -> Result {
        let buddy = buddy(MIB)?;
        for (size, splits) in [(4, 2), (16, 0), (20, 3), (48, 0), (52, 4), (112, 0)] {
            let faults = each_fault(
                &buddy,
                || reserve(&buddy, 16 * KIB..128 * KIB),
                |blocks| blocks.shrink(size * KIB),
            )?;
            assert_eq!(faults, 2 * 2 * splits);
        }
        Ok(())
    }
}

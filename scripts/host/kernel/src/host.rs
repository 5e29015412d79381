// SPDX-License-Identifier: GPL-2.0

//! The knobs of the stand-in, for tests. They act on the calling thread only.

use crate::bindings;

mod mmio;
pub use mmio::{direct_mmio, Mmio};

/// Makes the `n`-th allocation from now on fail, once; 0 cancels the request.
pub fn fail_allocation(n: usize) {
    // SAFETY: It has no requirements.
    unsafe { bindings::host_fail_allocation(n) }
}

/// Returns the pending request of [`fail_allocation`], or 0 if there is none.
pub fn allocation_to_fail() -> usize {
    // SAFETY: It has no requirements.
    unsafe { bindings::host_allocation_to_fail() }
}

/// Makes every allocation fail while `f` runs.
pub fn fail_all_allocations<T>(f: impl FnOnce() -> T) -> T {
    struct Restore(bool);

    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: It has no requirements.
            unsafe { bindings::host_fail_all_allocations(self.0) };
        }
    }

    // SAFETY: It has no requirements.
    let _restore = Restore(unsafe { bindings::host_fail_all_allocations(true) });
    f()
}

/// Returns the number of allocations that this thread requested, including failed ones.
pub fn allocations() -> usize {
    // SAFETY: It has no requirements.
    unsafe { bindings::host_allocations() }
}

/// Returns the number of objects that this thread allocated and did not free.
pub fn live_objects() -> isize {
    // SAFETY: It has no requirements.
    unsafe { bindings::host_live_objects() }
}

/// Returns the bytes of memory that this thread allocated and did not free, rounded as in the
/// kernel.
///
/// `kmalloc()` rounds up to 96, to 192 or to a power of two of at least 8; `KBox`, `KVec` and `Arc`
/// allocate from it. `VBox` and `KVBox` are counted as if they did. A `kmem_cache` rounds up to its
/// alignment. The headers and the unused objects of a slab are not included.
///
/// Memory that another thread frees is subtracted from the counter of that thread, as
/// [`live_objects`] does.
pub fn live_bytes() -> isize {
    // SAFETY: It has no requirements.
    unsafe { bindings::host_live_bytes() }
}

/// Returns the number of times that this thread called `might_sleep()` or slept.
pub fn sleeps() -> usize {
    // SAFETY: It has no requirements.
    unsafe { bindings::host_sleeps() }
}

/// Returns the number of warnings (such as `WARN_ON()`) on this thread since the last call.
pub fn take_warnings() -> usize {
    // SAFETY: It has no requirements.
    unsafe { bindings::host_take_warnings() }
}

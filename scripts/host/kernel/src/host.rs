// SPDX-License-Identifier: GPL-2.0

//! The knobs of the stand-in, for tests. They act on the calling thread only.

use crate::bindings;

mod mmio;
pub use mmio::{direct_mmio, Mmio};

/// Lets the `n`-th allocation from now on fail, once; 0 takes the order back.
pub fn fail_allocation(n: usize) {
    // SAFETY: It has no requirements.
    unsafe { bindings::host_fail_allocation(n) }
}

/// The order that [`fail_allocation`] gave and that is not carried out yet, 0 if there is none.
pub fn allocation_to_fail() -> usize {
    // SAFETY: It has no requirements.
    unsafe { bindings::host_allocation_to_fail() }
}

/// Lets every allocation fail while `f` runs.
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

/// Allocations that this thread asked for, granted or not.
pub fn allocations() -> usize {
    // SAFETY: It has no requirements.
    unsafe { bindings::host_allocations() }
}

/// Objects that this thread allocated and did not free.
pub fn live_objects() -> isize {
    // SAFETY: It has no requirements.
    unsafe { bindings::host_live_objects() }
}

/// Warnings (`WARN_ON()` and the like) on this thread since the last call.
pub fn take_warnings() -> usize {
    // SAFETY: It has no requirements.
    unsafe { bindings::host_take_warnings() }
}

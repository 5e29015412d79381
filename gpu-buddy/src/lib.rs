// SPDX-License-Identifier: GPL-2.0

//! The GPU buddy series on the host.
//!
//! `src/gpu` is a link to the files that land in the kernel. This is the kernel crate as of the
//! series: the stand-in, the lists and the allocator.

pub use clist::{clist_offset, interop};
pub use kernel::*;

pub mod gpu;

/// The bindings, where the allocator that was made last is noted: the tests look at it from the
/// inside, which the in-tree files leave no way to.
pub mod bindings {
    pub use kernel::bindings::*;
    use std::{cell::Cell, ffi::c_int, ptr::null_mut};

    thread_local! {
        static LATEST: Cell<*mut gpu_buddy> = const { Cell::new(null_mut()) };
    }

    /// The allocator that this thread has made last. It may be gone since.
    pub fn latest_gpu_buddy() -> *mut gpu_buddy {
        LATEST.get()
    }

    /// C's function of this name.
    ///
    /// # Safety
    ///
    /// As of that.
    pub unsafe fn gpu_buddy_init(mm: *mut gpu_buddy, size: u64, chunk_size: u64) -> c_int {
        LATEST.set(mm);
        // SAFETY: By the safety requirements.
        unsafe { kernel::bindings::gpu_buddy_init(mm, size, chunk_size) }
    }
}

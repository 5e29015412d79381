// SPDX-License-Identifier: GPL-2.0

//! Synchronisation: the kernel's locks over real ones, lock classes, and reference counts.

use crate::{prelude::*, types::Opaque};

mod arc;
// The kernel's own files, among them `lock`, and below that `mutex`.
include!(concat!(env!("OUT_DIR"), "/sync.rs"));

pub use arc::Arc;
pub use lock::mutex::{Mutex, MutexGuard};
pub use locked_by::LockedBy;

/// A lock class. Lockdep is off, so this is no more than something that can leak.
#[repr(transparent)]
#[pin_data(PinnedDrop)]
pub struct LockClassKey {
    #[pin]
    inner: Opaque<bindings::lock_class_key>,
}

// SAFETY: There is nothing inside.
unsafe impl Sync for LockClassKey {}

impl LockClassKey {
    /// Registers a new class.
    pub fn new_dynamic() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: It has no requirements.
            inner <- Opaque::ffi_init(|slot| unsafe { bindings::lockdep_register_key(slot) }),
        })
    }

    pub(crate) fn as_ptr(&self) -> *mut bindings::lock_class_key {
        self.inner.get()
    }
}

#[pinned_drop]
impl PinnedDrop for LockClassKey {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: It is registered.
        unsafe { bindings::lockdep_unregister_key(self.as_ptr()) }
    }
}

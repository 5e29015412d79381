// SPDX-License-Identifier: GPL-2.0

//! Synchronization: the kernel's locks over real ones, lock classes, and reference counts.

use crate::{prelude::*, types::Opaque};

pub mod atomic;
mod refcount;
// The kernel's own files, such as `arc`, `lock` and `lock/mutex`.
include!(concat!(env!("OUT_DIR"), "/sync.rs"));

pub use arc::{Arc, ArcBorrow, UniqueArc};
pub use lock::mutex::{new_mutex, Mutex, MutexGuard};
pub use locked_by::LockedBy;
pub use refcount::Refcount;

/// A lock class. Lockdep is off, so the type only serves to detect leaks.
#[repr(transparent)]
#[pin_data(PinnedDrop)]
pub struct LockClassKey {
    #[pin]
    inner: Opaque<bindings::lock_class_key>,
}

// SAFETY: The type has no data.
unsafe impl Sync for LockClassKey {}

impl LockClassKey {
    /// Creates the class of [`static_lock_class!`](crate::static_lock_class).
    #[doc(hidden)]
    pub const fn new_static() -> Self {
        Self {
            inner: Opaque::uninit(),
        }
    }

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

/// Creates a lock class for the place in the source.
#[macro_export]
macro_rules! static_lock_class {
    () => {{
        static CLASS: $crate::sync::LockClassKey = $crate::sync::LockClassKey::new_static();
        $crate::prelude::Pin::static_ref(&CLASS)
    }};
}

/// Returns the given name of a lock, or by default the place in the source.
#[doc(hidden)]
#[macro_export]
macro_rules! optional_name {
    () => {
        $crate::c_str!(::core::concat!(::core::file!(), ":", ::core::line!()))
    };
    ($name:literal) => {
        $crate::c_str!($name)
    };
}

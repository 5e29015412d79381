// SPDX-License-Identifier: GPL-2.0

//! Reference counts. The kernel's type calls C functions that are assembly of the architecture.

use std::sync::atomic::{fence, AtomicI32, Ordering};

/// The count of an [`Arc`](super::Arc). Unlike the kernel's, it neither saturates nor warns.
pub struct Refcount(AtomicI32);

impl Refcount {
    /// Creates a count of `value`.
    pub fn new(value: i32) -> Self {
        Self(AtomicI32::new(value))
    }

    /// Sets the count.
    pub fn set(&self, value: i32) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Increments the count.
    pub fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Decrements the count and returns whether it is 0 now.
    #[must_use]
    pub fn dec_and_test(&self) -> bool {
        let last = self.0.fetch_sub(1, Ordering::Release) == 1;
        if last {
            fence(Ordering::Acquire);
        }
        last
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Atomic integers. The kernel's types call C functions that are assembly of the architecture.

use std::sync::atomic::{self, AtomicI32};

/// An atomic integer. Of the kernel's types, only `i32` exists.
pub struct Atomic<T: Repr>(T::Atomic);

/// An integer that can be atomic.
pub trait Repr {
    /// The type that stores it.
    type Atomic;
}

impl Repr for i32 {
    type Atomic = AtomicI32;
}

/// Orders later accesses after this one.
pub struct Acquire;
/// Orders earlier accesses before this one.
pub struct Release;

impl Atomic<i32> {
    /// Creates an atomic with this value.
    pub const fn new(value: i32) -> Self {
        Self(AtomicI32::new(value))
    }

    /// Reads the value.
    pub fn load(&self, _: Acquire) -> i32 {
        self.0.load(atomic::Ordering::Acquire)
    }

    /// Changes the value.
    pub fn store(&self, value: i32, _: Release) {
        self.0.store(value, atomic::Ordering::Release);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A flag that is set once.

use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Release, //
};

/// A flag that any thread can set and that is never cleared.
///
/// A thread that finds it set also sees all earlier writes of the thread that set it.
pub(crate) struct Flag(Atomic<i32>);

impl Flag {
    /// Creates a flag that is not set.
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Sets the flag. Does not sleep.
    pub(crate) fn set(&self) {
        self.0.store(1, Release);
    }

    /// Returns whether the flag is set. Does not sleep.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Acquire) != 0
    }
}

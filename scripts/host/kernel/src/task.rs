// SPDX-License-Identifier: GPL-2.0

//! Tasks.

/// Marks a place where the caller may sleep. Counted by [`crate::host::sleeps`].
pub fn might_sleep() {
    // SAFETY: It has no requirements.
    unsafe { crate::bindings::might_resched() }
}

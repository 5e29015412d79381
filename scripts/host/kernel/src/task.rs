// SPDX-License-Identifier: GPL-2.0

//! Tasks.

/// Says that the caller may sleep, which on the host it always may.
pub fn might_sleep() {}

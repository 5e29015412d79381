// SPDX-License-Identifier: GPL-2.0

//! The processor.

/// Waits briefly.
pub fn cpu_relax() {
    core::hint::spin_loop();
}

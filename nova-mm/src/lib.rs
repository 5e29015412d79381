// SPDX-License-Identifier: GPL-2.0

//! Nova's memory management on the host.
//!
//! `src/mm.rs` and `src/mm` are links to the files that land in the kernel; here are only the names
//! that they expect to find in their crate.

// As the kernel's build of a driver does.
#![feature(arbitrary_self_types)]

// In the kernel, the crate of this name has what the series before this one adds to it.
extern crate gpu_buddy as kernel;

// `bitfield`, `num` and `regs` of nova-core, as far as the files use them.
include!(concat!(env!("OUT_DIR"), "/nova_core.rs"));

/// The chips that nova-core knows. What else that part of the file has is not used here, and it is
/// the kernel's, not ours to lint.
#[allow(dead_code, unused_attributes, clippy::all)]
mod gpu {
    include!(concat!(env!("OUT_DIR"), "/gpu.rs"));
}

// Nothing but tests calls it here, and what tests import is used in a build for tests alone.
#[allow(dead_code)]
#[cfg_attr(not(test), allow(unused_imports))]
mod mm;

pub mod host;

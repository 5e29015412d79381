// SPDX-License-Identifier: GPL-2.0

//! Nova's memory management on the host.
//!
//! `src/mm.rs` and `src/mm` are links to the files that land in the kernel. This file only provides
//! the names that they use from the rest of their crate.

// The kernel enables this feature for drivers.
#![feature(arbitrary_self_types)]

// `gpu-buddy` contains the stand-in for the kernel crate and what the preceding series add to it.
extern crate gpu_buddy as kernel;

// The parts of `bitfield`, `num` and `regs` of nova-core that the files use.
include!(concat!(env!("OUT_DIR"), "/nova_core.rs"));

/// The chips that nova-core supports. The rest of this part of the file is unused here. It belongs
/// to the kernel, so it is not linted.
#[allow(dead_code, unused_attributes, clippy::all)]
mod gpu {
    include!(concat!(env!("OUT_DIR"), "/gpu.rs"));
}

// Only tests call these functions here, and some imports are used in test builds only.
#[allow(dead_code)]
#[cfg_attr(not(test), allow(unused_imports))]
mod mm;

pub mod host;

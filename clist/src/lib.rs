// SPDX-License-Identifier: GPL-2.0

//! The CList series on the host.
//!
//! `src/interop` is a link to the files that land in the kernel; here are only the names that they
//! expect to find in their crate.

pub use kernel::{
    bindings, build_assert, build_error, c_str, error, ffi, prelude, static_assert, types, warn_on,
};

// The KUnit tests run in the test build alone; elsewhere their fixture has no user.
#[cfg_attr(not(test), allow(dead_code))]
pub mod interop;

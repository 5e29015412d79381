// SPDX-License-Identifier: GPL-2.0

//! Formatting. The kernel's macro wraps arguments of kernel types, which the host does not have.

pub use core::fmt::*;

// SPDX-License-Identifier: GPL-2.0

//! Formatting. The kernel's wraps the arguments for types of its own; the host has none of these.

pub use core::fmt::*;

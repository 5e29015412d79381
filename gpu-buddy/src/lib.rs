// SPDX-License-Identifier: GPL-2.0

//! The GPU buddy allocator binding on the host: the overlay's files, compiled unmodified.
//!
//! The series has no patch yet, so there is nothing to compile. The dependency on `clist` in
//! `Cargo.toml` is the series' own.

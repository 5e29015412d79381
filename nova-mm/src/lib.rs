// SPDX-License-Identifier: GPL-2.0

//! Nova's memory management on the host: the overlay's files, compiled unmodified.
//!
//! The series has no patch yet, so there is nothing to compile. The dependency on `gpu-buddy` in
//! `Cargo.toml` is the series' own.

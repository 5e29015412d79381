// SPDX-License-Identifier: GPL-2.0

//! Data structures that C code and Rust code use together.
//!
//! What is here lets Rust code work on an object whose layout and rules are C's. Rust code that
//! shares nothing with C has better tools elsewhere in this crate; each module names its own.

pub mod list;

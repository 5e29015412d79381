// SPDX-License-Identifier: GPL-2.0

//! Data structures that C code and Rust code use together.
//!
//! These modules let Rust code use objects whose layout and rules C defines. Code that does not
//! share an object with C uses the Rust data structure that each module refers to.

pub mod list;

// SPDX-License-Identifier: GPL-2.0

//! Rust source by its tokens.

pub mod cursor;
pub mod items;
pub mod tokens;

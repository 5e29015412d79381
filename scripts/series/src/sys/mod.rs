// SPDX-License-Identifier: GPL-2.0

//! The machine: programs, the cache, the terminal, packages, errors.

pub mod apt;
pub mod cache;
pub mod called;
pub mod error;
pub mod files;
pub mod hash;
pub mod json;
pub mod pattern;
pub mod plural;
pub mod runner;
pub mod shown;
pub mod table;
pub mod timings;
pub mod ui;

pub use self::{
    error::{Error, Result},
    pattern::pattern,
    runner::{Cmd, Output, Runner, failed, must},
};

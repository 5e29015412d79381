// SPDX-License-Identifier: GPL-2.0

//! The command line.

pub mod args;
pub mod commands;
pub mod completions;
pub mod man;
pub mod stdout;

// SPDX-License-Identifier: GPL-2.0

//! Creates and tests dependent kernel patch series from the components of a workspace, or from
//! branches of a kernel clone.
//!
//! [`source`] reads the files of authors, `patches` creates commits and mails from them, [`kernel`]
//! builds and tests the result, `checks` finds problems, `b4` prepares postings, `versions` records
//! them, and `report` shows the state. Only [`sys::runner`] starts programs.

#![deny(unsafe_code)]

mod b4;
mod branches;
mod checks;
pub mod cli;
pub mod git;
pub mod kernel;
pub mod mail;
mod patches;
mod report;
mod rust;
pub mod source;
pub mod sys;
mod trial;
mod versions;

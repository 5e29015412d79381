// SPDX-License-Identifier: GPL-2.0

//! Dependent kernel patch series: from components in a checkout, or branches of a kernel clone, to
//! patches that maintainers can apply, with the proof that they work.
//!
//! [`source`] reads what authors write, `patches` turns it into commits and mails, [`kernel`] builds and
//! tests the result, `checks` looks for problems, `b4` prepares postings, `versions` records them, and
//! `report` shows the state. Only [`sys::runner`] starts programs.

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

// SPDX-License-Identifier: GPL-2.0

//! Dependent kernel patch series: from components in a checkout to patches that maintainers can
//! apply, with the proof that they work.
//!
//! The path of the data: [`workspace`] and [`component`] read files, [`manifest`] and [`plan`] turn
//! them into patches, [`assemble`] into commits, [`emit`] and [`b4`] into mail, [`stamp`] notes what was made; [`tree`],
//! [`kernel`] and [`kunit`] build and run the result, [`check`] and [`rules`] look for faults; [`status`],
//! [`report`] and [`graph`] tell of it. Programs are started in [`runner`] alone.

#![deny(unsafe_code)]

mod b4;
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

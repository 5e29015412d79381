// SPDX-License-Identifier: GPL-2.0

//! Dependent kernel patch series: from components in a checkout to patches that maintainers can
//! apply, with the proof that they work.
//!
//! The path of the data: [`workspace`] and [`component`] read files, [`manifest`] and [`plan`] turn
//! them into patches, [`assemble`] into commits, [`emit`] and [`b4`] into mail, [`stamp`] notes what was made; [`tree`],
//! [`kernel`] and [`kunit`] build and run the result, [`check`] and [`rules`] look for faults; [`status`],
//! [`report`] and [`graph`] tell of it. Programs are started in [`runner`] alone.

#![deny(missing_docs, unsafe_code)]

pub mod app;
pub mod apt;
pub mod assemble;
pub mod b4;
pub mod base;
pub mod cache;
pub mod changelog;
pub mod check;
pub mod cli;
pub mod completions;
pub mod component;
pub mod cover;
pub mod damage;
pub mod delivery;
pub mod diff;
pub mod discipline;
pub mod emit;
pub mod error;
pub mod essence;
pub mod full;
pub mod git;
pub mod graph;
pub mod items;
pub mod kernel;
pub mod kunit;
pub mod mailbox;
pub mod man;
pub mod manifest;
pub mod message;
pub mod notes;
pub mod plan;
pub mod plural;
pub mod port;
pub mod posting;
pub mod range_diff;
pub mod received;
pub mod relocation;
pub mod report;
pub mod rules;
pub mod runner;
pub mod stamp;
pub mod status;
pub mod tools;
pub mod trailers;
pub mod tree;
pub mod ui;
pub mod words;
pub mod workspace;

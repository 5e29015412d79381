// SPDX-License-Identifier: GPL-2.0

//! Checks of the series before posting.

pub mod every_patch;
pub mod mails;
pub mod moved_code;
pub mod quick;
pub mod rules;

use std::path::PathBuf;

use crate::{
    git::Git,
    patches::{Made, commits::AssembledSeries, output::SeriesReport},
    source::{manifest::Base, workspace::Workspace},
    sys::cache::Cache,
};

pub struct Subject<'a> {
    pub ws: &'a Workspace,
    pub cache: &'a Cache,
    /// The kernel repository with its work tree.
    pub git: &'a Git<'a>,
    pub made: &'a Made,
    pub base: &'a Base,
    /// A kernel tree of the user, in which to look up commits.
    pub history: Option<PathBuf>,
    /// The folder of b4's Python, whose modules checkpatch's helper needs.
    pub python: Option<PathBuf>,
}

impl Subject<'_> {
    /// Returns the record of the written mails of a series.
    fn written(&self, one: &AssembledSeries) -> Option<&SeriesReport> {
        let mut written = self.made.report.series.iter();
        written.find(|r| r.name == one.name())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Checks of the series before posting.

pub mod every_patch;
pub mod moved_code;
pub mod quick;
pub mod rules;

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    git::Git,
    patches::{Made, commits::AssembledSeries, output::SeriesReport},
    source::{manifest::Base, workspace::Workspace},
    sys::cache::Cache,
};

/// A problem that a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub series: String,
    /// The number of the patch; `None` if the whole series has the problem.
    pub patch: Option<usize>,
    /// The name of the check: "checkpatch", "rustfmt", "applies", "overlay", or a rule of
    /// [`crate::versions::rules`] or [`crate::checks::rules`].
    pub check: Cow<'static, str>,
    /// The problem, without a full stop.
    pub message: String,
    pub file: Option<String>,
    pub line: Option<usize>,
    /// The remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Whether this is a claim of the patch that the check cannot verify, rather than a problem.
    #[serde(skip)]
    pub is_warning: bool,
}

impl Finding {
    fn new(series: &str, check: &'static str, message: impl Into<String>) -> Self {
        Self {
            series: series.to_owned(),
            patch: None,
            check: check.into(),
            message: message.into(),
            file: None,
            line: None,
            help: None,
            is_warning: false,
        }
    }

    fn of_patch(mut self, number: usize) -> Self {
        self.patch = Some(number);
        self
    }

    fn at(mut self, file: impl AsRef<Path>, line: impl Into<Option<usize>>) -> Self {
        self.file = Some(file.as_ref().display().to_string());
        self.line = line.into();
        self
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

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

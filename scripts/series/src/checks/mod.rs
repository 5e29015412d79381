// SPDX-License-Identifier: GPL-2.0

//! Checks of the series before posting.

pub mod every_patch;
pub mod moved_code;
pub mod quick;
pub mod rules;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    git::{Git, Identity},
    patches::{
        commits::Assembled,
        output::{Cover, Mails, Report},
        since::Since,
    },
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
    pub message: String,
    /// The file with the problem.
    pub file: Option<String>,
    /// The line in that file.
    pub line: Option<usize>,
    /// The remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// The input of the checks.
pub struct Subject<'a> {
    pub ws: &'a Workspace,
    pub cache: &'a Cache,
    /// The kernel repository with its work tree.
    pub git: &'a Git<'a>,
    pub assembled: &'a Assembled,
    /// The record of the written mails.
    pub report: &'a Report,
    pub base: &'a Base,
    /// The mails, in the order of the series.
    pub mails: &'a [Mails],
    /// The cover letters, in the order of the series.
    pub covers: &'a [Cover],
    /// The changes since the last postings.
    pub since: &'a Since,
    /// The identity of the user.
    pub who: &'a Identity,
    /// A kernel tree of the user, in which to look up commits.
    pub history: Option<std::path::PathBuf>,
    /// The folder of b4's Python, whose modules checkpatch's helper needs.
    pub python: Option<std::path::PathBuf>,
}

impl Subject<'_> {
    /// Returns the cover letter of a series.
    pub fn cover(&self, name: &str) -> Option<&Cover> {
        let mut series = self.assembled.series.iter();
        self.covers.get(series.position(|s| s.name() == name)?)
    }
}

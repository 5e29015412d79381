// SPDX-License-Identifier: GPL-2.0

//! Planned patches: their messages and contents.

use std::path::PathBuf;

use crate::{
    git::{Author, Mode},
    source::{branch::Commit, component::Component, manifest::Series, relocation},
    versions::trailers::store::Entry,
};

/// A patch before its commit exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPatch {
    pub subject: String,
    /// The commit message, without the sign-off of the sender.
    pub message: String,
    /// The message file, relative to the workspace, or the commit.
    pub source: PathBuf,
    /// The files and edits of a component, unless the patch is a commit of a branch.
    pub writes: Vec<Write>,
    /// The relocation step, which precedes the edits.
    pub relocate: Option<relocation::Step>,
    pub edits: Vec<Edit>,
    pub commit: Option<Commit>,
    pub trailers: Vec<Entry>,
}

impl PlannedPatch {
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let written = self.writes.iter().map(|w| &w.path);
        let edited = self.edits.iter().flat_map(|e| &e.paths);
        let changed = self.commit.iter().flat_map(|c| &c.changes);
        let all = written.chain(edited).chain(changed.map(|c| &c.path));
        let moved = self.relocate.iter().flat_map(|step| step.paths());
        all.map(String::as_str).chain(moved)
    }

    /// Returns the author of the commit. Other patches are authored by the user.
    pub fn author(&self) -> Option<&Author> {
        self.commit.as_ref().map(|c| &c.author)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The path in the kernel tree.
    pub path: String,
    pub mode: Mode,
    pub content: Vec<u8>,
    /// Whether the patch adds the file.
    pub enters: bool,
}

/// A diff to files of the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The file of the diff, relative to the workspace.
    pub source: PathBuf,
    pub diff: String,
    pub paths: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct PlannedSeries {
    pub component: Component,
    pub patches: Vec<PlannedPatch>,
}

impl PlannedSeries {
    pub fn series(&self) -> &Series {
        &self.component.series
    }

    pub fn name(&self) -> &str {
        &self.component.series.name
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Planned patches: their messages and contents.

use std::path::PathBuf;

use crate::{
    git::{Author, Mode},
    source::{branch::Commit, component::Component, manifest::Series, relocation},
    versions::trailers::RecordedTrailer,
};

/// A patch before its commit exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPatch {
    /// The first line of the commit message.
    pub subject: String,
    /// The commit message, without the sign-off of the sender.
    pub message: String,
    /// The message file, relative to the workspace, or the commit.
    pub source: PathBuf,
    /// The changes to files.
    pub content: Content,
    /// The trailers of reviewers.
    pub trailers: Vec<RecordedTrailer>,
}

/// The changes of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Files and edits of a component.
    Overlay(Overlay),
    /// A commit of a branch.
    Branch(Commit),
}

/// The part of a component that belongs to a patch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlay {
    /// The files to write.
    pub writes: Vec<Write>,
    /// The relocation step, which precedes the edits.
    pub relocate: Option<relocation::Step>,
    /// The diffs to apply.
    pub edits: Vec<Edit>,
}

impl PlannedPatch {
    /// Returns all paths that the patch touches.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let written = self.writes().iter().map(|w| w.path.as_str());
        let edited = self.edits().iter().flat_map(|e| &e.paths);
        let moved = self.relocate().into_iter().flat_map(|step| step.paths());
        let changed = self.commit().into_iter().flat_map(|c| &c.changes);
        let changed = changed.map(|c| c.path.as_str());
        written
            .chain(edited.map(String::as_str))
            .chain(moved)
            .chain(changed)
    }

    fn overlay(&self) -> Option<&Overlay> {
        match &self.content {
            Content::Overlay(overlay) => Some(overlay),
            Content::Branch(_) => None,
        }
    }

    /// Returns the files of the component that the patch writes.
    pub fn writes(&self) -> &[Write] {
        self.overlay().map_or(&[], |o| &o.writes)
    }

    /// Returns the diffs of the component that the patch applies.
    pub fn edits(&self) -> &[Edit] {
        self.overlay().map_or(&[], |o| &o.edits)
    }

    /// Returns the relocation step.
    pub fn relocate(&self) -> Option<&relocation::Step> {
        self.overlay().and_then(|o| o.relocate.as_ref())
    }

    /// Returns the commit, if the patch comes from a branch.
    pub fn commit(&self) -> Option<&Commit> {
        match &self.content {
            Content::Overlay(_) => None,
            Content::Branch(commit) => Some(commit),
        }
    }

    /// Returns the author of the commit. Other patches are authored by the user.
    pub fn author(&self) -> Option<&Author> {
        self.commit().map(|c| &c.author)
    }
}

/// A file after a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The path in the kernel tree.
    pub path: String,
    /// The mode.
    pub mode: Mode,
    /// The content.
    pub content: Vec<u8>,
    /// Whether the patch adds the file.
    pub enters: bool,
}

/// A diff to files of the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The file of the diff, relative to the workspace.
    pub source: PathBuf,
    /// The text of the diff.
    pub diff: String,
    /// The paths in the diff.
    pub paths: Vec<String>,
}

/// A series and its planned patches.
#[derive(Debug, Clone)]
pub struct PlannedSeries {
    /// The series and its component.
    pub component: Component,
    /// The patches, in order.
    pub patches: Vec<PlannedPatch>,
}

impl PlannedSeries {
    /// Returns the manifest.
    pub fn series(&self) -> &Series {
        &self.component.series
    }

    /// Returns the name of the series.
    pub fn name(&self) -> &str {
        &self.component.series.name
    }
}

// SPDX-License-Identifier: GPL-2.0

//! What each patch writes, and the patches of a series.

use std::path::PathBuf;

use crate::{
    git::{
        Author,
        Mode, //
    },
    source::{
        branch::Commit,
        component::Component,
        manifest::Series,
        relocation, //
    },
    versions::trailers::Given, //
};

/// What a patch consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPatch {
    /// The first line of the message.
    pub subject: String,
    /// The whole message, without the sign-off of whoever posts it.
    pub message: String,
    /// The file of the message, below the top folder, or its commit.
    pub source: PathBuf,
    /// What it changes.
    pub content: Content,
    /// What reviewers gave to it.
    pub given: Vec<Given>,
}

/// What a patch changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Files and diffs of a component.
    Overlay(Overlay),
    /// What a commit of the user's changes.
    Branch(Commit),
}

/// The part of a component that a patch brings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Files that it writes.
    pub writes: Vec<Write>,
    /// What it moves and renames, before the diffs are applied.
    pub relocate: Option<relocation::Step>,
    /// Diffs that it applies.
    pub edits: Vec<Edit>,
}

impl PlannedPatch {
    /// Every path that the patch touches.
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

    /// The files of the component that it writes.
    pub fn writes(&self) -> &[Write] {
        self.overlay().map_or(&[], |o| &o.writes)
    }

    /// The diffs of the component that it applies.
    pub fn edits(&self) -> &[Edit] {
        self.overlay().map_or(&[], |o| &o.edits)
    }

    /// The step of the relocation that it makes.
    pub fn relocate(&self) -> Option<&relocation::Step> {
        self.overlay().and_then(|o| o.relocate.as_ref())
    }

    /// The commit of the user's that it applies.
    pub fn commit(&self) -> Option<&Commit> {
        match &self.content {
            Content::Overlay(_) => None,
            Content::Branch(commit) => Some(commit),
        }
    }

    /// Its author; [`None`] if that is whoever assembles it.
    pub fn author(&self) -> Option<&Author> {
        self.commit().map(|c| &c.author)
    }
}

/// A file as a patch leaves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Its path in the kernel.
    pub path: String,
    /// Its mode.
    pub mode: Mode,
    /// Its content.
    pub content: Vec<u8>,
    /// Whether the path must not exist before.
    pub enters: bool,
}

/// A diff against files that are not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Its file, below the top folder.
    pub source: PathBuf,
    /// Its text.
    pub diff: String,
    /// The paths that it touches.
    pub paths: Vec<String>,
}

/// The patches of one series.
#[derive(Debug, Clone)]
pub struct PlannedSeries {
    /// The component.
    pub component: Component,
    /// The patches, in order.
    pub patches: Vec<PlannedPatch>,
}

impl PlannedSeries {
    /// The manifest.
    pub fn series(&self) -> &Series {
        &self.component.series
    }

    /// The name of the series.
    pub fn name(&self) -> &str {
        &self.component.series.name
    }
}

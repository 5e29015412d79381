// SPDX-License-Identifier: GPL-2.0

//! The series of a component: the checks that span them, and their patches.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::PathBuf,
};

use crate::{
    mail::diff,
    patches::plan::{
        manifest::ManifestCheck,
        patch::{Content, Edit, Overlay, PlannedPatch, Write},
    },
    rust::items::{self, Mark},
    source::{
        component::Component,
        manifest::{Patch, Series, below},
        message,
    },
    sys::error::Error,
    versions::trailers::RecordedTrailer,
};

/// The series of a component, in dependency order.
pub(super) struct SeriesGroup<'a> {
    pub(super) members: &'a [&'a Component],
    /// The manifests of all components, in dependency order.
    pub(super) ordered: &'a [&'a Series],
    pub(super) owners: &'a BTreeMap<String, String>,
    /// The withheld parts, by file.
    pub(super) withheld: BTreeMap<String, Vec<WithheldPart>>,
}

/// A part of a file that a later patch adds.
pub(super) struct WithheldPart {
    /// The position of the patch: the index of the series in the component, and of the patch in it.
    pub(super) enters: (usize, usize),
    /// The range of lines.
    pub(super) lines: Range<usize>,
    /// How earlier patches omit the lines.
    pub(super) mark: Mark,
}

impl<'a> SeriesGroup<'a> {
    /// Returns the shared files. Each series has the files of the whole component.
    pub(super) fn files(&self) -> &'a Component {
        self.members[0]
    }

    pub(super) fn folder(&self) -> &'a str {
        self.files().folder()
    }

    /// Returns all patches with their positions.
    pub(super) fn all(&self) -> impl Iterator<Item = ((usize, usize), &'a Component, &'a Patch)> {
        let members = self.members;
        members.iter().enumerate().flat_map(|(member, component)| {
            let patches = component.series.patches.iter().enumerate();
            patches.map(move |(index, patch)| ((member, index), *component, patch))
        })
    }

    /// Returns the file names of the manifests for a message.
    pub(super) fn manifests(&self) -> String {
        let files = self.members.iter().map(|c| c.series.file());
        let files: Vec<String> = files.map(|f| f.display().to_string()).collect();
        files.join(" or ")
    }

    /// Whether a series is applied after another, because it depends on the other or is the same.
    pub(super) fn is_after(&self, member: usize, other: usize) -> bool {
        let (name, other) = (self.members[member].name(), self.members[other].name());
        name == other || below(self.ordered, name).iter().any(|s| s.name == *other)
    }

    pub(super) fn check(&mut self, wanted: &dyn Fn(&str) -> bool, errors: &mut Vec<Error>) {
        let members = self.members.iter().filter(|c| wanted(c.name()));
        let members: Vec<ManifestCheck<'_>> = members.map(|c| ManifestCheck::new(c)).collect();
        members.iter().for_each(|c| c.check_patches(errors));
        let files = self.files();
        let overlay: Vec<&String> = files.overlay.keys().collect();
        let left_out = self.left_out(&overlay, errors);
        self.check_claims("tree", |p| &p.files, &overlay, &left_out, errors);
        let check = ManifestCheck::new(files);
        let edits: Vec<&String> = files.edits.keys().collect();
        let unused = edits.iter().filter(|name| {
            let plain = PathBuf::from(format!("{}/edits/{name}", self.folder()));
            check.may_be_unused(&plain)
        });
        let unused: BTreeSet<&str> = unused.map(|name| name.as_str()).collect();
        self.check_claims("edits", |p| &p.edits, &edits, &unused, errors);
        members.iter().for_each(|c| c.check_metadata(errors));
        self.check_relocation(errors);
        self.check_edits(errors);
        self.find_withheld(errors);
    }

    /// Returns the patches of the selected series, by name.
    pub(super) fn patches(
        &self,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Vec<(String, Vec<PlannedPatch>)> {
        let members = self.members.iter().enumerate();
        members
            .filter(|(_, component)| wanted(component.name()))
            .map(|(member, component)| {
                let patches = component.series.patches.iter().enumerate();
                let patches =
                    patches.map(|(index, patch)| self.patch(component, (member, index), patch));
                (component.name().to_owned(), patches.collect())
            })
            .collect()
    }

    fn patch(&self, component: &Component, at: (usize, usize), patch: &Patch) -> PlannedPatch {
        let message = &component.messages[&patch.message.value];
        PlannedPatch {
            subject: message::subject(message).to_owned(),
            message: message.trim_end().to_owned() + "\n",
            source: component.place_of_message(&patch.message.value),
            content: match component.commits.get(at.1) {
                Some(commit) => Content::Branch(commit.clone()),
                None => Content::Overlay(self.overlay(component, at, patch)),
            },
            trailers: trailers_of(component, &patch.message.value),
        }
    }

    /// Returns the part of the component that belongs to a patch.
    fn overlay(&self, component: &Component, at: (usize, usize), patch: &Patch) -> Overlay {
        let added = patch.files.iter().map(|f| (&f.value, true));
        let completed = patch.withhold.iter().map(|w| &w.file.value);
        let completed: BTreeSet<&String> = completed.collect();
        let completed = completed.into_iter().map(|path| (path, false));
        Overlay {
            writes: added
                .chain(completed)
                .map(|(path, enters)| self.write(path, at, enters))
                .collect(),
            relocate: patch.relocate.as_ref().and_then(|name| {
                let mut steps = component.relocation.iter();
                steps.find(|s| s.name == name.value).cloned()
            }),
            edits: patch.edits.iter().map(|e| self.edit(&e.value)).collect(),
        }
    }

    /// Returns a file after a patch, without the parts that later patches add.
    fn write(&self, path: &str, at: (usize, usize), enters: bool) -> Write {
        let file = &self.files().overlay[path];
        let parts = self.withheld.get(path).into_iter().flatten();
        let later: Vec<&WithheldPart> = parts.filter(|part| part.enters > at).collect();
        let content = match std::str::from_utf8(&file.content) {
            Ok(text) if !later.is_empty() => {
                let mut marks = vec![Mark::Kept; text.lines().count()];
                // `text` removes exactly its lines, even inside an item.
                for (of, parts) in [Mark::Item, Mark::Line].map(|m| (m, &later)) {
                    for part in parts.iter().filter(|p| p.mark == of) {
                        marks[part.lines.clone()].fill(of);
                    }
                }
                items::without(text, &marks).into_bytes()
            }
            _ => file.content.clone(),
        };
        Write {
            path: path.to_owned(),
            mode: file.mode,
            content,
            enters,
        }
    }

    fn edit(&self, name: &str) -> Edit {
        let diff = self.files().edits[name].clone();
        Edit {
            source: self
                .files()
                .place(format!("{}/edits/{name}", self.folder())),
            paths: diff::touched(&diff).into_iter().map(|t| t.path).collect(),
            diff,
        }
    }
}

fn trailers_of(component: &Component, message: &str) -> Vec<RecordedTrailer> {
    let all = component.trailers.iter();
    all.filter(|g| g.entry.patch == message).cloned().collect()
}

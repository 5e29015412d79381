// SPDX-License-Identifier: GPL-2.0

//! The series of a component: the checks that span them, and their patches.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use crate::{
    mail::diff,
    patches::plan::{
        manifest::{check_metadata, check_patches, may_be_unused},
        patch::{Edit, PlannedPatch, Write},
    },
    rust::items::{self, Mark},
    source::{
        component::Component,
        manifest::{At, Patch, Series, below},
        message,
    },
    sys::Error,
};

/// The series of a component, in dependency order.
pub(super) struct SeriesGroup<'a> {
    pub(super) members: &'a [&'a Component],
    /// The manifests of all components, in dependency order.
    pub(super) ordered: &'a [&'a Series],
    /// The folder of the component that has a path.
    pub(super) owners: &'a BTreeMap<String, String>,
    /// The withheld parts, by file.
    pub(super) withheld: BTreeMap<String, Vec<WithheldPart>>,
}

/// A part of a file that a later patch adds.
pub(super) struct WithheldPart {
    /// The position of the patch: the index of the series in the component, and of the patch in it.
    pub(super) enters: (usize, usize),
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

    /// Returns the path of a plain file, such as "list/edits/1.diff".
    pub(super) fn plain(&self, kind: &str, name: &str) -> String {
        format!("{}/{kind}/{name}", self.folder())
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
        let file = |c: &&Component| c.series.file.display().to_string();
        let files: Vec<String> = self.members.iter().map(file).collect();
        files.join(" or ")
    }

    /// Whether a series is applied after another, because it depends on the other or is the same.
    pub(super) fn is_after(&self, member: usize, other: usize) -> bool {
        let (name, other) = (self.members[member].name(), self.members[other].name());
        name == other || below(self.ordered, name).iter().any(|s| s.name == *other)
    }

    pub(super) fn check(&mut self, wanted: &dyn Fn(&str) -> bool, errors: &mut Vec<Error>) {
        let members = self.members.iter().filter(|c| wanted(c.name()));
        members.clone().for_each(|c| check_patches(c, errors));
        let files = self.files();
        let overlay: Vec<&String> = files.overlay.keys().collect();
        let left_out = self.left_out(errors);
        self.check_claims("tree", |p| &p.files, &overlay, &left_out, errors);
        let edits: Vec<&String> = files.edits.keys().collect();
        let unused = edits.iter().filter(|name| {
            let plain = self.plain("edits", name);
            may_be_unused(files, plain.as_ref())
        });
        let unused: BTreeSet<&str> = unused.map(|name| name.as_str()).collect();
        self.check_claims("edits", |p| &p.edits, &edits, &unused, errors);
        members.for_each(|c| check_metadata(c, errors));
        self.check_relocation(errors);
        self.check_edits(errors);
        self.find_withheld(errors);
    }

    pub(super) fn patches(
        &self,
        wanted: &dyn Fn(&str) -> bool,
    ) -> BTreeMap<String, Vec<PlannedPatch>> {
        let mut all: BTreeMap<String, Vec<PlannedPatch>> = BTreeMap::new();
        for (at, component, patch) in self.all().filter(|(_, c, _)| wanted(c.name())) {
            let patches = all.entry(component.name().to_owned()).or_default();
            patches.push(self.patch(component, at, patch));
        }
        all
    }

    fn patch(&self, component: &Component, at: (usize, usize), patch: &Patch) -> PlannedPatch {
        let file = &patch.message.value;
        let message = &component.messages[file];
        let added = patch.files.iter().map(|f| (&f.value, true));
        let completed = patch.withhold.iter().map(|w| (&w.file.value, false));
        let completed: BTreeSet<(&String, bool)> = completed.collect();
        let written = added.chain(completed);
        let written = written.map(|(path, enters)| self.write(path, at, enters));
        let step = |name: &At<String>| component.relocation.iter().find(|s| s.name == name.value);
        let trailers = component.trailers.iter().filter(|t| t.patch == *file);
        PlannedPatch {
            subject: message::subject(message).to_owned(),
            message: message.trim_end().to_owned() + "\n",
            source: component.place_of_message(file),
            writes: written.collect(),
            relocate: patch.relocate.as_ref().and_then(step).cloned(),
            edits: patch.edits.iter().map(|e| self.edit(&e.value)).collect(),
            commit: component.commits.get(at.1).cloned(),
            trailers: trailers.cloned().collect(),
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
                for mark in [Mark::Item, Mark::Line] {
                    for part in later.iter().filter(|p| p.mark == mark) {
                        marks[part.lines.clone()].fill(mark);
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
        let files = self.files();
        let diff = files.edits[name].clone();
        Edit {
            source: files.place(self.plain("edits", name)),
            paths: diff::touched(&diff),
            diff,
        }
    }
}

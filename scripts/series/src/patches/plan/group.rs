// SPDX-License-Identifier: GPL-2.0

//! A component with all its series: the checks that span them, and the patches.

use std::{
    collections::{
        BTreeMap,
        BTreeSet, //
    },
    path::PathBuf, //
};

use crate::{
    mail::diff,
    patches::plan::{
        manifest::Check,
        patch::{
            Content,
            Edit,
            Overlay,
            PlannedPatch,
            Write, //
        },
        withheld::Cut, //
    },
    rust::items::{
        self,
        Mark, //
    },
    source::{
        component::Component,
        manifest::{
            Patch,
            Series,
            below, //
        },
        message, //
    },
    sys::error::Error,
    versions::trailers::Given, //
};

/// A component with all its series, in dependency order.
pub(super) struct Group<'a> {
    pub(super) members: &'a [&'a Component],
    /// All series.
    pub(super) ordered: &'a [&'a Series],
    pub(super) owners: &'a BTreeMap<String, String>,
    /// What enters later, by file.
    pub(super) cuts: BTreeMap<String, Vec<Cut>>,
}

impl<'a> Group<'a> {
    /// Every series has the files of the component.
    pub(super) fn files(&self) -> &'a Component {
        self.members[0]
    }

    pub(super) fn folder(&self) -> &'a str {
        self.files().folder()
    }

    /// All patches, each with its place.
    pub(super) fn all(&self) -> impl Iterator<Item = ((usize, usize), &'a Component, &'a Patch)> {
        let members = self.members;
        members.iter().enumerate().flat_map(|(member, component)| {
            let patches = component.series.patches.iter().enumerate();
            patches.map(move |(index, patch)| ((member, index), *component, patch))
        })
    }

    /// The manifests, to name a file in.
    pub(super) fn manifests(&self) -> String {
        let files = self.members.iter().map(|c| c.series.file());
        let files: Vec<String> = files.map(|f| f.display().to_string()).collect();
        files.join(" or ")
    }

    /// Whether a series comes after another on every branch: it is the same, or builds on it.
    pub(super) fn is_after(&self, member: usize, other: usize) -> bool {
        let (name, other) = (self.members[member].name(), self.members[other].name());
        name == other || below(self.ordered, name).iter().any(|s| s.name == *other)
    }

    pub(super) fn check(&mut self, wanted: &dyn Fn(&str) -> bool, errors: &mut Vec<Error>) {
        let members = self.members.iter().filter(|c| wanted(c.name()));
        let members: Vec<Check<'_>> = members.map(|c| Check::new(c)).collect();
        members.iter().for_each(|c| c.content(errors));
        let files = self.files();
        let overlay: Vec<&String> = files.overlay.keys().collect();
        let left_out = self.left_out(&overlay, errors);
        self.claims("tree", |p| &p.files, &overlay, &left_out, errors);
        let check = Check::new(files);
        let edits: Vec<&String> = files.edits.keys().collect();
        let idle = edits.iter().filter(|name| {
            let plain = PathBuf::from(format!("{}/edits/{name}", self.folder()));
            check.may_be_idle(&plain)
        });
        let idle: BTreeSet<&str> = idle.map(|name| name.as_str()).collect();
        self.claims("edits", |p| &p.edits, &edits, &idle, errors);
        members.iter().for_each(|c| c.rest(errors));
        self.steps(errors);
        self.edit_paths(errors);
        self.withheld(errors);
    }

    /// The patches of the wanted series, with their names.
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
            given: given(component, &patch.message.value),
        }
    }

    /// The part of the component that a patch brings.
    fn overlay(&self, component: &Component, at: (usize, usize), patch: &Patch) -> Overlay {
        let own = patch.files.iter().map(|f| (&f.value, true));
        let late = patch.withhold.iter().map(|w| &w.file.value);
        let late: BTreeSet<&String> = late.collect();
        let late = late.into_iter().map(|path| (path, false));
        Overlay {
            writes: own
                .chain(late)
                .map(|(path, enters)| self.write(path, at, enters))
                .collect(),
            relocate: patch.relocate.as_ref().and_then(|name| {
                let mut steps = component.relocation.iter();
                steps.find(|s| s.name == name.value).cloned()
            }),
            edits: patch.edits.iter().map(|e| self.edit(&e.value)).collect(),
        }
    }

    /// The file as a patch leaves it: without what later patches bring.
    fn write(&self, path: &str, at: (usize, usize), enters: bool) -> Write {
        let file = &self.files().overlay[path];
        let cuts = self.cuts.get(path).into_iter().flatten();
        let later: Vec<&Cut> = cuts.filter(|cut| cut.enters > at).collect();
        let content = match std::str::from_utf8(&file.content) {
            Ok(text) if !later.is_empty() => {
                let mut marks = vec![Mark::Kept; text.lines().count()];
                // Lines that are named as such go alone, even if they stand in an item.
                for (of, cuts) in [Mark::Item, Mark::Line].map(|m| (m, &later)) {
                    for cut in cuts.iter().filter(|c| c.mark == of) {
                        marks[cut.lines.clone()].fill(of);
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

fn given(component: &Component, message: &str) -> Vec<Given> {
    let all = component.trailers.iter();
    all.filter(|g| g.entry.patch == message).cloned().collect()
}

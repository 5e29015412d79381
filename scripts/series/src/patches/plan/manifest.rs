// SPDX-License-Identifier: GPL-2.0

//! Checks of a single manifest.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    source::{
        component::Component,
        cover,
        manifest::{At, Patch, Series},
        message,
    },
    sys::error::Error,
    versions::trailers::{RecordedTrailer, store},
};

/// The checks of a manifest.
pub(super) struct ManifestCheck<'a> {
    component: &'a Component,
    file: PathBuf,
}

impl<'a> ManifestCheck<'a> {
    pub(super) fn new(component: &'a Component) -> Self {
        Self {
            component,
            file: component.series.file(),
        }
    }

    fn name(&self) -> &str {
        self.component.name()
    }

    fn manifest(&self) -> &Series {
        &self.component.series
    }

    pub(super) fn err(&self, line: usize, what: impl Into<String>) -> Error {
        Error::new(what).at(&self.file, line)
    }

    /// Whether the base may leave a file unused. The default base uses all files except variants.
    pub(super) fn may_be_unused(&self, plain: &Path) -> bool {
        self.component.is_other_base && !self.component.variants.contains_key(plain)
    }

    pub(super) fn check_patches(&self, errors: &mut Vec<Error>) {
        for patch in &self.manifest().patches {
            self.message(patch, errors);
            if self.manifest().branch.is_none()
                && patch.files.is_empty()
                && patch.relocate.is_none()
                && patch.edits.is_empty()
                && patch.withhold.is_empty()
            {
                errors.push(
                    self.err(patch.line, "this patch changes nothing")
                        .help("add `files`, `edits` or `withhold`, or remove the patch"),
                );
            }
        }
    }

    pub(super) fn check_metadata(&self, errors: &mut Vec<Error>) {
        self.recipients(errors);
        self.provenance(errors);
        self.unused_messages(errors);
        self.trailers(errors);
    }

    fn message(&self, patch: &Patch, errors: &mut Vec<Error>) {
        let At { value, line } = &patch.message;
        let Some(text) = self.component.messages.get(value) else {
            errors.push(
                self.err(*line, format!("the commit message {value:?} is missing"))
                    .help(format!("create series/{}/{value}", self.name())),
            );
            return;
        };
        let source = self.component.place_of_message(value);
        let faults = match self.manifest().branch {
            Some(_) => message::faults_of_commit(text),
            None => message::faults(text),
        };
        errors.extend(
            faults
                .into_iter()
                .map(|f| f.into_error().at(&source, f.line)),
        );
    }

    /// Requires a recipient of a posted series.
    fn recipients(&self, errors: &mut Vec<Error>) {
        let manifest = self.manifest();
        let is_posted = manifest.local.is_none();
        if is_posted && manifest.to.is_empty() && !manifest.patches.is_empty() {
            errors.push(
                Error::new("`to` has no recipient")
                    .at(&self.file, manifest.line_of_version)
                    .help("write to = [\"Name <address>\"]; see scripts/get_maintainer.pl"),
            );
        }
    }

    /// Checks the provenance as wrapped in the cover letter.
    fn provenance(&self, errors: &mut Vec<Error>) {
        let Some(from) = &self.manifest().provenance else {
            return;
        };
        let mut add = |what: String, help: &str| {
            errors.push(
                Error::new(format!("[provenance]: {what}"))
                    .at(&self.file, self.manifest().line_of_provenance)
                    .help(help),
            );
        };
        for line in cover::fill(from.text.trim(), cover::COLUMNS).lines() {
            if let Some((what, help)) = message::mail_fault(line) {
                add(format!("{line:?}: {what}"), help);
            }
        }
        for link in &from.links {
            let plain = link.chars().all(|c| c.is_ascii_graphic());
            if !plain || !link.starts_with("https://") {
                add(
                    format!("{link:?} is not a link"),
                    "a link starts with https://",
                );
            }
        }
    }

    fn unused_messages(&self, errors: &mut Vec<Error>) {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for patch in &self.manifest().patches {
            let At { value, line } = &patch.message;
            if let Some(first) = seen.insert(value, *line) {
                errors.push(self.err(
                    *line,
                    format!("the message {value:?} is used twice, first in line {first}"),
                ));
            }
        }
        for name in self.component.messages.keys() {
            let plain = PathBuf::from(format!("series/{}/{name}", self.name()));
            let is_file = self.manifest().branch.is_none();
            if is_file && !seen.contains_key(name.as_str()) && !self.may_be_unused(&plain) {
                errors.push(
                    Error::new("no patch uses this message")
                        .at(self.component.place(plain), None)
                        .help(format!("name it in a [[patch]] of {}", self.file.display())),
                );
            }
        }
    }

    /// Refuses recorded trailers whose patch no longer exists.
    fn trailers(&self, errors: &mut Vec<Error>) {
        let patches = &self.manifest().patches;
        let mut lost: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for RecordedTrailer { entry, .. } in &self.component.trailers {
            if !patches.iter().any(|p| p.message.value == entry.patch) {
                lost.entry(&entry.patch).or_default().push(entry.line);
            }
        }
        for (patch, lines) in lost {
            let all: Vec<String> = lines.iter().map(ToString::to_string).collect();
            errors.push(
                Error::new(format!("{} has no patch {patch:?}", self.name()))
                    .at(store::file(self.name()), lines[0])
                    .help(format!(
                        "its message and subject changed, or the patch was removed: update `patch` \
                         or remove the trailer (line {})",
                        all.join(", ")
                    )),
            );
        }
    }
}

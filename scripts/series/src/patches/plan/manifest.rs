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
        manifest::{At, Patch},
        message,
    },
    sys::Error,
    versions::trailers::store,
};

/// Whether the base may leave a file unused. The default base uses all files except variants.
pub(super) fn may_be_unused(component: &Component, plain: &Path) -> bool {
    component.is_other_base && !component.variants.contains_key(plain)
}

pub(super) fn check_patches(component: &Component, errors: &mut Vec<Error>) {
    let series = &component.series;
    for patch in &series.patches {
        check_message(component, patch, errors);
        if series.branch.is_none() && patch.changes_nothing() {
            let help = "add `files`, `edits` or `withhold`, or remove the patch";
            let error = series.error(patch.line, "this patch changes nothing");
            errors.push(error.help(help));
        }
    }
}

fn check_message(component: &Component, patch: &Patch, errors: &mut Vec<Error>) {
    let At { value, line } = &patch.message;
    let Some(text) = component.messages.get(value) else {
        let what = format!("the commit message {value:?} is missing");
        let help = format!("create series/{}/{value}", component.name());
        errors.push(component.series.error(*line, what).help(help));
        return;
    };
    let source = component.place_of_message(value);
    let commit = component.commits.iter().find(|c| c.subject() == value);
    if commit.is_some_and(|c| c.note.lines().any(|l| l.starts_with("Signed-off-by: "))) {
        let error =
            Error::new("the sign-off is below `---`, which `git am` drops").at(&source, None);
        errors.push(error.help("move it above `---`"));
    }
    let faults = match component.series.branch {
        Some(_) => message::faults_of_commit(text),
        None => message::faults(text),
    };
    errors.extend(faults.into_iter().map(|(line, e)| e.at(&source, line)));
}

pub(super) fn check_metadata(component: &Component, errors: &mut Vec<Error>) {
    let series = &component.series;
    if series.local.is_none() && series.to.is_empty() && !series.patches.is_empty() {
        let help = "write to = [\"Name <address>\"]; see scripts/get_maintainer.pl";
        let line = series.line_of_to.or(series.line_of_version);
        let error = series.error(line, "`to` has no recipient");
        errors.push(error.help(help));
    }
    check_provenance(component, errors);
    check_unused_messages(component, errors);
    check_trailers(component, errors);
}

/// Checks the provenance as wrapped in the cover letter.
fn check_provenance(component: &Component, errors: &mut Vec<Error>) {
    let series = &component.series;
    let Some(At { value: from, line }) = &series.provenance else {
        return;
    };
    let mut add = |what: String, help: &str| {
        let what = format!("[provenance]: {what}");
        errors.push(series.error(*line, what).help(help));
    };
    for text in cover::fill(from.text.trim(), cover::COLUMNS).lines() {
        if let Some((what, help)) = message::mail_fault(text) {
            add(format!("{text:?}: {what}"), help);
        }
    }
    for link in &from.links {
        let is_plain = link.chars().all(|c| c.is_ascii_graphic());
        if !is_plain || !link.starts_with("https://") {
            let what = format!("{link:?} is not a link");
            add(what, "a link starts with https://");
        }
    }
}

fn check_unused_messages(component: &Component, errors: &mut Vec<Error>) {
    let series = &component.series;
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for At { value, line } in series.patches.iter().map(|p| &p.message) {
        if let Some(first) = seen.insert(value, *line) {
            let what = format!("the message {value:?} is used twice, first in line {first}");
            errors.push(series.error(*line, what));
        }
    }
    for name in component.messages.keys() {
        let plain = PathBuf::from(format!("series/{}/{name}", series.name));
        let is_used = series.branch.is_some() || seen.contains_key(name.as_str());
        if !is_used && !may_be_unused(component, &plain) {
            let error = Error::new("no patch uses this message");
            let help = format!("name it in a [[patch]] of {}", series.file.display());
            errors.push(error.at(component.place(plain), None).help(help));
        }
    }
}

/// Refuses recorded trailers whose patch no longer exists.
fn check_trailers(component: &Component, errors: &mut Vec<Error>) {
    let patches = &component.series.patches;
    let mut lost: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for entry in &component.trailers {
        if !patches.iter().any(|p| p.message.value == entry.patch) {
            lost.entry(&entry.patch).or_default().push(entry.line);
        }
    }
    let name = component.name();
    for (patch, lines) in lost {
        let all: Vec<String> = lines.iter().map(usize::to_string).collect();
        let error = Error::new(format!("{name} has no patch {patch:?}"));
        errors.push(error.at(store::file(name), lines[0]).help(format!(
            "its message and subject changed, or the patch was removed: update `patch` or remove \
             the trailer (line {})",
            all.join(", ")
        )));
    }
}

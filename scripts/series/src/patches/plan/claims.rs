// SPDX-License-Identifier: GPL-2.0

//! Checks that exactly one patch claims each file and step of a component, and that steps and edits
//! apply to files of the base only.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component as PathPart, Path, PathBuf},
};

use crate::{
    mail::diff,
    patches::plan::{group::SeriesGroup, manifest::ManifestCheck},
    source::manifest::{At, Patch, covers},
    sys::error::{Error, Result},
};

impl SeriesGroup<'_> {
    /// Returns the files of the overlay that `left-out` names.
    pub(super) fn left_out<'b>(
        &self,
        overlay: &[&'b String],
        errors: &mut Vec<Error>,
    ) -> BTreeSet<&'b str> {
        let mut left_out = BTreeSet::new();
        for component in self.members {
            for (path, At { line, .. }) in &component.series.left_out {
                let before = left_out.len();
                let meant = overlay.iter().map(|f| f.as_str());
                left_out.extend(meant.filter(|file| covers(path, file)));
                if left_out.len() == before {
                    errors.push(
                        ManifestCheck::new(component)
                            .err(
                                *line,
                                format!("[left-out]: {}/tree has no {path}", self.folder()),
                            )
                            .help("remove the line"),
                    );
                }
            }
        }
        let claims = self.all().flat_map(|(_, component, patch)| {
            let files = patch.files.iter();
            files.map(move |file| (component, file))
        });
        for (component, At { value, line }) in claims {
            if left_out.contains(value.as_str()) {
                errors.push(
                    ManifestCheck::new(component)
                        .err(*line, format!("{value} is listed in [left-out] as well"))
                        .help("remove one of the two lines"),
                );
            }
        }
        left_out
    }

    /// Checks that the patches claim each file in `have` once, and no other file. Files in `unused`
    /// may be unclaimed.
    pub(super) fn check_claims(
        &self,
        folder: &str,
        of: impl Fn(&Patch) -> &Vec<At<String>>,
        have: &[&String],
        unused: &BTreeSet<&str>,
        errors: &mut Vec<Error>,
    ) {
        let mut claimed: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for ((member, _), component, patch) in self.all() {
            let check = ManifestCheck::new(component);
            for At { value, line } in of(patch) {
                if let Err(what) = plain_path(value) {
                    errors.push(check.err(*line, what));
                } else if !have.contains(&value) {
                    errors.push(
                        check
                            .err(
                                *line,
                                format!("{}/{folder}/{value} does not exist", self.folder()),
                            )
                            .help("create the file, or remove the line"),
                    );
                } else if let Some((other, first)) = claimed.insert(value, (member, *line)) {
                    let first = match other == member {
                        true => format!("line {first}"),
                        false => {
                            let file = self.members[other].series.file();
                            format!("{}:{first}", file.display())
                        }
                    };
                    errors.push(
                        check
                            .err(*line, format!("{value} is claimed twice, first in {first}"))
                            .help("one patch adds the whole file; remove one of the two lines"),
                    );
                }
            }
        }
        for name in have {
            if !claimed.contains_key(name.as_str()) && !unused.contains(name.as_str()) {
                let plain = format!("{}/{folder}/{name}", self.folder());
                errors.push(
                    Error::new("no patch claims this file")
                        .at(self.files().place(plain), None)
                        .help(format!("name it in a [[patch]] of {}", self.manifests())),
                );
            }
        }
    }

    /// Checks that the patches make each step of the relocation once, and in order.
    pub(super) fn check_relocation(&self, errors: &mut Vec<Error>) {
        let steps = &self.files().relocation;
        let mut next = 0;
        let mut last = None;
        for ((member, _), component, patch) in self.all() {
            let Some(At { value, line }) = &patch.relocate else {
                continue;
            };
            let check = ManifestCheck::new(component);
            match steps.iter().position(|s| s.name == *value) {
                Some(at) if at == next => {
                    next += 1;
                    if let Some(before) = last.filter(|b| !self.is_after(member, *b)) {
                        let (name, before) = (component.name(), self.members[before].name());
                        errors.push(
                            check
                                .err(
                                    *line,
                                    format!("the step {value:?} follows a step of {before}"),
                                )
                                .help(format!("add {before} to `depends` of {name}")),
                        );
                    }
                    last = Some(member);
                }
                Some(_) => errors.push(
                    check
                        .err(
                            *line,
                            format!("the step {value:?} is used twice or out of order"),
                        )
                        .help("use each step once, in the order of relocation.toml"),
                ),
                None => errors.push(
                    check
                        .err(*line, format!("unknown step {value:?}"))
                        .help(format!("define it in {}/relocation.toml", self.folder())),
                ),
            }
        }
        let file = format!("{}/relocation.toml", self.folder());
        if next == 0 && self.files().is_other_base {
            // The base already contains the result of the relocation.
            return;
        }
        for step in &steps[next.min(steps.len())..] {
            errors.push(
                Error::new(format!("no patch uses the step {:?}", step.name))
                    .at(&file, step.line)
                    .help(format!("name it in a [[patch]] of {}", self.manifests())),
            );
        }
        for (step, path) in steps
            .iter()
            .flat_map(|s| s.paths().into_iter().map(move |p| (s, p)))
        {
            if let Err(what) = plain_path(path) {
                errors.push(Error::new(what).at(&file, step.line));
            } else if let Some(owner) = self.owners.get(path) {
                errors.push(
                    Error::new(format!(
                        "moves or changes {path}, which is a file of {owner}"
                    ))
                    .at(&file, step.line)
                    .help(format!("change {owner}/tree/{path} instead")),
                );
            }
        }
    }

    /// Checks that edits are diffs to files of the base.
    pub(super) fn check_edits(&self, errors: &mut Vec<Error>) {
        let claimed = self.all().flat_map(|(_, _, patch)| &patch.edits);
        let claimed: BTreeSet<&str> = claimed.map(|edit| edit.value.as_str()).collect();
        for (name, text) in &self.files().edits {
            if !claimed.contains(name.as_str()) {
                continue;
            }
            let source = self
                .files()
                .place(format!("{}/edits/{name}", self.folder()));
            let touched = diff::touched(text);
            if touched.is_empty() {
                errors.push(
                    Error::new("is not a diff: it touches no file")
                        .at(&source, None)
                        .help("create it with `git diff`, with the prefixes a/ and b/"),
                );
            }
            for touch in touched {
                if let Err(what) = plain_path(&touch.path) {
                    errors.push(Error::new(what).at(&source, touch.line));
                } else if let Some(owner) = self.owners.get(&touch.path) {
                    errors.push(
                        Error::new(format!("edits {}, which is a file of {owner}", touch.path))
                            .at(&source, touch.line)
                            .help(format!("change {owner}/tree/{} instead", touch.path)),
                    );
                }
            }
        }
    }
}

/// Refuses paths that are absolute, leave the folder, or are not normalized.
fn plain_path(path: &str) -> Result<(), String> {
    let parts: Vec<_> = Path::new(path).components().collect();
    let joined: PathBuf = parts.iter().collect();
    if parts.iter().any(|p| matches!(p, PathPart::ParentDir)) {
        return Err(format!(
            "{path:?} is outside the component: `..` is not allowed"
        ));
    }
    if parts.iter().any(|p| matches!(p, PathPart::RootDir)) {
        return Err(format!(
            "{path:?} is absolute; paths are relative to the kernel tree"
        ));
    }
    if parts.is_empty() || joined.as_os_str() != path || parts[0] == PathPart::CurDir {
        return Err(format!("{path:?} is not a normalized relative path"));
    }
    if parts.iter().any(|p| p.as_os_str() == ".git") {
        return Err(format!("{path:?} is inside .git"));
    }
    Ok(())
}

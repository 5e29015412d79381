// SPDX-License-Identifier: GPL-2.0

//! Checks that exactly one patch claims each file and step of a component, and that steps and edits
//! apply to files of the base only.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component as PathPart, Path, PathBuf},
};

use crate::{
    mail::diff,
    patches::plan::group::SeriesGroup,
    source::manifest::{At, Patch, covers},
    sys::{Error, Result},
};

impl SeriesGroup<'_> {
    /// Returns the files of the overlay that `left-out` names.
    pub(super) fn left_out(&self, errors: &mut Vec<Error>) -> BTreeSet<&str> {
        let overlay = &self.files().overlay;
        let mut left_out = BTreeSet::new();
        for series in self.members.iter().map(|c| &c.series) {
            for (path, At { line, .. }) in &series.left_out {
                let before = left_out.len();
                let files = overlay.keys().map(String::as_str);
                left_out.extend(files.filter(|file| covers(path, file)));
                if left_out.len() == before {
                    let what = format!("[left-out]: {}/tree has no {path}", self.folder());
                    errors.push(series.error(*line, what).help("remove the line"));
                }
            }
        }
        for (_, component, patch) in self.all() {
            for At { value, line } in &patch.files {
                if left_out.contains(value.as_str()) {
                    let what = format!("{value} is listed in [left-out] as well");
                    let error = component.series.error(*line, what);
                    errors.push(error.help("remove one of the two lines"));
                }
            }
        }
        left_out
    }

    /// Checks that patches claim each file in `have` once, if it is not in `unused`, and no other.
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
            let series = &component.series;
            for At { value, line } in of(patch) {
                if let Err(what) = plain_path(value) {
                    errors.push(series.error(*line, what));
                } else if !have.contains(&value) {
                    let what = format!("{} does not exist", self.plain(folder, value));
                    let help = "create the file, or remove the line";
                    errors.push(series.error(*line, what).help(help));
                } else if let Some((other, first)) = claimed.insert(value, (member, *line)) {
                    let first = if other == member {
                        format!("line {first}")
                    } else {
                        format!("{}:{first}", self.members[other].series.file.display())
                    };
                    let what = format!("{value} is claimed twice, first in {first}");
                    let help = "one patch adds the whole file; remove one of the two lines";
                    errors.push(series.error(*line, what).help(help));
                }
            }
        }
        let is_lost = |name: &str| !claimed.contains_key(name) && !unused.contains(name);
        for name in have.iter().filter(|name| is_lost(name)) {
            let place = self.files().place(self.plain(folder, name));
            let error = Error::new("no patch claims this file").at(place, None);
            errors.push(error.help(format!("name it in a [[patch]] of {}", self.manifests())));
        }
    }

    /// Checks that the patches make each step of the relocation once, and in order.
    pub(super) fn check_relocation(&self, errors: &mut Vec<Error>) {
        let file = format!("{}/relocation.toml", self.folder());
        let steps = &self.files().relocation;
        let mut next = 0;
        let mut last = None;
        for ((member, _), component, patch) in self.all() {
            let Some(At { value, line }) = &patch.relocate else {
                continue;
            };
            let mut report = |what: String, help: String| {
                errors.push(component.series.error(*line, what).help(help));
            };
            match steps.iter().position(|s| s.name == *value) {
                Some(at) if at == next => {
                    next += 1;
                    let before = last.replace(member).filter(|b| !self.is_after(member, *b));
                    if let Some(before) = before.map(|before| self.members[before].name()) {
                        let what = format!("the step {value:?} follows a step of {before}");
                        report(
                            what,
                            format!("add {before} to `depends` of {}", component.name()),
                        );
                    }
                }
                Some(_) => {
                    let what = format!("the step {value:?} is used twice or out of order");
                    let help = "use each step once, in the order of relocation.toml";
                    report(what, help.to_owned());
                }
                None => {
                    let what = format!("unknown step {value:?}");
                    report(what, format!("define it in {file}"));
                }
            }
        }
        if next == 0 && self.files().is_other_base {
            // The base already contains the result of the relocation.
            return;
        }
        for step in &steps[next..] {
            let error = Error::new(format!("no patch uses the step {:?}", step.name));
            let help = format!("name it in a [[patch]] of {}", self.manifests());
            errors.push(error.at(&file, step.line).help(help));
        }
        for step in steps {
            for path in step.paths() {
                let does = "moves or changes";
                errors.extend(self.not_of_base(path, does, file.as_ref(), step.line));
            }
        }
    }

    /// Checks that edits are diffs to files of the base.
    pub(super) fn check_edits(&self, errors: &mut Vec<Error>) {
        let claimed = self.all().flat_map(|(_, _, patch)| &patch.edits);
        let claimed: BTreeSet<&str> = claimed.map(|edit| edit.value.as_str()).collect();
        let edits = self.files().edits.iter();
        for (name, text) in edits.filter(|(name, _)| claimed.contains(name.as_str())) {
            let source = self.files().place(self.plain("edits", name));
            if diff::touched(text).is_empty() {
                let error = Error::new("is not a diff: it touches no file").at(&source, None);
                let help = "create it with `git diff`, with the prefixes a/ and b/";
                errors.push(error.help(help));
            }
            for file in diff::files(text) {
                if file.added + file.removed == 0 && file.what.is_none() {
                    let error = Error::new("the diff of this file has no change");
                    let help = "if the diff is truncated, create it again with `git diff`";
                    errors.push(error.at(&source, file.line).help(help));
                }
                let paths = file.from.iter().chain([&file.path]);
                for path in paths.filter(|path| !path.is_empty()) {
                    errors.extend(self.not_of_base(path, "edits", &source, file.line));
                }
            }
        }
    }

    /// Refuses a path that is not plain, or of a component. `does` says what happens to it here.
    fn not_of_base(&self, path: &str, does: &str, file: &Path, line: usize) -> Option<Error> {
        if let Err(what) = plain_path(path) {
            return Some(Error::new(what).at(file, line));
        }
        let owner = self.owners.get(path)?;
        let error = Error::new(format!("{does} {path}, which is a file of {owner}"));
        let help = format!("change {owner}/tree/{path} instead");
        Some(error.at(file, line).help(help))
    }
}

/// Refuses paths that are absolute, leave the folder, or are not normalized.
fn plain_path(path: &str) -> Result<(), String> {
    let parts: Vec<_> = Path::new(path).components().collect();
    let joined: PathBuf = parts.iter().collect();
    let what = if parts.contains(&PathPart::ParentDir) {
        "is outside the component: `..` is not allowed"
    } else if parts.contains(&PathPart::RootDir) {
        "is absolute; paths are relative to the kernel tree"
    } else if parts.is_empty() || joined.as_os_str() != path || parts[0] == PathPart::CurDir {
        "is not a normalized relative path"
    } else if parts.iter().any(|p| p.as_os_str() == ".git") {
        "is inside .git"
    } else {
        return Ok(());
    };
    Err(format!("{path:?} {what}"))
}

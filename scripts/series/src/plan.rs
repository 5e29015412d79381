// SPDX-License-Identifier: GPL-2.0

//! From manifests and folders to patches: what each patch writes, checked before anything is made.
//!
//! Pure functions over [`Component`]s. A file of an overlay enters in exactly one patch, whole but
//! for lines that a later patch names in `withhold`; with all patches applied the tree holds the
//! overlay byte for byte.

use std::{
    collections::BTreeMap,
    path::{
        Component as PathPart,
        Path,
        PathBuf, //
    },
};

use crate::{
    component::{
        Component,
        Mode, //
    },
    cover, diff,
    error::{
        Error,
        Result, //
    },
    manifest::{
        At,
        Patch,
        Series,
        in_order,
        unique_change_ids, //
    },
    message, relocation,
    trailers::{
        Given,
        store, //
    },
};

/// What a patch consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPatch {
    /// The first line of the message.
    pub subject: String,
    /// The whole message, without the sign-off of whoever posts it.
    pub message: String,
    /// The file of the message, below the top folder.
    pub source: PathBuf,
    /// Files that it writes.
    pub writes: Vec<Write>,
    /// What it moves and renames, before the diffs are applied.
    pub relocate: Option<relocation::Step>,
    /// Diffs that it applies.
    pub edits: Vec<Edit>,
    /// What reviewers gave to it.
    pub given: Vec<Given>,
}

impl PlannedPatch {
    /// Every path that the patch touches.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let written = self.writes.iter().map(|w| w.path.as_str());
        let edited = self.edits.iter().flat_map(|e| &e.paths);
        let moved = self.relocate.iter().flat_map(|step| step.paths());
        written.chain(edited.map(String::as_str)).chain(moved)
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

/// Plans all series, in dependency order.
///
/// # Errors
///
/// Every fault of every manifest, at once.
pub fn plan(components: Vec<Component>) -> Result<Vec<PlannedSeries>> {
    let manifests: Vec<_> = components.iter().map(|c| c.series.clone()).collect();
    let order: Vec<_> = in_order(&manifests)?
        .iter()
        .map(|s| s.name.to_string())
        .collect();
    let mut errors = Vec::new();
    errors.extend(unique_change_ids(&manifests).err());
    let owners = owners(&components, &mut errors);
    let mut planned = Vec::new();
    for component in components {
        let check = Check {
            component: &component,
            file: component.series.file(),
            owners: &owners,
        };
        check.all(&mut errors);
        let patches = match errors.is_empty() {
            true => check.patches(),
            false => Vec::new(),
        };
        planned.push(PlannedSeries { component, patches });
    }
    if let Some(error) = Error::all(errors) {
        return Err(error);
    }
    planned.sort_by_key(|p| order.iter().position(|n| n == p.name()));
    Ok(planned)
}

/// Whose overlay each path belongs to.
fn owners(components: &[Component], errors: &mut Vec<Error>) -> BTreeMap<String, String> {
    let mut owners = BTreeMap::new();
    for component in components {
        for path in component.overlay.keys() {
            let old = owners.insert(path.clone(), component.name().to_owned());
            if let Some(other) = old {
                errors.push(
                    Error::new(format!("{other} has this file as well"))
                        .at(format!("{}/tree/{path}", component.name()), None)
                        .help(
                            "a file belongs to one component; the other one may edit nothing of it",
                        ),
                );
            }
        }
    }
    owners
}

/// Refuses paths that are absolute, leave the folder, or are not in their plainest form.
fn plain_path(path: &str) -> Result<(), String> {
    let parts: Vec<_> = Path::new(path).components().collect();
    let joined: PathBuf = parts.iter().collect();
    if parts.iter().any(|p| matches!(p, PathPart::ParentDir)) {
        return Err(format!(
            "{path:?} leaves the component: `..` is not allowed"
        ));
    }
    if parts.iter().any(|p| matches!(p, PathPart::RootDir)) {
        return Err(format!(
            "{path:?} is absolute; paths start at the kernel's top"
        ));
    }
    if parts.is_empty() || joined.as_os_str() != path || parts[0] == PathPart::CurDir {
        return Err(format!("{path:?} is not a plain relative path"));
    }
    if parts.iter().any(|p| p.as_os_str() == ".git") {
        return Err(format!("{path:?} is inside git's own folder"));
    }
    Ok(())
}

struct Check<'a> {
    component: &'a Component,
    file: PathBuf,
    owners: &'a BTreeMap<String, String>,
}

impl Check<'_> {
    fn name(&self) -> &str {
        self.component.name()
    }

    fn manifest(&self) -> &Series {
        &self.component.series
    }

    fn err(&self, line: usize, what: impl Into<String>) -> Error {
        Error::new(what).at(&self.file, line)
    }

    fn all(&self, errors: &mut Vec<Error>) {
        for patch in &self.manifest().patches {
            self.message(patch, errors);
            if patch.files.is_empty()
                && patch.relocate.is_none()
                && patch.edits.is_empty()
                && patch.withhold.is_empty()
            {
                errors.push(
                    self.err(patch.line, "this patch changes nothing")
                        .help("give it files, edits or withheld lines, or remove it"),
                );
            }
        }
        self.claims(
            "tree",
            |p| &p.files,
            &self.component.overlay.keys().collect::<Vec<_>>(),
            errors,
        );
        self.claims(
            "edits",
            |p| &p.edits,
            &self.component.edits.keys().collect::<Vec<_>>(),
            errors,
        );
        self.recipients(errors);
        self.provenance(errors);
        self.unused_messages(errors);
        self.trailers(errors);
        self.steps(errors);
        self.edit_paths(errors);
        self.withheld(errors);
    }

    fn message(&self, patch: &Patch, errors: &mut Vec<Error>) {
        let At { value, line } = &patch.message;
        let Some(text) = self.component.messages.get(value) else {
            errors.push(
                self.err(*line, format!("the commit message {value:?} is missing"))
                    .help(format!("write series/{}/{value}", self.name())),
            );
            return;
        };
        let source = format!("series/{}/{value}", self.name());
        errors.extend(
            message::faults(text)
                .into_iter()
                .map(|f| f.into_error().at(&source, f.line)),
        );
    }

    /// A series with patches needs a recipient.
    fn recipients(&self, errors: &mut Vec<Error>) {
        let manifest = self.manifest();
        if manifest.to.is_empty() && !manifest.patches.is_empty() {
            errors.push(
                Error::new("there is no recipient in `to`")
                    .at(&self.file, manifest.line_of_version)
                    .help("write to = [\"Name <address>\"]; scripts/get_maintainer.pl knows whom"),
            );
        }
    }

    /// Checks the provenance as the cover letter has it, after wrapping.
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
                    "links start with https://",
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
            if !seen.contains_key(name.as_str()) {
                errors.push(
                    Error::new("no patch uses this message")
                        .at(format!("series/{}/{name}", self.name()), None)
                        .help(format!("name it in a [[patch]] of {}", self.file.display())),
                );
            }
        }
    }

    /// A trailer that has lost its patch is not lost without a word.
    fn trailers(&self, errors: &mut Vec<Error>) {
        let patches = &self.manifest().patches;
        let mut lost: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for Given { entry, .. } in &self.component.trailers {
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
                        "its message and its subject changed, or the patch is gone: name the \
                         patch anew, or remove the trailer (line {})",
                        all.join(", ")
                    )),
            );
        }
    }

    /// Each of `have` has to be claimed once, and nothing else.
    fn claims(
        &self,
        folder: &str,
        of: impl Fn(&Patch) -> &Vec<At<String>>,
        have: &[&String],
        errors: &mut Vec<Error>,
    ) {
        let mut claimed: BTreeMap<&str, usize> = BTreeMap::new();
        for patch in &self.manifest().patches {
            for At { value, line } in of(patch) {
                if let Err(what) = plain_path(value) {
                    errors.push(self.err(*line, what));
                } else if !have.contains(&value) {
                    errors.push(
                        self.err(
                            *line,
                            format!("there is no file {}/{folder}/{value}", self.name()),
                        )
                        .help("write the file, or remove the line"),
                    );
                } else if let Some(first) = claimed.insert(value, *line) {
                    errors.push(
                        self.err(
                            *line,
                            format!("{value} is claimed twice, first in line {first}"),
                        )
                        .help("a file enters in one patch, whole; remove one of the two lines"),
                    );
                }
            }
        }
        for name in have {
            if !claimed.contains_key(name.as_str()) {
                errors.push(
                    Error::new("no patch claims this file")
                        .at(format!("{}/{folder}/{name}", self.name()), None)
                        .help(format!("name it in a [[patch]] of {}", self.file.display())),
                );
            }
        }
    }

    /// Each step of the relocation has to be made by one patch, in their order.
    fn steps(&self, errors: &mut Vec<Error>) {
        let steps = &self.component.relocation;
        let mut next = 0;
        for At { value, line } in self.manifest().patches.iter().flat_map(|p| &p.relocate) {
            match steps.iter().position(|s| s.name == *value) {
                Some(at) if at == next => next += 1,
                Some(_) => errors.push(
                    self.err(
                        *line,
                        format!("the step {value:?} is made twice or too early"),
                    )
                    .help("the patches make the steps one by one, in their order"),
                ),
                None => errors.push(
                    self.err(*line, format!("there is no step {value:?}"))
                        .help(format!("write it in {}/relocation.toml", self.name())),
                ),
            }
        }
        let file = format!("{}/relocation.toml", self.name());
        for step in &steps[next.min(steps.len())..] {
            errors.push(
                Error::new(format!("no patch makes the step {:?}", step.name))
                    .at(&file, step.line)
                    .help(format!("name it in a [[patch]] of {}", self.file.display())),
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
                    Error::new(format!("moves or changes {path}, which is ours"))
                        .at(&file, step.line)
                        .help(format!("change {owner}/tree/{path} instead")),
                );
            }
        }
    }

    fn edit_paths(&self, errors: &mut Vec<Error>) {
        for (name, text) in &self.component.edits {
            let source = format!("{}/edits/{name}", self.name());
            let touched = diff::touched(text);
            if touched.is_empty() {
                errors.push(
                    Error::new("is not a diff: it touches no file")
                        .at(&source, None)
                        .help("make it with `git diff`; paths start with a/ and b/"),
                );
            }
            for touch in touched {
                if let Err(what) = plain_path(&touch.path) {
                    errors.push(Error::new(what).at(&source, touch.line));
                } else if let Some(owner) = self.owners.get(&touch.path) {
                    errors.push(
                        Error::new(format!("edits {}, which is ours", touch.path))
                            .at(&source, touch.line)
                            .help(format!("change {owner}/tree/{} instead", touch.path)),
                    );
                }
            }
        }
    }

    fn withheld(&self, errors: &mut Vec<Error>) {
        for (index, patch) in self.manifest().patches.iter().enumerate() {
            for hold in &patch.withhold {
                let At { value, line } = &hold.file;
                let entered = self
                    .manifest()
                    .patches
                    .iter()
                    .position(|p| p.files.iter().any(|f| f.value == *value));
                if entered.is_none_or(|e| e >= index) {
                    errors.push(
                        self.err(*line, format!("{value} does not enter in an earlier patch"))
                            .help("withhold lines of a file that is there already"),
                    );
                    continue;
                }
                let content = self.component.overlay.get(value);
                let text = content
                    .and_then(|f| std::str::from_utf8(&f.content).ok())
                    .unwrap_or("");
                let times = places(text, &hold.text).len();
                if times != 1 {
                    errors.push(
                        self.err(
                            *line,
                            format!(
                                "the withheld lines stand {times} times in {}/tree/{value}",
                                self.name()
                            ),
                        )
                        .help("they have to be whole lines that stand there once, to the letter"),
                    );
                }
            }
        }
    }

    fn patches(&self) -> Vec<PlannedPatch> {
        let manifest = self.manifest();
        let folder = PathBuf::from(format!("series/{}", self.name()));
        manifest
            .patches
            .iter()
            .enumerate()
            .map(|(index, patch)| {
                let message = &self.component.messages[&patch.message.value];
                let own = patch.files.iter().map(|f| (&f.value, true));
                let mut late: Vec<_> = patch
                    .withhold
                    .iter()
                    .map(|w| (&w.file.value, false))
                    .collect();
                late.dedup();
                PlannedPatch {
                    subject: message::subject(message).to_owned(),
                    message: message.trim_end().to_owned() + "\n",
                    source: folder.join(&patch.message.value),
                    writes: own
                        .chain(late)
                        .map(|(path, enters)| self.write(path, index, enters))
                        .collect(),
                    relocate: patch.relocate.as_ref().and_then(|name| {
                        let mut steps = self.component.relocation.iter();
                        steps.find(|s| s.name == name.value).cloned()
                    }),
                    edits: patch.edits.iter().map(|e| self.edit(&e.value)).collect(),
                    given: self.given(&patch.message.value),
                }
            })
            .collect()
    }

    fn given(&self, message: &str) -> Vec<Given> {
        let all = self.component.trailers.iter();
        all.filter(|g| g.entry.patch == message).cloned().collect()
    }

    /// The file as patch `index` leaves it: without what later patches bring.
    fn write(&self, path: &str, index: usize, enters: bool) -> Write {
        let file = &self.component.overlay[path];
        let mut content = file.content.clone();
        let later = self.manifest().patches.iter().skip(index + 1);
        for hold in later.flat_map(|p| &p.withhold) {
            if hold.file.value == path {
                content = without(&content, &hold.text);
            }
        }
        Write {
            path: path.to_owned(),
            mode: file.mode,
            content,
            enters,
        }
    }

    fn edit(&self, name: &str) -> Edit {
        let diff = self.component.edits[name].clone();
        Edit {
            source: PathBuf::from(format!("{}/edits/{name}", self.name())),
            paths: diff::touched(&diff).into_iter().map(|t| t.path).collect(),
            diff,
        }
    }
}

/// Where `lines` stand in `text` as whole lines.
fn places(text: &str, lines: &str) -> Vec<usize> {
    if lines.trim().is_empty() || !lines.ends_with('\n') {
        return Vec::new();
    }
    text.match_indices(lines)
        .map(|(at, _)| at)
        .filter(|at| *at == 0 || text.as_bytes()[at - 1] == b'\n')
        .collect()
}

fn without(content: &[u8], lines: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(content);
    match places(&text, lines)[..] {
        [at] => [&text[..at], &text[at + lines.len()..]]
            .concat()
            .into_bytes(),
        // Checked before; a file that is not text has no withheld lines.
        _ => content.to_vec(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        component::OverlayFile,
        words::{
            ChangeId,
            Recipient, //
        },
    };

    pub(crate) const MESSAGE: &str = "rust: add a thing\n\nIt is needed.\n";

    /// A component in memory: `files` of the overlay, `edits`, and the manifest's patches.
    pub(crate) fn component(
        name: &str,
        manifest: &str,
        files: &[(&str, &str)],
        edits: &[(&str, &str)],
    ) -> Component {
        let text = format!("version = 1\nchange-id = \"20261122-x\"\n{manifest}");
        let file = PathBuf::from(format!("series/{name}.toml"));
        let mut series = Series::parse(name, &file, &text).unwrap();
        // Added here, since the tests count the lines of the manifest.
        series
            .to
            .push(Recipient::parse("list@example.org").unwrap());
        let messages = series
            .patches
            .iter()
            .map(|p| (p.message.value.clone(), MESSAGE.to_owned()))
            .collect();
        let own = |(k, v): &(&str, &str)| (k.to_string(), v.to_string());
        Component {
            series,
            relocation: Vec::new(),
            overlay: files
                .iter()
                .map(own)
                .map(|(path, text)| {
                    let content = text.into_bytes();
                    (
                        path,
                        OverlayFile {
                            mode: Mode::Plain,
                            content,
                        },
                    )
                })
                .collect(),
            edits: edits.iter().map(own).collect(),
            messages,
            cover: "# A thing\n\nText.\n".to_owned(),
            changelog: "# Changelog\n\n## v1\n- First.\n".to_owned(),
            postings: Vec::new(),
            trailers: Vec::new(),
        }
    }

    /// Gives each component another change id.
    pub(crate) fn told_apart(mut components: Vec<Component>) -> Vec<Component> {
        for one in &mut components {
            let id = format!("20261122-{}", one.name());
            one.series.change_id = ChangeId::parse(&id).unwrap();
        }
        components
    }

    fn faults(manifest: &str, files: &[(&str, &str)], edits: &[(&str, &str)]) -> String {
        plan(vec![component("clist", manifest, files, edits)])
            .unwrap_err()
            .to_string()
    }

    const ONE: &str = "[[patch]]\nmessage = \"1.msg\"\nfiles = [\"a.rs\"]\n";

    #[test]
    fn a_good_manifest_gives_its_patches() {
        let planned = plan(vec![component("clist", ONE, &[("a.rs", "x\n")], &[])]).unwrap();
        let patch = &planned[0].patches[0];
        assert_eq!(patch.subject, "rust: add a thing");
        assert_eq!(patch.writes[0].content, b"x\n");
        assert!(patch.writes[0].enters);
    }

    #[test]
    fn an_empty_series_is_fine() {
        let planned = plan(vec![component("clist", "", &[], &[])]).unwrap();
        assert!(planned[0].patches.is_empty());
    }

    #[test]
    fn a_file_claimed_twice_is_refused() {
        let manifest = format!("{ONE}\n[[patch]]\nmessage = \"2.msg\"\nfiles = [\"a.rs\"]\n");
        insta::assert_snapshot!(faults(&manifest, &[("a.rs", "x\n")], &[]), @r"
        series/clist.toml:9: a.rs is claimed twice, first in line 5
          help: a file enters in one patch, whole; remove one of the two lines
        ");
    }

    #[test]
    fn a_file_claimed_by_none_is_refused() {
        insta::assert_snapshot!(faults(ONE, &[("a.rs", "x\n"), ("b.rs", "")], &[]), @r"
        clist/tree/b.rs: no patch claims this file
          help: name it in a [[patch]] of series/clist.toml
        ");
    }

    #[test]
    fn a_missing_file_is_refused() {
        insta::assert_snapshot!(faults(ONE, &[], &[]), @r"
        series/clist.toml:5: there is no file clist/tree/a.rs
          help: write the file, or remove the line
        ");
    }

    #[test]
    fn paths_that_leave_the_component_are_refused() {
        for (path, why) in [
            ("../a.rs", "leaves the component"),
            ("x/../../a.rs", "leaves the component"),
            ("/etc/passwd", "is absolute"),
            ("./a.rs", "not a plain relative path"),
            ("a//b.rs", "not a plain relative path"),
            (".git/config", "git's own folder"),
        ] {
            let text = faults(&ONE.replace("a.rs", path), &[], &[]);
            assert!(
                text.starts_with("series/clist.toml:5:") && text.contains(why),
                "{text}"
            );
        }
    }

    #[test]
    fn edits_outside_or_of_our_own_files_are_refused() {
        let manifest = format!("{ONE}edits = [\"1.diff\"]\n");
        let diff = |path: &str| format!("--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-x\n+y\n");
        let text = faults(&manifest, &[("a.rs", "x\n")], &[("1.diff", &diff("../up"))]);
        assert!(
            text.contains("clist/edits/1.diff:1: \"../up\" leaves"),
            "{text}"
        );
        insta::assert_snapshot!(
            faults(&manifest, &[("a.rs", "x\n")], &[("1.diff", &diff("a.rs"))]), @r"
        clist/edits/1.diff:1: edits a.rs, which is ours
          help: change clist/tree/a.rs instead
        ");
        let text = faults(&manifest, &[("a.rs", "x\n")], &[("1.diff", "no diff")]);
        assert!(text.contains("is not a diff"), "{text}");
    }

    #[test]
    fn two_components_cannot_have_the_same_file() {
        let one = component("one", ONE, &[("a.rs", "x\n")], &[]);
        let two = component("two", ONE, &[("a.rs", "x\n")], &[]);
        let text = plan(told_apart(vec![one, two])).unwrap_err().to_string();
        assert!(
            text.starts_with("two/tree/a.rs: one has this file as well"),
            "{text}"
        );
    }

    #[test]
    fn a_patch_that_changes_nothing_is_refused() {
        let text = faults("[[patch]]\nmessage = \"1.msg\"\n", &[], &[]);
        assert!(
            text.starts_with("series/clist.toml:3: this patch changes nothing"),
            "{text}"
        );
    }

    #[test]
    fn messages_have_to_exist_and_be_used_once() {
        let mut one = component("clist", ONE, &[("a.rs", "x\n")], &[]);
        one.messages.clear();
        one.messages.insert("9.msg".into(), MESSAGE.into());
        insta::assert_snapshot!(plan(vec![one]).unwrap_err(), @r#"
        series/clist.toml:4: the commit message "1.msg" is missing
          help: write series/clist/1.msg
        error: series/clist/9.msg: no patch uses this message
          help: name it in a [[patch]] of series/clist.toml
        "#);
        let twice = format!("{ONE}[[patch]]\nmessage = \"1.msg\"\nfiles = [\"b.rs\"]\n");
        let text = faults(&twice, &[("a.rs", ""), ("b.rs", "")], &[]);
        assert!(text.contains("used twice, first in line 4"), "{text}");
    }

    const HELD: &str = "[[patch]]
message = \"1.msg\"
files = [\"a.rs\"]
[[patch]]
message = \"2.msg\"
files = [\"a/b.rs\"]
[[patch.withhold]]
file = \"a.rs\"
text = '''
mod b;
'''
";

    #[test]
    fn withheld_lines_enter_with_their_patch() {
        let files = [
            ("a.rs", "use x;\n\nmod b;\nfn f() {}\n"),
            ("a/b.rs", "//\n"),
        ];
        let planned = plan(vec![component("clist", HELD, &files, &[])]).unwrap();
        let patches = &planned[0].patches;
        assert_eq!(patches[0].writes[0].content, b"use x;\n\nfn f() {}\n");
        let second: Vec<_> = patches[1]
            .writes
            .iter()
            .map(|w| (&*w.path, w.enters))
            .collect();
        assert_eq!(second, [("a/b.rs", true), ("a.rs", false)]);
        assert_eq!(patches[1].writes[1].content, files[0].1.as_bytes());
    }

    #[test]
    fn withheld_lines_stand_once_as_whole_lines() {
        for (text, times) in [("no\n", 0), ("pub mod b;\n", 0), ("mod b;\nmod b;\n", 2)] {
            let error = faults(HELD, &[("a.rs", text), ("a/b.rs", "")], &[]);
            assert!(
                error.contains(&format!("10: the withheld lines stand {times} times")),
                "{error}"
            );
        }
        let late = HELD.replace("files = [\"a.rs\"]\n", "files = [\"c.rs\"]\n");
        let error = faults(&late, &[("c.rs", ""), ("a/b.rs", "")], &[]);
        assert!(
            error.contains("a.rs does not enter in an earlier patch"),
            "{error}"
        );
    }
}

// SPDX-License-Identifier: GPL-2.0

//! From manifests and folders to patches: what each patch writes, checked before anything is made.
//!
//! Pure functions over [`Component`]s. A file of an overlay enters in exactly one patch of one series,
//! whole except for the parts that a later patch names in `withhold`, of this series or of a later
//! one. With all patches applied the tree holds the overlay byte for byte.

use std::{
    collections::{
        BTreeMap,
        BTreeSet, //
    },
    ops::Range,
    path::{
        Component as PathPart,
        Path,
        PathBuf, //
    },
};

use crate::{
    git::{
        Author,
        Mode, //
    },
    mail::diff,
    rust::items::{
        self,
        Item,
        Lack,
        Mark, //
    },
    source::{
        branch::Commit,
        component::Component,
        cover,
        manifest::{
            At,
            Parts,
            Patch,
            Series,
            Withhold,
            below,
            covers,
            in_order,
            unique_change_ids, //
        },
        message,
        relocation, //
    },
    sys::error::{
        Error,
        Result, //
    },
    versions::trailers::{
        Given,
        store, //
    }, //
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

/// Plans all series, in dependency order.
///
/// # Errors
///
/// Every fault of every manifest, at once.
#[cfg(test)]
pub fn plan(components: Vec<Component>) -> Result<Vec<PlannedSeries>> {
    plan_some(components, &|_| true)
}

/// Plans the wanted series, in dependency order. `components` are all of them, since the files of a
/// component are shared among its series.
///
/// # Errors
///
/// Every fault of the wanted series and of the components that they belong to, at once.
pub fn plan_some(
    components: Vec<Component>,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<PlannedSeries>> {
    let manifests: Vec<_> = components.iter().map(|c| c.series.clone()).collect();
    let ordered = in_order(&manifests)?;
    let mut errors = Vec::new();
    let asked: Vec<_> = manifests.iter().filter(|s| wanted(&s.name)).collect();
    errors.extend(unique_change_ids(&asked).err());
    asked
        .iter()
        .for_each(|s| on_local(s, &manifests, &mut errors));
    let groups = groups(&components, &ordered, wanted);
    let owners = owners(&groups, &mut errors);
    let mut planned = Vec::new();
    for members in &groups {
        let mut group = Group {
            members,
            ordered: &ordered,
            owners: &owners,
            cuts: BTreeMap::new(),
        };
        group.check(wanted, &mut errors);
        if errors.is_empty() {
            planned.extend(group.patches(wanted));
        }
    }
    if let Some(error) = Error::all(errors) {
        return Err(error);
    }
    let place = |name: &str| ordered.iter().position(|s| s.name == *name);
    let mut patches: BTreeMap<String, _> = planned.into_iter().collect();
    let mut planned: Vec<(Option<usize>, PlannedSeries)> = components
        .into_iter()
        .filter_map(|component| {
            let patches = patches.remove(component.name())?;
            Some((
                place(component.name()),
                PlannedSeries { component, patches },
            ))
        })
        .collect();
    planned.sort_by_key(|(place, _)| *place);
    Ok(planned.into_iter().map(|(_, p)| p).collect())
}

/// Refuses that a series which is posted builds on one that never is.
fn on_local(series: &Series, all: &[Series], errors: &mut Vec<Error>) {
    if series.local.is_some() {
        return;
    }
    for At { value, line } in &series.depends {
        let dep = all.iter().find(|s| s.name == *value);
        if let Some(why) = dep.and_then(|d| d.local.as_ref()) {
            errors.push(
                Error::new(format!("{value} is never posted: {}", why.value))
                    .at(series.file(), *line)
                    .help(format!(
                        "make {} local as well, or move what it needs into another series",
                        series.name
                    )),
            );
        }
    }
}

/// The components with a wanted series, each with all its series in dependency order.
fn groups<'a>(
    components: &'a [Component],
    ordered: &[&Series],
    wanted: &dyn Fn(&str) -> bool,
) -> Vec<Vec<&'a Component>> {
    let mut groups: Vec<Vec<&Component>> = Vec::new();
    for component in components {
        match groups
            .iter_mut()
            .find(|g| g[0].folder() == component.folder())
        {
            Some(group) => group.push(component),
            None => groups.push(vec![component]),
        }
    }
    groups.retain(|g| g.iter().any(|c| wanted(c.name())));
    for group in &mut groups {
        group.sort_by_key(|c| ordered.iter().position(|s| s.name == c.series.name));
    }
    groups
}

/// Whose overlay each path belongs to.
fn owners(groups: &[Vec<&Component>], errors: &mut Vec<Error>) -> BTreeMap<String, String> {
    let mut owners = BTreeMap::new();
    for group in groups {
        let component = group[0];
        let out = |path: &str| group.iter().any(|c| c.series.leaves_out(path));
        for path in component.overlay.keys().filter(|path| !out(path)) {
            let old = owners.insert(path.clone(), component.folder().to_owned());
            if let Some(other) = old {
                errors.push(
                    Error::new(format!("{other} has this file as well"))
                        .at(format!("{}/tree/{path}", component.folder()), None)
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

/// What is checked in one manifest.
struct Check<'a> {
    component: &'a Component,
    file: PathBuf,
}

impl<'a> Check<'a> {
    fn new(component: &'a Component) -> Self {
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

    fn err(&self, line: usize, what: impl Into<String>) -> Error {
        Error::new(what).at(&self.file, line)
    }

    /// Returns whether the base may leave a file unused. The default base uses all plain files.
    fn may_be_idle(&self, plain: &Path) -> bool {
        self.component.is_other_base && !self.component.variants.contains_key(plain)
    }

    fn content(&self, errors: &mut Vec<Error>) {
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
                        .help("give it files, edits or withheld lines, or remove it"),
                );
            }
        }
    }

    fn rest(&self, errors: &mut Vec<Error>) {
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
                    .help(format!("write series/{}/{value}", self.name())),
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

    /// A series with patches needs a recipient.
    fn recipients(&self, errors: &mut Vec<Error>) {
        let manifest = self.manifest();
        let is_posted = manifest.local.is_none();
        if is_posted && manifest.to.is_empty() && !manifest.patches.is_empty() {
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
            let plain = PathBuf::from(format!("series/{}/{name}", self.name()));
            let is_file = self.manifest().branch.is_none();
            if is_file && !seen.contains_key(name.as_str()) && !self.may_be_idle(&plain) {
                errors.push(
                    Error::new("no patch uses this message")
                        .at(self.component.place(plain), None)
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
}

/// A part of a file that enters later than the file.
struct Cut {
    /// The series, by its place among those of the component, and the patch in which it enters.
    enters: (usize, usize),
    /// Its lines.
    lines: Range<usize>,
    /// What becomes of them before.
    mark: Mark,
}

/// A component with all its series, in dependency order.
struct Group<'a> {
    members: &'a [&'a Component],
    /// All series.
    ordered: &'a [&'a Series],
    owners: &'a BTreeMap<String, String>,
    /// What enters later, by file.
    cuts: BTreeMap<String, Vec<Cut>>,
}

impl<'a> Group<'a> {
    /// Every series has the files of the component.
    fn files(&self) -> &'a Component {
        self.members[0]
    }

    fn folder(&self) -> &'a str {
        self.files().folder()
    }

    /// All patches, each with its place.
    fn all(&self) -> impl Iterator<Item = ((usize, usize), &'a Component, &'a Patch)> {
        let members = self.members;
        members.iter().enumerate().flat_map(|(member, component)| {
            let patches = component.series.patches.iter().enumerate();
            patches.map(move |(index, patch)| ((member, index), *component, patch))
        })
    }

    /// The manifests, to name a file in.
    fn manifests(&self) -> String {
        let files = self.members.iter().map(|c| c.series.file());
        let files: Vec<String> = files.map(|f| f.display().to_string()).collect();
        files.join(" or ")
    }

    /// Whether a series comes after another on every branch: it is the same, or builds on it.
    fn is_after(&self, member: usize, other: usize) -> bool {
        let (name, other) = (self.members[member].name(), self.members[other].name());
        name == other || below(self.ordered, name).iter().any(|s| s.name == *other)
    }

    fn check(&mut self, wanted: &dyn Fn(&str) -> bool, errors: &mut Vec<Error>) {
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

    /// Returns the files of the overlay in `left-out`.
    fn left_out<'b>(&self, overlay: &[&'b String], errors: &mut Vec<Error>) -> BTreeSet<&'b str> {
        let mut left_out = BTreeSet::new();
        for component in self.members {
            for (path, At { line, .. }) in &component.series.left_out {
                let before = left_out.len();
                let meant = overlay.iter().map(|f| f.as_str());
                left_out.extend(meant.filter(|file| covers(path, file)));
                if left_out.len() == before {
                    errors.push(
                        Check::new(component)
                            .err(
                                *line,
                                format!("[left-out]: there is no {path} to leave out"),
                            )
                            .help(format!("remove the line; {}/tree lacks it", self.folder())),
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
                    Check::new(component)
                        .err(*line, format!("{value} is in [left-out] as well"))
                        .help("remove one of the two lines"),
                );
            }
        }
        left_out
    }

    /// Checks that each file in `have` except those in `idle`, and no other file, is claimed once.
    fn claims(
        &self,
        folder: &str,
        of: impl Fn(&Patch) -> &Vec<At<String>>,
        have: &[&String],
        idle: &BTreeSet<&str>,
        errors: &mut Vec<Error>,
    ) {
        let mut claimed: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for ((member, _), component, patch) in self.all() {
            let check = Check::new(component);
            for At { value, line } in of(patch) {
                if let Err(what) = plain_path(value) {
                    errors.push(check.err(*line, what));
                } else if !have.contains(&value) {
                    errors.push(
                        check
                            .err(
                                *line,
                                format!("there is no file {}/{folder}/{value}", self.folder()),
                            )
                            .help("write the file, or remove the line"),
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
                            .help("a file enters in one patch, whole; remove one of the two lines"),
                    );
                }
            }
        }
        for name in have {
            if !claimed.contains_key(name.as_str()) && !idle.contains(name.as_str()) {
                let plain = format!("{}/{folder}/{name}", self.folder());
                errors.push(
                    Error::new("no patch claims this file")
                        .at(self.files().place(plain), None)
                        .help(format!("name it in a [[patch]] of {}", self.manifests())),
                );
            }
        }
    }

    /// Each step of the relocation has to be made by one patch, in their order.
    fn steps(&self, errors: &mut Vec<Error>) {
        let steps = &self.files().relocation;
        let mut next = 0;
        let mut last = None;
        for ((member, _), component, patch) in self.all() {
            let Some(At { value, line }) = &patch.relocate else {
                continue;
            };
            let check = Check::new(component);
            match steps.iter().position(|s| s.name == *value) {
                Some(at) if at == next => {
                    next += 1;
                    if let Some(before) = last.filter(|b| !self.is_after(member, *b)) {
                        let (name, before) = (component.name(), self.members[before].name());
                        errors.push(
                            check
                                .err(
                                    *line,
                                    format!("the step {value:?} comes after one of {before}"),
                                )
                                .help(format!("let {name} depend on {before}")),
                        );
                    }
                    last = Some(member);
                }
                Some(_) => errors.push(
                    check
                        .err(
                            *line,
                            format!("the step {value:?} is made twice or too early"),
                        )
                        .help("the patches make the steps one by one, in their order"),
                ),
                None => errors.push(
                    check
                        .err(*line, format!("there is no step {value:?}"))
                        .help(format!("write it in {}/relocation.toml", self.folder())),
                ),
            }
        }
        let file = format!("{}/relocation.toml", self.folder());
        if next == 0 && self.files().is_other_base {
            // This base already has the result of the relocation.
            return;
        }
        for step in &steps[next.min(steps.len())..] {
            errors.push(
                Error::new(format!("no patch makes the step {:?}", step.name))
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
                    Error::new(format!("moves or changes {path}, which is ours"))
                        .at(&file, step.line)
                        .help(format!("change {owner}/tree/{path} instead")),
                );
            }
        }
    }

    fn edit_paths(&self, errors: &mut Vec<Error>) {
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

    /// Looks up what enters later than its file, and where that may be.
    fn withheld(&mut self, errors: &mut Vec<Error>) {
        let mut entered: BTreeMap<&str, usize> = BTreeMap::new();
        let mut touched: BTreeMap<&str, usize> = BTreeMap::new();
        let mut items = BTreeMap::new();
        let mut cuts: BTreeMap<String, Vec<Cut>> = BTreeMap::new();
        for (enters, component, patch) in self.all() {
            let (member, _) = enters;
            for hold in &patch.withhold {
                let At { value, line } = &hold.file;
                let err = |what: String| Check::new(component).err(*line, what);
                let Some(first) = entered.get(value.as_str()) else {
                    errors.push(
                        err(format!("{value} does not enter in an earlier patch"))
                            .help("withhold parts of a file that is there already"),
                    );
                    continue;
                };
                let before = touched.get(value.as_str()).unwrap_or(first);
                if !self.is_after(member, *before) {
                    let (name, before) = (component.name(), self.members[*before].name());
                    errors.push(err(format!("{value} is written by {before} as well")).help(
                        format!("let {name} depend on {before}, or {before} on {name}"),
                    ));
                    continue;
                }
                touched.insert(value, member);
                match self.parts(component, hold, &mut items) {
                    Ok(found) => {
                        cuts.entry(value.clone())
                            .or_default()
                            .extend(found.into_iter().map(|(lines, mark)| Cut {
                                enters,
                                lines,
                                mark,
                            }))
                    }
                    Err(faults) => errors.extend(faults),
                }
            }
            for file in &patch.files {
                entered.insert(&file.value, member);
            }
        }
        self.cuts = cuts;
    }

    /// The lines that a patch withholds. `items` are those of the files read so far.
    fn parts<'b>(
        &self,
        component: &Component,
        hold: &'b Withhold,
        items: &mut BTreeMap<&'b str, std::result::Result<Vec<Item>, (usize, String)>>,
    ) -> std::result::Result<Vec<(Range<usize>, Mark)>, Vec<Error>> {
        let At { value, line } = &hold.file;
        let check = Check::new(component);
        let file = component.place(format!("{}/tree/{value}", self.folder()));
        let file = file.display().to_string();
        let content = component.overlay.get(value);
        let text = content
            .and_then(|f| std::str::from_utf8(&f.content).ok())
            .unwrap_or("");
        let names = match &hold.parts {
            Parts::Text(lines) => {
                let found = places(text, lines);
                let [at] = found[..] else {
                    let times = found.len();
                    let what = format!("the withheld lines stand {times} times in {file}");
                    let help = "they have to be whole lines that stand there once, to the letter";
                    return Err(vec![check.err(*line, what).help(help)]);
                };
                let first = text[..at].matches('\n').count();
                let count = lines.matches('\n').count();
                return Ok(vec![(first..first + count, Mark::Line)]);
            }
            Parts::Items(names) => names,
        };
        let read = items.entry(value).or_insert_with(|| items::read(text));
        let items = read.as_ref().map_err(|(at, what)| {
            vec![
                Error::new(format!("is not Rust: {what}"))
                    .at(&file, *at)
                    .help("`items` names items of Rust files; withhold lines with `text`"),
            ]
        })?;
        let mut found = Vec::new();
        let mut errors = Vec::new();
        for At { value: name, line } in names {
            match items::find(items, name) {
                Ok(all) => found.extend(all.into_iter().map(|lines| (lines, Mark::Item))),
                Err(lack) => {
                    let (what, help) = said(name, &file, &lack);
                    errors.push(check.err(*line, what).help(help));
                }
            }
        }
        match errors.is_empty() {
            true => Ok(found),
            false => Err(errors),
        }
    }

    /// The patches of the wanted series, with their names.
    fn patches(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<(String, Vec<PlannedPatch>)> {
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

/// What is wrong with the name of an item, and what to do.
fn said(name: &str, file: &str, lack: &Lack) -> (String, String) {
    match lack {
        Lack::Unknown(similar) => (
            format!("there is no item `{name}` in {file}"),
            match similar.is_empty() {
                true => {
                    "name it as it is declared there, without `pub`: \"fn new\", \"impl Foo\", \
                         \"impl Foo::fn new\""
                        .to_owned()
                }
                false => format!("similar ones are: `{}`", similar.join("`, `")),
            },
        ),
        Lack::Several(lines) => {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            (
                format!(
                    "the item `{name}` stands {} times in {file}: in lines {}",
                    lines.len(),
                    lines.join(", ")
                ),
                "write more of it, as \"impl From<u32> for Foo\", or withhold lines with `text`"
                    .to_owned(),
            )
        }
        Lack::Shared(line) => (
            format!("the item `{name}` shares its lines with other code in {file}:{line}"),
            "give it lines of its own".to_owned(),
        ),
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::source::{
        component::OverlayFile,
        words::{
            ChangeId,
            Recipient, //
        }, //
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
            cover_file: PathBuf::from(format!("cover-letters/{name}.md")),
            is_posted_here: true,
            is_other_base: false,
            variants: BTreeMap::new(),
            siblings: vec![series.name.clone()],
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
            commits: Vec::new(),
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
        assert_eq!(patch.writes()[0].content, b"x\n");
        assert!(patch.writes()[0].enters);
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
        assert_eq!(patches[0].writes()[0].content, b"use x;\n\nfn f() {}\n");
        let second: Vec<_> = patches[1]
            .writes()
            .iter()
            .map(|w| (&*w.path, w.enters))
            .collect();
        assert_eq!(second, [("a/b.rs", true), ("a.rs", false)]);
        assert_eq!(patches[1].writes()[1].content, files[0].1.as_bytes());
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

    const PARTS: &str = "[[patch]]
message = \"1.msg\"
files = [\"a.rs\"]
[[patch]]
message = \"2.msg\"
files = [\"a/b.rs\"]
[[patch.withhold]]
file = \"a.rs\"
items = [
  \"mod b\",
  \"impl A::fn f\",
]
";

    const ITEMS: &str = "mod b;\nmod c;\n\nimpl A {\n    fn f() {}\n\n    fn g() {}\n}\n";

    #[test]
    fn withheld_items_enter_with_their_patch() {
        let files = [("a.rs", ITEMS), ("a/b.rs", "//\n")];
        let planned = plan(vec![component("clist", PARTS, &files, &[])]).unwrap();
        let patches = &planned[0].patches;
        let first = b"mod c;\n\nimpl A {\n    fn g() {}\n}\n";
        assert_eq!(patches[0].writes()[0].content, first);
        assert_eq!(patches[1].writes()[1].content, ITEMS.as_bytes());
    }

    #[test]
    fn unknown_and_ambiguous_items_are_named_with_their_line() {
        let files = [
            (
                "a.rs",
                "mod bb;\n\nimpl A {\n    #[cfg(a)]\n    fn f() {}\n\n    #[cfg(b)]\n    fn f() {}\n}\n",
            ),
            ("a/b.rs", ""),
        ];
        insta::assert_snapshot!(faults(PARTS, &files, &[]), @r#"
        series/clist.toml:12: there is no item `mod b` in clist/tree/a.rs
          help: similar ones are: `mod bb`
        error: series/clist.toml:13: the item `impl A::fn f` stands 2 times in clist/tree/a.rs: in lines 4, 7
          help: write more of it, as "impl From<u32> for Foo", or withhold lines with `text`
        "#);
        let files = [("a.rs", "mod ;\n"), ("a/b.rs", "")];
        insta::assert_snapshot!(faults(PARTS, &files, &[]), @r"
        clist/tree/a.rs:1: is not Rust: expected identifier
          help: `items` names items of Rust files; withhold lines with `text`
        ");
    }

    /// Two series of the component `c`, the second with `depends`; both have `files` and `edits`.
    fn two(first: &str, second: &str, depends: &str, files: &[(&str, &str)]) -> Vec<Component> {
        let one = component("one", &format!("component = \"c\"\n{first}"), files, &[]);
        let second = format!("component = \"c\"\ndepends = [{depends}]\n{second}");
        let two = component("two", &second, files, &[]);
        let mut both = told_apart(vec![one, two]);
        let names: Vec<_> = both.iter().map(|c| c.series.name.clone()).collect();
        for one in &mut both {
            one.siblings.clone_from(&names);
        }
        both
    }

    const LATER: &str = "[[patch]]
message = \"1.msg\"
files = [\"a/b.rs\"]
[[patch.withhold]]
file = \"a.rs\"
items = [\"mod b\"]
[[patch]]
message = \"2.msg\"
[[patch.withhold]]
file = \"a.rs\"
text = \"\"\"
fn g() {}
\"\"\"
";

    #[test]
    fn two_series_of_a_component_share_its_files() {
        let files = [
            ("a.rs", "mod b;\n\nfn f() {}\nfn g() {}\n"),
            ("a/b.rs", "//\n"),
        ];
        let planned = plan(two(ONE, LATER, "\"one\"", &files)).unwrap();
        let contents: Vec<_> = planned
            .iter()
            .flat_map(|p| &p.patches)
            .flat_map(|p| p.writes())
            .filter(|w| w.path == "a.rs")
            .map(|w| String::from_utf8_lossy(&w.content))
            .collect();
        assert_eq!(
            contents,
            ["fn f() {}\n", "mod b;\n\nfn f() {}\n", files[0].1]
        );
        // The first alone is the same, and the second needs it.
        let first = plan_some(two(ONE, LATER, "\"one\"", &files), &|n| n == "one").unwrap();
        assert_eq!((first.len(), &first[0].patches), (1, &planned[0].patches));
    }

    #[test]
    fn series_that_share_a_file_build_on_each_other() {
        let files = [("a.rs", "mod b;\nfn g() {}\n"), ("a/b.rs", "//\n")];
        insta::assert_snapshot!(plan(two(ONE, LATER, "", &files)).unwrap_err(), @r"
        series/two.toml:9: a.rs is written by one as well
          help: let two depend on one, or one on two
        error: series/two.toml:14: a.rs is written by one as well
          help: let two depend on one, or one on two
        ");
        // The file enters in the later series.
        insta::assert_snapshot!(plan(two(LATER, ONE, "\"one\"", &files)).unwrap_err(), @r"
        series/one.toml:8: a.rs does not enter in an earlier patch
          help: withhold parts of a file that is there already
        error: series/one.toml:13: a.rs does not enter in an earlier patch
          help: withhold parts of a file that is there already
        ");
    }

    #[test]
    fn file_of_a_component_enters_in_one_series() {
        let files = [("a.rs", ""), ("b.rs", "")];
        insta::assert_snapshot!(plan(two(ONE, ONE, "", &files)).unwrap_err(), @r"
        series/two.toml:7: a.rs is claimed twice, first in series/one.toml:6
          help: a file enters in one patch, whole; remove one of the two lines
        error: c/tree/b.rs: no patch claims this file
          help: name it in a [[patch]] of series/one.toml or series/two.toml
        ");
    }
}

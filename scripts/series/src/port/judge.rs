// SPDX-License-Identifier: GPL-2.0

//! The verdict over a series: what becomes of each part of each patch on another base.
//!
//! Three trees go along. `ours` is what the series makes of its own base; it tells what a patch was
//! meant for. `plain` is the other base with the patches that apply. `forced` is the same with the
//! others as well, settled in favour of the series: what fits there, but not in `plain`, fails only
//! because of earlier patches.

use std::{
    cell::RefCell,
    collections::{
        BTreeMap,
        BTreeSet,
        HashMap, //
    },
    rc::Rc,
};

use super::{
    hunk::{
        self,
        Done,
        FileDiff,
        Hunk,
        Kind,
        Lines, //
    },
    names::{
        self,
        Has,
        Names,
        Reader, //
    },
    report::{
        Cause,
        Excerpt,
        Finding,
        How,
        Name,
        NamesReport,
        Part,
        PatchIs,
        PatchReport,
        SeriesReport,
        Verdict, //
    },
    tree::{
        Bytes,
        Files,
        State, //
    },
};
use crate::{
    error::{
        Error,
        Result, //
    },
    plan::{
        Edit,
        PlannedPatch,
        PlannedSeries,
        Write, //
    },
    relocation::{
        Step,
        words::{
            self,
            Count, //
        },
    },
};

/// Merges files.
pub trait Merge {
    /// What becomes of `theirs`, a version of `base`, with the changes from `base` to `ours`;
    /// `None` if they contradict each other and neither side is `favoured`.
    ///
    /// # Errors
    ///
    /// The merge cannot be tried.
    fn merge(
        &self,
        theirs: &Bytes,
        base: &Bytes,
        ours: &Bytes,
        favoured: bool,
    ) -> Result<Option<Bytes>>;
}

/// The three trees at one point.
#[derive(Clone)]
pub struct Chain<'a> {
    ours: State<'a>,
    plain: State<'a>,
    forced: State<'a>,
    /// The patches that did not go in as they are, by the paths that they are about, each with the
    /// lines that it would have brought.
    unapplied: BTreeMap<String, BTreeMap<Cause, BTreeSet<Vec<u8>>>>,
}

impl<'a> Chain<'a> {
    /// The start: the base of the series, and the other one.
    pub fn new(ours: &'a dyn Files, other: &'a dyn Files) -> Self {
        Self {
            ours: State::of(ours),
            plain: State::of(other),
            forced: State::of(other),
            unapplied: BTreeMap::new(),
        }
    }

    /// The same point of the series, on the other base as it is.
    pub fn alone(&self, other: &'a dyn Files) -> Self {
        Self {
            ours: self.ours.clone(),
            ..Self::new(other, other)
        }
    }

    fn unapplied(&mut self, path: &str, cause: &Cause, lines: BTreeSet<Vec<u8>>) {
        let causes = self.unapplied.entry(path.to_owned()).or_default();
        causes.entry(cause.clone()).or_default().extend(lines);
    }

    /// The patches without which a hunk may fail: those that would have brought lines that it
    /// builds on, else all that are about the file.
    fn causes(&self, path: &str, hunk: Option<&Hunk>) -> Vec<Cause> {
        let Some(known) = self.unapplied.get(path) else {
            return Vec::new();
        };
        let before = hunk.map(Hunk::before).unwrap_or_default();
        let brings = |lines: &BTreeSet<Vec<u8>>| before.iter().any(|l| lines.contains(*l));
        let direct: Vec<Cause> = known
            .iter()
            .filter(|(_, lines)| brings(lines))
            .map(|(cause, _)| cause.clone())
            .collect();
        match direct.is_empty() {
            true => known.keys().cloned().collect(),
            false => direct,
        }
    }
}

/// What is found on one tree, and what the file is afterwards if it changes.
struct Outcome {
    finding: Finding,
    content: Option<Option<Bytes>>,
}

impl Outcome {
    fn stays(finding: Finding) -> Self {
        Self {
            finding,
            content: None,
        }
    }

    fn becomes(finding: Finding, content: Option<Bytes>) -> Self {
        Self {
            finding,
            content: Some(content),
        }
    }

    fn there(how: How) -> Self {
        Self::stays(Finding::There { how })
    }
}

fn conflict(why: impl Into<String>) -> Finding {
    Finding::Conflicts {
        why: why.into(),
        near: None,
        after: Vec::new(),
    }
}

/// Judges series.
pub struct Judge<'a> {
    reader: Reader,
    merge: &'a dyn Merge,
    /// Files under their new names, by series and step: most are met again.
    renamed: RefCell<HashMap<(String, String, Bytes), Bytes>>,
}

impl<'a> Judge<'a> {
    /// With this way to merge.
    pub fn new(merge: &'a dyn Merge) -> Self {
        Self {
            reader: Reader::default(),
            merge,
            renamed: RefCell::new(HashMap::new()),
        }
    }

    /// A file as a step would leave it.
    fn rename(&self, series: &str, step: &Step, content: &Bytes) -> Bytes {
        let key = (series.to_owned(), step.name.clone(), content.clone());
        if let Some(known) = self.renamed.borrow().get(&key) {
            return known.clone();
        }
        let new: Bytes = Rc::from(step.rename(&text(content)).into_bytes());
        self.renamed.borrow_mut().insert(key, new.clone());
        new
    }

    /// Judges a series, and takes the trees past it.
    ///
    /// # Errors
    ///
    /// The series does not fit on its own base, or a merge could not be tried.
    pub fn series(
        &self,
        planned: &PlannedSeries,
        depends: &[String],
        other: &dyn Files,
        chain: &mut Chain<'_>,
    ) -> Result<SeriesReport> {
        let start = chain.ours.clone();
        let patches = self.patches(planned, other, chain)?;
        Ok(SeriesReport {
            name: planned.name().to_owned(),
            depends: depends.to_vec(),
            verdict: Verdict::of(&patches),
            alone: None,
            needs: Vec::new(),
            names: self.series_names(planned, &start, &chain.ours, other),
            patches,
        })
    }

    /// Judges the patches of a series only.
    ///
    /// # Errors
    ///
    /// As [`Self::series`].
    pub fn patches(
        &self,
        planned: &PlannedSeries,
        other: &dyn Files,
        chain: &mut Chain<'_>,
    ) -> Result<Vec<PatchReport>> {
        let overlay = &planned.component.overlay;
        // What the series itself leaves at a path that it moves away from.
        let mut end = chain.ours.clone();
        for patch in &planned.patches {
            self.on_our_base(planned, patch, &mut end)?;
        }
        let start = chain.ours.clone();
        let on = Series {
            planned,
            start: &start,
            end: &end,
            ours: &|path| overlay.contains_key(path),
            made: planned
                .patches
                .iter()
                .map(|p| p.relocate.as_ref().is_some_and(|s| is_made(s, other, &end)))
                .collect(),
        };
        let mut reports = Vec::new();
        for index in 0..planned.patches.len() {
            reports.push(self.patch(&on, index, chain)?);
        }
        Ok(reports)
    }

    /// Makes a patch where it belongs.
    fn on_our_base(
        &self,
        planned: &PlannedSeries,
        patch: &PlannedPatch,
        ours: &mut State<'_>,
    ) -> Result<Vec<Pair>> {
        for write in &patch.writes {
            ours.set(&write.path, Some(Rc::from(&write.content[..])));
        }
        if let Some(step) = &patch.relocate {
            let out = apply_step(step, ours).map_err(|(what, line)| {
                unfit(Error::new(what).at(
                    format!("{}/relocation.toml", planned.component.folder()),
                    line,
                ))
            })?;
            for (path, content) in out {
                ours.set(&path, content);
            }
        }
        let mut pairs = Vec::new();
        for edit in &patch.edits {
            for diff in hunk::parse(&edit.diff) {
                let before = diff.old.as_ref().and_then(|p| ours.read(p));
                let old = before.as_deref().unwrap_or(b"");
                let (after, offsets) = plainly(old, &diff).ok_or_else(|| {
                    unfit(Error::new("does not apply").at(&edit.source, diff.line))
                })?;
                let after = diff.new.is_some().then_some(after);
                if let Some(old) = &diff.old {
                    ours.set(old, None);
                }
                if let Some(new) = &diff.new {
                    ours.set(new, after.clone());
                }
                pairs.push(Pair {
                    before,
                    after,
                    offsets,
                });
            }
        }
        Ok(pairs)
    }

    fn patch(&self, on: &Series<'_>, index: usize, chain: &mut Chain<'_>) -> Result<PatchReport> {
        let patch = &on.planned.patches[index];
        let before = chain.ours.clone();
        let mut ours = before.clone();
        let pairs = self.on_our_base(on.planned, patch, &mut ours)?;
        let mut work = Work {
            judge: self,
            on,
            index,
            entering: self.entering(on, patch, &before, &ours),
            before: &before,
            chain,
            plain: chain.plain.clone(),
            forced: chain.forced.clone(),
            parts: Vec::new(),
            brings: BTreeMap::new(),
        };
        for write in &patch.writes {
            work.write(write)?;
        }
        if let Some(step) = &patch.relocate {
            work.relocate(step, &ours);
        }
        let mut pairs = pairs.into_iter();
        for edit in &patch.edits {
            for (diff, pair) in hunk::parse(&edit.diff).iter().zip(&mut pairs) {
                work.edit(edit, diff, &pair)?;
            }
        }
        let Work {
            plain,
            forced,
            parts,
            mut brings,
            ..
        } = work;
        let failed = parts.iter().any(|p| p.finding.is_conflict());
        let cause = Cause {
            series: on.planned.name().to_owned(),
            patch: index + 1,
        };
        for part in parts.iter().filter(|p| failed || !p.finding.is_exact()) {
            let lines = brings.remove(&part.path).unwrap_or_default();
            chain.unapplied(&part.path, &cause, lines);
        }
        if let Some(step) = patch.relocate.as_ref().filter(|_| failed) {
            for path in step.paths() {
                chain.unapplied(path, &cause, BTreeSet::new());
            }
        }
        if !failed {
            chain.plain = plain;
        }
        chain.forced = forced;
        chain.ours = ours;
        Ok(PatchReport {
            number: index + 1,
            subject: patch.subject.clone(),
            is: PatchIs::of(&parts),
            parts,
        })
    }

    /// The names that a patch brings, by the unit that they belong to.
    fn entering(
        &self,
        on: &Series<'_>,
        patch: &PlannedPatch,
        before: &State<'_>,
        after: &State<'_>,
    ) -> BTreeMap<String, Names> {
        let units: BTreeSet<&str> = patch
            .writes
            .iter()
            .map(|w| names::unit_of(&w.path, on.ours))
            .collect();
        units
            .into_iter()
            .map(|unit| {
                let old = self.reader.names(before, unit);
                let mut new = self.reader.names(after, unit);
                new.retain(|name, _| !old.contains_key(name));
                (unit.to_owned(), new)
            })
            .collect()
    }

    /// The names that a series brings, against those of the other base.
    fn series_names(
        &self,
        planned: &PlannedSeries,
        start: &State<'_>,
        end: &State<'_>,
        other: &dyn Files,
    ) -> NamesReport {
        let overlay = &planned.component.overlay;
        let ours = |path: &str| overlay.contains_key(path);
        let steps = planned.patches.iter().flat_map(|p| &p.relocate);
        let moved = steps.flat_map(|s| s.moves.values());
        let units: BTreeSet<&str> = written(planned)
            .map(|path| names::unit_of(path, &ours))
            .chain(moved.map(String::as_str))
            .collect();
        let mut report = NamesReport::default();
        for unit in units {
            let old = self.reader.names(start, unit);
            let new = self.reader.names(end, unit);
            let theirs = self.reader.names(other, unit);
            let own = new.iter().filter(|(name, _)| !old.contains_key(*name));
            for (name, file) in own {
                match names::has(&theirs, name) {
                    Has::Yes(at) => report.there.push(named(at, name)),
                    Has::Maybe(at) => report.unsure.push(named(at, name)),
                    Has::No => report.missing.push(named(&file.file, name)),
                }
            }
            let more = theirs.iter().filter(|(name, _)| !new.contains_key(*name));
            report
                .only_there
                .extend(more.map(|(name, def)| named(&def.file, name)));
        }
        report
    }
}

/// The files of the component that a series writes.
fn written(planned: &PlannedSeries) -> impl Iterator<Item = &str> {
    let writes = planned.patches.iter().flat_map(|p| &p.writes);
    writes.map(|w| w.path.as_str())
}

/// Which names that are missing a series uses, as far as words tell: they count in files that speak
/// of the module they are from.
pub fn needs(planned: &PlannedSeries, below: &NamesReport) -> Vec<Name> {
    let overlay = &planned.component.overlay;
    let own: BTreeSet<&str> = written(planned).collect();
    let texts: Vec<BTreeSet<&[u8]>> = own
        .into_iter()
        .filter(|path| names::module_of(path).is_some())
        .filter_map(|path| overlay.get(path))
        .map(|file| words::words(&file.content).map(|(_, word)| word).collect())
        .collect();
    // `buddy::GpuBuddy::reserve` is in `buddy`, of which a file speaks that names one of its types.
    let plain = |name: &Name| name.name.trim_end_matches('!').to_owned();
    let is_type = |word: &&str| word.starts_with(|c: char| c.is_uppercase());
    let module = |name: &str| {
        let mut parts: Vec<&str> = name.split("::").collect();
        parts.pop();
        let modules = parts.into_iter().take_while(|p| !is_type(p));
        modules.collect::<Vec<_>>().join("::")
    };
    let mut types: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in below.there.iter().chain(&below.missing).map(plain) {
        let own = name.split("::").find(is_type).map(str::to_owned);
        types.entry(module(&name)).or_default().extend(own);
    }
    let used = |name: &&Name| {
        let name = plain(name);
        let word = name.rsplit("::").next().unwrap_or(&name);
        let types = types.get(&module(&name));
        let mut texts = texts.iter().filter(|t| t.contains(word.as_bytes()));
        texts.any(|text| {
            let mut types = types.into_iter().flatten();
            types.any(|t| text.contains(t.as_bytes()))
        })
    };
    let rust = below
        .missing
        .iter()
        .filter(|n| names::module_of(&n.file).is_some());
    rust.filter(used).cloned().collect()
}

fn named(file: &str, name: &str) -> Name {
    Name {
        file: file.to_owned(),
        name: name.to_owned(),
    }
}

fn unfit(error: Error) -> Error {
    error.help("the series has to fit on its own base first: cargo series assemble")
}

/// A file before and after an edit, where it belongs.
struct Pair {
    before: Option<Bytes>,
    after: Option<Bytes>,
    /// By how many lines its hunks are off there.
    offsets: Vec<i64>,
}

/// A series under way.
struct Series<'a> {
    planned: &'a PlannedSeries,
    /// Its own base before it, and with all of its patches.
    start: &'a State<'a>,
    end: &'a State<'a>,
    /// Whether a path is one of its overlay.
    ours: &'a dyn Fn(&str) -> bool,
    /// Whether the other base has made the step of each patch, if it makes one.
    made: Vec<bool>,
}

impl Series<'_> {
    /// The steps behind a patch that the other base has made already.
    fn ahead(&self, index: usize) -> impl Iterator<Item = &Step> {
        let patches = self.planned.patches.iter().zip(&self.made).skip(index);
        patches
            .filter(|(_, made)| **made)
            .filter_map(|(p, _)| p.relocate.as_ref())
    }

    /// What is at a path before the series, under the names that the other base has; `None` if
    /// there is nothing, or if a step that the other base has not made changes it.
    fn before(&self, path: &str, judge: &Judge<'_>) -> Option<Bytes> {
        let patches = self.planned.patches.iter().zip(&self.made);
        let steps: Vec<(&Step, bool)> = patches
            .filter_map(|(p, made)| Some((p.relocate.as_ref()?, *made)))
            .collect();
        let mut old = path;
        for (step, made) in steps.iter().rev() {
            let from = step.moves.iter().find(|(_, to)| *to == old);
            if !made && (from.is_some() || step.paths().contains(old)) {
                return None;
            }
            old = from.map_or(old, |(from, _)| from);
        }
        let mut content = self.start.read(old)?;
        for (step, _) in steps.iter().filter(|(s, _)| s.paths().contains(path)) {
            content = judge.rename(self.planned.name(), step, &content);
        }
        Some(content)
    }
}

/// A file with the hunks of a diff, if all of them fit, and by how many lines each is off.
fn plainly(before: &[u8], diff: &FileDiff) -> Option<(Bytes, Vec<i64>)> {
    let mut lines = Lines::of(before);
    let offsets: Option<Vec<i64>> = diff.hunks.iter().map(|hunk| lines.apply(hunk)).collect();
    Some((lines.content(), offsets?))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Paths and their new content, as a step makes them.
type Changes = Vec<(String, Option<Bytes>)>;

fn apply_step(step: &Step, files: &dyn Files) -> std::result::Result<Changes, (String, usize)> {
    let paths = step.paths().into_iter();
    let before = paths
        .filter_map(|path| Some((path.to_owned(), files.read(path)?.to_vec())))
        .collect();
    let out = step.apply(&before)?;
    let removed = out.removed.into_iter().map(|path| (path, None));
    let written = out.written.into_iter();
    let written = written.map(|(path, w)| (path, Some(Rc::from(w.content))));
    Ok(removed.chain(written).collect())
}

/// Whether a tree looks as if the step had been made: what moves is at its new place and not at its
/// old one, unless the series puts something there again; and without a move, new names stand where
/// old ones were.
fn is_made(step: &Step, tree: &dyn Files, end: &dyn Files) -> bool {
    let has = |path: &String| tree.read(path).is_some();
    if !step.moves.is_empty() {
        let gone = |path: &String| !has(path) || end.read(path).is_some();
        return step.moves.values().all(has) && step.moves.keys().all(gone);
    }
    let contents: Vec<(&str, String)> = step
        .files
        .iter()
        .filter_map(|f| Some((f.value.as_str(), text(&tree.read(&f.value)?))))
        .collect();
    let renamed = |news: &BTreeMap<String, String>, content: &str| {
        news.values().any(|new| content.contains(new.as_str()))
    };
    let left = left_in(step, tree, end);
    let done = contents.iter().filter(|(path, content)| {
        let new = renamed(&step.rules.parts, content) || renamed(&step.rules.words, content);
        new && !left.contains_key(*path)
    });
    done.count() > left.len()
}

/// The files in which a step still finds something to change, each with what that is. What is there
/// in the end of the series as well is no such thing.
fn left_in(step: &Step, tree: &dyn Files, end: &dyn Files) -> BTreeMap<String, String> {
    let mut left = BTreeMap::new();
    let read = |files: &dyn Files, path: &str| files.read(path).map(|c| text(&c));
    for rule in &step.texts {
        // What only adds lines may have been done elsewhere in the file.
        if rule.new.contains(&rule.old) {
            continue;
        }
        for path in &rule.files {
            let holds =
                |files: &dyn Files| read(files, path).is_some_and(|c| c.contains(&rule.old));
            if holds(tree) && !holds(end) {
                let shown = rule.old.trim().lines().next().unwrap_or("").to_owned();
                left.entry(path.clone()).or_insert(shown);
            }
        }
    }
    for file in &step.files {
        let path = &file.value;
        let words = |files: &dyn Files| {
            let mut count = Count::default();
            if let Some(content) = read(files, path) {
                step.rules.apply(path, &content, &mut count);
            }
            count.renamed
        };
        let ours = words(end);
        let words = words(tree).into_keys().filter(|w| !ours.contains_key(w));
        let words: Vec<String> = words.collect();
        if !words.is_empty() {
            left.insert(path.clone(), words.join(" "));
        }
    }
    left
}

/// Where a part of a patch is.
struct Spot {
    source: String,
    path: String,
    hunk: Option<String>,
}

/// A patch under way.
struct Work<'w, 'a> {
    judge: &'w Judge<'w>,
    on: &'w Series<'w>,
    index: usize,
    /// The names that the patch brings, by their unit.
    entering: BTreeMap<String, Names>,
    /// Our tree before the patch.
    before: &'w State<'a>,
    chain: &'w Chain<'a>,
    plain: State<'a>,
    forced: State<'a>,
    parts: Vec<Part>,
    /// The lines that the patch brings, by path.
    brings: BTreeMap<String, BTreeSet<Vec<u8>>>,
}

impl Work<'_, '_> {
    /// Notes a part. Its conflict is none of its own if it fits on the tree with all patches.
    fn part(&mut self, spot: Spot, plain: Finding, forced: &Finding, causes: Vec<Cause>) {
        let finding = match plain {
            Finding::Conflicts { why, near, .. } if !forced.is_conflict() => Finding::Conflicts {
                why,
                near,
                after: causes,
            },
            finding => finding,
        };
        self.parts.push(Part {
            source: spot.source,
            path: spot.path,
            hunk: spot.hunk,
            finding,
        });
    }

    /// Notes lines that the patch brings, but for those that could be anybody's.
    fn bring(&mut self, path: &str, lines: impl Iterator<Item = Vec<u8>>) {
        let telling = lines.filter(|l| hunk::is_telling(l));
        let known = self.brings.entry(path.to_owned()).or_default();
        known.extend(telling);
    }

    fn write(&mut self, write: &Write) -> Result<()> {
        let source = self.source_of(write);
        let path = &write.path;
        let plain = self.write_on(&self.plain, write)?;
        let forced = self.write_on(&self.forced, write)?;
        if let Some(content) = &plain.content {
            self.plain.set(path, content.clone());
        }
        let old = self.before.read(path).unwrap_or_else(|| Rc::from(&b""[..]));
        let known: BTreeSet<&[u8]> = old.split_inclusive(|b| *b == b'\n').collect();
        let lines = write.content.split_inclusive(|b| *b == b'\n');
        let new = lines.filter(|l| !known.contains(*l));
        self.bring(path, new.map(<[u8]>::to_vec));
        let hunk = match &plain.finding {
            Finding::Conflicts { .. } | Finding::Applies { .. } if !write.enters => {
                hunk::between(&old, &write.content, 0)
            }
            _ => None,
        };
        let spot = Spot {
            source,
            path: path.clone(),
            hunk: hunk.as_ref().map(|h| h.header.clone()),
        };
        let causes = self.chain.causes(path, hunk.as_ref());
        self.part(spot, plain.finding, &forced.finding, causes);
        // Our own file, in place of what the base has of it.
        if let Some(form) = names::other_form(path).filter(|f| self.forced.read(f).is_some()) {
            self.forced.set(&form, None);
        }
        self.forced.set(path, Some(Rc::from(&write.content[..])));
        Ok(())
    }

    /// Where a file, or lines of it that enter later, are written down.
    fn source_of(&self, write: &Write) -> String {
        let series = self.on.planned.series();
        let holds = &series.patches[self.index].withhold;
        match holds.iter().find(|h| h.file.value == write.path) {
            Some(hold) if !write.enters => {
                format!("{}:{}", series.file().display(), hold.file.line)
            }
            _ => format!("{}/tree/{}", series.component, write.path),
        }
    }

    fn write_on(&self, tree: &State<'_>, write: &Write) -> Result<Outcome> {
        match write.enters {
            true => Ok(self.enter(tree, write)),
            false => self.grow(tree, write),
        }
    }

    /// The names of this file that the patch brings, and those of the tree.
    fn names_of<'n>(&'n self, tree: &State<'_>, write: &Write) -> (BTreeSet<&'n str>, Names) {
        let unit = names::unit_of(&write.path, self.on.ours);
        let own = self.entering.get(unit).into_iter().flatten();
        let own = own.filter(|(_, def)| def.file == write.path);
        let own = own.map(|(name, _)| name.as_str()).collect();
        (own, self.judge.reader.names(tree, unit))
    }

    /// A file of ours that is new.
    fn enter(&self, tree: &State<'_>, write: &Write) -> Outcome {
        let path = &write.path;
        let there = tree.read(path);
        if there.as_deref() == Some(&write.content[..]) {
            return Outcome::there(How::Same);
        }
        if there.is_some() && there == self.on.end.read(path) {
            return Outcome::there(How::End);
        }
        let form = names::other_form(path).filter(|form| tree.read(form).is_some());
        let (own, theirs) = self.names_of(tree, write);
        let (have, missing): (Vec<&str>, Vec<&str>) = own
            .iter()
            .partition(|name| names::has(&theirs, name) != Has::No);
        if there.is_none() && form.is_none() && have.is_empty() {
            let content = Some(Rc::from(&write.content[..]));
            return Outcome::becomes(Finding::Enters, content);
        }
        let at = match (&there, form) {
            (Some(_), _) => path.clone(),
            (None, Some(form)) => form,
            (None, None) => {
                most_common(
                    have.iter()
                        .filter_map(|name| match names::has(&theirs, name) {
                            Has::Yes(at) | Has::Maybe(at) => Some(at),
                            Has::No => None,
                        }),
                )
            }
        };
        let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect();
        match (have.is_empty(), missing.is_empty()) {
            (true, true) => Outcome::there(How::Path(at)),
            (false, true) => Outcome::there(How::Names(at)),
            (_, false) => Outcome::stays(Finding::InPart {
                at,
                there: owned(have),
                missing: owned(missing),
            }),
        }
    }

    /// Lines of a file of ours that enter later than the file.
    fn grow(&self, tree: &State<'_>, write: &Write) -> Result<Outcome> {
        let path = &write.path;
        let new: Bytes = Rc::from(&write.content[..]);
        let old = self.before.read(path).unwrap_or_else(|| Rc::from(&b""[..]));
        let Some(there) = tree.read(path) else {
            return Ok(Outcome::stays(conflict(format!("there is no file {path}"))));
        };
        if there == old {
            return Ok(Outcome::becomes(Finding::applies(), Some(new)));
        }
        let (own, theirs) = self.names_of(tree, write);
        let unit = names::unit_of(path, self.on.ours);
        let all = self.entering.get(unit);
        let known = |own: &BTreeSet<&str>| {
            !own.is_empty() && own.iter().all(|name| names::has(&theirs, name) != Has::No)
        };
        let whole: BTreeSet<&str> = all.into_iter().flatten().map(|(n, _)| n.as_str()).collect();
        // Lines that bring no name of their own name what other files of the patch bring.
        let decides = if own.is_empty() { &whole } else { &own };
        if known(decides) {
            return Ok(Outcome::there(How::Names(path.clone())));
        }
        let Some(hunk) = hunk::between(&old, &new, 0) else {
            return Ok(Outcome::there(How::Same));
        };
        let diff = FileDiff {
            hunks: vec![hunk],
            ..FileDiff::default()
        };
        let pair = Pair {
            before: Some(old),
            after: Some(new),
            offsets: vec![0],
        };
        let (mut found, content) = self.hunks_on(&there, &diff, &pair)?;
        let finding = found.pop().unwrap_or(Finding::There { how: How::Same });
        Ok(Outcome {
            finding,
            content: content.map(Some),
        })
    }

    fn relocate(&mut self, step: &Step, ours: &State<'_>) {
        let plain = self.step_on(&self.plain, step);
        let forced = self.step_on(&self.forced, step);
        for (path, content) in plain.1 {
            self.plain.set(&path, content);
        }
        let settled: Changes = match forced.0.is_conflict() {
            false => forced.1,
            true => {
                let paths = step.paths().into_iter();
                paths.map(|p| (p.to_owned(), ours.read(p))).collect()
            }
        };
        for (path, content) in settled {
            self.forced.set(&path, content);
        }
        let mut causes: Vec<Cause> = step
            .paths()
            .into_iter()
            .flat_map(|path| self.chain.causes(path, None))
            .collect();
        causes.sort();
        causes.dedup();
        let spot = Spot {
            source: format!(
                "{}/relocation.toml:{}",
                self.on.planned.series().component,
                step.line
            ),
            path: format!("step {:?}", step.name),
            hunk: None,
        };
        self.part(spot, plain.0, &forced.0, causes);
    }

    fn step_on(&self, tree: &State<'_>, step: &Step) -> (Finding, Changes) {
        if self.on.made[self.index] {
            let left = left_in(step, tree, self.on.end);
            let finding = match left.is_empty() {
                true => Finding::There { how: How::Step },
                false => Finding::Left {
                    files: left
                        .into_iter()
                        .map(|(path, what)| format!("{path} ({what})"))
                        .collect(),
                },
            };
            return (finding, Vec::new());
        }
        match apply_step(step, tree) {
            Ok(changes) => (Finding::applies(), changes),
            Err((what, line)) => {
                let folder = &self.on.planned.series().component;
                let file = format!("{folder}/relocation.toml:{line}");
                (conflict(format!("{what} ({file})")), Vec::new())
            }
        }
    }

    fn edit(&mut self, edit: &Edit, diff: &FileDiff, pair: &Pair) -> Result<()> {
        let (diff, pair) = self.translated(diff, pair);
        let path = diff.path().to_owned();
        let source = |line: usize| format!("{}:{line}", edit.source.display());
        let plain = self.edit_on(&self.plain, &diff, &pair)?;
        let forced = self.edit_on(&self.forced, &diff, &pair)?;
        let new = diff.hunks.iter().flat_map(|h| &h.lines);
        let new = new.filter(|l| l.kind == Kind::New);
        self.bring(&path, new.map(|l| l.text.clone().into_bytes()));
        let whole = diff.hunks.is_empty() || plain.0.len() != diff.hunks.len();
        for (i, finding) in plain.0.into_iter().enumerate() {
            let same = forced.0.get(i).or(forced.0.first());
            let same = same.cloned().unwrap_or_else(|| finding.clone());
            let (line, header) = match whole {
                true => (diff.line, None),
                false => (diff.hunks[i].line, Some(diff.hunks[i].header.clone())),
            };
            let spot = Spot {
                source: source(line),
                path: path.clone(),
                hunk: header,
            };
            let hunk = diff.hunks.get(i).filter(|_| !whole);
            let causes = self.chain.causes(&path, hunk);
            self.part(spot, finding, &same, causes);
        }
        if let Some(content) = plain.1 {
            set_both(&mut self.plain, &diff, content);
        }
        let content = match forced.1 {
            Some(content) if !forced.0.iter().any(Finding::is_conflict) => Some(content),
            _ if forced.0.iter().any(Finding::is_conflict) => {
                Some(self.force(&self.forced, &diff, &pair)?)
            }
            _ => None,
        };
        if let Some(content) = content {
            set_both(&mut self.forced, &diff, content);
        }
        Ok(())
    }

    /// A diff as it would have been made behind the steps that the base has made already.
    fn translated(&self, diff: &FileDiff, pair: &Pair) -> (FileDiff, Pair) {
        let (mut diff, mut before, mut after) =
            (diff.clone(), pair.before.clone(), pair.after.clone());
        // The step of the patch itself goes before its edits.
        for step in self.on.ahead(self.index + 1) {
            let path = |old: &mut Option<String>| {
                if let Some(new) = old.as_ref().and_then(|p| step.moves.get(p)) {
                    *old = Some(new.clone());
                }
            };
            let touched = diff.path().to_owned();
            path(&mut diff.old);
            path(&mut diff.new);
            let moved = diff.path() != touched;
            let listed = step.files.iter().any(|f| f.value == diff.path());
            let named = step
                .texts
                .iter()
                .any(|t| t.files.iter().any(|f| f == diff.path()));
            if !(moved || listed || named) {
                continue;
            }
            for hunk in &mut diff.hunks {
                for line in &mut hunk.lines {
                    line.text = renamed_line(step, &line.text);
                }
            }
            let rename = |content: &mut Option<Bytes>| {
                if let Some(bytes) = content {
                    *bytes = self.judge.rename(self.on.planned.name(), step, bytes);
                }
            };
            rename(&mut before);
            rename(&mut after);
        }
        let offsets = pair.offsets.clone();
        let pair = Pair {
            before,
            after,
            offsets,
        };
        (diff, pair)
    }

    /// What becomes of a diff on a tree: one finding for each hunk, or one for the file.
    fn edit_on(
        &self,
        tree: &State<'_>,
        diff: &FileDiff,
        pair: &Pair,
    ) -> Result<(Vec<Finding>, Option<Option<Bytes>>)> {
        let read = |path: &Option<String>| path.as_ref().and_then(|p| tree.read(p));
        let one = |outcome: Outcome| Ok((vec![outcome.finding], outcome.content));
        let (old, new) = (read(&diff.old), read(&diff.new));
        match (&diff.old, &diff.new) {
            (None, Some(path)) => one(self.new_file(path, new, pair)),
            (Some(path), None) => one(match old {
                None => Outcome::there(How::Gone),
                Some(old) if Some(&old) == pair.before.as_ref() => {
                    Outcome::becomes(Finding::applies(), None)
                }
                Some(_) => Outcome::stays(conflict(format!(
                    "{path} is to be removed, and the base changed it"
                ))),
            }),
            _ => {
                let renamed = diff.old != diff.new;
                let content = match (old, new) {
                    (Some(old), None) if renamed => Some(old),
                    // Moved already; what is left are its hunks.
                    (None, Some(new)) if renamed => Some(new),
                    (Some(_), Some(_)) if renamed => {
                        let path = diff.path();
                        return one(Outcome::stays(conflict(format!("{path} exists"))));
                    }
                    (old, _) => old,
                };
                let Some(content) = content else {
                    let path = diff.old.as_deref().unwrap_or_default();
                    let finding = conflict(format!("there is no file {path}"));
                    return Ok((vec![finding; diff.hunks.len().max(1)], None));
                };
                let (findings, after) = self.hunks_on(&content, diff, pair)?;
                let conflict = findings.iter().any(Finding::is_conflict);
                let there = |f: &Finding| matches!(f, Finding::There { .. });
                // What fits may be what a later patch takes back.
                let again = self.on.end.read(diff.path()) != pair.after
                    && pair.before.as_ref() != Some(&content)
                    && !findings.iter().all(there);
                if (conflict || again) && self.in_the_end(&content, diff)? {
                    let there = Finding::There { how: How::End };
                    return Ok((vec![there; findings.len()], None));
                }
                Ok((findings, after.map(Some)))
            }
        }
    }

    /// Whether a file has all that the series does to it, of which one patch does not fit because
    /// later ones went over the same lines.
    fn in_the_end(&self, content: &Bytes, diff: &FileDiff) -> Result<bool> {
        let path = diff.path();
        let Some(end) = self.on.end.read(path) else {
            return Ok(false);
        };
        if *content == end {
            return Ok(true);
        }
        let Some(start) = self.on.before(path, self.judge).filter(|s| *s != end) else {
            return Ok(false);
        };
        let merged = self.judge.merge.merge(content, &start, &end, false)?;
        Ok(merged.as_ref() == Some(content))
    }

    fn new_file(&self, path: &str, there: Option<Bytes>, pair: &Pair) -> Outcome {
        let Some(there) = there else {
            return Outcome::becomes(Finding::Enters, pair.after.clone());
        };
        if Some(&there) == pair.after.as_ref() {
            return Outcome::there(How::Same);
        }
        let names = |content: &Option<Bytes>| {
            let content = content.clone().unwrap_or_else(|| Rc::from(&b""[..]));
            let files = BTreeMap::from([(path.to_owned(), content)]);
            let unit = names::module_of(path).unwrap_or(path);
            self.judge.reader.names(&files, unit)
        };
        let (ours, theirs) = (names(&pair.after), names(&Some(there)));
        let (have, missing): (Vec<_>, Vec<_>) =
            ours.into_keys().partition(|name| theirs.contains_key(name));
        match (have.is_empty(), missing.is_empty()) {
            (true, true) => Outcome::there(How::Path(path.to_owned())),
            (false, true) => Outcome::there(How::Names(path.to_owned())),
            (_, false) => Outcome::stays(Finding::InPart {
                at: path.to_owned(),
                there: have,
                missing,
            }),
        }
    }

    /// What becomes of the hunks of a diff on a file, and the file afterwards unless one fails.
    fn hunks_on(
        &self,
        content: &Bytes,
        diff: &FileDiff,
        pair: &Pair,
    ) -> Result<(Vec<Finding>, Option<Bytes>)> {
        let base = pair.before.clone().unwrap_or_else(|| Rc::from(&b""[..]));
        if *content == base {
            // As at home.
            let findings = diff.hunks.iter().map(|_| Finding::applies()).collect();
            return Ok((findings, pair.after.clone()));
        }
        let before = Lines::of(&base);
        let mut lines = Lines::of(content);
        let mut findings = Vec::new();
        let mut behind = 0;
        for (hunk, home) in diff.hunks.iter().zip(&pair.offsets) {
            findings.push(match lines.is_done(hunk, &before, &mut behind) {
                Some(Done::Whole) => Finding::There { how: How::Reverse },
                Some(Done::Lines) => Finding::There { how: How::Lines },
                None => match lines.apply(hunk) {
                    Some(offset) => Finding::Applies {
                        offset: offset - home,
                        doubles: hunk::doubles(hunk, content, &base),
                    },
                    None => unplaced(&lines, hunk),
                },
            });
        }
        if !findings.iter().any(Finding::is_conflict) {
            return Ok((findings, Some(lines.content())));
        }
        let (Some(base), Some(after)) = (&pair.before, &pair.after) else {
            return Ok((findings, None));
        };
        let Some(merged) = self.judge.merge.merge(content, base, after, false)? else {
            return Ok((findings, None));
        };
        let pairs = findings.iter_mut().zip(&diff.hunks);
        for (finding, hunk) in pairs.filter(|(f, _)| f.is_conflict()) {
            *finding = match merged == *content {
                true => Finding::There { how: How::Merge },
                false => Finding::Merges {
                    doubles: hunk::doubles(hunk, content, base),
                },
            };
        }
        Ok((findings, Some(merged)))
    }

    /// The file with a diff that does not fit, settled in favour of the diff.
    fn force(&self, tree: &State<'_>, diff: &FileDiff, pair: &Pair) -> Result<Option<Bytes>> {
        let Some(after) = &pair.after else {
            return Ok(None);
        };
        let path = diff.old.as_ref().or(diff.new.as_ref());
        let there = path.and_then(|p| tree.read(p));
        let (Some(there), Some(base)) = (there, &pair.before) else {
            return Ok(Some(after.clone()));
        };
        let merged = self.judge.merge.merge(&there, base, after, true)?;
        Ok(Some(merged.unwrap_or_else(|| after.clone())))
    }
}

/// A line under its new names. What a step makes of several lines is left out: where such lines
/// went is for the base to say.
fn renamed_line(step: &Step, line: &str) -> String {
    let mut line = line.to_owned();
    for rule in &step.texts {
        let (old, new) = (rule.old.trim_matches('\n'), rule.new.trim_matches('\n'));
        if !old.contains('\n') && !new.contains('\n') && !old.is_empty() {
            line = line.replace(old, new);
        }
    }
    step.rules.rename(&line)
}

fn set_both(state: &mut State<'_>, diff: &FileDiff, content: Option<Bytes>) {
    if let Some(old) = &diff.old {
        state.set(old, None);
    }
    if let Some(path) = diff.new.as_ref().or(diff.old.as_ref()) {
        state.set(path, content);
    }
}

fn unplaced(lines: &Lines<'_>, hunk: &Hunk) -> Finding {
    let near = lines.nearest(hunk).map(|near| Excerpt {
        line: near.line,
        lines: near.lines,
        wants: near.wants,
    });
    let why = match &near {
        Some(_) => "the lines around it are others",
        None => "its lines are nowhere in the file",
    };
    Finding::Conflicts {
        why: why.to_owned(),
        near,
        after: Vec::new(),
    }
}

/// What occurs most often; the first of those in order of the alphabet.
fn most_common<'t>(items: impl Iterator<Item = &'t str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    let most = counts.iter().rev().max_by_key(|(_, n)| **n);
    most.map_or(String::new(), |(item, _)| (*item).to_owned())
}

// SPDX-License-Identifier: GPL-2.0

//! Creates the commits of all series.
//!
//! No file is checked out. Edits are applied in a private index of the touched files, and one
//! `git fast-import` creates all commits. The commits are reproducible, because their dates derive
//! from the date of the base.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{
    branches::replay,
    git::{BaseCommit, Entry, Git, Identity, Parent, PatchCommit, refs},
    mail::fingerprint::fingerprint,
    patches::{
        commits::{Assembled, AssembledSeries},
        notes,
        plan::{Edit, PlannedPatch, PlannedSeries, Write},
    },
    source::{
        branch,
        manifest::{Series, below},
        message, relocation,
    },
    sys::{Error, Result, cache::Cache},
    versions::trailers::{MessageWithTrailers, TrailerState, add_trailers, state},
};

/// The known files of a tree, by path.
type State = BTreeMap<String, Entry>;

/// Names of series that are applied one after another.
type Chain = Vec<String>;

/// The index of a series in `planned`, and of the patch in the series.
type Place = (usize, usize);

struct Step {
    from: Parent,
    at: Place,
    changes: Vec<Change>,
}

enum Change {
    Write(Write),
    /// The file, or its removal.
    Set(String, Option<Entry>),
}

/// The end of a chain of series.
#[derive(Clone)]
struct Tip {
    from: Parent,
    state: State,
    /// The marks of the patches of the last series.
    marks: Vec<usize>,
}

impl Tip {
    /// Returns the known files of these paths.
    fn known<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> State {
        let known = |path: &'a str| {
            let (path, entry) = self.state.get_key_value(path)?;
            Some((path.clone(), entry.clone()))
        };
        paths.into_iter().filter_map(known).collect()
    }

    /// Sets or removes a file.
    fn set(&mut self, path: String, entry: Option<Entry>) -> Change {
        match &entry {
            Some(entry) => drop(self.state.insert(path.clone(), entry.clone())),
            None => drop(self.state.remove(&path)),
        }
        Change::Set(path, entry)
    }
}

/// Collects the commits of all chains, and creates them.
struct Assembler<'a> {
    git: &'a Git<'a>,
    base: &'a BaseCommit,
    who: &'a Identity,
    planned: &'a [PlannedSeries],
    /// A private folder.
    scratch: &'a Path,
    steps: Vec<Step>,
    /// The messages of all patches, by series.
    messages: Vec<Vec<MessageWithTrailers>>,
    tips: BTreeMap<Chain, Tip>,
    /// The files that a diff touches before and after it was applied, by the diff. Chains that
    /// contain the same series repeat most diffs.
    applied: BTreeMap<&'a str, Vec<(State, State)>>,
}

pub fn assemble(
    git: &Git<'_>,
    cache: &Cache,
    base: &BaseCommit,
    who: &Identity,
    planned: Vec<PlannedSeries>,
) -> Result<Assembled> {
    let scratch = cache.scratch()?;
    let series: Vec<&Series> = planned.iter().map(PlannedSeries::series).collect();
    let chain = |one: &&Series| -> Chain {
        let lower = below(&series, &one.name).into_iter();
        lower.chain([*one]).map(|s| s.name.to_string()).collect()
    };
    let chains: Vec<Chain> = series.iter().map(chain).collect();
    let all: Chain = series.iter().map(|s| s.name.to_string()).collect();
    let mut assembler = Assembler {
        git,
        base,
        who,
        planned: &planned,
        scratch: scratch.path(),
        steps: Vec::new(),
        messages: Vec::new(),
        tips: BTreeMap::new(),
        applied: BTreeMap::new(),
    };
    assembler.read_base()?;
    // Most patches keep their trailers, so that the first pass is usually the last.
    assembler.write_messages(&BTreeMap::new());
    for chain in chains.iter().chain([&all]) {
        assembler.chain(chain)?;
    }
    let mut commits = assembler.commit()?;
    if assembler.update_messages(&chains, &commits)? {
        commits = assembler.commit()?;
    }
    let (tips, messages) = (assembler.tips, assembler.messages);
    let end = |chain: &[String]| match &tips[chain].from {
        Parent::Mark(mark) => commits[*mark - 1].clone(),
        _ => PatchCommit {
            commit: base.commit.clone(),
            tree: base.tree.clone(),
        },
    };
    let all = end(&all);
    let series = planned.into_iter().zip(messages).zip(chains);
    let series = series.map(|((plan, messages), chain)| {
        let marks = tips[&chain].marks.iter();
        let below = &chain[..chain.len() - 1];
        AssembledSeries {
            below: below.to_vec(),
            parent: end(below),
            patches: marks.map(|m| commits[m - 1].clone()).collect(),
            messages,
            plan,
        }
    });
    Ok(Assembled {
        base: base.clone(),
        series: series.collect(),
        all,
    })
}

impl<'a> Assembler<'a> {
    /// Reads the entries of all touched paths in the base.
    fn read_base(&mut self) -> Result<()> {
        let patches = self.planned.iter().flat_map(|p| &p.patches);
        let paths: BTreeSet<&str> = patches.flat_map(PlannedPatch::paths).collect();
        let paths: Vec<String> = paths.into_iter().map(str::to_owned).collect();
        let state = self.git.entries(&self.base.tree, &paths)?;
        for planned in self.planned {
            let mut writes = planned.patches.iter().flat_map(|p| &p.writes);
            if let Some(Write { path, .. }) = writes.find(|w| state.contains_key(&w.path)) {
                let name = planned.component.folder();
                let error = Error::new("the base already has this file");
                let help = format!("change files of the base with a diff in {name}/edits/");
                return Err(error.at(format!("{name}/tree/{path}"), None).help(help));
            }
        }
        let (from, marks) = (Parent::Commit(self.base.commit.clone()), Vec::new());
        let tip = Tip { from, state, marks };
        self.tips.insert(Vec::new(), tip);
        Ok(())
    }

    /// Adds the steps of a chain, beginning with its shorter chains.
    fn chain(&mut self, chain: &[String]) -> Result<()> {
        let Some((last, before)) = chain.split_last() else {
            return Ok(());
        };
        if self.tips.contains_key(chain) {
            return Ok(());
        }
        self.chain(before)?;
        let mut tip = self.tips[before].clone();
        tip.marks.clear();
        // `planned` is borrowed for longer than `self`.
        let planned = self.planned;
        let Some(of) = planned.iter().position(|p| p.name() == last) else {
            return Ok(());
        };
        for (number, patch) in planned[of].patches.iter().enumerate() {
            let changes = self.changes(patch, of, &mut tip, before)?;
            let (from, at) = (tip.from.clone(), (of, number));
            self.steps.push(Step { from, at, changes });
            tip.marks.push(self.steps.len());
            tip.from = Parent::Mark(self.steps.len());
        }
        self.tips.insert(chain.to_vec(), tip);
        Ok(())
    }

    /// Returns the changes of a patch to the tip of a chain, and updates the tip.
    fn changes(
        &mut self,
        patch: &'a PlannedPatch,
        of: usize,
        tip: &mut Tip,
        before: &[String],
    ) -> Result<Vec<Change>> {
        if let Some(commit) = &patch.commit {
            return self.replay(commit, of, tip, before);
        }
        let mut changes: Vec<Change> = patch.writes.iter().cloned().map(Change::Write).collect();
        if let Some(step) = &patch.relocate {
            changes.extend(self.relocate(step, self.planned[of].component.folder(), tip)?);
        }
        for edit in &patch.edits {
            changes.extend(self.edit(edit, tip, before)?);
        }
        Ok(changes)
    }

    fn replay(
        &self,
        commit: &branch::Commit,
        of: usize,
        tip: &mut Tip,
        before: &[String],
    ) -> Result<Vec<Change>> {
        let PlannedSeries { component, patches } = &self.planned[of];
        let all: Vec<&branch::Commit> = patches.iter().filter_map(|p| p.commit.as_ref()).collect();
        let onto = replay::Onto {
            base: &self.base.tree,
            of_base: &self.tips[&Vec::new()].state,
            now: &tip.state,
            below: before,
        };
        let series = &component.series;
        let found = replay::changes(self.git, self.scratch, series, &all, commit, &onto)?;
        Ok(found.into_iter().map(|c| tip.set(c.path, c.new)).collect())
    }

    /// Creates the messages of all patches. The fingerprints of diffs decide which trailers are
    /// still valid; without one, all are.
    fn write_messages(&mut self, fingerprints: &BTreeMap<Place, String>) {
        let ident = self.who.ident();
        let sign_off = self.who.set.then(|| format!("Signed-off-by: {ident}"));
        self.messages.clear();
        for (of, series) in self.planned.iter().enumerate() {
            let version = series.series().version;
            let notes = notes::of_patches(&series.component);
            let patches = series.patches.iter().zip(notes).enumerate();
            let messages = patches.map(|(number, (patch, note))| {
                let known = fingerprints.get(&(of, number));
                let state = |t| known.map_or(TrailerState::Valid, |known| state(t, known));
                let states: Vec<TrailerState> = patch.trailers.iter().map(state).collect();
                // The author signs off a commit. checkpatch reports a missing sign-off.
                let (text, sign_off) = match patch.commit {
                    Some(_) => message::split_sign_off(&patch.message, &ident),
                    None => (patch.message.as_str(), sign_off.as_deref()),
                };
                let mut message = add_trailers(text, version, &patch.trailers, &states, sign_off);
                let own = patch.commit.as_ref().map_or("", |c| c.note.as_str());
                message.note = notes::joined(&[own, &note, &message.note]);
                message
            });
            self.messages.push(messages.collect());
        }
    }

    /// Creates the messages again, with the fingerprints of the diffs. Returns whether a message
    /// changed.
    fn update_messages(&mut self, chains: &[Chain], commits: &[PatchCommit]) -> Result<bool> {
        // The patches with recorded trailers, and their commits on the series alone.
        let (mut patches, mut names) = (Vec::new(), Vec::new());
        for (of, series) in self.planned.iter().enumerate() {
            let marks = &self.tips[&chains[of]].marks;
            for (number, patch) in series.patches.iter().enumerate() {
                if !patch.trailers.is_empty() {
                    patches.push((of, number));
                    names.push(&commits[marks[number] - 1].commit);
                }
            }
        }
        if patches.is_empty() {
            return Ok(false);
        }
        let fingerprints = self.git.diffs(&names)?.into_iter().map(|d| fingerprint(&d));
        let before = std::mem::take(&mut self.messages);
        self.write_messages(&patches.into_iter().zip(fingerprints).collect());
        let mut pairs = before.iter().flatten().zip(self.messages.iter().flatten());
        Ok(pairs.any(|(before, now)| before.message != now.message))
    }

    fn relocate(
        &self,
        step: &relocation::Step,
        folder: &str,
        tip: &mut Tip,
    ) -> Result<Vec<Change>> {
        let known = tip.known(step.paths());
        let blobs: Vec<_> = known.values().map(|e| &e.blob).collect();
        let contents = self.git.blobs(&blobs)?;
        let before: relocation::Files = known.keys().cloned().zip(contents).collect();
        let mut after = step.apply(&before).map_err(|(what, line)| {
            Error::new(what)
                .at(format!("{folder}/relocation.toml"), line)
                .help("the step must apply to the tree after the previous patches")
        })?;
        let removed = before.keys().filter(|path| !after.contains_key(*path));
        let removed: Vec<String> = removed.cloned().collect();
        let removed = removed.into_iter().map(|path| (path, None));
        // A file of the same name is another one if it moved here.
        after.retain(|path, content| {
            let was = step.path_before(path);
            was != path || before[was] != *content
        });
        let contents: Vec<&[u8]> = after.values().map(Vec::as_slice).collect();
        let blobs = self.git.add_blobs(self.scratch, &contents)?;
        let written = after.keys().zip(blobs).map(|(path, blob)| {
            let mode = known[step.path_before(path)].mode;
            (path.clone(), Some(Entry { mode, blob }))
        });
        let all = removed.chain(written);
        Ok(all.map(|(path, entry)| tip.set(path, entry)).collect())
    }

    fn edit(&mut self, edit: &'a Edit, tip: &mut Tip, before: &[String]) -> Result<Vec<Change>> {
        let known = tip.known(edit.paths.iter().map(String::as_str));
        let after = self.apply(edit, known).map_err(|e| {
            let on = match before {
                [] => "the base".to_owned(),
                names => format!("the base plus {}", names.join(", ")),
            };
            e.at(&edit.source, None).help(format!(
                "the diff must apply to {on} and the patches before it; update it"
            ))
        })?;
        let change = |path: &String| tip.set(path.clone(), after.get(path).cloned());
        Ok(edit.paths.iter().map(change).collect())
    }

    /// Returns the files of a diff after it was applied to `before`.
    fn apply(&mut self, edit: &'a Edit, before: State) -> Result<State> {
        let applied = self.applied.entry(&edit.diff).or_default();
        if let Some((_, after)) = applied.iter().find(|(known, _)| *known == before) {
            return Ok(after.clone());
        }
        let diffs = [edit.diff.as_bytes()];
        let index = self.scratch.join("index");
        let after = self.git.apply(&index, &before, &diffs)?;
        applied.push((before, after.clone()));
        Ok(after)
    }

    fn commit(&self) -> Result<Vec<PatchCommit>> {
        if self.steps.is_empty() {
            return Ok(Vec::new());
        }
        self.git.fast_import(self.scratch, &mut |to| {
            for (mark, step) in (1..).zip(&self.steps) {
                let (of, number) = step.at;
                // Patches of one series keep their order when they are sorted by date.
                let committer = self.who.at(self.base.when + mark as u64);
                let author = self.planned[of].patches[number].author();
                let author = author.unwrap_or(&committer);
                let message = &self.messages[of][number].message;
                // A ref protects each commit from garbage collection.
                let name = refs::step(mark);
                to.commit(&name, mark, author, &committer, message, &step.from)?;
                for change in &step.changes {
                    match change {
                        Change::Write(w) => to.file(w.mode, &w.path, &w.content)?,
                        Change::Set(path, entry) => to.set(path, entry.as_ref())?,
                    }
                }
            }
            Ok(())
        })
    }
}

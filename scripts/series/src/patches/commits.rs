// SPDX-License-Identifier: GPL-2.0

//! Creates the commits of all series: each series on the base and its dependencies, and all series
//! in one chain.
//!
//! No file is checked out. Edits are applied in a private index of the touched files, and one
//! `git fast-import` creates all commits. The commits are reproducible, because their dates derive
//! from the date of the base.

use std::collections::BTreeMap;

use crate::{
    branches::replay,
    git::{BaseCommit, Entry, Git, Identity, Oid, Parent, PatchCommit, Signature, refs},
    mail::fingerprint::fingerprint,
    patches::{
        notes,
        plan::{Edit, PlannedPatch, PlannedSeries},
    },
    source::{
        branch,
        manifest::{Series, below, selected_series, unknown_series},
        message, relocation,
    },
    sys::{
        cache::Cache,
        error::{Error, Result},
    },
    versions::trailers::{MessageWithTrailers, RecordedTrailer, TrailerState, add_trailers, state},
};

/// A series and its commits.
#[derive(Debug, Clone)]
pub struct AssembledSeries {
    /// The planned patches.
    pub plan: PlannedSeries,
    /// The names of the dependencies, in the order to apply them.
    pub below: Vec<String>,
    /// The parent of the first patch: the base, or the last patch of the dependencies.
    pub parent: PatchCommit,
    /// The commits of the patches.
    pub patches: Vec<PatchCommit>,
    /// The messages of the patches, with trailers.
    pub messages: Vec<MessageWithTrailers>,
}

impl AssembledSeries {
    /// Returns the name of the series.
    pub fn name(&self) -> &str {
        self.plan.name()
    }

    /// Returns the recorded trailers of each patch and their states.
    pub fn trailers(&self) -> impl Iterator<Item = (&[RecordedTrailer], &[TrailerState])> {
        let patches = self.plan.patches.iter().zip(&self.messages);
        patches.map(|(patch, message)| (&patch.trailers[..], &message.states[..]))
    }

    /// Returns the names and addresses of the authors. Patches of components are authored by `who`.
    pub fn authors(&self, who: &Identity) -> Vec<(String, String)> {
        let of = |patch: &PlannedPatch| match patch.author() {
            Some(author) => (author.name.clone(), author.email.clone()),
            None => (who.name.clone(), who.email.clone()),
        };
        self.plan.patches.iter().map(of).collect()
    }

    /// Returns the last patch, or the parent if the series has no patch.
    pub fn tip(&self) -> &PatchCommit {
        self.patches.last().unwrap_or(&self.parent)
    }
}

/// All assembled series.
#[derive(Debug, Clone)]
pub struct Assembled {
    /// The base of all series.
    pub base: BaseCommit,
    /// The series, in dependency order.
    pub series: Vec<AssembledSeries>,
    /// The commit with all series.
    pub all: PatchCommit,
}

impl Assembled {
    /// Returns the series that `names` selects.
    ///
    /// # Errors
    ///
    /// As for [`Self::selected`].
    pub fn named(&self, names: &[String]) -> Result<Vec<&AssembledSeries>> {
        let selected = self.selected(names)?;
        selected.iter().map(|name| self.find(name)).collect()
    }

    /// Returns the names of the series that `names` selects. The name of a component selects all
    /// its series, and an empty list selects all series.
    ///
    /// # Errors
    ///
    /// As for [`selected_series`].
    pub fn selected(&self, names: &[String]) -> Result<Vec<String>> {
        selected_series(&self.manifests(), names)
    }

    /// Returns the relocation steps of later series of the same component.
    pub fn steps_after(&self, one: &AssembledSeries) -> Vec<&relocation::Step> {
        let later = self.series.iter().skip_while(|s| s.name() != one.name());
        let later = later.skip(1).map(|s| &s.plan);
        let later = later.filter(|p| p.component.folder() == one.plan.component.folder());
        later
            .flat_map(|p| &p.patches)
            .filter_map(|p| p.relocate())
            .collect()
    }

    fn manifests(&self) -> Vec<&Series> {
        self.series.iter().map(|s| s.plan.series()).collect()
    }

    /// Finds a series by name.
    ///
    /// # Errors
    ///
    /// Fails if the series does not exist. The message lists all series.
    pub fn find(&self, name: &str) -> Result<&AssembledSeries> {
        Ok(&self.series[self.position(name)?])
    }

    /// Finds the position of a series by name.
    ///
    /// # Errors
    ///
    /// As for [`Self::find`].
    pub fn position(&self, name: &str) -> Result<usize> {
        let mut all = self.series.iter();
        all.position(|s| s.name() == name)
            .ok_or_else(|| unknown_series(&self.manifests(), name))
    }
}

/// The known files of a tree, by path.
type State = BTreeMap<String, Entry>;

/// Names of series that are applied one after another.
type Chain = Vec<String>;

/// A commit to be created.
struct Step {
    from: Parent,
    /// The index of the series in `planned`, and of the patch in the series.
    of: (usize, usize),
    when: u64,
    changes: Vec<Change>,
}

enum Change {
    Write(crate::patches::plan::Write),
    Known(String, Entry),
    Remove(String),
}

/// Returns the states of the trailers of a patch. Takes the indices of the series and of the patch.
type TrailerStates<'a> = dyn Fn((usize, usize), &[RecordedTrailer]) -> Vec<TrailerState> + 'a;

/// The end of a chain of series.
#[derive(Clone)]
struct Tip {
    from: Parent,
    state: State,
}

/// Collects the commits of all chains, and creates them.
struct Assembler<'a> {
    git: &'a Git<'a>,
    base: &'a BaseCommit,
    who: &'a Identity,
    planned: &'a [PlannedSeries],
    /// A private folder, which contains the index file.
    scratch: std::path::PathBuf,
    index: std::path::PathBuf,
    steps: Vec<Step>,
    /// The messages of all patches, by series.
    patch_messages: Vec<Vec<MessageWithTrailers>>,
    tips: BTreeMap<Chain, Tip>,
    /// The marks of the patches of a series, by the chain that ends with the series.
    marks: BTreeMap<Chain, Vec<usize>>,
    /// The files that a diff touches before and after it was applied, by the diff. Chains that
    /// contain the same series repeat most diffs.
    applied: BTreeMap<&'a str, Vec<(State, State)>>,
}

/// Creates the commits of all series.
///
/// # Errors
///
/// Fails if an edit does not apply, if the base already has a file of an overlay, or if git fails.
pub fn assemble(
    git: &Git<'_>,
    cache: &Cache,
    base: &BaseCommit,
    who: &Identity,
    planned: Vec<PlannedSeries>,
) -> Result<Assembled> {
    let scratch = cache.scratch()?;
    let series: Vec<&Series> = planned.iter().map(|p| p.series()).collect();
    let chains: Vec<Chain> = series
        .iter()
        .map(|s| {
            let names = below(&series, &s.name)
                .into_iter()
                .map(|b| b.name.to_string());
            names.chain([s.name.to_string()]).collect()
        })
        .collect();
    let all: Chain = series.iter().map(|s| s.name.to_string()).collect();
    let mut assembler = Assembler {
        git,
        base,
        who,
        planned: &planned,
        scratch: scratch.path().to_owned(),
        index: scratch.path().join("index"),
        steps: Vec::new(),
        patch_messages: Vec::new(),
        tips: BTreeMap::new(),
        marks: BTreeMap::new(),
        applied: BTreeMap::new(),
    };
    assembler.read_base()?;
    // Most patches keep their trailers, so that the first pass is usually the last.
    assembler.write_messages(&|_, trailers| vec![TrailerState::Valid; trailers.len()]);
    for chain in chains.iter().chain([&all]) {
        assembler.chain(chain)?;
    }
    let mut commits = assembler.commit(scratch.path())?;
    if assembler.update_messages(&chains, &commits)? {
        commits = assembler.commit(scratch.path())?;
    }
    let (tips, marks, messages) = (assembler.tips, assembler.marks, assembler.patch_messages);
    let end = |chain: &[String]| match &tips[chain].from {
        Parent::Mark(mark) => commits[*mark - 1].clone(),
        _ => PatchCommit {
            commit: base.commit.clone(),
            tree: base.tree.clone(),
        },
    };
    let all = end(&all);
    let series = planned
        .into_iter()
        .zip(messages)
        .zip(chains)
        .map(|((plan, messages), chain)| AssembledSeries {
            below: chain[..chain.len() - 1].to_vec(),
            parent: end(&chain[..chain.len() - 1]),
            patches: marks[&chain]
                .iter()
                .map(|m| commits[m - 1].clone())
                .collect(),
            messages,
            plan,
        })
        .collect();
    Ok(Assembled {
        base: base.clone(),
        series,
        all,
    })
}

impl<'a> Assembler<'a> {
    /// Reads the entries of all touched paths in the base.
    fn read_base(&mut self) -> Result<()> {
        let patches = self.planned.iter().flat_map(|p| &p.patches);
        let mut paths: Vec<String> = patches.flat_map(|p| p.paths()).map(str::to_owned).collect();
        paths.sort();
        paths.dedup();
        let state = self.git.entries(&self.base.tree, &paths)?;
        let clash = self.planned.iter().find_map(|p| {
            let ours = p.patches.iter().flat_map(|p| p.writes());
            let hit = ours.map(|w| &w.path).find(|path| state.contains_key(*path));
            hit.map(|path| (p.component.folder(), path))
        });
        if let Some((name, path)) = clash {
            return Err(Error::new("the base already has this file")
                .at(format!("{name}/tree/{path}"), None)
                .help(format!(
                    "change files of the base with a diff in {name}/edits/"
                )));
        }
        let from = Parent::Commit(self.base.commit.clone());
        self.tips.insert(Vec::new(), Tip { from, state });
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
        let mut marks = Vec::new();
        // `planned` is borrowed for longer than `self`.
        let planned = self.planned;
        let Some(of) = planned.iter().position(|p| p.name() == last) else {
            return Ok(());
        };
        for (number, patch) in planned[of].patches.iter().enumerate() {
            let changes = self.changes(patch, of, &mut tip, before)?;
            self.steps.push(Step {
                from: tip.from.clone(),
                of: (of, number),
                // Patches of one series keep their order when they are sorted by date.
                when: self.base.when + 1 + self.steps.len() as u64,
                changes,
            });
            let mark = self.steps.len();
            tip.from = Parent::Mark(mark);
            marks.push(mark);
        }
        self.marks.insert(chain.to_vec(), marks);
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
        if let Some(commit) = patch.commit() {
            return self.replay(commit, of, tip, before);
        }
        let folder = self.planned[of].component.folder();
        let mut changes: Vec<Change> = patch.writes().iter().cloned().map(Change::Write).collect();
        if let Some(step) = patch.relocate() {
            self.relocate(step, folder, tip, &mut changes)?;
        }
        for edit in patch.edits() {
            self.edit(edit, tip, before, &mut changes)?;
        }
        Ok(changes)
    }

    /// Returns the changes of a branch's commit to the tip of a chain, and updates the tip.
    fn replay(
        &self,
        commit: &branch::Commit,
        of: usize,
        tip: &mut Tip,
        before: &[String],
    ) -> Result<Vec<Change>> {
        let onto = replay::Onto {
            base: &self.base.tree,
            of_base: &self.tips[&Vec::new()].state,
            now: &tip.state,
        };
        let series = self.planned[of].series();
        let patches = &self.planned[of].patches;
        let all: Vec<&branch::Commit> = patches.iter().filter_map(|p| p.commit()).collect();
        let found = replay::changes(self.git, &self.scratch, &all, commit, &onto)?;
        let found = replay::judge(found, commit, series, before)?;
        let mut changes = Vec::new();
        for branch::Change { path, new, .. } in found {
            match new {
                Some(entry) => {
                    tip.state.insert(path.clone(), entry.clone());
                    changes.push(Change::Known(path, entry));
                }
                None => {
                    tip.state.remove(&path);
                    changes.push(Change::Remove(path));
                }
            }
        }
        Ok(changes)
    }

    /// Creates the messages of all patches. `states` decides which trailers a patch carries.
    fn write_messages(&mut self, states: &TrailerStates<'_>) {
        let ident = self.who.ident();
        let sign_off = format!("Signed-off-by: {ident}");
        let sign_off = self.who.set.then_some(sign_off.as_str());
        let all = self.planned.iter().enumerate().map(|(of, series)| {
            let version = series.series().version;
            let patches = series.patches.iter().enumerate();
            patches
                .zip(notes::of_patches(&series.component))
                .map(|((number, patch), note)| {
                    let states = states((of, number), &patch.trailers);
                    // The author signs off a commit. checkpatch reports a missing sign-off.
                    let (text, sign_off) = match patch.commit() {
                        Some(_) => message::split_sign_off(&patch.message, &ident),
                        None => (patch.message.as_str(), sign_off),
                    };
                    let mut message =
                        add_trailers(text, version, &patch.trailers, &states, sign_off);
                    let own = patch.commit().map_or("", |c| c.note.as_str());
                    message.note = notes::joined(own, &notes::joined(&note, &message.note));
                    message
                })
                .collect()
        });
        self.patch_messages = all.collect();
    }

    /// Creates the messages again. The diffs now decide which trailers are still valid. Returns
    /// whether a message changed.
    fn update_messages(&mut self, chains: &[Chain], commits: &[PatchCommit]) -> Result<bool> {
        // The patches with recorded trailers, and their commits on the series alone.
        let mut patches: Vec<((usize, usize), &Oid)> = Vec::new();
        for (of, series) in self.planned.iter().enumerate() {
            for (number, patch) in series.patches.iter().enumerate() {
                if !patch.trailers.is_empty() {
                    let mark = self.marks[&chains[of]][number];
                    patches.push(((of, number), &commits[mark - 1].commit));
                }
            }
        }
        if patches.is_empty() {
            return Ok(false);
        }
        let names: Vec<&Oid> = patches.iter().map(|(_, commit)| *commit).collect();
        let fingerprints = self.git.diffs(&names)?.into_iter().map(|d| fingerprint(&d));
        let known: BTreeMap<_, _> = patches
            .iter()
            .map(|(of, _)| *of)
            .zip(fingerprints)
            .collect();
        let before = std::mem::take(&mut self.patch_messages);
        self.write_messages(&|of, trailers| {
            let fingerprint = known.get(&of).map_or("", String::as_str);
            trailers.iter().map(|t| state(t, fingerprint)).collect()
        });
        let messages = |all: &[Vec<MessageWithTrailers>]| -> Vec<String> {
            all.iter().flatten().map(|m| m.message.clone()).collect()
        };
        Ok(messages(&before) != messages(&self.patch_messages))
    }

    fn relocate(
        &self,
        step: &relocation::Step,
        folder: &str,
        tip: &mut Tip,
        changes: &mut Vec<Change>,
    ) -> Result<()> {
        let known: Vec<(&str, Entry)> = step
            .paths()
            .into_iter()
            .filter_map(|p| Some((p, tip.state.get(p)?.clone())))
            .collect();
        let blobs: Vec<_> = known.iter().map(|(_, e)| &e.blob).collect();
        let contents = self.git.blobs(&blobs)?;
        let paths = known.iter().map(|(path, _)| path.to_string());
        let before = paths.zip(contents).collect();
        let out = step.apply(&before).map_err(|(what, line)| {
            Error::new(what)
                .at(format!("{folder}/relocation.toml"), line)
                .help("the step must apply to the tree after the previous patches")
        })?;
        let contents: Vec<&[u8]> = out.written.values().map(|w| &w.content[..]).collect();
        let new = self.git.add_blobs(&self.scratch, &contents)?;
        let modes: BTreeMap<&str, _> = known.iter().map(|(p, e)| (*p, e.mode)).collect();
        for path in out.removed {
            tip.state.remove(&path);
            changes.push(Change::Remove(path));
        }
        for ((path, written), blob) in out.written.into_iter().zip(new) {
            let mode = modes[written.was.as_str()];
            let entry = Entry { mode, blob };
            tip.state.insert(path.clone(), entry.clone());
            changes.push(Change::Known(path, entry));
        }
        Ok(())
    }

    fn edit(
        &mut self,
        edit: &'a Edit,
        tip: &mut Tip,
        before: &[String],
        changes: &mut Vec<Change>,
    ) -> Result<()> {
        let known: State = edit
            .paths
            .iter()
            .filter_map(|p| tip.state.get_key_value(p))
            .map(|(p, e)| (p.clone(), e.clone()))
            .collect();
        let after = self.apply(edit, known).map_err(|e| {
            let on = match before {
                [] => "the base".to_owned(),
                names => format!("the base plus {}", names.join(", ")),
            };
            e.at(&edit.source, None).help(format!(
                "the diff must apply to {on} and the patches before it; update it"
            ))
        })?;
        for path in &edit.paths {
            match after.get(path) {
                Some(entry) => {
                    changes.push(Change::Known(path.clone(), entry.clone()));
                    tip.state.insert(path.clone(), entry.clone());
                }
                None => {
                    changes.push(Change::Remove(path.clone()));
                    tip.state.remove(path);
                }
            }
        }
        Ok(())
    }

    /// Returns the files of a diff after it was applied to `before`.
    fn apply(&mut self, edit: &'a Edit, before: State) -> Result<State> {
        let applied = self.applied.entry(&edit.diff).or_default();
        if let Some((_, after)) = applied.iter().find(|(known, _)| *known == before) {
            return Ok(after.clone());
        }
        let diffs = [edit.diff.as_bytes()];
        let after = self.git.apply(&self.index, &before, &diffs)?;
        applied.push((before, after.clone()));
        Ok(after)
    }

    /// Creates all commits.
    fn commit(&self, scratch: &std::path::Path) -> Result<Vec<PatchCommit>> {
        if self.steps.is_empty() {
            return Ok(Vec::new());
        }
        let commits = self.git.fast_import(scratch, &mut |to| {
            for (i, step) in self.steps.iter().enumerate() {
                let stamp = Signature {
                    who: self.who.clone(),
                    when: step.when,
                };
                // A ref protects each commit from garbage collection.
                let name = refs::step(i + 1);
                let (of, number) = step.of;
                let message = &self.patch_messages[of][number].message;
                let author = self.planned[of].patches[number].author();
                to.commit_of(&name, i + 1, author, &stamp, message, &step.from)?;
                for change in &step.changes {
                    match change {
                        Change::Write(w) => to.file(w.mode, &w.path, &w.content)?,
                        Change::Known(path, entry) => to.known(entry, path)?,
                        Change::Remove(path) => to.remove(path)?,
                    }
                }
            }
            Ok(())
        })?;
        let input: String = commits.iter().map(|c| format!("{c}^{{tree}}\n")).collect();
        let cmd = self
            .git
            .cmd(["cat-file", "--batch-check=%(objectname)"])
            .stdin(input);
        let out = crate::sys::runner::must(self.git.runner(), &cmd)?.text();
        let trees = out.lines().map(Oid::parse);
        let pairs: Option<Vec<_>> = commits
            .into_iter()
            .zip(trees)
            .map(|(commit, tree)| {
                Some(PatchCommit {
                    commit,
                    tree: tree?,
                })
            })
            .collect();
        pairs.ok_or_else(|| Error::new("git cat-file did not return the tree of each commit"))
    }
}

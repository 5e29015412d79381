// SPDX-License-Identifier: GPL-2.0

//! From plans to commits: each series on the base plus what it depends on, and all of them in a row.
//!
//! No file is checked out. Edits are applied in a private index that holds only the files they
//! touch, and one `git fast-import` makes every commit. The commits are a function of the input:
//! their dates derive from the base's.

use std::collections::BTreeMap;

use crate::{
    branches::replay,
    git::{
        BaseCommit,
        Entry,
        Git,
        Identity,
        Oid,
        Parent,
        PatchCommit,
        Signature,
        refs, //
    },
    mail::fingerprint::essence,
    patches::{
        notes,
        plan::{
            Edit,
            PlannedPatch,
            PlannedSeries, //
        }, //
    },
    source::{
        branch,
        manifest::{
            Series,
            below,
            chosen_series,
            unknown_series, //
        },
        message,
        relocation, //
    },
    sys::{
        cache::Cache,
        error::{
            Error,
            Result, //
        }, //
    },
    versions::trailers::{
        Dressed,
        Fate,
        Given,
        dress,
        fate, //
    }, //
};

/// A series as commits.
#[derive(Debug, Clone)]
pub struct AssembledSeries {
    /// What it was made from.
    pub plan: PlannedSeries,
    /// The names of what it builds on, in the order to apply.
    pub below: Vec<String>,
    /// What it starts from: the base, or the last patch that it builds on.
    pub parent: PatchCommit,
    /// Its patches.
    pub patches: Vec<PatchCommit>,
    /// Their messages, with what became of the trailers.
    pub dressed: Vec<Dressed>,
}

impl AssembledSeries {
    /// The name.
    pub fn name(&self) -> &str {
        self.plan.name()
    }

    /// Returns the trailers of each patch, and what becomes of them.
    pub fn trailers(&self) -> impl Iterator<Item = (&[Given], &[Fate])> {
        let patches = self.plan.patches.iter().zip(&self.dressed);
        patches.map(|(patch, dressed)| (&patch.given[..], &dressed.fates[..]))
    }

    /// The authors of the patches; `who` assembles them.
    pub fn authors(&self, who: &Identity) -> Vec<(String, String)> {
        let of = |patch: &PlannedPatch| match patch.author() {
            Some(author) => (author.name.clone(), author.email.clone()),
            None => (who.name.clone(), who.email.clone()),
        };
        self.plan.patches.iter().map(of).collect()
    }

    /// The last patch, or the parent if there is none.
    pub fn tip(&self) -> &PatchCommit {
        self.patches.last().unwrap_or(&self.parent)
    }
}

/// Everything assembled.
#[derive(Debug, Clone)]
pub struct Assembled {
    /// What all starts from.
    pub base: BaseCommit,
    /// The series, in dependency order.
    pub series: Vec<AssembledSeries>,
    /// All series in a row.
    pub all: PatchCommit,
}

impl Assembled {
    /// The series of these names or of the components of these names, or all of them if there is no
    /// name.
    ///
    /// # Errors
    ///
    /// As [`Self::chosen`].
    pub fn named(&self, names: &[String]) -> Result<Vec<&AssembledSeries>> {
        let chosen = self.chosen(names)?;
        chosen.iter().map(|name| self.find(name)).collect()
    }

    /// The names of the series that are meant by names of series and components.
    ///
    /// # Errors
    ///
    /// As [`chosen_series`].
    pub fn chosen(&self, names: &[String]) -> Result<Vec<String>> {
        chosen_series(&self.manifests(), names)
    }

    /// The steps of the relocation that later series of the same component make.
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

    /// The series of this name.
    ///
    /// # Errors
    ///
    /// There is none; the message lists those that there are.
    pub fn find(&self, name: &str) -> Result<&AssembledSeries> {
        Ok(&self.series[self.position(name)?])
    }

    /// Where the series of this name stands.
    ///
    /// # Errors
    ///
    /// As [`Self::find`].
    pub fn position(&self, name: &str) -> Result<usize> {
        let mut all = self.series.iter();
        all.position(|s| s.name() == name)
            .ok_or_else(|| unknown_series(&self.manifests(), name))
    }
}

/// What is known of a file on the way.
type State = BTreeMap<String, Entry>;

/// The series applied so far, by name.
type Chain = Vec<String>;

/// One commit to be made.
struct Step {
    from: Parent,
    /// The series in `planned`, and the patch in it.
    of: (usize, usize),
    when: u64,
    changes: Vec<Change>,
}

enum Change {
    Write(crate::patches::plan::Write),
    Known(String, Entry),
    Remove(String),
}

/// What becomes of the trailers of a patch, given by series and number.
type Fates<'a> = dyn Fn((usize, usize), &[Given]) -> Vec<Fate> + 'a;

/// Where a chain of series ends.
#[derive(Clone)]
struct Tip {
    from: Parent,
    state: State,
}

struct Work<'a> {
    git: &'a Git<'a>,
    base: &'a BaseCommit,
    who: &'a Identity,
    planned: &'a [PlannedSeries],
    /// A private folder, and an index file in it.
    scratch: std::path::PathBuf,
    index: std::path::PathBuf,
    steps: Vec<Step>,
    /// The messages of all patches, by series.
    dressed: Vec<Vec<Dressed>>,
    tips: BTreeMap<Chain, Tip>,
    /// The marks of a series' patches, by the chain that ends with it.
    marks: BTreeMap<Chain, Vec<usize>>,
}

/// Makes the commits of all series.
///
/// # Errors
///
/// An edit that finds no place, a file of ours that the base has, or git itself.
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
    let mut work = Work {
        git,
        base,
        who,
        planned: &planned,
        scratch: scratch.path().to_owned(),
        index: scratch.path().join("index"),
        steps: Vec::new(),
        dressed: Vec::new(),
        tips: BTreeMap::new(),
        marks: BTreeMap::new(),
    };
    work.start()?;
    // Most trailers hold, and then everything is made only once.
    work.dress(&|_, given| vec![Fate::Holds; given.len()]);
    for chain in chains.iter().chain([&all]) {
        work.chain(chain)?;
    }
    let mut commits = work.commit(scratch.path())?;
    if work.settle(&chains, &commits)? {
        commits = work.commit(scratch.path())?;
    }
    let (tips, marks, dressed) = (work.tips, work.marks, work.dressed);
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
        .zip(dressed)
        .zip(chains)
        .map(|((plan, dressed), chain)| AssembledSeries {
            below: chain[..chain.len() - 1].to_vec(),
            parent: end(&chain[..chain.len() - 1]),
            patches: marks[&chain]
                .iter()
                .map(|m| commits[m - 1].clone())
                .collect(),
            dressed,
            plan,
        })
        .collect();
    Ok(Assembled {
        base: base.clone(),
        series,
        all,
    })
}

impl Work<'_> {
    /// Looks up what the base has of all paths that matter.
    fn start(&mut self) -> Result<()> {
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
            return Err(Error::new("the base has this file already")
                .at(format!("{name}/tree/{path}"), None)
                .help(format!(
                    "change a file of the base with a diff in {name}/edits/"
                )));
        }
        let from = Parent::Commit(self.base.commit.clone());
        self.tips.insert(Vec::new(), Tip { from, state });
        Ok(())
    }

    /// Makes the steps of a chain, its beginning first.
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

    /// What a patch changes on what is there before it.
    fn changes(
        &self,
        patch: &PlannedPatch,
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

    /// What a commit of the user's changes on what is there before it.
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

    /// Makes the messages of all patches; `fates` says what becomes of the trailers of one.
    fn dress(&mut self, fates: &Fates<'_>) {
        let ident = self.who.ident();
        let sign_off = format!("Signed-off-by: {ident}");
        let sign_off = self.who.set.then_some(sign_off.as_str());
        let all = self.planned.iter().enumerate().map(|(of, series)| {
            let version = series.series().version;
            let patches = series.patches.iter().enumerate();
            patches
                .zip(notes::of_patches(&series.component))
                .map(|((number, patch), note)| {
                    let fates = fates((of, number), &patch.given);
                    // The author of a commit has signed it off, or is asked to by checkpatch.
                    let (text, sign_off) = match patch.commit() {
                        Some(_) => message::split_sign_off(&patch.message, &ident),
                        None => (patch.message.as_str(), sign_off),
                    };
                    let mut dressed = dress(text, version, &patch.given, &fates, sign_off);
                    let own = patch.commit().map_or("", |c| c.note.as_str());
                    dressed.note = notes::joined(own, &notes::joined(&note, &dressed.note));
                    dressed
                })
                .collect()
        });
        self.dressed = all.collect();
    }

    /// Decides about the trailers, now that it is known what the patches do. Returns whether
    /// messages changed by that.
    fn settle(&mut self, chains: &[Chain], commits: &[PatchCommit]) -> Result<bool> {
        // The patches that have trailers, and their commits where the series stands alone.
        let mut asked: Vec<((usize, usize), &Oid)> = Vec::new();
        for (of, series) in self.planned.iter().enumerate() {
            for (number, patch) in series.patches.iter().enumerate() {
                if !patch.given.is_empty() {
                    let mark = self.marks[&chains[of]][number];
                    asked.push(((of, number), &commits[mark - 1].commit));
                }
            }
        }
        if asked.is_empty() {
            return Ok(false);
        }
        let names: Vec<&Oid> = asked.iter().map(|(_, commit)| *commit).collect();
        let essences = self.git.diffs(&names)?.into_iter().map(|d| essence(&d));
        let known: BTreeMap<_, _> = asked.iter().map(|(of, _)| *of).zip(essences).collect();
        let before = std::mem::take(&mut self.dressed);
        self.dress(&|of, given| {
            let essence = known.get(&of).map_or("", String::as_str);
            given.iter().map(|g| fate(g, essence)).collect()
        });
        let messages = |all: &[Vec<Dressed>]| -> Vec<String> {
            all.iter().flatten().map(|d| d.message.clone()).collect()
        };
        Ok(messages(&before) != messages(&self.dressed))
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
                .help("the step has to fit on the patches before it")
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
        &self,
        edit: &Edit,
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
        let after = self
            .git
            .apply(&self.index, &known, &[edit.diff.as_bytes()])
            .map_err(|e| {
                let on = match before {
                    [] => "the base".to_owned(),
                    names => format!("the base plus {}", names.join(", ")),
                };
                e.at(&edit.source, None).help(format!(
                    "the diff has to fit on {on} and the patches before it; make it anew there"
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

    /// Makes all commits at once.
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
                // One ref keeps each commit from being collected.
                let name = refs::step(i + 1);
                let (of, number) = step.of;
                let message = &self.dressed[of][number].message;
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
        pairs.ok_or_else(|| Error::new("git did not name the trees of its commits"))
    }
}

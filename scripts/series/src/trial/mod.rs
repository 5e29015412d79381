// SPDX-License-Identifier: GPL-2.0

//! The state of each series on another kernel tree: applies, already there, or conflicts.
//!
//! [`crate::git::merge`] runs `git merge-tree` for each patch, [`names`] looks up the names that
//! patches add, and [`show`] prints the result. The series do not change, and the merges are not
//! kept.

pub mod names;
pub mod show;

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use self::names::{Known, Place};
use crate::{
    git::{Git, Oid, merge::What},
    kernel::base::Other,
    patches::commits::{Assembled, AssembledSeries},
    sys::{
        Result,
        ui::{Progress, Ui, Unit},
    },
};

/// The state of the series on another base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub base: Base,
    /// The release that the series are made for.
    pub made_for: String,
    /// The series, in dependency order.
    pub series: Vec<SeriesReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Base {
    /// The release in its Makefile.
    pub version: String,
    /// The source: a commit, an archive with its hash, or a package.
    pub from: String,
    pub tree: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeriesReport {
    pub name: String,
    /// The series below it, whose patches are merged first.
    pub below: Vec<String>,
    pub patches: Vec<PatchReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PatchReport {
    /// The number in the series, from 1.
    pub number: usize,
    pub subject: String,
    pub is: Is,
    pub conflicts: Vec<Conflict>,
    /// The added names that the other base has.
    pub there: Vec<Place>,
    /// The added names that the other base lacks.
    pub new: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Is {
    /// The patch merges without conflict.
    Applies,
    /// The merge changes nothing, or the other base has every name that the patch adds.
    There,
    Conflicts,
    /// The patch conflicts only because the other base lacks files that it changes.
    NeedsFile,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    pub path: String,
    pub what: What,
    /// The lines of the conflicts, counted in the state before the patch.
    pub lines: Vec<usize>,
    /// The earlier patch that already conflicts in this file.
    pub since: Option<Cause>,
    /// The new path of the file, if these series move it and the other base has it there.
    pub moved: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    pub series: String,
    /// The number in the series, from 1.
    pub patch: usize,
}

/// The other base with the changes of some series that merge.
#[derive(Clone)]
struct End {
    tree: Oid,
    /// The first patch that conflicts, by file. These files lack the changes in conflict.
    lacking: BTreeMap<String, Cause>,
    /// The patches of the last series, without their names.
    patches: Vec<PatchReport>,
}

struct Port<'a> {
    git: Git<'a>,
    /// The folder of merged objects and the index.
    scratch: &'a Path,
    progress: Progress,
    /// The new paths of moved files that the other base has, by the old path.
    moved: BTreeMap<&'a str, &'a str>,
}

/// Merges the chosen series onto another base, each after the series below it.
pub fn series(
    git: &Git<'_>,
    scratch: &Path,
    assembled: &Assembled,
    chosen: &[String],
    other: &Other,
    ui: &Ui,
) -> Result<Vec<SeriesReport>> {
    let tree = &other.commit.tree;
    let patches: usize = assembled.series.iter().map(|s| s.patches.len()).sum();
    let mut port = Port {
        git: git.with_objects_in(scratch),
        scratch,
        progress: ui.progress("merging the patches", patches as u64, Unit::Things),
        moved: moved(git, assembled, tree)?,
    };
    let is_chosen = |s: &&AssembledSeries| chosen.iter().any(|c| c == s.name());
    let all: Vec<_> = assembled.series.iter().filter(is_chosen).collect();
    let added = all.iter().map(|one| names::added(git, one));
    let added = added.collect::<Result<Vec<_>>>()?;
    let known = Known::read(git, tree, added.iter().flatten().flatten())?;
    let start = End {
        tree: tree.clone(),
        lacking: BTreeMap::new(),
        patches: Vec::new(),
    };
    // The states after series, by the names of the series in the order in which they apply.
    let mut ends = BTreeMap::from([(Vec::new(), start)]);
    let mut reports = Vec::new();
    for (one, added) in all.into_iter().zip(&added) {
        let mut chain = Vec::new();
        for name in one.below.iter().map(String::as_str).chain([one.name()]) {
            let before = ends[&chain].clone();
            chain.push(name);
            if !ends.contains_key(&chain) {
                let end = port.merge(assembled.find(name)?, before)?;
                ends.insert(chain.clone(), end);
            }
        }
        let patches = ends[&chain].patches.iter().cloned().zip(added);
        reports.push(SeriesReport {
            name: one.name().to_owned(),
            below: one.below.clone(),
            patches: patches
                .map(|(p, added)| p.with_names(added, &known))
                .collect(),
        });
    }
    port.progress.done();
    Ok(reports)
}

/// Returns the moves of all series whose new path exists in a tree.
fn moved<'a>(
    git: &Git<'_>,
    assembled: &'a Assembled,
    tree: &Oid,
) -> Result<BTreeMap<&'a str, &'a str>> {
    let patches = assembled.series.iter().flat_map(|s| &s.plan.patches);
    let moves = patches
        .filter_map(|p| p.relocate.as_ref())
        .flat_map(|s| &s.moves);
    let mut moves: BTreeMap<&str, &str> = moves.map(|(a, b)| (&a[..], &b[..])).collect();
    let paths: Vec<String> = moves.values().map(|p| p.to_string()).collect();
    let there = git.entries(tree, &paths)?;
    moves.retain(|_, to| there.contains_key(*to));
    Ok(moves)
}

impl PatchReport {
    fn new(number: usize, subject: &str, changes: bool, conflicts: Vec<Conflict>) -> Self {
        let is = if conflicts.is_empty() {
            if changes { Is::Applies } else { Is::There }
        } else if conflicts.iter().all(|c| c.what == What::Missing) {
            Is::NeedsFile
        } else {
            Is::Conflicts
        };
        Self {
            number,
            subject: subject.to_owned(),
            is,
            conflicts,
            there: Vec::new(),
            new: Vec::new(),
        }
    }

    fn with_names(mut self, added: &[Place], known: &Known) -> Self {
        for name in added {
            match known.place(name) {
                Some(place) => self.there.push(place),
                None => self.new.push(name.name.clone()),
            }
        }
        if !self.there.is_empty() && self.new.is_empty() {
            self.is = Is::There;
        }
        self
    }
}

impl Port<'_> {
    /// Merges the patches of a series. Leaves a file with a conflict unchanged.
    fn merge(&mut self, one: &AssembledSeries, before: End) -> Result<End> {
        let mut end = End {
            patches: Vec::new(),
            ..before
        };
        for (number, (planned, parent, patch)) in (1..).zip(one.steps()) {
            let index = self.scratch.join("index");
            let merged = self
                .git
                .merge(&index, &parent.commit, &patch.tree, &end.tree)?;
            let conflicts = merged.conflicts.into_iter().map(|(path, what, lines)| {
                let since = end.lacking.get(&path).cloned();
                end.lacking.entry(path.clone()).or_insert(Cause {
                    series: one.name().to_owned(),
                    patch: number,
                });
                Conflict {
                    moved: self.moved.get(&path[..]).map(|to| to.to_string()),
                    path,
                    what,
                    lines,
                    since,
                }
            });
            let (subject, changes) = (&planned.subject, merged.tree != end.tree);
            let report = PatchReport::new(number, subject, changes, conflicts.collect());
            end.patches.push(report);
            end.tree = merged.tree;
            self.progress.add(1);
        }
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(changes: bool, conflicts: &[What], names: &[&str]) -> Is {
        let conflicts = conflicts.iter().map(|what| Conflict {
            path: "a.rs".to_owned(),
            what: *what,
            lines: Vec::new(),
            since: None,
            moved: None,
        });
        let added = names.iter().map(|name| Place {
            name: name.to_string(),
            file: "a.rs".to_owned(),
            line: 1,
        });
        let known = Known::of(&[("there", "a.rs", 3)]);
        let added: Vec<Place> = added.collect();
        let report = PatchReport::new(1, "a: b", changes, conflicts.collect());
        report.with_names(&added, &known).is
    }

    #[test]
    fn patch_result() {
        use What::{Content, Missing};
        assert_eq!(result(true, &[], &[]), Is::Applies);
        assert_eq!(result(true, &[], &["there", "new"]), Is::Applies);
        assert_eq!(result(false, &[], &[]), Is::There);
        assert_eq!(result(false, &[Content], &[]), Is::Conflicts);
        assert_eq!(result(true, &[Content, Missing], &["new"]), Is::Conflicts);
        assert_eq!(result(true, &[Content], &["there"]), Is::There);
        assert_eq!(result(false, &[Missing], &[]), Is::NeedsFile);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A commit of a branch on the assembled series below it.

use std::{collections::BTreeMap, path::Path};

use crate::{
    branches::read,
    git::{Entry, Git, Oid, merge::Merger},
    source::{
        branch::{Change, Commit},
        manifest::Series,
    },
    sys::{
        error::{Error, Result},
        runner::must,
    },
};

/// Files of a tree by path.
type State = BTreeMap<String, Entry>;

/// The tree that a commit is applied to.
pub struct Onto<'a> {
    /// The tree of the base.
    pub base: &'a Oid,
    /// The files of the base that some series touches.
    pub of_base: &'a State,
    /// The present state of these files.
    pub now: &'a State,
}

/// The result of applying a commit to a tree.
pub enum Replayed {
    /// It changes these files.
    Changes(Vec<Change>),
    /// The tree has all changes of the series.
    Merged,
    /// It conflicts in these files.
    Conflicts(Vec<String>),
}

/// Applies a commit of a series to a tree. `all` are the commits of the series.
pub fn changes(
    git: &Git<'_>,
    scratch: &Path,
    all: &[&Commit],
    commit: &Commit,
    onto: &Onto<'_>,
) -> Result<Replayed> {
    // The files are as the commit's parent has them, so that there is nothing to merge.
    if commit
        .changes
        .iter()
        .all(|c| onto.now.get(&c.path) == c.old.as_ref())
    {
        return Ok(Replayed::Changes(commit.changes.clone()));
    }
    let tree = tree(git, scratch, onto)?;
    let merger = Merger::in_repository(git, scratch);
    let merged = merger.merge_shallow(&commit.parent, &commit.commit, &tree)?;
    let is_missing = merged.tree != tree || !merged.conflicts.is_empty();
    if !is_missing || has_all(&merger, all, &tree)? {
        return Ok(Replayed::Merged);
    }
    if !merged.conflicts.is_empty() {
        let files = merged.conflicts.into_iter().map(|(path, ..)| path);
        return Ok(Replayed::Conflicts(files.collect()));
    }
    read::changes(git, &tree, &merged.tree).map(Replayed::Changes)
}

/// Returns whether a tree has the changes of all commits together.
fn has_all(merger: &Merger<'_>, all: &[&Commit], tree: &Oid) -> Result<bool> {
    let (Some(first), Some(last)) = (all.first(), all.last()) else {
        return Ok(false);
    };
    let merged = merger.merge_shallow(&first.parent, &last.commit, tree)?;
    Ok(merged.conflicts.is_empty() && merged.tree == *tree)
}

/// Returns the changes of a commit on the base and the series in `below`.
pub fn judge(
    replayed: Replayed,
    commit: &Commit,
    series: &Series,
    below: &[String],
) -> Result<Vec<Change>> {
    let on = match below {
        [] => "the base".to_owned(),
        names => format!("the base and {}", names.join(", ")),
    };
    let branch = series.branch.as_ref();
    let place = |what: &str| {
        let what = format!("commit {} ({:?}) {what}", commit.short(), commit.subject());
        let error = Error::new(format!("{}: {what}", series.name));
        error.at(series.file(), branch.map(|b| b.line))
    };
    match replayed {
        Replayed::Merged => Err(
            place(&format!("changes nothing: its changes are in {on}")).help(format!(
                "{};\nif only this commit was merged, rebase the branch",
                read::dropping(series)
            )),
        ),
        Replayed::Changes(changes) => Ok(changes),
        Replayed::Conflicts(files) => {
            let branch = branch.map_or("", |b| b.value.as_str());
            let help = match below.last() {
                Some(last) if !series.depends.iter().any(|d| d.value == *last) => format!(
                    "all series are built together: if {} and {last} change the same lines, let one \
                     of them depend on the other",
                    series.name
                ),
                last => format!(
                    "rebase {branch} on {} and resolve the conflict there",
                    last.map_or("the base", String::as_str)
                ),
            };
            Err(place(&format!("conflicts with {on}"))
                .detail(files.join("\n"))
                .help(help))
        }
    }
}

/// Writes the tree that a commit is applied to.
fn tree(git: &Git<'_>, scratch: &Path, onto: &Onto<'_>) -> Result<Oid> {
    let index = scratch.join("replay-index");
    let private = |args: &[&str]| git.cmd(args).env("GIT_INDEX_FILE", &index);
    must(git.runner(), &private(&["read-tree", onto.base.as_str()]))?;
    let zero = "0".repeat(40);
    let mut info = String::new();
    for (path, entry) in onto
        .now
        .iter()
        .filter(|(p, e)| onto.of_base.get(*p) != Some(*e))
    {
        info += &format!("{} {}\t{path}\0", entry.mode.as_str(), entry.blob);
    }
    for path in onto.of_base.keys().filter(|p| !onto.now.contains_key(*p)) {
        info += &format!("0 {zero}\t{path}\0");
    }
    let update = private(&["update-index", "-z", "--index-info"]);
    must(git.runner(), &update.stdin(info))?;
    let out = must(git.runner(), &private(&["write-tree"]))?.text();
    Oid::parse(&out).ok_or_else(|| Error::new("git write-tree named no tree"))
}

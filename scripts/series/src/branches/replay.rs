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
    sys::{Error, Result, must},
};

type State = BTreeMap<String, Entry>;

/// The tree that a commit is applied to.
pub struct Onto<'a> {
    pub base: &'a Oid,
    /// The files of the base that some series touches.
    pub of_base: &'a State,
    /// The present state of these files.
    pub now: &'a State,
    /// The series on the base.
    pub below: &'a [String],
}

/// Applies a commit of a series to a tree, and returns the files that it changes there. `all` are
/// the commits of the series.
pub fn changes(
    git: &Git<'_>,
    scratch: &Path,
    series: &Series,
    all: &[&Commit],
    commit: &Commit,
    onto: &Onto<'_>,
) -> Result<Vec<Change>> {
    // The files are as the commit's parent has them, so that there is nothing to merge.
    let is_same = |c: &Change| onto.now.get(&c.path) == c.old.as_ref();
    if commit.changes.iter().all(is_same) {
        return Ok(commit.changes.clone());
    }
    let on = match onto.below {
        [] => "the base".to_owned(),
        names => format!("the base and {}", names.join(", ")),
    };
    let error = |what: &str| {
        let (name, short, subject) = (&series.name, commit.short(), commit.subject());
        let what = format!("{name}: commit {short} ({subject:?}) {what}");
        series.error(series.branch.as_ref().map(|b| b.line), what)
    };
    let tree = tree(git, scratch, onto)?;
    let merger = Merger::in_repository(git, scratch);
    let merged = merger.merge_shallow(&commit.parent, &commit.commit, &tree)?;
    let is_there = merged.tree == tree && merged.conflicts.is_empty();
    if is_there || has_all(&merger, all, &tree)? {
        let error = error(&format!("changes nothing: its changes are in {on}"));
        return Err(error.help(format!(
            "{};\nif only this commit was merged, rebase the branch",
            read::dropping(series)
        )));
    }
    if merged.conflicts.is_empty() {
        return read::changes(git, &tree, &merged.tree);
    }
    let files = merged.conflicts.into_iter().map(|(path, ..)| path);
    let files = files.collect::<Vec<_>>().join("\n");
    let error = error(&format!("conflicts with {on}")).detail(files);
    Err(error.help(conflict_help(series, onto.below)))
}

fn conflict_help(series: &Series, below: &[String]) -> String {
    match below.last() {
        Some(last) if !series.depends.iter().any(|d| d.value == *last) => format!(
            "all series are built together: if {} and {last} change the same lines, let one of \
             them depend on the other",
            series.name
        ),
        last => format!(
            "rebase {} on {} and resolve the conflict there",
            series.branch.as_ref().map_or("", |b| b.value.as_str()),
            last.map_or("the base", String::as_str)
        ),
    }
}

/// Returns whether a tree has the changes of all commits together.
fn has_all(merger: &Merger<'_>, all: &[&Commit], tree: &Oid) -> Result<bool> {
    let (Some(first), Some(last)) = (all.first(), all.last()) else {
        return Ok(false);
    };
    let merged = merger.merge_shallow(&first.parent, &last.commit, tree)?;
    Ok(merged.conflicts.is_empty() && merged.tree == *tree)
}

/// Writes the tree that a commit is applied to.
fn tree(git: &Git<'_>, scratch: &Path, onto: &Onto<'_>) -> Result<Oid> {
    let index = scratch.join("replay-index");
    let private = |args: &[&str]| git.cmd(args).env("GIT_INDEX_FILE", &index);
    must(git.runner(), &private(&["read-tree", onto.base.as_str()]))?;
    let mut info = String::new();
    for (path, Entry { mode, blob }) in onto.now {
        info += &format!("{} {blob}\t{path}\0", mode.as_str());
    }
    for path in onto.of_base.keys().filter(|p| !onto.now.contains_key(*p)) {
        info += &format!("0 {:040}\t{path}\0", 0);
    }
    let update = private(&["update-index", "-z", "--index-info"]);
    must(git.runner(), &update.stdin(info))?;
    let out = must(git.runner(), &private(&["write-tree"]))?.text();
    Oid::parse(&out).ok_or_else(|| Error::new("git write-tree named no tree"))
}

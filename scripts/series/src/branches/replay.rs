// SPDX-License-Identifier: GPL-2.0

//! A commit of a branch on the assembled series below it.

use std::{collections::BTreeMap, path::Path};

use crate::{
    branches::read,
    git::{Entry, Git, Oid, merge::Merged},
    source::{
        branch::{Change, Commit},
        manifest::Series,
    },
    sys::Result,
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

/// Returns the files that a commit changes in a tree. `all` are the commits of its series.
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
    let index = scratch.join("replay-index");
    let removed = onto
        .of_base
        .keys()
        .filter(|path| !onto.now.contains_key(*path));
    let present = onto.now.iter().map(|(path, entry)| (path, Some(entry)));
    let files = present.chain(removed.map(|path| (path, None)));
    let tree = git.changed_tree(&index, onto.base, files)?;
    let merge = |first: &Commit, last: &Commit| {
        let last = git.tree_of(&last.commit)?;
        git.merge(&index, &first.parent, &last, &tree)
    };
    let is_there = |merged: &Merged| merged.conflicts.is_empty() && merged.tree == tree;
    let merged = merge(commit, commit)?;
    if is_there(&merged) || matches!(all, [first, .., last] if is_there(&merge(first, last)?)) {
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

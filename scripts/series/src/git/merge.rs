// SPDX-License-Identifier: GPL-2.0

//! Three-way merges of commits by `git merge-tree`, without a checkout.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use crate::{
    git::{Author, Entry, Git, Oid},
    sys::{Error, Result, failed},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Both sides change the same lines.
    Content,
    /// Both sides add the file, with different content.
    BothAdd,
    /// The patch changes a file that the other tree does not have.
    Missing,
    /// The patch removes a file that the other tree has changed.
    Removes,
    /// Another conflict, such as a folder in place of a file.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The merged tree. A file with a conflict keeps its content from the other tree.
    pub tree: Oid,
    /// The files with conflicts: path, kind, and lines in the other tree.
    pub conflicts: Vec<(String, What, Vec<usize>)>,
}

/// The stages of the index that hold a path: base, other tree, patch.
type Stages = [Option<Entry>; 3];

impl Git<'_> {
    /// Merges the changes from the commit `parent` to the tree `patch` onto a tree, in a private
    /// index. A conflict is not an error.
    pub fn merge(&self, index: &Path, parent: &Oid, patch: &Oid, onto: &Oid) -> Result<Merged> {
        // Older versions than git 2.40 lack --merge-base, so create commits with the right parent.
        let who = Author::new("series", "series@localhost", 0);
        let on_parent = |tree: &Oid| self.commit(tree, Some(parent), &who, &who, "merge\n");
        let (onto, patch) = (on_parent(onto)?, on_parent(patch)?);
        let cmd = self
            .cmd(["-c", "merge.conflictStyle=merge"])
            // As git am --3way does.
            .args(["-c", "merge.directoryRenames=false"])
            .args([
                "merge-tree",
                "--write-tree",
                "-z",
                onto.as_str(),
                patch.as_str(),
            ]);
        let out = self.try_run(&cmd)?;
        if !matches!(out.code, Some(0 | 1)) {
            return Err(failed(&cmd, &out));
        }
        let (mut tree, paths) = parse(&String::from_utf8_lossy(&out.stdout))
            .ok_or_else(|| Error::new("git merge-tree printed something unexpected"))?;
        let mut conflicts = Vec::new();
        for (path, stages) in &paths {
            let what = what(stages);
            let mut lines = Vec::new();
            if matches!(what, What::Content | What::BothAdd) {
                let marked_file = self.must(["cat-file", "blob", &format!("{tree}:{path}")])?;
                lines = marked(&String::from_utf8_lossy(&marked_file.stdout));
            }
            conflicts.push((path.clone(), what, lines));
        }
        if !paths.is_empty() {
            // A file with a conflict is as in the other tree.
            let theirs = paths
                .iter()
                .map(|(path, [_, theirs, _])| (path, theirs.as_ref()));
            tree = self.changed_tree(index, &tree, theirs)?;
        }
        Ok(Merged { tree, conflicts })
    }
}

/// Parses the output of `merge-tree -z`: the tree, and the entries with conflicts.
fn parse(text: &str) -> Option<(Oid, BTreeMap<String, Stages>)> {
    let mut fields = text.split('\0');
    let tree = Oid::parse(fields.next()?.trim_end())?;
    let mut paths: BTreeMap<String, Stages> = BTreeMap::new();
    for entry in fields.take_while(|f| !f.is_empty()) {
        let (words, path) = entry.split_once('\t')?;
        let stage: usize = words.rsplit(' ').next()?.parse().ok()?;
        let stages = paths.entry(path.to_owned()).or_default();
        *stages.get_mut(stage.checked_sub(1)?)? = Some(Entry::parse(words)?);
    }
    Some((tree, paths))
}

fn what(stages: &Stages) -> What {
    match stages.each_ref().map(Option::is_some) {
        [true, true, true] => What::Content,
        [false, true, true] => What::BothAdd,
        [true, false, true] => What::Missing,
        [true, true, false] => What::Removes,
        _ => What::Other,
    }
}

/// Returns the lines of conflicts, counted in the first side between the markers.
fn marked(text: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    let (mut line, mut second) = (1, false);
    for content in text.lines() {
        if content.starts_with("<<<<<<< ") {
            lines.push(line);
        } else if content == "=======" {
            second = true;
        } else if content.starts_with(">>>>>>> ") {
            second = false;
        } else if !second {
            line += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        git::{Mode, Parent},
        sys::runner::System,
    };

    type Files<'a> = &'a [(&'a str, &'a str)];

    /// Creates a commit with exactly these files.
    fn commit(git: &Git<'_>, parent: Option<&Oid>, files: Files<'_>) -> Oid {
        let scratch = tempfile::tempdir().unwrap();
        let who = Author::new("A", "a@example.org", 1);
        let old = parent.map_or(String::new(), |p| {
            let listing = git.must(["ls-tree", "-r", "--name-only", p.as_str()]);
            listing.unwrap().text()
        });
        let from = parent.map_or(Parent::Nothing, |p| Parent::Commit(p.clone()));
        let commits = git.fast_import(scratch.path(), &mut |to| {
            to.commit("refs/heads/x", 1, &who, &who, "m\n", &from)?;
            old.lines().try_for_each(|path| to.set(path, None))?;
            let mut files = files.iter();
            files.try_for_each(|(path, text)| to.file(Mode::Plain, path, text.as_bytes()))
        });
        commits.unwrap().remove(0).commit
    }

    struct Case {
        /// Whether the tree changed.
        changes: bool,
        conflicts: Vec<(String, What, Vec<usize>)>,
        files: BTreeMap<String, String>,
    }

    /// Merges a patch onto another tree and reads the result.
    fn case(base: Files<'_>, patch: Files<'_>, other: Files<'_>) -> Case {
        let dir = tempfile::tempdir().unwrap();
        let git = Git::new(&System, dir.path());
        git.must(["init", "--quiet"]).unwrap();
        let base = commit(&git, None, base);
        let patch = commit(&git, Some(&base), patch);
        let onto = git.tree_of(&commit(&git, None, other)).unwrap();
        let count = || git.must(["count-objects", "-v"]).unwrap().text();
        let before = count();
        let scratch = tempfile::tempdir().unwrap();
        let private = git.with_objects_in(scratch.path());
        let patch = git.tree_of(&patch).unwrap();
        let index = scratch.path().join("index");
        let merged = private.merge(&index, &base, &patch, &onto).unwrap();
        assert_eq!(count(), before, "objects of merges are not kept");
        let read = |args: &[&str]| private.must(args).unwrap().text();
        let tree = merged.tree.as_str();
        let paths = read(&["ls-tree", "-r", "--name-only", tree]);
        let files = paths.lines().map(|path| {
            let content = read(&["cat-file", "blob", &format!("{tree}:{path}")]);
            (path.to_owned(), content)
        });
        Case {
            changes: merged.tree != onto,
            files: files.collect(),
            conflicts: merged.conflicts,
        }
    }

    fn lines(second: &str, last: &str) -> String {
        format!("1\n{second}\n3\n4\n5\n6\n7\n{last}\n9\n")
    }

    #[test]
    fn merge_clean() {
        let (base, patch) = (lines("2", "8"), lines("two", "8"));
        let other = format!("0\n{}", lines("2", "eight"));
        let done = case(&[("a", &base)], &[("a", &patch)], &[("a", &other)]);
        assert!(done.changes && done.conflicts.is_empty());
        assert_eq!(
            done.files["a"],
            format!("0\n{}", lines("two", "eight")).trim_end()
        );
        // The other tree has the change already.
        let other = lines("two", "eight");
        let done = case(&[("a", &base)], &[("a", &patch)], &[("a", &other)]);
        assert!(!done.changes && done.conflicts.is_empty());
        // The other tree has moved the file.
        let done = case(&[("a", &base)], &[("a", &patch)], &[("to/a", &base)]);
        assert!(done.changes && done.conflicts.is_empty());
        assert_eq!(done.files["to/a"], patch.trim_end());
    }

    #[test]
    fn merge_conflict_keeps_other() {
        let (base, patch) = (lines("2", "8"), lines("two", "acht"));
        let other = format!("0\n{}", lines("zwei", "eight"));
        let done = case(
            &[("a", &base), ("b", "1\n")],
            &[("a", &patch), ("b", "1\n"), ("c", "new\n")],
            &[("a", &other), ("b", "2\n")],
        );
        let conflict = ("a".to_owned(), What::Content, vec![3, 9]);
        assert_eq!(done.conflicts, [conflict]);
        assert_eq!(done.files["a"], other.trim_end());
        assert_eq!((&done.files["b"][..], &done.files["c"][..]), ("2", "new"));
    }

    #[test]
    fn merge_conflict_kinds() {
        let base = [("gone", "1\n"), ("changed", "1\n"), ("same", "1\n")];
        let patch = [("gone", "2\n"), ("new", "2\n"), ("same", "1\n")];
        let other = [("changed", "3\n"), ("new", "3\n"), ("same", "1\n")];
        let done = case(&base, &patch, &other);
        let kinds: Vec<_> = done
            .conflicts
            .iter()
            .map(|(p, what, _)| (&p[..], *what))
            .collect();
        assert_eq!(
            kinds,
            [
                ("changed", What::Removes),
                ("gone", What::Missing),
                ("new", What::BothAdd),
            ]
        );
        assert!(!done.changes, "{:?}", done.files);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Three-way merges of commits by `git merge-tree`, without a checkout.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    git::{Entry, Git, Oid},
    sys::{Cmd, Error, Result, failed},
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

pub struct Merger<'a> {
    git: &'a Git<'a>,
    scratch: PathBuf,
    /// Whether a change of a file applies to the file to which the other side moved it.
    follows_renames: bool,
    /// Whether new objects go to a private folder below `scratch`.
    is_private: bool,
}

/// The stages of the index that hold a path: base, other tree, patch.
type Stages = [Option<Entry>; 3];

impl<'a> Merger<'a> {
    /// Creates a merger that writes its objects below `scratch`.
    pub fn new(git: &'a Git<'a>, scratch: &Path) -> Result<Self> {
        let objects = scratch.join("objects");
        std::fs::create_dir_all(&objects).map_err(|e| Error::io("create", &objects, &e))?;
        let mut merger = Self::in_repository(git, scratch);
        merger.is_private = true;
        Ok(merger)
    }

    /// Creates a merger that writes its objects into the repository.
    pub fn in_repository(git: &'a Git<'a>, scratch: &Path) -> Self {
        Self {
            git,
            scratch: scratch.to_owned(),
            follows_renames: true,
            is_private: false,
        }
    }

    /// As [`Self::in_repository`], but a change of a moved file is a conflict. git 2.47 ignores the
    /// setting and follows renames anyway.
    pub fn without_renames(git: &'a Git<'a>, scratch: &Path) -> Self {
        let mut merger = Self::in_repository(git, scratch);
        merger.follows_renames = false;
        merger
    }

    fn cmd(&self, args: &[&str]) -> Cmd {
        let index = self.scratch.join("merge-index");
        let cmd = self.git.cmd(args).env("GIT_INDEX_FILE", index);
        if !self.is_private {
            return cmd;
        }
        let known = self.git.dir().join(".git/objects");
        cmd.env("GIT_OBJECT_DIRECTORY", self.scratch.join("objects"))
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", known)
    }

    /// Merges the changes from `parent` to `patch` onto the tree `onto`. A conflict is not an error.
    pub fn merge(&self, parent: &Oid, patch: &Oid, onto: &Oid) -> Result<Merged> {
        // Older versions than git 2.40 lack --merge-base, so create a commit with the right parent.
        let onto = self.commit(onto, parent)?;
        // As git am --3way does.
        let renames = format!("merge.renames={}", self.follows_renames);
        let cmd = self
            .cmd(&["-c", "merge.conflictStyle=merge", "-c", &renames])
            .args(["-c", "merge.directoryRenames=false"]);
        let cmd = cmd.args(["merge-tree", "--write-tree", "-z"]);
        let cmd = cmd.args([onto.as_str(), patch.as_str()]);
        let out = self.git.try_run(&cmd)?;
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
                let show = self.cmd(&["cat-file", "blob", &format!("{tree}:{path}")]);
                lines = marked(&String::from_utf8_lossy(&self.git.run(&show)?.stdout));
            }
            conflicts.push((path.clone(), what, lines));
        }
        if !paths.is_empty() {
            tree = self.without(&tree, &paths)?;
        }
        Ok(Merged { tree, conflicts })
    }

    /// Merges as [`Self::merge`], if the parent of the patch is cut off in this repository.
    pub fn merge_shallow(&self, parent: &Oid, patch: &Oid, onto: &Oid) -> Result<Merged> {
        let patch = self.commit(&self.git.tree_of(patch)?, parent)?;
        self.merge(parent, &patch, onto)
    }

    fn commit(&self, tree: &Oid, parent: &Oid) -> Result<Oid> {
        let who = "series <series@localhost> 0 +0000";
        let commit =
            format!("tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\nmerge\n");
        let hash = self.cmd(&["hash-object", "-t", "commit", "-w", "--stdin"]);
        self.git.oid(&hash.stdin(commit))
    }

    /// Returns the merged tree, with the other tree's version of each file with a conflict.
    fn without(&self, tree: &Oid, paths: &BTreeMap<String, Stages>) -> Result<Oid> {
        self.git.run(&self.cmd(&["read-tree", tree.as_str()]))?;
        let zero = "0".repeat(40);
        let info = paths.iter().map(|(path, [_, theirs, _])| match theirs {
            Some(entry) => entry.index_info(path),
            None => format!("0 {zero}\t{path}\0"),
        });
        let update = self.cmd(&["update-index", "-z", "--index-info"]);
        self.git.run(&update.stdin(info.collect::<String>()))?;
        self.git.oid(&self.cmd(&["write-tree"]))
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
        git::{Identity, Mode, Parent, Signature},
        sys::runner::System,
    };

    type Files<'a> = &'a [(&'a str, &'a str)];

    /// Creates a commit with exactly these files.
    fn commit(git: &Git<'_>, parent: Option<&Oid>, files: Files<'_>) -> Oid {
        let scratch = tempfile::tempdir().unwrap();
        let who = Identity {
            name: "A".into(),
            email: "a@example.org".into(),
            set: true,
        };
        let stamp = Signature { who, when: 1 };
        let old = parent.map_or(String::new(), |p| {
            let listing = git.must(["ls-tree", "-r", "--name-only", p.as_str()]);
            listing.unwrap().text()
        });
        let from = parent.map_or(Parent::Nothing, |p| Parent::Commit(p.clone()));
        let commits = git.fast_import(scratch.path(), &mut |to| {
            to.commit("refs/heads/x", 1, &stamp, "m\n", &from)?;
            old.lines().try_for_each(|path| to.remove(path))?;
            let mut files = files.iter();
            files.try_for_each(|(path, text)| to.file(Mode::Plain, path, text.as_bytes()))
        });
        commits.unwrap().remove(0)
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
        let merger = Merger::new(&git, scratch.path()).unwrap();
        let merged = merger.merge(&base, &patch, &onto).unwrap();
        assert_eq!(count(), before, "objects of merges are not kept");
        let read = |args: &[&str]| git.run(&merger.cmd(args)).unwrap().text();
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

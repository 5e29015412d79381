// SPDX-License-Identifier: GPL-2.0

//! The refs of the tool in its kernel repository, and the locks of the cache that cover them.

use std::{fs, path::Path};

use super::Git;
use crate::sys::{Result, cache::Resource, files::remove_below};

/// The branch that the build tree is on. b4 requires a branch.
pub const BRANCH: &str = "series";

pub const B4: &str = "refs/heads/b4";

/// Commits made from archives, by the hash of the archive.
pub const ARCHIVES: &str = "refs/series/archive";

pub const BASES: &str = "refs/series/base";

/// The commit that the build tree has checked out.
pub const CHECKED_OUT: &str = "refs/series/tree/checked-out";

pub fn archive(sha256: &str) -> String {
    format!("{ARCHIVES}/{sha256}")
}

pub fn base(name: &str) -> String {
    format!("{BASES}/{name}")
}

/// Returns the ref of the user's commit that a base was imported from.
pub fn public(base: &str) -> String {
    format!("refs/series/public/{base}")
}

/// Returns the ref that an unfinished import writes to.
pub fn import(what: &str) -> String {
    format!("refs/series/import/{what}")
}

/// Returns the ref of a kernel that is not a base of the workspace.
pub fn other(name: &str) -> String {
    format!("refs/series/port/{name}")
}

/// Returns the ref of the commits restored from a record.
pub fn posted(key: &str) -> String {
    format!("refs/series/posted/{key}")
}

/// Returns the ref that keeps the commits of one chain of series.
pub fn step(number: usize) -> String {
    format!("refs/series/steps/{number}")
}

/// Returns the refs that keep the commits of a series with a branch.
pub fn branch_commits(name: &str) -> String {
    format!("refs/series/branch/{name}")
}

/// Returns the refs of the last tips of lower branches that the branch was seen to contain.
pub fn fork_points(name: &str) -> String {
    format!("refs/series/fork-point/{name}")
}

/// Returns the ref of the last state of b4's branch that the tool wrote.
pub fn b4_seen(branch: &str) -> String {
    format!("refs/series/b4/{branch}")
}

/// Returns the ref of the last state of the work tree for `prepare` that the tool wrote.
pub fn send(name: &str) -> String {
    format!("refs/series/send/{name}")
}

/// Returns what a lock covers in `.git`: names below `refs/series`, and other files and folders.
fn covered(resource: Resource) -> (&'static str, &'static str) {
    match resource {
        Resource::Base => ("archive base import port public", "shallow"),
        Resource::Refs => (
            "b4 branch fork-point send steps posted",
            "refs/heads/b4 refs/tags/sent logs/refs/heads/b4 worktrees config packed-refs",
        ),
        Resource::Tree => ("tree", "index HEAD refs/heads/series"),
        // These resources have separate repositories.
        Resource::Full | Resource::Tools => ("", ""),
    }
}

/// The folder of the refs, and the name of the branch, in versions of the tool for one project.
const OLD_REFS: &str = "refs/nova-series";
const OLD_BRANCH: &str = "nova-series";

/// Reports whether a repository has refs with the names of earlier versions.
pub fn has_old_names(git: &Git<'_>) -> bool {
    git.dir().join(".git").join(OLD_REFS).is_dir()
}

/// Renames refs of earlier versions. The caller holds the locks of the cache that cover them.
pub fn rename_old(git: &Git<'_>) -> Result<()> {
    let format = "--format=%(objectname) %(refname)";
    let old = git.must(["for-each-ref", format, OLD_REFS])?.text();
    let mut input = String::new();
    for (object, name) in old.lines().filter_map(|l| l.split_once(' ')) {
        let new = name.replacen(OLD_REFS, "refs/series", 1);
        input += &format!("update {new} {object}\ndelete {name}\n");
    }
    git.run(&git.cmd(["update-ref", "--stdin"]).stdin(input))?;
    let head = git.must(["symbolic-ref", "HEAD"])?.text();
    if git.resolve(&format!("refs/heads/{OLD_BRANCH}"))?.is_some() {
        git.must(["branch", "--move", "--force", OLD_BRANCH, BRANCH])?;
    } else if head.trim() == format!("refs/heads/{OLD_BRANCH}") {
        git.must(["symbolic-ref", "HEAD", &format!("refs/heads/{BRANCH}")])?;
    }
    // git leaves empty folders.
    remove_empty(&git.dir().join(".git").join(OLD_REFS));
    Ok(())
}

fn remove_empty(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        remove_empty(&entry.path());
    }
    // Removing a folder with files fails, so it stays.
    let _ = fs::remove_dir(dir);
}

impl Git<'_> {
    /// Removes lock files that a killed run left. The caller holds the lock of the cache on
    /// `resource`, and the cache reported that the last holder died.
    pub fn remove_stale_locks(&self, resource: Resource) {
        let dir = self.dir().join(".git");
        // Other runs may be using the other resources.
        let (ours, others) = covered(resource);
        let ours = ours
            .split_whitespace()
            .map(|name| format!("refs/series/{name}"));
        for name in ours.chain(others.split_whitespace().map(str::to_owned)) {
            remove_below(&dir.join(&name), &|file| file.ends_with(".lock"));
            let _ = fs::remove_file(dir.join(name + ".lock"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::runner::System;

    #[test]
    fn rename_old_moves_refs_and_branch() {
        let dir = tempfile::tempdir().unwrap();
        let git = Git::new(&System, dir.path());
        git.must(["init", "--quiet", "--initial-branch=nova-series"])
            .unwrap();
        let commit = ["commit", "--quiet", "--allow-empty", "-m", "x"];
        let who = ["-c", "user.name=A", "-c", "user.email=a@b.org"];
        git.must(who.into_iter().chain(commit)).unwrap();
        for name in ["base/6.1.2", "b4/list"] {
            git.must(["update-ref", &format!("{OLD_REFS}/{name}"), "HEAD"])
                .unwrap();
        }
        assert!(has_old_names(&git));
        rename_old(&git).unwrap();
        assert!(!has_old_names(&git));
        let refs = git.must(["for-each-ref", "--format=%(refname)"]).unwrap();
        assert_eq!(
            refs.text(),
            "refs/heads/series\nrefs/series/b4/list\nrefs/series/base/6.1.2"
        );
        let head = git.must(["symbolic-ref", "HEAD"]).unwrap().text();
        assert_eq!(head, "refs/heads/series");
    }

    #[test]
    fn rename_old_unborn_head_follows() {
        let dir = tempfile::tempdir().unwrap();
        let git = Git::new(&System, dir.path());
        git.must(["init", "--quiet", "--initial-branch=nova-series"])
            .unwrap();
        rename_old(&git).unwrap();
        let head = git.must(["symbolic-ref", "HEAD"]).unwrap().text();
        assert_eq!(head, "refs/heads/series");
    }
}

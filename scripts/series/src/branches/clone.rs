// SPDX-License-Identifier: GPL-2.0

//! The user's kernel clone.

use std::path::Path;

use crate::{
    git::{Git, Oid},
    sys::{Error, Result, Runner},
};

pub fn open<'a>(runner: &'a dyn Runner, dir: &'a Path) -> Result<Git<'a>> {
    let theirs = Git::of_user(runner, dir);
    let inside = theirs.cmd(["rev-parse", "--git-dir"]);
    if dir.is_dir() && theirs.try_run(&inside)?.ok() {
        return Ok(theirs);
    }
    Err(Error::new("is not a git repository")
        .at(dir, None)
        .help("name your kernel clone with --kernel DIR, or as `kernel` of the base"))
}

pub fn tip(theirs: &Git<'_>, branch: &str) -> Result<Oid> {
    let found = theirs.resolve(&format!("refs/heads/{branch}^{{commit}}"))?;
    found.ok_or_else(|| {
        let dir = theirs.dir().display();
        Error::new(format!("{dir} has no branch {branch:?}"))
            .help("`git branch` lists the branches")
    })
}

/// Whether a commit is `other`, or has it as an ancestor.
pub fn contains(theirs: &Git<'_>, commit: &Oid, other: &Oid) -> Result<bool> {
    let (commit, other) = (commit.as_str(), other.as_str());
    let cmd = theirs.cmd(["merge-base", "--is-ancestor", other, commit]);
    Ok(theirs.try_run(&cmd)?.ok())
}

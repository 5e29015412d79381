// SPDX-License-Identifier: GPL-2.0

//! The user's kernel clone.

use std::path::Path;

use crate::{
    git::{Git, Oid},
    sys::{
        error::{Error, Result},
        runner::Runner,
    },
};

/// Opens the user's kernel clone.
pub fn open<'a>(runner: &'a dyn Runner, dir: &'a Path) -> Result<Git<'a>> {
    let theirs = Git::of_user(runner, dir);
    let inside = theirs.cmd(["rev-parse", "--git-dir"]);
    match dir.is_dir() && theirs.try_run(&inside)?.ok() {
        true => Ok(theirs),
        false => Err(Error::new("is not a git repository")
            .at(dir, None)
            .help("name your kernel clone with --kernel DIR, or as `kernel` of the base")),
    }
}

/// Returns the tip of a branch.
pub fn tip(theirs: &Git<'_>, branch: &str) -> Result<Oid> {
    let found = theirs.resolve(&format!("refs/heads/{branch}^{{commit}}"))?;
    found.ok_or_else(|| {
        Error::new(format!(
            "{} has no branch {branch:?}",
            theirs.dir().display()
        ))
        .help("`git branch` lists the branches")
    })
}

// SPDX-License-Identifier: GPL-2.0

//! Commits as mails.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Git;
use crate::sys::{
    error::{Error, Result},
    runner::must,
};

/// Commits as mails, in order: file name and content of each. `dir` is made, and holds them.
///
/// # Errors
///
/// git's own.
pub fn format_patch(
    git: &Git<'_>,
    range: &str,
    prefix: &str,
    dir: &Path,
) -> Result<Vec<(String, Vec<u8>)>> {
    let cmd = git
        .cmd(["format-patch", "--quiet", "--no-signature", "--numbered"])
        .args(["--find-renames", "--no-thread", "--encode-email-headers"])
        .args([
            "--no-attach",
            "--no-to",
            "--no-cc",
            "--no-add-header",
            "--no-base",
        ])
        .args(["--no-notes", "--no-ext-diff", "--no-textconv", "--no-color"])
        .args([
            "--no-cover-letter",
            "--no-signoff",
            "--suffix=.patch",
            "-O/dev/null",
            "--default-prefix",
        ])
        .arg(format!("--subject-prefix={prefix}"))
        .arg("-o")
        .arg(dir)
        .arg(range);
    must(git.runner(), &cmd)?;
    let mut names: Vec<PathBuf> = fs::read_dir(dir)
        .map_err(|e| Error::io("list", dir, &e))?
        .flatten()
        .map(|e| e.path())
        .collect();
    names.sort();
    let mut patches = Vec::new();
    for path in names {
        let mail = fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
        let name = path.file_name().unwrap_or_default();
        patches.push((name.to_string_lossy().into_owned(), mail));
    }
    Ok(patches)
}

/// `git patch-id --stable` of the patches of a mailbox, in order.
///
/// # Errors
///
/// git's own.
pub fn patch_ids(git: &Git<'_>, mbox: &[u8]) -> Result<Vec<String>> {
    let ids = git.cmd(["patch-id", "--stable"]).stdin(mbox);
    let ids = must(git.runner(), &ids)?.text();
    let ids = ids.lines().filter_map(|l| l.split(' ').next());
    Ok(ids.map(str::to_owned).collect())
}

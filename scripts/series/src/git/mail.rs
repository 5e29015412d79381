// SPDX-License-Identifier: GPL-2.0

//! Commits as mails.

use std::path::Path;

use super::Git;
use crate::sys::{Result, files};

/// Commits as mails, in order: file name and content of each. `dir` is made, and holds them.
pub fn format_patch(
    git: &Git<'_>,
    range: &str,
    prefix: &str,
    dir: &Path,
) -> Result<Vec<(String, Vec<u8>)>> {
    let cmd = git
        .cmd(["format-patch", "--quiet", "--no-signature", "--numbered"])
        .args(["--find-renames", "--no-thread", "--encode-email-headers"])
        .args(["--no-attach", "--no-to", "--no-cc", "--no-add-header"])
        .args(["--no-base", "--no-notes", "--no-ext-diff", "--no-textconv"])
        .args(["--no-color", "--no-cover-letter", "--no-signoff"])
        .args(["--suffix=.patch", "-O/dev/null", "--default-prefix"])
        .arg(format!("--subject-prefix={prefix}"));
    git.run(&cmd.arg("-o").arg(dir).arg(range))?;
    let patches = files::list(dir)?.into_iter().map(|path| {
        let mail = files::read(&path)?;
        let name = path.file_name().unwrap_or_default();
        Ok((name.to_string_lossy().into_owned(), mail))
    });
    patches.collect()
}

/// `git patch-id --stable` of the patches of a mailbox, in order.
pub fn patch_ids(git: &Git<'_>, mbox: &[u8]) -> Result<Vec<String>> {
    let ids = git.run(&git.cmd(["patch-id", "--stable"]).stdin(mbox))?;
    let ids = ids.text();
    let ids = ids.lines().filter_map(|l| l.split(' ').next());
    Ok(ids.map(str::to_owned).collect())
}

// SPDX-License-Identifier: GPL-2.0

//! The options that a kernel tree defines.

use std::collections::BTreeSet;

use crate::{
    git::{Git, Oid},
    sys::{error::Result, runner::failed},
};

/// The git pathspecs of all Kconfig files.
pub const ALL_FILES: [&str; 2] = ["Kconfig*", "*/Kconfig*"];

pub fn is_kconfig(path: &str) -> bool {
    let name = path.rsplit('/').next();
    name.is_some_and(|name| name.starts_with("Kconfig"))
}

/// Returns the options that the Kconfig files of a tree define, without `CONFIG_`. `files` are
/// pathspecs.
pub fn options(git: &Git<'_>, tree: &Oid, files: &[&str]) -> Result<BTreeSet<String>> {
    let definition = "^[[:space:]]*(menu)?config[[:space:]]+[A-Za-z0-9_]+";
    let grep = ["grep", "-h", "-I", "-E", definition, tree.as_str(), "--"];
    let cmd = git.cmd(grep).args(files);
    let out = git.try_run(&cmd)?;
    // git exits with 1 if nothing matches.
    if !matches!(out.code, Some(0 | 1)) {
        return Err(failed(&cmd, &out));
    }
    let names = |l: &str| l.split_whitespace().nth(1).map(str::to_owned);
    Ok(out.text().lines().filter_map(names).collect())
}

/// Returns the option that a line of a fragment enables, without `CONFIG_`.
pub fn enabled(line: &str) -> Option<&str> {
    Some(line.strip_prefix("CONFIG_")?.split_once('=')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enabled_ignores_comments() {
        assert_eq!(enabled("CONFIG_A=y\n"), Some("A"));
        assert_eq!(enabled("# CONFIG_A is not set\n"), None);
        assert_eq!(enabled("# A comment.\n"), None);
    }

    #[test]
    fn is_kconfig_requires_name() {
        assert!(is_kconfig("Kconfig") && is_kconfig("lib/Kconfig.debug"));
        assert!(!is_kconfig("Kconfig.d/Makefile") && !is_kconfig("scripts/kconfig/conf.c"));
    }
}

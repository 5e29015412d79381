// SPDX-License-Identifier: GPL-2.0

//! Options of the kernel: of its tree, of fragments, and of the configuration made from them.
//!
//! Kconfig drops options without an error: options that do not exist, and options whose
//! dependencies are missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    git::{Git, Oid},
    source::manifest::At,
    sys::{Result, failed},
};

/// The git pathspecs of all Kconfig files.
pub const ALL_FILES: [&str; 2] = ["Kconfig*", "*/Kconfig*"];

pub fn is_kconfig(path: &str) -> bool {
    let name = path.rsplit('/').next();
    name.is_some_and(|name| name.starts_with("Kconfig"))
}

/// Returns the options that the Kconfig files of a tree define, without `CONFIG_`.
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

/// An option of a fragment that the configuration does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LostOption {
    /// The line in the fragment: "CONFIG_KASAN=y".
    wanted: String,
    /// The line in the configuration, if it mentions the option.
    instead: Option<String>,
}

impl LostOption {
    /// Reports whether both are the same line of a fragment. Two configurations may lose an option
    /// in different ways: one disables the option, the other does not know it.
    pub(crate) fn is_same_option(&self, other: &Self) -> bool {
        self.wanted == other.wanted
    }
}

impl fmt::Display for LostOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} did not survive: the configuration ", self.wanted)?;
        match &self.instead {
            Some(line) => write!(f, "has \"{line}\""),
            None => f.write_str("does not have it"),
        }
    }
}

/// Returns the options of a fragment that the configuration does not have, with their lines.
pub(crate) fn lost_options(fragment: &str, made: &str) -> Vec<At<LostOption>> {
    let found = made.lines().filter_map(|line| {
        let (name, value) = option(line)?;
        Some((name, (value, line)))
    });
    let found: BTreeMap<_, _> = found.collect();
    let lost = fragment.lines().enumerate().filter_map(|(index, line)| {
        let (name, value) = option(line)?;
        let is = found.get(name);
        // A missing option is off.
        (is.map_or("n", |(value, _)| value) != value).then(|| At {
            value: LostOption {
                wanted: line.trim_end().to_owned(),
                instead: is.map(|(_, line)| (*line).to_owned()),
            },
            line: index + 1,
        })
    });
    lost.collect()
}

/// Returns the name and value of the option that a line sets.
fn option(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_end();
    if let Some(rest) = line.strip_prefix("# CONFIG_") {
        return Some((rest.strip_suffix(" is not set")?, "n"));
    }
    line.strip_prefix("CONFIG_")?.split_once('=')
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

    #[test]
    fn lost_options_with_lines() {
        let made = "CONFIG_KASAN=y\n# CONFIG_UBSAN is not set\nCONFIG_SIZE=1\nCONFIG_MODE=m\n";
        let fragment = "# What looks for faults.\nCONFIG_KASAN=y\nCONFIG_UBSAN=y\n\
                        CONFIG_FAILSLAB=y\nCONFIG_SIZE=2\nCONFIG_MODE=y\n\
                        # CONFIG_OTHER is not set\n# CONFIG_KASAN is not set\n";
        let said: Vec<_> = lost_options(fragment, made)
            .iter()
            .map(|lost| format!("{}: {}", lost.line, lost.value))
            .collect();
        insta::assert_snapshot!(said.join("\n"));
        assert!(lost_options("", "").is_empty());
        assert!(lost_options("CONFIG_KASAN=y\n", made).is_empty());
    }

    #[test]
    fn is_same_option_ignores_configuration() {
        let lost = |fragment, made| lost_options(fragment, made).remove(0).value;
        let unknown = lost("CONFIG_KASAN=y\n", "");
        let disabled = lost("CONFIG_KASAN=y\n", "# CONFIG_KASAN is not set\n");
        assert_ne!(unknown, disabled);
        assert!(unknown.is_same_option(&disabled));
        assert!(!unknown.is_same_option(&lost("CONFIG_UBSAN=y\n", "")));
    }
}

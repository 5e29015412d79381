// SPDX-License-Identifier: GPL-2.0

//! Names of objects, and what the tool reads from trees and commits.

use std::fmt;

/// The name of a git object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid(String);

impl Oid {
    /// From 40 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| Self(text.to_owned()))
    }

    /// As git writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its mode.
    pub mode: Mode,
    /// Its content's name.
    pub blob: Oid,
}

/// The mode of a file in git.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// 100644.
    Plain,
    /// 100755.
    Executable,
    /// 120000.
    Link,
}

impl Mode {
    /// As git writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Plain => "100644",
            Mode::Executable => "100755",
            Mode::Link => "120000",
        }
    }

    /// From what git writes; `None` for a folder or a submodule.
    pub fn parse(text: &str) -> Option<Self> {
        [Mode::Plain, Mode::Executable, Mode::Link]
            .into_iter()
            .find(|m| m.as_str() == text)
    }
}

/// The base in the kernel repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseCommit {
    /// Its commit.
    pub commit: Oid,
    /// Its tree.
    pub tree: Oid,
    /// Its date, in seconds since 1970.
    pub when: u64,
}

/// A patch as a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchCommit {
    /// The commit.
    pub commit: Oid,
    /// Its tree.
    pub tree: Oid,
}

// SPDX-License-Identifier: GPL-2.0

//! Names and types of git objects.

use std::fmt;

/// The name of a git object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid(String);

impl Oid {
    /// Parses 40 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| Self(text.to_owned()))
    }

    /// Returns the hexadecimal digits.
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
    pub mode: Mode,
    /// The name of the blob with the content.
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
    /// Returns the mode in git's form.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Plain => "100644",
            Mode::Executable => "100755",
            Mode::Link => "120000",
        }
    }

    /// Parses git's form. Returns `None` for a folder or a submodule.
    pub fn parse(text: &str) -> Option<Self> {
        [Mode::Plain, Mode::Executable, Mode::Link]
            .into_iter()
            .find(|m| m.as_str() == text)
    }
}

/// The commit of a base in the kernel repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseCommit {
    pub commit: Oid,
    pub tree: Oid,
    /// The date, in seconds since 1970.
    pub when: u64,
}

/// The commit of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchCommit {
    pub commit: Oid,
    pub tree: Oid,
}

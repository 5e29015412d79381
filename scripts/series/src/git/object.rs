// SPDX-License-Identifier: GPL-2.0

//! Names and types of git objects.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Oid(String);

impl Oid {
    /// Parses 40 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let is_oid = text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_oid.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first digits, for messages.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl TryFrom<String> for Oid {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not the name of an object"))
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub mode: Mode,
    pub blob: Oid,
}

impl Entry {
    /// Parses the words before the path in a listing of git: the mode, and later the object.
    pub(super) fn parse(words: &str) -> Option<Self> {
        let (mode, words) = words.split_once(' ')?;
        let blob = words.split(' ').find_map(Oid::parse)?;
        let mode = Mode::parse(mode)?;
        Some(Self { mode, blob })
    }
}

/// Returns the input for `git update-index -z --index-info`. `None` removes a file.
pub(super) fn index_info<'a>(
    files: impl IntoIterator<Item = (&'a String, Option<&'a Entry>)>,
) -> String {
    let info = files.into_iter().map(|(path, entry)| match entry {
        Some(Entry { mode, blob }) => format!("{} {blob}\t{path}\0", mode.as_str()),
        None => format!("0 {:040}\t{path}\0", 0),
    });
    info.collect()
}

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
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Plain => "100644",
            Mode::Executable => "100755",
            Mode::Link => "120000",
        }
    }

    /// Parses git's form. Returns `None` for a folder or a submodule.
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = [Mode::Plain, Mode::Executable, Mode::Link].into_iter();
        all.find(|m| m.as_str() == text)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseCommit {
    pub commit: Oid,
    pub tree: Oid,
    /// The date, in seconds since 1970.
    pub when: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchCommit {
    pub commit: Oid,
    pub tree: Oid,
}

// SPDX-License-Identifier: GPL-2.0

//! The discipline of versions: what a series owes to whoever read its last posting.
//!
//! 1. Each series counts its own versions from 1, and vN needs a recorded posting of v(N-1).
//! 2. The changelog says what changed, names each patch that did and none that did not, and links
//!    to the posting before. Changes of base, order, prefix, cover letter and recipients are named
//!    as well.
//! 3. A patch stays in its series. What is added or dropped is named as such, with the reason; where
//!    a series comes from stands in its cover letter, never in the changelog.
//! 4. The cover letter names each dependency with version and link, and says what can be applied
//!    without it.
//! 5. What machines read in the mails agrees with the manifest, and names no private commit.
//!
//! Each rule is a module of pure functions, which return [`Fault`]s.

pub mod besides;
pub mod changelog;
pub mod dependencies;
pub mod mails;
pub mod moves;
pub mod trailers;
pub mod versions;

use std::path::PathBuf;

use crate::sys::error::Error;

/// A rule of the above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Versions are counted, and follow postings.
    Version,
    /// The changelog is true.
    Changelog,
    /// Patches stay where they are.
    Moves,
    /// Dependencies are named.
    Dependencies,
    /// Trailers for machines agree.
    Trailers,
}

impl Rule {
    /// Its name among the checks.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Version => "version",
            Rule::Changelog => "changelog",
            Rule::Moves => "moves",
            Rule::Dependencies => "dependencies",
            Rule::Trailers => "trailers",
        }
    }
}

/// A breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The rule.
    pub rule: Rule,
    /// The file to mend, below the top folder.
    pub file: PathBuf,
    /// The line, where one is known.
    pub line: Option<usize>,
    /// The number of the patch that it is about.
    pub patch: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: String,
}

impl Fault {
    /// As an error with its place.
    pub fn into_error(self) -> Error {
        Error::new(self.what)
            .at(self.file, self.line)
            .help(self.help)
    }
}

#[cfg(test)]
pub(crate) fn shown(faults: Vec<Fault>) -> String {
    Error::all(faults.into_iter().map(Fault::into_error).collect())
        .map_or(String::new(), |e| e.to_string())
}

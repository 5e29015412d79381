// SPDX-License-Identifier: GPL-2.0

//! Version rules, which the reviewers of the last posting rely on.
//!
//! 1. Each series counts its own versions from 1, and vN needs a recorded posting of v(N-1).
//! 2. The changelog names exactly the patches that changed, and links to the previous posting. It
//!    also names changes of base, order, prefix, cover letter and recipients.
//! 3. A patch stays in its series. The changelog names each added or dropped patch with the reason.
//!    The cover letter describes the origin of a series, the changelog never does.
//! 4. The cover letter names each dependency with version and link, and lists the patches that do
//!    not need it.
//! 5. The trailers for programs agree with the manifest. No mail names a private commit.
//!
//! Each rule is a module of pure functions that return [`Fault`]s.

pub mod changelog;
pub mod dependencies;
pub mod mails;
pub mod moves;
pub mod reasons;
pub mod trailers;
pub mod versions;

use std::path::PathBuf;

use crate::sys::Error;

/// The rules above, in the order of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Version,
    Changelog,
    Moves,
    Dependencies,
    Trailers,
}

impl Rule {
    /// Returns the name that `check` prints.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Version => "version",
            Rule::Changelog => "changelog",
            Rule::Moves => "moves",
            Rule::Dependencies => "dependencies",
            Rule::Trailers => "trailers",
        }
    }

    /// Creates a fault that belongs to no single patch.
    pub fn fault(
        self,
        file: impl Into<PathBuf>,
        line: impl Into<Option<usize>>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) -> Fault {
        Fault {
            rule: self,
            file: file.into(),
            line: line.into(),
            patch: None,
            what: what.into(),
            help: help.into(),
        }
    }
}

/// A violation of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub rule: Rule,
    /// The file to correct, relative to the workspace.
    pub file: PathBuf,
    pub line: Option<usize>,
    pub patch: Option<usize>,
    pub what: String,
    pub help: String,
}

impl Fault {
    pub fn of_patch(mut self, number: usize) -> Self {
        self.patch = Some(number);
        self
    }

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

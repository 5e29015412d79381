// SPDX-License-Identifier: GPL-2.0

//! The commits of a branch, as data: the patches of a series that names a branch of the user's
//! kernel clone.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    git::{Author, Entry, Oid},
    sys::error::{Error, Result},
};

/// The own commits of each series that names a branch, in the order of the patches.
pub type Branches = BTreeMap<String, Vec<Commit>>;

/// A commit of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub commit: Oid,
    /// Its only parent.
    pub parent: Oid,
    /// Its author.
    pub author: Author,
    /// Its message, with a newline at the end.
    pub message: String,
    /// The author's note below `---`, which `git am` drops.
    pub note: String,
    /// The files that it changes.
    pub changes: Vec<Change>,
    /// Its diff.
    pub diff: String,
}

/// A file that a commit changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its path.
    pub path: String,
    /// The file before; [`None`] if the commit adds it.
    pub old: Option<Entry>,
    /// The file after; [`None`] if the commit removes it.
    pub new: Option<Entry>,
}

impl Commit {
    /// The first line of the message.
    pub fn subject(&self) -> &str {
        crate::source::message::subject(&self.message)
    }

    /// The place of the message in errors.
    pub fn place(&self) -> PathBuf {
        PathBuf::from(format!("commit {}", self.short()))
    }

    /// The first digits of its name.
    pub fn short(&self) -> &str {
        &self.commit.as_str()[..12]
    }
}

/// Refuses two commits of one series with the same subject: the subject identifies a patch in the
/// records of postings, in tags, and in the manifest.
pub fn refuse_twins(series: &str, commits: &[Commit]) -> Result<()> {
    let mut seen: BTreeMap<&str, &Commit> = BTreeMap::new();
    for one in commits {
        if let Some(first) = seen.insert(one.subject(), one) {
            return Err(Error::new(format!(
                "{series} has two commits with the subject {:?}: {} and {}",
                one.subject(),
                first.short(),
                one.short()
            ))
            .help("reword one of them with `git rebase -i`"));
        }
    }
    Ok(())
}

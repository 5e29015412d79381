// SPDX-License-Identifier: GPL-2.0

//! The commits of a branch, as data: the patches of a series that names a branch of the user's
//! kernel clone.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    git::{Author, Entry, Oid},
    source::message,
    sys::{Error, Result},
};

/// The own commits of each series that names a branch, in the order of the patches.
pub type Branches = BTreeMap<String, Vec<Commit>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    pub commit: Oid,
    /// Its only parent.
    pub parent: Oid,
    pub author: Author,
    /// Its message, with a newline at the end.
    pub message: String,
    /// The author's note below `---`, which `git am` drops.
    pub note: String,
    pub changes: Vec<Change>,
    pub diff: String,
}

/// A file before and after a commit; [`None`] if it does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub path: String,
    pub old: Option<Entry>,
    pub new: Option<Entry>,
}

impl Commit {
    pub fn subject(&self) -> &str {
        message::subject(&self.message)
    }

    /// The place of the message in errors.
    pub fn place(&self) -> PathBuf {
        PathBuf::from(format!("commit {}", self.short()))
    }

    pub fn short(&self) -> &str {
        &self.commit.as_str()[..12]
    }
}

/// Refuses equal subjects, which identify patches in records, in tags, and in the manifest.
pub fn refuse_twins(series: &str, commits: &[Commit]) -> Result<()> {
    let mut seen: BTreeMap<&str, &Commit> = BTreeMap::new();
    for one in commits {
        let subject = one.subject();
        if let Some(first) = seen.insert(subject, one) {
            let (first, second) = (first.short(), one.short());
            return Err(Error::new(format!(
                "{series} has two commits with the subject {subject:?}: {first} and {second}"
            ))
            .help("reword one of them with `git rebase -i`"));
        }
    }
    Ok(())
}

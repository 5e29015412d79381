// SPDX-License-Identifier: GPL-2.0

//! Trees of the kernel repository, read file by file, and git's three-way merge.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::PathBuf,
    rc::Rc, //
};

use super::{
    judge::Merge,
    tree::{
        Bytes,
        Files, //
    },
};
use crate::{
    error::{
        Error,
        Result, //
    },
    git::{
        Entry,
        Git,
        Oid, //
    },
    runner::failed,
};

/// A tree of the repository.
pub struct GitFiles<'a> {
    git: &'a Git<'a>,
    entries: BTreeMap<String, Entry>,
    read: RefCell<BTreeMap<String, Bytes>>,
    failed: RefCell<Option<Error>>,
}

impl<'a> GitFiles<'a> {
    /// Lists a tree, and reads what is wanted of it in one go. All else is read when it is asked
    /// for.
    ///
    /// # Errors
    ///
    /// The repository is damaged.
    pub fn open(git: &'a Git<'a>, tree: &Oid, wanted: &dyn Fn(&str) -> bool) -> Result<Self> {
        let entries = git.all_entries(tree)?;
        let (paths, blobs): (Vec<&String>, Vec<&Oid>) = entries
            .iter()
            .filter(|(path, _)| wanted(path))
            .map(|(path, entry)| (path, &entry.blob))
            .unzip();
        let contents = git.blobs(&blobs)?.into_iter().map(Rc::from);
        let read = paths.into_iter().cloned().zip(contents).collect();
        Ok(Self {
            git,
            entries,
            read: RefCell::new(read),
            failed: RefCell::new(None),
        })
    }

    /// What went wrong while files were read.
    ///
    /// # Errors
    ///
    /// A blob is missing.
    pub fn finish(self) -> Result<()> {
        match self.failed.into_inner() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Files for GitFiles<'_> {
    fn read(&self, path: &str) -> Option<Bytes> {
        let entry = self.entries.get(path)?;
        if let Some(content) = self.read.borrow().get(path) {
            return Some(content.clone());
        }
        match self.git.blobs(&[&entry.blob]) {
            Ok(mut contents) => {
                let content: Bytes = Rc::from(contents.pop()?);
                let mut read = self.read.borrow_mut();
                read.insert(path.to_owned(), content.clone());
                Some(content)
            }
            Err(error) => {
                self.failed.borrow_mut().get_or_insert(error);
                None
            }
        }
    }
}

/// `git merge-file`.
pub struct GitMerge<'a> {
    /// Some repository.
    pub git: &'a Git<'a>,
    /// A private folder.
    pub scratch: PathBuf,
}

impl Merge for GitMerge<'_> {
    fn merge(
        &self,
        theirs: &[u8],
        base: &[u8],
        ours: &[u8],
        favoured: bool,
    ) -> Result<Option<Bytes>> {
        let file = |name: &str, content: &[u8]| {
            let path = self.scratch.join(name);
            std::fs::write(&path, content).map_err(|e| Error::io("write", &path, &e))?;
            Ok(path)
        };
        let (theirs, base, ours) = (
            file("theirs", theirs)?,
            file("base", base)?,
            file("ours", ours)?,
        );
        let mut cmd = self.git.cmd(["merge-file", "--stdout", "--quiet"]);
        if favoured {
            // The third file's side, in git's words.
            cmd = cmd.arg("--theirs");
        }
        let cmd = cmd.args([&theirs, &base, &ours]);
        let out = self.git.try_run(&cmd)?;
        match out.code {
            Some(0) => Ok(Some(Rc::from(out.stdout))),
            // The number of conflicts.
            Some(1..=127) => Ok(None),
            _ => Err(failed(&cmd, &out)),
        }
    }
}

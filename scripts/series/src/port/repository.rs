// SPDX-License-Identifier: GPL-2.0

//! Trees of the kernel repository, read file by file, and git's three-way merge.

use std::{
    cell::RefCell,
    collections::{
        BTreeMap,
        HashMap, //
    },
    path::PathBuf,
    rc::Rc, //
};

use super::{
    judge::Merge,
    tree::Bytes, //
};
use crate::{
    error::{
        Error,
        Result, //
    },
    git::{
        Git,
        Oid, //
    },
    runner::failed,
};

/// Reads these files and folders of a tree; what it does not have is left out.
///
/// # Errors
///
/// The repository is damaged.
pub fn read(git: &Git<'_>, tree: &Oid, paths: &[String]) -> Result<BTreeMap<String, Bytes>> {
    let entries = git.entries_below(tree, paths)?;
    let blobs: Vec<&Oid> = entries.values().map(|entry| &entry.blob).collect();
    let contents = git.blobs(&blobs)?.into_iter().map(Rc::from);
    Ok(entries.into_keys().zip(contents).collect())
}

/// `git merge-file`.
pub struct GitMerge<'a> {
    git: &'a Git<'a>,
    scratch: PathBuf,
    /// What was merged before: the same files meet in several trees.
    known: RefCell<HashMap<Sides, Option<Bytes>>>,
}

/// The three files of a merge, and whether a side is favoured.
type Sides = (Bytes, Bytes, Bytes, bool);

impl<'a> GitMerge<'a> {
    /// In some repository, with a private folder.
    pub fn new(git: &'a Git<'a>, scratch: PathBuf) -> Self {
        Self {
            git,
            scratch,
            known: RefCell::new(HashMap::new()),
        }
    }

    fn run(&self, sides: &Sides) -> Result<Option<Bytes>> {
        let (theirs, base, ours, favoured) = sides;
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
        if *favoured {
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

impl Merge for GitMerge<'_> {
    fn merge(
        &self,
        theirs: &Bytes,
        base: &Bytes,
        ours: &Bytes,
        favoured: bool,
    ) -> Result<Option<Bytes>> {
        let sides = (theirs.clone(), base.clone(), ours.clone(), favoured);
        if let Some(known) = self.known.borrow().get(&sides) {
            return Ok(known.clone());
        }
        let merged = self.run(&sides)?;
        self.known.borrow_mut().insert(sides, merged.clone());
        Ok(merged)
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Creates commits with `git fast-import`.

use std::{collections::BTreeMap, io::Write, path::Path};

use super::{
    Git,
    identity::Author,
    object::{Entry, Mode, Oid, PatchCommit},
};
use crate::sys::{Error, Result, failed};

impl Git<'_> {
    /// Returns the commits of the stream that `feed` writes, by their marks, which count from 1.
    pub fn fast_import(
        &self,
        scratch: &Path,
        feed: &mut dyn FnMut(&mut FastImport<'_>) -> std::io::Result<()>,
    ) -> Result<Vec<PatchCommit>> {
        let marks = scratch.join("marks");
        let cmd = self
            .cmd(["fast-import", "--quiet", "--force", "--done", "--depth=0"])
            .arg(format!("--export-marks={}", marks.display()));
        let mut write = |to: &mut dyn Write| {
            feed(&mut FastImport { to })?;
            to.write_all(b"done\n")
        };
        let out = self.runner().execute(&cmd, Some(&mut write), None);
        let broke_off = |e| Error::new(format!("the stream to git fast-import broke off: {e}"));
        let out = out.map_err(broke_off)?;
        if !out.ok() {
            return Err(failed(&cmd, &out));
        }
        let text = std::fs::read_to_string(&marks).map_err(|e| Error::io("read", &marks, &e))?;
        let oids = text.lines().filter_map(|l| {
            let (mark, oid) = l.strip_prefix(':')?.split_once(' ')?;
            Some((mark.parse().ok()?, Oid::parse(oid)?))
        });
        let oids: BTreeMap<usize, Oid> = oids.collect();
        let input: String = oids.values().map(|c| format!("{c}^{{tree}}\n")).collect();
        let trees = self.cmd(["cat-file", "--batch-check=%(objectname)"]);
        let trees = self.run(&trees.stdin(input))?.text();
        let pairs = oids.into_values().zip(trees.lines().map(Oid::parse));
        let made = pairs.map(|(commit, tree)| tree.map(|tree| PatchCommit { commit, tree }));
        let made: Option<Vec<_>> = made.collect();
        made.ok_or_else(|| Error::new("git cat-file did not return the tree of each commit"))
    }
}

pub struct FastImport<'a> {
    to: &'a mut dyn Write,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parent {
    /// No parent: a root commit.
    Nothing,
    /// A commit in the repository.
    Commit(Oid),
    /// A commit in this stream, by its mark.
    Mark(usize),
}

impl FastImport<'_> {
    /// Starts a commit; the changes follow.
    pub fn commit(
        &mut self,
        to_ref: &str,
        mark: usize,
        author: &Author,
        committer: &Author,
        message: &str,
        from: &Parent,
    ) -> std::io::Result<()> {
        writeln!(self.to, "commit {to_ref}\nmark :{mark}")?;
        writeln!(self.to, "author {author}\ncommitter {committer}")?;
        self.data(message.as_bytes())?;
        match from {
            Parent::Nothing => Ok(()),
            Parent::Commit(oid) => writeln!(self.to, "from {oid}"),
            Parent::Mark(mark) => writeln!(self.to, "from :{mark}"),
        }
    }

    pub fn file(&mut self, mode: Mode, path: &str, content: &[u8]) -> std::io::Result<()> {
        writeln!(self.to, "M {} inline {}", mode.as_str(), quoted(path))?;
        self.data(content)
    }

    /// Sets a file in the current commit to content in the repository; `None` removes the file.
    pub fn set(&mut self, path: &str, entry: Option<&Entry>) -> std::io::Result<()> {
        let path = quoted(path);
        match entry {
            Some(Entry { mode, blob }) => writeln!(self.to, "M {} {blob} {path}", mode.as_str()),
            None => writeln!(self.to, "D {path}"),
        }
    }

    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        writeln!(self.to, "data {}", bytes.len())?;
        self.to.write_all(bytes)?;
        self.to.write_all(b"\n")
    }
}

fn quoted(path: &str) -> String {
    let escaped = path.replace('\\', r"\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('\n', r"\n"))
}

// SPDX-License-Identifier: GPL-2.0

//! Creates commits with `git fast-import`.

use std::{collections::BTreeMap, io::Write, path::Path};

use super::{
    Git,
    identity::{Author, Signature, ident},
    object::{Entry, Mode, Oid},
};
use crate::sys::{Error, Result, failed};

impl Git<'_> {
    /// Runs `git fast-import` on the stream that `feed` writes. Returns the commits by their marks,
    /// which count from 1.
    pub fn fast_import(
        &self,
        scratch: &Path,
        feed: &mut dyn FnMut(&mut FastImport<'_>) -> std::io::Result<()>,
    ) -> Result<Vec<Oid>> {
        let marks = scratch.join("marks");
        let cmd = self
            .cmd(["fast-import", "--quiet", "--force", "--done", "--depth=0"])
            .arg(format!("--export-marks={}", marks.display()));
        let mut write = |to: &mut dyn Write| {
            feed(&mut FastImport { to })?;
            to.write_all(b"done\n")
        };
        let out = self.runner().execute(&cmd, Some(&mut write), None);
        let out =
            out.map_err(|e| Error::new(format!("the stream to git fast-import broke off: {e}")))?;
        if !out.ok() {
            return Err(failed(&cmd, &out));
        }
        let text = std::fs::read_to_string(&marks).map_err(|e| Error::io("read", &marks, &e))?;
        let oids = text.lines().filter_map(|l| {
            let (mark, oid) = l.strip_prefix(':')?.split_once(' ')?;
            Some((mark.parse::<usize>().ok()?, Oid::parse(oid)?))
        });
        Ok(oids.collect::<BTreeMap<_, _>>().into_values().collect())
    }
}

/// The input stream of `git fast-import`.
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
    pub fn commit(
        &mut self,
        to_ref: &str,
        mark: usize,
        signature: &Signature,
        message: &str,
        from: &Parent,
    ) -> std::io::Result<()> {
        self.commit_of(to_ref, mark, None, signature, message, from)
    }

    /// Starts a commit with another author than the committer.
    pub fn commit_of(
        &mut self,
        to_ref: &str,
        mark: usize,
        author: Option<&Author>,
        signature: &Signature,
        message: &str,
        from: &Parent,
    ) -> std::io::Result<()> {
        let committer = format!("{} {} +0000", signature.who.ident(), signature.when);
        let author = author.map(|a| format!("{} {}", ident(&a.name, &a.email), a.date));
        let author = author.as_ref().unwrap_or(&committer);
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

    /// Adds a file to the current commit whose content is in the repository.
    pub fn known(&mut self, entry: &Entry, path: &str) -> std::io::Result<()> {
        let Entry { mode, blob } = entry;
        writeln!(self.to, "M {} {blob} {}", mode.as_str(), quoted(path))
    }

    pub fn remove(&mut self, path: &str) -> std::io::Result<()> {
        writeln!(self.to, "D {}", quoted(path))
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

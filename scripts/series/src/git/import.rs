// SPDX-License-Identifier: GPL-2.0

//! Creates commits with `git fast-import`.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use super::{
    Git,
    identity::{Author, Identity, Signature, in_ident},
    object::{Entry, Mode, Oid},
};
use crate::sys::{
    error::{Error, Result},
    runner::failed,
};

impl Git<'_> {
    /// Runs `git fast-import` on the stream that `feed` writes. Returns the commits by their marks,
    /// which count from 1.
    pub fn fast_import(
        &self,
        scratch: &Path,
        feed: &mut dyn FnMut(&mut FastImport<'_>) -> std::io::Result<()>,
    ) -> Result<Vec<Oid>> {
        let marks: PathBuf = scratch.join("marks");
        let cmd = self
            .cmd(["fast-import", "--quiet", "--force", "--done", "--depth=0"])
            .arg(format!("--export-marks={}", marks.display()));
        let out = self
            .runner()
            .feed(&cmd, &mut |to| {
                let mut import = FastImport { to };
                feed(&mut import)?;
                import.to.write_all(b"done\n")
            })
            .map_err(|e| Error::new(format!("the stream to git fast-import broke off: {e}")))?;
        if !out.ok() {
            return Err(failed(&cmd, &out));
        }
        let text = std::fs::read_to_string(&marks).map_err(|e| Error::io("read", &marks, &e))?;
        let mut oids: Vec<(usize, Oid)> = text
            .lines()
            .filter_map(|l| {
                let (mark, oid) = l.strip_prefix(':')?.split_once(' ')?;
                Some((mark.parse().ok()?, Oid::parse(oid)?))
            })
            .collect();
        oids.sort();
        Ok(oids.into_iter().map(|(_, oid)| oid).collect())
    }
}

/// The input stream of `git fast-import`.
pub struct FastImport<'a> {
    to: &'a mut dyn Write,
}

/// The parent of a commit.
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
    /// Starts a commit. Its changes follow.
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
        let ident = |name, email| format!("{} <{}>", in_ident(name), in_ident(email));
        let Identity { name, email, .. } = &signature.who;
        let (who, when) = (ident(name, email), signature.when);
        let author = match author {
            Some(Author { name, email, date }) => format!("{} {date}", ident(name, email)),
            None => format!("{who} {when} +0000"),
        };
        writeln!(self.to, "commit {to_ref}\nmark :{mark}")?;
        writeln!(self.to, "author {author}")?;
        writeln!(self.to, "committer {who} {when} +0000")?;
        self.data(message.as_bytes())?;
        match from {
            Parent::Nothing => Ok(()),
            Parent::Commit(oid) => writeln!(self.to, "from {oid}"),
            Parent::Mark(mark) => writeln!(self.to, "from :{mark}"),
        }
    }

    /// Writes a file of the current commit.
    pub fn file(&mut self, mode: Mode, path: &str, content: &[u8]) -> std::io::Result<()> {
        writeln!(self.to, "M {} inline {}", mode.as_str(), quoted(path))?;
        self.data(content)
    }

    /// Adds a file to the current commit whose content is in the repository.
    pub fn known(&mut self, entry: &Entry, path: &str) -> std::io::Result<()> {
        let Entry { mode, blob } = entry;
        writeln!(self.to, "M {} {blob} {}", mode.as_str(), quoted(path))
    }

    /// Removes a file from the current commit.
    pub fn remove(&mut self, path: &str) -> std::io::Result<()> {
        writeln!(self.to, "D {}", quoted(path))
    }

    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        writeln!(self.to, "data {}", bytes.len())?;
        self.to.write_all(bytes)?;
        self.to.write_all(b"\n")
    }
}

/// Quotes a path for fast-import.
fn quoted(path: &str) -> String {
    let mut text = String::from("\"");
    for c in path.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

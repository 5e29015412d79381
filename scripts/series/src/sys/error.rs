// SPDX-License-Identifier: GPL-2.0

//! Error messages for the user.
//!
//! An [`Error`] is an *expected* failure: bad input, a missing tool, a full disk. It names the
//! place, the problem and a remedy, and the program exits with 1. A bug is a panic and exits
//! with 101.

use std::{
    fmt,
    path::{Path, PathBuf},
};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Parts>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Parts {
    what: String,
    place: Option<(PathBuf, Option<usize>)>,
    details: Vec<String>,
    help: Option<String>,
    more: Vec<Error>,
}

impl Error {
    /// A failure described by one sentence without a full stop.
    pub fn new(what: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            what: what.into(),
            ..Parts::default()
        }))
    }

    /// Joins the failures, if there are any, so that one run shows all of them.
    pub fn all(errors: impl IntoIterator<Item = Error>) -> Result<()> {
        let mut errors = errors.into_iter();
        let Some(mut first) = errors.next() else {
            return Ok(());
        };
        first.0.more.extend(errors);
        Err(first)
    }

    /// Separates values and failures.
    pub fn split<T>(results: impl IntoIterator<Item = Result<T>>) -> (Vec<T>, Vec<Error>) {
        let (mut values, mut errors) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(value) => values.push(value),
                Err(e) => errors.push(e),
            }
        }
        (values, errors)
    }

    /// Collects the values, or joins the failures if there are any.
    pub fn collect<T>(results: impl IntoIterator<Item = Result<T>>) -> Result<Vec<T>> {
        let (values, errors) = Self::split(results);
        Self::all(errors)?;
        Ok(values)
    }

    /// Returns the failures that [`Self::all`] joined.
    pub fn each(mut self) -> Vec<Error> {
        let more = std::mem::take(&mut self.0.more);
        std::iter::once(self)
            .chain(more.into_iter().flat_map(Self::each))
            .collect()
    }

    /// Names the file, and the line (from 1) where one is known.
    pub fn at(mut self, path: impl AsRef<Path>, line: impl Into<Option<usize>>) -> Self {
        self.0.place = Some((path.as_ref().to_path_buf(), line.into()));
        self
    }

    /// Adds output of another program or of the system. Its lines are indented below the message.
    pub fn detail(mut self, text: impl AsRef<str>) -> Self {
        let lines = text.as_ref().lines().map(|l| l.trim_end().to_owned());
        self.0.details.extend(lines);
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// An I/O failure on `path`. `doing` completes "cannot …".
    pub fn io(doing: &str, path: impl AsRef<Path>, error: &std::io::Error) -> Self {
        let path = path.as_ref().display();
        let new = Self::new(format!("cannot {doing} {path}: {error}"));
        match error.kind() {
            std::io::ErrorKind::StorageFull => {
                new.help("free some space on that file system and run the same command again")
            }
            _ => new,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.place {
            Some((path, Some(line))) => write!(f, "{}:{line}: ", path.display())?,
            Some((path, None)) => write!(f, "{}: ", path.display())?,
            None => (),
        }
        write!(f, "{}", self.0.what)?;
        for line in &self.0.details {
            write!(f, "\n    {line}")?;
        }
        if let Some(help) = &self.0.help {
            for (i, line) in help.lines().enumerate() {
                write!(f, "\n  {} {line}", if i == 0 { "help:" } else { "     " })?;
            }
        }
        for error in &self.0.more {
            write!(f, "\nerror: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_shows_parts_in_order() {
        let error = Error::new("unknown field `filez`")
            .at("series/clist.toml", 12)
            .detail("first\nsecond\n")
            .help("remove it");
        assert_eq!(
            error.to_string(),
            "series/clist.toml:12: unknown field `filez`\n    first\n    second\n  help: remove it"
        );
    }

    #[test]
    fn all_joins_errors() {
        let both = Error::all([Error::new("one"), Error::new("two")]).unwrap_err();
        assert_eq!(both.to_string(), "one\nerror: two");
        assert_eq!(Error::all([]), Ok(()));
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Names and addresses of authors and committers.

use std::{fmt, path::Path};

use super::settings::user_settings;
use crate::sys::{Result, Runner};

/// The user who commits and signs off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub email: String,
    /// Whether the user configured it. Otherwise commits have no sign-off, and posting is refused.
    pub set: bool,
}

/// The author or committer of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    pub name: String,
    pub email: String,
    /// The date, as git stores it: seconds and time zone.
    pub date: String,
}

impl Identity {
    /// Returns `Name <address>`, without the characters that git removes from both.
    pub fn ident(&self) -> String {
        ident(&self.name, &self.email)
    }

    /// Returns the user as the author of a commit. `when` is in seconds since 1970.
    pub fn at(&self, when: u64) -> Author {
        Author::new(&self.name, &self.email, when)
    }

    /// Reads the identity from git's configuration in `dir`.
    pub fn of_user(runner: &dyn Runner, dir: &Path) -> Result<Self> {
        let settings = user_settings(runner, dir, "^user\\.(name|email)$")?;
        let get = |key: &str| {
            let (_, value) = settings.iter().rev().find(|(k, _)| k == key)?;
            Some(clean(value)).filter(|v| !v.is_empty())
        };
        let found = get("user.name").zip(get("user.email"));
        let set = found.is_some();
        let nobody = || ("Nobody Yet".to_owned(), "nobody@localhost".to_owned());
        let (name, email) = found.unwrap_or_else(nobody);
        Ok(Self { name, email, set })
    }
}

impl Author {
    /// `when` is in seconds since 1970.
    pub fn new(name: &str, email: &str, when: u64) -> Self {
        Self {
            name: name.to_owned(),
            email: email.to_owned(),
            date: format!("{when} +0000"),
        }
    }
}

/// Writes the author as in a commit.
impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", ident(&self.name, &self.email), self.date)
    }
}

fn ident(name: &str, email: &str) -> String {
    format!("{} <{}>", clean(name), clean(email))
}

/// Removes the characters that delimit a name or address in a commit, as git does.
fn clean(text: &str) -> String {
    let text = text.replace(['<', '>', '\n', '\r', '\0'], "");
    text.trim().to_owned()
}

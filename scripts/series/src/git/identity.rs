// SPDX-License-Identifier: GPL-2.0

//! Names and addresses of authors and committers.

use std::path::Path;

use super::settings::user_settings;
use crate::sys::{error::Result, runner::Runner};

/// The author or committer of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The full name.
    pub name: String,
    /// The mail address.
    pub email: String,
    /// Whether the user configured it. Otherwise commits have no sign-off, and posting is refused.
    pub set: bool,
}

/// The author of a commit that someone else commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The full name.
    pub name: String,
    /// The mail address.
    pub email: String,
    /// The date, as git stores it: seconds and time zone.
    pub date: String,
}

impl Identity {
    /// Returns `Name <address>`, without the characters that git removes from both.
    pub fn ident(&self) -> String {
        let clean = |text: &str| text.replace(['<', '>', '\n', '\0'], "");
        format!("{} <{}>", clean(&self.name), clean(&self.email))
    }

    /// Reads the identity of the user from git's configuration in `dir`.
    pub fn of_user(runner: &dyn Runner, dir: &Path) -> Result<Self> {
        let settings = user_settings(runner, dir, "^user\\.(name|email)$")?;
        let get = |key: &str| {
            let value = settings.iter().rev().find(|(k, _)| k == key);
            let value = value.map(|(_, v)| in_ident(v));
            value.filter(|v| !v.is_empty())
        };
        Ok(match (get("user.name"), get("user.email")) {
            (Some(name), Some(email)) => Self {
                name,
                email,
                set: true,
            },
            _ => Self {
                name: "Nobody Yet".to_owned(),
                email: "nobody@localhost".to_owned(),
                set: false,
            },
        })
    }
}

/// Removes the characters that delimit a name or address in a commit, as git does.
pub(super) fn in_ident(text: &str) -> String {
    let text = text.replace(['<', '>', '\n', '\r', '\0'], "");
    text.trim().to_owned()
}

/// An identity with a date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub who: Identity,
    /// Seconds since 1970, UTC.
    pub when: u64,
}

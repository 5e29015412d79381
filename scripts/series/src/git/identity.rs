// SPDX-License-Identifier: GPL-2.0

//! Names and addresses of authors and committers.

use std::path::Path;

use super::settings::user_settings;
use crate::sys::{
    error::Result,
    runner::Runner, //
};

/// Who makes a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The full name.
    pub name: String,
    /// The mail address.
    pub email: String,
    /// Whether a person set it; without that nobody signs off, and nothing can be posted.
    pub set: bool,
}

impl Identity {
    /// `Name <address>`, without what would end either of them early, as git leaves it out.
    pub fn ident(&self) -> String {
        let clean = |text: &str| text.replace(['<', '>', '\n', '\0'], "");
        format!("{} <{}>", clean(&self.name), clean(&self.email))
    }

    /// Who git says the user is in `dir`.
    ///
    /// # Errors
    ///
    /// git is missing, or cannot read the user's configuration.
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

/// A name or an address without the characters that delimit it in a commit. Git strips them too.
pub(super) fn in_ident(text: &str) -> String {
    let text = text.replace(['<', '>', '\n', '\r', '\0'], "");
    text.trim().to_owned()
}

/// Who made a commit, and when (seconds since 1970, UTC).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Who.
    pub who: Identity,
    /// When.
    pub when: u64,
}

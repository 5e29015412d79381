// SPDX-License-Identifier: GPL-2.0

//! Reads a mailbox with git, as `git am` does for a maintainer.

use std::{fs, path::Path};

use crate::{
    git::Git,
    sys::{Error, Result, files::create, plural::count},
};

/// A patch as git reads it from a mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// The message of the resulting commit.
    pub message: String,
    /// The name and the address of the author.
    pub name: String,
    pub email: String,
    /// The diff, and the notes and the diffstat before it.
    pub diff: Vec<u8>,
}

/// Reads the patches of a mailbox in order. Creates `dir` for the split mails.
///
/// `--scissors` is the stricter mode, because git reads a mail without scissors the same in both.
pub fn read(git: &Git<'_>, mbox: &[u8], dir: &Path) -> Result<Vec<Received>> {
    create(dir)?;
    let split = git.cmd(["mailsplit"]).arg(format!("-o{}", dir.display()));
    let count: usize = git.run(&split.stdin(mbox))?.text().parse().unwrap_or(0);
    let (text, diff) = (dir.join("message"), dir.join("diff"));
    let content = |path: &Path| fs::read(path).map_err(|e| Error::io("read", path, &e));
    let mut all = Vec::new();
    for number in 1..=count {
        let mail = content(&dir.join(format!("{number:04}")))?;
        let cmd = git.cmd(["mailinfo", "--scissors", "--encoding=UTF-8"]);
        let info = git.run(&cmd.arg(&text).arg(&diff).stdin(mail))?.text();
        let of = |key: &str| {
            let found = info.lines().find_map(|l| l.strip_prefix(key));
            found.unwrap_or("").to_owned()
        };
        let body = content(&text)?;
        all.push(Received {
            message: format!("{}\n\n{}", of("Subject: "), String::from_utf8_lossy(&body)),
            name: of("Author: "),
            email: of("Email: "),
            diff: content(&diff)?,
        });
    }
    Ok(all)
}

/// Returns the index of the first mail that differs from `messages` or `authors` (names and
/// addresses), and the difference.
pub fn difference(
    received: &[Received],
    messages: &[&str],
    authors: &[(String, String)],
) -> Option<(usize, String)> {
    let (have, want) = (received.len(), messages.len());
    if have != want {
        let found = count(have, "mail", "mails");
        return Some((
            have.min(want),
            format!("git finds {found} instead of {want}"),
        ));
    }
    let mut pairs = received.iter().zip(messages).enumerate();
    pairs.find_map(|(at, (received, meant))| {
        let (read, meant) = (received.message.trim(), meant.trim());
        if read != meant {
            let mut lines = read.lines().chain([""]).zip(meant.lines().chain([""]));
            let (read, meant) = lines.find(|(a, b)| a != b).unwrap_or_default();
            return Some((at, format!("`git am` reads {read:?} instead of {meant:?}")));
        }
        let who = (received.name.clone(), received.email.clone());
        let (name, email) = &who;
        let is_meant = authors.get(at) == Some(&who);
        (!is_meant).then(|| (at, format!("`git am` reads {name} <{email}> as the author")))
    })
}

// SPDX-License-Identifier: GPL-2.0

//! Reads a mailbox with git, as `git am` does for a maintainer.

use std::path::Path;

use super::mailbox::Person;
use crate::{
    git::Git,
    sys::{Result, files, plural::count},
};

/// A patch as git reads it from a mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    pub message: String,
    pub author: Person,
    /// The diff, and the notes and the diffstat before it.
    pub diff: Vec<u8>,
}

/// Reads the patches of a mailbox in order. Creates `dir` for the split mails.
///
/// `--scissors` is the stricter mode, because git reads a mail without scissors the same in both.
pub fn read(git: &Git<'_>, mbox: &[u8], dir: &Path) -> Result<Vec<Received>> {
    files::create(dir)?;
    let split = git.cmd(["mailsplit"]).arg(format!("-o{}", dir.display()));
    let count: usize = git.run(&split.stdin(mbox))?.text().parse().unwrap_or(0);
    let (text, diff) = (dir.join("message"), dir.join("diff"));
    let mut all = Vec::new();
    for number in 1..=count {
        let mail = files::read(&dir.join(format!("{number:04}")))?;
        let cmd = git.cmd(["mailinfo", "--scissors", "--encoding=UTF-8"]);
        let info = git.run(&cmd.arg(&text).arg(&diff).stdin(mail))?.text();
        let of = |key: &str| {
            let found = info.lines().find_map(|l| l.strip_prefix(key));
            found.unwrap_or("").to_owned()
        };
        let body = files::read(&text)?;
        all.push(Received {
            message: format!("{}\n\n{}", of("Subject: "), String::from_utf8_lossy(&body)),
            author: Person {
                name: of("Author: "),
                email: of("Email: "),
            },
            diff: files::read(&diff)?,
        });
    }
    Ok(all)
}

/// Returns the index of the first mail that differs from `messages` or `authors`, and how.
pub fn difference(
    received: &[Received],
    messages: &[&str],
    authors: &[Person],
) -> Option<(usize, String)> {
    let (have, want) = (received.len(), messages.len());
    if have != want {
        let found = count(have, "mail", "mails");
        let what = format!("git finds {found} instead of {want}");
        return Some((have.min(want), what));
    }
    let mut pairs = received.iter().zip(messages).enumerate();
    pairs.find_map(|(at, (received, meant))| {
        let (read, meant) = (received.message.trim(), meant.trim());
        if read != meant {
            let mut lines = read.lines().chain([""]).zip(meant.lines().chain([""]));
            let (read, meant) = lines.find(|(a, b)| a != b).unwrap_or_default();
            return Some((at, format!("`git am` reads {read:?} instead of {meant:?}")));
        }
        let author = &received.author;
        let is_other = authors.get(at) != Some(author);
        is_other.then(|| (at, format!("`git am` reads {author} as the author")))
    })
}

// SPDX-License-Identifier: GPL-2.0

//! Resending: the mails of the last version again, with RESEND in their subjects.
//!
//! `b4 send --resend` reads its tag and would mail the private base commit that the tag names. So the
//! tool creates the mails from the record, and `git send-email` sends them.

use serde::{Deserialize, Serialize};

use super::Posting;
use crate::{
    mail::mailbox::{self, Mail},
    source::{
        manifest::Series,
        words::{self, Recipient},
    },
    sys::error::{Error, Result},
};

/// The line that separates mails in git's mailboxes.
const FROM: &str = "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n";

/// The word that resent subjects start with.
const WORD: &str = "RESEND";

/// A posting of an unchanged version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Resend {
    /// The message id of the cover letter, or of the single patch, without brackets.
    pub message_id: String,
    /// The message ids of the patches, in order.
    pub patches: Vec<String>,
}

/// Creates the mails to resend: file name and content of each. Recipients come from the manifest.
pub fn mails(series: &Series, posted: &[Mail]) -> Vec<(String, Vec<u8>)> {
    let resent = posted.iter().filter_map(|mail| {
        let number = mail.tag()?.number;
        Some((format!("{number:04}.patch"), resent(series, mail)))
    });
    resent.collect()
}

fn resent(series: &Series, mail: &Mail) -> Vec<u8> {
    let raw = mailbox::with_newlines(&mail.raw);
    let end = raw.windows(2).position(|w| w == b"\n\n");
    let (head, body) = raw.split_at(end.map_or(raw.len(), |at| at + 1));
    let mut text = FROM.to_owned();
    let mut kept = false;
    for line in String::from_utf8_lossy(head).lines() {
        let folded = line.starts_with([' ', '\t']);
        kept = match folded {
            true => kept,
            false => is_kept(line),
        };
        if kept {
            text += &format!("{line}\n");
        }
    }
    let subject = mail.subject.replacen('[', &format!("[{WORD} "), 1);
    // b4's tag numbers a single patch "1/1", but b4 sent it without a number.
    let subject = subject.replacen(" 1/1]", "]", 1);
    text += &format!("Subject: {}\n", words::header_text(&subject));
    let both = [("To", &series.to), ("Cc", &series.cc)];
    for (header, list) in both.into_iter().filter(|(_, list)| !list.is_empty()) {
        let list: Vec<String> = list.iter().map(Recipient::header).collect();
        text += &format!("{header}: {}\n", list.join(",\n "));
    }
    [text.as_bytes(), body].concat()
}

/// Whether a resent mail keeps this header: author and encoding.
fn is_kept(line: &str) -> bool {
    let key = line.split(':').next().unwrap_or("").to_ascii_lowercase();
    ["from", "mime-version"].contains(&key.as_str()) || key.starts_with("content-")
}

/// Reads the mails of a resent posting.
///
/// # Errors
///
/// A mail is missing, a patch differs from the posted one, or the sender is another person.
pub fn read(posting: &Posting, posted: &[Mail], all: &[Mail], ids: &Ids<'_>) -> Result<Resend> {
    let version = posting.version;
    let is_resent = |m: &&Mail| {
        let tag = m.tag().filter(|_| !m.is_reply());
        tag.is_some_and(|t| t.version == version && t.prefix.split(' ').any(|w| w == WORD))
    };
    let found: Vec<&Mail> = all.iter().filter(is_resent).collect();
    let mut again = Vec::new();
    for one in posted {
        let number = one.tag().map(|t| t.number);
        let mut same = found.iter().filter(|m| m.tag().map(|t| t.number) == number);
        let resent = same.find(|m| m.from.email == one.from.email && m.title() == one.title());
        let Some(resent) = resent.filter(|m| !m.id.is_empty()) else {
            return Err(Error::new(format!(
                "the mailbox has no mail with {WORD} for {:?} from {}",
                one.subject, one.from.email
            ))
            .help("the mailbox must contain all mails of the version, as they were sent"));
        };
        if posted.iter().any(|old| old.id == resent.id) {
            return Err(Error::new(format!(
                "{} was recorded as the first posting",
                resent.id
            )));
        }
        again.push(*resent);
    }
    let patches: Vec<&Mail> = again
        .into_iter()
        .filter(|m| m.tag().is_some_and(|t| t.number > 0))
        .collect();
    let diffs: Vec<u8> = patches
        .iter()
        .flat_map(|m| [FROM.as_bytes(), m.body.as_bytes(), b"\n"].concat())
        .collect();
    let wanted = posting.patches.iter().map(|p| &p.patch_id);
    if !ids(&diffs)?.iter().eq(wanted) {
        return Err(
            Error::new(format!("the patches differ from v{version}")).help(
                "a resend repeats a version without changes; post changed patches as a new version",
            ),
        );
    }
    let cover = found
        .iter()
        .find(|m| m.tag().is_some_and(|t| t.number == 0));
    let first = cover.copied().or(patches.first().copied());
    Ok(Resend {
        message_id: first.map(|m| m.id.clone()).unwrap_or_default(),
        patches: patches.iter().map(|m| m.id.clone()).collect(),
    })
}

/// Computes the patch ids of a mailbox.
pub type Ids<'a> = dyn Fn(&[u8]) -> Result<Vec<String>> + 'a;

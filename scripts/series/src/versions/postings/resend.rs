// SPDX-License-Identifier: GPL-2.0

//! Resending: the mails of the last version again, with RESEND in their subjects.
//!
//! `b4 send --resend` reads its tag and would mail the private base commit that the tag names. So
//! the tool creates the mails from the record, and `git send-email` sends them.

use serde::{Deserialize, Serialize};

use super::{FROM, Posting, is_patch, patch_ids_of};
use crate::{
    git::Git,
    mail::{
        bundle,
        mailbox::{self, Mail},
    },
    source::{manifest::Series, words},
    sys::{Error, Result},
};

/// The word that resent subjects start with.
const WORD: &str = "RESEND";

/// A posting of an unchanged version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Resend {
    /// The message id of the cover letter, or of the single patch, without brackets.
    pub message_id: String,
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
    let (head, body) = bundle::parts(&raw);
    let mut text = FROM.to_owned();
    let mut kept = false;
    for line in String::from_utf8_lossy(head).lines() {
        // A folded line belongs to the header above it.
        if !line.starts_with([' ', '\t']) {
            kept = is_kept(line);
        }
        if kept {
            text += &format!("{line}\n");
        }
    }
    let subject = mail.subject.replacen('[', &format!("[{WORD} "), 1);
    // b4's tag numbers a single patch "1/1", but b4 sent it without a number.
    let subject = subject.replacen(" 1/1]", "]", 1);
    text += &format!("Subject: {}\n", words::header_text(&subject));
    text += &series.recipient_headers();
    [text.as_bytes(), body].concat()
}

/// Whether a resent mail keeps this header: author and encoding.
fn is_kept(line: &str) -> bool {
    let key = line.split(':').next().unwrap_or("").to_ascii_lowercase();
    ["from", "mime-version"].contains(&key.as_str()) || key.starts_with("content-")
}

/// Each posted mail has to occur again, with the same sender and the same patch.
pub fn read(git: &Git<'_>, posting: &Posting, posted: &[Mail], all: &[Mail]) -> Result<Resend> {
    let version = posting.version;
    let number = |m: &Mail| m.tag().map(|t| t.number);
    let is_resent = |m: &&Mail| {
        let tag = m.tag().filter(|_| !m.is_reply());
        tag.is_some_and(|t| t.version == version && t.prefix.split(' ').any(|w| w == WORD))
    };
    let found: Vec<&Mail> = all.iter().filter(is_resent).collect();
    let mut again: Vec<&Mail> = Vec::new();
    for one in posted {
        let mut same = found.iter().filter(|m| number(m) == number(one));
        let resent = same.find(|m| m.from.email == one.from.email && m.title() == one.title());
        let Some(resent) = resent.filter(|m| !m.id.is_empty()) else {
            let (subject, from) = (&one.subject, &one.from.email);
            let what = format!("the mailbox has no mail with {WORD} for {subject:?} from {from}");
            return Err(Error::new(what)
                .help("the mailbox must contain all mails of the version, as they were sent"));
        };
        if posted.iter().any(|old| old.id == resent.id) {
            let what = format!("{} was recorded as the first posting", resent.id);
            return Err(Error::new(what));
        }
        again.push(resent);
    }
    let mut patches = again.clone();
    patches.retain(|m| is_patch(m));
    let wanted = posting.patches.iter().map(|p| &p.patch_id);
    if !patch_ids_of(git, &patches)?.iter().eq(wanted) {
        return Err(
            Error::new(format!("the patches differ from v{version}")).help(
                "a resend repeats a version without changes; post changed patches as a new version",
            ),
        );
    }
    // A posting without a cover letter may be resent with one.
    let mut covers = again.iter().chain(&found);
    let first = covers.find(|m| number(m) == Some(0)).or(patches.first());
    Ok(Resend {
        message_id: first.map(|m| m.id.clone()).unwrap_or_default(),
        patches: patches.iter().map(|m| m.id.clone()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sys::runner::System, versions::postings::tests::posting};

    #[test]
    fn read_names_cover_letter_of_same_sender() {
        let mail = |from: &str, id: &str, subject: &str, body: &str| {
            format!(
                "From x Thu Jan  1 00:00:00 2026\nFrom: {from}\nMessage-ID: <{id}>\n\
                 Subject: {subject}\n\n{body}\n"
            )
        };
        let diff = "---\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";
        let read_all = |mails: &[String]| mailbox::read(mails.concat().as_bytes()).unwrap();
        let dev = "Dev <dev@x.org>";
        let posted = read_all(&[
            mail(dev, "0@x", "[PATCH 0/1] a: cover", "text"),
            mail(dev, "1@x", "[PATCH 1/1] a: b", diff),
        ]);
        let all = read_all(&[
            mail(
                "Eve <eve@evil.org>",
                "e@x",
                "[PATCH RESEND 0/1] a: cover",
                "text",
            ),
            mail(dev, "r0@x", "[PATCH RESEND 0/1] a: cover", "text"),
            mail(dev, "r1@x", "[PATCH RESEND 1/1] a: b", diff),
        ]);
        let dir = tempfile::tempdir().unwrap();
        let git = Git::new(&System, dir.path());
        let mut posting = posting(1, &["a: b"]);
        posting.patches[0].patch_id = patch_ids_of(&git, &[&posted[1]]).unwrap().remove(0);
        let resend = read(&git, &posting, &posted, &all).unwrap();
        assert_eq!(
            (&*resend.message_id, &resend.patches[..]),
            ("r0@x", &["r1@x".to_owned()][..])
        );
    }
}

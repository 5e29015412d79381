// SPDX-License-Identifier: GPL-2.0

//! What was posted: `series/<name>/posted/`, a record and the mails of each version.
//!
//! The record names the mails, the mails are kept as they were sent. So what a later version is
//! compared with does not depend on a cache, nor on what b4 has in its repository.

pub mod commits;
pub mod import;
pub mod pick;
pub mod resend;
pub mod since;
pub mod tag;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{
    Deserialize,
    Serialize, //
};

use self::resend::Resend;
use crate::{
    mail::mailbox::{
        self,
        Mail, //
    },
    source::{
        manifest,
        message,
        workspace::{
            Workspace,
            write, //
        }, //
    },
    sys::{
        error::{
            Error,
            Result, //
        },
        plural::count, //
    }, //
};

/// Where a message is to be found; as b4 has it (`b4.linkmask`).
const LINK: &str = "https://patch.msgid.link/";

/// How a record starts.
const HEAD: &str = "\
# SPDX-License-Identifier: GPL-2.0
#
# Written by `cargo series posted`; not to be edited.

";

/// The link to a mail.
pub fn link(message_id: &str) -> String {
    format!("{LINK}{message_id}")
}

/// One version of a series as it was posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Posting {
    /// The version.
    pub version: u32,
    /// The word before the version in the subjects: "PATCH".
    pub prefix: String,
    /// The title of the cover letter; the subject, where a single patch has none.
    pub title: String,
    /// b4's change id.
    pub change_id: String,
    /// The message id of the cover letter, or of the single patch, without brackets.
    pub message_id: String,
    /// The kernel that it was made for: "6.19.11".
    pub base: String,
    /// What it was made on, besides the base, in the order to apply. Empty if
    /// `v<N>.below.mbox` holds those patches: then some of them were not posted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<Below>,
    /// The patches, in order.
    #[serde(rename = "patch")]
    pub patches: Vec<PostedPatch>,
    /// The mails by which it was resent.
    #[serde(default, rename = "resend", skip_serializing_if = "Vec::is_empty")]
    pub resends: Vec<Resend>,
}

/// A posted version of another series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Below {
    /// The series.
    pub series: String,
    /// The version.
    pub version: u32,
}

/// One posted patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PostedPatch {
    /// Its subject without the brackets.
    pub subject: String,
    /// `git patch-id --stable`.
    pub patch_id: String,
    /// Its message id, without brackets.
    pub message_id: String,
    /// The file of its message in `series/<name>/`, by which a patch is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The folder of the records, below the top folder.
pub fn folder(name: &str) -> PathBuf {
    PathBuf::from(format!("series/{name}/posted"))
}

/// The file in which the message of a patch is now that was posted from `file`: the same one, or the
/// one with the subject that the patch had in its last posting. `None` if the patch is gone.
pub fn present_file(
    file: &str,
    postings: &[Posting],
    series: &manifest::Series,
    messages: &BTreeMap<String, String>,
) -> Option<String> {
    let now: Vec<&str> = series
        .patches
        .iter()
        .map(|p| p.message.value.as_str())
        .collect();
    if now.contains(&file) {
        return Some(file.to_owned());
    }
    let mut posted = postings.iter().rev().flat_map(|p| &p.patches);
    let was = posted.find(|p| p.message.as_deref() == Some(file))?;
    let found = now.into_iter().find(|now| {
        let text = messages.get(*now).map_or("", String::as_str);
        message::subject(text) == was.subject
    });
    found.map(str::to_owned)
}

impl Posting {
    /// The link to it.
    pub fn link(&self) -> String {
        link(&self.message_id)
    }

    /// The bracketed part of its subjects without the numbers: "PATCH v2".
    pub fn subject_prefix(&self) -> String {
        manifest::subject_prefix(&self.prefix, self.version)
    }

    /// Its record, below the top folder.
    pub fn file(&self, name: &str) -> PathBuf {
        folder(name).join(format!("v{}.toml", self.version))
    }

    /// The mails as they were sent, the cover letter first.
    pub fn mbox(&self, name: &str) -> PathBuf {
        folder(name).join(format!("v{}.mbox", self.version))
    }

    /// The patches that it was made on, where the records of other series do not hold them.
    pub fn below_mbox(&self, name: &str) -> PathBuf {
        folder(name).join(format!("v{}.below.mbox", self.version))
    }

    /// The mails of its patches, in order.
    ///
    /// # Errors
    ///
    /// They are missing, or are not those that the record names.
    pub fn mails(&self, ws: &Workspace, name: &str) -> Result<Vec<Mail>> {
        let file = self.mbox(name);
        let bytes = crate::source::workspace::read_file(&ws.path(&file))
            .map_err(|e| Error::io("read", &file, &e))?;
        self.patches_in(name, &bytes)
    }

    /// The mails of its patches, in order, out of what its file holds.
    ///
    /// # Errors
    ///
    /// They are not those that the record names.
    pub fn patches_in(&self, name: &str, bytes: &[u8]) -> Result<Vec<Mail>> {
        let file = self.mbox(name);
        let mut mails = mailbox::read(bytes).map_err(|e| e.at(&file, None))?;
        mails.retain(is_patch);
        mails.sort_by_key(|m| m.tag().map(|tag| tag.number));
        let ids = mails.iter().map(|m| &m.id);
        if !ids.eq(self.patches.iter().map(|p| &p.message_id)) {
            return Err(Error::new(format!(
                "does not hold the {} that {} names",
                count(self.patches.len(), "patch", "patches"),
                self.file(name).display()
            ))
            .at(&file, None)
            .help("both were written by `cargo series posted`; restore them"));
        }
        Ok(mails)
    }

    /// The text of its record.
    ///
    /// # Errors
    ///
    /// It cannot be written as TOML.
    pub fn text(&self) -> Result<String> {
        let text = toml::to_string(self)
            .map_err(|e| Error::new(format!("cannot be written as TOML: {e}")))?;
        Ok(format!("{HEAD}{text}"))
    }

    /// Writes it. The record comes last, so that it is never there without its mails.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn write(&self, ws: &Workspace, name: &str, mails: &[u8], below: &[u8]) -> Result<()> {
        write(&ws.path(self.mbox(name)), mails)?;
        if !below.is_empty() {
            write(&ws.path(self.below_mbox(name)), below)?;
        }
        self.write_record(ws, name)
    }

    /// Writes the record without the mails.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write_record(&self, ws: &Workspace, name: &str) -> Result<()> {
        write(&ws.path(self.file(name)), self.text()?.as_bytes())
    }
}

/// The patches of several series, one on the other, in the order of the mailbox: each series has
/// its own numbers.
pub(crate) fn patches_below(bytes: &[u8]) -> Result<Vec<Mail>> {
    let mut mails = mailbox::read(bytes)?;
    mails.retain(is_patch);
    Ok(mails)
}

/// Whether the mail is a patch, and no cover letter.
pub(crate) fn is_patch(mail: &Mail) -> bool {
    mail.tag().is_some_and(|tag| tag.number > 0)
}

/// Reads what was posted of a series, the oldest version first.
///
/// # Errors
///
/// A record is malformed, or one is missing in between.
pub fn read_all(ws: &Workspace, name: &str) -> Result<Vec<Posting>> {
    let mut postings = Vec::new();
    for version in 1.. {
        let file = folder(name).join(format!("v{version}.toml"));
        if !ws.path(&file).exists() {
            break;
        }
        let posting: Posting = manifest::parse(&file, &ws.read(&file)?)?;
        if posting.version != version || posting.patches.is_empty() {
            return Err(Error::new(format!("is not the record of v{version}"))
                .at(&file, None)
                .help("it was written by `cargo series posted`; restore it"));
        }
        postings.push(posting);
    }
    let next = postings.len() + 1;
    let later = std::fs::read_dir(ws.path(folder(name)))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .filter_map(|file| file.strip_prefix('v')?.strip_suffix(".toml")?.parse().ok())
        .find(|version: &usize| *version > next);
    match later {
        Some(later) => Err(Error::new(format!(
            "v{later} of {name} is recorded, but v{next} is not"
        ))
        .at(folder(name), None)
        .help("versions are counted from 1 and none is left out; restore the record")),
        None => Ok(postings),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;

    pub(crate) fn posting(version: u32, subjects: &[&str]) -> Posting {
        let patches = subjects.iter().enumerate().map(|(i, subject)| PostedPatch {
            subject: (*subject).to_owned(),
            patch_id: format!("{:040x}", i + 1),
            message_id: format!("20260102-x-v{version}-{}-abc@example.org", i + 1),
            message: Some(format!("{}.msg", i + 1)),
        });
        Posting {
            version,
            prefix: "PATCH".into(),
            title: "rust: x: add it".into(),
            change_id: "20260102-x-1".into(),
            message_id: format!("20260102-x-v{version}-0-abc@example.org"),
            base: "6.1.2".into(),
            below: Vec::new(),
            patches: patches.collect(),
            resends: Vec::new(),
        }
    }

    fn workspace(versions: &[u32]) -> (tempfile::TempDir, Workspace) {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("series/base.toml"), b"").unwrap();
        let ws = Workspace::find(dir.path()).unwrap();
        for version in versions {
            posting(*version, &["a: b"])
                .write(&ws, "x", b"", b"")
                .unwrap();
        }
        (dir, ws)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (_dir, ws) = workspace(&[1, 2]);
        let read = read_all(&ws, "x").unwrap();
        assert_eq!(read, [posting(1, &["a: b"]), posting(2, &["a: b"])]);
        assert_eq!(
            read[1].link(),
            "https://patch.msgid.link/20260102-x-v2-0-abc@example.org"
        );
        assert_eq!(read[1].subject_prefix(), "PATCH v2");
        assert!(read_all(&ws, "y").unwrap().is_empty());
    }

    #[test]
    fn no_version_is_left_out() {
        let (_dir, ws) = workspace(&[1, 3]);
        insta::assert_snapshot!(read_all(&ws, "x").unwrap_err(), @r"
        series/x/posted: v3 of x is recorded, but v2 is not
          help: versions are counted from 1 and none is left out; restore the record
        ");
    }

    #[test]
    fn a_record_of_another_version_is_refused() {
        let (_dir, ws) = workspace(&[2]);
        let from = ws.path("series/x/posted/v2.toml");
        std::fs::rename(from, ws.path("series/x/posted/v1.toml")).unwrap();
        insta::assert_snapshot!(read_all(&ws, "x").unwrap_err(), @r"
        series/x/posted/v1.toml: is not the record of v1
          help: it was written by `cargo series posted`; restore it
        ");
    }

    #[test]
    fn patches_below_keep_their_order() {
        let mail =
            |subject: &str| format!("From 0 Mon Sep 17 00:00:00 2001\nSubject: {subject}\n\nx\n");
        let all = [
            "[PATCH 0/2] a",
            "[PATCH 1/2] a1",
            "[PATCH 2/2] a2",
            "[PATCH 1/1] b1",
        ]
        .map(mail);
        let mails = patches_below(all.concat().as_bytes()).unwrap();
        let titles: Vec<&str> = mails.iter().map(Mail::title).collect();
        assert_eq!(titles, ["a1", "a2", "b1"]);
    }

    #[test]
    fn patch_is_followed_to_its_present_file() {
        let text = "version = 2\nchange-id = \"20260102-c-1\"\n[[patch]]\nmessage = \"new.msg\"\n";
        let series = manifest::Series::parse("x", Path::new("series/x.toml"), text).unwrap();
        let messages = |subject: &str| {
            BTreeMap::from([("new.msg".to_owned(), format!("{subject}\n\nText.\n"))])
        };
        let postings = [posting(1, &["a: b"])];
        let now = |file, subject| present_file(file, &postings, &series, &messages(subject));
        assert_eq!(now("1.msg", "a: b").as_deref(), Some("new.msg"));
        assert_eq!(now("new.msg", "a: c").as_deref(), Some("new.msg"));
        assert_eq!(now("1.msg", "a: c"), None);
        assert_eq!(now("2.msg", "a: b"), None);
    }

    #[test]
    fn mails_that_are_not_those_of_the_record_are_refused() {
        let (_dir, ws) = workspace(&[1]);
        let posting = posting(1, &["a: b"]);
        let other =
            "From 0 Mon Sep 17 00:00:00 2001\nSubject: [PATCH] a: b\nMessage-ID: <x@y>\n\ntext\n";
        posting.write(&ws, "x", other.as_bytes(), b"").unwrap();
        insta::assert_snapshot!(posting.mails(&ws, "x").unwrap_err(), @r"
        series/x/posted/v1.mbox: does not hold the 1 patch that series/x/posted/v1.toml names
          help: both were written by `cargo series posted`; restore them
        ");
    }
}

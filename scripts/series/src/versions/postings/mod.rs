// SPDX-License-Identifier: GPL-2.0

//! Records of postings: `series/<name>/posted/` holds a record and the mails of each version.
//!
//! The record names the mails, which are kept as they were sent. Comparisons with a posting
//! therefore depend neither on a cache nor on b4's repository.

pub mod commits;
pub mod import;
pub mod pick;
pub mod resend;
pub mod tag;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use self::resend::Resend;
use crate::{
    git::{Git, Oid, patch_ids},
    mail::mailbox::{self, Mail},
    source::{manifest, message, workspace::Workspace},
    sys::{
        Error, Result,
        files::{read_file, write},
        plural::count,
    },
};

/// The address that a message id is appended to; the same as b4's `b4.linkmask`.
const LINK: &str = "https://patch.msgid.link/";

const HEAD: &str = "\
# SPDX-License-Identifier: GPL-2.0
#
# Written by `cargo series record`; not to be edited.

";

/// The line that separates mails in git's mailboxes.
const FROM: &str = "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n";

pub fn link(message_id: &str) -> String {
    format!("{LINK}{message_id}")
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Posting {
    pub version: u32,
    /// The words before the version in the subjects: "PATCH".
    pub prefix: String,
    /// The title of the cover letter, or the subject of a single patch.
    pub title: String,
    pub change_id: String,
    /// The message id of the cover letter, or of the single patch, without brackets.
    pub message_id: String,
    /// The kernel release of its base: "6.19.11".
    pub base: String,
    /// The posted versions below, in the order in which they apply. Empty if `v<N>.below.mbox`
    /// holds the patches below, because some of them were never posted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<Below>,
    #[serde(rename = "patch")]
    pub patches: Vec<PostedPatch>,
    /// Later postings of the same version with RESEND.
    #[serde(default, rename = "resend", skip_serializing_if = "Vec::is_empty")]
    pub resends: Vec<Resend>,
}

/// A posting that is not recorded yet, and its mails.
pub struct Import {
    pub posting: Posting,
    /// The mails as they were sent, the cover letter first.
    pub mails: Vec<u8>,
    /// The mails of the patches below, if no record has them.
    pub below: Vec<u8>,
    /// A line for each mail of the mailbox that is not part of the posting.
    pub left_out: Vec<String>,
}

/// A posted version of another series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Below {
    pub series: String,
    pub version: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PostedPatch {
    /// The subject without the bracketed prefix.
    pub subject: String,
    /// `git patch-id --stable`.
    pub patch_id: String,
    /// The message id, without brackets.
    pub message_id: String,
    /// The file of its message in `series/<name>/`, which identifies a patch in the checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(format!("series/{name}/posted"))
}

/// Returns the present message file of the patch that was posted from `file`: the same file, or the
/// file whose message has the subject of the last posting. Returns `None` if the patch is gone.
pub fn present_file(
    file: &str,
    postings: &[Posting],
    series: &manifest::Series,
    messages: &BTreeMap<String, String>,
) -> Option<String> {
    let mut now = series.patches.iter().map(|p| &p.message.value);
    if now.clone().any(|now| now == file) {
        return Some(file.to_owned());
    }
    let mut posted = postings.iter().rev().flat_map(|p| &p.patches);
    let was = posted.find(|p| p.message.as_deref() == Some(file))?;
    let subject = |file: &String| messages.get(file).map_or("", |text| message::subject(text));
    now.find(|now| subject(now) == was.subject).cloned()
}

impl Posting {
    /// Returns the public link to the first mail.
    pub fn link(&self) -> String {
        link(&self.message_id)
    }

    /// The bracketed part of its subjects without the numbers: "PATCH v2".
    pub fn subject_prefix(&self) -> String {
        manifest::subject_prefix(&self.prefix, self.version)
    }

    /// Returns the path of the record, relative to the workspace.
    pub fn file(&self, name: &str) -> PathBuf {
        folder(name).join(format!("v{}.toml", self.version))
    }

    /// Returns the path of the mails as they were sent, the cover letter first.
    pub fn mbox(&self, name: &str) -> PathBuf {
        folder(name).join(format!("v{}.mbox", self.version))
    }

    /// Returns the path of the mails of the patches below, which exists if no record has them.
    pub fn below_mbox(&self, name: &str) -> PathBuf {
        folder(name).join(format!("v{}.below.mbox", self.version))
    }

    /// Reads the mails of the patches, in order. Fails if they differ from the record.
    pub fn mails(&self, ws: &Workspace, name: &str) -> Result<Vec<Mail>> {
        let mut mails = self.all_mails(ws, name)?;
        mails.retain(is_patch);
        Ok(mails)
    }

    /// Reads the cover letter and the mails of the patches, as [`Self::mails`] does.
    pub fn all_mails(&self, ws: &Workspace, name: &str) -> Result<Vec<Mail>> {
        self.in_order(name, read_mailbox(ws, &self.mbox(name))?)
    }

    /// Sorts the mails of the posting. Fails if the record names other patches.
    fn in_order(&self, name: &str, mut mails: Vec<Mail>) -> Result<Vec<Mail>> {
        mails.sort_by_key(|m| m.tag().map_or(usize::MAX, |tag| tag.number));
        let patches = mails.iter().filter(|m| is_patch(m));
        let ids = patches.map(|m| &m.id);
        if ids.ne(self.patches.iter().map(|p| &p.message_id)) {
            let patches = count(self.patches.len(), "patch", "patches");
            let record = self.file(name);
            let what = format!(
                "does not hold the {patches} that {} names",
                record.display()
            );
            return Err(Error::new(what)
                .at(self.mbox(name), None)
                .help("both were written by `cargo series record`; restore them"));
        }
        Ok(mails)
    }

    pub fn text(&self) -> Result<String> {
        let text = toml::to_string(self)
            .map_err(|e| Error::new(format!("cannot be written as TOML: {e}")))?;
        Ok(format!("{HEAD}{text}"))
    }

    /// Writes the mails, then the record, so that a record never lacks its mails.
    pub fn write(&self, ws: &Workspace, name: &str, mails: &[u8], below: &[u8]) -> Result<()> {
        write(&ws.path(self.mbox(name)), mails)?;
        if !below.is_empty() {
            write(&ws.path(self.below_mbox(name)), below)?;
        }
        self.write_record(ws, name)
    }

    pub fn write_record(&self, ws: &Workspace, name: &str) -> Result<()> {
        write(&ws.path(self.file(name)), self.text()?.as_bytes())
    }
}

pub fn read_mailbox(ws: &Workspace, file: &Path) -> Result<Vec<Mail>> {
    let bytes = read_file(&ws.path(file)).map_err(|e| Error::io("read", file, &e))?;
    mailbox::read(&bytes).map_err(|e| e.at(file, None))
}

/// Whether the mail is a patch, not a cover letter.
fn is_patch(mail: &Mail) -> bool {
    mail.tag().is_some_and(|tag| tag.number > 0)
}

fn mbox(mails: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mails = mails.into_iter();
    let parts = mails.flat_map(|m| [FROM.as_bytes(), m.as_ref(), b"\n"].concat());
    parts.collect()
}

fn patch_ids_of(git: &Git<'_>, patches: &[&Mail]) -> Result<Vec<String>> {
    patch_ids(git, &mbox(patches.iter().map(|m| &m.body)))
}

/// Reads the records of a series, the oldest version first. Fails if there is a gap.
pub fn read_all(ws: &Workspace, name: &str) -> Result<Vec<Posting>> {
    let files = std::fs::read_dir(ws.path(folder(name))).into_iter();
    let versions = files.flatten().flatten().filter_map(|entry| {
        let file = entry.file_name().into_string().ok()?;
        let number = file.strip_prefix('v')?.strip_suffix(".toml")?;
        let version: u32 = number.parse().ok()?;
        (version > 0 && version.to_string() == number).then_some(version)
    });
    let versions: BTreeSet<u32> = versions.collect();
    let mut postings = Vec::new();
    for (next, version) in (1..).zip(versions) {
        if version != next {
            let what = format!("v{version} of {name} is recorded, but v{next} is not");
            return Err(Error::new(what)
                .at(folder(name), None)
                .help("versions are numbered from 1 without gaps; restore the record"));
        }
        let file = folder(name).join(format!("v{version}.toml"));
        let posting: Posting = manifest::parse(&file, &ws.read(&file)?)?;
        if posting.version != version || posting.patches.is_empty() {
            return Err(Error::new(format!("this is not the record of v{version}"))
                .at(&file, None)
                .help("it was written by `cargo series record`; restore it"));
        }
        postings.push(posting);
    }
    Ok(postings)
}

/// A posting by b4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The parent of the first patch.
    pub parent: Oid,
    /// The message id of the cover letter, or of the single patch.
    pub message_id: String,
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
    fn read_all_returns_written_records() {
        let (_dir, ws) = workspace(&[1, 2]);
        for other in ["v0.toml", "v03.toml", "v+4.toml"] {
            write(&ws.path(folder("x")).join(other), b"").unwrap();
        }
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
    fn read_all_gap_is_refused() {
        let (_dir, ws) = workspace(&[1, 3]);
        insta::assert_snapshot!(read_all(&ws, "x").unwrap_err(), @r"
        series/x/posted: v3 of x is recorded, but v2 is not
          help: versions are numbered from 1 without gaps; restore the record
        ");
    }

    #[test]
    fn read_all_other_version_is_refused() {
        let (_dir, ws) = workspace(&[2]);
        let from = ws.path("series/x/posted/v2.toml");
        std::fs::rename(from, ws.path("series/x/posted/v1.toml")).unwrap();
        insta::assert_snapshot!(read_all(&ws, "x").unwrap_err(), @r"
        series/x/posted/v1.toml: this is not the record of v1
          help: it was written by `cargo series record`; restore it
        ");
    }

    #[test]
    fn is_patch_keeps_order() {
        let mail =
            |subject: &str| format!("From 0 Mon Sep 17 00:00:00 2001\nSubject: {subject}\n\nx\n");
        let all = [
            "[PATCH 0/2] a",
            "[PATCH 1/2] a1",
            "[PATCH 2/2] a2",
            "[PATCH 1/1] b1",
        ]
        .map(mail);
        let mut mails = mailbox::read(all.concat().as_bytes()).unwrap();
        mails.retain(is_patch);
        let titles: Vec<&str> = mails.iter().map(Mail::title).collect();
        assert_eq!(titles, ["a1", "a2", "b1"]);
    }

    #[test]
    fn present_file_follows_renames() {
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
    fn mails_other_than_recorded_are_refused() {
        let (_dir, ws) = workspace(&[1]);
        let posting = posting(1, &["a: b"]);
        let other =
            "From 0 Mon Sep 17 00:00:00 2001\nSubject: [PATCH] a: b\nMessage-ID: <x@y>\n\ntext\n";
        posting.write(&ws, "x", other.as_bytes(), b"").unwrap();
        insta::assert_snapshot!(posting.mails(&ws, "x").unwrap_err(), @r"
        series/x/posted/v1.mbox: does not hold the 1 patch that series/x/posted/v1.toml names
          help: both were written by `cargo series record`; restore them
        ");
    }
}

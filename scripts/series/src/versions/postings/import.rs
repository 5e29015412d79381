// SPDX-License-Identifier: GPL-2.0

//! Reads a posting from b4's tag in the kernel repository, or from mails.

use super::{
    Below, FROM, Import, PostedPatch, Posting, Sent,
    commits::{Rebuild, applied},
    is_patch, mbox, patch_ids_of,
    pick::pick,
    tag,
};
use crate::{
    git::{Git, format_patch, patch_ids},
    mail::mailbox::{self, Mail},
    source::{component::Component, cover, message},
    sys::{Error, Result, plural::count},
};

pub struct Importer<'a> {
    pub rebuild: &'a Rebuild<'a>,
    pub component: &'a Component,
    /// The kernel release of the base.
    pub kernel: &'a str,
}

impl Importer<'_> {
    /// Reads the posting `sent` from b4's tag, because the checkout may have changed since. The
    /// message of the tag holds the cover letter.
    pub fn read_tag(&self, sent: &Sent) -> Result<Import> {
        let series = &self.component.series;
        let (name, version) = (&series.name, series.version);
        let git = self.rebuild.git;
        let tag = tag::name(&series.change_id, version);
        let full = format!("refs/tags/{tag}");
        if git.resolve(&full)?.is_none() {
            let what = format!("b4 has posted v{version} of {name}, but its tag {tag} is missing");
            return Err(Error::new(what).at(git.dir(), None).help(format!(
                "record it from the mails that you received: `cargo series record {name} --mbox \
                 FILE`"
            )));
        }
        let scratch = self.rebuild.cache.scratch()?;
        let (own, below) = (scratch.path().join("own"), scratch.path().join("below"));
        let prefix = series.subject_prefix();
        let range = format!("{}..{full}", sent.parent);
        let patches = format_patch(git, &range, &prefix, &own)?;
        let range = format!("{}..{}", self.rebuild.base.commit, sent.parent);
        let below = format_patch(git, &range, "PATCH", &below)?;
        let mails = mails_of_tag(git, &full, &prefix, &patches, &sent.message_id)?;
        let below: Vec<u8> = below.into_iter().flat_map(|(_, mail)| mail).collect();
        self.finish(mails, below)
    }

    /// Reads a posting from `all` mails. `user` is the address of the user. Errors name no file.
    pub fn read_mails(&self, all: &[Mail], user: &str, now_below: &[u8]) -> Result<Import> {
        let (posted, left_out) = pick(&self.component.series, all, user)?;
        let mails = mbox(posted.iter().map(|m| mailbox::with_newlines(&m.raw)));
        let below = self.find_below(&posted, now_below)?;
        let import = self.finish(mails, below)?;
        Ok(Import { left_out, ..import })
    }

    /// Finds the patches below: the posted versions that the cover letter names, else the last
    /// posting of each dependency, else the present commits. Returns the mails that have to be
    /// recorded.
    fn find_below(&self, posted: &[&Mail], now_below: &[u8]) -> Result<Vec<u8>> {
        let rebuild = self.rebuild;
        let as_named = self.named_below(posted)?;
        let patches = posted.iter().filter(|m| is_patch(m));
        let patches: Vec<&[u8]> = patches.map(|m| m.body.as_bytes()).collect();
        let mut complaints = Vec::new();
        for candidate in [&as_named[..], now_below, b""] {
            let below = match candidate {
                b"" => Vec::new(),
                bytes => mailbox::read(bytes)?,
            };
            let mut diffs: Vec<&[u8]> = below.iter().map(|m| m.body.as_bytes()).collect();
            diffs.extend(&patches);
            match applied(rebuild.git, rebuild.cache, &rebuild.base.tree, &diffs) {
                Ok(_) => return Ok(candidate.to_vec()),
                Err((at, e)) => complaints.push(match at.checked_sub(below.len()) {
                    Some(n) => format!("patch {}: {e}", n + 1),
                    None => e.to_string(),
                }),
            }
        }
        complaints.dedup();
        let what = "the patches apply neither to the posted dependencies nor to the base";
        Err(Error::new(what).detail(complaints.join("\n")).help(
            "record the dependencies first, or import the base that the patches were made for",
        ))
    }

    /// Returns the mails of the posted dependencies: the versions in `posted`, or the last ones.
    fn named_below(&self, posted: &[&Mail]) -> Result<Vec<u8>> {
        let mut mails = Vec::new();
        for one in self.rebuild.below(self.component) {
            let key = format!("prerequisite-change-id: {}:v", one.series.change_id);
            let mut lines = posted.iter().flat_map(|m| m.body.lines());
            let named = lines.find_map(|l| l.strip_prefix(&key));
            let version = named.and_then(|v| v.trim().parse().ok());
            let version = version.or(one.posted().map(|p| p.version));
            if let Some(posting) = one.postings.iter().find(|p| Some(p.version) == version) {
                mails.extend(posting.mails(self.rebuild.ws, one.name())?);
            }
        }
        Ok(mbox(mails.iter().map(|m| &m.raw)))
    }

    fn finish(&self, mails: Vec<u8>, below: Vec<u8>) -> Result<Import> {
        let series = &self.component.series;
        let read = mailbox::read(&mails)?;
        let first = &read[0];
        let patches: Vec<&Mail> = read.iter().filter(|m| is_patch(m)).collect();
        let ids = patch_ids_of(self.rebuild.git, &patches)?;
        if ids.len() != patches.len() {
            let diffs = count(ids.len(), "diff", "diffs");
            let patches = count(patches.len(), "patch", "patches");
            return Err(Error::new(format!("git sees {diffs} in {patches}")));
        }
        let known = self.below_as_posted(&below)?;
        let patches = patches.iter().zip(ids).map(|(mail, patch_id)| {
            let mut messages = self.component.messages.iter();
            let message = messages.find(|(_, text)| message::subject(text) == mail.title());
            PostedPatch {
                subject: mail.title().to_owned(),
                patch_id,
                message_id: mail.id.clone(),
                message: message.map(|(file, _)| file.clone()),
            }
        });
        Ok(Import {
            below: if known.is_some() { Vec::new() } else { below },
            posting: Posting {
                version: series.version,
                prefix: first.tag().map_or(series.prefix.to_string(), |t| t.prefix),
                title: first.title().to_owned(),
                change_id: series.change_id.to_string(),
                message_id: first.id.clone(),
                base: self.kernel.to_owned(),
                patches: patches.collect(),
                below: known.unwrap_or_default(),
                resends: Vec::new(),
            },
            mails,
            left_out: Vec::new(),
        })
    }

    /// Returns the posted versions with the patches below; `None` if some were not posted.
    fn below_as_posted(&self, below: &[u8]) -> Result<Option<Vec<Below>>> {
        if below.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let ids = patch_ids(self.rebuild.git, below)?;
        let mut rest = &ids[..];
        let mut found = Vec::new();
        for one in self.rebuild.below(self.component) {
            let fits = |p: &&Posting| {
                let n = p.patches.len();
                rest.len() >= n && p.patches.iter().map(|p| &p.patch_id).eq(&rest[..n])
            };
            if let Some(posting) = one.postings.iter().rev().find(fits) {
                rest = &rest[posting.patches.len()..];
                let (series, version) = (one.name().to_owned(), posting.version);
                found.push(Below { series, version });
            }
        }
        Ok(rest.is_empty().then_some(found))
    }
}

/// Returns the mails that b4 sent: the cover letter from its tag, and the patches from `git
/// format-patch`. `id` is the message id of the first.
fn mails_of_tag(
    git: &Git<'_>,
    tag: &str,
    prefix: &str,
    patches: &[(String, Vec<u8>)],
    id: &str,
) -> Result<Vec<u8>> {
    let format = "--format=%(taggername) %(taggeremail)%0a%(taggerdate:rfc2822)%0a%(contents)";
    let said = git.must(["for-each-ref", format, tag])?.stdout;
    let said = String::from_utf8_lossy(&said);
    let mut parts = said.splitn(3, '\n');
    let mut part = || parts.next().unwrap_or("");
    let (who, date, contents) = (in_header(part()), part(), part());
    let (title, cover) = contents.split_once('\n').unwrap_or((contents, ""));
    let (recipients, text) = cover::split_recipients(cover);
    let (title, text) = (untagged(title), text.trim());
    if let [(_, only)] = patches {
        // b4 sends the cover letter below the `---` of a single patch.
        let mut mail = only.clone();
        message::note_below(&mut mail, &format!("{text}\n"));
        return Ok(with_headers(
            &mail,
            &format!("Message-ID: <{id}>\n{recipients}"),
        ));
    }
    let (count, width) = (patches.len(), patches.len().to_string().len());
    let cover = format!(
        "{FROM}From: {who}\nDate: {date}\nSubject: [{prefix} {:0width$}/{count}] {title}\n\
         Message-ID: <{id}>\n{recipients}MIME-Version: 1.0\n\
         Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n{text}\n\n",
        0
    );
    let mut mails = cover.into_bytes();
    for (number, (_, mail)) in (1..).zip(patches) {
        let id = numbered(id, number).ok_or_else(|| {
            Error::new(format!("{id} is not a message id of b4"))
                .at(git.dir(), None)
                .help("record the posting from the mails that you received: --mbox FILE")
        })?;
        mails.extend(with_headers(mail, &format!("Message-ID: <{id}>\n")));
    }
    Ok(mails)
}

/// Formats `Name <address>` for a header; quotes a name with characters such as commas and dots.
fn in_header(who: &str) -> String {
    match who.rsplit_once(" <") {
        Some((name, address)) if name.contains(|c| "()[]:;@\\,.\"".contains(c)) => {
            let name = name.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{name}\" <{address}")
        }
        _ => who.to_owned(),
    }
}

/// Returns the title without the bracketed prefix that b4 puts into the first line of a tag.
fn untagged(title: &str) -> &str {
    let title = title.trim();
    let inside = title.strip_prefix('[').and_then(|t| t.split_once(']'));
    inside.map_or(title, |(_, rest)| rest.trim())
}

/// In b4's message ids, `…-v1-0-…` is the cover letter, and `…-v1-2-…` the second patch.
fn numbered(cover: &str, number: usize) -> Option<String> {
    let (left, domain) = cover.rsplit_once('@')?;
    let (left, random) = left.rsplit_once('-')?;
    let stable = left.strip_suffix("-0")?;
    Some(format!("{stable}-{number}-{random}@{domain}"))
}

/// Inserts headers after the first line of a mail from `git format-patch`.
fn with_headers(mail: &[u8], headers: &str) -> Vec<u8> {
    let first = mail.iter().position(|b| *b == b'\n');
    let (first, rest) = mail.split_at(first.map_or(0, |end| end + 1));
    [first, headers.as_bytes(), rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn numbered_id_of_b4() {
        let cover = "20261129-clist-v1-0-7c41e09bd35a@kernel.org";
        let second = numbered(cover, 2).unwrap();
        assert_eq!(second, "20261129-clist-v1-2-7c41e09bd35a@kernel.org");
        assert_eq!(numbered("abc@example.org", 2), None);
        assert_eq!(untagged("[RFC, v2] a: b"), "a: b");
        assert_eq!(untagged("a: b"), "a: b");
        assert_eq!(in_header("J\u{f6}rg <j@x>"), "J\u{f6}rg <j@x>");
        assert_eq!(in_header("Doe, \"J\" <j@x>"), "\"Doe, \\\"J\\\"\" <j@x>");
    }

    #[test]
    fn with_headers_adds_header_after_first_line() {
        let mail = with_headers(b"From 0 x\nFrom: A <a@b>\n\ntext\n", "Message-ID: <1@x>\n");
        assert_eq!(
            String::from_utf8(mail).unwrap(),
            "From 0 x\nMessage-ID: <1@x>\nFrom: A <a@b>\n\ntext\n"
        );
    }
}

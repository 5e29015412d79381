// SPDX-License-Identifier: GPL-2.0

//! A posting that took place: from what b4 left in the kernel repository, or from the mails.

use std::path::Path;

use super::{
    Below,
    PostedPatch,
    Posting,
    commits::{
        Rebuild,
        applied, //
    },
    tag, //
};
use crate::{
    b4::Sent,
    component::Component,
    cover,
    emit::{
        format_patch,
        patch_ids, //
    },
    error::{
        Error,
        Result, //
    },
    mailbox::{
        self,
        Mail, //
    },
    message,
    runner::must,
};

/// A posting, and the mails to be kept with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The record.
    pub posting: Posting,
    /// The mails as they were sent, the cover letter first.
    pub mails: Vec<u8>,
    /// The patches below, where no record holds them.
    pub below: Vec<u8>,
}

/// How a mail starts in a mailbox.
const FROM: &str = "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n";

/// Reads what b4 left of its posting of `sent`: a tag on the patches, with the cover letter.
///
/// The patches are those of the tag, whatever became of the checkout since.
///
/// # Errors
///
/// The tag is missing, or is not what b4 makes.
pub fn from_b4(
    rebuild: &Rebuild<'_>,
    component: &Component,
    sent: &Sent,
    kernel: &str,
) -> Result<Import> {
    let series = &component.series;
    let git = rebuild.git;
    let tag = tag::name(&series.change_id, series.version);
    let full = format!("refs/tags/{tag}");
    if git.resolve(&full)?.is_none() {
        return Err(Error::new(format!(
            "b4 counted v{} of {}, but left no tag {tag}",
            series.version, series.name
        ))
        .at(git.dir(), None)
        .help(format!(
            "record it from the mails that you received: `cargo series posted {} --mbox FILE`",
            series.name
        )));
    }
    let scratch = rebuild.cache.scratch()?;
    let prefix = series.subject_prefix();
    let range = format!("{}..{full}", sent.parent);
    let patches = format_patch(git, &range, &prefix, &scratch.path().join("own"))?;
    let below_range = format!("{}..{}", rebuild.base.commit, sent.parent);
    let below = format_patch(git, &below_range, "PATCH", &scratch.path().join("below"))?;
    let single = patches.len() == 1;
    let args = [
        "for-each-ref",
        "--format=%(taggername) %(taggeremail)%0a%(taggerdate:rfc2822)%0a%(contents)",
    ];
    let said = must(git.runner(), &git.cmd(args).arg(&full))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let mut parts = said.splitn(3, '\n');
    let mut part = || parts.next().unwrap_or("").to_owned();
    let (who, date, contents) = (part(), part(), part());
    let (title, cover) = contents.split_once('\n').unwrap_or((&contents, ""));
    let title = untagged(title);
    let (recipients, cover) = cover::split_recipients(cover);
    let mut mails = Vec::new();
    if !single {
        let width = patches.len().to_string().len();
        mails.extend(
            format!(
                "{FROM}From: {who}\nDate: {date}\nSubject: [{prefix} {:0width$}/{}] {title}\n\
                 Message-ID: <{}>\n{recipients}MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n\
                 Content-Transfer-Encoding: 8bit\n\n{}\n\n",
                0,
                patches.len(),
                sent.message_id,
                cover.trim()
            )
            .into_bytes(),
        );
    }
    for (i, (_, mail)) in patches.iter().enumerate() {
        let mut mail = mail.clone();
        if single {
            // b4 sends the cover letter below the `---` of a single patch.
            message::note_below(&mut mail, &format!("{}\n", cover.trim()));
            mail = with_headers(&mail, &recipients);
        }
        let id = match single {
            true => sent.message_id.clone(),
            false => numbered(&sent.message_id, i + 1).ok_or_else(|| {
                Error::new(format!("{} is no message id of b4's", sent.message_id))
                    .at(git.dir(), None)
                    .help("record the posting from the mails that you received: --mbox FILE")
            })?,
        };
        mails.extend(with_id(&mail, &id));
    }
    let below: Vec<u8> = below.into_iter().flat_map(|(_, mail)| mail).collect();
    finish(rebuild, component, kernel, mails, below)
}

/// The title without brackets, as b4 writes the first line of a tag.
fn untagged(title: &str) -> String {
    let rest = title.trim();
    match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        Some((_, rest)) => rest.trim().to_owned(),
        None => rest.to_owned(),
    }
}

/// b4 numbers the mails of a posting: `…-v1-0-…` is the cover letter, `…-v1-2-…` the second patch.
fn numbered(cover: &str, number: usize) -> Option<String> {
    let (left, domain) = cover.rsplit_once('@')?;
    let (left, random) = left.rsplit_once('-')?;
    let stable = left.strip_suffix("-0")?;
    Some(format!("{stable}-{number}-{random}@{domain}"))
}

/// A mail of git's with a message id.
fn with_id(mail: &[u8], id: &str) -> Vec<u8> {
    with_headers(mail, &format!("Message-ID: <{id}>\n"))
}

/// Adds headers to a mail that git made.
fn with_headers(mail: &[u8], headers: &str) -> Vec<u8> {
    let at = mail
        .iter()
        .position(|b| *b == b'\n')
        .map_or(0, |first| first + 1);
    [&mail[..at], headers.as_bytes(), &mail[at..]].concat()
}

/// Reads a posting that took place by other means out of the mails.
///
/// # Errors
///
/// It is not the next version of the series, a mail is missing, or the patches apply neither to
/// what their cover letter names nor to what is there now.
pub fn from_mbox(
    rebuild: &Rebuild<'_>,
    component: &Component,
    file: &Path,
    kernel: &str,
    now_below: &[u8],
) -> Result<Import> {
    let bytes = std::fs::read(file).map_err(|e| Error::io("read", file, &e))?;
    let at = |e: Error| e.at(file, None);
    let all = mailbox::read(&bytes).map_err(at)?;
    let posted = posted_mails(component, &all).map_err(at)?;
    let mut mails = Vec::new();
    for mail in &posted {
        mails.extend(FROM.bytes());
        mails.extend(mailbox::with_newlines(&mail.raw));
        mails.extend(b"\n");
    }
    let patches: Vec<Mail> = posted
        .iter()
        .filter(|m| m.tag().is_some_and(|t| t.number > 0))
        .map(|m| (*m).clone())
        .collect();
    let below = find_below(rebuild, component, &posted, &patches, now_below).map_err(at)?;
    finish(rebuild, component, kernel, mails, below)
}

/// The mails of the version that the manifest has, in order, each once.
fn posted_mails<'a>(component: &Component, all: &'a [Mail]) -> Result<Vec<&'a Mail>> {
    let series = &component.series;
    let (version, name) = (series.version, &series.name);
    let patches: Vec<&Mail> = all
        .iter()
        .filter(|m| !m.is_reply() && m.tag().is_some())
        .collect();
    let of = |m: &Mail| m.tag().map_or((0, 0, 0), |t| (t.version, t.number, t.of));
    let mut found: Vec<&Mail> = patches
        .iter()
        .copied()
        .filter(|m| of(m).0 == version)
        .collect();
    found.sort_by_key(|m| of(m).1);
    found.dedup_by_key(|m| of(m).1);
    let Some(last) = found.last() else {
        let versions: Vec<u32> = patches.iter().map(|m| of(m).0).collect();
        return Err(match versions.first() {
            None => Error::new("there is no patch in it"),
            Some(other) => Error::new(format!(
                "the mails are of v{other}, but the next version of {name} is v{version}"
            ))
            .help("versions are recorded one after the other, from v1 on"),
        });
    };
    let count = of(last).2;
    for number in 1..=count {
        if !found.iter().any(|m| of(m).1 == number) {
            return Err(Error::new(format!("patch {number} of {count} is missing"))
                .help("all patches of the version have to be in the mailbox"));
        }
    }
    if let Some(bare) = found.iter().find(|m| m.id.is_empty()) {
        return Err(Error::new(format!("{:?} has no Message-ID", bare.subject))
            .help("it takes the mails as they were sent, or as an archive has them"));
    }
    let id = found.iter().find_map(|m| change_id(m));
    if let Some(id) = id.filter(|id| *id != series.change_id) {
        return Err(Error::new(format!(
            "the mails have the change-id {id}, the manifest of {name} has {}",
            series.change_id
        ))
        .help(format!(
            "is this {name}? If so, set change-id in {}",
            series.file().display()
        )));
    }
    Ok(found)
}

fn change_id(mail: &Mail) -> Option<&str> {
    let mut lines = mail.body.lines();
    lines
        .find_map(|l| l.strip_prefix("change-id: "))
        .map(str::trim)
}

/// Finds what the patches were made on: the posted versions that the cover letter names, else
/// those that were posted last, else what is there now. Returns what has to be kept.
fn find_below(
    rebuild: &Rebuild<'_>,
    component: &Component,
    posted: &[&Mail],
    patches: &[Mail],
    now_below: &[u8],
) -> Result<Vec<u8>> {
    let named: String = posted.iter().map(|m| m.body.as_str()).collect();
    let below = chain(rebuild, component);
    let version_of = |c: &Component| {
        let key = format!("prerequisite-change-id: {}:v", c.series.change_id);
        let line = named.lines().find_map(|l| l.strip_prefix(&key));
        line.and_then(|v| v.trim().parse::<u32>().ok())
    };
    let mut as_named: Vec<u8> = Vec::new();
    for one in &below {
        let version = version_of(one).or(one.posted().map(|p| p.version));
        let posting = one.postings.iter().find(|p| Some(p.version) == version);
        if let Some(posting) = posting {
            for mail in posting.mails(rebuild.ws, one.name())? {
                as_named.extend(FROM.bytes());
                as_named.extend(&mail.raw);
            }
        }
    }
    let mut complaints = Vec::new();
    for candidate in [&as_named[..], now_below, b""] {
        let mut mails = match candidate {
            b"" => Vec::new(),
            bytes => mailbox::read(bytes)?,
        };
        let first = mails.len();
        mails.extend(patches.iter().cloned());
        let diffs: Vec<&[u8]> = mails.iter().map(|m| m.body.as_bytes()).collect();
        match applied(rebuild.git, rebuild.cache, &rebuild.base.tree, &diffs) {
            Ok(_) => return Ok(candidate.to_vec()),
            Err((at, e)) => complaints.push(match at.checked_sub(first) {
                Some(n) => format!("patch {}: {e}", n + 1),
                None => e.to_string(),
            }),
        }
    }
    complaints.dedup();
    Err(Error::new(
        "the patches apply neither to what was posted of the dependencies nor to the base",
    )
    .detail(complaints.join("\n"))
    .help("record what they depend on first; if they were made for another base, import that one"))
}

/// The components below, in the order to apply.
pub fn chain<'a>(rebuild: &'a Rebuild<'_>, component: &Component) -> Vec<&'a Component> {
    let series: Vec<_> = rebuild
        .components
        .iter()
        .map(|c| c.series.clone())
        .collect();
    let Ok(ordered) = crate::manifest::in_order(&series) else {
        return Vec::new();
    };
    let names = crate::manifest::below(&ordered, component.name());
    names
        .iter()
        .filter_map(|s| rebuild.components.iter().find(|c| c.name() == s.name))
        .copied()
        .collect()
}

/// Makes the record of what was found.
fn finish(
    rebuild: &Rebuild<'_>,
    component: &Component,
    kernel: &str,
    mails: Vec<u8>,
    below: Vec<u8>,
) -> Result<Import> {
    let series = &component.series;
    let read = mailbox::read(&mails)?;
    let patches: Vec<&Mail> = read
        .iter()
        .filter(|m| m.tag().is_some_and(|t| t.number > 0))
        .collect();
    let first = read.first().ok_or_else(|| Error::new("there is no mail"))?;
    let bodies: Vec<u8> = patches
        .iter()
        .flat_map(|m| [FROM.as_bytes(), m.body.as_bytes(), b"\n"].concat())
        .collect();
    let ids = patch_ids(rebuild.git, &bodies)?;
    if ids.len() != patches.len() {
        return Err(Error::new(format!(
            "git sees {} diffs in {} patches",
            ids.len(),
            patches.len()
        )));
    }
    let known = below_as_posted(rebuild, component, &below)?;
    Ok(Import {
        posting: Posting {
            version: series.version,
            prefix: first.tag().map_or(series.prefix.to_string(), |t| t.prefix),
            title: first.title().to_owned(),
            change_id: series.change_id.to_string(),
            message_id: first.id.clone(),
            base: kernel.to_owned(),
            patches: patches
                .iter()
                .zip(ids)
                .map(|(mail, patch_id)| PostedPatch {
                    subject: mail.title().to_owned(),
                    patch_id,
                    message_id: mail.id.clone(),
                    message: file_of(component, mail.title()),
                })
                .collect(),
            below: known.clone().unwrap_or_default(),
            resends: Vec::new(),
        },
        mails,
        below: match known {
            Some(_) => Vec::new(),
            None => below,
        },
    })
}

/// The file of the message with this subject.
fn file_of(component: &Component, subject: &str) -> Option<String> {
    let mut files = component.messages.iter();
    let found = files.find(|(_, text)| message::subject(text) == subject);
    found.map(|(file, _)| file.clone())
}

/// Which posted versions the patches below are, one after the other; `None` if some were not posted.
fn below_as_posted(
    rebuild: &Rebuild<'_>,
    component: &Component,
    below: &[u8],
) -> Result<Option<Vec<Below>>> {
    if below.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let ids = patch_ids(rebuild.git, below)?;
    let mut rest = &ids[..];
    let mut found = Vec::new();
    for one in chain(rebuild, component) {
        let fits = |p: &&Posting| {
            let n = p.patches.len();
            rest.len() >= n && p.patches.iter().map(|p| &p.patch_id).eq(&rest[..n])
        };
        if let Some(posting) = one.postings.iter().rev().find(fits) {
            rest = &rest[posting.patches.len()..];
            found.push(Below {
                series: one.name().to_owned(),
                version: posting.version,
            });
        }
    }
    Ok(rest.is_empty().then_some(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::component;

    fn mail(subject: &str, id: &str, body: &str) -> String {
        let id = match id {
            "" => String::new(),
            id => format!("Message-ID: <{id}>\n"),
        };
        format!("{FROM}From: A <a@b>\nSubject: {subject}\n{id}\n{body}\n\n")
    }

    fn says(mbox: &str) -> String {
        let one = component("list", "", &[], &[]);
        let all = mailbox::read(mbox.as_bytes()).unwrap();
        match posted_mails(&one, &all) {
            Ok(found) => found.iter().map(|m| format!("{}\n", m.subject)).collect(),
            Err(e) => e.at("x.mbox", None).to_string(),
        }
    }

    #[test]
    fn the_mails_of_a_version_are_picked() {
        let thread = [
            mail("[PATCH 2/2] a: c", "2@x", "text"),
            mail("[PATCH 0/2] a: cover", "0@x", "change-id: 20261122-x"),
            mail("Re: [PATCH 1/2] a: b", "9@y", "Reviewed-by: B <b@c>"),
            mail("[PATCH 1/2] a: b", "1@x", "text"),
            mail("[PATCH 1/2] a: b", "1@x", "text"),
            mail("[PATCH v2 1/1] a: b", "v2@x", "text"),
            mail("Hello", "h@x", "text"),
        ];
        insta::assert_snapshot!(says(&thread.concat()), @r"
        [PATCH 0/2] a: cover
        [PATCH 1/2] a: b
        [PATCH 2/2] a: c
        ");
    }

    #[test]
    fn what_is_not_a_whole_posting_is_refused() {
        insta::assert_snapshot!(says(&mail("[PATCH 2/2] a: c", "2@x", "t")), @r"
        x.mbox: patch 1 of 2 is missing
          help: all patches of the version have to be in the mailbox
        ");
        insta::assert_snapshot!(says(&mail("[PATCH v3] a: c", "2@x", "t")), @r"
        x.mbox: the mails are of v3, but the next version of list is v1
          help: versions are recorded one after the other, from v1 on
        ");
        insta::assert_snapshot!(says(&mail("Hello", "2@x", "t")), @"x.mbox: there is no patch in it");
        insta::assert_snapshot!(says(&mail("[PATCH] a: c", "", "t")), @r#"
        x.mbox: "[PATCH] a: c" has no Message-ID
          help: it takes the mails as they were sent, or as an archive has them
        "#);
        insta::assert_snapshot!(says(&mail("[PATCH] a: c", "1@x", "change-id: other")), @r"
        x.mbox: the mails have the change-id other, the manifest of list has 20261122-x
          help: is this list? If so, set change-id in series/list.toml
        ");
    }

    #[test]
    fn b4_numbers_its_mails() {
        let cover = "20261129-clist-v1-0-7c41e09bd35a@kernel.org";
        let second = numbered(cover, 2).unwrap();
        assert_eq!(second, "20261129-clist-v1-2-7c41e09bd35a@kernel.org");
        assert_eq!(numbered("abc@example.org", 2), None);
        assert_eq!(untagged("[RFC, v2] a: b"), "a: b");
        assert_eq!(untagged("a: b"), "a: b");
    }

    #[test]
    fn a_mail_gets_its_id_below_the_first_line() {
        let mail = with_id(b"From 0 x\nFrom: A <a@b>\n\ntext\n", "1@x");
        assert_eq!(
            String::from_utf8(mail).unwrap(),
            "From 0 x\nMessage-ID: <1@x>\nFrom: A <a@b>\n\ntext\n"
        );
    }
}

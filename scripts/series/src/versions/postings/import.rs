// SPDX-License-Identifier: GPL-2.0

//! Reads a posting from b4's tag in the kernel repository, or from mails.

use super::{
    Below, PostedPatch, Posting,
    commits::{Rebuild, applied},
    is_patch,
    pick::{LeftOut, pick},
    tag,
};
use crate::{
    git::{format_patch, patch_ids},
    mail::mailbox::{self, Mail},
    source::{component::Component, cover, message},
    sys::{
        error::{Error, Result},
        plural::count,
        runner::must,
    },
    versions::postings::Sent,
};

/// A posting and its mails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub posting: Posting,
    /// The mails as they were sent, the cover letter first.
    pub mails: Vec<u8>,
    /// The mails of the patches below, if no record has them.
    pub below: Vec<u8>,
    /// Other mails of the mailbox.
    pub left_out: Vec<LeftOut>,
}

/// The line that separates mails in a mailbox.
const FROM: &str = "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n";

/// Reads the posting `sent` from b4's tag, whose message holds the cover letter.
///
/// The patches come from the tag, because the checkout may have changed since the posting.
///
/// # Errors
///
/// The tag is missing, or b4 did not create it.
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
            "b4 has posted v{} of {}, but its tag {tag} is missing",
            series.version, series.name
        ))
        .at(git.dir(), None)
        .help(format!(
            "record it from the mails that you received: `cargo series record {} --mbox FILE`",
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
                "{FROM}From: {}\nDate: {date}\nSubject: [{prefix} {:0width$}/{}] {title}\n\
                 Message-ID: <{}>\n{recipients}MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n\
                 Content-Transfer-Encoding: 8bit\n\n{}\n\n",
                in_header(&who),
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
                Error::new(format!("{} is not a message id of b4", sent.message_id))
                    .at(git.dir(), None)
                    .help("record the posting from the mails that you received: --mbox FILE")
            })?,
        };
        mails.extend(with_id(&mail, &id));
    }
    let below: Vec<u8> = below.into_iter().flat_map(|(_, mail)| mail).collect();
    finish(rebuild, component, kernel, mails, below)
}

/// Formats `Name <address>` for a header; quotes a name with characters such as commas and dots.
fn in_header(who: &str) -> String {
    let Some((name, address)) = who.rsplit_once(" <") else {
        return who.to_owned();
    };
    match name.contains(|c: char| "()[]:;@\\,.\"".contains(c)) {
        true => {
            let name = name.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{name}\" <{address}")
        }
        false => who.to_owned(),
    }
}

/// Returns the title without the bracketed prefix that b4 puts into the first line of a tag.
fn untagged(title: &str) -> String {
    let rest = title.trim();
    match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        Some((_, rest)) => rest.trim().to_owned(),
        None => rest.to_owned(),
    }
}

/// Returns the message id of a patch. In b4's ids, `…-v1-0-…` is the cover letter, and `…-v1-2-…`
/// the second patch.
fn numbered(cover: &str, number: usize) -> Option<String> {
    let (left, domain) = cover.rsplit_once('@')?;
    let (left, random) = left.rsplit_once('-')?;
    let stable = left.strip_suffix("-0")?;
    Some(format!("{stable}-{number}-{random}@{domain}"))
}

/// Adds a message id to a mail from `git format-patch`.
fn with_id(mail: &[u8], id: &str) -> Vec<u8> {
    with_headers(mail, &format!("Message-ID: <{id}>\n"))
}

/// Inserts headers after the first line of a mail from `git format-patch`.
fn with_headers(mail: &[u8], headers: &str) -> Vec<u8> {
    let at = mail
        .iter()
        .position(|b| *b == b'\n')
        .map_or(0, |first| first + 1);
    [&mail[..at], headers.as_bytes(), &mail[at..]].concat()
}

/// Reads a posting from `all` mails. `user` is the address of the user.
///
/// # Errors
///
/// The posting is not the next version of the series, a mail is missing, or the patches apply
/// neither to the posted dependencies nor to the present base. The error names no file.
pub fn from_mails(
    rebuild: &Rebuild<'_>,
    component: &Component,
    all: &[Mail],
    user: &str,
    kernel: &str,
    now_below: &[u8],
) -> Result<Import> {
    let picked = pick(&component.series, all, user)?;
    let posted = picked.mails;
    let mut mails = Vec::new();
    for mail in &posted {
        mails.extend(FROM.bytes());
        mails.extend(mailbox::with_newlines(&mail.raw));
        mails.extend(b"\n");
    }
    let patches: Vec<Mail> = posted
        .iter()
        .filter(|m| is_patch(m))
        .map(|m| (*m).clone())
        .collect();
    let below = find_below(rebuild, component, &posted, &patches, now_below)?;
    let import = finish(rebuild, component, kernel, mails, below)?;
    Ok(Import {
        left_out: picked.left_out,
        ..import
    })
}

/// Finds the patches below: the posted versions that the cover letter names, else the last posting
/// of each dependency, else the present commits. Returns the mails that have to be recorded.
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
    Err(
        Error::new("the patches apply neither to the posted dependencies nor to the base")
            .detail(complaints.join("\n"))
            .help(
                "record the dependencies first, or import the base that the patches were made for",
            ),
    )
}

/// Returns the components below, in the order in which they apply.
pub fn chain<'a>(rebuild: &'a Rebuild<'_>, component: &Component) -> Vec<&'a Component> {
    let series: Vec<_> = rebuild
        .components
        .iter()
        .map(|c| c.series.clone())
        .collect();
    let Ok(ordered) = crate::source::manifest::in_order(&series) else {
        return Vec::new();
    };
    let names = crate::source::manifest::below(&ordered, component.name());
    names
        .iter()
        .filter_map(|s| rebuild.components.iter().find(|c| c.name() == s.name))
        .copied()
        .collect()
}

/// Creates the record from the mails.
fn finish(
    rebuild: &Rebuild<'_>,
    component: &Component,
    kernel: &str,
    mails: Vec<u8>,
    below: Vec<u8>,
) -> Result<Import> {
    let series = &component.series;
    let read = mailbox::read(&mails)?;
    let patches: Vec<&Mail> = read.iter().filter(|m| is_patch(m)).collect();
    let first = read
        .first()
        .ok_or_else(|| Error::new("there are no mails"))?;
    let bodies: Vec<u8> = patches
        .iter()
        .flat_map(|m| [FROM.as_bytes(), m.body.as_bytes(), b"\n"].concat())
        .collect();
    let ids = patch_ids(rebuild.git, &bodies)?;
    if ids.len() != patches.len() {
        return Err(Error::new(format!(
            "git sees {} in {}",
            count(ids.len(), "diff", "diffs"),
            count(patches.len(), "patch", "patches")
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
        left_out: Vec::new(),
    })
}

/// Returns the message file whose message has this subject.
fn file_of(component: &Component, subject: &str) -> Option<String> {
    let mut files = component.messages.iter();
    let found = files.find(|(_, text)| message::subject(text) == subject);
    found.map(|(file, _)| file.clone())
}

/// Returns the posted versions that consist of the patches below, or `None` if some were not
/// posted.
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
    fn with_id_adds_header_after_first_line() {
        let mail = with_id(b"From 0 x\nFrom: A <a@b>\n\ntext\n", "1@x");
        assert_eq!(
            String::from_utf8(mail).unwrap(),
            "From 0 x\nMessage-ID: <1@x>\nFrom: A <a@b>\n\ntext\n"
        );
    }
}

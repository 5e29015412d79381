// SPDX-License-Identifier: GPL-2.0

//! Selects the mails of one posting from a mailbox: one sender, one thread, each number once.

use std::collections::BTreeSet;

use crate::{
    mail::mailbox::{Mail, Person, Tag},
    source::manifest::Series,
    sys::{
        error::{Error, Result},
        plural::count,
    },
};

/// A mail outside of the posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub subject: String,
    pub from: Person,
    /// The reason why it is left out.
    pub reason: String,
}

impl LeftOut {
    /// Returns one line for the report.
    pub fn text(&self) -> String {
        let Person { name, email } = &self.from;
        format!("{:?} of {name} <{email}>: {}", self.subject, self.reason)
    }
}

/// The mails of a mailbox, divided into the posting and the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked<'a> {
    /// The mails of the posting, in order.
    pub mails: Vec<&'a Mail>,
    pub left_out: Vec<LeftOut>,
}

/// A mail that may belong to the posting.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    mail: &'a Mail,
    version: u32,
    number: usize,
    of: usize,
}

/// Selects the posting of the manifest's version. If several people posted this version, or one
/// person posted it several times, the mails of `user`, the address of the user, are preferred.
///
/// # Errors
///
/// No posting of this version exists, a mail is missing, or several postings fit.
pub fn pick<'a>(series: &Series, all: &'a [Mail], user: &str) -> Result<Picked<'a>> {
    let mut seen = BTreeSet::new();
    let all: Vec<&Mail> = all
        .iter()
        .filter(|m| m.id.is_empty() || seen.insert(m.id.as_str()))
        .collect();
    let patches: Vec<Candidate<'_>> = all
        .iter()
        .filter(|m| !m.is_reply())
        .filter_map(|m| {
            let Tag {
                version,
                number,
                of,
                ..
            } = m.tag()?;
            Some(Candidate {
                mail: m,
                version,
                number,
                of,
            })
        })
        .collect();
    let first = first(series, &patches, user)?;
    let thread = thread(first.mail, &patches);
    let mut mails = vec![first.mail];
    for number in first.number + 1..=first.of {
        let mut fits: Vec<&Mail> = patches
            .iter()
            .filter(|c| c.number == number && reason(c, &first, &thread).is_none())
            .map(|c| c.mail)
            .collect();
        // The first mail with a number belongs to the posting; a later one was sent afterwards.
        fits.sort_by_key(|m| m.date);
        mails.extend(fits.first());
    }
    let left_out = left_out(&all, &patches, &mails, &first, &thread);
    if let Some(missing) = missing(&first, &patches, &mails) {
        let others: Vec<String> = left_out.iter().map(LeftOut::text).collect();
        return Err(missing.detail(others.join("\n")));
    }
    if let Some(bare) = mails.iter().find(|m| m.id.is_empty()) {
        return Err(bare_mail(bare));
    }
    Ok(Picked { mails, left_out })
}

/// Returns the cover letter or, without one, the first patch.
fn first<'a>(series: &Series, patches: &[Candidate<'a>], user: &str) -> Result<Candidate<'a>> {
    let (version, name) = (series.version, &series.name);
    let of_version: Vec<_> = patches.iter().filter(|c| c.version == version).collect();
    let Some(one) = of_version.first() else {
        return Err(match patches.first() {
            None => Error::new("the mailbox contains no patches"),
            Some(other) => Error::new(format!(
                "the mails are of v{}, but the next version of {name} is v{version}",
                other.version
            ))
            .help("versions are recorded in order, starting with v1"),
        });
    };
    // Without a cover letter, the thread starts with the first patch.
    let firsts: Vec<_> = of_version.iter().filter(|c| c.number <= 1).collect();
    if firsts.is_empty() {
        return Err(Error::new(format!("patch 1 of {} is missing", one.of)).help(WHOLE));
    }
    if let Some(bare) = firsts.iter().find(|c| c.mail.id.is_empty()) {
        return Err(bare_mail(bare.mail));
    }
    let with_id = |id: Option<&str>| {
        let fits = firsts.iter().filter(|c| change_id(c.mail) == id);
        let number = fits.clone().map(|c| c.number).min();
        let lowest = fits.filter(|c| Some(c.number) == number);
        lowest.map(|c| **c).copied().collect::<Vec<Candidate<'a>>>()
    };
    let mut left = with_id(Some(&series.change_id));
    if left.is_empty() {
        left = with_id(None);
    }
    let Some(other) = left.first() else {
        let id = firsts.iter().find_map(|c| change_id(c.mail)).unwrap_or("");
        return Err(Error::new(format!(
            "the mails have the change-id {id}, but the manifest of {name} has {}",
            series.change_id
        ))
        .help(format!(
            "if this is {name}, set change-id in {}",
            series.file().display()
        )));
    };
    let other = *other;
    let again = |c: &Candidate<'_>| {
        let tag = c.mail.tag();
        tag.is_some_and(|t| {
            t.prefix
                .split(' ')
                .any(|w| w.eq_ignore_ascii_case("RESEND"))
        })
    };
    narrow(&mut left, |c| !again(c));
    narrow(&mut left, |c| same_address(&c.mail.from.email, user));
    if left.len() > 1 {
        let all = left.iter().map(|c| {
            let Mail {
                subject, from, id, ..
            } = c.mail;
            format!("{subject:?} of {} <{}>, {id}", from.name, from.email)
        });
        return Err(
            Error::new(format!("there are several postings of v{version}"))
                .detail(all.collect::<Vec<_>>().join("\n"))
                .help("remove the postings that are not to be recorded from the mailbox"),
        );
    }
    Ok(left.first().copied().unwrap_or(other))
}

/// The help for an incomplete posting.
const WHOLE: &str =
    "the mailbox must contain all patches of the version, in one thread and from one sender";

fn bare_mail(mail: &Mail) -> Error {
    Error::new(format!("{:?} has no Message-ID", mail.subject))
        .help("the command needs the mails as they were sent, or from a public archive")
}

/// Keeps the candidates that fit, or all of them if none fits.
fn narrow<'a>(left: &mut Vec<Candidate<'a>>, fits: impl Fn(&Candidate<'a>) -> bool) {
    if left.len() > 1 && left.iter().any(&fits) {
        left.retain(fits);
    }
}

fn change_id(mail: &Mail) -> Option<&str> {
    let mut lines = mail.body.lines();
    lines
        .find_map(|l| l.strip_prefix("change-id: "))
        .map(str::trim)
}

fn same_address(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Returns the message ids in the thread of a mail, as far as its sender wrote them.
fn thread<'a>(first: &'a Mail, patches: &[Candidate<'a>]) -> BTreeSet<&'a str> {
    let mut ids = BTreeSet::from([first.id.as_str()]);
    loop {
        let before = ids.len();
        for Candidate { mail, .. } in patches {
            let mut up = mail.in_reply_to.iter().chain(&mail.references);
            let sender = same_address(&mail.from.email, &first.from.email);
            if sender && up.any(|id| ids.contains(id.as_str())) {
                ids.insert(&mail.id);
            }
        }
        if ids.len() == before {
            return ids;
        }
    }
}

/// Returns why a patch is outside of the posting that starts with `first`, if it is.
fn reason(one: &Candidate<'_>, first: &Candidate<'_>, thread: &BTreeSet<&str>) -> Option<String> {
    let (from, of) = (&first.mail.from, first.of);
    if one.version != first.version {
        return Some(format!("it belongs to v{}", one.version));
    }
    if !same_address(&one.mail.from.email, &from.email) || one.mail.senders != 1 {
        return Some(format!(
            "the posting is from {} <{}>",
            from.name, from.email
        ));
    }
    if one.number > of || one.of != of {
        return Some(format!(
            "it is {}/{} of a posting with {}",
            one.number,
            one.of,
            count(of, "patch", "patches")
        ));
    }
    let in_thread = thread.contains(one.mail.id.as_str());
    (!in_thread).then(|| "it is in another thread".to_owned())
}

fn left_out(
    all: &[&Mail],
    patches: &[Candidate<'_>],
    picked: &[&Mail],
    first: &Candidate<'_>,
    thread: &BTreeSet<&str>,
) -> Vec<LeftOut> {
    let is = |one: &Mail, other: &Mail| std::ptr::eq(one, other);
    let others = all.iter().filter(|m| !picked.iter().any(|p| is(p, m)));
    others
        .map(|mail| {
            let patch = patches.iter().find(|c| is(c.mail, mail));
            let reason = match patch {
                None if mail.is_reply() => "it is a reply".to_owned(),
                None => "it is not a patch".to_owned(),
                Some(patch) => reason(patch, first, thread).unwrap_or_else(|| {
                    format!("another mail has the number {}/{}", patch.number, patch.of)
                }),
            };
            LeftOut {
                subject: mail.subject.clone(),
                from: mail.from.clone(),
                reason,
            }
        })
        .collect()
}

/// Returns the error for a missing patch, if there is one.
fn missing(first: &Candidate<'_>, patches: &[Candidate<'_>], mails: &[&Mail]) -> Option<Error> {
    let count = first.of;
    let number_of = |m: &&Mail| {
        let of_it = patches.iter().find(|c| std::ptr::eq(c.mail, *m));
        of_it.map_or(0, |c| c.number)
    };
    let missing = (1..=count).find(|n| !mails.iter().any(|m| number_of(m) == *n))?;
    Some(Error::new(format!("patch {missing} of {count} is missing")).help(WHOLE))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::mail::mailbox;

    const DEV: &str = "Dev <dev@x.org>";
    const EVE: &str = "Eve <eve@evil.org>";
    const ID: &str = "change-id: 20260102-x-1";

    /// A mail: subject, message id, the id in In-Reply-To, sender, and text.
    type Short<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

    fn says(mails: &[Short<'_>]) -> String {
        let mut mbox = String::new();
        for (subject, id, to, from, body) in mails {
            mbox += &format!("From x Thu Jan  1 00:00:00 2026\nFrom: {from}\nSubject: {subject}\n");
            for (name, value) in [("Message-ID", id), ("In-Reply-To", to)] {
                if !value.is_empty() {
                    mbox += &format!("{name}: <{value}>\n");
                }
            }
            mbox += &format!("\n{body}\n\n");
        }
        let all = mailbox::read(mbox.as_bytes()).unwrap();
        let text = "version = 1\nchange-id = \"20260102-x-1\"\n";
        let series = Series::parse("list", Path::new("series/list.toml"), text).unwrap();
        match pick(&series, &all, "DEV@x.org") {
            Ok(picked) => {
                let mails = picked
                    .mails
                    .iter()
                    .map(|m| format!("{} {}\n", m.subject, m.id));
                let others = picked
                    .left_out
                    .iter()
                    .map(|l| format!("not {}\n", l.text()));
                mails.chain(others).collect()
            }
            Err(e) => e.at("x.mbox", None).to_string(),
        }
    }

    const COVER: Short<'_> = ("[PATCH 0/2] a: cover", "0@x", "", DEV, ID);
    const ONE: Short<'_> = ("[PATCH 1/2] a: b", "1@x", "0@x", DEV, "text");
    const TWO: Short<'_> = ("[PATCH 2/2] a: c", "2@x", "0@x", DEV, "text");

    #[test]
    fn pick_selects_mails_of_version() {
        insta::assert_snapshot!(says(&[
            TWO,
            COVER,
            ("Re: [PATCH 1/2] a: b", "9@y", "1@x", EVE, "Reviewed-by: B <b@c>"),
            ONE,
            ONE,
            ("[PATCH v2 1/1] a: b", "v2@x", "", DEV, "text"),
            ("Hello", "h@x", "", EVE, "text"),
        ]), @r#"
        [PATCH 0/2] a: cover 0@x
        [PATCH 1/2] a: b 1@x
        [PATCH 2/2] a: c 2@x
        not "Re: [PATCH 1/2] a: b" of Eve <eve@evil.org>: it is a reply
        not "[PATCH v2 1/1] a: b" of Dev <dev@x.org>: it belongs to v2
        not "Hello" of Eve <eve@evil.org>: it is not a patch
        "#);
        // Each patch replies to the previous one; and a posting without a cover letter.
        insta::assert_snapshot!(says(&[
            ("[PATCH 1/2] a: b", "1@x", "", DEV, ID),
            ("[PATCH 2/2] a: c", "2@x", "1@x", DEV, "text"),
        ]), @r"
        [PATCH 1/2] a: b 1@x
        [PATCH 2/2] a: c 2@x
        ");
        insta::assert_snapshot!(says(&[("[PATCH] a: c", "1@x", "", DEV, ID)]), @"[PATCH] a: c 1@x");
    }

    #[test]
    fn pick_leaves_out_other_senders() {
        insta::assert_snapshot!(says(&[
            COVER,
            ONE,
            ("[PATCH 2/2] a: c", "e2@x", "0@x", EVE, "text"),
            ("[PATCH 3/2] a: fix", "e3@x", "0@x", EVE, "text"),
            ("[PATCH 3/2] a: forgotten", "3@x", "0@x", DEV, "text"),
            ("[PATCH] a: other", "o@x", "", DEV, "text"),
            ("[PATCH 1/2] a: b", "1b@x", "1@x", DEV, "text"),
            ("[PATCH 1/2] a: b", "1c@x", "other@x", DEV, "text"),
            ("[PATCH 0/2] a: cover", "e0@x", "", EVE, "text"),
            TWO,
        ]), @r#"
        [PATCH 0/2] a: cover 0@x
        [PATCH 1/2] a: b 1@x
        [PATCH 2/2] a: c 2@x
        not "[PATCH 2/2] a: c" of Eve <eve@evil.org>: the posting is from Dev <dev@x.org>
        not "[PATCH 3/2] a: fix" of Eve <eve@evil.org>: the posting is from Dev <dev@x.org>
        not "[PATCH 3/2] a: forgotten" of Dev <dev@x.org>: it is 3/2 of a posting with 2 patches
        not "[PATCH] a: other" of Dev <dev@x.org>: it is 1/1 of a posting with 2 patches
        not "[PATCH 1/2] a: b" of Dev <dev@x.org>: another mail has the number 1/2
        not "[PATCH 1/2] a: b" of Dev <dev@x.org>: it is in another thread
        not "[PATCH 0/2] a: cover" of Eve <eve@evil.org>: the posting is from Dev <dev@x.org>
        "#);
    }

    #[test]
    fn pick_several_postings() {
        let resent = ("[PATCH RESEND 0/2] a: cover", "r@x", "", DEV, ID);
        let forged = ("[PATCH 0/2] a: cover", "e@x", "", EVE, ID);
        insta::assert_snapshot!(says(&[resent, forged, COVER, ONE, TWO]), @r#"
        [PATCH 0/2] a: cover 0@x
        [PATCH 1/2] a: b 1@x
        [PATCH 2/2] a: c 2@x
        not "[PATCH RESEND 0/2] a: cover" of Dev <dev@x.org>: it is in another thread
        not "[PATCH 0/2] a: cover" of Eve <eve@evil.org>: the posting is from Dev <dev@x.org>
        "#);
        let again = ("[PATCH 0/2] a: cover", "b@x", "", DEV, ID);
        insta::assert_snapshot!(says(&[COVER, again, ONE, TWO]), @r#"
        x.mbox: there are several postings of v1
            "[PATCH 0/2] a: cover" of Dev <dev@x.org>, 0@x
            "[PATCH 0/2] a: cover" of Dev <dev@x.org>, b@x
          help: remove the postings that are not to be recorded from the mailbox
        "#);
    }

    #[test]
    fn pick_incomplete_posting_is_refused() {
        insta::assert_snapshot!(says(&[TWO]), @r"
        x.mbox: patch 1 of 2 is missing
          help: the mailbox must contain all patches of the version, in one thread and from one sender
        ");
        insta::assert_snapshot!(says(&[COVER, TWO, ("[PATCH 1/2] a: b", "e@x", "0@x", EVE, "t")]), @r#"
        x.mbox: patch 1 of 2 is missing
            "[PATCH 1/2] a: b" of Eve <eve@evil.org>: the posting is from Dev <dev@x.org>
          help: the mailbox must contain all patches of the version, in one thread and from one sender
        "#);
        insta::assert_snapshot!(says(&[("[PATCH v3] a: c", "2@x", "", DEV, "t")]), @r"
        x.mbox: the mails are of v3, but the next version of list is v1
          help: versions are recorded in order, starting with v1
        ");
        insta::assert_snapshot!(says(&[("Hello", "2@x", "", DEV, "t")]), @"x.mbox: the mailbox contains no patches");
        insta::assert_snapshot!(says(&[("[PATCH] a: c", "", "", DEV, "t")]), @r#"
        x.mbox: "[PATCH] a: c" has no Message-ID
          help: the command needs the mails as they were sent, or from a public archive
        "#);
        insta::assert_snapshot!(says(&[("[PATCH] a: c", "1@x", "", DEV, "change-id: other")]), @r"
        x.mbox: the mails have the change-id other, but the manifest of list has 20260102-x-1
          help: if this is list, set change-id in series/list.toml
        ");
    }
}

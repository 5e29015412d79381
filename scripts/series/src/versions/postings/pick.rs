// SPDX-License-Identifier: GPL-2.0

//! Selects the mails of one posting from a mailbox: one sender, one thread, each number once.

use std::{collections::BTreeSet, ptr};

use crate::{
    mail::mailbox::{Mail, Tag},
    source::manifest::Series,
    sys::{Error, Result, plural::count},
};

/// A mail that may belong to the posting.
struct Candidate<'a> {
    mail: &'a Mail,
    tag: Tag,
}

/// Selects the posting of the manifest's version. If several people posted this version, or one
/// person posted it several times, the mails of `user`, the address of the user, are preferred.
///
/// Returns the mails of the posting in order, and a line for each other mail with the reason why it
/// is left out.
pub fn pick<'a>(
    series: &Series,
    all: &'a [Mail],
    user: &str,
) -> Result<(Vec<&'a Mail>, Vec<String>)> {
    let mut seen = BTreeSet::new();
    let all = all.iter().filter(|m| m.id.is_empty() || seen.insert(&m.id));
    let all: Vec<&Mail> = all.collect();
    let patches = all.iter().filter(|m| !m.is_reply());
    let patches = patches.filter_map(|mail| mail.tag().map(|tag| Candidate { mail, tag }));
    let patches: Vec<Candidate<'_>> = patches.collect();
    let first = first(series, &patches, user)?;
    let thread = thread(first.mail, &patches);
    let of = first.tag.of;
    let mut mails = vec![first.mail];
    let mut missing = None;
    for number in first.tag.number + 1..=of {
        let fits = patches.iter().filter(|c| c.tag.number == number);
        let fits = fits.filter(|c| reason(c, first, &thread).is_none());
        // The first mail with a number belongs to the posting; a later one was sent afterwards.
        match fits.min_by_key(|c| c.mail.date) {
            Some(fits) => mails.push(fits.mail),
            None => missing = missing.or(Some(number)),
        }
    }
    let is_picked = |mail: &Mail| mails.iter().any(|picked| ptr::eq(*picked, mail));
    let others = all.iter().filter(|m| !is_picked(m));
    let left_out = others.map(|mail| left_out(mail, &patches, first, &thread));
    let left_out: Vec<String> = left_out.collect();
    if let Some(missing) = missing {
        return Err(incomplete(missing, of).detail(left_out.join("\n")));
    }
    Ok((mails, left_out))
}

/// Returns the cover letter or, without one, the first patch.
fn first<'a, 'm>(
    series: &Series,
    patches: &'a [Candidate<'m>],
    user: &str,
) -> Result<&'a Candidate<'m>> {
    let (version, name) = (series.version, &series.name);
    let of_version = patches.iter().filter(|c| c.tag.version == version);
    if let Some(bare) = of_version.clone().find(|c| c.mail.id.is_empty()) {
        return Err(
            Error::new(format!("{:?} has no Message-ID", bare.mail.subject))
                .help("the command needs the mails as they were sent, or from a public archive"),
        );
    }
    let Some(one) = of_version.clone().next() else {
        let Some(other) = patches.first() else {
            return Err(Error::new("the mailbox contains no patches"));
        };
        let other = format!("the mails are of v{}", other.tag.version);
        let what = format!("{other}, but the next version of {name} is v{version}");
        return Err(Error::new(what).help("versions are recorded in order, starting with v1"));
    };
    // Without a cover letter, the thread starts with the first patch.
    let firsts: Vec<_> = of_version.filter(|c| c.tag.number <= 1).collect();
    if firsts.is_empty() {
        return Err(incomplete(1, one.tag.of));
    }
    selected(series, &firsts, user)
}

/// A change id, a first posting, and one of the user are preferred.
fn selected<'a, 'm>(
    series: &Series,
    firsts: &[&'a Candidate<'m>],
    user: &str,
) -> Result<&'a Candidate<'m>> {
    let (version, name) = (series.version, &series.name);
    let with_id = |id: Option<&str>| {
        let fits = firsts.iter().copied().filter(|c| change_id(c.mail) == id);
        let lowest = fits.clone().map(|c| c.tag.number).min();
        fits.filter(|c| Some(c.tag.number) == lowest)
            .collect::<Vec<_>>()
    };
    let mut left = with_id(Some(&series.change_id));
    if left.is_empty() {
        left = with_id(None);
    }
    let is_resend = |w: &str| w.eq_ignore_ascii_case("RESEND");
    narrow(&mut left, |c| !c.tag.prefix.split(' ').any(is_resend));
    narrow(&mut left, |c| c.mail.from.email.eq_ignore_ascii_case(user));
    match left[..] {
        [one] => Ok(one),
        [] => {
            let id = firsts.iter().find_map(|c| change_id(c.mail)).unwrap_or("");
            let (own, file) = (&series.change_id, &series.file);
            let what =
                format!("the mails have the change-id {id}, but the manifest of {name} has {own}");
            let file = file.display();
            Err(Error::new(what).help(format!("if this is {name}, set change-id in {file}")))
        }
        _ => {
            let shown = left.iter().map(|c| {
                let (subject, from, id) = (&c.mail.subject, &c.mail.from, &c.mail.id);
                format!("{subject:?} of {from}, {id}")
            });
            let what = format!("there are several postings of v{version}");
            Err(Error::new(what)
                .detail(shown.collect::<Vec<_>>().join("\n"))
                .help("remove the postings that are not to be recorded from the mailbox"))
        }
    }
}

fn incomplete(missing: usize, of: usize) -> Error {
    Error::new(format!("patch {missing} of {of} is missing")).help(
        "the mailbox must contain all patches of the version, in one thread and from one sender",
    )
}

/// Keeps the candidates that fit, or all of them if none fits.
fn narrow<'a, 'm>(left: &mut Vec<&'a Candidate<'m>>, fits: impl Fn(&Candidate<'m>) -> bool) {
    if left.iter().any(|c| fits(c)) {
        left.retain(|c| fits(c));
    }
}

fn change_id(mail: &Mail) -> Option<&str> {
    let mut lines = mail.body.lines();
    let id = lines.find_map(|l| l.strip_prefix("change-id: "));
    id.map(str::trim)
}

/// Returns the message ids in the thread of a mail, as far as its sender wrote them.
fn thread<'a>(first: &'a Mail, patches: &[Candidate<'a>]) -> BTreeSet<&'a str> {
    let mut ids = BTreeSet::from([first.id.as_str()]);
    loop {
        let before = ids.len();
        for Candidate { mail, .. } in patches {
            let mut up = mail.in_reply_to.iter().chain(&mail.references);
            let is_sender = mail.from.email.eq_ignore_ascii_case(&first.from.email);
            if is_sender && up.any(|id| ids.contains(id.as_str())) {
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
    let from = &first.mail.from;
    let (Candidate { mail, tag }, of) = (one, first.tag.of);
    if tag.version != first.tag.version {
        Some(format!("it belongs to v{}", tag.version))
    } else if !mail.from.email.eq_ignore_ascii_case(&from.email) || mail.senders != 1 {
        Some(format!("the posting is from {from}"))
    } else if tag.number > of || tag.of != of {
        let (number, patches) = (tag.number, count(of, "patch", "patches"));
        Some(format!(
            "it is {number}/{} of a posting with {patches}",
            tag.of
        ))
    } else if !thread.contains(mail.id.as_str()) {
        Some("it is in another thread".to_owned())
    } else {
        None
    }
}

fn left_out(
    mail: &Mail,
    patches: &[Candidate<'_>],
    first: &Candidate<'_>,
    thread: &BTreeSet<&str>,
) -> String {
    let reason = match patches.iter().find(|c| ptr::eq(c.mail, mail)) {
        None if mail.is_reply() => "it is a reply".to_owned(),
        None => "it is not a patch".to_owned(),
        Some(patch) => reason(patch, first, thread).unwrap_or_else(|| {
            let Tag { number, of, .. } = patch.tag;
            format!("another mail has the number {number}/{of}")
        }),
    };
    format!("{:?} of {}: {reason}", mail.subject, mail.from)
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
            Ok((mails, left_out)) => {
                let mails = mails.iter().map(|m| format!("{} {}\n", m.subject, m.id));
                let others = left_out.iter().map(|l| format!("not {l}\n"));
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

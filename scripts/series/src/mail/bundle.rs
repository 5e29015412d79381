// SPDX-License-Identifier: GPL-2.0

//! Mailboxes that `git am` and `b4 am` accept.
//!
//! b4 identifies mails by their message ids and silently ignores mails without one, so each mail
//! gets an id. b4 also reads a mailbox as one series. If two series were both numbered from 1, it
//! would drop patches, so a bundle numbers the patches of all its series consecutively.

use crate::{git::Identity, source::manifest::Series, sys::hash::sha256};

/// Returns the message id of a mail, without brackets. It depends only on the mail, because `out/`
/// has to be reproducible. Mails that b4 posts get other ids.
fn id(series: &Series, number: usize, mail: &[u8], author: &Identity) -> String {
    let hash = &sha256(mail)[..12];
    let domain = author.email.rsplit('@').next().unwrap_or("localhost");
    let Series {
        change_id, version, ..
    } = series;
    format!("{change_id}-v{version}-{number}-{hash}@{domain}")
}

/// Adds a message id to a mail. `number` is the number of the patch, 0 for the cover letter.
pub fn with_id(series: &Series, number: usize, mail: &[u8], author: &Identity) -> Vec<u8> {
    let id = id(series, number, mail, author);
    let (head, body) = parts(mail);
    [head, format!("Message-ID: <{id}>\n").as_bytes(), body].concat()
}

/// Joins patches of several series to one mailbox, in the order in which they apply.
pub fn bundle(prefix: &str, mails: &[&[u8]]) -> Vec<u8> {
    let renumbered = mails.iter().enumerate();
    let renumbered = renumbered.map(|(i, mail)| renumbered_as(mail, prefix, i + 1, mails.len()));
    renumbered.collect::<Vec<_>>().concat()
}

fn renumbered_as(mail: &[u8], prefix: &str, number: usize, of: usize) -> Vec<u8> {
    let (head, body) = parts(mail);
    let head = String::from_utf8_lossy(head);
    let width = of.to_string().len();
    let lines = head.lines().map(|line| {
        let subject = line.strip_prefix("Subject: [");
        match subject.and_then(|s| s.split_once(']')) {
            Some((_, rest)) => format!("Subject: [{prefix} {number:0width$}/{of}]{rest}\n"),
            None => format!("{line}\n"),
        }
    });
    let head: String = lines.collect();
    [head.as_bytes(), body].concat()
}

/// Splits a mail into headers and the rest, which starts with the empty line.
pub fn parts(mail: &[u8]) -> (&[u8], &[u8]) {
    let end = mail.windows(2).position(|w| w == b"\n\n");
    mail.split_at(end.map_or(mail.len(), |at| at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "From 0 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\n\
                        Subject: [PATCH v2 1/4] a: b [c]\n d\n\nSubject: [x] text\n---\n";

    fn series() -> Series {
        let text = "version = 2\nchange-id = \"20260102-x-0123456789ab\"\n";
        Series::parse("x", "series/x.toml".as_ref(), text).unwrap()
    }

    fn author() -> Identity {
        Identity {
            name: "A".into(),
            email: "a@example.org".into(),
            set: true,
        }
    }

    #[test]
    fn with_id_adds_last_header() {
        let mail = with_id(&series(), 1, MAIL.as_bytes(), &author());
        insta::assert_snapshot!(String::from_utf8(mail).unwrap(), @r"
        From 0 Mon Sep 17 00:00:00 2001
        From: A <a@example.org>
        Subject: [PATCH v2 1/4] a: b [c]
         d
        Message-ID: <20260102-x-0123456789ab-v2-1-b3f0f0257747@example.org>

        Subject: [x] text
        ---
        ");
    }

    #[test]
    fn id_depends_on_mail() {
        let id = |number, mail: &str| id(&series(), number, mail.as_bytes(), &author());
        assert_eq!(id(1, MAIL), id(1, MAIL));
        assert_ne!(id(1, MAIL), id(2, MAIL));
        assert_ne!(id(1, MAIL), id(1, "another"));
    }

    #[test]
    fn bundle_is_numbered_consecutively() {
        let single = "From 0\nSubject: [PATCH] other: c\n\ntext\n";
        let mut mails = vec![MAIL.as_bytes(); 9];
        mails.push(single.as_bytes());
        let bundle = String::from_utf8(bundle("RFC PATCH v3", &mails)).unwrap();
        let subjects: Vec<&str> = bundle.lines().filter(|l| l.contains("Subject: ")).collect();
        assert_eq!(
            &subjects[16..],
            [
                "Subject: [RFC PATCH v3 09/10] a: b [c]",
                "Subject: [x] text",
                "Subject: [RFC PATCH v3 10/10] other: c",
            ]
        );
        assert!(bundle.starts_with("From 0 Mon Sep 17 00:00:00 2001\nFrom: A "));
    }
}

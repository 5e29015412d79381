// SPDX-License-Identifier: GPL-2.0

//! Mails as `git am` and `b4 am` take them from a mailbox.
//!
//! b4 tells mails by their message ids, and silently takes nothing from a mailbox without any. And
//! it takes all that a mailbox holds for one series: of two that are both numbered from 1 it keeps
//! some patches and drops the others. So mails get an id, and a bundle of several series is
//! numbered through.

use sha2::{
    Digest,
    Sha256, //
};

use crate::{
    git::Identity,
    source::manifest::Series, //
};

/// The message id of a mail of this series, without brackets. It is a function of the mail, as
/// everything in `out/`; what is posted through b4 gets ids of its own.
fn id(series: &Series, number: usize, mail: &[u8], who: &Identity) -> String {
    let hash = Sha256::digest(mail);
    let hash: String = hash.iter().take(6).map(|b| format!("{b:02x}")).collect();
    let domain = who.email.rsplit('@').next().unwrap_or("localhost");
    let Series {
        change_id, version, ..
    } = series;
    format!("{change_id}-v{version}-{number}-{hash}@{domain}")
}

/// The mail with a message id. `number` is that of the patch, 0 for the cover letter.
pub fn with_id(series: &Series, number: usize, mail: &[u8], who: &Identity) -> Vec<u8> {
    let id = id(series, number, mail, who);
    let (head, body) = parts(mail);
    [head, format!("Message-ID: <{id}>\n").as_bytes(), body].concat()
}

/// Patches of several series, in the order to apply them, as one mailbox.
pub fn bundle(prefix: &str, mails: &[&[u8]]) -> Vec<u8> {
    let renumbered = mails.iter().enumerate();
    let renumbered = renumbered.map(|(i, mail)| renumbered_as(mail, prefix, i + 1, mails.len()));
    renumbered.collect::<Vec<_>>().concat()
}

/// The mail with another number in its subject.
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

/// The headers, and the rest from the empty line on.
fn parts(mail: &[u8]) -> (&[u8], &[u8]) {
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

    fn who() -> Identity {
        Identity {
            name: "A".into(),
            email: "a@example.org".into(),
            set: true,
        }
    }

    #[test]
    fn an_id_stands_last_in_the_headers() {
        let mail = with_id(&series(), 1, MAIL.as_bytes(), &who());
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
    fn another_mail_has_another_id() {
        let id = |number, mail: &str| id(&series(), number, mail.as_bytes(), &who());
        assert_eq!(id(1, MAIL), id(1, MAIL));
        assert_ne!(id(1, MAIL), id(2, MAIL));
        assert_ne!(id(1, MAIL), id(1, "another"));
    }

    #[test]
    fn a_bundle_is_numbered_through() {
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

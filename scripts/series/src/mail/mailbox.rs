// SPDX-License-Identifier: GPL-2.0

//! Reads and decodes the mails of a mailbox.
//!
//! A mailbox may come from git, from b4, from a public archive (mboxrd) or from a mail program. It
//! may also be a concatenation of `.eml` files.

use std::{fmt, sync::LazyLock};

use mailparse::{MailAddr, MailAddrList, MailHeader, MailHeaderMap, ParsedMail, SingleInfo};
use regex::{Regex, bytes};

use crate::sys::{Error, Result, pattern};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// The name, or the address if the name is missing.
    pub name: String,
    pub email: String,
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, email } = self;
        if name == email {
            return f.write_str(email);
        }
        write!(f, "{name} <{email}>")
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mail {
    /// Without brackets. Empty if it is missing, as in the output of `git format-patch`.
    pub id: String,
    /// The message id of the answered mail, without brackets.
    pub in_reply_to: Option<String>,
    /// The message ids of the thread above, the oldest first, without brackets.
    pub references: Vec<String>,
    pub from: Person,
    /// The number of addresses in `From`. The author is known only if it is 1.
    pub senders: usize,
    /// The subject, joined to one line.
    pub subject: String,
    /// The date in seconds since 1970.
    pub date: Option<i64>,
    /// The text: the first plain part, or a later one with a diff. Lines end with `\n`.
    pub body: String,
    /// Whether the mail has HTML text only.
    pub is_html: bool,
    /// The undecoded mail, without the separators and escapes of the mailbox.
    pub raw: Vec<u8>,
}

/// The content of the brackets in a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The words except version and numbers, in the order of the subject: "PATCH", "PATCH RFC",
    /// "RESEND PATCH net-next".
    pub prefix: String,
    /// The version; 1 if it is missing.
    pub version: u32,
    /// The number of the patch; 0 for the cover letter, 1 if it is missing.
    pub number: usize,
    /// The number of patches. Less than `number` in a patch that was forgotten: "[PATCH 6/5]".
    pub of: usize,
}

/// Matches a version, also as in "PATCHv3", or a number and the number of patches.
static NUMBERS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(?i:(patch)?v([0-9]{1,9})|([0-9]{1,4})/([0-9]{1,4}))$"));

impl Mail {
    fn headers(&self) -> Vec<MailHeader<'_>> {
        let (headers, _) = mailparse::parse_headers(&self.raw).unwrap_or_default();
        headers
    }

    /// Returns the value of the first header with this name in any case, joined to one line.
    pub fn header(&self, name: &str) -> Option<String> {
        Some(one_line(&self.headers().get_first_value(name)?))
    }

    pub fn addresses(&self, name: &str) -> Vec<String> {
        let headers = self.headers();
        let headers = headers.get_all_headers(name).into_iter();
        let lists = headers.filter_map(|h| mailparse::addrparse_header(h).ok());
        let all = lists.flat_map(MailAddrList::into_inner).flat_map(singles);
        all.map(|one| one.addr).collect()
    }

    pub fn is_reply(&self) -> bool {
        without_reply(&self.subject).is_some()
    }

    /// Returns the subject without "Re:" and without the brackets at its start.
    pub fn title(&self) -> &str {
        split_subject(&self.subject).1
    }

    /// Reads the brackets at the start of the subject, if they have "PATCH" or "RFC".
    pub fn tag(&self) -> Option<Tag> {
        let mut prefix = Vec::new();
        let (mut version, mut number, mut of) = (1, 1, 1);
        for word in split_subject(&self.subject).0 {
            let Some(found) = NUMBERS.captures(word) else {
                prefix.push(word);
                continue;
            };
            let part = |group| found.get(group).map_or("", |part| part.as_str());
            prefix.extend(found.get(1).map(|patch| patch.as_str()));
            version = part(2).parse().unwrap_or(version);
            number = part(3).parse().unwrap_or(number);
            of = part(4).parse().unwrap_or(of);
        }
        let is_patch = |word: &&str| {
            let word = word.to_ascii_lowercase();
            word.starts_with("patch") || word == "rfc"
        };
        prefix.iter().any(is_patch).then(|| Tag {
            prefix: prefix.join(" "),
            version,
            number,
            of,
        })
    }
}

fn singles(address: MailAddr) -> Vec<SingleInfo> {
    match address {
        MailAddr::Single(one) => vec![one],
        MailAddr::Group(group) => group.addrs,
    }
}

/// Returns the words in the brackets at the start of a subject, and the rest.
fn split_subject(subject: &str) -> (Vec<&str>, &str) {
    let mut rest = subject.trim();
    while let Some(answered) = without_reply(rest) {
        rest = answered;
    }
    let mut words = Vec::new();
    while let Some((inside, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        let inside = inside.split_whitespace();
        words.extend(inside.map(|word| word.trim_end_matches([',', ';'])));
        rest = after.trim_start();
    }
    (words, rest)
}

/// Returns the subject without the mark of an answer, or `None` if it has no mark.
fn without_reply(subject: &str) -> Option<&str> {
    let (mark, rest) = subject.split_once(':')?;
    let rest = rest.trim_start();
    let known = ["re", "aw", "fwd"].contains(&mark.to_ascii_lowercase().as_str());
    // Mail programs translate the mark.
    let letters =
        (2..=3).contains(&mark.chars().count()) && mark.chars().all(char::is_alphanumeric);
    (known || letters && rest.starts_with('[')).then_some(rest)
}

/// Reads all mails of a mailbox in order. An error names the line, but not the file.
pub fn read(bytes: &[u8]) -> Result<Vec<Mail>> {
    let raw = split(bytes);
    if raw.is_empty() {
        return Err(Error::new("the mailbox has no mail"));
    }
    let mails = raw.into_iter().map(|(at, raw)| {
        mail(raw).ok_or_else(|| {
            let line = bytes[..at].iter().filter(|b| **b == b'\n').count() + 1;
            Error::new(format!("line {line} does not start a mail"))
                .help("give a mailbox (mbox) or concatenated mails")
        })
    });
    mails.collect()
}

fn mail(raw: Vec<u8>) -> Option<Mail> {
    let parsed = mailparse::parse_mail(&raw).ok()?;
    let first = |name: &str| parsed.headers.get_first_value(name);
    first("From").or_else(|| first("Subject"))?;
    let from = parsed.headers.get_all_headers("From").into_iter();
    let from = from
        .map(senders)
        .reduce(|(first, n), (_, m)| (first, n + m));
    let (from, senders) = from.unwrap_or_default();
    let references = parsed.headers.get_all_values("References");
    let plain = body(&parsed);
    Some(Mail {
        id: first("Message-Id")
            .and_then(|v| ids(&v).pop())
            .unwrap_or_default(),
        // Some programs add a comment or further ids.
        in_reply_to: first("In-Reply-To").and_then(|v| ids(&v).into_iter().next()),
        references: references.iter().flat_map(|v| ids(v)).collect(),
        from,
        senders,
        subject: one_line(&first("Subject").unwrap_or_default()),
        date: first("Date").and_then(|d| mailparse::dateparse(&d).ok()),
        is_html: plain.is_none() && parsed.parts().any(|p| p.ctype.mimetype == "text/html"),
        body: plain.unwrap_or_default(),
        raw,
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn ids(value: &str) -> Vec<String> {
    let inside = value
        .split('<')
        .skip(1)
        .filter_map(|part| part.split_once('>'));
    let inside = inside.map(|(id, _)| id.split_whitespace().collect::<String>());
    let inside: Vec<String> = inside.collect();
    if !inside.is_empty() {
        return inside;
    }
    // Some programs omit the brackets, against RFC 5322.
    let words = value.split_whitespace().filter(|w| w.contains('@'));
    words.map(str::to_owned).collect()
}

/// Returns the first sender in a header, and the number of addresses in it.
fn senders(header: &MailHeader<'_>) -> (Person, usize) {
    let text = one_line(&header.get_value());
    let list = mailparse::addrparse_header(header).map(MailAddrList::into_inner);
    let list = list.unwrap_or_default();
    let is_name = |one: &MailAddr| matches!(one, MailAddr::Single(one) if !one.addr.contains('@'));
    let is_odd = |one: &MailAddr| is_name(one) || matches!(one, MailAddr::Group(_));
    let odd = list.is_empty() || list.iter().any(is_odd);
    let all = list.into_iter().filter(|one| !is_name(one));
    let all: Vec<SingleInfo> = all.flat_map(singles).collect();
    let count = all.len();
    let Some(one) = all.into_iter().next().filter(|_| !odd) else {
        // An unquoted comma, or another malformed header.
        return (person(&text), count.max(text.matches('@').count()));
    };
    let email = one.addr;
    let name = one.display_name.map(|name| one_line(&name));
    let name = name.filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| email.clone());
    (Person { name, email }, count)
}

/// Reads a person from a trailer, `Name <address>`. Quotes and commas have no special meaning.
pub fn person(text: &str) -> Person {
    let bracketed = text
        .rsplit_once('<')
        .and_then(|(name, rest)| Some((name.trim(), rest.split_once('>')?.0.trim())));
    let (name, email) = bracketed.unwrap_or(("", text.trim()));
    let name = if name.is_empty() { email } else { name };
    Person {
        name: name.to_owned(),
        email: email.to_owned(),
    }
}

fn body(parsed: &ParsedMail<'_>) -> Option<String> {
    let is_plain = |part: &&ParsedMail<'_>| {
        let kind = &part.ctype.mimetype;
        part.subparts.is_empty() && (kind.ends_with("/plain") || kind.ends_with("/x-patch"))
    };
    let texts: Vec<String> = parsed.parts().filter(is_plain).map(text).collect();
    let is_diff = |t: &&String| t.starts_with("diff --git ") || t.contains("\ndiff --git ");
    texts.iter().rfind(is_diff).or(texts.first()).cloned()
}

fn text(part: &ParsedMail<'_>) -> String {
    let raw = part.get_body_raw().unwrap_or_default();
    // A mail with a missing or unknown character set is mostly UTF-8.
    let charset = part.ctype.params.get("charset");
    let charset = charset.map(|c| c.to_ascii_lowercase()).unwrap_or_default();
    let plain = ["", "us-ascii", "ascii", "utf-8", "utf8"].contains(&charset.as_str());
    let decoded = || part.get_body().ok().filter(|t| !t.contains('\u{fffd}'));
    let text = match String::from_utf8(raw) {
        Ok(text) if plain => text,
        Ok(text) => decoded().unwrap_or(text),
        // Fall back to Latin-1, which has a letter for each byte.
        Err(e) => decoded().unwrap_or_else(|| e.as_bytes().iter().map(|b| *b as char).collect()),
    };
    String::from_utf8(with_newlines(text.as_bytes())).unwrap_or(text)
}

/// Converts a mail to lines with `\n`. If all lines end with `\r\n`, the transport added the `\r`.
/// If only some do, the `\r` is content. The empty lines that a mailbox adds do not count.
pub fn with_newlines(mail: &[u8]) -> Vec<u8> {
    let lines = || mail.split_inclusive(|b| *b == b'\n');
    let travelled = |l: &[u8]| l.ends_with(b"\r\n") || l.trim_ascii().is_empty();
    if !lines().any(|l| l.ends_with(b"\r\n")) || !lines().all(travelled) {
        return mail.to_vec();
    }
    lines()
        .flat_map(|l| match l.strip_suffix(b"\r\n") {
            Some(l) => [l, b"\n"].concat(),
            None => l.to_vec(),
        })
        .collect()
}

/// Splits a mailbox. Returns each mail with the offset at which it starts.
fn split(bytes: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let blank = bytes.len() - bytes.trim_ascii_start().len();
    if blank == bytes.len() {
        return Vec::new();
    }
    let newline = bytes[..blank].iter().rposition(|b| *b == b'\n');
    let first = newline.map_or(0, |at| at + 1);
    let starts = match separator(&bytes[first..]) {
        Some(_) => SEPARATOR.find_iter(bytes).map(|m| m.start()).collect(),
        None => starts_in_row(bytes, first),
    };
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let mails = starts.iter().zip(ends);
    mails
        .map(|(start, end)| (*start, unpacked(&bytes[*start..end])))
        .collect()
}

/// "From <address> <date>" in front of a mail. Text may start with "From " as well, so the date
/// decides, as in git. git, and b4 in mailboxes for git, have a hash or another mark for the
/// address.
static SEPARATOR: LazyLock<bytes::Regex> = LazyLock::new(|| {
    let git = r"([0-9A-Fa-f]{40,}|git@z)[ \t]+";
    let date = r"[0-9]{1,2}[ \t]+[0-9]{2}:[0-9]{2}(?::[0-9]{2})?[ \t](?:.*[ \t])?[0-9]{4}";
    pattern(&format!(
        r"(?m-u)^From (?:{git})?(?:.*[ \t])?{date}(?:[ \t\r].*)?$"
    ))
});

fn separator(text: &[u8]) -> Option<bytes::Captures<'_>> {
    let found = SEPARATOR.captures(text);
    found.filter(|found| found.get_match().start() == 0)
}

/// Removes the separator and the escapes of a mailbox.
fn unpacked(mail: &[u8]) -> Vec<u8> {
    let Some(found) = separator(mail) else {
        return mail.to_vec();
    };
    let mail = &mail[found.get_match().end()..];
    let mail = mail.strip_prefix(b"\n").unwrap_or(mail);
    // git does not escape lines of a mail that look like a separator.
    match found.get(1) {
        Some(_) => mail.to_vec(),
        None => unescaped(mail),
    }
}

/// Removes a `>` from each line of the text that has it in front of "From ".
fn unescaped(mail: &[u8]) -> Vec<u8> {
    static BLANK: LazyLock<bytes::Regex> = LazyLock::new(|| pattern(r"(?m-u)^[ \t\r]*\n"));
    static ESCAPED: LazyLock<bytes::Regex> = LazyLock::new(|| pattern(r"(?m-u)^>(>*From )"));
    let text = BLANK.find(mail).map_or(mail.len(), |blank| blank.end());
    let (head, text) = mail.split_at(text);
    [head, &*ESCAPED.replace_all(text, b"$1")].concat()
}

/// Returns the offsets of concatenated mails. A new mail starts at a block with all usual headers.
fn starts_in_row(bytes: &[u8], first: usize) -> Vec<usize> {
    /// Header lines with the empty line below them.
    static HEADERS: LazyLock<bytes::Regex> = LazyLock::new(|| {
        let header = r"[0-9A-Za-z-]+:.*\n(?:[ \t]+[^ \t\r\n].*\n)*";
        pattern(&format!(r"(?m-u)^(?:{header})+[ \t\r]*\n"))
    });
    let mut starts = vec![first];
    // An attached mail belongs to the enclosing mail.
    let mut attached = false;
    for block in HEADERS.find_iter(bytes) {
        let text = String::from_utf8_lossy(block.as_bytes()).to_ascii_lowercase();
        let has = |name: &str| text.lines().any(|line| line.starts_with(name));
        let all = ["from:", "subject:", "date:", "message-id:"]
            .into_iter()
            .all(has);
        if all && !attached && block.start() > first {
            starts.push(block.start());
        }
        attached = text.contains("message/rfc822");
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Mail {
        let mut mails = read(text.as_bytes()).unwrap();
        assert_eq!(mails.len(), 1, "{text}");
        mails.remove(0)
    }

    #[test]
    fn tag_in_brackets() {
        let read = |subject: &str| {
            let mail = Mail {
                subject: subject.to_owned(),
                ..Mail::default()
            };
            let title = mail.title().to_owned();
            let tag = mail.tag();
            tag.map(|t| (t.prefix, t.version, t.number, t.of, title))
        };
        let is = |prefix: &str, version, number, of, title: &str| {
            Some((prefix.to_owned(), version, number, of, title.to_owned()))
        };
        for (subject, meaning) in [
            ("[PATCH RFC v6 01/26] x", is("PATCH RFC", 6, 1, 26, "x")),
            ("[RFC PATCH v2 0/3] y: z", is("RFC PATCH", 2, 0, 3, "y: z")),
            ("[PATCH] z", is("PATCH", 1, 1, 1, "z")),
            (
                "Re: [PATCH v2 3/4] a [b] c",
                is("PATCH", 2, 3, 4, "a [b] c"),
            ),
            ("AW: Re: [PATCHv3 3/4] a", is("PATCH", 3, 3, 4, "a")),
            (
                "SV: [RESEND, PATCH 6/5] a",
                is("RESEND PATCH", 1, 6, 5, "a"),
            ),
            (
                "[net-next][PATCH v12 1/2] a",
                is("net-next PATCH", 12, 1, 2, "a"),
            ),
            ("[RFC 1/2] a", is("RFC", 1, 1, 2, "a")),
            ("[GIT PULL] a", None),
            ("[PATCH 1/2 a", None),
            ("about [PATCH 1/2]", None),
            ("rust: [PATCH] a", None),
        ] {
            assert_eq!(read(subject), meaning, "{subject}");
        }
    }

    #[test]
    fn read_decodes_mail() {
        let mail = one("\
From: =?UTF-8?q?J=C3=B6rg_=22X=22?= <joerg@example.org>
Date: Sun, 02 Oct 2016 07:06:22 -0700 (PDT)
Subject: Re: [PATCH v2
\t1/2] =?iso-8859-1?Q?gr=FC=DFe?= and
  more
Message-ID:
 <2@example.org>
In-Reply-To: <1@example.org> (somebody's mail)
References: <0@example.org>
\t<1@example.org>
Content-Type: text/plain; charset=iso-8859-15
Content-Transfer-Encoding: quoted-printable

Sch=F6n, 5 =A4, and a long=
 line
");
        assert_eq!(mail.from.name, "J\u{f6}rg \"X\"");
        assert_eq!(mail.from.email, "joerg@example.org");
        assert_eq!(mail.date, Some(1_475_417_182));
        assert_eq!(mail.subject, "Re: [PATCH v2 1/2] gr\u{fc}\u{df}e and more");
        assert_eq!(mail.id, "2@example.org");
        assert_eq!(mail.in_reply_to.as_deref(), Some("1@example.org"));
        assert_eq!(mail.references, ["0@example.org", "1@example.org"]);
        assert_eq!(mail.body, "Sch\u{f6}n, 5 \u{20ac}, and a long line\n");
        assert_eq!(
            mail.header("message-id").as_deref(),
            Some("<2@example.org>")
        );
        assert!(mail.is_reply());
    }

    #[test]
    fn from_in_each_form() {
        for (from, name, email) in [
            ("a@b.org", "a@b.org", "a@b.org"),
            ("<a@b.org>", "a@b.org", "a@b.org"),
            ("\"Doe, John\" <a@b.org>", "Doe, John", "a@b.org"),
            ("John Doe (X) <a@b.org>", "John Doe", "a@b.org"),
            ("John  Doe\n <a@b.org>", "John Doe", "a@b.org"),
            ("J\u{f6}rg <a@b.org>", "J\u{f6}rg", "a@b.org"),
            ("Doe, John <a@b.org>", "Doe, John", "a@b.org"),
            (
                "=?utf-8?q?Ann_=3Cann=40x.org=3E?= <a@b.org>",
                "Ann <ann@x.org>",
                "a@b.org",
            ),
            (
                "\"Ann <ann@x.org>\" <a@b.org>",
                "Ann <ann@x.org>",
                "a@b.org",
            ),
        ] {
            let mail = one(&format!("From: {from}\nSubject: x\n\n"));
            assert_eq!(
                (mail.from.name.as_str(), mail.from.email.as_str()),
                (name, email),
                "{from}"
            );
        }
    }

    #[test]
    fn from_counts_senders() {
        for (from, count) in [
            ("From: A <a@b.org>\n", 1),
            ("From: Doe, John <a@b.org>\n", 1),
            ("From: A <a@b.org>, C <c@d.org>\n", 2),
            ("From: A <a@b.org>\nfrom: C <c@d.org>\n", 2),
            ("From: A <a@b.org> <c@d.org>\n", 2),
            ("From: team: a@b.org, c@d.org;\n", 2),
        ] {
            assert_eq!(
                one(&format!("{from}Subject: x\n\n")).senders,
                count,
                "{from}"
            );
        }
    }

    #[test]
    fn body_in_each_encoding() {
        for (header, body, text) in [
            ("text/plain", "gr\u{fc}n\n", "gr\u{fc}n\n"),
            ("text/plain; charset=us-ascii", "gr\u{fc}n\n", "gr\u{fc}n\n"),
            ("text/plain; charset=no-such", "gr\u{fc}n\n", "gr\u{fc}n\n"),
            (
                "text/plain\nContent-Transfer-Encoding: base64",
                "Z3LDvG4NCm94DQo=\n",
                "gr\u{fc}n\nox\n",
            ),
            ("text/html", "<b>", ""),
            (
                "multipart/mixed; boundary=xx",
                "--xx\n\na\n--xx\nContent-Type: text/plain\n\nb\n--xx--\n",
                "a",
            ),
            (
                "multipart/alternative; boundary=xx",
                "--xx\nContent-Type: text/html\n\n<b>\n--xx\nContent-Type: text/plain\n\nb\nc\n--xx--\n",
                "b\nc",
            ),
            (
                "multipart/mixed; boundary=xx",
                "--xx\n\nsee\n--xx\nContent-Type: text/x-patch\n\ndiff --git a/x b/x\n--xx--\n",
                "diff --git a/x b/x",
            ),
        ] {
            let mail = one(&format!("From: a@b\nContent-Type: {header}\n\n{body}"));
            assert_eq!(mail.body, text, "{header}");
            assert_eq!(mail.is_html, header == "text/html", "{header}");
        }
        let raw = b"From: a@b\nContent-Type: text/plain; charset=latin1\n\ngr\xfcn\n";
        assert_eq!(read(raw).unwrap()[0].body, "gr\u{fc}n\n");
        let raw = b"From: a@b\n\ngr\xfcn\n";
        assert_eq!(read(raw).unwrap()[0].body, "gr\u{fc}n\n");
    }

    #[test]
    fn body_line_ends() {
        assert_eq!(
            one("From: a@b\r\nSubject: x\r\n\r\na\r\nb\r\n").body,
            "a\nb\n"
        );
        // Only some lines end with `\r\n`, so they are content.
        assert_eq!(one("From: a@b\n\n+a\r\n b\n").body, "+a\r\n b\n");
    }

    fn bodies(text: &str) -> Vec<String> {
        let mails = read(text.as_bytes()).unwrap();
        mails.into_iter().map(|m| m.body).collect()
    }

    #[test]
    fn split_mailbox_of_git() {
        let hash = "0123456789".repeat(4);
        let text = format!(
            "From {hash} Mon Sep 17 00:00:00 2001\nFrom: a@b\n\nFrom the start\n>From here\n\
             From {hash} Mon Sep 17 00:00:00 2001\nFrom: a@b\n\ntwo\n"
        );
        // git does not escape lines, so a `>` is content.
        assert_eq!(bodies(&text), ["From the start\n>From here\n", "two\n"]);
        let b4 = text.replace(
            &format!("{hash} Mon Sep 17 00:00:00 2001"),
            "git@z Thu Jan  1 00:00:00 1970",
        );
        assert_eq!(bodies(&b4), bodies(&text));
    }

    #[test]
    fn split_mboxrd_unescapes() {
        let text = "\nFrom mboxrd@z Thu Jan  1 00:00:00 1970\nFrom: a@b\n\n>From x\n>>From y\n> From z\n\n\
            From a@b Sat Jan  3 01:05:34 +0100 1996\nFrom: a@b\n\n\
            From x at 10:30 on day 7\n";
        assert_eq!(
            bodies(text),
            [
                "From x\n>From y\n> From z\n\n",
                "From x at 10:30 on day 7\n"
            ]
        );
        let raw = &read(text.as_bytes()).unwrap()[0].raw;
        assert_eq!(raw, b"From: a@b\n\nFrom x\n>From y\n> From z\n\n");
    }

    #[test]
    fn split_concatenated_mails() {
        let mail = |n: usize, body: &str| {
            format!(
                "From: a@b\nSubject: {n}\nMessage-Id: <{n}@b>\nDate: Sun, 02 Oct 2016\n 07:06:22 -0700\n\n{body}"
            )
        };
        let quoted = "Date: is quoted\nFrom: somebody\n\n";
        let text = mail(1, quoted) + &mail(2, "two\n-- \n2.47\n\n") + &mail(3, "three\n");
        assert_eq!(bodies(&text), [quoted, "two\n-- \n2.47\n\n", "three\n"]);
        let attached = format!(
            "From: a@b\nContent-Type: multipart/mixed; boundary=xx\n\n--xx\n\nsee\n--xx\n\
             Content-Type: message/rfc822\n\n{}--xx--\n",
            mail(4, "four\n")
        );
        assert_eq!(bodies(&attached), ["see"]);
    }

    #[test]
    fn read_other_content_fails() {
        let error = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        insta::assert_snapshot!(error(" \n\n"), @"the mailbox has no mail");
        insta::assert_snapshot!(error("\nhello\n"), @r"
        line 2 does not start a mail
          help: give a mailbox (mbox) or concatenated mails
        ");
        insta::assert_snapshot!(error("From a Thu Jan  1 00:00:00 1970\nFrom: a\n\nFrom a Thu Jan  1 00:00:00 1970\n\n"), @r"
        line 4 does not start a mail
          help: give a mailbox (mbox) or concatenated mails
        ");
    }

    #[test]
    fn person_ignores_quotes() {
        let is = |text, name: &str, email: &str| {
            let expected = Person {
                name: name.into(),
                email: email.into(),
            };
            assert_eq!(person(text), expected);
        };
        is("A \"B\" C, (D) <a@b>", "A \"B\" C, (D)", "a@b");
        is("a@b", "a@b", "a@b");
    }
}

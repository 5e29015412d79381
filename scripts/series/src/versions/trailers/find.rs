// SPDX-License-Identifier: GPL-2.0

//! Finds tags and objections in the text of a mail, and lines that look like tags but are not.

use std::{fmt, sync::LazyLock};

use regex::Regex;
use serde::{Serialize, Serializer};

use crate::mail::mailbox::{Person, person};

/// A trailer of a reviewer: Reviewed-by, Acked-by or Tested-by, or several of them in one key.
#[derive(Debug, Clone, Default)]
pub struct Trailer {
    /// The key, such as "Reviewed-by".
    pub key: String,
    pub who: Person,
    /// A remark: `# on GA102` on the same line, or `[the tests only]` on the next.
    pub note: Option<String>,
}

/// Trailers are equal if key and person are equal, whatever their spelling. b4 also ignores
/// remarks.
impl PartialEq for Trailer {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.value().to_lowercase() == other.value().to_lowercase()
    }
}

impl Eq for Trailer {}

impl fmt::Display for Trailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.value())
    }
}

impl Serialize for Trailer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Trailer {
    /// Parses one line; returns `None` if it is not a trailer of these kinds.
    pub fn parse(line: &str) -> Option<Self> {
        Self::read(line).ok()
    }

    /// Parses one line; returns the reason if it is not a trailer of these kinds.
    fn read(line: &str) -> Result<Self, &'static str> {
        static LINE: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*(\w[^:]*?)\s*:\s*(.*)"));
        static NOTE: LazyLock<Regex> = LazyLock::new(|| regex(r"^(.*?\S)\s+(#.*\S)\s*$"));
        static LINK: LazyLock<Regex> = LazyLock::new(|| regex(r"<mailto:[^>]+>"));
        static PERSON: LazyLock<Regex> = LazyLock::new(|| regex(r"\S+@\S+\.\S+"));
        static ADDRESS: LazyLock<Regex> = LazyLock::new(|| regex(r"^[^\s<>@]+@[^\s<>@]+$"));
        let found = LINE.captures(line).ok_or("it is not a trailer")?;
        let key = key(&found[1]).ok_or("the key is not Reviewed-by, Acked-by or Tested-by")?;
        let value = found[2].trim();
        let (value, note) = match NOTE.captures(value) {
            Some(parts) => (parts[1].to_owned(), Some(parts[2].trim().to_owned())),
            None => (value.to_owned(), None),
        };
        if !PERSON.is_match(&value) || value.contains("://") {
            return Err("it contains no address");
        }
        // Mail programs may turn an address into a link.
        let value = LINK.replace_all(&value, "");
        let behind = value.rsplit_once('>').map_or("", |(_, behind)| behind);
        if !behind.trim_matches([' ', '.', ',', ';', '>']).is_empty() {
            return Err("text follows the address; a remark starts with `#`");
        }
        let who = parse_person(&value);
        if !ADDRESS.is_match(&who.email) {
            return Err("it contains no address");
        }
        match value.contains('<') || value.ends_with(&who.email) {
            true => Ok(Self { key, who, note }),
            false => Err("text follows the address; a remark starts with `#`"),
        }
    }

    /// Returns name and address.
    pub fn value(&self) -> String {
        let Person { name, email } = &self.who;
        match name == email {
            true => email.clone(),
            false => format!("{name} <{email}>"),
        }
    }

    /// Returns the line of a commit message, with the remark.
    pub fn text(&self) -> String {
        match &self.note {
            Some(note) if note.starts_with('#') => format!("{self} {note}"),
            Some(note) => format!("{self}\n{note}"),
            None => self.to_string(),
        }
    }
}

fn regex(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|e| panic!("{e}"))
}

/// Returns the key in the kernel's spelling, if it is one of the three kinds.
fn key(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let mut kinds = lower.strip_suffix("-by")?.split("-and-");
    if !kinds.all(|k| ["reviewed", "acked", "tested"].contains(&k)) {
        return None;
    }
    Some(lower[..1].to_ascii_uppercase() + &lower[1..])
}

/// Parses "Name <address>", or an address without brackets.
fn parse_person(value: &str) -> Person {
    if value.contains('<') {
        return person(value);
    }
    let words: Vec<&str> = value.split_whitespace().collect();
    let at = words.iter().position(|w| w.contains('@')).unwrap_or(0);
    let email = words.get(at).copied().unwrap_or_default();
    person(&format!("{} <{email}>", words[..at].join(" ")))
}

/// The contents of a reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    pub trailers: Vec<Trailer>,
    /// Lines that look like a trailer but are not accepted, each with the reason.
    pub unread: Vec<(String, String)>,
    /// The line that objects to the patch.
    pub objection: Option<String>,
    /// The line that withdraws a tag.
    pub withdrawal: Option<String>,
    /// The line that names patches by number or place.
    pub selection: Option<String>,
}

/// Returns the trailers of a reply, outside of quotes and above the signature.
pub fn in_reply(body: &str) -> Vec<Trailer> {
    read(body).trailers
}

/// Reads a reply, without quoted lines and the signature.
pub fn read(body: &str) -> Said {
    let mut said = Said::default();
    let above = body.split("\n-- \n").next().unwrap_or(body);
    let lines = above.lines().map(|l| l.trim_matches('\r'));
    // Some programs append the original mail without quote marks.
    let lines: Vec<&str> = lines
        .take_while(|l| !l.contains("-Original Message-"))
        .collect();
    let mut at = 0;
    let mut after_trailer = false;
    while let Some(line) = lines.get(at) {
        let next = lines.get(at + 1).copied().unwrap_or_default();
        at += 1;
        // The address is on the next line.
        let whole = match is_wrapped(line, next) {
            true => {
                at += 1;
                format!("{line} {next}")
            }
            false => (*line).to_owned(),
        };
        let is_remark = after_trailer && is_remark(line);
        after_trailer = false;
        match Trailer::read(&whole) {
            Ok(trailer) => {
                said.trailers.push(trailer);
                after_trailer = true;
            }
            Err(_) if is_remark => {
                if let Some(last) = said.trailers.last_mut() {
                    last.note = Some(line.trim().to_owned());
                }
            }
            Err(reason) => said.unread.extend(meant(line, next, reason)),
        }
    }
    let own = || lines.iter().copied().filter(|l| is_own(l));
    let first = |fits: fn(&str) -> bool| own().find(|l| fits(l)).map(|l| l.trim().to_owned());
    said.objection = first(objects);
    said.withdrawal = first(withdraws);
    said.selection = first(selects);
    said
}

/// Whether the next line consists of the trailer's address alone.
fn is_wrapped(line: &str, next: &str) -> bool {
    static ADDRESS: LazyLock<Regex> = LazyLock::new(|| regex(r"^<[^>]+>$"));
    static START: LazyLock<Regex> = LazyLock::new(|| regex(r"^\S+:\s+[^<]+$"));
    START.is_match(line) && ADDRESS.is_match(next)
}

/// Whether the line is a remark in brackets.
fn is_remark(line: &str) -> bool {
    static REMARK: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*\[[^\]]+\]\s*$"));
    REMARK.is_match(line)
}

/// Whether the sender wrote the line: neither quoted text nor the line that introduces it.
fn is_own(line: &str) -> bool {
    static INTRODUCES: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"(?i)^(on .*\d{4}|.*(wrote|writes|schrieb|écrit) ?:\s*$|(subject|from|to|cc|sent|date):)",
        )
    });
    let line = line.trim_start();
    !line.starts_with(['>', '|']) && !INTRODUCES.is_match(line)
}

/// Returns a line that looks like a trailer, with the reason why it is not accepted.
fn meant(line: &str, next: &str, reason: &str) -> Option<(String, String)> {
    static START: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"(?i)^[\s*•-]*(?:[a-z]+[-_ ]+){0,3}(?:re[veiw]{3,5}|ack|test)[a-z]*[-_ ]*by\b(\s*:|.*@)",
        )
    });
    static COLON: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i)by\s*:"));
    static INSIDE: LazyLock<Regex> =
        LazyLock::new(|| regex(r"(?i)\b(?:reviewed|acked|tested)-by:\s*\S"));
    static OTHER: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*([A-Z][A-Za-z-]*-by):\s+\S"));
    if !is_own(line) || objects(line) {
        return None;
    }
    let found = |what: &str, why: &str| Some((what.to_owned(), why.to_owned()));
    let shown = line.trim();
    if START.is_match(line) {
        let goes_on = !line.contains('@') && next.trim_end().ends_with('>') && next.contains('@');
        if goes_on {
            return found(&format!("{shown} {}", next.trim()), "the name is wrapped");
        }
        let starts_it = shown.starts_with(char::is_alphabetic);
        let has_colon = COLON.is_match(line);
        return match (starts_it, has_colon) {
            (false, _) => found(shown, "a tag must start its line"),
            (true, false) => found(shown, "the colon after `-by` is missing"),
            (true, true) => found(shown, reason),
        };
    }
    if INSIDE.is_match(line) {
        return found(shown, "a tag needs a line of its own");
    }
    OTHER.captures(line).and_then(|other| {
        let why = format!("{} belongs in the commit message", &other[1]);
        found(shown, &why)
    })
}

/// Whether a line objects to a patch.
fn objects(line: &str) -> bool {
    static AGAINST: LazyLock<Regex> =
        LazyLock::new(|| regex(r"(?i:^\s*na[c]?k(ed)?([-_ ]by\b|[^a-z]|$))|\bNA[C]?K(ed)?\b"));
    AGAINST.is_match(line)
}

/// Whether a line withdraws an earlier tag.
fn withdraws(line: &str) -> bool {
    static BACK: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"(?i)\b(take|taking|took)\b.{0,40}\bback\b|\b(withdraw|withdrew|retract|revoke|rescind)|\b(drop|remove|ignore|disregard)\b.{0,20}\bmy\b.{0,30}\b(tag|by|r-?b|ack)\b",
        )
    });
    BACK.is_match(line)
}

/// Whether a line names patches, or parts of a series.
fn selects(line: &str) -> bool {
    static SOME: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"(?i)\bpatch(es)?\b\s*[#(]?\s*\d|(^|[\s(\[,])\d{1,3}/\d{1,3}([\s),;:.\]]|$)|\b(first|last|second|third|fourth|other|remaining|these|those|some)\b.{0,20}\bpatch|\b(except|apart from|other than|all but)\b|\bfor\s+#?\d+\s*(-|to|and|,|:)",
        )
    });
    SOME.is_match(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str) -> Vec<String> {
        in_reply(body).iter().map(Trailer::text).collect()
    }

    #[test]
    fn in_reply_matches_b4() {
        for (body, found) in [
            (
                "Reviewed-by: A B <a@b.org>\n",
                vec!["Reviewed-by: A B <a@b.org>"],
            ),
            ("  acked-BY:\tA <a@b.org>", vec!["Acked-by: A <a@b.org>"]),
            ("Tested-by: a@b.org", vec!["Tested-by: a@b.org"]),
            ("Tested-by: A B a@b.org", vec!["Tested-by: A B <a@b.org>"]),
            ("Tested-by: <a@b.org>", vec!["Tested-by: a@b.org"]),
            (
                "Reviewed-and-tested-by: A \"X\" B, C <a@b.org>\nAcked-and-Reviewed-by: A <a@b.org>",
                vec![
                    "Reviewed-and-tested-by: A \"X\" B, C <a@b.org>",
                    "Acked-and-reviewed-by: A <a@b.org>",
                ],
            ),
            (
                "Reviewed-by: A Very Long Name\n<a@b.org>\nx",
                vec!["Reviewed-by: A Very Long Name <a@b.org>"],
            ),
            (
                "Reviewed-by: A <a@b.org<mailto:a@b.org>>",
                vec!["Reviewed-by: A <a@b.org>"],
            ),
            (
                "Tested-by: A <a@b.org> # on GA102",
                vec!["Tested-by: A <a@b.org> # on GA102"],
            ),
            (
                "Tested-by: A <a@b.org>\n[the tests only]\n",
                vec!["Tested-by: A <a@b.org>\n[the tests only]"],
            ),
            (
                "Tested-by: A <a@b.org>\n\n[the tests only]\n",
                vec!["Tested-by: A <a@b.org>"],
            ),
            // Quoted, below the signature, of another kind, without a person.
            (
                "> Reviewed-by: A <a@b.org>\n>> Acked-by: A <a@b.org>\n",
                vec![],
            ),
            ("x\n-- \nReviewed-by: A <a@b.org>\n", vec![]),
            (
                "Reported-by: A <a@b.org>\nSigned-off-by: A <a@b.org>\nNot-reviewed-by: A <a@b.org>",
                vec![],
            ),
            ("Reviewed-by: A <mailto:a@b.org>", vec![]),
            (
                "Reviewed-by: the whole team\nReviewed-by:\nReviewed-by: a@b",
                vec![],
            ),
            ("Tested-by: https://ci.example.org/a@b.org", vec![]),
            ("I give my Reviewed-by: A <a@b.org>", vec![]),
            ("Reviewed-by: A Very Long\nName\n<a@b.org>\n", vec![]),
        ] {
            assert_eq!(texts(body), found, "{body}");
        }
    }

    #[test]
    fn read_reports_malformed_tags() {
        for (body, reason) in [
            (
                "Reviewed by: A <a@b.org>",
                "the key is not Reviewed-by, Acked-by or Tested-by",
            ),
            (
                "Review-by: A <a@b.org>",
                "the key is not Reviewed-by, Acked-by or Tested-by",
            ),
            (
                "Reveiwed-by: A <a@b.org>",
                "the key is not Reviewed-by, Acked-by or Tested-by",
            ),
            (
                "Not-reviewed-by: A <a@b.org>",
                "the key is not Reviewed-by, Acked-by or Tested-by",
            ),
            (
                "Reviewed-by A <a@b.org>",
                "the colon after `-by` is missing",
            ),
            ("- Reviewed-by: A <a@b.org>", "a tag must start its line"),
            ("Reviewed-by:", "it contains no address"),
            ("Reviewed-by: the whole team", "it contains no address"),
            ("Tested-by: a@b", "it contains no address"),
            (
                "Tested-by: https://ci.example.org/a@b.org",
                "it contains no address",
            ),
            ("Tested-by: A <mailto:a@b.org>", "it contains no address"),
            (
                "Acked-by: A <a@b.org> for the API",
                "text follows the address; a remark starts with `#`",
            ),
            (
                "Acked-by: a@b.org for the API",
                "text follows the address; a remark starts with `#`",
            ),
            (
                "With that: Reviewed-by: A <a@b.org>",
                "a tag needs a line of its own",
            ),
            (
                "Reported-by: A <a@b.org>",
                "Reported-by belongs in the commit message",
            ),
        ] {
            let said = read(&format!("Hello,\n{body}\n"));
            let expected = [(body.to_owned(), reason.to_owned())];
            assert_eq!(said.unread, expected, "{body}");
            assert_eq!(said.trailers, [], "{body}");
        }
        let said = read("Reviewed-by: A Very Long\nName <a@b.org>\n");
        assert_eq!(
            said.unread,
            [(
                "Reviewed-by: A Very Long Name <a@b.org>".into(),
                "the name is wrapped".into()
            )]
        );
        for body in [
            "Tested by running it at noon.",
            "You may have my Reviewed-by then.",
            "> Reviewed by: A <a@b.org>",
            "Backed by the heap: yes.",
            "On Sat, Jan 3, 2026, Reviewed-by: A <a@b.org> wrote:",
            "x\n-- \nReviewed by: A <a@b.org>",
        ] {
            assert_eq!(read(body), Said::default(), "{body}");
        }
    }

    #[test]
    fn parse_remark_with_link() {
        for line in [
            "Tested-by: A <a@b.org> # https://ci.x.org/run/1",
            "Tested-by: A <a@b.org> # see https://ci.x.org/run#1",
        ] {
            assert_eq!(texts(line), [line]);
        }
    }

    #[test]
    fn read_objection_and_withdrawal() {
        for body in [
            "Nacked-by: A <a@b.org>",
            "NAK",
            "  nacked-by: me",
            "Nack, see below",
            "So NACK.",
        ] {
            let said = read(&format!("> NAK\nHi.\n{body}\n"));
            assert_eq!(said.objection.as_deref(), Some(body.trim()));
            assert_eq!((said.trailers, said.unread), (vec![], vec![]), "{body}");
        }
        for body in [
            "I take that back.",
            "Please drop my Reviewed-by.",
            "I withdraw the ack",
            "Taking my tag back",
        ] {
            assert_eq!(read(body).withdrawal.as_deref(), Some(body));
        }
        for body in [
            "Snack",
            "unpack it",
            "The back end takes it",
            "> I take that back",
        ] {
            let said = read(body);
            assert_eq!((said.objection, said.withdrawal), (None, None), "{body}");
        }
    }

    #[test]
    fn read_selection_of_patches() {
        for body in [
            "For patches 1 and 2:",
            "for patch #3",
            "For 1-3:",
            "1/4 and 2/4 look good",
            "The first two patches are fine.",
            "All of it except the last one",
        ] {
            assert_eq!(read(body).selection.as_deref(), Some(body));
        }
        for body in [
            "> [PATCH 1/4] x",
            "On 01/02/2026, Dev wrote:",
            "Subject: [PATCH 0/4] x",
            "See https://x.org/1/2",
            "The patches are fine.",
            "Ran on 01/02/2026",
        ] {
            assert_eq!(read(body).selection, None, "{body}");
        }
    }

    #[test]
    fn eq_ignores_remarks() {
        let parse = |text| Trailer::parse(text).unwrap();
        assert_eq!(
            parse("Tested-by: A <a@b.c> # x"),
            parse("tested-by: a <A@b.c>")
        );
        assert_ne!(parse("Tested-by: A <a@b.c>"), parse("Acked-by: A <a@b.c>"));
        assert_ne!(parse("Tested-by: A <a@b.c>"), parse("Tested-by: A <a@b.d>"));
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Finds tags and objections in the text of a mail, and lines that look like tags but are not.

use std::{fmt, sync::LazyLock};

use regex::Regex;
use serde::{Serialize, Serializer};

use crate::{
    mail::mailbox::{Person, person},
    sys::pattern,
};

/// A trailer of a reviewer: Reviewed-by, Acked-by or Tested-by, or several of them in one key.
#[derive(Debug, Clone, Default)]
pub struct Trailer {
    /// The key, such as "Reviewed-by".
    pub key: String,
    pub who: Person,
    /// A remark: `# on GA102` on the same line, or `[the tests only]` on the next.
    pub note: Option<String>,
}

/// Key and person count, whatever their spelling. b4 also ignores remarks.
impl PartialEq for Trailer {
    fn eq(&self, other: &Self) -> bool {
        self.to_string().to_lowercase() == other.to_string().to_lowercase()
    }
}

impl Eq for Trailer {}

impl fmt::Display for Trailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.who)
    }
}

impl Serialize for Trailer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// The key, the value, and a remark.
static LINE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^\s*(\w[^:]*?)\s*:\s*(.*?)(?:\s+(#.*\S))?\s*(?:\n|$)"));

/// A link that mail programs add to an address.
static LINK: LazyLock<Regex> = LazyLock::new(|| pattern("<mailto:[^>]+>"));

static WITH_ADDRESS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\S+@\S+\.\S+"));

static ADDRESS: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[^\s<>@]+@[^\s<>@]+$"));

impl Trailer {
    /// Parses one line; returns the reason if it is not a trailer of these kinds.
    pub fn parse(line: &str) -> Result<Self, &'static str> {
        const NO_ADDRESS: &str = "it contains no address";
        const MORE_TEXT: &str = "text follows the address; a remark starts with `#`";
        let found = LINE.captures(line).ok_or("it is not a trailer")?;
        let key = key(&found[1]).ok_or("the key is not Reviewed-by, Acked-by or Tested-by")?;
        let value = &found[2];
        if !WITH_ADDRESS.is_match(value) || value.contains("://") {
            return Err(NO_ADDRESS);
        }
        let value = LINK.replace_all(value, "");
        let behind = value.rsplit_once('>').map_or("", |(_, behind)| behind);
        if !behind.trim_matches([' ', '.', ',', ';', '>']).is_empty() {
            return Err(MORE_TEXT);
        }
        let who = parse_person(&value);
        if !ADDRESS.is_match(&who.email) {
            return Err(NO_ADDRESS);
        }
        if !value.contains('<') && !value.ends_with(&who.email) {
            return Err(MORE_TEXT);
        }
        let note = found.get(3).map(|note| note.as_str().to_owned());
        Ok(Self { key, who, note })
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

/// Returns the key in the kernel's spelling, if it is one of the three kinds.
fn key(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let mut kinds = lower.strip_suffix("-by")?.split("-and-");
    let is_known = kinds.all(|k| ["reviewed", "acked", "tested"].contains(&k));
    is_known.then(|| lower[..1].to_ascii_uppercase() + &lower[1..])
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

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    pub trailers: Vec<Trailer>,
    /// Lines that look like a trailer but are not accepted, each with the reason.
    pub unread: Vec<(String, String)>,
    pub objection: Option<String>,
    pub withdrawal: Option<String>,
    /// The line that names patches by number or place.
    pub selection: Option<String>,
}

/// Reads a reply, without quoted lines and the signature.
pub fn read(body: &str) -> Said {
    let mut said = Said::default();
    let above = body.split("\n-- \n").next().unwrap_or(body);
    let lines = above.lines().map(|l| l.trim_matches('\r'));
    // Some programs append the original mail without quote marks.
    let lines = lines.take_while(|l| !l.contains("-Original Message-"));
    let lines: Vec<&str> = lines.collect();
    let mut after_trailer = false;
    let mut left = lines.iter().copied().peekable();
    while let Some(line) = left.next() {
        let next = left.peek().copied().unwrap_or_default();
        let trailer = if WRAPPED.is_match(&format!("{line}\n{next}")) {
            left.next();
            Trailer::parse(&format!("{line} {next}"))
        } else {
            Trailer::parse(line)
        };
        let remark = (after_trailer && REMARK.is_match(line)).then(|| line.trim().to_owned());
        after_trailer = trailer.is_ok();
        match (trailer, said.trailers.last_mut()) {
            (Ok(trailer), _) => said.trailers.push(trailer),
            (Err(_), Some(last)) if remark.is_some() => last.note = remark,
            (Err(reason), _) => said.unread.extend(meant(line, next, reason)),
        }
    }
    let own = || lines.iter().filter(|l| is_own(l));
    let first = |kind: &Regex| Some(own().find(|l| kind.is_match(l))?.trim().to_owned());
    said.objection = first(&OBJECTION);
    said.withdrawal = first(&WITHDRAWAL);
    said.selection = first(&SELECTION);
    said
}

/// A trailer and the next line, which consists of the address alone.
static WRAPPED: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\S+:\s+[^<\n]+\n<[^>]+>$"));

static REMARK: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s*\[[^\]]+\]\s*$"));

/// Whether the sender wrote the line: neither quoted text nor the line that introduces it.
fn is_own(line: &str) -> bool {
    static INTRODUCES: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"(?i)^(on .*\d{4}|.*(wrote|writes|schrieb|écrit) ?:\s*$|(subject|from|to|cc|sent|date):)",
        )
    });
    let line = line.trim_start();
    !line.starts_with(['>', '|']) && !INTRODUCES.is_match(line)
}

/// Returns a line that looks like a trailer, with the reason why it is not accepted.
fn meant(line: &str, next: &str, reason: &str) -> Option<(String, String)> {
    static START: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"(?i)^[\s*•-]*(?:[a-z]+[-_ ]+){0,3}(?:re[veiw]{3,5}|ack|test)[a-z]*[-_ ]*by\b(\s*:|.*@)",
        )
    });
    static COLON: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)by\s*:"));
    static INSIDE: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"(?i)\b(?:reviewed|acked|tested)-by:\s*\S"));
    static OTHER: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s*([A-Z][A-Za-z-]*-by):\s+\S"));
    if !is_own(line) || OBJECTION.is_match(line) {
        return None;
    }
    let shown = line.trim();
    let found = |reason: &str| Some((shown.to_owned(), reason.to_owned()));
    if !START.is_match(line) {
        if INSIDE.is_match(line) {
            return found("a tag needs a line of its own");
        }
        let other = OTHER.captures(line)?;
        return found(&format!("{} belongs in the commit message", &other[1]));
    }
    if !line.contains('@') && next.trim_end().ends_with('>') && next.contains('@') {
        let whole = format!("{shown} {}", next.trim());
        return Some((whole, "the name is wrapped".to_owned()));
    }
    if !shown.starts_with(char::is_alphabetic) {
        return found("a tag must start its line");
    }
    if !COLON.is_match(line) {
        return found("the colon after `-by` is missing");
    }
    found(reason)
}

static OBJECTION: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i:^\s*na[c]?k(ed)?([-_ ]by\b|[^a-z]|$))|\bNA[C]?K(ed)?\b"));

static WITHDRAWAL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix) \b (?: take | taking | took ) \b .{0,40} \b back \b
          | \b (?: withdraw | withdrew | retract | revoke | rescind )
          | \b (?: drop | remove | ignore | disregard ) \b .{0,20} \b my \b .{0,30}
            \b (?: tag | by | r-?b | ack ) \b",
    )
});

static SELECTION: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?ix) \b patch(?:es)? \b \s* [\#(]? \s* \d
          | (?: ^ | [\s(\[,] ) \d{1,3} / \d{1,3} (?: [\s),;:.\]] | $ )
          | \b (?: first | last | second | third | fourth | other | remaining | these | those | some ) \b
            .{0,20} \b patch
          | \b (?: except | apart\ from | other\ than | all\ but ) \b
          | \b for \s+ \#? \d+ \s* (?: - | to | and | , | : )",
    )
});

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str) -> Vec<String> {
        read(body).trailers.iter().map(Trailer::text).collect()
    }

    #[test]
    fn read_matches_b4() {
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

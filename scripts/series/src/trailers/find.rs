// SPDX-License-Identifier: GPL-2.0

//! Trailers in the text of a mail, read as b4 reads them.

use std::{
    fmt,
    sync::LazyLock, //
};

use regex::Regex;
use serde::{
    Serialize,
    Serializer, //
};

use crate::mailbox::{
    Person,
    person, //
};

/// A trailer by which a person stands up for a patch: Reviewed-by, Acked-by, Tested-by, or some of
/// them in one.
#[derive(Debug, Clone)]
pub struct Trailer {
    /// "Reviewed-by".
    pub key: String,
    /// Who.
    pub who: Person,
    /// A remark: `# on GA102` on the same line, or `[the tests only]` on the next.
    pub note: Option<String>,
}

/// What makes two trailers the same is what they say, not how; as b4 has it, a remark says nothing.
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
    /// From one line; `None` if it is no trailer of these kinds.
    pub fn parse(line: &str) -> Option<Self> {
        static LINE: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*(\w\S+):\s+(\S.*)"));
        static NOTE: LazyLock<Regex> = LazyLock::new(|| regex(r"^(.*\S)\s+(#[^#]+)$"));
        static LINK: LazyLock<Regex> = LazyLock::new(|| regex(r"<mailto:[^>]+>"));
        static PERSON: LazyLock<Regex> = LazyLock::new(|| regex(r"\S+@\S+\.\S+"));
        static ADDRESS: LazyLock<Regex> = LazyLock::new(|| regex(r"^[^\s<>@]+@[^\s<>@]+$"));
        let found = LINE.captures(line)?;
        let key = key(&found[1])?;
        let value = found[2].trim();
        if !PERSON.is_match(value) || value.contains("://") {
            return None;
        }
        let (value, note) = match NOTE.captures(value) {
            Some(parts) => (parts[1].to_owned(), Some(parts[2].trim().to_owned())),
            None => (value.to_owned(), None),
        };
        // What a mail program made of an address.
        let value = LINK.replace_all(&value, "");
        let who = somebody(&value);
        ADDRESS
            .is_match(&who.email)
            .then_some(Self { key, who, note })
    }

    /// Name and address.
    pub fn value(&self) -> String {
        let Person { name, email } = &self.who;
        match name == email {
            true => email.clone(),
            false => format!("{name} <{email}>"),
        }
    }

    /// As it stands in a commit message, with the remark.
    pub fn text(&self) -> String {
        match &self.note {
            Some(note) if note.starts_with('#') => format!("{self} {note}"),
            Some(note) => format!("{self}\n{note}"),
            None => self.to_string(),
        }
    }

    /// Whether the sender of a mail may give it: the addresses or the names agree.
    pub fn is_of(&self, sender: &Person) -> bool {
        if same_address(&self.who.email, &sender.email) {
            return true;
        }
        let (ours, theirs) = (self.who.name.to_lowercase(), sender.name.to_lowercase());
        // "Doe, John" is how some companies write it.
        let parts: Vec<&str> = theirs.split(',').map(str::trim).collect();
        ours == theirs || parts.len() > 1 && parts.iter().all(|part| ours.contains(part))
    }
}

fn regex(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|e| panic!("{e}"))
}

/// The key as the kernel writes it, if it is one of ours.
fn key(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let mut kinds = lower.strip_suffix("-by")?.split("-and-");
    if !kinds.all(|k| ["reviewed", "acked", "tested"].contains(&k)) {
        return None;
    }
    Some(lower[..1].to_ascii_uppercase() + &lower[1..])
}

/// Reads "Name <address>", and an address without brackets.
fn somebody(value: &str) -> Person {
    if value.contains('<') {
        return person(value);
    }
    let words: Vec<&str> = value.split_whitespace().collect();
    let at = words.iter().position(|w| w.contains('@')).unwrap_or(0);
    let email = words.get(at).copied().unwrap_or_default();
    person(&format!("{} <{email}>", words[..at].join(" ")))
}

/// Whether two addresses are a person's: the part behind a `+` and one level of a domain do not
/// count.
fn same_address(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_lowercase(), other.to_lowercase());
    if one == other {
        return true;
    }
    let (Some((ours, our_domain)), Some((theirs, their_domain))) =
        (one.split_once('@'), other.split_once('@'))
    else {
        return false;
    };
    let plain = |local: &str| local.split('+').next().unwrap_or(local).to_owned();
    if plain(ours) == plain(theirs) && our_domain == their_domain {
        return true;
    }
    let dots = |domain: &str| domain.matches('.').count();
    plain(ours) == plain(theirs)
        && dots(our_domain).abs_diff(dots(their_domain)) == 1
        && (our_domain.ends_with(&format!(".{their_domain}"))
            || their_domain.ends_with(&format!(".{our_domain}")))
}

/// The trailers of a reply: lines that are not quoted, above the signature.
pub fn in_reply(body: &str) -> Vec<Trailer> {
    static ADDRESS: LazyLock<Regex> = LazyLock::new(|| regex(r"^<[^>]+>$"));
    static START: LazyLock<Regex> = LazyLock::new(|| regex(r"^\S+:\s+[^<]+$"));
    static REMARK: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*\[[^\]]+\]\s*$"));
    let above = body.split("\n-- \n").next().unwrap_or(body);
    let mut found: Vec<Trailer> = Vec::new();
    let mut after_trailer = false;
    let mut lines = above.lines().map(|l| l.trim_matches('\r')).peekable();
    while let Some(line) = lines.next() {
        // An address that was wrapped.
        let wrapped = match START.is_match(line) {
            true => lines.next_if(|next| ADDRESS.is_match(next)),
            false => None,
        };
        let whole = match wrapped {
            Some(address) => format!("{line} {address}"),
            None => line.to_owned(),
        };
        if let Some(trailer) = Trailer::parse(&whole) {
            found.push(trailer);
            after_trailer = true;
            continue;
        }
        if let Some(last) = found
            .last_mut()
            .filter(|_| after_trailer && REMARK.is_match(line))
        {
            last.note = Some(line.trim().to_owned());
        }
        after_trailer = false;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str) -> Vec<String> {
        in_reply(body).iter().map(Trailer::text).collect()
    }

    #[test]
    fn what_counts_is_what_counts_for_b4() {
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
            // Quoted, below the signature, of another kind, of nobody.
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
    fn a_trailer_is_its_senders() {
        let sender = |name: &str, email: &str| Person {
            name: name.into(),
            email: email.into(),
        };
        let trailer = Trailer::parse("Reviewed-by: John Doe <john@intel.com>").unwrap();
        for (name, email) in [
            ("J", "JOHN@intel.com"),
            ("J", "john+kernel@intel.com"),
            ("J", "john@linux.intel.com"),
            ("john doe", "jd@home.org"),
            ("Doe, John", "jd@home.org"),
        ] {
            assert!(trailer.is_of(&sender(name, email)), "{name} <{email}>");
        }
        for (name, email) in [
            ("J", "jane@intel.com"),
            ("J", "john@a.linux.intel.com"),
            ("J", "john@xintel.com"),
            ("John", "john"),
            ("Doe, Jane", "jd@home.org"),
        ] {
            assert!(!trailer.is_of(&sender(name, email)), "{name} <{email}>");
        }
    }

    #[test]
    fn a_remark_makes_no_other_trailer() {
        let parse = |text| Trailer::parse(text).unwrap();
        assert_eq!(
            parse("Tested-by: A <a@b.c> # x"),
            parse("tested-by: a <A@b.c>")
        );
        assert_ne!(parse("Tested-by: A <a@b.c>"), parse("Acked-by: A <a@b.c>"));
        assert_ne!(parse("Tested-by: A <a@b.c>"), parse("Tested-by: A <a@b.d>"));
    }
}

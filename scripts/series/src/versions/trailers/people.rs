// SPDX-License-Identifier: GPL-2.0

//! Senders that a tag is accepted from: the address in the tag, or an address known for its exact
//! name.
//!
//! Known addresses come from the recipients in the manifests and from `.mailmap`. Earlier tags add
//! no address: a sender could combine a reviewer's name with his own address in one tag, and so
//! qualify for the next.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use regex::Regex;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::{
    mail::mailbox::{Person, person},
    sys::pattern,
};

/// Names, and the known addresses of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    known: BTreeMap<String, BTreeSet<String>>,
}

impl People {
    /// Creates the table from pairs of a name and an address; addresses without a name are ignored.
    pub fn new(pairs: impl IntoIterator<Item = Person>) -> Self {
        let mut people = Self::default();
        let named = |one: &Person| has_name(one) && one.email.contains('@');
        for one in pairs.into_iter().filter(named) {
            let addresses = people.known.entry(spaced(&one.name)).or_default();
            addresses.insert(one.email.to_lowercase());
        }
        people
    }

    /// Checks that the sender may give a tag in this name. The error is the reason why not.
    pub fn may_give(&self, who: &Person, sender: &Person) -> Result<(), String> {
        let Person { name, email } = who;
        if name != email && !has_name(who) {
            return Err("it names no person".to_owned());
        }
        if DECEPTIVE.is_match(name) {
            return Err(
                "its name has invisible characters, or mixes alphabets in a word".to_owned(),
            );
        }
        if !self.is_of(who, sender) {
            return Err(format!("the mail is from {sender}"));
        }
        let words = words(name);
        let known = self.known.iter();
        let known = known.filter(|(name, _)| self::words(name) == words);
        let known: BTreeSet<&String> = known.flat_map(|(_, addresses)| addresses).collect();
        let is_known = known.is_empty() || known.contains(&email.to_lowercase());
        if is_known || !same_address(who, sender) {
            return Ok(());
        }
        // The sender may have copied the name of a reviewer.
        let known = known.into_iter().cloned().collect::<Vec<_>>().join(", ");
        Err(format!(
            "{name} is known with the address {known}; if this is the same person, add \
             \"{name} <{email}>\" to .mailmap"
        ))
    }

    /// Whether the sender of a mail may withdraw a tag in this name.
    pub fn is_of(&self, who: &Person, sender: &Person) -> bool {
        let known = self.known.get(&spaced(&who.name));
        let from = sender.email.to_lowercase();
        same_address(who, sender) || has_name(who) && known.is_some_and(|k| k.contains(&from))
    }
}

fn same_address(one: &Person, other: &Person) -> bool {
    one.email.to_lowercase() == other.email.to_lowercase()
}

/// Whether the name has a letter, and is not just the address.
fn has_name(who: &Person) -> bool {
    who.name != who.email && who.name.chars().any(char::is_alphabetic)
}

/// Matches characters that terminals do not show, and words of letters that look like others.
static DECEPTIVE: LazyLock<Regex> = LazyLock::new(|| {
    let other = r"\p{Cyrillic}\p{Greek}\p{Armenian}";
    pattern(&format!(
        r"[\p{{Cc}}\p{{Cf}}]|\p{{Latin}}\w*[{other}]|[{other}]\w*\p{{Latin}}"
    ))
});

/// Returns the words of a name, sorted, without accents, signs and capitals: readers hardly notice
/// other spellings and orders.
fn words(name: &str) -> Vec<String> {
    let plain = name.nfkd().filter(|c| !is_combining_mark(*c));
    let plain = plain.collect::<String>().to_lowercase();
    let words = plain.split(|c: char| !c.is_alphanumeric());
    let mut words: Vec<String> = words.filter(|w| !w.is_empty()).map(str::to_owned).collect();
    words.sort();
    words
}

fn spaced(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Parses a `.mailmap`. Each address of a line belongs to each name in it.
pub fn mailmap(text: &str) -> Vec<Person> {
    let mut people = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let parts = line.split_inclusive('>');
        let pairs = parts.filter_map(|part| part.strip_suffix('>')?.split_once('<'));
        let names = pairs.clone().map(|(name, _)| name.trim());
        for name in names.filter(|name| !name.is_empty()) {
            let addresses = pairs.clone().map(|(_, address)| address.trim());
            people.extend(addresses.map(|address| person(&format!("{name} <{address}>"))));
        }
    }
    people
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people() -> People {
        let recipients = ["Ann Lee <ann@work.org>", "list@x.org"].map(person);
        let map =
            "# people\nBob <bob@work.org> B <bob@home.org> # at home\n<a@b> <c@d>\nbroken <\n";
        People::new(recipients.into_iter().chain(mailmap(map)))
    }

    fn says(tag: &str, name: &str, email: &str) -> String {
        let sender = Person {
            name: name.into(),
            email: email.into(),
        };
        let said = people().may_give(&person(tag), &sender);
        said.map_or_else(|reason| reason, |()| "yes".to_owned())
    }

    #[test]
    fn may_give_sender_with_tag_address() {
        assert_eq!(says("Eve <eve@x.org>", "whoever", "EVE@x.org"), "yes");
        assert_eq!(says("eve@x.org", "Eve", "eve@x.org"), "yes");
        // Servers may treat an address with an added sign or host as another mailbox.
        for other in ["eve+kernel@x.org", "eve@mail.x.org", "eve@xx.org", "eve"] {
            let said = says("Eve <eve@x.org>", "Eve", other);
            assert_eq!(said, format!("the mail is from Eve <{other}>"));
        }
    }

    #[test]
    fn may_give_sender_with_known_address() {
        assert_eq!(says("Ann Lee <ann@home.org>", "x", "ann@work.org"), "yes");
        assert_eq!(says("Bob <bob@work.org>", "x", "bob@home.org"), "yes");
        assert_eq!(says("B <bob@work.org>", "x", "bob@home.org"), "yes");
        // Known for another name, or for part of it.
        for tag in [
            "Ann <ann@home.org>",
            "ann lee <ann@home.org>",
            "C <c@x.org>",
        ] {
            let said = says(tag, "x", "ann@work.org");
            assert_eq!(said, "the mail is from x <ann@work.org>", "{tag}");
        }
    }

    #[test]
    fn may_give_copied_name_is_refused() {
        for name in ["Ann Lee", ",", "", "n, L", "Lee, Ann", "Ann,"] {
            let said = says("Ann Lee <ann@work.org>", name, "m@evil.org");
            assert_eq!(said, format!("the mail is from {name} <m@evil.org>"));
        }
        assert_eq!(
            says("ANN  Lee <m@evil.org>", "m", "m@evil.org"),
            "ANN  Lee is known with the address ann@work.org; if this is the same person, add \
             \"ANN  Lee <m@evil.org>\" to .mailmap"
        );
        assert_eq!(
            says(", <m@evil.org>", "m", "m@evil.org"),
            "it names no person"
        );
        let known = "is known with the address";
        let hidden = "its name has invisible characters";
        for (name, why) in [
            ("\"Ann Lee\"", known),
            ("Ann Lee.", known),
            ("Lee, Ann", known),
            ("A\u{301}nn Lee", known),
            ("Ánn-Lee", known),
            ("Ann\u{200b} Lee", hidden),
            ("\u{202e}Ann Lee", hidden),
            ("Ann Lee\u{1b}[0m", hidden),
            ("\u{410}nn Lee", hidden),
        ] {
            let said = says(&format!("{name} <m@evil.org>"), "m", "m@evil.org");
            assert!(said.contains(why), "{name}: {said}");
        }
        assert_eq!(says("Иван Ivanov <i@x.org>", "i", "i@x.org"), "yes");
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Words in manifests that become part of mails, refs and file names.
//!
//! Each kind of word has a type that checks its values. The caller adds file and line to errors.

use std::{fmt, ops::Deref, sync::LazyLock};

use email_address::{EmailAddress, Options};
use regex::Regex;
use serde::Serialize;

use crate::sys::{Error, Result, pattern};

/// The name of a series or a component, used for its manifest, folder and branch `b4/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeriesName(String);

/// b4's change id. Message ids, the tag `sent/<change-id>-vN` and prerequisites contain it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeId(String);

/// The words in the brackets of a subject, without version and numbers: "PATCH net-next".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prefix(String);

/// One mailbox of RFC 5322: an address, or a name and an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    written: String,
    name: String,
    address: String,
}

macro_rules! equal {
    ($word:ident, $other:ty) => {
        impl PartialEq<$other> for $word {
            fn eq(&self, other: &$other) -> bool {
                self.0 == *other
            }
        }

        impl PartialEq<$word> for $other {
            fn eq(&self, other: &$word) -> bool {
                *self == other.0
            }
        }
    };
}

macro_rules! text {
    ($($word:ident),+) => {
        $(
            impl $word {
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            equal!($word, str);
            equal!($word, &str);
            equal!($word, String);

            impl Deref for $word {
                type Target = str;

                fn deref(&self) -> &str {
                    &self.0
                }
            }

            impl fmt::Display for $word {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }
        )+
    };
}

text!(SeriesName, ChangeId, Prefix);

/// The longest name or change id. Refs and files append an ending.
const LONGEST: usize = 100;

static NAME: LazyLock<Regex> = LazyLock::new(|| pattern("^[a-z0-9]+([-_][a-z0-9]+)*$"));

impl SeriesName {
    pub fn parse(text: &str) -> Result<Self> {
        let what = format!("{text:?} cannot be the name of a series");
        if text.len() > LONGEST || !NAME.is_match(text) {
            return Err(Error::new(what).help(format!(
                "rename the file: lower-case letters and digits, in parts joined by `-` or `_`, at \
                 most {LONGEST} characters; it becomes a folder and the branch b4/NAME"
            )));
        }
        if is_reserved(text) {
            let what = format!("{what}: the repository has a folder of that name");
            return Err(Error::new(what).help("give the series another name"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Reads the name of a component, which is a folder of the repository.
    pub fn component(text: &str) -> Result<Self> {
        Self::parse(text).map_err(|_| {
            Error::new(format!("{text:?} cannot be the name of a component")).help(
                "name the folder that holds `tree/` and `edits/`: lower-case letters and digits, \
                 in parts joined by `-` or `_`",
            )
        })
    }
}

/// Returns whether a name is that of a folder of the repository, of `out/` or of the kernel
/// repository's `b4/`.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

const RESERVED: [&str; 10] = [
    "base",
    "bases",
    "cover-letters",
    "kunit",
    "kunit-configs",
    "on",
    "out",
    "scripts",
    "series",
    "tree",
];

/// A day and a name: "20260102-name".
static CHANGE_ID: LazyLock<Regex> = LazyLock::new(|| {
    pattern("^[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])-[a-z0-9]+([-_][a-z0-9]+)*$")
});

impl ChangeId {
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() <= LONGEST && CHANGE_ID.is_match(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::new(format!("{text:?} is not a change-id")).help(
            "use the form of `b4 prep -n`: a date, the name and 12 random digits, as \
             20260102-name-0123456789ab; message ids and tags contain it",
        ))
    }
}

static PREFIX_WORD: LazyLock<Regex> = LazyLock::new(|| pattern("^[A-Za-z0-9][A-Za-z0-9./_+-]*$"));

/// A version, or the number of a patch.
static COUNTED: LazyLock<Regex> = LazyLock::new(|| pattern("^([vV]?[0-9]+|[0-9]+/[0-9]+)$"));

impl Prefix {
    pub fn parse(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let bad = |what: String, help: &str| Err(Error::new(what).help(help));
        if let Some(word) = words.iter().find(|w| !PREFIX_WORD.is_match(w)) {
            let help = "words of letters, digits, `-`, `.` and `/`, with one space between them: \
                        \"PATCH\", \"RFC PATCH\", \"PATCH net-next\"";
            return bad(format!("{word:?} cannot be a word of the prefix"), help);
        }
        if words.iter().filter(|w| **w == "PATCH").count() != 1 {
            let help = "\"PATCH\" has to be one of its words, once: \"PATCH\", \"RFC PATCH\", \
                        \"PATCH net-next\"";
            return bad(format!("{text:?} is not a prefix of patches"), help);
        }
        let is_counted = |word: &&&str| {
            let is_patch = word.to_ascii_lowercase().starts_with("patch");
            COUNTED.is_match(word) || is_patch && **word != "PATCH"
        };
        if let Some(word) = words.iter().find(is_counted) {
            let help = "remove it: the version is `version`, and the tool counts the patches";
            let what = format!("{word:?} in the prefix is a version or a number");
            return bad(what, help);
        }
        if words.iter().any(|w| w.eq_ignore_ascii_case("RESEND")) {
            let help = "`PATCH RESEND` marks a posted version: remove it here, and use \
                        `cargo series prepare NAME --resend`";
            return bad(format!("{text:?} marks a version that is not posted"), help);
        }
        let mut seen = Vec::new();
        for word in words.iter().map(|w| w.to_ascii_lowercase()) {
            if seen.contains(&word) {
                return bad(format!("{word:?} is in the prefix twice"), "remove one");
            }
            seen.push(word);
        }
        Ok(Self(text.to_owned()))
    }
}

impl Recipient {
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(text).map_err(|why| {
            Error::new(format!("{text:?} is not a recipient: {why}"))
                .help("one `Name <address>` or `address` for each entry")
        })
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        if text.chars().any(char::is_control) {
            return Err("it has a line break or another control character");
        }
        if text.is_empty() || text.trim() != text {
            return Err("it is empty, or has blanks around it");
        }
        let parts = text.strip_suffix('>').and_then(|t| t.rsplit_once('<'));
        let (name, address) = parts.unwrap_or(("", text));
        let name = display_name(name.trim_end())?;
        if !is_address(address) {
            return Err("an address NAME@DOMAIN is missing");
        }
        let (written, address) = (text.to_owned(), address.to_owned());
        Ok(Self {
            written,
            name,
            address,
        })
    }

    /// Returns the name without quotes. Empty if it is missing.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns whether the recipient is a list: without a name, or on a host of lists.
    pub fn is_list(&self) -> bool {
        let host = self.address.rsplit('@').next().unwrap_or_default();
        self.name.is_empty() || host.starts_with("lists.") || host.starts_with("vger.")
    }

    /// Returns the mailbox in the ASCII form of a mail header.
    pub fn header(&self) -> String {
        mailbox(&self.name, &self.address)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// RFC 5322 also lists the full stop, but mail programs accept it.
const SPECIAL: &str = "()<>[]:;@\\,\"";

/// Returns the name in front of an address, without quotes.
fn display_name(text: &str) -> Result<String, &'static str> {
    let inside = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    let Some(inside) = inside else {
        if text.contains(|c| SPECIAL.contains(c)) {
            return Err("the name needs quotes: `\"Doe, Jane\" <jane@example.org>`");
        }
        return Ok(text.to_owned());
    };
    let mut name = String::new();
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Err("a quote inside the name needs a `\\` before it"),
            '\\' => name.push(chars.next().ok_or("the quotes of the name do not end")?),
            c => name.push(c),
        }
    }
    Ok(name)
}

/// Accepts an addr-spec of RFC 5322 with a dot in the domain. Refuses quoted local parts and
/// non-ASCII addresses, which few mail servers deliver.
fn is_address(text: &str) -> bool {
    let options = Options::default().without_display_text();
    let options = options.without_domain_literal().with_required_tld();
    text.is_ascii()
        && !text.starts_with('"')
        && EmailAddress::parse_with_options(text, options).is_ok()
}

pub fn mailbox(name: &str, address: &str) -> String {
    let quoted = |c: char| SPECIAL.contains(c) || c == '.';
    if name.is_empty() {
        address.to_owned()
    } else if !name.is_ascii() {
        format!("{} <{address}>", encoded(name))
    } else if name.contains(quoted) {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{name}\" <{address}>")
    } else {
        format!("{name} <{address}>")
    }
}

/// Formats the headers for recipients, one in each line. An empty list has no header.
pub fn recipient_headers(to: &[String], cc: &[String]) -> String {
    let headers = [("To", to), ("Cc", cc)].into_iter();
    let headers = headers.filter(|(_, list)| !list.is_empty());
    let headers = headers.map(|(key, list)| format!("{key}: {}\n", list.join(",\n ")));
    headers.collect()
}

/// Formats a text for a mail header. Non-ASCII text becomes RFC 2047 words.
pub fn header_text(text: &str) -> String {
    if text.is_ascii() {
        text.to_owned()
    } else {
        encoded(text)
    }
}

const ENCODED: usize = 75;

/// Encodes a text as RFC 2047 words, one per line, without splitting a character.
fn encoded(text: &str) -> String {
    const START: &str = "=?UTF-8?q?";
    const END: &str = "?=";
    let mut out = START.to_owned();
    let mut length = START.len();
    for c in text.chars() {
        let one = if c.is_ascii_alphanumeric() || "!*+-/".contains(c) {
            c.to_string()
        } else {
            let mut bytes = [0; 4];
            let bytes = c.encode_utf8(&mut bytes).bytes();
            bytes.map(|b| format!("={b:02X}")).collect()
        };
        if length + one.len() + END.len() > ENCODED {
            out += &format!("{END}\n {START}");
            length = START.len();
        }
        length += one.len();
        out += &one;
    }
    out + END
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of<T>(result: Result<T>) -> String {
        result.err().map_or(String::new(), |e| e.to_string())
    }

    #[test]
    fn series_name_good() {
        for name in ["clist", "gpu-buddy", "nova_mm2", "6lowpan"] {
            assert_eq!(&*SeriesName::parse(name).unwrap(), name);
        }
    }

    #[test]
    fn series_name_bad() {
        let long = "x".repeat(101);
        let bad = [
            "", "a b~c", "a..b", "../x", "A", "-a", "a-", "a--b", "a.lock", "é", "a\nb", &long,
        ];
        for name in bad {
            let error = error_of(SeriesName::parse(name));
            assert!(error.contains("cannot be the name of a series"), "{name:?}");
            assert!(error.contains("help: rename the file"), "{error}");
        }
        assert!(error_of(SeriesName::parse("scripts")).contains("has a folder of that name"));
    }

    #[test]
    fn change_id_good() {
        for id in [
            "20261122-clist-7c41e09bd35a",
            "20260102-nova_mm-0123456789ab",
        ] {
            assert_eq!(&*ChangeId::parse(id).unwrap(), id);
        }
    }

    #[test]
    fn change_id_bad() {
        let long = format!("20260102-{}", "x".repeat(92));
        let bad = [
            "",
            "x",
            "../../heads/x y",
            "20260102",
            "20260102-",
            "20261302-x",
            "20260132-x",
            "2026010-x",
            "20260102-a b",
            "20260102-a.lock",
            "20260102-a@b",
            "20260102-a:v1",
            &long,
        ];
        for id in bad {
            let error = error_of(ChangeId::parse(id));
            assert!(
                error.contains("is not a change-id\n  help: use the form"),
                "{id:?}: {error}"
            );
        }
    }

    #[test]
    fn prefix_good() {
        let good = [
            "PATCH",
            "RFC PATCH",
            "PATCH RFC",
            "PATCH net-next",
            "PATCH drm-misc-next",
            "RFC PATCH bpf-next",
            "PATCH 6.6.y",
            "PATCH i-g-t",
        ];
        for prefix in good {
            assert_eq!(&*Prefix::parse(prefix).unwrap(), prefix);
        }
    }

    #[test]
    fn prefix_bad() {
        let bad = |text: &str| error_of(Prefix::parse(text));
        for text in [
            "",
            "PATCH ",
            "PATCH  x",
            "PATCH ]x",
            "PATCH x\n",
            "PATCH é",
            "[PATCH]",
        ] {
            assert!(
                bad(text).contains("cannot be a word of the prefix"),
                "{text:?}"
            );
        }
        for text in ["WIP", "RFC", "patch", "PATCH PATCH"] {
            assert!(bad(text).contains("is not a prefix of patches"), "{text:?}");
        }
        for text in [
            "PATCH v2",
            "PATCH 1/2",
            "PATCH V3",
            "PATCH 5",
            "PATCH PATCHv2",
        ] {
            assert!(bad(text).contains("is a version or a number"), "{text:?}");
        }
        assert!(bad("PATCH RESEND").contains("`cargo series prepare NAME --resend`"));
        assert!(bad("PATCH RFC rfc").contains("\"rfc\" is in the prefix twice"));
    }

    #[test]
    fn recipient_good() {
        let good = [
            ("a@b.org", "a@b.org"),
            (
                "Miguel Ojeda <ojeda@kernel.org>",
                "Miguel Ojeda <ojeda@kernel.org>",
            ),
            ("J. R. Hacker <j@b.org>", "\"J. R. Hacker\" <j@b.org>"),
            ("\"Doe, Jane\" <j.d+x@b.org>", "\"Doe, Jane\" <j.d+x@b.org>"),
            ("\"a \\\" b\" <j@b.org>", "\"a \\\" b\" <j@b.org>"),
            ("O'Neil <o'neil@b.org>", "O'Neil <o'neil@b.org>"),
            ("Björn B <b@c.org>", "=?UTF-8?q?Bj=C3=B6rn=20B?= <b@c.org>"),
            (
                "\"Roß, J\" <b@c.org>",
                "=?UTF-8?q?Ro=C3=9F=2C=20J?= <b@c.org>",
            ),
        ];
        for (text, header) in good {
            let one = Recipient::parse(text).unwrap();
            assert_eq!(one.header(), header);
            assert_eq!(one.to_string(), text);
        }
    }

    #[test]
    fn recipient_header_parses_back() {
        let long = "Å very long name of a person ".repeat(5);
        for name in [
            "A B",
            "J. R",
            "Doe, Jane",
            "a \" \\ b",
            "Björn",
            "日本 語",
            long.trim(),
        ] {
            let header = mailbox(name, "a@b.org");
            assert!(
                header.is_ascii() && header.lines().all(|l| l.len() <= 90),
                "{header}"
            );
            let mail = format!("To: {header}\n\n");
            let parsed = mailparse::parse_mail(mail.as_bytes()).unwrap();
            let list = mailparse::addrparse_header(&parsed.headers[0]).unwrap();
            let one = list.extract_single_info().unwrap();
            assert_eq!(one.addr, "a@b.org");
            // mailparse does not remove the escapes in quotes.
            let read = one
                .display_name
                .unwrap()
                .replace("\\\"", "\"")
                .replace("\\\\", "\\");
            assert_eq!(read, name);
        }
    }

    #[test]
    fn recipient_bad() {
        let bad = [
            ("", "it is empty"),
            (" a@b.org", "blanks around it"),
            ("not an address", "an address NAME@DOMAIN is missing"),
            ("a@b, c@d.org", "an address NAME@DOMAIN is missing"),
            ("a@b.org, c@d.org", "an address NAME@DOMAIN is missing"),
            ("X <x@y>", "an address NAME@DOMAIN is missing"),
            ("X <x@y.org", "an address NAME@DOMAIN is missing"),
            ("X x@y.org>", "an address NAME@DOMAIN is missing"),
            ("List list@example.org", "an address NAME@DOMAIN is missing"),
            ("X <x@y.org> <z@y.org>", "the name needs quotes"),
            ("Doe, Jane <j@b.org>", "the name needs quotes"),
            ("a: b <j@b.org>", "the name needs quotes"),
            ("\"a\" b\" <j@b.org>", "a quote inside the name"),
            ("\"a\\\" <j@b.org>", "the quotes of the name do not end"),
            ("X <ä@y.org>", "an address NAME@DOMAIN is missing"),
            ("X <x@[127.0.0.1]>", "an address NAME@DOMAIN is missing"),
            ("X <x@y.org>\r\nBcc: e@x.org", "line break"),
            ("L <l@x.org>\nX-Injected: yes", "line break"),
        ];
        for (text, why) in bad {
            let error = error_of(Recipient::parse(text));
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn header_text_encodes_non_ascii() {
        assert_eq!(
            header_text("rust: list: add \"it\""),
            "rust: list: add \"it\""
        );
        assert_eq!(header_text("a: ü"), "=?UTF-8?q?a=3A=20=C3=BC?=");
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Checks `Fixes:` tags. A patch that fixes something names the faulty commit, because the stable
//! trees need it.

use std::{path::Path, sync::LazyLock};

use regex::Regex;

use super::{Fault, Rule};
use crate::{
    source::{manifest::Patch, message},
    sys::error::Result,
};

/// The digits of a hash in `Fixes:`, from `Documentation/process/submitting-patches.rst`.
const DIGITS: usize = 12;

/// The result of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The subject of the commit.
    Found(String),
    /// The base has no history, or its history lacks the commit.
    Unknown,
}

/// The result for a patch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Breaches of the rule.
    pub faults: Vec<Fault>,
    /// Tags whose commits cannot be looked up.
    pub unverified: Vec<Fault>,
}

/// A patch, and the files that describe it.
pub struct Subject<'a> {
    /// The number in the series.
    pub number: usize,
    pub message: &'a str,
    /// The file of the message, below the top folder.
    pub file: &'a Path,
    /// The entry in the manifest.
    pub patch: &'a Patch,
    /// The manifest, below the top folder.
    pub manifest: &'a Path,
    /// Whether the patch changes only tests, which may describe the fix of another patch.
    pub only_tests: bool,
}

/// A `Fixes:` tag.
struct Tag<'a> {
    line: usize,
    text: &'a str,
    hash: &'a str,
    subject: Option<&'a str>,
}

fn constant(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|e| unreachable!("the pattern is a constant: {e}"))
}

/// Matches a subject that describes a fix.
static SUBJECT: LazyLock<Regex> = LazyLock::new(|| constant(r"(?i)\b(fix|fixes|bugfix|bug fix)\b"));

/// Matches the verb at the start of a sentence or list item, or "fixes" after its subject. After an
/// article, "fixes" is a noun for other patches.
static BODY: LazyLock<Regex> = LazyLock::new(|| {
    constant(
        r"(?mx) (?: ^ | [.;:!?] \s+ | ^ \s* [-*] \s+ ) (?: Fix | Fixes ) \s
        | (?i) \b (?: this | it | patch | commit | change | which | that | also ) \s+ fix (?: es )? \b",
    )
});

/// Matches the noun for the patch itself: "Without the fix …".
static NOUN: LazyLock<Regex> = LazyLock::new(|| constant(r"(?i)\b(the|this)\s+fix\b"));

static TAG: LazyLock<Regex> =
    LazyLock::new(|| constant(r#"^Fixes: ([0-9a-f]{12,40}) \("(.+)"\)$"#));

/// Returns the line in which a message describes a fix.
fn describes_fix(text: &str, only_tests: bool) -> Option<usize> {
    if SUBJECT.is_match(message::subject(text)) {
        return Some(1);
    }
    let start = text.find('\n')?;
    let body = &text[start..];
    // Trailers quote the subjects of other commits.
    let body: String = body
        .split_inclusive('\n')
        .map(|line| match message::is_trailer(line.trim_end()) {
            true => "\n",
            false => line,
        })
        .collect();
    let noun = || NOUN.find(&body).filter(|_| !only_tests);
    let found = BODY.find(&body).or_else(noun)?;
    let before = found.as_str().len() - found.as_str().trim_start().len();
    Some(1 + body[..found.start() + before].matches('\n').count())
}

/// Returns the tags in a message, with their lines.
fn tags(text: &str) -> Vec<Tag<'_>> {
    let lines = text.lines().enumerate().skip(1);
    let lines = lines.filter(|(_, l)| l.to_ascii_lowercase().starts_with("fixes:"));
    lines
        .map(|(i, text)| {
            let read = TAG
                .captures(text)
                .and_then(|c| Some((c.get(1)?, c.get(2)?)));
            let loose = text["fixes:".len()..].trim_start();
            let end = loose.find(|c: char| !c.is_ascii_hexdigit());
            Tag {
                line: i + 1,
                text,
                hash: read.map_or(&loose[..end.unwrap_or(loose.len())], |(h, _)| h.as_str()),
                subject: read.map(|(_, s)| s.as_str()),
            }
        })
        .collect()
}

/// Checks a patch. `lookup` finds a commit of the base.
pub fn check(subject: &Subject<'_>, lookup: &dyn Fn(&str) -> Result<Lookup>) -> Result<Found> {
    let mut found = Found::default();
    let fault = |line: usize, what: String, help: String| Fault {
        rule: Rule::Fixes,
        file: subject.file.to_owned(),
        line: Some(line),
        patch: Some(subject.number),
        what,
        help,
    };
    let manifest = subject.manifest.display();
    let in_manifest = |line: usize, what: String, help: &str| Fault {
        file: subject.manifest.to_owned(),
        ..fault(line, what, help.to_owned())
    };
    let tags = tags(subject.message);
    let describes = describes_fix(subject.message, subject.only_tests);
    let no_fixes = subject.patch.no_fixes.as_ref();
    match (describes, no_fixes) {
        (Some(line), None) if tags.is_empty() => found.faults.push(fault(
            line,
            "the message describes a fix and has no Fixes: tag".to_owned(),
            format!(
                "name the commit at fault as `Fixes: 0123456789ab (\"subject\")`; if none is \
                 known, give the reason as `no-fixes = \"…\"` in the [[patch]] of {manifest}"
            ),
        )),
        (_, Some(why)) if !tags.is_empty() => found.faults.push(in_manifest(
            why.line,
            "`no-fixes` is not needed: the message has a Fixes: tag".to_owned(),
            "remove the line",
        )),
        (None, Some(why)) => found.faults.push(in_manifest(
            why.line,
            "`no-fixes` is not needed: the message does not describe a fix".to_owned(),
            "remove the line",
        )),
        _ => (),
    }
    let last = subject.message.trim_end().rfind("\n\n").unwrap_or(0);
    let last = subject.message[..last].matches('\n').count() + 2;
    for tag in &tags {
        let Some(named) = tag.subject else {
            found.faults.push(fault(
                tag.line,
                format!("{:?} is not a Fixes: tag", tag.text),
                format!(
                    "write `Fixes: 0123456789ab (\"subject\")` in one line, with at least {DIGITS} \
                     lower-case digits of the hash and the whole subject in quotes"
                ),
            ));
            continue;
        };
        if tag.line < last {
            found.faults.push(fault(
                tag.line,
                "the Fixes: tag is not in the last paragraph, where git reads tags".to_owned(),
                "move it to the tags at the end".to_owned(),
            ));
        }
        let listed = subject
            .patch
            .unverified
            .iter()
            .find(|u| u.value == tag.hash);
        match lookup(tag.hash)? {
            Lookup::Found(subject) if subject == named => (),
            Lookup::Found(subject) => found.faults.push(fault(
                tag.line,
                format!("the subject of {} is {subject:?}, not {named:?}", tag.hash),
                "take the subject from `git log -1 --format=%s`, or correct the hash".to_owned(),
            )),
            Lookup::Unknown if listed.is_some() => found.unverified.push(fault(
                tag.line,
                format!("Fixes: {} ({named:?}) was not verified", tag.hash),
                format!(
                    "look it up in a clone with history: git log -1 {}",
                    tag.hash
                ),
            )),
            Lookup::Unknown => found.faults.push(fault(
                tag.line,
                format!("{} cannot be looked up in the base", tag.hash),
                format!(
                    "look it up in a clone with history, as `cargo series check --kernel DIR` \
                     does; until then, mark it as `unverified = [\"{}\"]` in the [[patch]] of \
                     {manifest}",
                    tag.hash
                ),
            )),
        }
    }
    for entry in &subject.patch.unverified {
        if !tags.iter().any(|t| t.hash == entry.value) {
            found.faults.push(in_manifest(
                entry.line,
                format!("no Fixes: tag of the patch names {}", entry.value),
                "remove it from `unverified`, or write the hash as the tag has it",
            ));
        }
    }
    let stable = subject.message.lines().enumerate().skip(1);
    let mut stable = stable.filter(|(_, l)| is_for_stable(l));
    if let (Some((i, _)), true) = (stable.next(), tags.is_empty()) {
        found.faults.push(fault(
            i + 1,
            "`Cc: stable` without a Fixes: tag does not say which releases have the defect"
                .to_owned(),
            "name the commit at fault in a Fixes: tag, or leave stable out".to_owned(),
        ));
    }
    Ok(found)
}

fn is_for_stable(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.starts_with("cc:") && line.contains("stable@vger.kernel.org")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checks::rules::shown, source::manifest::Series};

    const TAG: &str = "Fixes: afea229fe102 (\"drm: improve drm_buddy_alloc function\")\n";

    fn found(message: &str, patch: &str) -> Found {
        let manifest = format!(
            "version = 1\nchange-id = \"20260102-x-1\"\n[[patch]]\nmessage = \"1.msg\"\n{patch}"
        );
        let series = Series::parse("x", "series/x.toml".as_ref(), &manifest).unwrap();
        let subject = Subject {
            number: 1,
            message,
            file: "series/x/1.msg".as_ref(),
            patch: &series.patches[0],
            manifest: "series/x.toml".as_ref(),
            only_tests: message.starts_with("tests: "),
        };
        let lookup = |hash: &str| {
            Ok(match hash {
                "0123456789ab" => Lookup::Found("a: b".to_owned()),
                _ => Lookup::Unknown,
            })
        };
        check(&subject, &lookup).unwrap()
    }

    fn check_text(message: &str, patch: &str) -> String {
        shown(found(message, patch).faults)
    }

    #[test]
    fn fix_without_tag_is_found() {
        insta::assert_snapshot!(check_text("a: fix a leak\n\nText.\n", ""), @r#"
        series/x/1.msg:1: the message describes a fix and has no Fixes: tag
          help: name the commit at fault as `Fixes: 0123456789ab ("subject")`; if none is known, give the reason as `no-fixes = "…"` in the [[patch]] of series/x.toml
        "#);
        insta::assert_snapshot!(check_text("a: do it\n\nText. Fix the\nleak.\n", ""), @r#"
        series/x/1.msg:3: the message describes a fix and has no Fixes: tag
          help: name the commit at fault as `Fixes: 0123456789ab ("subject")`; if none is known, give the reason as `no-fixes = "…"` in the [[patch]] of series/x.toml
        "#);
        for text in [
            "This fixes a leak.",
            "Without the\nfix, it leaks.",
            "- Fix it.",
        ] {
            assert_ne!(
                check_text(&format!("a: do it\n\n{text}\n"), ""),
                "",
                "{text}"
            );
        }
        for message in [
            "a: add fixed ranges\n\nA prefix, a fixture.\n",
            "a: add it\n\nIt depends on the fixes of patch 2.\n",
            "tests: add it\n\nWithout the fix, it leaks.\n",
            "a: add it\n\nText.\n\nLink: https://example.org/Fix this\n",
        ] {
            assert_eq!(check_text(message, ""), "", "{message}");
        }
        let why = "no-fixes = \"nobody knows\"\n";
        assert_eq!(check_text("a: fix a leak\n\nText.\n", why), "");
        insta::assert_snapshot!(check_text("a: add it\n\nText.\n", why), @r"
        series/x.toml:5: `no-fixes` is not needed: the message does not describe a fix
          help: remove the line
        ");
        insta::assert_snapshot!(
            check_text("a: b\n\nText.\n\nFixes: 0123456789ab (\"a: b\")\n", why), @r"
        series/x.toml:5: `no-fixes` is not needed: the message has a Fixes: tag
          help: remove the line
        ");
    }

    #[test]
    fn check_malformed_tag() {
        insta::assert_snapshot!(
            check_text("a: fix it\n\nText.\n\nFixes: 0123456 (\"a: b\")\nFixes: 0123456789ab a: b\n", ""), @r#"
        series/x/1.msg:5: "Fixes: 0123456 (\"a: b\")" is not a Fixes: tag
          help: write `Fixes: 0123456789ab ("subject")` in one line, with at least 12 lower-case digits of the hash and the whole subject in quotes
        error: series/x/1.msg:6: "Fixes: 0123456789ab a: b" is not a Fixes: tag
          help: write `Fixes: 0123456789ab ("subject")` in one line, with at least 12 lower-case digits of the hash and the whole subject in quotes
        "#);
        insta::assert_snapshot!(
            check_text("a: fix it\n\nFixes: 0123456789ab (\"a: b\")\n\nText.\n", ""), @r"
        series/x/1.msg:3: the Fixes: tag is not in the last paragraph, where git reads tags
          help: move it to the tags at the end
        ");
        insta::assert_snapshot!(
            check_text("a: fix it\n\nText.\n\nFixes: 0123456789ab (\"a: c\")\n", ""), @r#"
        series/x/1.msg:5: the subject of 0123456789ab is "a: b", not "a: c"
          help: take the subject from `git log -1 --format=%s`, or correct the hash
        "#);
    }

    #[test]
    fn check_unknown_hash() {
        let message = format!("a: fix it\n\nText.\n\n{TAG}");
        insta::assert_snapshot!(check_text(&message, ""), @r#"
        series/x/1.msg:5: afea229fe102 cannot be looked up in the base
          help: look it up in a clone with history, as `cargo series check --kernel DIR` does; until then, mark it as `unverified = ["afea229fe102"]` in the [[patch]] of series/x.toml
        "#);
        let marked = "unverified = [\"afea229fe102\"]\n";
        assert_eq!(check_text(&message, marked), "");
        insta::assert_snapshot!(shown(found(&message, marked).unverified), @r#"
        series/x/1.msg:5: Fixes: afea229fe102 ("drm: improve drm_buddy_alloc function") was not verified
          help: look it up in a clone with history: git log -1 afea229fe102
        "#);
        insta::assert_snapshot!(
            check_text("a: fix it\n\nText.\n\nFixes: 0123456789ab (\"a: b\")\n", marked), @r"
        series/x.toml:5: no Fixes: tag of the patch names afea229fe102
          help: remove it from `unverified`, or write the hash as the tag has it
        ");
    }

    #[test]
    fn check_stable_needs_tag() {
        let stable = "Cc: stable@vger.kernel.org # 6.12+\n";
        insta::assert_snapshot!(check_text(&format!("a: do it\n\nText.\n\n{stable}"), ""), @r"
        series/x/1.msg:5: `Cc: stable` without a Fixes: tag does not say which releases have the defect
          help: name the commit at fault in a Fixes: tag, or leave stable out
        ");
        let both = format!("a: do it\n\nText.\n\nFixes: 0123456789ab (\"a: b\")\n{stable}");
        assert_eq!(check_text(&both, ""), "");
    }
}

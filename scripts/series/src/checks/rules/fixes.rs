// SPDX-License-Identifier: GPL-2.0

//! Checks `Fixes:` tags. A patch that fixes something names the faulty commit, because the stable
//! trees need it.

use std::{path::Path, sync::LazyLock};

use regex::Regex;

use crate::{
    source::{finding::Finding, manifest, message},
    sys::{Result, pattern},
};

/// The form of a tag, from `Documentation/process/submitting-patches.rst`.
const FORM: &str = "`Fixes: 0123456789ab (\"subject\")`";

/// Matches a subject that describes a fix.
static SUBJECT: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\b(fix|fixes|bugfix|bug fix)\b"));

/// Matches the verb at the start of a sentence or list item, or "fixes" after its subject. After an
/// article, "fixes" is a noun for other patches.
static BODY: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?mx) (?: ^ | [.;:!?] \s+ | ^ \s* [-*] \s+ ) (?: Fix | Fixes ) \s
        | (?i) \b (?: this | it | patch | commit | change | which | that | also )
          \s+ fix (?: es )? \b",
    )
});

/// Matches the noun for the patch itself: "Without the fix …".
static NOUN: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\b(the|this)\s+fix\b"));

static TAG: LazyLock<Regex> = LazyLock::new(|| pattern(r#"^Fixes: [0-9a-f]{12,40} \("(.+)"\)$"#));

pub struct Patch<'a> {
    pub series: &'a manifest::Series,
    pub number: usize,
    pub message: &'a str,
    /// The file of the message, below the top folder.
    pub file: &'a Path,
    /// Whether the patch changes only tests, which may describe the fix of another patch.
    pub only_tests: bool,
    /// Returns the subject of a commit; `None` if the base has no history or lacks the commit.
    pub look_up: &'a dyn Fn(&str) -> Result<Option<String>>,
}

struct Tag<'a> {
    line: usize,
    text: &'a str,
    hash: &'a str,
    /// `None` if the tag is malformed.
    subject: Option<&'a str>,
}

impl Patch<'_> {
    pub fn check(&self) -> Result<Vec<Finding>> {
        let tags = self.tags();
        let mut findings = Vec::from_iter(self.check_description(&tags));
        for tag in &tags {
            findings.extend(self.check_tag(tag)?);
        }
        let is_tag = |hash: &str| tags.iter().any(|tag| tag.hash == hash);
        for entry in self.entry().unverified.iter().filter(|e| !is_tag(&e.value)) {
            findings.push(self.in_manifest(
                entry.line,
                format!("no Fixes: tag of the patch names {}", entry.value),
                "remove it from `unverified`, or write the hash as the tag has it",
            ));
        }
        let stable = self.body().find(|(_, line)| is_for_stable(line));
        findings.extend(stable.filter(|_| tags.is_empty()).map(|(line, _)| {
            self.finding(
                line,
                "`Cc: stable` without a Fixes: tag does not say which releases have the defect",
                "name the commit at fault in a Fixes: tag, or leave stable out",
            )
        }));
        Ok(findings)
    }

    /// Returns the lines after the subject, with their numbers.
    fn body(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.message.lines()).skip(1)
    }

    fn entry(&self) -> &manifest::Patch {
        &self.series.patches[self.number - 1]
    }

    fn finding(&self, line: usize, what: impl Into<String>, help: impl Into<String>) -> Finding {
        let finding = Finding::new(&self.series.name, "fixes", what).of_patch(self.number);
        finding.at(self.file, line).help(help)
    }

    fn in_manifest(&self, line: usize, what: impl Into<String>, help: &str) -> Finding {
        self.finding(line, what, help).at(&self.series.file, line)
    }

    fn tags(&self) -> Vec<Tag<'_>> {
        let lines = self.body();
        let lines = lines.filter(|(_, l)| l.to_ascii_lowercase().starts_with("fixes:"));
        let tags = lines.map(|(line, text)| {
            let hash = text["fixes:".len()..].trim_start();
            let end = hash.find(|c: char| !c.is_ascii_hexdigit());
            let subject = TAG.captures(text).and_then(|c| c.get(1));
            Tag {
                line,
                text,
                hash: &hash[..end.unwrap_or(hash.len())],
                subject: subject.map(|s| s.as_str()),
            }
        });
        tags.collect()
    }

    /// Returns the line in which the message describes a fix.
    fn describes_fix(&self) -> Option<usize> {
        if SUBJECT.is_match(message::subject(self.message)) {
            return Some(1);
        }
        let body = self.message[self.message.find('\n')?..].split_inclusive('\n');
        // Trailers quote the subjects of other commits.
        let is_trailer = |line: &str| message::is_trailer(line.trim_end());
        let body = body.map(|line| if is_trailer(line) { "\n" } else { line });
        let body: String = body.collect();
        let noun = || NOUN.find(&body).filter(|_| !self.only_tests);
        let found = BODY.find(&body).or_else(noun)?;
        let before = found.len() - found.as_str().trim_start().len();
        Some(1 + body[..found.start() + before].matches('\n').count())
    }

    /// Compares the description of a fix with the tags and with `no-fixes`.
    fn check_description(&self, tags: &[Tag<'_>]) -> Option<Finding> {
        match (self.describes_fix(), &self.entry().no_fixes) {
            (Some(line), None) if tags.is_empty() => Some(self.finding(
                line,
                "the message describes a fix and has no Fixes: tag",
                format!(
                    "name the commit at fault as {FORM}; if none is known, give the reason as \
                     `no-fixes = \"…\"` in the [[patch]] of {}",
                    self.series.file.display()
                ),
            )),
            (_, Some(why)) if !tags.is_empty() => Some(self.in_manifest(
                why.line,
                "`no-fixes` is not needed: the message has a Fixes: tag",
                "remove the line",
            )),
            (None, Some(why)) => Some(self.in_manifest(
                why.line,
                "`no-fixes` is not needed: the message does not describe a fix",
                "remove the line",
            )),
            _ => None,
        }
    }

    fn check_tag(&self, tag: &Tag<'_>) -> Result<Vec<Finding>> {
        let (line, hash) = (tag.line, tag.hash);
        let Some(named) = tag.subject else {
            let what = format!("{:?} is not a Fixes: tag", tag.text);
            let help = format!(
                "write {FORM} in one line, with at least 12 lower-case digits of the hash and the \
                 whole subject in quotes"
            );
            return Ok(vec![self.finding(line, what, help)]);
        };
        let mut findings = Vec::new();
        let last = self.message.trim_end().rfind("\n\n").unwrap_or(0);
        if line < self.message[..last].matches('\n').count() + 2 {
            findings.push(self.finding(
                line,
                "the Fixes: tag is not in the last paragraph, where git reads tags",
                "move it to the tags at the end",
            ));
        }
        match (self.look_up)(hash)? {
            Some(subject) if subject == named => (),
            Some(subject) => findings.push(self.finding(
                line,
                format!("the subject of {hash} is {subject:?}, not {named:?}"),
                "take the subject from `git log -1 --format=%s`, or correct the hash",
            )),
            None if self.entry().unverified.iter().any(|u| u.value == hash) => {
                let what = format!("Fixes: {hash} ({named:?}) was not verified");
                let help = format!("look it up in a clone with history: git log -1 {hash}");
                findings.push(Finding {
                    is_warning: true,
                    ..self.finding(line, what, help)
                });
            }
            None => findings.push(self.finding(
                line,
                format!("{hash} cannot be looked up in the base"),
                format!(
                    "look it up in a clone with history, as `cargo series check --kernel DIR` \
                     does; until then, mark it as `unverified = [\"{hash}\"]` in the [[patch]] \
                     of {}",
                    self.series.file.display()
                ),
            )),
        }
        Ok(findings)
    }
}

fn is_for_stable(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.starts_with("cc:") && line.contains("stable@vger.kernel.org")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::finding::shown;

    const TAG: &str = "Fixes: afea229fe102 (\"drm: improve drm_buddy_alloc function\")\n";

    /// Returns the warnings and the findings.
    fn found(message: &str, patch: &str) -> (Vec<Finding>, Vec<Finding>) {
        let manifest = format!(
            "version = 1\nchange-id = \"20260102-x-1\"\n[[patch]]\nmessage = \"1.msg\"\n{patch}"
        );
        let series = manifest::Series::parse("x", "series/x.toml".as_ref(), &manifest).unwrap();
        let patch = Patch {
            series: &series,
            number: 1,
            message,
            file: "series/x/1.msg".as_ref(),
            only_tests: message.starts_with("tests: "),
            look_up: &|hash| Ok((hash == "0123456789ab").then(|| "a: b".to_owned())),
        };
        let found = patch.check().unwrap().into_iter();
        found.partition(|f| f.is_warning)
    }

    fn check_text(message: &str, patch: &str) -> String {
        shown(found(message, patch).1)
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
        insta::assert_snapshot!(shown(found(&message, marked).0), @r#"
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

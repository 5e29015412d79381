// SPDX-License-Identifier: GPL-2.0

//! Checks that subjects are short and imperative, in lower case.

use std::path::Path;

use crate::source::{finding::Finding, manifest::Series};

const COLUMNS: usize = 65;

/// Imperatives that resemble other forms of a verb.
const PLAIN: [&str; 17] = [
    "access", "address", "always", "bring", "bypass", "compress", "discuss", "dismiss", "embed",
    "exceed", "express", "need", "pass", "process", "seed", "speed", "suppress",
];

/// Checks the subject of a patch. `file` is the file of the message.
pub fn findings(series: &Series, number: usize, subject: &str, file: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    // git writes the subject of a revert.
    if subject.starts_with("Revert \"") {
        return findings;
    }
    let mut add = |what: String, help: &str| {
        let finding = Finding::new(&series.name, "subject", what).of_patch(number);
        findings.push(finding.at(file, 1).help(help));
    };
    let columns = subject.chars().count();
    if columns > COLUMNS {
        add(
            format!("the subject has {columns} columns, more than {COLUMNS}"),
            "shorten it; the body has room",
        );
    }
    let word = first_word(subject);
    if is_capitalized(word) && series.capitals.is_none() {
        add(
            format!("{word:?} begins with a capital letter"),
            "write the text after the prefix in lower case, except for names; if the tree has capitals, \
             write capitals = \"reason\" into the manifest",
        );
    }
    if is_other_form(word) {
        add(
            format!("{word:?} is not an imperative"),
            "start with a verb like \"add\", \"use\" or \"remove\"",
        );
    }
    findings
}

/// Returns the first word after the prefixes, which have no blanks.
fn first_word(subject: &str) -> &str {
    let mut rest = subject;
    while let Some((prefix, after)) = rest.split_once(": ")
        && !prefix.contains(' ')
    {
        rest = after;
    }
    rest.split(' ').next().unwrap_or("")
}

/// Returns whether a word is like "Add", but not a name like "GSP", "KUnit" and "NV_PBUS".
fn is_capitalized(word: &str) -> bool {
    let rest = word.strip_prefix(char::is_uppercase).unwrap_or_default();
    !rest.is_empty() && rest.chars().all(char::is_lowercase)
}

/// Returns whether a word looks like "added", "adding" or "adds".
fn is_other_form(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let plain = lower.chars().all(|c| c.is_ascii_lowercase()) && lower.len() > 4;
    let ending = lower.ends_with("ing")
        || lower.ends_with("ed")
        || lower.ends_with('s') && !lower.ends_with("ss");
    let third = ["adds", "gets", "uses", "sets", "does"].contains(&lower.as_str());
    (plain && ending || third) && !PLAIN.contains(&lower.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{patches::plan::tests::component, source::finding::shown};

    fn check_with(fields: &str, subject: &str) -> String {
        let series = component("x", fields, &[], &[]).series;
        shown(findings(&series, 1, subject, "series/x/1.msg".as_ref()))
    }

    fn check(subject: &str) -> String {
        check_with("", subject)
    }

    #[test]
    fn findings_of_good_subject() {
        for subject in [
            "rust: list: add a walk",
            "MAINTAINERS: add an entry",
            "drm/buddy: don't skip blocks in drm_buddy_reset_clear()",
            "gpu: nova-core: NV_PBUS is a register: say so",
            "gpu: nova-core: mm: bypass the TLB",
            "gpu: GSP errors: report them",
            "Revert \"drm/buddy: skip blocks that were never cleared, in all of the loops\"",
        ] {
            assert_eq!(check(subject), "", "{subject}");
        }
    }

    #[test]
    fn findings_of_bad_subject() {
        insta::assert_snapshot!(check(&format!("rust: add {}", "x".repeat(56))), @r"
        series/x/1.msg:1: the subject has 66 columns, more than 65
          help: shorten it; the body has room
        ");
        insta::assert_snapshot!(check("rust: Add a walk"), @r#"
        series/x/1.msg:1: "Add" begins with a capital letter
          help: write the text after the prefix in lower case, except for names; if the tree has capitals, write capitals = "reason" into the manifest
        "#);
        assert_eq!(check_with("capitals = \"tip\"\n", "rust: Add a walk"), "");
        insta::assert_snapshot!(check("rust: list: added a walk"), @r#"
        series/x/1.msg:1: "added" is not an imperative
          help: start with a verb like "add", "use" or "remove"
        "#);
        insta::assert_snapshot!(check("rust: list: adds a walk"), @r#"
        series/x/1.msg:1: "adds" is not an imperative
          help: start with a verb like "add", "use" or "remove"
        "#);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Runs `checkpatch.pl --strict` on each patch as it is mailed.

use std::{collections::BTreeSet, path::Path, sync::LazyLock};

use regex::Regex;

use crate::{
    checks::Subject,
    patches::commits::AssembledSeries,
    source::{finding::Finding, manifest, message, relocation::Step},
    sys::{Cmd, Result, failed, hash::sha256, pattern},
};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    line: Option<usize>,
    kind: String,
    text: String,
}

pub fn check(subject: &Subject<'_>, one: &AssembledSeries, number: usize) -> Result<Vec<Finding>> {
    let written = subject.written(one).and_then(|r| r.patches.get(number - 1));
    let Some(file) = written.map(|patch| &patch.file) else {
        return Ok(Vec::new());
    };
    let text = subject.ws.read(file)?;
    let spdx = if subject.python.is_some() { "spdx" } else { "" };
    let key = sha256([subject.made.assembled.base.tree.as_str(), spdx, &text].concat());
    // checkpatch takes a second for each patch.
    let said = subject.cache.remember(format!("checkpatch/{key}"), || {
        run(subject, &subject.ws.path(file))
    })?;
    let step = one.plan.patches[number - 1].relocate.as_ref();
    let renamed = step.map_or_else(BTreeSet::new, |step| renamed_lines(step, &text));
    let mut findings = Vec::new();
    for message in parse(&said) {
        let is_renamed = message.line.is_some_and(|line| renamed.contains(&line));
        if is_renamed
            || is_about_a_name(&message, &text)
            || waived(subject, one, number, &message.kind)?
        {
            continue;
        }
        let text = format!("{}: {}", message.kind, message.text);
        let finding = Finding::new(one.name(), "checkpatch", text).of_patch(number);
        findings.push(finding.at(file, message.line));
    }
    Ok(findings)
}

/// Returns the added lines that exist in the tree before the patch, which only renames words in
/// them.
fn renamed_lines(step: &Step, patch: &str) -> BTreeSet<usize> {
    let removed = patch.lines().filter_map(|l| l.strip_prefix('-'));
    let removed: BTreeSet<String> = removed.map(|l| step.rename(l)).collect();
    let is_renamed = |line: &str| line.strip_prefix('+').is_some_and(|l| removed.contains(l));
    let lines = (1..).zip(patch.lines());
    let lines = lines.filter(|(_, line)| is_renamed(line));
    lines.map(|(number, _)| number).collect()
}

/// Whether a message is about the spelling of a name, of the author or in a trailer.
fn is_about_a_name(message: &Message, patch: &str) -> bool {
    let spelling = ["REPEATED_WORD", "TYPO_SPELLING"].contains(&message.kind.as_str());
    let head = (1..).zip(patch.lines().take_while(|l| *l != "---"));
    let mut at = head.filter(|(number, _)| message.line == Some(*number));
    spelling && at.any(|(_, l)| l.starts_with("From: ") || message::is_trailer(l))
}

/// Whether checkpatch lacks the information to judge this kind of message.
fn waived(subject: &Subject<'_>, one: &AssembledSeries, number: usize, kind: &str) -> Result<bool> {
    let patches = &one.plan.patches;
    Ok(match kind {
        // checkpatch asks for an entry in MAINTAINERS with each new file. The series has one if a
        // patch changes that file, or if an entry covers all files of the patch.
        "FILE_PATH_CHANGES" => {
            let mut touched = patches.iter().flat_map(|p| p.paths());
            if touched.any(|path| path == "MAINTAINERS") {
                return Ok(true);
            }
            let (git, base) = (subject.git, &subject.made.assembled.base.tree);
            let text = git.content(base, "MAINTAINERS")?.unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let mut paths = patches[number - 1].paths();
            paths.all(|path| covers(&text, path))
        }
        // Without a configured user, patches have no sign-off; `prepare` requires one.
        "MISSING_SIGN_OFF" => !subject.made.who.set,
        // checkpatch looks in the tool's repository, which has the base without its history. The
        // rule `fixes` requires a mark for such hashes, and warns of them.
        "UNKNOWN_COMMIT_ID" => true,
        _ => false,
    })
}

/// Whether an entry of a MAINTAINERS file covers a file directly or by its folder.
///
/// Patterns with wildcards are ignored and cover no file.
fn covers(maintainers: &str, path: &str) -> bool {
    let mut lines = maintainers.lines();
    lines.any(|line| {
        let file = line.strip_prefix("F:");
        file.is_some_and(|file| manifest::covers(file.trim(), path))
    })
}

fn run(subject: &Subject<'_>, patch: &Path) -> Result<String> {
    let root = subject.git.dir();
    let mut cmd = Cmd::new("perl")
        .arg(root.join("scripts/checkpatch.pl"))
        .args(["--strict", "--show-types", "--terse", "--no-summary"])
        .args(["--color=never", &format!("--root={}", root.display())])
        .arg(patch)
        .dir(root);
    match &subject.python {
        Some(python) => {
            let path = std::env::var("PATH").unwrap_or_default();
            cmd = cmd.env("PATH", format!("{}:{path}", python.display()));
        }
        // Without its modules, the helper prints a traceback that counts as eight errors.
        None => cmd = cmd.args(["--ignore", "SPDX_LICENSE_TAG"]),
    }
    let runner = subject.git.runner();
    let out = runner.run(&cmd)?;
    match out.code {
        Some(0 | 1) => Ok(out.text()),
        _ => Err(failed(&cmd, &out)),
    }
}

/// The terse format: `file:12: WARNING:TYPE: text`.
static TERSE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^.*?:(?:(\d+):)? (?:ERROR|WARNING|CHECK):(.+?): (.*)$"));

fn parse(said: &str) -> Vec<Message> {
    let messages = said.lines().filter_map(|line| TERSE.captures(line));
    let message = |c: regex::Captures<'_>| Message {
        line: c.get(1).and_then(|number| number.as_str().parse().ok()),
        kind: c[2].to_owned(),
        text: c[3].to_owned(),
    };
    messages.map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renamed_lines_are_not_new() {
        let data = "[[step]]\nname = \"s\"\nfiles = [\"a\"]\n[step.part]\nold = \"new\"\n";
        let steps = crate::source::relocation::read(std::path::Path::new("x"), data).unwrap();
        let patch = "-BUG_ON(old_a);\n+BUG_ON(new_a);\n+BUG_ON(new_b);\n unchanged\n";
        assert_eq!(renamed_lines(&steps[0], patch), BTreeSet::from([2]));
    }

    #[test]
    fn covers_files_and_folders() {
        let text = "NOVA\nM:\tsomebody\nF:\tdrivers/nova/\nF:\tlib/a.c\nF:\tlib/*b.c\n";
        for (path, covered) in [
            ("drivers/nova/mm/a.rs", true),
            ("lib/a.c", true),
            ("drivers/nova", false),
            ("drivers/novae/a.rs", false),
            ("lib/a.cc", false),
            ("lib/b.c", false),
        ] {
            assert_eq!(covers(text, path), covered, "{path}");
        }
    }

    #[test]
    fn is_about_a_name_ignores_spelling() {
        let patch = "From: A Very Very Long Name <a@b.org>\nSubject: [PATCH] a: b\n\n\
                     It is very very long.\n\nReviewed-by: A Very Very Long Name <a@b.org>\n\
                     ---\nReviewed-by: Very Very <a@b.org>\n";
        let about = |line: usize, kind: &str| {
            let message = Message {
                line: Some(line),
                kind: kind.into(),
                text: String::new(),
            };
            is_about_a_name(&message, patch)
        };
        assert!(about(1, "REPEATED_WORD") && about(6, "TYPO_SPELLING"));
        assert!(!about(4, "REPEATED_WORD") && !about(6, "BAD_SIGN_OFF"));
        assert!(!about(8, "REPEATED_WORD"));
    }

    #[test]
    fn parse_reads_terse_format() {
        let said = "\
out/x.patch:25: WARNING:LONG_LINE_COMMENT: line length of 105 exceeds 100 columns
out/x.patch:3: CHECK:BRACES: Blank lines aren't necessary
total: 0 errors
";
        assert_eq!(
            parse(said),
            [
                Message {
                    line: Some(25),
                    kind: "LONG_LINE_COMMENT".into(),
                    text: "line length of 105 exceeds 100 columns".into(),
                },
                Message {
                    line: Some(3),
                    kind: "BRACES".into(),
                    text: "Blank lines aren't necessary".into(),
                }
            ]
        );
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Runs `checkpatch.pl --strict` on each patch as it is mailed.

use std::{collections::BTreeSet, fs};

use sha2::{Digest, Sha256};

use crate::{
    checks::{Finding, Subject},
    patches::commits::AssembledSeries,
    source::{message, relocation::Step},
    sys::{
        error::{Error, Result},
        files::write,
        hash::hex,
        runner::{Cmd, failed, not_started},
    },
};

/// A message of checkpatch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    line: Option<usize>,
    kind: String,
    text: String,
}

pub fn check(
    subject: &Subject<'_>,
    one: &AssembledSeries,
    number: usize,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let report = subject.report.series.iter().find(|r| r.name == one.name());
    let Some(patch) = report.and_then(|r| r.patches.get(number - 1)) else {
        return Ok(());
    };
    let said = cached(subject, &patch.file)?;
    let step = one.plan.patches[number - 1].relocate();
    let text = subject.ws.read(&patch.file)?;
    let renamed = match step {
        Some(step) => Renamed::of(step, &text),
        None => Renamed::default(),
    };
    for message in parse(&said) {
        if renamed.holds(message.line)
            || is_about_a_name(&message, &text)
            || waived(subject, one, number, &message.kind)?
        {
            continue;
        }
        findings.push(Finding {
            series: one.name().to_owned(),
            patch: Some(number),
            check: "checkpatch".into(),
            message: format!("{}: {}", message.kind, message.text),
            file: Some(patch.file.clone()),
            line: message.line,
            help: None,
        });
    }
    Ok(())
}

/// Added lines that exist in the tree before the patch, which only renames words in them.
#[derive(Debug, Default)]
struct Renamed(BTreeSet<usize>);

impl Renamed {
    fn of(step: &Step, patch: &str) -> Self {
        let removed: BTreeSet<String> = patch
            .lines()
            .filter_map(|l| l.strip_prefix('-'))
            .map(|l| step.rename(l))
            .collect();
        let added = |(_, line): &(usize, &str)| {
            let line = line.strip_prefix('+');
            line.is_some_and(|l| removed.contains(l))
        };
        let lines = patch.lines().enumerate().filter(added);
        Self(lines.map(|(i, _)| i + 1).collect())
    }

    fn holds(&self, line: Option<usize>) -> bool {
        line.is_some_and(|line| self.0.contains(&line))
    }
}

/// Whether a message is about the spelling of a name, of the author or in a trailer.
fn is_about_a_name(message: &Message, patch: &str) -> bool {
    let spelling = ["REPEATED_WORD", "TYPO_SPELLING"].contains(&message.kind.as_str());
    let head = patch.lines().take_while(|l| *l != "---").enumerate();
    let mut at = head.filter(|(i, _)| message.line == Some(i + 1));
    spelling && at.any(|(_, l)| l.starts_with("From: ") || message::is_trailer(l))
}

/// Whether checkpatch lacks the information to judge this kind of message.
fn waived(subject: &Subject<'_>, one: &AssembledSeries, number: usize, kind: &str) -> Result<bool> {
    Ok(match kind {
        // checkpatch asks for an entry in MAINTAINERS with each new file. The series has one if a
        // patch changes that file, or if an entry covers all files of the patch.
        "FILE_PATH_CHANGES" => {
            let mut patches = one.plan.patches.iter();
            patches.any(|p| p.paths().any(|path| path == "MAINTAINERS"))
                || are_maintained(subject, one.plan.patches[number - 1].paths())?
        }
        // Without a configured user, patches have no sign-off; `prepare` requires one.
        "MISSING_SIGN_OFF" => !subject.who.set,
        // checkpatch looks in the tool's repository, which has the base without its history. The
        // rule `fixes` requires a mark for such hashes, and warns of them.
        "UNKNOWN_COMMIT_ID" => true,
        _ => false,
    })
}

/// Whether the base's MAINTAINERS has an entry for each of these files.
fn are_maintained<'a>(
    subject: &Subject<'_>,
    mut paths: impl Iterator<Item = &'a str>,
) -> Result<bool> {
    let tree = &subject.assembled.base.tree;
    let text = subject
        .git
        .content(tree, "MAINTAINERS")?
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    Ok(paths.all(|path| covers(&text, path)))
}

/// Whether an entry of a MAINTAINERS file covers a file directly or by its folder.
///
/// Patterns with wildcards are ignored and cover no file.
fn covers(maintainers: &str, path: &str) -> bool {
    maintainers
        .lines()
        .filter_map(|line| line.strip_prefix("F:").map(str::trim))
        .any(|file| file == path || (file.ends_with('/') && path.starts_with(file)))
}

/// Caches the output, because checkpatch takes a second for each patch.
fn cached(subject: &Subject<'_>, file: &str) -> Result<String> {
    let path = subject.ws.path(file);
    let mail = fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
    let mut hash = Sha256::new();
    hash.update(subject.assembled.base.tree.as_str());
    hash.update(if subject.python.is_some() { "spdx" } else { "" });
    hash.update(&mail);
    let name = hex(hash.finalize());
    let record = subject.cache.path("checkpatch").join(name);
    if let Ok(text) = fs::read_to_string(&record) {
        return Ok(text);
    }
    let text = run(subject, &path)?;
    write(&record, text.as_bytes())?;
    Ok(text)
}

fn run(subject: &Subject<'_>, path: &std::path::Path) -> Result<String> {
    let root = subject.git.dir();
    let mut cmd = Cmd::new("perl")
        .arg(root.join("scripts/checkpatch.pl"))
        .args([
            "--strict",
            "--show-types",
            "--terse",
            "--no-summary",
            "--color=never",
        ])
        .arg(format!("--root={}", root.display()))
        .arg(path)
        .dir(root);
    match &subject.python {
        Some(python) => {
            let path = std::env::var("PATH").unwrap_or_default();
            cmd = cmd.env("PATH", format!("{}:{path}", python.display()));
        }
        // Without its modules, the helper prints a traceback that counts as eight errors.
        None => cmd = cmd.args(["--ignore", "SPDX_LICENSE_TAG"]),
    }
    let out = subject
        .git
        .runner()
        .run(&cmd)
        .map_err(|e| not_started(&cmd, &e))?;
    match out.code {
        Some(0 | 1) => Ok(out.text()),
        _ => Err(failed(&cmd, &out)),
    }
}

/// Parses the terse format: "file:12: WARNING:TYPE: text".
fn parse(said: &str) -> Vec<Message> {
    said.lines()
        .filter_map(|line| {
            let level = [" ERROR:", " WARNING:", " CHECK:"]
                .into_iter()
                .find_map(|level| line.find(level).map(|at| (at, level)))?;
            let place = line[..level.0].trim_end_matches(':');
            let rest = &line[level.0 + level.1.len()..];
            let (kind, text) = rest.split_once(": ")?;
            Some(Message {
                line: place.rsplit(':').next().and_then(|n| n.parse().ok()),
                kind: kind.to_owned(),
                text: text.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renamed_distinguishes_new_lines() {
        let data = "[[step]]\nname = \"s\"\nfiles = [\"a\"]\n[step.part]\nold = \"new\"\n";
        let steps = crate::source::relocation::read(std::path::Path::new("x"), data).unwrap();
        let patch = "-BUG_ON(old_a);\n+BUG_ON(new_a);\n+BUG_ON(new_b);\n unchanged\n";
        let renamed = Renamed::of(&steps[0], patch);
        assert!(renamed.holds(Some(2)));
        assert!(!renamed.holds(Some(3)) && !renamed.holds(Some(4)) && !renamed.holds(None));
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

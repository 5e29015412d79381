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
    let series = one.plan.series();
    let mut accepted = series.patches[number - 1].checkpatch.clone();
    let mut findings = Vec::new();
    for message in parse(&said) {
        let is_renamed = message.line.is_some_and(|line| renamed.contains(&line));
        if is_renamed || is_about_a_name(&message, &text) || waived(subject, &message.kind) {
            continue;
        }
        let patch = &series.patches[number - 1].message.value;
        let is_commit = series.branch.is_some();
        let of_commit = is_commit.then(|| format!(" with subject = {patch:?}"));
        let mut help = format!(
            "if it does not apply, write checkpatch = {{ {} = \"reason\" }} into the [[patch]]{} of {}",
            message.kind,
            of_commit.unwrap_or_default(),
            series.file.display()
        );
        if message.kind == "FILE_PATH_CHANGES" {
            let paths = without_entry(subject, one, number)?;
            if paths.is_empty() {
                continue;
            }
            let paths = paths.join(", ");
            help = format!("add to an entry of MAINTAINERS: {paths};\n{help}");
        }
        if series.patches[number - 1]
            .checkpatch
            .contains_key(&message.kind)
        {
            accepted.remove(&message.kind);
            continue;
        }
        let text = format!("{}: {}", message.kind, message.text);
        let finding = Finding::new(one.name(), "checkpatch", text).of_patch(number);
        findings.push(finding.at(file, message.line).help(help));
    }
    // Another base that shares the manifest may need an entry.
    if one.plan.component.is_posted_here {
        findings.extend(accepted.into_iter().map(|(kind, why)| {
            let text = format!("there is no message {kind} about the patch");
            let finding = Finding::new(one.name(), "checkpatch", text).of_patch(number);
            finding.at(&series.file, why.line).help("remove the entry")
        }));
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
fn waived(subject: &Subject<'_>, kind: &str) -> bool {
    match kind {
        // Without a configured user, patches have no sign-off; `prepare` requires one.
        "MISSING_SIGN_OFF" => !subject.made.who.set,
        // checkpatch looks in the tool's repository, which has the base without its history. The
        // rule `fixes` requires a mark for such hashes, and warns of them.
        "UNKNOWN_COMMIT_ID" => true,
        _ => false,
    }
}

/// Returns the files of a patch that the series adds, and that no entry of MAINTAINERS covers at its
/// end. checkpatch asks for an entry with each new file.
fn without_entry(
    subject: &Subject<'_>,
    one: &AssembledSeries,
    number: usize,
) -> Result<Vec<String>> {
    let (git, tree) = (subject.git, &one.tip().tree);
    let text = git.content(tree, "MAINTAINERS")?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let paths = one.plan.patches[number - 1].paths().map(str::to_owned);
    let paths = Vec::from_iter(paths);
    let old = git.entries(&one.parent.tree, &paths)?;
    let files = git.entries(tree, &paths)?.into_keys();
    let new = files.filter(|path| !old.contains_key(path));
    Ok(new.filter(|path| !covers(&text, path)).collect())
}

/// Whether an entry of a MAINTAINERS file covers a file. That of all other files does not count.
fn covers(maintainers: &str, path: &str) -> bool {
    maintainers.lines().any(|line| match line.split_once(':') {
        Some(("F", glob)) => matches(glob.trim(), path),
        Some(("N", regex)) => Regex::new(regex.trim()).is_ok_and(|regex| regex.is_match(path)),
        _ => false,
    })
}

/// Whether a file has a name in the form of MAINTAINERS, or is in a folder with one.
fn matches(glob: &str, path: &str) -> bool {
    if !glob.contains(['*', '?']) {
        return manifest::covers(glob, path) || manifest::covers(&format!("{glob}/"), path);
    }
    let escaped = regex::escape(glob).replace(r"\*", "[^/]*");
    let end = if glob.ends_with('/') { "" } else { "(/|$)" };
    let regex = Regex::new(&format!("^{}{end}", escaped.replace(r"\?", "[^/]")));
    !["*", "*/"].contains(&glob) && regex.is_ok_and(|regex| regex.is_match(path))
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
        let text = "NOVA\nM:\tsomebody\nF:\tdrivers/nova/\nF:\tlib/a.c\nF:\tlib/*b.c\nF:\tdoc\n\
                    N:\t(?i)tegra\nTHE REST\nF:\t*\nF:\t*/\n";
        for (path, covered) in [
            ("drivers/nova/mm/a.rs", true),
            ("lib/a.c", true),
            ("drivers/nova", false),
            ("drivers/novae/a.rs", false),
            ("lib/a.cc", false),
            ("lib/b.c", true),
            ("lib/lib/b.c", false),
            ("doc/a.rst", true),
            ("docs/a.rst", false),
            ("arch/Tegra.c", true),
            ("Makefile", false),
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

// SPDX-License-Identifier: GPL-2.0

//! Checks the recipients. The base's `get_maintainer.pl` names people and lists for each patch.
//! Each has to be a recipient of the series, or absent for a reason.

use crate::{
    git::{Entry, Git, Oid},
    source::{finding::Finding, manifest::Series},
    sys::{Cmd, Result, cache::Cache, hash::sha256, must, plural::count},
};

const SCRIPT: &str = "scripts/get_maintainer.pl";

/// The files of the kernel that determine the output of the script.
const SOURCES: [&str; 5] = [
    SCRIPT,
    "MAINTAINERS",
    ".mailmap",
    ".get_maintainer.conf",
    ".get_maintainer.ignore",
];

/// The options: people and lists of MAINTAINERS with their roles, without the git history.
const OPTIONS: &str = "--no-git --no-git-fallback --no-fixes --roles --no-rolestats --no-substatus";

/// The mark after the name of an entry whose `K:` pattern matched.
const KEYWORD: &str = ":Keyword:";

/// A person or list in the output of the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name; empty for a list.
    name: String,
    address: String,
    /// "maintainer:DRM DRIVERS", "open list:RUST".
    role: String,
}

impl Named {
    fn shown(&self) -> String {
        match self.name.as_str() {
            "" => self.address.clone(),
            name => format!("{name} <{}>", self.address),
        }
    }

    /// Returns whether a text is the address or the name, or both as one recipient.
    fn is(&self, text: &str) -> bool {
        let same = |own: &str| !own.is_empty() && own.eq_ignore_ascii_case(text);
        same(&self.address) || same(&self.name) || same(&self.shown())
    }

    /// Returns whether a key of `[absent]` is this person, or the entry of MAINTAINERS for their
    /// only role.
    fn is_absent(&self, key: &str) -> bool {
        let of = self.role.split_once(':').map_or("", |(_, of)| of);
        let rest = of.strip_prefix(key).filter(|_| !key.is_empty());
        // Commas separate several roles.
        let only = |rest: &str| rest.is_empty() || rest.starts_with(KEYWORD) && !rest.contains(',');
        self.is(key) || rest.is_some_and(only)
    }

    /// Returns the line of a manifest that makes it a recipient. The comment has the role, without
    /// the pattern of a keyword, and the patches.
    fn entry(&self, patches: &[usize]) -> String {
        let role = match self.role.split_once(KEYWORD) {
            Some((role, _)) => format!("{role}, by a keyword"),
            None => self.role.clone(),
        };
        let of = match patches[..] {
            [first, _, ..] => format!("patch {first} and {} more", patches.len() - 1),
            _ => format!("patch {}", patches.first().unwrap_or(&0)),
        };
        let role = Some(role).filter(|role| !role.is_empty());
        let why = role.into_iter().chain([of]).collect::<Vec<_>>().join("; ");
        format!("{}, # {why}", toml::Value::String(self.shown()))
    }
}

/// Reads the output of the script, lines of `Name <address> (role)` or `address (role)`.
fn parse(output: &str) -> Vec<Named> {
    let read = |line: &str| {
        let line = line.trim();
        // A name may contain a parenthesis as well.
        let split = line.split_once("> (").or_else(|| line.split_once(" ("));
        let (who, role) = split.unwrap_or((line, ""));
        let (name, address) = who.split_once('<').unwrap_or(("", who));
        address.contains('@').then(|| Named {
            name: name.trim().trim_matches('"').to_owned(),
            address: address.trim_end_matches('>').trim().to_owned(),
            role: role.strip_suffix(')').unwrap_or(role).to_owned(),
        })
    };
    output.lines().filter_map(read).collect()
}

/// Runs the script of a tree, which has to be checked out, on mails.
pub struct Script<'a> {
    git: &'a Git<'a>,
    cache: &'a Cache,
    /// The hashes of its inputs, and its options.
    sources: String,
}

impl<'a> Script<'a> {
    /// Finds the script of a tree. The miniature kernel of the tests lacks it.
    pub fn find(git: &'a Git<'a>, cache: &'a Cache, tree: &Oid) -> Result<Option<Self>> {
        let entries = git.entries(tree, &SOURCES.map(str::to_owned))?;
        let blob = |(path, entry): (&String, &Entry)| format!("{path} {}\n", entry.blob);
        Ok(entries.contains_key(SCRIPT).then(|| Self {
            git,
            cache,
            sources: entries.iter().map(blob).collect::<String>() + OPTIONS,
        }))
    }

    pub fn named(&self, mail: &[u8]) -> Result<Vec<Named>> {
        let key = sha256([self.sources.as_bytes(), mail].concat());
        let output = self.cache.remember(format!("get_maintainer/{key}"), || {
            let root = self.git.dir();
            // The script treats an argument that git tracks as a source file, so pass the mail
            // through standard input. HOME may contain settings of the user.
            let cmd = Cmd::new("perl").arg(root.join(SCRIPT));
            let cmd = cmd.args(OPTIONS.split(' ')).env("HOME", root);
            let cmd = cmd.dir(root).stdin(mail);
            Ok(must(self.git.runner(), &cmd)?.text())
        })?;
        Ok(parse(&output))
    }
}

/// Checks the recipients of a series. `named` is the output of the script for each of its patches,
/// and `author` the address of the sender.
pub fn findings(series: &Series, named: &[Vec<Named>], author: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |line: usize, what: String, help: &str| {
        let finding = Finding::new(&series.name, "recipients", what);
        findings.push(finding.at(&series.file, line).help(help));
    };
    let recipients = || series.to.iter().chain(&series.cc);
    let gets = |one: &Named| {
        recipients().any(|r| one.is(r.address()) || !one.name.is_empty() && one.is(r.name()))
    };
    let people = people(named);
    let is_absent = |one: &Named| series.absent.keys().any(|key| one.is_absent(key));
    let missing = people
        .iter()
        .filter(|(one, _)| !is_absent(one) && !gets(one) && !one.is(author));
    let missing: Vec<_> = missing.collect();
    if let [(one, _), ..] = missing[..] {
        let key = if one.name.is_empty() {
            &one.address
        } else {
            &one.name
        };
        let entries = missing.iter().map(|(one, patches)| one.entry(patches));
        let number = count(missing.len(), "recipient is", "recipients are");
        add(
            series.line_of_to.or(series.line_of_version).unwrap_or(1),
            format!("{number} missing, which get_maintainer.pl names"),
            &format!(
                "add to `to` or `cc`, or give reasons below [absent], as in \"{key}\" = \"…\":\n{}",
                entries.collect::<Vec<_>>().join("\n")
            ),
        );
    }
    for (key, why) in &series.absent {
        let is_key = |text: &str| text.eq_ignore_ascii_case(key);
        if recipients().any(|r| is_key(r.address()) || is_key(r.name())) {
            let what = format!("{key} is a recipient and below [absent]");
            add(why.line, what, "remove one of the two");
        } else if !people.iter().any(|(one, _)| one.is_absent(key)) {
            let what = format!("get_maintainer.pl does not name {key}");
            add(why.line, what, "remove the line");
        }
    }
    findings
}

/// Returns each person and list with the numbers of their patches.
fn people(named: &[Vec<Named>]) -> Vec<(&Named, Vec<usize>)> {
    let mut people: Vec<(&Named, Vec<usize>)> = Vec::new();
    for (number, patch) in (1..).zip(named) {
        for one in patch {
            match people.iter_mut().find(|(other, _)| other.is(&one.address)) {
                Some((_, patches)) => patches.push(number),
                None => people.push((one, vec![number])),
            }
        }
    }
    people
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::finding::shown;

    const OUTPUT: &str = "\
Dev Eloper <dev@example.org> (maintainer:A (B))
\"Re V. Iewer\" <rev@example.org> (reviewer:A (B))
Some Body <somebody@example.org> (maintainer:C)
list@example.org (open list:A (B))
linux-kernel@vger.kernel.org (open list)
llvm@example.org (open list:CLANG, LLVM:Keyword:\\b(?i:clang|llvm)\\b)
";

    fn check(more: &str) -> String {
        let text = format!(
            "version = 1\nchange-id = \"20260102-x-1\"\nto = [\"LIST@example.org\"]\n\
             cc = [\"linux-kernel@vger.kernel.org\", \"Re V. Iewer <other@example.org>\"]\n{more}"
        );
        let series = Series::parse("x", "series/x.toml".as_ref(), &text).unwrap();
        let named = [parse(OUTPUT), Vec::new(), parse(OUTPUT)];
        shown(findings(&series, &named, "dev@example.org"))
    }

    #[test]
    fn parse_output() {
        let read = parse(OUTPUT);
        let shown: Vec<String> = read.iter().map(Named::shown).collect();
        assert_eq!(
            shown,
            [
                "Dev Eloper <dev@example.org>",
                "Re V. Iewer <rev@example.org>",
                "Some Body <somebody@example.org>",
                "list@example.org",
                "linux-kernel@vger.kernel.org",
                "llvm@example.org",
            ]
        );
        assert_eq!(read[0].role, "maintainer:A (B)");
        assert!(read[0].is_absent("A (B)"));
        assert_eq!(read[2].role, "maintainer:C");
        assert_eq!(read[4].role, "open list");
    }

    #[test]
    fn findings_missing_recipient() {
        insta::assert_snapshot!(check(""), @r#"
        series/x.toml:3: 2 recipients are missing, which get_maintainer.pl names
          help: add to `to` or `cc`, or give reasons below [absent], as in "Some Body" = "…":
                "Some Body <somebody@example.org>", # maintainer:C; patch 1 and 1 more
                "llvm@example.org", # open list:CLANG, LLVM, by a keyword; patch 1 and 1 more
        "#);
        let llvm = "\"CLANG, LLVM\" = \"The word is in the text.\"\n";
        for key in ["Some Body", "Somebody@Example.org", "C"] {
            let absent = format!("[absent]\n{llvm}\"{key}\" = \"retired\"\n");
            assert_eq!(check(&absent), "", "{key}");
        }
        insta::assert_snapshot!(
            check(&format!(
                "[absent]\n\"Some Body\" = \"retired\"\n\"No Body\" = \"x\"\n\
                 \"list@example.org\" = \"y\"\n{llvm}"
            )), @r"
        series/x.toml:7: get_maintainer.pl does not name No Body
          help: remove the line
        error: series/x.toml:8: list@example.org is a recipient and below [absent]
          help: remove one of the two
        ");
    }
}

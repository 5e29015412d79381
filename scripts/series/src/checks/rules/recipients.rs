// SPDX-License-Identifier: GPL-2.0

//! Checks the recipients. The base's `get_maintainer.pl` names people and lists for each patch.
//! Each has to be a recipient of the series, or absent for a reason.

use std::fs;

use sha2::{Digest, Sha256};

use super::{Fault, Rule};
use crate::{
    git::{Git, Oid},
    source::manifest::Series,
    sys::{
        cache::Cache,
        error::Result,
        files::write,
        hash::hex,
        runner::{Cmd, must},
    },
};

/// The path of the script in the kernel.
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
const OPTIONS: [&str; 6] = [
    "--no-git",
    "--no-git-fallback",
    "--no-fixes",
    "--roles",
    "--no-rolestats",
    "--no-substatus",
];

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

    /// Returns whether a text is the entry of MAINTAINERS for the only role.
    fn is_only_of(&self, entry: &str) -> bool {
        let of = self.role.split_once(':').map_or("", |(_, of)| of);
        let rest = of.strip_prefix(entry).filter(|_| !entry.is_empty());
        // Commas separate several roles.
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(KEYWORD) && !rest.contains(','))
    }

    /// Returns the role in parentheses, without the pattern of a keyword.
    fn role(&self) -> String {
        match self.role.split_once(KEYWORD) {
            _ if self.role.is_empty() => String::new(),
            Some((role, _)) => format!(" ({role}, by a keyword)"),
            None => format!(" ({})", self.role),
        }
    }
}

/// The mark after the name of an entry whose `K:` pattern matched.
const KEYWORD: &str = ":Keyword:";

/// Reads the output of the script, lines of `Name <address> (role)` or `address (role)`.
fn parse(output: &str) -> Vec<Named> {
    let read = |line: &str| {
        let (who, role) = match line.split_once(" (") {
            Some((who, role)) => (who, role.trim_end_matches(')')),
            None => (line, ""),
        };
        // A name may contain a parenthesis as well.
        let (who, role) = match line.split_once("> (") {
            Some((who, role)) => (who, role.trim_end_matches(')')),
            None => (who, role),
        };
        let (name, address) = match who.split_once('<') {
            Some((name, address)) => (name.trim(), address.trim_end_matches('>')),
            None => ("", who),
        };
        address.contains('@').then(|| Named {
            name: name.trim_matches('"').to_owned(),
            address: address.trim().to_owned(),
            role: role.to_owned(),
        })
    };
    output
        .lines()
        .filter_map(|line| read(line.trim()))
        .collect()
}

/// Runs the script of a tree, which has to be checked out, on mails.
pub struct Script<'a> {
    git: &'a Git<'a>,
    cache: &'a Cache,
    /// The hashes of its inputs, and its options.
    sources: String,
}

impl<'a> Script<'a> {
    /// Finds the script of a tree. Returns `None` if the tree lacks it, like the miniature kernel of
    /// the tests.
    pub fn find(git: &'a Git<'a>, cache: &'a Cache, tree: &Oid) -> Result<Option<Self>> {
        let entries = git.entries(tree, &SOURCES.map(str::to_owned))?;
        let blobs = entries
            .iter()
            .map(|(path, e)| format!("{path} {}\n", e.blob.as_str()));
        Ok(entries.contains_key(SCRIPT).then(|| Self {
            git,
            cache,
            sources: blobs.chain(OPTIONS.map(str::to_owned)).collect(),
        }))
    }

    /// Returns the people and lists for a patch. The cache keeps the output for each patch.
    ///
    /// # Errors
    ///
    /// The script failed, or the cache is not writable.
    pub fn named(&self, mail: &[u8]) -> Result<Vec<Named>> {
        let mut hash = Sha256::new();
        hash.update(&self.sources);
        hash.update(mail);
        let name = hex(hash.finalize());
        let record = self.cache.path("get_maintainer").join(name);
        if let Ok(text) = fs::read_to_string(&record) {
            return Ok(parse(&text));
        }
        let root = self.git.dir();
        // The script treats an argument that git tracks as a source file, so pass the mail through
        // standard input. HOME may contain settings of the user.
        let cmd = Cmd::new("perl")
            .arg(root.join(SCRIPT))
            .args(OPTIONS)
            .env("HOME", root)
            .dir(root)
            .stdin(mail);
        let output = must(self.git.runner(), &cmd)?.text();
        write(&record, output.as_bytes())?;
        Ok(parse(&output))
    }
}

/// Checks the recipients of a series. `named` is the output of the script for each of its patches,
/// and `author` the address of the sender.
pub fn faults(series: &Series, named: &[Vec<Named>], author: &str) -> Vec<Fault> {
    let fault = |line: usize, patch: Option<usize>, what: String, help: String| Fault {
        rule: Rule::Recipients,
        file: series.file(),
        line: Some(line),
        patch,
        what,
        help,
    };
    let mut faults = Vec::new();
    let mut people: Vec<(&Named, Vec<usize>)> = Vec::new();
    for (i, patch) in named.iter().enumerate() {
        for one in patch {
            let same = |(other, _): &&mut (&Named, Vec<usize>)| other.is(&one.address);
            match people.iter_mut().find(same) {
                Some((_, patches)) => patches.push(i + 1),
                None => people.push((one, vec![i + 1])),
            }
        }
    }
    let gets = |one: &Named| {
        let mut all = series.to.iter().chain(&series.cc);
        all.any(|r| one.is(r.address()) || !one.name.is_empty() && one.is(r.name()))
    };
    for (one, patches) in &people {
        let absent = |key: &String| one.is(key) || one.is_only_of(key);
        if series.absent.keys().any(absent) || gets(one) || one.is(author) {
            continue;
        }
        let of = match patches[..] {
            [only] => format!("patch {only}"),
            [first, ..] => format!("patch {first} and {} more", patches.len() - 1),
            [] => continue,
        };
        let key = match one.name.as_str() {
            "" => &one.address,
            name => name,
        };
        faults.push(fault(
            series.line_of_to.or(series.line_of_version).unwrap_or(1),
            None,
            format!(
                "{}{} is not a recipient; get_maintainer.pl names them for {of}",
                one.shown(),
                one.role()
            ),
            format!(
                "add the address to `to` or `cc`, or give the reason below [absent]: \
                 \"{key}\" = \"…\""
            ),
        ));
    }
    for (key, why) in &series.absent {
        let found = people
            .iter()
            .find(|(one, _)| one.is(key) || one.is_only_of(key));
        let recipient = series.to.iter().chain(&series.cc).any(|r| {
            [r.address(), r.name()]
                .iter()
                .any(|w| w.eq_ignore_ascii_case(key))
        });
        if recipient {
            faults.push(fault(
                why.line,
                None,
                format!("{key} is a recipient and below [absent]"),
                "remove one of the two".to_owned(),
            ));
        } else if found.is_none() {
            faults.push(fault(
                why.line,
                None,
                format!("get_maintainer.pl does not name {key}"),
                "remove the line".to_owned(),
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::rules::shown;

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
        shown(faults(&series, &named, "dev@example.org"))
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
        assert_eq!(read[2].role, "maintainer:C");
        assert_eq!(read[4].role, "open list");
    }

    #[test]
    fn faults_missing_recipient() {
        insta::assert_snapshot!(check(""), @r#"
        series/x.toml:3: Some Body <somebody@example.org> (maintainer:C) is not a recipient; get_maintainer.pl names them for patch 1 and 1 more
          help: add the address to `to` or `cc`, or give the reason below [absent]: "Some Body" = "…"
        error: series/x.toml:3: llvm@example.org (open list:CLANG, LLVM, by a keyword) is not a recipient; get_maintainer.pl names them for patch 1 and 1 more
          help: add the address to `to` or `cc`, or give the reason below [absent]: "llvm@example.org" = "…"
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

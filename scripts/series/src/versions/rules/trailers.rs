// SPDX-License-Identifier: GPL-2.0

//! Rule 5: what machines read in the mails agrees with the manifest, and names no private commit.

use std::path::Path;

use super::{
    Fault,
    Rule, //
};
use crate::source::manifest::{
    Base,
    Series, //
};

/// A series that another one builds on, as its mails name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prerequisite {
    /// b4's change id.
    pub change_id: String,
    /// The version, if what is built on is as it was posted.
    pub posted: Option<u32>,
    /// `git patch-id --stable` of its patches, as posted or as they are now.
    pub patch_ids: Vec<String>,
}

/// The trailers of a cover letter, in order, each once.
///
/// A posted dependency is named by change id and version, and by its patches, which b4 looks up in
/// the tag of the posting; one that was not posted by its patches alone.
pub fn expected(series: &Series, base: &Base, below: &[Prerequisite]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(commit) = &base.upstream_commit {
        lines.push(format!("base-commit: {commit}"));
    }
    lines.push(format!("change-id: {}", series.change_id));
    for one in below {
        if let Some(version) = one.posted {
            lines.push(format!(
                "prerequisite-change-id: {}:v{version}",
                one.change_id
            ));
        }
        let ids = one.patch_ids.iter();
        lines.extend(ids.map(|id| format!("prerequisite-patch-id: {id}")));
    }
    lines
}

/// The lines of a mail that machines read.
pub fn of_mail(text: &str) -> Vec<(usize, &str)> {
    let is = |line: &str| {
        ["base-commit: ", "change-id: ", "prerequisite-"]
            .iter()
            .any(|key| line.starts_with(key))
            && !line.starts_with("prerequisite-change-id: <")
    };
    let lines = text.lines().enumerate();
    lines
        .map(|(i, l)| (i + 1, l.trim_end()))
        .filter(|(_, l)| is(l))
        .collect()
}

/// What is wrong with the trailers of a cover letter as it is mailed.
pub fn in_cover(file: &Path, cover: &str, expected: &[String]) -> Vec<Fault> {
    let fault = |line: Option<usize>, what: String, help: &str| Fault {
        rule: Rule::Trailers,
        file: file.to_owned(),
        line,
        patch: None,
        what,
        help: help.to_owned(),
    };
    let found = of_mail(cover);
    let mut faults = Vec::new();
    for (at, (line, text)) in found.iter().enumerate() {
        if found[..at].iter().any(|(_, t)| t == text) {
            let what = format!("{text:?} stands there twice");
            faults.push(fault(Some(*line), what, "each prerequisite is named once"));
        } else if !expected.iter().any(|e| e == text) {
            let what = format!("{text:?} does not agree with the manifest");
            let help = "run `cargo series assemble`, which writes it anew";
            faults.push(fault(Some(*line), what, help));
        }
    }
    for line in expected {
        if !found.iter().any(|(_, text)| text == line) {
            let what = format!("{line:?} is missing");
            let help = "run `cargo series assemble`, which writes it";
            faults.push(fault(None, what, help));
        }
    }
    let order = found.iter().map(|(_, text)| *text);
    if faults.is_empty() && !order.eq(expected.iter().map(String::as_str)) {
        let what = "the prerequisites are not in the order to apply them".to_owned();
        faults.push(fault(None, what, "run `cargo series assemble`"));
    }
    faults
}

/// The fault of a public commit of the base that is none: it is the one that this tool made.
pub fn private_base(base: &Base, made: &str) -> Option<Fault> {
    (base.upstream_commit.as_deref() == Some(made)).then(|| Fault {
        rule: Rule::Trailers,
        file: base.file.clone(),
        line: None,
        patch: None,
        what: format!("upstream-commit {made} is private: this tool made it of an archive"),
        help: format!(
            "give the commit of {} in the public tree, or leave the field out",
            base.release()
        ),
    })
}

/// How many digits make a word the name of a commit.
const DIGITS: usize = 12;

/// Places where a text names a commit that is private.
pub fn private_names(file: &Path, text: &str, private: &[&str]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words = line.split(|c: char| !c.is_ascii_alphanumeric());
        for word in words.filter(|w| w.len() >= DIGITS) {
            if private.iter().any(|hash| hash.starts_with(word)) {
                faults.push(Fault {
                    rule: Rule::Trailers,
                    file: file.to_owned(),
                    line: Some(index + 1),
                    patch: None,
                    what: format!("{word} is a private commit, of no use to whoever reads it"),
                    help: "name the public commit, or the release, or the patch by its subject"
                        .to_owned(),
                });
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versions::rules::shown;

    fn base(commit: &str) -> Base {
        let text =
            format!("version = \"6.1.2\"\n{commit}trees = []\narchive = []\n[host]\npaths = []\n");
        Base::parse("series/base.toml".as_ref(), &text).unwrap()
    }

    fn wanted() -> Vec<String> {
        let series = Series::parse(
            "mm",
            "x".as_ref(),
            "version = 1\nchange-id = \"20260102-mm-1\"\n",
        )
        .unwrap();
        let one = |id: &str, posted, patches: &[&str]| Prerequisite {
            change_id: id.into(),
            posted,
            patch_ids: patches.iter().map(|p| (*p).to_owned()).collect(),
        };
        expected(
            &series,
            &base(&format!("upstream-commit = \"{}\"\n", "1".repeat(40))),
            &[
                one("list-1", Some(2), &["aa", "bb"]),
                one("buddy-1", None, &["cc"]),
            ],
        )
    }

    #[test]
    fn posted_and_unposted_dependencies_are_named() {
        insta::assert_snapshot!(wanted().join("\n"), @r"
        base-commit: 1111111111111111111111111111111111111111
        change-id: 20260102-mm-1
        prerequisite-change-id: list-1:v2
        prerequisite-patch-id: aa
        prerequisite-patch-id: bb
        prerequisite-patch-id: cc
        ");
    }

    fn says(cover: &str) -> String {
        shown(in_cover("out/c.patch".as_ref(), cover, &wanted()))
    }

    #[test]
    fn a_cover_that_agrees_passes() {
        let cover = format!("Text.\n---\nstat\n---\n{}\n", wanted().join("\n"));
        assert_eq!(says(&cover), "");
    }

    #[test]
    fn what_does_not_agree_is_named() {
        let cover = wanted().join("\n");
        insta::assert_snapshot!(says(&format!("{cover}\nprerequisite-patch-id: aa\n")), @r#"
        out/c.patch:7: "prerequisite-patch-id: aa" stands there twice
          help: each prerequisite is named once
        "#);
        insta::assert_snapshot!(says(&cover.replace("list-1:v2", "list-1:v1")), @r#"
        out/c.patch:3: "prerequisite-change-id: list-1:v1" does not agree with the manifest
          help: run `cargo series assemble`, which writes it anew
        error: out/c.patch: "prerequisite-change-id: list-1:v2" is missing
          help: run `cargo series assemble`, which writes it
        "#);
        let swapped = cover
            .replace("aa", "xx")
            .replace("bb", "aa")
            .replace("xx", "bb");
        insta::assert_snapshot!(says(&swapped), @r"
        out/c.patch: the prerequisites are not in the order to apply them
          help: run `cargo series assemble`
        ");
    }

    #[test]
    fn a_private_base_is_refused() {
        let made = "2".repeat(40);
        assert!(private_base(&base(""), &made).is_none());
        let public = base(&format!("upstream-commit = \"{}\"\n", "1".repeat(40)));
        assert!(private_base(&public, &made).is_none());
        let private = base(&format!("upstream-commit = \"{made}\"\n"));
        insta::assert_snapshot!(shown(private_base(&private, &made).into_iter().collect()), @r"
        series/base.toml: upstream-commit 2222222222222222222222222222222222222222 is private: this tool made it of an archive
          help: give the commit of v6.1.2 in the public tree, or leave the field out
        ");
    }

    #[test]
    fn the_name_of_a_private_commit_is_found_anywhere() {
        let private = format!("0123456789abcdef{}", "0".repeat(24));
        let says = |text: &str| shown(private_names("a.msg".as_ref(), text, &[&private]));
        assert_eq!(says("Fixes: 0123456789aa (\"x\")\n0123456 is short\n"), "");
        insta::assert_snapshot!(says("x\n\nSee 0123456789abcd.\n"), @r"
        a.msg:3: 0123456789abcd is a private commit, of no use to whoever reads it
          help: name the public commit, or the release, or the patch by its subject
        ");
    }
}

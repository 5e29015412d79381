// SPDX-License-Identifier: GPL-2.0

//! Rule 5: the trailers for programs agree with the manifest, and no mail names a private commit.

use std::path::Path;

use crate::source::{
    finding::Finding,
    manifest::{Base, Series},
};

/// A series below, as the mails name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prerequisite {
    pub change_id: String,
    /// The posted version, if its patches are unchanged.
    pub posted: Option<u32>,
    /// `git patch-id --stable` of its patches, posted or present.
    pub patch_ids: Vec<String>,
}

/// Returns the trailers of a cover letter, in order and without duplicates.
///
/// A posted dependency is named by change id and version, and by patch ids, which b4 looks up in
/// the tag of the posting. A dependency without a posting is named by patch ids only.
pub fn expected(series: &Series, base: &Base, below: &[Prerequisite]) -> Vec<String> {
    let commit = base.upstream_commit.iter();
    let mut lines: Vec<String> = commit.map(|c| format!("base-commit: {c}")).collect();
    lines.push(format!("change-id: {}", series.change_id));
    for one in below {
        if let Some(version) = one.posted {
            let id = &one.change_id;
            lines.push(format!("prerequisite-change-id: {id}:v{version}"));
        }
        let ids = one.patch_ids.iter();
        lines.extend(ids.map(|id| format!("prerequisite-patch-id: {id}")));
    }
    lines
}

/// Returns the lines of a mail that programs read.
pub fn of_mail(text: &str) -> Vec<(usize, &str)> {
    let keys = ["base-commit: ", "change-id: ", "prerequisite-"];
    let is_read = |l: &str| {
        keys.iter().any(|key| l.starts_with(key)) && !l.starts_with("prerequisite-change-id: <")
    };
    let lines = (1..).zip(text.lines().map(str::trim_end));
    lines.filter(|(_, line)| is_read(line)).collect()
}

/// Checks the trailers of a mailed cover letter.
pub fn in_cover(series: &str, file: &Path, cover: &str, expected: &[String]) -> Vec<Finding> {
    let (lines, found): (Vec<usize>, Vec<&str>) = of_mail(cover).into_iter().unzip();
    let mut faults = Vec::new();
    let mut add = |line: Option<usize>, what: String, help: &str| {
        let fault = Finding::new(series, "trailers", what);
        faults.push(fault.at(file, line).help(help));
    };
    for (at, text) in found.iter().enumerate() {
        if found[..at].contains(text) {
            let what = format!("{text:?} occurs twice");
            add(Some(lines[at]), what, "remove one of them");
        } else if !expected.iter().any(|e| e == text) {
            let what = format!("{text:?} does not agree with the manifest");
            let help = "run `cargo series assemble`, which writes it again";
            add(Some(lines[at]), what, help);
        }
    }
    for line in expected.iter().filter(|e| !found.contains(&e.as_str())) {
        let what = format!("{line:?} is missing");
        add(None, what, "run `cargo series assemble`, which writes it");
    }
    if faults.is_empty() && found != *expected {
        let what = "the prerequisites are not in the order in which they apply";
        let fault = Finding::new(series, "trailers", what).at(file, None);
        faults.push(fault.help("run `cargo series assemble`"));
    }
    faults
}

/// Checks that `upstream-commit` is not the commit that this tool created.
pub fn private_base(series: &str, base: &Base, made: &str) -> Option<Finding> {
    base.upstream_commit.as_ref().filter(|c| *c == made)?;
    let release = base.release();
    let what = format!("upstream-commit {made} is private: this tool created it from an archive");
    let help = format!("give the commit of {release} in the public tree, or leave the field out");
    let fault = Finding::new(series, "trailers", what);
    Some(fault.at(&base.file, None).help(help))
}

/// The minimum number of hexadecimal digits in the name of a commit.
const DIGITS: usize = 12;

/// Finds names of private commits in a text.
pub fn private_names(series: &str, file: &Path, text: &str, private: &[&str]) -> Vec<Finding> {
    let is_private =
        |word: &&str| word.len() >= DIGITS && private.iter().any(|hash| hash.starts_with(*word));
    let mut faults = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let words = line.split(|c: char| !c.is_ascii_alphanumeric());
        for word in words.filter(is_private) {
            let what = format!("{word} is a private commit, which readers cannot look up");
            let help = "name the public commit or the release, or name the patch by its subject";
            let fault = Finding::new(series, "trailers", what);
            faults.push(fault.at(file, number).help(help));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::finding::shown;

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
    fn expected_names_dependencies() {
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
        shown(in_cover("x", "out/c.patch".as_ref(), cover, &wanted()))
    }

    #[test]
    fn in_cover_expected_trailers_pass() {
        let cover = format!("Text.\n---\nstat\n---\n{}\n", wanted().join("\n"));
        assert_eq!(says(&cover), "");
    }

    #[test]
    fn in_cover_each_difference() {
        let cover = wanted().join("\n");
        insta::assert_snapshot!(says(&format!("{cover}\nprerequisite-patch-id: aa\n")), @r#"
        out/c.patch:7: "prerequisite-patch-id: aa" occurs twice
          help: remove one of them
        "#);
        insta::assert_snapshot!(says(&cover.replace("list-1:v2", "list-1:v1")), @r#"
        out/c.patch:3: "prerequisite-change-id: list-1:v1" does not agree with the manifest
          help: run `cargo series assemble`, which writes it again
        error: out/c.patch: "prerequisite-change-id: list-1:v2" is missing
          help: run `cargo series assemble`, which writes it
        "#);
        let swapped = cover
            .replace("aa", "xx")
            .replace("bb", "aa")
            .replace("xx", "bb");
        insta::assert_snapshot!(says(&swapped), @r"
        out/c.patch: the prerequisites are not in the order in which they apply
          help: run `cargo series assemble`
        ");
    }

    #[test]
    fn private_base_is_refused() {
        let made = "2".repeat(40);
        assert!(private_base("x", &base(""), &made).is_none());
        let public = base(&format!("upstream-commit = \"{}\"\n", "1".repeat(40)));
        assert!(private_base("x", &public, &made).is_none());
        let private = base(&format!("upstream-commit = \"{made}\"\n"));
        insta::assert_snapshot!(shown(private_base("x", &private, &made)), @r"
        series/base.toml: upstream-commit 2222222222222222222222222222222222222222 is private: this tool created it from an archive
          help: give the commit of v6.1.2 in the public tree, or leave the field out
        ");
    }

    #[test]
    fn private_names_finds_all_places() {
        let private = format!("0123456789abcdef{}", "0".repeat(24));
        let says = |text: &str| shown(private_names("x", "a.msg".as_ref(), text, &[&private]));
        assert_eq!(says("Fixes: 0123456789aa (\"x\")\n0123456 is short\n"), "");
        insta::assert_snapshot!(says("x\n\nSee 0123456789abcd.\n"), @r"
        a.msg:3: 0123456789abcd is a private commit, which readers cannot look up
          help: name the public commit or the release, or name the patch by its subject
        ");
    }
}

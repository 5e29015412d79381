// SPDX-License-Identifier: GPL-2.0

//! Tests of plans, and components in memory for tests of other modules.

use std::path::PathBuf;

use super::*;
use crate::{
    git::Mode,
    source::{
        component::OverlayFile,
        words::{ChangeId, Recipient},
    },
};

pub(crate) const MESSAGE: &str = "rust: add a thing\n\nIt is needed.\n";

pub(crate) fn plan(components: Vec<Component>) -> Result<Vec<PlannedSeries>> {
    plan_some(components, &|_| true)
}

/// Creates a component with these files, edits, and the patches of the manifest.
pub(crate) fn component(
    name: &str,
    manifest: &str,
    files: &[(&str, &str)],
    edits: &[(&str, &str)],
) -> Component {
    let text = format!("version = 1\nchange-id = \"20261122-x\"\n{manifest}");
    let file = PathBuf::from(format!("series/{name}.toml"));
    let mut series = Series::parse(name, &file, &text).unwrap();
    // Not part of the text, so that tests can refer to the lines of `manifest`.
    series
        .to
        .push(Recipient::parse("list@example.org").unwrap());
    let messages = series
        .patches
        .iter()
        .map(|p| (p.message.value.clone(), MESSAGE.to_owned()))
        .collect();
    let own = |(k, v): &(&str, &str)| (k.to_string(), v.to_string());
    Component {
        cover_file: PathBuf::from(format!("cover-letters/{name}.md")),
        is_posted_here: true,
        is_other_base: false,
        variants: BTreeMap::new(),
        siblings: vec![series.name.clone()],
        series,
        relocation: Vec::new(),
        overlay: files
            .iter()
            .map(own)
            .map(|(path, text)| {
                let content = text.into_bytes();
                (
                    path,
                    OverlayFile {
                        mode: Mode::Plain,
                        content,
                    },
                )
            })
            .collect(),
        edits: edits.iter().map(own).collect(),
        messages,
        commits: Vec::new(),
        cover: "# A thing\n\nText.\n".to_owned(),
        changelog: "# Changelog\n\n## v1\n- First.\n".to_owned(),
        postings: Vec::new(),
        trailers: Vec::new(),
    }
}

/// Sets a different change ID in each component.
pub(crate) fn with_change_ids(mut components: Vec<Component>) -> Vec<Component> {
    for one in &mut components {
        let id = format!("20261122-{}", one.name());
        one.series.change_id = ChangeId::parse(&id).unwrap();
    }
    components
}

fn faults(manifest: &str, files: &[(&str, &str)], edits: &[(&str, &str)]) -> String {
    plan(vec![component("clist", manifest, files, edits)])
        .unwrap_err()
        .to_string()
}

const ONE: &str = "[[patch]]\nmessage = \"1.msg\"\nfiles = [\"a.rs\"]\n";

#[test]
fn plan_of_valid_manifest() {
    let planned = plan(vec![component("clist", ONE, &[("a.rs", "x\n")], &[])]).unwrap();
    let patch = &planned[0].patches[0];
    assert_eq!(patch.subject, "rust: add a thing");
    assert_eq!(patch.writes[0].content, b"x\n");
    assert!(patch.writes[0].enters);
}

#[test]
fn plan_of_empty_series() {
    let planned = plan(vec![component("clist", "", &[], &[])]).unwrap();
    assert!(planned[0].patches.is_empty());
}

#[test]
fn claims_file_twice_is_refused() {
    let manifest = format!("{ONE}\n[[patch]]\nmessage = \"2.msg\"\nfiles = [\"a.rs\"]\n");
    insta::assert_snapshot!(faults(&manifest, &[("a.rs", "x\n")], &[]), @r"
    series/clist.toml:9: a.rs is claimed twice, first in line 5
      help: one patch adds the whole file; remove one of the two lines
    ");
}

#[test]
fn claims_unclaimed_file_is_refused() {
    insta::assert_snapshot!(faults(ONE, &[("a.rs", "x\n"), ("b.rs", "")], &[]), @r"
    clist/tree/b.rs: no patch claims this file
      help: name it in a [[patch]] of series/clist.toml
    ");
}

#[test]
fn claims_missing_file_is_refused() {
    insta::assert_snapshot!(faults(ONE, &[], &[]), @r"
    series/clist.toml:5: clist/tree/a.rs does not exist
      help: create the file, or remove the line
    ");
}

#[test]
fn plain_path_outside_is_refused() {
    for (path, why) in [
        ("../a.rs", "is outside the component"),
        ("x/../../a.rs", "is outside the component"),
        ("/etc/passwd", "is absolute"),
        ("./a.rs", "not a normalized relative path"),
        ("a//b.rs", "not a normalized relative path"),
        (".git/config", "is inside .git"),
    ] {
        let text = faults(&ONE.replace("a.rs", path), &[], &[]);
        assert!(
            text.starts_with("series/clist.toml:5:") && text.contains(why),
            "{text}"
        );
    }
}

#[test]
fn edits_outside_of_base_are_refused() {
    let manifest = format!("{ONE}edits = [\"1.diff\"]\n");
    let diff = |path: &str| format!("--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-x\n+y\n");
    let text = faults(&manifest, &[("a.rs", "x\n")], &[("1.diff", &diff("../up"))]);
    assert!(
        text.contains("clist/edits/1.diff:1: \"../up\" is outside"),
        "{text}"
    );
    insta::assert_snapshot!(
        faults(&manifest, &[("a.rs", "x\n")], &[("1.diff", &diff("a.rs"))]), @r"
    clist/edits/1.diff:1: edits a.rs, which is a file of clist
      help: change clist/tree/a.rs instead
    ");
    let text = faults(&manifest, &[("a.rs", "x\n")], &[("1.diff", "no diff")]);
    assert!(text.contains("is not a diff"), "{text}");
    let cut = diff("gpu.rs") + "diff --git a/x.rs b/x.rs\nindex f";
    insta::assert_snapshot!(faults(&manifest, &[("a.rs", "x\n")], &[("1.diff", &cut)]), @r"
    clist/edits/1.diff:6: the diff of this file has no change
      help: if the diff is truncated, create it again with `git diff`
    ");
}

#[test]
fn owners_shared_file_is_refused() {
    let one = component("one", ONE, &[("a.rs", "x\n")], &[]);
    let two = component("two", ONE, &[("a.rs", "x\n")], &[]);
    let text = plan(with_change_ids(vec![one, two]))
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("two/tree/a.rs: this file is in one/tree as well"),
        "{text}"
    );
}

#[test]
fn patches_empty_patch_is_refused() {
    let text = faults("[[patch]]\nmessage = \"1.msg\"\n", &[], &[]);
    assert!(
        text.starts_with("series/clist.toml:3: this patch changes nothing"),
        "{text}"
    );
}

#[test]
fn messages_missing_or_unused_are_refused() {
    let mut one = component("clist", ONE, &[("a.rs", "x\n")], &[]);
    one.messages.clear();
    one.messages.insert("9.msg".into(), MESSAGE.into());
    insta::assert_snapshot!(plan(vec![one]).unwrap_err(), @r#"
    series/clist.toml:4: the commit message "1.msg" is missing
      help: create series/clist/1.msg
    error: series/clist/9.msg: no patch uses this message
      help: name it in a [[patch]] of series/clist.toml
    "#);
    let twice = format!("{ONE}[[patch]]\nmessage = \"1.msg\"\nfiles = [\"b.rs\"]\n");
    let text = faults(&twice, &[("a.rs", ""), ("b.rs", "")], &[]);
    assert!(text.contains("used twice, first in line 4"), "{text}");
}

const HELD: &str = "[[patch]]
message = \"1.msg\"
files = [\"a.rs\"]
[[patch]]
message = \"2.msg\"
files = [\"a/b.rs\"]
[[patch.withhold]]
file = \"a.rs\"
text = '''
mod b;
'''
";

#[test]
fn withheld_lines_are_added_later() {
    let files = [
        ("a.rs", "use x;\n\nmod b;\nfn f() {}\n"),
        ("a/b.rs", "//\n"),
    ];
    let planned = plan(vec![component("clist", HELD, &files, &[])]).unwrap();
    let patches = &planned[0].patches;
    assert_eq!(patches[0].writes[0].content, b"use x;\n\nfn f() {}\n");
    let second: Vec<_> = patches[1]
        .writes
        .iter()
        .map(|w| (&*w.path, w.enters))
        .collect();
    assert_eq!(second, [("a/b.rs", true), ("a.rs", false)]);
    assert_eq!(patches[1].writes[1].content, files[0].1.as_bytes());
}

#[test]
fn withheld_lines_must_match_once() {
    for (text, times) in [("no\n", 0), ("pub mod b;\n", 0), ("mod b;\nmod b;\n", 2)] {
        let error = faults(HELD, &[("a.rs", text), ("a/b.rs", "")], &[]);
        assert!(
            error.contains(&format!("10: the withheld lines occur {times} times")),
            "{error}"
        );
    }
    let late = HELD.replace("files = [\"a.rs\"]\n", "files = [\"c.rs\"]\n");
    let error = faults(&late, &[("c.rs", ""), ("a/b.rs", "")], &[]);
    assert!(error.contains("no earlier patch adds a.rs"), "{error}");
    let twice = format!("{HELD}[[patch.withhold]]\nfile = \"a.rs\"\nitems = [\"mod b\"]\n");
    let error = faults(&twice, &[("a.rs", "use x;\nmod b;\n"), ("a/b.rs", "")], &[]);
    assert!(
        error.contains("the part of a.rs in line 2 is withheld twice"),
        "{error}"
    );
}

const PARTS: &str = "[[patch]]
message = \"1.msg\"
files = [\"a.rs\"]
[[patch]]
message = \"2.msg\"
files = [\"a/b.rs\"]
[[patch.withhold]]
file = \"a.rs\"
items = [
  \"mod b\",
  \"impl A::fn f\",
]
";

const ITEMS: &str = "mod b;\nmod c;\n\nimpl A {\n    fn f() {}\n\n    fn g() {}\n}\n";

#[test]
fn withheld_items_are_added_later() {
    let files = [("a.rs", ITEMS), ("a/b.rs", "//\n")];
    let planned = plan(vec![component("clist", PARTS, &files, &[])]).unwrap();
    let patches = &planned[0].patches;
    let first = b"mod c;\n\nimpl A {\n    fn g() {}\n}\n";
    assert_eq!(patches[0].writes[0].content, first);
    assert_eq!(patches[1].writes[1].content, ITEMS.as_bytes());
}

#[test]
fn withheld_unknown_item_is_refused() {
    let files = [
        (
            "a.rs",
            "mod bb;\n\nimpl A {\n    #[cfg(a)]\n    fn f() {}\n\n    #[cfg(b)]\n    fn f() {}\n}\n",
        ),
        ("a/b.rs", ""),
    ];
    insta::assert_snapshot!(faults(PARTS, &files, &[]), @r#"
    series/clist.toml:12: clist/tree/a.rs has no item `mod b`
      help: similar items: `mod bb`
    error: series/clist.toml:13: the item `impl A::fn f` occurs 2 times in clist/tree/a.rs, in lines 4, 7
      help: be more specific, as in "impl From<u32> for Foo", or withhold lines with `text`
    "#);
    let files = [("a.rs", "mod ;\n"), ("a/b.rs", "")];
    insta::assert_snapshot!(faults(PARTS, &files, &[]), @r"
    clist/tree/a.rs:1: cannot be parsed as Rust: expected identifier
      help: `items` needs a Rust file; withhold lines with `text`
    ");
}

#[test]
fn withheld_parts_of_file_with_marks_are_refused() {
    for mark in ["\0", "\x01"] {
        let text = format!("fn f() {{}} // {mark}\nmod b;\n");
        let error = faults(HELD, &[("a.rs", &text), ("a/b.rs", "")], &[]);
        assert_eq!(
            error,
            "clist/tree/a.rs:1: the line has a control character\n  \
             help: remove it; parts of this file are withheld"
        );
    }
}

/// Creates two series of the component `c` that share `files`. The second has `depends`.
fn two_series(first: &str, second: &str, depends: &str, files: &[(&str, &str)]) -> Vec<Component> {
    let one = component("one", &format!("component = \"c\"\n{first}"), files, &[]);
    let second = format!("component = \"c\"\ndepends = [{depends}]\n{second}");
    let two = component("two", &second, files, &[]);
    let mut both = with_change_ids(vec![one, two]);
    let names: Vec<_> = both.iter().map(|c| c.series.name.clone()).collect();
    for one in &mut both {
        one.siblings.clone_from(&names);
    }
    both
}

const LATER: &str = "[[patch]]
message = \"1.msg\"
files = [\"a/b.rs\"]
[[patch.withhold]]
file = \"a.rs\"
items = [\"mod b\"]
[[patch]]
message = \"2.msg\"
[[patch.withhold]]
file = \"a.rs\"
text = \"\"\"
fn g() {}
\"\"\"
";

#[test]
fn plan_two_series_share_files() {
    let files = [
        ("a.rs", "mod b;\n\nfn f() {}\nfn g() {}\n"),
        ("a/b.rs", "//\n"),
    ];
    let planned = plan(two_series(ONE, LATER, "\"one\"", &files)).unwrap();
    let contents: Vec<_> = planned
        .iter()
        .flat_map(|p| &p.patches)
        .flat_map(|p| &p.writes)
        .filter(|w| w.path == "a.rs")
        .map(|w| String::from_utf8_lossy(&w.content))
        .collect();
    assert_eq!(
        contents,
        ["fn f() {}\n", "mod b;\n\nfn f() {}\n", files[0].1]
    );
    // Planning only the first series gives the same patches.
    let first = plan_some(two_series(ONE, LATER, "\"one\"", &files), &|n| n == "one").unwrap();
    assert_eq!((first.len(), &first[0].patches), (1, &planned[0].patches));
}

#[test]
fn withheld_needs_dependency() {
    let files = [("a.rs", "mod b;\nfn g() {}\n"), ("a/b.rs", "//\n")];
    insta::assert_snapshot!(plan(two_series(ONE, LATER, "", &files)).unwrap_err(), @r"
    series/two.toml:9: one changes a.rs as well
      help: let two depend on one, or one on two
    error: series/two.toml:14: one changes a.rs as well
      help: let two depend on one, or one on two
    ");
    // The later series adds the file.
    insta::assert_snapshot!(plan(two_series(LATER, ONE, "\"one\"", &files)).unwrap_err(), @r"
    series/one.toml:8: no earlier patch adds a.rs
      help: withhold parts of a file that an earlier patch adds
    error: series/one.toml:13: no earlier patch adds a.rs
      help: withhold parts of a file that an earlier patch adds
    ");
}

#[test]
fn claims_file_in_two_series_is_refused() {
    let files = [("a.rs", ""), ("b.rs", "")];
    insta::assert_snapshot!(plan(two_series(ONE, ONE, "", &files)).unwrap_err(), @r"
    series/two.toml:7: a.rs is claimed twice, first in series/one.toml:6
      help: one patch adds the whole file; remove one of the two lines
    error: c/tree/b.rs: no patch claims this file
      help: name it in a [[patch]] of series/one.toml or series/two.toml
    ");
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of plans, and components in memory for the tests of other modules.

use std::path::PathBuf;

use super::*;
use crate::{
    git::Mode,
    source::{
        component::OverlayFile,
        words::{
            ChangeId,
            Recipient, //
        }, //
    }, //
};

pub(crate) const MESSAGE: &str = "rust: add a thing\n\nIt is needed.\n";

/// A component in memory: `files` of the overlay, `edits`, and the manifest's patches.
pub(crate) fn component(
    name: &str,
    manifest: &str,
    files: &[(&str, &str)],
    edits: &[(&str, &str)],
) -> Component {
    let text = format!("version = 1\nchange-id = \"20261122-x\"\n{manifest}");
    let file = PathBuf::from(format!("series/{name}.toml"));
    let mut series = Series::parse(name, &file, &text).unwrap();
    // Added here, since the tests count the lines of the manifest.
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

/// Gives each component another change id.
pub(crate) fn told_apart(mut components: Vec<Component>) -> Vec<Component> {
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
fn a_good_manifest_gives_its_patches() {
    let planned = plan(vec![component("clist", ONE, &[("a.rs", "x\n")], &[])]).unwrap();
    let patch = &planned[0].patches[0];
    assert_eq!(patch.subject, "rust: add a thing");
    assert_eq!(patch.writes()[0].content, b"x\n");
    assert!(patch.writes()[0].enters);
}

#[test]
fn an_empty_series_is_fine() {
    let planned = plan(vec![component("clist", "", &[], &[])]).unwrap();
    assert!(planned[0].patches.is_empty());
}

#[test]
fn a_file_claimed_twice_is_refused() {
    let manifest = format!("{ONE}\n[[patch]]\nmessage = \"2.msg\"\nfiles = [\"a.rs\"]\n");
    insta::assert_snapshot!(faults(&manifest, &[("a.rs", "x\n")], &[]), @r"
    series/clist.toml:9: a.rs is claimed twice, first in line 5
      help: a file enters in one patch, whole; remove one of the two lines
    ");
}

#[test]
fn a_file_claimed_by_none_is_refused() {
    insta::assert_snapshot!(faults(ONE, &[("a.rs", "x\n"), ("b.rs", "")], &[]), @r"
    clist/tree/b.rs: no patch claims this file
      help: name it in a [[patch]] of series/clist.toml
    ");
}

#[test]
fn a_missing_file_is_refused() {
    insta::assert_snapshot!(faults(ONE, &[], &[]), @r"
    series/clist.toml:5: there is no file clist/tree/a.rs
      help: write the file, or remove the line
    ");
}

#[test]
fn paths_that_leave_the_component_are_refused() {
    for (path, why) in [
        ("../a.rs", "leaves the component"),
        ("x/../../a.rs", "leaves the component"),
        ("/etc/passwd", "is absolute"),
        ("./a.rs", "not a plain relative path"),
        ("a//b.rs", "not a plain relative path"),
        (".git/config", "git's own folder"),
    ] {
        let text = faults(&ONE.replace("a.rs", path), &[], &[]);
        assert!(
            text.starts_with("series/clist.toml:5:") && text.contains(why),
            "{text}"
        );
    }
}

#[test]
fn edits_outside_or_of_our_own_files_are_refused() {
    let manifest = format!("{ONE}edits = [\"1.diff\"]\n");
    let diff = |path: &str| format!("--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-x\n+y\n");
    let text = faults(&manifest, &[("a.rs", "x\n")], &[("1.diff", &diff("../up"))]);
    assert!(
        text.contains("clist/edits/1.diff:1: \"../up\" leaves"),
        "{text}"
    );
    insta::assert_snapshot!(
        faults(&manifest, &[("a.rs", "x\n")], &[("1.diff", &diff("a.rs"))]), @r"
    clist/edits/1.diff:1: edits a.rs, which is ours
      help: change clist/tree/a.rs instead
    ");
    let text = faults(&manifest, &[("a.rs", "x\n")], &[("1.diff", "no diff")]);
    assert!(text.contains("is not a diff"), "{text}");
}

#[test]
fn two_components_cannot_have_the_same_file() {
    let one = component("one", ONE, &[("a.rs", "x\n")], &[]);
    let two = component("two", ONE, &[("a.rs", "x\n")], &[]);
    let text = plan(told_apart(vec![one, two])).unwrap_err().to_string();
    assert!(
        text.starts_with("two/tree/a.rs: one has this file as well"),
        "{text}"
    );
}

#[test]
fn a_patch_that_changes_nothing_is_refused() {
    let text = faults("[[patch]]\nmessage = \"1.msg\"\n", &[], &[]);
    assert!(
        text.starts_with("series/clist.toml:3: this patch changes nothing"),
        "{text}"
    );
}

#[test]
fn messages_have_to_exist_and_be_used_once() {
    let mut one = component("clist", ONE, &[("a.rs", "x\n")], &[]);
    one.messages.clear();
    one.messages.insert("9.msg".into(), MESSAGE.into());
    insta::assert_snapshot!(plan(vec![one]).unwrap_err(), @r#"
    series/clist.toml:4: the commit message "1.msg" is missing
      help: write series/clist/1.msg
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
fn withheld_lines_enter_with_their_patch() {
    let files = [
        ("a.rs", "use x;\n\nmod b;\nfn f() {}\n"),
        ("a/b.rs", "//\n"),
    ];
    let planned = plan(vec![component("clist", HELD, &files, &[])]).unwrap();
    let patches = &planned[0].patches;
    assert_eq!(patches[0].writes()[0].content, b"use x;\n\nfn f() {}\n");
    let second: Vec<_> = patches[1]
        .writes()
        .iter()
        .map(|w| (&*w.path, w.enters))
        .collect();
    assert_eq!(second, [("a/b.rs", true), ("a.rs", false)]);
    assert_eq!(patches[1].writes()[1].content, files[0].1.as_bytes());
}

#[test]
fn withheld_lines_stand_once_as_whole_lines() {
    for (text, times) in [("no\n", 0), ("pub mod b;\n", 0), ("mod b;\nmod b;\n", 2)] {
        let error = faults(HELD, &[("a.rs", text), ("a/b.rs", "")], &[]);
        assert!(
            error.contains(&format!("10: the withheld lines stand {times} times")),
            "{error}"
        );
    }
    let late = HELD.replace("files = [\"a.rs\"]\n", "files = [\"c.rs\"]\n");
    let error = faults(&late, &[("c.rs", ""), ("a/b.rs", "")], &[]);
    assert!(
        error.contains("a.rs does not enter in an earlier patch"),
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
fn withheld_items_enter_with_their_patch() {
    let files = [("a.rs", ITEMS), ("a/b.rs", "//\n")];
    let planned = plan(vec![component("clist", PARTS, &files, &[])]).unwrap();
    let patches = &planned[0].patches;
    let first = b"mod c;\n\nimpl A {\n    fn g() {}\n}\n";
    assert_eq!(patches[0].writes()[0].content, first);
    assert_eq!(patches[1].writes()[1].content, ITEMS.as_bytes());
}

#[test]
fn unknown_and_ambiguous_items_are_named_with_their_line() {
    let files = [
        (
            "a.rs",
            "mod bb;\n\nimpl A {\n    #[cfg(a)]\n    fn f() {}\n\n    #[cfg(b)]\n    fn f() {}\n}\n",
        ),
        ("a/b.rs", ""),
    ];
    insta::assert_snapshot!(faults(PARTS, &files, &[]), @r#"
    series/clist.toml:12: there is no item `mod b` in clist/tree/a.rs
      help: similar ones are: `mod bb`
    error: series/clist.toml:13: the item `impl A::fn f` stands 2 times in clist/tree/a.rs: in lines 4, 7
      help: write more of it, as "impl From<u32> for Foo", or withhold lines with `text`
    "#);
    let files = [("a.rs", "mod ;\n"), ("a/b.rs", "")];
    insta::assert_snapshot!(faults(PARTS, &files, &[]), @r"
    clist/tree/a.rs:1: is not Rust: expected identifier
      help: `items` names items of Rust files; withhold lines with `text`
    ");
}

/// Two series of the component `c`, the second with `depends`; both have `files` and `edits`.
fn two(first: &str, second: &str, depends: &str, files: &[(&str, &str)]) -> Vec<Component> {
    let one = component("one", &format!("component = \"c\"\n{first}"), files, &[]);
    let second = format!("component = \"c\"\ndepends = [{depends}]\n{second}");
    let two = component("two", &second, files, &[]);
    let mut both = told_apart(vec![one, two]);
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
fn two_series_of_a_component_share_its_files() {
    let files = [
        ("a.rs", "mod b;\n\nfn f() {}\nfn g() {}\n"),
        ("a/b.rs", "//\n"),
    ];
    let planned = plan(two(ONE, LATER, "\"one\"", &files)).unwrap();
    let contents: Vec<_> = planned
        .iter()
        .flat_map(|p| &p.patches)
        .flat_map(|p| p.writes())
        .filter(|w| w.path == "a.rs")
        .map(|w| String::from_utf8_lossy(&w.content))
        .collect();
    assert_eq!(
        contents,
        ["fn f() {}\n", "mod b;\n\nfn f() {}\n", files[0].1]
    );
    // The first alone is the same, and the second needs it.
    let first = plan_some(two(ONE, LATER, "\"one\"", &files), &|n| n == "one").unwrap();
    assert_eq!((first.len(), &first[0].patches), (1, &planned[0].patches));
}

#[test]
fn series_that_share_a_file_build_on_each_other() {
    let files = [("a.rs", "mod b;\nfn g() {}\n"), ("a/b.rs", "//\n")];
    insta::assert_snapshot!(plan(two(ONE, LATER, "", &files)).unwrap_err(), @r"
    series/two.toml:9: a.rs is written by one as well
      help: let two depend on one, or one on two
    error: series/two.toml:14: a.rs is written by one as well
      help: let two depend on one, or one on two
    ");
    // The file enters in the later series.
    insta::assert_snapshot!(plan(two(LATER, ONE, "\"one\"", &files)).unwrap_err(), @r"
    series/one.toml:8: a.rs does not enter in an earlier patch
      help: withhold parts of a file that is there already
    error: series/one.toml:13: a.rs does not enter in an earlier patch
      help: withhold parts of a file that is there already
    ");
}

#[test]
fn file_of_a_component_enters_in_one_series() {
    let files = [("a.rs", ""), ("b.rs", "")];
    insta::assert_snapshot!(plan(two(ONE, ONE, "", &files)).unwrap_err(), @r"
    series/two.toml:7: a.rs is claimed twice, first in series/one.toml:6
      help: a file enters in one patch, whole; remove one of the two lines
    error: c/tree/b.rs: no patch claims this file
      help: name it in a [[patch]] of series/one.toml or series/two.toml
    ");
}

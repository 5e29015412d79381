// SPDX-License-Identifier: GPL-2.0

//! The verdicts over trees in memory.

use std::path::Path;

use super::{
    judge_all,
    report::{
        Finding,
        How,
        Is,
        PatchIs,
        SeriesReport, //
    },
    repository::GitMerge,
    tree::tests::memory, //
};
use crate::{
    component::Component,
    git::Git,
    plan::{
        plan,
        tests::{
            component,
            told_apart, //
        },
    },
    relocation,
    runner::System, //
};

const LIB: &str = "mod alpha;\nmod beta;\nmod omega;\n";

const ADD: &str = "--- a/lib.rs\n+++ b/lib.rs\n@@ -1,3 +1,4 @@\n mod alpha;\n mod beta;\n+mod list;\n mod omega;\n";

const LIST: &str = "
[[patch]]
message = \"1.msg\"
files = [\"rust/list.rs\"]
edits = [\"1.diff\"]
[[patch]]
message = \"2.msg\"
files = [\"rust/list/owned.rs\"]
[[patch.withhold]]
file = \"rust/list.rs\"
text = '''
mod owned;
pub use self::owned::Owned;
'''
";

const LIST_RS: &str = "//! A list.\nmod owned;\npub use self::owned::Owned;\n\n\
                       pub struct List;\nimpl List {\n    pub fn walk() {}\n}\n";

fn list() -> Component {
    component(
        "list",
        LIST,
        &[
            ("rust/list.rs", LIST_RS),
            (
                "rust/list/owned.rs",
                "pub struct Owned;\nimpl Owned {\n    pub fn push() {}\n}\n",
            ),
        ],
        &[("1.diff", ADD)],
    )
}

fn judge(
    components: Vec<Component>,
    own: &[(&str, &str)],
    other: &[(&str, &str)],
) -> Vec<SeriesReport> {
    let dir = tempfile::tempdir().unwrap();
    let git = Git::new(&System, dir.path());
    let merge = GitMerge::new(&git, dir.path().to_owned());
    let planned = plan(told_apart(components)).unwrap();
    judge_all(&planned, &memory(own), &memory(other), &merge).unwrap()
}

fn one(component: Component, own: &[(&str, &str)], other: &[(&str, &str)]) -> SeriesReport {
    judge(vec![component], own, other).remove(0)
}

fn patches(report: &SeriesReport) -> Vec<PatchIs> {
    report.patches.iter().map(|p| p.is).collect()
}

fn finding(report: &SeriesReport, patch: usize, part: usize) -> &Finding {
    &report.patches[patch - 1].parts[part].finding
}

fn missing(report: &SeriesReport) -> Vec<&str> {
    report
        .names
        .missing
        .iter()
        .map(|n| n.name.as_str())
        .collect()
}

#[test]
fn on_the_same_base_everything_applies() {
    let report = one(list(), &[("lib.rs", LIB)], &[("lib.rs", LIB)]);
    assert_eq!(report.verdict.is, Is::Applies);
    assert_eq!(patches(&report), [PatchIs::Applies; 2]);
    assert_eq!(*finding(&report, 1, 0), Finding::Enters);
    assert_eq!(*finding(&report, 1, 1), Finding::applies_at(0));
    assert!(report.names.there.is_empty());
    assert_eq!(
        missing(&report),
        ["List", "List::walk", "Owned", "Owned::push"]
    );
}

#[test]
fn shifted_lines_are_an_offset() {
    let moved = format!("// one\n// two\n{LIB}");
    let add = ADD.replace("@@ -1,3 +1,4 @@", "@@ -2,3 +2,4 @@");
    let mut list = list();
    list.edits.insert("1.diff".into(), add);
    let own = format!("// one\n{LIB}");
    let report = one(list, &[("lib.rs", &own)], &[("lib.rs", &moved)]);
    assert_eq!(report.verdict.is, Is::Applies);
    assert_eq!(*finding(&report, 1, 1), Finding::applies_at(1));
}

#[test]
fn another_context_is_a_conflict_with_its_place() {
    let other = "mod alpha;\nmod gamma;\nmod omega;\n";
    let report = one(list(), &[("lib.rs", LIB)], &[("lib.rs", other)]);
    assert_eq!(report.verdict.is, Is::Conflicts);
    assert_eq!(
        (report.verdict.conflict, report.verdict.first_conflict),
        (1, Some(1))
    );
    let part = &report.patches[0].parts[1];
    assert_eq!(part.source, "list/edits/1.diff:3");
    assert_eq!(part.path, "lib.rs");
    assert_eq!(part.hunk.as_deref(), Some("@@ -1,3 +1,4 @@"));
    let Finding::Conflicts {
        near: Some(near),
        after,
        ..
    } = &part.finding
    else {
        panic!("{part:?}");
    };
    assert!(after.is_empty());
    assert_eq!((near.line, &near.lines[1]), (1, &"mod gamma;".to_owned()));
    assert_eq!(near.wants.as_deref(), Some("mod beta;"));
    // The other patch only adds to a file that did not go in.
    assert_eq!(report.patches[1].is, PatchIs::Follows);
    let Finding::Conflicts { after, .. } = finding(&report, 2, 1) else {
        panic!("{report:?}");
    };
    assert_eq!((after[0].series.as_str(), after[0].patch), ("list", 1));
}

#[test]
fn lines_that_can_be_merged_are() {
    // The line before the hunk's is another one, but the change is not near it.
    let lines = |first: &str, mid: &str| format!("{first}\nb\nc\n{mid}d\ne\nf\n");
    let edit = "--- a/x\n+++ b/x\n@@ -1,6 +1,7 @@\n first\n b\n c\n+new line\n d\n e\n f\n";
    let manifest = "[[patch]]\nmessage = \"1.msg\"\nedits = [\"1.diff\"]\n";
    let series = component("x", manifest, &[], &[("1.diff", edit)]);
    let report = one(
        series,
        &[("x", &lines("first", ""))],
        &[("x", &lines("other", ""))],
    );
    assert_eq!(
        *finding(&report, 1, 0),
        Finding::Merges {
            doubles: Vec::new()
        }
    );
    assert_eq!(report.verdict.is, Is::Applies);
}

#[test]
fn a_module_with_a_part_of_the_names_is_there_in_part() {
    let there = "pub struct List;\nimpl List {\n    pub fn walk() {}\n    pub fn more() {}\n}\n";
    let lib = LIB.replace("mod omega", "mod list;\nmod omega");
    // The module may be the other kind of file.
    for path in ["rust/list.rs", "rust/list/mod.rs"] {
        let report = one(
            list(),
            &[("lib.rs", LIB)],
            &[("lib.rs", &lib), (path, there)],
        );
        assert_eq!(report.verdict.is, Is::InPart, "{path}");
        assert_eq!(report.patches[0].is, PatchIs::There);
        let how = How::Names(path.to_owned());
        assert_eq!(*finding(&report, 1, 0), Finding::There { how });
        assert_eq!(
            *finding(&report, 1, 1),
            Finding::There { how: How::Reverse }
        );
        assert_eq!(missing(&report), ["Owned", "Owned::push"]);
        let more: Vec<_> = report
            .names
            .only_there
            .iter()
            .map(|n| n.name.as_str())
            .collect();
        assert_eq!(more, ["List::more"]);
        // What is missing can enter, but not the lines that name it.
        assert_eq!(report.patches[1].is, PatchIs::Follows);
        assert_eq!(*finding(&report, 2, 0), Finding::Enters);
    }
}

#[test]
fn names_in_a_file_of_their_own_may_be_elsewhere_in_the_module() {
    let whole = "pub struct List;\nimpl List {\n    pub fn walk() {}\n}\n\
                 pub struct Owned;\nimpl Owned {\n    pub fn push() {}\n}\n";
    let lib = LIB.replace("mod omega", "mod list;\nmod omega");
    let report = one(
        list(),
        &[("lib.rs", LIB)],
        &[("lib.rs", &lib), ("rust/list.rs", whole)],
    );
    assert_eq!(report.verdict.is, Is::There);
    let how = How::Names("rust/list.rs".to_owned());
    assert_eq!(*finding(&report, 2, 0), Finding::There { how: how.clone() });
    assert_eq!(*finding(&report, 2, 1), Finding::There { how });
    assert!(missing(&report).is_empty());
    // A method less, and it is not the whole.
    let less = whole.replace("    pub fn push() {}\n", "");
    let report = one(
        list(),
        &[("lib.rs", LIB)],
        &[("lib.rs", &lib), ("rust/list.rs", &less)],
    );
    assert_eq!(report.verdict.is, Is::InPart);
    assert_eq!(missing(&report), ["Owned::push"]);
}

#[test]
fn the_same_series_again_is_there() {
    let lib = LIB.replace("mod omega", "mod list;\nmod omega");
    let owned = &list().overlay["rust/list/owned.rs"].content.clone();
    let other = [
        ("lib.rs", lib.as_str()),
        ("rust/list.rs", LIST_RS),
        ("rust/list/owned.rs", std::str::from_utf8(owned).unwrap()),
    ];
    let report = one(list(), &[("lib.rs", LIB)], &other);
    assert_eq!(report.verdict.is, Is::There, "{report:#?}");
    assert_eq!(*finding(&report, 2, 0), Finding::There { how: How::Same });
}

/// Three patches of one file: the second builds on the first, the third does not.
fn three() -> (Component, &'static str) {
    let hunk = |at: &str, lines: &str| format!("--- a/x.c\n+++ b/x.c\n@@ {at} @@\n{lines}");
    let manifest: String = (1..=3)
        .map(|n| format!("[[patch]]\nmessage = \"{n}.msg\"\nedits = [\"{n}.diff\"]\n"))
        .collect();
    let first = hunk(
        "-1,3 +1,4",
        " line one\n line two\n+first comes\n line three\n",
    );
    let second = hunk(
        "-2,3 +2,4",
        " line two\n first comes\n+second comes\n line three\n",
    );
    let third = hunk(
        "-7,3 +7,4",
        " line five\n line six\n+third comes\n line seven\n",
    );
    let edits = [
        ("1.diff", first.as_str()),
        ("2.diff", &second),
        ("3.diff", &third),
    ];
    let own = "line one\nline two\nline three\nline four\nline five\nline six\nline seven\n";
    let edits = edits.map(|(name, text)| (name, text));
    (component("three", &manifest, &[], &edits), own)
}

#[test]
fn later_patches_are_looked_at_for_themselves() {
    let (series, own) = three();
    let other = own
        .replace("line two\n", "changed two\n")
        .replace("line three\n", "changed three\n");
    let report = one(series, &[("x.c", own)], &[("x.c", &other)]);
    assert_eq!(
        patches(&report),
        [PatchIs::Conflicts, PatchIs::Follows, PatchIs::Applies]
    );
    assert_eq!(report.verdict.conflict, 1);
    // It is off by the lines of the patches that are not there.
    assert_eq!(*finding(&report, 3, 0), Finding::applies_at(-2));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (series, own) = three();
    let report = one(series, &[("x.c", own)], &[]);
    let Finding::Conflicts { why, .. } = finding(&report, 1, 0) else {
        panic!("{report:?}");
    };
    assert_eq!(why, "there is no file x.c");
    assert_eq!(
        patches(&report),
        [PatchIs::Conflicts, PatchIs::Follows, PatchIs::Follows]
    );
}

const MOVE: &str = "
[[step]]
name = \"files\"
[step.move]
\"drm/a.c\" = \"gpu/a.c\"
[[step.text]]
old = \"<drm/a.h>\"
new = \"<linux/a.h>\"
files = [\"gpu/a.c\"]
[[step]]
name = \"symbols\"
files = [\"gpu/a.c\", \"drm/user.c\"]
[step.part]
drm_a = \"gpu_a\"
";

const SOURCE: &str = "#include <drm/a.h>\n\nint drm_a_one(void)\n{\n\treturn 1;\n}\n";

const USER: &str = "int x = drm_a_one();\n";

/// A fix, then the move of what it fixed.
fn moved() -> Component {
    let fix = "--- a/drm/a.c\n+++ b/drm/a.c\n@@ -1,6 +1,6 @@\n #include <drm/a.h>\n \n int drm_a_one(void)\n {\n-\treturn 1;\n+\treturn 3;\n }\n";
    let manifest = "[[patch]]\nmessage = \"1.msg\"\nedits = [\"1.diff\"]\n\
                    [[patch]]\nmessage = \"2.msg\"\nrelocate = \"files\"\n\
                    [[patch]]\nmessage = \"3.msg\"\nrelocate = \"symbols\"\n";
    let mut series = component("move", manifest, &[], &[("1.diff", fix)]);
    series.relocation = relocation::read(Path::new("move/relocation.toml"), MOVE).unwrap();
    series
}

fn renamed(text: &str) -> String {
    text.replace("drm/a.h", "linux/a.h")
        .replace("drm_a", "gpu_a")
}

const OWN: &[(&str, &str)] = &[("drm/a.c", SOURCE), ("drm/user.c", USER)];

#[test]
fn a_move_that_is_made_is_there_and_fixes_go_to_the_new_place() {
    let other = [("gpu/a.c", renamed(SOURCE)), ("drm/user.c", renamed(USER))];
    let other = other.each_ref().map(|(p, t)| (*p, t.as_str()));
    let report = one(moved(), OWN, &other);
    assert_eq!(
        patches(&report),
        [PatchIs::Applies, PatchIs::There, PatchIs::There]
    );
    assert_eq!(report.patches[0].parts[0].path, "gpu/a.c");
    assert_eq!(*finding(&report, 2, 0), Finding::There { how: How::Step });
    assert_eq!(report.verdict.is, Is::InPart);
    // The fix as well.
    let fixed = renamed(SOURCE).replace("return 1", "return 3");
    let report = one(
        moved(),
        OWN,
        &[("gpu/a.c", &fixed), ("drm/user.c", &renamed(USER))],
    );
    assert_eq!(
        *finding(&report, 1, 0),
        Finding::There { how: How::Reverse }
    );
    assert_eq!(report.verdict.is, Is::There);
    // Another fix of the same line.
    let other = renamed(SOURCE).replace("return 1", "return 2");
    let report = one(
        moved(),
        OWN,
        &[("gpu/a.c", &other), ("drm/user.c", &renamed(USER))],
    );
    let part = &report.patches[0].parts[0];
    assert_eq!(
        (part.path.as_str(), part.source.as_str()),
        ("gpu/a.c", "move/edits/1.diff:3")
    );
    let Finding::Conflicts {
        near: Some(near), ..
    } = &part.finding
    else {
        panic!("{part:?}");
    };
    assert_eq!(near.wants.as_deref(), Some("\treturn 1;"));
    assert!(near.lines.contains(&"\treturn 2;".to_owned()));
}

#[test]
fn a_move_that_is_not_made_is_made() {
    let report = one(moved(), OWN, OWN);
    assert_eq!(report.verdict.is, Is::Applies, "{report:#?}");
}

#[test]
fn what_a_made_step_left_over_is_named() {
    let user = renamed(USER) + "int y = drm_a_two();\n";
    let more = "int z = gpu_a_one();\n";
    let mut series = moved();
    let text = MOVE.replace("\"drm/user.c\"]", "\"drm/user.c\", \"drm/more.c\"]");
    series.relocation = relocation::read(Path::new("move/relocation.toml"), &text).unwrap();
    let own = [OWN, &[("drm/more.c", "int z = drm_a_one();\n")]].concat();
    let source = renamed(SOURCE);
    let other = [
        ("gpu/a.c", source.as_str()),
        ("drm/user.c", &user),
        ("drm/more.c", more),
    ];
    let report = one(series, &own, &other);
    let files = vec!["drm/user.c (drm_a_two)".to_owned()];
    assert_eq!(*finding(&report, 3, 0), Finding::Left { files });
    assert_eq!(report.patches[2].is, PatchIs::InPart);
}

#[test]
fn half_a_move_is_a_conflict() {
    let source = renamed(SOURCE);
    let other = [
        ("gpu/a.c", source.as_str()),
        ("drm/a.c", SOURCE),
        ("drm/user.c", USER),
    ];
    let report = one(moved(), OWN, &other);
    let Finding::Conflicts { why, .. } = finding(&report, 2, 0) else {
        panic!("{report:#?}");
    };
    assert_eq!(
        why,
        "drm/a.c moves to gpu/a.c, which exists (move/relocation.toml:2)"
    );
}

#[test]
fn a_dependent_is_looked_at_behind_its_dependency_and_alone() {
    let user = "depends = [\"list\"]\n[[patch]]\nmessage = \"1.msg\"\nfiles = [\"rust/user.rs\"]\nedits = [\"1.diff\"]\n";
    let add = "--- a/lib.rs\n+++ b/lib.rs\n@@ -2,3 +2,4 @@\n mod beta;\n mod list;\n+mod user;\n mod omega;\n";
    let files = [(
        "rust/user.rs",
        "use crate::list::List;\nfn f(list: List) { list.push(); list.walk(); }\n",
    )];
    let user = || component("user", user, &files, &[("1.diff", add)]);
    let reports = judge(vec![list(), user()], &[("lib.rs", LIB)], &[("lib.rs", LIB)]);
    assert_eq!(reports[1].depends, ["list"]);
    assert_eq!(reports[1].verdict.is, Is::Applies);
    // Alone, the line that it stands behind is not there.
    let alone = reports[1].alone.as_ref().unwrap();
    assert_eq!((alone.is, alone.conflict), (Is::Conflicts, 1));
    assert!(reports[0].alone.is_none());
    assert!(reports[1].needs.is_empty());
    // The base has the dependency, but not all of it.
    let lib = LIB.replace("mod omega", "mod list;\nmod omega");
    let there = "pub struct List;\nimpl List {\n    pub fn walk() {}\n}\npub struct Owned;\n";
    let other = [("lib.rs", lib.as_str()), ("rust/list.rs", there)];
    let reports = judge(vec![list(), user()], &[("lib.rs", LIB)], &other);
    assert_eq!(reports[0].verdict.is, Is::InPart);
    assert_eq!(reports[1].verdict.is, Is::Applies);
    assert_eq!(reports[1].alone.as_ref().unwrap().is, Is::Applies);
    let needs: Vec<_> = reports[1].needs.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(needs, ["Owned::push"]);
}

#[test]
fn a_series_that_does_not_fit_on_its_own_base_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let git = Git::new(&System, dir.path());
    let merge = GitMerge::new(&git, dir.path().to_owned());
    let planned = plan(vec![list()]).unwrap();
    let none = memory(&[]);
    let error = judge_all(&planned, &none, &none, &merge)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "list/edits/1.diff:1: does not apply\n  \
         help: the series has to fit on its own base first: cargo series assemble"
    );
}

#[test]
fn what_later_patches_went_over_is_there_if_the_end_is() {
    let (series, own) = three();
    // The second patch stands between the lines of the first one and what follows them.
    let end = own
        .replace("line two\n", "line two\nfirst comes\nsecond comes\n")
        .replace("line six\n", "line six\nthird comes\n");
    for end in [end.clone(), format!("{end}line eight\n")] {
        let report = one(series.clone(), &[("x.c", own)], &[("x.c", &end)]);
        assert_eq!(report.verdict.is, Is::There, "{report:#?}");
    }
    // Lines that come and go again are not asked for.
    let hunk = |lines: &str| format!("--- a/x.c\n+++ b/x.c\n{lines}");
    let come = hunk("@@ -1,2 +1,3 @@\n line one\n+comes and goes\n line two\n");
    let go = hunk("@@ -1,3 +1,3 @@\n line one\n-comes and goes\n+comes and stays\n line two\n");
    let manifest = "[[patch]]\nmessage = \"1.msg\"\nedits = [\"1.diff\"]\n\
                    [[patch]]\nmessage = \"2.msg\"\nedits = [\"2.diff\"]\n";
    let series = component("x", manifest, &[], &[("1.diff", &come), ("2.diff", &go)]);
    let own = "line one\nline two\n";
    let end = "line one\ncomes and stays\nline two\n";
    let report = one(series.clone(), &[("x.c", own)], &[("x.c", end)]);
    assert_eq!(patches(&report), [PatchIs::There; 2]);
    assert_eq!(*finding(&report, 1, 0), Finding::There { how: How::End });
    let report = one(
        series,
        &[("x.c", own)],
        &[("x.c", "line one\nother\nline two\n")],
    );
    assert_eq!(report.patches[0].is, PatchIs::Conflicts);
}

// SPDX-License-Identifier: GPL-2.0

//! A component that owns several series.

use crate::{mail::with_b4, mini::Mini};

const FIRST: &str = "component = \"duo\"

[[patch]]
message = \"1.msg\"
files = [\"duo.rs\"]

[[patch]]
message = \"2.msg\"
edits = [\"1.diff\"]
";

const SECOND: &str = "component = \"duo\"
tree = \"duo-next\"

[[patch]]
message = \"1.msg\"
files = [\"duo/more.rs\"]

[[patch.withhold]]
file = \"duo.rs\"
items = [\"mod more\", \"impl Duo::fn more\"]

[[patch]]
message = \"2.msg\"

[[patch.withhold]]
file = \"duo.rs\"
items = [
    \"fn last\",
]
";

const DUO: &str = "//! Two.

mod more;

pub struct Duo;

impl Duo {
    /// One.
    pub fn one(&self) {}

    /// More.
    #[inline]
    pub fn more(&self) {}
}

/// The last.
pub fn last() {}
";

/// Creates the usual series, and a component `duo` with the series `duo-first` and `duo-second`.
fn mini() -> Mini {
    let mini = Mini::new();
    mini.series("duo-first", &[], FIRST);
    mini.series("duo-second", &["duo-first"], SECOND);
    for name in ["duo-first", "duo-second"] {
        std::fs::remove_dir_all(mini.ws(name)).unwrap();
        mini.message(name, "1.msg", &format!("rust: {name}: add a part"));
        mini.message(name, "2.msg", &format!("rust: {name}: add another part"));
    }
    mini.file("ws/duo/CHANGELOG.md", CHANGELOG);
    mini.overlay("duo", "duo.rs", DUO);
    mini.overlay("duo", "duo/more.rs", "//! More.\n");
    mini.edit("duo", "1.diff", "Kconfig", " # top\n+# duo\n", (1, 2));
    mini
}

const CHANGELOG: &str = "# duo-first

## v1
- First posting.

# duo-second

## v1
- First posting of the second.
- Patch 2: the name is shorter than in the RFC.
";

#[test]
fn files_are_shared_among_series() {
    let mini = mini();
    mini.good(&["assemble"]);
    let at = |name: &str, n: usize| {
        let patches = mini.series_report(name)["patches"].clone();
        let commit = patches[n - 1]["commit"].as_str().unwrap().to_owned();
        let show = ["show", &format!("{commit}:duo.rs")];
        mini.git(&mini.path("cache/kernel"), &show)
    };
    assert_eq!(
        at("duo-first", 1),
        "//! Two.\n\npub struct Duo;\n\nimpl Duo {\n    /// One.\n    pub fn one(&self) {}\n}"
    );
    let last = "\n\n/// The last.\npub fn last() {}\n";
    assert_eq!(at("duo-second", 1), DUO.replace(last, ""));
    assert_eq!(at("duo-second", 2) + "\n", DUO);
    // The mail of a patch has the items of the changelog that name it.
    let mail = mini.read("out/duo-second/v1/0002-rust-duo-second-add-another-part.patch");
    let note = "\n---\nChanges in v1:\n- the name is shorter than in the RFC.\n\n duo.rs | 3 +++\n";
    assert!(mail.contains(note), "{mail}");
    let cover = mini.read("out/duo-first/v1/0000-cover-letter.patch");
    assert!(cover.contains("- First posting.\n"), "{cover}");
    assert!(!cover.contains("second"), "{cover}");
    let check = mini.run(&["check", "duo"]);
    assert!(!check.stderr.contains("overlay:"), "{}", check.stderr);
}

#[test]
fn notes_are_in_mails_of_b4() {
    let mini = Mini::new();
    let item = "- Patch 2: the names are shorter than in the RFC.\n";
    let changelog = format!("# Changelog of list\n\n## v1\n- First posting.\n{item}");
    mini.file("ws/list/CHANGELOG.md", &changelog);
    let ran = with_b4(&mini, mini.command(&["prepare", "list"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let mails: Vec<String> = ran.stdout.lines().map(|file| mini.read(file)).collect();
    let note = "\n---\nChanges in v1:\n- the names are shorter than in the RFC.\n";
    let with: Vec<bool> = mails.iter().map(|m| m.contains(note)).collect();
    assert_eq!(with, [false, false, true], "{}", mails[2]);
    assert!(mails[0].contains(item), "{}", mails[0]);
}

#[test]
fn component_name_selects_its_series() {
    let mini = mini();
    let table = mini.good(&["assemble", "--quiet", "duo"]).stdout;
    insta::assert_snapshot!(table);
    assert!(!mini.ws("out/list").exists());
    mini.good(&["assemble"]);
    insta::assert_snapshot!(mini.good(&["graph"]).stdout, @r"
    Linux v6.1.2
    ├─ list           2 patches, v1 to be posted
    │  └─ buddy       2 patches, v1 to be posted
    │     └─ mm       no patches yet, v1 to be posted
    ├─ duo-first      2 patches, v1 to be posted, of duo
    │  └─ duo-second  2 patches, v1 to be posted, of duo
    └─ other          1 patch, v1 to be posted
    ");
    let report = mini.read("out/report.md");
    let component = "\n## duo\n\nIts series are duo-first, duo-second.\n\n### duo-first v1: ";
    assert!(report.contains(component), "{report}");
    assert!(report.contains("\n- goes to duo-next\n"), "{report}");
    assert!(
        mini.read("out/report.html")
            .contains("<h2 class=\"component\">duo</h2>")
    );
    insta::assert_snapshot!(mini.error(&["prepare", "duo"]), @r"
    error: duo is a component of several series
      help: name one of them: duo-first, duo-second
    ");
}

#[test]
fn file_claimed_twice_in_component() {
    let mini = mini();
    mini.overlay("duo", "free.rs", "//! Free.\n");
    mini.replace("series/duo-second.toml", "mod more", "mod mor");
    mini.replace(
        "series/duo-second.toml",
        "\"duo/more.rs\"",
        "\"duo/more.rs\", \"duo.rs\"",
    );
    insta::assert_snapshot!(mini.error(&["assemble"]), @r"
    error: series/duo-second.toml:11: duo.rs is claimed twice, first in series/duo-first.toml:9
      help: one patch adds the whole file; remove one of the two lines
    error: duo/tree/free.rs: no patch claims this file
      help: name it in a [[patch]] of series/duo-first.toml or series/duo-second.toml
    error: series/duo-second.toml:15: duo/tree/duo.rs has no item `mod mor`
      help: similar items: `mod more`
    ");
    // An error in one component does not affect another.
    mini.good(&["assemble", "buddy"]);
}

#[test]
fn change_in_component_is_detected() {
    let mini = mini();
    mini.good(&["assemble"]);
    mini.replace("duo/tree/duo.rs", "The last", "The very last");
    let again = mini.good(&["assemble"]);
    assert!(
        !again.stderr.contains("nothing changed"),
        "{}",
        again.stderr
    );
}

#[test]
fn local_series_is_never_posted() {
    let mini = mini();
    let local = "version = 1\nlocal = \"a model for the tests\"";
    mini.replace("series/duo-second.toml", "version = 1", local);
    mini.replace(
        "series/duo-second.toml",
        "to = [\"List <list@example.org>\"]\n",
        "",
    );
    let table = mini.good(&["assemble", "--quiet"]).stdout;
    assert!(table.contains("| local   |"), "{table}");
    for args in [&["prepare", "duo-second"][..], &["record", "duo-second"]] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(mini.error(args), @r"
            error: series/duo-second.toml:2: duo-second is never posted: a model for the tests
              help: remove `local` from the manifest to post the series
            ");
        }
    }
    let status = mini.good(&["status", "--quiet"]).stdout;
    assert!(
        status.contains("| duo-second | local           |"),
        "{status}"
    );
    let report = mini.read("out/report.md");
    assert!(
        report.contains("\n- never posted: a model for the tests\n"),
        "{report}"
    );
    let branches = mini.git(
        &mini.path("cache/kernel"),
        &["branch", "--list", "b4/duo-*"],
    );
    assert_eq!(branches.trim(), "b4/duo-first");
    // A posted series must not depend on a local one.
    mini.replace(
        "series/other.toml",
        "depends = []",
        "depends = [\"duo-second\"]",
    );
    insta::assert_snapshot!(mini.error(&["assemble"]), @r"
    error: series/other.toml:3: duo-second is never posted: a model for the tests
      help: make other local as well, or move the patches that it needs to another series
    ");
}

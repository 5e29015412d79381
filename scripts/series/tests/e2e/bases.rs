// SPDX-License-Identifier: GPL-2.0

//! Tests with several bases: variants of files, selection of bases, a revision as a base, and
//! moving a base.

use std::fs;

use serde_json::Value;

use crate::{mini::Mini, stage::Stage};

/// Creates a workspace with a second base, a newer release that has a list. The series use every
/// kind of variant there.
fn two() -> Mini {
    let Stage { mini } = Stage::new();
    add_newer(&mini);
    mini
}

fn add_newer(mini: &Mini) {
    let lib = "mod alpha;\nmod list;\nmod omega;\n";
    let list = "//! Another list.\n";
    mini.base("newer", 9, &[("lib.rs", lib), ("list.rs", list)], "");
    // `list` has another manifest, which leaves out a file of the overlay.
    let manifest = mini.read("series/list.toml");
    let patches = manifest.find("\n[[patch]]").unwrap();
    let newer = format!(
        "{}\n[left-out]\n\"list.rs\" = \"The base has a list.\"\n\n\
         [[patch]]\nmessage = \"2.msg\"\nfiles = [\"list/owned.rs\"]\nedits = [\"owned.diff\"]\n",
        &manifest[..patches]
    );
    mini.file("ws/series/on/newer/list.toml", &newer);
    mini.file(
        "ws/list/on/newer/edits/owned.diff",
        "--- a/list.rs\n+++ b/list.rs\n@@ -1 +1,3 @@\n //! Another list.\n+\n+mod owned;\n",
    );
    // `buddy` has another file and another message; one patch is for the older base only.
    mini.file("ws/buddy/on/newer/tree/buddy.rs", "//! A newer buddy.\n");
    mini.file(
        "ws/series/on/newer/buddy/1.msg",
        "rust: buddy: add the newer binding\n\nDrivers need it, and there is no other way.\n",
    );
    mini.replace(
        "series/buddy.toml",
        "[[patch]]\nmessage = \"2.msg\"",
        "[on.newer.left-out]\n\"buddy_test.rs\" = \"It needs the older list.\"\n\n\
         [[patch]]\nonly = [\"v6.1.2\"]\nmessage = \"2.msg\"",
    );
}

fn report_of(mini: &Mini, base: &str) -> Value {
    serde_json::from_str(&mini.read(&format!("out/{base}/series.json"))).unwrap()
}

fn subjects(report: &Value, series: &str) -> Vec<String> {
    let all = report["series"].as_array().unwrap();
    let one = all.iter().find(|s| s["name"] == series).unwrap();
    let patches = one["patches"].as_array().unwrap().iter();
    patches
        .map(|p| p["subject"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn bases_are_assembled_into_one_table() {
    let mini = two();
    let ran = mini.good(&["assemble"]);
    let rows = |base: &str| ran.stdout.matches(&format!("| {base} ")).count();
    assert_eq!((rows("v6.1.2"), rows("newer")), (4, 4), "{}", ran.stdout);
    assert_eq!(subjects(&mini.report(), "buddy").len(), 2);
    let newer = report_of(&mini, "newer");
    assert_eq!(subjects(&newer, "list"), ["rust: list: add the owned side"]);
    assert_eq!(
        subjects(&newer, "buddy"),
        ["rust: buddy: add the newer binding"]
    );
    let patch = "out/newer/buddy/v1/0001-rust-buddy-add-the-newer-binding.patch";
    assert!(mini.read(patch).contains("+//! A newer buddy.\n"));
    assert!(
        mini.read("out/newer/list/v1.mbox")
            .contains("+mod owned;\n")
    );
    mini.good(&["check"]);
    // A second run assembles nothing again.
    let again = mini.good(&["assemble"]);
    let unchanged = again.stderr.matches("nothing changed since").count();
    assert_eq!(unchanged, 2, "{}", again.stderr);
}

#[test]
fn base_option_selects_one_base() {
    let mini = two();
    let ran = mini.good(&["assemble", "--base", "newer"]);
    assert!(!ran.stdout.contains("v6.1.2"), "{}", ran.stdout);
    assert!(!mini.ws("out/series.json").exists());
    let mut command = mini.command(&["status", "--json"]);
    let out = mini.ran(command.env("SERIES_BASE", "v6.1.2").output().unwrap());
    let statuses: Value = serde_json::from_str(&out.stdout).unwrap();
    assert!(
        statuses
            .as_array()
            .unwrap()
            .iter()
            .all(|s| s["base"] == "v6.1.2")
    );
    let both: Value = serde_json::from_str(&mini.good(&["check", "--json"]).stdout).unwrap();
    assert_eq!(both["newer"]["patches"], 4);
    assert_eq!(both["v6.1.2"]["patches"], 6);
}

#[test]
fn unavailable_base_is_skipped() {
    let mini = two();
    fs::remove_file(mini.path("mirror/mini-9.tar.xz")).unwrap();
    let ran = mini.good(&["assemble"]);
    assert!(
        ran.stderr.contains("warning: base newer is skipped"),
        "{}",
        ran.stderr
    );
    assert!(mini.ws("out/list/v1.mbox").exists());
    let error = mini.error(&["assemble", "--base", "newer"]);
    assert!(error.contains("no source for Linux v6.1.9"), "{error}");
}

#[test]
fn base_errors_name_file_and_line() {
    let mini = two();
    insta::assert_snapshot!(mini.error(&["assemble", "--base", "nine"]), @r#"
    error: unknown base "nine"
      help: the bases are: v6.1.2, newer
    "#);
    mini.replace(
        "series/buddy.toml",
        "only = [\"v6.1.2\"]",
        "only = [\"v6\"]",
    );
    mini.replace("series/on/newer/list.toml", "version = 1", "version = 2");
    let path = mini.ws("series/bases/newer.toml");
    let text = fs::read_to_string(&path).unwrap();
    insta::assert_snapshot!(mini.error(&["status", "--base", "newer"]), @r#"
    error: series/buddy.toml:16: unknown base "v6"
      help: the bases are: v6.1.2, newer
    error: series/on/newer/list.toml:1: version, change-id or component differ from the default manifest
      help: they are the same on all bases; copy them from series/list.toml
    "#);
    fs::write(&path, format!("default = true\n{text}")).unwrap();
    insta::assert_snapshot!(mini.error(&["status"]), @r"
    error: series/bases: 2 of the bases have `default = true`
      help: exactly one base is the default, which uses the files that are not variants; the bases are: v6.1.2, newer
    ");
    fs::write(&path, format!("like = \"newer\"\n{text}")).unwrap();
    insta::assert_snapshot!(mini.error(&["status"]), @r#"
    error: series/bases/newer.toml: `like`: unknown base "newer"
      help: name the base whose files it shares
    "#);
}

#[test]
fn left_out_file_claimed_is_refused() {
    let mini = two();
    mini.replace(
        "series/on/newer/list.toml",
        "files = [\"list/owned.rs\"]",
        "files = [\"list/owned.rs\", \"list.rs\"]",
    );
    mini.replace(
        "series/on/newer/list.toml",
        "[left-out]\n",
        "[left-out]\n\"gone/\" = \"It is not there.\"\n",
    );
    insta::assert_snapshot!(mini.error(&["assemble", "--base", "newer"]), @r"
    error: series/on/newer/list.toml:7: [left-out]: list/tree has no gone/
      help: remove the line
    error: series/on/newer/list.toml:12: list.rs is listed in [left-out] as well
      help: remove one of the two lines
    ");
    mini.replace(
        "series/buddy.toml",
        "[on.newer.left-out]",
        "[on.newer.unused]",
    );
    let error = mini.error(&["assemble", "--base", "newer"]);
    assert!(
        error.contains("buddy/tree/buddy_test.rs: no patch claims this file"),
        "{error}"
    );
}

#[test]
fn series_is_sent_on_its_base_only() {
    let mini = two();
    let manifest = mini.read("series/other.toml");
    mini.file(
        "ws/series/other.toml",
        &format!("base = \"newer\"\n{manifest}"),
    );
    mini.good(&["assemble"]);
    let ran = mini.good(&["status"]);
    assert!(ran.stdout.contains("posted on newer"), "{}", ran.stdout);
    insta::assert_snapshot!(mini.error(&["prepare", "other", "--base", "v6.1.2"]), @r"
    error: other is posted on newer; on v6.1.2 it is only built and tested
      help: omit `--base v6.1.2`
    ");
    let kernel = mini.path("cache/kernel");
    let branches = mini.git(&kernel, &["branch", "--list", "b4/*"]);
    assert!(!branches.contains("b4/other"), "{branches}");
    let kernel = mini.path("cache/on/newer/kernel");
    assert!(
        mini.git(&kernel, &["branch", "--list", "b4/*"])
            .contains("b4/other")
    );
}

#[test]
fn base_from_tree_revision() {
    let mini = Mini::new();
    let tree = mini.pristine("subsystem");
    mini.file("subsystem/a.c", "int a;\n");
    mini.git(&tree, &["add", "--all"]);
    mini.git(&tree, &["commit", "--quiet", "-m", "Add a"]);
    let commit = mini.git(&tree, &["rev-parse", "HEAD"]);
    mini.git(&tree, &["branch", "for-next"]);
    mini.file(
        "ws/series/bases/for-next.toml",
        "rev = \"for-next\"\n[host]\npaths = []\n",
    );
    let kernel = tree.to_str().unwrap();
    let error = mini.error(&["assemble", "--base", "for-next"]);
    assert!(error.contains("name the tree with --kernel DIR"), "{error}");
    mini.good(&["assemble", "--base", "for-next", "--kernel", kernel]);
    let cover = "out/for-next/list/v1/0000-cover-letter.patch";
    let trailer = |commit: &str| format!("\nbase-commit: {commit}\n");
    assert!(
        mini.read(cover).contains(&trailer(&commit)),
        "{}",
        mini.read(cover)
    );
    // Without --kernel, the base does not change.
    mini.file("subsystem/a.c", "int b;\n");
    mini.git(&tree, &["commit", "--quiet", "--all", "-m", "Change a"]);
    let later = mini.git(&tree, &["rev-parse", "HEAD"]);
    mini.git(&tree, &["branch", "--force", "for-next"]);
    mini.good(&["assemble", "--base", "for-next"]);
    assert!(mini.read(cover).contains(&trailer(&commit)));
    mini.good(&["assemble", "--base", "for-next", "--kernel", kernel]);
    assert!(mini.read(cover).contains(&trailer(&later)));
    let rev = ["--kernel", kernel, "--rev", "HEAD~1"];
    mini.good(&[&["assemble", "--base", "for-next"][..], &rev].concat());
    assert!(mini.read(cover).contains(&trailer(&commit)));
    let error = mini.error(&[&["assemble"][..], &rev].concat());
    assert!(error.contains("--rev needs a single base"), "{error}");
}

#[test]
fn record_killed_between_manifests_is_finished() {
    let stage = Stage::new();
    let mini = &stage.mini;
    add_newer(mini);
    stage.good(&["assemble"]);
    stage.post("list");
    stage.good(&["record", "list"]);
    let (plain, newer) = ("series/list.toml", "series/on/newer/list.toml");
    let done = [plain, newer].map(|file| mini.read(file));
    assert!(done.iter().all(|text| text.contains("version = 2")));
    mini.replace(newer, "version = 2", "version = 1");
    stage.good(&["record", "list"]);
    assert_eq!([plain, newer].map(|file| mini.read(file)), done);
    // `--undo` starts with the manifests, too.
    mini.replace(plain, "version = 2", "version = 1");
    stage.good(&["record", "list", "--undo"]);
    for file in [plain, newer] {
        assert!(mini.read(file).contains("version = 1"), "{file}");
    }
    assert!(!mini.ws("series/list/posted/v1.toml").exists());
    stage.good(&["assemble"]);
}

/// The procedure of the README, "Moving a base".
#[test]
fn base_moves_as_in_readme() {
    let stage = Stage::new();
    let mini = &stage.mini;
    add_newer(mini);
    for series in ["list", "buddy", "other"] {
        for file in [
            format!("series/{series}.toml"),
            format!("series/on/newer/{series}.toml"),
        ] {
            if let Ok(manifest) = fs::read_to_string(mini.ws(&file)) {
                mini.file(
                    &format!("ws/{file}"),
                    &format!("base = \"newer\"\n{manifest}"),
                );
            }
        }
    }
    stage.good(&["assemble"]);
    stage.post("other");
    stage.good(&["record", "other"]);
    // 1. Write the file of the new base, which shares the variants of the old base.
    let lib = "mod alpha;\nmod list;\nmod omega;\n";
    let maintainers = "A\nF:\ta/\n\nM\nF:\tm/\n\nZ\nF:\tz/\n";
    let changed = [
        ("lib.rs", lib),
        ("list.rs", "//! Another list.\n"),
        ("MAINTAINERS", maintainers),
    ];
    mini.base("newest", 10, &changed, "like = \"newer\"\n");
    // 2. Recreate the diffs that `assemble` names.
    let error = mini.error(&["assemble", "--base", "newest"]);
    assert!(
        error.contains("other/edits/1.diff") && error.contains("update it"),
        "{error}"
    );
    mini.file(
        "ws/other/on/newest/edits/1.diff",
        "--- a/MAINTAINERS\n+++ b/MAINTAINERS\n@@ -1,6 +1,9 @@\n A\n F:\ta/\n \n+B\n+F:\tb/\n+\n M\n \
         F:\tm/\n \n",
    );
    mini.good(&["assemble", "--base", "newest"]);
    assert!(subjects(&report_of(mini, "newest"), "list").len() == 1);
    // 3. Post the series on the new base, and add that to the changelog.
    for series in ["list", "buddy", "other"] {
        for file in [
            format!("series/{series}.toml"),
            format!("series/on/newer/{series}.toml"),
        ] {
            if let Ok(manifest) = fs::read_to_string(mini.ws(&file)) {
                let moved = manifest.replacen("base = \"newer\"", "base = \"newest\"", 1);
                mini.file(&format!("ws/{file}"), &moved);
            }
        }
    }
    let error = mini.error(&["check", "--base", "newest"]);
    assert!(error.contains("- Rebased on Linux v6.1.10."), "{error}");
    mini.replace(
        "other/CHANGELOG.md",
        "## v2\n",
        "## v2\n- Rebased on Linux v6.1.10.\n",
    );
    mini.good(&["check", "--base", "newest"]);
}

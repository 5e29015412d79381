// SPDX-License-Identifier: GPL-2.0

//! `assemble`: the output, and its results for a maintainer.

use std::{fs, path::Path};

use crate::mini::Mini;

#[test]
fn assemble_prints_table() {
    let mini = Mini::new();
    insta::assert_snapshot!(mini.good(&["assemble", "--quiet"]).stdout);
    let status = mini.good(&["status", "--json"]).stdout;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status[0]["name"], "list");
    assert_eq!(status[0]["applies"], true);
}

#[test]
fn patches_have_expected_content() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    for (name, text) in mini.received() {
        if name.ends_with(".patch") {
            insta::assert_snapshot!(name.trim_start_matches("out/").replace('/', "-"), text);
        }
    }
}

fn am(mini: &Mini, dir: &Path, mbox: &str) -> String {
    let mbox = mini.ws(mbox);
    mini.git(dir, &["am", "--quiet", mbox.to_str().unwrap()]);
    mini.git(dir, &["rev-parse", "HEAD^{tree}"])
}

#[test]
fn patches_give_recorded_trees() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let tree = |name: &str| {
        mini.series_report(name)["tip"]["tree"]
            .as_str()
            .unwrap()
            .to_owned()
    };

    let alone = mini.pristine("alone");
    assert_eq!(am(&mini, &alone, "out/list/v1.mbox"), tree("list"));
    for path in ["list.rs", "list/owned.rs"] {
        let landed = fs::read_to_string(alone.join(path)).unwrap();
        assert_eq!(landed, mini.read(&format!("list/tree/{path}")));
    }
    // One by one in dependency order and as a bundle, the result is the same.
    assert_eq!(am(&mini, &alone, "out/buddy/v1.mbox"), tree("buddy"));
    let bundle = mini.pristine("bundle");
    assert_eq!(
        am(&mini, &bundle, "out/buddy/v1.with-deps.mbox"),
        tree("buddy")
    );
    let other = mini.pristine("other");
    assert_eq!(am(&mini, &other, "out/other/v1.mbox"), tree("other"));
    // All series in a row.
    am(&mini, &bundle, "out/other/v1.mbox");
    let all = mini.git(&bundle, &["rev-parse", "HEAD^{tree}"]);
    assert_eq!(mini.report()["all"]["tree"], all.as_str());
}

#[test]
fn diff_applies_to_changed_file() {
    let mini = Mini::new();
    // It applies to the file of the base, and in the row of all series to the file of `list`.
    mini.edit(
        "other",
        "1.diff",
        "lib.rs",
        "+mod aaa;\n mod alpha;\n",
        (1, 2),
    );
    mini.good(&["assemble"]);
    let lib = |tree: &serde_json::Value| {
        let file = format!("{}:lib.rs", tree.as_str().unwrap());
        mini.git(&mini.path("cache/kernel"), &["show", &file])
    };
    let alone = "mod aaa;\nmod alpha;\nmod omega;";
    let all = "mod aaa;\nmod alpha;\nmod buddy;\nmod list;\nmod omega;";
    assert_eq!(lib(&mini.series_report("other")["tip"]["tree"]), alone);
    assert_eq!(lib(&mini.report()["all"]["tree"]), all);
}

#[test]
fn withheld_lines_are_added_later() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let patches = mini.series_report("list")["patches"].clone();
    let kernel = mini.path("cache/kernel");
    let at = |n: usize| {
        let commit = patches[n]["commit"].as_str().unwrap();
        mini.git(&kernel, &["show", &format!("{commit}:list.rs")])
    };
    assert_eq!(at(0), "//! A list.\n\npub fn walk() {}");
    assert_eq!(at(1) + "\n", mini.read("list/tree/list.rs"));
}

#[test]
fn output_is_independent_of_cache_and_route() {
    let (one, two) = (Mini::new(), Mini::new());
    one.good(&["assemble"]);
    // The second workspace takes the base from a git tree, and has no archive.
    let kernel = two.pristine("kernel");
    // The commit has the date of the release, as in the archive.
    let date = "1767323045 +0000";
    let status = std::process::Command::new("git")
        .args(["commit", "--amend", "--no-edit", "--quiet", "--date", date])
        .env("GIT_COMMITTER_DATE", date)
        .env("GIT_COMMITTER_NAME", "Release Manager")
        .env("GIT_COMMITTER_EMAIL", "release@example.org")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .current_dir(&kernel)
        .status();
    assert!(status.unwrap().success());
    two.git(&kernel, &["tag", "v6.1.2"]);
    fs::remove_file(two.path("mirror/mini.tar.xz")).unwrap();
    two.good(&["assemble", "--kernel", kernel.to_str().unwrap()]);
    assert_eq!(one.received(), two.received());
    assert_eq!(one.report(), two.report());
}

#[test]
fn kernel_tree_without_tag() {
    let mini = Mini::new();
    let kernel = mini.pristine("kernel");
    fs::remove_file(mini.path("mirror/mini.tar.xz")).unwrap();
    mini.good(&["assemble", "--kernel", kernel.to_str().unwrap()]);
    // Only the tree counts, so the patches apply to both bases.
    let alone = mini.pristine("alone");
    let tree = mini.series_report("list")["tip"]["tree"].clone();
    assert_eq!(
        am(&mini, &alone, "out/list/v1.mbox"),
        tree.as_str().unwrap()
    );
}

#[test]
fn second_run_changes_nothing() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let (report, received) = (mini.report(), mini.received());
    let date = |below: &str| fs::metadata(mini.ws(below)).unwrap().modified().unwrap();
    let before = date("out/list/v1.mbox");
    let branch = mini.git(&mini.path("cache/kernel"), &["rev-parse", "b4/list"]);
    let again = mini.good(&["assemble"]);
    assert!(
        again.stderr.contains("nothing changed since"),
        "{}",
        again.stderr
    );
    // Assembling all series again gives the same files.
    fs::remove_file(mini.ws("out/assembled.json")).unwrap();
    let again = mini.good(&["assemble"]);
    assert!(
        !again.stderr.contains("nothing changed since"),
        "{}",
        again.stderr
    );
    assert_eq!((report, received), (mini.report(), mini.received()));
    assert_eq!(before, date("out/list/v1.mbox"));
    assert_eq!(
        branch,
        mini.git(&mini.path("cache/kernel"), &["rev-parse", "b4/list"])
    );
}

#[test]
fn changes_are_detected() {
    let mini = Mini::new();
    let unchanged = || {
        mini.good(&["assemble"])
            .stderr
            .contains("nothing changed since")
    };
    assert!(!unchanged());
    assert!(unchanged());
    let change = |what: &str, from: &str, to: &str| {
        mini.replace(what, from, to);
        assert!(!unchanged(), "{what}");
        assert!(unchanged(), "{what}");
    };
    change("list/tree/list.rs", "A list", "My list");
    change("buddy/edits/1.diff", "mod buddy", "mod  buddy");
    change("series/list/1.msg", "Drivers", "All drivers");
    change("series/buddy.toml", "list@", "buddies@");
    change("cover-letters/other.md", "Drivers", "All drivers");
    change("other/CHANGELOG.md", "First", "Very first");
    change("out/list/v1.mbox", "PATCH", "PUTCH");
    change("out/buddy/v1/0000-cover-letter.patch", "PATCH", "PUTCH");
    change("out/series.json", "6.1.2", "6.1.2 ");
    mini.file(
        "home/.gitconfig",
        "[user]\n\tname = Other\n\temail = other@example.org\n",
    );
    assert!(!unchanged());
    mini.git(
        &mini.path("cache/kernel"),
        &["branch", "--quiet", "-D", "b4/list"],
    );
    assert!(!unchanged());
    fs::remove_file(mini.ws("out/tree")).unwrap();
    assert!(!unchanged());
    assert!(unchanged());
}

#[test]
fn removed_patches_leave_no_file() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    assert!(
        mini.ws("out/list/v1/0002-rust-list-add-the-owned-side.patch")
            .is_file()
    );
    fs::rename(mini.ws("series/list/2.msg"), mini.ws("series/list/3.msg")).unwrap();
    mini.replace("series/list.toml", "2.msg", "3.msg");
    mini.message("list", "3.msg", "rust: list: add another side");
    mini.good(&["assemble"]);
    assert!(
        !mini
            .ws("out/list/v1/0002-rust-list-add-the-owned-side.patch")
            .exists()
    );
    assert!(
        mini.ws("out/list/v1/0002-rust-list-add-another-side.patch")
            .is_file()
    );
}

#[test]
fn named_series_and_dependencies_only() {
    let mini = Mini::new();
    // An error in another series does not matter.
    mini.replace("series/other.toml", "1.diff", "9.diff");
    mini.good(&["assemble", "buddy"]);
    assert!(mini.ws("out/list/v1.mbox").is_file() && mini.ws("out/buddy/v1.mbox").is_file());
    assert!(!mini.ws("out/other").exists() && !mini.ws("out/series.json").exists());
}

#[test]
fn missing_identity_omits_sign_off() {
    let mini = Mini::new();
    mini.file("home/.gitconfig", "");
    let ran = mini.good(&["assemble"]);
    assert!(ran.stderr.contains("have no sign-off"), "{}", ran.stderr);
    let all: String = mini.received().into_iter().map(|(_, text)| text).collect();
    assert!(!all.contains("Signed-off-by"));
}

#[test]
fn tree_for_host_tests_is_written() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    assert_eq!(
        mini.read("out/tree/list.rs"),
        mini.read("list/tree/list.rs")
    );
    assert!(mini.ws("out/tree/scripts/run.sh").is_file());
    assert!(!mini.ws("out/tree/Makefile").exists());
    // The base contributes the files that are requested.
    assert!(mini.ws("out/tree/base/Makefile").is_file());
    assert!(!mini.ws("out/tree/base/scripts").exists());
    // A changed tree gets its own folder; the old one is unchanged.
    let old = fs::read_link(mini.ws("out/tree")).unwrap();
    mini.overlay("list", "list.rs", "//! Another list.\n\nmod owned;\n");
    mini.good(&["assemble"]);
    assert_eq!(
        mini.read("out/tree/list.rs"),
        "//! Another list.\n\nmod owned;\n"
    );
    assert_ne!(fs::read_link(mini.ws("out/tree")).unwrap(), old);
    assert!(
        fs::read_to_string(old.join("list.rs"))
            .unwrap()
            .contains("walk")
    );
}

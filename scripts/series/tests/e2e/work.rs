// SPDX-License-Identifier: GPL-2.0

//! The user's changes on b4's branches and in their work trees survive, and older states of the
//! workspace assemble with the same cache.

use std::{fs, path::PathBuf};

use crate::stage::Stage;

fn sent() -> (Stage, PathBuf) {
    let stage = Stage::new();
    stage.good(&["prepare", "list"]);
    let tree = stage.mini.path("cache/send/list");
    (stage, tree)
}

/// Changes the checkout, so that the tool would recreate the branch.
fn change(stage: &Stage) {
    stage
        .mini
        .overlay("list", "list/owned.rs", "//! Owned by Rust.\n");
}

#[test]
fn work_tree_of_copied_cache_is_refused() {
    let (stage, tree) = sent();
    let copy = stage.mini.path("copy");
    let copied = std::process::Command::new("cp")
        .arg("--archive")
        .args([&stage.mini.path("cache"), &copy])
        .status();
    assert!(copied.unwrap().success());
    let head = fs::read(tree.join(".git")).unwrap();
    let prepare = || {
        let mut command = stage.with_b4(stage.mini.command(&["prepare", "list"]));
        stage
            .mini
            .ran(command.env("SERIES_CACHE", &copy).output().unwrap())
    };
    let ran = prepare();
    let what = "copy/send/list: belongs to the repository of another cache";
    assert!(ran.stderr.contains(what), "{}", ran.stderr);
    fs::remove_dir_all(copy.join("send/list")).unwrap();
    let ran = prepare();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(fs::read(tree.join(".git")).unwrap(), head);
    stage.good(&["prepare", "list"]);
}

#[test]
fn changed_file_in_send_folder_is_kept() {
    let (stage, tree) = sent();
    fs::write(tree.join("Kconfig"), "mine\n").unwrap();
    stage.mini.file("cache/send/list/new.rs", "mine\n");
    stage
        .mini
        .git(&tree, &["add", "--force", "--sparse", "new.rs"]);
    for _ in 0..2 {
        let text = stage.error(&["prepare", "list"]);
        assert!(
            text.starts_with("error: DIR/cache/send/list: the folder has changes"),
            "{text}"
        );
        assert!(
            text.contains("M\tKconfig\n") && text.contains("A\tnew.rs\n"),
            "{text}"
        );
        assert_eq!(fs::read_to_string(tree.join("Kconfig")).unwrap(), "mine\n");
        assert_eq!(fs::read_to_string(tree.join("new.rs")).unwrap(), "mine\n");
        // Also after the branch moved.
        change(&stage);
    }
    // The command in the help works.
    let text = stage.error(&["prepare", "list"]);
    assert!(text.contains("/send/list reset --hard\n"), "{text}");
    stage.mini.git(&tree, &["reset", "--quiet", "--hard"]);
    stage.good(&["prepare", "list"]);
}

#[test]
fn commit_on_b4_branch_is_kept() {
    for amend in [false, true] {
        let (stage, tree) = sent();
        fs::write(tree.join("Kconfig"), "mine\n").unwrap();
        let mut args = vec!["commit", "--quiet", "-a", "-m", "my own change"];
        if amend {
            args.insert(1, "--amend");
        }
        stage.mini.git(&tree, &args);
        let mine = stage.mini.git(&tree, &["rev-parse", "HEAD"]);
        for _ in 0..2 {
            let text = stage.error(&["prepare", "list"]);
            assert!(text.contains("the branch b4/list has changes"), "{text}");
            assert!(text.contains("my own change"), "{text}");
            let ran = stage.good(&["assemble"]);
            assert!(ran.stderr.contains("my own change") || !ran.stderr.contains("assembled in"));
            let kernel = stage.mini.path("cache/kernel");
            assert_eq!(stage.mini.git(&kernel, &["rev-parse", "b4/list"]), mine);
            change(&stage);
        }
    }
}

#[test]
fn edited_cover_on_b4_branch_is_kept() {
    let (stage, tree) = sent();
    let git = |args: &[&str]| stage.mini.git(&tree, args);
    // As `b4 prep --edit-cover` does: rewrite the commits on top of the new cover letter.
    let count = 2;
    let cover = git(&["rev-parse", &format!("HEAD~{count}")]);
    let edit = |cover: &str, from: &str, to: &str| {
        let text = git(&["cat-file", "commit", cover]);
        assert!(text.contains(from), "{text}");
        stage.mini.file("text", &(text.replace(from, to) + "\n"));
        let file = stage.mini.path("text");
        git(&["hash-object", "-t", "commit", "-w", file.to_str().unwrap()])
    };
    let new = edit(&cover, "Drivers need list.", "Everybody needs list.");
    let new = edit(
        &new,
        "To: List <list@example.org>",
        "To: Else <else@example.org>",
    );
    let mut parent = (cover, new);
    for n in (0..count).rev() {
        let old = git(&["rev-parse", &format!("HEAD~{n}")]);
        let new = edit(&old, &parent.0, &parent.1);
        parent = (old, new);
    }
    git(&["update-ref", "refs/heads/b4/list", &parent.1]);
    for _ in 0..2 {
        let text = stage.error(&["prepare", "list"]);
        for line in [
            "cover letter: - Drivers need list.",
            "cover letter: + Everybody needs list.",
            "cover letter: + To: Else <else@example.org>",
        ] {
            assert!(text.contains(line), "{line}:\n{text}");
        }
        stage.good(&["assemble"]);
        assert_eq!(git(&["rev-parse", "b4/list"]), parent.1);
        change(&stage);
    }
    // The command in the help works.
    git(&["branch", "list-mine", "b4/list"]);
    git(&["update-ref", "refs/heads/b4/list", "refs/series/b4/list"]);
    stage.good(&["prepare", "list"]);
}

#[test]
fn other_branch_in_send_folder_is_left() {
    let (stage, tree) = sent();
    stage.mini.git(&tree, &["checkout", "--quiet", "--detach"]);
    stage
        .mini
        .git(&tree, &["commit", "--quiet", "--allow-empty", "-m", "mine"]);
    let mine = stage.mini.git(&tree, &["rev-parse", "HEAD"]);
    let text = stage.error(&["prepare", "list"]);
    assert!(text.contains("is on no branch, not on b4/list"), "{text}");
    assert_eq!(stage.mini.git(&tree, &["rev-parse", "HEAD"]), mine);
}

#[test]
fn post_line_explains_inaction() {
    let stage = Stage::new();
    let ran = stage.good(&["prepare", "list"]);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let at = lines
        .iter()
        .position(|l| *l == "To post the series:")
        .unwrap();
    let dir = stage.mini.path("");
    let line = lines[at + 1].replace("DIR", dir.to_str().unwrap().trim_end_matches('/'));
    change(&stage);
    stage.good(&["assemble"]);
    let mut command = std::process::Command::new("sh");
    stage.mini.isolate(&mut command);
    let ran = stage
        .mini
        .ran(command.args(["-c", &line]).output().unwrap());
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert_eq!(
        ran.stderr,
        "nothing was posted: b4/list changed since the rehearsal; run: cargo series prepare list\n"
    );
}

#[test]
fn send_lists_skipped_checks() {
    let stage = Stage::new();
    let said = stage.good(&["prepare", "list"]).stderr;
    for command in [
        "check list",
        "check --full list",
        "test --hardened list",
        "test --lockdep list",
    ] {
        let line = format!("`cargo series {command}` was not run\n");
        assert!(said.contains(&line), "{said}");
    }
    stage.good(&["check", "list"]);
    let said = stage.good(&["prepare", "list"]).stderr;
    assert!(!said.contains("`cargo series check list`"), "{said}");
    change(&stage);
    let said = stage.good(&["prepare", "list"]).stderr;
    assert!(
        said.contains("`cargo series check list` was not run\n"),
        "{said}"
    );
}

#[test]
fn post_line_needs_identity() {
    let stage = Stage::new();
    stage.mini.file("home/.gitconfig", "");
    let text = stage.run(&["prepare", "list"]).stderr;
    assert!(
        text.contains("error: ") && !text.contains("To post the series"),
        "{text}"
    );
}

#[test]
fn older_state_after_posting() {
    let stage = Stage::new();
    let before = stage.mini.path("before");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let ran = std::process::Command::new("cp")
            .arg("-a")
            .args([from, to])
            .status();
        assert!(ran.unwrap().success());
    };
    stage.good(&["assemble"]);
    copy(&stage.mini.ws(""), &before);
    let old = stage.mini.received_of("list", 1);
    stage.post("list");
    stage.good(&["record", "list"]);
    change(&stage);
    stage.mini.replace(
        "list/CHANGELOG.md",
        "## v2\n\n",
        "## v2\n\n- Patch 2: say it.\n",
    );
    stage.good(&["assemble"]);
    let kernel = stage.mini.path("cache/kernel");
    let tip = stage.mini.git(&kernel, &["rev-parse", "b4/list"]);
    let after = stage.mini.path("after");
    fs::rename(stage.mini.ws(""), &after).unwrap();
    copy(&before, &stage.mini.ws(""));
    fs::remove_dir_all(stage.mini.ws("out")).unwrap();
    stage.good(&["assemble"]);
    stage.good(&["check"]);
    assert_eq!(stage.mini.received_of("list", 1), old);
    assert_eq!(
        stage.mini.git(&kernel, &["rev-parse", "b4/list"]),
        tip,
        "b4's is left alone"
    );
    let text = stage.error(&["prepare", "list"]);
    assert!(
        text.contains("b4 is at v2 of list, but the manifest has version = 1"),
        "{text}"
    );
    // The newest state works as well.
    fs::remove_dir_all(stage.mini.ws("")).unwrap();
    fs::rename(&after, stage.mini.ws("")).unwrap();
    stage.good(&["assemble"]);
    stage.good(&["check", "list"]);
    assert_eq!(stage.mini.git(&kernel, &["rev-parse", "b4/list"]), tip);
}

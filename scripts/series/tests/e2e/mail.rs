// SPDX-License-Identifier: GPL-2.0

//! Branches and mails for the real b4, which has to be in `PATH` or in the folder that `cargo
//! series setup` uses.

use std::{fs, path::PathBuf, process::Command};

use series::sys::cache::Cache;

use crate::mini::Mini;

/// Returns the folder of b4. `scripts/test` installs the tools before it runs this test.
pub fn b4_folder() -> PathBuf {
    let var = |name: &str| std::env::var(name).ok();
    let cache = Cache::open(&var).expect("there is a cache folder");
    let own = fs::read_dir(cache.path("tools")).into_iter();
    let own = own.flatten().flatten().map(|e| e.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    own.chain(std::env::split_paths(&path))
        .find(|dir| dir.join("b4").is_file())
        .expect("b4 is needed for this test: run `cargo series setup` first")
}

pub fn with_b4(mini: &Mini, mut command: Command) -> crate::mini::Ran {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", b4_folder().display()));
    mini.ran(command.output().unwrap())
}

#[test]
fn b4_accepts_branches() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    for (branch, patches, prerequisites) in [("b4/list", 2, "False"), ("b4/buddy", 2, "True")] {
        let mut command = mini.command(&[]);
        let program = b4_folder().join("b4");
        let mut b4 = Command::new(program);
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => b4.env(key, value),
                None => b4.env_remove(key),
            };
        }
        b4.args(["prep", "--show-info", branch])
            .current_dir(mini.path("cache/kernel"));
        command = b4;
        // b4 requires that HEAD is on a branch.
        let ran = with_b4(&mini, command);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let has = |line: &str| assert!(ran.stdout.contains(line), "{line}:\n{}", ran.stdout);
        has(&format!("branch: {branch}\n"));
        has("revision: 1\n");
        has(&format!("has-prerequisites: {prerequisites}\n"));
        let commits = ran
            .stdout
            .lines()
            .filter(|l| l.starts_with("commit-"))
            .count();
        assert_eq!(commits, patches, "{}", ran.stdout);
    }
}

#[test]
fn send_writes_mails_and_sends_none() {
    let mini = Mini::new();
    let ran = with_b4(&mini, mini.command(&["prepare", "buddy"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("Nothing was sent."), "{}", ran.stderr);
    assert!(
        ran.stderr.contains(" send --reflect; else "),
        "{}",
        ran.stderr
    );
    let mails: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(mails.len(), 3, "{}", ran.stdout);
    let cover = mini.read(mails[0]);
    let ids: Vec<String> = mini.series_report("list")["patches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            format!(
                "prerequisite-patch-id: {}\n",
                p["patch_id"].as_str().unwrap()
            )
        })
        .collect();
    for part in [
        "Subject: [PATCH 0/2] rust: buddy: add it\n",
        "From: Dev Eloper <dev@example.org>\n",
        "list@example.org",
        "1. [PATCH 0/2] rust: list: add it\n     not posted yet\n",
        "Base: Linux v6.1.2\n",
        "Changes in v1:\n- First posting.\n",
        &ids.concat(),
        "change-id: 20260102-buddy-0123456789ab\n",
    ] {
        assert!(cover.contains(part), "{part:?} is not in:\n{cover}");
    }
    // The base commit of this workspace is private.
    assert!(!cover.contains("base-commit"), "{cover}");
    let patch = mini.read(mails[1]);
    assert!(
        patch.contains("Subject: [PATCH 1/2] rust: buddy: add the binding\n"),
        "{patch}"
    );
    assert!(
        patch.contains("Signed-off-by: Dev Eloper <dev@example.org>\n"),
        "{patch}"
    );
    // Again, and after a change.
    with_b4(&mini, mini.command(&["prepare", "buddy"]));
    mini.overlay("buddy", "buddy.rs", "//! Another buddy.\n");
    let ran = with_b4(&mini, mini.command(&["prepare", "buddy"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(mini.read(mails[1]).contains("+//! Another buddy.\n"));
}

#[test]
fn single_patch_carries_cover_letter() {
    let mini = Mini::new();
    let ran = with_b4(&mini, mini.command(&["prepare", "other"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let mails: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(mails.len(), 1, "{}", ran.stdout);
    let mail = mini.read(mails[0]);
    assert!(
        mail.contains("Subject: [PATCH] MAINTAINERS: add an entry\n"),
        "{mail}"
    );
    let (_, below) = mail.split_once("\n---\n").unwrap();
    assert!(below.contains("Base: Linux v6.1.2\n"), "{mail}");
}

#[test]
fn series_without_patches_is_not_sent() {
    let mini = Mini::new();
    let ran = with_b4(&mini, mini.command(&["prepare", "mm"]));
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr
            .contains("error: series/mm.toml: mm has no patches yet"),
        "{}",
        ran.stderr
    );
}

#[test]
fn version_of_b4_is_not_overwritten() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let kernel = mini.path("cache/kernel");
    // A real `b4 send` increments the revision in the cover commit.
    let tip = mini.git(&kernel, &["rev-parse", "b4/other"]);
    let cover = mini.git(&kernel, &["rev-parse", &format!("{tip}~1")]);
    let text = mini.git(&kernel, &["show", "-s", "--format=%B", &cover]);
    assert!(text.contains("\"revision\": 1"), "{text}");
    fs::write(
        mini.path("text"),
        text.replace("\"revision\": 1", "\"revision\": 2"),
    )
    .unwrap();
    let file = mini.path("text");
    let tree = format!("{cover}^{{tree}}");
    let sent = mini.git(
        &kernel,
        &[
            "commit-tree",
            &tree,
            "-p",
            &format!("{cover}~1"),
            "-F",
            file.to_str().unwrap(),
        ],
    );
    mini.git(&kernel, &["update-ref", "refs/heads/b4/other", &sent]);
    let was = "series/other.toml:1: b4 is at v2 of other, but the manifest has version = 1\n";
    // Only `send` depends on it.
    let ran = mini.good(&["assemble"]);
    assert!(ran.stderr.contains(was), "{}", ran.stderr);
    let text = mini.error(&["prepare", "other"]);
    assert!(text.starts_with(&format!("error: {was}")), "{text}");
    assert_eq!(mini.git(&kernel, &["rev-parse", "b4/other"]), sent);
}

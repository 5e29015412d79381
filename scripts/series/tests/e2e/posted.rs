// SPDX-License-Identifier: GPL-2.0

//! `posted` and `diff`: records of postings from each source, and comparisons with them.

use std::{
    fs,
    process::{Command, Stdio},
};

use series::mail::mailbox::Mail;

use crate::stage::{PUBLIC, Stage, Wanted, change_id, link, without_ids};

/// Saves mails as a mail program does.
fn save(stage: &Stage, file: &str, mails: &[Mail]) -> String {
    let text: Vec<u8> = mails
        .iter()
        .flat_map(|m| [b"From x Thu Jan  1 00:00:00 2026\n", &m.raw[..], b"\n"].concat())
        .collect();
    let path = stage.mini.path(file);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn posted_from_mails() {
    let stage = Stage::new();
    let list = stage.post("list");
    let saved = save(&stage, "list.mbox", &list);
    // b4's branch and its tag are gone.
    fs::remove_dir_all(stage.mini.path("cache")).unwrap();
    stage.good(&["record", "list", "--mbox", &saved]);
    let record = stage.mini.read("series/list/posted/v1.toml");
    for mail in &list {
        assert!(record.contains(&format!("\"{}\"", mail.id)), "{record}");
    }
    let kernel = stage.mini.path("cache/kernel");
    let tag = "refs/tags/sent/20260102-list-0123456789ab-v1";
    let tree = stage
        .mini
        .git(&kernel, &["rev-parse", &format!("{tag}^{{tree}}")]);
    assert_eq!(
        stage.mini.series_report("list")["tip"]["tree"],
        tree.as_str()
    );
    // b4 knows the history, and finds the patches of the dependency in the tag.
    let buddy = stage.post("buddy");
    let (base, id) = (format!("base-commit: {PUBLIC}"), change_id("buddy"));
    let below = format!("prerequisite-{}:v1", change_id("list"));
    stage.look(
        &buddy,
        &Wanted {
            subjects: &[
                "[PATCH 0/2] rust: buddy: add it",
                "[PATCH 1/2] rust: buddy: add the binding",
                "[PATCH 2/2] rust: buddy: add a test",
            ],
            trailers: &[&base, &id, &below],
            ids: 2,
        },
    );
    assert!(stage.info("buddy").contains("revision: 2\n"));
    // A dependent series is recorded from its mails as well, with the version of its dependency.
    let saved = save(&stage, "buddy.mbox", &buddy);
    fs::remove_dir_all(stage.mini.path("cache")).unwrap();
    stage.good(&["record", "buddy", "--mbox", &saved]);
    let record = stage.mini.read("series/buddy/posted/v1.toml");
    assert!(
        record.contains("[[below]]\nseries = \"list\"\nversion = 1\n"),
        "{record}"
    );
    // A second version from mails.
    stage
        .mini
        .replace("list/tree/list.rs", "walk()", "walk(back: bool)");
    stage.mini.replace(
        "list/CHANGELOG.md",
        "## v2\n\n",
        "## v2\n\n- Patch 1: walk back too.\n",
    );
    let again = stage.post("list");
    let both = [&list[..], &again[..]].concat();
    let saved = save(&stage, "both.mbox", &both);
    fs::remove_dir_all(stage.mini.path("cache")).unwrap();
    stage.good(&["record", "list", "--mbox", &saved]);
    stage.manifest_has("list", "version = 3");
    stage.good(&["check"]);
    let kernel_tags = stage.mini.git(&kernel, &["tag", "--list", "sent/*list*"]);
    assert_eq!(kernel_tags, "sent/20260102-list-0123456789ab-v2");
}

#[test]
fn posted_before_dependency_keeps_parent() {
    let stage = Stage::new();
    let buddy = stage.post("buddy");
    let (base, id) = (format!("base-commit: {PUBLIC}"), change_id("buddy"));
    stage.look(
        &buddy,
        &Wanted {
            subjects: &[
                "[PATCH 0/2] rust: buddy: add it",
                "[PATCH 1/2] rust: buddy: add the binding",
                "[PATCH 2/2] rust: buddy: add a test",
            ],
            trailers: &[&base, &id],
            ids: 2,
        },
    );
    stage.good(&["record", "buddy"]);
    let below = stage.mini.read("series/buddy/posted/v1.below.mbox");
    assert_eq!(below.matches("\nSubject: ").count(), 2, "{below}");
    // The dependency changes. A new cache restores the posting from the record alone.
    stage.mini.replace("list/tree/list.rs", "A list", "My list");
    fs::remove_dir_all(stage.mini.path("cache")).unwrap();
    let ran = stage.good(&["diff", "buddy", "--json"]);
    let said: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(said["against"], 1);
    let changes: Vec<&str> = said["patches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["change"].as_str().unwrap())
        .collect();
    assert_eq!(changes, ["same", "same"]);
}

#[test]
fn posted_errors() {
    let stage = Stage::new();
    let error = |args: &[&str]| without_ids(&stage.error(args));
    stage.good(&["assemble"]);
    insta::assert_snapshot!(error(&["record", "nothing"]), @r#"
    error: unknown series "nothing"
      help: the series are: buddy, list, mm, other
    "#);
    insta::assert_snapshot!(error(&["record", "list"]), @r"
    error: series/list.toml:1: b4 did not post v1 of list from this workspace
      help: `cargo series prepare list` prints the command that posts it; to record other mails, use `cargo series record list --mbox FILE`
    ");
    stage
        .mini
        .replace("series/list.toml", "version = 1", "version = 3");
    insta::assert_snapshot!(error(&["record", "list"]), @r"
    error: series/list.toml:1: v3 of list needs a recorded posting of v2, which is missing
      help: the next version is v1: set version = 1; if v1 was posted by other means, record it: `cargo series record list --mbox FILE`
    ");
    stage
        .mini
        .replace("series/list.toml", "version = 3", "version = 1");
    stage.mini.file("none.mbox", "no mail\n");
    let file = stage.mini.path("none.mbox");
    let text = error(&["record", "list", "--mbox", file.to_str().unwrap()]);
    assert!(text.starts_with("error: DIR/none.mbox: "), "{text}");
    let file = stage.mini.path("missing.mbox");
    let text = error(&["record", "list", "--mbox", file.to_str().unwrap()]);
    assert!(text.contains("DIR/missing.mbox: No such file"), "{text}");
    // Patches that apply nowhere.
    let list = stage.post("list");
    let mut odd = list.clone();
    let raw = String::from_utf8(odd[2].raw.clone()).unwrap();
    odd[2].raw = raw.replace("//! A list.", "//! Another.").into_bytes();
    let saved = save(&stage, "odd.mbox", &odd);
    let text = error(&["record", "list", "--mbox", &saved]);
    assert!(
        text.starts_with(
            "error: DIR/odd.mbox: the patches apply neither to the posted dependencies"
        ) && text.contains("patch 2: does not apply"),
        "{text}"
    );
    // The failed run recorded nothing.
    assert!(!stage.mini.ws("series/list/posted").exists());
}

#[test]
fn posted_without_tag_uses_mails() {
    let stage = Stage::new();
    // If git's settings require signed tags, b4 without a key sends the mails, but creates no tag.
    stage.mini.file(
        "home/.gitconfig",
        "[user]\n\tname = Dev Eloper\n\temail = dev@example.org\n[commit]\n\tgpgsign = true\n[gpg]\n\tprogram = false\n",
    );
    let list = stage.post("list");
    let text = stage.error(&["record", "list"]);
    insta::assert_snapshot!(text, @r"
    error: DIR/cache/kernel: b4 has posted v1 of list, but its tag sent/20260102-list-0123456789ab-v1 is missing
      help: record it from the mails that you received: `cargo series record list --mbox FILE`
    ");
    let saved = save(&stage, "list.mbox", &list);
    stage.good(&["record", "list", "--mbox", &saved]);
    stage.good(&["check", "list"]);
}

#[test]
fn range_diff_is_appended_on_request() {
    let stage = Stage::new();
    let text = stage.error(&["diff", "list"]);
    insta::assert_snapshot!(text, @r"
    error: series/list.toml: no posting of list is recorded
      help: record a posting with `cargo series record list`
    ");
    let list = stage.post("list");
    stage.good(&["record", "list"]);
    let text = stage.error(&["diff", "list", "--against", "2"]);
    assert!(
        text.contains("v2 of list is not recorded\n  help: v1 to v1 are recorded"),
        "{text}"
    );
    stage
        .mini
        .replace("list/tree/list.rs", "walk()", "walk(back: bool)");
    stage.mini.replace(
        "list/CHANGELOG.md",
        "## v2\n\n",
        "## v2\n\n- Patch 1: walk back too.\n",
    );
    let plain = stage.good(&["diff", "list"]);
    assert!(
        plain
            .stderr
            .contains("list against v1: 1 changed, 1 moved\n"),
        "{}",
        plain.stderr
    );
    assert!(!stage.cover("list", 2).contains("Range-diff"));
    stage.good(&["diff", "list", "--append"]);
    stage.manifest_has("list", "range-diff = true");
    let cover = stage.cover("list", 2);
    assert!(
        cover.contains(&format!("Range-diff against v1:\n{}", plain.stdout)),
        "{cover}"
    );
    // The range-diff contains nothing that is private to this repository.
    let kernel = stage.mini.path("cache/kernel");
    let commits = stage
        .mini
        .git(&kernel, &["rev-list", "--all", "--abbrev-commit"]);
    assert!(commits.lines().all(|c| !cover.contains(c)), "{cover}");
    stage.good(&["diff", "list", "--no-append"]);
    assert!(!stage.cover("list", 2).contains("Range-diff"));
    stage.good(&["diff", "list", "--append"]);
    let mails = stage.post("list");
    assert!(
        mails[0]
            .body
            .contains("Range-diff against v1:\n1: ! 1: rust: list: add a walk\n")
    );
    assert!(mails[0].body.contains(&link(&list)));
    stage.good(&["record", "list"]);
    let manifest = stage.mini.read("series/list.toml");
    assert!(!manifest.contains("range-diff"), "{manifest}");
    // `--against` selects an older version.
    let ran = stage.good(&["diff", "list", "--against", "1"]);
    assert_eq!(ran.stdout, plain.stdout);
    let ran = stage.good(&["diff", "list"]);
    assert_eq!(
        ran.stdout,
        "1: = 1: rust: list: add a walk\n2: = 2: rust: list: add the owned side\n"
    );
}

#[test]
fn range_diff_has_own_patches_only() {
    let stage = Stage::new();
    for name in ["list", "buddy"] {
        stage.post(name);
        stage.good(&["record", name]);
    }
    // A dependency changes, and the patches of the series stay the same.
    stage.mini.replace("list/tree/list.rs", "A list", "My list");
    let ran = stage.good(&["diff", "buddy"]);
    assert_eq!(
        ran.stdout,
        "1: = 1: rust: buddy: add the binding\n2: = 2: rust: buddy: add a test\n"
    );
}

#[test]
fn killed_recording_is_completed() {
    let stage = Stage::new();
    stage.post("other");
    let kept = || {
        [
            "series/other.toml",
            "other/CHANGELOG.md",
            "series/other/posted/v1.toml",
            "series/other/posted/v1.mbox",
        ]
        .map(|f| stage.mini.read(f))
    };
    let copy = |from: &str, to: &str| {
        let _ = fs::remove_dir_all(stage.mini.path(to));
        let paths = [stage.mini.path(from), stage.mini.path(to)];
        let copied = Command::new("cp").arg("-a").args(paths).status();
        assert!(copied.unwrap().success());
    };
    for part in ["ws", "cache"] {
        copy(part, &format!("{part}-before"));
    }
    stage.good(&["record", "other"]);
    let whole = kept();
    for delay in [1, 10, 30, 50, 70, 90, 110, 140] {
        for part in ["ws", "cache"] {
            copy(&format!("{part}-before"), part);
        }
        let mut child = stage
            .with_b4(stage.mini.command(&["record", "other", "--quiet"]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        // SIGKILL; the run may have ended before.
        let _ = child.kill();
        child.wait().unwrap();
        if !stage.mini.read("series/other.toml").contains("version = 2") {
            stage.good(&["record", "other"]);
        }
        stage.good(&["assemble"]);
        assert_eq!(kept(), whole, "killed after {delay} ms");
    }
}

// SPDX-License-Identifier: GPL-2.0

//! New versions without changed patches, and resending.

use std::{fs, process::Command};

use series::mail::mailbox::{self, Mail};

use crate::stage::{Stage, link, without_ids};

/// Replaces the content of a file of the workspace.
fn set(stage: &Stage, below: &str, text: &str) {
    stage.mini.file(&format!("ws/{below}"), text);
}

/// Adds an item to the entry of the next version.
fn say(stage: &Stage, name: &str, version: u32, item: &str) {
    let heading = format!("## v{version}\n\n");
    let file = format!("{name}/CHANGELOG.md");
    stage
        .mini
        .replace(&file, &heading, &format!("{heading}{item}"));
}

/// Creates a release that adds a line next to the series' own, and adapts their diffs to it.
fn rebase(stage: &Stage) {
    stage
        .mini
        .release(3, &[("lib.rs", "mod alpha;\nmod beta;\nmod omega;\n")]);
    let edits = [
        (
            "list",
            " mod alpha;\n mod beta;\n+mod list;\n mod omega;\n",
            (3, 4),
        ),
        (
            "buddy",
            " mod alpha;\n mod beta;\n+mod buddy;\n mod list;\n mod omega;\n",
            (4, 5),
        ),
        (
            "mm",
            " mod alpha;\n mod beta;\n mod buddy;\n mod list;\n+mod mm;\n mod omega;\n",
            (5, 6),
        ),
    ];
    for (name, hunk, counts) in edits {
        stage.mini.edit(name, "1.diff", "lib.rs", hunk, counts);
    }
}

#[test]
fn rebase_needs_version_and_item() {
    let stage = Stage::new();
    let list1 = stage.post("list");
    stage.good(&["record", "list"]);
    stage.post("buddy");
    stage.good(&["record", "buddy"]);
    rebase(&stage);
    insta::assert_snapshot!(
        "rebase_item_missing",
        without_ids(&stage.error(&["prepare", "list"]))
    );
    // v1 of the dependency does not apply to the new base, so the cover names no posting.
    let cover = stage.cover("buddy", 2);
    let said = format!("not posted yet; v1 is {}", link(&list1));
    assert!(cover.contains(&said), "{cover}");
    assert!(!cover.contains("prerequisite-change-id"), "{cover}");
    for name in ["list", "buddy"] {
        say(&stage, name, 2, "- Rebased on Linux v6.1.3.\n");
    }
    stage.good(&["check", "list", "buddy"]);
    insta::assert_snapshot!("stale_dependency", stage.error(&["prepare", "buddy"]));
    let list2 = stage.post("list");
    assert!(
        list2[0]
            .body
            .contains("Changes in v2:\n- Rebased on Linux v6.1.3.\n")
    );
    stage.good(&["record", "list"]);
    let buddy2 = stage.post("buddy");
    assert!(buddy2[0].body.contains(&link(&list2)), "{}", buddy2[0].body);
    stage.good(&["record", "buddy"]);
    // The next version has the new base.
    say(&stage, "list", 3, "- Rebased on Linux v6.1.3.\n");
    insta::assert_snapshot!("rebase_item_wrong", stage.error(&["check", "list"]));
}

#[test]
fn base_without_conflict_keeps_postings() {
    let stage = Stage::new();
    let list1 = stage.post("list");
    stage.good(&["record", "list"]);
    stage.mini.release(4, &[("Kconfig", "# another top\n")]);
    stage.good(&["assemble"]);
    // The mails of v1 apply without changes.
    let cover = stage.cover("buddy", 1);
    assert!(
        cover.contains(&format!("add it\n     {}\n", link(&list1))),
        "{cover}"
    );
}

#[test]
fn reasons_need_version_and_item() {
    let stage = Stage::new();
    stage.post("buddy");
    stage.good(&["record", "buddy"]);
    let nothing = stage.error(&["prepare", "buddy"]);
    assert!(
        nothing.contains("nothing changed since v1 of buddy"),
        "{nothing}"
    );
    let files = [
        "series/buddy.toml",
        "cover-letters/buddy.md",
        "buddy/CHANGELOG.md",
    ];
    let before = files.map(|f| stage.mini.read(f));
    let manifest = &before[0];
    let first = manifest.find("[[patch]]").unwrap();
    let second = manifest.rfind("[[patch]]").unwrap();
    let (head, one, two) = (
        &manifest[..first],
        &manifest[first..second],
        &manifest[second..],
    );
    let reasons = [
        (
            "the cover letter",
            "Cover",
            files[1],
            before[1].replace("Drivers", "Many drivers"),
        ),
        (
            "the recipients",
            "Recipients",
            files[0],
            manifest.replace("<list@", "<other@"),
        ),
        (
            "the prefix",
            "Prefix",
            files[0],
            format!("prefix = \"PATCH net-next\"\n{manifest}"),
        ),
        (
            "the order of the patches",
            "Order",
            files[0],
            format!("{head}{two}\n{one}"),
        ),
    ];
    for (what, word, file, text) in reasons {
        set(&stage, file, &text);
        let unsaid = format!("the entry of v2 does not mention that {what} changed since v1");
        for command in ["check", "prepare"] {
            let error = stage.error(&[command, "buddy"]);
            assert!(error.contains(&unsaid), "{error}");
        }
        say(
            &stage,
            "buddy",
            2,
            &format!("- {word}: as it was asked for.\n"),
        );
        stage.good(&["check", "buddy"]);
        stage.good(&["prepare", "buddy"]);
        set(
            &stage,
            file,
            &before[files.iter().position(|f| *f == file).unwrap()],
        );
        let error = stage.error(&["check", "buddy"]);
        let untrue = format!("has `{word}: …`, but {what} did not change since v1");
        assert!(error.contains(&untrue), "{error}");
        set(&stage, files[2], &before[2]);
    }
    // A newly posted dependency is a reason as well, in any words.
    stage.post("list");
    stage.good(&["record", "list"]);
    stage.good(&["check"]);
    insta::assert_snapshot!("changelog_entry_empty", stage.error(&["prepare", "buddy"]));
    say(&stage, "buddy", 2, "- What it builds on is posted.\n");
    stage.good(&["prepare", "buddy"]);
}

#[test]
fn cover_of_single_patch_is_compared() {
    let stage = Stage::new();
    stage.post("other");
    stage.good(&["record", "other"]);
    assert!(
        stage
            .error(&["prepare", "other"])
            .contains("nothing changed")
    );
    stage
        .mini
        .replace("cover-letters/other.md", "Drivers", "Many drivers");
    let error = stage.error(&["prepare", "other"]);
    assert!(
        error.contains("does not mention that the cover letter changed"),
        "{error}"
    );
}

/// Returns mails as a list delivers them.
fn returned(stage: &Stage, files: &str, change: impl Fn(&str) -> String) -> String {
    let mut mbox = String::new();
    for (i, file) in files.lines().enumerate() {
        let text = change(&stage.mini.read(file));
        let (first, rest) = text.split_once('\n').unwrap();
        mbox += &format!("{first}\nMessage-ID: <again-{i}@example.org>\n{rest}\n");
    }
    stage.mini.file("again.mbox", &mbox);
    stage.mini.path("again.mbox").to_str().unwrap().to_owned()
}

#[test]
fn resend_repeats_last_version() {
    let stage = Stage::new();
    let never = stage.error(&["prepare", "list", "--resend"]);
    assert!(never.contains("no posting of list is recorded"), "{never}");
    let posted = stage.post("list");
    stage.good(&["record", "list"]);
    // A resend ignores later changes, but uses the present recipients.
    stage.mini.replace("list/tree/list.rs", "A list", "My list");
    stage.mini.replace(
        "series/list.toml",
        "to = [",
        "to = [\"New <new@example.org>\", ",
    );
    let ran = stage.good(&["prepare", "list", "--resend"]);
    assert!(ran.stderr.contains("Nothing was sent."), "{}", ran.stderr);
    let files = ran.stdout.clone();
    let mails: Vec<Mail> = files
        .lines()
        .map(|f| {
            mailbox::read(stage.mini.read(f).as_bytes())
                .unwrap()
                .remove(0)
        })
        .collect();
    let subjects: Vec<&str> = mails.iter().map(|m| m.subject.as_str()).collect();
    assert_eq!(
        subjects,
        [
            "[RESEND PATCH 0/2] rust: list: add it",
            "[RESEND PATCH 1/2] rust: list: add a walk",
            "[RESEND PATCH 2/2] rust: list: add the owned side",
        ]
    );
    for (mail, old) in mails.iter().zip(&posted) {
        assert_eq!(mail.from, old.from);
        assert_eq!(mail.id, "");
        assert_eq!(
            mail.addresses("To"),
            ["new@example.org", "list@example.org"]
        );
        assert!(
            !mail.body.lines().any(|l| l.starts_with("To: ")),
            "{}",
            mail.body
        );
    }
    // The mails name no private commit.
    let kernel = stage.mini.path("cache/kernel");
    let commits = stage.mini.git(&kernel, &["rev-list", "--all"]);
    let named = |m: &Mail| commits.lines().any(|c| m.body.contains(c));
    assert!(!mails.iter().any(named));
    // A maintainer applies the mails.
    let tree = stage.mini.pristine("pristine");
    for file in files.lines().skip(1) {
        let file = stage.mini.ws(file);
        stage
            .mini
            .git(&tree, &["am", "--quiet", file.to_str().unwrap()]);
    }
    // The mails that the list delivered are recorded exactly once.
    let other = returned(&stage, &files, |t| t.replace("//! A list", "//! Another"));
    let error = stage.error(&["record", "list", "--resend", "--mbox", &other]);
    assert!(error.contains("the patches differ from v1"), "{error}");
    let other = returned(&stage, &files, |t| t.replace("<dev@", "<mallory@"));
    let error = stage.error(&["record", "list", "--resend", "--mbox", &other]);
    assert!(
        error.contains("the mailbox has no mail with RESEND for"),
        "{error}"
    );
    let back = returned(&stage, &files, str::to_owned);
    for _ in 0..2 {
        stage.good(&["record", "list", "--resend", "--mbox", &back]);
    }
    let record = stage.mini.read("series/list/posted/v1.toml");
    let again = "[[resend]]\nmessage-id = \"again-0@example.org\"\npatches = [\"again-1@example.org\", \"again-2@example.org\"]\n";
    assert_eq!(record.matches(again).count(), 1, "{record}");
    stage.manifest_has("list", "version = 2");
    // Replies to resent mails count.
    let reply = "From x Thu Jan  1 00:00:00 2026\nFrom: Re Viewer <re@example.org>\n\
        Subject: Re: [RESEND PATCH 2/2] rust: list: add the owned side\nMessage-ID: <re@x>\n\
        In-Reply-To: <again-2@example.org>\n\nReviewed-by: Re Viewer <re@example.org>\n\n";
    stage.mini.file("replies.mbox", reply);
    let file = stage.mini.path("replies.mbox");
    stage.good(&["trailers", "list", "--mbox", file.to_str().unwrap()]);
    let trailers = stage.mini.read("series/list/posted/trailers.toml");
    assert!(trailers.contains("patch = \"2.msg\""), "{trailers}");
    // Undo removes the last record, which is the resend.
    stage.good(&["record", "list", "--undo"]);
    let record = stage.mini.read("series/list/posted/v1.toml");
    assert!(!record.contains("[[resend]]"), "{record}");
    stage.manifest_has("list", "version = 2");
}

#[test]
fn resend_of_single_patch_has_cover() {
    let stage = Stage::new();
    stage.post("other");
    stage.good(&["record", "other"]);
    let ran = stage.good(&["prepare", "other", "--resend"]);
    let mail = stage.mini.read(ran.stdout.trim());
    assert!(
        mail.contains("Subject: [RESEND PATCH] MAINTAINERS: add an entry\n"),
        "{mail}"
    );
    assert!(mail.contains("Drivers need other."), "{mail}");
    assert!(
        !mail.contains("\nTo: List <list@example.org>\n---"),
        "{mail}"
    );
    let tree = stage.mini.pristine("pristine");
    let file = stage.mini.ws(ran.stdout.trim());
    let out = Command::new("git")
        .args(["apply", "--check"])
        .arg(file)
        .current_dir(&tree)
        .output();
    assert!(out.unwrap().status.success());
    assert!(fs::read_dir(stage.mini.ws("out/other/v1-resend")).is_ok());
}

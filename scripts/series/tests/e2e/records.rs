// SPDX-License-Identifier: GPL-2.0

//! Records of postings: accepted mails, written files, and undo.

use std::{fs, io::Write, process::Stdio};

use crate::{
    mail::with_b4,
    mini::{Mini, Ran},
    trailers::{id, mails, patch, post, reply},
};

const STORE: &str = "series/list/posted/trailers.toml";
const ANN: &str = "Ann Reviewer <ann@example.net>";
const TAG: &str = "Reviewed-by: Ann Reviewer <ann@example.net>";

/// Records v1 of `list` from this mailbox.
fn record(mini: &Mini, mbox: &str) -> Ran {
    mini.file("posted.mbox", mbox);
    let path = mini.path("posted.mbox");
    mini.run(&["record", "list", "--mbox", path.to_str().unwrap()])
}

fn assembled() -> Mini {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    mini
}

/// Returns the files that a recording writes.
fn state(mini: &Mini) -> Vec<(String, Option<String>)> {
    let files = [
        "series/list.toml",
        "list/CHANGELOG.md",
        "series/list/posted/v1.toml",
        "series/list/posted/v1.mbox",
    ];
    files
        .map(|f| (f.to_owned(), fs::read_to_string(mini.ws(f)).ok()))
        .into()
}

#[test]
fn posted_leaves_out_other_senders() {
    let mini = assembled();
    let eve = "From: Eve <eve@evil.example>";
    let stranger = mails(&mini, "list", 1);
    let stranger = stranger.split_inclusive("\nFrom 0").last().unwrap();
    let stranger = format!("From 0{}", stranger.trim_end_matches("\nFrom 0"))
        .replace("2/2", "3/2")
        .replace("From: Dev Eloper <dev@example.org>", eve)
        .replace(&id("list", 1, 2), "eve@evil.example");
    let mbox = mails(&mini, "list", 1) + &stranger;
    let ran = record(&mini, &mbox);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("recorded: v1 of list, 2 patches"),
        "{}",
        ran.stderr
    );
    let said = "not recorded: \"[PATCH 3/2] rust: list: add the owned side\" of Eve \
                <eve@evil.example>: the posting is from Dev Eloper <dev@example.org>";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert!(!mini.read("series/list/posted/v1.toml").contains("evil"));
    assert!(!mini.read("series/list/posted/v1.mbox").contains("evil"));
}

#[test]
fn posted_with_odd_sender_is_recorded() {
    let mini = assembled();
    let from = "From: Dev Eloper <dev@example.org>";
    for (odd, _) in [
        ("\"Dev <x> Eloper\"", 1),
        ("\"Doe,\\\"\\\\ =?utf-8?q?J=C3=B6=0A?=\"", 2),
    ] {
        let mbox = mails(&mini, "list", 1).replace(from, &format!("From: {odd} <dev@example.org>"));
        let ran = record(&mini, &mbox);
        assert_eq!(ran.code, Some(0), "{odd}: {}", ran.stderr);
        mini.good(&["record", "list", "--undo"]);
    }
}

#[test]
fn posted_failed_restore_writes_nothing() {
    let mini = assembled();
    let before = state(&mini);
    // git cannot write the restored commits.
    mini.file("cache/kernel/.git/refs/series/posted", "in the way");
    let ran = record(&mini, &mails(&mini, "list", 1));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert_eq!(state(&mini), before);
    fs::remove_file(mini.path("cache/kernel/.git/refs/series/posted")).unwrap();
    mini.good(&["assemble"]);
    let ran = record(&mini, &mails(&mini, "list", 1));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn undo_removes_record() {
    let mini = assembled();
    let before = state(&mini);
    post(&mini, "list", 1);
    let kernel = mini.path("cache/kernel");
    let tags = || mini.git(&kernel, &["tag", "--list", "sent/*"]);
    assert_eq!(tags(), "sent/20260102-list-0123456789ab-v1");
    // Undo preserves later changes by the author.
    mini.replace(
        "list/CHANGELOG.md",
        "## v2\n\n",
        "## v2\n\n- Patch 1: more.\n",
    );
    insta::assert_snapshot!(mini.error(&["record", "list", "--undo"]), @r"
    error: list/CHANGELOG.md:3: the entry of v2 was edited since v1 was recorded
      help: move its text elsewhere first
    ");
    mini.replace("list/CHANGELOG.md", "- Patch 1: more.\n", "");
    mini.file(
        &format!("ws/{STORE}"),
        &format!("[[trailer]]\npatch = \"1.msg\"\ntrailer = \"{TAG}\"\n"),
    );
    post(&mini, "buddy", 1);
    insta::assert_snapshot!(mini.error(&["record", "list", "--undo"]), @r"
    error: series/list/posted/trailers.toml:1: Reviewed-by: Ann Reviewer <ann@example.net> was given to v1
      help: remove it first; reviewers have seen that version
    error: series/buddy/posted/v1.toml: v1 of buddy depends on v1 of list
      help: undo that record first: `cargo series record buddy --undo`
    ");
    fs::remove_file(mini.ws(STORE)).unwrap();
    mini.good(&["record", "buddy", "--undo"]);
    mini.good(&["record", "list", "--undo"]);
    assert_eq!(state(&mini), before);
    assert_eq!(tags(), "");
    insta::assert_snapshot!(mini.error(&["record", "list", "--undo"]), @r"
    error: series/list.toml: no posting of list is recorded
      help: there is nothing to undo
    ");
    // The kept mails can be recorded again.
    let kept = mini.ws("out/list/v1-undone.mbox");
    mini.good(&["record", "list", "--mbox", kept.to_str().unwrap()]);
    mini.good(&["assemble"]);
}

#[test]
fn posted_reads_folder_and_standard_input() {
    let mini = Mini::new();
    let ran = with_b4(&mini, mini.command(&["prepare", "list"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    // The mails of the rehearsal were never posted.
    let folder = mini.ws("out/list/v1-mails");
    let folder = folder.to_str().unwrap();
    insta::assert_snapshot!(mini.error(&["record", "list", "--mbox", folder]), @r#"
    error: DIR/ws/out/list/v1-mails: "[PATCH 0/2] rust: list: add it" was not posted: `cargo series prepare list` wrote it to out/list/v1-mails
      help: post the series and record the received mails; b4 sends them with other message IDs
    "#);
    assert!(!mini.ws("series/list/posted").exists());
    let empty = mini.path("empty");
    fs::create_dir(&empty).unwrap();
    insta::assert_snapshot!(mini.error(&["record", "list", "--mbox", empty.to_str().unwrap()]), @r"
    error: DIR/empty: the folder contains no mails
      help: use a folder with files such as *.eml, or a Maildir
    ");
    let mut child = mini
        .command(&["record", "list", "--mbox", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mbox = mails(&mini, "list", 1);
    child
        .stdin
        .take()
        .unwrap()
        .write_all(mbox.as_bytes())
        .unwrap();
    let ran = mini.ran(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    // Replies as files of a folder.
    mini.file("replies/1.eml", &reply(&id("list", 1, 1), ANN, TAG));
    let replies = mini.path("replies");
    let ran = mini.good(&["trailers", "list", "--mbox", replies.to_str().unwrap()]);
    assert!(
        ran.stdout.contains("1.msg: Reviewed-by: Ann"),
        "{}",
        ran.stdout
    );
}

#[test]
fn tag_by_hand_is_completed() {
    let mini = assembled();
    post(&mini, "list", 1);
    let by_hand = format!("[[trailer]]\npatch = \"1.msg\"\ntrailer = \"{TAG}\"\n");
    mini.file(&format!("ws/{STORE}"), &by_hand);
    mini.good(&["assemble"]);
    assert!(patch(&mini, "list", 2, 1).contains(TAG));
    mini.file("replies.mbox", &reply(&id("list", 1, 2), ANN, TAG));
    let path = mini.path("replies.mbox");
    let take = || mini.good(&["trailers", "list", "--mbox", path.to_str().unwrap()]);
    take();
    let stored = mini.read(STORE);
    assert_eq!(stored.matches("fingerprint = ").count(), 2, "{stored}");
    // An excluded tag is not recorded again, and appears in no patch.
    mini.replace(STORE, "version = 1\n", "version = 1\ndrop = \"a joke\"\n");
    let ran = take();
    assert!(ran.stderr.contains("1 known, 0 refused"), "{}", ran.stderr);
    mini.good(&["assemble"]);
    let first = patch(&mini, "list", 2, 1);
    assert!(!first.contains("Ann"), "{first}");
    // The tag follows a renamed message. If that is impossible, the error names the remedy.
    mini.replace("series/list.toml", "2.msg", "owned.msg");
    fs::rename(
        mini.ws("series/list/2.msg"),
        mini.ws("series/list/owned.msg"),
    )
    .unwrap();
    mini.good(&["assemble"]);
    assert!(patch(&mini, "list", 2, 2).contains(TAG));
    let ran = take();
    assert!(ran.stderr.contains("1 known, 0 refused"), "{}", ran.stderr);
    assert!(mini.read(STORE).contains("patch = \"owned.msg\""));
}

/// A reply to a mail of v1 of `list`, written on a day of January.
fn on_day(day: u32, number: usize, from: &str, text: &str) -> String {
    let mail = reply(&id("list", 1, number), from, text);
    mail.replace("03 Jan", &format!("{day:02} Jan"))
        .replace("Message-ID: <", &format!("Message-ID: <{day}"))
}

#[test]
fn doubtful_tags_are_refused() {
    let mini = assembled();
    post(&mini, "list", 1);
    let some = format!("For patches 1 and 2:\n{TAG}");
    let link = "Tested-by: Gus <gus@x.org> # https://x.org/run/1";
    let replies = [
        on_day(4, 1, "\",\" <m@evil.example>", TAG),
        on_day(5, 1, "Ann Reviewer <m@evil.example>", TAG),
        on_day(
            6,
            1,
            "List <m@evil.example>",
            "Acked-by: List <m@evil.example>",
        ),
        on_day(
            7,
            1,
            "Dev Eloper <dev@example.org>",
            "Tested-by: Dev Eloper <dev@example.org>",
        ),
        on_day(8, 0, ANN, &some),
        on_day(9, 2, "Bob <bob@x.org>", "Acked-by: Bob <bob@x.org>"),
        on_day(
            10,
            2,
            "Bob <bob@x.org>",
            "I take that back.\nNacked-by: Bob <bob@x.org>",
        ),
        on_day(11, 1, "Cy <cy@x.org>", "Reviewed by: Cy <cy@x.org>"),
        on_day(12, 1, "Gus <gus@x.org>", link),
    ];
    mini.file("replies.mbox", &replies.concat());
    let path = mini.path("replies.mbox");
    let ran = mini.good(&["trailers", "list", "--mbox", path.to_str().unwrap()]);
    assert_eq!(
        ran.stdout,
        format!("1.msg: {} (given to v1)\n", &link[..26])
    );
    insta::assert_snapshot!("doubtful_tags", ran.stderr);
}

#[test]
fn rewritten_patch_shows_its_change() {
    let functions = |name: &str| -> String {
        (0..40)
            .map(|n| format!("pub fn {name}{n}() {{}}\n"))
            .collect()
    };
    let mini = Mini::new();
    mini.overlay("list", "list/owned.rs", &functions("old"));
    mini.good(&["assemble"]);
    post(&mini, "list", 1);
    mini.overlay("list", "list/owned.rs", &functions("new"));
    let ran = mini.good(&["diff", "list"]);
    let heading = "2: ! 2: rust: list: add the owned side\n";
    assert!(ran.stdout.contains(heading), "{}", ran.stdout);
    for line in ["-+pub fn old0() {}\n", "++pub fn new39() {}\n"] {
        assert!(ran.stdout.contains(line), "{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("-: >"), "{}", ran.stdout);
}

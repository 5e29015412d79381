// SPDX-License-Identifier: GPL-2.0

//! Tags of reviewers: added to the patches from mails, and dropped when a patch changes.

use std::{fs, path::Path, process::Command};

use crate::{
    mail::{b4_folder, with_b4},
    mini::{Mini, Ran},
};

const ANN: &str = "Ann Reviewer <ann@example.net>";
const STORE: &str = "series/list/posted/trailers.toml";

/// Returns the mails of a version as a list delivers them: the files of `out/` with message ids.
pub fn mails(mini: &Mini, name: &str, version: u32) -> String {
    let folder = mini.ws(&format!("out/{name}/v{version}"));
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    let mut mbox = String::new();
    for (n, file) in files.iter().enumerate() {
        let mail = fs::read_to_string(file).unwrap();
        let (from, rest) = mail.split_once('\n').unwrap();
        mbox += &format!("{from}\nMessage-ID: <{}>\n", id(name, version, n));
        if n > 0 {
            mbox += &format!("In-Reply-To: <{}>\n", id(name, version, 0));
        }
        mbox += rest;
        mbox += "\n";
    }
    mbox
}

pub fn id(name: &str, version: u32, n: usize) -> String {
    format!("{name}-v{version}-{n}@example.org")
}

/// Posts the assembled series, as far as the workspace is affected.
pub fn post(mini: &Mini, name: &str, version: u32) {
    let file = format!("{name}-v{version}.mbox");
    mini.file(&file, &mails(mini, name, version));
    let path = mini.path(&file);
    mini.good(&["record", name, "--mbox", path.to_str().unwrap()]);
}

/// Returns a reply to the mail with this id.
pub fn reply(to: &str, from: &str, text: &str) -> String {
    let n = to.len() + from.len() + text.len();
    format!(
        "From mboxrd@z Thu Jan  1 00:00:00 1970\nFrom: {from}\nSubject: Re: [PATCH] it\n\
         Date: Sat, 03 Jan 2026 10:00:00 +0000\nMessage-ID: <r{n}-{to}>\nIn-Reply-To: <{to}>\n\n\
         > quoted\n> Reviewed-by: Quoted <q@example.org>\n\n{text}\n"
    )
}

/// Collects the tags in replies.
fn take(mini: &Mini, name: &str, replies: &[String]) -> Ran {
    mini.file("replies.mbox", &replies.concat());
    let path = mini.path("replies.mbox");
    mini.good(&["trailers", name, "--mbox", path.to_str().unwrap()])
}

/// Returns the mail of a patch, from the sign-off or the tags above it.
pub fn patch(mini: &Mini, name: &str, version: u32, number: usize) -> String {
    let folder = format!("out/{name}/v{version}");
    let start = format!("{number:04}-");
    let mut files = fs::read_dir(mini.ws(&folder)).unwrap().flatten();
    let file = files.find(|e| e.file_name().to_string_lossy().starts_with(&start));
    mini.read(&format!(
        "{folder}/{}",
        file.unwrap().file_name().to_string_lossy()
    ))
}

/// Returns the lines between the text of the message and the diff.
fn block(mail: &str) -> &str {
    let (_, block) = mail.split_once("no other way.\n\n").unwrap();
    block.split_once("\n\ndiff --git ").unwrap().0
}

fn trees(mini: &Mini) -> Vec<String> {
    let series = mini.report()["series"].clone();
    let all = series.as_array().unwrap().iter();
    all.map(|s| s["tip"]["tree"].as_str().unwrap().to_owned())
        .collect()
}

/// Creates a workspace in which v1 of `list` and `buddy` is posted.
fn posted() -> Mini {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    post(&mini, "list", 1);
    post(&mini, "buddy", 1);
    mini
}

#[test]
fn trailers_enter_their_patches() {
    let mini = posted();
    let before = trees(&mini);
    let replies = [
        reply(
            &id("list", 1, 1),
            ANN,
            "Fine.\n\nReviewed-by: Ann Reviewer\n<ann@example.net>\n-- \nAnn",
        ),
        reply(
            &id("list", 1, 0),
            "Bob <bob@example.net>",
            "Acked-by: Bob <bob@example.net> # the API",
        ),
        reply(
            &id("list", 1, 2),
            "Bob <bob@example.net>",
            "Tested-by: Carl <carl@example.net>",
        ),
        reply(
            &id("other", 1, 1),
            ANN,
            "Tested-by: Ann Reviewer <ann@example.net>",
        ),
    ];
    let ran = take(&mini, "list", &replies);
    insta::assert_snapshot!(ran.stdout, @r"
    1.msg: Reviewed-by: Ann Reviewer <ann@example.net> (given to v1)
    1.msg: Acked-by: Bob <bob@example.net> (given to the cover letter of v1, and so to all patches)
    2.msg: Acked-by: Bob <bob@example.net> (given to the cover letter of v1, and so to all patches)
    ");
    insta::assert_snapshot!(ran.stderr, @r"
    warning: refused: Tested-by: Carl <carl@example.net>: the mail is from Bob <bob@example.net> (r76-list-v1-2@example.org)
    mails unrelated to postings of list: 1
    trailers: 3 new, 0 known, 1 refused
    to add one by hand, write a [[trailer]] with `patch` and `trailer` to series/list/posted/trailers.toml
    `cargo series assemble` adds them to the patches
    ");
    let stored = mini.read(STORE);
    // A second run finds nothing new, and writes nothing.
    let ran = take(&mini, "list", &replies);
    assert_eq!(ran.stdout, "");
    assert!(
        ran.stderr.contains("trailers: 0 new, 3 known, 1 refused"),
        "{}",
        ran.stderr
    );
    assert_eq!(mini.read(STORE), stored);

    let ran = mini.good(&["assemble"]);
    assert!(!ran.stderr.contains("nothing changed"), "{}", ran.stderr);
    assert_eq!(trees(&mini), before);
    insta::assert_snapshot!(block(&patch(&mini, "list", 2, 1)), @r"
    Reviewed-by: Ann Reviewer <ann@example.net>
    Acked-by: Bob <bob@example.net> # the API
    Signed-off-by: Dev Eloper <dev@example.org>
    ---
     lib.rs  | 1 +
     list.rs | 3 +++
     2 files changed, 4 insertions(+)
     create mode 100644 list.rs
    ");
    insta::assert_snapshot!(block(&patch(&mini, "list", 2, 2)), @r"
    Acked-by: Bob <bob@example.net> # the API
    Signed-off-by: Dev Eloper <dev@example.org>
    ---
     list.rs       | 2 ++
     list/owned.rs | 1 +
     2 files changed, 3 insertions(+)
     create mode 100644 list/owned.rs
    ");
    // `git am`, and the branch for b4.
    let dir = mini.pristine("alone");
    mini.git(
        &dir,
        &[
            "am",
            "--quiet",
            mini.ws("out/list/v2.mbox").to_str().unwrap(),
        ],
    );
    let landed = mini.git(&dir, &["log", "--format=%B", "-2"]);
    let branch = mini.git(
        &mini.path("cache/kernel"),
        &["log", "--format=%B", "-2", "b4/list"],
    );
    assert_eq!(landed, branch);
    assert!(
        landed.contains("Reviewed-by: Ann Reviewer <ann@example.net>\nAcked-by: Bob"),
        "{landed}"
    );
    // The same input gives the same bytes.
    let received = mini.received_of("list", 2);
    fs::remove_dir_all(mini.ws("out")).unwrap();
    mini.good(&["assemble"]);
    assert_eq!(mini.received_of("list", 2), received);
}

#[test]
fn changed_patch_loses_trailers_with_note() {
    let mini = posted();
    let replies = [reply(
        &id("list", 1, 0),
        ANN,
        "Reviewed-by: Ann Reviewer <ann@example.net>",
    )];
    take(&mini, "list", &replies);
    mini.overlay("list", "list/owned.rs", "//! Owned.\n\npub fn more() {}\n");
    let ran = mini.good(&["assemble"]);
    let line = ran.stderr.lines().find(|l| l.starts_with("note: "));
    insta::assert_snapshot!(line.unwrap(), @"note: 2.msg of list changed and lost Reviewed-by: Ann Reviewer <ann@example.net> (given to v1)");
    let (kept, lost) = (patch(&mini, "list", 2, 1), patch(&mini, "list", 2, 2));
    assert!(block(&kept).starts_with("Reviewed-by: Ann"), "{kept}");
    insta::assert_snapshot!(block(&lost), @r"
    Signed-off-by: Dev Eloper <dev@example.org>
    ---
    Dropped in v2, because the patch changed: Reviewed-by: Ann Reviewer <ann@example.net> (given to v1)

     list.rs       | 2 ++
     list/owned.rs | 3 +++
     2 files changed, 5 insertions(+)
     create mode 100644 list/owned.rs
    ");

    // The note is not part of the commit, and b4 mails it.
    let dir = mini.pristine("alone");
    mini.git(
        &dir,
        &[
            "am",
            "--quiet",
            mini.ws("out/list/v2.mbox").to_str().unwrap(),
        ],
    );
    let landed = mini.git(&dir, &["log", "--format=%B", "-1"]);
    assert!(
        !landed.contains("Ann") && landed.ends_with("dev@example.org>"),
        "{landed}"
    );
    mini.replace(
        "list/CHANGELOG.md",
        "## v2\n",
        "## v2\n- Patch 2: there is more of it.\n",
    );
    let sent = with_b4(&mini, mini.command(&["prepare", "list"]));
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    let mail = mini.read(sent.stdout.lines().nth(2).unwrap());
    insta::assert_snapshot!(block(&mail), @r"
    Signed-off-by: Dev Eloper <dev@example.org>
    ---
    Changes in v2:
    - there is more of it.

    Dropped in v2, because the patch changed: Reviewed-by: Ann Reviewer <ann@example.net> (given to v1)
    ---
     list.rs       | 2 ++
     list/owned.rs | 3 +++
     2 files changed, 5 insertions(+)
    ");
    fs::copy(
        mini.ws(sent.stdout.lines().nth(2).unwrap()),
        mini.path("sent"),
    )
    .unwrap();
    let dir = mini.pristine("from-b4");
    mini.git(
        &dir,
        &[
            "am",
            "--quiet",
            mini.ws("out/list/v2.mbox").to_str().unwrap(),
        ],
    );
    mini.git(&dir, &["reset", "--quiet", "--hard", "HEAD^"]);
    mini.git(
        &dir,
        &["am", "--quiet", mini.path("sent").to_str().unwrap()],
    );
    assert_eq!(mini.git(&dir, &["log", "--format=%B", "-1"]), landed);

    // Without the entry, neither the patches nor b4's branch have a note.
    let stored = mini.read(STORE);
    let second = stored.find("\n[[trailer]]\npatch = \"2.msg\"").unwrap();
    mini.file(&format!("ws/{STORE}"), &stored[..second]);
    mini.good(&["assemble"]);
    let kernel = mini.path("cache/kernel");
    let message = mini.git(&kernel, &["log", "--format=%B", "-1", "b4/list"]);
    assert!(!message.contains("Dropped"), "{message}");
    mini.file(&format!("ws/{STORE}"), &stored);
    mini.good(&["assemble"]);

    // Later versions have no note.
    post(&mini, "list", 2);
    let third = patch(&mini, "list", 3, 2);
    assert!(
        !third.contains("Ann") && block(&third).starts_with("Signed-off-by"),
        "{third}"
    );
    post(&mini, "list", 3);
    assert!(!patch(&mini, "list", 4, 2).contains("Ann"));
    // With the old content, the review is valid again.
    mini.overlay("list", "list/owned.rs", "//! Owned.\n");
    mini.good(&["assemble"]);
    assert!(block(&patch(&mini, "list", 4, 2)).starts_with("Reviewed-by: Ann"));
}

#[test]
fn kept_trailer_stays_until_dropped() {
    let mini = posted();
    take(
        &mini,
        "list",
        &[reply(
            &id("list", 1, 2),
            ANN,
            "Reviewed-by: Ann Reviewer <ann@example.net>",
        )],
    );
    mini.overlay("list", "list/owned.rs", "//! Owned, by whom?\n");
    mini.replace(
        STORE,
        "version = 1\n",
        "version = 1\nkeep = \"a comment\"\n",
    );
    mini.good(&["assemble"]);
    let mail = patch(&mini, "list", 2, 2);
    assert!(block(&mail).starts_with("Reviewed-by: Ann"), "{mail}");
    assert!(!mail.contains("Dropped"), "{mail}");
    post(&mini, "list", 2);
    mini.replace(STORE, "keep = \"a comment\"\n", "");
    mini.good(&["assemble"]);
    insta::assert_snapshot!(block(&patch(&mini, "list", 3, 2)), @r"
    Signed-off-by: Dev Eloper <dev@example.org>
    ---
    Dropped in v3, because the patch changed: Reviewed-by: Ann Reviewer <ann@example.net> (given to v1)

     list.rs       | 2 ++
     list/owned.rs | 1 +
     2 files changed, 3 insertions(+)
     create mode 100644 list/owned.rs
    ");
    // A tag for v2 belongs to the present patch.
    let tag = "Reviewed-by: Ann Reviewer <ann@example.net>";
    let ran = take(
        &mini,
        "list",
        &[
            reply(&id("list", 2, 2), ANN, tag),
            reply(&id("list", 1, 2), ANN, tag),
        ],
    );
    assert_eq!(
        ran.stdout,
        "2.msg: Reviewed-by: Ann Reviewer <ann@example.net> (given to v2)\n"
    );
    mini.good(&["assemble"]);
    assert!(block(&patch(&mini, "list", 3, 2)).starts_with("Reviewed-by: Ann"));
}

#[test]
fn changed_context_keeps_trailers() {
    let mini = posted();
    take(
        &mini,
        "buddy",
        &[reply(
            &id("buddy", 1, 1),
            ANN,
            "Reviewed-by: Ann Reviewer <ann@example.net>",
        )],
    );
    // A preceding patch adds a line adjacent to the line of this patch.
    mini.edit(
        "list",
        "1.diff",
        "lib.rs",
        " mod alpha;\n+mod lest;\n+mod list;\n mod omega;\n",
        (2, 4),
    );
    mini.edit(
        "buddy",
        "1.diff",
        "lib.rs",
        " mod alpha;\n+mod buddy;\n mod lest;\n mod list;\n",
        (3, 4),
    );
    mini.good(&["assemble"]);
    let mail = patch(&mini, "buddy", 2, 1);
    assert!(mail.contains("\n mod lest;\n"), "{mail}");
    assert!(block(&mail).starts_with("Reviewed-by: Ann"), "{mail}");
    // A change of its line makes it a different patch.
    mini.edit(
        "buddy",
        "1.diff",
        "lib.rs",
        " mod alpha;\n+mod Buddy;\n mod lest;\n mod list;\n",
        (3, 4),
    );
    mini.good(&["assemble"]);
    assert!(block(&patch(&mini, "buddy", 2, 1)).contains("Dropped in v2"));
}

/// Runs b4 in the work tree in which the tool works on `list`.
fn b4(mini: &Mini, args: &[&str]) -> Ran {
    let like = mini.command(&[]);
    let mut b4 = Command::new(b4_folder().join("b4"));
    for (key, value) in like.get_envs() {
        match value {
            Some(value) => b4.env(key, value),
            None => b4.env_remove(key),
        };
    }
    let state = mini.path("b4-state");
    b4.env("XDG_CACHE_HOME", state.join("cache"))
        .env("XDG_DATA_HOME", state.join("data"))
        .args(args)
        .current_dir(mini.path("cache/send/list"));
    with_b4(mini, b4)
}

#[test]
fn trailers_from_b4_are_stored() {
    let mini = Mini::new();
    // This command creates the work tree for b4.
    let ran = with_b4(&mini, mini.command(&["prepare", "list"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    post(&mini, "list", 1);
    mini.git(
        &mini.path("cache/send/list"),
        &["reset", "--quiet", "--hard"],
    );
    let thread = mails(&mini, "list", 1)
        + &reply(
            &id("list", 1, 1),
            ANN,
            "reviewed-by: Ann Reviewer <ann@example.net>",
        )
        + &reply(
            &id("list", 1, 2),
            ANN,
            "Reviewed-by: Ann Reviewer <ann@example.net>\nSuggested-by: Ann Reviewer <ann@example.net>",
        );
    mini.file("thread.mbox", &thread);
    let path = mini.path("thread.mbox");
    let ran = b4(
        &mini,
        &[
            "--offline-mode",
            "--no-interactive",
            "trailers",
            "-u",
            "-m",
            path.to_str().unwrap(),
        ],
    );
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let kernel = mini.path("cache/kernel");
    let tip = mini.git(&kernel, &["rev-parse", "b4/list"]);
    assert!(
        mini.git(&kernel, &["log", "-1", "--format=%B", &tip])
            .contains("Suggested-by: Ann"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );

    // Without other changes, `assemble` leaves the branch unchanged.
    mini.good(&["assemble"]);
    assert_eq!(mini.git(&kernel, &["rev-parse", "b4/list"]), tip);
    mini.replace(
        "series/list/1.msg",
        "Drivers need it",
        "Many drivers need it",
    );
    insta::assert_snapshot!(mini.error(&["assemble"]), @r"
    error: b4 wrote trailers into b4/list that would be lost
        1.msg: Reviewed-by: Ann Reviewer <ann@example.net>
        2.msg: Reviewed-by: Ann Reviewer <ann@example.net>
        2.msg: Suggested-by: Ann Reviewer <ann@example.net>
      help: record them: `cargo series trailers list`
    ");
    assert_eq!(mini.git(&kernel, &["rev-parse", "b4/list"]), tip);
    // The tool warns of tags that it cannot keep, and keeps the others.
    insta::assert_snapshot!(mini.error(&["trailers", "list"]), @r#"
    error: series/list/2.msg: b4 wrote "Suggested-by: Ann Reviewer <ann@example.net>" into this patch
      help: the tool records only Reviewed-by, Acked-by and Tested-by; add the line to this file
    "#);
    mini.replace(
        "series/list/2.msg",
        "other way.\n",
        "other way.\n\nSuggested-by: Ann Reviewer <ann@example.net>\n",
    );
    let ran = mini.good(&["trailers", "list"]);
    assert!(ran.stderr.contains("trailers: 0 new"), "{}", ran.stderr);
    insta::assert_snapshot!(mini.read(STORE));
    mini.good(&["assemble"]);
    assert_ne!(mini.git(&kernel, &["rev-parse", "b4/list"]), tip);
    insta::assert_snapshot!(block(&patch(&mini, "list", 2, 2)), @r"
    Suggested-by: Ann Reviewer <ann@example.net>
    Reviewed-by: Ann Reviewer <ann@example.net>
    Signed-off-by: Dev Eloper <dev@example.org>
    ---
     list.rs       | 2 ++
     list/owned.rs | 1 +
     2 files changed, 3 insertions(+)
     create mode 100644 list/owned.rs
    ");
    // Tags that the author removes did not come from b4.
    fs::remove_file(mini.ws(STORE)).unwrap();
    mini.good(&["assemble"]);
    assert!(!patch(&mini, "list", 2, 1).contains("Ann"));
}

#[test]
fn trailer_errors() {
    let mini = Mini::new();
    insta::assert_snapshot!(mini.error(&["trailers", "lost"]), @r#"
    error: unknown series "lost"
      help: the series are: buddy, list, mm, other
    "#);
    insta::assert_snapshot!(mini.error(&["trailers", "list"]), @r"
    error: series/list.toml: no posting of list is recorded
      help: trailers refer to posted versions; record one with `cargo series record list`
    ");
    mini.good(&["assemble"]);
    post(&mini, "list", 1);
    let none = mini.path("none");
    insta::assert_snapshot!(mini.error(&["trailers", "list", "--mbox", none.to_str().unwrap()]), @"error: cannot read DIR/none: No such file or directory (os error 2)");
    mini.file("none", "hello\n");
    insta::assert_snapshot!(mini.error(&["trailers", "list", "--mbox", none.to_str().unwrap()]), @r"
    error: DIR/none: line 1 does not start a mail
      help: give a mailbox (mbox) or concatenated mails
    ");
    let kernel = mini.path("cache/kernel");
    mini.git(&kernel, &["update-ref", "-d", "refs/heads/b4/list"]);
    insta::assert_snapshot!(mini.error(&["trailers", "list"]), @r"
    error: DIR/cache/kernel: branch b4/list does not exist
      help: create it with `cargo series assemble`, or read replies with `cargo series trailers list --mbox FILE`
    ");

    take(
        &mini,
        "list",
        &[reply(
            &id("list", 1, 2),
            ANN,
            "Reviewed-by: Ann Reviewer <ann@example.net>",
        )],
    );
    mini.replace(STORE, "2.msg", "3.msg");
    insta::assert_snapshot!(mini.error(&["assemble"]), @r#"
    error: series/list/posted/trailers.toml:7: list has no patch "3.msg"
      help: its message and subject changed, or the patch was removed: update `patch` or remove the trailer (line 7)
    "#);
}

#[test]
fn trailers_as_json() {
    let mini = posted();
    mini.file(
        "replies.mbox",
        &reply(
            &id("list", 1, 2),
            ANN,
            "Reviewed-by: Ann Reviewer <ann@example.net>\nAcked-by: Bob <bob@example.net>",
        ),
    );
    let path = mini.path("replies.mbox");
    let ran = mini.good(&[
        "trailers",
        "list",
        "--json",
        "--mbox",
        path.to_str().unwrap(),
    ]);
    insta::assert_snapshot!(ran.stdout);
}

/// Compares the patches of a series with the result of applying them.
#[test]
fn b4_accepts_mails_with_trailers() {
    let mini = posted();
    take(
        &mini,
        "list",
        &[reply(
            &id("list", 1, 0),
            ANN,
            "Reviewed-by: Ann Reviewer <ann@example.net>",
        )],
    );
    mini.overlay("list", "list/owned.rs", "//! Owned.\n\npub fn more() {}\n");
    mini.good(&["assemble"]);
    mini.file("sent.mbox", &mails(&mini, "list", 2));
    let dir: &Path = &mini.pristine("maintainer");
    let path = mini.path("sent.mbox");
    let mut like = mini.command(&[]);
    like.args(["x"]);
    let mut command = Command::new(b4_folder().join("b4"));
    for (key, value) in like.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    command
        .env("XDG_CACHE_HOME", mini.path("b4-state/cache"))
        .env("XDG_DATA_HOME", mini.path("b4-state/data"))
        .args(["--offline-mode", "am", "-o", "-", "-m"])
        .arg(&path)
        .current_dir(dir);
    let am = with_b4(&mini, command);
    assert_eq!(am.code, Some(0), "{}", am.stderr);
    mini.file("am.mbox", &am.stdout);
    mini.git(
        dir,
        &["am", "--quiet", mini.path("am.mbox").to_str().unwrap()],
    );
    let landed = mini.git(dir, &["log", "--format=%B", "-2"]);
    assert!(
        landed.contains("Reviewed-by: Ann") && !landed.contains("Dropped"),
        "{landed}"
    );
}

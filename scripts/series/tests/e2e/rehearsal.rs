// SPDX-License-Identifier: GPL-2.0

//! Three dependent series go through several versions with the real git and b4, and a mail program
//! that keeps the mails. At each step, the test reads the mails as a maintainer receives them.

use std::{fs, process::Stdio};

use series::mail::mailbox::Mail;

use crate::stage::{PUBLIC, Stage, Wanted, change_id, link, without_ids};

#[test]
fn three_series_through_all_versions() {
    let stage = Stage::new();
    let base = format!("base-commit: {PUBLIC}");
    let (list_id, buddy_id, mm_id) = (change_id("list"), change_id("buddy"), change_id("mm"));

    // v1 of all three, in dependency order.
    let list1 = stage.post("list");
    stage.look(
        &list1,
        &Wanted {
            subjects: &[
                "[PATCH 0/2] rust: list: add it",
                "[PATCH 1/2] rust: list: add a walk",
                "[PATCH 2/2] rust: list: add the owned side",
            ],
            trailers: &[&base, &list_id],
            ids: 0,
        },
    );
    stage.good(&["assemble"]);
    let text = stage.error(&["prepare", "list"]);
    insta::assert_snapshot!("sent_but_not_recorded", text);
    stage.good(&["record", "list"]);
    stage.manifest_has("list", "version = 2");
    insta::assert_snapshot!(
        "begun_changelog",
        without_ids(&stage.mini.read("list/CHANGELOG.md"))
    );
    insta::assert_snapshot!(
        "record",
        without_ids(&stage.mini.read("series/list/posted/v1.toml"))
    );

    let buddy1 = stage.post("buddy");
    let list_v1 = format!("prerequisite-{list_id}:v1");
    stage.look(
        &buddy1,
        &Wanted {
            subjects: &[
                "[PATCH 0/2] rust: buddy: add it",
                "[PATCH 1/2] rust: buddy: add the binding",
                "[PATCH 2/2] rust: buddy: add a test",
            ],
            trailers: &[&base, &buddy_id, &list_v1],
            ids: 2,
        },
    );
    let said = format!("1. [PATCH 0/2] rust: list: add it\n     {}\n", link(&list1));
    assert!(buddy1[0].body.contains(&said), "{}", buddy1[0].body);
    stage.good(&["record", "buddy"]);

    let mm1 = stage.post("mm");
    let buddy_v1 = format!("prerequisite-{buddy_id}:v1");
    stage.look(
        &mm1,
        &Wanted {
            subjects: &["[PATCH] gpu: mm: add memory management"],
            trailers: &[&base, &mm_id, &list_v1, &buddy_v1],
            ids: 4,
        },
    );
    stage.good(&["record", "mm"]);
    // Without a change, `check` and `send` have nothing to do.
    stage.good(&["check"]);
    insta::assert_snapshot!(
        "nothing_changed",
        without_ids(&stage.error(&["prepare", "list"]))
    );

    // Review changes one patch of the first series.
    stage
        .mini
        .replace("list/tree/list.rs", "walk()", "walk(back: bool)");
    insta::assert_snapshot!("changelog_missing_items", stage.error(&["check", "list"]));
    insta::assert_snapshot!("prepare_refused", stage.error(&["prepare", "list"]));
    stage.mini.replace(
        "list/CHANGELOG.md",
        "## v2\n\n",
        "## v2\n\n- Patch 2: walk from the back too (Reviewer).\n",
    );
    insta::assert_snapshot!("changelog_wrong_items", stage.error(&["check", "list"]));
    stage
        .mini
        .replace("list/CHANGELOG.md", "Patch 2", "Patch 1");
    stage.good(&["check", "list"]);
    insta::assert_snapshot!("range_diff", stage.good(&["diff", "list"]).stdout);
    // The dependent series name a dependency without a posting.
    let said = format!(
        "[PATCH v2 0/2] rust: list: add it\n     not posted yet; v1 is {}",
        link(&list1)
    );
    assert!(
        stage.cover("buddy", 2).contains(&said),
        "{}",
        stage.cover("buddy", 2)
    );
    let list2 = stage.post("list");
    stage.look(
        &list2,
        &Wanted {
            subjects: &[
                "[PATCH v2 0/2] rust: list: add it",
                "[PATCH v2 1/2] rust: list: add a walk",
                "[PATCH v2 2/2] rust: list: add the owned side",
            ],
            trailers: &[&base, &list_id],
            ids: 0,
        },
    );
    let changes = format!(
        "Changes in v2:\n- Patch 1: walk from the back too (Reviewer).\n- Link to v1: {}\n",
        link(&list1)
    );
    assert!(list2[0].body.contains(&changes), "{}", list2[0].body);
    stage.good(&["record", "list"]);
    stage.manifest_has("list", "version = 3");

    // The dependent series are assembled again, and name v2 by its tag.
    let cover = stage.cover("buddy", 2);
    let said = format!("[PATCH v2 0/2] rust: list: add it\n     {}\n", link(&list2));
    assert!(cover.contains(&said), "{cover}");
    assert!(
        cover.contains(&format!("prerequisite-{list_id}:v2\n")),
        "{cover}"
    );
    assert!(!cover.contains(&list_v1), "{cover}");
    stage.good(&["check"]);

    // Reviewers reply to v2.
    let reply = |to: &Mail, tag: &str| {
        format!(
            "From x Thu Jan  1 00:00:00 2026\nFrom: Re Viewer <re@example.org>\n\
             Subject: Re: {}\nMessage-ID: <re-{}>\nIn-Reply-To: <{}>\n\n> {tag}\n\n{tag}\n\n",
            to.subject, to.id, to.id
        )
    };
    let replies = [
        reply(&list2[0], "Acked-by: Re Viewer <re@example.org>"),
        reply(&list2[1], "Reviewed-by: Re Viewer <re@example.org>"),
        reply(&list2[2], "Tested-by: Some Body <other@example.org>"),
    ];
    stage.mini.file("replies.mbox", &replies.concat());
    let file = stage.mini.path("replies.mbox");
    let ran = stage.good(&["trailers", "list", "--mbox", file.to_str().unwrap()]);
    assert!(ran.stderr.contains("Some Body"), "{}", ran.stderr);
    stage.good(&["check"]);

    // One patch is added, and one is dropped.
    let manifest = stage.mini.read("series/buddy.toml");
    let dropped = "\n[[patch]]\nmessage = \"2.msg\"\nfiles = [\"buddy_test.rs\"]\n";
    let added = "\n[[patch]]\nmessage = \"3.msg\"\nfiles = [\"buddy_stats.rs\"]\n";
    stage
        .mini
        .file("ws/series/buddy.toml", &manifest.replace(dropped, added));
    fs::remove_file(stage.mini.ws("buddy/tree/buddy_test.rs")).unwrap();
    fs::remove_file(stage.mini.ws("series/buddy/2.msg")).unwrap();
    stage.mini.overlay(
        "buddy",
        "buddy_stats.rs",
        "//! How much is free, and in which orders.\n\nfn stats() {}\n",
    );
    stage
        .mini
        .message("buddy", "3.msg", "rust: buddy: add statistics");
    stage.mini.replace(
        "buddy/CHANGELOG.md",
        "## v2\n\n",
        "## v2\n\n- Rebased on v2 of what it depends on.\n",
    );
    insta::assert_snapshot!(
        "added_and_dropped_without_item",
        stage.error(&["check", "buddy"])
    );
    stage.mini.replace(
        "buddy/CHANGELOG.md",
        "## v2\n\n",
        "## v2\n\n- New patch 2: statistics, asked for in review.\n\
         - Dropped patch 2 of v1: the test goes with its user.\n",
    );
    stage.good(&["check", "buddy"]);
    let buddy2 = stage.post("buddy");
    let list_v2 = format!("prerequisite-{list_id}:v2");
    stage.look(
        &buddy2,
        &Wanted {
            subjects: &[
                "[PATCH v2 0/2] rust: buddy: add it",
                "[PATCH v2 1/2] rust: buddy: add the binding",
                "[PATCH v2 2/2] rust: buddy: add statistics",
            ],
            trailers: &[&base, &buddy_id, &list_v2],
            ids: 2,
        },
    );
    stage.good(&["record", "buddy"]);

    // A patch moves to another series.
    stage.mini.overlay(
        "mm",
        "buddy_stats.rs",
        &stage.mini.read("buddy/tree/buddy_stats.rs"),
    );
    fs::remove_file(stage.mini.ws("buddy/tree/buddy_stats.rs")).unwrap();
    let message = stage.mini.read("series/buddy/3.msg");
    fs::remove_file(stage.mini.ws("series/buddy/3.msg")).unwrap();
    stage.mini.file("ws/series/mm/3.msg", &message);
    let with = stage.mini.read("series/buddy.toml");
    stage
        .mini
        .file("ws/series/buddy.toml", &with.replace(added, ""));
    let mm = stage.mini.read("series/mm.toml");
    stage
        .mini
        .file("ws/series/mm.toml", &format!("{mm}{added}"));
    stage.mini.replace(
        "mm/CHANGELOG.md",
        "## v2\n\n",
        "## v2\n\n- New patch 2: moved here from the buddy series.\n",
    );
    insta::assert_snapshot!("moved_between_series", stage.error(&["check", "mm"]));
    // The patch returns to its series.
    fs::remove_file(stage.mini.ws("mm/tree/buddy_stats.rs")).unwrap();
    fs::remove_file(stage.mini.ws("series/mm/3.msg")).unwrap();
    stage.mini.file("ws/series/mm.toml", &mm);
    stage.mini.file("ws/series/buddy.toml", &with);
    stage.mini.file("ws/series/buddy/3.msg", &message);
    stage.mini.overlay(
        "buddy",
        "buddy_stats.rs",
        "//! How much is free, and in which orders.\n\nfn stats() {}\n",
    );
    stage.mini.replace(
        "mm/CHANGELOG.md",
        "- New patch 2: moved here from the buddy series.\n",
        "",
    );
    stage.good(&["check"]);

    // The user's address changes. b4 finds its own commits by the address.
    stage.mini.file(
        "home/.gitconfig",
        "[user]\n\tname = Dev Eloper\n\temail = dev@new.example.org\n",
    );
    stage.good(&["assemble"]);
    let shown = stage.info("list");
    assert!(shown.contains("revision: 3\n"), "{shown}");
    let history = |name: &str| {
        let shown = stage.info(name);
        let lines = shown.lines().filter(|l| l.starts_with("series-v"));
        lines.count()
    };
    assert_eq!(history("list"), 2, "{shown}");

    // After a year, b4 no longer finds the branch.
    stage.age("list");
    assert!(!stage.try_info("list").0, "b4 sees a branch of last year");
    fs::remove_file(stage.mini.ws("out/assembled.json")).unwrap();
    stage.good(&["assemble"]);
    assert_eq!(history("list"), 2);
    stage
        .mini
        .replace("list/tree/list/owned.rs", "Owned", "Owned by Rust");
    stage.mini.replace(
        "list/CHANGELOG.md",
        "## v3\n\n",
        "## v3\n\n- Patch 2: say by whom it is owned.\n",
    );
    let list3 = stage.post("list");
    assert_eq!(list3[0].subject, "[PATCH v3 0/2] rust: list: add it");
    assert_eq!(list3[0].from.email, "dev@new.example.org");
    let given = ["Acked-by: Re Viewer", "Reviewed-by: Re Viewer"];
    let (kept, dropped) = (&list3[1].body, &list3[2].body);
    for tag in given {
        assert!(
            kept.contains(&format!("\n{tag} <re@example.org>\n")),
            "{kept}"
        );
    }
    let (above, below) = dropped.split_once("\n---\n").unwrap();
    assert!(!above.contains("Re Viewer"), "{dropped}");
    let note = "Dropped in v3, because the patch changed: Acked-by: Re Viewer";
    assert!(
        below
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .contains(note),
        "{dropped}"
    );
    for mails in [&list1, &list2] {
        assert!(list3[0].body.contains(&link(mails)), "{}", list3[0].body);
    }

    // Interrupt the recording at several points.
    let before: Vec<(String, String)> = ["series/list.toml", "list/CHANGELOG.md"]
        .map(|f| (f.to_owned(), stage.mini.read(f)))
        .into();
    for delay in [0, 5, 10, 20, 40, 60, 80, 120] {
        let mut command = stage.with_b4(stage.mini.command(&["record", "list", "--quiet"]));
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        let _ = child.kill();
        child.wait().unwrap();
    }
    // This run completes an interrupted recording, or finds it complete.
    let ran = stage.run(&["record", "list"]);
    if ran.code != Some(0) {
        assert!(
            ran.stderr.contains("b4 did not post v4 of list"),
            "{}",
            ran.stderr
        );
    }
    stage.manifest_has("list", "version = 4");
    let log = stage.mini.read("list/CHANGELOG.md");
    assert!(
        log.contains(&format!(
            "## v4\n\n- Link to v3: {}\n\n## v3\n",
            link(&list3)
        )),
        "{log}"
    );
    // All states that an interruption can leave: the record exists, the changelog has its entry or
    // not, the manifest is old.
    let after: Vec<String> = before.iter().map(|(f, _)| stage.mini.read(f)).collect();
    for keep in [1, 2] {
        for (file, text) in &before[..keep] {
            stage.mini.file(&format!("ws/{file}"), text);
        }
        insta::allow_duplicates! {
            let text = stage.error(&["check"]);
            assert!(text.contains("`cargo series record list`"), "{text}");
        }
        stage.good(&["record", "list"]);
        let again: Vec<String> = before.iter().map(|(f, _)| stage.mini.read(f)).collect();
        assert_eq!(again, after);
    }
    stage.good(&["check"]);
    assert_eq!(history("list"), 3);
}

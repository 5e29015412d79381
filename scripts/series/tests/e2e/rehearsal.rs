// SPDX-License-Identifier: GPL-2.0

//! The life of three dependent series, played through the real git and the real b4, with a mail
//! program that keeps what it is given. At each step the mails are read as a maintainer gets them.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{
        Command,
        Stdio, //
    },
};

use series::mailbox::{
    self,
    Mail, //
};

use crate::{
    mail::b4_folder,
    mini::{
        Mini,
        Ran, //
    },
};

/// The public commit of the miniature release; only its form matters.
const PUBLIC: &str = "1111111111111111111111111111111111111111";

/// Stands for the mail program: a file for each mail.
const SPOOL: &str = r#"#!/bin/sh
n=$(ls "$SPOOL" | wc -l)
cat >"$SPOOL/$(printf %03d "$n").eml"
"#;

const MM: &str = "
[[patch]]
message = \"1.msg\"
files = [\"mm.rs\"]
edits = [\"1.diff\"]
";

/// What a list of series should have been mailed.
struct Wanted<'a> {
    subjects: &'a [&'a str],
    /// The lines for machines, without patch ids.
    trailers: &'a [&'a str],
    /// How many prerequisite patch ids there are.
    ids: usize,
}

struct Stage {
    mini: Mini,
}

impl Stage {
    fn new() -> Self {
        let mini = Mini::with(&[
            ("scripts/checkpatch.pl", 0o755, "#!/usr/bin/perl\nexit 0;\n"),
            (".rustfmt.toml", 0o644, ""),
        ]);
        mini.replace(
            "series/base.toml",
            "version",
            &format!("upstream-commit = \"{PUBLIC}\"\nversion"),
        );
        mini.series("mm", &["buddy"], MM);
        mini.overlay("mm", "mm.rs", "//! Memory.\n");
        mini.edit(
            "mm",
            "1.diff",
            "lib.rs",
            " mod alpha;\n mod buddy;\n mod list;\n+mod mm;\n mod omega;\n",
            (4, 5),
        );
        mini.message("mm", "1.msg", "gpu: mm: add memory management");
        // b4 signs its tags as git is told to, and there is no key here.
        mini.file(
            "home/.gitconfig",
            "[user]\n\tname = Dev Eloper\n\temail = dev@example.org\n",
        );
        mini.file("bin/spool", SPOOL);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(mini.path("bin/spool"), mode).unwrap();
        Self { mini }
    }

    fn with_b4(&self, mut command: Command) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", b4_folder().display()));
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        let output = self.with_b4(self.mini.command(args)).output().unwrap();
        self.mini.ran(output)
    }

    fn good(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{args:?}:\n{}{}", ran.stdout, ran.stderr);
        ran
    }

    /// The error of a run that has to fail as expected.
    fn error(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(1), "{args:?}:\n{}{}", ran.stdout, ran.stderr);
        let at = ran.stderr.find("error: ").unwrap();
        ran.stderr[at..].to_owned()
    }

    /// Posts a series with the command that `send` prints, and returns what was mailed.
    fn post(&self, name: &str) -> Vec<Mail> {
        let ran = self.good(&["send", name]);
        let lines: Vec<&str> = ran.stderr.lines().collect();
        let at = lines.iter().position(|l| *l == "To post the series:");
        let line = lines[at.unwrap() + 1].trim();
        let dir = self.mini.path("");
        let line = line.replace("DIR", dir.to_str().unwrap().trim_end_matches('/'));
        let spool = self.mini.path(&format!("spool-{name}"));
        let _ = fs::remove_dir_all(&spool);
        fs::create_dir(&spool).unwrap();
        let mut command = Command::new("sh");
        self.mini.isolate(&mut command);
        let mut child = self
            .with_b4(command)
            .args(["-c", &line])
            .env("SPOOL", &spool)
            .env("GIT_CONFIG_COUNT", "2")
            .env("GIT_CONFIG_KEY_0", "sendemail.sendmailcmd")
            .env("GIT_CONFIG_VALUE_0", self.mini.path("bin/spool"))
            .env("GIT_CONFIG_KEY_1", "b4.send-no-patatt-sign")
            .env("GIT_CONFIG_VALUE_1", "yes")
            .current_dir(self.mini.ws(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"\n\n\n").unwrap();
        let ran = self.mini.ran(child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(0), "{line}:\n{}{}", ran.stdout, ran.stderr);
        let mut files: Vec<_> = fs::read_dir(&spool)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        files.sort();
        files
            .iter()
            .map(|f| mailbox::read(&fs::read(f).unwrap()).unwrap().remove(0))
            .collect()
    }

    /// Looks at mails as a maintainer gets them.
    fn look(&self, mails: &[Mail], wanted: &Wanted<'_>) {
        let subjects: Vec<&str> = mails.iter().map(|m| m.subject.as_str()).collect();
        assert_eq!(subjects, wanted.subjects);
        let cover = &mails[0];
        let trailers: Vec<&str> = cover
            .body
            .lines()
            .filter(|l| {
                ["base-commit:", "change-id:", "prerequisite-"]
                    .iter()
                    .any(|k| l.starts_with(k))
            })
            .collect();
        let (ids, others): (Vec<&str>, Vec<&str>) = trailers
            .iter()
            .copied()
            .partition(|l| l.starts_with("prerequisite-patch-id: "));
        assert_eq!(others, wanted.trailers, "{}", cover.body);
        assert_eq!(ids.len(), wanted.ids, "{}", cover.body);
        let mut once = ids.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), ids.len(), "{}", cover.body);
        for mail in &mails[1..] {
            assert_eq!(mail.in_reply_to.as_deref(), Some(cover.id.as_str()));
            assert!(mail.body.contains("Signed-off-by: "), "{}", mail.body);
        }
        assert!(!cover.body.contains("EDITME"), "{}", cover.body);
    }

    fn manifest_has(&self, name: &str, line: &str) {
        let manifest = self.mini.read(&format!("series/{name}.toml"));
        assert!(manifest.lines().any(|l| l == line), "{manifest}");
    }

    fn cover(&self, name: &str, version: u32) -> String {
        self.mini
            .read(&format!("out/{name}/v{version}/0000-cover-letter.patch"))
    }
}

fn link(mails: &[Mail]) -> String {
    format!("https://patch.msgid.link/{}", mails[0].id)
}

/// `change-id:` of a series.
fn change_id(name: &str) -> String {
    format!("change-id: 20260102-{name}-0123456789ab")
}

#[test]
fn three_series_live_through_their_versions() {
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
    let text = stage.error(&["assemble"]);
    insta::assert_snapshot!("sent_but_not_recorded", text);
    stage.good(&["posted", "list"]);
    stage.manifest_has("list", "version = 2");
    insta::assert_snapshot!(
        "begun_changelog",
        ids_out(&stage, stage.mini.read("list/CHANGELOG.md"))
    );
    insta::assert_snapshot!(
        "record",
        ids_out(&stage, stage.mini.read("series/list/posted/v1.toml"))
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
    stage.good(&["posted", "buddy"]);

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
    stage.good(&["posted", "mm"]);
    // Nothing changed since: there is nothing to check, and nothing to send.
    stage.good(&["check"]);
    insta::assert_snapshot!(
        "nothing_changed",
        ids_out(&stage, stage.error(&["send", "list"]))
    );

    // Review changes one patch of the first series.
    stage
        .mini
        .replace("list/tree/list.rs", "walk()", "walk(back: bool)");
    insta::assert_snapshot!("silent_changelog", stage.error(&["check", "list"]));
    insta::assert_snapshot!("not_sent_either", stage.error(&["send", "list"]));
    stage.mini.replace(
        "list/CHANGELOG.md",
        "## v2\n\n",
        "## v2\n\n- Patch 2: walk from the back too (Reviewer).\n",
    );
    insta::assert_snapshot!("dishonest_changelog", stage.error(&["check", "list"]));
    stage
        .mini
        .replace("list/CHANGELOG.md", "Patch 2", "Patch 1");
    stage.good(&["check", "list"]);
    insta::assert_snapshot!("range_diff", stage.good(&["diff", "list"]).stdout);
    // The dependents say that what they build on is not posted yet.
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
    stage.good(&["posted", "list"]);
    stage.manifest_has("list", "version = 3");

    // The dependents are made anew: they name v2, by its tag.
    let cover = stage.cover("buddy", 2);
    let said = format!("[PATCH v2 0/2] rust: list: add it\n     {}\n", link(&list2));
    assert!(cover.contains(&said), "{cover}");
    assert!(
        cover.contains(&format!("prerequisite-{list_id}:v2\n")),
        "{cover}"
    );
    assert!(!cover.contains(&list_v1), "{cover}");
    stage.good(&["check"]);

    // A patch is added and one is dropped.
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
        "//! How much is free, and in which orders.\n\npub fn stats() {}\n",
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
        "added_and_dropped_in_silence",
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
    stage.good(&["posted", "buddy"]);

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
    // It is put back.
    fs::remove_file(stage.mini.ws("mm/tree/buddy_stats.rs")).unwrap();
    fs::remove_file(stage.mini.ws("series/mm/3.msg")).unwrap();
    stage.mini.file("ws/series/mm.toml", &mm);
    stage.mini.file("ws/series/buddy.toml", &with);
    stage.mini.file("ws/series/buddy/3.msg", &message);
    stage.mini.overlay(
        "buddy",
        "buddy_stats.rs",
        "//! How much is free, and in which orders.\n\npub fn stats() {}\n",
    );
    stage.mini.replace(
        "mm/CHANGELOG.md",
        "- New patch 2: moved here from the buddy series.\n",
        "",
    );
    stage.good(&["check"]);

    // The address changes. b4 looks for its own commits by it.
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

    // A year passes: b4 would not see the branch any more.
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
    for mails in [&list1, &list2] {
        assert!(list3[0].body.contains(&link(mails)), "{}", list3[0].body);
    }

    // Recording it is interrupted, wherever that may be.
    let before: Vec<(String, String)> = ["series/list.toml", "list/CHANGELOG.md"]
        .map(|f| (f.to_owned(), stage.mini.read(f)))
        .into();
    for delay in [0, 5, 10, 20, 40, 60, 80, 120] {
        let mut command = stage.with_b4(stage.mini.command(&["posted", "list", "--quiet"]));
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        let _ = child.kill();
        child.wait().unwrap();
    }
    // Whether one of them came to its end or not, this one finds it done or does it.
    let ran = stage.run(&["posted", "list"]);
    if ran.code != Some(0) {
        assert!(
            ran.stderr.contains("b4 has not posted v4 of list"),
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
    // Half done by hand: the record is there, the changelog is or is not, the manifest is not.
    let after: Vec<String> = before.iter().map(|(f, _)| stage.mini.read(f)).collect();
    for keep in [1, 2] {
        for (file, text) in &before[..keep] {
            stage.mini.file(&format!("ws/{file}"), text);
        }
        insta::allow_duplicates! {
            let text = stage.error(&["check"]);
            assert!(text.contains("`cargo series posted list`"), "{text}");
        }
        stage.good(&["posted", "list"]);
        let again: Vec<String> = before.iter().map(|(f, _)| stage.mini.read(f)).collect();
        assert_eq!(again, after);
    }
    stage.good(&["check"]);
    assert_eq!(history("list"), 3);
}

impl Stage {
    /// `b4 prep --show-info`, and whether it went well.
    fn try_info(&self, name: &str) -> (bool, String) {
        let mut command = Command::new("b4");
        self.mini.isolate(&mut command);
        let ran = self
            .with_b4(command)
            .args(["prep", "--show-info", &format!("b4/{name}")])
            .current_dir(self.mini.path(&format!("cache/send/{name}")))
            .output()
            .unwrap();
        let ran = self.mini.ran(ran);
        (ran.code == Some(0), format!("{}{}", ran.stdout, ran.stderr))
    }

    fn info(&self, name: &str) -> String {
        let (ok, said) = self.try_info(name);
        assert!(ok, "{said}");
        said
    }

    /// Makes a branch of b4's as old as if it had been made more than a year ago.
    fn age(&self, name: &str) {
        let kernel = self.mini.path("cache/kernel");
        let branch = format!("b4/{name}");
        let git = |args: &[&str]| self.mini.git(&kernel, args);
        let count = 3;
        let mut commits: Vec<String> = (0..count)
            .map(|n| git(&["rev-parse", &format!("{branch}~{n}")]))
            .collect();
        commits.reverse();
        let mut parent = git(&["rev-parse", &format!("{branch}~{count}")]);
        for commit in commits {
            let body = git(&["cat-file", "commit", &commit]);
            let old: Vec<String> = body
                .split('\n')
                .map(|l| match l.split_once(' ') {
                    Some(("parent", _)) => format!("parent {parent}"),
                    Some(("author" | "committer", _)) if l.contains('>') => {
                        let (who, _) = l.rsplit_once("> ").unwrap();
                        format!("{who}> 1700000000 +0000")
                    }
                    _ => l.to_owned(),
                })
                .collect();
            self.mini.file("aged", &old.join("\n"));
            let file = self.mini.path("aged");
            parent = git(&["hash-object", "-t", "commit", "-w", file.to_str().unwrap()]);
        }
        git(&["update-ref", &format!("refs/heads/{branch}"), &parent]);
    }
}

/// Takes out what is different each time: the dates and random parts of message ids.
fn ids_out(_: &Stage, text: String) -> String {
    let id = regex::Regex::new(r"\d{8}-(\w+)-v(\d)-(\d)-[0-9a-f]{12}@").unwrap();
    id.replace_all(&text, "DATE-$1-v$2-$3-RANDOM@").into_owned()
}

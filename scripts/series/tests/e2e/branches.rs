// SPDX-License-Identifier: GPL-2.0

//! Series whose patches are branches of a kernel clone: adopted, checked, posted, reworked with
//! `git rebase -i`, and dropped when they are merged.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use series::mail::mailbox::Mail;

use crate::{
    kernels::{TOOL, TOOLS},
    stage::Stage,
};

/// A workspace without files, and a clone with branches.
struct Clone {
    stage: Stage,
}

const LIST: &str = "int list_walk(void)\n{\n\treturn 0;\n}\n";
const LIST_2: &str = "\nint list_count(void)\n{\n\treturn list_walk();\n}\n";
const BUDDY: &str = "int buddy_alloc(void)\n{\n\treturn list_count();\n}\n";

impl Clone {
    /// A clone with the branch of the release only.
    fn new() -> Self {
        let stage = Stage::new();
        fs::remove_dir_all(stage.mini.ws("")).unwrap();
        fs::create_dir(stage.mini.ws("")).unwrap();
        stage.mini.pristine("linux");
        let clone = Self { stage };
        clone.write("lib/Makefile", "obj-y += core.o\n");
        clone.write("lib/core.c", "int core;\n");
        clone.git(&["add", "--all"]);
        clone.git(&["commit", "--quiet", "--amend", "--no-edit"]);
        clone.git(&["branch", "-M", "master"]);
        clone.git(&["tag", "v6.1.2"]);
        clone
    }

    /// A clone with three branches, each on top of the one before.
    fn with_stack() -> Self {
        let clone = Self::new();
        clone.git(&["checkout", "--quiet", "-b", "topic/list"]);
        clone.write("lib/list.c", LIST);
        clone.write("lib/Makefile", "obj-y += core.o\nobj-y += list.o\n");
        clone.commit("lib: list: add a walk");
        clone.write("lib/list.c", &format!("{LIST}{LIST_2}"));
        clone.commit("lib: list: count the entries");
        clone.git(&["checkout", "--quiet", "-b", "topic/buddy"]);
        clone.write("lib/buddy.c", BUDDY);
        clone.write(
            "lib/Makefile",
            "obj-y += core.o\nobj-y += list.o\nobj-y += buddy.o\n",
        );
        clone.commit("lib: buddy: add an allocator");
        let more = "\nint list_last(void)\n{\n\treturn 2;\n}\n";
        clone.write("lib/list.c", &format!("{LIST}{LIST_2}{more}"));
        clone.commit("lib: buddy: find the last block");
        clone.git(&["checkout", "--quiet", "-b", "topic/mm"]);
        clone.write("lib/mm.c", "int mm;\n");
        clone.commit("lib: mm: add memory management");
        clone.git(&["checkout", "--quiet", "master"]);
        clone
    }

    fn dir(&self) -> PathBuf {
        self.stage.mini.path("linux")
    }

    fn git(&self, args: &[&str]) -> String {
        self.stage.mini.git(&self.dir(), args)
    }

    fn write(&self, path: &str, text: &str) {
        self.stage.mini.file(&format!("linux/{path}"), text);
    }

    fn commit(&self, subject: &str) {
        let message = format!("{subject}\n\nDrivers need it, and there is no other way.\n");
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--signoff", "-m", &message]);
    }

    /// Stops a `git rebase -i` of a branch at its first commit after `upstream`, changes a file
    /// there, and continues.
    fn rework(&self, branch: &str, upstream: &str, path: &str, from: &str, to: &str) {
        self.git(&["checkout", "--quiet", branch]);
        let mut command = Command::new("git");
        self.stage.mini.isolate(&mut command);
        let out = command
            .args([
                "-c",
                "commit.gpgsign=false",
                "rebase",
                "--quiet",
                "-i",
                upstream,
            ])
            .env("GIT_SEQUENCE_EDITOR", "sed -i '1s/^pick/edit/'")
            .current_dir(self.dir())
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        let text = fs::read_to_string(self.dir().join(path)).unwrap();
        assert!(text.contains(from), "{text}");
        self.write(path, &text.replacen(from, to, 1));
        self.git(&["commit", "--quiet", "--all", "--amend", "--no-edit"]);
        self.git(&["rebase", "--continue"]);
        self.git(&["checkout", "--quiet", "master"]);
    }

    /// Adopts branches, and fills in recipients and cover letters.
    fn adopt(&self, branches: &[&str]) {
        let kernel = self.dir();
        let mut args = vec![
            "adopt",
            "--onto",
            "master",
            "--kernel",
            kernel.to_str().unwrap(),
        ];
        args.extend(branches);
        self.stage.good(&args);
        for branch in branches {
            self.fill_in(branch.rsplit('/').next().unwrap());
        }
    }

    fn fill_in(&self, name: &str) {
        let mini = &self.stage.mini;
        mini.replace(
            &format!("series/{name}.toml"),
            "to = []",
            "to = [\"List <list@example.org>\"]",
        );
        mini.file(
            &format!("ws/cover-letters/{name}.md"),
            &format!("# lib: {name}: add it\n\nDrivers need {name}.\n"),
        );
    }

    fn subjects(&self, name: &str) -> Vec<String> {
        let report = self.stage.mini.series_report(name);
        let patches = report["patches"].as_array().unwrap().iter();
        patches
            .map(|p| p["subject"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[test]
fn stack_is_adopted() {
    let clone = Clone::with_stack();
    let kernel = clone.dir();
    let kernel = kernel.to_str().unwrap();
    let adopt = [
        "adopt",
        "topic/list",
        "topic/mm",
        "topic/buddy",
        "--onto",
        "master",
    ];
    let ran = clone
        .stage
        .good(&[&adopt[..], &["--kernel", kernel]].concat());
    insta::assert_snapshot!("adopted", ran.stderr);
    let mini = &clone.stage.mini;
    let hash = regex::Regex::new("[0-9a-f]{40}|\\d{8}-([a-z]+)-[0-9a-f]{12}").unwrap();
    let read = |file: &str| {
        let dir = mini.path("");
        let text = mini.read(file).replace(dir.to_str().unwrap(), "DIR/");
        hash.replace_all(&text, "ID$1").into_owned()
    };
    insta::assert_snapshot!("adopted_base", read("series/bases/v6.1.2.toml"));
    insta::assert_snapshot!("adopted_manifest", read("series/mm.toml"));
    insta::assert_snapshot!("adopted_not_filled_in", clone.stage.error(&["assemble"]));
    ["list", "buddy", "mm"]
        .iter()
        .for_each(|name| clone.fill_in(name));
    clone.stage.good(&["assemble"]);
    assert_eq!(
        clone.subjects("buddy"),
        [
            "lib: buddy: add an allocator",
            "lib: buddy: find the last block"
        ]
    );
    let tip = |branch: &str| clone.git(&["rev-parse", &format!("{branch}^{{tree}}")]);
    for name in ["list", "buddy", "mm"] {
        let report = mini.series_report(name);
        assert_eq!(
            report["tip"]["tree"],
            tip(&format!("topic/{name}")),
            "{name}"
        );
    }
    clone.stage.good(&["check"]);
}

impl Clone {
    /// A file of the tree with a series, as it was assembled.
    fn assembled(&self, name: &str, path: &str) -> String {
        let report = self.stage.mini.series_report(name);
        let tree = report["tip"]["tree"].as_str().unwrap().to_owned();
        let kernel = self.stage.mini.path("cache/kernel");
        self.stage
            .mini
            .git(&kernel, &["cat-file", "blob", &format!("{tree}:{path}")])
    }

    /// Posts a series, records it, and returns its mails.
    fn post(&self, name: &str) -> Vec<Mail> {
        let mails = self.stage.post(name);
        self.stage.good(&["record", name]);
        mails
    }
}

fn subjects_of(mails: &[Mail]) -> Vec<&str> {
    mails.iter().map(|m| m.subject.as_str()).collect()
}

/// A reply to a mail that gives a tag.
fn reply(to: &Mail, tag: &str) -> String {
    format!(
        "From x Thu Jan  1 00:00:00 2026\nFrom: Re Viewer <re@example.org>\nSubject: Re: {}\n\
         Message-ID: <re-{}>\nIn-Reply-To: <{}>\n\n{tag}: Re Viewer <re@example.org>\n\n",
        to.subject, to.id, to.id
    )
}

#[test]
fn stack_through_versions() {
    let clone = Clone::with_stack();
    let (stage, mini) = (&clone.stage, &clone.stage.mini);
    clone.adopt(&["topic/list", "topic/buddy", "topic/mm"]);
    stage.good(&["check"]);
    let list1 = clone.post("list");
    assert_eq!(
        subjects_of(&list1),
        [
            "[PATCH 0/2] lib: list: add it",
            "[PATCH 1/2] lib: list: add a walk",
            "[PATCH 2/2] lib: list: count the entries",
        ]
    );
    let fork = clone.git(&["rev-parse", "master"]);
    let base = format!("\nbase-commit: {fork}\n");
    assert!(list1[0].body.contains(&base), "{}", list1[0].body);
    clone.post("buddy");
    clone.post("mm");
    stage.good(&["check"]);

    // One patch is reworked; the other branches still sit on the old commits.
    let old = clone.git(&["rev-parse", "topic/list"]);
    clone.rework(
        "topic/list",
        "master",
        "lib/list.c",
        "return 0;",
        "return 1;",
    );
    clone.git(&["merge-base", "--is-ancestor", &old, "topic/mm"]);
    insta::assert_snapshot!(
        "branch_changelog_missing_items",
        stage.error(&["check", "list"])
    );
    let entry = "## v2\n\n- Patch 1: start at one (Reviewer).\n";
    mini.replace("list/CHANGELOG.md", "## v2\n\n", entry);
    stage.good(&["check"]);
    let diff = stage.good(&["diff", "list"]).stdout;
    assert!(diff.contains("+\treturn 1;"), "{diff}");
    for name in ["list", "buddy", "mm"] {
        let list = clone.assembled(name, "lib/list.c");
        assert!(
            list.starts_with("int list_walk(void)\n{\n\treturn 1;\n"),
            "{list}"
        );
        assert_eq!(list.contains("list_last"), name != "list");
    }
    assert_eq!(clone.subjects("mm"), ["lib: mm: add memory management"]);
    let list2 = clone.post("list");
    assert!(
        list2[0].subject.starts_with("[PATCH v2 0/2]"),
        "{}",
        list2[0].subject
    );

    // Reviewers answer.
    let replies = [
        reply(&list2[1], "Reviewed-by"),
        reply(&list2[2], "Acked-by"),
    ];
    mini.file("replies.mbox", &replies.concat());
    let file = mini.path("replies.mbox");
    stage.good(&["trailers", "list", "--mbox", file.to_str().unwrap()]);
    stage.good(&["check"]);
    let patch = mini.read("out/list/v3/0001-lib-list-add-a-walk.patch");
    let tags =
        "\nReviewed-by: Re Viewer <re@example.org>\nSigned-off-by: Dev Eloper <dev@example.org>\n";
    assert!(patch.contains(tags), "{patch}");
    stage.good(&["status"]);
    stage.good(&["graph"]);

    // The series is merged, and leaves the stack.
    clone.git(&["cherry-pick", "master..topic/list"]);
    clone.write("lib/core.c", "int core = 1;\n");
    clone.commit("lib: core: start at one");
    let merged = clone.git(&["rev-parse", "master"]);
    mini.replace("series/bases/v6.1.2.toml", &fork, &merged);
    let text = stage
        .error(&["assemble"])
        .replace(&list_commit(&clone), "COMMIT");
    insta::assert_snapshot!("branch_merged", text);
    fs::remove_file(mini.ws("series/list.toml")).unwrap();
    insta::assert_snapshot!("branch_still_depends", stage.error(&["assemble"]));
    mini.replace("series/buddy.toml", "depends = [\"list\"]\n", "");
    mini.replace("series/buddy.toml", "[without]\nlist = 0\n", "");
    let ran = stage.error(&["check"]);
    assert!(ran.contains("Rebased on Linux v6.1.2."), "{ran}");
    for name in ["buddy", "mm"] {
        let log = format!("{name}/CHANGELOG.md");
        mini.replace(&log, "## v2\n\n", "## v2\n\n- Rebased on Linux v6.1.2.\n");
    }
    stage.good(&["check"]);
    assert_eq!(clone.subjects("buddy").len(), 2);
    let mm = clone.assembled("mm", "lib/list.c");
    assert!(mm.contains("return 1;") && mm.contains("list_last"), "{mm}");
    let buddy2 = clone.post("buddy");
    assert!(!buddy2[0].body.contains("lib: list"), "{}", buddy2[0].body);
}

#[test]
fn try_fetches_commits_that_were_not_assembled() {
    let clone = Clone::with_stack();
    clone.adopt(&["topic/list"]);
    // A missing revision is reported before anything is imported.
    let error = clone.stage.error(&["try", "none"]);
    assert!(error.contains("linux: has no revision \"none\""), "{error}");
    assert!(!clone.stage.mini.path("cache/kernel/.git").exists());
    // A revision alone is one of the clone.
    for other in [&format!("{}@master", clone.dir().display()), "master"] {
        let ran = clone.stage.good(&["try", other]);
        let row = ran.stdout.lines().find(|l| l.starts_with("| list "));
        let cells: Vec<&str> = row.unwrap().split('|').map(str::trim).collect();
        assert_eq!(cells[1..4], ["list", "2", "2"], "{}", ran.stdout);
    }
}

/// The first digits of the first commit of the list, as errors name it.
fn list_commit(clone: &Clone) -> String {
    clone.git(&["rev-parse", "topic/list~1"])[..12].to_owned()
}

#[test]
fn branch_is_adopted_later() {
    let clone = Clone::with_stack();
    clone.adopt(&["topic/list"]);
    clone.stage.good(&["assemble"]);
    let ran = clone.stage.good(&["adopt", "topic/buddy"]);
    assert!(
        ran.stderr.contains("2 commits of topic/buddy on list"),
        "{}",
        ran.stderr
    );
    clone.fill_in("buddy");
    clone.stage.good(&["assemble"]);
    assert_eq!(clone.subjects("buddy").len(), 2);
    insta::assert_snapshot!(
        "adopted_twice",
        clone.stage.error(&["adopt", "topic/buddy"])
    );
}

#[test]
fn unused_rust_item_of_branch_is_found() {
    let clone = Clone::new();
    clone.git(&["checkout", "--quiet", "-b", "topic/gpu"]);
    clone.write("rust/gpu.rs", "pub fn used() {}\npub fn unused() {}\n");
    clone.commit("rust: gpu: add functions");
    clone.write("rust/user.rs", "fn f() {\n    crate::gpu::used();\n}\n");
    clone.commit("rust: gpu: add a user");
    clone.git(&["checkout", "--quiet", "master"]);
    clone.adopt(&["topic/gpu"]);
    let error = clone.stage.error(&["check"]);
    let rules = error.split("error: ").filter(|e| e.contains(": unused: "));
    insta::assert_snapshot!(rules.collect::<String>(), @r#"
    rust/gpu.rs:2: gpu patch 1: unused: the public function gpu::unused has no user outside tests
      help: remove it, or add it with its user; or give the reason below [unused] of series/gpu.toml: "gpu::unused" = "…"
    "#);
}

#[test]
fn unusual_commits_of_a_branch() {
    let clone = Clone::new();
    let stage = &clone.stage;
    clone.git(&["checkout", "--quiet", "-b", "topic/odd"]);
    for name in ["größe.c", "a\"b.c", "a\tb.c", "with space.c"] {
        clone.write(&format!("lib/{name}"), "int x;\n");
    }
    clone.commit("lib: odd: add files");
    clone.adopt(&["topic/odd"]);
    stage.good(&["assemble"]);
    let tree = clone.git(&["rev-parse", "topic/odd^{tree}"]);
    assert_eq!(stage.mini.series_report("odd")["tip"]["tree"], tree);

    // `try` finds the series on any base; `prove` has nothing to compare.
    stage.good(&["try", "master", "odd"]);
    let ran = stage.good(&["prove"]);
    assert!(
        ran.stderr.contains("there is nothing to compare"),
        "{}",
        ran.stderr
    );

    let first = clone.git(&["rev-parse", "topic/odd"]);
    let message = format!(
        "lib: odd: count\n\nCommit {} added it.\n---\nA note.",
        &first[..12]
    );
    clone.write("lib/with space.c", "int x = 1;\n");
    clone.git(&["commit", "--quiet", "--all", "--signoff", "-m", &message]);
    let plain = |error: String| {
        let hash = regex::Regex::new("[0-9a-f]{12}").unwrap();
        hash.replace_all(&error, "HASH").into_owned()
    };
    insta::assert_snapshot!("sign_off_below_note", plain(stage.error(&["assemble"])));
    let message = message.replace("\n---\n", "\n\nSigned-off-by: X <x@example.org>\n---\n");
    clone.git(&["commit", "--quiet", "--amend", "-m", &message]);
    insta::assert_snapshot!("private_commit_of_branch", plain(stage.error(&["check"])));

    clone.write("lib/crlf.txt", "a\r\nb\r\n");
    clone.commit("lib: odd: add a text");
    insta::assert_snapshot!("text_with_crlf", plain(stage.error(&["assemble"])));
}

#[test]
fn rebased_dependent_keeps_its_commits() {
    // The manifest names the fork point at the time of `adopt`; later ones are remembered.
    let clone = Clone::with_stack();
    clone.adopt(&["topic/list", "topic/buddy"]);
    clone.stage.good(&["assemble"]);
    for (from, to) in [("return 0;", "return 1;"), ("return 1;", "return 3;")] {
        let old = clone.git(&["rev-parse", "topic/list"]);
        clone.rework("topic/list", "master", "lib/list.c", from, to);
        clone.stage.good(&["assemble"]);
        assert_eq!(clone.subjects("buddy").len(), 2);
        clone.git(&[
            "rebase",
            "--quiet",
            "--onto",
            "topic/list",
            &old,
            "topic/buddy",
        ]);
        clone.git(&["checkout", "--quiet", "master"]);
        clone.stage.good(&["assemble"]);
        assert_eq!(clone.subjects("buddy").len(), 2);
        assert!(clone.assembled("buddy", "lib/list.c").contains(to));
    }
}

#[test]
fn unsuitable_branch_is_refused() {
    let clone = Clone::with_stack();
    clone.git(&["checkout", "--quiet", "-b", "topic/merge", "topic/list"]);
    clone.git(&["checkout", "--quiet", "-b", "side", "master"]);
    clone.write("lib/side.c", "int side;\n");
    clone.commit("lib: side: add it");
    clone.git(&["checkout", "--quiet", "topic/merge"]);
    clone.git(&["merge", "--quiet", "--no-edit", "side"]);
    clone.git(&["branch", "empty", "master"]);
    let kernel = clone.dir();
    let kernel = kernel.to_str().unwrap();
    let says = |branches: &[&str]| {
        let args = ["adopt", "--onto", "master", "--kernel", kernel];
        let text = clone.stage.error(&[&args[..], branches].concat());
        regex::Regex::new("commit [0-9a-f]{12}")
            .unwrap()
            .replace_all(&text, "commit HASH")
            .into_owned()
    };
    insta::assert_snapshot!("adopt_merge", says(&["topic/merge"]));
    insta::assert_snapshot!("adopt_empty", says(&["empty"]));
    insta::assert_snapshot!("adopt_unknown", says(&["topic/none"]));
    clone.git(&["branch", "same", "topic/list"]);
    insta::assert_snapshot!("adopt_same", says(&["topic/list", "same"]));
    assert!(
        fs::read_dir(clone.stage.mini.ws(""))
            .unwrap()
            .next()
            .is_none()
    );
    let args = ["adopt", "topic/list", "--kernel", kernel];
    insta::assert_snapshot!("adopt_without_fork", clone.stage.error(&args));
    clone.stage.mini.file("ws/notes.txt", "");
    insta::assert_snapshot!("adopt_elsewhere", says(&["topic/list"]));
}

#[test]
fn replay_conflict_is_explained() {
    let clone = Clone::with_stack();
    clone.adopt(&["topic/list", "topic/buddy"]);
    clone.rework(
        "topic/list",
        "topic/list~1",
        "lib/list.c",
        "return list_walk();\n}\n",
        "return 5;\n}\n\nint x;\n",
    );
    let text = clone.stage.error(&["assemble"]);
    let text = regex::Regex::new("[0-9a-f]{12}")
        .unwrap()
        .replace_all(&text, "HASH")
        .into_owned();
    insta::assert_snapshot!("branch_conflict", text);
}

#[test]
fn cover_letter_of_b4_is_adopted() {
    let clone = Clone::with_stack();
    let tracking = "{\"series\": {\"revision\": 1, \"change-id\": \"20260102-list-0123456789ab\", \
                    \"prefixes\": [\"RFC\"]}}";
    let cover = format!(
        "lib: list: add it\n\nDrivers need it.\n\nTo: List <list@example.org>\n\
         Signed-off-by: Dev Eloper <dev@example.org>\n\n--- b4-submit-tracking ---\n# For b4.\n{tracking}\n"
    );
    clone.git(&["checkout", "--quiet", "-b", "b4/list", "master"]);
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", &cover]);
    clone.git(&["cherry-pick", "master..topic/list"]);
    clone.git(&["checkout", "--quiet", "master"]);
    let kernel = clone.dir();
    clone
        .stage
        .good(&["adopt", "b4/list", "--kernel", kernel.to_str().unwrap()]);
    clone.stage.good(&["check"]);
    let report = clone.stage.mini.series_report("list");
    assert_eq!(report["change_id"], "20260102-list-0123456789ab");
    let cover = clone.stage.cover("list", 1);
    assert!(
        cover.contains("Subject: [RFC PATCH 0/2] lib: list: add it\n"),
        "{cover}"
    );
    assert!(cover.contains("To: List <list@example.org>\n"), "{cover}");
}

#[test]
fn posted_cover_letter_of_b4_is_adopted() {
    let clone = Clone::with_stack();
    let tracking = "{\"series\": {\"revision\": 2, \"change-id\": \"20260102-list-0123456789ab\", \
                    \"history\": {\"v1\": [\"one@example.org\"]}}}";
    // After a posting, b4 adds a changelog below `---`.
    let cover = format!(
        "lib: list: add it\n\nDrivers need it.\n\nTo: List <list@example.org>\n\n---\n\
         Changes in v2:\n- EDITME\n\n--- b4-submit-tracking ---\n# For b4.\n{tracking}\n"
    );
    clone.git(&["checkout", "--quiet", "-b", "b4/list", "master"]);
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", &cover]);
    clone.git(&["cherry-pick", "master..topic/list"]);
    clone.git(&["checkout", "--quiet", "master"]);
    let kernel = clone.dir();
    let adopt = ["adopt", "b4/list", "--kernel", kernel.to_str().unwrap()];
    let said = clone.stage.good(&adopt).stderr;
    assert!(said.contains("to do: record v1, which b4 posted"), "{said}");
    clone.stage.good(&["assemble"]);
    assert_eq!(
        clone.subjects("list"),
        ["lib: list: add a walk", "lib: list: count the entries"]
    );
    let cover = clone.stage.cover("list", 1);
    assert!(!cover.contains("EDITME"), "{cover}");
}

#[test]
fn commit_author_is_kept() {
    let clone = Clone::new();
    clone.git(&["checkout", "--quiet", "-b", "topic/list"]);
    clone.write("lib/list.c", LIST);
    clone.git(&["add", "--all"]);
    let message = "lib: list: add a walk\n\nDrivers need it.\n\n\
                   Signed-off-by: Other Person <other@example.org>\n";
    clone.git(&[
        "commit",
        "--quiet",
        "--signoff",
        "-m",
        message,
        "--author",
        "Other Person <other@example.org>",
        "--date",
        "1700000000 +0200",
    ]);
    clone.git(&["checkout", "--quiet", "master"]);
    clone.adopt(&["topic/list"]);
    clone.stage.good(&["check"]);
    let patch = clone
        .stage
        .mini
        .read("out/list/v1/0001-lib-list-add-a-walk.patch");
    assert!(
        patch.contains("\nFrom: Other Person <other@example.org>\n"),
        "{patch}"
    );
    assert!(
        patch.contains("\nDate: Wed, 15 Nov 2023 00:13:20 +0200\n"),
        "{patch}"
    );
    let mails = clone.post("list");
    assert!(
        mails[0]
            .body
            .contains("From: Other Person <other@example.org>\n"),
        "{}",
        mails[0].body
    );
    clone.stage.good(&["check"]);
}

#[test]
fn branches_match_trees_of_overlays() {
    let stage = Stage::new();
    stage.good(&["assemble"]);
    let mini = &stage.mini;
    let kernel = mini.path("cache/kernel");
    let overlays = mini.report();
    let mut args = vec!["adopt".to_owned(), "--onto".to_owned(), "base".to_owned()];
    let commit = |of: &serde_json::Value| of["commit"].as_str().unwrap().to_owned();
    mini.git(&kernel, &["branch", "base", &commit(&overlays["base"])]);
    for one in overlays["series"].as_array().unwrap() {
        let branch = format!("topic/{}", one["name"].as_str().unwrap());
        mini.git(&kernel, &["branch", &branch, &commit(&one["tip"])]);
        args.push(branch);
    }
    fs::create_dir(mini.path("second")).unwrap();
    let run = |args: &[String]| {
        let mut command = stage.with_b4(mini.command(&[]));
        let command = command.args(args).current_dir(mini.path("second"));
        let out = command
            .env("SERIES_CACHE", mini.path("second-cache"))
            .output();
        let ran = mini.ran(out.unwrap());
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    };
    args.extend(["--kernel".to_owned(), kernel.display().to_string()]);
    run(&args);
    for one in overlays["series"].as_array().unwrap() {
        let name = one["name"].as_str().unwrap();
        let manifest = mini.path(&format!("second/series/{name}.toml"));
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(
            manifest,
            text.replace("to = []", "to = [\"list@example.org\"]"),
        )
        .unwrap();
        let cover = format!("cover-letters/{name}.md");
        fs::copy(mini.ws(&cover), mini.path("second").join(cover)).unwrap();
    }
    run(&["assemble".to_owned()]);
    let branches = fs::read_to_string(mini.path("second/out/series.json")).unwrap();
    let branches: serde_json::Value = serde_json::from_str(&branches).unwrap();
    let trees = |report: &serde_json::Value| {
        let all = report["series"].as_array().unwrap().iter();
        let mut all: Vec<_> = all
            .map(|s| (s["name"].to_string(), s["tip"]["tree"].to_string()))
            .collect();
        all.sort();
        all
    };
    assert_eq!(trees(&overlays), trees(&branches));
    assert_eq!(overlays["all"]["tree"], branches["all"]["tree"]);
}

#[test]
fn c_branch_is_built_with_gcc() {
    let clone = Clone::with_stack();
    clone.adopt(&["topic/list"]);
    let mini = &clone.stage.mini;
    mini.file("ws/kunit-configs/all.config", "CONFIG_KUNIT=y\n");
    mini.file("lost", "no such line\n");
    let log = "#!/bin/sh\necho \"$(basename \"$0\") $*\" >>\"$FAKE/calls\"\n";
    for tool in TOOLS.iter().chain(&["rustc", "rustfmt", "clippy-driver"]) {
        let of_rust = ["clang", "ld.lld", "llvm", "bindgen", "rust", "clippy"];
        let text = match of_rust.iter().any(|start| tool.starts_with(start)) {
            true => "#!/bin/sh\nexit 1\n".to_owned(),
            false => TOOL.replacen("#!/bin/sh\n", log, 1),
        };
        mini.file(&format!("bin/{tool}"), &text);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(mini.path("bin").join(tool), mode).unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    let mut command = mini.command(&["test"]);
    command
        .env("PATH", format!("{}:{path}", mini.path("bin").display()))
        .env("FAKE", mini.path(""));
    let ran = mini.ran(command.output().unwrap());
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains("KUnit of list (um): no suites\n"),
        "{}",
        ran.stderr
    );
    let calls = fs::read_to_string(mini.path("calls")).unwrap();
    assert!(calls.contains("make ARCH=um"), "{calls}");
    assert!(
        !calls.contains("LLVM") && !calls.contains("rustavailable"),
        "{calls}"
    );
}

#[test]
fn branches_of_two_bases() {
    let clone = Clone::with_stack();
    let (stage, mini) = (&clone.stage, &clone.stage.mini);
    // The tree of a subsystem, which is ahead of the release.
    clone.git(&["checkout", "--quiet", "-b", "gpu-next"]);
    clone.write("lib/core.c", "int core = 1;\n");
    clone.commit("lib: core: start at one");
    clone.git(&["checkout", "--quiet", "-b", "topic/gpu"]);
    clone.write("lib/core.c", "int core = 1;\nint gpu;\n");
    clone.commit("lib: gpu: add it");
    clone.git(&["checkout", "--quiet", "-b", "topic/gpu-more"]);
    clone.write("lib/gpu.c", "int more;\n");
    clone.commit("lib: gpu: add more");
    clone.git(&["checkout", "--quiet", "master"]);

    clone.adopt(&["topic/list", "topic/buddy"]);
    let ran = stage.good(&["adopt", "topic/gpu", "--onto", "gpu-next"]);
    insta::assert_snapshot!("adopted_on_other_base", ran.stderr);
    let error = stage.error(&["adopt", "topic/gpu-more", "topic/mm"]);
    insta::assert_snapshot!("adopt_on_different_bases", error);
    clone.git(&["checkout", "--quiet", "--orphan", "topic/alone"]);
    clone.commit("lib: start anew");
    clone.git(&["checkout", "--quiet", "master"]);
    insta::assert_snapshot!("adopt_on_no_base", stage.error(&["adopt", "topic/alone"]));
    // The branch contains the commits of both bases.
    let ran = stage.good(&["adopt", "topic/gpu-more"]);
    assert!(
        ran.stderr.contains("topic/gpu-more on gpu\n"),
        "{}",
        ran.stderr
    );
    ["gpu", "gpu-more"]
        .iter()
        .for_each(|name| clone.fill_in(name));

    // An exception for a commit is not looked for on the other base.
    let manifest = mini.read("series/list.toml");
    let entry = "\n[[patch]]\nsubject = \"lib: list: add a walk\"\n";
    mini.file("ws/series/list.toml", &(manifest + entry));
    stage.good(&["assemble"]);
    assert_eq!(clone.subjects("list").len(), 2);
    let report = mini.read("out/gpu-next/series.json");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let tip = |name: &str| {
        let mut all = report["series"].as_array().unwrap().iter();
        let one = all.find(|s| s["name"] == name).unwrap();
        one["tip"]["tree"].as_str().unwrap().to_owned()
    };
    assert_eq!(report["series"].as_array().unwrap().len(), 2);
    for name in ["gpu", "gpu-more"] {
        let tree = clone.git(&["rev-parse", &format!("topic/{name}^{{tree}}")]);
        assert_eq!(tip(name), tree, "{name}");
    }
    stage.good(&["check"]);

    // Names are looked for on all bases.
    for (names, rows) in [(&["gpu"][..], 1), (&["list", "gpu-more"], 3)] {
        let ran = stage.good(&[&["assemble"], names].concat());
        assert_eq!(ran.stdout.lines().count(), 2 + rows, "{}", ran.stdout);
        stage.good(&[&["check"], names].concat());
    }
    insta::assert_snapshot!("name_on_no_base", stage.error(&["assemble", "gpu", "none"]));
    let args = ["diff", "gpu", "--base", "v6.1.2"];
    insta::assert_snapshot!("branch_on_other_base", stage.error(&args));
    let graph = stage.good(&["graph"]).stdout;
    assert!(graph.contains("Linux v6.1.2, gpu-next"), "{graph}");

    for (name, base) in [("list", "master"), ("gpu", "gpu-next")] {
        let mails = clone.post(name);
        let commit = clone.git(&["rev-parse", base]);
        let line = format!("\nbase-commit: {commit}\n");
        assert!(mails[0].body.contains(&line), "{}", mails[0].body);
    }
    stage.good(&["check"]);
}

#[test]
fn names_of_new_bases_are_free() {
    let clone = Clone::with_stack();
    let stage = &clone.stage;
    clone.git(&["checkout", "--quiet", "-b", "ahead", "master"]);
    clone.write("lib/core.c", "int core = 1;\n");
    clone.commit("lib: core: start at one");
    let names = ["base", "x/tree", "x/v6.1.2", "x/list"];
    for (number, onto) in names.iter().enumerate() {
        clone.git(&["branch", onto, "ahead"]);
        let branch = format!("topic/more{number}");
        clone.git(&["checkout", "--quiet", "-b", &branch, onto]);
        clone.write("lib/more.c", &format!("int more{number};\n"));
        clone.commit("lib: more: add it");
    }
    clone.git(&["checkout", "--quiet", "master"]);
    clone.adopt(&["topic/list"]);
    let commit = clone.git(&["rev-parse", "ahead"]);
    for (number, onto) in names.iter().enumerate() {
        let branch = format!("topic/more{number}");
        stage.good(&["adopt", &branch, "--onto", onto]);
        clone.fill_in(&format!("more{number}"));
    }
    let mut files: Vec<_> = fs::read_dir(stage.mini.ws("series/bases"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let made = format!("base-{}.toml", &commit[..12]);
    assert_eq!(files, [made.as_str(), "v6.1.2.toml"]);
    stage.good(&["assemble", "more0"]);

    let error = stage.error(&["adopt", "topic/buddy", "--onto", "topic/list"]);
    insta::assert_snapshot!("adopt_onto_series", error);
    for name in ["tree", "list"] {
        let file = format!("series/bases/{name}.toml");
        fs::copy(
            stage.mini.ws(&format!("series/bases/{made}")),
            stage.mini.ws(&file),
        )
        .unwrap();
        insta::assert_snapshot!(format!("base_named_{name}"), stage.error(&["status"]));
        fs::remove_file(stage.mini.ws(&file)).unwrap();
    }
}

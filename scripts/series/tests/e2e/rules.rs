// SPDX-License-Identifier: GPL-2.0

//! The rules of `check`: for each rule a workspace that breaks it, and one that does not.

use std::fs;

use serde_json::Value;

use crate::{mail::with_b4, mini::Mini};

const CHECKPATCH: (&str, u32, &str) =
    ("scripts/checkpatch.pl", 0o755, "#!/usr/bin/perl\nexit 0;\n");
const RUSTFMT: (&str, u32, &str) = (".rustfmt.toml", 0o644, "");

/// Names one more person for patches that touch `list.rs`, and counts its calls.
const GET_MAINTAINER: &str = r#"#!/usr/bin/perl
my $patch = join '', <STDIN>;
open my $calls, '>>', "$ENV{CALLS}"; print $calls "call\n"; close $calls;
print "Dev Eloper <dev\@example.org> (maintainer:A)\n";
print "list\@example.org (open list:A)\n";
print "\"Some B. Ody\" <somebody\@example.org> (maintainer:LISTS)\n" if $patch =~ m{^\+\+\+ b/list\.rs}m;
"#;

fn workspace() -> Mini {
    Mini::with(&[CHECKPATCH, RUSTFMT])
}

/// The findings of a run that has to fail.
fn found(mini: &Mini, name: &str) -> String {
    mini.error(&["check", name])
}

#[test]
fn item_without_user_is_found() {
    let mini = workspace();
    let reason = "\"list::walk\" = \"Drivers that are posted later call it.\"";
    mini.good(&["check"]);
    mini.replace("series/list.toml", reason, "");
    insta::assert_snapshot!(found(&mini, "list"), @r#"
    error: list/tree/list.rs:5: list patch 1: unused: the public function list::walk has no user outside tests
      help: remove it, or add it with its user; or give the reason below [unused] of series/list.toml: "list::walk" = "…"
    "#);
    // A later series uses it.
    mini.overlay(
        "buddy",
        "buddy.rs",
        "fn f() {\n    crate::list::walk();\n}\n",
    );
    mini.good(&["check"]);
    mini.replace(
        "series/list.toml",
        "[unused]",
        &format!("[unused]\n{reason}\n\"list::gone\" = \"x\""),
    );
    insta::assert_snapshot!(found(&mini, "list"), @r#"
    error: series/list.toml:24: list: unused: list has no public item "list::gone"
      help: remove the line
    error: series/list.toml:23: list: unused: list::walk has a user: buddy.rs
      help: remove the line
    "#);
}

#[test]
fn checkpatch_messages_have_reasons() {
    let script = "#!/usr/bin/perl\n\
                  print \"x:7: CHECK:SPACING: no blank line\\n\" if \"@ARGV\" =~ m{list/v1/0001};\n";
    let mini = Mini::with(&[("scripts/checkpatch.pl", 0o755, script), RUSTFMT]);
    insta::assert_snapshot!(found(&mini, "list"), @r#"
    error: out/list/v1/0001-rust-list-add-a-walk.patch:7: list patch 1: checkpatch: SPACING: no blank line
      help: if it does not apply, write checkpatch = { SPACING = "reason" } into the [[patch]] of series/list.toml
    "#);
    let entry = "files = [\"list.rs\"]\ncheckpatch = { SPACING = \"A macro.\" }";
    mini.replace("series/list.toml", "files = [\"list.rs\"]", entry);
    mini.good(&["check", "list"]);
    mini.replace(
        "series/list.toml",
        "SPACING = \"A macro.\"",
        "OTHER = \" \"",
    );
    insta::assert_snapshot!(found(&mini, "list"), @"
    error: series/list.toml:9: the reason is empty
      help: explain in one sentence why the rule does not apply
    ");
    mini.replace(
        "series/list.toml",
        "OTHER = \" \"",
        "SPACING = \"x\", OTHER = \"x\"",
    );
    insta::assert_snapshot!(found(&mini, "list"), @"
    error: series/list.toml:9: list patch 1: checkpatch: there is no message OTHER about the patch
      help: remove the entry
    ");
}

#[test]
fn new_file_without_maintainer_is_found() {
    let script = "#!/usr/bin/perl\n\
                  print \"x: WARNING:FILE_PATH_CHANGES: added\\n\" if \"@ARGV\" =~ m{list/v1/0001};\n";
    let mini = Mini::with(&[("scripts/checkpatch.pl", 0o755, script), RUSTFMT]);
    // The patch also changes lib.rs, which the base has.
    let text = found(&mini, "list");
    assert!(
        text.contains("help: add to an entry of MAINTAINERS: list.rs;"),
        "{text}"
    );
}

#[test]
fn fix_without_commit_is_found() {
    let mini = workspace();
    mini.message("list", "2.msg", "rust: list: fix the owned side");
    insta::assert_snapshot!(found(&mini, "list"), @r#"
    error: series/list/2.msg:1: list patch 2: fixes: the message describes a fix and has no Fixes: tag
      help: name the commit at fault as `Fixes: 0123456789ab ("subject")`; if none is known, give the reason as `no-fixes = "…"` in the [[patch]] of series/list.toml
    "#);
    let tag = "no other way.\n\nFixes: 0123456789ab (\"rust: list: add it\")";
    mini.replace("series/list/2.msg", "no other way.", tag);
    insta::assert_snapshot!(found(&mini, "list"), @r#"
    error: series/list/2.msg:5: list patch 2: fixes: 0123456789ab cannot be looked up in the base
      help: look it up in a clone with history, as `cargo series check --kernel DIR` does; until then, mark it as `unverified = ["0123456789ab"]` in the [[patch]] of series/list.toml
    "#);
    mini.replace(
        "series/list.toml",
        "files = [\"list/owned.rs\"]",
        "files = [\"list/owned.rs\"]\nunverified = [\"0123456789ab\"]",
    );
    // Every command before a posting prints it.
    let warning = "warning: series/list/2.msg:5: list patch 2: fixes: Fixes: 0123456789ab (\"rust: \
                   list: add it\") was not verified\n";
    assert!(mini.good(&["check"]).stderr.contains(warning));
    assert!(mini.good(&["check", "-q", "list"]).stderr.contains(warning));
    let json: Value = serde_json::from_str(&mini.good(&["check", "--json"]).stdout).unwrap();
    assert_eq!(json["warnings"][0]["check"], "fixes");
    for report in ["out/report.md", "out/report.html"] {
        assert!(
            mini.read(report)
                .contains("Fixes: 0123456789ab was not looked up"),
            "{report}"
        );
    }
    let ran = with_b4(&mini, mini.command(&["prepare", "list"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
}

#[test]
fn fix_is_looked_up_in_kernel_tree() {
    let mini = workspace();
    let kernel = mini.pristine("kernel");
    let first = mini.git(&kernel, &["rev-parse", "--short=12", "HEAD"]);
    mini.git(&kernel, &["tag", "v6.1.2"]);
    mini.message("list", "2.msg", "rust: list: fix the owned side");
    let tag = |subject: &str| format!("no other way.\n\nFixes: {first} (\"{subject}\")");
    mini.replace("series/list/2.msg", "no other way.", &tag("Mini 6.1.2"));
    let check = ["check", "list", "--kernel", kernel.to_str().unwrap()];
    mini.good(&check);
    mini.replace("series/list/2.msg", "Mini 6.1.2", "Mini");
    let text = mini.error(&check);
    assert!(
        text.contains(" is \"Mini 6.1.2\", not \"Mini\"\n"),
        "{text}"
    );
}

#[test]
fn send_refuses_unmarked_fix() {
    let mini = workspace();
    let tag = "no other way.\n\nFixes: 0123456789ab (\"rust: list: add it\")";
    mini.replace("series/list/2.msg", "no other way.", tag);
    let ran = with_b4(&mini, mini.command(&["prepare", "list"]));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("0123456789ab cannot be looked up in the base"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("To post the series"), "{}", ran.stderr);
}

#[test]
fn missing_recipient_is_found() {
    let script = ("scripts/get_maintainer.pl", 0o755, GET_MAINTAINER);
    let mini = Mini::with(&[CHECKPATCH, RUSTFMT, script]);
    let calls = mini.path("calls");
    let run = |args: &[&str]| {
        let mut command = mini.command(args);
        mini.ran(command.env("CALLS", &calls).output().unwrap())
    };
    let ran = run(&["check", "list"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let at = ran.stderr.find("error: ").unwrap();
    insta::assert_snapshot!(&ran.stderr[at..], @r#"
    error: series/list.toml:4: list: recipients: 1 recipient is missing, which get_maintainer.pl names
      help: add to `to` or `cc`, or give reasons below [absent], as in "Some B. Ody" = "…":
            "Some B. Ody <somebody@example.org>", # maintainer:LISTS; patch 1 and 1 more
    "#);
    let called = || fs::read_to_string(&calls).unwrap().lines().count();
    assert_eq!(called(), 2);
    mini.replace(
        "series/list.toml",
        "[unused]",
        "[absent]\n\"Some B. Ody\" = \"He asked for it.\"\n\n[unused]",
    );
    let ran = run(&["check", "list"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    // The patches are the same, so the script does not run again.
    assert_eq!(called(), 2);
    assert!(
        mini.read("out/report.md")
            .contains("- absent: Some B. Ody: He asked for it.")
    );
    mini.replace("series/list.toml", "Some B. Ody", "nobody@example.org");
    let ran = run(&["check", "list"]);
    assert!(
        ran.stderr
            .contains("recipients: get_maintainer.pl does not name nobody@example.org"),
        "{}",
        ran.stderr
    );
}

#[test]
fn large_patch_is_found() {
    let mini = workspace();
    let lines: String = (0..500).map(|n| format!("// {n}\n")).collect();
    mini.overlay("buddy", "buddy_test.rs", &format!("//! A test.\n{lines}"));
    insta::assert_snapshot!(found(&mini, "buddy"), @r#"
    error: series/buddy.toml:12: buddy patch 2: sizes: the patch adds 501 lines, more than 500
      help: split it, or give the reason as `large = "…"` in its [[patch]]
    "#);
    mini.replace(
        "series/buddy.toml",
        "files = [\"buddy_test.rs\"]",
        "files = [\"buddy_test.rs\"]\nlarge = \"It is one table.\"",
    );
    mini.good(&["check"]);
    assert!(
        mini.read("out/report.md")
            .contains("- large: patch 2: It is one table.")
    );
    mini.overlay("buddy", "buddy_test.rs", "//! A test.\n");
    insta::assert_snapshot!(found(&mini, "buddy"), @r"
    error: series/buddy.toml:15: buddy patch 2: sizes: `large` is not needed: the patch adds 1 line and is a mail of 528 bytes
      help: remove the line
    ");
}

#[test]
fn unusual_subject_is_found() {
    let mini = workspace();
    mini.message("list", "2.msg", "rust: list: Adds the owned side");
    insta::assert_snapshot!(found(&mini, "list"), @r#"
    error: series/list/2.msg:1: list patch 2: subject: "Adds" begins with a capital letter
      help: write the text after the prefix in lower case, except for names; if the tree has capitals, write capitals = "reason" into the manifest
    error: series/list/2.msg:1: list patch 2: subject: "Adds" is not an imperative
      help: start with a verb like "add", "use" or "remove"
    "#);
}

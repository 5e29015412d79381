// SPDX-License-Identifier: GPL-2.0

//! `status` and the reports, in each state of a series.

use std::fs;

use serde_json::{Value, json};

use crate::mini::Mini;

/// Creates a workspace in which `check` runs, with few checks.
fn workspace() -> Mini {
    Mini::with(&[
        ("scripts/checkpatch.pl", 0o755, "#!/usr/bin/perl\nexit 0;\n"),
        (".rustfmt.toml", 0o644, ""),
    ])
}

/// Returns the page without the escapes of slashes.
fn html(mini: &Mini) -> String {
    mini.read("out/report.html").replace("&#x2f;", "/")
}

fn status(mini: &Mini, name: &str) -> Value {
    let all = mini.good(&["status", "--json"]).stdout;
    let all: Value = serde_json::from_str(&all).unwrap();
    let mut all = all.as_array().unwrap().iter();
    all.find(|s| s["name"] == name).unwrap().clone()
}

/// Whether each element of the page is closed.
fn is_balanced(html: &str) -> bool {
    let tags = "html head body style header nav main section div h1 h2 h3 p ul ol li details summary \
                span table thead tbody tr th td code pre a svg g title text";
    tags.split_whitespace().all(|tag| {
        let open = [format!("<{tag}>"), format!("<{tag} ")];
        let open: usize = open.iter().map(|o| html.matches(o).count()).sum();
        open == html.matches(&format!("</{tag}>")).count()
    })
}

/// Returns the part of the page about a series.
fn section(html: &str, name: &str) -> String {
    let at = html.find(&format!("<section id=\"{name}\"")).unwrap();
    let end = html[at..].find("</section>").unwrap();
    html[at..at + end].to_owned()
}

/// Returns the text of the page, one element per line.
fn text(html: &str) -> String {
    let mut lines = Vec::new();
    for part in html.split('<') {
        let text = part.split_once('>').map_or(part, |(_, text)| text).trim();
        if !text.is_empty() {
            lines.push(text.to_owned());
        }
    }
    lines.join("\n")
}

/// Records a posting from mails.
fn post(mini: &Mini, name: &str) {
    let mails = crate::trailers::mails(mini, name, 1);
    mini.file("posted.mbox", &mails);
    let mbox = mini.path("posted.mbox");
    mini.good(&["record", name, "--mbox", mbox.to_str().unwrap()]);
}

/// Returns a record of a full check without findings, changed by the test.
fn full(mini: &Mini) -> Value {
    let report = mini.report();
    let unit = |arch: &str| {
        json!({ "arch": arch, "ran": ["build", "clippy"], "builds": true, "pass": true,
                "warnings": [], "errors": [] })
    };
    let series = report["series"].as_array().unwrap().iter().map(|s| {
        let patches = s["patches"].as_array().unwrap().iter().map(|p| {
            json!({ "id": p["id"], "subject": p["subject"], "tree": p["tree"],
                    "units": [unit("um"), unit("x86_64")], "pass": true })
        });
        json!({ "name": s["name"], "version": 1, "depends": s["depends"],
                "parent_tree": s["parent"]["tree"], "patches": patches.collect::<Vec<_>>(),
                "kunit": { "arch": "um", "tree": s["tip"]["tree"], "pass": true, "passed": 7,
                           "failed": 0, "crashed": 0, "skipped": 0, "errors": [] },
                "dependencies": [], "builds_alone": true, "pass": true })
    });
    json!({ "base": "6.1.2", "base_tree": report["base"]["tree"],
            "all_tree": report["all"]["tree"], "archs": ["um", "x86_64"],
            "series": series.collect::<Vec<_>>(), "pass": true })
}

#[test]
fn status_without_assembled_series() {
    let mini = Mini::new();
    fs::remove_dir_all(mini.path("mirror")).unwrap();
    insta::assert_snapshot!(mini.good(&["status"]).stdout);
    assert!(!mini.ws("out").exists());
    let list = status(&mini, "list");
    assert_eq!(
        (&list["applies"], &list["reviewed"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn report_page_is_self_contained() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let html = html(&mini);
    for outside in ["<script", "<link", "src=", "@import", "http-equiv", "url(h"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(is_balanced(&html), "{html}");
    // The linked files are next to the page.
    let links: Vec<&str> = html
        .split("href=\"")
        .skip(1)
        .map(|p| p.split('"').next().unwrap())
        .collect();
    assert!(links.len() > 10);
    for link in links {
        let there = match link.strip_prefix('#') {
            Some(id) => html.contains(&format!(" id=\"{id}\"")),
            None => mini.ws(&format!("out/{link}")).is_file(),
        };
        assert!(there, "{link}");
    }
}

#[test]
fn report_is_reproducible() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let both = || (html(&mini), mini.read("out/report.md"));
    let first = both();
    fs::remove_dir_all(mini.ws("out")).unwrap();
    mini.good(&["assemble"]);
    assert!(both() == first);
    insta::assert_snapshot!("report-md", first.1);
}

#[test]
fn report_escapes_text_of_patches() {
    let mini = Mini::new();
    let odd = "MAINTAINERS: add <script>alert(\"1\")</script> & `b` | <b>c</b>";
    mini.message("other", "1.msg", odd);
    mini.good(&["assemble"]);
    let html = html(&mini);
    assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
    assert!(
        html.contains("add &lt;script&gt;alert(&quot;1&quot;)"),
        "{html}"
    );
    let md = mini.read("out/report.md");
    assert!(md.contains("add \\<script\\>alert(\"1\")"), "{md}");
    assert!(md.contains("& \\`b\\` \\| \\<b\\>c"), "{md}");
}

#[test]
fn findings_valid_until_change() {
    let mini = workspace();
    mini.good(&["check"]);
    let list = status(&mini, "list");
    assert_eq!(list["check"]["findings"], 0);
    assert_eq!(list["check"]["current"], true);
    assert_eq!(list["check"]["tree"], mini.report()["all"]["tree"]);
    let told = |name: &str| text(&section(&html(&mini), name));
    assert!(
        told("list").contains("rustfmt:\nnothing found"),
        "{}",
        told("list")
    );
    // A violation of a rule.
    mini.replace("cover-letters/list.md", "Drivers need list.", "Drivers.");
    mini.replace(
        "list/tree/list/owned.rs",
        "//! Owned.",
        "//! Owned,\n    fn  x( ) {}",
    );
    mini.good(&["assemble"]);
    let list = status(&mini, "list");
    assert_eq!(list["check"]["current"], false);
    assert_eq!(status(&mini, "other")["check"]["current"], true);
    assert!(!told("list").contains("rustfmt"), "{}", told("list"));
    let ran = mini.run(&["check", "list"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let list = status(&mini, "list");
    assert_eq!(list["check"]["current"], true);
    assert_eq!(list["check"]["findings"], 1, "{list}");
    let told = told("list");
    assert!(
        told.contains("rustfmt:\n1 finding\npatch 2, rustfmt:\n"),
        "{told}"
    );
    assert!(
        told.contains("rust: list: add the owned side\n2 files\n+4\n−0\ncheck: 1 found\n"),
        "{told}"
    );
    // Results of other series are preserved.
    assert_eq!(status(&mini, "other")["check"]["findings"], 0);
}

#[test]
fn full_check_results_match_state() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let mut record = full(&mini);
    let buddy = &mut record["series"][1];
    assert_eq!(buddy["name"], "buddy");
    buddy["patches"][1]["units"][0]["pass"] = json!(false);
    buddy["patches"][1]["units"][0]["warnings"] = json!([
        { "file": "buddy.rs", "line": 3, "message": "unused <x>", "text": "warning: unused <x>\n  |" }
    ]);
    buddy["dependencies"] = json!([
        { "name": "list", "without": 0, "found": 1, "needed": true, "pass": false, "failure":
          { "patch": 2, "subject": "s", "how": "does_not_build", "error": "no <list>" } }
    ]);
    mini.file("ws/out/full.json", &record.to_string());
    let buddy = status(&mini, "buddy");
    assert!(is_balanced(&html(&mini)), "{}", html(&mini));
    let wanted = json!({ "units": 4, "done": 4, "left": 0, "findings": 2, "complete": true });
    assert_eq!(buddy["full"], wanted);
    let told = text(&section(&html(&mini), "buddy"));
    insta::assert_snapshot!("full", told);
    let md = mini.read("out/report.md");
    for line in [
        "4 of 4 compiled (build, clippy): 2 found.\n",
        "- patch 2, um: warning: `buddy.rs:3`: unused \\<x\\>\n",
        "- WRONG: list: needed from patch 2 on, which does not build without it; the manifest says without = 0\n",
        "| buddy | 7 passed |\n",
    ] {
        assert!(md.contains(line), "{line}:\n{md}");
    }
    // A changed second patch invalidates its results and the results at the end of the series.
    mini.overlay("buddy", "buddy_test.rs", "//! Another test.\n");
    mini.good(&["assemble"]);
    let wanted = json!({ "units": 4, "done": 2, "left": 2, "findings": 0, "complete": false });
    assert_eq!(status(&mini, "buddy")["full"], wanted);
    let told = text(&section(&html(&mini), "buddy"));
    assert!(
        told.contains("2 of 4 compiled (build, clippy):\nnothing found\n,\n2 left"),
        "{told}"
    );
    assert!(!told.contains("Dependencies:"), "{told}");
}

#[test]
fn kunit_by_series_and_kernel() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    let tree = mini.report()["all"]["tree"].clone();
    let result = |tree: &Value, failed: u64| {
        json!({ "tree": tree, "pass": failed == 0, "passed": 5, "failed": failed, "crashed": 0,
                "skipped": 0 })
        .to_string()
    };
    mini.file("ws/out/kunit/um/list.json", &result(&tree, 0));
    mini.file("ws/out/kunit/um/buddy.json", &result(&json!("another"), 0));
    mini.file("ws/out/kunit/x86_64-lockdep/buddy.json", &result(&tree, 1));
    mini.good(&["status"]);
    let md = mini.read("out/report.md");
    assert!(
        md.contains("| series | um | x86_64-lockdep |\n|---|---|---|\n| list | 5 passed | - |\n| buddy | - | 5 passed, 1 FAILED |\n"),
        "{md}"
    );
    let html = text(&html(&mini));
    assert!(
        html.contains("buddy\nnot run\n5 passed, 1 FAILED\n"),
        "{html}"
    );
}

#[test]
fn changes_since_posting() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    post(&mini, "list");
    let list = status(&mini, "list");
    let link = list["posted"]["link"].as_str().unwrap().to_owned();
    assert_eq!(
        (&list["version"], &list["posted"]["version"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(list["changelog"], "begun");
    assert_eq!(list["changes"]["same"], 2, "{list}");
    mini.overlay("list", "list/owned.rs", "//! Owned, and <more>.\n");
    mini.replace(
        "list/CHANGELOG.md",
        "- Link",
        "- rust: list: add the owned side: more.\n- Link",
    );
    mini.good(&["assemble"]);
    let list = status(&mini, "list");
    assert_eq!(list["changelog"], "written");
    let wanted = json!({ "against": 1, "same": 1, "moved": 0, "message": 0, "changed": 1,
                         "added": 0, "dropped": 0 });
    assert_eq!(list["changes"], wanted);
    let stdout = mini.good(&["status"]).stdout;
    assert!(
        stdout.contains("| v1 posted, v2 in work | v1: 1 changed "),
        "{stdout}"
    );
    assert!(stdout.contains(&format!("\nlist v1: {link}\n")), "{stdout}");
    let html = html(&mini);
    assert!(is_balanced(&html), "{html}");
    let section = section(&html, "list");
    assert!(
        section.contains(&format!("<a href=\"{link}\">v1</a>")),
        "{section}"
    );
    assert!(
        section.contains("<span class=\"changed\">2: ! 2: rust: list: add the owned side</span>"),
        "{section}"
    );
    assert!(
        section.contains("<span class=\"come\">    ++//! Owned, and &lt;more&gt;.</span>"),
        "{section}"
    );
    let told = text(&section);
    assert!(
        told.contains("rust: list: add the owned side\n2 files\n+3\n−0\nchanged\n"),
        "{told}"
    );
    let md = mini.read("out/report.md");
    assert!(
        md.contains("### Since v1\n\n1 changed, 1 same\n\n```diff\n1: = 1: "),
        "{md}"
    );
    // The graph shows it as well.
    let graph = mini.good(&["graph"]).stdout;
    assert!(graph.contains("v1 posted, v2 in work\n"), "{graph}");
}

#[test]
fn tags_of_reviewers() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    // The report shows the tags of the assembled patch.
    let file = mini.series_report("list")["patches"][0]["file"]
        .as_str()
        .unwrap()
        .to_owned();
    let who = "Rita Viewer <rita@example.org>";
    mini.replace(
        &file,
        "Signed-off-by:",
        &format!("Reviewed-by: {who}\nSigned-off-by:"),
    );
    mini.replace(
        &file,
        "\n---\n",
        "\n---\nReviewed-by: Not A. Tag <not@example.org>\n",
    );
    assert_eq!(status(&mini, "list")["reviewed"], 1);
    let told = text(&section(&html(&mini), "list"));
    assert!(
        told.contains("Reviewed-by: Rita Viewer &lt;rita@example.org&gt;\n"),
        "{told}"
    );
    assert!(
        told.contains("2 patches, 1 reviewed\n") && !told.contains("Not A. Tag"),
        "{told}"
    );
}

#[test]
fn unassembled_change_is_noted() {
    let mini = Mini::new();
    mini.good(&["assemble"]);
    assert_eq!(mini.good(&["status"]).stderr, "");
    mini.overlay("list", "list/owned.rs", "//! Another.\n");
    let ran = mini.good(&["status"]);
    insta::assert_snapshot!(ran.stderr, @r"
    note: the series changed since the last assemble; run `cargo series assemble`
    ");
}

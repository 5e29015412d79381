// SPDX-License-Identifier: GPL-2.0

//! Fills the templates of the report.

use minijinja::{Environment, UndefinedBehavior, context, value::Serde};
use serde_json::Value;

/// Returns the content of `out/report.html`, one file without scripts and external resources.
pub fn html(page: &Value) -> String {
    // The ending makes minijinja escape all values.
    render("report.html", include_str!("page.html"), page)
}

/// Returns the content of `out/report.md`.
pub fn markdown(page: &Value) -> String {
    render("report.md", include_str!("page.md"), page) + "\n"
}

fn render(name: &str, template: &str, page: &Value) -> String {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("plain", plain);
    environment.add_filter("fenced", fenced);
    let style = include_str!("style.css");
    let values = context! { page => Serde(page), style };
    let rendered = environment.render_named_str(name, template, values);
    rendered.expect("tests render the template")
}

/// Formats a code block of Markdown. The fence is longer than all fences in the text.
fn fenced(lines: Vec<String>, language: &str) -> String {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let mut fence = String::from("```");
    while text.contains(&fence) {
        fence.push('`');
    }
    format!("{fence}{language}\n{text}{fence}")
}

/// Escapes the characters with a meaning in Markdown.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if "\\`*_[]<>#|".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A series with a value in each optional place, or in none.
    fn series(has_all: bool) -> Value {
        let all = |value: Value| if has_all { value } else { Value::Null };
        let some = |values: Value| if has_all { values } else { json!([]) };
        let findings = json!([{ "of": "patch 1, um", "check": "error", "message": "a_b",
                                "place": all(json!("a.rs:3")), "text": all(json!("x\n y\n")) }]);
        let dependencies = json!([{ "name": "below", "proof": "needed", "pass": !has_all,
                                    "error": all(json!("x\ny")) }]);
        let patch = json!({
            "id": 1, "subject": "rust: <b>", "file": "x/v2/1.patch", "added": 3, "removed": 0,
            "files": [{ "path": "a", "from": all(json!("b")), "added": 3, "removed": 0,
                        "what": all(json!("moved")) }],
            "tags": some(json!([["Reviewed-by", "A B <a@b>"], ["Acked-by", "C <c@d>"]])),
            "change": all(json!("changed")),
            "verdicts": some(json!([{ "name": "check", "found": 0 },
                                    { "name": "um", "found": 2 }])),
        });
        json!({
            "name": "x", "begins": all(json!({ "name": "c", "series": ["x", "y"] })),
            "grouped": has_all, "local": null, "goes_to": all(json!("drm-misc")),
            "title": "x: add it", "version": 2, "state": "v1 posted, v2 in work",
            "depends": some(json!(["below"])),
            "posted": all(json!({ "version": 1, "link": "https://a.b/c" })), "applies": has_all,
            "reviewed": 1, "folder": "x/v2", "files": 1, "added": 3, "removed": 0,
            "patches": [patch],
            "exceptions": some(json!([{ "field": "unused", "of": "f", "why": "later" }])),
            "changes": all(json!({ "against": 1, "summary": "1 changed", "dropped": ["x: old"],
                                   "lines": [{ "class": "come", "text": "    ++```" }] })),
            "quick": all(json!({ "checks": ["rustfmt", "sizes"], "findings": findings })),
            "full": all(json!({ "units": 2, "done": 2, "left": 0, "findings": 2, "complete": true,
                                "ran": ["build"], "list": findings, "builds_alone": false,
                                "dependencies": dependencies })),
        })
    }

    fn page(has_all: bool) -> Value {
        let cells = json!([{ "text": "7 passed", "pass": true }, null]);
        let rows = json!([{ "name": "x", "cells": cells }]);
        json!({
            "base": "Linux v6.1.2", "base_tree": "1234", "all_tree": "5678", "table": "| x |",
            "upstream_commit": has_all.then_some("abcd"), "graph_text": "x\n",
            "graph": "graph BT\n", "series": [series(has_all)],
            "kunit": { "kernels": ["um", "x86_64"],
                       "rows": if has_all { rows } else { json!([]) } },
        })
    }

    #[test]
    fn markdown_with_all_parts() {
        insta::assert_snapshot!(markdown(&page(true)));
    }

    #[test]
    fn markdown_with_few_parts() {
        insta::assert_snapshot!(markdown(&page(false)));
    }

    #[test]
    fn html_escapes_values() {
        for has_all in [true, false] {
            let html = html(&page(has_all));
            assert!(html.contains("rust: &lt;b&gt;"), "{html}");
            assert_eq!(html.contains("of 2 compiled"), has_all);
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Formats the report as Markdown.

use super::{
    ChangesPage, Page, PatchPage, SeriesPage,
    checks::{FindingPage, FullPage, QuickPage},
    kunit::KunitTable,
};
use crate::checks::rules::Exception;

/// Returns the content of `out/report.md`.
pub fn markdown(page: &Page) -> String {
    let mut text = format!("# Patch series on {}\n\n{}\n", page.base, page.table);
    text += "\n## Dependencies\n\n";
    text += &fenced("mermaid", &page.graph);
    if !page.kunit.rows.is_empty() {
        text += "\n## KUnit\n\n";
        text += &kunit(&page.kunit);
    }
    for one in &page.series {
        text += &series(one);
    }
    text += "\n## Base\n\n";
    match &page.upstream_commit {
        Some(commit) => text += &format!("{}, commit {commit}.\n", page.base),
        None => text += &format!("{}.\n", page.base),
    }
    text += &format!(
        "The tree of the base is {},\nthe tree with all series {}.\n",
        page.base_tree, page.all_tree
    );
    text
}

fn series(one: &SeriesPage) -> String {
    let mut text = String::new();
    if let Some(component) = &one.begins {
        let all = component.series.join(", ");
        text += &format!("\n## {}\n\nIts series are {all}.\n", component.name);
    }
    // The series of a component are one level below it.
    let level = if one.grouped { "###" } else { "##" };
    text += &format!(
        "\n{level} {} v{}: {}\n\n",
        one.name,
        one.version,
        plain(&one.title)
    );
    text += &format!("- {}", one.state);
    if let Some(posted) = &one.posted {
        text += &format!(": <{}>", posted.link);
    }
    text += "\n";
    match (&one.local, &one.goes_to) {
        (Some(why), _) => text += &format!("- never posted: {}\n", plain(why)),
        (None, Some(to)) => text += &format!("- goes to {}\n", plain(to)),
        (None, None) => (),
    }
    if !one.depends.is_empty() {
        text += &format!("- builds on {}\n", one.depends.join(", "));
    }
    text += match one.applies {
        true => "- applies without other series\n",
        false => "- DOES NOT APPLY without other series\n",
    };
    text += &format!(
        "- {}, {}, +{} -{}, {} reviewed\n",
        count(one.patches.len(), "patch", "patches"),
        count(one.files, "file", "files"),
        one.added,
        one.removed,
        one.reviewed
    );
    text += &format!("- `{}`, with dependencies `{}`\n\n", one.mbox, one.bundle);
    text += &patches(&one.patches);
    text += &exceptions(level, &one.exceptions);
    text += &one
        .quick
        .as_ref()
        .map_or(String::new(), |q| quick(level, q));
    text += &one.full.as_ref().map_or(String::new(), |f| full(level, f));
    text += &one
        .changes
        .as_ref()
        .map_or(String::new(), |c| changes(level, c));
    text
}

fn patches(all: &[PatchPage]) -> String {
    let mut text =
        String::from("| | patch | files | lines | | checks |\n|---|---|---|---|---|---|\n");
    for p in all {
        let mut remarks: Vec<String> = p.change.iter().map(|c| (*c).to_owned()).collect();
        remarks.extend(p.tags.iter().map(|(tag, who)| format!("{tag}: {who}")));
        let verdicts = p.verdicts.iter().map(|v| match v.found {
            0 => format!("{} ok", v.name),
            n => format!("{} {n} FOUND", v.name),
        });
        text += &format!(
            "| {} | [{}]({}) | {} | +{} -{} | {} | {} |\n",
            p.id,
            plain(&p.subject),
            p.file,
            p.files.len(),
            p.added,
            p.removed,
            plain(&remarks.join(", ")),
            verdicts.collect::<Vec<_>>().join(", ")
        );
    }
    text
}

fn exceptions(level: &str, all: &[Exception]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{level}# Exceptions from the rules\n\n");
    for e in all {
        text += &format!("- {}: {}: {}\n", e.field, plain(&e.of), plain(&e.why));
    }
    text
}

fn quick(level: &str, quick: &QuickPage) -> String {
    let head = format!("\n{level}# check\n\n{}: ", quick.checks.join(", "));
    head + &findings(quick.findings.len(), &quick.findings)
}

fn full(level: &str, full: &FullPage) -> String {
    let mut text = format!(
        "\n{level}# check --full\n\n{} of {} compiled ({}): ",
        full.done,
        full.units,
        full.ran.join(", ")
    );
    text += &findings(full.found, &full.findings);
    if full.builds_alone.is_some() && full.found == 0 {
        text.push('\n');
    }
    for d in &full.dependencies {
        let mark = if d.pass { "" } else { "WRONG: " };
        text += &format!("- {mark}{}: {}\n", d.name, d.proof);
        let error = d.error.iter().flat_map(|e| e.lines());
        text.extend(error.map(|line| format!("\n      {line}\n")));
    }
    match full.builds_alone {
        Some(true) => text += "- all dependencies are declared\n",
        Some(false) => text += "- A PATCH DOES NOT BUILD on the declared dependencies alone\n",
        None => (),
    }
    text
}

fn findings(found: usize, all: &[FindingPage]) -> String {
    if found == 0 {
        return "nothing found.\n".to_owned();
    }
    let mut text = format!("{found} found.\n\n");
    for f in all {
        let place = f
            .place
            .as_ref()
            .map_or(String::new(), |p| format!("`{p}`: "));
        text += &format!("- {}: {}: {place}{}\n", f.of, f.check, plain(&f.message));
        let more = f.text.iter().flat_map(|t| t.lines());
        let more: String = more.map(|line| format!("      {line}\n")).collect();
        if !more.is_empty() {
            text += &format!("\n{more}\n");
        }
    }
    text
}

fn changes(level: &str, changes: &ChangesPage) -> String {
    let mut text = format!(
        "\n{level}# Since v{}\n\n{}\n\n",
        changes.against, changes.summary
    );
    for subject in &changes.dropped {
        text += &format!("- dropped: {}\n", plain(subject));
    }
    if !changes.dropped.is_empty() {
        text.push('\n');
    }
    let lines: String = changes
        .lines
        .iter()
        .map(|l| format!("{}\n", l.text))
        .collect();
    text + &fenced("diff", &lines)
}

fn kunit(table: &KunitTable) -> String {
    let mut text = format!("| series | {} |\n", table.kernels.join(" | "));
    text += &format!("|---|{}\n", "---|".repeat(table.kernels.len()));
    for row in &table.rows {
        let cells = row
            .cells
            .iter()
            .map(|c| c.as_ref().map_or("-", |c| c.text.as_str()));
        text += &format!(
            "| {} | {} |\n",
            row.name,
            cells.collect::<Vec<_>>().join(" | ")
        );
    }
    text
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Formats a code block. The fence is longer than all fences in the text.
fn fenced(language: &str, text: &str) -> String {
    let mut fence = String::from("```");
    while text.contains(&fence) {
        fence.push('`');
    }
    format!("{fence}{language}\n{text}{fence}\n")
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

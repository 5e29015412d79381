// SPDX-License-Identifier: GPL-2.0

//! The report on all series, as `out/report.md` and `out/report.html`.
//!
//! [`page`] reads `out/`, the manifests and the records of postings. The templates `page.md` and
//! `page.html` show only these data, without times and absolute paths, so that the same input gives
//! the same report.

pub mod graph;
pub mod status;

mod checks;
mod kunit;
mod range_diff;
mod render;

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};

use self::checks::FullPage;
pub use self::render::{html, markdown};
use crate::{
    checks::{
        every_patch::record as full,
        quick::record::{self as check, Checked},
    },
    mail::diff::{self, FileStat},
    patches::output::{PatchReport, Report, SeriesReport},
    report::{graph::Graph, status::SeriesStatus},
    source::{manifest::Base, workspace::Workspace},
    versions::range_diff::Comparison,
};

pub fn page(ws: &Workspace, base: &Base, report: &Report, statuses: &[SeriesStatus]) -> Value {
    let graph = &Graph::new(base, statuses);
    let (full, checked) = (full::read(ws), check::read(ws));
    let kunit = kunit::table(statuses, report, full.as_ref());
    let mut begun = BTreeSet::new();
    let mut sections = Vec::new();
    for one in report.series.iter().filter(|s| !s.patches.is_empty()) {
        // A series whose manifest was removed is in no other part of the report either.
        let Some(status) = statuses.iter().find(|s| s.name == one.name) else {
            continue;
        };
        // Quick checks are valid while the series is unchanged.
        let quick = checked.get(&one.name).filter(|c| c.is_of(ws, one));
        let full = full.as_ref().and_then(|f| FullPage::read(f, one));
        let mut section = section(ws, one, status, quick, full.as_ref());
        let group = statuses.iter().filter(|s| s.component == status.component);
        let group: Vec<&str> = group.map(|s| s.name.as_str()).collect();
        let is_grouped = group.len() > 1;
        section["grouped"] = json!(is_grouped);
        // The component, in the section of the first of several series.
        let begins = is_grouped && begun.insert(&status.component);
        let begins = begins.then(|| json!({ "name": status.component, "series": group }));
        section["begins"] = json!(begins);
        sections.push(section);
    }
    json!({
        "base": format!("Linux v{}", report.base.version),
        "upstream_commit": report.base.upstream_commit,
        "base_tree": report.base.tree,
        "all_tree": report.all.tree,
        "table": status::table(statuses),
        "graph_text": graph::text(graph),
        "graph": graph::mermaid(graph),
        "kunit": kunit,
        "series": sections,
    })
}

fn section(
    ws: &Workspace,
    one: &SeriesReport,
    status: &SeriesStatus,
    quick: Option<&Checked>,
    full: Option<&FullPage>,
) -> Value {
    let comparison = status::comparison(ws, one);
    let files = |p: &PatchReport| diff::files(&status::body(ws, &p.file));
    let files: Vec<Vec<FileStat>> = one.patches.iter().map(files).collect();
    let (added, removed) = lines(files.iter().flatten());
    let paths: BTreeSet<&str> = files.iter().flatten().map(|f| f.path.as_str()).collect();
    let patches = one.patches.iter().zip(&files).map(|(p, files)| {
        let verdicts = checks::verdicts(p.id, quick, full);
        patch(ws, p, files, comparison.as_ref(), &verdicts)
    });
    json!({
        "name": one.name,
        "local": status.local,
        "goes_to": status.goes_to,
        "title": one.title,
        "version": one.version,
        "state": status.state(),
        "posted": status.posted,
        "depends": one.depends,
        "applies": one.applies,
        "reviewed": status.reviewed.unwrap_or(0),
        "folder": folder(one),
        "files": paths.len(),
        "added": added,
        "removed": removed,
        "patches": patches.collect::<Vec<_>>(),
        "exceptions": status.exceptions,
        "changes": comparison.as_ref().map(|c| changes(ws, one, c)),
        "quick": quick.map(checks::quick),
        "full": full,
    })
}

/// Returns the folder of the patches, below the output folder.
fn folder(one: &SeriesReport) -> String {
    format!("{}/v{}", one.name, one.version)
}

fn lines<'a>(files: impl IntoIterator<Item = &'a FileStat>) -> (usize, usize) {
    let add = |(added, removed), f: &FileStat| (added + f.added, removed + f.removed);
    files.into_iter().fold((0, 0), add)
}

fn patch(
    ws: &Workspace,
    one: &PatchReport,
    files: &[FileStat],
    comparison: Option<&Comparison>,
    verdicts: &[Value],
) -> Value {
    let file = Path::new(&one.file);
    let (added, removed) = lines(files);
    let mut changes = comparison.into_iter().flat_map(|c| &c.patches);
    let change = changes.find(|c| c.new == Some(one.id));
    json!({
        "id": one.id,
        "subject": one.subject,
        "file": file.strip_prefix(ws.below_out("")).unwrap_or(file),
        "files": files,
        "added": added,
        "removed": removed,
        "tags": status::tags(ws, &one.file),
        "change": change.map(|c| c.change.text()),
        "verdicts": verdicts,
    })
}

fn changes(ws: &Workspace, one: &SeriesReport, comparison: &Comparison) -> Value {
    let file = ws.below_out(format!("{}.range-diff", folder(one)));
    let text = fs::read_to_string(ws.path(file)).unwrap_or_default();
    let dropped = comparison.patches.iter().filter(|p| p.new.is_none());
    json!({
        "against": comparison.against,
        "summary": comparison.summary(),
        "dropped": dropped.map(|p| &p.subject).collect::<Vec<_>>(),
        "lines": range_diff::lines(&text),
    })
}

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

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::{Value, json};

use self::checks::FullPage;
pub use self::render::{html, markdown};
use crate::{
    checks::{
        every_patch::record::{self as full, Full},
        quick::record::{self as check, Checked},
        rules,
    },
    mail::diff::{self, FileStat},
    patches::output::{PatchReport, Report, SeriesReport},
    report::{graph::Graph, status::SeriesStatus},
    source::{component, manifest::Series, workspace::Workspace},
    versions::range_diff::Comparison,
};

/// Reads the content of the report.
pub fn page(ws: &Workspace, graph: &Graph, report: &Report, statuses: &[SeriesStatus]) -> Value {
    let known = Known {
        ws,
        report,
        statuses,
        checked: check::read(ws),
        // Ignore the record of another version of this program.
        full: full::read(ws).ok().flatten(),
        // `Graph::read` has read the same manifests without an error.
        manifests: component::manifests(ws).unwrap_or_default(),
    };
    let series = report.series.iter().filter(|s| !s.patches.is_empty());
    json!({
        "base": format!("Linux v{}", report.base.version),
        "upstream_commit": report.base.upstream_commit,
        "base_tree": report.base.tree,
        "all_tree": report.all.tree,
        "table": status::table(statuses),
        "graph_text": graph::text(graph),
        "graph": graph::mermaid(graph),
        "kunit": kunit::table(statuses, report, known.full.as_ref()),
        "series": series.map(|one| known.series(one)).collect::<Vec<_>>(),
    })
}

/// The input of the report, and the last results of checks.
struct Known<'a> {
    ws: &'a Workspace,
    report: &'a Report,
    statuses: &'a [SeriesStatus],
    checked: BTreeMap<String, Checked>,
    full: Option<Full>,
    manifests: Vec<Series>,
}

impl Known<'_> {
    /// Returns the section of a series.
    fn series(&self, one: &SeriesReport) -> Value {
        let ws = self.ws;
        let status = self.statuses.iter().find(|s| s.name == one.name);
        let manifest = self.manifests.iter().find(|m| m.name == one.name);
        let group = self.group(status);
        let is_grouped = group.len() > 1;
        // Quick checks are valid while the series is unchanged.
        let quick = self.checked.get(&one.name).filter(|c| c.is_of(ws, one));
        let full = self.full.as_ref().and_then(|f| FullPage::read(f, one));
        let comparison = status::comparison(ws, one);
        let files = |p: &PatchReport| diff::files(&status::body(ws, &p.file));
        let files: Vec<Vec<FileStat>> = one.patches.iter().map(files).collect();
        let (added, removed) = lines(files.iter().flatten());
        let paths: BTreeSet<&str> = files.iter().flatten().map(|f| f.path.as_str()).collect();
        let patches = one.patches.iter().zip(&files).map(|(p, files)| {
            let verdicts = checks::verdicts(p.id, quick, full.as_ref());
            patch(ws, p, files, comparison.as_ref(), &verdicts)
        });
        let begins = (is_grouped && self.is_first(one, &group))
            .then(|| json!({ "name": status.map(|s| &s.component), "series": group }));
        json!({
            "name": one.name,
            // The component, in the section of the first of several series.
            "begins": begins,
            "grouped": is_grouped,
            "local": status.and_then(|s| s.local.as_ref()),
            "goes_to": status.and_then(|s| s.goes_to.as_ref()),
            "title": one.title,
            "version": one.version,
            "state": status.map_or_else(|| format!("v{}", one.version), SeriesStatus::state),
            "posted": status.and_then(|s| s.posted.as_ref()),
            "depends": one.depends,
            "applies": one.applies,
            "reviewed": status.and_then(|s| s.reviewed).unwrap_or(0),
            "folder": folder(one),
            "files": paths.len(),
            "added": added,
            "removed": removed,
            "patches": patches.collect::<Vec<_>>(),
            "exceptions": manifest.map(rules::exceptions).unwrap_or_default(),
            "changes": comparison.as_ref().map(|c| changes(ws, one, c)),
            "quick": quick.map(checks::quick),
            "full": full,
        })
    }

    fn group(&self, one: Option<&SeriesStatus>) -> Vec<&str> {
        let component = one.map(|s| &s.component);
        let all = self.statuses.iter();
        let all = all.filter(|s| Some(&s.component) == component);
        all.map(|s| s.name.as_str()).collect()
    }

    fn is_first(&self, one: &SeriesReport, group: &[&str]) -> bool {
        let mut shown = self.report.series.iter().filter(|s| !s.patches.is_empty());
        let first = shown.find(|s| group.contains(&s.name.as_str()));
        first.is_some_and(|first| first.name == one.name)
    }
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

// SPDX-License-Identifier: GPL-2.0

//! The report on all series, as `out/report.md` and `out/report.html`.
//!
//! [`page`] reads `out/`, the manifests and the records of postings. Both files contain only data
//! of [`Page`], without times and absolute paths, so that the same input gives the same report.

pub mod graph;
pub mod status;

mod checks;
pub(crate) mod html;
mod kunit;
mod markdown;
mod range_diff;

use std::{fs, path::Path};

use serde::Serialize;

use self::{
    checks::{FullPage, QuickPage},
    kunit::KunitTable,
    range_diff::Line,
};
pub use self::{html::html, markdown::markdown};
use crate::{
    checks::{
        every_patch::record::{self as full, Full},
        quick::record::{self as check, Checked},
        rules::{self, Exception},
    },
    mail::{
        diffstat::{FileStat, diffstat},
        mailbox,
    },
    patches::output::{PatchReport, Report, SeriesReport},
    report::{
        graph::{Graph, Posted},
        status::SeriesStatus,
    },
    source::{component, manifest::Series, workspace::Workspace},
    versions::range_diff::PatchChange,
};

/// The content of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page {
    /// "Linux v6.19.11".
    pub base: String,
    /// The commit of the release in the public tree, if it is known.
    pub upstream_commit: Option<String>,
    /// The tree of the base.
    pub base_tree: String,
    /// The tree with all series.
    pub all_tree: String,
    /// The table of [`status::table`].
    pub table: String,
    /// The dependencies as text.
    pub graph_text: String,
    /// The dependencies as a picture.
    pub graph: String,
    /// The KUnit results by series and kernel.
    pub kunit: KunitTable,
    /// The series, each after its dependencies.
    pub series: Vec<SeriesPage>,
}

/// The section of a series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesPage {
    pub name: String,
    /// The component, in the section of the first of several series.
    pub begins: Option<Component>,
    /// Whether the component has several series.
    pub grouped: bool,
    /// The reason why a local series is never posted.
    pub local: Option<String>,
    /// The tree or list that takes the series.
    pub goes_to: Option<String>,
    pub title: String,
    pub version: u32,
    /// The state of the versions: "v1 posted, v2 in work".
    pub state: String,
    /// The last posting.
    pub posted: Option<Posted>,
    /// The series below.
    pub depends: Vec<String>,
    /// Whether it applies to the base and its dependencies alone.
    pub applies: bool,
    /// The number of patches with a Reviewed-by.
    pub reviewed: usize,
    /// The folder of the patches, below `out/`.
    pub folder: String,
    /// The mailbox of the patches, below `out/`.
    pub mbox: String,
    /// The mailbox of the patches and their dependencies, below `out/`.
    pub bundle: String,
    /// The number of touched files.
    pub files: usize,
    /// The number of lines that all patches add.
    pub added: usize,
    /// The number of lines that all patches remove.
    pub removed: usize,
    pub patches: Vec<PatchPage>,
    /// The exceptions from the rules, with reasons.
    pub exceptions: Vec<Exception>,
    /// The changes since the last posting.
    pub changes: Option<ChangesPage>,
    /// The result of `check`.
    pub quick: Option<QuickPage>,
    /// The result of `check --full`.
    pub full: Option<FullPage>,
}

/// A component with several series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    pub name: String,
    /// The names of the series.
    pub series: Vec<String>,
}

/// A patch in the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PatchPage {
    /// The number, from 1.
    pub id: usize,
    pub subject: String,
    /// The mail, below `out/`.
    pub file: String,
    /// The touched files.
    pub files: Vec<FileStat>,
    /// The number of added lines.
    pub added: usize,
    /// The number of removed lines.
    pub removed: usize,
    /// Tags of reviewers: "Reviewed-by", and the person.
    pub tags: Vec<(String, String)>,
    /// The kind of change since the last posting.
    pub change: Option<&'static str>,
    /// The results of checks.
    pub verdicts: Vec<Verdict>,
}

/// The result of one check of one patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// "check", or the kernel of `check --full`.
    pub name: String,
    /// The number of findings.
    pub found: usize,
}

/// The changes since the last posting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangesPage {
    /// The posted version.
    pub against: u32,
    /// "2 changed, 1 new".
    pub summary: String,
    /// The subjects of dropped patches.
    pub dropped: Vec<String>,
    /// The range-diff.
    pub lines: Vec<Line>,
}

/// Reads the content of the report.
pub fn page(ws: &Workspace, graph: &Graph, report: &Report, statuses: &[SeriesStatus]) -> Page {
    let checked = check::read(ws);
    // Ignore the record of another version of this program.
    let full = full::read(ws).ok().flatten();
    // `Graph::read` has read the same manifests without an error.
    let manifests = component::manifests(ws).unwrap_or_default();
    let series = report.series.iter().filter(|s| !s.patches.is_empty());
    let mut begun: Vec<String> = Vec::new();
    let series = series.map(|one| {
        let status = statuses.iter().find(|s| s.name == one.name);
        let component = status.and_then(|s| component(s, statuses));
        let known = Known {
            quick: checked.get(&one.name).filter(|c| c.is_of(ws, one)),
            full: full.as_ref(),
            manifest: manifests.iter().find(|m| m.name == one.name),
        };
        let mut page = series_page(ws, one, status, &known);
        page.grouped = component.is_some();
        page.begins = component.filter(|c| !begun.contains(&c.name));
        begun.extend(page.begins.iter().map(|c| c.name.clone()));
        page
    });
    Page {
        base: format!("Linux v{}", report.base.version),
        upstream_commit: report.base.upstream_commit.clone(),
        base_tree: report.base.tree.clone(),
        all_tree: report.all.tree.clone(),
        table: status::table(statuses),
        graph_text: graph::text(graph),
        graph: graph::mermaid(graph),
        kunit: kunit::table(statuses, report, full.as_ref()),
        series: series.collect(),
    }
}

/// Returns the path of an output file relative to the output folder.
fn below(ws: &Workspace, file: &str) -> String {
    let file = Path::new(file);
    let below = file.strip_prefix(ws.below_out("")).unwrap_or(file);
    below.display().to_string()
}

/// Returns the component of a series, if it has several series.
fn component(one: &SeriesStatus, all: &[SeriesStatus]) -> Option<Component> {
    let own = all.iter().filter(|s| s.component == one.component);
    let series: Vec<String> = own.map(|s| s.name.clone()).collect();
    (series.len() > 1).then(|| Component {
        name: one.component.clone(),
        series,
    })
}

/// The manifest, and the last results of checks. Quick checks are valid while the series is
/// unchanged.
struct Known<'a> {
    quick: Option<&'a Checked>,
    full: Option<&'a Full>,
    manifest: Option<&'a Series>,
}

fn series_page(
    ws: &Workspace,
    one: &SeriesReport,
    status: Option<&SeriesStatus>,
    known: &Known<'_>,
) -> SeriesPage {
    let folder = format!("{}/v{}", one.name, one.version);
    let comparison = status::comparison(ws, one);
    let changes = comparison.as_ref().map_or(&[][..], |c| &c.patches);
    let full = known.full.and_then(|full| checks::full(full, one));
    let patches = one.patches.iter();
    let patches = patches.map(|p| patch_page(ws, p, changes, known.quick, full.as_ref()));
    let patches: Vec<PatchPage> = patches.collect();
    let mut files: Vec<&str> = patches
        .iter()
        .flat_map(|p| &p.files)
        .map(|f| f.path.as_str())
        .collect();
    files.sort_unstable();
    files.dedup();
    SeriesPage {
        name: one.name.clone(),
        begins: None,
        grouped: false,
        local: status.and_then(|s| s.local.clone()),
        goes_to: status.and_then(|s| s.goes_to.clone()),
        title: one.title.clone(),
        version: one.version,
        state: status.map_or_else(|| format!("v{}", one.version), SeriesStatus::state),
        posted: status.and_then(|s| s.posted.clone()),
        depends: one.depends.clone(),
        applies: one.applies,
        reviewed: status.and_then(|s| s.reviewed).unwrap_or(0),
        mbox: format!("{folder}.mbox"),
        bundle: format!("{folder}.with-deps.mbox"),
        files: files.len(),
        added: patches.iter().map(|p| p.added).sum(),
        removed: patches.iter().map(|p| p.removed).sum(),
        exceptions: known.manifest.map(rules::exceptions).unwrap_or_default(),
        changes: comparison.map(|c| ChangesPage {
            against: c.against,
            summary: c.summary(),
            dropped: c
                .patches
                .iter()
                .filter(|p| p.new.is_none())
                .map(|p| p.subject.clone())
                .collect(),
            lines: range_diff::lines(
                &fs::read_to_string(ws.path(ws.below_out(format!("{folder}.range-diff"))))
                    .unwrap_or_default(),
            ),
        }),
        quick: known.quick.map(checks::quick),
        full,
        folder,
        patches,
    }
}

fn patch_page(
    ws: &Workspace,
    patch: &PatchReport,
    changes: &[PatchChange],
    quick: Option<&Checked>,
    full: Option<&FullPage>,
) -> PatchPage {
    let mail = fs::read(ws.path(&patch.file)).unwrap_or_default();
    let mail = mailbox::read(&mail).ok().and_then(|m| m.into_iter().next());
    let files = diffstat(&mail.map(|m| m.body).unwrap_or_default());
    let change = changes.iter().find(|c| c.new == Some(patch.id));
    let mut verdicts = Vec::new();
    verdicts.extend(quick.map(|checked| {
        Verdict {
            name: "check".to_owned(),
            found: checked
                .findings
                .iter()
                .filter(|f| f.patch == Some(patch.id))
                .count(),
        }
    }));
    verdicts.extend(full.iter().flat_map(|full| full.of(patch.id)));
    PatchPage {
        id: patch.id,
        subject: patch.subject.clone(),
        file: below(ws, &patch.file),
        added: files.iter().map(|f| f.added).sum(),
        removed: files.iter().map(|f| f.removed).sum(),
        files,
        tags: status::tags(ws, &patch.file),
        change: change.map(|c| c.change.text()),
        verdicts,
    }
}

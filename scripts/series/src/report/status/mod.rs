// SPDX-License-Identifier: GPL-2.0

//! The status of each series, as tables and as JSON.
//!
//! The status comes from the manifests, the records of postings, and `out/` if it exists. Results
//! in `out/` for another state than the present one are ignored.

mod table;

use std::fs;

use serde::Serialize;

pub(super) use self::table::kunit_text;
pub use self::table::{details, table};

use crate::{
    checks::{
        every_patch::record as full,
        quick::record as check,
        rules::{self, Exception},
    },
    kernel::{
        build::{Stamp, Target},
        kunit,
    },
    mail::mailbox,
    patches::output::{Report, SeriesReport},
    report::checks::{FullPage, FullStatus},
    source::{
        changelog, component,
        manifest::{Base, Series, below, in_order},
        workspace::Workspace,
    },
    sys::{Result, cache::Cache, json},
    versions::{
        postings::{self, Posting},
        range_diff::{Change, Comparison},
    },
};

/// The status of a series. What is known of assembled series only is `None` or empty for others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SeriesStatus {
    pub name: String,
    pub component: String,
    /// The reason why a local series is never posted.
    pub local: Option<String>,
    pub version: u32,
    pub patches: usize,
    pub base: String,
    /// The series below, direct and indirect.
    pub depends: Vec<String>,
    /// The direct dependencies.
    pub needs: Vec<String>,
    /// The base on which the series is posted, if it is another base.
    pub posted_on: Option<String>,
    /// The tree that takes the series, or the first list in its recipients.
    pub goes_to: Option<String>,
    /// Whether the series applies to the base and its dependencies alone. `None` without patches.
    pub applies: Option<bool>,
    /// The kernels with all series for which a build exists.
    pub builds: Vec<Target>,
    /// The KUnit results for the present tree, by kernel.
    pub kunit: Vec<KunitStatus>,
    pub folder: Option<String>,
    /// The last posting on this base.
    pub posted: Option<Posted>,
    /// The last posting on any base.
    #[serde(skip)]
    pub last: Option<Posted>,
    pub changes: Option<Changes>,
    pub changelog: ChangelogStatus,
    /// The number of patches with a Reviewed-by.
    pub reviewed: Option<usize>,
    pub check: Option<CheckStatus>,
    pub full: Option<FullStatus>,
    #[serde(skip)]
    pub exceptions: Vec<Exception>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KunitStatus {
    pub kernel: Target,
    /// Whether everything expected ran and passed.
    pub pass: bool,
    pub passed: u64,
    /// The number of tests that failed or crashed.
    pub failed: u64,
    /// The number of reports by checkers such as KASAN.
    pub reports: usize,
}

/// The number of patches by kind of change since the posted version `against`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changes {
    pub against: u32,
    pub same: usize,
    pub moved: usize,
    pub message: usize,
    pub changed: usize,
    pub added: usize,
    pub dropped: usize,
}

/// The state of the version's entry in the changelog.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangelogStatus {
    /// The entry is missing, or the changelog cannot be read.
    #[default]
    Missing,
    /// The entry has no text yet.
    Begun,
    Written,
}

/// The result of the quick checks for one series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckStatus {
    pub when: String,
    /// The checked tree with all series.
    pub tree: String,
    /// Whether the series is unchanged since the checks.
    pub current: bool,
    pub findings: usize,
}

/// The last posting of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Posted {
    pub version: u32,
    pub link: String,
}

impl From<Posting> for Posted {
    fn from(posting: Posting) -> Self {
        Self {
            version: posting.version,
            link: posting.link(),
        }
    }
}

/// The state of a series that is never posted.
const LOCAL: &str = "local";

impl SeriesStatus {
    /// Returns the state on this base: "v1 posted, v2 in work", or the base of its postings.
    pub fn state(&self) -> String {
        match &self.posted_on {
            Some(base) if self.local.is_none() => format!("posted on {base}"),
            _ => self.versions(self.posted.as_ref()),
        }
    }

    /// Returns the state of the versions after this posting.
    pub(super) fn versions(&self, posted: Option<&Posted>) -> String {
        let version = self.version;
        match posted {
            _ if self.local.is_some() => LOCAL.to_owned(),
            None => format!("v{version} to be posted"),
            Some(posted) if posted.version >= version => format!("v{} posted", posted.version),
            Some(posted) => format!("v{} posted, v{version} in work", posted.version),
        }
    }
}

/// Reads the status of all series. `report` is the result of the last `assemble`, if it exists.
pub fn statuses(
    ws: &Workspace,
    cache: &Cache,
    base: &Base,
    report: Option<&Report>,
) -> Result<Vec<SeriesStatus>> {
    let manifests = component::manifests(ws)?;
    let ordered = in_order(&manifests)?;
    let checked = check::read(ws);
    let full = full::read(ws);
    let mut statuses = Vec::new();
    for series in &ordered {
        let mut status = of_manifest(ws, base, series, &manifests)?;
        let depends = below(&ordered, &series.name).into_iter();
        status.depends = depends.map(|s| s.name.to_string()).collect();
        let is_made = |s: &&SeriesReport| s.name == series.name && s.version == series.version;
        if let Some(report) = report
            && let Some(one) = report.series.iter().find(is_made)
        {
            add_assembled(&mut status, ws, cache, report, one);
            status.check = checked.get(&one.name).map(|c| CheckStatus {
                when: c.when.clone(),
                tree: c.tree.clone(),
                current: c.is_of(ws, one),
                findings: c.findings.len(),
            });
            let page = full.as_ref().and_then(|full| FullPage::read(full, one));
            status.full = page.map(|page| page.status);
        }
        statuses.push(status);
    }
    Ok(statuses)
}

fn of_manifest(
    ws: &Workspace,
    base: &Base,
    series: &Series,
    all: &[Series],
) -> Result<SeriesStatus> {
    let mut status = SeriesStatus {
        name: series.name.to_string(),
        component: series.component.to_string(),
        local: series.local.as_ref().map(|why| why.value.clone()),
        version: series.version,
        patches: series.patches.len(),
        base: base.name.clone(),
        needs: series.depends.iter().map(|d| d.value.clone()).collect(),
        goes_to: series.goes_to(),
        changelog: changelog_status(ws, series, all),
        exceptions: rules::exceptions(series),
        ..SeriesStatus::default()
    };
    let last = postings::read_all(ws, &series.name)?.pop();
    status.last = last.map(Posted::from);
    if series.is_posted_on(ws.view()) {
        status.posted.clone_from(&status.last);
    } else {
        status.posted_on = series.base.as_ref().map(|b| b.value.clone());
    }
    Ok(status)
}

fn changelog_status(ws: &Workspace, series: &Series, all: &[Series]) -> ChangelogStatus {
    let text = component::changelog_of(ws, series, &component::siblings(series, all));
    let entries = text.ok().and_then(|text| changelog::parse(&text).ok());
    let newest = entries.and_then(|e| e.into_iter().next());
    match newest.filter(|e| e.version == series.version) {
        None => ChangelogStatus::Missing,
        Some(entry) if entry.is_open() => ChangelogStatus::Begun,
        Some(_) => ChangelogStatus::Written,
    }
}

fn add_assembled(
    status: &mut SeriesStatus,
    ws: &Workspace,
    cache: &Cache,
    report: &Report,
    one: &SeriesReport,
) {
    let tree = report.all.tree.as_str();
    let has_patches = !one.patches.is_empty();
    status.patches = one.patches.len();
    status.depends.clone_from(&one.depends);
    status.applies = has_patches.then_some(one.applies);
    for kernel in Target::ALL {
        let stamp = Stamp::read(&cache.build(kernel.name()));
        if stamp.is_some_and(|s| s.tree == tree) {
            status.builds.push(kernel);
        }
        let found = kunit::recorded(ws, kernel, &one.name);
        if let Some(found) = found.filter(|f| f.tree == tree && has_patches) {
            status.kunit.push(KunitStatus {
                kernel,
                pass: found.pass,
                passed: found.passed,
                failed: found.failed + found.crashed,
                reports: found.reports.len(),
            });
        }
    }
    status.folder.clone_from(&one.folder);
    status.changes = comparison(ws, one).map(|c| Changes {
        against: c.against,
        same: c.count(Change::Same),
        moved: c.count(Change::Moved),
        message: c.count(Change::Message),
        changed: c.count(Change::Changed),
        added: c.count(Change::Added),
        dropped: c.count(Change::Dropped),
    });
    let reviewed = |file: &str| tags(ws, file).iter().any(|(tag, _)| tag == "Reviewed-by");
    let reviewed = one.patches.iter().filter(|p| reviewed(&p.file));
    status.reviewed = Some(reviewed.count());
}

/// Reads the changes since the last posting from the output of `assemble`.
pub(super) fn comparison(ws: &Workspace, one: &SeriesReport) -> Option<Comparison> {
    let posted = one.posted.as_ref()?;
    let file = ws.below_out(format!("{}/v{}.changes.json", one.name, one.version));
    let found: Comparison = json::read(&ws.path(file))?;
    (found.against == posted.version).then_some(found)
}

pub(super) fn body(ws: &Workspace, patch: &str) -> String {
    let mail = fs::read(ws.path(patch)).unwrap_or_default();
    let mail = mailbox::read(&mail).ok().and_then(|m| m.into_iter().next());
    mail.map(|m| m.body).unwrap_or_default()
}

/// Returns the tags of reviewers in a patch: "Reviewed-by", and the person.
pub(super) fn tags(ws: &Workspace, patch: &str) -> Vec<(String, String)> {
    let body = body(ws, patch);
    let message = body.split("\n---\n").next().unwrap_or_default();
    let lines = message.lines().filter_map(|l| l.split_once(": "));
    let given = lines.filter(|(tag, _)| ["Reviewed-by", "Acked-by", "Tested-by"].contains(tag));
    given
        .map(|(tag, who)| (tag.to_owned(), who.to_owned()))
        .collect()
}

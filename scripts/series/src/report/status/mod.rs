// SPDX-License-Identifier: GPL-2.0

//! The status of each series, as tables and as JSON.
//!
//! The status comes from the manifests, the records of postings, and `out/` if it exists. Results
//! in `out/` for another state than the present one are ignored.

mod table;

use std::fs;

use serde::Serialize;

pub(crate) use self::table::kunit_text;
pub use self::table::{details, table};

use crate::{
    checks::{
        every_patch::record::{self as full, Full},
        quick::record::{self as check, Checked},
    },
    kernel::{
        build::{self, Target},
        kunit,
    },
    mail::mailbox,
    patches::output::{Report, SeriesReport},
    report::graph::{self, Posted},
    source::{
        changelog, component,
        manifest::{Base, Series, below, in_order},
        workspace::Workspace,
    },
    sys::{cache::Cache, error::Result},
    versions::{
        postings,
        range_diff::{Change, Comparison},
    },
};

/// The status of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeriesStatus {
    pub name: String,
    pub component: String,
    /// The reason why a local series is never posted.
    pub local: Option<String>,
    pub version: u32,
    /// The number of patches.
    pub patches: usize,
    /// The name of the base.
    pub base: String,
    /// The series below, direct and indirect.
    pub depends: Vec<String>,
    /// The direct dependencies.
    pub needs: Vec<String>,
    /// The base on which the series is posted, if it is another base.
    pub posted_on: Option<String>,
    /// The tree that takes the series, or the first list in its recipients.
    pub goes_to: Option<String>,
    /// Whether the series applies to the base and its dependencies alone. `None` if it is not
    /// assembled or has no patches.
    pub applies: Option<bool>,
    /// The kernels with all series for which a build exists.
    pub builds: Vec<Target>,
    /// The KUnit results for the present tree, by kernel.
    pub kunit: Vec<KunitStatus>,
    /// The folder of the patches.
    pub folder: Option<String>,
    /// The last posting.
    pub posted: Option<Posted>,
    /// The changes since the last posting. `None` if the series is not assembled.
    pub changes: Option<Changes>,
    /// The entry in the changelog.
    pub changelog: ChangelogStatus,
    /// The number of patches with a Reviewed-by. `None` if the series is not assembled.
    pub reviewed: Option<usize>,
    /// The result of `check`.
    pub check: Option<CheckStatus>,
    /// The result of `check --full`.
    pub full: Option<FullStatus>,
}

/// The KUnit result of one series on one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KunitStatus {
    pub kernel: Target,
    /// Whether everything expected ran and passed.
    pub pass: bool,
    /// The number of tests that passed.
    pub passed: u64,
    /// The number of tests that failed or crashed.
    pub failed: u64,
    /// The number of reports by checkers such as KASAN.
    pub reports: usize,
}

/// The number of patches by kind of change since the last posting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// The posted version.
    pub against: u32,
    /// Unchanged patches.
    pub same: usize,
    /// Patches whose context changed.
    pub moved: usize,
    /// Patches whose message changed.
    pub message: usize,
    /// Patches whose added or removed lines changed.
    pub changed: usize,
    pub added: usize,
    pub dropped: usize,
}

impl Changes {
    fn of(comparison: &Comparison) -> Self {
        let count = |change| comparison.count(change);
        Self {
            against: comparison.against,
            same: count(Change::Same),
            moved: count(Change::Moved),
            message: count(Change::Message),
            changed: count(Change::Changed),
            added: count(Change::Added),
            dropped: count(Change::Dropped),
        }
    }
}

/// The state of the version's entry in the changelog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangelogStatus {
    /// The entry is missing, or the changelog cannot be read.
    Missing,
    /// The entry has no text yet.
    Begun,
    /// The entry has text.
    Written,
}

/// The result of the quick checks for one series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckStatus {
    /// The time of the checks.
    pub when: String,
    /// The checked tree with all series.
    pub tree: String,
    /// Whether the series is unchanged since the checks.
    pub current: bool,
    /// The number of findings.
    pub findings: usize,
}

/// The result of the full check for one series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FullStatus {
    /// The number of builds: one for each patch and kernel.
    pub units: usize,
    /// The number of finished builds for the present state.
    pub done: usize,
    /// The number of remaining builds.
    pub left: usize,
    /// The number of findings in finished builds.
    pub findings: usize,
    /// Whether all builds are done, and with them KUnit and the dependencies.
    pub complete: bool,
}

impl SeriesStatus {
    /// Returns the state of the versions: "v1 posted, v2 in work".
    pub fn state(&self) -> String {
        match (&self.local, &self.posted_on) {
            (Some(_), _) => graph::LOCAL.to_owned(),
            (None, Some(base)) => format!("posted on {base}"),
            (None, None) => graph::state(self.version, self.posted.as_ref()),
        }
    }
}

/// Reads the status of all series. `report` is the result of the last `assemble`, if it exists.
///
/// # Errors
///
/// A manifest or a record of a posting is malformed.
pub fn statuses(
    ws: &Workspace,
    cache: &Cache,
    base: &Base,
    report: Option<&Report>,
) -> Result<Vec<SeriesStatus>> {
    let manifests = component::manifests(ws)?;
    let ordered = in_order(&manifests)?;
    let changelog = |series: &Series| changelog_status(ws, series, &manifests);
    let checked = check::read(ws);
    // Ignore the record of another version of this program.
    let full = full::read(ws).ok().flatten();
    ordered
        .iter()
        .map(|series| {
            let made = report.and_then(|r| Some((r, assembled(r, series)?)));
            let depends = below(&ordered, &series.name).into_iter();
            let mut status = of_manifest(ws, base, series, changelog(series))?;
            status.depends = depends.map(|s| s.name.to_string()).collect();
            if let Some((report, one)) = made {
                add_assembled(&mut status, ws, cache, report, one);
                let checked = checked.get(series.name.as_str());
                status.check = checked.map(|c| check_status(ws, c, one));
                status.full = full.as_ref().and_then(|f| full_status(f, one));
            }
            Ok(status)
        })
        .collect()
}

/// Returns the result of `assemble` for a series, if it has the present version.
fn assembled<'a>(report: &'a Report, series: &Series) -> Option<&'a SeriesReport> {
    let mut all = report.series.iter();
    all.find(|s| s.name == series.name && s.version == series.version)
}

fn of_manifest(
    ws: &Workspace,
    base: &Base,
    series: &Series,
    changelog: ChangelogStatus,
) -> Result<SeriesStatus> {
    let is_posted_here = series.is_posted_on(ws.view());
    let posted = match is_posted_here {
        true => postings::read_all(ws, &series.name)?.pop(),
        false => None,
    };
    let posted_on = series.base.as_ref().map(|b| b.value.clone());
    Ok(SeriesStatus {
        name: series.name.to_string(),
        component: series.component.to_string(),
        local: series.local.as_ref().map(|why| why.value.clone()),
        version: series.version,
        patches: series.patches.len(),
        base: base.name.clone(),
        depends: Vec::new(),
        needs: series.depends.iter().map(|d| d.value.clone()).collect(),
        posted_on: posted_on.filter(|_| !is_posted_here),
        goes_to: series.goes_to(),
        applies: None,
        builds: Vec::new(),
        kunit: Vec::new(),
        folder: None,
        posted: posted.map(|p| Posted {
            version: p.version,
            link: p.link(),
        }),
        changes: None,
        changelog,
        reviewed: None,
        check: None,
        full: None,
    })
}

fn changelog_status(ws: &Workspace, series: &Series, all: &[Series]) -> ChangelogStatus {
    let text = component::changelog_of(ws, series, all);
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
    let all = Target::ALL.into_iter();
    let tree = &report.all.tree;
    let built = |target: &Target| build::stamp_of(cache, *target).is_some_and(|s| s.tree == *tree);
    status.patches = one.patches.len();
    status.depends.clone_from(&one.depends);
    status.applies = (!one.patches.is_empty()).then_some(one.applies);
    status.builds = all.clone().filter(built).collect();
    status.kunit = all
        .filter_map(|target| {
            let found = kunit::recorded(ws, target, &one.name)?;
            (found.tree == *tree && !one.patches.is_empty()).then_some(KunitStatus {
                kernel: target,
                pass: found.pass,
                passed: found.passed,
                failed: found.failed + found.crashed,
                reports: found.reports.len(),
            })
        })
        .collect();
    status.folder.clone_from(&one.folder);
    status.changes = comparison(ws, one).map(|c| Changes::of(&c));
    let reviewed = |file: &str| tags(ws, file).iter().any(|(tag, _)| tag == "Reviewed-by");
    let reviewed = one.patches.iter().filter(|p| reviewed(&p.file));
    status.reviewed = Some(reviewed.count());
}

/// Reads the changes since the last posting from the output of `assemble`.
pub(crate) fn comparison(ws: &Workspace, one: &SeriesReport) -> Option<Comparison> {
    let posted = one.posted.as_ref()?;
    let file = ws.below_out(format!("{}/v{}.changes.json", one.name, one.version));
    let found: Comparison = serde_json::from_slice(&fs::read(ws.path(file)).ok()?).ok()?;
    (found.against == posted.version).then_some(found)
}

/// Returns the tags of reviewers in a patch: "Reviewed-by", and the person.
pub(crate) fn tags(ws: &Workspace, patch: &str) -> Vec<(String, String)> {
    let mail = fs::read(ws.path(patch)).unwrap_or_default();
    let mail = mailbox::read(&mail).ok().and_then(|m| m.into_iter().next());
    let body = mail.map(|m| m.body).unwrap_or_default();
    let message = body.split("\n---\n").next().unwrap_or_default();
    let tags = ["Reviewed-by", "Acked-by", "Tested-by"];
    let lines = message.lines().filter_map(|l| l.split_once(": "));
    let given = lines.filter(|(tag, _)| tags.contains(tag));
    given
        .map(|(tag, who)| (tag.to_owned(), who.to_owned()))
        .collect()
}

fn check_status(ws: &Workspace, checked: &Checked, one: &SeriesReport) -> CheckStatus {
    CheckStatus {
        when: checked.when.clone(),
        tree: checked.tree.clone(),
        current: checked.is_of(ws, one),
        findings: checked.findings.len(),
    }
}

fn full_status(full: &Full, one: &SeriesReport) -> Option<FullStatus> {
    let series = full.series.iter().find(|s| s.name == one.name)?;
    let units = one.patches.len() * full.archs.len();
    let of_it = |n: &usize| {
        one.patches
            .get(*n)
            .is_some_and(|p| p.tree == series.patches[*n].tree)
    };
    let done = (0..series.patches.len()).filter(of_it);
    let done: Vec<_> = done.flat_map(|n| &series.patches[n].units).collect();
    let said = done.iter().map(|u| u.warnings.len() + u.errors.len());
    let mut findings: usize = said.sum();
    let complete = done.len() == units;
    if complete {
        findings += series.kunit.iter().filter(|k| !k.pass).count();
        findings += series.dependencies.iter().filter(|d| !d.pass).count();
    }
    Some(FullStatus {
        units,
        done: done.len(),
        left: units.saturating_sub(done.len()),
        findings,
        complete,
    })
}

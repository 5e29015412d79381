// SPDX-License-Identifier: GPL-2.0

//! Where each series stands, as tables and as JSON.
//!
//! All of it is read: from the manifests, from what was recorded of postings, and from `out/` as far
//! as it is there. What `out/` says of another state than the present one does not count.

mod table;

use std::fs;

use serde::Serialize;

pub(crate) use self::table::kunit_text;
pub use self::table::{
    details,
    table, //
};

use crate::{
    checks::{
        every_patch::record::{
            self as full,
            Full, //
        },
        quick::record::{
            self as check,
            Checked, //
        }, //
    },
    kernel::{
        build::{
            self,
            Target, //
        },
        kunit, //
    },
    mail::mailbox,
    patches::output::{
        Report,
        SeriesReport, //
    },
    report::graph::{
        self,
        Posted, //
    },
    source::{
        changelog,
        component,
        manifest::{
            Base,
            Series,
            below,
            in_order, //
        },
        workspace::Workspace, //
    },
    sys::{
        cache::Cache,
        error::Result, //
    },
    versions::{
        postings,
        range_diff::{
            Change,
            Comparison, //
        }, //
    }, //
};

/// Where one series stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// The component that it belongs to.
    pub component: String,
    /// Why it is never posted, if it is only for working here.
    pub local: Option<String>,
    /// Its version.
    pub version: u32,
    /// How many patches it has.
    pub patches: usize,
    /// The base.
    pub base: String,
    /// What it builds on.
    pub depends: Vec<String>,
    /// What of that it needs itself.
    pub needs: Vec<String>,
    /// The base on which it is posted, if it is another one.
    pub posted_on: Option<String>,
    /// Who takes it: a tree, or the first list that it is sent to.
    pub goes_to: Option<String>,
    /// Whether it applies to the base plus that alone; `None` if it is not assembled, or has no
    /// patch.
    pub applies: Option<bool>,
    /// The kernels with all series that are built.
    pub builds: Vec<Target>,
    /// KUnit, per kernel that was run on this very tree.
    pub kunit: Vec<KunitStanding>,
    /// The folder of the patches.
    pub folder: Option<String>,
    /// Its last posting.
    pub posted: Option<Posted>,
    /// What changed since that; `None` if it is not assembled.
    pub changes: Option<Changes>,
    /// Its entry in the changelog.
    pub changelog: ChangelogStanding,
    /// How many patches carry a Reviewed-by; `None` if it is not assembled.
    pub reviewed: Option<usize>,
    /// What `check` found.
    pub check: Option<CheckStanding>,
    /// What `check --full` found.
    pub full: Option<FullStanding>,
}

/// KUnit of one series on one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KunitStanding {
    /// The kernel.
    pub kernel: Target,
    /// Whether everything expected ran and passed.
    pub pass: bool,
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed or crashed.
    pub failed: u64,
    /// What the kernel's checkers reported.
    pub reports: usize,
}

/// How many patches became what since the last posting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// The version compared with.
    pub against: u32,
    /// Nothing happened to them.
    pub same: usize,
    /// Only what stands around their lines changed.
    pub moved: usize,
    /// Their message changed.
    pub message: usize,
    /// Their lines changed.
    pub changed: usize,
    /// They are new.
    pub added: usize,
    /// They are gone.
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

/// The entry of the version in the changelog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangelogStanding {
    /// There is none, or the changelog cannot be read.
    Missing,
    /// It is begun, and says nothing yet.
    Begun,
    /// It says what changed.
    Written,
}

/// The quick checks of one series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckStanding {
    /// When they were made.
    pub when: String,
    /// The tree with all series that they were made for.
    pub tree: String,
    /// Whether the series is still as it was.
    pub current: bool,
    /// How much they found.
    pub findings: usize,
}

/// The full check of one series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FullStanding {
    /// How many patches are compiled on how many kernels.
    pub units: usize,
    /// How many of these were done for the present state.
    pub done: usize,
    /// How many are left.
    pub left: usize,
    /// How much was found in what is done.
    pub findings: usize,
    /// Whether all is done, KUnit and the dependencies included.
    pub complete: bool,
}

impl Standing {
    /// How far its versions are: "v1 posted, v2 in work".
    pub fn state(&self) -> String {
        match (&self.local, &self.posted_on) {
            (Some(_), _) => graph::LOCAL.to_owned(),
            (None, Some(base)) => format!("posted on {base}"),
            (None, None) => graph::state(self.version, self.posted.as_ref()),
        }
    }
}

/// Reads where all series stand. `report` is what the last `assemble` wrote, if there is one.
///
/// # Errors
///
/// A manifest or a record of a posting is malformed.
pub fn standings(
    ws: &Workspace,
    cache: &Cache,
    base: &Base,
    report: Option<&Report>,
) -> Result<Vec<Standing>> {
    let manifests = component::manifests(ws)?;
    let ordered = in_order(&manifests)?;
    let changelog = |series: &Series| changelog_standing(ws, series, &manifests);
    let checked = check::read(ws);
    // What an older version of this program wrote is as good as none.
    let full = full::read(ws).ok().flatten();
    ordered
        .iter()
        .map(|series| {
            let made = report.and_then(|r| Some((r, assembled(r, series)?)));
            let depends = below(&ordered, &series.name).into_iter();
            let mut standing = of_manifest(ws, base, series, changelog(series))?;
            standing.depends = depends.map(|s| s.name.to_string()).collect();
            if let Some((report, one)) = made {
                add_assembled(&mut standing, ws, cache, report, one);
                let checked = checked.get(series.name.as_str());
                standing.check = checked.map(|c| check_standing(ws, c, one));
                standing.full = full.as_ref().and_then(|f| full_standing(f, one));
            }
            Ok(standing)
        })
        .collect()
}

/// What was assembled of a series, if that was the version that is in work.
fn assembled<'a>(report: &'a Report, series: &Series) -> Option<&'a SeriesReport> {
    let mut all = report.series.iter();
    all.find(|s| s.name == series.name && s.version == series.version)
}

fn of_manifest(
    ws: &Workspace,
    base: &Base,
    series: &Series,
    changelog: ChangelogStanding,
) -> Result<Standing> {
    let is_posted_here = series.is_posted_on(ws.view());
    let posted = match is_posted_here {
        true => postings::read_all(ws, &series.name)?.pop(),
        false => None,
    };
    let posted_on = series.base.as_ref().map(|b| b.value.clone());
    Ok(Standing {
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

fn changelog_standing(ws: &Workspace, series: &Series, all: &[Series]) -> ChangelogStanding {
    let text = component::changelog_of(ws, series, all);
    let entries = text.ok().and_then(|text| changelog::parse(&text).ok());
    let newest = entries.and_then(|e| e.into_iter().next());
    match newest.filter(|e| e.version == series.version) {
        None => ChangelogStanding::Missing,
        Some(entry) if entry.is_open() => ChangelogStanding::Begun,
        Some(_) => ChangelogStanding::Written,
    }
}

fn add_assembled(
    standing: &mut Standing,
    ws: &Workspace,
    cache: &Cache,
    report: &Report,
    one: &SeriesReport,
) {
    let all = Target::ALL.into_iter();
    let tree = &report.all.tree;
    let built = |target: &Target| build::stamp_of(cache, *target).is_some_and(|s| s.tree == *tree);
    standing.patches = one.patches.len();
    standing.depends.clone_from(&one.depends);
    standing.applies = (!one.patches.is_empty()).then_some(one.applies);
    standing.builds = all.clone().filter(built).collect();
    standing.kunit = all
        .filter_map(|target| {
            let found = kunit::recorded(ws, target, &one.name)?;
            (found.tree == *tree && !one.patches.is_empty()).then_some(KunitStanding {
                kernel: target,
                pass: found.pass,
                passed: found.passed,
                failed: found.failed + found.crashed,
                reports: found.reports.len(),
            })
        })
        .collect();
    standing.folder.clone_from(&one.folder);
    standing.changes = comparison(ws, one).map(|c| Changes::of(&c));
    let reviewed = |file: &str| tags(ws, file).iter().any(|(tag, _)| tag == "Reviewed-by");
    let reviewed = one.patches.iter().filter(|p| reviewed(&p.file));
    standing.reviewed = Some(reviewed.count());
}

/// What changed since the last posting, as `assemble` wrote it.
pub(crate) fn comparison(ws: &Workspace, one: &SeriesReport) -> Option<Comparison> {
    let posted = one.posted.as_ref()?;
    let file = ws.below_out(format!("{}/v{}.changes.json", one.name, one.version));
    let found: Comparison = serde_json::from_slice(&fs::read(ws.path(file)).ok()?).ok()?;
    (found.against == posted.version).then_some(found)
}

/// The tags of people that a patch carries: "Reviewed-by", and whose it is.
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

fn check_standing(ws: &Workspace, checked: &Checked, one: &SeriesReport) -> CheckStanding {
    CheckStanding {
        when: checked.when.clone(),
        tree: checked.tree.clone(),
        current: checked.is_of(ws, one),
        findings: checked.findings.len(),
    }
}

fn full_standing(full: &Full, one: &SeriesReport) -> Option<FullStanding> {
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
    Some(FullStanding {
        units,
        done: done.len(),
        left: units.saturating_sub(done.len()),
        findings,
        complete,
    })
}

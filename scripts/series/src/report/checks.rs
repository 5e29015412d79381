// SPDX-License-Identifier: GPL-2.0

//! The results of the checks in the report.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    checks::{
        every_patch::record::{Dependency, Full, SeriesFull, UnitFull},
        quick::record::Checked,
    },
    patches::output::SeriesReport,
    source::finding::Finding,
};

/// The result of the full check for one series.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FullStatus {
    /// The number of builds: one for each patch and kernel.
    pub units: usize,
    /// The number of finished builds for the present state.
    pub done: usize,
    pub left: usize,
    /// The number of findings in finished builds.
    pub findings: usize,
    /// Whether all builds are done, and with them KUnit and the dependencies.
    pub complete: bool,
}

/// The results of the full check for the present state of a series.
#[derive(Debug, Default, Serialize)]
pub struct FullPage {
    #[serde(flatten)]
    pub status: FullStatus,
    /// The steps of a build: "build", "clippy", …
    ran: Vec<String>,
    /// The findings, without wrong dependencies.
    list: Vec<Value>,
    /// The proofs that the dependencies are needed, or not. Empty until all builds are done.
    dependencies: Vec<Value>,
    builds_alone: bool,
    /// The numbers of patches, and the findings of each build.
    #[serde(skip)]
    verdicts: Vec<(usize, Value)>,
}

impl FullPage {
    /// Converts the results of a series. Returns `None` if the record lacks it.
    pub(super) fn read(full: &Full, one: &SeriesReport) -> Option<Self> {
        let series = full.series.iter().find(|s| s.name == one.name)?;
        let mut page = Self::default();
        let now = |id: usize, tree: &str| {
            let mut patches = one.patches.iter();
            patches.any(|p| p.id == id && p.tree.as_str() == tree)
        };
        for patch in series.patches.iter().filter(|p| now(p.id, &p.tree)) {
            for unit in &patch.units {
                page.add(patch.id, unit);
            }
        }
        let units = one.patches.len() * full.archs.len();
        let done = page.verdicts.len();
        if done == units {
            page.builds_alone = series.builds_alone;
            page.dependencies = series.dependencies.iter().map(proof).collect();
            page.list.extend(kunit(series));
        }
        let wrong = page.dependencies.iter().filter(|d| d["pass"] == false);
        page.status = FullStatus {
            units,
            done,
            left: units.saturating_sub(done),
            findings: page.list.len() + wrong.count(),
            complete: done == units,
        };
        Some(page)
    }

    fn add(&mut self, patch: usize, unit: &UnitFull) {
        for ran in &unit.ran {
            if !self.ran.contains(ran) {
                self.ran.push(ran.clone());
            }
        }
        let arch = unit.arch.name();
        let before = self.list.len();
        for (check, all) in [("error", &unit.errors), ("warning", &unit.warnings)] {
            for said in all {
                let is_longer = said.text.trim() != said.message.trim();
                self.list.push(json!({
                    "of": format!("patch {patch}, {arch}"),
                    "check": check,
                    "message": said.message,
                    "place": (!said.file.is_empty()).then(|| place(&said.file, said.line)),
                    "text": is_longer.then_some(&said.text),
                }));
            }
        }
        // A failed build without a message counts as one finding.
        let found = (self.list.len() - before).max(usize::from(!unit.pass));
        let verdict = json!({ "name": arch, "found": found });
        self.verdicts.push((patch, verdict));
    }
}

pub(super) fn quick(checked: &Checked) -> Value {
    let of = |n: usize| format!("patch {n}");
    let finding = |f: &Finding| {
        json!({
            "of": f.patch.map_or("series".to_owned(), of),
            "check": f.check,
            "message": f.message,
            "place": f.file.as_ref().map(|file| place(file, f.line)),
            "text": f.help,
        })
    };
    let findings: Vec<Value> = checked.findings.iter().map(finding).collect();
    json!({ "checks": checked.checks, "findings": findings })
}

pub(super) fn verdicts(
    patch: usize,
    quick: Option<&Checked>,
    full: Option<&FullPage>,
) -> Vec<Value> {
    let mut verdicts = Vec::new();
    if let Some(checked) = quick {
        let found = checked.findings.iter().filter(|f| f.patch == Some(patch));
        verdicts.push(json!({ "name": "check", "found": found.count() }));
    }
    let full = full.into_iter().flat_map(|full| &full.verdicts);
    let of_it = full.filter(|(id, _)| *id == patch);
    verdicts.extend(of_it.map(|(_, verdict)| verdict.clone()));
    verdicts
}

fn kunit(series: &SeriesFull) -> Option<Value> {
    let kunit = series.kunit.as_ref().filter(|k| !k.pass)?;
    let failed = kunit.failed + kunit.crashed;
    Some(json!({
        "of": format!("series, {}", kunit.arch.name()),
        "check": "KUnit",
        "message": format!("{} passed, {failed} failed", kunit.passed),
        "place": null,
        "text": kunit.errors.join("\n"),
    }))
}

fn place(file: &str, line: Option<usize>) -> String {
    line.map_or(file.to_owned(), |line| format!("{file}:{line}"))
}

/// Describes whether a dependency is needed, and whether the manifest is right.
fn proof(d: &Dependency) -> Value {
    let mut proof = match &d.failure {
        _ if !d.needed => "not needed: all patches apply and build without it".to_owned(),
        None => format!("needed from patch {} on", d.found + 1),
        Some(f) => {
            let how = f.how.text();
            format!("needed from patch {} on, which {how} without it", f.patch)
        }
    };
    if d.needed && !d.pass {
        proof += &format!("; the manifest says without = {}", d.without);
    }
    let error = d.failure.as_ref().map(|f| &f.error);
    json!({ "name": d.name, "proof": proof, "error": error, "pass": d.pass })
}

// SPDX-License-Identifier: GPL-2.0

//! The results of the checks in the report.

use serde::Serialize;

use super::Verdict;
use crate::{
    checks::{
        every_patch::record::{Dependency, Full, How, Said, SeriesFull, UnitFull},
        quick::record::Checked,
    },
    patches::output::SeriesReport,
};

/// The quick checks of a series, if it has not changed since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuickPage {
    /// The names of the checks.
    pub checks: Vec<String>,
    /// The findings.
    pub findings: Vec<FindingPage>,
}

/// A finding of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FindingPage {
    /// The object: "patch 3, um", or "series".
    pub of: String,
    pub check: String,
    pub message: String,
    /// The file and the line.
    pub place: Option<String>,
    /// The whole output, if it is longer than the message.
    pub text: Option<String>,
}

/// The results of the full check for the present state of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FullPage {
    /// The number of builds: one for each patch and kernel.
    pub units: usize,
    /// The number of finished builds.
    pub done: usize,
    /// The steps of a build: "build", "clippy", …
    pub ran: Vec<String>,
    pub findings: Vec<FindingPage>,
    /// The number of findings, including wrong dependencies.
    pub found: usize,
    /// The proofs of the dependencies. Empty until all builds are done.
    pub dependencies: Vec<DependencyPage>,
    /// Whether each patch builds on the base and the declared dependencies alone. `None` until all
    /// builds are done.
    pub builds_alone: Option<bool>,
    #[serde(skip)]
    verdicts: Vec<(usize, Verdict)>,
}

/// The proof that a dependency is needed, or not needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DependencyPage {
    /// The series below.
    pub name: String,
    /// The result in a sentence.
    pub proof: String,
    /// The error without the dependency.
    pub error: Option<String>,
    /// Whether the manifest is right.
    pub pass: bool,
}

impl FullPage {
    /// Returns the verdicts on a patch.
    pub(super) fn of(&self, patch: usize) -> impl Iterator<Item = Verdict> {
        let of_it = self.verdicts.iter().filter(move |(id, _)| *id == patch);
        of_it.map(|(_, verdict)| verdict.clone())
    }
}

/// Converts the results of the quick checks.
pub(super) fn quick(checked: &Checked) -> QuickPage {
    let findings = checked.findings.iter().map(|f| FindingPage {
        of: f
            .patch
            .map_or("series".to_owned(), |n| format!("patch {n}")),
        check: f.check.to_string(),
        message: f.message.clone(),
        place: f.file.as_ref().map(|file| place(file, f.line)),
        text: f.help.clone(),
    });
    QuickPage {
        checks: checked.checks.clone(),
        findings: findings.collect(),
    }
}

/// Converts the results of the full check. Returns `None` if the record lacks the series.
pub(super) fn full(full: &Full, one: &SeriesReport) -> Option<FullPage> {
    let series = full.series.iter().find(|s| s.name == one.name)?;
    let mut page = FullPage {
        units: one.patches.len() * full.archs.len(),
        done: 0,
        ran: Vec::new(),
        findings: Vec::new(),
        found: 0,
        dependencies: Vec::new(),
        builds_alone: None,
        verdicts: Vec::new(),
    };
    let now = |id: usize, tree: &str| one.patches.iter().any(|p| p.id == id && p.tree == tree);
    for patch in series.patches.iter().filter(|p| now(p.id, &p.tree)) {
        for unit in &patch.units {
            add_unit(&mut page, patch.id, unit);
        }
    }
    if page.done == page.units {
        page.builds_alone = Some(series.builds_alone);
        page.dependencies = series.dependencies.iter().map(proof).collect();
        page.findings.extend(kunit(series));
    }
    let wrong = page.dependencies.iter().filter(|d| !d.pass);
    page.found = page.findings.len() + wrong.count();
    Some(page)
}

fn add_unit(page: &mut FullPage, patch: usize, unit: &UnitFull) {
    page.done += 1;
    for ran in &unit.ran {
        if !page.ran.contains(ran) {
            page.ran.push(ran.clone());
        }
    }
    let arch = unit.arch.name();
    let errors = unit.errors.iter().map(|s| ("error", s));
    let said: Vec<_> = errors
        .chain(unit.warnings.iter().map(|s| ("warning", s)))
        .collect();
    page.findings
        .extend(said.iter().map(|(check, said)| FindingPage {
            of: format!("patch {patch}, {arch}"),
            check: (*check).to_owned(),
            message: said.message.clone(),
            place: (!said.file.is_empty()).then(|| place(&said.file, said.line)),
            text: more(said),
        }));
    let found = match said.len() {
        // A failed build without a message counts as one finding.
        0 if !unit.pass => 1,
        n => n,
    };
    let name = arch.to_owned();
    page.verdicts.push((patch, Verdict { name, found }));
}

fn more(said: &Said) -> Option<String> {
    (said.text.trim() != said.message.trim()).then(|| said.text.clone())
}

fn kunit(series: &SeriesFull) -> impl Iterator<Item = FindingPage> {
    let kunit = series.kunit.iter().filter(|k| !k.pass);
    kunit.map(|k| FindingPage {
        of: format!("series, {}", k.arch.name()),
        check: "KUnit".to_owned(),
        message: format!("{} passed, {} failed", k.passed, k.failed + k.crashed),
        place: None,
        text: Some(k.errors.join("\n")),
    })
}

fn place(file: &str, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    }
}

fn proof(d: &Dependency) -> DependencyPage {
    let proof = match &d.failure {
        _ if !d.needed => "not needed: all patches apply and build without it".to_owned(),
        None => format!("needed from patch {} on", d.found + 1),
        Some(f) => {
            let how = match f.how {
                How::DoesNotApply => "does not apply",
                How::DoesNotBuild => "does not build",
                How::Warns => "builds with a new warning",
            };
            format!("needed from patch {} on, which {how} without it", f.patch)
        }
    };
    let proof = match d.needed && !d.pass {
        true => format!("{proof}; the manifest says without = {}", d.without),
        false => proof,
    };
    DependencyPage {
        name: d.name.clone(),
        proof,
        error: d.failure.as_ref().map(|f| f.error.clone()),
        pass: d.pass,
    }
}

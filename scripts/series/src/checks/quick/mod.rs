// SPDX-License-Identifier: GPL-2.0

//! Quick checks of the assembled patches before a posting.
//!
//! Reading the manifests already validates them. Each check here is a function from patches to
//! [`Finding`]s.

mod checkpatch;
mod discipline;
mod overlay;
pub mod record;
mod rustfmt;

use std::time::SystemTime;

use serde::Serialize;

use self::rustfmt::Rustfmt;
use crate::{
    checks::{
        Finding, Subject,
        rules::{self, Rules},
    },
    patches::commits::AssembledSeries,
    sys::{
        error::{Error, Result},
        ui::{Ui, Unit},
    },
};

/// The result of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The number of checked patches.
    pub patches: usize,
    pub checks: Vec<&'static str>,
    pub findings: Vec<Finding>,
    /// Claims of the patches that the checks cannot verify.
    pub warnings: Vec<Finding>,
}

/// Runs the quick checks on the named series, or on all, and records the findings.
///
/// # Errors
///
/// A check cannot run, or the record cannot be written. Findings are in the [`Outcome`].
pub fn quick(subject: &Subject<'_>, names: &[String], ui: &Ui) -> Result<Outcome> {
    let series = subject.assembled.named(names)?;
    let patches: usize = series.iter().map(|s| s.patches.len()).sum();
    let mut findings = Vec::new();
    let planned = series.iter().flat_map(|s| &s.plan.patches);
    let has_rust = planned.flat_map(|p| p.paths()).any(|p| p.ends_with(".rs"));
    let rustfmt = has_rust.then(|| Rustfmt::find(subject)).transpose()?;
    let rules = Rules::new(subject)?;
    let mut by_rules = rules::Found::default();
    let mut progress = ui.progress("checking patches", patches as u64, Unit::Things);
    for one in &series {
        discipline::check(subject, one, &mut findings)?;
        overlay::check(subject, one, &mut findings)?;
        applies(subject, one, &mut findings);
        rules.check(one, &mut by_rules)?;
        for number in 1..=one.patches.len() {
            progress.set(progress.at() + 1, &one.plan.patches[number - 1].subject);
            checkpatch::check(subject, one, number, &mut findings)?;
            if let Some(rustfmt) = &rustfmt {
                rustfmt::check(subject, one, number, rustfmt, &mut findings)?;
            }
        }
    }
    progress.done();
    findings.extend(by_rules.findings);
    let outcome = Outcome {
        patches,
        checks: discipline::RULES
            .into_iter()
            .map(|rule| rule.name())
            .chain(rules::RULES.into_iter().map(|rule| rule.name()))
            .chain(["overlay", "applies", "checkpatch"])
            .chain(has_rust.then_some("rustfmt"))
            .collect(),
        findings,
        warnings: by_rules.warnings,
    };
    let names: Vec<&str> = series.iter().map(|s| s.name()).collect();
    let now = SystemTime::now();
    record::note(subject.ws, subject.report, &names, &outcome, now)?;
    Ok(outcome)
}

/// Verifies that the patches give the recorded tree on the base and the declared dependencies
/// alone.
fn applies(subject: &Subject<'_>, one: &AssembledSeries, findings: &mut Vec<Finding>) {
    let found = subject.report.series.iter().find(|r| r.name == one.name());
    if found.is_some_and(|r| !r.applies) {
        findings.push(Finding {
            series: one.name().to_owned(),
            patch: None,
            check: "applies".into(),
            message: "the patches do not give the recorded tree on the base and the declared \
                      dependencies alone"
                .to_owned(),
            file: None,
            line: None,
            help: None,
        });
    }
}

/// Applies the version rules to a series, without the other checks.
///
/// # Errors
///
/// As for [`quick`].
pub fn discipline_of(subject: &Subject<'_>, one: &AssembledSeries) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    discipline::check(subject, one, &mut findings)?;
    Ok(findings)
}

/// Checks the `Fixes:` tags of a series, without the other rules.
///
/// # Errors
///
/// As for [`quick`].
pub fn fixes_of(subject: &Subject<'_>, one: &AssembledSeries) -> Result<rules::Found> {
    let mut found = rules::Found::default();
    rules::fixes_of(subject, one, &mut found)?;
    Ok(found)
}

/// Converts the findings of an outcome into an error, if there are any.
pub fn failure(outcome: &Outcome) -> Option<Error> {
    failure_of(&outcome.findings)
}

/// Converts findings into an error, if there are any.
pub fn failure_of(findings: &[Finding]) -> Option<Error> {
    Error::all(findings.iter().map(error_of).collect())
}

/// Converts a finding into an error with its place.
pub fn error_of(finding: &Finding) -> Error {
    let f = finding;
    let patch = f.patch.map_or(String::new(), |n| format!(" patch {n}"));
    let text = format!("{}{patch}: {}: {}", f.series, f.check, f.message);
    let error = match &f.help {
        Some(help) => Error::new(text).help(help),
        None => Error::new(text),
    };
    match &f.file {
        Some(file) => error.at(file, f.line),
        None => error,
    }
}

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

use serde::Serialize;

pub use self::discipline::check as discipline_of;
use self::rustfmt::Rustfmt;
pub use super::rules::fixes_of;
use crate::{
    checks::{Subject, rules},
    patches::commits::AssembledSeries,
    source::finding::Finding,
    sys::{
        Error, Result,
        ui::{Ui, Unit},
    },
    versions,
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
pub fn quick(subject: &Subject<'_>, names: &[String], ui: &Ui) -> Result<Outcome> {
    let series = subject.made.assembled.named(names)?;
    let patches: usize = series.iter().map(|s| s.patches.len()).sum();
    let planned = series.iter().flat_map(|s| &s.plan.patches);
    let has_rust = planned.flat_map(|p| p.paths()).any(|p| p.ends_with(".rs"));
    let rustfmt = has_rust.then(|| Rustfmt::find(subject)).transpose()?;
    let rules = rules::Rules::new(subject)?;
    let mut findings = Vec::new();
    let mut by_rules = Vec::new();
    let mut progress = ui.progress("checking patches", patches as u64, Unit::Things);
    for one in &series {
        findings.extend(discipline_of(subject, one)?);
        findings.extend(overlay::check(subject, one)?);
        findings.extend(applies(subject, one));
        by_rules.extend(rules.check(one)?);
        for (number, planned) in (1..).zip(&one.plan.patches) {
            progress.set(progress.at() + 1, &planned.subject);
            findings.extend(checkpatch::check(subject, one, number)?);
            if let Some(rustfmt) = &rustfmt {
                findings.extend(rustfmt.check(one, number)?);
            }
        }
    }
    progress.done();
    let (warnings, by_rules): (Vec<_>, _) = by_rules.into_iter().partition(|f| f.is_warning);
    findings.extend::<Vec<_>>(by_rules);
    let checks = versions::rules::RULES.into_iter().chain(rules::RULES);
    let checks = checks.chain(["overlay", "applies", "checkpatch"]);
    let outcome = Outcome {
        patches,
        checks: checks.chain(has_rust.then_some("rustfmt")).collect(),
        findings,
        warnings,
    };
    let names: Vec<&str> = series.iter().map(|s| s.name()).collect();
    record::note(subject, &names, &outcome)?;
    Ok(outcome)
}

/// Verifies that the patches give the recorded tree on the base and the declared dependencies
/// alone.
fn applies(subject: &Subject<'_>, one: &AssembledSeries) -> Option<Finding> {
    let what = "the patches do not give the recorded tree on the base and the declared \
                dependencies alone";
    let fails = subject.written(one).is_some_and(|written| !written.applies);
    fails.then(|| Finding::new(one.name(), "applies", what))
}

/// Converts findings into an error, if there are any.
pub fn failure_of(findings: &[Finding]) -> Option<Error> {
    let errors = findings.iter().cloned().map(Finding::into_full_error);
    Error::all(errors).err()
}

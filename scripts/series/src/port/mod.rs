// SPDX-License-Identifier: GPL-2.0

//! How the series fare on another base: what applies, what is there already, what conflicts and
//! where.
//!
//! The path of the data: [`tree`] is a tree as files, [`hunk`] reads diffs and places them,
//! [`names`] tells what files offer, [`judge`] goes through the patches and makes a [`report`],
//! [`show`] writes it for people. All of that is pure; [`repository`] is the part that talks to git.
//! Nothing of the other base gets into a series.

pub mod hunk;
pub mod judge;
pub mod names;
pub mod report;
pub mod repository;
pub mod show;
pub mod tree;

#[cfg(test)]
mod tests;

use std::collections::{
    BTreeMap,
    BTreeSet, //
};

use crate::{
    error::Result,
    manifest::{
        Series,
        below, //
    },
    plan::PlannedSeries,
};
use judge::{
    Chain,
    Judge,
    Merge,
    needs, //
};
use report::{
    SeriesReport,
    Verdict, //
};
use tree::Files;

/// Judges series, which are in dependency order, on another base than their own.
///
/// # Errors
///
/// A series does not fit on its own base, or a merge could not be tried.
pub fn judge_all(
    planned: &[PlannedSeries],
    own: &dyn Files,
    other: &dyn Files,
    merge: &dyn Merge,
) -> Result<Vec<SeriesReport>> {
    let judge = Judge::new(merge);
    let series: Vec<&Series> = planned.iter().map(|p| p.series()).collect();
    let mut ends: BTreeMap<Vec<String>, Chain<'_>> = BTreeMap::new();
    ends.insert(Vec::new(), Chain::new(own, other));
    let mut reports = Vec::new();
    for one in planned {
        let depends: Vec<String> = below(&series, one.name())
            .into_iter()
            .map(|s| s.name.to_string())
            .collect();
        let start = chain(&judge, planned, &depends, other, &mut ends)?;
        let mut chain = start.clone();
        let mut report = judge.series(one, &depends, other, &mut chain)?;
        if !depends.is_empty() {
            let mut alone = start.alone(other);
            let patches = judge.patches(one, other, &mut alone)?;
            report.alone = Some(Verdict::of(&patches));
        }
        let there: Vec<&SeriesReport> = reports
            .iter()
            .filter(|r: &&SeriesReport| depends.contains(&r.name) && !r.names.there.is_empty())
            .collect();
        report.needs = there
            .into_iter()
            .flat_map(|r| needs(one, &r.names))
            .collect();
        reports.push(report);
        let name = one.name().to_owned();
        ends.insert(depends.into_iter().chain([name]).collect(), chain);
    }
    Ok(reports)
}

/// Where a chain of series ends.
fn chain<'a>(
    judge: &Judge<'_>,
    planned: &[PlannedSeries],
    names: &[String],
    other: &'a dyn Files,
    ends: &mut BTreeMap<Vec<String>, Chain<'a>>,
) -> Result<Chain<'a>> {
    if let Some(known) = ends.get(names) {
        return Ok(known.clone());
    }
    let Some((last, before)) = names.split_last() else {
        unreachable!("the empty chain is known from the start");
    };
    let mut end = chain(judge, planned, before, other, ends)?;
    if let Some(one) = planned.iter().find(|p| p.name() == last) {
        judge.patches(one, other, &mut end)?;
    }
    ends.insert(names.to_vec(), end.clone());
    Ok(end)
}

/// The files and folders of a tree that matter: what the patches touch, and the modules that they
/// make, wherever in their folders the base has them.
pub fn wanted(planned: &[PlannedSeries]) -> Vec<String> {
    let mut paths = BTreeSet::new();
    for path in planned
        .iter()
        .flat_map(|p| &p.patches)
        .flat_map(|p| p.paths())
    {
        paths.insert(path.to_owned());
        if let Some(module) = names::module_of(path) {
            paths.extend(names::files_of(module));
            paths.insert(format!("{module}/"));
        }
    }
    paths.into_iter().collect()
}

// SPDX-License-Identifier: GPL-2.0

//! Computes the content of each patch from manifests and components, and checks all of them first.
//!
//! Planning is pure: it reads only [`Component`]s. Exactly one patch adds each file of an overlay.
//! `withhold` in a later patch, of the same series or of a dependent one, defers parts of the file.
//! After the last patch, each file is identical to the file in the overlay.

mod claims;
mod group;
mod manifest;
mod patch;
mod withheld;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

use crate::{
    patches::plan::group::SeriesGroup,
    source::{
        component::Component,
        manifest::{At, Series, in_order, unique_change_ids},
    },
    sys::{Error, Result},
};

pub use self::patch::{Edit, PlannedPatch, PlannedSeries, Write};

/// Plans the series that `wanted` selects, in dependency order.
///
/// `components` must contain all series, because the series of a component share its files.
/// Returns all faults in the selected series and in their components at once.
pub fn plan_some(
    components: Vec<Component>,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<PlannedSeries>> {
    let manifests: Vec<_> = components.iter().map(|c| c.series.clone()).collect();
    let ordered = in_order(&manifests)?;
    let mut errors = Vec::new();
    let selected: Vec<_> = manifests.iter().filter(|s| wanted(&s.name)).collect();
    errors.extend(unique_change_ids(&selected).err());
    for series in selected {
        check_local(series, &manifests, &mut errors);
    }
    let groups = groups(&components, &ordered, wanted);
    let owners = owners(&groups, &mut errors);
    let mut patches = BTreeMap::new();
    for members in &groups {
        let mut group = SeriesGroup {
            members,
            ordered: &ordered,
            owners: &owners,
            withheld: BTreeMap::new(),
        };
        group.check(wanted, &mut errors);
        if errors.is_empty() {
            patches.extend(group.patches(wanted));
        }
    }
    Error::all(errors)?;
    let place = |one: &PlannedSeries| {
        ordered
            .iter()
            .position(|s| s.name == one.component.series.name)
    };
    let mut planned: Vec<PlannedSeries> = components
        .into_iter()
        .filter(|component| wanted(component.name()))
        .map(|component| PlannedSeries {
            patches: patches.remove(component.name()).unwrap_or_default(),
            component,
        })
        .collect();
    planned.sort_by_key(place);
    Ok(planned)
}

/// Refuses dependencies of posted series on local ones.
fn check_local(series: &Series, all: &[Series], errors: &mut Vec<Error>) {
    if series.local.is_some() {
        return;
    }
    for At { value, line } in &series.depends {
        let dep = all.iter().find(|s| s.name == *value);
        if let Some(why) = dep.and_then(|d| d.local.as_ref()) {
            let what = format!("{value} is never posted: {}", why.value);
            errors.push(series.error(*line, what).help(format!(
                "make {} local as well, or move the patches that it needs to another series",
                series.name
            )));
        }
    }
}

/// Returns the components with a selected series, each with all its series in dependency order.
fn groups<'a>(
    components: &'a [Component],
    ordered: &[&Series],
    wanted: &dyn Fn(&str) -> bool,
) -> Vec<Vec<&'a Component>> {
    let mut groups: Vec<Vec<&Component>> = Vec::new();
    for component in components {
        let mut known = groups.iter_mut();
        match known.find(|g| g[0].folder() == component.folder()) {
            Some(group) => group.push(component),
            None => groups.push(vec![component]),
        }
    }
    groups.retain(|g| g.iter().any(|c| wanted(c.name())));
    for group in &mut groups {
        group.sort_by_key(|c| ordered.iter().position(|s| s.name == c.series.name));
    }
    groups
}

/// Maps each path of the overlays to the folder of its component.
fn owners(groups: &[Vec<&Component>], errors: &mut Vec<Error>) -> BTreeMap<String, String> {
    let mut owners = BTreeMap::new();
    for group in groups {
        let component = group[0];
        let folder = component.folder();
        let is_left_out = |path: &str| group.iter().any(|c| c.series.leaves_out(path));
        for path in component.overlay.keys().filter(|path| !is_left_out(path)) {
            if let Some(other) = owners.insert(path.clone(), folder.to_owned()) {
                let error = Error::new(format!("this file is in {other}/tree as well"));
                let error = error.at(format!("{folder}/tree/{path}"), None);
                errors.push(error.help("keep the file in one of the two components"));
            }
        }
    }
    owners
}

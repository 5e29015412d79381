// SPDX-License-Identifier: GPL-2.0

//! From manifests and folders to patches: what each patch writes, checked before anything is made.
//!
//! Pure functions over [`Component`]s. A file of an overlay enters in exactly one patch of one series,
//! whole except for the parts that a later patch names in `withhold`, of this series or of a later
//! one. With all patches applied the tree holds the overlay byte for byte.

mod claims;
mod group;
mod manifest;
mod patch;
mod withheld;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

use crate::{
    patches::plan::group::Group,
    source::{
        component::Component,
        manifest::{
            At,
            Series,
            in_order,
            unique_change_ids, //
        }, //
    },
    sys::error::{
        Error,
        Result, //
    }, //
};

pub use self::patch::{
    Edit,
    PlannedPatch,
    PlannedSeries,
    Write, //
};

/// Plans all series, in dependency order.
///
/// # Errors
///
/// Every fault of every manifest, at once.
#[cfg(test)]
pub fn plan(components: Vec<Component>) -> Result<Vec<PlannedSeries>> {
    plan_some(components, &|_| true)
}

/// Plans the wanted series, in dependency order. `components` are all of them, since the files of a
/// component are shared among its series.
///
/// # Errors
///
/// Every fault of the wanted series and of the components that they belong to, at once.
pub fn plan_some(
    components: Vec<Component>,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<PlannedSeries>> {
    let manifests: Vec<_> = components.iter().map(|c| c.series.clone()).collect();
    let ordered = in_order(&manifests)?;
    let mut errors = Vec::new();
    let asked: Vec<_> = manifests.iter().filter(|s| wanted(&s.name)).collect();
    errors.extend(unique_change_ids(&asked).err());
    asked
        .iter()
        .for_each(|s| on_local(s, &manifests, &mut errors));
    let groups = groups(&components, &ordered, wanted);
    let owners = owners(&groups, &mut errors);
    let mut planned = Vec::new();
    for members in &groups {
        let mut group = Group {
            members,
            ordered: &ordered,
            owners: &owners,
            cuts: BTreeMap::new(),
        };
        group.check(wanted, &mut errors);
        if errors.is_empty() {
            planned.extend(group.patches(wanted));
        }
    }
    if let Some(error) = Error::all(errors) {
        return Err(error);
    }
    let place = |name: &str| ordered.iter().position(|s| s.name == *name);
    let mut patches: BTreeMap<String, _> = planned.into_iter().collect();
    let mut planned: Vec<(Option<usize>, PlannedSeries)> = components
        .into_iter()
        .filter_map(|component| {
            let patches = patches.remove(component.name())?;
            Some((
                place(component.name()),
                PlannedSeries { component, patches },
            ))
        })
        .collect();
    planned.sort_by_key(|(place, _)| *place);
    Ok(planned.into_iter().map(|(_, p)| p).collect())
}

/// Refuses that a series which is posted builds on one that never is.
fn on_local(series: &Series, all: &[Series], errors: &mut Vec<Error>) {
    if series.local.is_some() {
        return;
    }
    for At { value, line } in &series.depends {
        let dep = all.iter().find(|s| s.name == *value);
        if let Some(why) = dep.and_then(|d| d.local.as_ref()) {
            errors.push(
                Error::new(format!("{value} is never posted: {}", why.value))
                    .at(series.file(), *line)
                    .help(format!(
                        "make {} local as well, or move what it needs into another series",
                        series.name
                    )),
            );
        }
    }
}

/// The components with a wanted series, each with all its series in dependency order.
fn groups<'a>(
    components: &'a [Component],
    ordered: &[&Series],
    wanted: &dyn Fn(&str) -> bool,
) -> Vec<Vec<&'a Component>> {
    let mut groups: Vec<Vec<&Component>> = Vec::new();
    for component in components {
        match groups
            .iter_mut()
            .find(|g| g[0].folder() == component.folder())
        {
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

/// Whose overlay each path belongs to.
fn owners(groups: &[Vec<&Component>], errors: &mut Vec<Error>) -> BTreeMap<String, String> {
    let mut owners = BTreeMap::new();
    for group in groups {
        let component = group[0];
        let out = |path: &str| group.iter().any(|c| c.series.leaves_out(path));
        for path in component.overlay.keys().filter(|path| !out(path)) {
            let old = owners.insert(path.clone(), component.folder().to_owned());
            if let Some(other) = old {
                errors.push(
                    Error::new(format!("{other} has this file as well"))
                        .at(format!("{}/tree/{path}", component.folder()), None)
                        .help(
                            "a file belongs to one component; the other one may edit nothing of it",
                        ),
                );
            }
        }
    }
    owners
}

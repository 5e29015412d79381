// SPDX-License-Identifier: GPL-2.0

//! Several series: their order by dependencies, their selection by name, and their change ids.

use std::collections::BTreeMap;

use super::series::Series;
use crate::sys::{Error, Result};

/// Sorts the series so that each follows its dependencies. The series of a component are adjacent,
/// unless they depend on a series between them.
pub fn in_order(series: &[Series]) -> Result<Vec<&Series>> {
    let mut done = Vec::new();
    for one in series {
        visit(one, series, &mut Vec::new(), &mut done)?;
    }
    let first = |one: &Series| done.iter().position(|s| s.component == one.component);
    let mut grouped = done.clone();
    grouped.sort_by_key(|one| first(one));
    Ok(if is_in_order(&grouped) { grouped } else { done })
}

/// Adds a series to `done` after its dependencies. `path` has the series that are being added, each
/// because of the one before it.
fn visit<'a>(
    one: &'a Series,
    series: &'a [Series],
    path: &mut Vec<&'a str>,
    done: &mut Vec<&'a Series>,
) -> Result<()> {
    if done.iter().any(|d| d.name == one.name) {
        return Ok(());
    }
    path.push(&one.name);
    for dep in &one.depends {
        if let Some(start) = path.iter().position(|n| *n == dep.value) {
            let cycle = path[start..].join(" -> ");
            let what = format!("the dependencies have a cycle: {cycle} -> {}", dep.value);
            let help = "remove one of these dependencies";
            return Err(one.error(dep.line, what).help(help));
        }
        let Some(dep) = series.iter().find(|s| *s.name == *dep.value) else {
            let names: Vec<_> = series.iter().map(|s| s.name.as_str()).collect();
            let mut help = format!("the series are: {}", names.join(", "));
            if one.branch.is_some() {
                help += &format!(
                    ";\nif {} was merged, remove it here and from [without]; [fork-point] stays \
                     until the branch is rebased",
                    dep.value
                );
            }
            let what = format!("unknown series {:?}", dep.value);
            return Err(one.error(dep.line, what).help(help));
        };
        visit(dep, series, path, done)?;
    }
    path.pop();
    done.push(one);
    Ok(())
}

fn is_in_order(series: &[&Series]) -> bool {
    series.iter().enumerate().all(|(at, one)| {
        let is_before = |name: &str| series[..at].iter().any(|s| s.name == *name);
        one.depends.iter().all(|d| is_before(&d.value))
    })
}

/// Returns the direct and indirect dependencies of `name` in `ordered`, as [`in_order`] sorts it.
pub fn below<'a>(ordered: &[&'a Series], name: &str) -> Vec<&'a Series> {
    let mut wanted = vec![name];
    for one in ordered.iter().rev() {
        if wanted.contains(&one.name.as_str()) {
            wanted.extend(one.depends.iter().map(|d| d.value.as_str()));
        }
    }
    let is_below = |s: &&Series| *s.name != *name && wanted.contains(&s.name.as_str());
    ordered.iter().copied().filter(is_below).collect()
}

/// Returns the names of the selected series. A name selects a series, or else all series of a
/// component. Without names, all series are selected. The error lists the existing names.
pub fn selected_series(ordered: &[&Series], names: &[String]) -> Result<Vec<String>> {
    if names.is_empty() {
        return Ok(ordered.iter().map(|s| s.name.to_string()).collect());
    }
    let mut selected: Vec<String> = Vec::new();
    for name in names {
        let mut found: Vec<_> = ordered.iter().filter(|s| s.name == *name).collect();
        if found.is_empty() {
            found.extend(ordered.iter().filter(|s| s.component == *name));
        }
        if found.is_empty() {
            return Err(unknown_series(ordered, name));
        }
        found.retain(|one| !selected.iter().any(|name| one.name == *name));
        selected.extend(found.iter().map(|one| one.name.to_string()));
    }
    Ok(selected)
}

pub fn unknown_series(ordered: &[&Series], name: &str) -> Error {
    let of_component = ordered.iter().filter(|s| s.component == *name);
    let of_component: Vec<&str> = of_component.map(|s| s.name.as_str()).collect();
    if !of_component.is_empty() {
        return Error::new(format!("{name} is a component of several series"))
            .help(format!("name one of them: {}", of_component.join(", ")));
    }
    let all: Vec<&str> = ordered.iter().map(|s| s.name.as_str()).collect();
    let mut help = format!("the series are: {}", all.join(", "));
    let components = ordered.iter().map(|s| s.component.as_str());
    let mut components: Vec<&str> = components.filter(|c| !all.contains(c)).collect();
    components.dedup();
    if !components.is_empty() {
        help += &format!("; the components: {}", components.join(", "));
    }
    Error::new(format!("unknown series {name:?}")).help(help)
}

/// Checks that change ids are unique. b4 treats series with the same id as versions of one series.
pub fn unique_change_ids(series: &[&Series]) -> Result<()> {
    let mut seen: BTreeMap<&str, &Series> = BTreeMap::new();
    let mut errors = Vec::new();
    for one in series {
        if let Some(first) = seen.insert(&one.change_id, one) {
            let what = format!("{} has the same change-id", first.name);
            errors.push(one.error(one.line_of_change_id, what).help(
                "the change-id connects the versions of a series; give a new one to the series \
                 that was not posted",
            ));
        }
    }
    Error::all(errors)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::source::words::SeriesName;

    fn named(name: &str, depends: &[&str]) -> Series {
        let deps: Vec<_> = depends.iter().map(|d| format!("{d:?}")).collect();
        let text = format!(
            "version = 1\nchange-id = \"20260102-x\"\ndepends = [{}]\n",
            deps.join(", ")
        );
        Series::parse(name, &PathBuf::from(format!("series/{name}.toml")), &text).unwrap()
    }

    fn names(series: &[&Series]) -> Vec<String> {
        series.iter().map(|s| s.name.to_string()).collect()
    }

    #[test]
    fn in_order_dependencies_first() {
        let all = [
            named("mm", &["buddy"]),
            named("buddy", &["list"]),
            named("list", &[]),
            named("other", &[]),
        ];
        let ordered = in_order(&all).unwrap();
        assert_eq!(names(&ordered), ["list", "buddy", "mm", "other"]);
        assert_eq!(names(&below(&ordered, "mm")), ["list", "buddy"]);
        assert!(below(&ordered, "other").is_empty());
    }

    #[test]
    fn in_order_cycle() {
        let all = [named("a", &["b"]), named("b", &["c"]), named("c", &["b"])];
        insta::assert_snapshot!(in_order(&all).unwrap_err(), @r"
        series/c.toml:3: the dependencies have a cycle: b -> c -> b
          help: remove one of these dependencies
        ");
    }

    #[test]
    fn in_order_unknown_dependency() {
        insta::assert_snapshot!(in_order(&[named("a", &["z"])]).unwrap_err(), @r#"
        series/a.toml:3: unknown series "z"
          help: the series are: a
        "#);
    }

    fn of(component: &str, mut series: Series) -> Series {
        series.component = SeriesName::component(component).unwrap();
        series
    }

    #[test]
    fn in_order_keeps_component_together() {
        let all = [
            of("buddy", named("fixes", &[])),
            named("list", &[]),
            of("buddy", named("move", &["fixes", "list"])),
        ];
        assert_eq!(names(&in_order(&all).unwrap()), ["fixes", "list", "move"]);
        let all = [
            of("buddy", named("fixes", &[])),
            named("list", &[]),
            of("buddy", named("move", &["fixes"])),
        ];
        assert_eq!(names(&in_order(&all).unwrap()), ["fixes", "move", "list"]);
    }

    #[test]
    fn selected_series_of_component() {
        let all = [
            named("list", &[]),
            of("buddy", named("fixes", &[])),
            of("buddy", named("buddy", &["fixes"])),
            of("mm", named("tables", &[])),
            of("mm", named("spaces", &["tables"])),
        ];
        let ordered = in_order(&all).unwrap();
        let selected = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
            selected_series(&ordered, &names)
                .map(|n| n.join(" "))
                .map_err(|e| e.to_string())
        };
        assert_eq!(selected(&[]).unwrap(), "list fixes buddy tables spaces");
        assert_eq!(
            selected(&["mm", "list", "spaces"]).unwrap(),
            "tables spaces list"
        );
        // A series comes before the component of its name.
        assert_eq!(selected(&["buddy"]).unwrap(), "buddy");
        insta::assert_snapshot!(selected(&["x"]).unwrap_err(), @r#"
        unknown series "x"
          help: the series are: list, fixes, buddy, tables, spaces; the components: mm
        "#);
        insta::assert_snapshot!(unknown_series(&ordered, "mm"), @r"
        mm is a component of several series
          help: name one of them: tables, spaces
        ");
    }

    #[test]
    fn unique_change_ids_duplicate() {
        let both = [named("a", &[]), named("b", &[])];
        let both: Vec<&Series> = both.iter().collect();
        unique_change_ids(&both[..1]).unwrap();
        insta::assert_snapshot!(unique_change_ids(&both).unwrap_err(), @r"
        series/b.toml:2: a has the same change-id
          help: the change-id connects the versions of a series; give a new one to the series that was not posted
        ");
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The order of series by their dependencies.

use super::series::Series;
use crate::sys::error::{Error, Result};

/// Sorts the series so that each follows its dependencies. The series of a component are adjacent,
/// unless they depend on a series between them.
///
/// # Errors
///
/// A dependency does not exist, or the dependencies have a cycle.
pub fn in_order(series: &[Series]) -> Result<Vec<&Series>> {
    struct Visit<'a> {
        series: &'a [Series],
        path: Vec<&'a str>,
        done: Vec<&'a Series>,
    }
    fn visit<'a>(v: &mut Visit<'a>, one: &'a Series) -> Result<()> {
        if v.done.iter().any(|d| d.name == one.name) {
            return Ok(());
        }
        v.path.push(&one.name);
        for dep in &one.depends {
            let at = |e: Error| e.at(one.file(), dep.line);
            if let Some(start) = v.path.iter().position(|n| *n == dep.value) {
                let mut cycle = v.path[start..].to_vec();
                cycle.push(&dep.value);
                return Err(at(Error::new(format!(
                    "the dependencies have a cycle: {}",
                    cycle.join(" -> ")
                ))
                .help("remove one of these dependencies")));
            }
            let Some(dep) = v.series.iter().find(|s| *s.name == *dep.value) else {
                let names: Vec<_> = v.series.iter().map(|s| &*s.name).collect();
                let known = format!("the series are: {}", names.join(", "));
                let error = Error::new(format!("unknown series {:?}", dep.value));
                return Err(at(error.help(match one.branch {
                    None => known,
                    Some(_) => format!(
                        "{known};\nif {0} was merged, remove it here and from [without]; \
                         [fork-point] stays until the branch is rebased",
                        dep.value
                    ),
                })));
            };
            visit(v, dep)?;
        }
        v.path.pop();
        v.done.push(one);
        Ok(())
    }
    let mut v = Visit {
        series,
        path: Vec::new(),
        done: Vec::new(),
    };
    for one in series {
        visit(&mut v, one)?;
    }
    let grouped = by_component(&v.done);
    Ok(match is_in_order(&grouped) {
        true => grouped,
        false => v.done,
    })
}

/// Moves the series of each component together, and keeps their order otherwise.
fn by_component<'a>(series: &[&'a Series]) -> Vec<&'a Series> {
    let first = |one: &Series| series.iter().position(|s| s.component == one.component);
    let mut grouped = series.to_vec();
    grouped.sort_by_key(|one| first(one));
    grouped
}

/// Returns whether each series follows its dependencies.
fn is_in_order(series: &[&Series]) -> bool {
    series.iter().enumerate().all(|(at, one)| {
        let is_before = |name: &str| series[..at].iter().any(|s| s.name == *name);
        one.depends.iter().all(|d| is_before(&d.value))
    })
}

/// Returns the direct and indirect dependencies of `name`, in the order in which they apply.
/// `ordered` is the result of [`in_order`].
pub fn below<'a>(ordered: &[&'a Series], name: &str) -> Vec<&'a Series> {
    let mut wanted = vec![name];
    for one in ordered.iter().rev() {
        if wanted.contains(&&*one.name) {
            wanted.extend(one.depends.iter().map(|d| d.value.as_str()));
        }
    }
    ordered
        .iter()
        .copied()
        .filter(|s| *s.name != *name && wanted.contains(&&*s.name))
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::source::words::SeriesName;

    pub(crate) fn named(name: &str, depends: &[&str]) -> Series {
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

    pub(crate) fn of(component: &str, mut series: Series) -> Series {
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
}

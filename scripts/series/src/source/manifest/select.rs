// SPDX-License-Identifier: GPL-2.0

//! Selects series by the names on the command line.

use super::series::Series;
use crate::sys::error::{Error, Result};

/// Returns the names of the selected series. A name selects a series, or else all series of a
/// component. Without names, all series are selected. The error lists the existing names.
pub fn selected_series(ordered: &[&Series], names: &[String]) -> Result<Vec<String>> {
    let mut selected: Vec<String> = Vec::new();
    let mut add = |one: &Series| {
        if !selected.iter().any(|c| one.name == *c) {
            selected.push(one.name.to_string());
        }
    };
    if names.is_empty() {
        ordered.iter().for_each(|one| add(one));
    }
    for name in names {
        if let Some(one) = ordered.iter().find(|s| s.name == *name) {
            add(one);
            continue;
        }
        let of_component: Vec<_> = ordered.iter().filter(|s| s.component == *name).collect();
        if of_component.is_empty() {
            return Err(unknown_series(ordered, name));
        }
        of_component.iter().for_each(|one| add(one));
    }
    Ok(selected)
}

/// Returns the error for a name that does not select one series.
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

#[cfg(test)]
mod tests {
    use super::{
        super::order::{
            in_order,
            tests::{named, of},
        },
        *,
    };

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
}

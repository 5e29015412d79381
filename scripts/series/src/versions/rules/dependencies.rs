// SPDX-License-Identifier: GPL-2.0

//! Rule 4: the cover letter names each dependency with version and link, and lists the patches that
//! do not need it.

use std::path::Path;

use crate::source::{cover::Dependency, finding::Finding, manifest::Series};

/// Checks `[without]` in the manifest of a series with this number of patches.
pub fn in_manifest(series: &Series, patches: usize) -> Vec<Finding> {
    let mut faults = Vec::new();
    let mut add = |line: usize, what: String, help: &str| {
        let fault = Finding::new(&series.name, "dependencies", what);
        faults.push(fault.at(&series.file, line).help(help));
    };
    for dep in &series.depends {
        let name = &dep.value;
        let Some(n) = series.without.get(name) else {
            let what = format!("[without] has no number for {name}");
            let help = format!(
                "add below [without]: {name} = N, the number of leading patches that neither apply \
                 nor build on it; 0 if the first patch needs it"
            );
            add(dep.line, what, &help);
            continue;
        };
        if n.value >= patches && patches > 0 {
            let what = match patches {
                1 => format!("[without] states that its only patch does not need {name}"),
                n => format!("[without] states that none of the {n} patches needs {name}"),
            };
            let help = "correct the number, or remove the dependency from `depends`";
            add(n.line, what, help);
        }
    }
    for (name, n) in &series.without {
        if !series.depends.iter().any(|d| d.value == *name) {
            let what = format!("{name} is not a dependency of {}", series.name);
            add(n.line, what, "remove the line, or add it to `depends`");
        }
    }
    faults
}

/// Checks that a mailed cover letter names each dependency.
pub fn in_cover(
    series: &str,
    file: &Path,
    cover: &str,
    dependencies: &[Dependency],
) -> Vec<Finding> {
    let mut faults = Vec::new();
    let mut missing = |what: String| {
        let help = "the tool writes this block: run `cargo series assemble`";
        let fault = Finding::new(series, "dependencies", what);
        faults.push(fault.at(file, None).help(help));
    };
    for dep in dependencies {
        let head = dep.head();
        if !cover.contains(&head) {
            missing(format!("the cover letter does not name {head}"));
        }
        for line in dep.lines().iter().filter(|line| !cover.contains(*line)) {
            missing(format!("the cover letter lacks for {head}: {line}"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{cover, finding::shown};

    fn says(without: &str) -> String {
        let text =
            format!("version = 1\nchange-id = \"20260102-c\"\ndepends = [\"list\"]\n{without}");
        let series = Series::parse("mm", "series/mm.toml".as_ref(), &text).unwrap();
        shown(in_manifest(&series, 3))
    }

    #[test]
    fn in_manifest_checks_numbers_of_without() {
        assert_eq!(says("[without]\nlist = 0\n"), "");
        assert_eq!(says("[without]\nlist = 2\n"), "");
        insta::assert_snapshot!(says(""), @r"
        series/mm.toml:3: [without] has no number for list
          help: add below [without]: list = N, the number of leading patches that neither apply nor build on it; 0 if the first patch needs it
        ");
        insta::assert_snapshot!(says("[without]\nlist = 3\n"), @r"
        series/mm.toml:5: [without] states that none of the 3 patches needs list
          help: correct the number, or remove the dependency from `depends`
        ");
        insta::assert_snapshot!(says("[without]\nlist = 1\nother = 1\n"), @r"
        series/mm.toml:6: other is not a dependency of mm
          help: remove the line, or add it to `depends`
        ");
    }

    #[test]
    fn in_cover_checks_dependencies() {
        let dependency = Dependency {
            prefix: "PATCH v2".into(),
            patches: 3,
            title: "rust: add it".into(),
            link: Some("https://example.org/2".into()),
            before: None,
            without: Some(cover::without(2)),
        };
        let cover = format!(
            "1. {}\n     https://example.org/2\n     Patches 1 to 2 can be applied without it.\n",
            dependency.head()
        );
        let says = |cover: &str| {
            shown(in_cover(
                "mm",
                "out/c.patch".as_ref(),
                cover,
                std::slice::from_ref(&dependency),
            ))
        };
        assert_eq!(says(&cover), "");
        insta::assert_snapshot!(says(&cover.replace("v2", "v1")), @r"
        out/c.patch: the cover letter does not name [PATCH v2 0/3] rust: add it
          help: the tool writes this block: run `cargo series assemble`
        ");
        insta::assert_snapshot!(says(&cover.replace("1 to 2", "1 to 3")), @r"
        out/c.patch: the cover letter lacks for [PATCH v2 0/3] rust: add it: Patches 1 to 2 can be applied without it.
          help: the tool writes this block: run `cargo series assemble`
        ");
    }
}

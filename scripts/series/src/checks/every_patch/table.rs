// SPDX-License-Identifier: GPL-2.0

//! The table at the end of `check --full`.

use super::record::{Full, SeriesFull, UnitFull};
use crate::{
    kernel::build::Arch,
    sys::{plural::count, table::markdown},
};

pub fn table(full: &Full) -> String {
    let archs: String = full
        .archs
        .iter()
        .map(|a| format!("{} | ", a.name()))
        .collect();
    let rows = full.series.iter().map(|one| {
        let mut row = vec![one.name.clone(), one.patches.len().to_string()];
        row.extend(full.archs.iter().map(|arch| built(one, *arch)));
        row.extend([documented(one), tested(one), needed(one)]);
        row
    });
    markdown(
        &format!("series | patches | {archs}rustdoc | KUnit | needs"),
        rows,
    )
}

fn units(one: &SeriesFull) -> impl Iterator<Item = &UnitFull> {
    one.patches.iter().flat_map(|p| &p.units)
}

fn built(one: &SeriesFull, arch: Arch) -> String {
    let of_arch = || units(one).filter(|u| u.arch == arch);
    let failed = of_arch().filter(|u| !u.builds).count();
    let warnings: usize = of_arch().map(|u| u.warnings.len()).sum();
    match (failed, warnings) {
        (0, 0) => "clean".to_owned(),
        (0, n) => count(n, "new warning", "new warnings"),
        (n, _) => format!("{n} FAIL"),
    }
}

fn documented(one: &SeriesFull) -> String {
    let ran = units(one).filter(|u| u.ran.iter().any(|r| r == "rustdoc"));
    match ran.count() {
        0 => "-".to_owned(),
        n => count(n, "patch", "patches"),
    }
}

fn tested(one: &SeriesFull) -> String {
    match &one.kunit {
        None => "-".to_owned(),
        Some(k) if k.pass => format!("{} passed", k.passed),
        Some(_) => "FAILED".to_owned(),
    }
}

fn needed(one: &SeriesFull) -> String {
    let needed = one.dependencies.iter().map(|d| match &d.failure {
        Some(f) => format!("{} from patch {}", d.name, f.patch),
        None => format!("{}: NOT NEEDED", d.name),
    });
    let list: Vec<_> = needed.collect();
    if list.is_empty() {
        "-".to_owned()
    } else {
        list.join(", ")
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Where each series stands, as a table and as JSON.

use comfy_table::{
    ContentArrangement,
    Table,
    presets, //
};
use serde::Serialize;

use crate::{
    cache::Cache,
    emit::Report,
    kernel::{
        self,
        Target, //
    },
    kunit,
    workspace::Workspace,
};

/// Where one series stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// How many patches it has.
    pub patches: usize,
    /// The base.
    pub base: String,
    /// What it builds on.
    pub depends: Vec<String>,
    /// Whether it applies to the base plus that alone; `None` if it has no patch.
    pub applies: Option<bool>,
    /// The kernels with all series that are built.
    pub builds: Vec<Target>,
    /// KUnit, per kernel that was run on this very tree.
    pub kunit: Vec<KunitStanding>,
    /// The folder of the patches.
    pub folder: Option<String>,
}

/// KUnit of one series on one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KunitStanding {
    /// The kernel.
    pub kernel: Target,
    /// Whether everything expected ran and passed.
    pub pass: bool,
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed or crashed.
    pub failed: u64,
    /// What the kernel's checkers reported.
    pub reports: usize,
}

/// Reads where all series stand.
pub fn standings(ws: &Workspace, cache: &Cache, report: &Report) -> Vec<Standing> {
    let all = Target::ALL.into_iter();
    let tree = &report.all.tree;
    let built = |target: &Target| kernel::stamp_of(cache, *target).is_some_and(|s| s.tree == *tree);
    report
        .series
        .iter()
        .map(|s| Standing {
            name: s.name.clone(),
            version: s.version,
            patches: s.patches.len(),
            base: format!("v{}", report.base.version),
            depends: s.depends.clone(),
            applies: (!s.patches.is_empty()).then_some(s.applies),
            builds: all.clone().filter(built).collect(),
            kunit: all
                .clone()
                .filter_map(|target| {
                    let found = kunit::recorded(ws, target, &s.name)?;
                    (found.tree == *tree && !s.patches.is_empty()).then_some(KunitStanding {
                        kernel: target,
                        pass: found.pass,
                        passed: found.passed,
                        failed: found.failed + found.crashed,
                        reports: found.reports.len(),
                    })
                })
                .collect(),
            folder: s.folder.clone(),
        })
        .collect()
}

/// The table that a person reads.
pub fn table(standings: &[Standing]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header([
            "series",
            "version",
            "patches",
            "base",
            "depends",
            "applies",
            "builds",
            "KUnit",
            "patches in",
        ]);
    for s in standings {
        table.add_row(row(s));
    }
    table.to_string()
}

/// `out/report.md`: the table, and the patches of each series.
pub fn markdown(standings: &[Standing], report: &Report) -> String {
    let mut text = format!(
        "# Patch series on Linux v{}\n\n{}\n",
        report.base.version,
        table(standings)
    );
    for s in report.series.iter().filter(|s| !s.patches.is_empty()) {
        text += &format!("\n## {} v{}: {}\n\n", s.name, s.version, s.title);
        for p in &s.patches {
            text += &format!(
                "{}. {} (+{} lines), `{}`\n",
                p.id, p.subject, p.added, p.file
            );
        }
    }
    text
}

fn row(s: &Standing) -> [String; 9] {
    let dash = || "-".to_owned();
    let or_dash = |text: String| if text.is_empty() { dash() } else { text };
    let names: Vec<_> = s.builds.iter().map(|a| a.name()).collect();
    let kunit: Vec<_> = s.kunit.iter().map(kunit_text).collect();
    [
        s.name.clone(),
        format!("v{}", s.version),
        s.patches.to_string(),
        s.base.clone(),
        or_dash(s.depends.join(", ")),
        match s.applies {
            None => dash(),
            Some(true) => "yes".to_owned(),
            Some(false) => "NO".to_owned(),
        },
        match s.patches {
            0 => dash(),
            _ => or_dash(names.join(", ")),
        },
        or_dash(kunit.join(", ")),
        s.folder.clone().unwrap_or("no patches yet".to_owned()),
    ]
}

fn kunit_text(k: &KunitStanding) -> String {
    let counts = match k.failed {
        0 => format!("{} passed", k.passed),
        n => format!("{} passed, {n} FAILED", k.passed),
    };
    let odd = match k.reports {
        0 if k.pass || k.failed > 0 => String::new(),
        0 => " (INCOMPLETE)".to_owned(),
        n => format!(", {n} REPORTED"),
    };
    format!("{}: {counts}{odd}", k.kernel.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Arch;

    fn standing(name: &str, patches: usize) -> Standing {
        Standing {
            name: name.into(),
            version: 1,
            patches,
            base: "v6.19.11".into(),
            depends: Vec::new(),
            applies: (patches > 0).then_some(true),
            builds: vec![Target::Plain(Arch::Um)],
            kunit: Vec::new(),
            folder: (patches > 0).then(|| format!("out/{name}/v1")),
        }
    }

    #[test]
    fn the_table_shows_what_was_seen() {
        let kunit = |kernel, pass, passed, failed, reports| KunitStanding {
            kernel,
            pass,
            passed,
            failed,
            reports,
        };
        let mut good = standing("clist", 4);
        good.kunit = vec![
            kunit(Target::Plain(Arch::Um), true, 30, 0, 0),
            kunit(Target::Plain(Arch::X86_64), false, 29, 1, 0),
            kunit(Target::Hardened, false, 30, 0, 2),
        ];
        let mut odd = standing("mm", 2);
        odd.depends = vec!["clist".into()];
        odd.kunit = vec![
            kunit(Target::Plain(Arch::Um), false, 0, 0, 0),
            kunit(Target::Lockdep, true, 3, 0, 0),
        ];
        insta::assert_snapshot!(table(&[good, standing("gpu-buddy", 0), odd]));
    }
}

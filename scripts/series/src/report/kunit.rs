// SPDX-License-Identifier: GPL-2.0

//! The table of KUnit results by series and kernel.

use serde::Serialize;

use crate::{
    checks::every_patch::record::Full,
    patches::output::Report,
    report::status::{SeriesStatus, kunit_text},
};

/// The results by series and kernel. Kernels without a result have no column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KunitTable {
    /// The columns.
    pub kernels: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// The results of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub name: String,
    /// The results by kernel; `None` if the suites did not run on it.
    pub cells: Vec<Option<Cell>>,
}

/// A result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// "21 passed".
    pub text: String,
    /// Whether everything expected ran and passed.
    pub pass: bool,
}

/// A result, with its row and column.
struct Found {
    kernel: String,
    name: String,
    cell: Cell,
}

/// Returns the results for the present state.
pub(super) fn table(statuses: &[SeriesStatus], report: &Report, full: Option<&Full>) -> KunitTable {
    let mut found: Vec<Found> = Vec::new();
    for status in statuses {
        found.extend(status.kunit.iter().map(|k| Found {
            kernel: k.kernel.name().to_owned(),
            name: status.name.clone(),
            cell: Cell {
                text: kunit_text(k),
                pass: k.pass,
            },
        }));
    }
    found.extend(full.into_iter().flat_map(|full| alone(full, report)));
    let mut kernels: Vec<String> = Vec::new();
    for one in &found {
        if !kernels.contains(&one.kernel) {
            kernels.push(one.kernel.clone());
        }
    }
    let cell = |name: &str, kernel: &str| {
        let found = found.iter().find(|f| f.name == name && f.kernel == kernel);
        found.map(|f| f.cell.clone())
    };
    let rows = statuses
        .iter()
        .filter(|s| found.iter().any(|f| f.name == s.name));
    let rows = rows.map(|s| Row {
        name: s.name.clone(),
        cells: kernels.iter().map(|k| cell(&s.name, k)).collect(),
    });
    KunitTable {
        rows: rows.collect(),
        kernels,
    }
}

/// Returns the results of `check --full`, which runs KUnit at the end of each series, without the
/// series above.
fn alone(full: &Full, report: &Report) -> Vec<Found> {
    let of = |s: &crate::checks::every_patch::record::SeriesFull| {
        let kunit = s.kunit.as_ref()?;
        let now = report
            .series
            .iter()
            .any(|r| r.name == s.name && r.tip.tree == kunit.tree);
        let text = match kunit.failed + kunit.crashed {
            0 if kunit.pass => format!("{} passed", kunit.passed),
            0 => format!("{} passed (INCOMPLETE)", kunit.passed),
            n => format!("{} passed, {n} FAILED", kunit.passed),
        };
        now.then(|| Found {
            kernel: format!("{}, the series alone", kunit.arch.name()),
            name: s.name.clone(),
            cell: Cell {
                text,
                pass: kunit.pass,
            },
        })
    };
    full.series.iter().filter_map(of).collect()
}

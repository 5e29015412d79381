// SPDX-License-Identifier: GPL-2.0

//! The table of KUnit results by series and kernel.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    checks::every_patch::record::Full,
    kernel::build::Target,
    patches::output::{Report, SeriesReport},
    report::status::{KunitStatus, SeriesStatus, kunit_text},
};

/// Returns the results for the present state. Kernels without a result have no column.
pub(super) fn table(statuses: &[SeriesStatus], report: &Report, full: Option<&Full>) -> Value {
    let own = statuses.iter().flat_map(|s| {
        let results = s.kunit.iter();
        results.map(|k| (k.kernel.name().to_owned(), &s.name, k.clone()))
    });
    // `check --full` runs KUnit at the end of each series, without the series above.
    let alone = full.into_iter().flat_map(|full| &full.series);
    let alone = alone.filter_map(|series| {
        let kunit = series.kunit.as_ref()?;
        let is_now = |r: &SeriesReport| r.name == series.name && r.tip.tree.as_str() == kunit.tree;
        report.series.iter().find(|r| is_now(r))?;
        let result = KunitStatus {
            kernel: Target::Plain(kunit.arch),
            pass: kunit.pass,
            passed: kunit.passed,
            failed: kunit.failed + kunit.crashed,
            reports: 0,
        };
        let kernel = format!("{}, the series alone", kunit.arch.name());
        Some((kernel, &series.name, result))
    });
    // The name of a kernel, and the results by series.
    let mut columns: Vec<(String, BTreeMap<&str, Value>)> = Vec::new();
    for (kernel, series, result) in own.chain(alone) {
        let cell = json!({ "text": kunit_text(&result), "pass": result.pass });
        match columns.iter_mut().find(|(name, _)| *name == kernel) {
            Some((_, cells)) => drop(cells.insert(series, cell)),
            None => columns.push((kernel, BTreeMap::from([(series.as_str(), cell)]))),
        }
    }
    let mut rows = Vec::new();
    for status in statuses {
        let name = status.name.as_str();
        let cells: Vec<Option<&Value>> = columns.iter().map(|(_, c)| c.get(name)).collect();
        if cells.iter().any(Option::is_some) {
            rows.push(json!({ "name": name, "cells": cells }));
        }
    }
    let kernels: Vec<_> = columns.iter().map(|(kernel, _)| kernel).collect();
    json!({ "kernels": kernels, "rows": rows })
}

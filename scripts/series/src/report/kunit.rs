// SPDX-License-Identifier: GPL-2.0

//! The table of KUnit results by series and kernel.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    checks::every_patch::record::Full,
    kernel::build::Target,
    patches::output::Report,
    report::status::{KunitStatus, SeriesStatus, kunit_text},
};

/// Returns the results for the present state. Kernels without a result have no column.
pub(super) fn table(statuses: &[SeriesStatus], report: &Report, full: Option<&Full>) -> Value {
    // The name of a kernel, and the results by series.
    let mut columns: Vec<(String, BTreeMap<&str, Value>)> = Vec::new();
    let own = statuses.iter().flat_map(|s| {
        let all = s.kunit.iter();
        all.map(|k| (k.kernel.name().to_owned(), &s.name, k.clone()))
    });
    let alone = full.into_iter().flat_map(|full| alone(full, report));
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

/// Returns the results of `check --full`, which runs KUnit at the end of each series, without the
/// series above.
fn alone<'a>(full: &'a Full, report: &Report) -> Vec<(String, &'a String, KunitStatus)> {
    let mut results = Vec::new();
    for series in &full.series {
        let Some(kunit) = &series.kunit else { continue };
        let is_now = |name: &str, tree: &str| name == series.name && tree == kunit.tree;
        if report.series.iter().any(|r| is_now(&r.name, &r.tip.tree)) {
            let kernel = format!("{}, the series alone", kunit.arch.name());
            let result = KunitStatus {
                kernel: Target::Plain(kunit.arch),
                pass: kunit.pass,
                passed: kunit.passed,
                failed: kunit.failed + kunit.crashed,
                reports: 0,
            };
            results.push((kernel, &series.name, result));
        }
    }
    results
}

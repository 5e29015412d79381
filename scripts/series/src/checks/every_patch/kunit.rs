// SPDX-License-Identifier: GPL-2.0

//! KUnit at the end of a series, on the base and its dependencies only.
//!
//! The kernel is the plain one of user-mode Linux, in the tree and the build folder that `test`
//! uses. Both are left with the last tested series.

use serde::{Deserialize, Serialize};

use super::{
    Subject,
    record::KunitFull,
    store::{Key, Unit},
    walk::Walk,
};
use crate::{
    kernel::{
        build::{Arch, Build, CONFIGS, Purpose, Target},
        checkout, kconfig,
        kunit::{self, ktap::Counts},
    },
    patches::commits::AssembledSeries,
    sys::{Result, files::write, json, runner::is_ending},
};

const TARGET: Target = Target::Plain(Arch::Um);

/// The stored result of a run that passed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    record: KunitFull,
    /// The contents of `out/kunit/um-alone/<name>.json`.
    json: String,
    /// The contents of `out/kunit/um-alone/<name>.log`.
    log: String,
}

/// Returns the path of a result below the output folder.
pub fn place(one: &AssembledSeries, ending: &str) -> String {
    format!("kunit/{}-alone/{}.{ending}", TARGET.name(), one.name())
}

/// Whether KUnit runs for a series. A branch has suites only if its manifest lists them.
pub fn runs(subject: &Subject<'_>, one: &AssembledSeries) -> bool {
    let series = one.plan.series();
    let has_suites = !kunit::expectation(series, TARGET.arch()).is_empty();
    subject.archs.contains(&TARGET.arch()) && (series.branch.is_none() || has_suites)
}

/// Runs the tests of a series on its own tree. Only passes are stored, so failures run again.
pub fn at_tip(walk: &mut Walk<'_>, one: &AssembledSeries) -> Result<KunitFull> {
    let subject = walk.subject;
    let unit = unit(subject, one)?;
    if !walk.store.has(&unit) {
        walk.begin(&unit.what, "KUnit at its end", &[&unit]);
    }
    let is_final = |kept: &Kept| kept.record.pass;
    let done = walk.store.result(&unit, is_final, || run(subject, one))?;
    walk.end(&unit.what);
    let done = walk.record(&unit, done)?;
    let out = subject.ws.out()?;
    if !done.log.is_empty() {
        write(&out.join(place(one, "log")), done.log.as_bytes())?;
        write(&out.join(place(one, "json")), done.json.as_bytes())?;
    }
    Ok(done.record)
}

pub fn unit(subject: &Subject<'_>, one: &AssembledSeries) -> Result<Unit> {
    let expected = &one.plan.series().kunit;
    let mut parts = vec![
        "kunit".to_owned(),
        one.tip().tree.to_string(),
        subject.toolchain.rustc.clone(),
    ];
    parts.extend(fragments(subject, one)?);
    parts.extend(subject.toolchain.identity());
    parts.extend([&expected.suites, &expected.um_suites, &expected.doctests].map(|n| n.join(" ")));
    Ok(Unit {
        what: format!("{} kunit", one.name()),
        key: Key::of(parts),
    })
}

fn run(subject: &Subject<'_>, one: &AssembledSeries) -> Result<Kept> {
    let tip = one.tip();
    let fragment = subject.cache.of_base(format!("full/{}.config", one.name()));
    write(&fragment, own_config(subject, one)?.as_bytes())?;
    let build = Build {
        runner: subject.git.runner(),
        ws: subject.ws,
        cache: subject.cache,
        toolchain: subject.toolchain,
        target: TARGET,
        purpose: Purpose::SingleSeries(fragment),
        ui: subject.ui,
    };
    let _lock = (subject.lock_tree)()?;
    checkout::check_out(subject.git, tip, subject.ui)?;
    let record = |pass, counts: Counts, errors| KunitFull {
        arch: TARGET.arch(),
        tree: tip.tree.to_string(),
        pass,
        passed: counts.passed,
        failed: counts.failed,
        crashed: counts.crashed,
        skipped: counts.skipped,
        errors,
    };
    let is_built = build.is_current(tip)? && build.check_config().is_ok();
    if !is_built && let Err(error) = build.build(tip) {
        if is_ending() {
            return Err(error);
        }
        return Ok(Kept {
            record: record(false, Counts::default(), vec![error.to_string()]),
            json: String::new(),
            log: String::new(),
        });
    }
    let series = one.plan.series();
    let expected = kunit::expectation(series, TARGET.arch());
    let done = kunit::run(&build, series, &expected, tip.tree.as_str())?;
    let json = String::from_utf8_lossy(&json::text(&done)?).into_owned();
    let log = subject.ws.read(subject.ws.below_out(place(one, "log")))?;
    let verdict = done.verdict;
    Ok(Kept {
        record: record(verdict.pass, verdict.counts, verdict.errors),
        json,
        log,
    })
}

/// Returns the fragments of the plain kernel, and the options that the suites of the series need
/// when it is tested alone, from `kunit-configs/alone/`. A later series may make them unnecessary.
fn fragments(subject: &Subject<'_>, one: &AssembledSeries) -> Result<Vec<String>> {
    let ws = subject.ws;
    let mut texts = Vec::new();
    for fragment in TARGET.fragments() {
        texts.push(ws.read(ws.place(CONFIGS, fragment))?);
    }
    let alone = ws.place(CONFIGS, format!("alone/{}.config", one.name()));
    let own = ws.path(&alone).exists().then(|| ws.read(&alone));
    texts.push(own.transpose()?.unwrap_or_default());
    Ok(texts)
}

/// Returns the fragments without the options that later series add.
fn own_config(subject: &Subject<'_>, one: &AssembledSeries) -> Result<String> {
    let there = kconfig::options(subject.git, &one.tip().tree, &kconfig::ALL_FILES)?;
    let is_there = |line: &&str| kconfig::enabled(line).is_none_or(|name| there.contains(name));
    let all = fragments(subject, one)?.concat();
    Ok(all.split_inclusive('\n').filter(is_there).collect())
}

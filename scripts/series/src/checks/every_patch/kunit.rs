// SPDX-License-Identifier: GPL-2.0

//! KUnit at the end of a series, on the base and its dependencies only.
//!
//! The kernel is the plain one of user-mode Linux, in the tree and the build folder that `test`
//! uses. Both are left with the last tested series.

use serde::{Deserialize, Serialize};

use super::{
    Subject,
    record::KunitFull,
    store::{Key, Timed},
    walk::Walk,
};
use crate::{
    git::Oid,
    kernel::{
        build::{Arch, Build, CONFIGS, Purpose, Target},
        checkout, kconfig, kunit,
    },
    patches::commits::AssembledSeries,
    sys::{
        error::{Error, Result},
        files::write,
        json::json,
    },
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

/// Returns the name of the job, under which its duration is stored.
pub fn job(one: &AssembledSeries) -> String {
    format!("{} kunit", one.name())
}

/// Whether KUnit runs for a series. A branch has suites only if its manifest lists them.
pub fn has_suites(one: &AssembledSeries) -> bool {
    let series = one.plan.series();
    series.branch.is_none() || !kunit::expectation(series, TARGET.arch()).is_empty()
}

/// Runs the tests of a series on its own tree, unless the result is stored.
///
/// # Errors
///
/// Fails for causes other than patches.
pub fn at_tip(
    subject: &Subject<'_>,
    walk: &mut Walk<'_>,
    one: &AssembledSeries,
) -> Result<KunitFull> {
    let start = std::time::Instant::now();
    let key = key(subject, one)?;
    let known = walk.store.get::<Kept>(&key);
    let cached = known.is_some();
    let timed = match known {
        Some(known) => known,
        None => {
            walk.begin(&job(one), "KUnit at its end");
            let result = run(subject, one)?;
            let timed = Timed {
                seconds: start.elapsed().as_secs_f64(),
                result,
            };
            if timed.result.record.pass {
                // Only passes are stored, so failures run again.
                walk.store.put(&key, &timed)?;
            }
            timed
        }
    };
    walk.done(&job(one), &[(job(one), timed.seconds, cached)])?;
    walk.units.push((job(one), key));
    let dir = subject.ws.out()?.join("kunit").join(alone());
    let kept = timed.result;
    if !kept.log.is_empty() {
        write(
            &dir.join(format!("{}.log", one.name())),
            kept.log.as_bytes(),
        )?;
        write(
            &dir.join(format!("{}.json", one.name())),
            kept.json.as_bytes(),
        )?;
    }
    Ok(kept.record)
}

/// Whether the result is stored.
///
/// # Errors
///
/// The fragment cannot be read.
pub fn is_known(subject: &Subject<'_>, walk: &Walk<'_>, one: &AssembledSeries) -> Result<bool> {
    Ok(walk.store.get::<Kept>(&key(subject, one)?).is_some())
}

fn alone() -> String {
    format!("{}-alone", TARGET.name())
}

/// Returns the hash of the inputs of the unit.
///
/// # Errors
///
/// A fragment cannot be read.
pub fn key(subject: &Subject<'_>, one: &AssembledSeries) -> Result<Key> {
    let expected = &one.plan.series().kunit;
    let mut parts = vec![
        "kunit".to_owned(),
        one.tip().tree.to_string(),
        subject.toolchain.rustc.clone(),
    ];
    for fragment in TARGET.fragments() {
        parts.push(subject.ws.read(subject.ws.place(CONFIGS, fragment))?);
    }
    parts.push(own_fragment(subject, one)?);
    parts.extend(subject.toolchain.identity());
    parts.push(expected.suites.join(" "));
    parts.push(expected.um_suites.join(" "));
    parts.push(expected.doctests.join(" "));
    Ok(Key::of(parts))
}

fn run(subject: &Subject<'_>, one: &AssembledSeries) -> Result<Kept> {
    let tip = one.tip();
    let fragment = subject.cache.of_base(format!("full/{}.config", one.name()));
    write(&fragment, fragment_for(subject, one, &tip.tree)?.as_bytes())?;
    let build = Build {
        runner: subject.runner,
        ws: subject.ws,
        cache: subject.cache,
        toolchain: subject.toolchain,
        target: TARGET,
        purpose: Purpose::SingleSeries(fragment),
        ui: subject.ui,
    };
    let _lock = (subject.lock_tree)()?;
    checkout::check_out(subject.git, tip, subject.ui)?;
    let built = match build.is_current(tip)? && build.check_config().is_ok() {
        true => Ok(Vec::new()),
        false => build.build(tip),
    };
    let mut record = KunitFull {
        arch: TARGET.arch(),
        tree: tip.tree.to_string(),
        pass: false,
        passed: 0,
        failed: 0,
        crashed: 0,
        skipped: 0,
        errors: Vec::new(),
    };
    if let Err(error) = built {
        if crate::sys::runner::is_ending() {
            return Err(error);
        }
        record.errors.push(error.to_string());
        return Ok(Kept {
            record,
            json: String::new(),
            log: String::new(),
        });
    }
    let series = one.plan.series();
    let expected = kunit::expectation(series, TARGET.arch());
    let done = kunit::run(subject.ws, &build, series, &expected, tip.tree.as_str())?;
    let verdict = &done.verdict;
    record.pass = verdict.pass;
    record.passed = verdict.counts.passed;
    record.failed = verdict.counts.failed;
    record.crashed = verdict.counts.crashed;
    record.skipped = verdict.counts.skipped;
    record.errors = verdict.errors.clone();
    let log = subject.ws.path(subject.ws.below_out(format!(
        "kunit/{}/{}.log",
        alone(),
        one.name()
    )));
    Ok(Kept {
        json: String::from_utf8_lossy(&json(&done)?).into_owned(),
        log: std::fs::read_to_string(&log).map_err(|e| Error::io("read", &log, &e))?,
        record,
    })
}

/// Returns the options that the suites of a series need when it is tested alone, from
/// `kunit-configs/alone/`. A later series may make them unnecessary.
fn own_fragment(subject: &Subject<'_>, one: &AssembledSeries) -> Result<String> {
    let fragment = format!("alone/{}.config", one.name());
    let fragment = subject.ws.place(CONFIGS, fragment);
    match subject.ws.path(&fragment).exists() {
        true => subject.ws.read(&fragment),
        false => Ok(String::new()),
    }
}

/// Returns the fragment of the plain kernel without the options that later series add.
fn fragment_for(subject: &Subject<'_>, one: &AssembledSeries, tree: &Oid) -> Result<String> {
    let mut text = String::new();
    for fragment in TARGET.fragments() {
        text.push_str(&subject.ws.read(subject.ws.place(CONFIGS, fragment))?);
    }
    text.push_str(&own_fragment(subject, one)?);
    let there = kconfig::options(subject.git, tree, &kconfig::ALL_FILES)?;
    Ok(text
        .split_inclusive('\n')
        .filter(|line| kconfig::enabled(line).is_none_or(|name| there.contains(name)))
        .collect())
}

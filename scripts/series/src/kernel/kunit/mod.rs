// SPDX-License-Identifier: GPL-2.0

//! Runs the tests of a component and evaluates the kernel's log.

mod boot;
pub mod filter;
pub mod ktap;
mod probe;
pub mod verdict;
pub mod watch;

use std::{fs, time::Duration};

use serde::{Deserialize, Serialize};

use self::{
    boot::{Boot, put_first, without_kvm},
    ktap::Log,
    verdict::{Expectation, Verdict},
    watch::Watch,
};
use crate::{
    kernel::build::{Arch, Build, Target},
    source::{manifest::Series, relocation::Step, workspace::Workspace},
    sys::{Error, Output, Result, files::write, json, plural::count},
};

/// The time limit of one boot. QEMU without KVM is slow.
const TIMEOUT: Duration = Duration::from_secs(900);

/// `out/kunit/<kernel>/<name>.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    pub name: String,
    pub base: String,
    pub kernel: Target,
    pub arch: Arch,
    /// The tree that the kernel was built from.
    pub tree: String,
    #[serde(flatten)]
    pub verdict: Verdict,
    #[serde(flatten)]
    pub watch: Watch,
}

impl Record {
    /// Returns one line: `14 passed, 2 failed`, and the number of reports of the checkers.
    pub fn summary(&self) -> String {
        let tests = self.verdict.summary();
        match self.watch.reports.len() {
            0 if self.watch.errors.is_empty() => tests,
            0 => format!("{tests}, but the checkers were not on throughout"),
            n => format!(
                "{tests}, {} of the kernel's checkers",
                count(n, "report", "reports")
            ),
        }
    }
}

/// The part of a [`Record`] that tables show.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Summary {
    /// The tree that the kernel was built from.
    pub tree: String,
    /// Whether every expected test ran and passed.
    pub pass: bool,
    pub passed: u64,
    pub failed: u64,
    /// The number of tests that crashed or never reported.
    pub crashed: u64,
    pub skipped: u64,
    /// Reports of the kernel's checkers, of which tables show the number.
    #[serde(default)]
    pub reports: Vec<serde::de::IgnoredAny>,
}

/// Returns the tests of a series that a kernel of this architecture has to run.
pub fn expectation(series: &Series, arch: Arch) -> Expectation {
    let mut suites = series.kunit.suites.clone();
    if arch == Arch::Um {
        suites.extend_from_slice(&series.kunit.um_suites);
    }
    let doctests = series.kunit.doctests.clone();
    Expectation { suites, doctests }
}

/// Returns the tests of a series in a tree with later relocation steps.
pub fn expectation_after(series: &Series, arch: Arch, steps: &[&Step]) -> Expectation {
    let mut expected = expectation(series, arch);
    for step in steps {
        for suite in &mut expected.suites {
            *suite = step.rename(suite);
        }
        for file in &mut expected.doctests {
            if let Some(to) = step.moves.get(file) {
                file.clone_from(to);
            }
        }
    }
    expected
}

/// Returns a filter for each suite, and one for the doctests. KUnit accepts one for each boot.
pub fn filters(expected: &Expectation) -> Vec<String> {
    let mut filters = expected.suites.clone();
    let names = expected.doctests.iter().map(|f| verdict::doctest_prefix(f));
    let prefix = names.reduce(|a, b| {
        let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b);
        same.map(|(c, _)| c).collect()
    });
    filters.extend(prefix.map(|prefix| format!("{}.{prefix}*", verdict::DOCTEST_SUITE)));
    filters
}

/// Records the verdict on the `expected` tests in `out/kunit/`. Failed tests are not an error.
pub fn run(
    build: &Build<'_>,
    series: &Series,
    expected: &Expectation,
    tree: &str,
) -> Result<Record> {
    let boots = match build.target {
        Target::Plain(_) => by_kunit_py(build, &filters(expected))?,
        Target::Hardened | Target::Lockdep => with_probe(build, &filters(expected))?,
    };
    let record = Record {
        name: series.name.to_string(),
        base: build.ws.view().name().to_owned(),
        kernel: build.target,
        arch: build.target.arch(),
        tree: tree.to_owned(),
        verdict: boots.judge(&ktap::parse(&boots.log), expected),
        watch: boots.watch,
    };
    let dir = build.ws.out()?.join("kunit").join(build.results());
    write(&dir.join(format!("{}.log", series.name)), &boots.log)?;
    json::write(&dir.join(format!("{}.json", series.name)), &record)?;
    Ok(record)
}

/// Boots the built kernel once for each filter, without a record. `expected` returns the tests that
/// must be in the log. Returns the verdict and the log. Failed tests are not an error.
pub fn try_out(
    build: &Build<'_>,
    filters: &[String],
    expected: impl FnOnce(&Log) -> Expectation,
) -> Result<(Verdict, Vec<u8>)> {
    let boots = by_kunit_py(build, filters)?;
    let log = ktap::parse(&boots.log);
    Ok((boots.judge(&log, &expected(&log)), boots.log))
}

#[derive(Default)]
struct Boots {
    /// The joined logs of the kernels.
    log: Vec<u8>,
    /// Errors outside of the logs, one sentence each.
    complaints: Vec<String>,
    watch: Watch,
}

impl Boots {
    /// Judges the parsed log. Tests pass only if nothing else is wrong.
    fn judge(&self, log: &Log, expected: &Expectation) -> Verdict {
        let mut verdict = verdict::judge(log, expected);
        verdict.errors.extend_from_slice(&self.complaints);
        verdict.errors.extend(self.watch.complaints());
        verdict.pass = verdict.errors.is_empty();
        verdict
    }
}

fn by_kunit_py(build: &Build<'_>, filters: &[String]) -> Result<Boots> {
    let mut boots = Boots::default();
    let test_log = build.dir().join("test.log");
    let front = without_kvm(build)?;
    for filter in filters {
        // Removes the log of an earlier boot, so that it cannot count for this one.
        let _ = fs::remove_file(&test_log);
        let mut cmd = build
            .kunit("exec")
            .arg(format!("--timeout={}", TIMEOUT.as_secs()))
            .args(build.boot_args())
            .arg(filter)
            .timeout(TIMEOUT + Duration::from_secs(60));
        if let Some(front) = &front {
            cmd = put_first(front, cmd);
        }
        let out = build.runner.run(&cmd)?;
        let text = fs::read(&test_log).unwrap_or_default();
        let faults = [(text.is_empty(), "wrote no log"), (!out.ok(), "failed")];
        for (_, what) in faults.into_iter().filter(|(is, _)| *is) {
            let error = format!("kunit.py {what} for {filter}: {}", last_line(&out));
            boots.complaints.push(error);
        }
        boots.log.extend(text);
    }
    Ok(boots)
}

/// Boots a kernel with checkers and the probe.
fn with_probe(build: &Build<'_>, filters: &[String]) -> Result<Boots> {
    let mut boots = Boots::default();
    let boot = Boot {
        initrd: probe::make(build)?,
        front: without_kvm(build)?,
    };
    for filter in filters {
        build.ui.say(format!("  {filter} …"));
        let out = build
            .runner
            .run(&boot.command(build.target, &build.image(), filter))?;
        if out.timed_out {
            let minutes = boot::TIMEOUT.as_secs() / 60;
            boots.complaints.push(format!(
                "the kernel was stopped after {minutes} min in the tests {filter}"
            ));
        } else if out.stdout.is_empty() {
            let last = last_line(&out);
            let error = format!("the kernel wrote nothing for {filter}: {last}");
            boots.complaints.push(error);
        }
        let before = boots.log.iter().filter(|b| **b == b'\n').count();
        let seen = watch::watch(build.target, &out.stdout, before);
        boots.watch.add(seen);
        boots.log.extend(out.stdout);
        if !boots.log.ends_with(b"\n") {
            boots.log.push(b'\n');
        }
    }
    Ok(boots)
}

fn last_line(out: &Output) -> String {
    let (complaint, text) = (out.complaint(), out.text());
    let last = complaint.lines().last().or(text.lines().last());
    last.unwrap_or("it printed nothing").to_owned()
}

pub fn recorded(ws: &Workspace, target: Target, name: &str) -> Option<Summary> {
    json::read(&ws.path(ws.below_out(format!("kunit/{}/{name}.json", target.name()))))
}

pub fn failure(ws: &Workspace, records: &[Record]) -> Option<Error> {
    let bad = records.iter().filter(|r| !r.verdict.pass);
    let errors = bad.map(|record| {
        let (name, kernel, summary) = (&record.name, record.kernel.name(), record.summary());
        let log = ws.below_out(format!("kunit/{kernel}/{name}.log"));
        Error::new(format!("KUnit of {name} on {kernel}: {summary}"))
            .detail(record.verdict.errors.join("\n"))
            .help(format!("the kernel's log is {}", log.display()))
    });
    Error::all(errors).err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_pick_suites_and_doctests() {
        let expected = Expectation {
            suites: vec!["rust_clist".into()],
            doctests: vec![
                "rust/kernel/interop/list.rs".into(),
                "rust/kernel/interop/list/owned.rs".into(),
            ],
        };
        assert_eq!(
            filters(&expected),
            [
                "rust_clist",
                "rust_doctests_kernel.rust_doctest_kernel_interop_list_*"
            ]
        );
        assert!(filters(&Expectation::default()).is_empty());
    }

    #[test]
    fn um_suites_only_on_um() {
        let text = "version = 1\nchange-id = \"20260102-x\"\n[kunit]\nsuites = [\"a\"]\n\
                    um-suites = [\"b\"]\n";
        let series = Series::parse("x", "series/x.toml".as_ref(), text).unwrap();
        assert_eq!(expectation(&series, Arch::Um).suites, ["a", "b"]);
        assert_eq!(expectation(&series, Arch::X86_64).suites, ["a"]);
    }

    #[test]
    fn expectation_after_renames_suites() {
        let text = "version = 1\nchange-id = \"20260102-x\"\n[kunit]\nsuites = [\"drm_buddy\", \
                    \"other\"]\ndoctests = [\"a/b.rs\"]\n";
        let series = Series::parse("fixes", "series/fixes.toml".as_ref(), text).unwrap();
        let steps = "[[step]]\nname = \"files\"\nmove = { \"a/b.rs\" = \"c/d.rs\" }\n\
                     [[step]]\nname = \"symbols\"\nfiles = [\"x.c\"]\n\
                     part = { drm_buddy = \"gpu_buddy\" }\n";
        let steps = crate::source::relocation::read("relocation.toml".as_ref(), steps).unwrap();
        let steps: Vec<&Step> = steps.iter().collect();
        let expected = expectation_after(&series, Arch::Um, &steps);
        assert_eq!(expected.suites, ["gpu_buddy", "other"]);
        assert_eq!(expected.doctests, ["c/d.rs"]);
        assert_eq!(
            expectation_after(&series, Arch::Um, &[]),
            expectation(&series, Arch::Um)
        );
    }

    #[test]
    fn record_failure_in_any_boot_counts() {
        let boot = |suite: &str, result: &str| {
            format!(
                "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: {suite}\n    1..1\n    \
                 {result} 1 x\n{result} 1 {suite}\nreboot: System halted\n"
            )
        };
        let expected = Expectation {
            suites: vec!["a".into(), "b".into()],
            doctests: Vec::new(),
        };
        let pass = |boots: [String; 2]| {
            let log = ktap::parse(boots.concat().as_bytes());
            verdict::judge(&log, &expected).pass
        };
        assert!(pass([boot("a", "ok"), boot("b", "ok")]));
        assert!(!pass([boot("a", "ok"), boot("b", "not ok")]));
        assert!(!pass([boot("a", "ok"), boot("a", "ok")]), "b did not run");
    }
}

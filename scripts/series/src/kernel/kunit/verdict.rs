// SPDX-License-Identifier: GPL-2.0

//! The verdict on a component: whether all expected tests ran and passed.
//!
//! A log without failures is not sufficient. Tests vanish silently if KUnit is a module, a filter
//! matches nothing, or a `mod` line is missing. A component therefore names its suites and the
//! files with its doctests, and each of them must have run at least one test that was not skipped.

use std::fmt;

use serde::Serialize;

use super::ktap::{Counts, Event, Log, Outcome, Status, Test, best, is_number};
use crate::sys::plural::count;

/// The suite with the doctests of the `kernel` crate.
pub const DOCTEST_SUITE: &str = "rust_doctests_kernel";

/// The tests that a component must run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Expectation {
    pub suites: Vec<String>,
    /// Source files whose doctests must run, with their paths in the kernel tree.
    pub doctests: Vec<String>,
}

impl Expectation {
    pub fn is_empty(&self) -> bool {
        self.suites.is_empty() && self.doctests.is_empty()
    }
}

/// The results of an expected suite or doctest file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The name of the suite, or the path of the file.
    pub name: String,
    /// Whether at least one of its tests ran and was not skipped.
    pub ran: bool,
    #[serde(flatten)]
    pub counts: Counts,
}

impl Entry {
    /// Counts the tests of some suites that are `ours`, according to the case that contains them.
    fn new<'a>(
        name: &str,
        suites: impl Iterator<Item = &'a Test>,
        ours: impl Fn(Option<&Test>) -> bool,
    ) -> Self {
        let (mut ran, mut counts) = (false, Counts::default());
        for outcome in suites.flat_map(Test::outcomes).filter(|o| ours(o.top)) {
            counts.add(outcome.status, outcome.count);
            ran |= outcome.top.is_some() && outcome.status != Status::Skipped;
        }
        let name = name.to_owned();
        Self { name, ran, counts }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    pub suite: String,
    /// The case, with the parameter after a `/`; `#number` for a test that crashed before it
    /// printed its name. Empty if the suite itself failed.
    pub case: String,
    /// Failed or crashed.
    pub status: Status,
    /// The number of tests: 1 except for missing tests.
    pub count: u64,
    /// Whether these tests never reported.
    pub missing: bool,
    /// The file of the failed assertion, or of the doctest.
    pub file: Option<String>,
    pub line: Option<u64>,
    /// The reason in one line.
    pub message: String,
    pub diagnostics: Vec<String>,
    /// The line of the result in the log, or of the crash; `None` if the log has neither.
    pub log_line: Option<usize>,
}

/// A kernel warning in one of the component's tests. It does not change the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    pub suite: String,
    /// The case, with the parameter after a `/`.
    pub case: String,
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether all expected tests ran, and none failed or crashed.
    pub pass: bool,
    /// The results of the component's tests. Each parameter counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// The reasons why the verdict is not a pass, one sentence each.
    pub errors: Vec<String>,
    pub failures: Vec<Failure>,
    /// Expected suites without a test that ran.
    pub missing_suites: Vec<String>,
    /// Files without a doctest that ran.
    pub missing_doctests: Vec<String>,
    pub suites: Vec<Entry>,
    pub doctests: Vec<Entry>,
    /// Crashes outside of all suites. Their cause is unknown, so every component fails.
    pub kernel_crashes: Vec<Event>,
    pub warnings: Vec<Warning>,
    /// Whether the log ends before every announced test has reported.
    pub truncated: bool,
    /// KUnit's own messages, and irregularities of the log.
    pub notes: Vec<String>,
}

pub fn judge(log: &Log, expected: &Expectation) -> Verdict {
    let suites = expected.suites.iter();
    let suites = suites.map(|name| Entry::new(name, log.suite(name), |_| true));
    let doctests = expected.doctests.iter().map(|file| {
        let ours = |case: Option<&Test>| case.is_some_and(|case| is_doctest_of(case, file));
        Entry::new(file, log.suite(DOCTEST_SUITE), ours)
    });
    let mut verdict = Verdict {
        suites: suites.collect(),
        doctests: doctests.collect(),
        kernel_crashes: log.crashes.clone(),
        truncated: log.truncated,
        notes: log.notes.clone(),
        ..Verdict::default()
    };
    let missing = |entries: &[Entry]| {
        let missing = entries.iter().filter(|entry| !entry.ran);
        missing.map(|entry| entry.name.clone()).collect()
    };
    verdict.missing_suites = missing(&verdict.suites);
    verdict.missing_doctests = missing(&verdict.doctests);

    for suite in &log.suites {
        let whole = expected.suites.contains(&suite.name);
        if !whole && (suite.name != DOCTEST_SUITE || expected.doctests.is_empty()) {
            continue;
        }
        // Cases that never reported may belong to any component.
        let ours = |case: Option<&Test>| {
            whole || case.is_none_or(|c| expected.doctests.iter().any(|f| is_doctest_of(c, f)))
        };
        for outcome in suite.outcomes().iter().filter(|o| ours(o.top)) {
            verdict.counts.add(outcome.status, outcome.count);
            if outcome.status.is_bad() {
                verdict.failures.push(Failure::new(suite, outcome));
            }
        }
        verdict.warn(suite, "", suite);
        for case in suite.tests.iter().filter(|case| ours(Some(case))) {
            verdict.warn(suite, &case.name, case);
            for test in &case.tests {
                verdict.warn(suite, &format!("{}/{}", case.name, test.name), test);
            }
        }
    }

    verdict.explain(log, expected);
    verdict.pass = verdict.errors.is_empty();
    verdict
}

/// Whether a case of [`DOCTEST_SUITE`] is a doctest of `file`, according to its location or, if it
/// did not run and has none, its name.
fn is_doctest_of(case: &Test, file: &str) -> bool {
    let file = file.trim_start_matches("./");
    if let Some(location) = &case.location {
        return location.file == file;
    }
    let rest = case.name.strip_prefix(&doctest_prefix(file));
    let number = rest.and_then(|rest| rest.strip_prefix('_'));
    number.is_some_and(is_number)
}

pub(super) fn doctest_prefix(file: &str) -> String {
    let below = file.strip_prefix("rust/kernel/").unwrap_or(file);
    let below = below.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("rust_doctest_kernel_{below}")
}

impl Verdict {
    /// Returns one line: `14 passed, 2 failed, 1 skipped`.
    pub fn summary(&self) -> String {
        let counts = [
            (self.counts.passed, "passed"),
            (self.counts.failed, "failed"),
            (self.counts.crashed, "crashed"),
            (self.counts.skipped, "skipped"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let parts: Vec<_> = counts.map(|(count, is)| format!("{count} {is}")).collect();
        if parts.is_empty() {
            return "no test ran".to_owned();
        }
        parts.join(", ")
    }

    fn warn(&mut self, suite: &Test, case: &str, test: &Test) {
        let warnings = test.warnings.iter().map(|event| Warning {
            suite: suite.name.clone(),
            case: case.to_owned(),
            event: event.clone(),
        });
        self.warnings.extend(warnings);
    }

    fn explain(&mut self, log: &Log, expected: &Expectation) {
        let errors = &mut self.errors;
        if expected.is_empty() {
            let error = "no suite and no doctest file is expected, so the run proves nothing";
            errors.push(error.to_owned());
        }
        if !log.started {
            return errors.push(not_started(log));
        }
        if log.suites.is_empty() && log.missing == 0 {
            let error = "KUnit ran, but no test did: the filter matched nothing, or the kernel has \
                         no tests";
            return errors.push(error.to_owned());
        }
        errors.extend(log.crashes.iter().map(|crash| {
            format!(
                "the kernel crashed outside every suite: {} (line {} of the log)",
                crash.message, crash.log_line
            )
        }));
        errors.extend(self.failures.iter().map(Failure::to_string));
        // The failures include a suite that failed before its first case.
        let failed = |name: &String| self.failures.iter().any(|f| f.suite == *name);
        let missing = self.suites.iter().filter(|e| !e.ran && !failed(&e.name));
        errors.extend(missing.map(|entry| missing_suite(log, entry)));
        let missing = self.doctests.iter().filter(|e| !e.ran);
        errors.extend(missing.map(|entry| missing_doctests(log, entry)));
    }
}

/// Returns the reason why a log contains no KTAP.
fn not_started(log: &Log) -> String {
    if let Some(crash) = best(&log.crashes) {
        format!("the kernel crashed before any test ran: {}", crash.message)
    } else if let Some(note) = log.notes.first() {
        format!("no test ran: the kernel reports \"{note}\"")
    } else {
        "no test ran: the log has no KTAP output (the kernel did not boot that far, or KUNIT is \
         off or a module)"
            .to_owned()
    }
}

fn missing_suite(log: &Log, entry: &Entry) -> String {
    let name = &entry.name;
    let Some(suite) = log.suite(name).next() else {
        return match log.break_off() {
            Some(place) => format!("suite {name} did not run: the log ends {place}"),
            None => format!(
                "suite {name} did not run (the kernel was built without it, or KUNIT is a module)"
            ),
        };
    };
    if entry.counts.skipped == 0 {
        return format!("suite {name} reported, but none of its cases ran");
    }
    let skipped = count(entry.counts.skipped, "test", "tests");
    let mut all = [suite].into_iter().chain(&suite.tests);
    match all.find_map(|test| test.reason.as_deref()) {
        Some(reason) => format!("suite {name} ran no case: {skipped} skipped ({reason})"),
        None => format!("suite {name} ran no case: {skipped} skipped"),
    }
}

fn missing_doctests(log: &Log, entry: &Entry) -> String {
    let why = if entry.counts.skipped > 0 {
        let skipped = count(entry.counts.skipped, "test", "tests");
        format!(": {skipped} skipped")
    } else if let Some(place) = log.break_off() {
        format!(": the log ends {place}")
    } else if log.suite(DOCTEST_SUITE).next().is_none() {
        format!(
            ": suite {DOCTEST_SUITE} is missing (RUST_KERNEL_DOCTESTS is off, KUNIT is a module, \
             or the filter excludes it)"
        )
    } else {
        ", but others did (the file is not part of the kernel crate, has no public example, or \
         the filter excludes it)"
            .to_owned()
    };
    format!("no doctest of {} ran{why}", entry.name)
}

impl Failure {
    fn new(suite: &Test, outcome: &Outcome<'_>) -> Self {
        let test = outcome.test;
        let crash = best(&test.crashes).filter(|_| !outcome.missing);
        let place = test.failed_at.first().or(test.location.as_ref());
        let (file, line) = place.map(|p| (p.file.clone(), p.line)).unzip();
        let message = if outcome.missing {
            let seen = test.tests.len() as u64;
            let all = test.plan.unwrap_or(test.missing.saturating_add(seen));
            let all = count(all, "test", "tests");
            format!("{} of its {all} never reported", test.missing)
        } else if let Some(crash) = crash {
            crash.message.clone()
        } else {
            reason(test)
        };
        let log_line = match test.log_line {
            0 => crash.map(|crash| crash.log_line),
            line => Some(line),
        };
        Failure {
            suite: suite.name.clone(),
            case: outcome.path.clone(),
            status: outcome.status,
            count: outcome.count,
            missing: outcome.missing,
            file,
            line,
            message,
            diagnostics: test.diagnostics.clone(),
            log_line,
        }
    }
}

/// Returns the reason for a failure, if the diagnostics contain one.
fn reason(test: &Test) -> String {
    let lines = || test.diagnostics.iter().map(|line| line.trim());
    let expected = lines().find(|line| line.starts_with("Expected "));
    // `# name: message`; a line that only counts results is not a reason.
    let said = || {
        lines().find_map(|line| {
            let rest = line.strip_prefix("# ")?.split_once(": ")?.1;
            let rest = rest.trim_start_matches(['#', ' ']);
            (!rest.starts_with("pass:")).then_some(rest)
        })
    };
    let none = match test.log_line {
        0 => "it never reported its result",
        _ => "it printed no reason",
    };
    expected.or_else(said).unwrap_or(none).to_owned()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.case.as_str() {
            "" => format!("suite {}", self.suite),
            case if case.starts_with('#') => format!("test {case} of suite {}", self.suite),
            case => format!("{}.{case}", self.suite),
        };
        if self.missing {
            return write!(f, "{name}: {}", self.message);
        }
        let crashed = self.status == Status::Crashed;
        write!(f, "{name} {}", if crashed { "crashed" } else { "failed" })?;
        if let (Some(file), Some(line)) = (&self.file, self.line) {
            write!(f, " at {file}:{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The verdict on a component: whether all expected tests ran and passed.
//!
//! A log without failures is not sufficient. Tests vanish silently if KUnit is a module, a filter
//! matches nothing, or a `mod` line is missing. A component therefore names its suites and the
//! files with its doctests, and each of them must have run at least one test that was not skipped.

use super::ktap::{Counts, Event, Location, Log, Outcome, Status, Test};
use serde::Serialize;

/// The suite with the doctests of the `kernel` crate.
pub const DOCTEST_SUITE: &str = "rust_doctests_kernel";

/// The tests that a component must run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Expectation {
    /// The names of the suites.
    pub suites: Vec<String>,
    /// Source files whose doctests must run, with their paths in the kernel tree.
    pub doctests: Vec<String>,
}

impl Expectation {
    /// Whether no test is expected.
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

/// A test that failed or crashed.
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
    /// The line in that file.
    pub line: Option<u64>,
    /// The reason in one line.
    pub message: String,
    /// The output of the test.
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
    /// The warning of the kernel.
    #[serde(flatten)]
    pub event: Event,
}

/// The verdict on a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether all expected tests ran, and none failed or crashed.
    pub pass: bool,
    /// The results of the component's tests. Each parameter counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// The reasons why the verdict is not a pass, one sentence each.
    pub errors: Vec<String>,
    /// Tests that failed or crashed.
    pub failures: Vec<Failure>,
    /// Expected suites without a test that ran.
    pub missing_suites: Vec<String>,
    /// Files without a doctest that ran.
    pub missing_doctests: Vec<String>,
    /// The results of each expected suite.
    pub suites: Vec<Entry>,
    /// The results of each expected doctest file.
    pub doctests: Vec<Entry>,
    /// Crashes outside of all suites. Their cause is unknown, so every component fails.
    pub kernel_crashes: Vec<Event>,
    /// Kernel warnings in the component's tests.
    pub warnings: Vec<Warning>,
    /// Whether the log ends before every announced test has reported.
    pub truncated: bool,
    /// KUnit's own messages, and irregularities of the log.
    pub notes: Vec<String>,
}

impl Verdict {
    /// Returns one line: `14 passed, 2 failed, 1 skipped`.
    pub fn summary(&self) -> String {
        let counts = &self.counts;
        let parts: Vec<String> = [
            (counts.passed, "passed"),
            (counts.failed, "failed"),
            (counts.crashed, "crashed"),
            (counts.skipped, "skipped"),
        ]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        if parts.is_empty() {
            "no test ran".to_string()
        } else {
            parts.join(", ")
        }
    }
}

/// Evaluates a log for a component.
pub fn judge(log: &Log, expected: &Expectation) -> Verdict {
    let mut verdict = Verdict {
        pass: false,
        counts: Counts::default(),
        errors: Vec::new(),
        failures: Vec::new(),
        missing_suites: Vec::new(),
        missing_doctests: Vec::new(),
        suites: Vec::new(),
        doctests: Vec::new(),
        kernel_crashes: log.crashes.clone(),
        warnings: Vec::new(),
        truncated: log.truncated,
        notes: log.notes.clone(),
    };

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
    let Some(below) = file.strip_prefix("rust/kernel/") else {
        return false;
    };
    let name: String = below
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    case.name
        .strip_prefix("rust_doctest_kernel_")
        .and_then(|rest| rest.strip_prefix(name.as_str()))
        .and_then(|rest| rest.strip_prefix('_'))
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// `1 test`, `2 tests`.
fn tests(count: u64) -> String {
    format!("{count} test{}", if count == 1 { "" } else { "s" })
}

impl Verdict {
    fn warn(&mut self, suite: &Test, case: &str, test: &Test) {
        let warnings = test.warnings.iter().map(|event| Warning {
            suite: suite.name.clone(),
            case: case.to_string(),
            event: event.clone(),
        });
        self.warnings.extend(warnings);
    }

    fn explain(&mut self, log: &Log, expected: &Expectation) {
        for name in &expected.suites {
            let mut counts = Counts::default();
            let mut ran = false;
            for outcome in log.suite(name).flat_map(Test::outcomes) {
                counts.add(outcome.status, outcome.count);
                ran |= outcome.top.is_some() && outcome.status != Status::Skipped;
            }
            self.suites.push(Entry {
                name: name.clone(),
                ran,
                counts,
            });
        }
        let doctests = || log.suite(DOCTEST_SUITE).flat_map(|suite| &suite.tests);
        for file in &expected.doctests {
            let mut counts = Counts::default();
            for case in doctests().filter(|case| is_doctest_of(case, file)) {
                for outcome in case.outcomes() {
                    counts.add(outcome.status, outcome.count);
                }
            }
            self.doctests.push(Entry {
                name: file.clone(),
                ran: counts.ran() > 0,
                counts,
            });
        }
        let names = |entries: &[Entry]| {
            let missing = entries.iter().filter(|entry| !entry.ran);
            missing.map(|entry| entry.name.clone()).collect()
        };
        self.missing_suites = names(&self.suites);
        self.missing_doctests = names(&self.doctests);

        if expected.is_empty() {
            let error = "no suite and no doctest file is expected, so the run proves nothing";
            self.errors.push(error.to_string());
        }
        if !log.started {
            return self.errors.push(not_started(log));
        }
        if log.suites.is_empty() && log.missing == 0 {
            let error = "KUnit ran, but no test did: the filter matched nothing, or the kernel has no tests";
            return self.errors.push(error.to_string());
        }
        for crash in &log.crashes {
            self.errors.push(format!(
                "the kernel crashed outside every suite: {} (line {} of the log)",
                crash.message, crash.log_line
            ));
        }
        self.errors
            .extend(self.failures.iter().map(|f| f.to_string()));
        for entry in self.suites.iter().filter(|entry| !entry.ran) {
            // The failures include a suite that failed before its first case.
            let failed = self.failures.iter().any(|f| f.suite == entry.name);
            if !failed {
                self.errors.push(missing_suite(log, entry));
            }
        }
        for entry in self.doctests.iter().filter(|entry| !entry.ran) {
            self.errors.push(missing_doctests(log, entry));
        }
    }
}

/// Returns the reason why a log contains no KTAP.
fn not_started(log: &Log) -> String {
    let crash = log
        .crashes
        .iter()
        .find(|e| !e.message.starts_with("Pid: "))
        .or(log.crashes.first());
    if let Some(crash) = crash {
        format!("the kernel crashed before any test ran: {}", crash.message)
    } else if let Some(note) = log.notes.first() {
        format!("no test ran: the kernel reports \"{note}\"")
    } else {
        "no test ran: the log has no KTAP output (the kernel did not boot that far, or KUNIT is off \
         or a module)"
            .to_string()
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
    let reason = std::iter::once(suite)
        .chain(&suite.tests)
        .find_map(|test| test.reason.as_deref());
    format!(
        "suite {name} ran no case: {} skipped{}",
        tests(entry.counts.skipped),
        reason.map(|r| format!(" ({r})")).unwrap_or_default()
    )
}

fn missing_doctests(log: &Log, entry: &Entry) -> String {
    let file = &entry.name;
    if entry.counts.skipped > 0 {
        let skipped = tests(entry.counts.skipped);
        return format!("no doctest of {file} ran: {skipped} skipped");
    }
    if let Some(place) = log.break_off() {
        return format!("no doctest of {file} ran: the log ends {place}");
    }
    if log.suite(DOCTEST_SUITE).next().is_none() {
        return format!(
            "no doctest of {file} ran: suite {DOCTEST_SUITE} is missing (RUST_KERNEL_DOCTESTS is \
             off, KUNIT is a module, or the filter excludes it)"
        );
    }
    format!(
        "no doctest of {file} ran, but others did (the file is not part of the kernel crate, has \
         no public example, or the filter excludes it)"
    )
}

impl Failure {
    fn new(suite: &Test, outcome: &Outcome<'_>) -> Self {
        let test = outcome.test;
        let crash = test.crash().filter(|_| !outcome.missing);
        let place: Option<&Location> = test.failed_at.first().or(test.location.as_ref());
        let message = if outcome.missing {
            let seen = test.tests.len() as u64;
            let all = test.plan.unwrap_or(test.missing.saturating_add(seen));
            format!("{} of its {} never reported", test.missing, tests(all))
        } else if let Some(crash) = crash {
            crash.message.clone()
        } else {
            reason(test)
        };
        let log_line = match (test.log_line, crash) {
            (0, Some(crash)) => Some(crash.log_line),
            (0, None) => None,
            (line, _) => Some(line),
        };
        Failure {
            suite: suite.name.clone(),
            case: outcome.path.clone(),
            status: outcome.status,
            count: outcome.count,
            missing: outcome.missing,
            file: place.map(|p| p.file.clone()),
            line: place.map(|p| p.line),
            message,
            diagnostics: test.diagnostics.clone(),
            log_line,
        }
    }
}

/// Returns the reason for a failure, if the diagnostics contain one.
fn reason(test: &Test) -> String {
    let lines = || test.diagnostics.iter().map(|line| line.trim());
    // `# name: message`; a line that only counts results is not a reason.
    let said = |line: &str| {
        let rest = line.strip_prefix("# ")?.split_once(": ")?.1;
        let rest = rest.trim_start_matches(['#', ' ']);
        (!rest.starts_with("pass:")).then(|| rest.to_string())
    };
    let expected = lines().find(|line| line.starts_with("Expected "));
    expected
        .map(str::to_string)
        .or_else(|| lines().find_map(said))
        .unwrap_or_else(|| match test.log_line {
            0 => "it never reported its result".to_string(),
            _ => "it printed no reason".to_string(),
        })
}

impl std::fmt::Display for Failure {
    /// Formats the failure as one sentence.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.case.as_str() {
            "" => format!("suite {}", self.suite),
            case if case.starts_with('#') => format!("test {case} of suite {}", self.suite),
            case => format!("{}.{case}", self.suite),
        };
        if self.missing {
            return write!(f, "{name}: {}", self.message);
        }
        write!(f, "{name} {}", self.status)?;
        if let (Some(file), Some(line)) = (&self.file, self.line) {
            write!(f, " at {file}:{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

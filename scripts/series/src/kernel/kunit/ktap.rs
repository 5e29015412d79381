// SPDX-License-Identifier: GPL-2.0

//! Parser for raw KTAP in the console output of a booting kernel.
//!
//! The input is the console output, byte for byte: kunit.py's `test.log`, of UML or of QEMU, or
//! several logs joined. KTAP lines are mixed with other kernel messages, may have a `dmesg` prefix
//! and a carriage return, and the log may end anywhere. The parser never fails: [`Log::notes`]
//! lists irregularities, and announced tests without a result count as crashed.
//!
//! Nesting follows the column of a line, not a fixed indent: a `KTAP version` or `# Subtest:` line
//! further to the right opens a group, and a result belongs to the open group at exactly its
//! column. Result lines at any other column are not from KUnit and count as diagnostics, so a lost
//! header can turn tests into missing ones, but never into passes.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::LazyLock,
};

use regex::Regex;
use serde::Serialize;

use crate::sys::pattern;

/// The maximum nesting of groups. KUnit has three levels: suites, cases, parameters.
const MAX_DEPTH: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Location {
    /// The path in the kernel tree.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
}

/// `file:line`, with an optional `:column` and further text.
static PLACE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^\s*([^:\s]\S*?):([0-9]+)(?::[0-9]+)?[:!,.]*(?:\s|$)"));

impl Location {
    fn read(text: &str) -> Option<Self> {
        let found = PLACE.captures(text)?;
        let line = found[2].parse().ok()?;
        let file = found[1].to_owned();
        Some(Location { file, line })
    }
}

/// The result of a test, ordered by severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `ok`.
    #[default]
    Passed,
    /// `ok … # SKIP`.
    Skipped,
    /// `not ok`.
    Failed,
    /// The kernel crashed during the test, or the announced test never reported.
    Crashed,
}

impl Status {
    pub fn is_bad(self) -> bool {
        self >= Status::Failed
    }
}

/// The number of tests by result. Each parameter of a case counts, as in kunit.py.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
    /// The number of tests that crashed or never reported.
    pub crashed: u64,
}

impl Counts {
    pub fn add(&mut self, status: Status, count: u64) {
        let field = match status {
            Status::Passed => &mut self.passed,
            Status::Failed => &mut self.failed,
            Status::Skipped => &mut self.skipped,
            Status::Crashed => &mut self.crashed,
        };
        *field = field.saturating_add(count);
    }
}

/// A crash or a warning of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The line in the log, without prefix and indent.
    pub message: String,
    /// The number of the line, from 1.
    pub log_line: usize,
}

/// A result or a group of results, with its output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Test {
    /// The name; empty if the test crashed before it printed one.
    pub name: String,
    /// The number within its group.
    pub number: u64,
    /// The status, which includes the tests below.
    pub status: Status,
    /// The reason for skipping the test.
    pub reason: Option<String>,
    /// The source location of the test: the `location` attribute of a doctest.
    pub location: Option<Location>,
    /// Source locations of failed assertions and expectations, and of Rust panics.
    pub failed_at: Vec<Location>,
    /// Attributes such as `speed` and `module`.
    pub attributes: BTreeMap<String, String>,
    /// Lines since the previous result of the group.
    pub diagnostics: Vec<String>,
    /// Kernel crashes during the test. They make the test crashed, even if its result is `ok`.
    pub crashes: Vec<Event>,
    /// Kernel warnings during the test, which do not change its status. Others are ignored.
    pub warnings: Vec<Event>,
    /// The number of tests below it that it announced.
    pub plan: Option<u64>,
    /// The number of tests that never reported and are not in `tests`, out of the announced ones.
    /// Without an announcement, out of those before the highest number.
    pub missing: u64,
    /// Whether it printed its own header, and so announced tests below it.
    pub group: bool,
    /// The line of its result in the log, from 1; 0 without a result line.
    pub log_line: usize,
    pub tests: Vec<Test>,
}

/// An entry of a flat list of results; see [`Test::outcomes`].
#[derive(Debug, Clone)]
pub struct Outcome<'a> {
    /// The child of the listed test that contains this outcome; `None` for the listed test itself.
    pub top: Option<&'a Test>,
    /// The names below the listed test, joined by `/`, with `#number` for a test without a name;
    /// empty for the listed test itself.
    pub path: String,
    /// The test; for [missing](Outcome::missing) tests, the group that lacks them.
    pub test: &'a Test,
    pub status: Status,
    /// The number of tests in this outcome: 1 except for missing tests.
    pub count: u64,
    /// Whether these tests never reported.
    pub missing: bool,
}

impl Test {
    /// Returns all outcomes at or below this test: one for each leaf test, one for the missing
    /// tests of a group, and one for a failed group without a failed test. Each number in
    /// [`Counts`] is a sum over them.
    pub fn outcomes(&self) -> Vec<Outcome<'_>> {
        let mut list = Vec::new();
        self.collect(None, String::new(), &mut list);
        list
    }

    fn collect<'a>(&'a self, top: Option<&'a Test>, path: String, list: &mut Vec<Outcome<'a>>) {
        let start = list.len();
        for test in &self.tests {
            let slash = if path.is_empty() { "" } else { "/" };
            let below = match test.name.as_str() {
                "" => format!("{path}{slash}#{}", test.number),
                name => format!("{path}{slash}{name}"),
            };
            test.collect(top.or(Some(test)), below, list);
        }
        let outcome = |status, count, missing, path| Outcome {
            top,
            path,
            test: self,
            status,
            count,
            missing,
        };
        if self.missing > 0 {
            list.push(outcome(Status::Crashed, self.missing, true, path.clone()));
        }
        let quiet = !list[start..].iter().any(|o| o.status.is_bad());
        let empty_group = self.group && self.status == Status::Passed;
        if !self.crashes.is_empty()
            || (quiet && self.status.is_bad())
            || (list.len() == start && !empty_group)
        {
            list.push(outcome(self.status, 1, false, path));
        }
    }

    fn last_crash(&self) -> Option<&Event> {
        let below = || self.tests.iter().rev().find_map(Test::last_crash);
        best(&self.crashes).or_else(below)
    }
}

/// Returns the crash that explains the others: the first that is not a dump of UML's registers.
pub(super) fn best(crashes: &[Event]) -> Option<&Event> {
    let mut said = crashes.iter().filter(|c| !c.message.starts_with("Pid: "));
    said.next().or(crashes.first())
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Log {
    /// Whether the log contains KTAP.
    pub started: bool,
    /// Whether the log ends before every announced test has reported.
    pub truncated: bool,
    /// The number of announced suites.
    pub plan: Option<u64>,
    /// The number of suites that never appeared; see [`Test::missing`].
    pub missing: u64,
    /// The suites, in the order of the log. A suite that ran twice occurs twice.
    pub suites: Vec<Test>,
    /// Crashes outside every suite.
    pub crashes: Vec<Event>,
    /// KUnit's own messages, and irregularities of the log.
    pub notes: Vec<String>,
}

impl Log {
    /// Returns the suites with this name, several if it ran more than once.
    pub fn suite<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Test> {
        self.suites.iter().filter(move |s| s.name == name)
    }

    /// Returns where a [truncated](Log::truncated) log ends and, if the kernel reports it, why.
    pub fn break_off(&self) -> Option<String> {
        if !self.truncated {
            return None;
        }
        let lost = self.suites.iter().rev().find(|s| s.log_line == 0);
        let (place, crash) = match (lost, self.suites.last()) {
            (Some(lost), _) => (format!("in suite {}", lost.name), lost.last_crash()),
            (None, Some(last)) => (format!("after suite {}", last.name), None),
            (None, None) => ("before the first suite".to_owned(), None),
        };
        Some(match crash.or(best(&self.crashes)) {
            Some(event) => format!("{place} ({})", event.message),
            None => place,
        })
    }
}

/// Output since the last result.
#[derive(Debug, Default)]
struct Pending {
    diagnostics: Vec<String>,
    /// Test, attribute, value.
    attributes: Vec<(String, String, String)>,
    failed_at: Vec<Location>,
    crashes: Vec<Event>,
    warnings: Vec<Event>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.diagnostics.is_empty() && self.attributes.is_empty()
    }

    /// Moves the output to `test`; attributes only if they carry its name.
    fn settle(self, test: &mut Test) {
        test.diagnostics.extend(self.diagnostics);
        test.failed_at.extend(self.failed_at);
        test.crashes.extend(self.crashes);
        test.warnings.extend(self.warnings);
        for (owner, key, value) in self.attributes {
            if owner == test.name {
                if key == "location" {
                    test.location = Location::read(&value);
                }
                test.attributes.insert(key, value);
            }
        }
    }

    /// Returns the name of the test that printed this, from `# name: …` or `# name.attribute: …`.
    fn speaker(&self, group: &str) -> String {
        let named = self.diagnostics.iter().filter_map(|line| {
            let (name, _) = line.trim_start().strip_prefix("# ")?.split_once(':')?;
            is_name(name).then_some(name)
        });
        let owners = self.attributes.iter().map(|(owner, ..)| owner.as_str());
        let mut names = owners.chain(named).filter(|name| *name != group);
        names.next().unwrap_or_default().to_owned()
    }
}

/// A group whose end has not been parsed, or a test to add to one.
#[derive(Debug, Default)]
struct Frame {
    column: usize,
    test: Test,
    seen: BTreeSet<u64>,
    pending: Pending,
}

impl Frame {
    fn new(column: usize, name: &str) -> Self {
        let mut frame = Self {
            column,
            ..Self::default()
        };
        frame.test.name = name.to_owned();
        frame.test.group = true;
        frame
    }

    /// Whether only its version line has been parsed.
    fn is_fresh(&self) -> bool {
        self.test.name.is_empty() && self.test.plan.is_none() && self.test.tests.is_empty()
    }

    /// Counts the tests that did not report, out of the plan or up to the highest number.
    fn missing(&self) -> u64 {
        let highest = self.seen.last().copied().unwrap_or(0);
        match self.test.plan.unwrap_or(highest) {
            0 => 0,
            plan => plan - self.seen.range(1..=plan).count() as u64,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct ResultLine<'a> {
    ok: bool,
    number: u64,
    name: &'a str,
    skip: Option<&'a str>,
}

/// `ok 1 name`, `not ok 2 - name`, `ok 3 name # SKIP reason`.
static RESULT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(not )?ok ([0-9]+)(?: \s*(?:- )?(.*))?$"));
static SKIP: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?:^| )# SKIP( .*)?$"));

impl<'a> ResultLine<'a> {
    fn read(body: &'a str) -> Option<Self> {
        let line = RESULT.captures(body)?;
        let rest = line.get(3).map_or("", |rest| rest.as_str());
        let skip = SKIP.captures(rest);
        let end = skip.as_ref().and_then(|skip| skip.get(0));
        let name = &rest[..end.map_or(rest.len(), |skip| skip.start())];
        Some(ResultLine {
            ok: line.get(1).is_none(),
            number: line[2].parse().ok()?,
            name: name.trim_end(),
            skip: skip.map(|skip| skip.get(1).map_or("", |reason| reason.as_str().trim())),
        })
    }
}

pub fn parse(log: &[u8]) -> Log {
    let mut parser = Parser {
        log: Log::default(),
        stack: vec![Frame::new(0, "")],
        ended: false,
    };
    for (line, text) in lines(log) {
        parser.line(line, &text);
    }
    parser.end_run();
    parser.log.suites = mem::take(&mut parser.top().test.tests);
    parser.log
}

/// Returns the numbered lines of a log, from 1, without the prefixes of the kernel's log and the
/// control sequences of terminals. Parts of a line between carriage returns share its number.
pub(super) fn lines(log: &[u8]) -> impl Iterator<Item = (usize, String)> {
    let raw = log.split(|byte| *byte == b'\n').enumerate();
    raw.flat_map(|(index, raw)| {
        let text = String::from_utf8_lossy(raw).into_owned();
        let clean = |piece: &str| without_prefix(&without_escapes(piece)).to_owned();
        let pieces: Vec<_> = text.split('\r').map(|p| (index + 1, clean(p))).collect();
        pieces
    })
}

struct Parser {
    log: Log,
    /// Open groups, outermost first. The first represents the whole log and never closes.
    stack: Vec<Frame>,
    ended: bool,
}

impl Parser {
    fn top(&mut self) -> &mut Frame {
        self.stack.last_mut().expect("the outermost group stays")
    }

    fn line(&mut self, log_line: usize, text: &str) {
        let text = text.trim_end();
        let body = text.trim_start_matches([' ', '\t']);
        let column = column(&text[..text.len() - body.len()]);
        // A joined log contains several boots.
        let boots = body.starts_with("Linux version ");
        if boots || (column == 0 && is_version(body)) {
            self.ended = false;
        }
        if body.is_empty() || self.ended {
            return;
        }
        // The open group whose plan and results are at this column.
        let group = self.stack.iter().rposition(|f| f.column == column);
        let group = group.filter(|_| self.log.started);
        if starts(body, ENDS) {
            self.ended = true;
        } else if boots {
            self.end_run();
        } else if is_version(body) {
            self.header(log_line, column, body, "");
        } else if let Some(name) = body.strip_prefix("# Subtest: ") {
            self.header(log_line, column, body, name.trim());
        } else if let (Some(index), Some(plan)) = (group, plan(body)) {
            self.plan(log_line, index, plan);
        } else if let (Some(index), Some(result)) = (group, ResultLine::read(body)) {
            self.result(log_line, index, &result);
        } else {
            self.other(log_line, column, body);
        }
    }

    fn header(&mut self, log_line: usize, column: usize, body: &str, name: &str) {
        if column == 0 && !name.is_empty() {
            // The outermost group has no name.
            return self.other(log_line, column, body);
        }
        self.log.started = true;
        if self.top().column == column && self.top().is_fresh() {
            self.top().test.name = name.to_owned();
            return;
        }
        if column == 0 {
            // Another run in the same log, such as the run of a module.
            return self.end_run();
        }
        while self.top().column >= column {
            self.close_without_result();
        }
        if self.stack.len() == MAX_DEPTH {
            return self.other(log_line, column, body);
        }
        self.stack.push(Frame::new(column, name));
    }

    fn plan(&mut self, log_line: usize, index: usize, plan: u64) {
        let test = &mut self.stack[index].test;
        let first = test.plan.unwrap_or(plan);
        // With the larger plan, no missing test is overlooked.
        test.plan = Some(first.max(plan));
        if first != plan {
            self.log.notes.push(format!(
                "line {log_line}: plan 1..{plan} after the plan 1..{first} of the same group"
            ));
        }
    }

    fn result(&mut self, log_line: usize, index: usize, result: &ResultLine<'_>) {
        let &ResultLine { number, name, .. } = result;
        while self.stack.len() > index + 2 {
            self.close_without_result();
        }
        let mut group = None;
        if self.stack.len() == index + 2 {
            let open = &self.top().test.name;
            if open.is_empty() || open == name {
                group = self.stack.pop();
            } else {
                self.close_without_result();
            }
        }

        let mut closed = group.unwrap_or_default();
        let test = &mut closed.test;
        test.name = name.to_owned();
        test.number = number;
        test.status = match (result.ok, result.skip) {
            (false, _) => Status::Failed,
            (true, Some(_)) => Status::Skipped,
            (true, None) => Status::Passed,
        };
        let reason = result.skip.filter(|reason| !reason.is_empty());
        test.reason = reason.map(str::to_owned);
        test.log_line = log_line;

        let frame = self.top();
        let what = if frame.seen.contains(&number) {
            Some("a second time")
        } else if frame.test.plan.is_some_and(|plan| number > plan) {
            Some("beyond its plan")
        } else {
            None
        };
        let note = what.map(|what| format!("line {log_line}: result {number} ({name}) {what}"));
        self.log.notes.extend(note);
        self.add(closed);
    }

    /// Closes the innermost group, which has no result.
    fn close_without_result(&mut self) {
        let frame = self.top();
        // A test of the group did not finish: it printed this output.
        let unfinished = frame.test.plan.is_none() || frame.missing() > 0;
        if unfinished && !frame.pending.is_empty() {
            let mut crashed = Frame::default();
            crashed.test.name = frame.pending.speaker(&frame.test.name);
            self.add_crashed(crashed);
        }
        let frame = self.stack.pop().expect("only called on inner groups");
        self.add_crashed(frame);
    }

    fn add_crashed(&mut self, mut closed: Frame) {
        closed.test.number = self.top().seen.last().map_or(1, |n| n.saturating_add(1));
        closed.test.status = Status::Crashed;
        self.add(closed);
    }

    /// Adds a test to the innermost group. Its output is what came before its result, and what a
    /// group printed after its last test.
    fn add(&mut self, closed: Frame) {
        let missing = closed.missing();
        let mut test = closed.test;
        test.missing = missing;
        let frame = self.top();
        mem::take(&mut frame.pending).settle(&mut test);
        closed.pending.settle(&mut test);
        if test.missing > 0 || !test.crashes.is_empty() {
            test.status = Status::Crashed;
        }
        let bad = test.tests.iter().map(|t| t.status).filter(|s| s.is_bad());
        test.status = bad.fold(test.status, Status::max);
        frame.seen.insert(test.number);
        frame.test.tests.push(test);
    }

    /// Closes all groups, completes the counts of the outermost, and prepares it for another run.
    fn end_run(&mut self) {
        self.log.truncated |= self.stack.len() > 1;
        while self.stack.len() > 1 {
            self.close_without_result();
        }
        let root = self.top();
        let (missing, plan) = (root.missing(), root.test.plan.take());
        root.seen.clear();
        root.pending = Pending::default();
        self.log.truncated |= missing > 0;
        self.log.missing = self.log.missing.saturating_add(missing);
        if let Some(plan) = plan {
            self.log.plan = Some(self.log.plan.unwrap_or(0).saturating_add(plan));
        }
    }

    /// Handles any other line: diagnostics, attributes, kernel messages.
    fn other(&mut self, log_line: usize, column: usize, body: &str) {
        if body.starts_with("kunit executor: ") || body == "kunit: disabled" {
            self.log.notes.push(body.to_owned());
        }
        let inside = self.stack.len() > 1;
        let event = || Event {
            message: body.to_owned(),
            log_line,
        };
        if is_crash(body) && !inside {
            self.log.crashes.push(event());
        } else if is_crash(body) {
            self.top().pending.crashes.push(event());
        } else if inside && starts(body, WARNINGS) {
            self.top().pending.warnings.push(event());
        }
        if !self.log.started {
            return;
        }

        let frame = self.top();
        if let Some((key, value)) = body.strip_prefix("# ").and_then(|l| l.split_once(": ")) {
            match key.rsplit_once('.') {
                Some((owner, key)) if is_name(owner) && is_name(key) => {
                    let attribute = (owner.to_owned(), key.to_owned(), value.to_owned());
                    return frame.pending.attributes.push(attribute);
                }
                None if inside && matches!(key, "speed" | "module" | "is_init") => {
                    let attributes = &mut frame.test.attributes;
                    attributes.insert(key.to_owned(), value.to_owned());
                    return;
                }
                _ => {}
            }
        }
        if let Some(mark) = FAILED_AT.find(body) {
            let place = Location::read(&body[mark.end()..]);
            frame.pending.failed_at.extend(place);
        }
        let indent = " ".repeat(column.saturating_sub(frame.column));
        frame.pending.diagnostics.push(format!("{indent}{body}"));
    }
}

/// Whether `text` can be the name of a test in a diagnostic line.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == ':')
}

fn is_version(body: &str) -> bool {
    let tap = body.strip_prefix('K').unwrap_or(body);
    tap.strip_prefix("TAP version ").is_some_and(is_number)
}

/// Parses `1..N`.
fn plan(body: &str) -> Option<u64> {
    let number = body.strip_prefix("1..")?;
    let number = number.split_once(" #").map_or(number, |(n, _)| n);
    number.parse().ok().filter(|_| is_number(number))
}

pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The text before the location of a failure.
static FAILED_AT: LazyLock<Regex> =
    LazyLock::new(|| pattern("(?:(?:ASSERTION|EXPECTATION) FAILED|panicked) at "));

/// Lines after which no test runs: the machine stops, or there is no root file system.
const ENDS: &[&str] = &[
    "List of all partitions:",
    "Kernel panic - not syncing: VFS:",
    "reboot: System halted",
    "reboot: Restarting system",
    "reboot: Power down",
];

const CRASHES: &[&str] = &[
    "Kernel panic - not syncing",
    "BUG: ",
    "KASAN: ",
    "kernel BUG at ",
    "watchdog: BUG: ",
    "Oops",
    "Internal error: ",
    "Unable to handle kernel ",
    "general protection fault",
    "panicked at ",
];

const WARNINGS: &[&str] = &[
    "WARNING: ",
    "UBSAN: ",
    "list_add corruption",
    "list_del corruption",
];

fn starts(body: &str, with: &[&str]) -> bool {
    with.iter().any(|start| body.starts_with(start))
}

/// A panic of Rust, or the registers that UML prints after a segmentation fault of the kernel.
static PANIC_OR_REGISTERS: LazyLock<Regex> =
    LazyLock::new(|| pattern("^(?:[^#].*: panicked at |Pid: [0-9]+, comm: )"));

fn is_crash(body: &str) -> bool {
    starts(body, CRASHES) || PANIC_OR_REGISTERS.is_match(body)
}

/// Returns the width of leading white space; a tab extends to the next multiple of four.
fn column(indent: &str) -> usize {
    indent.chars().fold(0, |column, c| match c {
        '\t' => (column / 4 + 1) * 4,
        _ => column + 1,
    })
}

/// A control sequence: parameters, up to the letter that ends it, or a single character.
static ESCAPE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)\x1b(?:\[[^@-~]*[@-~]?|.)?"));

/// Removes terminal control sequences, which firmware and bootloaders print.
fn without_escapes(text: &str) -> Cow<'_, str> {
    ESCAPE.replace_all(text, "")
}

/// The prefix of the kernel's log: `<6>`, `[    0.123456]`, `[    T1]`, and one space.
static PREFIX: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(?:<[0-9]+>)?(?:(?:\[\s*(?:[0-9]+\.[0-9]+|[TC][0-9]+)\])+ ?)?"));

fn without_prefix(text: &str) -> &str {
    &text[PREFIX.find(text).map_or(0, |prefix| prefix.end())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Counts {
        fn total(&self) -> u64 {
            let counts = [self.passed, self.failed, self.skipped, self.crashed];
            counts.into_iter().fold(0, u64::saturating_add)
        }
    }

    impl Log {
        /// Returns the counts of all tests in the log, including missing suites.
        fn counts(&self) -> Counts {
            let mut counts = Counts::default();
            for outcome in self.suites.iter().flat_map(Test::outcomes) {
                counts.add(outcome.status, outcome.count);
            }
            counts.add(Status::Crashed, self.missing);
            counts
        }
    }

    #[test]
    fn without_prefix_keeps_indent() {
        for (text, rest) in [
            ("[    0.060000]     ok 1 a", "    ok 1 a"),
            ("<6>[  123.456789] ok 1 a", "ok 1 a"),
            ("<6>    ok 1 a", "    ok 1 a"),
            ("[    0.060000][    T1]     ok 1 a", "    ok 1 a"),
            ("[    0.060000][   C12] ok 1 a", "ok 1 a"),
            ("[    0.060000]", ""),
            ("    ok 1 a", "    ok 1 a"),
            ("[a] ok 1 a", "[a] ok 1 a"),
            ("[1.] x", "[1.] x"),
            ("[<00000000600a1b2c>] func", "[<00000000600a1b2c>] func"),
            ("<a> x", "<a> x"),
        ] {
            assert_eq!(without_prefix(text), rest, "{text:?}");
        }
    }

    #[test]
    fn without_escapes_removes_sequences() {
        assert_eq!(without_escapes("\x1bc\x1b[?7l\x1b[2J\x1b[0mok\x1b["), "ok");
        assert_eq!(without_escapes("a\x1b"), "a");
    }

    #[test]
    fn location_parses() {
        for (text, place) in [
            ("rust/kernel/list.rs:12", Some(("rust/kernel/list.rs", 12))),
            ("lib/x.c:7!", Some(("lib/x.c", 7))),
            (
                "rust/kernel/list.rs:12:9:",
                Some(("rust/kernel/list.rs", 12)),
            ),
            ("a:b.c:3", Some(("a:b.c", 3))),
            ("lib/x.c:7 and more", Some(("lib/x.c", 7))),
            (":7", None),
            ("lib/x.c", None),
            ("lib/x.c:", None),
            ("lib/x.c:99999999999999999999", None),
            ("", None),
        ] {
            let place = place.map(|(file, line)| Location {
                file: file.to_string(),
                line,
            });
            assert_eq!(Location::read(text), place, "{text:?}");
        }
    }

    #[test]
    fn result_line_parses() {
        let line = |ok, number, name, skip| {
            Some(ResultLine {
                ok,
                number,
                name,
                skip,
            })
        };
        for (text, result) in [
            ("ok 1 a", line(true, 1, "a", None)),
            ("not ok 12 - a", line(false, 12, "a", None)),
            ("ok 1", line(true, 1, "", None)),
            (
                "ok 1 a # SKIP no device",
                line(true, 1, "a", Some("no device")),
            ),
            ("ok 1 a # SKIP", line(true, 1, "a", Some(""))),
            ("ok 1 # SKIP why", line(true, 1, "", Some("why"))),
            ("ok 1 p #1 # SKIPPED", line(true, 1, "p #1 # SKIPPED", None)),
            ("ok 1 a#b # SKIP x", line(true, 1, "a#b", Some("x"))),
            ("ok a", None),
            ("ok 1a", None),
            ("ok", None),
            ("okay 1 a", None),
            ("not okay 1 a", None),
            ("ok 99999999999999999999 a", None),
        ] {
            assert_eq!(ResultLine::read(text), result, "{text:?}");
        }
    }

    #[test]
    fn result_line_not_ok_with_skip_fails() {
        let log = parse(b"KTAP version 1\n1..1\nnot ok 1 a # SKIP why\n");
        assert_eq!(log.suites[0].status, Status::Failed);
    }

    #[test]
    fn crash_lines_are_recognized() {
        for text in [
            "Kernel panic - not syncing: Segfault with no mm",
            "BUG: KASAN: slab-use-after-free in foo+0x1/0x2",
            "BUG: kernel NULL pointer dereference, address: 0000000000000008",
            "Oops: Oops: 0000 [#1] SMP PTI",
            "kernel BUG at lib/x.c:7!",
            "Pid: 25, comm: kunit_try_catch Not tainted 6.19.11",
            "rust_kernel: panicked at rust/kernel/list.rs:1:2:",
            "KASAN: null-ptr-deref in range [0x0-0x7]",
        ] {
            assert!(is_crash(text), "{text:?}");
        }
        for text in [
            "CPU: 0 UID: 0 PID: 25 Comm: kunit_try_catch",
            "WARNING: lib/x.c:7 at foo, CPU#0: swapper/1",
            "# case: BUG: is what this test is about",
            "DEBUG: nothing",
            "Pid: x, comm: y",
        ] {
            assert!(!is_crash(text), "{text:?}");
        }
    }

    #[test]
    fn parse_late_or_missing_plan() {
        let late = parse(
            b"KTAP version 1\n    KTAP version 1\n    # Subtest: s\n    ok 1 a\n    1..3\nok 1 s\n1..1\n",
        );
        assert_eq!(late.suites[0].missing, 2);
        assert_eq!(late.suites[0].status, Status::Crashed);
        assert_eq!(late.plan, Some(1));
        assert!(!late.truncated);

        let none = parse(b"KTAP version 1\n    # Subtest: s\n    ok 1 a\nok 1 s\n");
        assert_eq!(none.suites[0].status, Status::Passed);
        assert_eq!(none.counts().passed, 1);
        assert!(!none.truncated);
    }

    #[test]
    fn parse_huge_plan() {
        let log = parse(b"KTAP version 1\n1..18446744073709551615\nok 1 a\n");
        assert_eq!(log.missing, u64::MAX - 1);
        assert_eq!(log.counts().crashed, u64::MAX - 1);
        assert_eq!(log.counts().total(), u64::MAX);
        // Two plans in one log do not overflow.
        let log = parse(&b"KTAP version 1\n1..18446744073709551615\n".repeat(2));
        assert_eq!(log.missing, u64::MAX);
    }

    #[test]
    fn parse_lost_result_is_missing() {
        let log = parse(
            b"KTAP version 1\n1..1\n    # Subtest: s\n    1..3\n    ok 1 a\n    ok 3 c\nok 1 s\n",
        );
        assert_eq!(log.counts().passed, 2);
        assert_eq!(log.counts().crashed, 1);
        assert_eq!(log.suites[0].status, Status::Crashed);
    }

    #[test]
    fn parse_repeated_number_is_missing() {
        let log = parse(b"KTAP version 1\n1..2\nok 1 a\nok 1 b\nok 7 c\n");
        assert_eq!(log.missing, 1);
        assert_eq!(log.notes.len(), 2, "{:?}", log.notes);
    }

    #[test]
    fn parse_suite_without_result_is_crashed() {
        let log = parse(
            b"KTAP version 1\n1..2\n    # Subtest: s\n    1..1\n    ok 1 a\n    # Subtest: t\n    1..1\n    ok 1 b\nok 2 t\n",
        );
        assert_eq!(log.suites.len(), 2);
        assert_eq!(log.suites[0].status, Status::Crashed);
        assert_eq!(log.suites[1].status, Status::Passed);
        assert_eq!(log.suites[1].tests[0].name, "b");
        assert_eq!(log.missing, 0);
        // A result with another name closes it as well.
        let log = parse(b"KTAP version 1\n1..2\n    # Subtest: s\n    1..1\n    ok 1 a\nok 2 t\n");
        assert_eq!(log.suites[0].name, "s");
        assert_eq!(log.suites[0].status, Status::Crashed);
        assert_eq!(log.suites[1].name, "t");
    }

    #[test]
    fn parse_ignores_results_at_other_columns() {
        let log = parse(
            b"KTAP version 1\n1..1\n    # Subtest: s\n    1..1\n  ok 1 s\n      not ok 1 x\n    ok 1 a\nok 1 s\n",
        );
        assert_eq!(log.counts().passed, 1);
        assert_eq!(log.counts().total(), 1);
        let case = &log.suites[0].tests[0];
        assert_eq!(case.diagnostics, ["ok 1 s", "  not ok 1 x"]);
    }

    #[test]
    fn parse_several_runs() {
        let run = "KTAP version 1\n1..1\n    # Subtest: s\n    1..1\n    ok 1 a\nok 1 s\n";
        let log = parse(run.repeat(2).as_bytes());
        assert_eq!(log.suites.len(), 2);
        assert_eq!(log.plan, Some(2));
        assert_eq!(log.missing, 0);
        assert!(log.notes.is_empty(), "{:?}", log.notes);
    }

    #[test]
    fn parse_several_boots() {
        let halted = "KTAP version 1\n1..1\n    # Subtest: s\n    1..1\n    ok 1 a\nok 1 s\nreboot: System halted\n";
        let broken = "KTAP version 1\n1..1\n    # Subtest: t\n    1..2\n    ok 1 a\n";
        for boot in ["", "Linux version 6.19.11\n"] {
            for logs in [[halted, broken], [broken, halted]] {
                let text: String = logs.iter().map(|log| format!("{boot}{log}")).collect();
                let log = parse(text.as_bytes());
                assert_eq!((log.plan, log.missing), (Some(2), 0));
                assert_eq!((log.counts().passed, log.counts().crashed), (2, 1));
                assert_eq!(log.break_off().as_deref(), Some("in suite t"));
            }
        }
        let text = format!("{halted}Linux version 6.19.11\nKernel panic - not syncing: no\n");
        assert_eq!(parse(text.as_bytes()).crashes.len(), 1);
        let text = format!("{broken}Linux version 6.19.11\nKernel panic - not syncing: no\n");
        assert_eq!(parse(text.as_bytes()).crashes.len(), 1);
        let text = format!("{halted}Kernel panic - not syncing: no\n");
        assert_eq!(parse(text.as_bytes()).crashes.len(), 0);
    }

    #[test]
    fn parse_tabs_and_two_spaces() {
        for indent in ["\t", "  "] {
            let text = "KTAP version 1\n1..1\n>KTAP version 1\n># Subtest: s\n>1..1\n>not ok 1 a\nnot ok 1 s\n";
            let log = parse(text.replace('>', indent).as_bytes());
            assert_eq!(log.suites[0].tests[0].status, Status::Failed);
            assert_eq!(log.counts().total(), 1);
        }
    }

    #[test]
    fn parse_bounds_nesting() {
        let mut text = String::from("KTAP version 1\n");
        for depth in 1..2_000 {
            text.push_str(&" ".repeat(depth));
            text.push_str("KTAP version 1\n");
        }
        let log = parse(text.as_bytes());
        assert!(log.truncated);
        let mut depth = 0;
        let mut tests = &log.suites;
        while let Some(test) = tests.first() {
            tests = &test.tests;
            depth += 1;
        }
        // The innermost group, and its test that never reported.
        assert_eq!(depth, MAX_DEPTH);
    }

    #[test]
    fn parse_ignores_before_header_after_end() {
        let log = parse(b"ok 1 x\nnot ok 2 y\nKTAP version 1\n1..1\nok 1 a\n");
        assert_eq!(log.suites[0].name, "a");
        for end in [
            "List of all partitions:",
            "Kernel panic - not syncing: VFS: Unable to mount root fs",
            "reboot: System halted",
            "reboot: Restarting system",
            "reboot: Power down",
        ] {
            let text = format!("KTAP version 1\n1..2\nok 1 a\n{end}\nBUG: late\nok 2 b\n");
            let log = parse(text.as_bytes());
            assert_eq!((log.suites.len(), log.missing), (1, 1), "{end}");
            assert!(log.truncated && log.crashes.is_empty(), "{end}");
            assert_eq!(log.break_off().as_deref(), Some("after suite a"));
        }
    }

    #[test]
    fn parse_tap_headers_and_escapes() {
        let log = parse(b"\x1b[2J\x1b[0mTAP version 14\n1..2\nspinning\rok 1 - a\n\rok 2 - b\r\n");
        assert_eq!(log.counts().passed, 2);
        assert_eq!((log.missing, log.suites[1].name.as_str()), (0, "b"));
    }

    #[test]
    fn parse_assigns_attributes_by_name() {
        let log = parse(b"KTAP version 1\n1..2\n# b.location: x.rs:1\nok 1 a\nok 2 b\n");
        assert_eq!(log.suites[0].location, None);
        assert!(log.suites[0].attributes.is_empty());
    }

    #[test]
    fn parse_two_plans_uses_larger() {
        let log = parse(b"KTAP version 1\n1..1\n1..2\nok 1 a\n");
        assert_eq!((log.plan, log.missing), (Some(2), 1));
        assert_eq!(
            log.notes,
            ["line 3: plan 1..2 after the plan 1..1 of the same group"]
        );
    }

    #[test]
    fn parse_early_crash_has_no_name() {
        let log = parse(
            b"KTAP version 1\n1..1\n    # Subtest: s\n    1..2\n    ok 1 a\n# s: pass:1 fail:0\n",
        );
        let test = &log.suites[0].tests[1];
        assert_eq!((test.name.as_str(), test.number), ("", 2));
        assert_eq!(test.status, Status::Crashed);
        assert_eq!(log.suites[0].missing, 0);
    }

    #[test]
    fn outcomes_failing_parent_counts_once() {
        let log = parse(
            b"KTAP version 1\n1..1\n    # Subtest: s\n    1..2\n    ok 1 a\n    ok 2 b\nnot ok 1 s\n",
        );
        let counts = log.counts();
        assert_eq!((counts.passed, counts.failed), (2, 1));
        // Only a failed child counts.
        let log = parse(
            b"KTAP version 1\n1..1\n    # Subtest: s\n    1..2\n    ok 1 a\n    not ok 2 b\nnot ok 1 s\n",
        );
        let counts = log.counts();
        assert_eq!((counts.passed, counts.failed), (1, 1));
    }

    #[test]
    fn parse_parent_never_hides_failure() {
        let log =
            parse(b"KTAP version 1\n1..1\n    # Subtest: s\n    1..1\n    not ok 1 a\nok 1 s\n");
        assert_eq!(log.suites[0].status, Status::Failed);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of the KTAP parser and the KUnit verdict with recorded kernel logs.
//!
//! The logs were recorded from UML kernels and shortened. Some were edited by hand: `truncated.log`
//! (cut off), `doctests-fail.log` and `doctests-panic.log` (a failing doctest), `qemu.log` (effects
//! of a serial console). `leak.log` comes from the hardened kernel, with a deliberate leak in a
//! test and three objects of the boot.

use std::{collections::BTreeSet, fmt};

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

use series::kernel::build::Target;
use series::kernel::kunit::ktap::{Counts, Location, Log, Status, parse};
use series::kernel::kunit::verdict::{DOCTEST_SUITE, Expectation, Verdict, judge};
use series::kernel::kunit::watch::watch;

macro_rules! logs {
    ($($name:literal),* $(,)?) => {
        const LOGS: &[(&str, &[u8])] = &[$(($name, include_bytes!(concat!("ktap/", $name, ".log")))),*];
    };
}

logs![
    "bad-filter",
    "bug",
    "crash",
    "disabled",
    "dmesg",
    "doctests",
    "doctests-fail",
    "doctests-panic",
    "doctests-skip",
    "fail",
    "leak",
    "list",
    "no-root",
    "no-tests",
    "pass",
    "qemu",
    "rust",
    "skip",
    "truncated",
    "warning",
];

const LIST: &str = "rust/kernel/list.rs";

fn bytes(name: &str) -> &'static [u8] {
    LOGS.iter().find(|(n, _)| *n == name).expect(name).1
}

/// Returns the lines with their newlines.
fn split(log: &[u8]) -> Vec<&[u8]> {
    log.split_inclusive(|b| *b == b'\n').collect()
}

fn log(name: &str) -> Log {
    parse(bytes(name))
}

fn expect(suites: &[&str], doctests: &[&str]) -> Expectation {
    Expectation {
        suites: suites.iter().map(|s| s.to_string()).collect(),
        doctests: doctests.iter().map(|s| s.to_string()).collect(),
    }
}

fn verdict(name: &str, suites: &[&str], doctests: &[&str]) -> Verdict {
    judge(&log(name), &expect(suites, doctests))
}

fn counts(passed: u64, failed: u64, skipped: u64, crashed: u64) -> Counts {
    Counts {
        passed,
        failed,
        skipped,
        crashed,
    }
}

/// Returns the counts of all tests in a log, including missing suites.
fn counts_of(log: &Log) -> Counts {
    let mut counts = Counts::default();
    for outcome in log.suites.iter().flat_map(|suite| suite.outcomes()) {
        counts.add(outcome.status, outcome.count);
    }
    counts.add(Status::Crashed, log.missing);
    counts
}

fn total(counts: Counts) -> u64 {
    let counts = [counts.passed, counts.failed, counts.skipped, counts.crashed];
    counts.into_iter().fold(0, u64::saturating_add)
}

#[test]
fn pass() {
    let log = log("pass");
    assert!(log.started && !log.truncated);
    assert_eq!(log.plan, Some(4));
    assert_eq!(counts_of(&log), counts(10 + 1, 0, 3, 0));
    assert!(log.notes.is_empty(), "{:?}", log.notes);
    let names: Vec<&str> = log.suites.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["demo_list", "demo_walk", "demo_init", "demo_skip"]);

    let list = &log.suites[0];
    assert_eq!(list.status, Status::Passed);
    assert_eq!(list.attributes["module"], "demo_kunit");
    assert_eq!(list.tests.len(), 6);
    let param = &list.tests[4];
    assert_eq!(
        (param.name.as_str(), param.number, param.tests.len()),
        ("param", 5, 3)
    );
    assert_eq!(param.tests[1].status, Status::Skipped);
    assert_eq!(param.tests[1].reason.as_deref(), Some("two is skipped"));
    assert_eq!(list.tests[5].attributes["speed"], "slow");
    assert!(list.tests[5].diagnostics.is_empty());

    let crashes = &log.suites[1].tests[2];
    assert_eq!(crashes.diagnostics, ["# crashes: about to walk"]);

    let verdict = verdict("pass", &["demo_list", "demo_walk"], &[]);
    assert!(verdict.pass, "{:?}", verdict.errors);
    assert_eq!(verdict.counts, counts(10, 0, 2, 0));
    assert_eq!(verdict.summary(), "10 passed, 2 skipped");
    assert_eq!(verdict.suites[0].counts, counts(6, 0, 2, 0));
    assert!(verdict.suites.iter().all(|s| s.ran));
}

#[test]
fn fail() {
    let log = log("fail");
    let fails = &log.suites[0].tests[1];
    assert_eq!(fails.status, Status::Failed);
    assert_eq!(
        fails.diagnostics,
        [
            "# fails: EXPECTATION FAILED at lib/demo_kunit.c:12",
            "Expected 1 + 1 == 3, but",
            "    1 + 1 == 2 (0x2)",
            "# fails: EXPECTATION FAILED at lib/demo_kunit.c:13",
            "Expected 2 == 3, but",
            "second thoughts 7",
        ]
    );
    let lines: Vec<u64> = fails.failed_at.iter().map(|l| l.line).collect();
    assert_eq!(lines, [12, 13]);
    assert_eq!(counts_of(&log), counts(7, 4, 3, 0));

    let verdict = verdict("fail", &["demo_list", "demo_walk", "demo_init"], &[]);
    assert!(!verdict.pass);
    assert_eq!(verdict.counts, counts(7, 4, 2, 0));
    assert_eq!(
        verdict.errors,
        [
            "demo_list.fails failed at lib/demo_kunit.c:12: Expected 1 + 1 == 3, but",
            "demo_list.asserts failed at lib/demo_kunit.c:19: \
             Expected !strcmp(mode, \"pass\") to be true, but is false",
            "demo_list.param/param-3 failed at lib/demo_kunit.c:47: Expected *n < 3, but",
            "suite demo_init failed: failed to initialize (-12)",
        ]
    );
    assert_eq!(verdict.missing_suites, ["demo_init"]);
    let failure = &verdict.failures[1];
    assert_eq!(failure.file.as_deref(), Some("lib/demo_kunit.c"));
    assert_eq!(failure.line, Some(19));
    assert_eq!(failure.diagnostics.len(), 2);
    let line = failure.log_line.expect("it has a result line");
    let text = String::from_utf8_lossy(bytes("fail"));
    assert_eq!(
        text.lines().nth(line - 1).map(str::trim),
        Some("not ok 3 asserts")
    );

    // Failures of another suite do not count.
    let other = self::verdict("fail", &["demo_walk"], &[]);
    assert!(other.pass, "{:?}", other.errors);
    assert_eq!(other.counts, counts(4, 0, 0, 0));
}

#[test]
fn skip() {
    let verdict = verdict("skip", &["demo_skip"], &[]);
    assert!(!verdict.pass);
    assert_eq!(verdict.counts, counts(0, 0, 1, 0));
    assert_eq!(
        verdict.errors,
        ["suite demo_skip ran no case: 1 test skipped (no such device)"]
    );
    assert_eq!(verdict.missing_suites, ["demo_skip"]);
}

#[test]
fn crash() {
    let log = log("crash");
    assert!(log.truncated);
    // Two suites are missing, and the fourth case of the second did not run.
    assert_eq!(log.missing, 2);
    assert_eq!(counts_of(&log), counts(8, 0, 2, 4));
    let walk = &log.suites[1];
    assert_eq!((walk.status, walk.missing), (Status::Crashed, 1));
    let case = &walk.tests[2];
    assert_eq!(
        (case.name.as_str(), case.number, case.status),
        ("crashes", 3, Status::Crashed)
    );
    assert_eq!(case.crashes.len(), 2);

    let verdict = verdict("crash", &["demo_walk", "demo_init"], &[]);
    assert_eq!(verdict.counts, counts(2, 0, 0, 2));
    assert_eq!(
        verdict.errors,
        [
            "demo_walk.crashes crashed: Kernel panic - not syncing: Segfault with no mm",
            "suite demo_walk: 1 of its 4 tests never reported",
            "suite demo_init did not run: the log ends in suite demo_walk \
             (Kernel panic - not syncing: Segfault with no mm)",
        ]
    );
    assert_eq!(verdict.missing_suites, ["demo_init"]);
    // Results before the crash of another suite stay valid.
    assert!(self::verdict("crash", &["demo_list"], &[]).pass);
}

#[test]
fn crash_shows_first_line_of_bug() {
    let verdict = verdict("bug", &["demo_walk"], &[]);
    assert_eq!(
        verdict.errors[0],
        "demo_walk.crashes crashed: BUG: failure at lib/demo_kunit.c:36/crashes()!"
    );
}

#[test]
fn crash_without_failed_case_counts() {
    let text = String::from_utf8(bytes("pass").to_vec()).unwrap();
    let text = text.replace(
        "    # crashes: about to walk\n",
        "BUG: KASAN: slab-use-after-free in crashes+0x6c/0xf8\n",
    );
    let verdict = judge(&parse(text.as_bytes()), &expect(&["demo_walk"], &[]));
    assert_eq!(verdict.counts, counts(3, 0, 0, 1));
    assert_eq!(
        verdict.errors,
        ["demo_walk.crashes crashed: BUG: KASAN: slab-use-after-free in crashes+0x6c/0xf8"]
    );
}

#[test]
fn crash_between_suites_fails_all() {
    let text = String::from_utf8(bytes("pass").to_vec()).unwrap();
    let text = text.replace(
        "ok 2 demo_walk\n",
        "ok 2 demo_walk\nBUG: workqueue leaked atomic, lock or RCU\n",
    );
    let verdict = judge(&parse(text.as_bytes()), &expect(&["demo_list"], &[]));
    assert_eq!(verdict.counts, counts(6, 0, 2, 0));
    assert_eq!(verdict.kernel_crashes.len(), 1);
    assert_eq!(
        verdict.errors,
        [
            "the kernel crashed outside every suite: BUG: workqueue leaked atomic, lock or RCU \
             (line 46 of the log)"
        ]
    );
}

#[test]
fn crash_before_any_test() {
    let text = "Linux version 6.19.11\nKernel panic - not syncing: no memory\n";
    let verdict = judge(&parse(text.as_bytes()), &expect(&["demo_list"], &[]));
    assert_eq!(
        verdict.errors,
        ["the kernel crashed before any test ran: Kernel panic - not syncing: no memory"]
    );
}

#[test]
fn truncated() {
    let log = log("truncated");
    assert!(log.truncated);
    assert_eq!(
        log.break_off().as_deref(),
        Some("in suite demo_walk"),
        "no crash is to blame"
    );
    let verdict = verdict("truncated", &["demo_walk", "demo_init"], &[]);
    // The second result is cut off in its name, and counts nevertheless.
    assert_eq!(verdict.counts, counts(2, 0, 0, 2));
    assert_eq!(
        verdict.errors,
        [
            "suite demo_walk: 2 of its 4 tests never reported",
            "suite demo_init did not run: the log ends in suite demo_walk",
        ]
    );
    assert!(verdict.failures[0].missing);
    assert_eq!(verdict.failures[0].count, 2);
}

#[test]
fn no_tests() {
    for (name, error) in [
        (
            "no-tests",
            "KUnit ran, but no test did: the filter matched nothing, or the kernel has no tests",
        ),
        (
            "list",
            "KUnit ran, but no test did: the filter matched nothing, or the kernel has no tests",
        ),
        (
            "disabled",
            "no test ran: the kernel reports \"kunit: disabled\"",
        ),
        (
            "bad-filter",
            "no test ran: the kernel reports \"kunit executor: filter operation not found: nonsense\"",
        ),
    ] {
        let verdict = verdict(name, &["rust_clist"], &[LIST]);
        assert!(!verdict.pass);
        assert_eq!(verdict.errors, [error], "{name}");
        assert_eq!(verdict.missing_suites, ["rust_clist"]);
        assert_eq!(verdict.missing_doctests, [LIST]);
        assert_eq!(verdict.summary(), "no test ran");
    }
    let verdict = judge(&parse(b""), &expect(&["rust_clist"], &[]));
    assert_eq!(
        verdict.errors,
        [
            "no test ran: the log has no KTAP output (the kernel did not boot that far, or KUNIT \
             is off or a module)"
        ]
    );
}

#[test]
fn suite_is_missing() {
    let verdict = verdict("rust", &["rust_kvec", "rust_clist"], &[LIST]);
    assert!(!verdict.pass);
    assert_eq!(verdict.counts, counts(1, 0, 0, 0));
    assert_eq!(
        verdict.errors,
        [
            "suite rust_clist did not run (the kernel was built without it, or KUNIT is a module)",
            "no doctest of rust/kernel/list.rs ran: suite rust_doctests_kernel is missing \
             (RUST_KERNEL_DOCTESTS is off, KUNIT is a module, or the filter excludes it)",
        ]
    );
}

#[test]
fn suite_without_cases_has_not_run() {
    let text = "KTAP version 1\n1..1\n    # Subtest: s\n    1..0\nok 1 s\n";
    assert_eq!(counts_of(&parse(text.as_bytes())), Counts::default());
    for text in [text, "KTAP version 1\n1..1\nok 1 s\n"] {
        let verdict = judge(&parse(text.as_bytes()), &expect(&["s"], &[]));
        assert!(!verdict.pass && verdict.missing_suites == ["s"]);
        assert_eq!(
            verdict.errors,
            ["suite s reported, but none of its cases ran"]
        );
    }
}

#[test]
fn crash_of_unnamed_case_shows_number() {
    let text = String::from_utf8(bytes("crash").to_vec()).unwrap();
    let text = text.replace("    # crashes: about to walk\n", "");
    let verdict = judge(&parse(text.as_bytes()), &expect(&["demo_walk"], &[]));
    assert_eq!(verdict.failures[0].case, "#3");
    assert_eq!(
        verdict.errors[0],
        "test #3 of suite demo_walk crashed: Kernel panic - not syncing: Segfault with no mm"
    );
    let line = verdict.failures[0].log_line.expect("the line of the panic");
    assert!(
        text.lines()
            .nth(line - 1)
            .unwrap()
            .starts_with("Kernel panic")
    );
}

#[test]
fn warnings_at_every_level() {
    let text = String::from_utf8(bytes("pass").to_vec()).unwrap();
    let text = text
        .replace(
            "        ok 1 param-1\n",
            "WARNING: one\n        ok 1 param-1\n",
        )
        .replace("    # param: pass", "    # param: odd\n    # param: pass")
        .replace("# demo_list: pass", "WARNING: two\n# demo_list: pass");
    let verdict = judge(&parse(text.as_bytes()), &expect(&["demo_list"], &[]));
    let found: Vec<(&str, &str)> = verdict
        .warnings
        .iter()
        .map(|w| (w.case.as_str(), w.event.message.as_str()))
        .collect();
    assert_eq!(
        found,
        [("", "WARNING: two"), ("param/param-1", "WARNING: one")]
    );
}

#[test]
fn failure_without_assertion_has_reason() {
    for (diagnostic, error) in [
        ("", "s.a failed: it printed no reason"),
        (
            "    # a: pass:0 fail:1\n",
            "s.a failed: it printed no reason",
        ),
        ("    # a: try timed out\n", "s.a failed: try timed out"),
    ] {
        let text = format!(
            "KTAP version 1\n1..1\n    # Subtest: s\n    1..1\n{diagnostic}    not ok 1 a\nnot ok 1 s\n"
        );
        let verdict = judge(&parse(text.as_bytes()), &expect(&["s"], &[]));
        assert_eq!(verdict.errors, [error]);
    }
    // A doctest has the location of its source.
    let text = "KTAP version 1\n1..1\n    # Subtest: rust_doctests_kernel\n    1..1\n    \
                # a.location: rust/kernel/list.rs:7\n    not ok 1 a\n\
                not ok 1 rust_doctests_kernel\n";
    let verdict = judge(&parse(text.as_bytes()), &expect(&[], &[LIST]));
    assert_eq!(
        verdict.errors,
        ["rust_doctests_kernel.a failed at rust/kernel/list.rs:7: it printed no reason"]
    );
}

#[test]
fn empty_expectation_fails() {
    let verdict = verdict("pass", &[], &[]);
    assert!(!verdict.pass);
    assert_eq!(
        verdict.errors,
        ["no suite and no doctest file is expected, so the run proves nothing"]
    );
}

#[test]
fn panic_without_root_is_not_a_crash() {
    let log = log("no-root");
    assert!(!log.truncated && log.crashes.is_empty());
    assert!(verdict("no-root", &["demo_init"], &[]).pass);
}

#[test]
fn doctests_are_assigned_to_files() {
    let log = log("doctests");
    let first = &log.suites[0].tests[0];
    assert_eq!(
        first.location,
        Some(Location {
            file: "rust/kernel/list/impl_list_item_mod.rs".to_string(),
            line: 110
        })
    );
    let verdict = verdict("doctests", &[], &[LIST]);
    assert!(verdict.pass, "{:?}", verdict.errors);
    assert_eq!(verdict.counts, counts(3, 0, 0, 0));
    assert_eq!(verdict.doctests[0].name, LIST);
    assert_eq!(verdict.doctests[0].counts, verdict.counts);

    let other = self::verdict("doctests", &[], &["rust/kernel/rbtree.rs"]);
    assert_eq!(other.missing_doctests, ["rust/kernel/rbtree.rs"]);
    assert_eq!(
        other.errors,
        [
            "no doctest of rust/kernel/rbtree.rs ran, but others did (the file is not part of \
             the kernel crate, has no public example, or the filter excludes it)"
        ]
    );
}

#[test]
fn doctests_expected_as_suite() {
    let verdict = verdict("doctests", &[DOCTEST_SUITE], &[LIST]);
    assert!(verdict.pass);
    assert_eq!(
        verdict.counts,
        counts(5, 0, 0, 0),
        "nothing is counted twice"
    );
}

#[test]
fn doctest_failure_has_its_line() {
    let verdict = verdict("doctests-fail", &[], &[LIST]);
    assert_eq!(verdict.counts, counts(2, 1, 0, 0));
    assert_eq!(
        verdict.errors,
        [
            "rust_doctests_kernel.rust_doctest_kernel_list_rs_1 failed at rust/kernel/list.rs:57: \
             Expected list.is_empty() to be true, but is false"
        ]
    );
    // The failure does not belong to the adjacent doctest.
    let file = "rust/kernel/list/impl_list_item_mod.rs";
    let other = self::verdict("doctests-fail", &[], &[file]);
    assert!(other.pass, "{:?}", other.errors);
    assert_eq!(other.counts, counts(2, 0, 0, 0));
}

#[test]
fn doctest_failure_without_location() {
    let text = String::from_utf8(bytes("doctests-fail").to_vec()).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.contains("list_rs_1.location"));
    let text: Vec<&str> = lines.collect();
    let verdict = judge(
        &parse(text.join("\n").as_bytes()),
        &expect(&[], &["./rust/kernel/list.rs"]),
    );
    assert_eq!(verdict.counts, counts(2, 1, 0, 0));
}

#[test]
fn doctest_panics() {
    let verdict = verdict("doctests-panic", &[], &[LIST]);
    assert_eq!(
        verdict.errors,
        [
            "rust_doctests_kernel.rust_doctest_kernel_list_rs_1 crashed at \
             rust/kernel/list.rs:60: rust_doctests_kernel: panicked at rust/kernel/list.rs:60:14:",
            "suite rust_doctests_kernel: 1 of its 5 tests never reported",
        ]
    );
    assert_eq!(verdict.counts, counts(1, 0, 0, 2));
    // The doctest that never reported may belong to any component.
    let file = "rust/kernel/list/impl_list_item_mod.rs";
    let other = self::verdict("doctests-panic", &[], &[file]);
    assert_eq!(other.counts, counts(2, 0, 0, 1));
    let gone = self::verdict("doctests-panic", &[], &["rust/kernel/rbtree.rs"]);
    assert_eq!(
        gone.errors[1],
        "no doctest of rust/kernel/rbtree.rs ran: the log ends in suite \
         rust_doctests_kernel (rust_doctests_kernel: panicked at rust/kernel/list.rs:60:14:)"
    );
}

#[test]
fn doctests_skipped_have_not_run() {
    let verdict = verdict("doctests-skip", &[], &[LIST]);
    assert_eq!(verdict.counts, counts(0, 0, 3, 0));
    assert_eq!(
        verdict.errors,
        ["no doctest of rust/kernel/list.rs ran: 3 tests skipped"]
    );
}

#[test]
fn warnings_do_not_fail() {
    let verdict = verdict("warning", &["demo_walk"], &[]);
    assert!(verdict.pass, "{:?}", verdict.errors);
    assert_eq!(verdict.warnings.len(), 1);
    let warning = &verdict.warnings[0];
    assert_eq!(
        (warning.suite.as_str(), warning.case.as_str()),
        ("demo_walk", "warns")
    );
    assert!(
        warning
            .event
            .message
            .starts_with("WARNING: lib/demo_kunit.c:28")
    );
    assert!(
        self::verdict("warning", &["demo_list"], &[])
            .warnings
            .is_empty()
    );
}

#[test]
fn console_noise_changes_nothing() {
    let plain = log("pass");
    let shape = |log: &Log| -> Vec<(String, Status)> {
        let outcomes = log.suites.iter().flat_map(|s| s.outcomes());
        outcomes.map(|o| (o.path, o.status)).collect()
    };
    let qemu = log("qemu");
    assert_eq!(shape(&qemu), shape(&plain));
    assert!(!qemu.truncated && qemu.notes.is_empty());

    let text = String::from_utf8(bytes("pass").to_vec()).unwrap();
    for (line_start, line_end) in [
        ("", "\r\n"),
        ("", "\r\r\n"),
        ("[    0.123456] ", "\n"),
        ("<6>[99999.123456] ", "\n"),
        ("<6>", "\n"),
        ("[    0.123456][  T123] ", "\r\n"),
    ] {
        let other: String = text
            .lines()
            .map(|line| format!("{line_start}{line}{line_end}"))
            .collect();
        let mut other = parse(other.as_bytes());
        assert_eq!(shape(&other), shape(&plain), "{line_start:?} {line_end:?}");
        other.notes.clear();
        assert_eq!(other, plain, "{line_start:?} {line_end:?}");
    }
    // Time stamps do not change the result of a crash log.
    assert_eq!(
        verdict("dmesg", &["demo_walk"], &[]).errors,
        verdict("crash", &["demo_walk"], &[]).errors
    );
}

#[test]
fn verdict_is_flat_json() {
    let verdict = verdict("crash", &["demo_walk", "demo_init"], &[LIST]);
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(json["pass"], false);
    assert_eq!(json["passed"], 2);
    assert_eq!(json["crashed"], 2);
    assert_eq!(json["truncated"], true);
    assert_eq!(json["missing_suites"][0], "demo_init");
    assert_eq!(json["missing_doctests"][0], LIST);
    assert_eq!(json["suites"][0]["name"], "demo_walk");
    assert_eq!(json["suites"][0]["ran"], true);
    assert_eq!(json["suites"][0]["crashed"], 2);
    assert_eq!(json["failures"][0]["suite"], "demo_walk");
    assert_eq!(json["failures"][0]["case"], "crashes");
    assert_eq!(json["failures"][0]["status"], "crashed");
    assert_eq!(json["failures"][0]["line"], serde_json::Value::Null);
    let json = serde_json::to_value(self::verdict("fail", &["demo_list"], &[])).unwrap();
    assert_eq!(json["failures"][0]["file"], "lib/demo_kunit.c");
    assert_eq!(json["failures"][0]["line"], 12);
}

/// Parses and evaluates any log, and verifies the invariants of the results.
fn check(log: &[u8]) -> Result<(), TestCaseError> {
    let log = parse(log);
    let all = ["demo_list", "demo_walk", "rust_kvec"];
    let doctests = [LIST, "rust/kernel/list/impl_list_item_mod.rs"];
    check_verdict(&log, &expect(&all, &doctests))?;
    // Hardly any log has all of these and passes. A suite of the log may.
    let suites: BTreeSet<&str> = log.suites.iter().map(|s| s.name.as_str()).collect();
    for suite in suites {
        check_verdict(&log, &expect(&[suite], &[]))?;
    }
    serde_json::to_string(&log).unwrap();
    Ok(())
}

/// Verifies the invariants of a verdict.
fn check_verdict(log: &Log, expected: &Expectation) -> Result<(), TestCaseError> {
    let verdict = judge(log, expected);
    prop_assert_eq!(verdict.pass, verdict.errors.is_empty());
    let bad: u64 = verdict
        .failures
        .iter()
        .map(|f| f.count)
        .fold(0, |a, b| a.saturating_add(b));
    prop_assert_eq!(
        bad,
        verdict.counts.failed.saturating_add(verdict.counts.crashed)
    );
    if verdict.pass {
        prop_assert_eq!(bad, 0);
        prop_assert!(verdict.missing_suites.is_empty() && verdict.missing_doctests.is_empty());
        let least = expected.suites.len() + expected.doctests.len();
        prop_assert!(verdict.counts.passed >= least as u64);
    }
    prop_assert!(total(verdict.counts) <= total(counts_of(log)));
    serde_json::to_string(&verdict).unwrap();
    Ok(())
}

const WORDS: &[&[u8]] = &[
    b"\n",
    b"\n    ",
    b"\n        ",
    b"\t",
    b" ",
    b"ok ",
    b"not ok ",
    b"1",
    b"2",
    b"1..3",
    b"1..99999999999999999999",
    b"KTAP version 1",
    b"# Subtest: ",
    b"demo_list",
    b" # SKIP ",
    b"# a.location: ",
    b"x:1",
    b":",
    b".",
    b"[    0.1] ",
    b"<6>",
    b"\x1b[",
    b"\xff",
    b"\r",
    b"BUG: ",
    b"Pid: ",
    b", comm: ",
    b"panicked at ",
    b"reboot: System halted",
    b"#",
    b"EXPECTATION FAILED at ",
    b"18446744073709551615",
];

/// A log that a failed test prints as text.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Logs of random bytes and the words of logs.
fn words() -> impl Strategy<Value = Bytes> {
    let piece = prop_oneof![
        3 => select(WORDS).prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    vec(piece, 0..120).prop_map(|pieces| Bytes(pieces.concat()))
}

/// Logs of KTAP lines in any order, at the columns of suites, cases and parameters.
fn lines() -> impl Strategy<Value = Bytes> {
    let name = select(&["demo_list", "demo_walk", "rust_kvec", "a"]);
    let text = prop_oneof![
        4 => (select(&["ok", "not ok"]), 1..4_u8, name.clone(), select(&["", " # SKIP no device"]))
            .prop_map(|(result, number, name, skip)| format!("{result} {number} {name}{skip}")),
        2 => (0..4_u8).prop_map(|plan| format!("1..{plan}")),
        2 => name.clone().prop_map(|name| format!("# Subtest: {name}")),
        2 => Just("KTAP version 1".to_owned()),
        1 => name.prop_map(|name| format!("# {name}: EXPECTATION FAILED at lib/a.c:1")),
        1 => select(&["BUG: no handler", "Kernel panic - not syncing", "reboot: System halted"])
            .prop_map(str::to_owned),
    ];
    let line = (select(&["", "    ", "        "]), text);
    let line = line.prop_map(|(indent, text)| format!("{indent}{text}\n"));
    vec(line, 0..40).prop_map(|lines| {
        let log = format!("KTAP version 1\n{}", lines.concat());
        Bytes(log.into_bytes())
    })
}

/// A fault of a log.
#[derive(Debug, Clone)]
enum Fault {
    Truncate(Index),
    Replace(Index, u8),
    Insert(Index, u8),
    Cut(Index, Index),
    Repeat(Index, Index),
    MoveLine(Index, Index),
    DropLine(Index),
}

fn fault() -> impl Strategy<Value = Fault> {
    let at = any::<Index>;
    prop_oneof![
        at().prop_map(Fault::DropLine),
        (at(), at()).prop_map(|(from, to)| Fault::MoveLine(from, to)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Fault::Replace(at, byte)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Fault::Insert(at, byte)),
        (at(), at()).prop_map(|(from, to)| Fault::Cut(from, to)),
        (at(), at()).prop_map(|(from, to)| Fault::Repeat(from, to)),
        at().prop_map(Fault::Truncate),
    ]
}

impl Fault {
    /// Damages a log.
    fn put_into(&self, log: &mut Vec<u8>) {
        if log.is_empty() {
            return;
        }
        let len = log.len();
        let range = |from: &Index, to: &Index| {
            let (from, to) = (from.index(len), to.index(len));
            from.min(to)..from.max(to)
        };
        match self {
            Fault::Truncate(at) => log.truncate(at.index(len)),
            Fault::Replace(at, byte) => log[at.index(len)] = *byte,
            Fault::Insert(at, byte) => log.insert(at.index(len), *byte),
            Fault::Cut(from, to) => drop(log.drain(range(from, to))),
            Fault::Repeat(from, to) => log.extend_from_within(range(from, to)),
            Fault::DropLine(at) => {
                let mut lines = split(log);
                lines.remove(at.index(lines.len()));
                *log = lines.concat();
            }
            Fault::MoveLine(from, to) => {
                let mut lines = split(log);
                let line = lines.remove(from.index(lines.len()));
                lines.insert(to.index(lines.len() + 1), line);
                *log = lines.concat();
            }
        }
    }
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(3_000))]

    #[test]
    fn random_words_never_panic(log in words()) {
        check(&log.0)?;
    }

    #[test]
    fn random_lines_never_panic(log in lines()) {
        check(&log.0)?;
    }

    #[test]
    fn faulty_logs_never_panic(
        name in select(LOGS.iter().map(|(name, _)| *name).collect::<Vec<_>>()),
        faults in vec(fault(), 0..9),
    ) {
        let mut log = bytes(name).to_vec();
        for fault in &faults {
            fault.put_into(&mut log);
        }
        check(&log)?;
    }
}

#[test]
fn recorded_logs_keep_invariants() {
    for (name, bytes) in LOGS {
        check(bytes).expect(name);
    }
}

/// Returns the log without that line.
fn without(lines: &[&[u8]], lost: usize) -> Vec<u8> {
    let kept = lines.iter().enumerate().filter(|(i, _)| *i != lost);
    kept.flat_map(|(_, line)| line.iter().copied()).collect()
}

#[test]
fn lost_line_never_passes() {
    for (name, expected) in [
        ("fail", expect(&["demo_list"], &[])),
        ("fail", expect(&["demo_init"], &[])),
        ("crash", expect(&["demo_walk"], &[])),
        ("bug", expect(&["demo_walk"], &[])),
        ("truncated", expect(&["demo_walk"], &[])),
        ("doctests-fail", expect(&[], &[LIST])),
        ("doctests-panic", expect(&[], &[LIST])),
    ] {
        let lines = split(bytes(name));
        for lost in 0..lines.len() {
            let verdict = judge(&parse(&without(&lines, lost)), &expected);
            assert!(!verdict.pass, "{name} without line {}", lost + 1);
        }
        for end in (0..bytes(name).len()).step_by(5) {
            let verdict = judge(&parse(&bytes(name)[..end]), &expected);
            assert!(!verdict.pass, "{name} up to byte {end}");
        }
    }
}

#[test]
fn lost_result_never_passes() {
    for (name, expected) in [
        (
            "pass",
            expect(&["demo_list", "demo_walk", "demo_init"], &[]),
        ),
        ("doctests", expect(&[DOCTEST_SUITE], &[])),
    ] {
        let lines = split(bytes(name));
        assert!(judge(&parse(bytes(name)), &expected).pass);
        let mut tried = 0;
        for lost in 0..lines.len() {
            let line = String::from_utf8_lossy(lines[lost]);
            // No plan announces the parameters, so the last one may be lost.
            let last = line.contains("param-3");
            if line.contains("ok ") && !line.contains("skip") && !last {
                let verdict = judge(&parse(&without(&lines, lost)), &expected);
                assert!(!verdict.pass, "{name} without {line:?}");
                tried += 1;
            }
        }
        assert!(tried >= 6, "{name}");
    }
}

#[test]
fn leak_in_passing_test_is_reported() {
    let verdict = verdict("leak", &["gpu_buddy"], &[]);
    assert!(verdict.pass, "{:?}", verdict.errors);
    let seen = watch(Target::Hardened, bytes("leak"), 0);
    assert!(seen.errors.is_empty(), "{:?}", seen.errors);
    assert_eq!(seen.proofs.len(), 4);
    assert_eq!(seen.reports.len(), 1, "{:?}", seen.reports);
    assert_eq!(seen.reports[0].kind, "kmemleak");
    assert_eq!(
        seen.reports[0].message,
        "unreferenced object 0x62739500 (size 128)"
    );
    assert!(seen.reports[0].details[0].starts_with("comm \"kunit_try_catch\", pid 25,"));
}

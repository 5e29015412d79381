// SPDX-License-Identifier: GPL-2.0

//! Parses the output of a kernel's checkers: their reports, and the evidence that they were on.
//!
//! A log without reports is not sufficient: kmemleak and lockdep turn themselves off after an
//! error, and kmemleak scans only on request. A boot counts only if each checker reported that it
//! started, and answered the probe, which is the first process after the suites. lockdep never
//! turns itself on again, so if it is on after the suites, it was on during all of them.
//!
//! Not every object in kmemleak's list is a leak. On UML, clang places zeroed statics in `.lbss`,
//! which kmemleak does not scan, so it lists objects from the boot that only these statics
//! reference. They belong to the first three processes. Test cases run in their own threads, which
//! have higher numbers, as do the threads that they start. The check therefore counts objects of
//! process 3 and above.

use serde::Serialize;

use super::{ktap, probe::TAG};
use crate::kernel::build::Target;

/// The last process of the boot: 0 starts the kernel, 1 runs the initcalls and the suites'
/// framework, 2 creates threads.
const LAST_OF_BOOT: u32 = 2;

/// The necessary number of kmemleak scans: the first one only computes checksums.
const SCANS: usize = 2;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The checker, or the kind of error.
    pub kind: &'static str,
    pub message: String,
    /// kmemleak's details of a leak: the process, the first bytes, the backtrace if it is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// The number of the line in the log, from 1.
    pub log_line: usize,
}

impl Report {
    fn new(kind: &'static str, message: &str, log_line: usize) -> Self {
        Self {
            kind,
            message: message.to_owned(),
            details: Vec::new(),
            log_line,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Watch {
    pub reports: Vec<Report>,
    /// Evidence that the checkers were on, once per boot.
    pub proofs: Vec<String>,
    /// Missing evidence, one sentence each.
    #[serde(skip)]
    pub errors: Vec<String>,
}

impl Watch {
    /// Adds the results of another boot.
    pub fn add(&mut self, other: Watch) {
        self.reports.extend(other.reports);
        self.proofs.extend(other.proofs);
        self.errors.extend(other.errors);
    }

    /// Returns the reasons why the tests do not count as passed.
    pub fn complaints(&self) -> Vec<String> {
        let reports = self.reports.iter().map(|r| {
            let details: String = r.details.iter().map(|d| format!("\n  {d}")).collect();
            format!(
                "{}: {} (line {} of the log){details}",
                r.kind, r.message, r.log_line
            )
        });
        reports.chain(self.errors.iter().cloned()).collect()
    }

    /// Adds `proof` if `is` holds, and `error` otherwise.
    fn need(&mut self, is: bool, proof: &str, error: &str) {
        if is {
            self.proofs.push(proof.to_owned());
        } else {
            self.errors.push(error.to_owned());
        }
    }

    /// Requires the line that a checker prints when it starts.
    fn need_start(&mut self, logged: impl Fn(&str) -> bool, checker: &str, sign: &str) {
        let error = format!("{checker} did not start: the log has no \"{sign}\"");
        self.need(logged(sign), &format!("{checker} started"), &error);
    }
}

/// Parses the log of one boot, which starts after `before` lines of the complete log.
pub fn watch(target: Target, log: &[u8], before: usize) -> Watch {
    if matches!(target, Target::Plain(_)) {
        return Watch::default();
    }
    let mut watch = Watch::default();
    let (mut kernel, mut probe) = (Vec::new(), Vec::new());
    for (line, text) in ktap::lines(log) {
        let (line, text) = (before + line, text.trim());
        match text.strip_prefix(TAG) {
            Some(said) => probe.push((line, said.to_owned())),
            None => {
                let report = kind(text).map(|kind| Report::new(kind, text, line));
                watch.reports.extend(report);
                kernel.push(text.to_owned());
            }
        }
    }
    let (leaks, of_boot) = leaks(&probe);
    watch.reports.extend(leaks);
    watch.reports.sort_by_key(|report| report.log_line);
    let told = |start: &'static str| {
        let lines = probe.iter().map(|(_, said)| said.as_str());
        lines.filter_map(move |said| said.strip_prefix(start))
    };
    let errors = told("error: ").map(|error| format!("the probe reports: {error}"));
    watch.errors.extend(errors);
    let times = |line: &str| probe.iter().filter(|(_, said)| said == line).count();
    let logged = |sign: &str| kernel.iter().any(|text| text.contains(sign));
    if target == Target::Hardened {
        watch.need_start(logged, "KASAN", "KernelAddressSanitizer initialized");
        let sign = "kmemleak: Kernel memory leak detector initialized";
        watch.need_start(logged, "kmemleak", sign);
        let scans = times("kmemleak: scanned");
        let proof = format!(
            "kmemleak scanned {scans} times after the suites, {of_boot} objects in its list come \
             from the boot"
        );
        let error =
            format!("kmemleak did not complete its scans after the suites: {scans} of {SCANS}");
        watch.need(scans >= SCANS, &proof, &error);
    } else {
        let begins = |sign: &str| kernel.iter().any(|text| text.starts_with(sign));
        watch.need_start(begins, "lockdep", "Lock dependency validator:");
        let mut locks = told("lockdep| ").filter_map(|l| l.trim().strip_prefix("debug_locks:"));
        let locks = locks.next_back().map(str::trim);
        let proof = "lockdep was on after the suites: debug_locks 1";
        let error = match locks {
            Some(_) => {
                "lockdep turned itself off before the suites ended (debug_locks is 0), so it did \
                 not check all of them"
            }
            None => "the log does not show that lockdep was on after the suites",
        };
        watch.need(locks == Some("1"), proof, error);
    }
    let error = "the kernel did not complete the probe, which runs after the suites";
    watch.need(times("end") > 0, "the probe completed", error);
    watch
}

/// Returns the entries of kmemleak's list that may come from a suite, and the number of those that
/// come from the boot.
fn leaks(probe: &[(usize, String)]) -> (Vec<Report>, usize) {
    let mut objects: Vec<Report> = Vec::new();
    for (line, said) in probe {
        let Some(text) = said.strip_prefix("kmemleak| ").map(str::trim) else {
            continue;
        };
        if text.starts_with("unreferenced object") {
            objects.push(Report::new("kmemleak", text.trim_end_matches(':'), *line));
        } else if let Some(object) = objects.last_mut() {
            object.details.push(text.to_owned());
        }
    }
    let all = objects.len();
    // An object of an unknown process may come from a suite.
    objects.retain(|object| {
        let process = object.details.iter().find_map(|detail| process(detail));
        process.is_none_or(|pid| pid > LAST_OF_BOOT)
    });
    let of_boot = all - objects.len();
    (objects, of_boot)
}

/// Returns the process in `comm "kunit_try_catch", pid 31, jiffies 4294937326`.
fn process(detail: &str) -> Option<u32> {
    let rest = detail.strip_prefix("comm ")?;
    let (_, rest) = rest.rsplit_once("\", pid ")?;
    rest.split_once(',')?.0.parse().ok()
}

/// Prefixes of reports with the kind of each. The first match counts.
const STARTS: &[(&str, &str)] = &[
    ("BUG: KASAN: ", "KASAN"),
    ("KASAN: ", "KASAN"),
    ("BUG: sleeping function called", "sleep in atomic context"),
    ("BUG: scheduling while atomic", "sleep in atomic context"),
    ("BUG: ", "bug"),
    // Errors that the slab allocator finds in its own memory.
    ("BUG ", "bug"),
    ("kernel BUG at ", "bug"),
    ("UBSAN: ", "UBSAN"),
    ("list_add corruption", "list corruption"),
    ("list_del corruption", "list corruption"),
    ("INFO: trying to register non-static key", "lockdep"),
    ("turning off the locking correctness", "lockdep"),
    ("DEBUG_LOCKS_WARN_ON", "lockdep"),
    ("INFO: lockdep is turned off", "lockdep"),
    ("WARNING: ", "warning"),
    ("kmemleak: ", "kmemleak"),
    ("Oops", "crash"),
    ("Kernel panic - not syncing", "crash"),
    ("Internal error: ", "crash"),
    ("Unable to handle kernel ", "crash"),
    ("general protection fault", "crash"),
];

/// lockdep's names of its reports, after `WARNING: ` or in `[ BUG: … ]`.
const LOCKDEP: &[&str] = &[
    "possible circular locking",
    "possible recursive locking",
    "possible irq lock inversion",
    "unsafe lock order detected",
    "inconsistent lock state",
    "suspicious RCU usage",
    "bad unlock balance",
    "Invalid wait context",
    "held lock freed",
    "lock held when returning",
    "bad contention",
    "nested lock was not taken",
    "chain_key collision",
];

/// kmemleak's messages without an error. The check counts the entries of the list instead of the
/// summary of a scan.
const WELL: &[&str] = &[
    "kmemleak: Kernel memory leak detector initialized",
    "kmemleak: Automatic memory scanning thread",
    "new suspected memory leaks",
];

/// Returns the kind of report that a line of the kernel is, if it is one.
fn kind(text: &str) -> Option<&'static str> {
    let text = text.strip_prefix("[ ").unwrap_or(text);
    let contains = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let (_, kind) = STARTS.iter().find(|(start, _)| text.starts_with(start))?;
    match *kind {
        "kmemleak" if contains(WELL) => None,
        _ if contains(LOCKDEP) => Some("lockdep"),
        kind => Some(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_recognizes_reports() {
        for (text, is) in [
            ("BUG: KASAN: slab-use-after-free in foo+0x1/0x2", "KASAN"),
            (
                "BUG: sleeping function called from invalid context at mm/slab.h:1",
                "sleep in atomic context",
            ),
            (
                "BUG: scheduling while atomic: kunit_try_catch/25/0x2",
                "sleep in atomic context",
            ),
            ("BUG: Bad page state in process swapper  pfn:1", "bug"),
            (
                "BUG kmalloc-64 (Not tainted): Left Redzone overwritten",
                "bug",
            ),
            ("kernel BUG at lib/list_debug.c:51!", "bug"),
            (
                "UBSAN: shift-out-of-bounds in drivers/gpu/buddy.c:1:2",
                "UBSAN",
            ),
            (
                "list_del corruption. prev->next should be 1, but was 2",
                "list corruption",
            ),
            ("WARNING: lib/x.c:7 at foo, CPU#0: swapper/1", "warning"),
            ("WARNING: possible recursive locking detected", "lockdep"),
            (
                "WARNING: possible circular locking dependency detected",
                "lockdep",
            ),
            (
                "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected",
                "lockdep",
            ),
            ("[ BUG: Invalid wait context ]", "lockdep"),
            ("WARNING: bad unlock balance detected!", "lockdep"),
            ("WARNING: suspicious RCU usage", "lockdep"),
            ("INFO: trying to register non-static key.", "lockdep"),
            ("turning off the locking correctness validator.", "lockdep"),
            ("kmemleak: Kernel memory leak detector disabled", "kmemleak"),
            ("Oops: general protection fault", "crash"),
            ("Kernel panic - not syncing: Fatal exception", "crash"),
        ] {
            assert_eq!(kind(text), Some(is), "{text:?}");
        }
        for text in [
            "kmemleak: Kernel memory leak detector initialized (mem pool available: 39000)",
            "kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "# case: BUG: is what this test is about",
            "ok 1 WARNING: a name",
            "DEBUG: nothing",
            "Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
            "nova-core: WARNING: not at the start",
            "",
        ] {
            assert_eq!(kind(text), None, "{text:?}");
        }
    }

    const HARDENED: &str = "KernelAddressSanitizer initialized (generic)\n\
        kmemleak: Kernel memory leak detector initialized (mem pool available: 1)\n\
        series-probe: kmemleak: scanned\nseries-probe: kmemleak: scanned\nseries-probe: end\n";

    const LOCKDEP: &str = "Lock dependency validator: Copyright\n\
        series-probe: lockdep|  debug_locks:                             1\nseries-probe: end\n";

    #[test]
    fn watch_requires_each_proof() {
        for (target, log) in [(Target::Hardened, HARDENED), (Target::Lockdep, LOCKDEP)] {
            let whole = watch(target, log.as_bytes(), 0);
            assert!(whole.complaints().is_empty(), "{whole:?}");
            for lost in 0..log.lines().count() {
                let lines = log.lines().enumerate().filter(|(i, _)| *i != lost);
                let rest: String = lines.map(|(_, l)| format!("{l}\n")).collect();
                let watch = watch(target, rest.as_bytes(), 0);
                assert_eq!(watch.errors.len(), 1, "{rest}");
                assert_eq!(watch.proofs.len(), whole.proofs.len() - 1);
            }
        }
    }

    #[test]
    fn watch_lockdep_off_is_an_error() {
        let log = LOCKDEP.replace(" 1\n", " 0\n");
        let watch = watch(Target::Lockdep, log.as_bytes(), 0);
        assert!(watch.errors[0].contains("turned itself off"), "{watch:?}");
    }

    #[test]
    fn watch_leak_has_details() {
        let log = "x\n<6>[    9.1] series-probe: kmemleak| unreferenced object 0x1 (size 64):\n\
            series-probe: kmemleak|   comm \"kunit_try_catch\", pid 31, jiffies 4294937326\n\
            series-probe: kmemleak|   hex dump (first 16 bytes):\n\
            series-probe: kmemleak|     00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ........\n\
            series-probe: kmemleak|   backtrace (crc 0):\n\
            series-probe: kmemleak| unreferenced object (percpu) 0x2 (size 4):\n\
            series-probe: kmemleak|   comm \"swapper/0\", pid 1, jiffies 4294937326\n\
            series-probe: kmemleak| unreferenced object 0x3 (size 8):\n\
            series-probe: kmemleak|   comm \"odd, \", pid 2, x\", pid 40, jiffies 4294937326\n\
            series-probe: kmemleak| unreferenced object 0x4 (size 8):\n";
        let log = log.to_owned() + HARDENED;
        let seen = watch(Target::Hardened, log.as_bytes(), 10);
        let said: Vec<_> = seen.reports.iter().map(|r| &r.message[20..]).collect();
        // The process of the second one shows that it comes from the boot; the last one has no
        // process.
        assert_eq!(said, ["0x1 (size 64)", "0x3 (size 8)", "0x4 (size 8)"]);
        assert_eq!(
            seen.complaints()[0],
            "kmemleak: unreferenced object 0x1 (size 64) (line 12 of the log)\n  \
             comm \"kunit_try_catch\", pid 31, jiffies 4294937326\n  \
             hex dump (first 16 bytes):\n  \
             00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ........\n  backtrace (crc 0):"
        );
        assert!(seen.proofs[2].contains("1 objects in its list come from the boot"));
    }

    #[test]
    fn watch_ignores_plain_kernel() {
        let log = b"WARNING: a test provokes it\n";
        let seen = watch(Target::ALL[0], log, 0);
        assert_eq!(seen, Watch::default());
    }

    #[test]
    fn add_combines_boots() {
        let mut all = watch(Target::Hardened, HARDENED.as_bytes(), 0);
        all.add(watch(Target::Hardened, b"BUG: late\n", 5));
        assert_eq!((all.proofs.len(), all.errors.len()), (4, 4));
        assert_eq!(all.reports[0].log_line, 6);
    }
}

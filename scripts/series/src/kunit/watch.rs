// SPDX-License-Identifier: GPL-2.0

//! What the checkers of a kernel say beside the results of its tests: their reports, and the proof
//! that they were on.
//!
//! A silent checker proves nothing: kmemleak and lockdep switch themselves off when something goes
//! wrong, and kmemleak only looks when it is asked. So a boot counts only if each checker said that
//! it started, and if the probe, which is the first process after the suites, had an answer from it.
//! lockdep never switches itself on again, so one that is on after the suites was on all along.

use serde::Serialize;

use super::{
    ktap,
    probe::TAG, //
};
use crate::kernel::Target;

/// How often kmemleak has to look: the first time it only takes the checksums.
const SCANS: usize = 2;

/// One report of a checker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Which checker, or what it found.
    pub kind: &'static str,
    /// The line that tells it.
    pub message: String,
    /// Where a leak was allocated, innermost call first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backtrace: Vec<String>,
    /// Its line in the log, from 1.
    pub log_line: usize,
}

/// What was seen beside the results.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Watch {
    /// What the checkers reported.
    pub reports: Vec<Report>,
    /// What shows that they looked, once per boot.
    pub proofs: Vec<String>,
    /// Why it is not shown, one sentence each.
    #[serde(skip)]
    pub errors: Vec<String>,
}

impl Watch {
    /// Adds what another boot showed.
    pub fn add(&mut self, other: Watch) {
        self.reports.extend(other.reports);
        self.proofs.extend(other.proofs);
        self.errors.extend(other.errors);
    }

    /// Why the tests do not count as passed.
    pub fn complaints(&self) -> Vec<String> {
        let reports = self.reports.iter().map(|r| {
            let from: String = calls(r).map(|call| format!("\n  {call}")).collect();
            format!(
                "{}: {} (line {} of the log){from}",
                r.kind, r.message, r.log_line
            )
        });
        reports.chain(self.errors.iter().cloned()).collect()
    }
}

/// The calls that led to a leak, without those that only allocate.
fn calls(report: &Report) -> impl Iterator<Item = &str> {
    let allocates = |call: &&str| {
        ["kmalloc", "kmem_cache_alloc", "krealloc", "kmemleak_"]
            .iter()
            .any(|word| call.contains(word))
    };
    let calls = report.backtrace.iter().map(String::as_str);
    calls.skip_while(allocates).take(6)
}

/// What the log of one boot tells. `before` lines of the whole log are other boots'.
pub fn watch(target: Target, log: &[u8], before: usize) -> Watch {
    let mut seen = Seen::default();
    for (line, text) in ktap::lines(log) {
        let text = text.trim();
        match text.strip_prefix(TAG) {
            Some(said) => seen.probe(before + line, said),
            None => seen.kernel(before + line, text),
        }
    }
    seen.judge(target)
}

/// What was read so far of one boot.
#[derive(Default)]
struct Seen {
    reports: Vec<Report>,
    errors: Vec<String>,
    kasan: bool,
    kmemleak: bool,
    lockdep: bool,
    scans: usize,
    debug_locks: Option<bool>,
    end: bool,
}

impl Seen {
    fn report(&mut self, kind: &'static str, message: &str, log_line: usize) {
        self.reports.push(Report {
            kind,
            message: message.to_owned(),
            backtrace: Vec::new(),
            log_line,
        });
    }

    fn kernel(&mut self, line: usize, text: &str) {
        self.kasan |= text.contains("KernelAddressSanitizer initialized");
        self.kmemleak |= text.contains("kmemleak: Kernel memory leak detector initialized");
        self.lockdep |= text.starts_with("Lock dependency validator:");
        if let Some(kind) = kind(text) {
            self.report(kind, text, line);
        }
    }

    fn probe(&mut self, line: usize, said: &str) {
        if let Some(error) = said.strip_prefix("error: ") {
            self.errors.push(format!("the probe says: {error}"));
        } else if let Some(text) = said.strip_prefix("kmemleak| ") {
            self.leak(line, text.trim());
        } else if let Some(text) = said.strip_prefix("lockdep| ") {
            if let Some(value) = text.trim().strip_prefix("debug_locks:") {
                self.debug_locks = Some(value.trim() == "1");
            }
        } else {
            self.scans += usize::from(said == "kmemleak: scanned");
            self.end |= said == "end";
        }
    }

    /// A line of kmemleak's list.
    fn leak(&mut self, line: usize, text: &str) {
        if text.starts_with("unreferenced object") {
            self.report("kmemleak", text.trim_end_matches(':'), line);
        } else if let Some(call) = text.strip_prefix("[<").and_then(|t| t.split_once(">] "))
            && let Some(report) = self.reports.last_mut()
        {
            report.backtrace.push(call.1.to_owned());
        } else if let Some(report) = self.reports.last_mut()
            && is_call(text)
        {
            report.backtrace.push(text.to_owned());
        }
    }

    fn judge(self, target: Target) -> Watch {
        let mut watch = Watch {
            reports: self.reports,
            proofs: Vec::new(),
            errors: self.errors,
        };
        let mut need = |is: bool, proof: &str, error: &str| match is {
            true => watch.proofs.push(proof.to_owned()),
            false => watch.errors.push(error.to_owned()),
        };
        match target {
            Target::Plain(_) => return Watch::default(),
            Target::Hardened => {
                need(
                    self.kasan,
                    "KASAN started",
                    "KASAN did not start: the log has no \"KernelAddressSanitizer initialized\"",
                );
                need(
                    self.kmemleak,
                    "kmemleak started",
                    "kmemleak did not start: the log has no \"leak detector initialized\"",
                );
                need(
                    self.scans >= SCANS,
                    &format!("kmemleak scanned {} times after the suites", self.scans),
                    &format!(
                        "kmemleak did not look for leaks after the suites: {} scans of {SCANS}",
                        self.scans
                    ),
                );
            }
            Target::Lockdep => {
                need(
                    self.lockdep,
                    "lockdep started",
                    "lockdep did not start: the log has no \"Lock dependency validator\"",
                );
                match self.debug_locks {
                    Some(true) => need(true, "lockdep was on after the suites: debug_locks 1", ""),
                    Some(false) => need(
                        false,
                        "",
                        "lockdep switched itself off before the suites ended (debug_locks is 0), so \
                         it did not see all of them",
                    ),
                    None => need(
                        false,
                        "",
                        "nothing shows that lockdep was on after the suites",
                    ),
                }
            }
        }
        need(
            self.end,
            "the kernel came to its end",
            "the kernel did not come to the end of the probe, which runs after the suites",
        );
        watch
    }
}

/// Whether a line of a backtrace names a call: `name+0x1/0x2`.
fn is_call(text: &str) -> bool {
    !text.contains(' ') && text.contains("+0x")
}

/// How a line starts that is a report, and what kind of one it is. The first that fits counts.
const STARTS: &[(&str, &str)] = &[
    ("BUG: KASAN: ", "KASAN"),
    ("KASAN: ", "KASAN"),
    ("BUG: sleeping function called", "sleep in atomic context"),
    ("BUG: scheduling while atomic", "sleep in atomic context"),
    ("BUG: ", "bug"),
    // What the allocator finds in its own memory.
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

/// What lockdep calls what it finds, after `WARNING: ` or in `[ BUG: … ]`.
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

/// What kmemleak says when all is well.
const WELL: &[&str] = &[
    "kmemleak: Kernel memory leak detector initialized",
    "kmemleak: Automatic memory scanning thread",
];

/// The kind of report that a line of the kernel is, if it is one.
fn kind(text: &str) -> Option<&'static str> {
    let text = text.strip_prefix("[ ").unwrap_or(text);
    let (_, kind) = STARTS.iter().find(|(start, _)| text.starts_with(start))?;
    if WELL.iter().any(|well| text.starts_with(well)) {
        return None;
    }
    match LOCKDEP.iter().any(|name| text.contains(name)) {
        true => Some("lockdep"),
        false => Some(kind),
    }
}

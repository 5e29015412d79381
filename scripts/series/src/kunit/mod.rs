// SPDX-License-Identifier: GPL-2.0

//! Runs `kunit.py` for a component and judges what the kernel wrote.

pub mod ktap;
mod qemu;
pub mod verdict;

use std::{
    fs,
    time::Duration, //
};

use serde::{
    Deserialize,
    Serialize, //
};

use self::verdict::{
    Expectation,
    Verdict, //
};
use crate::{
    emit::json,
    error::{
        Error,
        Result, //
    },
    kernel::{
        Arch,
        Build, //
    },
    manifest::Series,
    runner::not_started,
    workspace::{
        Workspace,
        write, //
    },
};

/// How long one boot may take. QEMU without KVM is slow.
const TIMEOUT: Duration = Duration::from_secs(900);

/// `out/kunit/<arch>/<name>.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// The component.
    pub name: String,
    /// The architecture.
    pub arch: Arch,
    /// The tree that the kernel was built from.
    pub tree: String,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The part of a [`Record`] that a table shows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Summary {
    /// The tree that the kernel was built from.
    pub tree: String,
    /// Whether everything expected ran and passed.
    pub pass: bool,
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that crashed or never reported.
    pub crashed: u64,
    /// Tests that were skipped.
    pub skipped: u64,
}

/// What a series expects of KUnit.
pub fn expectation(series: &Series) -> Expectation {
    Expectation {
        suites: series.kunit.suites.clone(),
        doctests: series.kunit.doctests.clone(),
    }
}

/// The filters with which a component's tests are picked: one for each suite, and one for its
/// doctests. KUnit takes one filter a boot.
pub fn filters(expected: &Expectation) -> Vec<String> {
    let mut filters = expected.suites.clone();
    let names = expected.doctests.iter().map(|f| doctest_prefix(f));
    if let Some(prefix) = names.reduce(|a, b| common_prefix(&a, &b)) {
        filters.push(format!("{}.{prefix}*", verdict::DOCTEST_SUITE));
    }
    filters
}

/// How the names of a file's doctests start.
fn doctest_prefix(file: &str) -> String {
    let below = file.strip_prefix("rust/kernel/").unwrap_or(file);
    format!("rust_doctest_kernel_{}", below.replace(['/', '.'], "_"))
}

fn common_prefix(a: &str, b: &str) -> String {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b);
    same.map(|(c, _)| c).collect()
}

/// Boots the built kernel for the tests of `series`, and records the verdict under `out/kunit/`.
///
/// # Errors
///
/// `kunit.py` could not be started. Tests that fail are in the [`Record`].
pub fn run(ws: &Workspace, build: &Build<'_>, series: &Series, tree: &str) -> Result<Record> {
    let expected = expectation(series);
    let mut raw = Vec::new();
    let mut complaints = Vec::new();
    let test_log = build.dir().join("test.log");
    let front = qemu::without_kvm(build)?;
    for filter in filters(&expected) {
        // A log of an earlier boot must not be taken for one of this.
        let _ = fs::remove_file(&test_log);
        let cmd = build
            .kunit("exec")
            .arg(format!("--timeout={}", TIMEOUT.as_secs()))
            .arg(&filter)
            .timeout(TIMEOUT + Duration::from_secs(60));
        let cmd = match &front {
            Some(front) => {
                let path = std::env::var("PATH").unwrap_or_default();
                cmd.env("PATH", format!("{}:{path}", front.display()))
            }
            None => cmd,
        };
        let out = build.runner.run(&cmd).map_err(|e| not_started(&cmd, &e))?;
        let text = fs::read(&test_log).unwrap_or_default();
        if text.is_empty() {
            complaints.push(format!(
                "kunit.py wrote no log for {filter}: {}",
                last_line(&out)
            ));
        }
        raw.extend(text);
        if !out.ok() {
            complaints.push(format!(
                "kunit.py is not content with {filter}: {}",
                last_line(&out)
            ));
        }
    }
    let mut verdict = verdict::judge(&ktap::parse(&raw), &expected);
    if !complaints.is_empty() {
        verdict.pass = false;
        verdict.errors.extend(complaints);
    }
    let record = Record {
        name: series.name.clone(),
        arch: build.arch,
        tree: tree.to_owned(),
        verdict,
    };
    let dir = ws.out()?.join("kunit").join(build.arch.name());
    write(&dir.join(format!("{}.log", series.name)), &raw)?;
    write(&dir.join(format!("{}.json", series.name)), &json(&record)?)?;
    Ok(record)
}

fn last_line(out: &crate::runner::Output) -> String {
    let text = match out.complaint() {
        text if text.is_empty() => out.text(),
        text => text,
    };
    text.lines().last().unwrap_or("it said nothing").to_owned()
}

/// The last recorded result of a component, if there is one.
pub fn recorded(ws: &Workspace, arch: Arch, name: &str) -> Option<Summary> {
    let path = ws.path(format!("out/kunit/{}/{name}.json", arch.name()));
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// The error for components whose tests did not pass.
pub fn failure(records: &[Record]) -> Option<Error> {
    let bad = records.iter().filter(|r| !r.verdict.pass);
    Error::all(
        bad.map(|r| {
            Error::new(format!(
                "KUnit of {} on {}: {}",
                r.name,
                r.arch.name(),
                r.verdict.summary()
            ))
            .detail(r.verdict.errors.join("\n"))
            .help(format!(
                "the kernel's log is out/kunit/{}/{}.log",
                r.arch.name(),
                r.name
            ))
        })
        .collect(),
    )
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
    fn a_failure_in_either_boot_counts() {
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

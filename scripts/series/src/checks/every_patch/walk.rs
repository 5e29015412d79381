// SPDX-License-Identifier: GPL-2.0

//! Builds a sequence of trees. Each tree is checked out once and compiled for all architectures in
//! parallel, unless the results are stored.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{
    Subject,
    checkout::Checkout,
    exchange::Origin,
    folder::{Compiled, Folder},
    record::{Times, UnitTime},
    store::{Key, Store, Timed, Unit},
};
use crate::{
    git::Oid,
    kernel::{build::CONFIGS, kconfig::is_kconfig, tools::LLVM},
    source::workspace::Workspace,
    sys::{Cmd, Result, Runner, ui::duration},
};

/// The targets of a baseline in addition to the files of `sources.toml`: the crates below `rust/`.
const ROOTS: [&str; 7] = [
    "rust/bindings",
    "rust/helpers",
    "rust/kernel",
    "rust/macros",
    "rust/pin-init",
    "rust/uapi",
    "rust/exports.c",
];

/// A tree to compile.
#[derive(Debug, Clone)]
pub struct Task {
    /// The name: "gpu-buddy 3".
    pub what: String,
    /// The description for progress lines.
    subject: String,
    tree: Oid,
    /// The paths that differ from the tree that was compiled before.
    touched: Vec<String>,
    /// Whether the tree is configured even if its Kconfig files are known.
    reconfigure: bool,
    /// The calls of make by architecture, the first with a call of rustdoc.
    units: Vec<Vec<Unit>>,
}

impl Task {
    pub fn units(&self) -> Vec<&Unit> {
        self.units.iter().flatten().collect()
    }
}

pub struct Walk<'a> {
    pub subject: &'a Subject<'a>,
    start: Instant,
    pub checkout: Checkout<'a>,
    pub store: Store,
    pub origin: Origin,
    /// The units whose results were made or found.
    pub units: Vec<UnitTime>,
    folders: Vec<Folder<'a>>,
    /// A digest of tools and lists that results depend on.
    common: Key,
    /// Remaining tasks, each with the units that are made in parallel.
    pending: Vec<(String, Vec<String>)>,
    total: usize,
}

/// Returns the fragment of an architecture. A workspace without a folder `full` has one for all.
pub fn fragment(ws: &Workspace, arch: &str) -> PathBuf {
    let mut file = format!("full/{arch}.config");
    if !ws.path(Path::new(CONFIGS).join("full")).is_dir() {
        file = "all.config".to_owned();
    }
    ws.place(CONFIGS, file)
}

impl<'a> Walk<'a> {
    /// Prepares the builds. The caller holds the lock.
    pub fn new(subject: &'a Subject<'a>) -> Result<Self> {
        let checkout = Checkout::open(subject)?;
        let mut folders = Vec::new();
        for arch in &subject.archs {
            folders.push(Folder {
                dir: subject.cache.build(&format!("full-{}", arch.name())),
                subject,
                arch: *arch,
                fragment: subject.ws.read(fragment(subject.ws, arch.name()))?,
                tree: checkout.dir.clone(),
            });
        }
        let mut tools = subject.toolchain.identity();
        tools.extend(versions(subject.git.runner()));
        Ok(Self {
            subject,
            start: Instant::now(),
            checkout,
            store: Store::open(subject.cache),
            units: Vec::new(),
            folders,
            common: Key::of(tools.iter().chain([&subject.sources.text])),
            origin: Origin {
                base: subject.base.name.clone(),
                tree: subject.assembled.all.tree.to_string(),
                tools,
            },
            pending: Vec::new(),
            total: 0,
        })
    }

    /// Returns the task of compiling a tree after `parent`, or completely. A `probe` may fail, so
    /// the first architecture without rustdoc is sufficient.
    pub fn task(
        &self,
        what: String,
        subject: &str,
        tree: &Oid,
        parent: Option<&Oid>,
        probe: bool,
    ) -> Result<Task> {
        let touched = match parent {
            Some(parent) => self.checkout.differ(parent, tree)?,
            None => self.everything(),
        };
        let documents = !probe && touched.iter().any(|p| p.starts_with("rust/"));
        let unit = |folder: &Folder<'_>, kind: &str| Unit {
            what: format!("{what} {kind}"),
            key: Key::of([
                kind,
                self.common.as_str(),
                folder.arch.name(),
                &folder.fragment,
                tree.as_str(),
                parent.map_or("", Oid::as_str),
            ]),
        };
        let count = if probe { 1 } else { self.folders.len() };
        let folders = self.folders.iter().take(count);
        let mut units: Vec<_> = folders.map(|f| vec![unit(f, f.arch.name())]).collect();
        if documents {
            units[0].push(unit(&self.folders[0], "rustdoc"));
        }
        Ok(Task {
            reconfigure: parent.is_none() || touched.iter().any(|p| is_kconfig(p)),
            subject: subject.to_owned(),
            tree: tree.clone(),
            what,
            touched,
            units,
        })
    }

    /// Adds units to the estimate, unless their results are stored.
    pub fn plan(&mut self, what: &str, units: &[&Unit]) {
        let missing = units.iter().filter(|unit| !self.store.has(unit));
        let missing: Vec<_> = missing.map(|unit| unit.what.clone()).collect();
        if !missing.is_empty() {
            self.pending.push((what.to_owned(), missing));
            self.total += 1;
        }
    }

    /// Prints the current task, the progress, and the estimate of the remaining time.
    pub fn begin(&mut self, what: &str, subject: &str, units: &[&Unit]) {
        if !self.pending.iter().any(|(w, _)| w == what) {
            self.plan(what, units);
        }
        let left = estimate(&self.pending, |unit| self.store.expect(unit));
        let left = duration(Duration::from_secs_f64(left));
        let (at, total) = (self.total - self.pending.len() + 1, self.total);
        let text = format!("[{at}/{total}] {what}: {subject}; about {left} left");
        self.subject.ui.say(text);
    }

    /// Removes a task from the estimate.
    pub fn end(&mut self, what: &str) {
        self.pending.retain(|(w, _)| w != what);
    }

    /// Records the time of a unit, and returns its result.
    pub fn record<T>(&mut self, unit: &Unit, timed: Timed<T>) -> Result<T> {
        if timed.is_new {
            self.store.took(&unit.what, timed.seconds)?;
        }
        self.units.push(UnitTime {
            what: unit.what.clone(),
            seconds: timed.seconds,
            cached: !timed.is_new,
            key: unit.key.clone(),
        });
        Ok(timed.result)
    }

    pub fn times(self) -> Times {
        Times {
            seconds: self.start.elapsed().as_secs_f64(),
            cached: self.units.iter().filter(|unit| unit.cached).count(),
            units: self.units,
        }
    }

    /// Runs a task, or finds its results. Returns for each architecture the result of make, and of
    /// rustdoc if it ran. Errors have other causes than the patch.
    pub fn perform(&mut self, task: &Task) -> Result<Vec<Vec<Compiled>>> {
        let stored = |units: &Vec<Unit>| units.iter().map(|u| self.store.get(&u.key)).collect();
        let stored: Option<Vec<_>> = task.units.iter().map(stored).collect();
        let results = match stored {
            Some(results) => results,
            None => {
                self.begin(&task.what, &task.subject, &task.units());
                self.compile(task)?
            }
        };
        self.end(&task.what);
        let by_arch = task.units.iter().zip(results).map(|(units, results)| {
            let results = units.iter().zip(results);
            let results = results.map(|(unit, timed)| self.record(unit, timed));
            results.collect()
        });
        by_arch.collect()
    }

    /// Compiles a tree, in one thread for each architecture.
    fn compile(&self, task: &Task) -> Result<Vec<Vec<Timed<Compiled>>>> {
        self.checkout.switch(&task.tree)?;
        // Rebuild even files that are already compiled, so that their warnings appear again.
        self.checkout.touch(&task.touched)?;
        let kconfig = &self.checkout.kconfig(&task.tree)?;
        thread::scope(|scope| {
            let folders = self.folders.iter().zip(&task.units);
            let threads = folders.map(|(folder, units)| {
                scope.spawn(move || self.compile_in(folder, units, kconfig, task.reconfigure))
            });
            let threads: Vec<_> = threads.collect();
            // The results of one thread are stored even if another failed.
            let done = threads.into_iter().map(|thread| match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            done.collect()
        })
    }

    /// Makes the units of one architecture in order.
    fn compile_in(
        &self,
        folder: &Folder<'_>,
        units: &[Unit],
        kconfig: &Key,
        reconfigure: bool,
    ) -> Result<Vec<Timed<Compiled>>> {
        folder.begin()?;
        let results = units.iter().enumerate().map(|(index, unit)| {
            let make = || match index {
                0 => folder.compile(kconfig, reconfigure),
                _ => folder.document(),
            };
            self.store.result(unit, |_| true, make)
        });
        let results = results.collect::<Result<_>>()?;
        folder.end()?;
        Ok(results)
    }

    /// Returns all targets of the list, so that the baseline has all diagnostics of the base.
    fn everything(&self) -> Vec<String> {
        let Subject { archs, sources, .. } = self.subject;
        let files = archs.iter().flat_map(|arch| sources.files(*arch));
        let folders = sources.folders.iter();
        let folders = folders.map(|f| f.trim_end_matches('/'));
        let all = ROOTS.into_iter().chain(files.map(|f| &**f)).chain(folders);
        all.map(str::to_owned).collect()
    }
}

/// Estimates the remaining seconds: tasks run in order, the units of a task in parallel.
fn estimate(pending: &[(String, Vec<String>)], expect: impl Fn(&str) -> f64) -> f64 {
    let longest = |units: &[String]| units.iter().map(|u| expect(u)).fold(0.0, f64::max);
    pending.iter().map(|(_, units)| longest(units)).sum()
}

/// Returns the versions of the programs whose diagnostics are compared.
fn versions(runner: &dyn Runner) -> Vec<String> {
    let llvm = format!("clang-{LLVM}");
    let programs = ["rustc", "clippy-driver", "rustdoc", &llvm, "sparse"];
    let versions = programs.map(|program| {
        let out = runner.run(&Cmd::new(program).arg("--version"));
        let text = out.map(|out| out.text()).unwrap_or_default();
        if text.starts_with(program) {
            text
        } else {
            format!("{program} {text}")
        }
    });
    versions.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragment_of_plain_workspace() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("series/bases")).unwrap();
        let ws = Workspace::find(dir.path()).unwrap();
        assert_eq!(fragment(&ws, "um"), Path::new("kunit-configs/all.config"));
        std::fs::create_dir_all(dir.path().join("kunit-configs/full")).unwrap();
        let own = Path::new("kunit-configs/full/um.config");
        assert_eq!(fragment(&ws, "um"), own);
    }

    #[test]
    fn estimate_parallel_jobs() {
        let list = |jobs: &[&str]| jobs.iter().map(|j| j.to_string()).collect();
        let pending = [
            ("a 1".to_owned(), list(&["a 1 um", "a 1 x86_64"])),
            ("a kunit".to_owned(), list(&["a kunit"])),
        ];
        let expect = |job: &str| match job {
            "a 1 um" => 10.0,
            "a 1 x86_64" => 30.0,
            _ => 100.0,
        };
        assert_eq!(estimate(&pending, expect), 130.0);
        assert_eq!(estimate(&[], expect), 0.0);
    }
}

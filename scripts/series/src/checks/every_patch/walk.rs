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
    folder::{Compiled, Folder},
    record::{Times, UnitTime},
    sources::Sources,
    store::{Key, Store, Timed},
};
use crate::{
    git::Oid,
    kernel::{
        build::{Arch, CONFIGS},
        kconfig::is_kconfig,
        tools::LLVM,
    },
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The name: "gpu-buddy 3".
    pub what: String,
    /// The description for progress lines.
    pub subject: String,
    pub tree: Oid,
    /// The tree that was compiled before; only differences are compiled. Without it, everything is.
    pub parent: Option<Oid>,
    /// Whether the first architecture is sufficient, because a failure is expected.
    pub one_arch: bool,
    pub rustdoc: bool,
}

/// The result of a [`Task`] on one architecture.
#[derive(Debug, Clone)]
pub struct Made {
    pub arch: Arch,
    /// The result of make.
    pub compiled: Compiled,
    /// The result of rustdoc, if it ran.
    pub documented: Option<Compiled>,
}

/// A call of make or rustdoc that a [`Task`] requires.
struct Job {
    what: String,
    key: Key,
    rustdoc: bool,
    /// Whether the result was stored.
    cached: bool,
    result: Option<Timed<Compiled>>,
}

/// The sequence of builds.
pub struct Walk<'a> {
    pub subject: &'a Subject<'a>,
    pub checkout: Checkout<'a>,
    /// Stored results and durations.
    pub store: Store,
    /// Options and versions of the tools.
    pub tools: Vec<String>,
    /// The units whose results were made or found.
    pub units: Vec<UnitTime>,
    folders: Vec<Folder<'a>>,
    /// A digest of tools and lists that results depend on.
    common: Key,
    /// Remaining tasks, each with the jobs that run in parallel.
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
    pub fn new(subject: &'a Subject<'a>, sources: &'a Sources) -> Result<Self> {
        let checkout = Checkout::open(subject)?;
        let mut folders = Vec::new();
        for arch in &subject.archs {
            folders.push(Folder {
                dir: subject.cache.build(&format!("full-{}", arch.name())),
                subject,
                sources,
                arch: *arch,
                fragment: subject.ws.read(fragment(subject.ws, arch.name()))?,
                tree: checkout.dir.clone(),
            });
        }
        let mut tools = subject.toolchain.identity();
        tools.extend(versions(subject.runner));
        Ok(Self {
            subject,
            checkout,
            store: Store::open(subject.cache),
            units: Vec::new(),
            folders,
            common: Key::of(tools.iter().chain([&sources.text])),
            tools,
            pending: Vec::new(),
            total: 0,
        })
    }

    /// Returns the jobs of a task, by architecture: make, then rustdoc on the first one.
    fn jobs(&self, task: &Task) -> Vec<Vec<Job>> {
        let job = |folder: &Folder<'_>, kind: &str| {
            let key = Key::of([
                kind,
                self.common.as_str(),
                folder.arch.name(),
                &folder.fragment,
                task.tree.as_str(),
                task.parent.as_ref().map_or("", Oid::as_str),
            ]);
            let result = self.store.get(&key);
            Job {
                what: format!("{} {kind}", task.what),
                key,
                rustdoc: kind == "rustdoc",
                cached: result.is_some(),
                result,
            }
        };
        let count = if task.one_arch { 1 } else { usize::MAX };
        let of_folder = |(index, folder): (usize, &Folder<'_>)| {
            let rustdoc = (task.rustdoc && index == 0).then_some("rustdoc");
            let kinds = [folder.arch.name()].into_iter().chain(rustdoc);
            kinds.map(|kind| job(folder, kind)).collect()
        };
        let folders = self.folders.iter().enumerate();
        folders.take(count).map(of_folder).collect()
    }

    /// Returns the units of a task and their keys.
    pub fn units_of(&self, task: &Task) -> Vec<(String, Key)> {
        let jobs = self.jobs(task).into_iter().flatten();
        jobs.map(|job| (job.what, job.key)).collect()
    }

    /// Adds tasks to the estimate.
    pub fn plan(&mut self, tasks: &[Task]) {
        for task in tasks {
            let jobs = self.jobs(task).into_iter().flatten();
            let missing: Vec<_> = jobs.filter(|job| !job.cached).map(|job| job.what).collect();
            if !missing.is_empty() {
                self.await_others(&task.what, missing);
            }
        }
    }

    /// Adds work that is not a [`Task`] to the estimate.
    pub fn await_others(&mut self, what: &str, jobs: Vec<String>) {
        self.pending.push((what.to_owned(), jobs));
        self.total += 1;
    }

    /// Prints the current task, the progress, and the estimate of the remaining time.
    pub fn begin(&mut self, what: &str, subject: &str) {
        if !self.pending.iter().any(|(w, _)| w == what) {
            self.await_others(what, vec![what.to_owned()]);
        }
        let left = estimate(&self.pending, |job| self.store.expect(job));
        let left = duration(Duration::from_secs_f64(left));
        let (at, total) = (self.total - self.pending.len() + 1, self.total);
        let text = format!("[{at}/{total}] {what}: {subject}; about {left} left");
        self.subject.ui.say(text);
    }

    /// Removes a task from the estimate.
    pub fn end(&mut self, what: &str) {
        self.pending.retain(|(w, _)| w != what);
    }

    /// Records a unit whose result was made or found.
    pub fn done(&mut self, what: String, key: Key, seconds: f64, cached: bool) -> Result<()> {
        if !cached {
            self.store.took(&what, seconds)?;
        }
        self.units.push(UnitTime {
            what,
            seconds,
            cached,
            key,
        });
        Ok(())
    }

    /// Returns the durations of all units.
    pub fn times(self, start: Instant) -> Times {
        Times {
            seconds: start.elapsed().as_secs_f64(),
            cached: self.units.iter().filter(|unit| unit.cached).count(),
            units: self.units,
        }
    }

    /// Runs a task, or returns its stored results. Errors have other causes than the patch.
    pub fn perform(&mut self, task: &Task) -> Result<Vec<Made>> {
        let mut jobs = self.jobs(task);
        if jobs.iter().flatten().any(|job| !job.cached) {
            self.begin(&task.what, &task.subject);
            self.compile(task, &mut jobs)?;
        }
        self.end(&task.what);
        let mut made = Vec::new();
        for (jobs, arch) in jobs.into_iter().zip(&self.subject.archs) {
            let mut results = Vec::new();
            for job in jobs {
                if let Some(timed) = job.result {
                    self.done(job.what, job.key, timed.seconds, job.cached)?;
                    results.push(timed.result);
                }
            }
            let mut results = results.into_iter();
            made.extend(results.next().map(|compiled| Made {
                arch: *arch,
                compiled,
                documented: results.next(),
            }));
        }
        Ok(made)
    }

    /// Compiles a tree without stored results, in one thread for each architecture.
    fn compile(&self, task: &Task, jobs: &mut [Vec<Job>]) -> Result<()> {
        self.checkout.switch(&task.tree)?;
        let touched = match &task.parent {
            Some(parent) => self.checkout.differ(parent, &task.tree)?,
            None => self.everything(),
        };
        // Rebuild even files that are already compiled, so that their warnings appear again.
        self.checkout.touch(&touched)?;
        let kconfig = &self.checkout.kconfig(&task.tree)?;
        let anew = task.parent.is_none() || touched.iter().any(|p| is_kconfig(p));
        thread::scope(|scope| {
            let folders = self.folders.iter().zip(jobs);
            let threads = folders.map(|(folder, jobs)| {
                scope.spawn(move || self.compile_in(folder, jobs, kconfig, anew))
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

    /// Runs the jobs of one architecture in order.
    fn compile_in(
        &self,
        folder: &Folder<'_>,
        jobs: &mut [Job],
        kconfig: &Key,
        anew: bool,
    ) -> Result<()> {
        if jobs.iter().all(|job| job.cached) {
            return Ok(());
        }
        folder.begin()?;
        for job in jobs.iter_mut().filter(|job| !job.cached) {
            let start = Instant::now();
            let result = if job.rustdoc {
                folder.document()?
            } else {
                folder.compile(kconfig, anew)?
            };
            let seconds = start.elapsed().as_secs_f64();
            let timed = Timed { seconds, result };
            self.store.put(&job.key, &timed)?;
            job.result = Some(timed);
        }
        folder.end()
    }

    /// Returns all targets of the list, so that the baseline has all diagnostics of the base.
    fn everything(&self) -> Vec<String> {
        let files = self.folders.iter().flat_map(|f| f.sources.files(f.arch));
        let folders = self.folders.iter().flat_map(|f| &f.sources.folders);
        let folders = folders.map(|f| f.trim_end_matches('/'));
        let all = ROOTS.into_iter().chain(files.map(|f| &**f)).chain(folders);
        all.map(str::to_owned).collect()
    }
}

/// Estimates the remaining seconds: tasks run in order, the jobs of a task in parallel.
fn estimate(pending: &[(String, Vec<String>)], expect: impl Fn(&str) -> f64) -> f64 {
    let longest = |jobs: &[String]| jobs.iter().map(|j| expect(j)).fold(0.0, f64::max);
    pending.iter().map(|(_, jobs)| longest(jobs)).sum()
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

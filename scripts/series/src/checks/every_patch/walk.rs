// SPDX-License-Identifier: GPL-2.0

//! Builds a sequence of trees. Each tree is checked out once and compiled for all architectures in
//! parallel, unless the results are stored.

use std::{path::Path, thread, time::Instant};

use super::{
    Subject,
    checkout::{Checkout, is_kconfig},
    folder::{Compiled, Folder},
    record::UnitTime,
    sources::Sources,
    store::{Key, Store, Timed},
};
use crate::{
    git::Oid,
    kernel::build::{Arch, CONFIGS},
    sys::{
        error::Result,
        runner::{Cmd, Runner},
        ui::{Ui, duration},
    },
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
    /// Whether rustdoc runs.
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

/// The sequence of builds.
pub struct Walk<'a> {
    pub checkout: Checkout<'a>,
    /// Stored results and durations.
    pub store: Store,
    /// The duration of each unit.
    pub times: Vec<UnitTime>,
    /// Options and versions of the tools.
    pub tools: Vec<String>,
    /// The units whose results were made or found, with their keys.
    pub units: Vec<(String, Key)>,
    folders: Vec<Folder<'a>>,
    /// A digest of tools and lists that results depend on.
    common: Key,
    ui: &'a Ui,
    /// Remaining tasks, each with the jobs that run in parallel.
    pending: Vec<(String, Vec<String>)>,
    total: usize,
}

/// Reads the configuration of an architecture. A workspace without a folder `full` has one for all.
fn fragment(subject: &Subject<'_>, arch: Arch) -> Result<String> {
    let full = Path::new(CONFIGS).join("full");
    let file = match subject.ws.path(full).is_dir() {
        true => format!("full/{}.config", arch.name()),
        false => "all.config".to_owned(),
    };
    subject.ws.read(subject.ws.place(CONFIGS, file))
}

impl<'a> Walk<'a> {
    /// Prepares the builds. The caller holds the lock.
    ///
    /// # Errors
    ///
    /// A fragment is missing, or the work tree cannot be created.
    pub fn new(subject: &Subject<'a>, sources: &'a Sources, store: Store) -> Result<Self> {
        let base = &subject.assembled.base;
        let checkout = Checkout::open(subject.runner, subject.cache, base, subject.ui)?;
        let mut folders = Vec::new();
        for arch in &subject.archs {
            folders.push(Folder {
                runner: subject.runner,
                cache: subject.cache,
                toolchain: subject.toolchain,
                sources,
                arch: *arch,
                fragment: fragment(subject, *arch)?,
                tree: checkout.dir().to_owned(),
            });
        }
        let listed = sources.text.clone();
        let mut tools = subject.toolchain.identity();
        tools.extend(versions(subject.runner));
        let common = Key::of(tools.iter().chain([&listed]));
        Ok(Self {
            checkout,
            store,
            times: Vec::new(),
            tools,
            units: Vec::new(),
            folders,
            common,
            ui: subject.ui,
            pending: Vec::new(),
            total: 0,
        })
    }

    fn key(&self, task: &Task, folder: &Folder<'_>, kind: &str) -> Key {
        Key::of([
            kind,
            self.common.as_str(),
            folder.arch.name(),
            &folder.fragment,
            task.tree.as_str(),
            task.parent.as_ref().map_or("", |p| p.as_str()),
        ])
    }

    /// Returns the units of a task and their keys.
    pub fn units_of(&self, task: &Task) -> Vec<(String, Key)> {
        self.jobs(task).map(|job| (job.what, job.key)).collect()
    }

    /// Returns the jobs of a task without stored results.
    fn missing(&self, task: &Task) -> Vec<String> {
        self.jobs(task)
            .filter(|job| self.store.get::<Compiled>(&job.key).is_none())
            .map(|job| job.what)
            .collect()
    }

    fn jobs<'b>(&'b self, task: &'b Task) -> impl Iterator<Item = Job> + 'b {
        let folders = self.folders.iter().enumerate();
        folders
            .take(if task.one_arch { 1 } else { usize::MAX })
            .flat_map(move |(index, folder)| {
                let job = |kind: &'static str| Job {
                    what: format!("{} {kind}", task.what),
                    folder: index,
                    key: self.key(task, folder, kind),
                    rustdoc: kind == "rustdoc",
                };
                let document = task.rustdoc && index == 0;
                [
                    Some(job(folder.arch.name())),
                    document.then(|| job("rustdoc")),
                ]
            })
            .flatten()
    }

    /// Adds tasks to the estimate.
    pub fn plan(&mut self, tasks: &[Task]) {
        for task in tasks {
            let missing = self.missing(task);
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
        let at = self.total - self.pending.len() + 1;
        self.ui.say(format!(
            "[{at}/{}] {what}: {subject}; about {} left",
            self.total,
            duration(std::time::Duration::from_secs_f64(left)),
        ));
    }

    /// Records the end of a task.
    ///
    /// # Errors
    ///
    /// Its duration cannot be stored.
    pub fn done(&mut self, what: &str, jobs: &[(String, f64, bool)]) -> Result<()> {
        self.pending.retain(|(w, _)| w != what);
        for (job, seconds, cached) in jobs {
            self.times.push(UnitTime {
                what: job.clone(),
                seconds: *seconds,
                cached: *cached,
            });
            if !cached {
                self.store.took(job, *seconds)?;
            }
        }
        Ok(())
    }

    /// Runs a task, or returns its stored results.
    ///
    /// # Errors
    ///
    /// An error that the patch does not cause.
    pub fn perform(&mut self, task: &Task) -> Result<Vec<Made>> {
        let jobs: Vec<Job> = self.jobs(task).collect();
        let known: Vec<Known> = jobs.iter().map(|j| self.store.get(&j.key)).collect();
        let cached: Vec<bool> = known.iter().map(Option::is_some).collect();
        let done = match cached.iter().all(|c| *c) {
            true => known.into_iter().flatten().collect(),
            false => {
                self.begin(&task.what, &task.subject);
                self.compile(task, &jobs, known)?
            }
        };
        let times: Vec<_> = jobs
            .iter()
            .zip(&done)
            .zip(cached)
            .map(|((job, timed), cached)| (job.what.clone(), timed.seconds, cached))
            .collect();
        self.done(&task.what, &times)?;
        self.units.extend(self.units_of(task));
        let mut made: Vec<Made> = Vec::new();
        for (job, timed) in jobs.iter().zip(done) {
            match made.last_mut().filter(|_| job.rustdoc) {
                Some(last) => last.documented = Some(timed.result),
                None => made.push(Made {
                    arch: self.folders[job.folder].arch,
                    compiled: timed.result,
                    documented: None,
                }),
            }
        }
        Ok(made)
    }

    /// Compiles a tree without stored results, in one thread for each architecture.
    fn compile(
        &self,
        task: &Task,
        jobs: &[Job],
        known: Vec<Known>,
    ) -> Result<Vec<Timed<Compiled>>> {
        self.checkout.switch(&task.tree)?;
        let touched = match &task.parent {
            Some(parent) => self.checkout.differ(parent, &task.tree)?,
            None => self.everything(),
        };
        // Rebuild even files that are already compiled, so that their warnings appear again.
        self.checkout.touch(&touched)?;
        let kconfig = self.checkout.kconfig(&task.tree)?;
        let anew = task.parent.is_none() || touched.iter().any(|p| is_kconfig(p));
        let mut by_folder: Vec<Vec<(&Job, Known)>> = Vec::new();
        for (job, known) in jobs.iter().zip(known) {
            match by_folder.last_mut().filter(|_| job.rustdoc) {
                Some(last) => last.push((job, known)),
                None => by_folder.push(vec![(job, known)]),
            }
        }
        let kconfig = &kconfig;
        let done: Vec<Result<Vec<_>>> = thread::scope(|scope| {
            let threads: Vec<_> = by_folder
                .into_iter()
                .map(|jobs| scope.spawn(move || self.in_folder(jobs, kconfig, anew)))
                .collect();
            let join = |t: thread::ScopedJoinHandle<'_, _>| match t.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            threads.into_iter().map(join).collect()
        });
        // The results of one thread are stored even if another failed.
        let done: Result<Vec<Vec<_>>> = done.into_iter().collect();
        Ok(done?.into_iter().flatten().collect())
    }

    /// Runs the jobs of one architecture in order.
    fn in_folder(
        &self,
        jobs: Vec<(&Job, Known)>,
        kconfig: &str,
        anew: bool,
    ) -> Result<Vec<Timed<Compiled>>> {
        let mut done = Vec::new();
        if jobs.iter().all(|(_, known)| known.is_some()) {
            return Ok(jobs.into_iter().filter_map(|(_, known)| known).collect());
        }
        let folder = &self.folders[jobs[0].0.folder];
        folder.begin()?;
        for (job, known) in jobs {
            if let Some(known) = known {
                done.push(known);
                continue;
            }
            let start = Instant::now();
            let result = match job.rustdoc {
                true => folder.document()?,
                false => folder.compile(kconfig, anew)?,
            };
            let timed = Timed {
                seconds: start.elapsed().as_secs_f64(),
                result,
            };
            self.store.put(&job.key, &timed)?;
            done.push(timed);
        }
        folder.end()?;
        Ok(done)
    }

    /// Returns all targets of the list, so that the baseline has all diagnostics of the base.
    fn everything(&self) -> Vec<String> {
        let roots = ROOTS.iter().map(|r| r.to_string());
        let listed = self.folders.iter().flat_map(|f| f.sources.files(f.arch));
        let folders = self.folders.iter().flat_map(|f| &f.sources.folders);
        roots
            .chain(listed.cloned())
            .chain(folders.map(|f| f.trim_end_matches('/').to_owned()))
            .collect()
    }
}

/// The stored result of a [`Job`], if there is one.
type Known = Option<Timed<Compiled>>;

/// A call of make or rustdoc that a [`Task`] requires.
struct Job {
    what: String,
    folder: usize,
    key: Key,
    rustdoc: bool,
}

/// Estimates the remaining seconds: tasks run in order, the jobs of a task in parallel.
fn estimate(pending: &[(String, Vec<String>)], expect: impl Fn(&str) -> f64) -> f64 {
    pending
        .iter()
        .map(|(_, jobs)| jobs.iter().map(|j| expect(j)).fold(0.0, f64::max))
        .sum()
}

/// Returns the versions of the programs whose diagnostics are compared.
fn versions(runner: &dyn Runner) -> Vec<String> {
    let llvm = format!("clang-{}", crate::kernel::tools::LLVM);
    let programs = ["rustc", "clippy-driver", "rustdoc", &llvm, "sparse"];
    let ask = |program: &&str| {
        let out = runner.run(&Cmd::new(*program).arg("--version"));
        let text = out.map(|out| out.text()).unwrap_or_default();
        match text.starts_with(program) {
            true => text,
            false => format!("{program} {text}"),
        }
    };
    programs.iter().map(ask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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

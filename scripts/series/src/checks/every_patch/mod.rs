// SPDX-License-Identifier: GPL-2.0

//! `check --full`: builds every patch with every checker, runs KUnit at the end of each series, and
//! verifies that each dependency is necessary.
//!
//! The base of a patch has only the declared dependencies of its series, so a build shows that no
//! other series is necessary. A diagnostic counts if neither the base nor an earlier patch has it.

mod checkout;
mod compare;
mod depends;
mod diagnostics;
pub mod exchange;
mod folder;
mod kunit;
pub mod record;
pub mod shard;
mod sources;
mod store;
mod table;
mod walk;

use std::{collections::BTreeMap, path::Path, time::Instant};

pub use self::table::table;
use self::{
    compare::{Seen, by_level},
    depends::Without,
    exchange::{Origin, Results},
    record::{Full, How, PatchFull, Said, SeriesFull, Times, UnitFull},
    shard::Shard,
    sources::Sources,
    store::{Key, Store},
    walk::{Made, Task, Walk},
};
use crate::{
    checks::Finding,
    git::{Git, Oid},
    kernel::{
        build::{Arch, CONFIGS},
        config::LostOption,
        tools::Toolchain,
    },
    patches::commits::{Assembled, AssembledSeries},
    source::{manifest::Base, workspace::Workspace},
    sys::{
        cache::{Cache, Lock},
        error::Result,
        plural::count,
        runner::Runner,
        ui::Ui,
    },
};

/// The default architectures.
pub const ARCHS: [Arch; 2] = [Arch::Um, Arch::X86_64];

/// The input of the checks.
pub struct Subject<'a> {
    pub runner: &'a dyn Runner,
    pub ws: &'a Workspace,
    pub cache: &'a Cache,
    pub toolchain: &'a Toolchain,
    pub git: &'a Git<'a>,
    pub base: &'a Base,
    pub assembled: &'a Assembled,
    pub archs: Vec<Arch>,
    /// Takes the lock of the tree that kernels are built from.
    pub lock_tree: &'a dyn Fn() -> Result<Lock>,
    pub ui: &'a Ui,
}

/// The result of the checks.
pub struct Outcome {
    /// The record for `out/full.json`.
    pub full: Full,
    /// The durations for `out/full-times.json`.
    pub times: Times,
    pub findings: Vec<Finding>,
}

/// The exchange of results with other machines.
#[derive(Default)]
pub struct Exchange<'a> {
    /// Results of other machines.
    pub import: Vec<Results>,
    /// The file for the results of this run.
    pub export: Option<&'a Path>,
}

/// Checks the named series, or all. The caller holds the lock.
///
/// # Errors
///
/// Fails for causes other than patches, such as a missing tool, a full disk or an interrupt.
/// Results up to that point are stored.
pub fn run(subject: &Subject<'_>, names: &[String], exchange: &Exchange<'_>) -> Result<Outcome> {
    let start = Instant::now();
    let sources = Sources::read(subject.ws, subject.assembled)?;
    let series = with_patches(subject, names)?;
    let mut checks = Checks::new(subject, &sources)?;
    sources::check(
        &sources,
        &sources::file(subject.ws).display().to_string(),
        subject.git,
        subject.cache,
        subject.assembled,
        &mut checks.findings,
    )?;
    let units = checks.units(&series)?;
    checks.import(&units, &exchange.import)?;
    checks.plan(&units)?;
    let mut done = Vec::new();
    for one in &series {
        done.push(checks.patches(one)?);
    }
    if names.is_empty() {
        // The configuration of a single series may lack options of a later one.
        checks.options();
    }
    for (one, full) in series.iter().zip(&mut done) {
        checks.dependencies(one, full)?;
    }
    if subject.archs.contains(&Arch::Um) {
        let with_suites = series.iter().zip(&mut done);
        for (one, full) in with_suites.filter(|(one, _)| kunit::has_suites(one)) {
            checks.kunit(one, full)?;
        }
    }
    for one in &mut done {
        let of = |f: &Finding| f.series == one.name;
        one.pass = !checks.findings.iter().any(of);
    }
    let all_tree = &subject.assembled.all.tree;
    let full = Full {
        base: subject.base.version.clone(),
        base_tree: subject.assembled.base.tree.to_string(),
        all_tree: all_tree.to_string(),
        archs: subject.archs.clone(),
        pass: checks.findings.is_empty(),
        series: done,
    };
    if let Some(file) = exchange.export {
        checks.export(file)?;
    }
    let units = checks.walk.times;
    Ok(Outcome {
        full,
        times: Times {
            seconds: start.elapsed().as_secs_f64(),
            cached: units.iter().filter(|u| u.cached).count(),
            units,
        },
        findings: checks.findings,
    })
}

/// Creates the results of one shard. Gives no verdict, because the new diagnostics of a unit depend
/// on the results of other shards. Returns the durations. The caller holds the lock.
///
/// # Errors
///
/// As for [`run`].
pub fn run_shard(
    subject: &Subject<'_>,
    names: &[String],
    shard: Shard,
    exchange: &Exchange<'_>,
) -> Result<Times> {
    let start = Instant::now();
    let sources = Sources::read(subject.ws, subject.assembled)?;
    let series = with_patches(subject, names)?;
    let mut checks = Checks::new(subject, &sources)?;
    let all = checks.units(&series)?;
    checks.import(&all, &exchange.import)?;
    let units = Units {
        patches: shard.part(&all.patches).to_vec(),
        without: shard.part(&all.without).to_vec(),
        kunit: shard.part(&all.kunit).to_vec(),
    };
    checks.plan(&units)?;
    for task in units.patches.iter().chain(&units.without) {
        checks.walk.perform(task)?;
    }
    for one in &units.kunit {
        kunit::at_tip(subject, &mut checks.walk, one)?;
    }
    if let Some(file) = exchange.export {
        checks.export(file)?;
    }
    let units = checks.walk.times;
    Ok(Times {
        seconds: start.elapsed().as_secs_f64(),
        cached: units.iter().filter(|u| u.cached).count(),
        units,
    })
}

/// Returns the series with patches that `names` selects.
fn with_patches<'a>(subject: &Subject<'a>, names: &[String]) -> Result<Vec<&'a AssembledSeries>> {
    let mut series = subject.assembled.named(names)?;
    series.retain(|s| !s.patches.is_empty());
    Ok(series)
}

/// The units of a run, sorted by kind.
struct Units<'a> {
    /// The base and each patch.
    patches: Vec<Task>,
    /// The patches that verify from which patch on a series needs a dependency.
    without: Vec<Task>,
    kunit: Vec<&'a AssembledSeries>,
}

/// The state of one run.
struct Checks<'a> {
    subject: &'a Subject<'a>,
    walk: Walk<'a>,
    /// Diagnostics at the start and end of each series, by architecture.
    tips: BTreeMap<Oid, Vec<State>>,
    /// Options that no configuration has so far.
    lost: Vec<(Arch, Vec<LostOption>)>,
    findings: Vec<Finding>,
}

/// The state of a tree for one architecture.
#[derive(Debug, Clone)]
struct State {
    /// All diagnostics up to this tree.
    seen: Seen,
    /// Whether it builds.
    builds: bool,
}

impl<'a> Checks<'a> {
    fn new(subject: &'a Subject<'a>, sources: &'a Sources) -> Result<Self> {
        Ok(Self {
            subject,
            walk: Walk::new(subject, sources, Store::open(subject.cache))?,
            tips: BTreeMap::new(),
            lost: Vec::new(),
            findings: Vec::new(),
        })
    }

    /// Creates the task that compiles all of a tree.
    fn baseline(&self, what: &str, tree: &Oid) -> Task {
        Task {
            what: what.to_owned(),
            subject: "the whole tree, for comparison".to_owned(),
            tree: tree.clone(),
            parent: None,
            one_arch: false,
            rustdoc: true,
        }
    }

    fn task(&self, one: &AssembledSeries, index: usize) -> Result<Task> {
        let tree = one.patches[index].tree.clone();
        let parent = match index.checked_sub(1) {
            Some(before) => &one.patches[before].tree,
            None => &one.parent.tree,
        };
        let changed = self.walk.checkout.differ(parent, &tree)?;
        Ok(Task {
            what: format!("{} {}", one.name(), index + 1),
            subject: one.plan.patches[index].subject.clone(),
            rustdoc: changed.iter().any(|p| p.starts_with("rust/")),
            parent: Some(parent.clone()),
            one_arch: false,
            tree,
        })
    }

    /// Returns the task for the start of a series, unless another series ends there.
    fn start(&self, one: &AssembledSeries, tips: &[&Oid]) -> Option<Task> {
        let tree = &one.parent.tree;
        if tips.contains(&tree) {
            return None;
        }
        Some(match *tree == self.subject.assembled.base.tree {
            true => self.baseline("base", tree),
            false => self.baseline(&format!("{} 0", one.name()), tree),
        })
    }

    /// Returns the units of these series.
    fn units<'b>(&self, series: &[&'b AssembledSeries]) -> Result<Units<'b>> {
        let mut patches = Vec::new();
        let mut tips = Vec::new();
        for one in series {
            patches.extend(self.start(one, &tips));
            tips.extend([&one.parent.tree, &one.tip().tree]);
            for index in 0..one.patches.len() {
                patches.push(self.task(one, index)?);
            }
        }
        let mut without = Vec::new();
        for one in series {
            for dependency in &one.plan.series().depends {
                let one = Without::new(self.subject, &self.walk, one, &dependency.value)?;
                without.extend(one.tasks(&self.walk)?);
            }
        }
        let kunit = match self.subject.archs.contains(&Arch::Um) {
            true => {
                let with_suites = series.iter().copied().filter(|one| kunit::has_suites(one));
                with_suites.collect()
            }
            false => Vec::new(),
        };
        Ok(Units {
            patches,
            without,
            kunit,
        })
    }

    /// Adds the units to the estimate of the run.
    fn plan(&mut self, units: &Units<'_>) -> Result<()> {
        self.walk.plan(&units.patches);
        self.walk.plan(&units.without);
        for one in &units.kunit {
            if !kunit::is_known(self.subject, &self.walk, one)? {
                let job = kunit::job(one);
                self.walk.await_others(&job, vec![job.clone()]);
            }
        }
        Ok(())
    }

    fn origin(&self) -> Origin {
        Origin {
            base: self.subject.base.name.clone(),
            tree: self.subject.assembled.all.tree.to_string(),
            tools: self.walk.tools.clone(),
        }
    }

    /// Stores the results of other machines.
    fn import(&self, units: &Units<'_>, files: &[Results]) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let tasks = units.patches.iter().chain(&units.without);
        let mut expected: BTreeMap<String, Key> =
            tasks.flat_map(|task| self.walk.units_of(task)).collect();
        for one in &units.kunit {
            expected.insert(kunit::job(one), kunit::key(self.subject, one)?);
        }
        let number = exchange::import(files, &self.origin(), &self.walk.store, &expected)?;
        self.subject.ui.say(format!(
            "imported {} for {} units",
            count(number, "result", "results"),
            expected.len()
        ));
        Ok(())
    }

    /// Writes the results of this run for other machines.
    fn export(&self, file: &Path) -> Result<()> {
        let walk = &self.walk;
        let number = exchange::export(file, self.origin(), &walk.store, &walk.units)?;
        let number = count(number, "result", "results");
        let ui = self.subject.ui;
        ui.say(format!("{number} written to {}", file.display()));
        Ok(())
    }

    /// Returns the diagnostics up to the start of a series.
    fn state_before(&mut self, one: &AssembledSeries) -> Result<Vec<State>> {
        let tips: Vec<&Oid> = self.tips.keys().collect();
        let Some(task) = self.start(one, &tips) else {
            return Ok(self.tips[&one.parent.tree].clone());
        };
        let mut states = Vec::new();
        for made in self.walk.perform(&task)? {
            let mut seen = Seen::default();
            seen.new_in(&made.compiled.said);
            if let Some(documented) = &made.documented {
                seen.new_in(&documented.said);
            }
            let builds = made.compiled.builds;
            states.push(State { seen, builds });
        }
        self.tips.insert(one.parent.tree.clone(), states.clone());
        Ok(states)
    }

    /// Checks the patches of a series.
    fn patches(&mut self, one: &AssembledSeries) -> Result<SeriesFull> {
        let mut states = self.state_before(one)?;
        let mut patches = Vec::new();
        for (index, planned) in one.plan.patches.iter().enumerate() {
            if let Some(step) = planned.relocate() {
                states.iter_mut().for_each(|s| s.seen.rename(step));
            }
            let task = self.task(one, index)?;
            let made = self.walk.perform(&task)?;
            let before = self.findings.len();
            let mut units = Vec::new();
            for (made, state) in made.iter().zip(&mut states) {
                units.push(self.judge(one, index, made, state));
                self.note_lost(made);
            }
            merge(&mut self.findings, before);
            patches.push(PatchFull {
                id: index + 1,
                subject: planned.subject.clone(),
                tree: one.patches[index].tree.to_string(),
                pass: units.iter().all(|u| u.pass),
                units,
            });
        }
        self.tips.insert(one.tip().tree.clone(), states);
        let series = one.plan.series();
        Ok(SeriesFull {
            name: series.name.to_string(),
            version: series.version,
            depends: series.depends.iter().map(|d| d.value.clone()).collect(),
            parent_tree: one.parent.tree.to_string(),
            builds_alone: patches.iter().flat_map(|p| &p.units).all(|u| u.builds),
            patches,
            kunit: None,
            dependencies: Vec::new(),
            pass: false,
        })
    }

    /// Evaluates the diagnostics of one architecture for a patch.
    fn judge(
        &mut self,
        one: &AssembledSeries,
        index: usize,
        made: &Made,
        state: &mut State,
    ) -> UnitFull {
        let mut ran = vec!["build", "W=1", "clippy", "sparse"];
        let mut builds = made.compiled.builds;
        let (mut warnings, mut errors) = by_level(state.seen.new_in(&made.compiled.said), builds);
        let mut report = |check: &'static str, said: &[Said]| {
            for one_said in said {
                self.findings.push(Finding {
                    series: one.name().to_owned(),
                    patch: Some(index + 1),
                    check: check.into(),
                    message: format!("{}: {}", made.arch.name(), one_said.message),
                    file: Some(one_said.file.clone()).filter(|f| !f.is_empty()),
                    line: one_said.line,
                    help: None,
                });
            }
        };
        report("build", &errors);
        report("warning", &warnings);
        if let Some(documented) = &made.documented {
            ran.push("rustdoc");
            let new = state.seen.new_in(&documented.said);
            let (more_warnings, more_errors) = by_level(new, documented.builds);
            report("rustdoc", &more_errors);
            report("rustdoc", &more_warnings);
            warnings.extend(more_warnings);
            errors.extend(more_errors);
            builds &= documented.builds;
        }
        if !builds && errors.is_empty() && state.builds {
            // The build failed with diagnostics that were warnings before.
            report(
                "build",
                &[Said {
                    file: String::new(),
                    line: None,
                    message: "does not build".to_owned(),
                    text: String::new(),
                }],
            );
        }
        state.builds = builds;
        UnitFull {
            arch: made.arch,
            ran: ran.into_iter().map(str::to_owned).collect(),
            builds,
            pass: builds && warnings.is_empty(),
            warnings,
            errors,
        }
    }

    /// Records the options that the configuration of a patch lacks.
    fn note_lost(&mut self, made: &Made) {
        match self.lost.iter_mut().find(|(arch, _)| *arch == made.arch) {
            Some((_, lost)) => {
                lost.retain(|l| made.compiled.lost.iter().any(|m| m.is_same_option(l)));
            }
            None => self.lost.push((made.arch, made.compiled.lost.clone())),
        }
    }

    /// Reports options that no tree of the run has, because their code is not tested.
    fn options(&mut self) {
        for (arch, lost) in std::mem::take(&mut self.lost) {
            for option in lost {
                self.findings.push(Finding {
                    series: "all series".to_owned(),
                    patch: None,
                    check: "config".into(),
                    message: option.to_string(),
                    file: Some(self.fragment(arch)),
                    line: None,
                    help: None,
                });
            }
        }
    }

    /// Returns the path of the fragment of an architecture.
    fn fragment(&self, arch: Arch) -> String {
        let file = format!("full/{}.config", arch.name());
        self.subject.ws.place(CONFIGS, file).display().to_string()
    }

    /// Verifies the dependencies of a series.
    fn dependencies(&mut self, one: &AssembledSeries, full: &mut SeriesFull) -> Result<()> {
        // The first architecture is sufficient.
        let seen = self.tips[&one.tip().tree][0].seen.clone();
        for declared in &one.plan.series().depends {
            let without = Without::new(self.subject, &self.walk, one, &declared.value)?;
            let proof = without.prove(&mut self.walk, &seen)?;
            if !proof.pass {
                self.findings.push(Finding {
                    series: one.name().to_owned(),
                    patch: None,
                    check: "depends".into(),
                    message: unlike(&proof),
                    file: Some(one.plan.series().file().display().to_string()),
                    line: Some(declared.line),
                    help: None,
                });
            }
            full.dependencies.push(proof);
        }
        Ok(())
    }

    /// Runs KUnit at the end of a series.
    fn kunit(&mut self, one: &AssembledSeries, full: &mut SeriesFull) -> Result<()> {
        let done = kunit::at_tip(self.subject, &mut self.walk, one)?;
        if !done.pass {
            let file = format!("kunit/um-alone/{}.log", one.name());
            let file = self.subject.ws.below_out(file).display().to_string();
            self.findings.push(Finding {
                series: one.name().to_owned(),
                patch: None,
                check: "kunit".into(),
                message: match done.errors.first() {
                    Some(error) => format!("on the base and its dependencies only: {error}"),
                    None => "the tests fail on the base and its dependencies only".to_owned(),
                },
                file: Some(file),
                line: None,
                help: None,
            });
        }
        full.kunit = Some(done);
        Ok(())
    }
}

/// Formats a message as one line with its place.
fn placed(said: &Said) -> String {
    match (said.file.as_str(), said.line) {
        ("", _) => said.message.clone(),
        (file, Some(line)) => format!("{file}:{line}: {}", said.message),
        (file, None) => format!("{file}: {}", said.message),
    }
}

/// Describes the difference between a declared dependency and the builds.
fn unlike(proof: &record::Dependency) -> String {
    let name = &proof.name;
    let Some(failure) = &proof.failure else {
        return format!("{name} is not needed: all patches apply and build without it");
    };
    let how = match failure.how {
        How::DoesNotApply => "does not apply",
        How::DoesNotBuild => "does not build",
        How::Warns => "has a new warning",
    };
    format!(
        "[without] has {name} = {}, but the builds show {}: patch {} ({}) is the first that {how} without \
         it: {}",
        proof.without, proof.found, failure.patch, failure.subject, failure.error
    )
}

/// Joins findings from `start` on that differ only in the architecture.
fn merge(findings: &mut Vec<Finding>, start: usize) {
    let mut merged: Vec<Finding> = Vec::new();
    for new in findings.drain(start..) {
        let split = |f: &Finding| {
            let (arch, message) = f.message.split_once(": ").unwrap_or(("", &f.message));
            (arch.to_owned(), message.to_owned())
        };
        let (arch, message) = split(&new);
        let like = merged.iter_mut().find(|old| {
            let place = |f: &Finding| (f.check.clone(), f.file.clone(), f.line, f.patch);
            split(old).1 == message && place(old) == place(&new)
        });
        match like {
            Some(old) => old.message = format!("{}, {arch}: {message}", split(old).0),
            None => merged.push(new),
        }
    }
    findings.extend(merged);
}

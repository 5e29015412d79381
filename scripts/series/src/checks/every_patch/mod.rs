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
pub mod sources;
mod store;
mod table;
mod walk;

use std::{collections::BTreeMap, path::PathBuf};

pub use self::table::table;
use self::{
    compare::{Seen, by_level},
    depends::Without,
    exchange::Results,
    folder::Compiled,
    record::{Dependency, Full, KunitFull, PatchFull, Said, SeriesFull, Times, UnitFull},
    shard::Shard,
    sources::Sources,
    store::Unit,
    walk::{Task, Walk},
};
use crate::{
    git::{Git, Oid},
    kernel::{build::Arch, kconfig::LostOption, tools::Toolchain},
    patches::commits::{Assembled, AssembledSeries},
    source::{finding::Finding, manifest::Base, workspace::Workspace},
    sys::{
        Result,
        cache::{Cache, Lock},
        plural::count,
        ui::Ui,
    },
};

pub const ARCHS: [Arch; 2] = [Arch::Um, Arch::X86_64];

pub struct Subject<'a> {
    pub ws: &'a Workspace,
    pub cache: &'a Cache,
    pub toolchain: &'a Toolchain,
    pub git: &'a Git<'a>,
    pub base: &'a Base,
    pub assembled: &'a Assembled,
    pub archs: Vec<Arch>,
    pub sources: Sources,
    /// Takes the lock of the tree that kernels are built from.
    pub lock_tree: &'a (dyn Fn() -> Result<Lock> + Sync),
    pub ui: &'a Ui,
    /// The selected series. All if it is empty.
    pub names: &'a [String],
    /// Results of other machines.
    pub import: Vec<Results>,
    /// The file for the results of this run.
    pub export: Option<PathBuf>,
}

pub struct Outcome {
    /// The record for `out/full.json`.
    pub full: Full,
    /// The durations for `out/full-times.json`.
    pub times: Times,
    pub findings: Vec<Finding>,
}

/// Checks the series. The caller holds the lock. Errors have other causes than the patches, such as
/// a full disk or an interrupt; results up to that point are stored.
pub fn run(subject: &Subject<'_>) -> Result<Outcome> {
    let mut checks = Checks::new(subject)?;
    checks.findings = subject.sources.check(subject)?;
    let units = checks.units()?;
    checks.import(&units)?;
    checks.plan(&units);
    let series = checks.series.clone();
    let mut done = Vec::new();
    for one in &series {
        done.push(checks.patches(one)?);
    }
    if subject.names.is_empty() {
        // The configuration of a single series may lack options of a later one.
        checks.options();
    }
    for (one, full) in series.iter().zip(&mut done) {
        full.dependencies = checks.dependencies(one)?;
    }
    for (one, full) in series.iter().zip(&mut done) {
        if kunit::runs(subject, one) {
            full.kunit = Some(checks.kunit(one)?);
        }
    }
    let findings = std::mem::take(&mut checks.findings);
    for full in &mut done {
        full.pass = !findings.iter().any(|f| f.series == full.name);
    }
    let full = Full {
        base: subject.base.version.clone(),
        base_tree: subject.assembled.base.tree.to_string(),
        all_tree: subject.assembled.all.tree.to_string(),
        archs: subject.archs.clone(),
        pass: findings.is_empty(),
        series: done,
    };
    Ok(Outcome {
        full,
        times: checks.end()?,
        findings,
    })
}

/// Creates the results of one shard. Gives no verdict, because the new diagnostics of a unit depend
/// on the results of other shards. Returns the durations. The caller holds the lock.
pub fn run_shard(subject: &Subject<'_>, shard: Shard) -> Result<Times> {
    let mut checks = Checks::new(subject)?;
    let all = checks.units()?;
    checks.import(&all)?;
    let units = Units {
        patches: shard.part(&all.patches).to_vec(),
        without: shard.part(&all.without).to_vec(),
        kunit: shard.part(&all.kunit).to_vec(),
    };
    checks.plan(&units);
    for task in units.patches.iter().chain(&units.without) {
        checks.walk.perform(task)?;
    }
    for (one, _) in &units.kunit {
        kunit::at_tip(&mut checks.walk, one)?;
    }
    checks.end()
}

/// The units of a run, sorted by kind.
#[derive(Default)]
struct Units<'a> {
    patches: Vec<Task>,
    /// The patches that verify from which patch on a series needs a dependency.
    without: Vec<Task>,
    kunit: Vec<(&'a AssembledSeries, Unit)>,
}

impl Units<'_> {
    fn tasks(&self) -> impl Iterator<Item = (&str, Vec<&Unit>)> {
        let compiled = self.patches.iter().chain(&self.without);
        let compiled = compiled.map(|task| (task.what.as_str(), task.units()));
        let kunit = self.kunit.iter().map(|(_, unit)| unit);
        compiled.chain(kunit.map(|unit| (unit.what.as_str(), vec![unit])))
    }
}

struct Checks<'a> {
    subject: &'a Subject<'a>,
    /// The selected series that have patches.
    series: Vec<&'a AssembledSeries>,
    walk: Walk<'a>,
    /// Diagnostics at the start and end of each series, by architecture.
    tips: BTreeMap<Oid, Vec<State>>,
    /// Options that no configuration has so far, by architecture.
    lost: BTreeMap<&'static str, Vec<LostOption>>,
    findings: Vec<Finding>,
}

/// The state of a tree for one architecture.
#[derive(Debug, Clone)]
struct State {
    arch: Arch,
    /// All diagnostics up to this tree.
    seen: Seen,
    builds: bool,
}

impl<'a> Checks<'a> {
    fn new(subject: &'a Subject<'a>) -> Result<Self> {
        let mut series = subject.assembled.named(subject.names)?;
        series.retain(|s| !s.patches.is_empty());
        Ok(Self {
            subject,
            series,
            walk: Walk::new(subject)?,
            tips: BTreeMap::new(),
            lost: BTreeMap::new(),
            findings: Vec::new(),
        })
    }

    /// Returns the task that compiles all of the tree at the start of a series.
    fn start(&self, one: &AssembledSeries) -> Result<Task> {
        let tree = &one.parent.tree;
        let mut what = format!("{} 0", one.name());
        if *tree == self.subject.assembled.base.tree {
            what = "base".to_owned();
        }
        let subject = "the whole tree, for comparison";
        self.walk.task(what, subject, tree, None, false)
    }

    fn task(&self, one: &AssembledSeries, index: usize) -> Result<Task> {
        let before = one.patches[..index].last().unwrap_or(&one.parent);
        let what = format!("{} {}", one.name(), index + 1);
        let subject = &one.plan.patches[index].subject;
        let tree = &one.patches[index].tree;
        self.walk
            .task(what, subject, tree, Some(&before.tree), false)
    }

    fn units(&self) -> Result<Units<'a>> {
        let mut units = Units::default();
        let mut tips = Vec::new();
        for one in self.series.iter().copied() {
            // Another series may end where this one starts.
            if !tips.contains(&&one.parent.tree) {
                units.patches.push(self.start(one)?);
            }
            tips.extend([&one.parent.tree, &one.tip().tree]);
            for index in 0..one.patches.len() {
                units.patches.push(self.task(one, index)?);
            }
            for dependency in &one.plan.series().depends {
                let without = Without::new(&self.walk, one, &dependency.value)?;
                units.without.extend(without.tasks(&self.walk)?);
            }
            if kunit::runs(self.subject, one) {
                units.kunit.push((one, kunit::unit(self.subject, one)?));
            }
        }
        Ok(units)
    }

    fn plan(&mut self, units: &Units<'_>) {
        for (what, units) in units.tasks() {
            self.walk.plan(what, &units);
        }
    }

    fn import(&self, units: &Units<'_>) -> Result<()> {
        let Subject { import, ui, .. } = self.subject;
        if import.is_empty() {
            return Ok(());
        }
        let units = units.tasks().flat_map(|(_, units)| units);
        let expected = units.map(|unit| (unit.what.as_str(), &unit.key)).collect();
        let walk = &self.walk;
        let number = exchange::import(import, &walk.origin, &walk.store, &expected)?;
        let (number, units) = (count(number, "result", "results"), expected.len());
        ui.say(format!("imported {number} for {units} units"));
        Ok(())
    }

    /// Writes the results of this run for other machines. Returns the durations.
    fn end(self) -> Result<Times> {
        if let Some(file) = &self.subject.export {
            let walk = &self.walk;
            let number = exchange::export(file, &walk.origin, &walk.store, &walk.units)?;
            let number = count(number, "result", "results");
            let ui = self.subject.ui;
            ui.say(format!("{number} written to {}", file.display()));
        }
        Ok(self.walk.times())
    }

    /// Returns the diagnostics up to the start of a series.
    fn state_before(&mut self, one: &AssembledSeries) -> Result<Vec<State>> {
        let tree = &one.parent.tree;
        if let Some(states) = self.tips.get(tree) {
            return Ok(states.clone());
        }
        let task = self.start(one)?;
        let of_archs = self
            .walk
            .perform(&task)?
            .into_iter()
            .zip(&self.subject.archs);
        let states = of_archs.map(|(results, arch)| {
            let mut state = State {
                arch: *arch,
                seen: Seen::default(),
                builds: false,
            };
            state.judge(&results);
            // The patches need not mend a base whose documentation cannot be built.
            state.builds = results.first().is_some_and(|make| make.builds);
            state
        });
        let states: Vec<_> = states.collect();
        self.tips.insert(tree.clone(), states.clone());
        Ok(states)
    }

    fn patches(&mut self, one: &AssembledSeries) -> Result<SeriesFull> {
        let mut states = self.state_before(one)?;
        let mut patches = Vec::new();
        for (index, planned) in one.plan.patches.iter().enumerate() {
            if let Some(step) = &planned.relocate {
                states.iter_mut().for_each(|s| s.seen.rename(step));
            }
            let id = index + 1;
            let mut units = Vec::new();
            let mut found = Vec::new();
            let task = self.task(one, index)?;
            for (results, state) in self.walk.perform(&task)?.iter().zip(&mut states) {
                let (unit, new) = state.judge(results);
                units.push(unit);
                for (check, said) in new {
                    let mut finding = Finding::new(one.name(), check, said.message).of_patch(id);
                    if !said.file.is_empty() {
                        finding = finding.at(said.file, said.line);
                    }
                    found.push((state.arch, finding));
                }
                let now = &results[0].lost;
                let lost = self.lost.entry(state.arch.name());
                let lost = lost.or_insert_with(|| now.clone());
                lost.retain(|option| now.iter().any(|n| n.is_same_option(option)));
            }
            self.findings.extend(merged(found));
            patches.push(PatchFull {
                id,
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

    /// Reports options that no tree of the run has, because their code is not tested.
    fn options(&mut self) {
        for (arch, lost) in &self.lost {
            let file = walk::fragment(self.subject.ws, arch);
            for option in lost {
                let finding = Finding::new("all series", "config", option.to_string());
                self.findings.push(finding.at(&file, None));
            }
        }
    }

    fn dependencies(&mut self, one: &AssembledSeries) -> Result<Vec<Dependency>> {
        // The first architecture is sufficient.
        let seen = self.tips[&one.tip().tree][0].seen.clone();
        let series = one.plan.series();
        let mut proofs = Vec::new();
        for declared in &series.depends {
            let without = Without::new(&self.walk, one, &declared.value)?;
            let proof = without.prove(&mut self.walk, &seen)?;
            if !proof.pass {
                let finding = Finding::new(one.name(), "depends", unlike(&proof));
                self.findings.push(finding.at(&series.file, declared.line));
            }
            proofs.push(proof);
        }
        Ok(proofs)
    }

    fn kunit(&mut self, one: &AssembledSeries) -> Result<KunitFull> {
        let done = kunit::at_tip(&mut self.walk, one)?;
        if !done.pass {
            let what = match done.errors.first() {
                Some(error) => format!("on the base and its dependencies only: {error}"),
                None => "the tests fail on the base and its dependencies only".to_owned(),
            };
            let log = self.subject.ws.below_out(kunit::place(one, "log"));
            let finding = Finding::new(one.name(), "kunit", what);
            self.findings.push(finding.at(log, None));
        }
        Ok(done)
    }
}

/// The checkers of each step of a build, and the names of the checks for errors and for warnings.
const STEPS: [(&[&str], &str, &str); 2] = [
    (&["build", "W=1", "clippy", "sparse"], "build", "warning"),
    (&["rustdoc"], "rustdoc", "rustdoc"),
];

impl State {
    /// Judges make and rustdoc. Returns the new diagnostics also with the names of their checks.
    fn judge(&mut self, results: &[Compiled]) -> (UnitFull, Vec<(&'static str, Said)>) {
        let mut found = Vec::new();
        let mut unit = UnitFull {
            arch: self.arch,
            ran: Vec::new(),
            builds: results.iter().all(|result| result.builds),
            pass: false,
            warnings: Vec::new(),
            errors: Vec::new(),
        };
        for ((ran, of_errors, of_warnings), result) in STEPS.into_iter().zip(results) {
            unit.ran.extend(ran.iter().map(|name| (*name).to_owned()));
            let (warnings, errors) = by_level(self.seen.new_in(&result.said), result.builds);
            found.extend(errors.iter().map(|said| (of_errors, said.clone())));
            found.extend(warnings.iter().map(|said| (of_warnings, said.clone())));
            unit.warnings.extend(warnings);
            unit.errors.extend(errors);
        }
        if !unit.builds && unit.errors.is_empty() && self.builds {
            // The build failed with diagnostics that were warnings before.
            let message = "does not build".to_owned();
            let rest = Said::default();
            found.push(("build", Said { message, ..rest }));
        }
        self.builds = unit.builds;
        unit.pass = unit.builds && unit.warnings.is_empty();
        (unit, found)
    }
}

/// Describes the difference between a declared dependency and the builds.
fn unlike(proof: &Dependency) -> String {
    let name = &proof.name;
    let Some(failure) = &proof.failure else {
        return format!("{name} is not needed: all patches apply and build without it");
    };
    let how = failure.how.text();
    let (declared, found) = (proof.without, proof.found);
    let (patch, subject, error) = (failure.patch, &failure.subject, &failure.error);
    format!(
        "[without] has {name} = {declared}, but the builds show {found}: patch {patch} \
         ({subject}) is the first that {how} without it: {error}"
    )
}

/// Joins findings that differ only in the architecture.
fn merged(found: Vec<(Arch, Finding)>) -> impl Iterator<Item = Finding> {
    let mut merged: Vec<(String, Finding)> = Vec::new();
    for (arch, new) in found {
        match merged.iter_mut().find(|(_, old)| *old == new) {
            Some((archs, _)) => archs.push_str(&format!(", {}", arch.name())),
            None => merged.push((arch.name().to_owned(), new)),
        }
    }
    merged.into_iter().map(|(archs, finding)| Finding {
        message: format!("{archs}: {}", finding.message),
        ..finding
    })
}

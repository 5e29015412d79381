// SPDX-License-Identifier: GPL-2.0

//! The commands: the order of their steps, and their output.

pub mod adopt;
mod branches;
mod full;
mod mails;
mod prepare;
mod quick_test;
mod record;
mod report;
mod resend;
mod session;
mod trailers;
mod try_base;
mod undo;

pub use self::session::Session;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Instant,
};

use comfy_table::{Table, presets};

use crate::{
    b4,
    checks::{
        moved_code::{self, Proof},
        quick,
    },
    cli::{args::OnKernel, stdout::print},
    git::{BaseCommit, Git, Identity},
    kernel::{
        base::{self, Sources},
        build::{Build, Purpose, Target},
        checkout, kunit,
        tools::{self, Found, Need, Toolchain, Uses},
    },
    patches::{
        commits::{Assembled, assemble},
        output::{self, Cover, Mails, Material, Report},
        plan::{PlannedSeries, plan_some},
        since::Since,
        up_to_date,
    },
    report::status::SeriesStatus,
    source::{
        component::{self, Component},
        manifest::{Base, below, in_order, selected_series},
        workspace::Workspace,
    },
    sys::{
        cache::{Cache, Lock, Resource},
        error::{Error, Result},
        plural::count,
        runner::Runner,
        timings::Timings,
        ui::{Ui, duration},
    },
    versions::{postings::commits::Rebuild, rules::versions, trailers::dropped},
};

/// The context of a command on one base.
pub struct App<'a> {
    runner: &'a dyn Runner,
    ws: Workspace,
    cache: Cache,
    sources: Sources,
    base: Base,
    ui: Ui,
    kernel: PathBuf,
    timings: Timings,
}

/// The result of `assemble`.
struct Made {
    assembled: Assembled,
    report: Report,
    who: Identity,
    /// The mails, in the order of the series.
    mails: Vec<Mails>,
    /// The cover letters, in the same order.
    covers: Vec<Cover>,
    /// The changes since the last postings.
    since: Since,
    /// The reasons why b4's branches were left unchanged, by name of the series.
    unsendable: BTreeMap<String, Error>,
}

impl App<'_> {
    fn git(&self) -> Git<'_> {
        Git::new(self.runner, &self.kernel)
    }

    /// Takes a lock for changes to the kernel repository.
    fn lock(&self, resource: Resource) -> Result<Lock> {
        let lock = self.cache.lock(resource, &self.ui)?;
        if lock.after_death() {
            self.git().remove_stale_locks(resource);
        }
        Ok(lock)
    }

    fn base_commit(&self) -> Result<BaseCommit> {
        base::obtain(
            self.runner,
            &self.cache,
            &self.base,
            &self.sources,
            &self.ui,
        )
    }

    /// Plans the series that `names` selects, and their dependencies.
    fn planned(&self, names: &[String]) -> Result<Vec<PlannedSeries>> {
        let components = component::read_all(&self.ws)?;
        let manifests: Vec<_> = components.iter().map(|c| c.series.clone()).collect();
        let ordered = in_order(&manifests)?;
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        for name in selected_series(&ordered, names)? {
            let below = below(&ordered, &name);
            wanted.extend(below.iter().map(|s| s.name.to_string()));
            wanted.insert(name);
        }
        let unfinished = components
            .iter()
            .filter(|c| wanted.contains(c.name()))
            .filter_map(|c| versions::unfinished(&c.series, &c.postings));
        match Error::all(unfinished.map(|f| f.into_error()).collect()) {
            Some(error) => Err(error),
            None => plan_some(components, &|name| wanted.contains(name)),
        }
    }

    fn make(&self, names: &[String]) -> Result<Made> {
        let who = Identity::of_user(self.runner, self.ws.root())?;
        // Hash the input first, so that the next run notices changes during this one.
        let read = up_to_date::input(&self.ws, &who);
        // Report faults in the manifests before importing the base.
        let planned = self.planned(names)?;
        let base = self.base_commit()?;
        let git = self.git();
        let _lock = self.lock(Resource::Refs)?;
        self.fetch_branches(&planned)?;
        let assembled = assemble(&git, &self.cache, &base, &who, planned)?;
        let scratch = self.cache.scratch()?;
        let whole = names.is_empty();
        let mails = output::mails(&git, &assembled, &who, scratch.path())?;
        let since = self.since(&assembled)?;
        let material = Material {
            assembled: &assembled,
            base: &self.base,
            mails: &mails,
            since: &since,
        };
        let report = output::emit(&self.ws, &git, &material, &who, whole)?;
        b4::configure(&git, &self.base, &who)?;
        let mut covers = Vec::new();
        let mut unsendable = BTreeMap::new();
        for one in &assembled.series {
            let cover = material.cover(one)?;
            let is_posted = one.plan.component.is_posted_here && one.plan.series().local.is_none();
            if !one.patches.is_empty() && is_posted {
                let left = b4::branch(&git, one, &cover, &self.base, &who)?;
                if let Some(why) = left {
                    self.ui.say(format!(
                        "note: {} is left unchanged: {why}",
                        b4::branch_name(one.name())
                    ));
                    unsendable.insert(one.name().to_owned(), why);
                }
            }
            covers.push(cover);
        }
        if whole {
            let tree = &assembled.all.tree;
            checkout::export_host(&self.ws, &git, &self.cache, &self.base, &base.tree, tree)?;
            up_to_date::record(&self.ws, &git, read, &report)?;
        }
        if let Some(bad) = report.series.iter().find(|s| !s.applies) {
            return Err(Error::new(format!(
                "the patches of {} do not produce its tree on the base and its dependencies alone",
                bad.name
            )));
        }
        Ok(Made {
            assembled,
            report,
            who,
            mails,
            covers,
            since,
            unsendable,
        })
    }

    /// Returns the context to restore the commits of postings.
    fn rebuild<'b>(
        &'b self,
        git: &'b Git<'b>,
        base: &'b BaseCommit,
        components: &'b [&'b Component],
    ) -> Rebuild<'b> {
        Rebuild {
            ws: &self.ws,
            git,
            cache: &self.cache,
            base,
            components,
        }
    }

    /// Compares each series with its last posting.
    fn since(&self, assembled: &Assembled) -> Result<Since> {
        let series = &assembled.series;
        let components: Vec<_> = series.iter().map(|s| &s.plan.component).collect();
        let git = self.git();
        let rebuild = self.rebuild(&git, &assembled.base, &components);
        let mut since = Since::new();
        for one in series {
            if let Some(posting) = one.plan.component.posted() {
                let change = crate::patches::since::change(&rebuild, posting, one)?;
                since.insert(one.name().to_owned(), change);
            }
        }
        Ok(since)
    }

    /// Returns the build of a kernel with all series.
    fn build_of<'b>(
        &'b self,
        toolchain: &'b Toolchain,
        target: Target,
        purpose: Purpose,
    ) -> Build<'b> {
        Build {
            runner: self.runner,
            ws: &self.ws,
            cache: &self.cache,
            toolchain,
            target,
            purpose,
            ui: &self.ui,
        }
    }

    fn assemble_command(&self, names: &[String]) -> Result<Vec<SeriesStatus>> {
        let start = Instant::now();
        if names.is_empty()
            && let Some(report) = self.unchanged()?
        {
            self.ui.say("nothing changed since the last assemble");
            return self.write_report(&report);
        }
        let made = self.make(names)?;
        self.warn_unsigned(&made.who);
        for line in made
            .assembled
            .series
            .iter()
            .flat_map(|one| dropped(one.name(), one.trailers()))
        {
            self.ui.say(format!("note: {line}"));
        }
        if names.is_empty() {
            for name in self.removed(&made)? {
                self.say_removed(&name);
            }
        }
        self.ui
            .say(format!("assembled in {}", duration(start.elapsed())));
        match names.is_empty() {
            true => self.write_report(&made.report),
            false => self.standings_of(&made.report),
        }
    }

    /// Returns the names of removed series that still have patches in `out/`.
    fn removed(&self, made: &Made) -> Result<Vec<String>> {
        let out = self.ws.out()?;
        let entries = std::fs::read_dir(&out).map_err(|e| Error::io("list", &out, &e))?;
        let mut names = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_one = made.assembled.series.iter().any(|s| s.name() == name);
            let boxes = std::fs::read_dir(entry.path()).into_iter().flatten();
            let made_here = |e: std::fs::DirEntry| {
                let name = e.file_name();
                name.to_string_lossy().ends_with(".with-deps.mbox")
            };
            if !is_one && boxes.flatten().any(made_here) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Prints the commands that delete the output of a removed series. The user runs them, because
    /// the branch may contain a posted version.
    fn say_removed(&self, name: &str) {
        self.ui.say(format!(
            "note: series/{name}.toml was removed; to delete the output of the series:\n    \
             rm -r {}\n    git -C {} branch --force --delete {}",
            self.ws.below_out(name).display(),
            self.kernel.display(),
            b4::branch_name(name)
        ));
    }

    /// Returns the report of the last `assemble`, if another one would change nothing.
    fn unchanged(&self) -> Result<Option<Report>> {
        if !self.kernel.join(".git").is_dir() {
            return Ok(None);
        }
        // `assemble` replaces an unreadable report.
        let Ok(Some(report)) = output::read_report(&self.ws) else {
            return Ok(None);
        };
        let who = Identity::of_user(self.runner, self.ws.root())?;
        let applies = report.series.iter().all(|s| s.applies);
        let holds = applies && up_to_date::holds(&self.ws, &self.git(), &who, &report)?;
        Ok(holds.then_some(report))
    }

    fn warn_unsigned(&self, who: &Identity) {
        if !who.set {
            self.ui.say(
                "note: the patches have no sign-off, because git has no user.name and user.email",
            );
        }
    }

    fn toolchain(&self, needs: &[Need]) -> Result<Toolchain> {
        Toolchain::find(self.runner, &self.cache, needs, self.uses())
    }

    /// Returns the parts of the toolchain that the base and the patches use. Any component may
    /// contain Rust. The commits of branches show whether they do.
    fn uses(&self) -> Uses {
        let series = component::manifests(&self.ws).unwrap_or_default();
        let commits = self.ws.branches().into_iter().flat_map(BTreeMap::values);
        let mut changes = commits.flatten().flat_map(|c| &c.changes);
        Uses {
            llvm: self.base.build.llvm,
            rust: series.is_empty()
                || series.iter().any(|s| s.branch.is_none())
                || changes.any(|c| c.path.ends_with(".rs")),
        }
    }

    /// Refuses folders in which the kernel cannot be built.
    fn refuse_odd_folder(&self) -> Result<()> {
        match self.kernel.to_string_lossy().contains([' ', ':']) {
            false => Ok(()),
            true => Err(Error::new(
                "the kernel cannot be built in a folder with a space or a colon in its path",
            )
            .at(&self.kernel, None)
            .help("set SERIES_CACHE to another folder")),
        }
    }

    /// Builds the kernel, and calls `then` while holding the lock of its folder. `needs` lists the
    /// tools for the build and for `then`.
    fn build<T>(
        &self,
        target: Target,
        needs: &[Need],
        then: impl FnOnce(&Made, &Build<'_>) -> Result<T>,
    ) -> Result<T> {
        self.refuse_odd_folder()?;
        let made = self.timings.time("assemble", || self.make(&[]))?;
        let toolchain = self
            .timings
            .time("find the tools", || self.toolchain(needs))?;
        let build = self.build_of(&toolchain, target, Purpose::AllSeries);
        let _lock = self.lock(Resource::Tree)?;
        let tip = &made.assembled.all;
        if build.is_current(tip)? && build.check_config().is_ok() {
            self.ui
                .say(format!("the kernel ({}) is up to date", target.name()));
            return then(&made, &build);
        }
        let git = self.git();
        self.timings
            .time("check out", || checkout::check_out(&git, tip, &self.ui))?;
        let warnings = self.timings.time("build the kernel", || build.build(tip))?;
        self.show_warnings(&made, &warnings);
        then(&made, &build)
    }

    /// Shows compiler warnings about files that the series touch. Warnings about other files come
    /// from the base.
    fn show_warnings(&self, made: &Made, warnings: &[String]) {
        let patches = made.assembled.series.iter().flat_map(|s| &s.plan.patches);
        let touched: Vec<&str> = patches.flat_map(|p| p.paths()).collect();
        let (ours, others): (Vec<&String>, Vec<_>) = warnings
            .iter()
            .partition(|w| touched.iter().any(|path| w.contains(path)));
        for warning in ours {
            self.ui.warn(warning);
        }
        if !others.is_empty() {
            let lines = match others.len() {
                1 => "1 line of warnings is".to_owned(),
                n => format!("{n} lines of warnings are"),
            };
            self.ui
                .say(format!("{lines} about files that no series touches"));
        }
    }

    fn build_command(&self, target: Target) -> Result<()> {
        self.build(target, &[Need::Kernel], |_, build| {
            print(&format!("{}\n", build.dir().display()));
            Ok(())
        })
    }

    fn prove(&self, names: &[String], target: Target) -> Result<Vec<Proof>> {
        self.build(target, &[Need::Kernel], |made, build| {
            let wanted = made.assembled.named(names)?;
            let git = self.git();
            // The compiler finds unmoved headers in the tree of the build.
            checkout::check_out(&git, &made.assembled.all, &self.ui)?;
            let subject = moved_code::Subject {
                git: &git,
                cache: &self.cache,
                assembled: &made.assembled,
                build,
            };
            let mut proofs = Vec::new();
            for one in wanted {
                proofs.extend(moved_code::prove(&subject, one, &self.base.name, &self.ui)?);
            }
            Ok(proofs)
        })
    }

    fn test(&self, names: &[String], target: Target) -> Result<(Report, Vec<kunit::Record>)> {
        self.build(target, &target.arch().run_needs(), |made, build| {
            let wanted = made.assembled.selected(names)?;
            let mut records = Vec::new();
            for one in &made.assembled.series {
                let series = one.plan.series();
                if one.patches.is_empty() || !wanted.iter().any(|n| series.name == *n) {
                    continue;
                }
                let steps = made.assembled.steps_after(one);
                let expected = kunit::expectation_after(series, target.arch(), &steps);
                if expected.is_empty() && !series.kunit.um_suites.is_empty() {
                    self.ui.say(format!(
                        "KUnit of {} ({}): its suites require user-mode Linux",
                        series.name,
                        target.name()
                    ));
                    continue;
                }
                if expected.is_empty() {
                    let (name, kernel) = (&series.name, target.name());
                    self.ui
                        .say(format!("KUnit of {name} ({kernel}): no suites"));
                    continue;
                }
                self.ui
                    .say(format!("KUnit of {} ({}) …", series.name, target.name()));
                let what = format!("KUnit of {}", series.name);
                let record = self.timings.time(&what, || {
                    // kunit.py needs the tree of the build.
                    checkout::check_out(&self.git(), &made.assembled.all, &self.ui)?;
                    let tree = made.assembled.all.tree.as_str();
                    kunit::run(&self.ws, build, series, &expected, tree)
                })?;
                self.ui.say(format!(
                    "KUnit of {} ({}): {}",
                    series.name,
                    target.name(),
                    record.summary()
                ));
                records.push(record);
            }
            Ok((made.report.clone(), records))
        })
    }

    /// Returns the input of the checks.
    fn subject<'b>(
        &'b self,
        made: &'b Made,
        git: &'b Git<'b>,
        python: Option<PathBuf>,
    ) -> crate::checks::Subject<'b> {
        crate::checks::Subject {
            ws: &self.ws,
            cache: &self.cache,
            git,
            assembled: &made.assembled,
            report: &made.report,
            base: &self.base,
            mails: &made.mails,
            covers: &made.covers,
            since: &made.since,
            who: &made.who,
            history: self.sources.kernel.clone(),
            python,
        }
    }

    /// Runs the quick checks.
    fn quick(&self, made: &Made, names: &[String]) -> Result<quick::Outcome> {
        let missing = tools::missing(self.runner, &self.cache, &[Need::Check], self.uses());
        if !missing.is_empty() {
            return Err(tools::lacking(&missing));
        }
        let git = self.git();
        let _lock = self.lock(Resource::Tree)?;
        checkout::check_out(&git, &made.assembled.all, &self.ui)?;
        let b4 = tools::b4(self.runner, &self.cache).ok();
        // Only b4's own virtual environment contains its Python modules.
        let python = b4.and_then(|b4| b4.parent().filter(|p| p.is_absolute()).map(PathBuf::from));
        let subject = self.subject(made, &git, python);
        let outcome = quick::quick(&subject, names, &self.ui)?;
        self.write_report(&made.report)?;
        Ok(outcome)
    }

    fn check_command(&self, names: &[String]) -> Result<quick::Outcome> {
        self.quick(&self.make(&[])?, names)
    }

    /// Prints the warnings, and a summary if the checks found nothing. Returns the findings as an
    /// error.
    fn report(&self, outcome: &quick::Outcome) -> Option<Error> {
        for warning in &outcome.warnings {
            self.ui.warn(quick::error_of(warning).to_string());
        }
        let failure = quick::failure_of(&outcome.findings);
        if failure.is_none() {
            self.ui.say(format!(
                "{}: no findings by {}",
                count(outcome.patches, "patch", "patches"),
                outcome.checks.join(", ")
            ));
        }
        failure
    }

    fn setup(&self, yes: bool) -> Result<()> {
        tools::setup(
            self.runner,
            &self.cache,
            &self.sources,
            &self.ui,
            self.uses(),
            yes,
        )
    }
}

/// Returns the kernel that the command line selects.
fn target_of(on: &OnKernel) -> Result<Target> {
    Target::chosen(on.arch, on.hardened, on.lockdep)
}

fn doctor_table(found: &[Found]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "tool",
        "version",
        "needed for",
        "to install",
    ]);
    for f in found {
        table.add_row([
            f.name,
            f.version.as_deref().unwrap_or("MISSING"),
            f.need.text(),
            f.fix.as_deref().unwrap_or(""),
        ]);
    }
    table.to_string()
}

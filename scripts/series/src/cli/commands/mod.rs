// SPDX-License-Identifier: GPL-2.0

//! The commands: the order of their steps, and their output.

mod adopt;
mod bases;
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

pub use self::session::run;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Instant,
};

use crate::{
    b4,
    checks::{
        moved_code::{self, Proof},
        quick,
    },
    cli::{
        args::OnKernel,
        stdout::{print, print_as, print_json, print_line},
    },
    git::{BaseCommit, Git, Identity},
    kernel::{
        base::{self, Sources},
        build::{Build, Purpose, Target},
        checkout, kunit,
        tools::{self, Found, Need, Toolchain, Uses},
    },
    patches::{
        Made,
        commits::{Assembled, AssembledSeries, assemble},
        output::{self, Cover, Material, Report},
        plan::{PlannedSeries, plan_some},
        since::{self, Since},
        up_to_date,
    },
    report::status::SeriesStatus,
    source::{
        component::{self, Component},
        finding::Finding,
        manifest::{Base, Series, below, in_order, selected_series},
        workspace::Workspace,
    },
    sys::{
        Error, Result, Runner,
        cache::{Cache, Lock, Resource},
        files::{list, read_file, write},
        plural::count,
        table::markdown,
        timings::Timings,
        ui::{Ui, duration},
    },
    versions::{
        postings::{Posting, commits::Rebuild},
        rules::versions,
        trailers::dropped,
    },
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

/// The result of `check` on a base, and the failure to report.
type Checked = (quick::Outcome, Option<Error>);

impl App<'_> {
    fn say(&self, text: impl AsRef<str>) {
        self.ui.say(text);
    }

    fn git(&self) -> Git<'_> {
        Git::new(self.runner, &self.kernel)
    }

    fn lock(&self, resource: Resource) -> Result<Lock> {
        let lock = self.cache.lock(resource, &self.ui)?;
        if lock.after_death {
            self.git().remove_stale_locks(resource);
        }
        Ok(lock)
    }

    fn base_commit(&self) -> Result<BaseCommit> {
        let (sources, ui) = (&self.sources, &self.ui);
        base::obtain(self.runner, &self.cache, &self.base, sources, ui)
    }

    /// Plans the series that `names` selects, and their dependencies.
    fn planned(&self, names: &[String]) -> Result<Vec<PlannedSeries>> {
        let components = component::read_all(&self.ws)?;
        let manifests: Vec<_> = components.iter().map(|c| c.series.clone()).collect();
        let ordered = in_order(&manifests)?;
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        for name in selected_series(&ordered, names)? {
            wanted.extend(below(&ordered, &name).iter().map(|s| s.name.to_string()));
            wanted.insert(name);
        }
        let selected = components.iter().filter(|c| wanted.contains(c.name()));
        let unfinished = selected.filter_map(|c| versions::unfinished(&c.series, &c.postings));
        Error::all(unfinished.map(Finding::into_error))?;
        plan_some(components, &|name| wanted.contains(name))
    }

    /// Returns the user as git knows them in the clone with the branches, or in the workspace.
    fn user(&self) -> Result<Identity> {
        let clone = self.base.kernel.as_ref().map(|dir| self.ws.path(dir));
        let dir = clone.filter(|dir| dir.is_dir());
        Identity::of_user(self.runner, dir.as_deref().unwrap_or(self.ws.root()))
    }

    /// Creates the commits of the series that `names` selects, and of their dependencies, but no
    /// mails and covers. Returns them with the lock of the refs.
    fn commits(&self, names: &[String], who: &Identity) -> Result<(Assembled, Lock)> {
        // Report faults in the manifests before importing the base.
        let planned = self.planned(names)?;
        let base = self.base_commit()?;
        let lock = self.lock(Resource::Refs)?;
        self.fetch_branches(&planned)?;
        let assembled = assemble(&self.git(), &self.cache, &base, who, planned)?;
        Ok((assembled, lock))
    }

    fn make(&self, names: &[String]) -> Result<Made> {
        let who = self.user()?;
        // Hash the input first, so that the next run notices changes during this one.
        let read = up_to_date::input(&self.ws, &who);
        let (assembled, _lock) = self.commits(names, &who)?;
        let git = self.git();
        let scratch = self.cache.scratch()?;
        let mails = output::mails(&git, &assembled, &who, scratch.path())?;
        let since = self.since(&assembled)?;
        let material = Material {
            assembled: &assembled,
            base: &self.base,
            mails: &mails,
            since: &since,
        };
        let whole = names.is_empty();
        let covers = assembled.series.iter().map(|one| material.cover(one));
        let covers: Vec<Cover> = covers.collect::<Result<_>>()?;
        let report = output::emit(&self.ws, &git, &material, &covers, &who, whole)?;
        let unsendable = self.update_b4(&assembled, &covers, &who)?;
        if whole {
            let (base, tree) = (&assembled.base.tree, &assembled.all.tree);
            checkout::export_host(&self.ws, &git, &self.cache, &self.base, base, tree)?;
            up_to_date::record(&self.ws, &git, read, &report)?;
        }
        let mut written = assembled.series.iter().zip(&mails);
        if let Some((bad, mails)) = written.find(|(_, mails)| !mails.differ.is_empty()) {
            let name = bad.name();
            return Err(Error::new(format!(
                "the mails of {name} do not produce its tree on the base and its dependencies alone"
            ))
            .detail(mails.differ.join("\n"))
            .help("`git am` drops the carriage return of lines that end with CRLF"));
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

    /// Creates the branches for b4. Returns the reasons why branches were left unchanged.
    fn update_b4(
        &self,
        assembled: &Assembled,
        covers: &[Cover],
        who: &Identity,
    ) -> Result<BTreeMap<String, Error>> {
        let git = self.git();
        b4::configure(&git, &self.base, who)?;
        let mut unsendable = BTreeMap::new();
        for (one, cover) in assembled.series.iter().zip(covers) {
            let is_posted = one.plan.component.is_posted_here && one.plan.series().local.is_none();
            if one.patches.is_empty() || !is_posted {
                continue;
            }
            if let Some(why) = b4::branch(&git, one, cover, &self.base, who)? {
                let branch = b4::branch_name(one.name());
                self.say(format!("note: {branch} is left unchanged: {why}"));
                unsendable.insert(one.name().to_owned(), why);
            }
        }
        Ok(unsendable)
    }

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

    fn since(&self, assembled: &Assembled) -> Result<Since> {
        let mut since = Since::new();
        for one in &assembled.series {
            if let Some(posting) = one.plan.component.posted() {
                let change = self.change(assembled, posting, one)?;
                since.insert(one.name().to_owned(), change);
            }
        }
        Ok(since)
    }

    /// Compares a series with a posting. The caller holds the lock of the refs.
    fn change(
        &self,
        assembled: &Assembled,
        posting: &Posting,
        one: &AssembledSeries,
    ) -> Result<since::Change> {
        let series = assembled.series.iter();
        let components: Vec<_> = series.map(|s| &s.plan.component).collect();
        let git = self.git();
        let rebuild = self.rebuild(&git, &assembled.base, &components);
        since::change(&rebuild, posting, one)
    }

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
        let whole = names.is_empty();
        if whole && let Some(report) = self.unchanged()? {
            self.say("nothing changed since the last assemble");
            return self.write_report(&report);
        }
        let made = self.make(names)?;
        self.warn_unsigned(&made.who);
        for one in &made.assembled.series {
            for line in dropped(one.name(), one.trailers()) {
                self.say(format!("note: {line}"));
            }
        }
        if whole {
            self.say_removed(&made)?;
        }
        self.say(format!("assembled in {}", duration(start.elapsed())));
        if whole {
            return self.write_report(&made.report);
        }
        let mut statuses = self.statuses(Some(&made.report))?;
        statuses.retain(|s| made.report.series.iter().any(|r| r.name == s.name));
        Ok(statuses)
    }

    /// Prints the commands that delete the output of removed series. The user runs them, because
    /// the branch may contain a posted version.
    fn say_removed(&self, made: &Made) -> Result<()> {
        let is_box = |file: &PathBuf| file.to_string_lossy().ends_with(".with-deps.mbox");
        for dir in list(&self.ws.out()?)? {
            let name = dir.file_name().unwrap_or_default().to_string_lossy();
            let is_series = made.assembled.series.iter().any(|s| s.name() == name);
            if !is_series && list(&dir).unwrap_or_default().iter().any(is_box) {
                let (dir, kernel) = (self.ws.shown(&dir).display(), self.kernel.display());
                let branch = b4::branch_name(&name);
                self.say(format!(
                    "note: series/{name}.toml was removed; to delete the output of the series:\n\
                     \x20   rm -r {dir}\n    git -C {kernel} branch --force --delete {branch}"
                ));
            }
        }
        Ok(())
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
        let who = self.user()?;
        let applies = report.series.iter().all(|s| s.applies);
        let holds = applies && up_to_date::holds(&self.ws, &self.git(), &who, &report)?;
        Ok(holds.then_some(report))
    }

    fn warn_unsigned(&self, who: &Identity) {
        if !who.set {
            self.say(
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
        if !self.kernel.to_string_lossy().contains([' ', ':']) {
            return Ok(());
        }
        let what = "the kernel cannot be built in a folder with a space or a colon in its path";
        let error = Error::new(what).at(&self.kernel, None);
        Err(error.help("set SERIES_CACHE to another folder"))
    }

    /// Creates all series for a build of the kernel.
    fn make_to_build(&self) -> Result<Made> {
        self.refuse_odd_folder()?;
        self.timings.time("assemble", || self.make(&[]))
    }

    /// Builds the kernel, and calls `then` while holding the lock of its folder. `needs` lists the
    /// tools for the build and for `then`.
    fn build<T>(
        &self,
        made: &Made,
        target: Target,
        needs: &[Need],
        then: impl FnOnce(&Build<'_>) -> Result<T>,
    ) -> Result<T> {
        let timings = &self.timings;
        let toolchain = timings.time("find the tools", || self.toolchain(needs))?;
        let build = self.build_of(&toolchain, target, Purpose::AllSeries);
        let _lock = self.lock(Resource::Tree)?;
        let tip = &made.assembled.all;
        if build.is_current(tip)? && build.check_config().is_ok() {
            self.say(format!("the kernel ({}) is up to date", target.name()));
        } else {
            timings.time("check out", || {
                checkout::check_out(&self.git(), tip, &self.ui)
            })?;
            let warnings = timings.time("build the kernel", || build.build(tip))?;
            self.show_warnings(made, &warnings);
        }
        then(&build)
    }

    /// Shows compiler warnings about files that the series touch. Warnings about other files come
    /// from the base.
    fn show_warnings(&self, made: &Made, warnings: &[String]) {
        let patches = made.assembled.series.iter().flat_map(|s| &s.plan.patches);
        let touched: Vec<&str> = patches.flat_map(|p| p.paths()).collect();
        let is_ours = |w: &&String| touched.iter().any(|path| w.contains(path));
        let (ours, others): (Vec<&String>, Vec<_>) = warnings.iter().partition(is_ours);
        for warning in ours {
            self.ui.warn(warning);
        }
        let about = "about files that no series touches";
        match others.len() {
            0 => (),
            1 => self.say(format!("1 line of warnings is {about}")),
            n => self.say(format!("{n} lines of warnings are {about}")),
        }
    }

    fn build_command(&self, target: Target) -> Result<()> {
        let made = self.make_to_build()?;
        self.build(&made, target, &[Need::Kernel], |build| {
            print_line(build.dir().display())
        })
    }

    fn prove(&self, names: &[String], target: Target) -> Result<Vec<Proof>> {
        let made = self.make_to_build()?;
        let wanted = made.assembled.named(names)?;
        let mut patches = wanted.iter().flat_map(|one| &one.plan.patches);
        if !patches.any(|patch| patch.relocate.is_some()) {
            self.say("no patch moves code with a relocation, so there is nothing to compare");
            return Ok(Vec::new());
        }
        self.build(&made, target, &[Need::Kernel], |build| {
            let git = self.git();
            // The compiler finds unmoved headers in the tree of the build.
            checkout::check_out(&git, &made.assembled.all, &self.ui)?;
            let mut proofs = Vec::new();
            for one in wanted {
                let subject = moved_code::Subject {
                    git: &git,
                    assembled: &made.assembled,
                    one,
                    build,
                };
                proofs.extend(subject.prove(&self.base.name)?);
            }
            Ok(proofs)
        })
    }

    fn test(&self, made: &Made, names: &[String], target: Target) -> Result<Vec<kunit::Record>> {
        self.build(made, target, &target.arch().run_needs(), |build| {
            let wanted = made.assembled.selected(names)?;
            let mut records = Vec::new();
            for one in &made.assembled.series {
                if !one.patches.is_empty() && wanted.iter().any(|name| one.name() == name) {
                    records.extend(self.run_kunit(&made.assembled, one, build)?);
                }
            }
            Ok(records)
        })
    }

    /// Runs the tests of a series, if it has any for this kernel.
    fn run_kunit(
        &self,
        assembled: &Assembled,
        one: &AssembledSeries,
        build: &Build<'_>,
    ) -> Result<Option<kunit::Record>> {
        let (series, target) = (one.plan.series(), build.target);
        let what = format!("KUnit of {}", series.name);
        let on = target.name();
        let steps = assembled.steps_after(one);
        let expected = kunit::expectation_after(series, target.arch(), &steps);
        if expected.is_empty() {
            let why = if series.kunit.um_suites.is_empty() {
                "no suites"
            } else {
                "its suites require user-mode Linux"
            };
            self.say(format!("{what} ({on}): {why}"));
            return Ok(None);
        }
        self.say(format!("{what} ({on}) …"));
        let record = self.timings.time(&what, || {
            // kunit.py needs the tree of the build.
            checkout::check_out(&self.git(), &assembled.all, &self.ui)?;
            kunit::run(build, series, &expected, assembled.all.tree.as_str())
        })?;
        self.say(format!("{what} ({on}): {}", record.summary()));
        Ok(Some(record))
    }

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
            made,
            base: &self.base,
            history: self.sources.kernel.clone(),
            python,
        }
    }

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

    /// Prints the warnings, and a summary if the checks found nothing. Returns the findings as an
    /// error.
    fn report(&self, outcome: &quick::Outcome) -> Option<Error> {
        for warning in &outcome.warnings {
            self.ui.warn(warning.clone().into_full_error().to_string());
        }
        let failure = quick::failure_of(&outcome.findings);
        if failure.is_none() {
            let patches = count(outcome.patches, "patch", "patches");
            let checks = outcome.checks.join(", ");
            self.say(format!("{patches}: no findings by {checks}"));
        }
        failure
    }

    fn setup(&self, yes: bool) -> Result<()> {
        let (sources, ui) = (&self.sources, &self.ui);
        tools::setup(self.runner, &self.cache, sources, ui, self.uses(), yes)
    }
}

fn target_of(on: &OnKernel) -> Result<Target> {
    Target::chosen(on.arch, on.hardened, on.lockdep)
}

fn doctor_table(found: &[Found]) -> String {
    let rows = found.iter().map(|f| {
        let version = f.version.as_deref().unwrap_or("MISSING");
        let fix = f.fix.as_deref().unwrap_or_default();
        [f.name, version, f.need.text(), fix]
    });
    markdown("tool | version | needed for | to install", rows)
}

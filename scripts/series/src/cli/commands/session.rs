// SPDX-License-Identifier: GPL-2.0

//! Selects the bases for a command, and combines its results.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{App, doctor_table, target_of};
use crate::{
    branches,
    checks::{every_patch, moved_code},
    cli::{
        args::{Check, Cli, Command, Prepare, Record, Test},
        stdout::{print, print_json},
    },
    git::{self, Git, refs},
    kernel::{
        base::{self, Sources},
        build::Target,
        kunit,
        tools::{self, Found, Need},
    },
    report::status::{self, SeriesStatus},
    source::{
        component,
        manifest::Base,
        workspace::{BASES, ONLY_BASE, View, Workspace},
    },
    sys::{
        cache::{Cache, Resource},
        error::{Error, Result},
        runner::Runner,
        timings::Timings,
        ui::{Ui, duration},
    },
};

/// The bases of a workspace.
pub struct Session<'a> {
    /// An entry for each base, the default base first.
    apps: Vec<App<'a>>,
    /// The names in `--base`. If there are none, commands use all bases that can be obtained.
    named: Vec<String>,
}

impl<'a> Session<'a> {
    /// Finds the checkout, its bases and the cache.
    ///
    /// # Errors
    ///
    /// The workspace is missing, or the file of a base is invalid.
    pub fn new(
        runner: &'a dyn Runner,
        cli: &Cli,
        var: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let here = match &cli.workspace {
            Some(dir) => std::path::absolute(dir),
            None => std::env::current_dir(),
        };
        let here = here.map_err(|e| Error::new(format!("cannot find the current folder: {e}")))?;
        let ws = Workspace::find(&here)?;
        let mut bases = bases(&ws)?;
        let named = named(cli, var, &mut bases)?;
        let cache = Cache::open(var)?;
        cache.sweep();
        crate::sys::files::sweep(&ws.path("out"));
        // `doctor` works without git. Commands that need git report a missing git, and an
        // unreadable configuration, themselves.
        let _ = git::read_trusted(runner, ws.root());
        let mirror = var("SERIES_MIRROR").or_else(|| var("NOVA_SERIES_MIRROR"));
        let mirror = mirror.unwrap_or_default();
        let mirror = mirror.split(':').filter(|m| !m.is_empty());
        let sources = Sources {
            kernel: cli.kernel.clone(),
            mirror: mirror.map(|m| ws.path(m)).collect(),
        };
        let all: Vec<String> = bases.iter().map(|b| b.name.clone()).collect();
        let ui = match cli.verbose {
            0 => Ui::detect(cli.quiet),
            _ => Ui::detect(cli.quiet).plain(),
        };
        let mut apps = Vec::new();
        for base in &bases {
            let cache = match base.default {
                true => cache.clone(),
                false => cache.on(&base.name)?,
            };
            let mut sources = sources.clone();
            let of_base = base.kernel.as_ref().map(|dir| ws.path(dir));
            sources.kernel = sources.kernel.or(of_base);
            let view = View {
                names: names(base, &bases),
                other: !base.default,
                all: all.clone(),
            };
            rename_old_refs(runner, &cache, &ui)?;
            apps.push(App {
                runner,
                sources,
                ui,
                kernel: cache.kernel(),
                ws: ws.on(view),
                cache,
                base: base.clone(),
                timings: Timings::default(),
            });
        }
        Ok(Self { apps, named })
    }

    /// Runs the command.
    ///
    /// # Errors
    ///
    /// All expected failures.
    pub fn run(&mut self, command: &Command) -> Result<()> {
        for app in &mut self.apps {
            let git = Git::new(app.runner, &app.kernel);
            base::learn(&git, &mut app.base)?;
            match command {
                // These work without the clone, and then assume that branches have no Rust.
                Command::Setup(_) | Command::Doctor(_) => drop(app.read_branches()),
                _ => app.read_branches()?,
            }
        }
        match command {
            Command::Setup(setup) => self.first().setup(setup.yes),
            Command::Doctor(form) => self.doctor(form.json),
            Command::Assemble(names) => {
                let done = self.each(|app| app.assemble_command(&names.names))?;
                done.show_standings()
            }
            Command::Build(on) => {
                let target = target_of(on)?;
                self.each(|app| app.build_command(target))?.end()
            }
            Command::Test(test) => self.test(test),
            Command::Check(check) => self.check(check),
            Command::Prove(prove) => {
                let target = Target::Plain(prove.arch);
                let done = self.each(|app| app.prove(&prove.names, target))?;
                let (proofs, error) = done.joined();
                match prove.json {
                    true => print_json(&proofs)?,
                    false => print(&moved_code::text(&proofs)),
                }
                all(moved_code::failure(&proofs).into_iter().chain(error))
            }
            Command::Graph(graph) => {
                for app in self.selected() {
                    app.graph(graph.format)?;
                }
                Ok(())
            }
            Command::Status(form) => {
                let mut statuses = Vec::new();
                for app in self.selected() {
                    statuses.extend(app.status()?);
                }
                match form.json {
                    true => print_json(&statuses)?,
                    false => print(&format!(
                        "{}\n\n{}\n",
                        status::table(&statuses),
                        status::details(&statuses)
                    )),
                }
                Ok(())
            }
            Command::Try(other) => self.first().try_base(&other.base, &other.names, other.json),
            Command::Diff(diff) => self.posted_on(&diff.name)?.diff(diff),
            Command::Record(posted) => self.record(posted),
            Command::Trailers(trailers) => self.posted_on(&trailers.name)?.trailers(
                &trailers.name,
                trailers.mbox.as_deref(),
                trailers.json,
            ),
            Command::Prepare(send) => self.prepare(send),
            Command::All(all) => self.everything(Target::Plain(all.arch), all.setup.yes),
            // These need no workspace.
            Command::Adopt(_) | Command::Completions(_) | Command::Man => Ok(()),
        }
    }

    /// Returns the first base in `--base`, or the default base.
    fn first(&self) -> &App<'a> {
        let named = self.named.first();
        let found = self.apps.iter().find(|a| named == Some(&a.base.name));
        found.unwrap_or(&self.apps[0])
    }

    /// Returns the bases in `--base`, or all bases.
    fn selected(&self) -> impl Iterator<Item = &App<'a>> {
        let is_selected =
            |app: &&App<'a>| self.named.is_empty() || self.named.contains(&app.base.name);
        self.apps.iter().filter(is_selected)
    }

    /// Calls `run` for each selected base. If a base is not in `--base` and cannot be obtained,
    /// warns and skips it.
    ///
    /// # Errors
    ///
    /// The error of the base, if only one is selected. Errors of several bases are in the result,
    /// see [`Done::end`].
    fn each<T>(&mut self, run: impl Fn(&App<'a>) -> Result<T>) -> Result<Done<T>> {
        let several = self.selected().count() > 1;
        let is_named = !self.named.is_empty();
        let mut done = Done {
            results: Vec::new(),
            errors: Vec::new(),
        };
        let named = &self.named;
        let is_selected = |app: &&mut App<'a>| named.is_empty() || named.contains(&app.base.name);
        for app in self.apps.iter_mut().filter(is_selected) {
            if several {
                app.ui.say(format!("base {}:", app.base.name));
            }
            if let Err(e) = app.obtain() {
                match app.base.default || is_named {
                    true => done.errors.push(e),
                    false => app.ui.warn(format!(
                        "base {} is skipped, because it is not available: {e}",
                        app.base.name
                    )),
                }
                continue;
            }
            match run(app) {
                Ok(result) => done.results.push((app.base.name.clone(), result)),
                Err(e) => done.errors.push(e),
            }
        }
        match several {
            true => Ok(done),
            false => match done.errors.pop() {
                Some(error) => Err(error),
                None => Ok(done),
            },
        }
    }

    /// Returns the base on which a series is posted.
    ///
    /// # Errors
    ///
    /// `--base` names another base.
    fn posted_on(&mut self, name: &str) -> Result<&App<'a>> {
        let at = self.apps.iter().position(|app| {
            let all = component::manifests(&app.ws).unwrap_or_default();
            let mut all = all.iter();
            all.any(|s| *s.name == *name && s.is_posted_on(app.ws.view()))
        });
        // The command reports an unknown series.
        let Some(at) = at else {
            return Ok(self.first());
        };
        let base = &self.apps[at].base.name;
        if let Some(other) = self.named.iter().find(|named| *named != base) {
            return Err(Error::new(format!(
                "{name} is posted on {base}; on {other} it is only built and tested"
            ))
            .help(format!("omit `--base {other}`")));
        }
        if self.apps[at].sources.kernel.is_some() {
            self.apps[at].obtain()?;
        }
        Ok(&self.apps[at])
    }

    fn record(&mut self, posted: &Record) -> Result<()> {
        let app = self.posted_on(&posted.name)?;
        match (&posted.mbox, posted.undo) {
            (_, true) => app.undo(&posted.name),
            (Some(mbox), _) if posted.resend => app.record_resend(&posted.name, mbox),
            (mbox, _) => app.record(&posted.name, mbox.as_deref()),
        }
    }

    fn prepare(&mut self, send: &Prepare) -> Result<()> {
        let app = self.posted_on(&send.name)?;
        match send.resend {
            true => app.resend(&send.name),
            false => app.prepare(&send.name),
        }
    }

    /// Runs tests without a record, on one base.
    fn quick_test(&mut self, test: &Test) -> Result<()> {
        let name = self.first().base.name.clone();
        for app in self.apps.iter_mut().filter(|app| app.base.name == name) {
            app.obtain()?;
            match test.watch {
                true => app.watch(test)?,
                false => app.quick_test(test)?,
            }
        }
        Ok(())
    }

    fn test(&mut self, test: &Test) -> Result<()> {
        if test.filter.is_some() || test.watch {
            return self.quick_test(test);
        }
        let target = target_of(&test.on)?;
        let done = self.each(|app| {
            let tested = app.test(&test.names, target);
            if test.timings {
                app.say_timings();
            }
            let (report, records) = tested?;
            let failure = kunit::failure(&app.ws, &records);
            Ok((app.write_report(&report)?, records, failure))
        })?;
        let mut statuses = Vec::new();
        let mut records = Vec::new();
        let mut errors = done.errors;
        for (_, (standing, record, failure)) in done.results {
            statuses.extend(standing);
            records.extend(record);
            errors.extend(failure);
        }
        match test.json {
            true => print_json(&records)?,
            false => print(&format!("{}\n", status::table(&statuses))),
        }
        all(errors)
    }

    fn check(&mut self, check: &Check) -> Result<()> {
        if let Some(shard) = check.shard {
            return self.each(|app| app.shard(check, shard))?.end();
        }
        let done = self.each(|app| {
            let (outcome, table) = match check.full {
                true => app.full(check)?,
                false => (app.check_command(&check.names)?, None),
            };
            if !check.json
                && let Some(table) = table
            {
                print(&format!("{}\n", every_patch::table(&table)));
            }
            let failure = app.report(&outcome);
            Ok((outcome, failure))
        })?;
        if check.json {
            // With a single base, the output is the outcome itself.
            match &done.results[..] {
                [(_, (outcome, _))] => print_json(outcome)?,
                all => {
                    let by_base = all.iter().map(|(base, (outcome, _))| (base, outcome));
                    print_json(&by_base.collect::<BTreeMap<_, _>>())?;
                }
            }
        }
        let failures = done
            .results
            .into_iter()
            .filter_map(|(_, (_, failure))| failure);
        all(failures.chain(done.errors))
    }

    fn doctor(&self, json: bool) -> Result<()> {
        let first = self.first();
        let mut found = tools::used(first.runner, &first.cache, first.uses());
        for app in self.selected() {
            let base = base::imported(&app.git(), &app.base).ok().flatten();
            let fix = match app.base.default {
                true => "cargo series assemble".to_owned(),
                false => format!("cargo series assemble --base {}", app.base.name),
            };
            found.push(Found {
                name: "base",
                need: Need::Assemble,
                fix: base.is_none().then_some(fix),
                version: base.map(|_| app.base.release()),
            });
        }
        match json {
            true => print_json(&found)?,
            false => print(&format!("{}\n", doctor_table(&found))),
        }
        let missing: Vec<_> = found.into_iter().filter(|f| f.version.is_none()).collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(tools::lacking(&missing)),
        }
    }

    /// Sets up, assembles, builds and tests.
    fn everything(&mut self, target: Target, yes: bool) -> Result<()> {
        let start = Instant::now();
        // The commands report the tools that they need.
        if let Err(error) = self.first().setup(yes) {
            self.first().ui.warn(error.to_string());
        }
        let done = self.each(|app| {
            let made = app.make(&[])?;
            app.warn_unsigned(&made.who);
            let tested = app.test(&[], target);
            let statuses = app.write_report(&made.report)?;
            let failure = match tested {
                Ok((_, records)) => kunit::failure(&app.ws, &records),
                Err(error) => Some(error),
            };
            Ok((statuses, failure))
        })?;
        let mut statuses = Vec::new();
        let mut errors = done.errors;
        for (_, (standing, failure)) in done.results {
            statuses.extend(standing);
            errors.extend(failure);
        }
        print(&format!("{}\n", status::table(&statuses)));
        self.first()
            .ui
            .say(format!("done in {}", duration(start.elapsed())));
        all(errors)
    }
}

impl App<'_> {
    /// Reads the commits of the series that name a branch.
    fn read_branches(&mut self) -> Result<()> {
        // The command reports manifests that cannot be read.
        let series = component::manifests(&self.ws).unwrap_or_default();
        if series.iter().all(|s| s.branch.is_none()) {
            return Ok(());
        }
        let theirs = self.clone_of_user(&series)?;
        let branches = branches::read::read(&theirs, &self.git(), &self.base, &series)?;
        self.ws.set_branches(branches);
        Ok(())
    }

    /// Imports the base if necessary. Updates commit and version of a base that is a revision.
    fn obtain(&mut self) -> Result<()> {
        if self.base.rev.is_none() && self.base.default {
            // The command checks the manifests first, and then imports the base.
            return Ok(());
        }
        self.base_commit()?;
        let git = Git::new(self.runner, &self.kernel);
        base::learn(&git, &mut self.base)
    }
}

/// The results of a command on several bases.
struct Done<T> {
    /// Names of bases and the results.
    results: Vec<(String, T)>,
    /// The errors of other bases.
    errors: Vec<Error>,
}

impl<T> Done<T> {
    /// Discards the results and returns the errors.
    fn end(self) -> Result<()> {
        all(self.errors)
    }
}

impl<T> Done<Vec<T>> {
    /// Joins the results of all bases, and the errors.
    fn joined(self) -> (Vec<T>, Option<Error>) {
        let results = self.results.into_iter().flat_map(|(_, result)| result);
        (results.collect(), Error::all(self.errors))
    }
}

impl Done<Vec<SeriesStatus>> {
    /// Prints one table for all bases.
    fn show_standings(self) -> Result<()> {
        let (statuses, error) = self.joined();
        if !statuses.is_empty() {
            print(&format!("{}\n", status::table(&statuses)));
        }
        error.map_or(Ok(()), Err)
    }
}

fn all(errors: impl IntoIterator<Item = Error>) -> Result<()> {
    Error::all(errors.into_iter().collect()).map_or(Ok(()), Err)
}

/// Renames the refs of earlier versions in the kernel repository.
fn rename_old_refs(runner: &dyn Runner, cache: &Cache, ui: &Ui) -> Result<()> {
    let kernel = cache.kernel();
    let git = Git::new(runner, &kernel);
    if !refs::has_old_names(&git) {
        return Ok(());
    }
    let all = [Resource::Base, Resource::Refs, Resource::Tree];
    let locks: Result<Vec<_>> = all.into_iter().map(|what| cache.lock(what, ui)).collect();
    let _locks = locks?;
    refs::rename_old(&git)
}

/// Reads the bases of a workspace, the default base first.
pub(super) fn bases(ws: &Workspace) -> Result<Vec<Base>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(ws.path(BASES))
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = PathBuf::from(BASES).join(entry.file_name());
        if path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
    }
    files.sort();
    if ws.path(ONLY_BASE).is_file() {
        files.insert(0, PathBuf::from(ONLY_BASE));
    }
    let mut bases = Vec::new();
    let mut errors = Vec::new();
    for file in files {
        match ws.read(&file).and_then(|text| Base::parse(&file, &text)) {
            Ok(mut base) => {
                // This file predates workspaces with several bases.
                base.default |= file == Path::new(ONLY_BASE);
                bases.push(base);
            }
            Err(e) => errors.push(e),
        }
    }
    if let [base] = &mut bases[..] {
        base.default = true;
    }
    let defaults: Vec<&Base> = bases.iter().filter(|b| b.default).collect();
    if errors.is_empty() && defaults.len() != 1 {
        let names: Vec<&str> = bases.iter().map(|b| b.name.as_str()).collect();
        errors.push(
            Error::new(format!(
                "{} of the bases have `default = true`",
                defaults.len()
            ))
            .at(BASES, None)
            .help(format!(
                "exactly one base is the default, which uses the files that are not variants; the \
                 bases are: {}",
                names.join(", ")
            )),
        );
    }
    for base in &bases {
        if let Some(other) = &base.like
            && (*other == base.name || !bases.iter().any(|b| b.name == *other))
        {
            errors.push(
                Error::new(format!("`like`: unknown base {other:?}"))
                    .at(&base.file, None)
                    .help("name the base whose files it shares"),
            );
        }
    }
    if let Some(error) = Error::all(errors) {
        return Err(error);
    }
    bases.sort_by_key(|b| !b.default);
    Ok(bases)
}

/// Returns the bases whose variants of files a base uses, the base itself first.
fn names(base: &Base, all: &[Base]) -> Vec<String> {
    let mut names = vec![base.name.clone()];
    let mut next = base.like.as_ref();
    while let Some(name) = next.filter(|name| !names.contains(name)) {
        names.push(name.clone());
        next = all
            .iter()
            .find(|b| b.name == *name)
            .and_then(|b| b.like.as_ref());
    }
    names
}

/// Returns the names in `--base` or `SERIES_BASE`, and applies `--rev` to the base.
fn named(
    cli: &Cli,
    var: &dyn Fn(&str) -> Option<String>,
    bases: &mut [Base],
) -> Result<Vec<String>> {
    let mut named = cli.bases.clone();
    if named.is_empty() {
        named.extend(var("SERIES_BASE").filter(|b| !b.is_empty()));
    }
    let known: Vec<String> = bases.iter().map(|b| b.name.clone()).collect();
    if let Some(unknown) = named.iter().find(|n| !known.contains(n)) {
        return Err(Error::new(format!("unknown base {unknown:?}"))
            .help(format!("the bases are: {}", known.join(", "))));
    }
    if let Some(rev) = &cli.rev {
        let is_meant = |b: &&mut Base| match &named[..] {
            [] => known.len() == 1,
            [only] => b.name == *only,
            _ => false,
        };
        let base = bases.iter_mut().find(is_meant).ok_or_else(|| {
            Error::new("--rev needs a single base").help(format!(
                "select one with --base; the bases are: {}",
                known.join(", ")
            ))
        })?;
        base.rev = Some(rev.clone());
    }
    Ok(named)
}

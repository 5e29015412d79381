// SPDX-License-Identifier: GPL-2.0

//! Selects the bases for a command, and combines its results.

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use super::{
    App, Cache, Error, Found, Git, Need, Resource, Result, Runner, Series, Sources, Target,
    Timings, Ui, Workspace, adopt, base, bases, component, doctor_table, duration, kunit,
    moved_code, print, print_as, print_json, print_line, target_of, tools,
};
use crate::{
    branches,
    cli::{
        args::{All, Check, Cli, Command, Prepare, Prove, Test},
        completions, man,
    },
    git::{self, refs},
    report::status,
    source::{
        manifest::{in_order, unknown_series},
        workspace::View,
    },
    sys::files::{list, sweep},
};

/// Runs the command of the command line. `var` reads an environment variable.
pub fn run(runner: &dyn Runner, cli: &Cli, var: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    let open = || Session::open(runner, cli, var);
    match &cli.command {
        Command::Completions(of) => print(&completions::script(of.shell)),
        Command::Man => print(&man::page()),
        Command::Adopt(branches) => adopt::adopt(runner, cli, branches),
        Command::Setup(setup) => open()?.first().setup(setup.yes),
        Command::Doctor(form) => open()?.doctor(form.json),
        Command::Assemble(names) => open()?.assemble(&names.names),
        Command::Build(on) => {
            let target = target_of(on)?;
            Error::all(open()?.each(&[], |app, _| app.build_command(target))?.1)
        }
        Command::Test(test) if test.filter.is_some() || test.watch => open()?.quick_test(test),
        Command::Test(test) => open()?.test(test),
        Command::Check(check) => open()?.check(check),
        Command::Prove(prove) => open()?.prove(prove),
        Command::Graph(args) => open()?
            .selected()
            .try_for_each(|app| app.graph(args.format)),
        Command::Status(form) => open()?.status(form.json),
        Command::Try(other) => open()?.of_names(&other.names)?.try_base(other),
        Command::Diff(diff) => open()?.posted_on(&diff.name)?.diff(diff),
        Command::Record(record) => {
            let mut session = open()?;
            session.apps[0].finish_manifests(&record.name)?;
            session.posted_on(&record.name)?.record_command(record)
        }
        Command::Trailers(trailers) => open()?.posted_on(&trailers.name)?.trailers(trailers),
        Command::Prepare(Prepare { name, resend: true }) => open()?.posted_on(name)?.resend(name),
        Command::Prepare(Prepare { name, .. }) => open()?.posted_on(name)?.prepare(name),
        Command::All(all) => open()?.everything(all),
    }
}

/// The bases of a workspace.
struct Session<'a> {
    /// An entry for each base, the default base first.
    apps: Vec<App<'a>>,
    /// The names in `--base`. If there are none, commands use all bases that can be obtained.
    named: Vec<String>,
}

impl<'a> Session<'a> {
    /// Finds the checkout, its bases and the cache, and reads the commits of branches.
    fn open(
        runner: &'a dyn Runner,
        cli: &Cli,
        var: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let ws = Workspace::find(&bases::folder(cli)?)?;
        let mut bases = bases::read(&ws)?;
        let named = bases::named(cli, var, &mut bases)?;
        let cache = Cache::open(var)?;
        cache.sweep();
        for folder in list(ws.root()).unwrap_or_default() {
            let is_ours = ["out", "series", "cover-letters"]
                .iter()
                .any(|name| folder.ends_with(name));
            if is_ours || folder.join("CHANGELOG.md").exists() {
                sweep(&folder);
            }
        }
        // `doctor` works without git. Commands that need git report a missing git, and an
        // unreadable configuration, themselves.
        let _ = git::read_trusted(runner, ws.root());
        let mirror = var("SERIES_MIRROR").or_else(|| var("NOVA_SERIES_MIRROR"));
        let mirror = mirror.unwrap_or_default();
        let mirror = mirror.split(':').filter(|m| !m.is_empty());
        let mirror: Vec<PathBuf> = mirror.map(|m| ws.path(m)).collect();
        let names: Vec<String> = bases.iter().map(|b| b.name.clone()).collect();
        let ui = Ui::detect(cli.quiet);
        let ui = if cli.verbose == 0 { ui } else { ui.plain() };
        let mut apps = Vec::new();
        for base in &bases {
            let cache = if base.default {
                cache.clone()
            } else {
                cache.on(&base.name)?
            };
            rename_old_refs(runner, &cache, &ui)?;
            let of_base = base.kernel.as_ref().map(|dir| ws.path(dir));
            apps.push(App {
                runner,
                sources: Sources {
                    kernel: cli.kernel.clone().or(of_base),
                    mirror: mirror.clone(),
                },
                ui,
                kernel: cache.kernel(),
                ws: ws.on(View {
                    names: bases::variants(base, &bases),
                    other: !base.default,
                    all: names.clone(),
                }),
                cache,
                base: base.clone(),
                timings: Timings::default(),
            });
        }
        for app in &mut apps {
            app.learn()?;
            let read = app.read_branches();
            // These work without the clone, and then assume that branches have no Rust.
            if !matches!(cli.command, Command::Setup(_) | Command::Doctor(_)) {
                read?;
            }
        }
        Ok(Self { apps, named })
    }

    /// Returns the first base in `--base`, or the default base.
    fn first(&self) -> &App<'a> {
        let named = self.named.first();
        let found = self.apps.iter().find(|a| named == Some(&a.base.name));
        found.unwrap_or(&self.apps[0])
    }

    /// Returns the bases in `--base`, or all bases.
    fn selected(&self) -> impl Iterator<Item = &App<'a>> {
        self.apps.iter().filter(|app| self.is_selected(app))
    }

    fn is_selected(&self, app: &App<'a>) -> bool {
        self.named.is_empty() || self.named.contains(&app.base.name)
    }

    /// Divides names of series and components among the bases, because series of branches exist on
    /// one base only. The result is [`None`] for a base that is not selected or has none of them.
    /// Refuses a name that no base knows, before anything is built.
    fn divide(&self, names: &[String]) -> Result<Vec<Option<Vec<String>>>> {
        let known = self.apps.iter().map(|app| {
            let is_selected = self.is_selected(app);
            let series = is_selected.then(|| component::manifests(&app.ws));
            series.unwrap_or_else(|| Ok(Vec::new()))
        });
        let Ok(known) = known.collect::<Result<Vec<_>>>() else {
            // The command reports the faults of each base.
            let all = |app| self.is_selected(app).then(|| names.to_owned());
            return Ok(self.apps.iter().map(all).collect());
        };
        let has = |all: &[Series], name: &String| {
            all.iter().any(|s| s.name == *name || s.component == *name)
        };
        let is_unknown = |name: &&String| !known.iter().any(|all| has(all, name));
        if let Some(name) = names.iter().find(is_unknown) {
            let mut all: Vec<&Series> = Vec::new();
            for one in known.iter().map(|of_base| in_order(of_base)) {
                let new = one?
                    .into_iter()
                    .filter(|s| all.iter().all(|o| o.name != s.name));
                all.extend(new.collect::<Vec<_>>());
            }
            return Err(unknown_series(&all, name));
        }
        let part = |(app, here): (&App<'a>, &Vec<Series>)| {
            let part: Vec<String> = names.iter().filter(|n| has(here, n)).cloned().collect();
            let is_used = names.is_empty() || !part.is_empty();
            (is_used && self.is_selected(app)).then_some(part)
        };
        Ok(self.apps.iter().zip(&known).map(part).collect())
    }

    /// Calls `run` for each selected base with its part of `names`, and returns the results and the
    /// errors, but fails with the error of a single base. If a base is not in `--base` and cannot be
    /// obtained, warns and skips it.
    fn each<T>(
        &mut self,
        names: &[String],
        run: impl Fn(&App<'a>, &[String]) -> Result<T>,
    ) -> Result<(Vec<T>, Vec<Error>)> {
        let parts = self.divide(names)?;
        let several = parts.iter().flatten().count() > 1;
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        let mut failed = |name: &str, e: Error| {
            errors.extend(e.each().into_iter().map(|e| (name.to_owned(), e)));
        };
        for (app, part) in self.apps.iter_mut().zip(&parts) {
            let Some(part) = part else { continue };
            let name = app.base.name.clone();
            if several {
                app.say(format!("base {name}:"));
            }
            match app.obtain() {
                Err(e) if app.base.default || !self.named.is_empty() => failed(&name, e),
                Err(e) => app.ui.warn(format!(
                    "base {name} is skipped, because it is not available: {e}"
                )),
                Ok(()) => match run(app, part) {
                    Ok(result) => results.push(result),
                    Err(e) => failed(&name, e),
                },
            }
        }
        if several {
            return Ok((results, with_bases(errors)));
        }
        Error::all(errors.into_iter().map(|(_, e)| e))?;
        Ok((results, Vec::new()))
    }

    /// Returns the base on which a series is posted. Fails if `--base` names another one.
    fn posted_on(&mut self, name: &str) -> Result<&App<'a>> {
        let found = self.apps.iter().enumerate().find_map(|(at, app)| {
            let all = component::manifests(&app.ws).unwrap_or_default();
            let is_posted = |s: &Series| *s.name == *name && s.is_posted_on(app.ws.view());
            let series = all.into_iter().find(is_posted)?;
            Some((at, series.branch.is_some()))
        });
        // The command reports an unknown series.
        let Some((at, is_branch)) = found else {
            return Ok(self.first());
        };
        let base = &self.apps[at].base.name;
        if let Some(other) = self.named.iter().find(|named| *named != base) {
            let there = if is_branch {
                "it does not exist"
            } else {
                "it is only built and tested"
            };
            let what = format!("{name} is posted on {base}; on {other} {there}");
            return Err(Error::new(what).help(format!("omit `--base {other}`")));
        }
        if self.apps[at].sources.kernel.is_some() {
            self.apps[at].obtain()?;
        }
        Ok(&self.apps[at])
    }

    fn assemble(&mut self, names: &[String]) -> Result<()> {
        let (statuses, mut errors) = self.each(names, |app, names| app.assemble_command(names))?;
        let statuses = statuses.concat();
        if !statuses.is_empty() {
            errors.extend(print_line(status::table(&statuses)).err());
        }
        Error::all(errors)
    }

    fn prove(&mut self, prove: &Prove) -> Result<()> {
        let target = Target::Plain(prove.arch);
        let (proofs, errors) = self.each(&prove.names, |app, names| app.prove(names, target))?;
        let proofs = proofs.concat();
        let printed = print_as(prove.json, &proofs, &moved_code::text(&proofs));
        let failure = moved_code::failure(&proofs);
        Error::all(failure.into_iter().chain(errors).chain(printed.err()))
    }

    fn status(&self, json: bool) -> Result<()> {
        let mut statuses = Vec::new();
        for app in self.selected() {
            statuses.extend(app.status()?);
        }
        let (table, details) = (status::table(&statuses), status::details(&statuses));
        print_as(json, &statuses, &format!("{table}\n\n{details}\n"))
    }

    /// Returns the first base with one of these series; the default base is the first.
    fn of_names(&mut self, names: &[String]) -> Result<&mut App<'a>> {
        let at = self.divide(names)?.iter().position(Option::is_some);
        Ok(&mut self.apps[at.unwrap_or_default()])
    }

    fn quick_test(&mut self, test: &Test) -> Result<()> {
        let app = self.of_names(&test.names)?;
        app.obtain()?;
        if test.watch {
            return app.watch(test);
        }
        app.quick_test(test)
    }

    fn test(&mut self, test: &Test) -> Result<()> {
        let target = target_of(&test.on)?;
        let (results, mut errors) = self.each(&test.names, |app, names| {
            let made = app.make_to_build();
            let tested = made.and_then(|made| Ok((app.test(&made, names, target)?, made.report)));
            if test.timings {
                app.say_timings();
            }
            let (records, report) = tested?;
            let failure = kunit::failure(&app.ws, &records);
            Ok((app.write_report(&report)?, records, failure))
        })?;
        let (mut statuses, mut records) = (Vec::new(), Vec::new());
        for (status, record, failure) in results {
            statuses.extend(status);
            records.extend(record);
            errors.extend(failure);
        }
        let table = status::table(&statuses);
        errors.extend(print_as(test.json, &records, &format!("{table}\n")).err());
        Error::all(errors)
    }

    fn check(&mut self, check: &Check) -> Result<()> {
        let (results, mut errors) = self.each(&check.names, |app, names| {
            let checked = if check.full {
                app.full(check, names)?
            } else {
                let outcome = app.quick(&app.make(&[])?, names)?;
                let failure = app.report(&outcome);
                Some((outcome, failure))
            };
            Ok(checked.map(|(outcome, failure)| (app.base.name.clone(), outcome, failure)))
        })?;
        let results: Vec<_> = results.into_iter().flatten().collect();
        if check.json {
            // With a single base, the output is the outcome itself.
            let printed = match &results[..] {
                [(_, outcome, _)] => print_json(outcome),
                all => {
                    let by_base = all.iter().map(|(base, outcome, _)| (base, outcome));
                    print_json(&by_base.collect::<BTreeMap<_, _>>())
                }
            };
            errors.extend(printed.err());
        }
        let failures = results.into_iter().filter_map(|(.., failure)| failure);
        Error::all(failures.chain(errors))
    }

    fn doctor(&self, json: bool) -> Result<()> {
        let first = self.first();
        let mut found = tools::used(first.runner, &first.cache, first.uses());
        for app in self.selected() {
            let base = base::imported(&app.git(), &app.base).ok().flatten();
            let mut fix = "cargo series assemble".to_owned();
            if !app.base.default {
                fix += &format!(" --base {}", app.base.name);
            }
            found.push(Found {
                name: "base",
                need: Need::Assemble,
                fix: base.is_none().then_some(fix),
                version: base.map(|_| app.base.release()),
            });
        }
        print_as(json, &found, &format!("{}\n", doctor_table(&found)))?;
        found.retain(|f| f.version.is_none());
        if found.is_empty() {
            return Ok(());
        }
        Err(tools::lacking(&found))
    }

    /// Sets up, assembles, builds and tests.
    fn everything(&mut self, args: &All) -> Result<()> {
        let start = Instant::now();
        // The commands report the tools that they need.
        if let Err(error) = self.first().setup(args.setup.yes) {
            self.first().ui.warn(error.to_string());
        }
        let (results, mut errors) = self.each(&[], |app, _| {
            let made = app.make(&[])?;
            app.warn_unsigned(&made.who);
            let buildable = app.refuse_odd_folder();
            let tested = buildable.and_then(|()| app.test(&made, &[], Target::Plain(args.arch)));
            let statuses = app.write_report(&made.report)?;
            let failure = tested.map_or_else(Some, |records| kunit::failure(&app.ws, &records));
            Ok((statuses, failure))
        })?;
        let (statuses, failures): (Vec<_>, Vec<_>) = results.into_iter().unzip();
        errors.extend(failures.into_iter().flatten());
        errors.extend(print_line(status::table(&statuses.concat())).err());
        let took = duration(start.elapsed());
        self.first().say(format!("done in {took}"));
        Error::all(errors)
    }
}

impl App<'_> {
    /// Updates commit and version of a base that is a revision, if it has been imported.
    fn learn(&mut self) -> Result<()> {
        let git = Git::new(self.runner, &self.kernel);
        base::learn(&git, &mut self.base)
    }

    /// Reads the commits of the series that name a branch.
    fn read_branches(&mut self) -> Result<()> {
        // The command reports manifests that cannot be read.
        let series = component::manifests(&self.ws).unwrap_or_default();
        if series.iter().any(|s| s.branch.is_some()) {
            let theirs = self.clone_of_user(&series)?;
            let branches = branches::read::read(&theirs, &self.git(), &self.base, &series)?;
            self.ws.set_branches(branches);
        }
        Ok(())
    }

    /// Imports the base if necessary. Updates commit and version of a base that is a revision.
    fn obtain(&mut self) -> Result<()> {
        if self.base.rev.is_none() && self.base.default {
            // The command checks the manifests first, and then imports the base.
            return Ok(());
        }
        self.base_commit()?;
        self.learn()
    }
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

/// Adds the name of its base to each error. An error of several bases is reported once.
fn with_bases(errors: Vec<(String, Error)>) -> Vec<Error> {
    let mut different: Vec<(Vec<String>, Error)> = Vec::new();
    for (base, error) in errors {
        match different.iter_mut().find(|(_, e)| *e == error) {
            Some((bases, _)) => bases.push(base),
            None => different.push((vec![base], error)),
        }
    }
    let named = |(bases, e): (Vec<String>, Error)| e.detail(format!("on {}", bases.join(", ")));
    different.into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_their_bases() {
        let error = |base: &str, what: &str| (base.to_owned(), Error::new(what));
        let all = with_bases(vec![
            error("v1", "both"),
            error("v1", "one"),
            error("v2", "both"),
        ]);
        let all: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(all, ["both\n    on v1, v2", "one\n    on v1"]);
    }
}

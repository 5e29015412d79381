// SPDX-License-Identifier: GPL-2.0

//! `test --filter` and `test --watch`: the tests under work, as soon as possible and without a record.

use std::{thread, time::Duration};

use super::{App, print, target_of};
use crate::{
    cli::args::Test,
    git::{Identity, PatchCommit},
    kernel::{
        build::{Build, Purpose, Target},
        checkout,
        kunit::{
            self,
            filter::Filter,
            ktap::Log,
            verdict::{DOCTEST_SUITE, Expectation, Verdict},
        },
    },
    patches::{
        commits::{Assembled, AssembledSeries, assemble},
        up_to_date,
    },
    sys::{
        cache::Resource,
        error::{Error, Result},
        files::write,
    },
};

/// How often `--watch` reads the files of the series.
const POLL: Duration = Duration::from_millis(500);

/// The tests to run.
struct Selection {
    /// The filters of KUnit, one for each boot.
    filters: Vec<String>,
    /// The filter of the user, and the suites that it selects.
    filter: Option<(Filter, Vec<String>)>,
    /// All tests of the named series.
    all: Expectation,
}

impl Selection {
    /// Returns the tests that have to be in a log.
    fn expected(self, log: &Log) -> Expectation {
        match self.filter {
            Some((filter, suites)) => filter.expected(suites, log),
            None => self.all,
        }
    }
}

impl App<'_> {
    /// Runs tests on a quick build, and shows the times of the steps if asked to.
    ///
    /// # Errors
    ///
    /// The series do not assemble or build, or a test failed.
    pub(super) fn quick_test(&self, test: &Test) -> Result<()> {
        let verdict = self.quick_steps(test, target_of(&test.on)?);
        if test.timings {
            self.say_timings();
        }
        verdict
    }

    /// Runs tests, and again after each change of a file of the series, until the user interrupts.
    ///
    /// # Errors
    ///
    /// git cannot read the user's name.
    pub(super) fn watch(&self, test: &Test) -> Result<()> {
        let who = Identity::of_user(self.runner, self.ws.root())?;
        let mut tested = up_to_date::input(&self.ws, &who);
        loop {
            if let Err(error) = self.quick_test(test) {
                self.ui.error(error.to_string());
            }
            self.ui.say("waiting for a change; Ctrl-C ends");
            let mut last = tested.clone();
            loop {
                thread::sleep(POLL);
                let now = up_to_date::input(&self.ws, &who);
                // An editor may write several files, or one in several steps.
                if now != tested && now == last {
                    tested = now;
                    break;
                }
                last = now;
            }
        }
    }

    /// Shows the times of the steps since the last call.
    pub(super) fn say_timings(&self) {
        for line in self.timings.take() {
            self.ui.say(line);
        }
    }

    fn quick_steps(&self, test: &Test, target: Target) -> Result<()> {
        self.refuse_odd_folder()?;
        let filter = test.filter.as_deref().map(Filter::parse).transpose()?;
        let assembled = self.timings.time("assemble", || self.commits())?;
        let selection = self.selection(&assembled, &test.names, filter, target)?;
        // The full build checks that all are there. Asking each for its version takes seconds.
        let toolchain = self
            .timings
            .time("find the tools", || self.toolchain(&[]))?;
        let build = self.build_of(&toolchain, target, Purpose::Quick);
        let _lock = self.lock(Resource::Tree)?;
        let patches = assembled.series.iter().flat_map(|s| &s.plan.patches);
        let paths: Vec<_> = patches.flat_map(|p| p.paths()).collect();
        self.timings.time("check out", || {
            let tip = self.tip(&assembled, &test.names, &build, &paths)?;
            checkout::check_out(&self.git(), tip, &self.ui)
        })?;
        self.timings
            .time("build the kernel", || build.build_quick(&paths))?;
        let filters = selection.filters.clone();
        let (verdict, log) = self.timings.time("run KUnit", || {
            kunit::try_out(&build, &filters, |log| selection.expected(log))
        })?;
        self.show_verdict(target, &verdict, &log)
    }

    /// Returns the last patch of the named series if the series below it include the others that are
    /// named, and the configuration fits this kernel, which compiles faster. Otherwise returns the
    /// last patch of all series.
    fn tip<'a>(
        &self,
        assembled: &'a Assembled,
        names: &[String],
        build: &Build<'_>,
        paths: &[&str],
    ) -> Result<&'a PatchCommit> {
        let all = &assembled.all;
        let wanted = assembled.selected(names)?;
        let below =
            |one: &AssembledSeries, name: &String| one.name() == *name || one.below.contains(name);
        let includes = |one: &&AssembledSeries| wanted.iter().all(|name| below(one, name));
        let Some(last) = assembled.series.iter().find(includes) else {
            return Ok(all);
        };
        let tip = last.tip();
        let fits = build.is_configurable(&self.git(), &tip.tree, &all.tree, paths)?;
        Ok(if fits { tip } else { all })
    }

    /// Makes the commits of all series, without mails and covers.
    fn commits(&self) -> Result<Assembled> {
        let who = Identity::of_user(self.runner, self.ws.root())?;
        let planned = self.planned(&[])?;
        let base = self.base_commit()?;
        let _lock = self.lock(Resource::Refs)?;
        assemble(&self.git(), &self.cache, &base, &who, planned)
    }

    fn selection(
        &self,
        assembled: &Assembled,
        names: &[String],
        filter: Option<Filter>,
        target: Target,
    ) -> Result<Selection> {
        let wanted = assembled.selected(names)?;
        let mut all = Expectation::default();
        for one in &assembled.series {
            let series = one.plan.series();
            if wanted.iter().any(|name| series.name == *name) {
                let steps = assembled.steps_after(one);
                let of_one = kunit::expectation_after(series, target.arch(), &steps);
                all.suites.extend(of_one.suites);
                all.doctests.extend(of_one.doctests);
            }
        }
        all.suites.sort();
        all.suites.dedup();
        let Some(filter) = filter else {
            return Ok(Selection {
                filters: kunit::filters(&all),
                filter: None,
                all,
            });
        };
        let mut suites = all.suites.clone();
        if !all.doctests.is_empty() {
            suites.push(DOCTEST_SUITE.to_owned());
        }
        let suites = filter.select(&suites)?;
        Ok(Selection {
            filters: vec![filter.glob().to_owned()],
            filter: Some((filter, suites)),
            all,
        })
    }

    /// Prints the verdict, and keeps the log.
    fn show_verdict(&self, target: Target, verdict: &Verdict, log: &[u8]) -> Result<()> {
        let file = self.ws.below_out(format!("quick/{}.log", target.name()));
        write(&self.ws.path(&file), log)?;
        if verdict.pass {
            print(&format!("{}\n", verdict.summary()));
            return Ok(());
        }
        Err(
            Error::new(format!("KUnit on {}: {}", target.name(), verdict.summary()))
                .detail(verdict.errors.join("\n"))
                .help(format!("the kernel's log is {}", file.display())),
        )
    }
}

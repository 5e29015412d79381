// SPDX-License-Identifier: GPL-2.0

//! `test --filter` and `test --watch`: tests under work, as soon as possible and without a record.

use std::{thread, time::Duration};

use super::{
    App, Assembled, AssembledSeries, Build, Error, Purpose, Resource, Result, Target, checkout,
    kunit, print_line, target_of, up_to_date, write,
};
use crate::{
    cli::args::Test,
    git::PatchCommit,
    kernel::kunit::{
        filter::Filter,
        ktap::Log,
        verdict::{DOCTEST_SUITE, Expectation, Verdict},
    },
};

/// How often `--watch` reads the files of the series.
const POLL: Duration = Duration::from_millis(500);

impl App<'_> {
    /// Runs tests on a quick build, and shows the times of the steps if asked to.
    pub(super) fn quick_test(&self, test: &Test) -> Result<()> {
        let verdict = self.quick_steps(test, target_of(&test.on)?);
        if test.timings {
            self.say_timings();
        }
        verdict
    }

    /// Runs tests, and again after each change of a file of the series, until the user interrupts.
    pub(super) fn watch(&self, test: &Test) -> Result<()> {
        let who = self.user()?;
        let mut tested = up_to_date::input(&self.ws, &who);
        loop {
            if let Err(error) = self.quick_test(test) {
                self.ui.error(error.to_string());
            }
            self.say("waiting for a change; Ctrl-C ends");
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

    pub(super) fn say_timings(&self) {
        for line in self.timings.take() {
            self.say(line);
        }
    }

    fn quick_steps(&self, test: &Test, target: Target) -> Result<()> {
        let timings = &self.timings;
        self.refuse_odd_folder()?;
        let filter = test.filter.as_deref().map(Filter::parse).transpose()?;
        let (assembled, lock) = timings.time("assemble", || self.commits(&[], &self.user()?))?;
        drop(lock);
        let all = expected(&assembled, &test.names, target)?;
        let selected = filter.map(|filter| select(filter, &all)).transpose()?;
        let filters = match &selected {
            Some((filter, _)) => vec![filter.glob.clone()],
            None => kunit::filters(&all),
        };
        // The full build checks that all are there. Asking each for its version takes seconds.
        let toolchain = timings.time("find the tools", || self.toolchain(&[]))?;
        let build = self.build_of(&toolchain, target, Purpose::Quick);
        let _lock = self.lock(Resource::Tree)?;
        let patches = assembled.series.iter().flat_map(|s| &s.plan.patches);
        let paths: Vec<_> = patches.flat_map(|p| p.paths()).collect();
        timings.time("check out", || {
            let tip = self.tip(&assembled, &test.names, &build, &paths)?;
            checkout::check_out(&self.git(), tip, &self.ui)
        })?;
        timings.time("build the kernel", || build.build_quick(&paths))?;
        let in_log = |log: &Log| match selected {
            Some((filter, suites)) => filter.expected(suites, log),
            None => all,
        };
        let (verdict, log) =
            timings.time("run KUnit", || kunit::try_out(&build, &filters, in_log))?;
        self.show_verdict(target, &verdict, &log)
    }

    /// Returns the last patch of the named series if the series below it include the other named
    /// ones, and the configuration fits this kernel, which compiles faster. Otherwise returns the
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

    fn show_verdict(&self, target: Target, verdict: &Verdict, log: &[u8]) -> Result<()> {
        let kernel = target.name();
        let file = self.ws.below_out(format!("quick/{kernel}.log"));
        write(&self.ws.path(&file), log)?;
        let summary = verdict.summary();
        if verdict.pass {
            return print_line(summary);
        }
        Err(Error::new(format!("KUnit on {kernel}: {summary}"))
            .detail(verdict.errors.join("\n"))
            .help(format!("the kernel's log is {}", file.display())))
    }
}

fn expected(assembled: &Assembled, names: &[String], target: Target) -> Result<Expectation> {
    let mut all = Expectation::default();
    for one in assembled.named(names)? {
        let steps = assembled.steps_after(one);
        let of_one = kunit::expectation_after(one.plan.series(), target.arch(), &steps);
        all.suites.extend(of_one.suites);
        all.doctests.extend(of_one.doctests);
    }
    all.suites.sort();
    all.suites.dedup();
    Ok(all)
}

fn select(filter: Filter, all: &Expectation) -> Result<(Filter, Vec<String>)> {
    let doctests = (!all.doctests.is_empty()).then(|| DOCTEST_SUITE.to_owned());
    let suites: Vec<String> = all.suites.iter().cloned().chain(doctests).collect();
    let suites = filter.select(&suites)?;
    Ok((filter, suites))
}

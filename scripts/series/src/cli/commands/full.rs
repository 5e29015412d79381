// SPDX-License-Identifier: GPL-2.0

//! `check --full`.

use std::{path::PathBuf, time::Instant};

use super::{App, Checked, Error, Made, Need, Resource, Result, duration, print_line};
use crate::{
    checks::every_patch::{
        self, ARCHS,
        exchange::{self, Results},
        record::{self, Times},
        sources::Sources,
    },
    cli::args::Check,
    sys::json,
};

const CHECKS: [&str; 7] = [
    "build", "W=1", "clippy", "sparse", "rustdoc", "KUnit", "depends",
];

impl App<'_> {
    /// Checks every patch. Returns also the failure to report. A shard has neither.
    pub(super) fn full(&self, check: &Check, names: &[String]) -> Result<Option<Checked>> {
        let start = Instant::now();
        self.refuse_odd_folder()?;
        let import = exchange::read(&check.import, &self.ws.view().all)?;
        let made = self.make(&[])?;
        if let Some(shard) = check.shard {
            let times = self.every_patch(&made, check, names, import, |subject| {
                every_patch::run_shard(subject, shard)
            })?;
            self.say_times(&times, start);
            self.say(format!(
                "shard {shard} has no verdict; run `cargo series check --full` with all results"
            ));
            return Ok(None);
        }
        let mut outcome = self.quick(&made, names)?;
        let done = self.every_patch(&made, check, names, import, every_patch::run)?;
        outcome.checks.extend(CHECKS);
        outcome.findings.extend(done.findings);
        if names.is_empty() && check.arch.is_empty() {
            // Results of some series must not replace the results of all.
            let times = self.ws.path(self.ws.below_out("full-times.json"));
            json::write(&times, &done.times)?;
            json::write(&record::path(&self.ws), &done.full)?;
            self.write_report(&made.report)?;
        }
        if done.full.series.iter().all(|s| s.builds_alone) {
            self.say(
                "no dependency is missing: each patch builds on the base and the dependencies of \
                 its series",
            );
        }
        self.say_times(&done.times, start);
        // The findings are reported even if the table cannot be printed.
        let mut printed = Ok(());
        if !check.json {
            printed = print_line(every_patch::table(&done.full));
        }
        let failure = self.report(&outcome);
        let failures = failure.into_iter().chain(printed.err());
        Ok(Some((outcome, Error::all(failures).err())))
    }

    fn say_times(&self, times: &Times, start: Instant) {
        let (all, cached) = (times.units.len(), times.cached);
        let took = duration(start.elapsed());
        self.say(format!(
            "{all} results, {cached} of them from earlier runs, in {took}"
        ));
    }

    fn exported(&self, check: &Check) -> Result<Option<PathBuf>> {
        let Some(dir) = &check.export else {
            return Ok(None);
        };
        let dir = std::path::absolute(dir).map_err(|e| Error::io("find", dir, &e))?;
        let mut name = self.base.name.clone();
        if let Some(shard) = check.shard {
            name += &format!("-{shard}").replace('/', "-of-");
        }
        Ok(Some(dir.join(name + ".json")))
    }

    /// Calls `run` while holding the lock.
    fn every_patch<T>(
        &self,
        made: &Made,
        check: &Check,
        names: &[String],
        import: Vec<Results>,
        run: impl FnOnce(&every_patch::Subject<'_>) -> Result<T>,
    ) -> Result<T> {
        let toolchain = self.toolchain(&[Need::Kernel, Need::Check, Need::Full])?;
        let export = self.exported(check)?;
        let mut archs = check.arch.clone();
        if archs.is_empty() {
            archs.extend(ARCHS);
        }
        let _lock = self.cache.lock(Resource::Full, &self.ui)?;
        let subject = every_patch::Subject {
            ws: &self.ws,
            cache: &self.cache,
            toolchain: &toolchain,
            git: &self.git(),
            base: &self.base,
            assembled: &made.assembled,
            archs,
            sources: Sources::read(&self.ws, &made.assembled)?,
            lock_tree: &|| self.lock(Resource::Tree),
            ui: &self.ui,
            names,
            import,
            export,
        };
        run(&subject)
    }
}

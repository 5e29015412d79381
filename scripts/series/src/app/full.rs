// SPDX-License-Identifier: GPL-2.0

//! `check --full`.

use std::time::Instant;

use super::{
    App,
    Made, //
};
use crate::{
    cache::Resource,
    check::Outcome,
    emit,
    error::Result,
    full::{
        self,
        ARCHS,
        record::Full, //
    },
    kernel::Arch,
    tools::Need,
    ui::duration,
    workspace::write, //
};

/// The names of the checks, besides the quick ones.
const CHECKS: [&str; 7] = [
    "build", "W=1", "clippy", "sparse", "rustdoc", "KUnit", "depends",
];

impl App<'_> {
    pub(super) fn full(&self, names: &[String], archs: &[Arch]) -> Result<(Outcome, Option<Full>)> {
        let start = Instant::now();
        self.refuse_odd_folder()?;
        let made = self.make(&[])?;
        let mut outcome = self.quick(&made, names)?;
        let done = self.full_checks(&made, names, archs)?;
        outcome.checks.extend(CHECKS);
        outcome.findings.extend(done.findings);
        if names.is_empty() && archs.is_empty() {
            // A part is not to take the place of the whole.
            let times = self.ws.path(self.ws.below_out("full-times.json"));
            write(&times, &emit::json(&done.times)?)?;
            write(&full::record::path(&self.ws), &emit::json(&done.full)?)?;
            self.write_report(&made.report)?;
        }
        if done.full.series.iter().all(|s| s.builds_alone) {
            self.ui.say(
                "no dependency is undeclared: each patch builds on the base and what its series \
                 declares",
            );
        }
        self.ui.say(format!(
            "{} results, {} of them from earlier runs, in {}",
            done.times.units.len(),
            done.times.cached,
            duration(start.elapsed())
        ));
        Ok((outcome, Some(done.full)))
    }

    fn full_checks(&self, made: &Made, names: &[String], archs: &[Arch]) -> Result<full::Outcome> {
        let toolchain = self.toolchain(&[Need::Kernel, Need::Check, Need::Full])?;
        let _lock = self.cache.lock(Resource::Full, &self.ui)?;
        full::run(
            &full::Subject {
                runner: self.runner,
                ws: &self.ws,
                cache: &self.cache,
                toolchain: &toolchain,
                git: &self.git(),
                base: &self.base,
                assembled: &made.assembled,
                archs: match archs {
                    [] => ARCHS.to_vec(),
                    archs => archs.to_vec(),
                },
                lock_tree: &|| self.lock(Resource::Tree),
                ui: &self.ui,
            },
            names,
        )
    }
}

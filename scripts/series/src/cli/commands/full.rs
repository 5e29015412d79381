// SPDX-License-Identifier: GPL-2.0

//! `check --full`.

use std::time::Instant;

use super::{
    App,
    Made, //
};
use crate::{
    checks::{
        every_patch::{
            self,
            ARCHS,
            record::Full, //
        },
        quick::Outcome, //
    },
    kernel::{
        build::Arch,
        tools::Need, //
    },
    sys::{
        cache::Resource,
        error::Result,
        files::write,
        ui::duration, //
    }, //
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
            write(&times, &crate::sys::json::json(&done.times)?)?;
            write(
                &every_patch::record::path(&self.ws),
                &crate::sys::json::json(&done.full)?,
            )?;
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

    fn full_checks(
        &self,
        made: &Made,
        names: &[String],
        archs: &[Arch],
    ) -> Result<every_patch::Outcome> {
        let toolchain = self.toolchain(&[Need::Kernel, Need::Check, Need::Full])?;
        let _lock = self.cache.lock(Resource::Full, &self.ui)?;
        every_patch::run(
            &every_patch::Subject {
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

// SPDX-License-Identifier: GPL-2.0

//! `try`.

use super::{App, Result, print_as};
use crate::{
    cli::args::Try,
    kernel::base::{Place, obtain_other},
    trial::{self, Report, show},
};

impl App<'_> {
    pub(super) fn try_base(&self, args: &Try) -> Result<()> {
        // Report these errors before importing a base.
        let place = Place::parse(&args.base, self.sources.kernel.as_deref())?;
        place.check(self.runner)?;
        let (assembled, lock) = self.commits(&args.names, &self.user()?)?;
        drop(lock);
        let other = obtain_other(self.runner, &self.cache, &place, &self.ui)?;
        let git = self.git();
        let selected = assembled.selected(&args.names)?;
        let scratch = self.cache.scratch()?;
        let dir = scratch.path();
        let report = Report {
            series: trial::series(&git, dir, &assembled, &selected, &other, &self.ui)?,
            base: trial::Base {
                version: other.version,
                from: other.from,
                tree: other.commit.tree.to_string(),
            },
            made_for: self.base.version.clone(),
        };
        print_as(args.json, &report, &show::text(&report))
    }
}

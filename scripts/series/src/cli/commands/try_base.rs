// SPDX-License-Identifier: GPL-2.0

//! `try`.

use super::App;
use crate::{
    cli::stdout::{print, print_json},
    git::Identity,
    kernel::base::{Place, obtain_other},
    patches::commits::assemble,
    sys::{cache::Resource, error::Result},
    trial::{self, Report, show},
};

impl App<'_> {
    pub(super) fn try_base(&self, base: &str, names: &[String], json: bool) -> Result<()> {
        // Report these errors before importing a base.
        let place = Place::parse(base)?;
        let planned = self.planned(names)?;
        let who = Identity::of_user(self.runner, self.ws.root())?;
        let own = self.base_commit()?;
        let other = obtain_other(self.runner, &self.cache, &place, &self.ui)?;
        let git = self.git();
        let assembled = {
            let _lock = self.lock(Resource::Refs)?;
            assemble(&git, &self.cache, &own, &who, planned)?
        };
        let selected = assembled.selected(names)?;
        let scratch = self.cache.scratch()?;
        let report = Report {
            series: trial::series(
                &git,
                scratch.path(),
                &assembled,
                &selected,
                &other,
                &self.ui,
            )?,
            base: trial::Base {
                version: other.version,
                from: other.from,
                tree: other.commit.tree.to_string(),
            },
            made_for: self.base.version.clone(),
        };
        match json {
            true => print_json(&report)?,
            false => print(&show::text(&report)),
        }
        Ok(())
    }
}

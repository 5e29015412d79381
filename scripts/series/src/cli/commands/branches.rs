// SPDX-License-Identifier: GPL-2.0

//! Branches in the kernel clone of the user.

use super::{App, Error, Git, PlannedSeries, Result, Series};
use crate::branches::{fetch, read};

impl App<'_> {
    /// Opens the kernel clone with the branches of these series.
    pub(super) fn clone_of_user(&self, series: &[Series]) -> Result<Git<'_>> {
        if let Some(dir) = &self.sources.kernel {
            return read::open(self.runner, dir);
        }
        let mut error = Error::new("no kernel clone given for this branch");
        let mut named = series.iter().filter_map(|s| Some((s, s.branch.as_ref()?)));
        if let Some((series, branch)) = named.next() {
            error = error.at(&series.file, branch.line);
        }
        let file = self.base.file.display();
        Err(error.help(format!(
            "add kernel = \"DIR\" to {file}, or use --kernel DIR"
        )))
    }

    /// Fetches the commits of the branches, and records the parent of each branch.
    pub(super) fn fetch_branches(&self, planned: &[PlannedSeries]) -> Result<()> {
        let Some(branches) = self.ws.branches().filter(|all| !all.is_empty()) else {
            return Ok(());
        };
        let series: Vec<&Series> = planned.iter().map(PlannedSeries::series).collect();
        let manifests: Vec<Series> = series.iter().map(|s| (*s).clone()).collect();
        let theirs = self.clone_of_user(&manifests)?;
        let git = self.git();
        fetch::fetch(&git, theirs.dir(), branches)?;
        fetch::remember(&theirs, &git, &series, branches)
    }
}

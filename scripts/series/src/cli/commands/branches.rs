// SPDX-License-Identifier: GPL-2.0

//! Branches in the kernel clone of the user.

use super::App;
use crate::{
    branches::{clone, fetch},
    git::Git,
    patches::plan::PlannedSeries,
    source::manifest::Series,
    sys::error::{Error, Result},
};

impl App<'_> {
    /// Opens the kernel clone with the branches of these series.
    pub(super) fn clone_of_user(&self, series: &[Series]) -> Result<Git<'_>> {
        let dir = self.sources.kernel.as_deref().ok_or_else(|| {
            let named = series.iter().find_map(|s| Some((s, s.branch.as_ref()?)));
            let error = Error::new("no kernel clone given for this branch");
            let error = match named {
                Some((series, branch)) => error.at(series.file(), branch.line),
                None => error,
            };
            error.help(format!(
                "add kernel = \"DIR\" to {}, or use --kernel DIR",
                self.base.file.display()
            ))
        })?;
        clone::open(self.runner, dir)
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

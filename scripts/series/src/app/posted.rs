// SPDX-License-Identifier: GPL-2.0

//! `diff` and `posted`.

use super::App;
use crate::error::Result;

impl App<'_> {
    pub(super) fn diff(&self, _diff: &crate::cli::Diff) -> Result<()> {
        Err(crate::error::Error::new("not there yet"))
    }

    pub(super) fn posted(&self, _name: &str, _mbox: Option<&std::path::Path>) -> Result<()> {
        Err(crate::error::Error::new("not there yet"))
    }
}

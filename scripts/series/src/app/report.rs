// SPDX-License-Identifier: GPL-2.0

//! `graph`, and the reports.

use super::App;
use crate::error::Result;

impl App<'_> {
    pub(super) fn graph(&self, _format: crate::cli::GraphFormat) -> Result<()> {
        Err(crate::error::Error::new("not there yet"))
    }
}

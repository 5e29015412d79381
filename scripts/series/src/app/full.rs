// SPDX-License-Identifier: GPL-2.0

//! `check --full`.

use super::App;
use crate::error::Result;

impl App<'_> {
    pub(super) fn full(
        &self,
        _names: &[String],
        _archs: &[crate::kernel::Arch],
        _json: bool,
    ) -> Result<()> {
        Err(crate::error::Error::new("not there yet"))
    }
}

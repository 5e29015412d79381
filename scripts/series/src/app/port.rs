// SPDX-License-Identifier: GPL-2.0

//! `port`.

use super::App;
use crate::error::Result;

impl App<'_> {
    pub(super) fn port(&self, _base: &str, _names: &[String], _json: bool) -> Result<()> {
        Err(crate::error::Error::new("not there yet"))
    }
}

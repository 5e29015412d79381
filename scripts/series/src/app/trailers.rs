// SPDX-License-Identifier: GPL-2.0

//! `trailers`.

use super::App;
use crate::error::Result;

impl App<'_> {
    pub(super) fn trailers(
        &self,
        _name: &str,
        _mbox: Option<&std::path::Path>,
        _json: bool,
    ) -> Result<()> {
        Err(crate::error::Error::new("not there yet"))
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Creates commits and patch files from manifests.

pub mod commits;
pub mod notes;
pub mod output;
pub mod plan;
pub mod since;
pub mod up_to_date;

use std::collections::BTreeMap;

use self::{
    commits::Assembled,
    output::{Cover, Mails, Report},
    since::Since,
};
use crate::{git::Identity, sys::Error};

/// The result of `assemble`.
pub struct Made {
    pub assembled: Assembled,
    /// The record of the written mails.
    pub report: Report,
    pub who: Identity,
    /// In the order of the series, as the cover letters.
    pub mails: Vec<Mails>,
    pub covers: Vec<Cover>,
    pub since: Since,
    /// The reasons why b4's branches were left unchanged, by name of the series.
    pub unsendable: BTreeMap<String, Error>,
}

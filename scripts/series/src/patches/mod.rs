// SPDX-License-Identifier: GPL-2.0

//! Creates commits and patch files from manifests.

pub mod commits;
pub mod notes;
pub mod output;
pub mod plan;
pub mod since;
pub mod up_to_date;

// SPDX-License-Identifier: GPL-2.0

//! What a careful submitter checks before posting.

pub mod every_patch;
pub mod moved_code;
pub mod quick;
pub mod rules;

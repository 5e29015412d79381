// SPDX-License-Identifier: GPL-2.0

//! The history of a series: postings, review trailers, changes since the last posting, version
//! rules.

pub mod postings;
pub mod range_diff;
pub mod rules;
pub mod trailers;

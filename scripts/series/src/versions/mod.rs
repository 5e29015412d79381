// SPDX-License-Identifier: GPL-2.0

//! The history of a series: what was posted, what reviewers replied, what has changed since.

pub mod postings;
pub mod range_diff;
pub mod rules;
pub mod trailers;

// SPDX-License-Identifier: GPL-2.0

//! Regular expressions of the tool.

use std::str::FromStr;

/// Compiles a regular expression that is a constant of the tool, for text or for bytes.
pub fn pattern<T: FromStr<Err = regex::Error>>(text: &str) -> T {
    text.parse().expect("the pattern is constant")
}

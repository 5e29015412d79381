// SPDX-License-Identifier: GPL-2.0

//! Reads the manifests `series/bases/<name>.toml` and `series/<name>.toml`.
//!
//! Reading is pure: it converts a text to a value, or to an
//! [`Error`](crate::sys::error::Error) with file and line.

mod base;
mod lines;
mod order;
mod read;
mod series;

pub use self::{
    base::{AptSource, Archive, Base, BuildWith, Host, is_base_name},
    lines::At,
    order::{below, in_order, selected_series, unique_change_ids, unknown_series},
    series::{Kunit, Patch, Provenance, Series, Withhold, covers},
};
pub(crate) use self::{lines::parse, series::subject_prefix};

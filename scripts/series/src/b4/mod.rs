// SPDX-License-Identifier: GPL-2.0

//! Hands a series over to b4, as a branch `b4/<name>` in the form of `b4 prep`.
//!
//! b4 keeps its state in an empty commit below the patches: the cover letter and, after a mark,
//! JSON. It only finds a commit by the user that is less than a year old. Therefore the commits
//! differ from the assembled commits, and only the trees are equal. The tool preserves b4's data
//! when it recreates the branch.

mod branch;
pub mod prepared;
pub mod reviews;
mod send;
mod settings;
mod tracking;

pub use self::{
    branch::branch,
    send::rehearse,
    settings::configure,
    tracking::{branch_name, covers, forget, is_cover, sent},
};

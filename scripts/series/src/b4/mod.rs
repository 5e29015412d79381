// SPDX-License-Identifier: GPL-2.0

//! `b4/<name>`: the branch that b4 takes for one that it prepared itself, and the hand-over to it.
//!
//! b4 keeps its state in an empty commit below the patches: the cover letter, and JSON behind a
//! mark. It looks for that commit by the committer, who has to be the user, and by the date, which
//! has to be less than a year ago. So these commits are not the recorded ones, only their trees
//! are; and what b4 wrote into the JSON is kept when the branch is made anew.

mod branch;
mod history;
pub mod reviews;
mod send;
mod settings;
mod tracking;

pub use self::{
    branch::{
        STALE,
        branch,
        branch_name,
        commits, //
    },
    history::{
        Sent,
        forget,
        sent, //
    },
    send::rehearse,
    settings::configure, //
};

// SPDX-License-Identifier: GPL-2.0

//! The kernel tree's pin-init, for host builds.
//!
//! This file has only the crate attributes; the code is the tree's `rust/pin-init/src`.

#![allow(
    missing_docs,
    unfulfilled_lint_expectations,
    rustdoc::all,
    clippy::all,
    reason = "not our code: it is linted where it is maintained"
)]

include!(concat!(env!("OUT_DIR"), "/root.rs"));

// SPDX-License-Identifier: GPL-2.0

//! `check --full`: every patch built, with every checker; KUnit at the end of each series; whether
//! each dependency is needed.

pub mod record;

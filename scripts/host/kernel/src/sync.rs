// SPDX-License-Identifier: GPL-2.0

//! Synchronisation: only what `types.rs` re-exports.

include!(concat!(env!("OUT_DIR"), "/sync.rs"));

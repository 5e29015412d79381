// SPDX-License-Identifier: GPL-2.0

//! Patches and mailboxes.

pub mod bundle;
pub mod diff;
pub mod fingerprint;
pub mod mailbox;
pub mod received;

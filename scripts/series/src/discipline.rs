// SPDX-License-Identifier: GPL-2.0

//! The discipline of versions: what a series owes to whoever read its last posting.

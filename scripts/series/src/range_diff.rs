// SPDX-License-Identifier: GPL-2.0

//! What changed between two versions of a series, patch by patch.

// SPDX-License-Identifier: GPL-2.0

//! Tags of reviewers: taken from replies, kept while the patch is what they saw.

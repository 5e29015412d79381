// SPDX-License-Identifier: GPL-2.0

//! What was posted: `series/<name>/posted/`.

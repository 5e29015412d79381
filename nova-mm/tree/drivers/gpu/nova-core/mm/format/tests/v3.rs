// SPDX-License-Identifier: GPL-2.0

//! Version 3 of the MMU.

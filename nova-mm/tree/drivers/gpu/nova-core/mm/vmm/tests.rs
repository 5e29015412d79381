// SPDX-License-Identifier: GPL-2.0

//! Tests of address spaces on a software GPU.

pub(crate) mod bench;
pub(crate) mod random;

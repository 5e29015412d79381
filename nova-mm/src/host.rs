// SPDX-License-Identifier: GPL-2.0

//! Tests that need the knobs of the stand-in, or more time than KUnit has.

mod faults;
mod random;

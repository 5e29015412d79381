// SPDX-License-Identifier: GPL-2.0

//! What KUnit does with one replacement for each word and operation, here with all of them.

use crate::mm::{
    format::{v2::MmuV2, v3::MmuV3},
    vmm::tests::changed::words_are_changed,
};
use kernel::error::Result;

#[test]
fn words_changed_to_each_replacement_v2() -> Result {
    words_are_changed::<MmuV2>(3)
}

#[test]
fn words_changed_to_each_replacement_v3() -> Result {
    words_are_changed::<MmuV3>(3)
}

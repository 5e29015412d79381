// SPDX-License-Identifier: GPL-2.0

//! Operations on several lists, chosen by the fuzzer, against the oracle of the model test.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/driver/mod.rs"]
mod driver;

use driver::{Driver, Op};

fuzz_target!(|ops: Vec<Op>| {
    let mut driver = Driver::new();
    for op in &ops {
        driver.run(op);
    }
    driver.finish();
});

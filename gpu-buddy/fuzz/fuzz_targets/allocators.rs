// SPDX-License-Identifier: GPL-2.0

//! Operations on an allocator, chosen by the fuzzer, against the oracle of the model test: by the C
//! functions or by the binding.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The driver has more than this target uses.
#[allow(dead_code)]
#[path = "../../tests/driver/mod.rs"]
mod driver;

use driver::{backend::Backend, binding, c, Config, Driver, Op};

fn run<B: Backend>(config: Config, ops: &[Op]) {
    let mut driver = Driver::<B>::new(config);
    for op in ops {
        driver.run(op);
    }
    driver.finish();
}

fuzz_target!(|input: (bool, Config, Vec<Op>)| {
    let (through_the_binding, config, ops) = input;
    // On another base, there is only its C allocator.
    match through_the_binding && !driver::SMALL_ALIGNED {
        true => run::<binding::Manager>(config, &ops),
        false => run::<c::Manager>(config, &ops),
    }
});

// SPDX-License-Identifier: GPL-2.0

//! The random test of the address spaces with more steps, which also checks that running jobs do
//! not allocate memory.
//!
//! `NOVA_MM_SEED` and `NOVA_MM_OPS` set the seed and the number of steps for each format.

use super::faults::without_allocations;
use crate::mm::{
    format::{v2::MmuV2, v3::MmuV3},
    vmm::tests::{
        fixture::TestFormat,
        random::{Plan, PLAN},
    },
};
use kernel::host;
use std::env;

/// Default number of steps, for seconds of work. `scripts/test` sets 200,000.
const STEPS: u64 = 2_000;

/// Reads a number, either decimal or hexadecimal with the prefix 0x, from an environment variable.
fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = env::var(name) else {
        return default;
    };
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.unwrap_or_else(|_| panic!("{name}: invalid number: {text}"))
}

fn random<F: TestFormat>(name: &str) {
    let plan = Plan {
        seed: number("NOVA_MM_SEED", PLAN.seed),
        steps: number("NOVA_MM_OPS", STEPS),
        compare_every: 50,
        around_run: |run| without_allocations(run),
    };
    println!("{name}: seed {:#x}, {} steps", plan.seed, plan.steps);

    let live = host::live_objects();
    plan.run::<F>().expect("random operations match the oracle");
    assert_eq!(host::live_objects(), live, "leaked objects");
}

#[test]
fn random_operations_v2() {
    random::<MmuV2>("version 2");
}

#[test]
fn random_operations_v3() {
    random::<MmuV3>("version 3");
}

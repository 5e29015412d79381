// SPDX-License-Identifier: GPL-2.0

//! The random test of the tree with more steps, and without allocations while a job runs.
//!
//! `NOVA_MM_SEED` and `NOVA_MM_OPS` are the seed and the number of steps for each format.

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

/// How many steps are taken by default.
const STEPS: u64 = 200_000;

/// Reads a number, decimal or with 0x before it.
fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = env::var(name) else {
        return default;
    };
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.unwrap_or_else(|_| panic!("{name} is no number: {text}"))
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
    plan.run::<F>().expect("the oracle agrees");
    assert_eq!(host::live_objects(), live, "something leaks");
}

#[test]
fn random_operations_v2() {
    random::<MmuV2>("version 2");
}

#[test]
fn random_operations_v3() {
    random::<MmuV3>("version 3");
}

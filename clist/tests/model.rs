// SPDX-License-Identifier: GPL-2.0

//! Random operations on several lists, against the oracle of the driver.
//!
//! `CLIST_SEED` sets the seed, which a failure prints, and `CLIST_OPS` the number of operations.

mod driver;

use arbitrary::{Arbitrary, Unstructured};
use driver::{Driver, Op};
use std::env;

/// The number of operations of an ordinary run.
const OPERATIONS: usize = 200_000;

/// The seed of an ordinary run; it is fixed, so that what passed once passes again.
const SEED: u64 = 0x0c11_5700;

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(value) => value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is no number")),
        Err(_) => default,
    }
}

/// Says what led to a panic.
struct OnPanic {
    seed: u64,
    number: usize,
    op: Option<Op>,
}

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, number, op } = self;
            eprintln!("CLIST_SEED={seed}: operation {number} failed: {op:?}");
        }
    }
}

#[test]
fn random_operations() {
    let seed = setting("CLIST_SEED", SEED);
    let operations = setting("CLIST_OPS", OPERATIONS);
    println!("CLIST_SEED={seed} CLIST_OPS={operations}");

    let mut random = fastrand::Rng::with_seed(seed);
    let mut driver = Driver::new();
    let mut now = OnPanic {
        seed,
        number: 0,
        op: None,
    };
    for number in 0..operations {
        let mut bytes = [0; 128];
        random.fill(&mut bytes);
        let op = Op::arbitrary(&mut Unstructured::new(&bytes)).expect("enough bytes");
        (now.number, now.op) = (number, Some(op.clone()));
        driver.run(&op);
    }
    let tally = driver.finish();
    drop(now);
    println!("{tally:#?}");

    // A test that never gets to the interesting cases would pass as well. The bounds are far below
    // what any seed gives, and matter only for a run of some length.
    assert_eq!(tally.operations, operations);
    if operations >= OPERATIONS {
        for (what, times) in [
            ("spliced", tally.spliced),
            ("walked", tally.walked),
            ("dropped full", tally.dropped_full),
            ("cut by C", tally.cut_by_c),
        ] {
            assert!(times >= 1000, "{what} {times} times only");
        }
    }
}

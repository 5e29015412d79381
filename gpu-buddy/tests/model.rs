// SPDX-License-Identifier: GPL-2.0

//! Random operations on many allocators, against the oracle of the driver.
//!
//! `GPU_BUDDY_SEED` sets the seed, which a failure prints, and `GPU_BUDDY_OPS` the number of
//! operations. `GPU_BUDDY_SECONDS` sets how long the inputs of the fuzz target are mutated.

mod driver;

use driver::{backend::Backend, draw, Config, Driver, Op, Tally};
use std::{
    env,
    time::{Duration, Instant},
};

/// The number of operations of an ordinary run of one of the two tests.
const OPERATIONS: usize = 500_000;

/// The operations on one allocator.
const PER_ALLOCATOR: usize = 1_000;

/// The seed of an ordinary run; it is fixed, so that what passed once passes again.
const SEED: u64 = 0x6b0d_d100;

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
    config: Option<Config>,
    op: Option<Op>,
}

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self {
                seed,
                number,
                config,
                op,
            } = self;
            eprintln!("GPU_BUDDY_SEED={seed}: operation {number} failed: {op:?} on {config:?}");
        }
    }
}

fn random_operations<B: Backend>(what: &str) {
    let seed = setting("GPU_BUDDY_SEED", SEED);
    let operations = setting("GPU_BUDDY_OPS", OPERATIONS);
    println!("{what}: GPU_BUDDY_SEED={seed} GPU_BUDDY_OPS={operations}");

    let mut random = fastrand::Rng::with_seed(seed);
    let mut tally = Tally::default();
    let mut now = OnPanic {
        seed,
        number: 0,
        config: None,
        op: None,
    };
    let mut bytes = [0; 64];
    while tally.operations < operations {
        random.fill(&mut bytes);
        let config: Config = draw(&bytes);
        (now.config, now.op) = (Some(config), None);
        let mut driver = Driver::<B>::new(config);
        // Some are mostly free, some mostly full.
        let more_allocations = random.u8(..) / 2;
        for _ in 0..PER_ALLOCATOR.min(operations - tally.operations) {
            random.fill(&mut bytes);
            let op = match random.u8(..) < more_allocations {
                true => Op::Alloc(draw(&bytes)),
                false => draw(&bytes),
            };
            (now.number, now.op) = (now.number + 1, Some(op));
            driver.run(&op);
        }
        tally.add(&driver.finish());
    }
    drop(now);
    println!("{tally:#?}");

    // A test that never gets to the interesting cases would pass as well. The bounds are far below
    // what any seed gives, and matter only for a run of some length.
    if operations >= OPERATIONS {
        for (what, times) in tally.of_consequence() {
            let of_c_alone = ["trimmed", "given_back", "resets"].contains(&what);
            let happens = !(B::BINDING && of_c_alone);
            assert!(!happens || times >= 1000, "{what}: {times} times only");
        }
    }
}

#[test]
fn c_functions() {
    random_operations::<driver::c::Manager>("C");
}

/// Changes a sequence of operations a little, or draws another one.
fn mutate(random: &mut fastrand::Rng, ops: &mut Vec<Op>) {
    let mut bytes = [0; 64];
    let mut op = |random: &mut fastrand::Rng| -> Op {
        random.fill(&mut bytes);
        draw(&bytes)
    };
    if ops.is_empty() || random.u8(..) < 64 {
        *ops = (0..random.usize(1..400)).map(|_| op(random)).collect();
    }
    for _ in 0..random.usize(1..8) {
        let at = random.usize(..ops.len());
        match random.u8(..4) {
            0 => ops[at] = op(random),
            1 => ops.insert(at, op(random)),
            2 if ops.len() > 1 => drop(ops.remove(at)),
            _ => {
                // Again, from there on.
                let end = ops.len().min(at + 16);
                ops.extend_from_within(at..end);
                ops.truncate(600);
            }
        }
    }
}

/// What the fuzz target does, where there is no fuzzer: without its knowledge of what was reached.
#[test]
#[ignore = "takes ten minutes"]
fn mutated_inputs() {
    let seed = setting("GPU_BUDDY_SEED", fastrand::u64(..));
    let seconds = setting("GPU_BUDDY_SECONDS", 600);
    println!("GPU_BUDDY_SEED={seed} GPU_BUDDY_SECONDS={seconds}");

    let end = Instant::now() + Duration::from_secs(seconds);
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut inputs, mut tally) = (0, Tally::default());
    let mut ops = Vec::new();
    let mut bytes = [0; 64];
    let mut now = OnPanic {
        seed,
        number: 0,
        config: None,
        op: None,
    };
    while Instant::now() < end {
        random.fill(&mut bytes);
        let config: Config = draw(&bytes);
        mutate(&mut random, &mut ops);
        now.config = Some(config);
        let mut driver = Driver::<driver::c::Manager>::new(config);
        for op in &ops {
            (now.number, now.op) = (now.number + 1, Some(*op));
            driver.run(op);
        }
        tally.add(&driver.finish());
        inputs += 1;
    }
    drop(now);
    println!("{inputs} inputs, {tally:#?}");
}

#[test]
#[cfg_attr(other_base, ignore = "the binding is that of the default base")]
fn binding() {
    random_operations::<driver::binding::Manager>("binding");
}

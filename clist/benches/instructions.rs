// SPDX-License-Identifier: GPL-2.0

//! Instructions that Rust needs for a walk over a C list, against C's own macros.
//!
//! Instruction counts of callgrind do not depend on the load of the machine, so they can be held to
//! a bound. The program runs itself under valgrind once for each measured function, counting only
//! what happens between entry and exit of that function. Both sides do the same for each item: they
//! add up a field.
//!
//! Run by `cargo bench -p clist`; exits with 1 if a bound is broken.

use clist::{
    clist_offset,
    interop::list::{CList, CListOwned},
};
use kernel::{bindings, prelude::*, types::Opaque};
use std::{
    env,
    process::{Command, ExitCode},
};

/// How many instructions Rust may take for one of C.
const BOUND: f64 = 1.05;

/// The length of the lists.
const ITEMS: u64 = 1000;

/// The environment variable that tells the program that it is to run a measured function.
const CHILD: &str = "CLIST_BENCH_RUN";

#[repr(transparent)]
struct Item(Opaque<bindings::host_item>);

const OFFSET: usize = clist_offset!(Item, bindings::host_item, link);

type List = CListOwned<Item, OFFSET>;

impl Item {
    fn value(&self) -> usize {
        // SAFETY: The item is initialised, and nobody writes to it.
        unsafe { (*self.0.get()).value }
    }
}

#[no_mangle]
#[inline(never)]
fn rust_bench_walk(list: &CList<Item, OFFSET>) -> usize {
    let mut sum = 0usize;
    for item in list.iter() {
        sum = sum.wrapping_add(item.value());
    }
    sum
}

/// The name, the C function and the Rust function of each comparison.
const CASES: &[(&str, &str, &str)] = &[("walk", "host_bench_walk", "rust_bench_walk")];

fn main() -> ExitCode {
    match env::var(CHILD) {
        Ok(function) => {
            run(&function);
            ExitCode::SUCCESS
        }
        Err(_) => compare(),
    }
}

/// Runs one measured function on a fresh list, and checks that it did its work.
fn run(function: &str) {
    let mut items: Vec<Box<bindings::host_item>> = (0..ITEMS)
        .map(|value| {
            Box::new(bindings::host_item {
                value: value as usize,
                ..Default::default()
            })
        })
        .collect();
    pin_init::stack_pin_init!(let list = List::new());
    for item in &mut items {
        // SAFETY: The items are valid, on no list, and outlive the list, which is the only way to
        // them while it has them.
        unsafe { bindings::list_add_tail(&raw mut item.link, list.as_mut().as_raw()) };
    }

    let head = list.as_mut().as_raw();
    let sum = match function {
        "rust_bench_walk" => rust_bench_walk(&list),
        // SAFETY: `head` is the head of a list of such items.
        "host_bench_walk" => unsafe { bindings::host_bench_walk(head) },
        _ => panic!("no function {function}"),
    };

    assert_eq!(sum as u64, (0..ITEMS).sum(), "the sum of {function}");
}

/// Measures all and prints the table.
fn compare() -> ExitCode {
    println!("instructions for a list of {ITEMS} items, counted by callgrind:\n");
    println!(
        "{:<26} {:>9} {:>9} {:>7}  bound {BOUND}",
        "", "Rust", "C", "ratio"
    );
    let mut broken = false;
    for (name, c, rust) in CASES {
        let (rust, c) = match (instructions(rust), instructions(c)) {
            (Ok(rust), Ok(c)) => (rust, c),
            (Err(error), _) | (_, Err(error)) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        };
        let ratio = rust as f64 / c as f64;
        let holds = ratio <= BOUND;
        broken |= !holds;
        println!(
            "{name:<26} {rust:>9} {c:>9} {ratio:>7.3}  {}",
            if holds { "holds" } else { "BROKEN" }
        );
    }
    if broken {
        eprintln!("error: Rust takes more than {BOUND} times the instructions of C");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Counts the instructions inside of `function`, by a run of this program under callgrind.
fn instructions(function: &str) -> Result<u64, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={function}"))
        .arg(program)
        .env(CHILD, function)
        .output()
        .map_err(|error| {
            format!("cannot run valgrind ({error}); install it: apt-get install valgrind")
        })?;
    let messages = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{function} under valgrind failed:\n{messages}"));
    }
    // "==123== Collected : 4567"
    let collected = messages
        .lines()
        .find_map(|line| line.split("Collected :").nth(1))
        .and_then(|count| count.trim().parse().ok())
        .ok_or_else(|| format!("callgrind told no count for {function}:\n{messages}"))?;
    // Not one instruction per item: the function was not seen, or was optimised away.
    if collected < ITEMS {
        return Err(format!(
            "callgrind counted {collected} instructions in {function}, which cannot be all"
        ));
    }
    Ok(collected)
}

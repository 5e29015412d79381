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
    ptr::NonNull,
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
    for item in list {
        sum = sum.wrapping_add(item.value());
    }
    sum
}

#[no_mangle]
#[inline(never)]
fn rust_bench_walk_back(list: &CList<Item, OFFSET>) -> usize {
    let mut sum = 0usize;
    for item in list.iter().rev() {
        sum = sum.wrapping_add(item.value());
    }
    sum
}

#[no_mangle]
#[inline(never)]
fn rust_bench_remove_all(list: Pin<&mut List>) -> usize {
    let mut sum = 0usize;
    let mut cursor = list.cursor_front();
    while let Some(item) = cursor.remove() {
        // SAFETY: It was on the list, whose items are valid.
        sum = sum.wrapping_add(unsafe { item.as_ref() }.value());
    }
    sum
}

#[no_mangle]
#[inline(never)]
fn rust_bench_remove_every_second(list: Pin<&mut List>) -> usize {
    let mut sum = 0usize;
    let mut cursor = list.cursor_front();
    while let Some(item) = cursor.peek() {
        let value = item.value();
        if value & 1 == 1 {
            cursor.remove();
            sum = sum.wrapping_add(value);
        } else {
            cursor.move_next();
        }
    }
    sum
}

#[no_mangle]
#[inline(never)]
fn rust_bench_drain(list: Pin<&mut List>) -> usize {
    let mut sum = 0usize;
    for item in list.drain() {
        // SAFETY: It was on the list, whose items are valid.
        sum = sum.wrapping_add(unsafe { item.as_ref() }.value());
    }
    sum
}

/// What is compared: its name, the C function, the Rust function, and the items that are left.
const CASES: &[(&str, &str, &str, usize)] = &[
    ("walk", "host_bench_walk", "rust_bench_walk", 1000),
    (
        "walk backwards",
        "host_bench_walk_back",
        "rust_bench_walk_back",
        1000,
    ),
    (
        "remove all while walking",
        "host_bench_remove_all",
        "rust_bench_remove_all",
        0,
    ),
    (
        "remove every second",
        "host_bench_remove_every_second",
        "rust_bench_remove_every_second",
        500,
    ),
    ("drain", "host_bench_drain", "rust_bench_drain", 0),
];

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
        unsafe { list.as_mut().push_back(NonNull::from(&mut **item).cast()) };
    }

    let head = list.as_mut().as_raw();
    let sum = match function {
        "rust_bench_walk" => rust_bench_walk(&list),
        "rust_bench_walk_back" => rust_bench_walk_back(&list),
        "rust_bench_remove_all" => rust_bench_remove_all(list.as_mut()),
        "rust_bench_remove_every_second" => rust_bench_remove_every_second(list.as_mut()),
        "rust_bench_drain" => rust_bench_drain(list.as_mut()),
        // SAFETY: `head` is the head of a list of such items, here and below.
        "host_bench_walk" => unsafe { bindings::host_bench_walk(head) },
        // SAFETY: As above.
        "host_bench_walk_back" => unsafe { bindings::host_bench_walk_back(head) },
        // SAFETY: As above.
        "host_bench_remove_all" => unsafe { bindings::host_bench_remove_all(head) },
        "host_bench_remove_every_second" => {
            // SAFETY: As above.
            unsafe { bindings::host_bench_remove_every_second(head) }
        }
        // SAFETY: As above.
        "host_bench_drain" => unsafe { bindings::host_bench_drain(head) },
        _ => panic!("no function {function}"),
    };

    let (_, _, _, left) = CASES
        .iter()
        .find(|(_, c, rust, _)| [c, rust].contains(&&function))
        .expect("a function of the table");
    let odd_only = function.ends_with("every_second");
    let expected: u64 = (0..ITEMS).filter(|n| !odd_only || n % 2 == 1).sum();
    assert_eq!(sum as u64, expected, "the sum of {function}");
    assert_eq!(list.iter().count(), *left, "the items that {function} left");
}

/// Measures all and prints the table.
fn compare() -> ExitCode {
    println!("instructions for a list of {ITEMS} items, counted by callgrind:\n");
    println!(
        "{:<26} {:>9} {:>9} {:>7}  bound {BOUND}",
        "", "Rust", "C", "ratio"
    );
    let mut broken = false;
    for (name, c, rust, _) in CASES {
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

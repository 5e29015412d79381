// SPDX-License-Identifier: GPL-2.0

//! Instructions that the driver itself takes for each page of a job, and pages per second.
//!
//! The hardware does nothing here, so it costs nothing. Instruction counts of callgrind do not
//! depend on the load of the machine, so they can be held to a bound. The program runs itself under
//! valgrind once for each measured stage, counting only what happens between entry and exit of its
//! function. Pages per second are for information.
//!
//! Run by `cargo bench -p nova-mm`; exits with 1 if a bound is broken.

use nova_mm::host::bench::{Bench, Operation};
use std::{
    env,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

/// The environment variable that tells the program what it is to measure.
const CHILD: &str = "NOVA_MM_BENCH_RUN";

/// Number of pages of 4 KiB in a page of 2 MiB.
const LARGE: u64 = 512;

/// How many instructions a page may take in a large job for one that it takes in a job of a quarter
/// of the size: costs are linear.
const LINEAR: f64 = 1.05;

/// An operation, and what is done before it.
struct Case {
    name: &'static str,
    before: &'static [Operation],
    operation: Operation,
    /// Number of pages of 4 KiB.
    pages: u64,
    /// How many of them are counted as one.
    unit: u64,
    /// How many instructions the stage "run" may take for a page: a quarter more than it does.
    bound: f64,
}

use Operation::{MapLarge, MapSmall, Protect, Unmap};

const CASES: &[Case] = &[
    Case {
        name: "map 4 KiB, new tables",
        before: &[],
        operation: MapSmall,
        pages: 64 * LARGE,
        unit: 1,
        bound: 520.0,
    },
    Case {
        name: "map 4 KiB, tables are there",
        before: &[MapSmall, Protect],
        operation: MapSmall,
        pages: 64 * LARGE,
        unit: 1,
        bound: 620.0,
    },
    Case {
        name: "protect 4 KiB",
        before: &[MapSmall],
        operation: Protect,
        pages: 64 * LARGE,
        unit: 1,
        bound: 830.0,
    },
    Case {
        name: "unmap 4 KiB",
        before: &[MapSmall],
        operation: Unmap,
        pages: 64 * LARGE,
        unit: 1,
        bound: 2.0,
    },
    Case {
        name: "map 2 MiB, new tables",
        before: &[],
        operation: MapLarge,
        pages: 512 * LARGE,
        unit: LARGE,
        bound: 730.0,
    },
    Case {
        name: "map 2 MiB, tables are there",
        before: &[MapLarge, Protect],
        operation: MapLarge,
        pages: 512 * LARGE,
        unit: LARGE,
        bound: 740.0,
    },
    Case {
        name: "unmap 2 MiB",
        before: &[MapLarge],
        operation: Unmap,
        pages: 512 * LARGE,
        unit: LARGE,
        bound: 6.0,
    },
];

#[no_mangle]
#[inline(never)]
fn nova_bench_submit(bench: &mut Bench, operation: Operation) {
    bench.submit(operation);
}

#[no_mangle]
#[inline(never)]
fn nova_bench_run(bench: &mut Bench) {
    bench.run();
}

#[no_mangle]
#[inline(never)]
fn nova_bench_clean_up(bench: &mut Bench) {
    bench.clean_up();
}

const STAGES: [&str; 3] = ["nova_bench_submit", "nova_bench_run", "nova_bench_clean_up"];

fn main() -> ExitCode {
    match env::var(CHILD) {
        Ok(what) => {
            let (pages, name) = what.split_once(' ').expect("a number and a case");
            run(find(name), pages.parse().expect("a number"));
            ExitCode::SUCCESS
        }
        Err(_) => match measure() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => failure("a bound is broken"),
            Err(error) => failure(&error),
        },
    }
}

fn failure(error: &str) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn find(name: &str) -> &'static Case {
    let case = CASES.iter().find(|case| case.name == name);
    case.expect("a case of the table")
}

/// Runs the stages of a case, the only ones that go through the measured functions.
fn run(case: &Case, pages: u64) {
    let mut bench = Bench::new(pages);
    for operation in case.before {
        bench.complete(*operation);
    }
    nova_bench_submit(&mut bench, case.operation);
    nova_bench_run(&mut bench);
    nova_bench_clean_up(&mut bench);
}

/// Measures all, prints the table, and tells whether the bounds hold.
fn measure() -> Result<bool, String> {
    println!("instructions for each page, counted by callgrind, and pages per second:\n");
    println!(
        "{:<28} {:>8} {:>8} {:>8} {:>6} {:>7}  {:<7} {:>12}",
        "", "submit", "run", "clean up", "bound", "linear", "", "pages/s"
    );
    let mut holds = true;
    for case in CASES {
        holds &= row(case)?;
    }
    println!("\nbound: of instructions in run; linear: those of a page in a job four times the size, at most {LINEAR}");
    Ok(holds)
}

fn row(case: &Case) -> Result<bool, String> {
    let mut counts = [0.0; 3];
    for (count, stage) in counts.iter_mut().zip(STAGES) {
        *count = instructions(stage, case, case.pages)?;
    }
    let [submit, run, clean_up] = counts;
    let linear = run / instructions("nova_bench_run", case, case.pages / 4)?;
    let holds = run <= case.bound && linear <= LINEAR;
    println!(
        "{:<28} {submit:>8.1} {run:>8.1} {clean_up:>8.1} {:>6} {linear:>7.3}  {:<7} {:>12.0}",
        case.name,
        case.bound,
        if holds { "holds" } else { "BROKEN" },
        pages_per_second(case),
    );
    Ok(holds)
}

/// Does the operation for a while, in all stages.
fn pages_per_second(case: &Case) -> f64 {
    let mut spent = Duration::ZERO;
    let mut pages = 0;
    while spent < Duration::from_millis(200) {
        let mut bench = Bench::new(case.pages);
        for operation in case.before {
            bench.complete(*operation);
        }
        let start = Instant::now();
        bench.complete(case.operation);
        spent += start.elapsed();
        pages += case.pages / case.unit;
    }
    pages as f64 / spent.as_secs_f64()
}

/// Counts the instructions inside of `stage` for each page, by a run of this program under callgrind.
fn instructions(stage: &str, case: &Case, pages: u64) -> Result<f64, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={stage}"))
        .arg(program)
        .env(CHILD, format!("{pages} {}", case.name))
        .output()
        .map_err(|error| {
            format!("cannot run valgrind ({error}); install it: apt-get install valgrind")
        })?;
    let messages = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{stage} under valgrind failed:\n{messages}"));
    }
    // "==123== Collected : 4567"
    let collected: u64 = messages
        .lines()
        .find_map(|line| line.split("Collected :").nth(1))
        .and_then(|count| count.trim().parse().ok())
        .ok_or_else(|| format!("callgrind told no count for {stage}:\n{messages}"))?;
    // Less than this, and the function was not seen or was optimised away.
    if collected < 100 {
        return Err(format!(
            "callgrind counted {collected} instructions in {stage}, which cannot be all"
        ));
    }
    Ok(collected as f64 / (pages / case.unit) as f64)
}

// SPDX-License-Identifier: GPL-2.0

//! Costs of jobs in the driver: instructions per page, system memory, and hardware accesses.
//!
//! The hardware does nothing here, so only the driver is measured. Instruction counts of callgrind
//! do not depend on the load of the machine, so they have bounds. The program runs itself under
//! valgrind once per measured stage, and counts only instructions between entry and exit of the
//! function for the stage. Pages per second are for information only.
//!
//! Run it with `cargo bench -p nova-mm`. Its exit code is 1 if a bound is exceeded.

use nova_mm::host::{
    bench::{system_memory, teardown_of, Bench, Operation},
    bench_va::{VaBench, VaOperation},
};
use std::{
    env,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

/// Environment variable that selects the measurement of a child process.
const CHILD: &str = "NOVA_MM_BENCH_RUN";

/// Number of 4 KiB pages in a 2 MiB page.
const LARGE: u64 = 512;

/// Number of 4 KiB pages in 64 GiB.
const PAGES_OF_64G: u64 = 16 << 20;

/// Bound of the instructions per page, relative to a job of a quarter of the size. Costs are
/// linear.
const LINEAR: f64 = 1.05;

/// Bound of the instructions of a job for one page of a buffer with 15,000 blocks, relative to a
/// buffer with 6 blocks.
const FRAGMENTED: f64 = 1.5;

/// Bound of the system memory, in bytes, for a mapping of 64 GiB with 4 KiB pages.
const SYSTEM_MEMORY: u64 = 20 << 20;

/// Bound of the accesses in a hold of the hardware lock: the entries of a table, two moves of the
/// window to the table and to another one, and reading back the last word.
const HOLD: u64 = 512 + 3;

/// An operation, and the operations before it.
struct Case {
    name: &'static str,
    before: &'static [Operation],
    operation: Operation,
    /// Number of 4 KiB pages.
    pages: u64,
    /// Number of 4 KiB pages that are counted as one page.
    unit: u64,
    /// Bound of the instructions per page in the stage "run".
    bound: f64,
}

use Operation::{MapLarge, MapOne, MapSmall, Protect, Unmap};

const CASES: &[Case] = &[
    Case {
        name: "map 4 KiB, new tables",
        before: &[],
        operation: MapSmall,
        pages: 64 * LARGE,
        unit: 1,
        bound: 45.0,
    },
    Case {
        name: "map 4 KiB, tables exist",
        before: &[MapSmall, Protect],
        operation: MapSmall,
        pages: 64 * LARGE,
        unit: 1,
        bound: 50.0,
    },
    Case {
        name: "protect 4 KiB",
        before: &[MapSmall],
        operation: Protect,
        pages: 64 * LARGE,
        unit: 1,
        bound: 50.0,
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
        bound: 120.0,
    },
    Case {
        name: "map 2 MiB, tables exist",
        before: &[MapLarge, Protect],
        operation: MapLarge,
        pages: 512 * LARGE,
        unit: LARGE,
        bound: 120.0,
    },
    Case {
        name: "unmap 2 MiB",
        before: &[MapLarge],
        operation: Unmap,
        pages: 512 * LARGE,
        unit: LARGE,
        bound: 10.0,
    },
];

/// Bound of the instructions of a request with many ranges in use, relative to few ranges. Costs
/// are logarithmic, so the ratio is below 2.
const LOGARITHMIC: f64 = 3.0;

/// A request for virtual addresses.
struct VaCase {
    name: &'static str,
    operation: VaOperation,
    /// Numbers of ranges in use, or of gaps, to compare.
    few: u64,
    many: u64,
}

const VA_CASES: &[VaCase] = &[
    VaCase {
        name: "reserve the highest page, free it",
        operation: VaOperation::Highest,
        few: 1_000,
        many: 30_000,
    },
    VaCase {
        name: "reserve a fixed page, free it",
        operation: VaOperation::Fixed,
        few: 1_000,
        many: 30_000,
    },
    VaCase {
        name: "2 pages below one-page holes",
        operation: VaOperation::Holes,
        few: 500,
        many: 15_000,
    },
    VaCase {
        name: "2 MiB below misaligned gaps",
        operation: VaOperation::Misaligned,
        few: 500,
        many: 15_000,
    },
];

#[no_mangle]
#[inline(never)]
fn nova_bench_prepare(bench: &mut Bench, operation: Operation) {
    bench.prepare(operation);
}

#[no_mangle]
#[inline(never)]
fn nova_bench_run(bench: &mut Bench) {
    bench.run();
}

#[no_mangle]
#[inline(never)]
fn nova_bench_free(bench: &mut Bench) {
    bench.free();
}

#[no_mangle]
#[inline(never)]
fn nova_bench_all(bench: &mut Bench) {
    bench.complete(MapOne);
}

#[no_mangle]
#[inline(never)]
fn nova_bench_va(bench: &mut VaBench) {
    bench.run();
}

const STAGES: [&str; 3] = ["nova_bench_prepare", "nova_bench_run", "nova_bench_free"];

fn main() -> ExitCode {
    match env::var(CHILD) {
        Ok(what) => {
            let (number, name) = what.split_once(' ').expect("a number and a case");
            child(number.parse().expect("a number"), name);
            ExitCode::SUCCESS
        }
        Err(_) => match measure() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => failure("a bound is exceeded"),
            Err(error) => failure(&error),
        },
    }
}

fn failure(error: &str) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// Performs the measurement that this process was started for.
fn child(number: u64, name: &str) {
    if name == "fragmented" {
        let mut bench = Bench::fragmented(number);
        // Create the tables.
        bench.complete(MapOne);
        nova_bench_all(&mut bench);
        return;
    }
    if let Some(case) = VA_CASES.iter().find(|case| case.name == name) {
        nova_bench_va(&mut VaBench::new(case.operation, number));
        return;
    }
    let case = CASES.iter().find(|case| case.name == name);
    let case = case.expect("a case of the table");
    let mut bench = Bench::new(number);
    for operation in case.before {
        bench.complete(*operation);
    }
    nova_bench_prepare(&mut bench, case.operation);
    nova_bench_run(&mut bench);
    nova_bench_free(&mut bench);
}

/// Performs all measurements and prints the tables. Returns whether all bounds hold.
fn measure() -> Result<bool, String> {
    println!("instructions per page, counted by callgrind, and pages per second:\n");
    println!(
        "{:<28} {:>8} {:>8} {:>8} {:>6} {:>7}  {:<7} {:>12}",
        "", "prepare", "run", "free", "bound", "linear", "", "pages/s"
    );
    let mut holds = true;
    for case in CASES {
        holds &= row(case)?;
    }
    println!(
        "\nbound: maximum of run; linear: run, relative to a job of a quarter of the size, at most"
    );
    println!("{LINEAR}\n");

    let [few, many] =
        [6, 15_000].map(|blocks| instructions("nova_bench_all", "fragmented", blocks));
    let (few, many) = (few?, many?);
    holds &= line(
        "job for one page, all stages, buffer of 6 or 15,000 blocks",
        &format!("{few}, {many} instructions"),
        many as f64 / few as f64 <= FRAGMENTED,
        &format!(
            "ratio {:.3}, at most {FRAGMENTED}",
            many as f64 / few as f64
        ),
    );
    for case in VA_CASES {
        holds &= va_line(case)?;
    }
    let bytes = system_memory(PAGES_OF_64G);
    holds &= line(
        "system memory for 64 GiB in pages of 4 KiB",
        &format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        bytes <= SYSTEM_MEMORY,
        &format!("at most {} MiB", SYSTEM_MEMORY >> 20),
    );
    let mut bench = Bench::counting(PAGES_OF_64G);
    bench.prepare(MapSmall);
    bench.take_counts();
    bench.run();
    let counts = bench.take_counts();
    holds &= line(
        "longest hold of the hardware lock, 64 GiB in pages of 4 KiB",
        &format!(
            "{} accesses of {}",
            counts.longest_hold,
            counts.entries + counts.reads + counts.moves
        ),
        counts.longest_hold <= HOLD,
        &format!("at most {HOLD}"),
    );
    drop(bench);
    let count = 15_000;
    let counts = teardown_of(count);
    let tables = (2 * count).div_ceil(LARGE);
    holds &= line(
        "teardown of 15,000 mappings",
        &format!(
            "{} entries, {} moves, {} reads",
            counts.entries, counts.moves, counts.reads
        ),
        counts.moves + counts.reads <= tables,
        &format!("at most {tables}, the number of tables"),
    );
    Ok(holds)
}

/// Compares a request for virtual addresses with few and with many ranges in use.
fn va_line(case: &VaCase) -> Result<bool, String> {
    let few = instructions("nova_bench_va", case.name, case.few)?;
    let many = instructions("nova_bench_va", case.name, case.many)?;
    let ratio = many as f64 / few as f64;
    Ok(line(
        &format!("{}, {} ranges, {}", case.name, case.few, case.many),
        &format!("{few}, {many} instructions"),
        ratio <= LOGARITHMIC,
        &format!("ratio {ratio:.3}, at most {LOGARITHMIC}"),
    ))
}

fn line(what: &str, value: &str, holds: bool, bound: &str) -> bool {
    println!(
        "{what:<62} {value:<44} {bound:<32} {}",
        if holds { "holds" } else { "BROKEN" }
    );
    holds
}

fn row(case: &Case) -> Result<bool, String> {
    let mut counts = [0.0; 3];
    for (count, stage) in counts.iter_mut().zip(STAGES) {
        *count = for_each_page(stage, case, case.pages)?;
    }
    let [prepare, run, free] = counts;
    let linear = run / for_each_page("nova_bench_run", case, case.pages / 4)?;
    let holds = run <= case.bound && linear <= LINEAR;
    println!(
        "{:<28} {prepare:>8.1} {run:>8.1} {free:>8.1} {:>6} {linear:>7.3}  {:<7} {:>12.0}",
        case.name,
        case.bound,
        if holds { "holds" } else { "BROKEN" },
        pages_per_second(case),
    );
    Ok(holds)
}

fn for_each_page(stage: &str, case: &Case, pages: u64) -> Result<f64, String> {
    let count = instructions(stage, case.name, pages)?;
    Ok(count as f64 / (pages / case.unit) as f64)
}

/// Measures the speed of the operation in all stages.
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

/// Returns the number of instructions in `stage`, counted by a run of this program under callgrind.
fn instructions(stage: &str, name: &str, number: u64) -> Result<u64, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={stage}"))
        .arg(program)
        .env(CHILD, format!("{number} {name}"))
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
        .ok_or_else(|| {
            format!("callgrind printed no instruction count for {stage}:\n{messages}")
        })?;
    // With fewer instructions, the function was not found or was optimized away.
    if collected < 100 {
        return Err(format!(
            "callgrind counted only {collected} instructions in {stage}"
        ));
    }
    Ok(collected)
}

// SPDX-License-Identifier: GPL-2.0

//! Instructions of the binding against the C functions called directly, and of the allocator
//! against the one that it was before the series.
//!
//! Instruction counts of callgrind do not depend on the load of the machine, so they can be held to
//! a bound. The program runs itself under valgrind once for each measured function, counting only
//! what happens between entry and exit of that function.
//!
//! Run by `cargo bench -p gpu-buddy`; exits with 1 if a bound is broken. `GPU_BUDDY_BENCH_MIB` sets
//! the size of the allocator for the second part: the KUnit case that it is taken from has 4096.

use gpu_buddy::gpu::buddy::{
    AllocatedBlocks, GpuBuddy, GpuBuddyAllocFlag, GpuBuddyAllocFlags, GpuBuddyAllocMode,
    GpuBuddyParams,
};
use kernel::{bindings, prelude::*, ptr::Alignment};
use pin_init::stack_try_pin_init;
use std::{
    env,
    process::{Command, ExitCode},
};

/// How many instructions the binding may take for one of C.
const BINDING_BOUND: f64 = 1.05;

/// How many instructions the allocator may take for one that it took before.
const FIXES_BOUND: f64 = 1.02;

/// How often memory is allocated and freed.
const TIMES: usize = 100;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The size of a chunk.
const CHUNK: u64 = 4 * KIB;

/// The environment variable that tells the program what it is to measure.
const CHILD: &str = "GPU_BUDDY_BENCH_RUN";

/// Allocating and freeing again: what is asked for, and what of.
struct Case {
    name: &'static str,
    size: u64,
    contiguous: bool,
    /// The size of the allocator.
    of: u64,
    /// Which chunks are in use: every so many.
    used: Option<usize>,
    /// Whether the bound applies.
    bound: bool,
}

const CASES: &[Case] = &[
    Case {
        name: "4 KiB",
        size: 4 * KIB,
        contiguous: false,
        of: 16 * GIB,
        used: None,
        bound: true,
    },
    Case {
        name: "2 MiB",
        size: 2 * MIB,
        contiguous: false,
        of: 16 * GIB,
        used: None,
        bound: true,
    },
    Case {
        name: "1 GiB contiguous",
        size: GIB,
        contiguous: true,
        of: 16 * GIB,
        used: None,
        bound: true,
    },
    Case {
        name: "64 blocks scattered",
        size: 256 * KIB,
        contiguous: false,
        of: 512 * KIB,
        used: Some(2),
        bound: true,
    },
    // Nothing to split, nothing to merge: what the binding itself takes shows most.
    Case {
        name: "4 KiB, a block is there",
        size: 4 * KIB,
        contiguous: false,
        of: 512 * KIB,
        used: Some(2),
        bound: false,
    },
];

impl Case {
    fn flags(&self) -> GpuBuddyAllocFlags {
        match self.contiguous {
            true => GpuBuddyAllocFlag::Contiguous.into(),
            false => GpuBuddyAllocFlags::default(),
        }
    }

    fn c_flags(&self) -> usize {
        match self.contiguous {
            true => bindings::GPU_BUDDY_CONTIGUOUS_ALLOCATION,
            false => 0,
        }
    }

    /// The chunks in use.
    fn used(&self) -> impl Iterator<Item = u64> {
        let step = self.used.unwrap_or(usize::MAX);
        let end = if self.used.is_some() { self.of } else { 0 };
        (0..end / CHUNK).step_by(step).map(|n| n * CHUNK)
    }
}

#[no_mangle]
#[inline(never)]
fn rust_bench_alloc_free(
    buddy: &GpuBuddy,
    size: u64,
    min_block_size: Alignment,
    flags: GpuBuddyAllocFlags,
    times: usize,
) -> Result {
    for _ in 0..times {
        let mode = GpuBuddyAllocMode::Simple;
        stack_try_pin_init!(let blocks: AllocatedBlocks =
            buddy.alloc_blocks(mode, size, min_block_size, flags));
        blocks?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match env::var(CHILD) {
        Ok(what) => {
            run(&what);
            ExitCode::SUCCESS
        }
        Err(_) => compare(),
    }
}

/// Runs one measured function.
fn run(what: &str) {
    let (function, argument) = what.split_once(' ').expect("a function and an argument");
    let case = || {
        let case = CASES.iter().find(|case| case.name == argument);
        case.expect("a case of the table")
    };
    match function {
        "rust_bench_alloc_free" => run_rust(case()),
        "host_bench_alloc_free" => run_c(case()),
        // SAFETY: They have no requirements.
        "host_bench_fragmentation" => assert_eq!(0, unsafe {
            bindings::host_bench_fragmentation(size_of_workload(), argument == REVERSE)
        }),
        // SAFETY: As above.
        "host_bench_fragmentation_base" => assert_eq!(0, unsafe {
            bindings::host_bench_fragmentation_base(size_of_workload(), argument == REVERSE)
        }),
        _ => panic!("no function {function}"),
    }
}

fn run_rust(case: &Case) {
    let chunk_size = Alignment::new::<{ CHUNK as usize }>();
    let buddy = GpuBuddy::new(GpuBuddyParams {
        base_offset: 0,
        size: case.of,
        chunk_size,
    })
    .expect("an allocator");
    let reserve = |at| KBox::pin_init(buddy.reserve(at..at + CHUNK), GFP_KERNEL);
    let used: Vec<_> = case.used().map(|at| reserve(at).expect("room")).collect();

    let avail = buddy.avail();
    rust_bench_alloc_free(&buddy, case.size, chunk_size, case.flags(), TIMES).expect("room");
    assert_eq!(buddy.avail(), avail, "all is given back");
    drop(used);
}

fn run_c(case: &Case) {
    let mut mm = Box::<bindings::gpu_buddy>::default();
    let mm: *mut bindings::gpu_buddy = &mut *mm;
    let mut list = Box::<bindings::list_head>::default();
    let list: *mut bindings::list_head = &mut *list;
    let mut mutex = Box::<bindings::mutex>::default();
    let mutex: *mut bindings::mutex = &mut *mutex;
    // SAFETY: Everything is valid and used by this function alone.
    unsafe {
        bindings::INIT_LIST_HEAD(list);
        bindings::__mutex_init(mutex, c"bench".as_ptr().cast(), std::ptr::null_mut());
        assert_eq!(0, bindings::gpu_buddy_init(mm, case.of, CHUNK));
        for at in case.used() {
            let ret = bindings::gpu_buddy_alloc_blocks(mm, at, at + CHUNK, CHUNK, CHUNK, list, 0);
            assert_eq!(0, ret);
        }
        let avail = (*mm).avail;
        let flags = case.c_flags();
        assert_eq!(
            0,
            bindings::host_bench_alloc_free(mm, mutex, case.size, CHUNK, flags, TIMES)
        );
        assert_eq!((*mm).avail, avail, "all is given back");
        bindings::gpu_buddy_free_list(mm, list, 0);
        bindings::gpu_buddy_fini(mm);
    }
}

/// The argument of the second of the two workloads.
const REVERSE: &str = "reverse free";

fn size_of_workload() -> u64 {
    let mib = env::var("GPU_BUDDY_BENCH_MIB").map_or(256, |mib| mib.parse().expect("a number"));
    mib * MIB
}

/// Measures all and prints the tables.
fn compare() -> ExitCode {
    println!("instructions to allocate and free {TIMES} times, counted by callgrind:\n");
    let mut broken = false;
    heading("binding", "C", BINDING_BOUND);
    for case in CASES {
        let bound = case.bound.then_some(BINDING_BOUND);
        match row(
            case.name,
            "rust_bench_alloc_free",
            "host_bench_alloc_free",
            bound,
        ) {
            Ok(holds) => broken |= !holds,
            Err(error) => return failure(&error),
        }
    }

    let mib = size_of_workload() / MIB;
    println!("\ninstructions of the KUnit case \"fragmentation_performance\" with {mib} MiB:\n");
    heading("fixed", "base", FIXES_BOUND);
    for name in ["fragmented", REVERSE] {
        let (fixed, base) = ("host_bench_fragmentation", "host_bench_fragmentation_base");
        match row(name, fixed, base, Some(FIXES_BOUND)) {
            Ok(holds) => broken |= !holds,
            Err(error) => return failure(&error),
        }
    }
    match broken {
        true => failure("a bound is broken"),
        false => ExitCode::SUCCESS,
    }
}

fn failure(error: &str) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn heading(new: &str, old: &str, bound: f64) {
    println!(
        "{:<26} {new:>12} {old:>12} {:>7}  bound {bound}",
        "", "ratio"
    );
}

/// Measures two functions with the same argument, prints a line, and tells whether the bound holds.
fn row(name: &str, new: &str, old: &str, bound: Option<f64>) -> Result<bool, String> {
    let (new, old) = (instructions(new, name)?, instructions(old, name)?);
    let ratio = new as f64 / old as f64;
    let holds = bound.map(|bound| ratio <= bound);
    let verdict = match holds {
        Some(true) => "holds",
        Some(false) => "BROKEN",
        None => "no bound",
    };
    println!("{name:<26} {new:>12} {old:>12} {ratio:>7.3}  {verdict}");
    Ok(holds != Some(false))
}

/// Counts the instructions inside of `function`, by a run of this program under callgrind.
fn instructions(function: &str, argument: &str) -> Result<u64, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={function}"))
        .arg(program)
        .env(CHILD, format!("{function} {argument}"))
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
    // Less than a hundred for each time: the function was not seen, or was optimised away.
    if collected < 100 * TIMES as u64 {
        return Err(format!(
            "callgrind counted {collected} instructions in {function}, which cannot be all"
        ));
    }
    Ok(collected)
}

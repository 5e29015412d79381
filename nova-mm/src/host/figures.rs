// SPDX-License-Identifier: GPL-2.0

//! The table of what operations cost, beside that of a walk for each page.

use super::reference::Reference;
use crate::mm::{
    format::{v2::MmuV2, v3::MmuV3},
    vmm::tests::{
        bench::TestFormat,
        figures::{cases, Layout},
    },
};
use kernel::error::Result;

/// Measures and prints all.
pub fn print() {
    println!("Accesses to the hardware, counted by the software GPU.");
    println!();
    println!(
        "words: written to page tables; reads: of VRAM, the read-back included; moves: of the"
    );
    println!("window of PRAMIN, with the root apart from the other tables (in brackets: with each");
    println!("table in a MiB of its own); total: these and the invalidate.");
    println!(
        "walk: all accesses if each page of 4 KiB is walked to from the root, once to prepare"
    );
    println!("and once to write; walk+: the same if each access is followed by a read.");
    table::<MmuV2>("version 2").expect("the model works");
    table::<MmuV3>("version 3").expect("the model works");
}

fn table<F: TestFormat>(name: &str) -> Result {
    println!("\nMMU {name}");
    println!(
        "{:<42} {:>6} {:>5} {:>9} {:>6} {:>9} {:>9} {:>8}",
        "", "words", "reads", "moves", "total", "walk", "walk+", "ratio"
    );
    for case in &cases(F::LEVELS.len() as u64) {
        let ours = case.measure::<F>(Layout::RootApart)?;
        let scattered = case.measure::<F>(Layout::Scattered)?;
        let walk = Reference::<F>::measure(case, false)?;
        let walk_plus = Reference::<F>::measure(case, true)?;
        println!(
            "{:<42} {:>6} {:>5} {:>9} {:>6} {:>9} {:>9} {:>7.1}x",
            case.name,
            ours.pramin_writes,
            ours.pramin_reads,
            format!("{} ({})", ours.window_writes, scattered.window_writes),
            ours.total(),
            walk.total(),
            walk_plus.total(),
            walk.total() as f64 / ours.total() as f64,
        );
    }
    Ok(())
}

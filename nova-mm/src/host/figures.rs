// SPDX-License-Identifier: GPL-2.0

//! The costs of operations, compared with a walk for each page.

use super::reference::Reference;
use crate::mm::{
    format::{v2::MmuV2, v3::MmuV3},
    vmm::tests::{
        figures::{cases, Layout},
        fixture::TestFormat,
    },
};
use kernel::error::Result;

/// Measures and prints all.
pub fn print() {
    println!("Accesses to the hardware, counted by the GPU model.");
    println!();
    println!("zeroed: words of tables that are zeroed before the job runs; words: written to page");
    println!("tables by the job; reads: of VRAM, including the last word read back; moves: of the");
    println!("PRAMIN window, with the root apart from the other tables (in brackets: with each");
    println!("table in a MiB of its own); total: these and the invalidation, without zeroing.");
    println!(
        "walk: all accesses if each page of 4 KiB is walked to from the root, once to prepare"
    );
    println!("and once to write; walk+: the same if each access is followed by a read. ratio: of");
    println!("walk to all accesses of this series.");
    table::<MmuV2>("version 2").expect("the GPU model works");
    table::<MmuV3>("version 3").expect("the GPU model works");
}

fn table<F: TestFormat>(name: &str) -> Result {
    println!("\nMMU {name}");
    println!(
        "{:<42} {:>6} {:>6} {:>5} {:>9} {:>6} {:>9} {:>9} {:>8}",
        "", "zeroed", "words", "reads", "moves", "total", "walk", "walk+", "ratio"
    );
    for case in &cases(F::LEVELS.len() as u64) {
        let ours = case.measure::<F>(Layout::RootApart)?;
        let scattered = case.measure::<F>(Layout::Scattered)?;
        let walk = Reference::<F>::measure(case, false)?;
        let walk_plus = Reference::<F>::measure(case, true)?;
        println!(
            "{:<42} {:>6} {:>6} {:>5} {:>9} {:>6} {:>9} {:>9} {:>7.1}x",
            case.name,
            ours.prepare.pramin_writes,
            ours.run.pramin_writes,
            ours.run.pramin_reads,
            format!(
                "{} ({})",
                ours.run.window_writes, scattered.run.window_writes
            ),
            ours.run.total(),
            walk.total(),
            walk_plus.total(),
            walk.total() as f64 / (ours.prepare.total() + ours.run.total()) as f64,
        );
    }
    Ok(())
}

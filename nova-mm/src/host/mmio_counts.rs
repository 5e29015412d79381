// SPDX-License-Identifier: GPL-2.0

//! Hardware accesses of operations, compared with page tables that are walked for each page.

use super::reference::Reference;
use crate::mm::{
    format::{v2::MmuV2, v3::MmuV3},
    vmm::tests::{
        fixture::TestFormat,
        mmio_counts::{cases, Layout},
    },
};
use kernel::error::Result;

/// Measures all cases and prints the tables.
pub fn print() {
    println!("Accesses to the hardware, counted by the GPU model.");
    println!();
    println!(
        "zeroed: words of tables zeroed before the job runs. words: words that the job writes"
    );
    println!("to page tables. reads: reads of VRAM, including the last word. moves: moves of the");
    println!("PRAMIN window if the root is separate from the other tables (in brackets: if each");
    println!("table is in a different MiB). total: these and the invalidation, without zeroing.");
    println!("walk: all accesses if each page of 4 KiB takes a walk from the root to prepare and");
    println!("another to write. walk+: the same if each access is followed by a read. ratio: walk");
    println!("divided by all accesses of this series.");
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

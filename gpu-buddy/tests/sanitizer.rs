// SPDX-License-Identifier: GPL-2.0

//! Faults that the sanitizers have to notice, in the memory of the C allocator and by its code.
//!
//! `scripts/host/asan` runs these one by one and expects each to end in a report, so that a
//! sanitizer that is not at work does not pass for code without faults.

use gpu_buddy::{
    bindings::{self, latest_gpu_buddy},
    gpu::buddy::{GpuBuddy, GpuBuddyParams},
};
use kernel::ptr::Alignment;

/// An allocator, and what C has of it.
fn allocator() -> (GpuBuddy, *mut bindings::gpu_buddy) {
    let buddy = GpuBuddy::new(GpuBuddyParams {
        base_offset: 0,
        size: 1 << 20,
        chunk_size: Alignment::new::<4096>(),
    })
    .unwrap();
    (buddy, latest_gpu_buddy())
}

#[test]
#[ignore = "faulty on purpose, see scripts/host/asan"]
fn c_reads_a_freed_block() {
    let (buddy, mm) = allocator();
    std::mem::forget(buddy);
    // SAFETY: It is not: a block that is freed is read.
    println!("{}", unsafe { bindings::host_buddy_use_after_free(mm) });
}

#[test]
#[ignore = "faulty on purpose, see scripts/host/asan"]
fn rust_reads_a_freed_block() {
    let (buddy, mm) = allocator();
    // SAFETY: The allocator is there, and has a root.
    let root = unsafe { *(*mm).roots };
    drop(buddy);
    // SAFETY: It is not: the block is freed.
    println!("{}", unsafe { (&raw const (*root).header).read_volatile() });
}

#[test]
#[ignore = "faulty on purpose, see scripts/host/asan"]
fn c_reads_a_misaligned_block() {
    let (_buddy, mm) = allocator();
    // SAFETY: It is not: the pointer is not aligned.
    println!("{}", unsafe { bindings::host_buddy_misaligned(mm) });
}

// SPDX-License-Identifier: GPL-2.0

//! Several threads on one allocator: no chunk is handed out twice, and no count is lost.
//!
//! The mutex below the binding is a real one, which also ends the program if it is locked twice or
//! unlocked by somebody else.

// The binding is that of the default base.
#![cfg(not(other_base))]

use gpu_buddy::gpu::buddy::{
    AllocatedBlocks, GpuBuddy, GpuBuddyAllocFlag, GpuBuddyAllocFlags, GpuBuddyAllocMode,
    GpuBuddyParams,
};
use kernel::{host, prelude::*, ptr::Alignment};
use std::{
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

const CHUNK: u64 = 0x1000;
const CHUNKS: usize = 1000;
const BASE: u64 = 0x7000_0000;
const THREADS: u64 = 4;
const ROUNDS: usize = 20_000;

type Allocation = Pin<KBox<AllocatedBlocks>>;

/// Which chunks are in use.
struct Used(Vec<AtomicBool>);

impl Used {
    fn mark(&self, allocation: &AllocatedBlocks, used: bool) {
        for block in allocation.iter() {
            let first = (block.offset() - BASE) / CHUNK;
            for chunk in first..first + block.size() / CHUNK {
                let before = self.0[chunk as usize].swap(used, Ordering::Relaxed);
                assert_ne!(before, used, "chunk {chunk:#x}");
            }
        }
    }
}

fn work(
    number: u64,
    buddy: &GpuBuddy,
    used: &Used,
    allocated: &AtomicUsize,
    to_next: mpsc::SyncSender<Allocation>,
    from_previous: mpsc::Receiver<Allocation>,
) {
    let mut random = fastrand::Rng::with_seed(number);
    let mut held: Vec<Allocation> = Vec::new();
    let give_back = |mut allocation: Allocation, cleared| {
        used.mark(&allocation, false);
        if cleared {
            allocation.as_mut().free_cleared();
        }
    };
    for _ in 0..ROUNDS {
        let size = (random.u64(0..16) + 1) * CHUNK;
        let mode = match random.u8(0..3) {
            0 => GpuBuddyAllocMode::Simple,
            1 => GpuBuddyAllocMode::TopDown,
            _ => GpuBuddyAllocMode::Range(0..CHUNK * CHUNKS as u64 / 2),
        };
        let flags = match random.u8(0..3) {
            0 => GpuBuddyAllocFlags::default(),
            1 => GpuBuddyAllocFlag::Clear.into(),
            _ => GpuBuddyAllocFlag::Contiguous.into(),
        };
        let init = buddy.alloc_blocks(mode, size, Alignment::new::<{ CHUNK as usize }>(), flags);
        match KBox::pin_init(init, GFP_KERNEL) {
            Ok(allocation) => {
                used.mark(&allocation, true);
                allocated.fetch_add(1, Ordering::Relaxed);
                held.push(allocation);
            }
            Err(error) => assert_eq!(error, ENOSPC),
        }
        assert!(buddy.avail() <= buddy.size());
        if held.len() > 20 || random.u8(0..4) == 0 {
            let Some(n) = random.usize(..).checked_rem(held.len()) else {
                continue;
            };
            let allocation = held.swap_remove(n);
            // Some are freed by another thread.
            match random.u8(0..3) {
                0 => match to_next.try_send(allocation) {
                    Ok(()) => (),
                    Err(mpsc::TrySendError::Full(allocation))
                    | Err(mpsc::TrySendError::Disconnected(allocation)) => {
                        give_back(allocation, false)
                    }
                },
                n => give_back(allocation, n == 1),
            }
        }
        for allocation in from_previous.try_iter() {
            give_back(allocation, random.bool());
        }
    }
    drop(to_next);
    held.extend(from_previous);
    held.into_iter()
        .for_each(|allocation| give_back(allocation, false));
    assert_eq!(host::take_warnings(), 0);
}

#[test]
fn several_threads() {
    let buddy = GpuBuddy::new(GpuBuddyParams {
        base_offset: BASE,
        size: CHUNK * CHUNKS as u64,
        chunk_size: Alignment::new::<{ CHUNK as usize }>(),
    })
    .unwrap();
    let used = Used((0..CHUNKS).map(|_| AtomicBool::new(false)).collect());
    let allocated = AtomicUsize::new(0);

    // A ring: each hands allocations to the next one.
    let (mut senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| mpsc::sync_channel(8)).unzip();
    senders.rotate_left(1);
    thread::scope(|scope| {
        for (number, (to_next, from_previous)) in (0..).zip(senders.into_iter().zip(receivers)) {
            let (buddy, used, allocated) = (&buddy, &used, &allocated);
            scope.spawn(move || work(number, buddy, used, allocated, to_next, from_previous));
        }
    });

    assert!(used.0.iter().all(|used| !used.load(Ordering::Relaxed)));
    let allocated = allocated.load(Ordering::Relaxed);
    println!("{allocated} allocations");
    assert!(allocated > ROUNDS, "{allocated} allocations only");
    assert_eq!(buddy.avail(), buddy.size());
    // Allocating all memory finds each chunk once.
    let chunk = Alignment::new::<{ CHUNK as usize }>();
    let flags = GpuBuddyAllocFlags::default();
    let init = buddy.alloc_blocks(GpuBuddyAllocMode::Simple, buddy.size(), chunk, flags);
    let all = KBox::pin_init(init, GFP_KERNEL).unwrap();
    used.mark(&all, true);
    assert!(used.0.iter().all(|used| used.load(Ordering::Relaxed)));
    drop(all);
    drop(buddy);
    assert_eq!(host::take_warnings(), 0);
}

// SPDX-License-Identifier: GPL-2.0

//! A test of concurrent use of one allocator.

#[macros::kunit_tests(rust_gpu_buddy_threads)]
mod suite {
    use super::super::{
        alloc::{
            alloc,
            Blocks, //
        },
        *, //
    };
    use crate::{
        sync::{
            atomic::{
                Atomic,
                Relaxed, //
            },
            Completion, //
        },
        time::{
            delay::fsleep,
            Delta, //
        },
        workqueue, //
    };
    use GpuBuddyAllocFlag::{
        Clear,
        Contiguous, //
    };
    use GpuBuddyAllocMode::{
        Range as In,
        Simple,
        TopDown, //
    };

    const CHUNKS: usize = 64;

    /// Data that the threads share.
    struct Shared {
        buddy: GpuBuddy,
        /// The number of threads that hold each chunk.
        holders: [Atomic<i32>; CHUNKS],
        /// The number of threads that failed: two held the same chunk, or a request failed without
        /// a reason.
        faults: Atomic<i32>,
        /// The number of allocations.
        count: Atomic<i32>,
    }

    impl Shared {
        /// Adds `change`, 1 or -1, to the number of holders of each chunk.
        fn hold(&self, blocks: &AllocatedBlocks, change: i32) -> Result {
            for block in blocks.iter() {
                let start = usize::try_from((block.offset() - BASE) / (4 * KIB))?;
                for holders in &self.holders[start..start + (1 << block.order())] {
                    if holders.fetch_add(change, Relaxed) + change != i32::from(change == 1) {
                        return Err(EBUSY);
                    }
                }
            }
            Ok(())
        }

        fn allocate(&self, number: usize) -> Result<Blocks> {
            let mode = match number % 3 {
                0 => Simple,
                1 => TopDown,
                _ => In(0..self.buddy.size() / 2),
            };
            let flags = if number % 5 == 0 { Contiguous } else { Clear };
            let blocks = alloc(
                &self.buddy,
                mode,
                (1 + u64::try_from(number % 13)?) * 4 * KIB,
                4 * KIB,
                flags,
            )?;
            self.hold(&blocks, 1)?;
            self.count.add(1, Relaxed);
            Ok(blocks)
        }

        fn release(&self, mut blocks: Blocks, number: usize) -> Result {
            self.hold(&blocks, -1)?;
            if number % 3 == 0 {
                blocks.as_mut().free_cleared();
            }
            Ok(())
        }

        /// Allocates and frees repeatedly, and keeps one allocation at any time.
        fn run(&self, seed: usize) -> Result {
            let mut kept = None;
            for number in seed..seed + 200 {
                match self.allocate(number) {
                    Ok(blocks) => {
                        if let Some(old) = kept.replace(blocks) {
                            self.release(old, number)?;
                        }
                    }
                    // The other thread holds too much of the memory.
                    Err(e) if e == ENOSPC => (),
                    Err(e) => return Err(e),
                }
                fsleep(Delta::from_micros(1 + i64::try_from(number % 7)?));
            }
            kept.map_or(Ok(()), |blocks| self.release(blocks, seed))
        }
    }

    #[test]
    fn two_threads_share_allocator() -> Result {
        let shared = Arc::new(
            Shared {
                buddy: buddy(64 * 4 * KIB)?,
                holders: core::array::from_fn(|_| Atomic::new(0)),
                faults: Atomic::new(0),
                count: Atomic::new(0),
            },
            GFP_KERNEL,
        )?;
        let before = Snapshot::new(&shared.buddy);

        let done = [
            Arc::pin_init(Completion::new(), GFP_KERNEL)?,
            Arc::pin_init(Completion::new(), GFP_KERNEL)?,
        ];
        for (seed, done) in (0..).step_by(1000).zip(&done) {
            let (shared, done) = (shared.clone(), done.clone());
            workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
                if shared.run(seed).is_err() {
                    shared.faults.add(1, Relaxed);
                }
                drop(shared);
                done.complete_all();
            })?;
        }
        done.iter().for_each(|done| done.wait_for_completion());

        assert_eq!(shared.faults.load(Relaxed), 0);
        assert!(shared.count.load(Relaxed) > 200);
        // Allocating and dropping all memory makes it dirty, and merges it.
        let none = GpuBuddyAllocFlags::default();
        drop(alloc(&shared.buddy, Simple, 64 * 4 * KIB, 4 * KIB, none)?);
        assert!(Snapshot::new(&shared.buddy) == before);
        Ok(())
    }
}

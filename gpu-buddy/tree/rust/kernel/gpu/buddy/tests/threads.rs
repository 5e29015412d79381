// SPDX-License-Identifier: GPL-2.0

//! A test of threads that use one allocator at the same time.

#[macros::kunit_tests(rust_gpu_buddy_threads)]
mod suite {
    use super::super::*;
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
        /// By how many threads a chunk is held.
        holders: [Atomic<i32>; CHUNKS],
        /// How often a chunk was held by more than one thread, or a request failed for no reason.
        faults: Atomic<i32>,
        /// How many allocations there were.
        count: Atomic<i32>,
    }

    impl Shared {
        /// Adds `change`, 1 or -1, to the number of the holders of each chunk.
        fn hold(&self, blocks: &AllocatedBlocks, change: i32) -> Result {
            for block in blocks {
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
            if number % 2 == 0 && blocks.iter().count() > 1 {
                let tail = KBox::pin_init(blocks.as_mut().split_off(1), GFP_KERNEL)?;
                self.hold(&tail, -1)?;
            }
            self.hold(&blocks, -1)?;
            if number % 3 == 0 {
                blocks.as_mut().free_cleared();
            }
            Ok(())
        }

        /// Allocates and frees for a while, and always keeps some.
        fn run(&self, seed: usize) -> Result {
            let mut kept = None;
            for number in seed..seed + 200 {
                match self.allocate(number) {
                    Ok(blocks) => {
                        if let Some(old) = kept.replace(blocks) {
                            self.release(old, number)?;
                        }
                    }
                    // The other thread has too much of it at the moment.
                    Err(e) if e == ENOSPC => (),
                    Err(e) => return Err(e),
                }
                fsleep(Delta::from_micros(1 + i64::try_from(number % 7)?));
            }
            kept.map_or(Ok(()), |blocks| self.release(blocks, seed))
        }
    }

    #[test]
    fn two_threads() -> Result {
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
        shared.buddy.reset_clear(false);
        assert!(Snapshot::new(&shared.buddy) == before);
        Ok(())
    }
}

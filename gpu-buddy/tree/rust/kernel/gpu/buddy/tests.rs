// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the GPU buddy allocator.

use super::*;
use core::marker::PhantomData;

mod alloc;
mod clear;
mod faults;
mod place;
mod reserve;
mod threads;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The base offset of most tests. It is not zero, so that mixed up addresses show.
const BASE: u64 = 64 * MIB;

/// Creates an allocator of `size` bytes at [`BASE`], with chunks of 4 KiB.
fn buddy(size: u64) -> Result<GpuBuddy> {
    buddy_at(BASE, size, 4 * KIB)
}

fn buddy_at(base_offset: u64, size: u64, chunk_size: u64) -> Result<GpuBuddy> {
    GpuBuddy::new(GpuBuddyParams {
        base_offset,
        size,
        chunk_size: align(chunk_size)?,
    })
}

fn align(bytes: u64) -> Result<Alignment> {
    Alignment::new_checked(bytes.try_into()?).ok_or(EINVAL)
}

/// The largest number of orders that an allocator can have.
const ORDERS: usize = 52;

/// The state of the free memory of an allocator.
#[derive(PartialEq, Eq)]
struct Snapshot {
    avail: u64,
    clear_avail: u64,
    /// The number of blocks in the free trees, by the two kinds of trees and by order.
    blocks: [[u64; ORDERS]; 2],
}

impl Snapshot {
    fn new(buddy: &GpuBuddy) -> Self {
        let guard = buddy.0.lock();
        let mm = guard.as_raw();
        // SAFETY: The allocator is initialized, and `guard` holds its lock.
        let (avail, clear_avail, trees, max_order) = unsafe {
            (
                (*mm).avail,
                (*mm).clear_avail,
                (*mm).free_trees,
                (*mm).max_order,
            )
        };

        let mut blocks = [[0; ORDERS]; 2];
        for (kind, counts) in blocks.iter_mut().enumerate() {
            for (order, (_, count)) in (0..=max_order).zip(counts).enumerate() {
                // SAFETY: There is a tree of either kind for each order up to `max_order`.
                let mut node = unsafe { bindings::rb_first((*trees.add(kind)).add(order)) };
                while !node.is_null() {
                    *count += 1;
                    // SAFETY: The node is in a tree, which the lock protects.
                    node = unsafe { bindings::rb_next(node) };
                }
            }
        }
        Self {
            avail,
            clear_avail,
            blocks,
        }
    }

    /// Returns whether the free blocks add up to the counters.
    fn adds_up(&self, chunk_size: u64) -> bool {
        let sums = self.blocks.map(|counts| -> u64 {
            let sizes = counts.iter().enumerate();
            sizes
                .map(|(order, count)| (chunk_size << order) * count)
                .sum()
        });
        let (clear, dirty) = (self.clear_avail, self.avail - self.clear_avail);
        sums == [clear, dirty] || sums == [dirty, clear]
    }
}

/// The auto traits of `T`, at compile time.
///
/// The constants of the inherent `impl` blocks exist only for types that have the trait; for others
/// the name resolves to the constant of [`NoAutoTrait`].
struct AutoTrait<T>(PhantomData<T>);

trait NoAutoTrait {
    const SEND: bool = false;
    const SYNC: bool = false;
    const UNPIN: bool = false;
}

impl<T> NoAutoTrait for AutoTrait<T> {}

impl<T: Send> AutoTrait<T> {
    const SEND: bool = true;
}

impl<T: Sync> AutoTrait<T> {
    const SYNC: bool = true;
}

impl<T: Unpin> AutoTrait<T> {
    const UNPIN: bool = true;
}

/// Asserts which auto traits types have, and which they must not have.
macro_rules! assert_auto_traits {
    ($($type:ty: $send:literal, $sync:literal, $unpin:literal;)*) => {
        $(
            static_assert!(AutoTrait::<$type>::SEND == $send, "`Send` differs");
            static_assert!(AutoTrait::<$type>::SYNC == $sync, "`Sync` differs");
            static_assert!(AutoTrait::<$type>::UNPIN == $unpin, "`Unpin` differs");
        )*
    };
}
use assert_auto_traits;

assert_auto_traits! {
    // Type                     Send   Sync   Unpin
    GpuBuddy:                   true,  true,  true;
    GpuBuddyParams:             true,  true,  true;
    GpuBuddyInner:              true,  true,  false;
    // A type with other traits, to test the table itself.
    *mut bindings::gpu_buddy:   false, false, true;
}

#[macros::kunit_tests(rust_gpu_buddy)]
mod suite {
    use super::*;

    #[test]
    fn new_malformed_einval() -> Result {
        for (base_offset, size, chunk_size) in [
            (0, 0, 4 * KIB),
            (0, 4 * KIB - 1, 4 * KIB),
            (0, 64 * KIB, 2 * KIB),
            (4 * KIB - 1, 64 * KIB, 4 * KIB),
            (4 * KIB, 64 * KIB, 8 * KIB),
            (1 << 63, 1 << 63, 4 * KIB),
            (u64::MAX - 4 * KIB + 1, 4 * KIB, 4 * KIB),
        ] {
            let ret = buddy_at(base_offset, size, chunk_size);
            assert_eq!(ret.err(), Some(EINVAL));
        }
        Ok(())
    }

    #[test]
    fn new_rounds_size_down() -> Result {
        for (base_offset, size, chunk_size, rounded) in [
            (0, 4 * KIB, 4 * KIB, 4 * KIB),
            (4 * KIB, 8 * KIB - 1, 4 * KIB, 4 * KIB),
            (MIB, MIB + 12 * KIB, 4 * KIB, MIB + 12 * KIB),
            (MIB, MIB + 12 * KIB, 64 * KIB, MIB),
            (4 * KIB, 1 << 63, 4 * KIB, 1 << 63),
            (0, u64::MAX, 4 * KIB, !(4 * KIB - 1)),
            #[cfg(CONFIG_64BIT)]
            (0, 1 << 63, 1 << 63, 1 << 63),
        ] {
            let buddy = buddy_at(base_offset, size, chunk_size)?;
            assert_eq!(buddy.base_offset(), base_offset);
            assert_eq!(buddy.chunk_size(), align(chunk_size)?);
            assert_eq!(buddy.size(), rounded);
            assert_eq!(buddy.avail(), rounded);

            // All of it is dirty, in one block for each bit of the number of chunks.
            let state = Snapshot::new(&buddy);
            assert_eq!(state.clear_avail, 0);
            assert!(state.adds_up(chunk_size));
            let count: u64 = state.blocks.iter().flatten().sum();
            assert_eq!(count, u64::from((rounded / chunk_size).count_ones()));
        }
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the GPU buddy allocator.

use super::*;
use core::{
    marker::PhantomData,
    ops::Range, //
};

mod alloc;
mod blocks;
mod edit;
mod faults;
mod threads;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Where the range of most tests starts: not at zero, so that mixed up addresses show.
const BASE: u64 = 64 * MIB;

type Blocks = Pin<KBox<AllocatedBlocks>>;

/// Creates an allocator of `size` bytes from [`BASE`] on, with chunks of 4 KiB.
fn buddy(size: u64) -> Result<GpuBuddy> {
    GpuBuddy::new(GpuBuddyParams {
        base_offset: BASE,
        size,
        chunk_size: align(4 * KIB)?,
    })
}

fn align(bytes: u64) -> Result<Alignment> {
    Alignment::new_checked(bytes.try_into()?).ok_or(EINVAL)
}

fn alloc(
    buddy: &GpuBuddy,
    mode: GpuBuddyAllocMode,
    size: u64,
    min_block_size: u64,
    flags: impl Into<GpuBuddyAllocFlags>,
) -> Result<Blocks> {
    KBox::pin_init(
        buddy.alloc_blocks(mode, size, align(min_block_size)?, flags),
        GFP_KERNEL,
    )
}

/// Allocates `size` bytes in any place, without any wish.
fn simple(buddy: &GpuBuddy, size: u64) -> Result<Blocks> {
    let flags = GpuBuddyAllocFlags::default();
    alloc(buddy, GpuBuddyAllocMode::Simple, size, 4 * KIB, flags)
}

/// Allocates the range at these offsets from [`BASE`].
fn reserve(buddy: &GpuBuddy, offsets: Range<u64>) -> Result<Blocks> {
    KBox::pin_init(buddy.reserve(offsets), GFP_KERNEL)
}

/// Makes every other of the 4 KiB chunks of `offsets` free and clear, the rest free and dirty.
fn mottle(buddy: &GpuBuddy, offsets: Range<u64>) -> Result {
    for offset in offsets.step_by(8 << 10) {
        let mut clear = reserve(buddy, offset..offset + 4 * KIB)?;
        let dirty = reserve(buddy, offset + 4 * KIB..offset + 8 * KIB)?;
        clear.as_mut().free_cleared();
        drop(dirty);
    }
    Ok(())
}

/// All that can be seen of the free memory of an allocator.
#[derive(PartialEq, Eq)]
struct Snapshot {
    avail: u64,
    clear_avail: u64,
    orders: [GpuBuddyOrderStats; 52],
}

impl Snapshot {
    fn new(buddy: &GpuBuddy) -> Self {
        let mut order = 0..;
        Self {
            avail: buddy.avail(),
            clear_avail: buddy.clear_avail(),
            orders: [(); 52].map(|()| buddy.order_stats(order.next().unwrap_or(0))),
        }
    }

    /// Returns whether the free blocks of all orders add up to the counters.
    fn adds_up(&self, chunk_size: u64) -> bool {
        let mut clear = 0;
        let mut dirty = 0;
        for (order, stats) in self.orders.iter().enumerate() {
            clear += (chunk_size << order) * stats.clear_blocks;
            dirty += (chunk_size << order) * stats.dirty_blocks;
        }
        clear == self.clear_avail && clear + dirty == self.avail
    }
}

/// Tells at compile time which auto traits `T` has.
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

// Only the lock makes the C structure shareable, and the head of the list keeps an allocation in
// its place.
assert_auto_traits! {
    // Type                         Send   Sync   Unpin
    GpuBuddy:                       true,  true,  true;
    GpuBuddyParams:                 true,  true,  true;
    GpuBuddyAllocMode:              true,  true,  true;
    GpuBuddyAllocFlag:              true,  true,  true;
    GpuBuddyAllocFlags:             true,  true,  true;
    GpuBuddyOrderStats:             true,  true,  true;
    AllocatedBlocks:                true,  true,  false;
    AllocatedBlocksIter<'static>:   true,  true,  true;
    AllocatedBlock<'static>:        true,  true,  true;
    Allocator:                      true,  true,  false;
    Mm:                             true,  false, false;
    // A type with other traits, to test the table itself.
    *mut bindings::gpu_buddy:       false, false, true;
}

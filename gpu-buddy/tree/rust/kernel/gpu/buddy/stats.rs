// SPDX-License-Identifier: GPL-2.0

//! Statistics of the free memory of a [`GpuBuddy`].

use super::GpuBuddy;
use crate::bindings;

/// The free blocks of one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuBuddyOrderStats {
    /// The number of free blocks that are known to be cleared.
    pub clear_blocks: u64,
    /// The number of all other free blocks.
    pub dirty_blocks: u64,
}

impl GpuBuddy {
    /// Returns the number of bytes that are free and known to be cleared.
    ///
    /// May sleep. Other threads may change the value before the caller looks at it.
    ///
    /// # Examples
    ///
    /// See [`Self::reset_clear`].
    #[inline]
    pub fn clear_avail(&self) -> u64 {
        let mm = self.0.lock();
        // SAFETY: The allocator is initialized and locked by the type invariants of `Mm`.
        unsafe { (*mm.as_raw()).clear_avail }
    }

    /// Returns the order of the largest possible block.
    ///
    /// A block of an order has 2^order chunks.
    #[inline]
    pub fn max_order(&self) -> u32 {
        self.size().ilog2() - self.chunk_size().log2()
    }

    /// Counts the free blocks of an order, which are none beyond [`Self::max_order`].
    ///
    /// May sleep. Holds the lock for a time proportional to the number of these blocks, so it is
    /// meant for debugging.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
    /// let buddy = GpuBuddy::new(GpuBuddyParams {
    ///     base_offset: 0,
    ///     size: 7 << 20,
    ///     chunk_size: Alignment::new::<SZ_1M>(),
    /// })?;
    /// // 7 MiB are 4 MiB, 2 MiB and 1 MiB.
    /// assert_eq!(buddy.max_order(), 2);
    /// for order in 0..=buddy.max_order() {
    ///     assert_eq!(buddy.order_stats(order).dirty_blocks, 1);
    ///     assert_eq!(buddy.order_stats(order).clear_blocks, 0);
    /// }
    /// assert_eq!(buddy.order_stats(3), GpuBuddyOrderStats::default());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn order_stats(&self, order: u32) -> GpuBuddyOrderStats {
        let mut stats = bindings::gpu_buddy_order_stats::default();
        let mm = self.0.lock();
        // SAFETY: The allocator is initialized and locked by the type invariants of `Mm`, and
        // `stats` is valid for writes.
        unsafe { bindings::gpu_buddy_get_order_stats(mm.as_raw(), order, &mut stats) };
        GpuBuddyOrderStats {
            clear_blocks: stats.clear_blocks,
            dirty_blocks: stats.dirty_blocks,
        }
    }

    /// Marks all free memory as cleared or dirty.
    ///
    /// This is for a driver that has cleared all free memory, or whose memory has lost its content,
    /// for example in a reset. Allocated blocks stay as they are.
    ///
    /// May sleep. Holds the lock for a time proportional to the number of free blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
    /// # let align = Alignment::new::<SZ_4K>();
    /// # let buddy = GpuBuddy::new(GpuBuddyParams {
    /// #     base_offset: 0,
    /// #     size: 16 << 20,
    /// #     chunk_size: align,
    /// # })?;
    /// assert_eq!(buddy.clear_avail(), 0);
    /// buddy.reset_clear(true);
    /// assert_eq!(buddy.clear_avail(), buddy.size());
    ///
    /// let flags = GpuBuddyAllocFlag::Clear;
    /// let init = buddy.alloc_blocks(GpuBuddyAllocMode::Simple, 1 << 20, align, flags);
    /// let blocks = KBox::pin_init(init, GFP_KERNEL)?;
    /// assert!(blocks.iter().all(|block| block.is_clear()));
    ///
    /// // Memory that was in use may have been written to.
    /// drop(blocks);
    /// assert_eq!(buddy.clear_avail(), 15 << 20);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn reset_clear(&self, is_clear: bool) {
        let mm = self.0.lock();
        // SAFETY: The allocator is initialized and locked by the type invariants of `Mm`.
        unsafe { bindings::gpu_buddy_reset_clear(mm.as_raw(), is_clear) };
    }
}

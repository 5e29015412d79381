// SPDX-License-Identifier: GPL-2.0

//! Access to the blocks of an [`AllocatedBlocks`].

use super::{
    align_to_u64,
    blocks::Block,
    AllocatedBlocks,
    GpuBuddyInner, //
};
use crate::bindings;

impl AllocatedBlocks {
    /// Returns an iterator over the blocks, in the order of the list.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
    /// const MIB: u64 = 1 << 20;
    /// let buddy = GpuBuddy::new(GpuBuddyParams {
    ///     base_offset: 0,
    ///     size: 16 * MIB,
    ///     chunk_size: Alignment::new::<SZ_4K>(),
    /// })?;
    /// let alloc = |size| {
    ///     let mode = GpuBuddyAllocMode::Simple;
    ///     let align = Alignment::new::<SZ_1M>();
    ///     let flags = GpuBuddyAllocFlags::default();
    ///     KBox::pin_init(buddy.alloc_blocks(mode, size, align, flags), GFP_KERNEL)
    /// };
    ///
    /// // 7 MiB are 4 MiB, 2 MiB and 1 MiB, each aligned to its size.
    /// let blocks = alloc(7 * MIB)?;
    /// assert_eq!(blocks.iter().count(), 3);
    /// for block in blocks.iter() {
    ///     assert_eq!(block.offset() & (block.size() - 1), 0);
    ///     assert_eq!(block.size(), 4096 << block.order());
    ///     assert!(!block.is_clear());
    /// }
    ///
    /// // They end at 16 MiB, although the first in the list is not the lowest.
    /// let lowest = blocks.iter().map(|block| block.offset()).min();
    /// assert_eq!(lowest, Some(9 * MIB));
    /// assert!(blocks.iter().next().map(|block| block.offset()) > lowest);
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = AllocatedBlock<'_>> {
        let buddy = &*self.buddy;
        self.list
            .iter()
            .map(move |block| AllocatedBlock { block, buddy })
    }
}

/// A block of an [`AllocatedBlocks`].
///
/// A block does not change while it is borrowed, so its methods take no lock.
#[derive(Clone, Copy)]
pub struct AllocatedBlock<'a> {
    block: &'a Block,
    buddy: &'a GpuBuddyInner,
}

impl AllocatedBlock<'_> {
    /// Returns the absolute address at which the block starts.
    ///
    /// It is a multiple of [`Self::size`], if [`GpuBuddy::base_offset`] is.
    ///
    /// [`GpuBuddy::base_offset`]: super::GpuBuddy::base_offset
    #[inline]
    pub fn offset(&self) -> u64 {
        // SAFETY: The block is initialized by its type invariants.
        let offset = unsafe { bindings::gpu_buddy_block_offset(self.block.0.get()) };
        // This does not overflow, because no block ends after the managed range.
        self.buddy.base_offset + offset
    }

    /// Returns the order of the block: it has 2^order chunks.
    #[inline]
    pub fn order(&self) -> u32 {
        // SAFETY: The block is initialized by its type invariants.
        unsafe { bindings::gpu_buddy_block_order(self.block.0.get()) }
    }

    /// Returns the size of the block in bytes.
    #[inline]
    pub fn size(&self) -> u64 {
        align_to_u64(self.buddy.chunk_size) << self.order()
    }

    /// Returns whether the memory was known to be cleared when it was allocated.
    ///
    /// The allocator does not track writes, so this does not change afterwards.
    #[inline]
    pub fn is_clear(&self) -> bool {
        // SAFETY: The block is initialized by its type invariants.
        unsafe { bindings::gpu_buddy_block_is_clear(self.block.0.get()) }
    }
}

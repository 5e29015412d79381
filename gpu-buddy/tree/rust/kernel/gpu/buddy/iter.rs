// SPDX-License-Identifier: GPL-2.0

//! Looking at the blocks of an [`AllocatedBlocks`].

use super::{
    align_to_u64,
    blocks::{
        Block,
        OFFSET, //
    },
    AllocatedBlocks,
    Allocator, //
};
use crate::{
    bindings,
    interop::list::CListIter, //
};
use core::{
    iter::FusedIterator,
    ops::Range, //
};

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
    /// assert_eq!(blocks.total_size(), 7 * MIB);
    /// for block in &*blocks {
    ///     assert_eq!(block.offset() & (block.size() - 1), 0);
    ///     assert_eq!(block.size(), 4096 << block.order());
    ///     assert!(!block.is_clear());
    /// }
    ///
    /// // They are contiguous, although the first in the list is not the lowest.
    /// assert_eq!(blocks.contiguous_range(), Some(9 * MIB..16 * MIB));
    /// let first = blocks.iter().next().ok_or(EINVAL)?;
    /// let last = blocks.iter().next_back().ok_or(EINVAL)?;
    /// assert!(first.offset() > last.offset());
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn iter(&self) -> AllocatedBlocksIter<'_> {
        AllocatedBlocksIter {
            blocks: self.list.iter(),
            buddy: &self.buddy,
        }
    }

    /// Returns the sum of the sizes of the blocks.
    ///
    /// Takes time proportional to the number of blocks.
    pub fn total_size(&self) -> u64 {
        self.iter().map(|block| block.size()).sum()
    }

    /// Returns the absolute addresses of the blocks if they are contiguous, in whatever order;
    /// [`None`] if there are gaps, or no blocks.
    ///
    /// Takes time proportional to the number of blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
    /// # const MIB: u64 = 1 << 20;
    /// # let align = Alignment::new::<SZ_4K>();
    /// # let buddy = GpuBuddy::new(GpuBuddyParams {
    /// #     base_offset: 64 * MIB,
    /// #     size: 16 * MIB,
    /// #     chunk_size: align,
    /// # })?;
    /// let alloc = |mode, size| {
    ///     let flags = GpuBuddyAllocFlag::Contiguous;
    ///     KBox::pin_init(buddy.alloc_blocks(mode, size, align, flags), GFP_KERNEL)
    /// };
    /// let top = alloc(GpuBuddyAllocMode::TopDown, 3 * MIB)?;
    /// assert_eq!(top.contiguous_range(), Some(76 * MIB..79 * MIB));
    ///
    /// let range = 2 * MIB..16 * MIB;
    /// let low = alloc(GpuBuddyAllocMode::Range(range), 2 * MIB)?;
    /// assert_eq!(low.contiguous_range(), Some(66 * MIB..68 * MIB));
    ///
    /// // The smallest sufficient block is the rest of the four MiB at the top.
    /// let small = alloc(GpuBuddyAllocMode::Simple, MIB)?;
    /// assert_eq!(small.contiguous_range(), Some(79 * MIB..80 * MIB));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn contiguous_range(&self) -> Option<Range<u64>> {
        let start = self.iter().map(|block| block.offset()).min()?;
        let end = self.iter().map(|block| block.range().end).max()?;
        // Blocks do not overlap, so they have no gaps if their sizes add up to the range.
        (end - start == self.total_size()).then_some(start..end)
    }
}

impl<'a> IntoIterator for &'a AllocatedBlocks {
    type Item = AllocatedBlock<'a>;
    type IntoIter = AllocatedBlocksIter<'a>;

    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// An iterator over the blocks of an [`AllocatedBlocks`], from either end.
#[derive(Clone)]
pub struct AllocatedBlocksIter<'a> {
    blocks: CListIter<'a, Block, OFFSET>,
    buddy: &'a Allocator,
}

impl<'a> Iterator for AllocatedBlocksIter<'a> {
    type Item = AllocatedBlock<'a>;

    #[inline]
    fn next(&mut self) -> Option<AllocatedBlock<'a>> {
        let buddy = self.buddy;
        self.blocks
            .next()
            .map(|block| AllocatedBlock { block, buddy })
    }
}

impl<'a> DoubleEndedIterator for AllocatedBlocksIter<'a> {
    #[inline]
    fn next_back(&mut self) -> Option<AllocatedBlock<'a>> {
        let buddy = self.buddy;
        self.blocks
            .next_back()
            .map(|block| AllocatedBlock { block, buddy })
    }
}

impl FusedIterator for AllocatedBlocksIter<'_> {}

/// A block of an [`AllocatedBlocks`].
///
/// A block does not change while it is borrowed, so its methods take no lock.
#[derive(Clone, Copy)]
pub struct AllocatedBlock<'a> {
    block: &'a Block,
    buddy: &'a Allocator,
}

impl AllocatedBlock<'_> {
    /// Returns the absolute address at which the block starts.
    ///
    /// It is a multiple of [`Self::size`], if [`GpuBuddy::base_offset`] is.
    ///
    /// [`GpuBuddy::base_offset`]: super::GpuBuddy::base_offset
    #[inline]
    pub fn offset(&self) -> u64 {
        // This does not overflow, because no block ends after the managed range.
        self.buddy.base_offset + self.block.offset()
    }

    /// Returns the order of the block: it has 2^order chunks.
    #[inline]
    pub fn order(&self) -> u32 {
        self.block.order()
    }

    /// Returns the size of the block in bytes.
    #[inline]
    pub fn size(&self) -> u64 {
        self.block.size(self.buddy)
    }

    /// Returns whether the memory was known to be cleared when it was allocated.
    ///
    /// The allocator does not track writes, so this does not change afterwards.
    #[inline]
    pub fn is_clear(&self) -> bool {
        self.block.is_clear()
    }

    /// Returns the absolute addresses of the block.
    #[inline]
    pub(super) fn range(&self) -> Range<u64> {
        let start = self.offset();
        start..start + self.size()
    }
}

impl Block {
    #[inline]
    pub(super) fn order(&self) -> u32 {
        // SAFETY: `self` is initialized by the type invariants.
        unsafe { bindings::gpu_buddy_block_order(self.0.get()) }
    }

    /// Returns the size of this block of `buddy`.
    #[inline]
    pub(super) fn size(&self, buddy: &Allocator) -> u64 {
        align_to_u64(buddy.chunk_size) << self.order()
    }

    /// Returns the offset of the block in the managed range.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        // SAFETY: `self` is initialized by the type invariants.
        unsafe { bindings::gpu_buddy_block_offset(self.0.get()) }
    }

    #[inline]
    pub(super) fn is_clear(&self) -> bool {
        // SAFETY: `self` is initialized by the type invariants.
        unsafe { bindings::gpu_buddy_block_is_clear(self.0.get()) }
    }
}

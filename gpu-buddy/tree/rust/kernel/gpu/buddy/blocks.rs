// SPDX-License-Identifier: GPL-2.0

//! Blocks that a [`GpuBuddy`](super::GpuBuddy) has handed out.

use super::{
    align_to_u64,
    Allocator,
    Mm, //
};
use crate::{
    bindings,
    clist_offset,
    interop::list::{
        CListIter,
        CListOwned, //
    },
    prelude::*,
    sync::Arc,
    types::Opaque, //
};
use core::{
    iter::FusedIterator,
    ops::Range, //
};

/// Memory that is allocated from a [`GpuBuddy`](super::GpuBuddy): a list of blocks, in no
/// particular order.
///
/// To drop it is to give all of it back as dirty memory, which may sleep: see the
/// [module](super#context).
///
/// # Invariants
///
/// Each block of `list` was allocated from `buddy`, and belongs to this object.
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
///     assert_eq!(block.offset() % block.size(), 0);
///     assert_eq!(block.size(), 4096 << block.order());
///     assert!(!block.is_clear());
/// }
///
/// // They lie next to each other, although the first in the list is not the lowest.
/// assert_eq!(blocks.contiguous_range(), Some(9 * MIB..16 * MIB));
/// let first = blocks.iter().next().ok_or(EINVAL)?;
/// let last = blocks.iter().next_back().ok_or(EINVAL)?;
/// assert!(first.offset() > last.offset());
/// # Ok::<(), Error>(())
/// ```
#[pin_data(PinnedDrop)]
pub struct AllocatedBlocks {
    #[pin]
    pub(super) list: BlockList,
    pub(super) buddy: Arc<Allocator>,
}

impl AllocatedBlocks {
    /// Creates an initialiser for an object without blocks.
    pub(super) fn empty(buddy: Arc<Allocator>) -> impl PinInit<Self, Error> {
        // INVARIANT: There are no blocks.
        try_pin_init!(Self {
            list <- BlockList::new(),
            buddy,
        })
    }

    /// Returns whether there are no blocks.
    ///
    /// Context: any.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns an iterator over the blocks, in the order of the list.
    ///
    /// Context: any.
    #[inline]
    pub fn iter(&self) -> AllocatedBlocksIter<'_> {
        AllocatedBlocksIter {
            blocks: self.list.iter(),
            buddy: &self.buddy,
        }
    }

    /// Returns the sum of the sizes of the blocks.
    ///
    /// Context: any. Takes time proportional to the number of blocks.
    pub fn total_size(&self) -> u64 {
        self.iter().map(|block| block.size()).sum()
    }

    /// Returns the range of addresses that the blocks cover, if it is one, whatever the order of
    /// the blocks is; [`None`] if there are gaps, or no blocks.
    ///
    /// Context: any. Takes time proportional to the number of blocks.
    pub fn contiguous_range(&self) -> Option<Range<u64>> {
        let start = self.iter().map(|block| block.offset()).min()?;
        let end = self.iter().map(|block| block.range().end).max()?;
        // Blocks do not overlap, so it is one range if it is no larger than they are.
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

#[pinned_drop]
impl PinnedDrop for AllocatedBlocks {
    fn drop(self: Pin<&mut Self>) {
        if !self.is_empty() {
            let this = self.project();
            free(&this.buddy.lock(), this.list, 0);
        }
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
/// Nothing of it changes while it is borrowed, so its methods take no lock and can be called in any
/// context.
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
        // This does not overflow, for no block ends after the managed range.
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

/// A `struct gpu_buddy_block` of C that is allocated.
///
/// While it is allocated, C changes neither its offset and its order, nor whether it is clear,
/// unless the owner of the block asks for it.
#[repr(transparent)]
pub(super) struct Block(Opaque<bindings::gpu_buddy_block>);

/// Where a block has the link for its owner: in a union without a name, of a struct without one.
pub(super) const OFFSET: usize =
    clist_offset!(Block, bindings::gpu_buddy_block, __bindgen_anon_1.link);

/// A list of blocks.
pub(super) type BlockList = CListOwned<Block, OFFSET>;

impl Block {
    /// Returns the offset of the block in the managed range.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        // SAFETY: `self` is a valid block.
        unsafe { bindings::gpu_buddy_block_offset(self.0.get()) }
    }

    #[inline]
    fn order(&self) -> u32 {
        // SAFETY: `self` is a valid block.
        unsafe { bindings::gpu_buddy_block_order(self.0.get()) }
    }

    /// Returns the size of this block of `buddy`.
    #[inline]
    pub(super) fn size(&self, buddy: &Allocator) -> u64 {
        align_to_u64(buddy.chunk_size) << self.order()
    }

    #[inline]
    pub(super) fn is_clear(&self) -> bool {
        // SAFETY: `self` is a valid block.
        unsafe { bindings::gpu_buddy_block_is_clear(self.0.get()) }
    }
}

// SAFETY: A block is not bound to the thread that allocated it.
unsafe impl Send for Block {}

// SAFETY: With a shared reference it can only be read, and only what nobody writes meanwhile.
unsafe impl Sync for Block {}

/// Gives all blocks of `list`, which are of `mm`, back.
///
/// They count as dirty, unless `flags` has `GPU_BUDDY_CLEARED`.
pub(super) fn free(mm: &Mm, list: Pin<&mut BlockList>, flags: u32) {
    // SAFETY: `mm` is initialised and locked. The blocks are allocated, belong to the list, and are
    // not used after the call.
    unsafe { bindings::gpu_buddy_free_list(mm.as_raw(), list.as_raw(), flags) };
}

/// Makes all blocks of `list`, which are of `mm`, count as clear, or as dirty.
pub(super) fn set_clear(_mm: &Mm, list: Pin<&mut BlockList>, is_clear: bool) {
    for block in list.iter() {
        let block = block.0.get();
        // SAFETY: The block is valid. Nobody else has access to it: neither through the list, which
        // is borrowed mutably, nor C, as `mm` is locked.
        let header = unsafe { &mut (*block).header };
        if is_clear {
            *header |= bindings::GPU_BUDDY_HEADER_CLEAR;
        } else {
            *header &= !bindings::GPU_BUDDY_HEADER_CLEAR;
        }
    }
}

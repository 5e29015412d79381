// SPDX-License-Identifier: GPL-2.0

//! Allocation from a [`GpuBuddy`].

use super::{
    align_to_u64,
    AllocatedBlocks,
    GpuBuddy,
    GpuBuddyAllocFlag,
    GpuBuddyAllocFlags,
    GpuBuddyAllocMode,
    GpuBuddyInner, //
};
use crate::{
    bindings,
    error::to_result,
    prelude::*,
    ptr::{
        Alignable,
        Alignment, //
    }, //
};
use core::ops::Range;

impl GpuBuddy {
    /// Allocates `size` bytes in blocks of at least `min_block_size`.
    ///
    /// Each block is aligned to its own size in the managed range, hence to `min_block_size`. If
    /// `size` is not a multiple of `min_block_size`, the last block is trimmed and leaves smaller
    /// blocks, unless [`GpuBuddyAllocFlag::TrimDisable`] is set.
    ///
    /// With [`GpuBuddyAllocFlag::Contiguous`] the start of the allocation is aligned to
    /// `min_block_size`, and the blocks that it consists of may be smaller.
    ///
    /// Cleared and dirty memory is merged only if the request cannot be met otherwise. The merged
    /// blocks are dirty.
    ///
    /// The initializer allocates and reports errors. It may sleep, see the
    /// [module](super#context).
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the request is malformed:
    ///   - `size` is zero or not a multiple of the chunk size;
    ///   - `min_block_size` is less than the chunk size, or [`GpuBuddy::base_offset`] is not a
    ///     multiple of it, so that addresses would not be aligned;
    ///   - the range is empty, inverted, not aligned to the chunk size, or not within the managed
    ///     range.
    /// - [`E2BIG`] if the request can never be met: not even with all memory free would it fit into
    ///   the range, or into the managed range if the mode has none. It needs `size` bytes, rounded
    ///   up to `min_block_size` unless [`GpuBuddyAllocFlag::Contiguous`] is set, starting at a
    ///   multiple of `min_block_size`.
    /// - [`ENOSPC`] if no free memory satisfies the request. It may succeed after other memory has
    ///   been freed.
    /// - [`ENOMEM`] if memory for the allocator's data cannot be allocated.
    ///
    /// On failure nothing is allocated, and cleared memory stays known as cleared.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
    /// const MIB: u64 = 1 << 20;
    /// let buddy = GpuBuddy::new(GpuBuddyParams {
    ///     base_offset: 64 * MIB,
    ///     size: 16 * MIB,
    ///     chunk_size: Alignment::new::<SZ_4K>(),
    /// })?;
    /// let alloc = |mode, size, align, flags| {
    ///     KBox::pin_init(buddy.alloc_blocks(mode, size, align, flags), GFP_KERNEL)
    /// };
    /// let align = Alignment::new::<SZ_1M>();
    /// let flags = GpuBuddyAllocFlags::from(GpuBuddyAllocFlag::Contiguous);
    /// let range = GpuBuddyAllocMode::Range(0..8 * MIB);
    ///
    /// // The range is relative to the managed range.
    /// let blocks = alloc(range.clone(), 6 * MIB, align, flags)?;
    /// assert_eq!(buddy.avail(), 10 * MIB);
    ///
    /// // Enough memory is free, but not in that range.
    /// assert_eq!(alloc(range.clone(), 4 * MIB, align, flags).err(), Some(ENOSPC));
    ///
    /// // The range is too small.
    /// assert_eq!(alloc(range, 9 * MIB, align, flags).err(), Some(E2BIG));
    /// drop(blocks);
    ///
    /// // Addresses in the managed range, which starts at 64 MiB, are not aligned to 128 MiB.
    /// let align = Alignment::new::<SZ_128M>();
    /// assert_eq!(alloc(GpuBuddyAllocMode::Simple, MIB, align, flags).err(), Some(EINVAL));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn alloc_blocks(
        &self,
        mode: GpuBuddyAllocMode,
        size: u64,
        min_block_size: Alignment,
        flags: impl Into<GpuBuddyAllocFlags>,
    ) -> impl PinInit<AllocatedBlocks, Error> {
        let request = Request::new(&self.0, mode, size, min_block_size, flags.into());
        AllocatedBlocks::empty(self.0.clone()).pin_chain(move |blocks| request?.fill(blocks))
    }
}

/// A valid request, with the arguments of `gpu_buddy_alloc_blocks()`.
struct Request {
    range: Range<u64>,
    size: u64,
    min_block_size: u64,
    flags: usize,
}

impl Request {
    #[inline]
    fn new(
        buddy: &GpuBuddyInner,
        mode: GpuBuddyAllocMode,
        size: u64,
        min_block_size: Alignment,
        flags: GpuBuddyAllocFlags,
    ) -> Result<Self> {
        let (range, mode) = match mode {
            GpuBuddyAllocMode::Simple => (0..buddy.size, 0),
            GpuBuddyAllocMode::Range(range) => (range, bindings::GPU_BUDDY_RANGE_ALLOCATION),
            GpuBuddyAllocMode::TopDown => (0..buddy.size, bindings::GPU_BUDDY_TOPDOWN_ALLOCATION),
        };
        let min = align_to_u64(min_block_size);
        buddy.check_range(&range)?;
        if size == 0
            || size.align_down(buddy.chunk_size) != size
            || min_block_size < buddy.chunk_size
            || buddy.base_offset & (min - 1) != 0
        {
            return Err(EINVAL);
        }

        // Contiguous memory is aligned at its start only; other memory consists of whole blocks.
        let room = if flags.contains(GpuBuddyAllocFlag::Contiguous) {
            Some(size)
        } else {
            size.align_up(min_block_size)
        };
        if !room.is_some_and(|room| fits(&range, room, min)) {
            return Err(E2BIG);
        }

        Ok(Self {
            range,
            size,
            min_block_size: min,
            flags: mode | usize::from(flags),
        })
    }

    /// Allocates the blocks of the request and adds them to `blocks`, whose allocator must be the
    /// `buddy` of [`Self::new`]. On failure no blocks are added.
    fn fill(self, blocks: Pin<&mut AllocatedBlocks>) -> Result {
        let this = blocks.project();
        let mm = this.buddy.lock();
        // INVARIANT: C adds blocks that are allocated from this allocator.
        // SAFETY: `mm` is initialized and locked. C adds allocated blocks to the list, which no
        // other allocation owns.
        to_result(unsafe {
            bindings::gpu_buddy_alloc_blocks(
                mm.as_raw(),
                self.range.start,
                self.range.end,
                self.size,
                self.min_block_size,
                this.list.as_raw(),
                self.flags,
            )
        })
    }
}

/// Returns whether `size` bytes that start at a multiple of `align`, a power of two, fit into
/// `range`.
#[inline]
fn fits(range: &Range<u64>, size: u64, align: u64) -> bool {
    let start = range
        .start
        .checked_add(align - 1)
        .map(|end| end & !(align - 1));
    start
        .and_then(|start| start.checked_add(size))
        .is_some_and(|end| end <= range.end)
}

impl GpuBuddyInner {
    /// Checks that `range`, which is relative to the managed range, is a part of it, not empty, and
    /// aligned to the chunk size; otherwise returns [`EINVAL`].
    pub(super) fn check_range(&self, range: &Range<u64>) -> Result {
        let aligned = |offset: u64| offset.align_down(self.chunk_size) == offset;
        if range.is_empty() || range.end > self.size || !aligned(range.start) || !aligned(range.end)
        {
            return Err(EINVAL);
        }
        Ok(())
    }
}

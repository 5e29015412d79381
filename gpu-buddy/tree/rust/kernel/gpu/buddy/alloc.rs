// SPDX-License-Identifier: GPL-2.0

//! Requests to a [`GpuBuddy`], and how they are put to C.

use super::{
    align_to_u64,
    blocks::{
        self,
        Block,
        BlockList, //
    },
    AllocatedBlocks,
    Allocator,
    GpuBuddy,
    GpuBuddyAllocFlag,
    GpuBuddyAllocFlags,
    GpuBuddyAllocMode,
    Mm, //
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
    /// that does not divide `size`, then what a block has too much is cut off again, so that blocks
    /// at the end can be smaller, unless there is [`GpuBuddyAllocFlag::TrimDisable`].
    ///
    /// With [`GpuBuddyAllocFlag::Contiguous`] it is the start of the address range that is aligned
    /// to `min_block_size`, while the blocks in it may be smaller. In a
    /// [`GpuBuddyAllocMode::Range`] that the request does not fill, the allocator looks for one
    /// block: `size` rounded up to a power of two, or `min_block_size` if that is more, and aligned
    /// to that. So it may fail although there are smaller blocks next to each other.
    ///
    /// Cleared and dirty memory is merged if nothing else helps, also by a request that then fails;
    /// the result is dirty.
    ///
    /// Context: may sleep, see the [module](super). The allocation is made, and errors occur, when
    /// the initialiser runs.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the request can never be met:
    ///   - `size` is zero or no multiple of the chunk size;
    ///   - `min_block_size` is less than the chunk size, or [`GpuBuddy::base_offset`] is no
    ///     multiple of it, so that no address would be aligned;
    ///   - the range is empty, inverted, not aligned to the chunk size, or not inside of the
    ///     managed range;
    ///   - what is looked for would not even fit into the range if all of it were free, given its
    ///     alignment: `size` rounded up to `min_block_size`, just `size` if it has to be
    ///     contiguous, or the single block that this takes in a range.
    /// - [`ENOSPC`] if there is not enough free memory, or none that is as was asked for.
    /// - [`ENOMEM`] if there is no memory for the allocator's own data.
    ///
    /// If it fails, nothing is allocated.
    ///
    /// # Examples
    ///
    /// A range of addresses, and what is wrong with others:
    ///
    /// ```
    /// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
    /// # let align = Alignment::new::<SZ_4K>();
    /// const MIB: u64 = 1 << 20;
    /// let buddy = GpuBuddy::new(GpuBuddyParams {
    ///     base_offset: 64 * MIB,
    ///     size: 16 * MIB,
    ///     chunk_size: align,
    /// })?;
    /// let alloc = |range, size| {
    ///     let mode = GpuBuddyAllocMode::Range(range);
    ///     let flags = GpuBuddyAllocFlags::default();
    ///     KBox::pin_init(buddy.alloc_blocks(mode, size, align, flags), GFP_KERNEL)
    /// };
    /// let range = 64 * MIB..72 * MIB;
    /// let blocks = alloc(range.clone(), 6 * MIB)?;
    /// assert_eq!(buddy.avail(), 10 * MIB);
    ///
    /// // There is enough free memory, but not in that range.
    /// assert_eq!(alloc(range.clone(), 4 * MIB).err(), Some(ENOSPC));
    ///
    /// // It is not that large.
    /// assert_eq!(alloc(range, 9 * MIB).err(), Some(EINVAL));
    ///
    /// // The range is empty, ends before it starts, or is not of this allocator.
    /// for (start, end) in [(65, 65), (66, 65), (0, 1), (79, 81)] {
    ///     assert_eq!(alloc(start * MIB..end * MIB, MIB).err(), Some(EINVAL));
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// Alignment, flags, and too large requests:
    ///
    /// ```
    /// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
    /// # const MIB: u64 = 1 << 20;
    /// # let buddy = GpuBuddy::new(GpuBuddyParams {
    /// #     base_offset: 64 * MIB,
    /// #     size: 16 * MIB,
    /// #     chunk_size: Alignment::new::<SZ_4K>(),
    /// # })?;
    /// let alloc = |size, align, flags| {
    ///     let mode = GpuBuddyAllocMode::TopDown;
    ///     KBox::pin_init(buddy.alloc_blocks(mode, size, align, flags), GFP_KERNEL)
    /// };
    /// let align = Alignment::new::<SZ_1M>();
    /// let flags = GpuBuddyAllocFlags::from(GpuBuddyAllocFlag::Contiguous);
    /// let blocks = alloc(3 * MIB, align, flags)?;
    /// assert_eq!(buddy.avail(), 13 * MIB);
    /// drop(blocks);
    ///
    /// // Keeps what 3 MiB are rounded up to.
    /// let blocks = alloc(3 * MIB, align, flags | GpuBuddyAllocFlag::TrimDisable)?;
    /// assert_eq!(buddy.avail(), 12 * MIB);
    ///
    /// // More than there is now, and more than there ever will be.
    /// assert_eq!(alloc(16 * MIB, align, flags).err(), Some(ENOSPC));
    /// assert_eq!(alloc(17 * MIB, align, flags).err(), Some(EINVAL));
    ///
    /// // Not whole chunks, and smaller blocks than a chunk.
    /// assert_eq!(alloc(MIB + 1, align, flags).err(), Some(EINVAL));
    /// let align = Alignment::new::<SZ_2K>();
    /// assert_eq!(alloc(MIB, align, flags).err(), Some(EINVAL));
    /// assert_eq!(alloc(16 * MIB, align, flags).err(), Some(EINVAL));
    ///
    /// // 64 MiB, where the managed range starts, are no multiple of 128 MiB.
    /// let align = Alignment::new::<SZ_128M>();
    /// assert_eq!(alloc(MIB, align, flags).err(), Some(EINVAL));
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

/// A request as C gets it, with addresses relative to the managed range.
struct Request {
    range: Range<u64>,
    size: u64,
    min_block_size: u64,
    flags: usize,
}

impl Request {
    #[inline]
    fn new(
        buddy: &Allocator,
        mode: GpuBuddyAllocMode,
        size: u64,
        min_block_size: Alignment,
        flags: GpuBuddyAllocFlags,
    ) -> Result<Self> {
        let (range, mode) = match mode {
            GpuBuddyAllocMode::Simple => (0..buddy.size, 0),
            GpuBuddyAllocMode::Range(range) => {
                (buddy.relative(range)?, bindings::GPU_BUDDY_RANGE_ALLOCATION)
            }
            GpuBuddyAllocMode::TopDown => (0..buddy.size, bindings::GPU_BUDDY_TOPDOWN_ALLOCATION),
        };
        let contiguous = flags.contains(GpuBuddyAllocFlag::Contiguous);
        let exact = size == range.end - range.start;
        let mut min = align_to_u64(min_block_size);

        // What has to fit into the range: that much, aligned to that.
        let (room, align) = if !contiguous {
            (size.align_up(min_block_size).ok_or(EINVAL)?, min)
        } else if exact || mode != bindings::GPU_BUDDY_RANGE_ALLOCATION {
            (size, min)
        } else {
            // Here C looks for one block.
            let block = size.checked_next_power_of_two().ok_or(EINVAL)?.max(min);
            (block, block)
        };
        if min_block_size < buddy.chunk_size
            || buddy.base_offset & (min - 1) != 0
            || !fits(&range, room, align)
        {
            return Err(EINVAL);
        }

        if exact && contiguous {
            // C takes what fills the range as it is, if both of its ends are aligned. But for
            // contiguous memory the end does not have to be. The start is, or it would not fit.
            min = align_to_u64(buddy.chunk_size);
        }
        Ok(Self {
            range,
            size,
            min_block_size: min,
            flags: mode | flags.as_raw(),
        })
    }

    /// Has C fill `blocks`, which is empty and of the allocator of the request.
    fn fill(self, blocks: Pin<&mut AllocatedBlocks>) -> Result {
        let this = blocks.project();
        let mm = this.buddy.lock();
        let mut list = this.list;
        // INVARIANT: What C adds to the list, here or below, was allocated from this allocator.
        self.alloc(&mm, list.as_mut())?;
        let too_small = |block: &Block| block.size(this.buddy) < self.min_block_size;
        // C takes a range that is filled as it is, whatever its blocks are.
        let exact = self.size == self.range.end - self.range.start;
        if exact && list.iter().any(too_small) {
            // Between cleared and dirty memory that is free, C has left the blocks as small as they
            // were. As dirty blocks they merge; nobody else gets them, as the lock is held.
            // SAFETY: By the type invariants of `AllocatedBlocks`, these are blocks of `mm`, which
            // is that of its allocator.
            unsafe { blocks::free(&mm, list.as_mut(), 0) };
            self.alloc(&mm, list)?;
        }
        Ok(())
    }

    /// Has C add blocks to `list`; if it fails, it adds none.
    #[inline]
    fn alloc(&self, mm: &Mm, list: Pin<&mut BlockList>) -> Result {
        // SAFETY: `mm` is initialised and locked. C adds only allocated blocks to the list, which
        // belong to nobody else.
        to_result(unsafe {
            bindings::gpu_buddy_alloc_blocks(
                mm.as_raw(),
                self.range.start,
                self.range.end,
                self.size,
                self.min_block_size,
                list.as_raw(),
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

impl Allocator {
    /// Turns absolute addresses into offsets in the managed range.
    pub(super) fn relative(&self, range: Range<u64>) -> Result<Range<u64>> {
        let start = range.start.checked_sub(self.base_offset).ok_or(EINVAL)?;
        let end = range.end.checked_sub(self.base_offset).ok_or(EINVAL)?;
        if start >= end || end > self.size {
            return Err(EINVAL);
        }
        Ok(start..end)
    }
}

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
    /// at the end can be smaller, unless there is [`GpuBuddyAllocFlag::TrimDisable`] (or no memory
    /// for the data to cut it with: then the allocation is larger).
    ///
    /// With [`GpuBuddyAllocFlag::Contiguous`] it is the start of the address range that is aligned
    /// to `min_block_size`, while the blocks in it may be smaller. The request may fail although
    /// there is such a range: the allocator looks for an aligned block of `size`, rounded up to a
    /// power of two, and, if the mode is not [`GpuBuddyAllocMode::Range`], around free blocks of
    /// `size`, rounded down to one.
    ///
    /// Cleared and dirty neighbours are merged if nothing else helps; the result is dirty.
    ///
    /// Context: may sleep, see the [module](super). The allocation is made, and errors occur, when
    /// the initialiser runs.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the request can never be met: `size` is zero, no multiple of the chunk size,
    ///   or, rounded up to `min_block_size`, more than the range to take it from; `min_block_size`
    ///   is less than the chunk size, or [`GpuBuddy::base_offset`] is no multiple of it; the range
    ///   is empty, inverted, not aligned to the chunk size, or not inside of the managed range.
    /// - [`ENOSPC`] if there is not enough free memory, or none as the flags ask for.
    /// - [`ENOMEM`] if there is no memory for the allocator's own data.
    ///
    /// If it fails, nothing is allocated.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
    /// const MIB: u64 = 1 << 20;
    /// let align = Alignment::new::<SZ_4K>();
    /// let none = GpuBuddyAllocFlags::default();
    ///
    /// let buddy = GpuBuddy::new(GpuBuddyParams {
    ///     base_offset: 64 * MIB,
    ///     size: 16 * MIB,
    ///     chunk_size: align,
    /// })?;
    /// let alloc = |mode, size, align, flags| {
    ///     KBox::pin_init(buddy.alloc_blocks(mode, size, align, flags), GFP_KERNEL)
    /// };
    ///
    /// // From the top.
    /// let top = alloc(GpuBuddyAllocMode::TopDown, 4 * MIB, align, none)?;
    /// assert_eq!(top.contiguous_range(), Some(76 * MIB..80 * MIB));
    ///
    /// // From a range.
    /// let range = 64 * MIB..72 * MIB;
    /// let low = alloc(GpuBuddyAllocMode::Range(range.clone()), 4 * MIB, align, none)?;
    /// assert_eq!(low.contiguous_range(), Some(64 * MIB..68 * MIB));
    ///
    /// // There is room for 8 MiB in all, but not in that range.
    /// let ret = alloc(GpuBuddyAllocMode::Range(range), 8 * MIB, align, none);
    /// assert_eq!(ret.err(), Some(ENOSPC));
    ///
    /// // Contiguous memory of any size, and aligned.
    /// let align = Alignment::new::<SZ_1M>();
    /// let flags = GpuBuddyAllocFlag::Contiguous;
    /// let some = alloc(GpuBuddyAllocMode::Simple, 3 * MIB, align, flags.into())?;
    /// assert_eq!(some.total_size(), 3 * MIB);
    /// assert!(some.contiguous_range().is_some_and(|range| range.start % MIB == 0));
    ///
    /// // The same without giving back what 3 MiB were rounded up to.
    /// drop(some);
    /// let flags = flags | GpuBuddyAllocFlag::TrimDisable;
    /// let some = alloc(GpuBuddyAllocMode::Simple, 3 * MIB, align, flags)?;
    /// assert_eq!(some.total_size(), 4 * MIB);
    ///
    /// // More than there is now, and more than there ever will be.
    /// let ret = alloc(GpuBuddyAllocMode::Simple, 16 * MIB, align, none);
    /// assert_eq!(ret.err(), Some(ENOSPC));
    /// let ret = alloc(GpuBuddyAllocMode::Simple, 17 * MIB, align, none);
    /// assert_eq!(ret.err(), Some(EINVAL));
    ///
    /// // The range is empty, ends before it starts, or is not of this allocator.
    /// for range in [65 * MIB..65 * MIB, 66 * MIB..65 * MIB, 0..MIB, 79 * MIB..81 * MIB] {
    ///     let ret = alloc(GpuBuddyAllocMode::Range(range), MIB, align, none);
    ///     assert_eq!(ret.err(), Some(EINVAL));
    /// }
    ///
    /// // 64 MiB, where the managed range starts, are no multiple of 128 MiB.
    /// let align = Alignment::new::<SZ_128M>();
    /// let ret = alloc(GpuBuddyAllocMode::Simple, MIB, align, none);
    /// assert_eq!(ret.err(), Some(EINVAL));
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
    /// Whether C takes `range` as it is, whatever its blocks are.
    exact: bool,
}

impl Request {
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
        let len = range.end - range.start;
        let rounded = if contiguous {
            size
        } else {
            size.align_up(min_block_size).ok_or(EINVAL)?
        };
        if rounded > len || buddy.base_offset.align_down(min_block_size) != buddy.base_offset {
            return Err(EINVAL);
        }

        // What fills the range is taken by C as it is, if both of its ends are aligned. But for
        // contiguous memory, the end does not have to be.
        let exact = size == len;
        let min_block_size =
            if exact && contiguous && range.start.align_down(min_block_size) == range.start {
                buddy.chunk_size
            } else {
                min_block_size
            };
        Ok(Self {
            range,
            size,
            min_block_size: align_to_u64(min_block_size),
            flags: mode | flags.as_raw(),
            exact,
        })
    }

    /// Has C fill an empty `blocks` with what is requested.
    fn fill(self, blocks: Pin<&mut AllocatedBlocks>) -> Result {
        let this = blocks.project();
        let mm = this.buddy.lock();
        let mut list = this.list;
        self.alloc(&mm, list.as_mut())?;
        let too_small = |block: &Block| block.size(this.buddy) < self.min_block_size;
        if self.exact && list.iter().any(too_small) {
            // Between cleared and dirty memory that is free, C has left the blocks as small as they
            // were. As dirty blocks they merge; nobody else gets them, as the lock is held.
            blocks::free(&mm, list.as_mut(), 0);
            self.alloc(&mm, list)?;
        }
        Ok(())
    }

    /// Has C add blocks to `list`; if it fails, it adds none.
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

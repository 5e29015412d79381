// SPDX-License-Identifier: GPL-2.0

//! Allocation of fixed ranges from a [`GpuBuddy`].

use super::{
    AllocatedBlocks,
    GpuBuddy,
    GpuBuddyAllocFlags,
    GpuBuddyAllocMode, //
};
use crate::prelude::*;
use core::ops::Range;

impl GpuBuddy {
    /// Allocates all of `range`, which is relative to the managed range like the range of a
    /// [`GpuBuddyAllocMode::Range`].
    ///
    /// This keeps the allocator from allocating memory that is in use elsewhere, for example by
    /// firmware. The blocks are in the order of their addresses.
    ///
    /// The initializer allocates and reports errors. It may sleep, see the
    /// [module](super#context).
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the range is empty, inverted, not aligned to the chunk size, or not within
    ///   the managed range.
    /// - [`ENOSPC`] if a part of the range is allocated.
    /// - [`ENOMEM`] if memory for the allocator's data cannot be allocated.
    ///
    /// On failure nothing is allocated.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
    /// let buddy = GpuBuddy::new(GpuBuddyParams {
    ///     base_offset: 0x100_0000,
    ///     size: 0x100_0000,
    ///     chunk_size: Alignment::new::<SZ_4K>(),
    /// })?;
    /// let blocks = KBox::pin_init(buddy.reserve(0x23_4000..0x56_7000), GFP_KERNEL)?;
    /// assert_eq!(blocks.iter().next().map(|block| block.offset()), Some(0x123_4000));
    /// assert_eq!(blocks.iter().map(|block| block.size()).sum::<u64>(), 0x33_3000);
    ///
    /// // The first page of this range is allocated already.
    /// let ret = KBox::pin_init(buddy.reserve(0x56_6000..0x56_8000), GFP_KERNEL);
    /// assert_eq!(ret.err(), Some(ENOSPC));
    ///
    /// // Half a chunk.
    /// let ret = KBox::pin_init(buddy.reserve(0..0x800), GFP_KERNEL);
    /// assert_eq!(ret.err(), Some(EINVAL));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn reserve(&self, range: Range<u64>) -> impl PinInit<AllocatedBlocks, Error> {
        let size = range.end.saturating_sub(range.start);
        self.alloc_blocks(
            GpuBuddyAllocMode::Range(range),
            size,
            self.chunk_size(),
            GpuBuddyAllocFlags::default(),
        )
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Trimming, splitting, joining and freeing allocations in part.

use super::{
    blocks::{
        free,
        set_clear,
        Block,
        BlockList,
        OFFSET, //
    },
    AllocatedBlocks,
    Allocator,
    Mm, //
};
use crate::{
    bindings,
    error::to_result,
    interop::list::CListCursor,
    prelude::*,
    sync::Arc, //
};
use core::ops::Range;
use pin_init::{
    stack_pin_init,
    stack_try_pin_init, //
};

impl AllocatedBlocks {
    /// Frees all blocks as cleared memory.
    ///
    /// All of the memory must be cleared: by its owner, or because it was allocated clear and not
    /// written to. The GPU must no longer write to it. A later allocation reports the memory as
    /// [clear](super::AllocatedBlock::is_clear). Dropping the allocation frees the blocks as dirty
    /// memory instead.
    ///
    /// May sleep, see the [module](super#context).
    ///
    /// # Examples
    ///
    /// A page is cleared once, and allocated again as a clear one:
    ///
    /// ```
    /// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
    /// # let align = Alignment::new::<SZ_4K>();
    /// # let buddy = GpuBuddy::new(GpuBuddyParams {
    /// #     base_offset: 0,
    /// #     size: 16 << 20,
    /// #     chunk_size: align,
    /// # })?;
    /// let alloc_page = || {
    ///     let flags = GpuBuddyAllocFlag::Clear;
    ///     let init = buddy.alloc_blocks(GpuBuddyAllocMode::TopDown, 4096, align, flags);
    ///     KBox::pin_init(init, GFP_KERNEL)
    /// };
    /// let mut page = alloc_page()?;
    /// assert!(page.iter().all(|block| !block.is_clear()));
    ///
    /// // The driver clears the page, uses it, and leaves it cleared.
    /// page.as_mut().free_cleared();
    /// assert!(page.is_empty());
    /// assert_eq!(buddy.clear_avail(), 4096);
    ///
    /// let page = alloc_page()?;
    /// assert!(page.iter().all(|block| block.is_clear()));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn free_cleared(self: Pin<&mut Self>) {
        let this = self.project();
        // SAFETY: By the type invariants, the blocks were allocated from this allocator.
        unsafe { free(&this.buddy.lock(), this.list, bindings::GPU_BUDDY_CLEARED) };
    }

    /// Trims the allocation, which must consist of a single block, to `range`, absolute addresses
    /// within the block.
    ///
    /// The rest is freed as dirty memory. The remaining blocks are as few as the bounds of the
    /// range allow, in the order of their addresses, and clear if the block was.
    ///
    /// May sleep, see the [module](super#context).
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if there is not exactly one block, or if the range is empty, not within the
    ///   block, or not aligned to the chunk size.
    /// - [`ENOMEM`] if memory for the allocator's data cannot be allocated.
    ///
    /// On failure nothing changes.
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
    /// let init = buddy.reserve(0x10_0000..0x20_0000);
    /// let mut blocks = KBox::pin_init(init, GFP_KERNEL)?;
    /// blocks.as_mut().trim(0x11_0000..0x14_0000)?;
    /// assert_eq!(blocks.contiguous_range(), Some(0x11_0000..0x14_0000));
    ///
    /// // Now there are two blocks, of 64 KiB and of 128 KiB.
    /// let ret = blocks.as_mut().trim(0x11_0000..0x12_0000);
    /// assert_eq!(ret, Err(EINVAL));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn trim(self: Pin<&mut Self>, range: Range<u64>) -> Result {
        let this = self.project();
        let range = this.buddy.relative(range)?;
        // INVARIANT: The remaining blocks are split off the block, which is allocated from `buddy`.
        // SAFETY: The lock of `buddy` is held, and the blocks are allocated from it by the type
        // invariants.
        unsafe { trim_block(this.buddy, &this.buddy.lock(), this.list, range) }
    }

    /// Shrinks the allocation to the first `new_size` bytes, in the order of the list.
    ///
    /// The rest is freed as dirty memory. If `new_size` ends within a block, its remaining part may
    /// consist of several blocks, in the order of their addresses.
    ///
    /// May sleep, see the [module](super#context).
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `new_size` is more than the total size, or not a multiple of the chunk size.
    /// - [`ENOMEM`] if memory for the allocator's data cannot be allocated.
    ///
    /// On failure nothing changes.
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
    /// let init = buddy.reserve(0x10_0000..0x40_0000);
    /// let mut blocks = KBox::pin_init(init, GFP_KERNEL)?;
    /// blocks.as_mut().shrink(0x20_0000)?;
    /// assert_eq!(blocks.total_size(), 0x20_0000);
    /// assert_eq!(blocks.as_mut().shrink(0x20_1000), Err(EINVAL));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn shrink(self: Pin<&mut Self>, new_size: u64) -> Result {
        if new_size > self.total_size() {
            return Err(EINVAL);
        }
        let this = self.project();
        let mm = this.buddy.lock();
        let mut list = this.list;

        // Move all blocks from the one in which `new_size` ends to `rest`.
        let mut left = new_size;
        let mut cursor = list.as_mut().cursor_front();
        while let Some(size) = cursor.peek().map(|block| block.size(this.buddy)) {
            if size > left {
                break;
            }
            left -= size;
            cursor.move_next();
        }
        stack_pin_init!(let rest = BlockList::new());
        move_from(cursor, rest.as_mut());

        if left > 0 {
            stack_pin_init!(let cut = BlockList::new());
            move_one(rest.as_mut().cursor_front(), cut.as_mut());
            let start = cut.first().map_or(0, Block::offset);
            // SAFETY: `mm` is locked through `buddy`. This is one of the blocks, which are
            // allocated from it by the type invariants.
            let ret = unsafe { trim_block(this.buddy, &mm, cut.as_mut(), start..start + left) };
            // INVARIANT: `cut` has the block, or the blocks that C has split it into.
            list.as_mut().splice_back(cut);
            if ret.is_err() {
                list.splice_back(rest);
                return ret;
            }
        }
        // SAFETY: These are some of the blocks, which are allocated from this allocator by the type
        // invariants.
        unsafe { free(&mm, rest, 0) };
        Ok(())
    }

    /// Moves the blocks from position `at` on to a new allocation when the initializer runs.
    ///
    /// Takes no lock, and time proportional to the number of blocks.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there are fewer than `at` blocks. Nothing changes then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
    /// # let buddy = GpuBuddy::new(GpuBuddyParams {
    /// #     base_offset: 0,
    /// #     size: 16 << 20,
    /// #     chunk_size: Alignment::new::<SZ_4K>(),
    /// # })?;
    /// // These are three blocks.
    /// let mut blocks = KBox::pin_init(buddy.reserve(0x10_0000..0x50_0000), GFP_KERNEL)?;
    /// let mut tail = KBox::pin_init(blocks.as_mut().split_off(1), GFP_KERNEL)?;
    /// assert_eq!(blocks.contiguous_range(), Some(0x10_0000..0x20_0000));
    /// assert_eq!(tail.contiguous_range(), Some(0x20_0000..0x50_0000));
    ///
    /// blocks.as_mut().append(tail.as_mut())?;
    /// assert_eq!(blocks.contiguous_range(), Some(0x10_0000..0x50_0000));
    /// assert!(tail.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn split_off(self: Pin<&mut Self>, at: usize) -> impl PinInit<AllocatedBlocks, Error> + '_ {
        Self::empty(self.buddy.clone()).pin_chain(move |tail| {
            if at > self.iter().count() {
                return Err(EINVAL);
            }
            let mut cursor = self.project().list.cursor_front();
            for _ in 0..at {
                cursor.move_next();
            }
            // INVARIANT: `tail` has the same allocator.
            move_from(cursor, tail.project().list);
            Ok(())
        })
    }

    /// Moves all blocks of `other` to the end of the list.
    ///
    /// Takes no lock.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `other` is from another allocator. Nothing changes then.
    ///
    /// # Examples
    ///
    /// See [`Self::split_off`].
    pub fn append(self: Pin<&mut Self>, other: Pin<&mut Self>) -> Result {
        if !Arc::ptr_eq(&self.buddy, &other.buddy) {
            return Err(EINVAL);
        }
        // INVARIANT: The blocks are from the same allocator, as checked above.
        self.project().list.splice_back(other.project().list);
        Ok(())
    }

    /// Moves the block that starts at the absolute address `offset` to a new allocation when the
    /// initializer runs.
    ///
    /// Takes no lock, and time proportional to the number of blocks.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if no block starts at `offset`. Nothing changes then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
    /// # let buddy = GpuBuddy::new(GpuBuddyParams {
    /// #     base_offset: 0,
    /// #     size: 16 << 20,
    /// #     chunk_size: Alignment::new::<SZ_4K>(),
    /// # })?;
    /// let mut blocks = KBox::pin_init(buddy.reserve(0x10_0000..0x50_0000), GFP_KERNEL)?;
    /// let mut block = KBox::pin_init(blocks.as_mut().take_block(0x20_0000), GFP_KERNEL)?;
    /// assert_eq!(block.contiguous_range(), Some(0x20_0000..0x40_0000));
    ///
    /// // Now there is a gap.
    /// assert_eq!(blocks.contiguous_range(), None);
    /// block.as_mut().trim(0x20_0000..0x30_0000)?;
    /// blocks.as_mut().append(block.as_mut())?;
    /// assert_eq!(blocks.total_size(), 0x30_0000);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn take_block(
        self: Pin<&mut Self>,
        offset: u64,
    ) -> impl PinInit<AllocatedBlocks, Error> + '_ {
        Self::empty(self.buddy.clone()).pin_chain(move |taken| {
            let position = self.iter().position(|block| block.offset() == offset);
            let mut cursor = self.project().list.cursor_front();
            for _ in 0..position.ok_or(ENOENT)? {
                cursor.move_next();
            }
            // INVARIANT: `taken` has the same allocator.
            move_one(cursor, taken.project().list);
            Ok(())
        })
    }

    /// Frees the block that starts at the absolute address `offset`, as dirty memory.
    ///
    /// May sleep, see the [module](super#context).
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if no block starts at `offset`. Nothing changes then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
    /// # let buddy = GpuBuddy::new(GpuBuddyParams {
    /// #     base_offset: 0,
    /// #     size: 16 << 20,
    /// #     chunk_size: Alignment::new::<SZ_4K>(),
    /// # })?;
    /// let mut blocks = KBox::pin_init(buddy.reserve(0x10_0000..0x40_0000), GFP_KERNEL)?;
    /// blocks.as_mut().free_block(0x20_0000)?;
    /// assert_eq!(blocks.contiguous_range(), Some(0x10_0000..0x20_0000));
    /// assert_eq!(blocks.as_mut().free_block(0x20_0000), Err(ENOENT));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn free_block(self: Pin<&mut Self>, offset: u64) -> Result {
        stack_try_pin_init!(let block = self.take_block(offset));
        block.map(|_| ())
    }
}

impl Allocator {
    /// Converts a range of absolute addresses to one that is relative to the managed range, and
    /// checks it like [`Self::check_range`].
    fn relative(&self, range: Range<u64>) -> Result<Range<u64>> {
        let start = range.start.checked_sub(self.base_offset).ok_or(EINVAL)?;
        let end = range.end.checked_sub(self.base_offset).ok_or(EINVAL)?;
        self.check_range(&(start..end))?;
        Ok(start..end)
    }
}

/// Trims the only block of `list` to `range`, which is relative to the managed range.
///
/// # Safety
///
/// `mm` must be the data of the lock of `buddy`, and each block of `list` must be allocated from
/// it.
unsafe fn trim_block(
    buddy: &Allocator,
    mm: &Mm,
    mut list: Pin<&mut BlockList>,
    range: Range<u64>,
) -> Result {
    let block = list.first().filter(|_| list.is_singular()).ok_or(EINVAL)?;
    let (start, end) = (block.offset(), block.offset() + block.size(buddy));
    if range.start < start || range.end > end {
        return Err(EINVAL);
    }

    // C frees the excess of a clear block as clear, but it may have been written to.
    let was_clear = block.is_clear();
    // SAFETY: The block is allocated from `mm` by the safety requirements.
    unsafe { set_clear(mm, list.as_mut(), false) };
    let (mut start, new_size) = (range.start, range.end - range.start);
    // SAFETY: `mm` is initialized and locked, and the block is allocated from it. The blocks that C
    // leaves on the list are allocated, and no other allocation owns them.
    let ret = to_result(unsafe {
        bindings::gpu_buddy_block_trim(mm.as_raw(), &mut start, new_size, list.as_mut().as_raw())
    });
    // SAFETY: The list has the same block, or the blocks that C has split it into.
    unsafe { set_clear(mm, list, was_clear) };
    ret
}

/// Moves the block at the cursor to the end of `to`.
fn move_one(mut cursor: CListCursor<'_, Block, OFFSET>, to: Pin<&mut BlockList>) {
    if let Some(block) = cursor.remove() {
        // SAFETY: The block is valid, and was just removed from its list.
        unsafe { to.push_back(block) };
    }
}

/// Moves the block at the cursor and all that follow to the end of `to`.
fn move_from(mut cursor: CListCursor<'_, Block, OFFSET>, mut to: Pin<&mut BlockList>) {
    while let Some(block) = cursor.remove() {
        // SAFETY: The block is valid, and was just removed from its list.
        unsafe { to.as_mut().push_back(block) };
    }
}

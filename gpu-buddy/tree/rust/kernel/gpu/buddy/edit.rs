// SPDX-License-Identifier: GPL-2.0

//! Dividing, joining and giving back allocated blocks.

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
    /// Gives all blocks back, as memory that is cleared.
    ///
    /// It is for the owner who has cleared all of it, and who knows that the GPU does not write to
    /// it any more. Whoever asks for [`GpuBuddyAllocFlag::Clear`] next is told that it is clear.
    ///
    /// [`GpuBuddyAllocFlag::Clear`]: super::GpuBuddyAllocFlag::Clear
    ///
    /// Context: may sleep, see the [module](super).
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
    /// let alloc = || {
    ///     let flags = GpuBuddyAllocFlag::Clear;
    ///     let init = buddy.alloc_blocks(GpuBuddyAllocMode::Simple, 1 << 20, align, flags);
    ///     KBox::pin_init(init, GFP_KERNEL)
    /// };
    /// let mut blocks = alloc()?;
    /// assert!(blocks.iter().all(|block| !block.is_clear()));
    ///
    /// blocks.as_mut().free_cleared();
    /// assert!(blocks.is_empty());
    /// assert_eq!(buddy.clear_avail(), 1 << 20);
    ///
    /// let blocks = alloc()?;
    /// assert!(blocks.iter().all(|block| block.is_clear()));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn free_cleared(self: Pin<&mut Self>) {
        let this = self.project();
        // SAFETY: By the type invariants, the blocks were allocated from this allocator.
        unsafe { free(&this.buddy.lock(), this.list, bindings::GPU_BUDDY_CLEARED) };
    }

    /// Gives back what is not in `range`, a range of absolute addresses in the only block.
    ///
    /// What is given back counts as dirty. What is kept is clear if it was before; it is made up of
    /// as few blocks as its bounds allow, in the order of their addresses.
    ///
    /// Context: may sleep, see the [module](super).
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if there is not exactly one block, or if the range is empty, not inside of the
    ///   block, or not aligned to the chunk size.
    /// - [`ENOMEM`] if there is no memory for the allocator's own data.
    ///
    /// If it fails, nothing has changed.
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
        // INVARIANT: C makes the blocks that are left out of the one that was there.
        // SAFETY: The lock is that of `buddy`, from which the blocks were allocated by the type
        // invariants.
        unsafe { trim_block(this.buddy, &this.buddy.lock(), this.list, range) }
    }

    /// Gives back what comes after the first `new_size` bytes, in the order of the list.
    ///
    /// What is given back counts as dirty. If `new_size` ends inside of a block, the part of it
    /// that is kept may be several blocks, in the order of their addresses.
    ///
    /// Context: may sleep, see the [module](super).
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `new_size` is more than the total size, or no multiple of the chunk size.
    /// - [`ENOMEM`] if there is no memory for the allocator's own data.
    ///
    /// If it fails, nothing has changed.
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

        // `rest` becomes what follows the blocks that are kept whole.
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
            // SAFETY: `mm` is locked through `buddy`. This is one of the blocks, which were
            // allocated from it by the type invariants.
            let ret = unsafe { trim_block(this.buddy, &mm, cut.as_mut(), start..start + left) };
            // INVARIANT: These are the block that was there, or what C has made out of it.
            list.as_mut().splice_back(cut);
            if ret.is_err() {
                list.splice_back(rest);
                return ret;
            }
        }
        // SAFETY: These are some of the blocks, which were allocated from this allocator by the
        // type invariants.
        unsafe { free(&mm, rest, 0) };
        Ok(())
    }

    /// Moves the blocks from position `at` on to another object.
    ///
    /// It happens when the initialiser runs.
    ///
    /// Context: any. Takes time proportional to the number of blocks.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there are fewer than `at` blocks; then nothing has changed.
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
            // INVARIANT: The blocks were allocated from the allocator that `tail` has as well.
            move_from(cursor, tail.project().list);
            Ok(())
        })
    }

    /// Moves all blocks of `other` to the end.
    ///
    /// Context: any.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `other` is from another allocator; then nothing has changed.
    ///
    /// # Examples
    ///
    /// See [`Self::split_off`].
    pub fn append(self: Pin<&mut Self>, other: Pin<&mut Self>) -> Result {
        if !Arc::ptr_eq(&self.buddy, &other.buddy) {
            return Err(EINVAL);
        }
        // INVARIANT: The blocks are from the same allocator, as was checked.
        self.project().list.splice_back(other.project().list);
        Ok(())
    }

    /// Moves the block that starts at the absolute address `offset` to another object.
    ///
    /// It happens when the initialiser runs.
    ///
    /// Context: any. Takes time proportional to the number of blocks.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if no block starts there; then nothing has changed.
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
            // INVARIANT: The block was allocated from the allocator that `taken` has as well.
            move_one(cursor, taken.project().list);
            Ok(())
        })
    }

    /// Gives back the block that starts at the absolute address `offset`, as dirty memory.
    ///
    /// Context: may sleep, see the [module](super).
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if no block starts there; then nothing has changed.
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
    /// Turns a range of absolute addresses into one that is relative to the managed range; returns
    /// [`EINVAL`] if the managed range does not contain it, as [`Self::check_range`] does.
    fn relative(&self, range: Range<u64>) -> Result<Range<u64>> {
        let start = range.start.checked_sub(self.base_offset).ok_or(EINVAL)?;
        let end = range.end.checked_sub(self.base_offset).ok_or(EINVAL)?;
        self.check_range(&(start..end))?;
        Ok(start..end)
    }
}

/// Gives back what is not in `range`, relative to the managed range, of the only block of `list`.
///
/// # Safety
///
/// `mm` must be what the lock of `buddy` protects, and each block of `list` must have been
/// allocated from it.
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

    // C gives back as cleared what was clear when it was allocated. It may have been written to.
    let was_clear = block.is_clear();
    // SAFETY: The block was allocated from `mm` by the safety requirements.
    unsafe { set_clear(mm, list.as_mut(), false) };
    let (mut start, new_size) = (range.start, range.end - range.start);
    // SAFETY: `mm` is initialised and locked, and the block was allocated from it. C leaves only
    // allocated blocks on the list, which belong to nobody else.
    let ret = to_result(unsafe {
        bindings::gpu_buddy_block_trim(mm.as_raw(), &mut start, new_size, list.as_mut().as_raw())
    });
    // SAFETY: What is on the list is the same block, or what C has made out of it.
    unsafe { set_clear(mm, list, was_clear) };
    ret
}

/// Moves the block at the cursor to the end of `to`.
fn move_one(mut cursor: CListCursor<'_, Block, OFFSET>, to: Pin<&mut BlockList>) {
    if let Some(block) = cursor.remove() {
        // SAFETY: The block is valid, and has just left the only list that it was on.
        unsafe { to.push_back(block) };
    }
}

/// Moves the block at the cursor and all that follow to the end of `to`.
fn move_from(mut cursor: CListCursor<'_, Block, OFFSET>, mut to: Pin<&mut BlockList>) {
    while let Some(block) = cursor.remove() {
        // SAFETY: The block is valid, and has just left the only list that it was on.
        unsafe { to.as_mut().push_back(block) };
    }
}

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
    interop::list::CListOwned,
    prelude::*,
    sync::Arc,
    types::Opaque, //
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
/// use kernel::{
///     gpu::buddy::{
///         GpuBuddy,
///         GpuBuddyAllocFlags,
///         GpuBuddyAllocMode,
///         GpuBuddyParams, //
///     },
///     ptr::Alignment,
///     sizes::SZ_4K, //
/// };
///
/// const MIB: u64 = 1 << 20;
///
/// let buddy = GpuBuddy::new(GpuBuddyParams {
///     base_offset: 0,
///     size: 1024 * MIB,
///     chunk_size: Alignment::new::<SZ_4K>(),
/// })?;
///
/// let blocks = KBox::pin_init(
///     buddy.alloc_blocks(
///         GpuBuddyAllocMode::Simple,
///         16 * MIB,
///         Alignment::new::<SZ_4K>(),
///         GpuBuddyAllocFlags::default(),
///     ),
///     GFP_KERNEL,
/// )?;
/// assert!(!blocks.is_empty());
/// assert_eq!(buddy.avail(), 1008 * MIB);
///
/// // To drop it is to free it.
/// drop(blocks);
/// assert_eq!(buddy.avail(), buddy.size());
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
}

#[pinned_drop]
impl PinnedDrop for AllocatedBlocks {
    fn drop(self: Pin<&mut Self>) {
        if !self.is_empty() {
            let this = self.project();
            // SAFETY: By the type invariants, the blocks were allocated from this allocator.
            unsafe { free(&this.buddy.lock(), this.list, 0) };
        }
    }
}

/// A `struct gpu_buddy_block` of C that is allocated.
///
/// # Invariants
///
/// It is initialised. C changes neither its offset and its order, nor whether it is clear, unless
/// the owner of the block asks for it.
#[repr(transparent)]
pub(super) struct Block(pub(super) Opaque<bindings::gpu_buddy_block>);

/// Where a block has the link for its owner: in a union without a name, which bindgen counts. That
/// it is this one is checked by its type.
pub(super) const OFFSET: usize =
    clist_offset!(Block, bindings::gpu_buddy_block, __bindgen_anon_1.link);

/// A list of blocks.
pub(super) type BlockList = CListOwned<Block, OFFSET>;

impl Block {
    #[inline]
    pub(super) fn order(&self) -> u32 {
        // SAFETY: `self` is initialised by the type invariants.
        unsafe { bindings::gpu_buddy_block_order(self.0.get()) }
    }

    /// Returns the size of this block of `buddy`.
    #[inline]
    pub(super) fn size(&self, buddy: &Allocator) -> u64 {
        align_to_u64(buddy.chunk_size) << self.order()
    }
}

// SAFETY: A block is not bound to the thread that allocated it.
unsafe impl Send for Block {}

// SAFETY: With a shared reference only the header can be read. C does write to an allocated block
// while it walks over all blocks, but only to `tmp_link`, which Rust code never looks at.
unsafe impl Sync for Block {}

/// Gives all blocks of `list` back to `mm`.
///
/// They count as dirty, unless `flags` has `GPU_BUDDY_CLEARED`.
///
/// # Safety
///
/// Each block of `list` must have been allocated from `mm`.
pub(super) unsafe fn free(mm: &Mm, list: Pin<&mut BlockList>, flags: u32) {
    // SAFETY: `mm` is initialised and locked by its type invariants. The blocks are its, by the
    // safety requirements, and belong to the list, so that nobody uses them after the call.
    unsafe { bindings::gpu_buddy_free_list(mm.as_raw(), list.as_raw(), flags) };
}

/// Makes all blocks of `list` count as clear, or as dirty.
///
/// # Safety
///
/// Each block of `list` must have been allocated from `_mm`.
pub(super) unsafe fn set_clear(_mm: &Mm, list: Pin<&mut BlockList>, is_clear: bool) {
    for block in list.iter() {
        let block = block.0.get();
        // SAFETY: The block is initialised by its type invariants, and nobody else accesses it:
        // neither the owner of the list, which is borrowed mutably, nor C, for the allocator that
        // it is from is locked.
        let header = unsafe { &mut (*block).header };
        if is_clear {
            *header |= bindings::GPU_BUDDY_HEADER_CLEAR;
        } else {
            *header &= !bindings::GPU_BUDDY_HEADER_CLEAR;
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Blocks that are allocated from a [`GpuBuddy`](super::GpuBuddy).

use super::{
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
/// Dropping it frees all blocks as dirty memory. This may sleep, see the [module](super#context).
///
/// # Invariants
///
/// Each block of `list` is allocated from `buddy`, and owned by this object.
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
/// // Dropping them frees the memory.
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
    /// Creates an initializer for an allocation without blocks.
    pub(super) fn empty(buddy: Arc<Allocator>) -> impl PinInit<Self, Error> {
        // INVARIANT: The list is empty.
        try_pin_init!(Self {
            list <- BlockList::new(),
            buddy,
        })
    }

    /// Returns whether the allocation has no blocks.
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
            // SAFETY: By the type invariants, the blocks are allocated from this allocator.
            unsafe { free(&this.buddy.lock(), this.list, 0) };
        }
    }
}

/// A C `struct gpu_buddy_block` that is allocated.
///
/// # Invariants
///
/// It is initialized. C modifies its header only in functions that the owner calls with the block.
#[repr(transparent)]
pub(super) struct Block(pub(super) Opaque<bindings::gpu_buddy_block>);

/// The offset of the `link` by which the owner of a block lists it. It is in an unnamed union, for
/// which bindgen makes up a name. [`clist_offset!`] checks the type of the field.
pub(super) const OFFSET: usize =
    clist_offset!(Block, bindings::gpu_buddy_block, __bindgen_anon_1.link);

/// A list of blocks.
pub(super) type BlockList = CListOwned<Block, OFFSET>;

// SAFETY: A block is not bound to the thread that allocated it.
unsafe impl Send for Block {}

// SAFETY: A shared reference only allows reading the header. While C searches all blocks, it writes
// to `tmp_link` of allocated blocks, which Rust code does not access.
unsafe impl Sync for Block {}

/// Frees all blocks of `list`, as dirty memory unless `flags` has `GPU_BUDDY_CLEARED`.
///
/// # Safety
///
/// Each block of `list` must be allocated from `mm`.
pub(super) unsafe fn free(mm: &Mm, list: Pin<&mut BlockList>, flags: u32) {
    // SAFETY: `mm` is initialized and locked by its type invariants. The blocks are allocated from
    // it by the safety requirements, and the list owns them, so they are not used after the call.
    unsafe { bindings::gpu_buddy_free_list(mm.as_raw(), list.as_raw(), flags) };
}

/// Marks all blocks of `list` as clear or dirty.
///
/// # Safety
///
/// Each block of `list` must be allocated from `_mm`.
pub(super) unsafe fn set_clear(_mm: &Mm, list: Pin<&mut BlockList>, is_clear: bool) {
    for block in list.iter() {
        let block = block.0.get();
        // SAFETY: The block is initialized by its type invariants. There are no other accesses to
        // its header: the list is borrowed mutably, and C does not run, because `_mm`, from which
        // the block is allocated, is locked.
        let header = unsafe { &mut (*block).header };
        if is_clear {
            *header |= bindings::GPU_BUDDY_HEADER_CLEAR;
        } else {
            *header &= !bindings::GPU_BUDDY_HEADER_CLEAR;
        }
    }
}

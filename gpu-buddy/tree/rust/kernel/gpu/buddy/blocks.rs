// SPDX-License-Identifier: GPL-2.0

//! Blocks that are allocated from a [`GpuBuddy`](super::GpuBuddy).

use super::{
    GpuBuddyInner,
    RawGpuBuddy, //
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
/// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
/// const MIB: u64 = 1 << 20;
/// let buddy = GpuBuddy::new(GpuBuddyParams {
///     base_offset: 0,
///     size: 1024 * MIB,
///     chunk_size: Alignment::new::<SZ_4K>(),
/// })?;
/// let (align, flags) = (Alignment::new::<SZ_4K>(), GpuBuddyAllocFlags::default());
/// let init = buddy.alloc_blocks(GpuBuddyAllocMode::Simple, 16 * MIB, align, flags);
/// let blocks = KBox::pin_init(init, GFP_KERNEL)?;
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
    pub(super) buddy: Arc<GpuBuddyInner>,
}

impl AllocatedBlocks {
    /// Creates an initializer for an allocation without blocks.
    pub(super) fn empty(buddy: Arc<GpuBuddyInner>) -> impl PinInit<Self, Error> {
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

    /// Moves all blocks of `other` to the end of this allocation, in their order.
    ///
    /// Takes no lock and allocates nothing.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the allocations are from different allocators. Nothing changes then.
    pub fn append(self: Pin<&mut Self>, other: Pin<&mut Self>) -> Result {
        let (this, other) = (self.project(), other.project());
        if !Arc::ptr_eq(this.buddy, other.buddy) {
            return Err(EINVAL);
        }
        // INVARIANT: The blocks are allocated from the same allocator.
        this.list.push_all_back(other.list);
        Ok(())
    }

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
    ///
    /// let page = alloc_page()?;
    /// assert!(page.iter().all(|block| block.is_clear()));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn free_cleared(self: Pin<&mut Self>) {
        let this = self.project();
        // SAFETY: By the type invariants, the blocks are allocated from this allocator.
        unsafe { free(&this.buddy.lock(), this.list, bindings::GPU_BUDDY_CLEARED) };
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
const OFFSET: usize = clist_offset!(Block, bindings::gpu_buddy_block, __bindgen_anon_1.link);

/// A list of blocks.
type BlockList = CListOwned<Block, OFFSET>;

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
unsafe fn free(mm: &RawGpuBuddy, list: Pin<&mut BlockList>, flags: u32) {
    // SAFETY: `mm` is initialized and locked by its type invariants. The blocks are allocated from
    // it by the safety requirements, and the list owns them, so they are not used after the call.
    unsafe { bindings::gpu_buddy_free_list(mm.as_raw(), list.as_raw(), flags) };
}

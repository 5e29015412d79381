// SPDX-License-Identifier: GPL-2.0

//! The GPU buddy allocator.
//!
//! C header: [`include/linux/gpu_buddy.h`](srctree/include/linux/gpu_buddy.h)
//!
//! The allocator manages a range of addresses, such as the VRAM of a GPU. It allocates blocks whose
//! sizes are powers of two times a chunk, and never accesses the memory at these addresses.
//!
//! [`GpuBuddy`] is the allocator, and [`AllocatedBlocks`] is an allocation.
//!
//! # Addresses
//!
//! Ranges in requests to a [`GpuBuddy`] are relative to the start of the managed range. The
//! addresses of allocated blocks are absolute: they include [`GpuBuddyParams::base_offset`]. Ranges
//! are half-open. Sizes and addresses are in bytes.
//!
//! # Cleared memory
//!
//! The allocator tracks which free memory is known to be cleared: memory that its last owner has
//! freed with [`AllocatedBlocks::free_cleared`]. Memory that is freed by dropping it is dirty. A
//! request prefers cleared memory with [`GpuBuddyAllocFlag::Clear`] and dirty memory without it,
//! and falls back to the other kind: [`AllocatedBlock::is_clear`] reports which kind a block is.
//!
//! # Context
//!
//! The allocator has an internal mutex, and allocates with `GFP_KERNEL` while holding it.
//! Allocating and freeing, which includes dropping an allocation, may therefore sleep and wait for
//! reclaim. Neither is allowed in atomic context, or in a path that reclaim or the signalling of a
//! `dma_fence` waits for. Reading the blocks of an allocation takes no lock and is possible in any
//! context.

use crate::{
    bindings,
    error::to_result,
    prelude::*,
    ptr::{
        Alignable,
        Alignment, //
    },
    sync::{
        Arc,
        LockClassKey,
        Mutex,
        MutexGuard, //
    },
    types::Opaque, //
};

mod alloc;

mod blocks;
pub use self::blocks::AllocatedBlocks;

mod flags;
pub use self::flags::{
    GpuBuddyAllocFlag,
    GpuBuddyAllocFlags,
    GpuBuddyAllocMode, //
};

mod iter;
pub use self::iter::AllocatedBlock;

mod reserve;

/// Parameters of [`GpuBuddy::new`].
#[derive(Clone, Copy, Debug)]
pub struct GpuBuddyParams {
    /// The address at which the managed range starts; a multiple of `chunk_size`.
    ///
    /// Blocks are naturally aligned relative to this address. Requests with a `min_block_size` that
    /// does not divide it fail with [`EINVAL`], because the blocks would not be aligned to that.
    pub base_offset: u64,
    /// The size of the managed range, which is rounded down to a multiple of `chunk_size`.
    pub size: u64,
    /// The smallest size of a block; at least 4 KiB.
    pub chunk_size: Alignment,
}

/// An allocator for a range of addresses.
///
/// Each allocation holds a reference to the allocator, so that allocations may outlive the
/// [`GpuBuddy`]. Dropping the last reference may sleep.
///
/// Threads can share an allocator, because an internal lock serializes them. Each allocator has a
/// separate lock class, so that lockdep accepts using one allocator while holding a lock under
/// which another one is used.
///
/// # Examples
///
/// A size that is not a multiple of the chunk size is rounded down.
///
/// ```
/// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
/// let buddy = GpuBuddy::new(GpuBuddyParams {
///     base_offset: 0x10_0000,
///     size: 0x1_1234,
///     chunk_size: Alignment::new::<SZ_4K>(),
/// })?;
/// assert_eq!(buddy.base_offset(), 0x10_0000);
/// assert_eq!(buddy.size(), 0x1_1000);
/// assert_eq!(buddy.avail(), 0x1_1000);
/// assert_eq!(buddy.chunk_size(), Alignment::new::<SZ_4K>());
/// # Ok::<(), Error>(())
/// ```
pub struct GpuBuddy(Arc<GpuBuddyInner>);

impl GpuBuddy {
    /// Creates an allocator whose memory is all free and dirty.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `chunk_size` is less than 4 KiB, `size` is less than `chunk_size`,
    ///   `base_offset` is not a multiple of `chunk_size`, or the end of the range is more than
    ///   [`u64::MAX`].
    /// - [`ENOMEM`] if memory for the allocator's data cannot be allocated.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{gpu::buddy::*, ptr::Alignment, sizes::*};
    /// let new = |base_offset, size| {
    ///     GpuBuddy::new(GpuBuddyParams {
    ///         base_offset,
    ///         size,
    ///         chunk_size: Alignment::new::<SZ_4K>(),
    ///     })
    ///     .err()
    /// };
    /// assert_eq!(new(0x1000, 0x1000), None);
    ///
    /// // Less than one chunk.
    /// assert_eq!(new(0, 0xfff), Some(EINVAL));
    ///
    /// // No block would be aligned to the chunk size.
    /// assert_eq!(new(0x800, 0x1000), Some(EINVAL));
    ///
    /// // The end of the range overflows.
    /// assert_eq!(new(0xffff_ffff_ffff_f000, 0x1000), Some(EINVAL));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn new(params: GpuBuddyParams) -> Result<Self> {
        Ok(Self(Arc::pin_init(GpuBuddyInner::new(params), GFP_KERNEL)?))
    }

    /// Returns the address at which the managed range starts.
    #[inline]
    pub fn base_offset(&self) -> u64 {
        self.0.base_offset
    }

    /// Returns the smallest size of a block, of which all sizes are multiples.
    #[inline]
    pub fn chunk_size(&self) -> Alignment {
        self.0.chunk_size
    }

    /// Returns the size of the managed range, a multiple of the chunk size.
    #[inline]
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// Returns the number of free bytes, cleared or not.
    ///
    /// May sleep. Other threads may change the value before the caller looks at it.
    #[inline]
    pub fn avail(&self) -> u64 {
        let mm = self.0.lock();
        // SAFETY: The allocator is initialized and locked by the type invariants of `RawGpuBuddy`.
        unsafe { (*mm.as_raw()).avail }
    }
}

/// A C `struct gpu_buddy`.
///
/// # Invariants
///
/// It is the data of the lock of a [`GpuBuddyInner`], and a reference to it implies that the lock
/// is held. It is initialized, except during [`GpuBuddyInner::new`].
#[repr(transparent)]
struct RawGpuBuddy(Opaque<bindings::gpu_buddy>);

impl RawGpuBuddy {
    #[inline]
    fn as_raw(&self) -> *mut bindings::gpu_buddy {
        self.0.get()
    }
}

// SAFETY: A `gpu_buddy` is not bound to the thread that initialized it.
unsafe impl Send for RawGpuBuddy {}

/// The allocator to which a [`GpuBuddy`] and its allocations refer.
///
/// # Invariants
///
/// - `gpu_buddy_init()` has initialized `mm`, which changes only while its lock is held.
/// - `size` is the size of `mm`, and `base_offset + size` does not overflow.
/// - `base_offset` and `size` are multiples of `chunk_size`, and there is at least one chunk.
#[pin_data(PinnedDrop)]
struct GpuBuddyInner {
    base_offset: u64,
    size: u64,
    chunk_size: Alignment,
    #[pin]
    mm: Mutex<RawGpuBuddy>,
    // The key comes after the lock, so that it is dropped after it.
    #[pin]
    key: LockClassKey,
}

impl GpuBuddyInner {
    fn new(params: GpuBuddyParams) -> impl PinInit<Self, Error> {
        let GpuBuddyParams {
            base_offset,
            size,
            chunk_size,
        } = params;

        try_pin_init!(Self {
            _: {
                if base_offset.checked_add(size).is_none()
                    || base_offset.align_down(chunk_size) != base_offset
                {
                    return Err(EINVAL);
                }
            },
            key <- LockClassKey::new_dynamic(),
            mm <- {
                let key: *const LockClassKey = &*key;
                // SAFETY: The key is initialized and pinned. Only the lock uses it, and the lock is
                // dropped first.
                let key = unsafe { &*key };
                Mutex::new(RawGpuBuddy(Opaque::uninit()), c"gpu_buddy", Pin::static_ref(key))
            },
            // INVARIANT: This initializes `mm`. No step that can fail may follow, because
            // `gpu_buddy_fini()` would not be called.
            _: {
                let mm = mm.lock();
                // SAFETY: `mm` is valid for writes, and not yet shared with another thread.
                let ret = unsafe {
                    bindings::gpu_buddy_init(mm.as_raw(), size, align_to_u64(chunk_size))
                };
                to_result(ret)?;
            },
            // INVARIANT: This is a multiple of the chunk size, as checked above.
            base_offset,
            // INVARIANT: C has rounded this down to a multiple of the chunk size, and rejects less
            // than a chunk. It is at most the size that was checked, so the sum does not overflow.
            size: {
                let mm = mm.lock();
                // SAFETY: `mm` was initialized above.
                unsafe { (*mm.as_raw()).size }
            },
            chunk_size,
        }? Error)
    }

    /// Locks the `struct gpu_buddy`.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, RawGpuBuddy> {
        self.mm.lock()
    }
}

#[pinned_drop]
impl PinnedDrop for GpuBuddyInner {
    fn drop(self: Pin<&mut Self>) {
        let mm = self.lock();
        // SAFETY: By the type invariants, it is initialized and locked. None of its blocks is
        // allocated, because an allocation has a reference to this allocator.
        unsafe { bindings::gpu_buddy_fini(mm.as_raw()) };
    }
}

// SAFETY: The fields are integers, a lock, which can be sent because its data can, and a lock class
// key, which lockdep identifies by its address.
unsafe impl Send for GpuBuddyInner {}

/// Returns `alignment` in bytes.
#[inline]
fn align_to_u64(alignment: Alignment) -> u64 {
    1 << alignment.log2()
}

#[cfg(CONFIG_KUNIT = "y")]
mod tests;

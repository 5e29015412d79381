// SPDX-License-Identifier: GPL-2.0

//! Allocation of VRAM.
//!
//! One [`VramAllocator`] manages all usable VRAM. It returns [`Vram`] for memory to be mapped, and
//! a [`TablePage`] for a page table. Dropping either frees the memory, unless the GPU may still
//! access it.
//!
//! # Context
//!
//! The allocator allocates kernel memory while it holds its lock, so allocating and freeing VRAM
//! may sleep and may wait for reclaim. Jobs do so in the stages "prepare" and "free" only, never in
//! "run", and never while holding a lock that "run" takes.

use core::ops::Range;

use kernel::{
    gpu::buddy::{
        AllocatedBlocks,
        GpuBuddy,
        GpuBuddyAllocFlag,
        GpuBuddyAllocFlags,
        GpuBuddyAllocMode,
        GpuBuddyParams, //
    },
    new_mutex,
    prelude::*,
    ptr::Alignment,
    sizes::SZ_4K,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::{
    mm::{
        address::{
            PageSize,
            Pfn,
            VramAddress,
            PAGE_SIZE, //
        },
        flag::Flag,
        format::Aperture,
        memory::{
            Mappable,
            Run,
            Runs, //
        },
    },
    num::FromSafeCast, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// Block sizes that an allocation can request, in descending order.
const BLOCKS: [PageSize; 5] = [
    PageSize::Size256G,
    PageSize::Size512M,
    PageSize::Size2M,
    PageSize::Size64K,
    PageSize::Size4K,
];

/// The allocator of VRAM.
///
/// A clone is another handle to the same allocator. The allocator lives until the last handle is
/// dropped and all allocated memory is freed. Threads can use it concurrently.
#[derive(Clone)]
pub(crate) struct VramAllocator(Arc<Regions>);

/// The memory that a [`VramAllocator`] manages.
///
/// A buddy allocator aligns blocks relative to the start of its range. The range starts at address
/// zero, not at the first usable address, so that blocks are also aligned in VRAM. A single buddy
/// allocator for all regions allows an allocation to span several of them.
///
/// # Invariants
///
/// All addresses of `buddy` that do not lie in a usable region belong to a block of `_holes`.
#[pin_data]
struct Regions {
    buddy: GpuBuddy,
    /// Reservations of the unusable memory between the regions.
    _holes: KVec<Pin<KBox<AllocatedBlocks>>>,
    /// The sum of the sizes of the usable regions in bytes.
    size: u64,
    /// Leaked blocks, which have no owner and must not be allocated again. No lock is taken and no
    /// memory is allocated under this lock.
    #[pin]
    leaked: Mutex<Option<Pin<KBox<AllocatedBlocks>>>>,
}

impl Regions {
    /// Adds blocks of `buddy` to the leaked blocks. Does not allocate memory.
    fn leak(&self, mut blocks: Pin<KBox<AllocatedBlocks>>) {
        let mut leaked = self.leaked.lock();
        let Some(all) = &mut *leaked else {
            *leaked = Some(blocks);
            return;
        };
        let moved = all.as_mut().append(blocks.as_mut());
        drop(leaked);

        // Appending cannot fail, because the blocks come from the same allocator. If it did, they
        // still must not be freed.
        if moved.is_err() {
            core::mem::forget(blocks);
        }
    }
}

impl VramAllocator {
    /// Creates an allocator of the memory in `regions`: half-open ranges in ascending order, whose
    /// bounds are multiples of 4 KiB. May sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `regions` is empty, or if a region is empty, inverted, misaligned, or starts
    ///   before the end of the previous one.
    /// - [`ENOMEM`] if memory allocation fails.
    pub(crate) fn new(regions: &[Range<VramAddress>]) -> Result<Self> {
        let end = regions.last().ok_or(EINVAL)?.end;
        let buddy = GpuBuddy::new(GpuBuddyParams {
            base_offset: 0,
            size: end.into_raw(),
            chunk_size: Alignment::new::<SZ_4K>(),
        })?;
        let mut holes = KVec::new();
        let mut size = 0;
        let mut free_from = 0;

        // INVARIANT: The loop reserves the gaps before and between the regions. The range of
        // `buddy` ends with the last region.
        for region in regions {
            // The conversions check the alignment.
            let start = Pfn::try_from(region.start)?.address().into_raw();
            let end = Pfn::try_from(region.end)?.address().into_raw();

            if start < free_from || start >= end {
                return Err(EINVAL);
            }
            if start > free_from {
                let hole = KBox::pin_init(buddy.reserve(free_from..start), GFP_KERNEL)?;
                holes.push(hole, GFP_KERNEL)?;
            }
            size += end - start;
            free_from = end;
        }

        let regions = Arc::pin_init(
            pin_init!(Regions {
                buddy,
                _holes: holes,
                size,
                leaked <- new_mutex!(None, "nova_core_mm_leaked"),
            }),
            GFP_KERNEL,
        )?;

        Ok(Self(regions))
    }

    /// Returns the size of the usable memory in bytes, allocated or not. Does not sleep.
    pub(crate) fn size(&self) -> u64 {
        self.0.size
    }

    /// Returns the number of leaked bytes; see [`Vram::leak_on_drop`]. May sleep.
    pub(crate) fn leaked(&self) -> u64 {
        match &*self.0.leaked.lock() {
            Some(blocks) => blocks.iter().map(|block| block.size()).sum(),
            None => 0,
        }
    }

    /// Returns the number of free bytes, which other threads may change at any time. May sleep.
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    pub(crate) fn avail(&self) -> u64 {
        self.0.buddy.avail()
    }

    /// Allocates `size` bytes, which need not be contiguous. May sleep; see the [module](self).
    ///
    /// The content is undefined and may be stale data of another process. Callers must clear the
    /// memory before they expose it to user space.
    ///
    /// The allocator prefers blocks of at least `min_page`, aligned to `min_page`; only the last
    /// blocks are smaller if `size` is not a multiple of it. Without enough such blocks, it falls
    /// back to the next smaller page size, and so on. Callers must therefore use the ranges that
    /// they get, not the size that they requested.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `size` is zero or not a multiple of 4 KiB.
    /// - [`E2BIG`] if `size` exceeds the size of the usable memory.
    /// - [`ENOSPC`] if not enough memory is free.
    /// - [`ENOMEM`] if memory allocation fails.
    pub(crate) fn alloc(&self, size: u64, min_page: PageSize) -> Result<Vram> {
        if size == 0 || size % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        if size > self.size() {
            return Err(E2BIG);
        }

        for block in BLOCKS.into_iter().filter(|&block| block <= min_page) {
            match self.alloc_blocks(size, block) {
                // `E2BIG` means that `size` exceeds the memory only if it is rounded up to `block`.
                Err(error) if error == ENOSPC || error == E2BIG => continue,
                result => return result,
            }
        }

        Err(ENOSPC)
    }

    /// Allocates a page for a page table, at the top of VRAM. May sleep; see the [module](self).
    ///
    /// Allocating from the top keeps page tables together, so that they do not split the large
    /// blocks that mapped memory needs. Pages that are [known to be zero](TablePage::is_zero) are
    /// preferred.
    ///
    /// # Errors
    ///
    /// - [`ENOSPC`] if no page is free.
    /// - [`ENOMEM`] if memory allocation fails.
    pub(crate) fn alloc_table(&self) -> Result<TablePage> {
        let blocks = KBox::pin_init(
            self.0.buddy.alloc_blocks(
                GpuBuddyAllocMode::TopDown,
                PAGE_SIZE,
                Alignment::new::<SZ_4K>(),
                GpuBuddyAllocFlag::Clear,
            ),
            GFP_KERNEL,
        )?;
        let block = blocks.iter().next().ok_or(ENOSPC)?;
        let (address, is_zero) = (VramAddress::new(block.offset()), block.is_clear());

        // INVARIANT: `blocks` is a single block of 4 KiB, which starts at `address`. It is marked
        // clear only if a `TablePage` that contained zeros has freed it.
        Ok(TablePage {
            address,
            blocks: Some(blocks),
            regions: self.0.clone(),
            is_zero,
            leak_on_drop: Flag::new(),
        })
    }

    /// Allocates `size` bytes in blocks of at least `block` bytes.
    fn alloc_blocks(&self, size: u64, block: PageSize) -> Result<Vram> {
        let bytes = usize::from_safe_cast(block.bytes());
        let alignment = Alignment::new_checked(bytes).ok_or(EINVAL)?;
        let blocks = KBox::pin_init(
            self.0.buddy.alloc_blocks(
                GpuBuddyAllocMode::Simple,
                size,
                alignment,
                GpuBuddyAllocFlags::default(),
            ),
            GFP_KERNEL,
        )?;

        let mut runs = Runs::new();
        for block in blocks.iter() {
            runs.push(Run {
                address: block.offset(),
                pages: block.size() / PAGE_SIZE,
            })?;
        }

        Ok(Vram {
            blocks: Some(blocks),
            runs,
            regions: self.0.clone(),
            leak_on_drop: Flag::new(),
        })
    }
}

/// Allocated VRAM, which is freed on drop.
///
/// It can be shared between threads. Dropping it may sleep; see the [module](self).
pub(crate) struct Vram {
    /// The memory; [`None`] only during drop.
    blocks: Option<Pin<KBox<AllocatedBlocks>>>,
    /// The addresses of the memory, in the order in which it is mapped.
    runs: Runs,
    /// The allocator, which gets the memory if it is leaked.
    regions: Arc<Regions>,
    /// Whether the memory is leaked instead of freed.
    leak_on_drop: Flag,
}

impl Drop for Vram {
    fn drop(&mut self) {
        if !self.leak_on_drop.is_set() {
            return;
        }
        if let Some(blocks) = self.blocks.take() {
            self.regions.leak(blocks);
        }
    }
}

impl Vram {
    /// Returns the size in bytes, a multiple of 4 KiB.
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    pub(crate) fn size(&self) -> u64 {
        self.pages() * PAGE_SIZE
    }

    /// Returns the address ranges of the memory, in the order in which it is mapped. Does not
    /// sleep.
    ///
    /// The ranges are half-open. The size of each is a power of two, at least 4 KiB and at most the
    /// size of the previous range, and its start is a multiple of its size. If the first range is
    /// mapped at a multiple of its size, then so are all others.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<VramAddress>> + '_ {
        self.runs.iter().map(|run| {
            let end = run.address + run.pages * PAGE_SIZE;

            VramAddress::new(run.address)..VramAddress::new(end)
        })
    }
}

impl Mappable for Vram {
    fn aperture(&self) -> Aperture {
        Aperture::Vram
    }

    fn pages(&self) -> u64 {
        self.runs.pages()
    }

    fn last_page(&self) -> u64 {
        self.runs.last_page()
    }

    fn run(&self, page: u64) -> Option<Run> {
        self.runs.run(page)
    }

    /// Makes dropping this leak the memory: it stays allocated for the lifetime of the allocator.
    fn leak_on_drop(&self) {
        self.leak_on_drop.set();
    }
}

/// A page of VRAM for a page table, which is freed on drop.
///
/// Before the drop, the owner must ensure that the GPU no longer uses the table: that no entry
/// points to it, and that the TLB has been invalidated since. If it cannot, it must call
/// [`Self::leak_on_drop`].
///
/// Dropping it may sleep; see the [module](self).
///
/// # Invariants
///
/// `address` is the start of `blocks`, a single block of 4 KiB. If `is_zero` is set, all bytes of
/// the page are zero.
pub(crate) struct TablePage {
    address: VramAddress,
    /// The page; [`None`] only during drop.
    blocks: Option<Pin<KBox<AllocatedBlocks>>>,
    /// The allocator, which gets the page if it is leaked.
    regions: Arc<Regions>,
    is_zero: bool,
    /// Whether the page is leaked instead of freed.
    leak_on_drop: Flag,
}

impl TablePage {
    /// Returns the address of the page, a multiple of 4 KiB.
    pub(crate) fn address(&self) -> VramAddress {
        self.address
    }

    /// Returns whether all bytes of the page are known to be zero.
    pub(crate) fn is_zero(&self) -> bool {
        self.is_zero
    }

    /// Records whether all bytes of the page are zero. A page that is freed as zero is not zeroed
    /// again when it becomes another page table.
    pub(crate) fn set_zero(&mut self, is_zero: bool) {
        // INVARIANT: Only the owner writes the page, so it knows the content.
        self.is_zero = is_zero;
    }

    /// Makes dropping this leak the page: it stays allocated for the lifetime of the allocator.
    pub(crate) fn leak_on_drop(&self) {
        self.leak_on_drop.set();
    }
}

impl Drop for TablePage {
    fn drop(&mut self) {
        let Some(mut blocks) = self.blocks.take() else {
            return;
        };
        if self.leak_on_drop.is_set() {
            self.regions.leak(blocks);
        } else if self.is_zero {
            blocks.as_mut().free_cleared();
        }
    }
}

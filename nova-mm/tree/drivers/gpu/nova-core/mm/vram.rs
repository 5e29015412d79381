// SPDX-License-Identifier: GPL-2.0

//! Who owns which part of VRAM.
//!
//! All of it is handed out by one [`VramAllocator`], as [`Vram`] for whatever is to be mapped or as
//! a [`TablePage`] for a page table. Dropping these frees the memory, unless the GPU may still
//! access it.
//!
//! # Context
//!
//! The allocator has a lock of its own, under which it allocates kernel memory. Hence allocating or
//! freeing VRAM may sleep and may wait for reclaim: jobs do so in the stages "prepare" and "free",
//! never in "run", and without holding a lock that "run" takes.

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

/// Sizes and alignments of blocks that an allocation can ask for, the largest one first.
const BLOCKS: [PageSize; 5] = [
    PageSize::Size256G,
    PageSize::Size512M,
    PageSize::Size2M,
    PageSize::Size64K,
    PageSize::Size4K,
];

/// The allocator of VRAM.
///
/// A clone is another handle to the same allocator, which lives until the last handle is dropped
/// and all that was allocated is freed. Any number of threads can use it at the same time.
#[derive(Clone)]
pub(crate) struct VramAllocator(Arc<Regions>);

/// The memory that a [`VramAllocator`] manages.
///
/// A buddy allocator aligns blocks in the range that it manages. That range begins at address zero,
/// whatever the first usable address is, so that the blocks are aligned in VRAM, too, and one
/// allocation can be made of memory from several regions.
///
/// # Invariants
///
/// All addresses of `buddy` that do not lie in a usable region belong to a block of `_holes`.
#[pin_data]
struct Regions {
    buddy: GpuBuddy,
    /// Keeps what is not usable from being allocated.
    _holes: KVec<Pin<KBox<AllocatedBlocks>>>,
    /// The sum of the sizes of the usable regions in bytes.
    size: u64,
    /// Blocks without an owner that must not be allocated again. No lock is taken and no memory
    /// allocated under this lock.
    #[pin]
    leaked: Mutex<Option<Pin<KBox<AllocatedBlocks>>>>,
}

impl Regions {
    /// Adds blocks of `buddy` to those that stay allocated. Does not allocate memory.
    fn leak(&self, mut blocks: Pin<KBox<AllocatedBlocks>>) {
        let mut leaked = self.leaked.lock();
        let Some(all) = &mut *leaked else {
            *leaked = Some(blocks);
            return;
        };
        let moved = all.as_mut().append(blocks.as_mut());
        drop(leaked);

        // This cannot fail, as the blocks are from the same allocator. Leaking them would still be
        // better than freeing them.
        if moved.is_err() {
            core::mem::forget(blocks);
        }
    }
}

impl VramAllocator {
    /// Creates an allocator of the memory in `regions`, half-open ranges in ascending order, whose
    /// bounds are multiples of 4 KiB.
    ///
    /// Context: may sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if there is no region, or if a region is empty or inverted, not aligned, or
    ///   starts before the end of the one before it.
    /// - [`ENOMEM`] if there is no memory for the allocator's own data.
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

        // INVARIANT: What lies before, between and after the regions is reserved, or beyond the
        // addresses of the allocator.
        for region in regions {
            // The bounds have to be those of pages.
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

    /// Returns the number of bytes of usable memory, allocated or not.
    ///
    /// Context: any.
    pub(crate) fn size(&self) -> u64 {
        self.0.size
    }

    /// Returns the number of bytes that have no owner and stay allocated; see
    /// [`Vram::leak_on_drop`].
    ///
    /// Context: may sleep.
    pub(crate) fn leaked(&self) -> u64 {
        match &*self.0.leaked.lock() {
            Some(blocks) => blocks.total_size(),
            None => 0,
        }
    }

    /// Returns the number of bytes that are not allocated.
    ///
    /// Context: may sleep. Other threads may change the value before the caller looks at it.
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    pub(crate) fn avail(&self) -> u64 {
        self.0.buddy.avail()
    }

    /// Allocates `size` bytes, not necessarily in one piece.
    ///
    /// The content is undefined: it may be what another process left there. Whoever hands the
    /// memory to user space has to clear it first.
    ///
    /// If possible, the memory comes in blocks that are at least `min_page` in size, and aligned to
    /// it; only the last ones may be smaller, if `size` is no multiple of it. If this is not
    /// possible, for there is not enough such memory, the next smaller size of a page is tried, and
    /// so on. Hence whoever maps the memory has to look at the ranges that it got.
    ///
    /// Context: may sleep, see the [module](self).
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `size` is zero or no multiple of 4 KiB.
    /// - [`E2BIG`] if `size` is more than all of the usable memory.
    /// - [`ENOSPC`] if there is not that much free memory.
    /// - [`ENOMEM`] if there is no memory for the allocator's own data.
    pub(crate) fn alloc(&self, size: u64, min_page: PageSize) -> Result<Vram> {
        if size == 0 || size % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        if size > self.size() {
            return Err(E2BIG);
        }

        for block in BLOCKS.into_iter().filter(|&block| block <= min_page) {
            match self.alloc_blocks(size, block) {
                // With `E2BIG`, `size` exceeds the memory only when rounded up to such blocks.
                Err(error) if error == ENOSPC || error == E2BIG => continue,
                result => return result,
            }
        }

        Err(ENOSPC)
    }

    /// Allocates a page for a page table, at the top of VRAM.
    ///
    /// That keeps page tables together and away from the memory that they map, whose large blocks
    /// they would otherwise split. Pages that are [known to be zero](TablePage::is_zero) are
    /// preferred.
    ///
    /// Context: may sleep, see the [module](self).
    ///
    /// # Errors
    ///
    /// - [`ENOSPC`] if there is no free page.
    /// - [`ENOMEM`] if there is no memory for the allocator's own data.
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

        // INVARIANT: `address` is that of the only block. A block that is marked clear was freed by
        // the owner of a `TablePage` that it knew to be zero.
        Ok(TablePage {
            address,
            blocks: Some(blocks),
            regions: self.0.clone(),
            is_zero,
            leak_on_drop: Flag::new(),
        })
    }

    /// Allocates `size` bytes in blocks of at least `block`.
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

/// VRAM that is allocated, and freed when this is dropped.
///
/// It can be shared between threads. Dropping it may sleep; see the [module](self).
pub(crate) struct Vram {
    /// The memory; [`None`] only while this is being dropped.
    blocks: Option<Pin<KBox<AllocatedBlocks>>>,
    /// Where it is, in the order in which it is mapped.
    runs: Runs,
    /// New owner of the memory if it has to stay allocated.
    regions: Arc<Regions>,
    /// Whether it has to.
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

    /// Returns where the memory is, in the order in which it is mapped. Does not sleep.
    ///
    /// The ranges are half-open. The size of each is a power of two, at least 4 KiB and at most
    /// that of the range before it, and its start is a multiple of its size. So if the first one is
    /// mapped at a multiple of its size, then all of them are.
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

    /// Keeps the memory allocated for as long as the allocator exists, even after this is dropped.
    fn leak_on_drop(&self) {
        self.leak_on_drop.set();
    }
}

/// A page of VRAM for a page table, which is freed when this is dropped.
///
/// The owner makes sure that the GPU no longer uses the table: no entry points to it, and the TLB
/// has been invalidated since. If it cannot, it calls [`Self::leak_on_drop`].
///
/// Dropping it may sleep; see the [module](self).
///
/// # Invariants
///
/// `address` is the start of `blocks`, a single block of 4 KiB. If `is_zero` is set, all bytes of
/// the page are zero.
pub(crate) struct TablePage {
    address: VramAddress,
    /// The page; [`None`] only while this is being dropped.
    blocks: Option<Pin<KBox<AllocatedBlocks>>>,
    /// New owner of the page if it has to stay allocated.
    regions: Arc<Regions>,
    is_zero: bool,
    /// Whether the page has to stay allocated.
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

    /// Records whether all bytes of the page are zero. If so when the page is freed, it need not be
    /// zeroed again before it becomes another page table.
    pub(crate) fn set_zero(&mut self, is_zero: bool) {
        // INVARIANT: The owner knows what the page contains, as no one else writes it.
        self.is_zero = is_zero;
    }

    /// Keeps the page allocated for as long as the allocator exists, even after this is dropped.
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

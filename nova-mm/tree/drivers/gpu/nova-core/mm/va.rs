// SPDX-License-Identifier: GPL-2.0

//! Allocation of virtual addresses.
//!
//! BAR1 requests aligned ranges from the top down. A private tree tracks the ranges in use because
//! `RBTree` cannot search for gaps, and `MapleTreeAlloc` neither aligns ranges nor searches
//! downwards, and is neither [`Send`] nor [`Sync`].

use core::ops::Range;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::mm::address::{
    PageSize,
    Vfn, //
};

mod gap;
mod tree;

use gap::Layout;
use tree::{
    Node,
    RangeTree, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod tests;

/// The virtual addresses of an address space, and which of them are in use.
///
/// Reserving and freeing a range takes logarithmic time in the number of ranges in use, independent
/// of size and alignment.
///
/// The mutex protects the set of ranges in use. While it is held, no other lock is taken and no
/// memory is allocated or freed, so that a range can be freed wherever sleeping is allowed.
#[pin_data]
pub(crate) struct VaSpace {
    /// The addresses that can be reserved.
    limits: Range<Vfn>,
    /// The ranges in use, which lie in `limits`.
    #[pin]
    used: Mutex<RangeTree>,
}

impl VaSpace {
    /// Creates an allocator of the addresses `limits`, in an address space whose addresses have
    /// `va_bits` bits. May sleep, because it allocates memory.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `limits` is empty, or contains addresses with more bits.
    /// - [`ENOMEM`] if memory allocation fails.
    pub(crate) fn new(limits: Range<Vfn>, va_bits: u32) -> Result<Arc<Self>> {
        let end = limits.end.address().into_raw();
        // Addresses of 64 bits have no bound to check.
        let is_beyond = 1u64.checked_shl(va_bits).is_some_and(|size| end > size);
        if limits.is_empty() || is_beyond {
            return Err(EINVAL);
        }

        Arc::pin_init(
            pin_init!(Self {
                limits,
                used <- new_mutex!(RangeTree::new(), "nova_core_mm_va"),
            }),
            GFP_KERNEL,
        )
    }

    /// Reserves a range of addresses, which is in use until the [`VaRange`] is dropped. May sleep,
    /// because it allocates memory.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the range is empty, or a fixed range is not within the limits.
    /// - [`EBUSY`] if a part of a fixed range is in use.
    /// - [`ENOSPC`] if no free range has the requested size and alignment.
    /// - [`ENOMEM`] if memory allocation fails.
    pub(crate) fn reserve(self: &Arc<Self>, request: VaRequest) -> Result<VaRange> {
        // Declared before the guard so that, on error, it is freed after the lock is released.
        let node = Node::new(GFP_KERNEL)?;

        let mut used = self.used.lock();
        let pages = self.find(&used, request)?;
        used.insert(node, pages.clone());
        drop(used);

        // INVARIANT: `pages` has just been inserted, and was not in use before.
        Ok(VaRange {
            space: self.clone(),
            pages,
        })
    }

    /// Finds a free range that meets `request`.
    fn find(&self, used: &RangeTree, request: VaRequest) -> Result<Range<Vfn>> {
        match request {
            VaRequest::Highest { pages, align } => {
                if pages == 0 {
                    return Err(EINVAL);
                }

                used.highest_free(self.limits.clone(), &Layout { pages, align })
                    .ok_or(ENOSPC)
            }
            VaRequest::Fixed(pages) => {
                let limits = &self.limits;
                if pages.is_empty() || pages.start < limits.start || pages.end > limits.end {
                    return Err(EINVAL);
                }
                if used.overlaps(&pages) {
                    return Err(EBUSY);
                }

                Ok(pages)
            }
        }
    }
}

/// A request for a range of virtual addresses.
#[derive(Clone, Debug)]
pub(crate) enum VaRequest {
    /// The highest free range.
    Highest {
        /// Number of pages of 4 KiB.
        pages: u64,
        /// Alignment of the first address.
        align: PageSize,
    },
    /// Exactly this range.
    Fixed(Range<Vfn>),
}

/// A range of virtual addresses in use.
///
/// Dropping it frees the range, which may sleep. The owner must keep it while the GPU may use an
/// address of the range through a mapping or a TLB entry.
///
/// # Invariants
///
/// `pages` is one of the ranges that `space` has in use, and no other object owns it.
pub(crate) struct VaRange {
    space: Arc<VaSpace>,
    pages: Range<Vfn>,
}

impl VaRange {
    /// Returns the pages.
    pub(crate) fn pages(&self) -> Range<Vfn> {
        self.pages.clone()
    }
}

impl Drop for VaRange {
    fn drop(&mut self) {
        let node = self.space.used.lock().remove(self.pages.start);
        // The guard was dropped with the statement above: the node is freed without the lock.
        drop(node);
    }
}

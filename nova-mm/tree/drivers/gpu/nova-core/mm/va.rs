// SPDX-License-Identifier: GPL-2.0

//! Allocation of virtual addresses.

use core::ops::Range;

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        Arc,
        Mutex,
        UniqueArc, //
    }, //
};

use crate::mm::{
    address::{
        PageSize,
        Vfn, //
    },
    format::Format, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// The virtual addresses of an address space, and which of them are in use.
///
/// The lock inside protects the set of ranges that are in use. It is a leaf: nothing is locked and
/// nothing is allocated while it is held, so that a range can be freed wherever sleeping is
/// allowed.
#[pin_data]
pub(crate) struct VaSpace {
    /// What can be handed out.
    limits: Range<Vfn>,
    /// The ranges in use, the end of each by its start.
    ///
    /// They lie in `limits`, are not empty and do not overlap.
    #[pin]
    used: Mutex<RBTree<Vfn, Vfn>>,
}

impl VaSpace {
    /// Creates the addresses `limits` of an address space whose tables are of format `F`.
    ///
    /// Context: may sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `limits` is empty, or the format has no such addresses.
    /// - [`ENOMEM`] if there is no memory.
    pub(crate) fn new<F: Format>(limits: Range<Vfn>) -> Result<Arc<Self>> {
        if limits.is_empty() || limits.end.address().into_raw() > 1 << F::VA_BITS {
            return Err(EINVAL);
        }

        Arc::pin_init(
            pin_init!(Self {
                limits,
                used <- new_mutex!(RBTree::new(), "nova_mm_va"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns what can be handed out, used or not.
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    pub(crate) fn limits(&self) -> Range<Vfn> {
        self.limits.clone()
    }

    /// Takes a range of addresses.
    ///
    /// The search for a free range looks at the ranges in use in the order of their addresses.
    ///
    /// Context: may sleep; allocates.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the range is empty or not within the limits.
    /// - [`EBUSY`] if a part of a fixed range is in use.
    /// - [`ENOSPC`] if there is no free range that fits.
    /// - [`ENOMEM`] if there is no memory.
    pub(crate) fn reserve(self: &Arc<Self>, request: VaRequest) -> Result<Arc<VaRange>> {
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        // What is handed out is made before the range is taken, so that nothing has to be undone.
        let mut range = VaRange::vacant(self)?;

        let mut used = self.used.lock();
        let pages = match request {
            VaRequest::Any { pages, align } => self.find(&used, pages, align)?,
            VaRequest::Highest { pages, align } => self.find_highest(&used, pages, align)?,
            VaRequest::Fixed(pages) => self.check(&used, pages)?,
        };
        used.insert(node.into_node(pages.start, pages.end));
        drop(used);

        range.pages = pages;
        Ok(range.into())
    }

    /// Returns the lowest free range of `pages` pages that is aligned to `align`.
    fn find(&self, used: &RBTree<Vfn, Vfn>, pages: u64, align: PageSize) -> Result<Range<Vfn>> {
        if pages == 0 {
            return Err(EINVAL);
        }

        let fits = |from: Vfn, to: Vfn| -> Result<Option<Range<Vfn>>> {
            let start = Vfn::new(
                from.into_raw()
                    .checked_next_multiple_of(align.pages())
                    .ok_or(EOVERFLOW)?,
            )?;
            let end = start.checked_add(pages)?;

            Ok((end <= to).then_some(start..end))
        };
        // Beyond the last address, nothing fits.
        let fits = |from, to| fits(from, to).unwrap_or(None);

        let mut free = self.limits.start;
        for (&start, &end) in used {
            if let Some(range) = fits(free, start) {
                return Ok(range);
            }
            free = end;
        }

        fits(free, self.limits.end).ok_or(ENOSPC)
    }

    /// Returns the highest free range of `pages` pages that is aligned to `align`.
    fn find_highest(
        &self,
        used: &RBTree<Vfn, Vfn>,
        pages: u64,
        align: PageSize,
    ) -> Result<Range<Vfn>> {
        if pages == 0 {
            return Err(EINVAL);
        }

        let fits = |from: Vfn, to: Vfn| -> Option<Range<Vfn>> {
            let start = to.into_raw().checked_sub(pages)?;
            // A power of two.
            let start = Vfn::new(start & !(align.pages() - 1)).ok()?;

            (start >= from).then_some(start..start.checked_add(pages).ok()?)
        };

        let mut highest = None;
        let mut free = self.limits.start;
        for (&start, &end) in used {
            highest = fits(free, start).or(highest);
            free = end;
        }

        fits(free, self.limits.end).or(highest).ok_or(ENOSPC)
    }

    /// Checks that `pages` can be taken, and returns them.
    fn check(&self, used: &RBTree<Vfn, Vfn>, pages: Range<Vfn>) -> Result<Range<Vfn>> {
        if pages.is_empty() || pages.start < self.limits.start || pages.end > self.limits.end {
            return Err(EINVAL);
        }
        // The ranges in use do not overlap, so that the last one which starts below the end of
        // `pages` is the one that reaches furthest.
        let before = match used.cursor_lower_bound(&pages.end) {
            Some(after) => after.peek_prev().map(|(_, &end)| end),
            None => used.cursor_back().map(|last| *last.current().1),
        };

        match before {
            Some(end) if end > pages.start => Err(EBUSY),
            _ => Ok(pages),
        }
    }
}

/// Which virtual addresses are asked for.
#[derive(Clone, Debug)]
pub(crate) enum VaRequest {
    /// The lowest that are free.
    Any {
        /// How many pages of 4 KiB.
        pages: u64,
        /// What the first address is a multiple of.
        align: PageSize,
    },
    /// The highest that are free.
    Highest {
        /// How many pages of 4 KiB.
        pages: u64,
        /// Alignment of the first address.
        align: PageSize,
    },
    /// Exactly these.
    Fixed(Range<Vfn>),
}

/// A range of virtual addresses in use.
///
/// It is free again once the last reference is dropped, which may sleep. Whoever may still use an
/// address, as a mapping or as an entry of a TLB, holds a reference.
///
/// # Invariants
///
/// `pages` is empty, or one of the ranges that `space` has in use, and this is the only object that
/// stands for it.
pub(crate) struct VaRange {
    space: Arc<VaSpace>,
    pages: Range<Vfn>,
}

impl VaRange {
    /// Makes an object without addresses.
    fn vacant(space: &Arc<VaSpace>) -> Result<UniqueArc<Self>> {
        let zero = Vfn::new(0)?;

        // INVARIANT: The range is empty.
        Ok(UniqueArc::new(
            Self {
                space: space.clone(),
                pages: zero..zero,
            },
            GFP_KERNEL,
        )?)
    }

    /// Returns the pages.
    pub(crate) fn pages(&self) -> Range<Vfn> {
        self.pages.clone()
    }

    /// Returns whether the addresses are of `space`.
    pub(crate) fn is_of(&self, space: &Arc<VaSpace>) -> bool {
        Arc::ptr_eq(&self.space, space)
    }

    /// Returns whether `pages` is not empty and lies in the range.
    pub(crate) fn contains(&self, pages: &Range<Vfn>) -> bool {
        !pages.is_empty() && pages.start >= self.pages.start && pages.end <= self.pages.end
    }
}

impl Drop for VaRange {
    fn drop(&mut self) {
        if !self.pages.is_empty() {
            let node = self.space.used.lock().remove_node(&self.pages.start);
            // Freed without the lock.
            drop(node);
        }
    }
}

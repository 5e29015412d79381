// SPDX-License-Identifier: GPL-2.0

//! Gaps between ranges in use, and the aligned ranges that fit into them.

use core::ops::Range;

use crate::mm::address::{
    PageSize,
    Vfn, //
};

/// Size and alignment of a range of pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Number of pages of 4 KiB, at least one.
    pub(super) pages: u64,
    /// Alignment of the first page.
    pub(super) align: PageSize,
}

impl Layout {
    /// Returns whether a range of this layout fits into `gap`.
    pub(super) fn fits(&self, gap: &Range<Vfn>) -> bool {
        self.pages <= aligned_pages(gap, self.align)
    }

    /// Returns the highest range of this layout in `gap`, or [`None`] if there is none.
    pub(super) fn highest(&self, gap: &Range<Vfn>) -> Option<Range<Vfn>> {
        let unaligned = gap.end.into_raw().checked_sub(self.pages)?;
        let start = Vfn::new(unaligned - unaligned % self.align.pages()).ok()?;
        if start < gap.start {
            return None;
        }

        Some(start..start.checked_add(self.pages).ok()?)
    }
}

/// The alignments that a range can be requested with.
pub(super) const ALIGNMENTS: [PageSize; 5] = [
    PageSize::Size4K,
    PageSize::Size64K,
    PageSize::Size2M,
    PageSize::Size512M,
    PageSize::Size256G,
];

/// The size of the largest range that fits into any of a set of gaps, for each alignment.
///
/// The sizes of the gaps alone do not decide whether an aligned range fits: if a gap is larger than
/// the range by less than the alignment, the range may or may not fit. A search by size could end
/// in one such gap after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LargestFit {
    /// Number of pages, in the order of [`ALIGNMENTS`].
    pages: [u64; ALIGNMENTS.len()],
}

impl LargestFit {
    /// No gaps.
    pub(super) const NONE: Self = Self {
        pages: [0; ALIGNMENTS.len()],
    };

    /// Returns the sizes for a single gap.
    pub(super) fn of(gap: &Range<Vfn>) -> Self {
        Self {
            pages: ALIGNMENTS.map(|align| aligned_pages(gap, align)),
        }
    }

    /// Returns the sizes for the gaps of `self` and `other` together.
    pub(super) fn max(mut self, other: Self) -> Self {
        for (pages, other) in self.pages.iter_mut().zip(other.pages) {
            *pages = other.max(*pages);
        }

        self
    }

    /// Returns whether a range of `layout` fits into any of the gaps.
    pub(super) fn fits(&self, layout: &Layout) -> bool {
        let [aligned_4k, aligned_64k, aligned_2m, aligned_512m, aligned_256g] = self.pages;

        layout.pages
            <= match layout.align {
                PageSize::Size4K => aligned_4k,
                PageSize::Size64K => aligned_64k,
                PageSize::Size2M => aligned_2m,
                PageSize::Size512M => aligned_512m,
                PageSize::Size256G => aligned_256g,
            }
    }
}

/// Returns the number of pages from the first aligned page of `gap` to its end.
///
/// This is the size of the largest range with this alignment that fits into `gap`.
fn aligned_pages(gap: &Range<Vfn>, align: PageSize) -> u64 {
    let start = gap.start.into_raw();

    match start.checked_next_multiple_of(align.pages()) {
        Some(start) => gap.end.into_raw().saturating_sub(start),
        None => 0,
    }
}

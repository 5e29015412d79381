// SPDX-License-Identifier: GPL-2.0

//! Validation of the invariants of a tree, for tests.

use super::*;
use crate::mm::va::{
    gap::ALIGNMENTS,
    tests::ensure_eq, //
};

impl RangeTree {
    /// Checks the invariants of the tree, and returns its ranges in ascending order.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`], after logging a message, if an invariant is broken.
    /// - [`ENOMEM`] if memory allocation fails.
    pub(in crate::mm::va) fn check(&self) -> Result<KVec<Range<Vfn>>> {
        let mut ranges = KVec::new();
        check(&self.root, &mut ranges)?;

        Ok(ranges)
    }
}

/// Checks a subtree, appends its ranges to `ranges`, and returns its height.
fn check(subtree: &Link, ranges: &mut KVec<Range<Vfn>>) -> Result<u8> {
    let Some(node) = subtree else {
        return Ok(0);
    };

    let first = ranges.len();
    let low = check(&node.low, ranges)?;
    ranges.push(node.pages.clone(), GFP_KERNEL)?;
    let high = check(&node.high, ranges)?;
    ensure_eq(low.abs_diff(high) <= 1, true)?;
    ensure_eq(node.height, 1 + low.max(high))?;
    check_ranges(node, ranges.get(first..).ok_or(EINVAL)?)?;

    Ok(node.height)
}

/// Compares the data cached in `node` with the ranges of its subtree.
fn check_ranges(node: &Node, ranges: &[Range<Vfn>]) -> Result {
    for pages in ranges {
        ensure_eq(pages.is_empty(), false)?;
    }
    let (Some(lowest), Some(highest)) = (ranges.first(), ranges.last()) else {
        return Err(EINVAL);
    };
    ensure_eq(&node.span, &(lowest.start..highest.end))?;

    for align in ALIGNMENTS {
        let mut largest = 0;
        for pair in ranges.windows(2) {
            let [below, above] = pair else {
                return Err(EINVAL);
            };
            ensure_eq(below.end <= above.start, true)?;
            largest = largest.max(aligned_pages(below.end, above.start, align.pages()));
        }
        for (pages, fits) in [(largest, true), (largest + 1, false)] {
            ensure_eq(node.gaps.fits(&Layout { pages, align }), fits)?;
        }
    }

    Ok(())
}

/// Returns the number of pages in a gap that follow its first multiple of `align`.
fn aligned_pages(start: Vfn, end: Vfn, align: u64) -> u64 {
    let (start, end) = (start.into_raw(), end.into_raw());
    let skipped = (align - start % align) % align;

    (end - start).saturating_sub(skipped)
}

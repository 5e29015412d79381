// SPDX-License-Identifier: GPL-2.0

//! Ranges of pages, cut up by the entries of a level.

use core::ops::Range;

use crate::{
    mm::{
        address::PageSize,
        format::Level, //
    },
    num::u64_as_usize, //
};

/// The part of a range of pages that one entry of a level spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Index of the entry in its table.
    pub(super) index: usize,
    /// Numbers of the pages of the range that the entry spans, not empty.
    pub(super) pages: Range<u64>,
    /// Whether these are all pages that the entry spans.
    pub(super) is_whole: bool,
}

impl Slot {
    /// Returns how many pages of the range the entry spans.
    pub(super) fn len(&self) -> u64 {
        self.pages.end - self.pages.start
    }
}

/// Cuts a range, given by the numbers of its pages, up by the entries of `level`.
///
/// The entries may lie in more than one table.
pub(super) fn slots(level: &Level, pages: &Range<u64>) -> impl Iterator<Item = Slot> {
    // Both are powers of two. To divide by them would leave a check for zero in each caller.
    let shift = level.shift - PageSize::Size4K.shift();
    let last = (1u64 << level.bits) - 1;
    let Range { start, end } = *pages;
    let mut next = start;

    core::iter::from_fn(move || {
        if next >= end {
            return None;
        }

        let entry = next >> shift;
        let pages = next..end.min((entry + 1) << shift);
        next = pages.end;

        Some(Slot {
            index: u64_as_usize(entry & last),
            is_whole: pages.end - pages.start == 1 << shift,
            pages,
        })
    })
}

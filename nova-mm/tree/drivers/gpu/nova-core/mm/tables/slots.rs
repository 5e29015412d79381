// SPDX-License-Identifier: GPL-2.0

//! Ranges of pages, split by the entries of a level.

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
    /// Whether the range contains all pages that the entry spans.
    pub(super) is_whole: bool,
}

impl Slot {
    /// Returns how many pages of the range the entry spans.
    pub(super) fn len(&self) -> u64 {
        self.pages.end - self.pages.start
    }
}

/// Splits a range of page numbers by the entries of `level`, which may lie in several tables.
pub(super) fn slots(level: &Level, pages: &Range<u64>) -> impl Iterator<Item = Slot> {
    // Shifts replace divisions by powers of two, because the compiler would check for division by
    // zero in each caller.
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

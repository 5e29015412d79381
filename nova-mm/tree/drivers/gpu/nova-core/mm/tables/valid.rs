// SPDX-License-Identifier: GPL-2.0

//! A map of the valid entries of a table of pages.

use core::ops::Range;

use crate::num::{
    u32_as_usize,
    usize_as_u64, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// Number of entries of the largest table of pages.
const ENTRIES: usize = 512;

/// Number of entries that a word of the map covers.
const WORD: usize = u32_as_usize(u64::BITS);

/// A map with a bit for each entry of a table of pages, which is set if the entry is valid.
///
/// It takes the place of a copy of the entries, which can be derived from the mappings of the
/// address space.
pub(super) struct ValidMap([u64; ENTRIES / WORD]);

impl ValidMap {
    /// Creates a map in which no bit is set.
    pub(super) const fn new() -> Self {
        Self([0; ENTRIES / WORD])
    }

    /// Sets the bits of `entries`, and returns how many of them were set before.
    pub(super) fn set(&mut self, entries: &Range<usize>) -> usize {
        let mut before = 0;
        for (word, mask) in words(entries) {
            if let Some(bits) = self.0.get_mut(word) {
                before += u32_as_usize((*bits & mask).count_ones());
                *bits |= mask;
            }
        }

        before
    }

    /// Clears the bits of `entries`, and returns how many of them were set before.
    pub(super) fn clear(&mut self, entries: &Range<usize>) -> usize {
        let before = self.count(entries);
        for (word, mask) in words(entries) {
            if let Some(bits) = self.0.get_mut(word) {
                *bits &= !mask;
            }
        }

        before
    }

    /// Returns how many bits of `entries` are set.
    pub(super) fn count(&self, entries: &Range<usize>) -> usize {
        words(entries)
            .filter_map(|(word, mask)| Some(self.0.get(word)? & mask))
            .map(|bits| u32_as_usize(bits.count_ones()))
            .sum()
    }

    /// Returns whether the bit of an entry is set.
    pub(super) fn is_set(&self, entry: usize) -> bool {
        self.count(&(entry..entry + 1)) > 0
    }

    /// Returns the first contiguous range of set bits within `entries`, or [`None`] if none is set.
    pub(super) fn first_run(&self, entries: &Range<usize>) -> Option<Range<usize>> {
        let start = self.next(entries, true)?;
        let end = self.next(&(start..entries.end), false);

        Some(start..end.unwrap_or(entries.end))
    }

    /// Returns the first of `entries` whose bit is set or, if `is_set` is false, is clear.
    fn next(&self, entries: &Range<usize>, is_set: bool) -> Option<usize> {
        words(entries).find_map(|(word, mask)| {
            let bits = *self.0.get(word)?;
            let found = if is_set { bits } else { !bits } & mask;

            (found != 0).then(|| word * WORD + u32_as_usize(found.trailing_zeros()))
        })
    }
}

/// Returns the words that contain the bits of `entries`, each with a mask of these bits.
fn words(entries: &Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    let Range { start, end } = *entries;

    (start / WORD..end.div_ceil(WORD)).map(move |word| {
        let first = start.saturating_sub(word * WORD);
        let last = (end - word * WORD).min(WORD);
        // Neither shift is by all bits: `first` and `WORD - last` are below `WORD`.
        let mask = (u64::MAX << usize_as_u64(first)) & (u64::MAX >> usize_as_u64(WORD - last));

        (word, mask)
    })
}

// SPDX-License-Identifier: GPL-2.0

//! What should be mapped: a sorted list, written without a look at the code under test.

use core::ops::Range;

use kernel::prelude::*;

/// Pages that are mapped to pages of VRAM which lie one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Number of the first page.
    pub(super) start: u64,
    /// Number of the page behind the last one.
    pub(super) end: u64,
    /// Number of the page of VRAM that the first page is mapped to.
    pub(super) frame: u64,
    /// Whether writes fault.
    pub(super) read_only: bool,
    /// Which allocation of memory it is.
    pub(super) memory: u64,
    /// Which reservation of addresses it is.
    pub(super) area: u64,
}

impl Extent {
    /// Returns the part of it from `start` to `end`, if there is one.
    fn part(&self, start: u64, end: u64) -> Option<Self> {
        let start = start.max(self.start);
        let part = Self {
            start,
            end: end.min(self.end),
            frame: self.frame + start.saturating_sub(self.start),
            ..*self
        };

        (part.start < part.end).then_some(part)
    }
}

/// What should be mapped.
pub(super) struct Oracle(KVec<Extent>);

impl Oracle {
    pub(super) fn new() -> Self {
        Self(KVec::new())
    }

    /// Returns all that is mapped, in the order of addresses.
    pub(super) fn extents(&self) -> &[Extent] {
        &self.0
    }

    /// Returns what is mapped at a page: the page of VRAM, and whether writes fault.
    pub(super) fn at(&self, page: u64) -> Option<(u64, bool)> {
        let behind = self.0.partition_point(|extent| extent.start <= page);
        let extent = self.0.get(behind.checked_sub(1)?)?.part(page, page + 1)?;

        Some((extent.frame, extent.read_only))
    }

    /// Returns what is mapped at `pages`, cut to them.
    pub(super) fn within<'a>(&'a self, pages: &'a Range<u64>) -> impl Iterator<Item = Extent> + 'a {
        self.0
            .iter()
            .filter_map(|extent| extent.part(pages.start, pages.end))
    }

    /// Puts `new`, which lies in `pages`, in place of what is mapped there.
    pub(super) fn replace(&mut self, pages: &Range<u64>, new: &[Extent]) -> Result {
        let mut extents = KVec::with_capacity(self.0.len() + new.len() + 1, GFP_KERNEL)?;

        for extent in &self.0 {
            let below = extent.part(0, pages.start);
            let above = extent.part(pages.end, u64::MAX);
            for part in [below, above].into_iter().flatten() {
                extents.push(part, GFP_KERNEL)?;
            }
        }
        extents.extend_from_slice(new, GFP_KERNEL)?;
        extents.sort_unstable_by_key(|extent| extent.start);
        self.0 = extents;

        Ok(())
    }

    /// Makes what is mapped at `pages` read-only, or no longer.
    pub(super) fn protect(&mut self, pages: &Range<u64>, read_only: bool) -> Result {
        let mut changed = KVec::new();
        for extent in self.within(pages) {
            changed.push(
                Extent {
                    read_only,
                    ..extent
                },
                GFP_KERNEL,
            )?;
        }

        self.replace(pages, &changed)
    }
}

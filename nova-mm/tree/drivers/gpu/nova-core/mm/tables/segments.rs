// SPDX-License-Identifier: GPL-2.0

//! The backing of a range of pages, split by the page sizes that can map it.

use core::ops::Range;

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        PAGE_SIZE, //
    },
    format::{
        Level,
        MmuFormat,
        PageSizes,
        PteRun, //
    },
    hw::MmuHw,
    memory::{
        Backing,
        Run, //
    },
    tables::slots::Slot, //
};

/// Number of pages in a page of 64 KiB.
const BIG: u64 = PageSize::Size64K.pages();

/// The backing of a range of pages, and the properties of the MMU that determine how to map it.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// The backing of the range that starts with page `start`.
    pub(super) backing: &'a Backing,
    pub(super) start: u64,
    pub(super) format: &'static dyn MmuFormat,
    pub(super) sizes: PageSizes,
}

/// Pages that entries of one size map to contiguous memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Numbers of the pages, not empty.
    pub(super) pages: Range<u64>,
    /// Whether pages of 64 KiB can map them, and not only pages of 4 KiB.
    pub(super) is_big: bool,
    /// Address of the memory in bytes.
    address: u64,
}

impl<'a> Source<'a> {
    pub(super) fn new(hw: &MmuHw, backing: &'a Backing, start: u64) -> Self {
        Self {
            backing,
            start,
            format: hw.format(),
            sizes: hw.page_sizes(),
        }
    }

    /// Returns the contiguous memory from `page` on.
    fn run(&self, page: u64) -> Result<Run> {
        self.backing.run(page - self.start)
    }

    /// Returns the number of entries of a table of pages of 4 KiB.
    pub(super) fn last_level_entries(&self) -> Result<u64> {
        let level = self.format.levels().last().ok_or(EINVAL)?;

        Ok(u64::try_from(level.entries())?)
    }

    /// Returns whether entries of `level` can map this memory, as pages or as sparse entries.
    fn is_leaf(&self, level: &Level) -> bool {
        match level.leaf {
            Some(PageSize::Size2M | PageSize::Size512M) if self.backing.is_sparse() => true,
            Some(size) => self.sizes.contains(size) && self.backing.allows(size),
            None => false,
        }
    }

    /// Returns the number and the words of the entries of `level` that can map contiguous memory as
    /// large pages, starting with the entry of `slot`, or [`None`] if that entry cannot.
    ///
    /// All of them lie within `pages` and within the table of `slot`.
    pub(super) fn large(
        &self,
        level: &Level,
        slot: &Slot,
        pages: &Range<u64>,
    ) -> Result<Option<(usize, PteRun)>> {
        let Some(size) = level.leaf.filter(|_| slot.is_whole && self.is_leaf(level)) else {
            return Ok(None);
        };
        let run = self.run(slot.pages.start)?;
        let in_range = (pages.end - slot.pages.start).min(run.pages) / size.pages();
        let count = usize::try_from(in_range)?.min(level.entries() - slot.index);
        if count == 0 || run.address % size.bytes() != 0 {
            return Ok(None);
        }

        Ok(Some((count, self.encode(run.address, size, count, level)?)))
    }

    fn encode(&self, address: u64, size: PageSize, count: usize, level: &Level) -> Result<PteRun> {
        if self.backing.is_sparse() {
            let [first, _] = self.format.encode_sparse(level.kind);

            return Ok(PteRun { first, step: 0 });
        }

        self.backing
            .encode(self.format, address, size, u64::try_from(count)?)
    }

    /// Returns the first part of `pages`, not empty, that entries of one size can map.
    pub(super) fn segment(&self, pages: &Range<u64>) -> Result<Segment> {
        let Range { start, end } = *pages;
        let run = self.run(start)?;
        let len = run.pages.min(end - start);
        // Distances in pages of `start` and of the memory from the next multiple of 64 KiB.
        let gap = start.wrapping_neg() % BIG;
        let address_gap = (run.address / PAGE_SIZE).wrapping_neg() % BIG;
        let can_be_big = self.backing.allows(PageSize::Size64K) && gap == address_gap;

        let (len, is_big) = if !can_be_big || len < gap + BIG {
            (len, false)
        } else if gap > 0 {
            (gap, false)
        } else {
            (len - len % BIG, true)
        };

        Ok(Segment {
            pages: start..start + len,
            is_big,
            address: run.address,
        })
    }

    /// Returns the words of the entries of a segment, as pages of 64 KiB or 4 KiB.
    pub(super) fn encode_segment(&self, segment: &Segment, is_big: bool) -> Result<PteRun> {
        let size = if is_big {
            PageSize::Size64K
        } else {
            PageSize::Size4K
        };
        let count = usize::try_from((segment.pages.end - segment.pages.start) / size.pages())?;
        let last_level = self.format.levels().last().ok_or(EINVAL)?;

        self.encode(segment.address, size, count, last_level)
    }

    /// Returns the words of the 4 KiB entries of `pages`, whose memory must be contiguous.
    pub(super) fn encode_small(&self, pages: &Range<u64>) -> Result<PteRun> {
        let segment = Segment {
            pages: pages.clone(),
            is_big: false,
            address: self.run(pages.start)?.address,
        };

        self.encode_segment(&segment, false)
    }
}

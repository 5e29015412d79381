// SPDX-License-Identifier: GPL-2.0

//! The memory behind a mapping, in the order of its pages.

use core::ops::Range;

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        Pfn,
        VramAddress, //
    },
    format::Level,
    tables::slots::Slot, //
};

/// Ranges of VRAM that are mapped one behind the other, and how far the mapping has got.
pub(super) struct Extents<I> {
    /// The ranges not looked at yet.
    rest: I,
    /// What is left of the current range, as numbers of pages.
    current: Range<u64>,
}

impl<I: Iterator<Item = Range<VramAddress>>> Extents<I> {
    /// Starts `skip` pages behind the beginning of `ranges`.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the ranges have fewer pages, or one is not aligned to pages.
    pub(super) fn new(ranges: I, skip: u64) -> Result<Self> {
        let mut extents = Self {
            rest: ranges,
            current: 0..0,
        };
        extents.skip(skip)?;

        Ok(extents)
    }

    /// Returns how many pages lie one behind the other from here on, at least one.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there is no page left, or the next range is not aligned to pages.
    fn contiguous(&mut self) -> Result<u64> {
        while self.current.is_empty() {
            let next = self.rest.next().ok_or(EINVAL)?;
            self.current =
                Pfn::try_from(next.start)?.into_raw()..Pfn::try_from(next.end)?.into_raw();
        }

        Ok(self.current.end - self.current.start)
    }

    /// Takes the next page.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there is none, or the next range is not aligned to pages.
    pub(super) fn take(&mut self) -> Result<Pfn> {
        self.contiguous()?;
        let page = Pfn::new(self.current.start)?;
        self.current.start += 1;

        Ok(page)
    }

    /// Takes the pages of `slot` as one large page, if they and the entry of `level` can be one:
    /// the slot is whole, and the pages lie one behind the other and are aligned.
    ///
    /// The only large pages are those of 2 MiB, which all chips have.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there is no page left, or a range is not aligned to pages.
    pub(super) fn take_large(&mut self, level: &Level, slot: &Slot) -> Result<Option<Pfn>> {
        if level.leaf != Some(PageSize::Size2M)
            || !slot.is_whole
            || self.contiguous()? < slot.len()
            || self.current.start % PageSize::Size2M.pages() != 0
        {
            return Ok(None);
        }
        let first = Pfn::new(self.current.start)?;
        self.current.start += slot.len();

        Ok(Some(first))
    }

    /// Takes `count` pages, wherever they are.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there are fewer, or a range is not aligned to pages.
    pub(super) fn skip(&mut self, count: u64) -> Result {
        let mut left = count;
        while left > 0 {
            let pages = self.contiguous()?.min(left);
            self.current.start += pages;
            left -= pages;
        }

        Ok(())
    }
}

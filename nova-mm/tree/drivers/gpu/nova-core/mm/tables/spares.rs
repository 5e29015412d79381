// SPDX-License-Identifier: GPL-2.0

//! Page tables that are allocated before it is known whether they are needed.

use core::ops::Range;

use kernel::prelude::*;

use crate::mm::{
    address::VramAddress,
    format::{
        EntryKind,
        Format,
        Level, //
    },
    stack::Stack,
    tables::{
        extents::Extents,
        node::Node,
        slots::slots, //
    },
    vram::VramAllocator, //
};

/// The new tables that an operation may need, by level.
///
/// What the operation will find when it is run cannot be known before, since others may be run in
/// between: there is a table for each place where one can be missing. Those that turn out not to be
/// needed are given back when this is dropped, which may sleep.
pub(crate) struct Spares {
    levels: KVec<Stack<Node>>,
}

impl Spares {
    /// Allocates what it may take to map memory at `pages`: `ranges`, from its page `skip` on.
    ///
    /// Context: may sleep; allocates.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the memory has too few pages, or is not aligned to pages.
    /// - [`ENOSPC`] if there is no VRAM left.
    /// - [`ENOMEM`] if there is no memory for the shadows.
    pub(crate) fn for_map<F: Format>(
        pages: &Range<u64>,
        ranges: impl Iterator<Item = Range<VramAddress>>,
        skip: u64,
        memory: &VramAllocator,
    ) -> Result<Self> {
        let mut extents = Extents::new(ranges, skip)?;

        Self::new::<F>(memory, |parent, level| match level.kind {
            EntryKind::Pte => tables_of_small_pages(parent, pages, &mut extents),
            EntryKind::Pde | EntryKind::Dual => Ok(slots(parent, pages).count()),
        })
    }

    /// Allocates what it may take to change `pages` and nothing next to them: a large page at
    /// either end has to be split.
    ///
    /// Context: may sleep; allocates.
    ///
    /// # Errors
    ///
    /// - [`ENOSPC`] if there is no VRAM left.
    /// - [`ENOMEM`] if there is no memory for the shadows.
    pub(crate) fn for_split<F: Format>(pages: &Range<u64>, memory: &VramAllocator) -> Result<Self> {
        Self::new::<F>(memory, |parent, level| {
            Ok(match level.kind {
                EntryKind::Pte => slots(parent, pages).filter(|slot| !slot.is_whole).count(),
                EntryKind::Pde | EntryKind::Dual => 0,
            })
        })
    }

    /// Returns no tables, for a change that ends where what is mapped ends.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if there is no memory.
    pub(crate) fn none<F: Format>(memory: &VramAllocator) -> Result<Self> {
        Self::new::<F>(memory, |_, _| Ok(0))
    }

    /// Allocates for each level as many tables as `count` says, given the level above and it.
    fn new<F: Format>(
        memory: &VramAllocator,
        mut count: impl FnMut(&Level, &Level) -> Result<usize>,
    ) -> Result<Self> {
        let mut levels = KVec::with_capacity(F::LEVELS.len(), GFP_KERNEL)?;
        // The root is never missing.
        levels.push(Stack::new(), GFP_KERNEL)?;

        for pair in F::LEVELS.windows(2) {
            if let [parent, level] = pair {
                let mut stack = Stack::new();
                for _ in 0..count(parent, level)? {
                    let table = memory.alloc_table()?;
                    // Entries can point to it, so that linking it cannot fail.
                    F::encode_pde(&F::own_table(table.address()))?;
                    stack.push(KBox::new(Node::new(level, table)?, GFP_KERNEL)?);
                }
                levels.push(stack, GFP_KERNEL)?;
            }
        }

        Ok(Self { levels })
    }

    /// Takes a table of a level, which has no entries.
    ///
    /// # Errors
    ///
    /// [`ENOSPC`] if there is none: they have been counted wrongly.
    pub(super) fn take(&mut self, level: usize) -> Result<KBox<Node>> {
        self.levels
            .get_mut(level)
            .and_then(Stack::pop)
            .ok_or(ENOSPC)
    }
}

/// Counts the entries of `level` within `pages` that cannot be large pages when `extents` is
/// mapped.
fn tables_of_small_pages<I: Iterator<Item = Range<VramAddress>>>(
    level: &Level,
    pages: &Range<u64>,
    extents: &mut Extents<I>,
) -> Result<usize> {
    let mut count = 0;
    for slot in slots(level, pages) {
        if extents.take_large(level, &slot)?.is_none() {
            extents.skip(slot.len())?;
            count += 1;
        }
    }

    Ok(count)
}

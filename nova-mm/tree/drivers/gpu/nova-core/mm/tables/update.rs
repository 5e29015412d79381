// SPDX-License-Identifier: GPL-2.0

//! Changes of the page tables.

use core::{
    marker::PhantomData,
    ops::Range, //
};

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        VramAddress,
        PAGE_SIZE, //
    },
    format::{
        Entry,
        EntryKind,
        Format,
        Level,
        Pte, //
    },
    pramin::PraminWindow,
    stack::Stack,
    tables::{
        extents::Extents,
        node::Node,
        slots::{
            slots,
            Slot, //
        },
        spares::Spares, //
    },
    tlb::TlbChange, //
};

/// What is to be done with a range of pages.
pub(super) enum Change<'a, I> {
    /// Map memory, in place of whatever is mapped there.
    Map {
        /// The memory, of which at least as much is left as the range has pages.
        extents: &'a mut Extents<I>,
        /// Whether writes are to fault.
        read_only: bool,
    },
    /// Take away what is mapped there.
    Unmap,
    /// Change what may be done with what is mapped there.
    Protect {
        /// Whether writes are to fault.
        read_only: bool,
    },
}

/// A change in progress, from the root down.
///
/// It neither allocates nor frees: new tables come from `spares`, those that are not linked any
/// more go to `retired`.
pub(super) struct Update<'a, 'w, F, I> {
    change: Change<'a, I>,
    spares: &'a mut Spares,
    retired: &'a mut Stack<Node>,
    window: &'a mut PraminWindow<'w>,
    /// Something that could be accessed cannot be any more, or not in the same way.
    downgraded: bool,
    _format: PhantomData<fn() -> F>,
}

impl<'a, 'w, F: Format, I: Iterator<Item = Range<VramAddress>>> Update<'a, 'w, F, I> {
    pub(super) fn new(
        change: Change<'a, I>,
        spares: &'a mut Spares,
        retired: &'a mut Stack<Node>,
        window: &'a mut PraminWindow<'w>,
    ) -> Self {
        Self {
            change,
            spares,
            retired,
            window,
            downgraded: false,
            _format: PhantomData,
        }
    }

    /// Makes the change to `pages`, given by their numbers, below the table `root`.
    ///
    /// Returns what kind of change it was for the TLB.
    ///
    /// # Errors
    ///
    /// Those of the window. The change is then made in part, and the tables do not agree with their
    /// shadows.
    pub(super) fn run(mut self, root: &mut Node, pages: &Range<u64>) -> Result<TlbChange> {
        self.table(root, 0, pages, InVram::Yes)?;

        Ok(if self.downgraded {
            TlbChange::Downgrade
        } else {
            TlbChange::Upgrade
        })
    }

    /// Makes the change to the part `pages` of what `node`, a table of `level`, spans.
    fn table(
        &mut self,
        node: &mut Node,
        level_index: usize,
        pages: &Range<u64>,
        in_vram: InVram,
    ) -> Result {
        let level = F::LEVELS.get(level_index).ok_or(EINVAL)?;

        for slot in slots(level, pages) {
            if level.kind == EntryKind::Pte {
                self.small_page(node, level, slot.index, in_vram)?;
            } else {
                self.slot(node, level_index, level, &slot, in_vram)?;
            }
        }

        match level.kind {
            EntryKind::Pte => Ok(()),
            EntryKind::Pde | EntryKind::Dual => self.link_new(node, level, pages, in_vram),
        }
    }

    /// Makes the change to an entry of a table of 4 KiB pages.
    fn small_page(
        &mut self,
        node: &mut Node,
        level: &Level,
        index: usize,
        in_vram: InVram,
    ) -> Result {
        let entry = match &mut self.change {
            Change::Map { extents, read_only } => {
                let pte = Pte::vram(extents.take()?.address(), *read_only);
                [F::encode_pte(&pte, PageSize::Size4K)?, 0]
            }
            Change::Unmap => [0, 0],
            Change::Protect { read_only } => protect::<F>(level, node.entry(index), *read_only)?,
        };

        self.set(node, index, entry, in_vram)
    }

    /// Makes the change to what an entry of a directory spans.
    fn slot(
        &mut self,
        node: &mut Node,
        level_index: usize,
        level: &Level,
        slot: &Slot,
        in_vram: InVram,
    ) -> Result {
        let index = slot.index;

        match &mut self.change {
            Change::Map { extents, read_only } => {
                if let Some(page) = extents.take_large(level, slot)? {
                    let pte = Pte::vram(page.address(), *read_only);
                    let entry = [F::encode_pte(&pte, PageSize::Size2M)?, 0];
                    return self.replace(node, index, entry, in_vram);
                }
            }
            Change::Unmap | Change::Protect { .. } if node.is_absent(index) => return Ok(()),
            Change::Unmap => {
                if holds_only::<F>(node, level_index, slot) {
                    return self.replace(node, index, node.vacant(index), in_vram);
                }
            }
            Change::Protect { read_only } if node.child(index).is_none() => {
                let entry = protect::<F>(level, node.entry(index), *read_only)?;
                if slot.is_whole || entry == node.entry(index) {
                    return self.set(node, index, entry, in_vram);
                }
            }
            Change::Protect { .. } => {}
        }

        if let Some(child) = node.child_mut(index) {
            self.table(child, level_index + 1, &slot.pages, in_vram)?;
            if child.is_empty() && !child.is_foreign() {
                self.replace(node, index, node.vacant(index), in_vram)?;
            }

            Ok(())
        } else {
            self.missing(node, level_index, level, slot)
        }
    }

    /// Makes the change in a table that is missing, be it that nothing is mapped yet or that a
    /// large page has to be split. [`Self::link_new`] links it.
    fn missing(
        &mut self,
        node: &mut Node,
        level_index: usize,
        level: &Level,
        slot: &Slot,
    ) -> Result {
        let mut child = self.spares.take(level_index + 1)?;

        let filled = split::<F>(level, node.entry(slot.index), &mut child)
            .and_then(|()| self.table(&mut child, level_index + 1, &slot.pages, InVram::No))
            // The table is complete before anything points to it, so that no state in between can
            // be seen, and each of its words is written once.
            .and_then(|()| child.write(self.window));

        // Whether or not it gets linked, it is not freed here.
        if let Err(e) = filled {
            self.retired.push(child);
            return Err(e);
        }
        node.replace_child(slot.index, Some(child));

        Ok(())
    }

    /// Links the new tables below `node`, which are complete.
    ///
    /// That is done once all of them are, for the window of PRAMIN to be moved from each table to
    /// the next one, and not back to `node` in between.
    fn link_new(
        &mut self,
        node: &mut Node,
        level: &Level,
        pages: &Range<u64>,
        in_vram: InVram,
    ) -> Result {
        for slot in slots(level, pages) {
            if let Some(child) = node.child(slot.index).filter(|child| !child.is_foreign()) {
                let entry = link::<F>(level, child)?;
                self.set(node, slot.index, entry, in_vram)?;
            }
        }

        Ok(())
    }

    /// Changes an entry, and takes out the table that it has pointed to.
    fn replace(
        &mut self,
        node: &mut Node,
        index: usize,
        entry: [u64; 2],
        in_vram: InVram,
    ) -> Result {
        self.set(node, index, entry, in_vram)?;
        if let Some(child) = node.replace_child(index, None) {
            self.retired.push(child);
        }

        Ok(())
    }

    /// Changes an entry.
    fn set(&mut self, node: &mut Node, index: usize, entry: [u64; 2], in_vram: InVram) -> Result {
        if entry == node.entry(index) {
            return Ok(());
        }
        if !node.is_absent(index) && !matches!(self.change, Change::Protect { read_only: false }) {
            self.downgraded = true;
        }

        match in_vram {
            InVram::Yes => node.set(self.window, index, entry),
            InVram::No => {
                node.note(index, entry);
                Ok(())
            }
        }
    }
}

/// Whether a table is linked, so that a change of it has to be made in VRAM at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InVram {
    Yes,
    No,
}

/// Returns whether nothing is left of an entry of `node` without the pages of `slot`, so that it
/// can be cleared without a look at the tables below.
fn holds_only<F: Format>(node: &Node, level_index: usize, slot: &Slot) -> bool {
    match node.child(slot.index) {
        // The firmware's tables stay where they are.
        Some(child) if child.is_foreign() => false,
        Some(child) if !slot.is_whole => match F::LEVELS.get(level_index + 1) {
            Some(level) if level.kind == EntryKind::Pte => {
                let live = slots(level, &slot.pages)
                    .filter(|page| !child.is_absent(page.index))
                    .count();
                child.live() == live
            }
            _ => false,
        },
        _ => slot.is_whole,
    }
}

/// Returns an entry with its permission changed, if it is a page.
fn protect<F: Format>(level: &Level, entry: [u64; 2], read_only: bool) -> Result<[u64; 2]> {
    let size = level.leaf.ok_or(EINVAL)?;

    match F::decode(level.kind, size, entry) {
        Entry::Absent => Ok(entry),
        Entry::Page(pte) => Ok([F::encode_pte(&Pte { read_only, ..pte }, size)?, 0]),
        _ => Err(EINVAL),
    }
}

/// Fills a new table with what `entry` maps, if it is a large page.
fn split<F: Format>(level: &Level, entry: [u64; 2], table: &mut Node) -> Result {
    let Some(size) = level.leaf else {
        return Ok(());
    };
    let Entry::Page(mut pte) = F::decode(level.kind, size, entry) else {
        return Ok(());
    };

    for index in 0..table.entries() {
        table.note(index, [F::encode_pte(&pte, PageSize::Size4K)?, 0]);
        pte.address += PAGE_SIZE;
    }

    Ok(())
}

/// Returns the entry that points to a table.
fn link<F: Format>(level: &Level, table: &Node) -> Result<[u64; 2]> {
    let pde = F::own_table(table.address());

    match level.kind {
        EntryKind::Dual => F::encode_dual(None, Some(&pde)),
        EntryKind::Pde => Ok([F::encode_pde(&pde)?, 0]),
        EntryKind::Pte => Err(EINVAL),
    }
}

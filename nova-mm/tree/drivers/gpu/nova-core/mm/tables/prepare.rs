// SPDX-License-Identifier: GPL-2.0

//! Preparation of the page tables that a job may need before it runs.

use core::ops::Range;

use kernel::prelude::*;

use crate::mm::{
    format::{
        EntryType,
        Level,
        BIG_PAGES, //
    },
    hw::MmuHw,
    stack::Stack,
    tables::{
        segments::Source,
        slots::{
            slots,
            Slot, //
        },
        table::{
            Child,
            Table,
            TableState, //
        },
    },
    vram::VramAllocator, //
};

/// The table requirements of a job.
#[derive(Clone, Copy)]
pub(super) enum Need<'a> {
    /// The job maps memory. It needs the tables down to the level of the page sizes.
    Map(Source<'a>),
    /// The job changes existing mappings. It needs the tables to split large pages that extend
    /// beyond either end of its range.
    Split,
}

/// The initial content that a job needs in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Initial {
    /// Zeros.
    Zeroed,
    /// Any content. The job maps at least half of the entries, and writes the others as well.
    Any,
}

/// The tables that are needed below an entry of a directory.
struct Below {
    big: bool,
    small: Option<Initial>,
}

impl Below {
    fn children(&self) -> impl Iterator<Item = (Child, Initial)> {
        let big = self.big.then_some((Child::Big, Initial::Zeroed));
        let small = self.small.map(|initial| (Child::Small, initial));

        [big, small].into_iter().flatten()
    }
}

/// Calls `visit` with each entry of `level` within `pages` below which a job needs tables.
fn for_each_needed(
    level: &Level,
    pages: &Range<u64>,
    need: &Need<'_>,
    visit: &mut dyn FnMut(&Slot, &Below) -> Result,
) -> Result {
    let mut rest = pages.clone();
    while let Some(slot) = slots(level, &rest).next() {
        rest.start = slot.pages.end;
        let below = match need {
            Need::Map(source) => match source.large(level, &slot, &rest_of(&slot, pages))? {
                Some((count, _)) => {
                    rest.start = slot.pages.start + slot.len() * u64::try_from(count)?;
                    continue;
                }
                None if level.kind == EntryType::Dual => below_dual(source, &slot)?,
                None => Below {
                    big: false,
                    small: Some(Initial::Zeroed),
                },
            },
            Need::Split if slot.is_whole => continue,
            Need::Split => Below {
                big: false,
                small: Some(Initial::Zeroed),
            },
        };
        visit(&slot, &below)?;
    }

    Ok(())
}

/// Returns the part of `pages` that starts with `slot`.
fn rest_of(slot: &Slot, pages: &Range<u64>) -> Range<u64> {
    slot.pages.start..pages.end
}

/// Returns the tables that are needed to map `slot`, all or a part of a dual entry, with pages of
/// 64 KiB and 4 KiB.
fn below_dual(source: &Source<'_>, slot: &Slot) -> Result<Below> {
    let mut big = false;
    let mut small_pages = 0;
    let mut rest = slot.pages.clone();
    while !rest.is_empty() {
        let segment = source.segment(&rest)?;
        rest.start = segment.pages.end;
        if segment.is_big {
            big = true;
        } else {
            small_pages += segment.pages.end - segment.pages.start;
        }
    }
    let small = if !big && small_pages * 2 >= source.last_level_entries()? {
        Some(Initial::Any)
    } else if small_pages > 0 || !slot.is_whole {
        // When the job runs, it may have to split a larger page.
        Some(Initial::Zeroed)
    } else {
        None
    };

    Ok(Below { big, small })
}

/// Maximum number of levels of a format.
const MAX_LEVELS: usize = 6;

/// Number of table classes: one for each level, one for tables of big pages, and one for tables of
/// small pages that need not be zeroed.
const CLASSES: usize = MAX_LEVELS + 2;
const BIG_CLASS: usize = MAX_LEVELS;
const ANY_CLASS: usize = MAX_LEVELS + 1;

/// Returns the class of a table of the level `level_index`.
fn class(level_index: usize, child: Child, initial: Initial) -> usize {
    match (child, initial) {
        (Child::Big, _) => BIG_CLASS,
        (Child::Small, Initial::Zeroed) => level_index,
        (Child::Small, Initial::Any) => ANY_CLASS,
    }
}

/// Number of tables of each class.
pub(crate) struct Counts([usize; CLASSES]);

/// Preallocated page tables, which are not part of an address space yet.
pub(crate) struct PtPrealloc([Stack<Table>; CLASSES]);

impl PtPrealloc {
    pub(crate) fn new() -> Self {
        Self(core::array::from_fn(|_| Stack::new()))
    }

    /// Allocates tables of each class up to the number in `counts`.
    ///
    /// May sleep; takes the hardware lock, but does not allocate memory under it.
    ///
    /// # Errors
    ///
    /// - [`ENOSPC`] if no VRAM is free.
    /// - [`ENOMEM`] if memory allocation fails.
    /// - Errors of [`VramSession`](crate::mm::hw::VramSession).
    pub(crate) fn fill_up(
        &mut self,
        counts: &Counts,
        hw: &MmuHw,
        memory: &VramAllocator,
    ) -> Result {
        for (class, &count) in counts.0.iter().enumerate() {
            for _ in self.count(class)..count {
                let table = new_table(class, hw, memory)?;
                self.push(class, table);
            }
        }

        Ok(())
    }

    fn count(&self, class: usize) -> usize {
        self.0.get(class).map_or(0, Stack::len)
    }

    fn push(&mut self, class: usize, table: KBox<Table>) {
        if let Some(stack) = self.0.get_mut(class) {
            stack.push(table);
        }
    }

    fn take(&mut self, class: usize) -> Option<KBox<Table>> {
        self.0.get_mut(class)?.pop()
    }

    /// Returns whether there are at least as many tables of each class as in `counts`.
    fn has(&self, counts: &Counts) -> bool {
        counts
            .0
            .iter()
            .enumerate()
            .all(|(class, &count)| self.count(class) >= count)
    }
}

/// Allocates a table of a class.
fn new_table(class: usize, hw: &MmuHw, memory: &VramAllocator) -> Result<KBox<Table>> {
    let levels = hw.format().levels();
    let level = match class {
        BIG_CLASS => &BIG_PAGES,
        ANY_CLASS => levels.last().ok_or(EINVAL)?,
        _ => levels.get(class).ok_or(EINVAL)?,
    };
    let page = memory.alloc_table()?;
    // Check that entries can point to the table, so that linking it cannot fail later.
    hw.format().encode_own_pde(page.address())?;
    hw.format().encode_own_dual(Some(page.address()), None)?;

    let mut table = Table::new(level, page)?;
    if class != ANY_CLASS && table.state() == TableState::Stale {
        zero(&mut table, hw)?;
    }

    Ok(table)
}

/// Writes zeros to the whole page of a new table.
pub(super) fn zero(table: &mut Table, hw: &MmuHw) -> Result {
    // If the table is smaller than its page, the page may still become a larger table later.
    hw.vram()
        .fill64(table.address(), 0, 0, MmuHw::HOLD_WORDS, false)?;
    table.set_prepared();

    Ok(())
}

/// Pins the tables that a job needs below `root`. Missing tables are taken from `prealloc`. If it
/// has too few, returns the numbers of missing tables, and changes nothing.
///
/// Neither allocates nor frees memory.
pub(super) fn pin(
    root: &mut Table,
    levels: &[Level],
    pages: &Range<u64>,
    need: &Need<'_>,
    prealloc: &mut PtPrealloc,
) -> Result<Option<Counts>> {
    let mut counts = Counts([0; CLASSES]);
    count(Some(root), levels, 0, pages, need, &mut counts)?;
    if !prealloc.has(&counts) {
        return Ok(Some(counts));
    }
    insert(root, levels, 0, pages, need, prealloc)?;

    Ok(None)
}

/// Counts the missing tables.
fn count(
    table: Option<&Table>,
    levels: &[Level],
    level_index: usize,
    pages: &Range<u64>,
    need: &Need<'_>,
    counts: &mut Counts,
) -> Result {
    let level = levels.get(level_index).ok_or(EINVAL)?;

    for_each_needed(level, pages, need, &mut |slot, below| {
        for (child, initial) in below.children() {
            let table = table.and_then(|table| table.child(slot.index, child));
            if table.is_none() {
                let class = class(level_index + 1, child, initial);
                *counts.0.get_mut(class).ok_or(EINVAL)? += 1;
            }
            if level.kind == EntryType::Pde {
                count(table, levels, level_index + 1, &slot.pages, need, counts)?;
            }
        }

        Ok(())
    })
}

fn insert(
    table: &mut Table,
    levels: &[Level],
    level_index: usize,
    pages: &Range<u64>,
    need: &Need<'_>,
    prealloc: &mut PtPrealloc,
) -> Result {
    let level = levels.get(level_index).ok_or(EINVAL)?;

    for_each_needed(level, pages, need, &mut |slot, below| {
        for (child, initial) in below.children() {
            if table.child(slot.index, child).is_none() {
                let spare = prealloc.take(class(level_index + 1, child, initial));
                table.replace_child(slot.index, child, Some(spare.ok_or(ENOSPC)?));
            }
            let table = table.child_mut(slot.index, child).ok_or(EINVAL)?;
            table.pin();
            if level.kind == EntryType::Pde {
                insert(table, levels, level_index + 1, &slot.pages, need, prealloc)?;
            }
        }

        Ok(())
    })
}

/// Undoes [`pin`], and removes unused tables. Calls `removed` with each of them.
///
/// Neither allocates nor frees memory.
pub(super) fn unpin(
    table: &mut Table,
    levels: &[Level],
    level_index: usize,
    pages: &Range<u64>,
    need: &Need<'_>,
    removed: &mut dyn FnMut(KBox<Table>),
) -> Result {
    let level = levels.get(level_index).ok_or(EINVAL)?;

    for_each_needed(level, pages, need, &mut |slot, below| {
        for (child, _) in below.children() {
            let Some(below) = table.child_mut(slot.index, child) else {
                continue;
            };
            below.unpin();
            if level.kind == EntryType::Pde {
                unpin(below, levels, level_index + 1, &slot.pages, need, removed)?;
            }
            if below.is_unused() {
                if let Some(below) = table.replace_child(slot.index, child, None) {
                    removed(below);
                }
            }
        }

        Ok(())
    })
}

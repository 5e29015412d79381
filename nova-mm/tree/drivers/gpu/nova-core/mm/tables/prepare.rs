// SPDX-License-Identifier: GPL-2.0

//! Page tables that a job may need, which exist before it runs.

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

/// What a job will do, as far as it decides which tables it may need.
#[derive(Clone, Copy)]
pub(super) enum Need<'a> {
    /// It maps memory. That takes tables wherever pages are too small for an entry further up.
    Map(Source<'a>),
    /// It changes pages that may be mapped. Large pages that reach beyond both ends have to be
    /// split.
    Split,
}

/// Whether a table has to contain zeros before a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Initial {
    Zeroed,
    /// No, as the job writes at least half of its entries. The job then writes all of them.
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

/// Calls `visit` with the entries of `level` within `pages` below which a job needs tables.
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

/// Returns `pages` without those before `slot`.
fn rest_of(slot: &Slot, pages: &Range<u64>) -> Range<u64> {
    slot.pages.start..pages.end
}

/// Returns which tables it takes to map `slot`, a dual entry or a part of one, with pages of 64 KiB
/// and 4 KiB.
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
        // A larger page that is there when the job runs has to be split.
        Some(Initial::Zeroed)
    } else {
        None
    };

    Ok(Below { big, small })
}

/// Number of levels of the format that has most of them.
const MAX_LEVELS: usize = 6;

/// The kinds of tables that are allocated: those of each level, those of big pages, and those of
/// small pages that need not be zeroed.
const CLASSES: usize = MAX_LEVELS + 2;
const BIG_CLASS: usize = MAX_LEVELS;
const ANY_CLASS: usize = MAX_LEVELS + 1;

/// Returns the class of a table of level `level_index`.
fn class(level_index: usize, child: Child, initial: Initial) -> usize {
    match (child, initial) {
        (Child::Big, _) => BIG_CLASS,
        (Child::Small, Initial::Zeroed) => level_index,
        (Child::Small, Initial::Any) => ANY_CLASS,
    }
}

/// Number of tables of each class.
pub(crate) struct Counts([usize; CLASSES]);

/// Tables that are allocated, and not in any page tables yet.
pub(crate) struct PtPrealloc([Stack<Table>; CLASSES]);

impl PtPrealloc {
    pub(crate) fn new() -> Self {
        Self(core::array::from_fn(|_| Stack::new()))
    }

    /// Allocates tables until there are as many as `counts` says.
    ///
    /// Context: may sleep; allocates, and takes the hardware lock without allocating under it.
    ///
    /// # Errors
    ///
    /// - [`ENOSPC`] if there is no VRAM left.
    /// - [`ENOMEM`] if memory runs out.
    /// - Those of [`VramSession`](crate::mm::hw::VramSession).
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

    /// Returns whether there are as many tables as `counts` says.
    fn are(&self, counts: &Counts) -> bool {
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
    // Entries can point to it, so that linking it cannot fail.
    hw.format().encode_own_pde(page.address())?;
    hw.format().encode_own_dual(Some(page.address()), None)?;

    let mut table = Table::new(level, page)?;
    if class != ANY_CLASS && table.state() == TableState::Stale {
        zero(&mut table, hw)?;
    }

    Ok(table)
}

/// Writes zeros to all of a new table.
pub(super) fn zero(table: &mut Table, hw: &MmuHw) -> Result {
    // All of the page, even if the table is smaller: it may become another table later.
    hw.vram()
        .fill64(table.address(), 0, 0, MmuHw::HOLD_WORDS, false)?;
    table.set_prepared();

    Ok(())
}

/// Adds the tables that a job needs below `root` to those that exist, from `prealloc`, and pins all
/// of them. If there are not enough prealloc, returns how many it takes, and changes nothing.
///
/// Neither allocates nor frees.
pub(super) fn pin(
    root: &mut Table,
    levels: &[Level],
    pages: &Range<u64>,
    need: &Need<'_>,
    prealloc: &mut PtPrealloc,
) -> Result<Option<Counts>> {
    let mut counts = Counts([0; CLASSES]);
    count(Some(root), levels, 0, pages, need, &mut counts)?;
    if !prealloc.are(&counts) {
        return Ok(Some(counts));
    }
    insert(root, levels, 0, pages, need, prealloc)?;

    Ok(None)
}

/// Counts the tables that do not exist.
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

/// Undoes [`pin`], and removes the tables that are unused. Calls `removed` with each.
///
/// Neither allocates nor frees.
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

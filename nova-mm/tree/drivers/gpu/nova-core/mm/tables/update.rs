// SPDX-License-Identifier: GPL-2.0

//! Updates of page tables.

use core::ops::Range;

use kernel::prelude::*;

use crate::{
    mm::{
        address::PageSize,
        format::{
            Access,
            EntryType,
            Level,
            PteRun,
            BIG_PAGES, //
        },
        hw::{
            MmuHw,
            VramSession, //
        },
        stack::Stack,
        tables::{
            segments::{
                Segment,
                Source, //
            },
            slots::{
                slots,
                Slot, //
            },
            table::{
                Child,
                Table,
                TableState, //
            }, //
        },
        tlb::TlbChange,
        vma::VmaTree, //
    },
    num::u64_as_usize, //
};

/// Numbers of pages in a page of 64 KiB, and in a dual entry.
const BIG: u64 = PageSize::Size64K.pages();
const DUAL: u64 = PageSize::Size2M.pages();

/// An update of page tables in progress.
///
/// An update neither allocates nor frees memory. The tables that it needs have been
/// [prepared](super::prepare). Tables that become unlinked and are not pinned are moved to
/// `removed`.
///
/// A table is complete in VRAM before an entry points to it. Addresses that stay mapped are mapped
/// at all times while large pages are split or small pages are merged, even if the GPU has cached
/// entries of directories. Only accesses to addresses whose mapping is replaced may fault until the
/// TLB is invalidated.
///
/// # Errors
///
/// Methods return the errors of the VRAM session. The update is incomplete then.
pub(super) struct Update<'a, 'h> {
    pub(super) hw: &'a MmuHw,
    /// The mappings before the update, from which entries are recreated when a page is split.
    pub(super) vmas: &'a VmaTree,
    pub(super) removed: &'a mut Stack<Table>,
    pub(super) vram: &'a mut VramSession<'h>,
    /// Number of the job.
    pub(super) job: u64,
    /// Whether replacing a valid entry may revoke access to memory.
    pub(super) revokes: bool,
    /// The pages and their new access, if the update changes nothing but the access.
    pub(super) protects: Option<(Range<u64>, Access)>,
    pub(super) change: TlbChange,
}

impl<'a> Update<'a, '_> {
    fn level(&self, level_index: usize) -> Result<&'static Level> {
        self.hw.format().levels().get(level_index).ok_or(EINVAL)
    }

    /// Records that `count` valid entries have been replaced.
    fn replaced(&mut self, count: usize) {
        if count > 0 && self.revokes {
            self.change = TlbChange::Downgrade;
        }
    }

    /// Returns the backing that was mapped at `page` before the update.
    fn mapped_at(&self, page: u64) -> Result<Source<'a>> {
        let (start, backing) = self.vmas.find(page).ok_or(EINVAL)?;

        Ok(Source::new(self.hw, backing, start))
    }

    /// Maps `source` at `pages`, below `table`.
    pub(super) fn map(
        &mut self,
        table: &mut Table,
        level_index: usize,
        pages: &Range<u64>,
        source: &Source<'_>,
    ) -> Result {
        let level = self.level(level_index)?;
        let mut rest = pages.clone();

        while let Some(slot) = slots(level, &rest).next() {
            if let Some((count, run)) = source.large(level, &slot, &rest)? {
                self.map_large(table, slot.index, count, run)?;
                rest.start += slot.len() * u64::try_from(count)?;
                continue;
            }
            rest.start = slot.pages.end;
            self.split(table, level_index, &slot, Fills::Yes)?;
            if level.kind == EntryType::Dual {
                self.map_slot(table, level, &slot, source)?;
            } else {
                let child = table.child_mut(slot.index, Child::Small).ok_or(EINVAL)?;
                self.map(child, level_index + 1, &slot.pages, source)?;
            }
        }

        self.link(table, level, pages)
    }

    /// Unmaps `pages` below `table`.
    pub(super) fn unmap(
        &mut self,
        table: &mut Table,
        level_index: usize,
        pages: &Range<u64>,
    ) -> Result {
        let level = self.level(level_index)?;

        for slot in slots(level, pages) {
            if !table.is_valid(slot.index) {
                continue;
            }
            if Self::covers_all_valid(table, level, &slot)
                && !Self::is_sparsely_filled(table, &slot)
            {
                self.clear_entry(table, slot.index)?;
                continue;
            }
            self.split(table, level_index, &slot, Fills::No)?;
            if level.kind == EntryType::Dual {
                self.unmap_slot(table, level, &slot)?;
            } else {
                let child = table.child_mut(slot.index, Child::Small).ok_or(EINVAL)?;
                self.unmap(child, level_index + 1, &slot.pages)?;
            }
        }

        self.link(table, level, pages)
    }

    /// Returns whether `slot` contains all mapped pages of an entry, so that the whole entry can be
    /// cleared.
    fn covers_all_valid(table: &Table, level: &Level, slot: &Slot) -> bool {
        let small = table.child(slot.index, Child::Small);
        if small.is_some_and(Table::is_firmware) {
            return false;
        }
        if slot.is_whole || level.kind != EntryType::Dual || is_page(table, slot.index) {
            return slot.is_whole;
        }

        let has_others = |child, range| {
            table.child(slot.index, child).is_some_and(|it| {
                let valid = it.valid().map_or(0, |valid| valid.count(&range));

                valid != it.nr_valid()
            })
        };
        let small = within(slot);
        let big = u64_as_usize(BIG);
        let first = small.start.div_ceil(big);
        let whole_big = first..first.max(small.end / big);

        !has_others(Child::Small, small) && !has_others(Child::Big, whole_big)
    }

    /// Returns whether the tables of pages below an entry have few valid entries. They are then
    /// cleared one by one, so that the tables need not be zeroed before they are used again.
    fn is_sparsely_filled(table: &Table, slot: &Slot) -> bool {
        const FEW: usize = 16;

        let valid = |child| {
            let child: Option<&Table> = table.child(slot.index, child);
            child.filter(|it| it.valid().is_some()).map(Table::nr_valid)
        };
        match (valid(Child::Big), valid(Child::Small)) {
            (None, None) => false,
            (big, small) => (1..=FEW).contains(&(big.unwrap_or(0) + small.unwrap_or(0))),
        }
    }

    /// Clears an entry, and removes the tables that it points to.
    fn clear_entry(&mut self, table: &mut Table, index: usize) -> Result {
        self.replaced(1);
        table.set(self.vram, index, table.vacant(index))?;
        self.detach(table, index);

        Ok(())
    }

    /// Turns `count` entries from `index` on into large pages or sparse entries.
    fn map_large(&mut self, table: &mut Table, index: usize, count: usize, run: PteRun) -> Result {
        let replaced = table.set_run(self.vram, index, count, run.first, run.step)?;
        self.replaced(replaced);
        if table.has_children() {
            for index in index..index + count {
                self.detach(table, index);
            }
        }

        Ok(())
    }

    /// Removes the tables below an entry, which no longer points to them.
    fn detach(&mut self, table: &mut Table, index: usize) {
        for child in [Child::Big, Child::Small] {
            self.detach_child(table, index, child);
        }
    }

    fn detach_child(&mut self, table: &mut Table, index: usize, child: Child) {
        let is_linked = |it: &&mut Table| it.state() == TableState::Linked;
        let Some(below) = table.child_mut(index, child).filter(is_linked) else {
            return;
        };
        self.change = TlbChange::Downgrade;
        if below.is_pinned() {
            self.reset(below);
        } else if let Some(below) = table.replace_child(index, child, None) {
            self.removed.push(below);
        }
    }

    /// Unlinks a pinned table, and removes the tables below it.
    fn reset(&mut self, table: &mut Table) {
        for index in 0..table.entries() {
            self.detach(table, index);
        }
        table.set_unlinked(self.job);
    }

    /// Maps `source` at `slot`, all or a part of a dual entry, with pages of 64 KiB and 4 KiB.
    ///
    /// All new entries are written before the first old entry is cleared. While entries of both
    /// sizes are valid for an address, either translation is correct: the old entry maps the memory
    /// that was mapped before the update.
    fn map_slot(
        &mut self,
        table: &mut Table,
        level: &Level,
        slot: &Slot,
        source: &Source<'_>,
    ) -> Result {
        let replaces_big = self.split_big(table, slot)?;
        let has_big = !replaces_big && self.can_use_big(table, slot.index);

        let mut rest = slot.pages.clone();
        while !rest.is_empty() {
            let segment = source.segment(&rest)?;
            rest.start = segment.pages.end;
            let is_big = segment.is_big && has_big;
            let run = source.encode_segment(&segment, is_big)?;
            let (child, entries) = place(&segment, is_big);
            let child = table.child_mut(slot.index, child).ok_or(EINVAL)?;
            let replaced = child.fill(self.vram, &entries, run.first, run.step)?;
            self.replaced(replaced);
        }
        if replaces_big {
            return self.replace_big(table, slot.index);
        }
        if !has_big || table.child(slot.index, Child::Small).is_none() {
            return Ok(());
        }

        let mut rest = slot.pages.clone();
        while !rest.is_empty() {
            let segment = source.segment(&rest)?;
            rest.start = segment.pages.end;
            let (child, entries) = place(&segment, !segment.is_big);
            self.clear(table, level, slot.index, child, &entries)?;
        }

        Ok(())
    }

    /// Returns whether the update may use big pages below an entry.
    ///
    /// Without a table of big pages, the pages are already small, and only their attributes change.
    /// If the pages must stay mapped and the entry points to the table of small pages only, they
    /// stay small, because the GPU may have cached that entry.
    fn can_use_big(&self, table: &Table, index: usize) -> bool {
        table.child(index, Child::Big).is_some()
            && (self.protects.is_none()
                || is_linked(table, index, Child::Big)
                || !is_linked(table, index, Child::Small))
    }

    /// Unmaps `slot`, all or a part of a dual entry.
    fn unmap_slot(&mut self, table: &mut Table, level: &Level, slot: &Slot) -> Result {
        if self.split_big(table, slot)? {
            return self.replace_big(table, slot.index);
        }
        let small = within(slot);
        self.clear(table, level, slot.index, Child::Big, &touched(&small))?;

        self.clear(table, level, slot.index, Child::Small, &small)
    }

    /// Clears the valid entries among `entries` of a table of pages. If the other table of the dual
    /// entry has valid entries, it is linked first.
    fn clear(
        &mut self,
        table: &mut Table,
        level: &Level,
        index: usize,
        child: Child,
        entries: &Range<usize>,
    ) -> Result {
        let has_valid = table
            .child(index, child)
            .and_then(Table::valid)
            .is_some_and(|valid| valid.count(entries) > 0);
        if !has_valid {
            return Ok(());
        }
        let is_unlinked = |it: &Table| it.nr_valid() > 0 && it.state() != TableState::Linked;
        if table.child(index, child.other()).is_some_and(is_unlinked) {
            self.link_entry(table, level, index, true)?;
        }
        if let Some(child) = table.child_mut(index, child) {
            let cleared = child.clear(self.vram, entries)?;
            self.replaced(cleared);
        }

        Ok(())
    }

    /// Prepares the tables below an entry for a change of the pages of `slot`. If the entry is a
    /// large page, this writes entries for the pages outside of `slot`.
    fn split(
        &mut self,
        table: &mut Table,
        level_index: usize,
        slot: &Slot,
        fills: Fills,
    ) -> Result {
        let level = self.level(level_index)?;
        let is_page = is_page(table, slot.index);
        if is_page {
            self.replaced(1);
        }
        if level.kind == EntryType::Dual {
            return self.prepare_pts(table, slot, is_page, fills);
        }
        if !is_page || slot.is_whole {
            return Ok(());
        }

        let below = self.level(level_index + 1)?;
        let source = self.mapped_at(slot.pages.start)?;
        let span = span(level, slot);
        let child = table.child_mut(slot.index, Child::Small).ok_or(EINVAL)?;
        for inner in slots(below, &span) {
            let is_inside =
                inner.pages.start >= slot.pages.start && inner.pages.end <= slot.pages.end;
            let is_apart =
                inner.pages.end <= slot.pages.start || inner.pages.start >= slot.pages.end;
            let (_, run) = source.large(below, &inner, &inner.pages)?.ok_or(EINVAL)?;
            if is_apart {
                child.set(self.vram, inner.index, [run.first, 0])?;
            } else if !is_inside {
                // This entry is split in turn, before any table is linked.
                child.set_shadow(inner.index, [run.first, 0]);
            }
        }

        Ok(())
    }

    /// Prepares the tables of pages below a dual entry for a change of the pages of `slot`.
    fn prepare_pts(
        &mut self,
        table: &mut Table,
        slot: &Slot,
        is_page: bool,
        fills: Fills,
    ) -> Result {
        if fills == Fills::No && !is_page && !Self::splits_big(table, slot) {
            // Only valid entries are cleared, so a stale table is not written.
            return Ok(());
        }
        if let Some(big) = table.child_mut(slot.index, Child::Big) {
            if big.state() == TableState::Stale {
                big.zero(self.vram, &(0..BIG_PAGES.entries()))?;
                big.set_prepared();
            }
        }
        let has_big = table.child(slot.index, Child::Big).is_some();
        let source = match is_page && !slot.is_whole {
            true => Some(self.mapped_at(slot.pages.start)?),
            false => None,
        };
        let Some(small) = table.child_mut(slot.index, Child::Small) else {
            return Ok(());
        };
        let is_stale = small.state() == TableState::Stale;
        let inside = within(slot);
        let base = slot.pages.start - slot.pages.start % DUAL;

        for outside in [0..inside.start, inside.end..u64_as_usize(DUAL)] {
            if outside.is_empty() {
                continue;
            }
            if let Some(source) = &source {
                let pages =
                    base + u64::try_from(outside.start)?..base + u64::try_from(outside.end)?;
                let run = source.encode_small(&pages)?;
                small.fill(self.vram, &outside, run.first, run.step)?;
            } else if is_stale {
                small.zero(self.vram, &outside)?;
            }
        }
        if is_stale {
            if has_big || fills == Fills::No {
                small.zero(self.vram, &inside)?;
            }
            small.set_prepared();
        }

        Ok(())
    }

    /// Returns whether `slot` only partially contains a valid big page.
    fn splits_big(table: &Table, slot: &Slot) -> bool {
        let inside = within(slot);
        let ends = touched(&inside);

        [ends.start, ends.end - 1].into_iter().any(|entry| {
            let span = small_entries(entry);

            is_big_valid(table, slot.index, entry)
                && (span.start < inside.start || inside.end < span.end)
        })
    }

    /// Creates small pages for the parts outside of `slot` of those big pages that `slot` only
    /// partially contains. The big pages remain valid until they are cleared.
    ///
    /// If the entry does not point to the table of small pages, the GPU may have cached the entry.
    /// It would then fault on small pages that replace a big page. In this case, all big pages are
    /// replaced by small pages, and this method returns true: the caller must call
    /// [`Self::replace_big`].
    fn split_big(&mut self, table: &mut Table, slot: &Slot) -> Result<bool> {
        if !Self::splits_big(table, slot) {
            return Ok(false);
        }

        let inside = within(slot);
        let replaces_big = !is_linked(table, slot.index, Child::Small);
        let entries = match replaces_big {
            true => 0..BIG_PAGES.entries(),
            false => touched(&inside),
        };
        for entry in entries {
            if is_big_valid(table, slot.index, entry) {
                let span = small_entries(entry);
                self.copy_big(table, slot, span.start..inside.start.min(span.end))?;
                self.copy_big(table, slot, inside.end.max(span.start)..span.end)?;
            }
        }

        Ok(replaces_big)
    }

    /// Creates the small pages `entries`, which are a part of a big page.
    fn copy_big(&mut self, table: &mut Table, slot: &Slot, entries: Range<usize>) -> Result {
        if entries.is_empty() {
            return Ok(());
        }
        let base = slot.pages.start - slot.pages.start % DUAL;
        let pages = base + u64::try_from(entries.start)?..base + u64::try_from(entries.end)?;
        let (start, backing) = self.vmas.find(pages.start).ok_or(EINVAL)?;
        // This update may have changed the access to some of the pages already.
        let (changed, access) = match &self.protects {
            Some((changed, access)) => (changed.clone(), *access),
            None => (0..0, Access::default()),
        };
        let changed_start = changed.start.clamp(pages.start, pages.end);
        let changed_end = changed.end.clamp(pages.start, pages.end);

        let backing_changed = backing.with_access(access);
        for (part, backing) in [
            (pages.start..changed_start, backing),
            (changed_start..changed_end, &backing_changed),
            (changed_end..pages.end, backing),
        ] {
            if !part.is_empty() {
                let run = Source::new(self.hw, backing, start).encode_small(&part)?;
                let small = table.child_mut(slot.index, Child::Small).ok_or(EINVAL)?;
                small.fill(self.vram, &relative(&part), run.first, run.step)?;
            }
        }

        Ok(())
    }

    /// Makes an entry point to the table of small pages only. The table of big pages is not
    /// written, because the GPU may have cached the entry.
    fn replace_big(&mut self, table: &mut Table, index: usize) -> Result {
        let small = table.child(index, Child::Small).ok_or(EINVAL)?.address();
        let entry = self.hw.format().encode_own_dual(None, Some(small))?;
        table.set(self.vram, index, entry)?;
        if let Some(small) = table.child_mut(index, Child::Small) {
            small.set_linked();
        }
        self.detach_child(table, index, Child::Big);

        Ok(())
    }

    /// Links the tables below the entries of `table` within `pages` that have valid entries, and
    /// unlinks the others.
    ///
    /// This happens at the end of an update, so that the PRAMIN window does not bounce between
    /// `table` and its children.
    fn link(&mut self, table: &mut Table, level: &Level, pages: &Range<u64>) -> Result {
        if !table.has_children() {
            return Ok(());
        }
        for slot in slots(level, pages) {
            let (mut is_used, mut is_current) = (false, true);
            for child in [Child::Big, Child::Small] {
                let Some(below) = table.child_mut(slot.index, child) else {
                    continue;
                };
                let has_entries = below.nr_valid() > 0 || below.is_firmware();
                is_used |= has_entries;
                is_current &= has_entries == (below.state() == TableState::Linked);
                if has_entries && below.state() == TableState::Stale {
                    below.write(self.vram)?;
                }
            }
            if !is_current {
                self.link_entry(table, level, slot.index, is_used)?;
            }
        }

        Ok(())
    }

    fn link_entry(
        &mut self,
        table: &mut Table,
        level: &Level,
        index: usize,
        is_used: bool,
    ) -> Result {
        let format = self.hw.format();
        let address = |child| {
            table
                .child(index, child)
                .filter(|it| it.nr_valid() > 0)
                .map(Table::address)
        };
        let entry = match (level.kind, address(Child::Small)) {
            _ if !is_used => table.vacant(index),
            (EntryType::Dual, small) => format.encode_own_dual(address(Child::Big), small)?,
            (_, small) => format.encode_own_pde(small.ok_or(EINVAL)?)?,
        };
        table.set(self.vram, index, entry)?;

        let children: &[Child] = match level.kind {
            EntryType::Dual => &[Child::Big, Child::Small],
            _ => &[Child::Small],
        };
        for &child in children {
            let Some(below) = table.child_mut(index, child) else {
                continue;
            };
            match (below.nr_valid() > 0, below.state()) {
                (true, _) => below.set_linked(),
                (false, TableState::Linked) => {
                    below.set_unlinked(self.job);
                    self.change = TlbChange::Downgrade;
                    if below.is_unused() {
                        if let Some(below) = table.replace_child(index, child, None) {
                            self.removed.push(below);
                        }
                    }
                }
                (false, _) => {}
            }
        }

        Ok(())
    }
}

/// Whether an update maps all pages of a slot, as opposed to unmapping them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fills {
    Yes,
    No,
}

/// Returns whether an entry points to a table.
fn is_linked(table: &Table, index: usize, child: Child) -> bool {
    table
        .child(index, child)
        .is_some_and(|it| it.state() == TableState::Linked)
}

/// Returns whether an entry is a large page or sparse, which means that it is valid and does not
/// point to a table.
fn is_page(table: &Table, index: usize) -> bool {
    table.is_valid(index)
        && !is_linked(table, index, Child::Big)
        && !is_linked(table, index, Child::Small)
}

/// Returns whether entry `entry` is valid in the table of big pages below entry `index` of `table`.
fn is_big_valid(table: &Table, index: usize, entry: usize) -> bool {
    table
        .child(index, Child::Big)
        .and_then(Table::valid)
        .is_some_and(|valid| valid.is_set(entry))
}

/// Returns all pages that the entry of a slot spans.
fn span(level: &Level, slot: &Slot) -> Range<u64> {
    let len = 1u64 << (level.shift - PageSize::Size4K.shift());
    let start = slot.pages.start - slot.pages.start % len;

    start..start + len
}

/// Returns the entries of the table of small pages for the pages of `slot`, all or a part of a dual
/// entry.
fn within(slot: &Slot) -> Range<usize> {
    relative(&slot.pages)
}

/// Returns the entries of a table of small pages for `pages`, which must not be empty.
fn relative(pages: &Range<u64>) -> Range<usize> {
    let start = u64_as_usize(pages.start % DUAL);

    start..start + u64_as_usize(pages.end - pages.start)
}

/// Returns the table and the entries that map a segment with big or small pages.
fn place(segment: &Segment, is_big: bool) -> (Child, Range<usize>) {
    let small = relative(&segment.pages);

    match is_big {
        true => (Child::Big, touched(&small)),
        false => (Child::Small, small),
    }
}

/// Returns the entries of a table of small pages that span the same addresses as an entry of a
/// table of big pages.
fn small_entries(big: usize) -> Range<usize> {
    let len = u64_as_usize(BIG);

    big * len..(big + 1) * len
}

/// Returns the entries of a table of big pages whose addresses overlap entries of a table of small
/// pages.
fn touched(small: &Range<usize>) -> Range<usize> {
    let big = u64_as_usize(BIG);

    small.start / big..small.end.div_ceil(big)
}

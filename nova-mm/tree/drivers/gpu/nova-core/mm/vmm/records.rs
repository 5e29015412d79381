// SPDX-License-Identifier: GPL-2.0

//! What is mapped in an address space.

use core::ops::Range;

use kernel::{
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::Arc, //
};

use crate::mm::{
    va::VaRange,
    vram::Vram, //
};

/// A reservation of memory for a record.
pub(super) type Reservation = RBTreeNodeReservation<u64, Record>;

/// A range of pages that is mapped; it starts at its key in [`Records`].
#[derive(Clone)]
pub(super) struct Record {
    /// Number of the page behind the last one.
    end: u64,
    /// Keeps the addresses in use.
    _va: Arc<VaRange>,
    /// Keeps the memory allocated.
    vram: Arc<Vram>,
}

impl Record {
    pub(super) fn new(end: u64, va: Arc<VaRange>, vram: Arc<Vram>) -> Self {
        Self { end, _va: va, vram }
    }
}

/// The ranges of pages that are mapped, by the numbers of their first pages.
///
/// They are not empty and do not overlap. A record keeps what it maps alive: hence those that are
/// taken out are not dropped here but handed to the caller.
pub(super) struct Records(RBTree<u64, Record>);

impl Records {
    pub(super) fn new() -> Self {
        Self(RBTree::new())
    }

    /// Returns whether nothing is mapped.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the first range that starts at or after `page`.
    pub(super) fn first_from(&self, page: u64) -> Option<Range<u64>> {
        let first = self.0.cursor_lower_bound(&page)?;
        let (&start, record) = first.current();

        Some(start..record.end)
    }

    /// Moves the range that starts at `start` to `out`, which has none of the same pages. Neither
    /// allocates nor frees.
    pub(super) fn take(&mut self, start: u64, out: &mut Records) {
        if let Some(node) = self.0.remove_node(&start) {
            out.0.insert(node);
        }
    }

    /// Keeps the memory of all ranges from being freed when they are dropped.
    pub(super) fn keep_vram(&self) {
        for record in self.0.values() {
            record.vram.keep_allocated();
        }
    }

    /// Enters a record, where nothing is mapped.
    ///
    /// Does not allocate.
    pub(super) fn insert(&mut self, start: u64, record: Record, node: Reservation) {
        self.0.insert(node.into_node(start, record));
    }

    /// Takes `pages` out. What is mapped next to them stays: a record that reaches beyond is cut
    /// off. If one does so at both ends it is cut in two, which uses up `spare`; else `spare` is
    /// returned.
    ///
    /// Whole records go to `out`, which has none of the same pages. Neither allocates nor frees.
    pub(super) fn remove(
        &mut self,
        pages: &Range<u64>,
        spare: Reservation,
        out: &mut Records,
    ) -> Option<Reservation> {
        while let Some((start, record)) = self.overlapping(pages) {
            let end = record.end;
            // Shares what the record keeps alive, so that nothing is dropped for good below.
            let rest = record.clone();

            if start < pages.start {
                record.end = pages.start;
                if end > pages.end {
                    self.insert(pages.end, rest, spare);
                    return None;
                }
            } else if let Some(node) = self.0.remove_node(&start) {
                if end > pages.end {
                    self.insert(pages.end, rest, node.into_reservation());
                } else {
                    out.0.insert(node);
                }
            }
        }

        Some(spare)
    }

    /// Returns a record that has one of `pages`, and its first page.
    fn overlapping(&mut self, pages: &Range<u64>) -> Option<(u64, &mut Record)> {
        // Of the records that start below the end of `pages`, the last one reaches furthest.
        let last = match self.0.cursor_lower_bound(&pages.end) {
            Some(behind) => *behind.peek_prev()?.0,
            None => *self.0.cursor_back()?.current().0,
        };
        let record = self.0.get_mut(&last)?;

        (record.end > pages.start).then_some((last, record))
    }
}

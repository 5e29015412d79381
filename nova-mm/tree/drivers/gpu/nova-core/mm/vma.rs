// SPDX-License-Identifier: GPL-2.0

//! The mappings of an address space.

use core::ops::Range;

use kernel::rbtree::{
    RBTree,
    RBTreeNodeReservation, //
};

use crate::mm::{
    format::Access,
    memory::Backing, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// A preallocated node of a [`VmaTree`].
pub(super) type Reservation = RBTreeNodeReservation<u64, Vma>;

/// A range of pages with one backing. Its key in the [`VmaTree`] is the first page.
pub(super) struct Vma {
    /// Number of the last page, plus one.
    end: u64,
    backing: Backing,
}

/// The mappings of an address space, ordered by the numbers of their first pages.
///
/// The driver has no other record of the mapped memory: the state of the page tables only contains
/// which entries are valid. The tree also keeps the mapped memory alive, so methods that remove
/// mappings return them instead of dropping them.
///
/// Mappings are not empty and do not overlap.
pub(crate) struct VmaTree(RBTree<u64, Vma>);

impl VmaTree {
    pub(super) fn new() -> Self {
        Self(RBTree::new())
    }

    /// Returns whether nothing is mapped.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the first page and the backing of the mapping that contains `page`.
    pub(super) fn find(&self, page: u64) -> Option<(u64, &Backing)> {
        let (pages, backing) = self.first_from(page)?;

        pages.contains(&page).then_some((pages.start, backing))
    }

    /// Returns the pages and the backing of the first mapping that ends after `page`.
    pub(super) fn first_from(&self, page: u64) -> Option<(Range<u64>, &Backing)> {
        let (next, before) = match self.0.cursor_lower_bound(&page) {
            Some(next) => (
                Some(*next.current().0),
                next.peek_prev().map(Self::key_and_end),
            ),
            None => {
                let last = self.0.cursor_back()?;
                (None, Some(Self::key_and_end(last.current())))
            }
        };
        let start = match before {
            Some((start, end)) if end > page => start,
            _ => next?,
        };
        let vma = self.0.get(&start)?;

        Some((start..vma.end, &vma.backing))
    }

    fn key_and_end((&start, vma): (&u64, &Vma)) -> (u64, u64) {
        (start, vma.end)
    }

    /// Returns the range from the first to the last mapped page, or [`None`] if nothing is mapped.
    pub(super) fn bounds(&self) -> Option<Range<u64>> {
        let start = *self.0.cursor_front()?.current().0;
        let end = self.0.cursor_back()?.current().1.end;

        Some(start..end)
    }

    /// Moves the mappings that start within `pages` to `other`, which must not contain mappings of
    /// the same pages. Neither allocates nor frees memory.
    pub(super) fn move_to(&mut self, pages: &Range<u64>, other: &mut VmaTree) {
        while let Some((vma_pages, _)) = self.first_from(pages.start) {
            if vma_pages.start >= pages.end {
                break;
            }
            let Some(node) = self.0.remove_node(&vma_pages.start) else {
                break;
            };
            if let Some(replaced) = other.0.insert(node) {
                // This cannot happen. If it did, the GPU could still access the memory.
                replaced.to_key_value().1.backing.leak_on_drop();
            }
        }
    }

    /// Makes dropping the mappings leak their memory.
    pub(super) fn leak_on_drop(&self) {
        for vma in self.0.values() {
            vma.backing.leak_on_drop();
        }
    }

    /// Inserts a mapping of unmapped pages. If it continues the previous mapping, it is merged into
    /// that mapping, and `node` is returned. Does not allocate memory.
    pub(super) fn insert(
        &mut self,
        pages: Range<u64>,
        backing: Backing,
        node: Reservation,
    ) -> Option<Reservation> {
        if let Some(before) = pages.start.checked_sub(1) {
            let start = self.find(before).map(|(start, _)| start);
            if let Some(vma) = start.and_then(|start| Some((start, self.0.get_mut(&start)?))) {
                let (start, vma) = vma;
                if vma.backing.is_continued_by(vma.end - start, &backing) {
                    vma.end = pages.end;
                    return Some(node);
                }
            }
        }
        self.put(pages, backing, node);

        None
    }

    fn put(&mut self, pages: Range<u64>, backing: Backing, node: Reservation) {
        let vma = Vma {
            end: pages.end,
            backing,
        };
        self.0.insert(node.into_node(pages.start, vma));
    }

    /// Splits the mapping that contains `page` into two, the second of which starts with `page`.
    /// Returns `node` if a mapping already starts with `page` or `page` is not mapped. Does not
    /// allocate memory.
    fn split(&mut self, page: u64, node: Reservation) -> Option<Reservation> {
        let Some(start) = self.find(page).map(|(start, _)| start) else {
            return Some(node);
        };
        let Some(vma) = self.0.get_mut(&start).filter(|_| start < page) else {
            return Some(node);
        };
        let rest = page..core::mem::replace(&mut vma.end, page);
        let backing = vma.backing.after(page - start);
        self.put(rest, backing, node);

        None
    }

    /// Removes the mappings of `pages` and moves them to `removed`, which must not contain mappings
    /// of these pages. Parts of mappings outside of `pages` remain.
    ///
    /// If a mapping extends beyond both ends of `pages`, it is split with `node`. Otherwise,
    /// returns `node`. Neither allocates nor frees memory.
    pub(super) fn remove(
        &mut self,
        pages: &Range<u64>,
        node: Reservation,
        removed: &mut VmaTree,
    ) -> Option<Reservation> {
        let mut unused = Some(node);

        while let Some((vma_pages, _)) = self.first_from(pages.start) {
            if vma_pages.start >= pages.end {
                break;
            }
            if vma_pages.end > pages.end {
                // If the mapping also starts before `pages`, its end needs a second node.
                // Otherwise, its own node is reused.
                if vma_pages.start < pages.start {
                    unused = unused.and_then(|node| self.split(pages.end, node));
                } else {
                    self.cut_start(&vma_pages, pages.end);
                    break;
                }
            }
            if vma_pages.start < pages.start {
                self.cut_end(vma_pages.start, pages.start);
            } else if let Some(node) = self.0.remove_node(&vma_pages.start) {
                removed.0.insert(node);
            }
        }

        unused
    }

    /// Removes the pages before `start` from the mapping of `pages`.
    fn cut_start(&mut self, pages: &Range<u64>, start: u64) {
        if let Some(vma) = self.0.get(&pages.start) {
            // The clone holds a reference to the memory, so that dropping the mapping does not free
            // it.
            let backing = vma.backing.after(start - pages.start);
            if let Some(node) = self.0.remove_node(&pages.start) {
                self.put(start..pages.end, backing, node.into_reservation());
            }
        }
    }

    /// Removes the pages from `end` on from the mapping that starts with page `start`.
    fn cut_end(&mut self, start: u64, end: u64) {
        if let Some(vma) = self.0.get_mut(&start) {
            vma.end = end;
        }
    }

    /// Finds the first mapping within `pages` that is not sparse and whose access is not `access`.
    /// Returns its part within `pages`, its first page, and its backing.
    pub(super) fn first_with_other_access(
        &self,
        pages: &Range<u64>,
        access: Access,
    ) -> Option<(Range<u64>, u64, &Backing)> {
        let mut from = pages.start;
        while from < pages.end {
            let (vma_pages, backing) = self.first_from(from)?;
            if vma_pages.start >= pages.end {
                break;
            }
            if backing.is_changed_by(access) {
                let part = vma_pages.start.max(pages.start)..vma_pages.end.min(pages.end);
                return Some((part, vma_pages.start, backing));
            }
            from = vma_pages.end;
        }

        None
    }

    /// Changes the access to the memory that is mapped at `pages`. Does not allocate memory.
    ///
    /// Mappings that extend beyond an end of `pages` are split with `nodes`, but only if their
    /// access changes. Otherwise, a large page could span two mappings.
    pub(super) fn protect(
        &mut self,
        pages: &Range<u64>,
        access: Access,
        nodes: &mut [Option<Reservation>; 2],
    ) {
        for (page, node) in [pages.start, pages.end].into_iter().zip(nodes) {
            let is_changed = self
                .find(page)
                .is_some_and(|(_, backing)| backing.is_changed_by(access));
            if !is_changed {
                continue;
            }
            if let Some(reserved) = node.take() {
                *node = self.split(page, reserved);
            }
        }
        let mut from = pages.start;
        while let Some((part, start, _)) = self.first_with_other_access(&(from..pages.end), access)
        {
            if let Some(vma) = self.0.get_mut(&start) {
                vma.backing.set_access(access);
            }
            from = part.end;
        }
    }
}

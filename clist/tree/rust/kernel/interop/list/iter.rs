// SPDX-License-Identifier: GPL-2.0

//! Iteration over a [`CList`].

use super::CList;
use crate::bindings;
use core::{
    iter::FusedIterator,
    marker::PhantomData, //
};

impl<T, const OFFSET: usize> CList<T, OFFSET> {
    /// Returns an iterator over the items, from the first to the last.
    #[inline]
    pub fn iter(&self) -> CListIter<'_, T, OFFSET> {
        let head = self.head.as_raw();
        // SAFETY: `head` is the head of a list with valid links by the type invariants.
        let next = if unsafe { links_valid(head) } {
            // SAFETY: `head` is initialized by the type invariants.
            unsafe { (*head).next }
        } else {
            head
        };
        // INVARIANT: The iterator borrows the list. The head is followed by an item or itself.
        CListIter {
            next,
            head,
            _list: PhantomData,
        }
    }
}

/// An iterator over the items of a [`CList`].
///
/// It reads the link to the next item before it returns an item. Removing items from the list is
/// still not allowed: the requirements of [`CList::from_raw`] apply for as long as the iterator
/// lives.
///
/// With `CONFIG_DEBUG_LIST` the links are checked as C does before `list_del()`: the adjacent
/// entries must link back, and a link must not be the poison of `list_del()`. If the check fails, C
/// reports it, and the iterator ends.
///
/// # Examples
///
/// ```
/// # use kernel::{
/// #     bindings,
/// #     interop::list::{
/// #         clist_create,
/// #         CListHead, //
/// #     },
/// #     types::Opaque, //
/// # };
/// # #[repr(C)]
/// # struct CItem {
/// #     value: u32,
/// #     link: bindings::list_head,
/// # }
/// # #[repr(transparent)]
/// # struct Item(Opaque<CItem>);
/// # impl Item {
/// #     fn value(&self) -> u32 {
/// #         // SAFETY: `value` is initialized, and not written to.
/// #         unsafe { (*self.0.get()).value }
/// #     }
/// # }
/// # pin_init::stack_pin_init!(let head = CListHead::new());
/// # let mut items = [1, 2, 3].map(|value| CItem { value, link: Default::default() });
/// # for item in &mut items {
/// #     let item: *mut CItem = item;
/// #     // SAFETY: Head and item are valid, and both stay where they are while they are in use.
/// #     unsafe { bindings::list_add_tail(&raw mut (*item).link, head.as_raw()) };
/// # }
/// // C code has linked three items.
/// // SAFETY: `head` is the head of a list, whose items are valid `CItem`, linked by their field
/// // `link`. List and items outlive `list`, and are not modified.
/// let list = unsafe { clist_create!(head.as_raw(), Item, CItem, link) };
///
/// let mut iter = list.iter();
/// assert_eq!(iter.next().map(Item::value), Some(1));
/// assert_eq!(iter.next().map(Item::value), Some(2));
/// assert_eq!(iter.next().map(Item::value), Some(3));
/// assert!(iter.next().is_none());
/// ```
///
/// # Invariants
///
/// The list is borrowed for `'a`. `head` is its head, and `next` is the head or links the item that
/// is returned next.
pub struct CListIter<'a, T, const OFFSET: usize> {
    next: *mut bindings::list_head,
    head: *mut bindings::list_head,
    _list: PhantomData<&'a CList<T, OFFSET>>,
}

impl<'a, T, const OFFSET: usize> Iterator for CListIter<'a, T, OFFSET> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        let node = self.next;
        if node == self.head {
            return None;
        }
        // SAFETY: `node` links an item of a list with valid links by the type invariants.
        if !unsafe { links_valid(node) } {
            // INVARIANT: `next` is the head.
            self.next = self.head;
            return None;
        }
        // INVARIANT: The entry after an item is an item or the head.
        // SAFETY: `node` is initialized by the type invariants.
        self.next = unsafe { (*node).next };
        // SAFETY: `node` links an item by the type invariants, so this is a valid `T` for as long
        // as the list is borrowed, which is `'a`, and the pointer may be used for all of it.
        Some(unsafe { &*container_of::<T, OFFSET>(node) })
    }
}

impl<T, const OFFSET: usize> FusedIterator for CListIter<'_, T, OFFSET> {}

// SAFETY: The iterator only reads the list, like the shared reference that created it.
unsafe impl<T: Sync, const OFFSET: usize> Send for CListIter<'_, T, OFFSET> {}

// SAFETY: A shared reference to the iterator does not allow advancing it.
unsafe impl<T: Sync, const OFFSET: usize> Sync for CListIter<'_, T, OFFSET> {}

/// Returns the item that `node` links.
#[inline]
fn container_of<T, const OFFSET: usize>(node: *mut bindings::list_head) -> *mut T {
    // `node` was read from the links of the list. Unlike a pointer that is derived from a reference
    // to a `list_head`, it is valid for all of the item.
    node.wrapping_byte_sub(OFFSET).cast()
}

/// Checks the links between `node` and the adjacent entries with `CONFIG_DEBUG_LIST`.
///
/// # Safety
///
/// `node` must point to an initialized `list_head`. Each of its links must be null, poison, or
/// point to a readable `list_head`.
#[inline]
unsafe fn links_valid(node: *mut bindings::list_head) -> bool {
    // SAFETY: By the safety requirements, C may read `node` and the entries that it links to.
    !cfg!(CONFIG_DEBUG_LIST) || unsafe { bindings::__list_del_entry_valid(node) }
}

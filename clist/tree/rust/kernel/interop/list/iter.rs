// SPDX-License-Identifier: GPL-2.0

//! Iteration over a [`CList`].

use super::CList;
use crate::bindings;
use core::{
    iter::FusedIterator,
    marker::PhantomData, //
};

impl<T, const OFFSET: usize> CList<T, OFFSET> {
    /// Returns the first item.
    #[inline]
    pub fn first(&self) -> Option<&T> {
        self.iter().next()
    }

    /// Returns the last item.
    #[inline]
    pub fn last(&self) -> Option<&T> {
        self.iter().next_back()
    }

    /// Returns an iterator over the items, from the first to the last.
    #[inline]
    pub fn iter(&self) -> CListIter<'_, T, OFFSET> {
        let head = self.head.as_raw();
        // SAFETY: `head` is the head of a list with valid links by the type invariants.
        let ends = if !self.is_empty() && unsafe { links_hold(head) } {
            // SAFETY: `head` is initialized by the type invariants.
            Some(unsafe { ((*head).next, (*head).prev) })
        } else {
            None
        };
        // INVARIANT: The list is borrowed for as long as the iterator lives. If it is not empty,
        // its first item follows the head, and its last item precedes it.
        CListIter {
            ends,
            _list: PhantomData,
        }
    }
}

impl<'a, T, const OFFSET: usize> IntoIterator for &'a CList<T, OFFSET> {
    type Item = &'a T;
    type IntoIter = CListIter<'a, T, OFFSET>;

    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// An iterator over the items of a [`CList`], from either end.
///
/// It reads the links of an item before it returns the item. Removing items from the list is still
/// not allowed: the requirements of [`CList::from_raw`] apply for as long as the iterator lives.
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
/// #         // SAFETY: `value` is initialized, and nobody writes to it.
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
/// // `link`. List and items outlive `list`, and nobody changes them.
/// let list = unsafe { clist_create!(head.as_raw(), Item, CItem, link) };
///
/// assert!(list.iter().map(Item::value).eq([1, 2, 3]));
/// assert!(list.iter().rev().map(Item::value).eq([3, 2, 1]));
/// assert_eq!(list.last().map(Item::value), Some(3));
///
/// // The two ends meet in the middle.
/// let mut iter = list.iter();
/// assert_eq!(iter.next().map(Item::value), Some(1));
/// assert_eq!(iter.next_back().map(Item::value), Some(3));
/// assert_eq!(iter.next().map(Item::value), Some(2));
/// assert!(iter.next().is_none());
/// assert!(iter.next_back().is_none());
/// ```
///
/// # Invariants
///
/// The list is borrowed for `'a`. `ends` is the first and the last item that have not been
/// returned, as pointers to the `list_head` that links them; [`None`] if all items have been
/// returned.
pub struct CListIter<'a, T, const OFFSET: usize> {
    ends: Option<(*mut bindings::list_head, *mut bindings::list_head)>,
    _list: PhantomData<&'a CList<T, OFFSET>>,
}

impl<'a, T, const OFFSET: usize> Iterator for CListIter<'a, T, OFFSET> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        // INVARIANT: Unless set again below, this is the last item.
        let (front, back) = self.ends.take()?;
        // SAFETY: `front` links an item by the type invariants.
        if !unsafe { links_hold(front) } {
            return None;
        }
        if front != back {
            // INVARIANT: `front` is not the last item left, so another one follows it.
            // SAFETY: `front` links an item by the type invariants.
            self.ends = Some((unsafe { (*front).next }, back));
        }
        // SAFETY: `front` links an item by the type invariants, so this is a `T` that is valid as
        // long as the list is borrowed, for `'a`, and the pointer may be used for all of it.
        Some(unsafe { &*item_of::<T, OFFSET>(front) })
    }
}

impl<'a, T, const OFFSET: usize> DoubleEndedIterator for CListIter<'a, T, OFFSET> {
    #[inline]
    fn next_back(&mut self) -> Option<&'a T> {
        // INVARIANT: Unless set again below, this is the last item.
        let (front, back) = self.ends.take()?;
        // SAFETY: `back` links an item by the type invariants.
        if !unsafe { links_hold(back) } {
            return None;
        }
        if front != back {
            // INVARIANT: `back` is not the first item left, so another one precedes it.
            // SAFETY: `back` links an item by the type invariants.
            self.ends = Some((front, unsafe { (*back).prev }));
        }
        // SAFETY: `back` links an item by the type invariants, so this is a `T` that is valid as
        // long as the list is borrowed, for `'a`, and the pointer may be used for all of it.
        Some(unsafe { &*item_of::<T, OFFSET>(back) })
    }
}

impl<T, const OFFSET: usize> FusedIterator for CListIter<'_, T, OFFSET> {}

impl<T, const OFFSET: usize> Clone for CListIter<'_, T, OFFSET> {
    #[inline]
    fn clone(&self) -> Self {
        // INVARIANT: They hold for `self`, which has the same fields.
        Self {
            ends: self.ends,
            _list: PhantomData,
        }
    }
}

// SAFETY: It is a `&CList<T, OFFSET>` that only reads the list and returns `&T`.
unsafe impl<T: Sync, const OFFSET: usize> Send for CListIter<'_, T, OFFSET> {}

// SAFETY: A shared reference only allows cloning the iterator, which can be sent, see above.
unsafe impl<T: Sync, const OFFSET: usize> Sync for CListIter<'_, T, OFFSET> {}

/// Returns the item that `node` links.
#[inline]
pub(super) fn item_of<T, const OFFSET: usize>(node: *mut bindings::list_head) -> *mut T {
    // `node` is read from the links of the list. Unlike a pointer that is derived from a reference
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
pub(super) unsafe fn links_hold(node: *mut bindings::list_head) -> bool {
    // SAFETY: `node` and its links are as C requires by the safety requirements.
    !cfg!(CONFIG_DEBUG_LIST) || unsafe { bindings::__list_del_entry_valid(node) }
}

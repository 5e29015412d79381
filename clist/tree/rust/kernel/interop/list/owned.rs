// SPDX-License-Identifier: GPL-2.0

//! C lists whose head and items are owned by Rust code.

use super::{
    iter::{
        item_of,
        links_hold, //
    },
    CList,
    CListHead, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};

/// A C list that Rust code owns: the head, and with it the right to modify the list.
///
/// A C function fills the list through [`Self::as_raw`]. The owner can then remove items one by
/// one, or join them with the items of another list. It derefs to [`CList`] for reading.
///
/// Items are removed like by C's `list_del_init()`, so [`is_linked`] is false for a removed item.
/// The caller that removed it owns it, and may free removed items in any order. The list does not
/// free items, because it does not know how. Items that are still on the list when it is dropped
/// stay linked to each other, but not to the freed head, and are leaked unless there are other
/// pointers to them.
///
/// With `CONFIG_LIST_HARDENED` C checks the links of an item before it is removed, as in
/// `list_del()`, and the links of the head before the first or the last item is removed. If they
/// are corrupted, C reports it, and the item stays on the list: leaking it is better than returning
/// it twice.
///
/// [`is_linked`]: CListHead::is_linked
///
/// # Invariants
///
/// - `head` is the head of a list with valid links. Each item is a valid `T` which starts `OFFSET`
///   bytes before the `list_head` that links it, and the pointers in the links may be used for all
///   of it.
/// - The items are owned by the list. Other code does not use them or modify their links, except C
///   code with the result of [`Self::as_raw`], and only until the list is next used.
///
/// # Examples
///
/// ```
/// use core::ptr::NonNull;
/// use kernel::{
///     bindings,
///     clist_offset,
///     interop::list::CListOwned,
///     types::Opaque, //
/// };
///
/// #[repr(C)]
/// struct CItem {
///     value: u32,
///     link: bindings::list_head,
/// }
///
/// #[repr(transparent)]
/// struct Item(Opaque<CItem>);
///
/// impl Item {
///     fn new(value: u32) -> Result<NonNull<Self>> {
///         let link = Default::default();
///         let item = KBox::new(Item(Opaque::new(CItem { value, link })), GFP_KERNEL)?;
///         Ok(NonNull::from(KBox::leak(item)))
///     }
///
///     fn value(&self) -> u32 {
///         // SAFETY: `value` is initialized, and nobody writes to it.
///         unsafe { (*self.0.get()).value }
///     }
/// }
///
/// pin_init::stack_pin_init!(
///     let list = CListOwned::<Item, { clist_offset!(Item, CItem, link) }>::new()
/// );
/// for value in [1, 2, 3] {
///     let item = Item::new(value)?;
///     // SAFETY: `item` is valid, on no other list, and only used through `list` from here on.
///     unsafe { list.as_mut().push_back(item) };
/// }
/// assert!(list.iter().map(Item::value).eq([1, 2, 3]));
///
/// // Remove an item from the middle.
/// let mut cursor = list.as_mut().cursor_front();
/// cursor.move_next();
/// assert_eq!(cursor.peek().map(Item::value), Some(2));
/// if let Some(item) = cursor.remove() {
///     // SAFETY: This is one of the boxes that were leaked above, and no longer on the list.
///     drop(unsafe { KBox::from_raw(item.as_ptr()) });
/// }
/// assert_eq!(cursor.peek().map(Item::value), Some(3));
///
/// // Remove all others.
/// for item in list.as_mut().drain() {
///     // SAFETY: As above.
///     drop(unsafe { KBox::from_raw(item.as_ptr()) });
/// }
/// assert!(list.is_empty());
/// # Ok::<(), Error>(())
/// ```
#[pin_data(PinnedDrop)]
pub struct CListOwned<T, const OFFSET: usize> {
    #[pin]
    head: CListHead,
    _items: PhantomData<T>,
}

impl<T, const OFFSET: usize> CListOwned<T, OFFSET> {
    /// Creates an initializer for an empty list.
    #[inline]
    pub fn new() -> impl PinInit<Self> {
        // INVARIANT: The list has valid links and no items.
        pin_init!(Self {
            head <- CListHead::new(),
            _items: PhantomData,
        })
    }

    /// Returns the head, for C code that adds items to the list or removes items from it.
    ///
    /// C code may modify the list through the pointer until the list is next used. The items that
    /// it adds must meet the requirements of [`Self::push_back`]. It owns the items that it
    /// removes.
    #[inline]
    pub fn as_raw(self: Pin<&mut Self>) -> *mut bindings::list_head {
        self.head.as_raw()
    }

    /// Adds `item` to the end of the list.
    ///
    /// With `CONFIG_LIST_HARDENED`, if C finds the links corrupted, the item is not added.
    ///
    /// # Safety
    ///
    /// - `item` must point to a valid `T`, and be valid for reads and writes of all of it, until it
    ///   is removed from the list or the list is dropped. Until then it must only be used through
    ///   the list.
    /// - At `OFFSET` bytes, `item` must have a `list_head` that is not on a list.
    #[inline]
    pub unsafe fn push_back(self: Pin<&mut Self>, item: NonNull<T>) {
        let node = item.as_ptr().wrapping_byte_add(OFFSET).cast();
        // INVARIANT: `item` is a valid `T` that the list now owns, by the safety requirements.
        // SAFETY: `node` is valid by the safety requirements, the head by the type invariants.
        unsafe { bindings::list_add_tail(node, self.head.as_raw()) };
    }

    /// Removes the first item.
    ///
    /// Returns [`None`] if the list is empty, or if the links are found corrupted. Loops must
    /// therefore check the result, and not [`CList::is_empty`].
    #[inline]
    pub fn pop_front(self: Pin<&mut Self>) -> Option<NonNull<T>> {
        let head = self.head.as_raw();
        // SAFETY: `head` is initialized by the type invariants.
        let first = unsafe { (*head).next };
        // SAFETY: `head` is the head of a list with valid links by the type invariants.
        if first == head || !unsafe { removable(head) } {
            return None;
        }
        // SAFETY: By the type invariants, `first` links an item of the list of `head`, which is
        // borrowed mutably.
        unsafe { take::<T, OFFSET>(head, first, (*first).next) }
    }

    /// Removes the last item.
    ///
    /// Returns [`None`] like [`Self::pop_front`].
    #[inline]
    pub fn pop_back(self: Pin<&mut Self>) -> Option<NonNull<T>> {
        let head = self.head.as_raw();
        // SAFETY: `head` is initialized by the type invariants.
        let last = unsafe { (*head).prev };
        // SAFETY: `head` is the head of a list with valid links by the type invariants.
        if last == head || !unsafe { removable(head) } {
            return None;
        }
        // SAFETY: By the type invariants, `last` links an item of the list of `head`, which is
        // borrowed mutably.
        unsafe { take::<T, OFFSET>((*last).prev, last, head) }
    }

    /// Moves all items of `other` to the end of this list, in their order.
    #[inline]
    pub fn splice_back(self: Pin<&mut Self>, other: Pin<&mut Self>) {
        // INVARIANT: The items are valid `T` linked at `OFFSET`, as they were in `other`.
        // SAFETY: Both are heads of lists with valid links by the type invariants. They are
        // different lists, because both are borrowed mutably.
        unsafe { bindings::list_splice_tail_init(other.head.as_raw(), self.head.as_raw()) };
    }

    /// Returns an iterator that removes the items, from either end.
    ///
    /// Unlike with `drain()` of the standard library, items that have not been returned when the
    /// iterator is dropped stay on the list.
    #[inline]
    pub fn drain(self: Pin<&mut Self>) -> CListDrain<'_, T, OFFSET> {
        CListDrain { list: self }
    }

    /// Returns a cursor at the first item, or at the end if the list is empty.
    #[inline]
    pub fn cursor_front(self: Pin<&mut Self>) -> CListCursor<'_, T, OFFSET> {
        let mut cursor = self.cursor();
        cursor.move_next();
        cursor
    }

    /// Returns a cursor at the last item, or at the end if the list is empty.
    #[inline]
    pub fn cursor_back(self: Pin<&mut Self>) -> CListCursor<'_, T, OFFSET> {
        let mut cursor = self.cursor();
        cursor.move_prev();
        cursor
    }

    /// Returns a cursor at the end.
    #[inline]
    fn cursor(self: Pin<&mut Self>) -> CListCursor<'_, T, OFFSET> {
        // INVARIANT: `current` is the head of the list.
        CListCursor {
            current: self.head.as_raw(),
            list: self,
        }
    }
}

impl<T, const OFFSET: usize> Deref for CListOwned<T, OFFSET> {
    type Target = CList<T, OFFSET>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        // SAFETY: By the type invariants, this is the head of such a list. C code may change it
        // only before its next use, which this borrow is; all else needs a mutable borrow.
        unsafe { CList::from_raw(self.head.as_raw()) }
    }
}

#[pinned_drop]
impl<T, const OFFSET: usize> PinnedDrop for CListOwned<T, OFFSET> {
    #[inline]
    fn drop(self: Pin<&mut Self>) {
        let head = self.head.as_raw();
        // The items remain linked to each other, without the head. If the links are found
        // corrupted, C has reported it.
        // SAFETY: `head` is the head of a list with valid links by the type invariants, and it is
        // borrowed mutably.
        let _ = unsafe { unlink((*head).prev, head, (*head).next) };
    }
}

/// An iterator that removes the items of a [`CListOwned`], from either end.
///
/// Each item is removed when it is returned. The others stay on the list when the iterator is
/// dropped.
#[must_use = "no item is removed unless the iterator is used"]
pub struct CListDrain<'a, T, const OFFSET: usize> {
    list: Pin<&'a mut CListOwned<T, OFFSET>>,
}

impl<T, const OFFSET: usize> Iterator for CListDrain<'_, T, OFFSET> {
    type Item = NonNull<T>;

    #[inline]
    fn next(&mut self) -> Option<NonNull<T>> {
        self.list.as_mut().pop_front()
    }
}

impl<T, const OFFSET: usize> DoubleEndedIterator for CListDrain<'_, T, OFFSET> {
    #[inline]
    fn next_back(&mut self) -> Option<NonNull<T>> {
        self.list.as_mut().pop_back()
    }
}

/// A position in a [`CListOwned`]: an item, or the end.
///
/// The list is circular, and the end is between its last item and its first: a cursor moves from
/// the last item to the end, and from there to the first.
///
/// # Invariants
///
/// `current` is the head of the list, which stands for the end, or links an item of the list.
pub struct CListCursor<'a, T, const OFFSET: usize> {
    list: Pin<&'a mut CListOwned<T, OFFSET>>,
    current: *mut bindings::list_head,
}

impl<T, const OFFSET: usize> CListCursor<'_, T, OFFSET> {
    /// Returns the item at the cursor, [`None`] at the end.
    #[inline]
    pub fn peek(&self) -> Option<&T> {
        if self.current == self.list.head.as_raw() {
            return None;
        }
        // SAFETY: By the type invariants, `current` links an item of the list, which is a valid
        // `T`, for all of which the pointer is valid. Removing it needs a mutable borrow of `self`.
        Some(unsafe { &*item_of::<T, OFFSET>(self.current) })
    }

    /// Moves the cursor to the next item, to the end if it is at the last.
    ///
    /// With `CONFIG_DEBUG_LIST` the links are checked as by [`CListIter`](super::CListIter), and
    /// the cursor moves to the end if they are corrupted.
    #[inline]
    pub fn move_next(&mut self) {
        // SAFETY: `current` is initialized by the type invariants.
        self.move_to(unsafe { (*self.current).next });
    }

    /// Moves the cursor to the previous item, to the end if it is at the first.
    ///
    /// The links are checked as by [`Self::move_next`].
    #[inline]
    pub fn move_prev(&mut self) {
        // SAFETY: `current` is initialized by the type invariants.
        self.move_to(unsafe { (*self.current).prev });
    }

    /// Moves the cursor to `neighbor`, which `current` links to.
    #[inline]
    fn move_to(&mut self, neighbor: *mut bindings::list_head) {
        // INVARIANT: An item and the head only link to items and the head.
        // SAFETY: `current` is the head or links an item by the type invariants.
        self.current = if unsafe { links_hold(self.current) } {
            neighbor
        } else {
            self.list.head.as_raw()
        };
    }

    /// Removes the item at the cursor, and moves the cursor to the next.
    ///
    /// Returns [`None`] if the cursor is at the end, or moves there if the links are corrupted.
    #[inline]
    pub fn remove(&mut self) -> Option<NonNull<T>> {
        let node = self.current;
        let head = self.list.head.as_raw();
        if node == head {
            return None;
        }
        // SAFETY: `node` is initialized by the type invariants.
        let (prev, next) = unsafe { ((*node).prev, (*node).next) };
        // SAFETY: By the type invariants, `node` links an item of the list, which is borrowed
        // mutably.
        let item = unsafe { take::<T, OFFSET>(prev, node, next) };
        // INVARIANT: `next` followed an item, so it is an item or the head.
        self.current = if item.is_some() { next } else { head };
        item
    }
}

/// Removes the item that `node` links from its list.
///
/// # Safety
///
/// `node` must link an item of a list of `T` with valid links, between `prev` and `next`. There
/// must be no other accesses to the list during the call.
#[inline]
unsafe fn take<T, const OFFSET: usize>(
    prev: *mut bindings::list_head,
    node: *mut bindings::list_head,
    next: *mut bindings::list_head,
) -> Option<NonNull<T>> {
    // SAFETY: `prev`, `node` and `next` are on a list with valid links by the safety requirements,
    // which also exclude other accesses.
    if unsafe { unlink(prev, node, next) } {
        // SAFETY: An item is a valid `T`, hence not null.
        Some(unsafe { NonNull::new_unchecked(item_of::<T, OFFSET>(node)) })
    } else {
        None
    }
}

/// Removes `node` from its list and links it to itself, as C's `list_del_init()` does.
///
/// Returns false, and does nothing, if the links are found corrupted; see [`removable`].
///
/// # Safety
///
/// All pointers must be valid for reads and writes, with `node` between `prev` and `next` on a list
/// with valid links. There must be no other accesses to them during the call.
#[inline]
#[must_use]
unsafe fn unlink(
    prev: *mut bindings::list_head,
    node: *mut bindings::list_head,
    next: *mut bindings::list_head,
) -> bool {
    // SAFETY: `node` and its links are valid by the safety requirements.
    if !unsafe { removable(node) } {
        return false;
    }
    // These are the stores of C, in its order, volatile where C has `WRITE_ONCE()`.
    // SAFETY: All pointers are valid for writes by the safety requirements.
    unsafe {
        (*next).prev = prev;
        (&raw mut (*prev).next).write_volatile(next);
        (&raw mut (*node).next).write_volatile(node);
        (&raw mut (*node).prev).write_volatile(node);
    }
    true
}

/// Returns whether C's check of the links around `node` allows removal. Without
/// `CONFIG_LIST_HARDENED` C does not check them.
///
/// In a corrupted list, the head may link to an item that is linked validly elsewhere. So check the
/// head as well before removing an item at an end.
///
/// # Safety
///
/// `node` must be on a list with valid links, which are not modified during the call.
#[inline]
unsafe fn removable(node: *mut bindings::list_head) -> bool {
    // SAFETY: `node` and its links are valid by the safety requirements.
    !cfg!(CONFIG_LIST_HARDENED) || unsafe { bindings::__list_del_entry_valid(node) }
}

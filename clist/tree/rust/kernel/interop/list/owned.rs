// SPDX-License-Identifier: GPL-2.0

//! Lists whose head and items are Rust's, although C code may have filled them.

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

/// A C list that Rust code owns: the head, and with it the right to change the list.
///
/// It is for code that has C fill a list, by a call that gets [`Self::as_raw`], and then gives the
/// items back one by one or joins them with those of another call. It derefs to the [`CList`] that
/// it is, for all that only reads.
///
/// An item that leaves the list leaves it as after C's `list_del_init()`, so [`is_linked`] is false
/// for it. Whoever took it out owns it, and may free it in any order with others. The list itself
/// frees no item, because it does not know how. Those that are still on it when it is dropped are
/// left to whoever knows them by other means; they stay linked to each other, not to the freed
/// head.
///
/// With `CONFIG_LIST_HARDENED` C checks the links of an item before it is taken out, as it does in
/// `list_del()`, and those of the head before the first or the last item is. If it finds them
/// corrupted, it reports that, and the item stays where it is: leaking it is better than handing it
/// out twice.
///
/// [`is_linked`]: CListHead::is_linked
///
/// # Invariants
///
/// - `head` is the head of a list with valid links. Each item is a valid `T` which starts `OFFSET`
///   bytes before the `list_head` that links it, and the pointers in the links may be used for all
///   of it.
/// - The items belong to the list. Nobody else uses them or changes their links, except C code that
///   got the result of [`Self::as_raw`], and that only before the list is next used.
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
/// // Takes one item out of the middle.
/// let mut cursor = list.as_mut().cursor_front();
/// cursor.move_next();
/// assert_eq!(cursor.peek().map(Item::value), Some(2));
/// if let Some(item) = cursor.remove() {
///     // SAFETY: This is one of the boxes that were leaked above, and it is off the list.
///     drop(unsafe { KBox::from_raw(item.as_ptr()) });
/// }
/// assert_eq!(cursor.peek().map(Item::value), Some(3));
///
/// // Takes out all that is left.
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

    /// Returns the head, for C code that adds items to the list or takes items off it.
    ///
    /// It may use the pointer to change the list until the list is next used. What it adds must be
    /// as [`Self::push_back`] requires it; what it takes off, it may free.
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
    /// - `item` must point to a valid `T`, and be good for reads and writes of all of it, until it
    ///   leaves the list or the list is dropped. Until then it must be used by nobody but through
    ///   the list.
    /// - `OFFSET` bytes into `item` there must be a `list_head` that links it to no list.
    #[inline]
    pub unsafe fn push_back(self: Pin<&mut Self>, item: NonNull<T>) {
        let node = item.as_ptr().wrapping_byte_add(OFFSET).cast();
        // INVARIANT: The caller promises that `item` is a valid `T` that belongs to the list.
        // SAFETY: `node` is valid by the safety requirements, the head by the type invariants.
        unsafe { bindings::list_add_tail(node, self.head.as_raw()) };
    }

    /// Takes the first item off the list.
    ///
    /// Returns [`None`] if the list is empty, or if the links are found corrupted: a loop looks at
    /// the result, not at [`CList::is_empty`].
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

    /// Takes the last item off the list.
    ///
    /// Returns [`None`] as [`Self::pop_front`] does.
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
        // INVARIANT: The items are valid `T` linked at `OFFSET`, as they have been in `other`.
        // SAFETY: Both are heads of lists with valid links by the type invariants. They are
        // different lists, for both are borrowed mutably.
        unsafe { bindings::list_splice_tail_init(other.head.as_raw(), self.head.as_raw()) };
    }

    /// Returns an iterator that takes the items off the list, from either end.
    ///
    /// Unlike with `drain()` of the standard library, what has not been taken off when the iterator
    /// is dropped stays on the list.
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
        // Without the head the items remain a ring. If its links are found corrupted, C has
        // reported that, and there is no ring to speak of.
        // SAFETY: `head` is the head of a list with valid links by the type invariants, and it is
        // borrowed mutably.
        let _ = unsafe { unlink((*head).prev, head, (*head).next) };
    }
}

/// An iterator that takes the items off a [`CListOwned`], from either end.
///
/// Each item that it returns is off the list already. What it has not returned when it is dropped
/// stays on the list.
#[must_use = "takes nothing off the list unless it is iterated over"]
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
/// The list is circular, and the end is what lies between its last item and its first: a cursor
/// gets from the last item to the end, and from there to the first.
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
        // SAFETY: By the type invariants, `current` links an item of the list, which thus is a
        // valid `T`, for all of which the pointer may be used. It leaves the list only through a
        // mutable borrow of `self`.
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

    /// Moves the cursor to `neighbor`, one of the two that `current` links to.
    #[inline]
    fn move_to(&mut self, neighbor: *mut bindings::list_head) {
        // INVARIANT: What an item or the head links to is an item or the head.
        // SAFETY: `current` is the head or links an item by the type invariants.
        self.current = if unsafe { links_hold(self.current) } {
            neighbor
        } else {
            self.list.head.as_raw()
        };
    }

    /// Takes the item at the cursor off the list, and moves the cursor to the next.
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

/// Takes the item that `node` links off its list.
///
/// # Safety
///
/// `node` must link an item of a list of `T` with valid links, between `prev` and `next`. Nobody
/// else may access the list during the call.
#[inline]
unsafe fn take<T, const OFFSET: usize>(
    prev: *mut bindings::list_head,
    node: *mut bindings::list_head,
    next: *mut bindings::list_head,
) -> Option<NonNull<T>> {
    // SAFETY: `node` and its neighbors are on a list with valid links by the safety requirements,
    // which also exclude other accesses.
    if unsafe { unlink(prev, node, next) } {
        // SAFETY: An item is a valid `T`, hence not null.
        Some(unsafe { NonNull::new_unchecked(item_of::<T, OFFSET>(node)) })
    } else {
        None
    }
}

/// Takes `node` off its list and links it to itself, as C's `list_del_init()` does.
///
/// Returns false, and does nothing, if the links are found corrupted; see [`removable`].
///
/// # Safety
///
/// All must be valid for reads and writes, with `node` between `prev` and `next` on a list with
/// valid links. Nobody else may access them during the call.
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
    // SAFETY: All are valid for writes by the safety requirements.
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
/// An item whose own links are valid need not be the one that follows the head of a corrupted list,
/// so the head is checked as well before the item at an end is removed.
///
/// # Safety
///
/// `node` must be on a list with valid links. Nobody else may change them during the call.
#[inline]
unsafe fn removable(node: *mut bindings::list_head) -> bool {
    // SAFETY: `node` and its links are valid by the safety requirements.
    !cfg!(CONFIG_LIST_HARDENED) || unsafe { bindings::__list_del_entry_valid(node) }
}

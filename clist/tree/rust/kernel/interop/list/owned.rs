// SPDX-License-Identifier: GPL-2.0

//! C lists whose head and items are owned by Rust code.

use super::{
    CList,
    CListHead, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    ops::Deref, //
};

/// A C list that Rust code owns: the head, and with it the right to modify the list.
///
/// C functions add items to the list and remove them through [`Self::as_raw`]. The list derefs to
/// [`CList`] for reading.
///
/// The list does not free its items, because it has no information on how they were allocated.
/// Items that are still on the list when it is dropped stay linked to each other, but not to the
/// freed head, and are leaked unless there are other pointers to them.
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
///     fn value(&self) -> u32 {
///         // SAFETY: `value` is initialized, and not written to.
///         unsafe { (*self.0.get()).value }
///     }
/// }
///
/// let mut items = [1, 2].map(|value| CItem { value, link: Default::default() });
/// pin_init::stack_pin_init!(
///     let list = CListOwned::<Item, { clist_offset!(Item, CItem, link) }>::new()
/// );
/// for item in &mut items {
///     let item: *mut CItem = item;
///     // SAFETY: The item is on no other list, and is only used through `list` from here on. Head
///     // and item are valid and stay where they are.
///     unsafe { bindings::list_add_tail(&raw mut (*item).link, list.as_mut().as_raw()) };
/// }
/// assert!(list.iter().map(Item::value).eq([1, 2]));
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
    /// C code may modify the list through the pointer until the list is next used. Each item that
    /// it adds must meet the invariants of this type, and belongs to the list. It owns the items
    /// that it removes.
    #[inline]
    pub fn as_raw(self: Pin<&mut Self>) -> *mut bindings::list_head {
        self.head.as_raw()
    }

    /// Moves all items of `other` to the end of this list, in their order.
    #[inline]
    pub fn push_all_back(self: Pin<&mut Self>, other: Pin<&mut Self>) {
        // INVARIANT: The items are valid `T` linked at `OFFSET`, as they were in `other`.
        // SAFETY: Both are heads of lists with valid links by the type invariants. They are
        // different lists, because both are borrowed mutably.
        unsafe { bindings::list_splice_tail_init(other.head.as_raw(), self.head.as_raw()) };
    }
}

impl<T, const OFFSET: usize> Deref for CListOwned<T, OFFSET> {
    type Target = CList<T, OFFSET>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        // SAFETY: By the type invariants, this is the head of such a list. C code may modify it
        // only until this borrow, and the methods that modify it need a mutable borrow.
        unsafe { CList::from_raw(self.head.as_raw()) }
    }
}

#[pinned_drop]
impl<T, const OFFSET: usize> PinnedDrop for CListOwned<T, OFFSET> {
    #[inline]
    fn drop(self: Pin<&mut Self>) {
        // The items stay linked to each other, without the head.
        // SAFETY: `head` is the head of a list with valid links by the type invariants, and it is
        // borrowed mutably.
        unsafe { bindings::list_del_init(self.head.as_raw()) };
    }
}

#[cfg(CONFIG_KUNIT = "y")]
mod tests;

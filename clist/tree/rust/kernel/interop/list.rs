// SPDX-License-Identifier: GPL-2.0

//! C's circular doubly linked lists.
//!
//! C header: [`include/linux/list.h`](srctree/include/linux/list.h)
//!
//! This module is for lists that C code and Rust code share, such as a list that a C allocator
//! fills with blocks for a Rust driver. Rust code that does not share its lists with C uses
//! [`kernel::list`](crate::list), whose lists other code cannot modify.
//!
//! A C list is a ring of `struct list_head`. One of them is the head; each other one is a field of
//! an item. The struct itself does not distinguish the head from an item, and does not define the
//! offset of the field, or when the links may be modified. [`CList`] has the type of the items and
//! the offset of the field as parameters, and a lifetime during which the list does not change.
//!
//! # Concurrency
//!
//! The types of this module take no locks. As long as a [`CList`] or a [`CListHead`] is borrowed,
//! neither C code nor Rust code may modify the list, except through the API of that type. Creating
//! the borrow is unsafe, and its caller must ensure this, usually by holding the lock of the list.

use crate::{
    bindings,
    prelude::{
        pin_data,
        pin_init,
        PinInit, //
    },
    types::Opaque, //
};
use core::marker::PhantomData;

mod iter;
pub use self::iter::CListIter;

mod owned;
pub use self::owned::CListOwned;

#[doc(inline)]
pub use crate::{
    clist_create,
    clist_offset, //
};

/// A C list whose items are `T`.
///
/// `T` is a `#[repr(transparent)]` wrapper of an [`Opaque`] of the C struct that is on the list.
/// `OFFSET` is the offset of the `list_head` that links it. [`clist_create!`] computes and checks
/// the offset.
///
/// # Invariants
///
/// - The `list_head` is initialized and is the head of a list. All links of the list are valid:
///   following either `next` or `prev` leads to each item once, and then back to the head.
/// - Each item is a valid `T` which starts `OFFSET` bytes before its `list_head`, and the pointers
///   in the links may be used for all of it.
/// - None of this changes while the [`CList`] is borrowed, except through its own API.
///
/// # Examples
///
/// ```
/// use kernel::{
///     bindings,
///     interop::list::{
///         clist_create,
///         CListHead, //
///     },
///     types::Opaque, //
/// };
///
/// // An item as C declares it.
/// #[repr(C)]
/// struct CItem {
///     value: u32,
///     link: bindings::list_head,
/// }
///
/// // An item as Rust code sees it.
/// #[repr(transparent)]
/// struct Item(Opaque<CItem>);
///
/// pin_init::stack_pin_init!(let head = CListHead::new());
///
/// // SAFETY: `head` is the head of a list without items. It outlives `list`, and its links are not
/// // modified.
/// let list = unsafe { clist_create!(head.as_raw(), Item, CItem, link) };
/// assert!(list.is_empty());
/// # Ok::<(), Error>(())
/// ```
#[repr(transparent)]
pub struct CList<T, const OFFSET: usize> {
    head: CListHead,
    _items: PhantomData<T>,
}

impl<T, const OFFSET: usize> CList<T, OFFSET> {
    /// Borrows the list whose head is at `ptr`.
    ///
    /// # Safety
    ///
    /// For all of `'a`:
    ///
    /// - `ptr` must point to an initialized `list_head`, the head of a list with valid links.
    /// - Each item of the list must be a valid `T` which starts `OFFSET` bytes before the
    ///   `list_head` that links it.
    /// - The pointers in the links must be valid for all of the `T`, not only for its `list_head`:
    ///   they must not be derived from a reference to that field, as [`CListHead::as_raw`] is.
    /// - The links must not be modified, and the items neither freed nor borrowed mutably, except
    ///   through the API of the returned object.
    #[inline]
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::list_head) -> &'a Self {
        // INVARIANT: The safety requirements are the invariants.
        // SAFETY: `ptr` is valid for `'a` by the safety requirements, and `Self` is transparent
        // over `list_head`.
        unsafe { &*ptr.cast::<Self>() }
    }

    /// Returns whether the list has no items; like C's `list_empty()`.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.head.is_linked()
    }
}

/// A C `struct list_head`: the head of a list, or the field that links an item to one.
///
/// The links point to its address, so it must be pinned.
///
/// # Invariants
///
/// The `list_head` is initialized and part of a list with valid links, which may consist of itself
/// alone. This does not change while the [`CListHead`] is borrowed, except through its own API.
///
/// # Examples
///
/// ```
/// use kernel::interop::list::CListHead;
///
/// pin_init::stack_pin_init!(let head = CListHead::new());
/// assert!(!head.is_linked());
/// assert!(head.next() == &*head);
///
/// pin_init::stack_pin_init!(let item = CListHead::new());
/// // SAFETY: Both are valid and stay where they are; `item` is on no other list.
/// unsafe { kernel::bindings::list_add_tail(item.as_raw(), head.as_raw()) };
/// assert!(head.is_linked());
/// assert!(head.next() == &*item);
/// # Ok::<(), Error>(())
/// ```
#[pin_data]
#[repr(transparent)]
pub struct CListHead {
    #[pin]
    inner: Opaque<bindings::list_head>,
}

impl CListHead {
    /// Borrows the `list_head` at `ptr`.
    ///
    /// # Safety
    ///
    /// For all of `'a`:
    ///
    /// - `ptr` must point to an initialized `list_head`. It, each `list_head` on the same list, and
    ///   their links must stay valid. The links of an item that `list_del()` has removed are
    ///   poison, and not valid.
    /// - The links of the list must not be modified, except through the API of the returned object.
    #[inline]
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::list_head) -> &'a Self {
        // INVARIANT: The safety requirements are the invariants.
        // SAFETY: `ptr` is valid for `'a` by the safety requirements, and `Self` is transparent
        // over `list_head`.
        unsafe { &*ptr.cast::<Self>() }
    }

    /// Creates an initializer for a `list_head` that is linked to itself only.
    #[inline]
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: C links it to itself, which is a list with valid links.
            // SAFETY: `slot` is valid for writes.
            inner <- Opaque::ffi_init(|slot| unsafe { bindings::INIT_LIST_HEAD(slot) }),
        })
    }

    /// Returns the pointer to pass to C.
    ///
    /// It is valid for the `list_head` alone. The pointer that links an item of a [`CList`] must be
    /// derived from a pointer to the whole item.
    #[inline]
    pub fn as_raw(&self) -> *mut bindings::list_head {
        self.inner.get()
    }

    /// Returns the next `list_head` in the ring, which may be the head of the list.
    #[inline]
    pub fn next(&self) -> &Self {
        // SAFETY: By the type invariants, the links are valid and stay so while `self` is borrowed.
        unsafe { Self::from_raw((*self.as_raw()).next) }
    }

    /// Returns whether this is linked to another `list_head`: false for the head of an empty list,
    /// and for an item that `list_del_init()` has removed from its list.
    ///
    /// Like C's `list_empty()`, this only checks `next`. An item that `list_del()` has removed has
    /// poison there, and is not a valid [`CListHead`].
    #[inline]
    pub fn is_linked(&self) -> bool {
        let this = self.as_raw();
        // SAFETY: `this` is initialized by the type invariants.
        unsafe { (*this).next != this }
    }
}

// SAFETY: A `list_head` is not bound to the thread that initialized it.
unsafe impl Send for CListHead {}

// SAFETY: A shared reference only allows reading, and the type invariants exclude concurrent
// writes.
unsafe impl Sync for CListHead {}

impl PartialEq for CListHead {
    /// Returns whether both are the same object; a `list_head` has no other identity.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self, other)
    }
}

impl Eq for CListHead {}

/// Borrows a C list as a [`CList`].
///
/// `clist_create!(head, RustType, CType, field.path)` calls [`CList::from_raw`] for `head`, with
/// `RustType` as the type of the items and the offset of `field.path` in `CType`.
/// [`clist_offset!`] computes the offset and checks the types.
///
/// # Safety
///
/// The macro must be used in an `unsafe` block, and the requirements of [`CList::from_raw`] apply.
/// A valid `CType` is a valid `RustType` if `RustType` is a transparent wrapper of `CType`.
///
/// # Examples
///
/// See [`CList`].
#[macro_export]
macro_rules! clist_create {
    ($head:expr, $rust_type:ty, $c_type:ty, $($field:tt)+) => {
        $crate::interop::list::CList::<
            $rust_type,
            { $crate::clist_offset!($rust_type, $c_type, $($field)+) },
        >::from_raw($head)
    };
}

/// Computes the offset of the `list_head` at `field.path` in `CType`, for a [`CList`] of
/// `RustType`.
///
/// Does not compile unless the field is a `list_head`, and `RustType` has the size and alignment of
/// `CType`, as a transparent wrapper does. The types must not name a generic parameter, because
/// the checks are constants next to the expression.
///
/// # Examples
///
/// ```
/// use kernel::{
///     bindings,
///     clist_offset,
///     interop::list::CList,
///     types::Opaque, //
/// };
///
/// #[repr(C)]
/// struct CItem {
///     value: u64,
///     link: bindings::list_head,
/// }
///
/// #[repr(transparent)]
/// struct Item(Opaque<CItem>);
///
/// type ItemList = CList<Item, { clist_offset!(Item, CItem, link) }>;
///
/// // The field is not a `list_head`:
/// // const OFFSET: usize = clist_offset!(Item, CItem, value);
///
/// // A `u64` is not as large as a `CItem`:
/// // const OFFSET: usize = clist_offset!(u64, CItem, link);
/// # let _: Option<&ItemList> = None;
/// ```
#[macro_export]
macro_rules! clist_offset {
    ($rust_type:ty, $c_type:ty, $($field:tt)+) => {{
        const _: fn(*const $c_type) -> *const $crate::bindings::list_head =
            // SAFETY: This is only compiled, and never called.
            |item| unsafe { &raw const (*item).$($field)+ };
        const _: () = ::core::assert!(
            ::core::mem::size_of::<$rust_type>() == ::core::mem::size_of::<$c_type>(),
            "the item type does not have the size of the C type",
        );
        const _: () = ::core::assert!(
            ::core::mem::align_of::<$rust_type>() == ::core::mem::align_of::<$c_type>(),
            "the item type does not have the alignment of the C type",
        );
        ::core::mem::offset_of!($c_type, $($field)+)
    }};
}

#[cfg(CONFIG_KUNIT = "y")]
mod tests;

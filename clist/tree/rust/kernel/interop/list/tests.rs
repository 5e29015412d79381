// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of C lists.

use super::*;
use crate::prelude::*;

mod iter;

/// An item as C code declares it. The link is neither its first field nor its last.
#[repr(C)]
pub(super) struct CItem {
    value: u32,
    pub(super) link: bindings::list_head,
    guard: u32,
}

/// An item as Rust code sees it.
#[repr(transparent)]
pub(super) struct Item(Opaque<CItem>);

impl Item {
    pub(super) fn new(value: u32) -> Result<KBox<Self>> {
        let item = KBox::new(
            Item(Opaque::new(CItem {
                value,
                link: Default::default(),
                guard: !value,
            })),
            GFP_KERNEL,
        )?;
        // SAFETY: The item is valid.
        unsafe { bindings::INIT_LIST_HEAD(item.link()) };
        Ok(item)
    }

    pub(super) fn link(&self) -> *mut bindings::list_head {
        // SAFETY: The field is inside of the item.
        unsafe { &raw mut (*self.0.get()).link }
    }

    /// Returns the value, or 0 if this is not an item.
    pub(super) fn value(&self) -> u32 {
        // SAFETY: The fields are initialized, and not written to.
        let (value, guard) = unsafe { ((*self.0.get()).value, (*self.0.get()).guard) };
        if guard == !value {
            value
        } else {
            0
        }
    }
}

/// The auto traits of `T`, at compile time.
///
/// The constants of the inherent `impl` blocks exist only for types that have the trait; for
/// others the name resolves to the constant of [`NoAutoTrait`].
pub(super) struct AutoTrait<T>(PhantomData<T>);

pub(super) trait NoAutoTrait {
    const SEND: bool = false;
    const SYNC: bool = false;
    const UNPIN: bool = false;
}

impl<T> NoAutoTrait for AutoTrait<T> {}

impl<T: Send> AutoTrait<T> {
    pub(super) const SEND: bool = true;
}

impl<T: Sync> AutoTrait<T> {
    pub(super) const SYNC: bool = true;
}

impl<T: Unpin> AutoTrait<T> {
    pub(super) const UNPIN: bool = true;
}

/// Asserts which auto traits types have, and which they must not have.
macro_rules! assert_auto_traits {
    ($($type:ty: $send:literal, $sync:literal, $unpin:literal;)*) => {
        $(
            static_assert!(AutoTrait::<$type>::SEND == $send, "`Send` differs");
            static_assert!(AutoTrait::<$type>::SYNC == $sync, "`Sync` differs");
            static_assert!(AutoTrait::<$type>::UNPIN == $unpin, "`Unpin` differs");
        )*
    };
}
pub(super) use assert_auto_traits;

/// `Send` and `Sync`.
pub(super) type Both = u32;
/// `Send`, but not `Sync`.
pub(super) type SendOnly = core::cell::Cell<u32>;
/// `Sync`, but not `Send`.
pub(super) struct SyncOnly(PhantomData<*const u32>);
/// Neither `Send` nor `Sync`.
pub(super) type Neither = *const u32;

// SAFETY: The type has no data.
unsafe impl Sync for SyncOnly {}

// A list has the traits of its items.
assert_auto_traits! {
    // Type                 Send   Sync   Unpin
    CListHead:              true,  true,  false;
    CList<Both, 0>:         true,  true,  false;
    CList<SendOnly, 0>:     true,  false, false;
    CList<SyncOnly, 0>:     false, true,  false;
    CList<Neither, 0>:      false, false, false;
    // A type with other traits, to test the table itself.
    Neither:                false, false, true;
}

#[macros::kunit_tests(rust_clist)]
mod suite {
    use super::*;
    use pin_init::stack_pin_init;

    #[test]
    fn head_new_not_linked() {
        stack_pin_init!(let head = CListHead::new());
        stack_pin_init!(let other = CListHead::new());
        assert!(!head.is_linked());
        assert!(head.next() == &*head);
        assert!(head.next() != &*other);
    }

    #[test]
    fn head_added_item_linked() {
        stack_pin_init!(let head = CListHead::new());
        stack_pin_init!(let item = CListHead::new());
        // SAFETY: Both are valid, and `item` is on no list.
        unsafe { bindings::list_add_tail(item.as_raw(), head.as_raw()) };
        assert!(head.is_linked() && item.is_linked());
        assert!(head.next() == &*item);
        assert!(item.next() == &*head);
    }

    #[test]
    fn create_view_is_empty() -> Result {
        stack_pin_init!(let head = CListHead::new());
        let item = Item::new(1)?;
        {
            // SAFETY: The list has no items, and is not modified while it is borrowed.
            let list = unsafe { clist_create!(head.as_raw(), Item, CItem, link) };
            assert!(list.is_empty());
        }
        // SAFETY: Head and item are valid, and the item is on no list.
        unsafe { bindings::list_add_tail(item.link(), head.as_raw()) };
        // SAFETY: The item is valid, outlives `list` like the head, and is not modified.
        let list = unsafe { clist_create!(head.as_raw(), Item, CItem, link) };
        assert!(!list.is_empty());
        Ok(())
    }
}

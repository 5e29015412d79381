// SPDX-License-Identifier: GPL-2.0

//! Tests of C lists that Rust code owns.

use super::{
    super::{
        clist_offset,
        tests::*, //
    },
    *, //
};

const OFFSET: usize = clist_offset!(Item, CItem, link);

type List = CListOwned<Item, OFFSET>;

// A list has the traits of the items that it owns.
assert_auto_traits! {
    // Type                     Send   Sync   Unpin
    CListOwned<Both, 0>:        true,  true,  false;
    CListOwned<SendOnly, 0>:    true,  false, false;
    CListOwned<SyncOnly, 0>:    false, true,  false;
    CListOwned<Neither, 0>:     false, false, false;
}

#[macros::kunit_tests(rust_clist_owned)]
mod suite {
    use super::*;
    use crate::types::Opaque;
    use pin_init::stack_pin_init;

    /// Adds items to the end of the list.
    ///
    /// # Safety
    ///
    /// The items must be on no list, and may only be used through this one until it is dropped.
    unsafe fn push(mut list: Pin<&mut List>, items: &[KBox<Item>]) {
        for item in items {
            // SAFETY: Head and item are valid, and the item is on no list.
            unsafe { bindings::list_add_tail(item.link(), list.as_mut().as_raw()) };
        }
    }

    /// Returns whether the list has items of these values in this order, and no others.
    fn holds(list: &List, values: &[u32]) -> bool {
        list.iter().map(Item::value).eq(values.iter().copied())
            && list.is_empty() == values.is_empty()
    }

    #[test]
    fn new_is_empty() {
        stack_pin_init!(let list = List::new());
        assert!(holds(&list, &[]));
        assert_eq!(size_of::<List>(), size_of::<bindings::list_head>());
    }

    #[test]
    fn as_raw_c_adds_and_removes() -> Result {
        let items = [Item::new(1)?, Item::new(2)?];
        stack_pin_init!(let list = List::new());
        // SAFETY: The items are on no list, and outlive `list`.
        unsafe { push(list.as_mut(), &items) };
        assert!(holds(&list, &[1, 2]));

        // SAFETY: The list is valid.
        unsafe { bindings::list_del_init(items[0].link()) };
        assert!(holds(&list, &[2]));
        Ok(())
    }

    #[test]
    fn push_all_back_moves_items() -> Result {
        let (first, second) = ([Item::new(1)?, Item::new(2)?], [Item::new(3)?]);
        let third = [Item::new(4)?];
        stack_pin_init!(let list = List::new());
        stack_pin_init!(let other = List::new());
        list.as_mut().push_all_back(other.as_mut());
        assert!(holds(&list, &[]) && holds(&other, &[]));

        // SAFETY: The items are on no list, and outlive the lists.
        unsafe { push(other.as_mut(), &first) };
        list.as_mut().push_all_back(other.as_mut());
        assert!(holds(&list, &[1, 2]) && holds(&other, &[]));

        list.as_mut().push_all_back(other.as_mut());
        assert!(holds(&list, &[1, 2]) && holds(&other, &[]));

        // SAFETY: As above.
        unsafe { push(other.as_mut(), &second) };
        list.as_mut().push_all_back(other.as_mut());
        assert!(holds(&list, &[1, 2, 3]) && holds(&other, &[]));

        // SAFETY: As above.
        unsafe { push(other.as_mut(), &third) };
        assert!(holds(&list, &[1, 2, 3]) && holds(&other, &[4]));
        Ok(())
    }

    #[test]
    fn drop_detaches_items() -> Result {
        let items = [Item::new(1)?, Item::new(2)?];
        {
            stack_pin_init!(let list = List::new());
            // SAFETY: The items are on no list, and not used until `list` is dropped.
            unsafe { push(list.as_mut(), &items) };
        }
        // SAFETY: Both items are valid, and are now linked to each other only.
        let (a, b) = unsafe {
            (
                CListHead::from_raw(items[0].link()),
                CListHead::from_raw(items[1].link()),
            )
        };
        assert!(a.next() == b && b.next() == a);
        Ok(())
    }

    #[test]
    fn offset_matches_layout() {
        /// As in the structs of C that keep the link in an anonymous union.
        #[repr(C)]
        struct CNested {
            header: u64,
            __bindgen_anon_1: CUnion,
        }

        #[repr(C)]
        union CUnion {
            link: bindings::list_head,
            key: u64,
        }

        const NESTED: usize = clist_offset!(Opaque<CNested>, CNested, __bindgen_anon_1.link);

        assert_eq!(OFFSET, core::mem::offset_of!(CItem, link));
        assert_eq!(NESTED, 8);
        assert_eq!(
            size_of::<CList<Item, OFFSET>>(),
            size_of::<bindings::list_head>()
        );
    }
}

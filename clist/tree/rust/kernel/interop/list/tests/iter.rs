// SPDX-License-Identifier: GPL-2.0

//! Tests of the iteration over C lists.

use super::*;

// An iterator has the traits of a shared reference to the items.
assert_auto_traits! {
    // Type                             Send   Sync   Unpin
    CListIter<'static, Both, 0>:        true,  true,  true;
    CListIter<'static, SendOnly, 0>:    false, false, true;
    CListIter<'static, SyncOnly, 0>:    true,  true,  true;
    CListIter<'static, Neither, 0>:     false, false, true;
}

#[macros::kunit_tests(rust_clist_iter)]
mod suite {
    use super::*;
    use pin_init::stack_pin_init;

    /// Links new items with these values and returns the values that an iterator finds.
    fn iterate<const N: usize>(values: [u32; N]) -> Result<KVec<u32>> {
        stack_pin_init!(let head = CListHead::new());
        let mut items = KVec::new();
        for value in values {
            let item = Item::new(value)?;
            // SAFETY: Head and item are valid, and the item is on no list.
            unsafe { bindings::list_add_tail(item.link(), head.as_raw()) };
            items.push(item, GFP_KERNEL)?;
        }
        // SAFETY: The items are valid, outlive `list` like the head, and are not modified.
        let list = unsafe { clist_create!(head.as_raw(), Item, CItem, link) };
        let mut found = KVec::new();
        for item in list.iter() {
            found.push(item.value(), GFP_KERNEL)?;
        }
        Ok(found)
    }

    #[test]
    fn iter_empty() -> Result {
        assert!(iterate([])?.is_empty());
        Ok(())
    }

    #[test]
    fn iter_one_item() -> Result {
        assert_eq!(iterate([7])?[..], [7]);
        Ok(())
    }

    #[test]
    fn iter_many_items_in_order() -> Result {
        assert_eq!(iterate([1, 2, 3, 4, 5])?[..], [1, 2, 3, 4, 5]);
        Ok(())
    }

    #[test]
    fn iter_exhausted_returns_none() -> Result {
        stack_pin_init!(let head = CListHead::new());
        let item = Item::new(1)?;
        // SAFETY: Head and item are valid, and the item is on no list.
        unsafe { bindings::list_add_tail(item.link(), head.as_raw()) };
        // SAFETY: The item is valid, outlives `list` like the head, and is not modified.
        let list = unsafe { clist_create!(head.as_raw(), Item, CItem, link) };
        let mut iter = list.iter();
        assert_eq!(iter.next().map(Item::value), Some(1));
        for _ in 0..3 {
            assert!(iter.next().is_none());
        }
        Ok(())
    }
}

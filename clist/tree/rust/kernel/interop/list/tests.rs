// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of C lists.

#[macros::kunit_tests(rust_clist)]
mod suite {
    use crate::{
        bindings,
        interop::list::{
            CList,
            CListCursor,
            CListDrain,
            CListHead,
            CListIter,
            CListOwned, //
        },
        prelude::*,
        types::Opaque, //
    };
    use core::{
        cell::Cell,
        marker::PhantomData,
        ptr::NonNull, //
    };
    use pin_init::stack_pin_init;

    /// An item as C code declares it. The link is neither its first field nor its last.
    #[repr(C)]
    struct CItem {
        value: u32,
        link: bindings::list_head,
        guard: u32,
    }

    /// An item as Rust code sees it.
    #[repr(transparent)]
    struct Item(Opaque<CItem>);

    const OFFSET: usize = clist_offset!(Item, CItem, link);

    type List = CListOwned<Item, OFFSET>;

    impl Item {
        fn new(value: u32) -> Result<KBox<Self>> {
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

        fn link(&self) -> *mut bindings::list_head {
            // SAFETY: This stays inside of the item.
            unsafe { &raw mut (*self.0.get()).link }
        }

        /// Returns the value, or 0 if this is not an item.
        fn value(&self) -> u32 {
            // SAFETY: The fields are initialized, and not written to.
            let (value, guard) = unsafe { ((*self.0.get()).value, (*self.0.get()).guard) };
            if guard == !value {
                value
            } else {
                0
            }
        }

        fn is_linked(&self) -> bool {
            // SAFETY: The link is initialized, and not modified during the call.
            unsafe { CListHead::from_raw(self.link()) }.is_linked()
        }
    }

    /// Adds new items with these values to the end of the list.
    fn push(mut list: Pin<&mut List>, values: &[u32]) -> Result {
        for value in values {
            let item = NonNull::from(KBox::leak(Item::new(*value)?));
            // SAFETY: The item is valid, on no list, and reached only through this list.
            unsafe { list.as_mut().push_back(item) };
        }
        Ok(())
    }

    /// Returns the box of an item that was removed from its list.
    fn own(item: Option<NonNull<Item>>) -> Option<KBox<Item>> {
        // SAFETY: The items of the lists of these tests are leaked boxes, and this one was removed
        // from its list, so this is the only pointer to it.
        item.map(|item| unsafe { KBox::from_raw(item.as_ptr()) })
    }

    /// Frees an item that was removed from its list, and returns its value; 0 if it is linked.
    fn free(item: NonNull<Item>) -> u32 {
        own(Some(item)).map_or(0, |item| if item.is_linked() { 0 } else { item.value() })
    }

    /// Frees the items of the list.
    fn clear(list: Pin<&mut List>) {
        list.drain().for_each(|item| {
            free(item);
        });
    }

    /// Returns whether the list has items of these values, both ways, and nothing else.
    fn holds(list: &List, values: &[u32]) -> bool {
        let expected = values.iter().copied();
        list.iter().map(Item::value).eq(expected.clone())
            && list.iter().rev().map(Item::value).eq(expected.rev())
            && list.first().map(Item::value) == values.first().copied()
            && list.last().map(Item::value) == values.last().copied()
            && list.is_empty() == values.is_empty()
            && list.is_singular() == (values.len() == 1)
    }

    /// Tells at compile time which auto traits `T` has.
    ///
    /// The constants of the inherent `impl` blocks exist only for types that have the trait; for
    /// others the name resolves to the constant of [`NoAutoTrait`].
    struct AutoTrait<T>(PhantomData<T>);

    trait NoAutoTrait {
        const SEND: bool = false;
        const SYNC: bool = false;
        const UNPIN: bool = false;
    }

    impl<T> NoAutoTrait for AutoTrait<T> {}

    impl<T: Send> AutoTrait<T> {
        const SEND: bool = true;
    }

    impl<T: Sync> AutoTrait<T> {
        const SYNC: bool = true;
    }

    impl<T: Unpin> AutoTrait<T> {
        const UNPIN: bool = true;
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

    /// `Send` and `Sync`.
    type Both = u32;
    /// `Send`, but not `Sync`.
    type SendOnly = Cell<u32>;
    /// `Sync`, but not `Send`.
    struct SyncOnly(PhantomData<*const u32>);
    /// Neither `Send` nor `Sync`.
    type Neither = *const u32;

    // SAFETY: The type has no data.
    unsafe impl Sync for SyncOnly {}

    // A list behaves as the items it owns do. An iterator is a shared reference to it. A cursor
    // keeps a raw pointer and stays on its thread.
    assert_auto_traits! {
        // Type                             Send   Sync   Unpin
        CListHead:                          true,  true,  false;

        CList<Both, 0>:                     true,  true,  false;
        CList<SendOnly, 0>:                 true,  false, false;
        CList<SyncOnly, 0>:                 false, true,  false;
        CList<Neither, 0>:                  false, false, false;

        CListIter<'static, Both, 0>:        true,  true,  true;
        CListIter<'static, SendOnly, 0>:    false, false, true;
        CListIter<'static, SyncOnly, 0>:    true,  true,  true;
        CListIter<'static, Neither, 0>:     false, false, true;

        CListOwned<Both, 0>:                true,  true,  false;
        CListOwned<SendOnly, 0>:            true,  false, false;
        CListOwned<SyncOnly, 0>:            false, true,  false;
        CListOwned<Neither, 0>:             false, false, false;

        CListDrain<'static, Both, 0>:       true,  true,  true;
        CListDrain<'static, SendOnly, 0>:   true,  false, true;
        CListDrain<'static, SyncOnly, 0>:   false, true,  true;
        CListDrain<'static, Neither, 0>:    false, false, true;

        CListCursor<'static, Both, 0>:      false, false, true;
        CListCursor<'static, SendOnly, 0>:  false, false, true;
        CListCursor<'static, SyncOnly, 0>:  false, false, true;
        CListCursor<'static, Neither, 0>:   false, false, true;
    }

    #[test]
    fn head_links() {
        stack_pin_init!(let head = CListHead::new());
        stack_pin_init!(let item = CListHead::new());
        assert!(!head.is_linked());
        assert!(head.next() == &*head);
        assert!(head.next() != &*item);

        // SAFETY: Both are valid, and `item` is on no list.
        unsafe { bindings::list_add_tail(item.as_raw(), head.as_raw()) };
        assert!(head.is_linked() && item.is_linked());
        assert!(head.next() == &*item);
        assert!(item.next() == &*head);
    }

    #[test]
    fn empty() {
        stack_pin_init!(let list = List::new());
        assert!(holds(&list, &[]));
        assert!(list.as_mut().pop_front().is_none());
        assert!(list.as_mut().pop_back().is_none());
        assert!(list.as_mut().drain().next().is_none());
        assert!(list.as_mut().drain().next_back().is_none());

        let mut cursor = list.as_mut().cursor_front();
        assert!(cursor.peek().is_none());
        assert!(cursor.remove().is_none());
        cursor.move_next();
        assert!(cursor.peek().is_none());
        assert!(list.as_mut().cursor_back().peek().is_none());
        assert!(holds(&list, &[]));
    }

    #[test]
    fn one() -> Result {
        stack_pin_init!(let list = List::new());
        push(list.as_mut(), &[1])?;
        assert!(holds(&list, &[1]));
        clear(list.as_mut());
        assert!(holds(&list, &[]));
        Ok(())
    }

    #[test]
    fn many() -> Result {
        stack_pin_init!(let list = List::new());
        push(list.as_mut(), &[1, 2, 3, 4, 5])?;
        assert!(holds(&list, &[1, 2, 3, 4, 5]));

        let mut sum = 0;
        for item in &**list {
            sum += item.value();
        }
        assert_eq!(sum, 15);
        clear(list.as_mut());
        Ok(())
    }

    #[test]
    fn view_of_a_list_of_c() -> Result {
        stack_pin_init!(let head = CListHead::new());
        let items = [Item::new(1)?, Item::new(2)?];
        for item in &items {
            // SAFETY: Head and item are valid, and the item is on no list.
            unsafe { bindings::list_add_tail(item.link(), head.as_raw()) };
        }
        // SAFETY: The items are valid, outlive `list` like the head, and are not modified.
        let list = unsafe { clist_create!(head.as_raw(), Item, CItem, link) };
        assert!(list.iter().map(Item::value).eq([1, 2]));
        Ok(())
    }

    #[test]
    fn ends_meet() -> Result {
        stack_pin_init!(let list = List::new());
        for (values, front) in [([1, 2, 3, 4], 2), ([1, 2, 3, 4], 1), ([1, 2, 3, 4], 4)] {
            push(list.as_mut(), &values)?;
            let mut iter = list.iter();
            for value in &values[..front] {
                assert_eq!(iter.next().map(Item::value), Some(*value));
            }
            for value in values[front..].iter().rev() {
                assert_eq!(iter.next_back().map(Item::value), Some(*value));
            }
            assert!(iter.next_back().is_none());
            assert!(iter.next().is_none());
            clear(list.as_mut());
        }
        Ok(())
    }

    #[test]
    fn fused_and_clone() -> Result {
        stack_pin_init!(let list = List::new());
        push(list.as_mut(), &[1, 2])?;
        let mut iter = list.iter();
        iter.next();
        let copy = iter.clone();
        iter.next();
        for _ in 0..3 {
            assert!(iter.next().is_none());
            assert!(iter.next_back().is_none());
        }
        assert!(copy.map(Item::value).eq([2]));

        let mut drain = list.as_mut().drain();
        assert_eq!(drain.by_ref().map(free).sum::<u32>(), 3);
        for _ in 0..3 {
            assert!(drain.next().is_none());
            assert!(drain.next_back().is_none());
        }
        Ok(())
    }

    #[test]
    fn remove_each_position() -> Result {
        stack_pin_init!(let list = List::new());
        for (index, rest) in [[2, 3, 4], [1, 3, 4], [1, 2, 4], [1, 2, 3]]
            .iter()
            .enumerate()
        {
            push(list.as_mut(), &[1, 2, 3, 4])?;
            let mut cursor = list.as_mut().cursor_front();
            for _ in 0..index {
                cursor.move_next();
            }
            let value = cursor.peek().map(Item::value);
            assert_eq!(cursor.remove().map(free), value);
            assert_eq!(cursor.peek().map(Item::value), rest.get(index).copied());
            assert!(holds(&list, rest));
            clear(list.as_mut());
        }
        Ok(())
    }

    #[test]
    fn remove_while_walking() -> Result {
        stack_pin_init!(let list = List::new());
        push(list.as_mut(), &[1, 2, 3, 4, 5])?;
        let mut cursor = list.as_mut().cursor_front();
        let mut removed = 0;
        while let Some(item) = cursor.peek() {
            if item.value() % 2 == 1 {
                removed += cursor.remove().map_or(0, free);
            } else {
                cursor.move_next();
            }
        }
        assert_eq!(removed, 9);
        assert!(cursor.remove().is_none());
        assert!(holds(&list, &[2, 4]));

        let mut cursor = list.as_mut().cursor_front();
        while cursor.remove().map(free).is_some() {}
        assert!(holds(&list, &[]));
        Ok(())
    }

    #[test]
    fn cursor_goes_round() -> Result {
        stack_pin_init!(let list = List::new());
        push(list.as_mut(), &[1, 2])?;
        let mut cursor = list.as_mut().cursor_back();
        assert_eq!(cursor.peek().map(Item::value), Some(2));
        cursor.move_next();
        assert!(cursor.peek().is_none());
        cursor.move_next();
        assert_eq!(cursor.peek().map(Item::value), Some(1));
        cursor.move_prev();
        assert!(cursor.peek().is_none());
        cursor.move_prev();
        assert_eq!(cursor.peek().map(Item::value), Some(2));
        clear(list.as_mut());
        Ok(())
    }

    #[test]
    fn pop_both_ends() -> Result {
        stack_pin_init!(let list = List::new());
        push(list.as_mut(), &[1, 2, 3])?;
        assert_eq!(list.as_mut().pop_back().map(free), Some(3));
        assert!(holds(&list, &[1, 2]));
        assert_eq!(list.as_mut().pop_front().map(free), Some(1));
        assert!(holds(&list, &[2]));
        assert_eq!(list.as_mut().pop_back().map(free), Some(2));
        assert!(holds(&list, &[]));
        Ok(())
    }

    #[test]
    fn drain_leaves_the_rest() -> Result {
        stack_pin_init!(let list = List::new());
        push(list.as_mut(), &[1, 2, 3, 4])?;
        let mut drain = list.as_mut().drain();
        assert_eq!(drain.next().map(free), Some(1));
        assert_eq!(drain.next_back().map(free), Some(4));
        assert!(holds(&list, &[2, 3]));
        assert!(list.as_mut().drain().map(free).eq([2, 3]));
        assert!(holds(&list, &[]));
        Ok(())
    }

    #[test]
    fn splice() -> Result {
        stack_pin_init!(let list = List::new());
        stack_pin_init!(let other = List::new());
        list.as_mut().splice_back(other.as_mut());
        assert!(holds(&list, &[]) && holds(&other, &[]));

        push(other.as_mut(), &[1, 2])?;
        list.as_mut().splice_back(other.as_mut());
        assert!(holds(&list, &[1, 2]) && holds(&other, &[]));

        list.as_mut().splice_back(other.as_mut());
        assert!(holds(&list, &[1, 2]) && holds(&other, &[]));

        push(other.as_mut(), &[3, 4])?;
        list.as_mut().splice_back(other.as_mut());
        assert!(holds(&list, &[1, 2, 3, 4]) && holds(&other, &[]));

        push(other.as_mut(), &[5])?;
        assert!(holds(&list, &[1, 2, 3, 4]) && holds(&other, &[5]));
        clear(list.as_mut());
        clear(other.as_mut());
        Ok(())
    }

    #[test]
    fn free_in_any_order() -> Result {
        stack_pin_init!(let list = List::new());
        push(list.as_mut(), &[1, 2, 3])?;
        let first = own(list.as_mut().pop_front());
        let second = own(list.as_mut().pop_front());
        assert!(first.as_ref().is_some_and(|item| !item.is_linked()));
        assert!(second.as_ref().is_some_and(|item| !item.is_linked()));
        drop(second);
        assert!(first.as_ref().is_some_and(|item| !item.is_linked()));
        assert!(holds(&list, &[3]));
        drop(first);
        assert!(holds(&list, &[3]));
        clear(list.as_mut());
        Ok(())
    }

    #[test]
    fn drop_detaches_items() -> Result {
        let (first, second) = (Item::new(1)?, Item::new(2)?);
        {
            stack_pin_init!(let list = List::new());
            for item in [&first, &second] {
                // SAFETY: The item is valid, on no list, and not used until `list` is dropped.
                unsafe { list.as_mut().push_back(NonNull::from(&**item)) };
            }
        }
        // SAFETY: Both items are valid, and now they are linked to each other only.
        let (a, b) = unsafe {
            (
                CListHead::from_raw(first.link()),
                CListHead::from_raw(second.link()),
            )
        };
        assert!(a.next() == b && b.next() == a);
        Ok(())
    }

    #[test]
    fn layout() {
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
        assert_eq!(size_of::<List>(), size_of::<bindings::list_head>());
    }
}

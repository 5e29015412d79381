// SPDX-License-Identifier: GPL-2.0

//! What the documentation promises and random operations would not single out.
//!
//! Memory is really freed here, so that AddressSanitizer notices who touches it afterwards.

// The driver has more than these tests use.
#[allow(dead_code)]
mod driver;

use clist::{
    clist_create,
    interop::list::{CListCursor, CListDrain, CListHead, CListIter},
};
use driver::{head_of, Item, List, OFFSET};
use kernel::{bindings, host, prelude::*};
use pin_init::stack_pin_init;
use std::{iter::FusedIterator, ptr::NonNull};

/// Adds new items to the end of the list.
fn push(mut list: Pin<&mut List>, values: impl IntoIterator<Item = usize>) {
    for value in values {
        // SAFETY: The item is new, and used through this list only.
        unsafe { list.as_mut().push_back(Item::new(value)) };
    }
}

/// The values, as C's macros find them in both directions.
#[track_caller]
fn values(list: &List) -> Vec<usize> {
    let head = head_of(list);
    let (mut forward, mut back) = ([0; 64], [0; 64]);
    // SAFETY: `head` is the head of a list of such items.
    let (n, m) = unsafe {
        (
            bindings::host_list_values(head, forward.as_mut_ptr(), forward.len()),
            bindings::host_list_values_reverse(head, back.as_mut_ptr(), back.len()),
        )
    };
    assert!(n >= 0 && n == m, "broken links");
    let n = n as usize;
    back[..n].reverse();
    assert_eq!(forward[..n], back[..n]);
    forward[..n].to_vec()
}

/// Takes the value out of an item that is off its list, and frees it.
fn free(item: NonNull<Item>) -> usize {
    // SAFETY: The items of these tests are from `Item::new`, and nobody else has this one now.
    unsafe {
        let value = item.as_ref().value();
        Item::free(item);
        value
    }
}

fn clear(list: Pin<&mut List>) {
    for item in list.drain() {
        free(item);
    }
}

#[test]
fn items_may_be_freed_in_any_order() {
    stack_pin_init!(let list = List::new());
    push(list.as_mut(), 0..9);
    let mut items: Vec<_> = list.as_mut().drain().collect();
    for at in [4, 0, 6, 3, 1, 1, 2, 0, 0] {
        free(items.remove(at));
        // The others are not touched by it.
        for item in &items {
            // SAFETY: It is off its list, and not freed.
            let item = unsafe { item.as_ref() };
            assert!(item.value() < 9);
            // SAFETY: As above.
            assert!(!unsafe { CListHead::from_raw(item.link()) }.is_linked());
        }
    }
    assert!(list.is_empty());
}

#[test]
fn a_drain_does_not_return_to_an_item() {
    stack_pin_init!(let list = List::new());
    push(list.as_mut(), 0..6);
    let mut drain = list.as_mut().drain();
    let mut order = Vec::new();
    while let (Some(front), Some(back)) = (drain.next(), drain.next_back()) {
        order.extend([free(front), free(back)]);
    }
    assert_eq!(order, [0, 5, 1, 4, 2, 3]);
    assert!(drain.next().is_none() && drain.next_back().is_none());
}

#[test]
fn a_cursor_does_not_return_to_an_item() {
    stack_pin_init!(let list = List::new());
    push(list.as_mut(), 0..10);
    let mut cursor = list.as_mut().cursor_front();
    // Every item but those that 3 divides, each freed before the cursor goes on.
    while let Some(value) = cursor.peek().map(Item::value) {
        if value % 3 == 0 {
            cursor.move_next();
        } else {
            assert_eq!(cursor.remove().map(free), Some(value));
        }
    }
    assert_eq!(values(&list), [0, 3, 6, 9]);

    // The same from the other end: a removal there goes to the next item, which is the end at first.
    let mut cursor = list.as_mut().cursor_back();
    while cursor.remove().map(free).is_some() {
        cursor.move_prev();
    }
    assert!(list.is_empty());
}

#[test]
fn a_drain_that_is_given_up_leaves_the_rest() {
    stack_pin_init!(let list = List::new());
    push(list.as_mut(), 0..5);
    assert_eq!(list.as_mut().drain().next().map(free), Some(0));
    assert_eq!(list.as_mut().drain().next_back().map(free), Some(4));
    let _ = list.as_mut().drain();
    assert_eq!(values(&list), [1, 2, 3]);
    clear(list);
}

#[test]
fn an_iterator_reads_the_links_before_it_hands_out_an_item() {
    stack_pin_init!(let list = List::new());
    push(list.as_mut(), 0..6);
    let head = head_of(&list);
    // SAFETY: `head` is the head of a list of such items, which outlives the view. Below it is
    // changed under the view, which the contract forbids; but nothing is read that was changed.
    let view = unsafe { clist_create!(head, Item, bindings::host_item, link) };
    let mut iter = view.iter();
    let mut found = Vec::new();
    for n in 0..5 {
        let item = if n % 2 == 0 {
            iter.next()
        } else {
            iter.next_back()
        };
        let item = NonNull::from(item.expect("an item"));
        // SAFETY: The item is on the list. Its links are poison afterwards, and its memory is gone.
        unsafe { bindings::host_list_del(item.as_ref().link()) };
        found.push(free(item));
    }
    assert_eq!(found, [0, 5, 1, 4, 2]);
    assert_eq!(iter.next().map(Item::value), Some(3));
    clear(list);
}

#[test]
fn a_dropped_list_leaves_its_items_linked_to_each_other() {
    let mut list = KBox::pin_init(List::new(), GFP_KERNEL).unwrap();
    push(list.as_mut(), 0..3);
    let items: Vec<NonNull<Item>> = list.iter().map(NonNull::from).collect();
    let before = host::live_objects();
    drop(list);
    assert_eq!(host::live_objects(), before - 1, "only the head is freed");

    // SAFETY: The items are valid.
    let links: Vec<_> = items.iter().map(|i| unsafe { i.as_ref() }.link()).collect();
    for n in 0..3 {
        // SAFETY: As above.
        unsafe {
            assert_eq!((*links[n]).next, links[(n + 1) % 3]);
            assert_eq!((*links[(n + 1) % 3]).prev, links[n]);
        }
    }
    items.into_iter().for_each(|item| {
        free(item);
    });
}

#[test]
fn a_dropped_list_of_one_leaves_the_item_unlinked() {
    let mut list = KBox::pin_init(List::new(), GFP_KERNEL).unwrap();
    push(list.as_mut(), [7]);
    let item = NonNull::from(list.first().unwrap());
    drop(list);
    // SAFETY: The item is valid and linked to itself.
    assert!(!unsafe { CListHead::from_raw(item.as_ref().link()) }.is_linked());
    assert_eq!(free(item), 7);
}

#[test]
fn a_list_that_cannot_be_allocated_leaks_nothing() {
    let before = host::live_objects();
    host::fail_allocation(1);
    assert_eq!(KBox::pin_init(List::new(), GFP_KERNEL).err(), Some(ENOMEM));
    assert_eq!(host::live_objects(), before);
}

#[test]
fn is_linked_looks_at_next_only() {
    stack_pin_init!(let head = CListHead::new());
    stack_pin_init!(let first = CListHead::new());
    stack_pin_init!(let second = CListHead::new());
    // SAFETY: All are valid and stay, and the two are on no list.
    unsafe {
        bindings::list_add_tail(first.as_raw(), head.as_raw());
        bindings::list_add_tail(second.as_raw(), head.as_raw());
    }
    assert!(head.is_linked() && first.is_linked() && second.is_linked());
    assert!(*head.next() == *first && *first.next() == *second && *second.next() == *head);
    assert!(*head != *first);

    // Taken off by `list_del_init()`, an item is not linked.
    // SAFETY: It is on a list.
    unsafe { bindings::host_list_del_init(first.as_raw()) };
    assert!(!first.is_linked() && *first.next() == *first);

    // By plain `list_del()`, the links are poison. That such a head must not be asked is documented;
    // this shows why: it passes for linked.
    // SAFETY: It is on a list.
    unsafe { bindings::host_list_del(second.as_raw()) };
    assert!(second.is_linked());
    // SAFETY: Reads the field, and does not follow it.
    let poison = unsafe {
        (
            (*second.as_raw()).next as usize,
            (*second.as_raw()).prev as usize,
        )
    };
    assert_eq!(poison, (0x100, 0x122), "LIST_POISON1 and LIST_POISON2");
    assert!(!head.is_linked());

    // A `next` that leads to itself decides, as in C's `list_empty()`, whatever `prev` is.
    // SAFETY: The head is valid; it is put in order again before anyone follows the link.
    unsafe { (*head.as_raw()).prev = first.as_raw() };
    assert!(!head.is_linked());
    // SAFETY: As above.
    unsafe { (*head.as_raw()).prev = head.as_raw() };
}

#[test]
fn splice_keeps_order_and_empties_the_other() {
    for (to, from) in [(0, 0), (0, 1), (1, 0), (0, 3), (3, 0), (1, 1), (3, 2)] {
        stack_pin_init!(let first = List::new());
        stack_pin_init!(let second = List::new());
        push(first.as_mut(), 0..to);
        push(second.as_mut(), to..to + from);
        first.as_mut().splice_back(second.as_mut());
        assert_eq!(values(&first), (0..to + from).collect::<Vec<_>>());
        assert_eq!(values(&second), []);

        // Both remain lists to work with.
        push(second.as_mut(), [100]);
        push(first.as_mut(), [200]);
        assert_eq!(values(&second), [100]);
        assert_eq!(values(&first).last(), Some(&200));
        clear(first);
        clear(second);
    }
}

#[test]
fn the_end_is_between_last_and_first() {
    stack_pin_init!(let list = List::new());
    let mut cursor = list.as_mut().cursor_front();
    // On an empty list there is nothing but the end.
    for _ in 0..2 {
        assert!(cursor.peek().is_none() && cursor.remove().is_none());
        cursor.move_next();
        assert!(cursor.peek().is_none());
        cursor.move_prev();
    }

    push(list.as_mut(), 0..2);
    let mut cursor = list.as_mut().cursor_back();
    let at = |cursor: &CListCursor<'_, Item, OFFSET>| cursor.peek().map(Item::value);
    assert_eq!(at(&cursor), Some(1));
    cursor.move_next();
    assert_eq!(at(&cursor), None);
    // A removal at the end removes nothing, and moves nothing.
    assert!(cursor.remove().is_none());
    assert_eq!(at(&cursor), None);
    cursor.move_next();
    assert_eq!(at(&cursor), Some(0));
    cursor.move_prev();
    assert_eq!(at(&cursor), None);
    cursor.move_prev();
    assert_eq!(at(&cursor), Some(1));
    clear(list);
}

#[test]
fn the_types_are_what_they_are_said_to_be() {
    fn thread_safe<T: Send + Sync>() {}
    fn from_both_ends<T: DoubleEndedIterator>() {}
    fn fused<T: FusedIterator>() {}
    fn copies<T: Clone>() {}

    thread_safe::<CListHead>();
    thread_safe::<CListIter<'_, usize, 0>>();
    fused::<CListIter<'_, Item, OFFSET>>();
    from_both_ends::<CListIter<'_, Item, OFFSET>>();
    from_both_ends::<CListDrain<'_, Item, OFFSET>>();
    copies::<CListIter<'_, Item, OFFSET>>();
    assert_eq!(size_of::<List>(), size_of::<bindings::list_head>());
    assert_eq!(OFFSET, 2 * size_of::<usize>());
}

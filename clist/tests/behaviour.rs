// SPDX-License-Identifier: GPL-2.0

//! What the documentation promises and random operations would not single out.
//!
//! Memory is really freed here, so that AddressSanitizer notices who touches it afterwards.

// The driver has more than these tests use.
#[allow(dead_code)]
mod driver;

use clist::{
    clist_create,
    interop::list::{CList, CListHead, CListIter},
};
use driver::{head_of, Item, List, OFFSET};
use kernel::{bindings, host, prelude::*};
use pin_init::stack_pin_init;
use std::{iter::FusedIterator, ptr::NonNull};

/// Adds new items to the end of the list.
fn push(mut list: Pin<&mut List>, values: impl IntoIterator<Item = usize>) {
    for value in values {
        let item = Item::new(value);
        // SAFETY: The item is new, and used through this list only.
        unsafe { bindings::list_add_tail(item.as_ref().link(), list.as_mut().as_raw()) };
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

/// Removes and frees all items.
fn clear(list: Pin<&mut List>) {
    while let Some(item) = list.iter().next().map(NonNull::from) {
        // SAFETY: The item is on the list.
        unsafe { bindings::host_list_del_init(item.as_ref().link()) };
        free(item);
    }
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
    for _ in 0..5 {
        let item = NonNull::from(iter.next().expect("an item"));
        // SAFETY: The item is on the list. Its links are poison afterwards, and its memory is gone.
        unsafe { bindings::host_list_del(item.as_ref().link()) };
        found.push(free(item));
    }
    assert_eq!(found, [0, 1, 2, 3, 4]);
    assert_eq!(iter.next().map(Item::value), Some(5));
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
    let item = NonNull::from(list.iter().next().unwrap());
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
fn push_all_back_keeps_order_and_empties_the_other() {
    for (to, from) in [(0, 0), (0, 1), (1, 0), (0, 3), (3, 0), (1, 1), (3, 2)] {
        stack_pin_init!(let first = List::new());
        stack_pin_init!(let second = List::new());
        push(first.as_mut(), 0..to);
        push(second.as_mut(), to..to + from);
        first.as_mut().push_all_back(second.as_mut());
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
fn the_types_are_what_they_are_said_to_be() {
    fn thread_safe<T: Send + Sync>() {}
    fn fused<T: FusedIterator>() {}

    thread_safe::<CListHead>();
    thread_safe::<CList<usize, 0>>();
    fused::<CListIter<'_, Item, OFFSET>>();
    assert_eq!(size_of::<List>(), size_of::<bindings::list_head>());
    assert_eq!(OFFSET, 2 * size_of::<usize>());
}

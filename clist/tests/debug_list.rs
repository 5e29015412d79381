// SPDX-License-Identifier: GPL-2.0

//! The checks of a kernel with CONFIG_DEBUG_LIST: what is corrupted is reported and not followed.

#![cfg(feature = "debug-list")]

// The driver has more than these tests use.
#[allow(dead_code)]
mod driver;

use driver::{Item, List};
use kernel::{bindings, host};
use std::ptr::NonNull;

/// A list of 0, 1, 2, 3 and its items, for a test that breaks links.
struct Broken {
    list: std::pin::Pin<kernel::alloc::KBox<List>>,
    items: Vec<NonNull<Item>>,
}

impl Broken {
    fn new() -> Self {
        use kernel::prelude::*;

        host::take_warnings();
        let mut list = KBox::pin_init(List::new(), GFP_KERNEL).unwrap();
        let items: Vec<_> = (0..4).map(Item::new).collect();
        for item in &items {
            // SAFETY: The item is new, and used through this list.
            unsafe { list.as_mut().push_back(*item) };
        }
        Self { list, items }
    }

    fn link(&self, n: usize) -> *mut bindings::list_head {
        // SAFETY: The items live as long as `self`.
        unsafe { self.items[n].as_ref() }.link()
    }

    /// Breaks the `prev` link of an item.
    fn break_prev(&self, n: usize) {
        let link = self.link(n);
        // SAFETY: The item is valid; following the link is what the tests are about.
        unsafe { (*link).prev = link };
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        // Mends the list, so that it can be dropped.
        // SAFETY: The head and the items are valid.
        unsafe { bindings::INIT_LIST_HEAD(self.list.as_mut().as_raw()) };
        for item in self.items.drain(..) {
            // SAFETY: The items are on no list that anyone uses from here on.
            unsafe { Item::free(item) };
        }
    }
}

#[test]
fn a_sound_list_gives_no_warning() {
    let test = Broken::new();
    assert_eq!(test.list.iter().count(), 4);
    assert_eq!(test.list.iter().rev().count(), 4);
    assert_eq!(host::take_warnings(), 0);
}

#[test]
fn an_iterator_ends_at_a_broken_link() {
    let test = Broken::new();
    test.break_prev(2);
    // 1 is followed by 2, which does not link back to it.
    assert!(test.list.iter().map(Item::value).eq([0]));
    assert_eq!(host::take_warnings(), 1);
}

#[test]
fn an_iterator_does_not_follow_poison() {
    let test = Broken::new();
    let poisoned = test.link(1);
    // SAFETY: The item is on the list; what C does next is to poison its links. Then the first item
    // is made to lead there again, as if the item had been freed by someone who forgot the list.
    unsafe {
        bindings::host_list_del(poisoned);
        (*test.link(0)).next = poisoned;
    }
    assert!(test.list.iter().next().is_none());
    assert!(host::take_warnings() > 0);
}

#[test]
fn a_cursor_goes_to_the_end_at_a_broken_link() {
    let mut test = Broken::new();
    test.break_prev(2);
    let mut cursor = test.list.as_mut().cursor_front();
    cursor.move_next();
    assert_eq!(cursor.peek().map(Item::value), Some(1));
    cursor.move_next();
    assert!(cursor.peek().is_none());
    assert_eq!(host::take_warnings(), 1);
}

#[test]
fn an_item_with_broken_links_is_not_taken_out() {
    let mut test = Broken::new();
    test.break_prev(1);
    assert!(test.list.as_mut().pop_front().is_none());
    assert!(test.list.as_mut().drain().next().is_none());
    assert_eq!(host::take_warnings(), 2);
    // The other end is sound.
    assert_eq!(test.list.as_mut().pop_back(), Some(test.items[3]));
    assert_eq!(host::take_warnings(), 0);
}

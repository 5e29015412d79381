// SPDX-License-Identifier: GPL-2.0

//! The checks of a kernel with CONFIG_DEBUG_LIST: it reports corrupted links and does not follow them.

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
        let items: Vec<_> = (0..ITEMS).map(Item::new).collect();
        for item in &items {
            // SAFETY: The item is new, and used through this list.
            unsafe { bindings::list_add_tail(item.as_ref().link(), list.as_mut().as_raw()) };
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

    /// Returns the `list_head` at `place` in the ring: 0 is the head, the items follow it.
    fn node(&mut self, place: usize) -> *mut bindings::list_head {
        match place {
            0 => self.list.as_mut().as_raw(),
            n => self.link(n - 1),
        }
    }

    /// Breaks one link of the ring.
    fn break_link(&mut self, at: Break) {
        let node = self.node(at.place);
        let (poison, beyond) = match at.end {
            End::Front => (POISON_1, at.place + 2),
            End::Back => (POISON_2, at.place + PLACES - 2),
        };
        let value = match at.value {
            Value::Itself => node,
            Value::Null => std::ptr::null_mut(),
            Value::Poison => std::ptr::without_provenance_mut(poison),
            Value::Another => self.node(beyond % PLACES),
        };
        // SAFETY: The node is valid. The tests are about following the link.
        unsafe {
            match at.end {
                End::Front => (*node).next = value,
                End::Back => (*node).prev = value,
            }
        }
    }
}

/// How many items the list has, and how many links of either direction.
const ITEMS: usize = 4;
const PLACES: usize = ITEMS + 1;

/// `LIST_POISON1` and `LIST_POISON2` of a kernel without `CONFIG_ILLEGAL_POINTER_VALUE`.
const POISON_1: usize = 0x100;
const POISON_2: usize = 0x122;

/// A direction of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The links `next`.
    Front,
    /// The links `prev`.
    Back,
}

/// The value of a broken link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// The address of the node that has the link.
    Itself,
    Null,
    Poison,
    /// A node of the ring, but not the adjacent one.
    Another,
}

/// One link that is broken: of which node, in which direction, and how.
#[derive(Clone, Copy, Debug)]
struct Break {
    place: usize,
    end: End,
    value: Value,
}

impl Break {
    /// All of them.
    fn all() -> impl Iterator<Item = Self> {
        use Value::{Another, Itself, Null, Poison};

        (0..PLACES).flat_map(|place| {
            [End::Front, End::Back].into_iter().flat_map(move |end| {
                [Itself, Null, Poison, Another]
                    .into_iter()
                    .map(move |value| Self { place, end, value })
            })
        })
    }

    /// Returns the pair of adjacent places between which the link is.
    fn between(self) -> (usize, usize) {
        match self.end {
            End::Front => (self.place, (self.place + 1) % PLACES),
            End::Back => ((self.place + PLACES - 1) % PLACES, self.place),
        }
    }

    /// Returns the values of the items before the broken link in a walk.
    ///
    /// Neither of the two nodes of a broken link passes C's check. If one of them is the head,
    /// the walk finds no item.
    fn before(self) -> Vec<usize> {
        match self.between() {
            (0, _) | (_, 0) => vec![],
            (first, _) => (0..first - 1).collect(),
        }
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
    assert!(!test.list.is_empty());
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
fn iter_broken_link_ends() {
    for at in Break::all() {
        let mut test = Broken::new();
        test.break_link(at);
        let found: Vec<_> = test.list.iter().map(Item::value).take(PLACES).collect();
        assert_eq!(found, at.before(), "{at:?}");
        assert_eq!(host::take_warnings(), 1, "{at:?}");
    }
}

#[test]
fn push_broken_end_adds_nothing() {
    for value in [Value::Itself, Value::Another] {
        let mut test = Broken::new();
        test.break_link(Break {
            place: 0,
            end: End::Back,
            value,
        });
        let item = Item::new(ITEMS);
        // SAFETY: The item is new, and used through this list.
        unsafe { bindings::list_add_tail(item.as_ref().link(), test.list.as_mut().as_raw()) };
        assert_eq!(host::take_warnings(), 1);
        // SAFETY: The item is valid and on no list.
        unsafe {
            let link = item.as_ref().link();
            assert_eq!((*link).next, link);
            Item::free(item);
        }
    }
}

#[test]
fn drop_broken_head_leaves_items() {
    use kernel::prelude::*;

    for at in Break::all().filter(|at| at.place == 0) {
        let mut test = Broken::new();
        test.break_link(at);
        let links: Vec<_> = (1..PLACES).map(|place| test.node(place)).collect();
        // SAFETY: The items are valid.
        let read = || -> Vec<_> { links.iter().map(|link| unsafe { **link }).collect() };
        let before: Vec<_> = read().iter().map(|l| (l.next, l.prev)).collect();
        test.list = KBox::pin_init(List::new(), GFP_KERNEL).unwrap();
        let after: Vec<_> = read().iter().map(|l| (l.next, l.prev)).collect();
        assert_eq!(before, after, "{at:?}");
        assert_eq!(host::take_warnings(), 1, "{at:?}");
    }
}

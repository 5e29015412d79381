// SPDX-License-Identifier: GPL-2.0

//! Operations on several C lists, run against a `VecDeque` for each as the oracle.
//!
//! The model test and the fuzz target share this file: the first draws operations at random, the
//! second has a fuzzer choose them. After each operation every list is walked by C's own macros,
//! both ways, every link is followed back, and every item that is off its list is looked at too.

use arbitrary::{Arbitrary, Unstructured};
use clist::{
    clist_create, clist_offset,
    interop::list::{CList, CListHead, CListOwned},
};
use kernel::{bindings, host, prelude::*, types::Opaque};
use std::{collections::VecDeque, ptr::NonNull};

/// How many lists there are.
pub const LISTS: usize = 3;

/// How many items there are at most; short lists meet their corner cases more often.
const MAX_ITEMS: usize = 24;

/// Where a walk that does not end is given up.
const TOO_MANY: usize = MAX_ITEMS + 1;

/// Written around the payload of each item.
const GUARD: usize = 0x5afe_5afe_5afe_5afe;

/// An item as Rust sees it.
#[repr(transparent)]
pub struct Item(Opaque<bindings::host_item>);

/// Where its link is.
pub const OFFSET: usize = clist_offset!(Item, bindings::host_item, link);

/// A list of them.
pub type List = CListOwned<Item, OFFSET>;

impl Item {
    /// Allocates an item that is on no list.
    pub fn new(value: usize) -> NonNull<Self> {
        let item = KBox::new(
            Item(Opaque::new(bindings::host_item {
                guard_before: GUARD,
                value,
                link: Default::default(),
                guard_after: GUARD,
            })),
            GFP_KERNEL,
        )
        .expect("no allocation is to fail here");
        // SAFETY: The link is inside of the item.
        unsafe { bindings::INIT_LIST_HEAD(item.link()) };
        NonNull::from(KBox::leak(item))
    }

    /// Frees an item.
    ///
    /// # Safety
    ///
    /// It is from [`Item::new`], was not freed before, and nobody uses it any longer.
    pub unsafe fn free(item: NonNull<Self>) {
        // SAFETY: By the safety requirements.
        drop(unsafe { KBox::from_raw(item.as_ptr()) });
    }

    /// The link, as C sees it.
    pub fn link(&self) -> *mut bindings::list_head {
        // SAFETY: This computes an address inside of the item.
        unsafe { &raw mut (*self.0.get()).link }
    }

    /// The value; panics if this is not really an item.
    #[track_caller]
    pub fn value(&self) -> usize {
        // SAFETY: The fields are initialised, and nobody writes to them.
        let (before, value, after) = unsafe {
            let item = self.0.get();
            ((*item).guard_before, (*item).value, (*item).guard_after)
        };
        assert_eq!(
            (before, after),
            (GUARD, GUARD),
            "not an item, or a freed one"
        );
        value
    }
}

/// The head of a list that is only looked at, by whom `CListOwned::as_raw` is not for.
pub fn head_of(list: &CList<Item, OFFSET>) -> *mut bindings::list_head {
    // A `CList` is transparent over its `list_head`.
    std::ptr::from_ref(list).cast_mut().cast()
}

/// One operation. Numbers of lists and items are taken modulo what there is.
#[derive(Arbitrary, Clone, Debug)]
pub enum Op {
    /// C code adds a new item to the end.
    Push { list: u8 },
    /// C code adds items to the end that were removed before.
    PushAgain {
        list: u8,
        #[arbitrary(with = few)]
        loose: Vec<u8>,
    },
    /// C code adds a new item to the front.
    CAdd { list: u8 },
    /// C code takes an item out.
    CDel { list: u8, at: u8 },
    /// Appends one list to another.
    Splice { to: u8, from: u8 },
    /// Reads the first items of a list.
    Iterate { list: u8, count: u8 },
    /// Frees an item that is off its list.
    Free { loose: u8 },
    /// Drops a list with its items still on it, and makes a new one.
    Replace { list: u8 },
}

/// Up to 12 of something, each number as likely; `Vec` on its own mostly is empty.
fn few<'a, T: Arbitrary<'a>>(u: &mut Unstructured<'a>) -> arbitrary::Result<Vec<T>> {
    (0..u.int_in_range(0..=12)?)
        .map(|_| u.arbitrary())
        .collect()
}

/// What an item is to the oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    item: NonNull<Item>,
    value: usize,
}

/// How often something of consequence happened, so that a test can tell that it tested something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Operations run.
    pub operations: usize,
    /// Splices that moved items.
    pub spliced: usize,
    /// Iterations that returned all items of a list that has some.
    pub walked: usize,
    /// Lists dropped with items.
    pub dropped_full: usize,
    /// Items taken off by C.
    pub cut_by_c: usize,
}

/// The lists, the oracle, and the items that are on no list.
pub struct Driver {
    lists: Vec<(Pin<KBox<List>>, VecDeque<Entry>)>,
    loose: Vec<Entry>,
    next_value: usize,
    /// Objects that were there before.
    live_before: isize,
    /// What happened so far.
    pub tally: Tally,
}

fn new_list() -> Pin<KBox<List>> {
    KBox::pin_init(List::new(), GFP_KERNEL).expect("no allocation is to fail here")
}

impl Driver {
    /// Empty lists.
    pub fn new() -> Self {
        let live_before = host::live_objects();
        Self {
            lists: (0..LISTS).map(|_| (new_list(), VecDeque::new())).collect(),
            loose: Vec::new(),
            next_value: 0,
            live_before,
            tally: Tally::default(),
        }
    }

    /// Runs one operation and checks everything.
    pub fn run(&mut self, op: &Op) {
        self.tally.operations += 1;
        match *op {
            Op::Push { list } => self.push(list),
            Op::PushAgain { list, ref loose } => self.push_again(list, loose),
            Op::CAdd { list } => self.c_add(list),
            Op::CDel { list, at } => self.c_del(list, at),
            Op::Splice { to, from } => self.splice(to, from),
            Op::Iterate { list, count } => self.iterate(list, count),
            Op::Free { loose } => self.free(loose),
            Op::Replace { list } => self.replace(list),
        }
        self.check();
    }

    fn at(&mut self, list: u8) -> (Pin<&mut List>, &mut VecDeque<Entry>) {
        let (list, model) = &mut self.lists[usize::from(list) % LISTS];
        (list.as_mut(), model)
    }

    /// A new item, unless there are enough of them.
    fn new_item(&mut self) -> Option<Entry> {
        let items = self.loose.len() + self.lists.iter().map(|(_, m)| m.len()).sum::<usize>();
        if items >= MAX_ITEMS {
            return None;
        }
        self.next_value += 1;
        let value = self.next_value;
        Some(Entry {
            item: Item::new(value),
            value,
        })
    }

    fn take_loose(&mut self, loose: u8) -> Option<Entry> {
        let count = self.loose.len();
        // The order does not matter, so that items are freed in any.
        (count > 0).then(|| self.loose.swap_remove(usize::from(loose) % count))
    }

    fn push(&mut self, list: u8) {
        let Some(entry) = self.new_item() else { return };
        let (list, model) = self.at(list);
        // SAFETY: The item is new, and is used through this list only while it is on it.
        unsafe { bindings::list_add_tail(entry.item.as_ref().link(), list.as_raw()) };
        model.push_back(entry);
    }

    fn push_again(&mut self, list: u8, loose: &[u8]) {
        for loose in loose {
            let Some(entry) = self.take_loose(*loose) else {
                return;
            };
            let (list, model) = self.at(list);
            // SAFETY: The item is valid, on no list, and used through this one only while on it.
            unsafe { bindings::list_add_tail(entry.item.as_ref().link(), list.as_raw()) };
            model.push_back(entry);
        }
    }

    fn c_add(&mut self, list: u8) {
        let Some(entry) = self.new_item() else { return };
        let (list, model) = self.at(list);
        // SAFETY: The item is new, and nobody holds a reference into the list.
        unsafe { bindings::host_list_add(entry.item.as_ref().link(), list.as_raw()) };
        model.push_front(entry);
    }

    fn c_del(&mut self, list: u8, at: u8) {
        let (_, model) = self.at(list);
        if model.is_empty() {
            return;
        }
        let at = usize::from(at) % model.len();
        let entry = model.remove(at).unwrap();
        // SAFETY: The item is on a list, and nobody holds a reference into it.
        unsafe { bindings::host_list_del_init(entry.item.as_ref().link()) };
        self.loose.push(entry);
        self.tally.cut_by_c += 1;
    }

    fn splice(&mut self, to: u8, from: u8) {
        let (to, from) = (usize::from(to) % LISTS, usize::from(from) % LISTS);
        let Ok([to, from]) = self.lists.get_disjoint_mut([to, from]) else {
            return;
        };
        self.tally.spliced += usize::from(!from.1.is_empty());
        to.0.as_mut().push_all_back(from.0.as_mut());
        to.1.append(&mut from.1);
    }

    fn iterate(&mut self, list: u8, count: u8) {
        let (list, model) = self.at(list);
        let count = usize::from(count) % (MAX_ITEMS + 2);
        let mut iter = list.iter();
        for n in 0..count {
            let (item, entry) = (iter.next(), model.get(n));
            assert_eq!(item.map(NonNull::from), entry.map(|e| e.item), "iterated");
            assert_eq!(item.map(Item::value), entry.map(|e| e.value), "iterated");
        }
        let walked = !model.is_empty() && count > model.len();
        self.tally.walked += usize::from(walked);
    }

    fn free(&mut self, loose: u8) {
        if let Some(entry) = self.take_loose(loose) {
            // SAFETY: The item is off its list.
            unsafe { Item::free(entry.item) };
        }
    }

    fn replace(&mut self, list: u8) {
        let (list, model) = &mut self.lists[usize::from(list) % LISTS];
        let model = std::mem::take(model);
        // The old head is freed here, and what is freed is poisoned.
        *list = new_list();

        // The items stay linked to each other, in a ring without the head.
        for (n, entry) in model.iter().enumerate() {
            let next = model[(n + 1) % model.len()].item;
            // SAFETY: Both items are valid.
            unsafe {
                let (link, next) = (entry.item.as_ref().link(), next.as_ref().link());
                assert_eq!((*link).next, next, "the ring that a dropped list leaves");
                assert_eq!((*next).prev, link, "the ring that a dropped list leaves");
            }
        }
        for entry in &model {
            // SAFETY: The ring is valid, as was just seen.
            unsafe { bindings::host_list_del_init(entry.item.as_ref().link()) };
        }
        self.tally.dropped_full += usize::from(!model.is_empty());
        self.loose.extend(model);
    }

    /// Checks all lists and all items.
    fn check(&self) {
        for (list, model) in &self.lists {
            check_list(list, model);
        }
        for entry in &self.loose {
            // SAFETY: The item is valid and linked to itself, or this is what the test finds out.
            unsafe {
                let item = entry.item.as_ref();
                let link = item.link();
                assert_eq!(item.value(), entry.value, "an item off its list");
                assert_eq!((*link).next, link, "an item off its list");
                assert_eq!((*link).prev, link, "an item off its list");
                assert!(bindings::host_list_empty(link));
                assert!(!CListHead::from_raw(link).is_linked());
            }
        }
        let items: usize = self.lists.iter().map(|(_, model)| model.len()).sum();
        let objects = self.lists.len() + items + self.loose.len();
        assert_eq!(
            host::live_objects() - self.live_before,
            objects as isize,
            "objects allocated and not freed"
        );
        assert_eq!(host::take_warnings(), 0, "C found a list corrupted");
    }

    /// Frees all and checks that nothing leaks.
    pub fn finish(mut self) -> Tally {
        for (list, mut model) in std::mem::take(&mut self.lists) {
            while let Some(item) = list.iter().next().map(NonNull::from) {
                assert_eq!(Some(item), model.pop_front().map(|e| e.item));
                // SAFETY: The item is on the list, and nobody uses it after it is removed.
                unsafe {
                    bindings::host_list_del_init(item.as_ref().link());
                    Item::free(item);
                }
            }
            assert!(list.is_empty() && model.is_empty());
        }
        for entry in std::mem::take(&mut self.loose) {
            // SAFETY: The item is off its list.
            unsafe { Item::free(entry.item) };
        }
        assert_eq!(host::live_objects(), self.live_before, "leaked objects");
        self.tally
    }
}

/// Checks one list: by C's macros, both ways, with every link followed back; then by its own API.
fn check_list(list: &List, model: &VecDeque<Entry>) {
    let head = head_of(list);
    let expected: Vec<usize> = model.iter().map(|e| e.value).collect();
    let mut values = [0; MAX_ITEMS];

    // SAFETY: `head` is the head of a list of such items, or this is what the test finds out.
    let count = unsafe { bindings::host_list_values(head, values.as_mut_ptr(), values.len()) };
    assert!(count >= 0, "a broken link, forwards");
    assert_eq!(values[..count as usize], expected, "C's walk");

    // SAFETY: As above.
    let count =
        unsafe { bindings::host_list_values_reverse(head, values.as_mut_ptr(), values.len()) };
    assert!(count >= 0, "a broken link, backwards");
    values[..count as usize].reverse();
    assert_eq!(values[..count as usize], expected, "C's walk backwards");

    // SAFETY: As above, and nobody changes the list in here.
    let view = unsafe { clist_create!(head, Item, bindings::host_item, link) };
    assert!(view
        .iter()
        .take(TOO_MANY)
        .map(Item::value)
        .eq(expected.iter().copied()));
    assert_eq!(view.is_empty(), expected.is_empty());
    // SAFETY: As above.
    unsafe {
        assert_eq!(view.is_empty(), bindings::host_list_empty(head));
        assert_eq!(CListHead::from_raw(head).is_linked(), !expected.is_empty());
    }
}

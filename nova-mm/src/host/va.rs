// SPDX-License-Identifier: GPL-2.0

//! Tests of the virtual address allocator with failing memory allocations, its lock, threads, and
//! more random requests than in KUnit.

use super::faults::{each_allocation, without_allocations};
use crate::mm::{
    address::PageSize,
    va::{
        tests::{change_tree, fixed, highest, numbers, random, space},
        VaRange, VaSpace,
    },
};
use kernel::{
    error::code::{EBUSY, EINVAL, ENOSPC},
    host,
    sync::Arc,
};
use std::{
    ops::Range,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

#[test]
fn random_requests() {
    let live = host::live_objects();
    random::run(0x9e37_79b9_7f4a_7c15, 200_000).unwrap();
    assert_eq!(host::live_objects(), live, "leaked objects");
}

#[test]
fn allocation_failure_no_change() {
    let live = host::live_objects();
    let (space, failed) = each_allocation("VaSpace::new", || space(3..100), || ());
    assert_eq!(failed, 1);
    let held = fixed(&space, 40..41).unwrap();

    let is_unused = || {
        for pages in [3..40, 41..100] {
            assert_eq!(numbers(&fixed(&space, pages.clone()).unwrap()), pages);
        }
    };
    let reserve = || highest(&space, 7, PageSize::Size64K);
    let (range, failed) = each_allocation("highest", reserve, is_unused);
    assert_eq!((numbers(&range), failed), (80..87, 1));
    drop(range);
    let (range, failed) = each_allocation("fixed", || fixed(&space, 3..7), is_unused);
    assert_eq!((numbers(&range), failed), (3..7, 1));

    without_allocations(|| drop((range, held)));
    assert_eq!(numbers(&fixed(&space, 3..100).unwrap()), 3..100);
    drop(space);
    assert_eq!(host::live_objects(), live, "leaked objects");
}

#[test]
fn request_failure_frees_node() {
    let space = space(0..10).unwrap();
    let held = fixed(&space, 4..6).unwrap();
    let live = host::live_objects();

    assert_eq!(fixed(&space, 5..7).err(), Some(EBUSY));
    assert_eq!(fixed(&space, 9..11).err(), Some(EINVAL));
    assert_eq!(highest(&space, 5, PageSize::Size4K).err(), Some(ENOSPC));
    assert_eq!(highest(&space, 0, PageSize::Size4K).err(), Some(EINVAL));
    assert_eq!(host::live_objects(), live);
    drop(held);
    assert_eq!(host::live_objects(), live - 1);
}

#[test]
fn no_memory_changes_under_lock() {
    change_tree(|change| {
        let live = host::live_objects();
        without_allocations(change);
        assert_eq!(host::live_objects(), live, "freed memory");
    })
    .unwrap();
}

const THREADS: u64 = 4;
const ROUNDS: u64 = 5_000;
const LIMITS: Range<u64> = 7..2_000;

/// Whether each page is in use, as tracked by the owners of the ranges.
struct Owned(Vec<AtomicBool>);

impl Owned {
    fn set(&self, range: &VaRange, owned: bool) {
        for page in numbers(range) {
            let page = &self.0[usize::try_from(page).unwrap()];
            assert_ne!(page.swap(owned, Ordering::Relaxed), owned);
        }
    }
}

/// Reserves and frees ranges. Every other range is freed by the next thread.
fn reserve_and_free(
    space: &Arc<VaSpace>,
    owned: &Owned,
    to_next: &mpsc::Sender<VaRange>,
    from_previous: &mpsc::Receiver<VaRange>,
) {
    let free = |range: VaRange| {
        owned.set(&range, false);
        drop(range);
    };
    let mut held = Vec::new();

    for round in 0..ROUNDS {
        let align = [PageSize::Size4K, PageSize::Size64K][usize::from(round % 5 == 0)];
        let result = match round % 7 {
            0 => fixed(space, 100..103),
            _ => highest(space, 1 + round % 29, align),
        };
        match result {
            Ok(range) => {
                owned.set(&range, true);
                held.push(range);
            }
            Err(error) => assert!([EBUSY, ENOSPC].contains(&error)),
        }
        if held.len() > 20 {
            let index = usize::try_from(round).unwrap() % held.len();
            let range = held.swap_remove(index);
            if round % 2 == 0 {
                free(range);
            } else {
                to_next.send(range).unwrap();
            }
        }
        from_previous.try_iter().for_each(free);
    }
    held.into_iter().for_each(free);
}

#[test]
fn threads_share_space() {
    let space = space(LIMITS).unwrap();
    let owned = Owned((0..LIMITS.end).map(|_| AtomicBool::new(false)).collect());

    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::channel()).unzip();
    thread::scope(|scope| {
        let (space, owned) = (&space, &owned);
        for (index, receiver) in receivers.into_iter().enumerate() {
            let sender = senders[(index + 1) % senders.len()].clone();
            scope.spawn(move || {
                reserve_and_free(space, owned, &sender, &receiver);
                // The previous thread may still send ranges.
                drop(sender);
                for range in receiver {
                    owned.set(&range, false);
                }
            });
        }
        drop(senders);
    });

    let all = fixed(&space, LIMITS).unwrap();
    assert_eq!(numbers(&all), LIMITS);
}

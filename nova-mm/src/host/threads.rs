// SPDX-License-Identifier: GPL-2.0

//! Tests in which several threads use one address space and one BAR1. Each thread must find its
//! memory mapped regardless of the other threads, and no memory must leak.
//!
//! The mutexes of the stand-in are real ones. They also abort the program if a thread locks a mutex
//! twice.

use crate::mm::{
    address::{PageSize, PAGE_SIZE},
    bar1::{tests::Fixture as Bar1Fixture, Bar1Mapping},
    format::{v2::MmuV2, v3::MmuV3, Access},
    vmm::{
        tests::fixture::{complete, start_of, Area, Fixture, TestFormat, LARGE},
        Job,
    },
    vram::Vram,
};
use kernel::{error::code::ENOSPC, host, prelude::*, sync::Arc};
use std::{
    ops::Range,
    sync::mpsc::{self, TrySendError},
    thread,
};

const THREADS: u64 = 4;
const ROUNDS: u64 = 400;

/// Maximum number of jobs that a thread has sent to the next one and that have not run. The VRAM
/// for page tables limits it.
const QUEUE: usize = 4;

/// A generator of pseudorandom numbers.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ seed << 17)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % end
    }
}

/// Number of pages in each area that a thread uses.
const AREA: u64 = 2 * LARGE;

/// Memory of a thread, and the pages of an area at which the memory is mapped.
struct Mapped {
    va: Area,
    vram: Arc<Vram>,
    pages: Range<u64>,
}

impl Mapped {
    /// Checks a sample of the pages of the area.
    fn check<F: TestFormat>(&self, fixture: &Fixture<F>, random: &mut Random) {
        let start = start_of(&self.vram).unwrap();
        let last = self.pages.end - 1;

        for page in [0, last, AREA - 1, random.below(AREA), random.below(AREA)] {
            let found = fixture.lookup(self.va.start() + page).unwrap();
            let expected = start + page * PAGE_SIZE;
            let expected = self.pages.contains(&page).then_some(expected);
            let found = found.map(|it| it.address);
            assert_eq!(found, expected, "page {page} of {:?}", self.pages);
        }
    }
}

/// Pages that all threads change.
const SHARED: Range<u64> = 1 << 20..(1 << 20) + 2 * LARGE;

/// Performs a random operation on `shared`. Its state is not checked, because all threads change
/// it.
fn change_shared<F: TestFormat>(fixture: &Fixture<F>, shared: &Area, random: &mut Random) {
    let start = random.below(2 * LARGE - 4);
    let pages = start..(start + 1 + random.below(LARGE)).min(2 * LARGE);
    let result = match random.below(4) {
        0 => fixture.unmap(shared, pages),
        1 => fixture.protect(shared, pages, Access::ReadOnly),
        _ => {
            let vram = fixture.alloc(2 * LARGE).unwrap();
            fixture.map(shared, pages.clone(), &vram, pages.start, Access::ReadWrite)
        }
    };
    result.unwrap();
}

/// A job that unmaps an area. The thread that runs the job reuses the area.
struct Unmap {
    job: Job,
    va: Area,
}

impl Unmap {
    fn run(self) -> Area {
        complete(self.job).unwrap();
        self.va
    }
}

/// Performs random operations on an address space. Sends some jobs to the next thread, which runs
/// them.
fn change<F: TestFormat>(
    number: u64,
    fixture: &Fixture<F>,
    shared: &Area,
    to_next: &mpsc::SyncSender<Unmap>,
    from_previous: &mpsc::Receiver<Unmap>,
) {
    let mut random = Random::new(number);
    let mut held: Vec<Mapped> = Vec::new();
    let mut free: Vec<Area> = Vec::new();

    for _ in 0..ROUNDS {
        match (random.below(4), held.len()) {
            (0 | 1, 0..=5) => {
                let pages = 1 + random.below(LARGE + 100);
                let va = free.pop();
                let mapped = Mapped {
                    va: va.unwrap_or_else(|| fixture.reserve(AREA).unwrap()),
                    vram: fixture.alloc(pages).unwrap(),
                    pages: 0..pages,
                };
                let Mapped { va, vram, pages } = &mapped;
                let access = Access::ReadWrite;
                fixture.map(va, pages.clone(), vram, 0, access).unwrap();
                held.push(mapped);
            }
            (2, 1..) => {
                let index = usize::try_from(random.below(held.len() as u64)).unwrap();
                let mapped = &mut held[index];
                let Range { start, end } = mapped.pages.clone();
                let middle = start + (end - start) / 2;
                if middle > start {
                    fixture.unmap(&mapped.va, start..middle).unwrap();
                    mapped.pages = middle..end;
                }
            }
            (3, 1..) => {
                let index = usize::try_from(random.below(held.len() as u64)).unwrap();
                let Mapped { va, .. } = held.swap_remove(index);
                let job = fixture.prepare_unmap(&va, 0..AREA).unwrap();
                if let Err(error) = to_next.try_send(Unmap { job, va }) {
                    let TrySendError::Full(unmap) = error else {
                        panic!("{error}");
                    };
                    free.push(unmap.run());
                }
            }
            _ => change_shared(fixture, shared, &mut random),
        }
        for mapped in &held {
            mapped.check(fixture, &mut random);
        }
        free.extend(from_previous.try_iter().map(Unmap::run));
    }
    assert_eq!(host::take_warnings(), 0);
}

fn address_space<F: TestFormat>() {
    let mut fixture = Fixture::<F>::new().unwrap();
    let (memory, data) = (fixture.memory.clone(), fixture.data.clone());
    let (tables, free) = (memory.avail(), data.avail());
    let shared = fixture.reserve_at(SHARED).unwrap();

    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| mpsc::sync_channel(QUEUE)).unzip();
    thread::scope(|scope| {
        let shared = &shared;
        for (number, receiver) in (0..THREADS).zip(receivers) {
            let next = usize::try_from((number + 1) % THREADS).unwrap();
            let sender = senders[next].clone();
            let fixture = fixture.share((2 + number) << 20);
            scope.spawn(move || {
                change(number, &fixture, shared, &sender, &receiver);
                // The previous thread may still send jobs.
                drop(sender);
                for unmap in receiver {
                    unmap.run();
                }
            });
        }
        drop(senders);
    });

    fixture.check().unwrap();
    fixture.teardown().unwrap();
    fixture.check().unwrap();
    assert_eq!((memory.avail(), data.avail()), (tables, free));
}

/// Performs random maps, accesses and unmaps through BAR1.
fn use_bar1(number: u64, fixture: &Bar1Fixture) {
    let mut random = Random::new(number);
    let mut held: Vec<(Bar1Mapping, u64)> = Vec::new();
    let offsets = |mapping: &Bar1Mapping| [0, mapping.size() - 8];

    for round in 0..ROUNDS {
        let size = match random.below(8) {
            0 => PageSize::Size2M.bytes(),
            _ => (1 + random.below(16)) * PAGE_SIZE,
        };
        match (random.below(2), fixture.vram.alloc(size, PageSize::Size4K)) {
            (0, Ok(vram)) if held.len() < 6 => {
                let vram = Arc::new(vram, GFP_KERNEL).unwrap();
                let mapping = fixture.bar1.map(&vram, 0, size, Access::ReadWrite).unwrap();
                let value = number << 32 | round;
                for offset in offsets(&mapping) {
                    mapping.write64(value, offset).unwrap();
                }
                held.push((mapping, value));
            }
            (_, Err(error)) => assert_eq!(error, ENOSPC),
            (_, Ok(_)) if held.is_empty() => {}
            (_, Ok(_)) => {
                let index = usize::try_from(random.below(held.len() as u64)).unwrap();
                let (mapping, _) = held.swap_remove(index);
                if random.below(2) == 0 {
                    mapping.unmap().unwrap();
                }
            }
        }
        for (mapping, value) in &held {
            for offset in offsets(mapping) {
                assert_eq!(mapping.read64(offset).unwrap(), *value);
            }
        }
    }
    assert_eq!(host::take_warnings(), 0);
}

#[test]
fn address_space_v2() {
    address_space::<MmuV2>();
}

#[test]
fn address_space_v3() {
    address_space::<MmuV3>();
}

#[test]
fn bar1() {
    let fixture = Bar1Fixture::new().unwrap();
    fixture.gpu.set_trigger_polls(0);
    let root = fixture.bar1.pdb().address();

    thread::scope(|scope| {
        for number in 0..THREADS {
            let fixture = &fixture;
            scope.spawn(move || use_bar1(number, fixture));
        }
    });

    assert_eq!(fixture.gpu.take_bar1_fault(), None);
    fixture.bar1.teardown().unwrap();
    fixture.gpu.check_clean().unwrap();
    assert_eq!(fixture.gpu.vram_read64(root), 0);
    let Bar1Fixture { vram, bar1, .. } = fixture;
    drop(bar1);
    assert_eq!(vram.avail(), vram.size());
}

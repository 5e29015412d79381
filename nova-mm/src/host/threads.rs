// SPDX-License-Identifier: GPL-2.0

//! Several threads on one address space and on one BAR1: each finds its memory where it has mapped
//! it, whatever the others do, and nothing is lost.
//!
//! The mutexes of the stand-in are real ones, which also end the program if one is locked twice.

use crate::mm::{
    address::{PageSize, PAGE_SIZE},
    bar1::{tests::Fixture, Bar1Mapping},
    format::{v2::MmuV2, v3::MmuV3},
    va::VaRange,
    vmm::{
        job::{Access, Memory, Submitted},
        tests::bench::{start_of, Bench, TestFormat, LARGE},
    },
    vram::Vram,
};
use kernel::{error::code::ENOSPC, host, prelude::*, sync::Arc};
use std::{ops::Range, sync::mpsc, thread};

const THREADS: u64 = 4;
const ROUNDS: u64 = 400;

/// Numbers that look random.
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

/// Memory of a thread, and the pages at which it is mapped, counted from the start of the
/// addresses.
struct Mapped {
    va: Arc<VaRange>,
    vram: Arc<Vram>,
    pages: Range<u64>,
}

impl Mapped {
    /// Checks some of the pages.
    fn check<F: TestFormat>(&self, bench: &Bench<F>, random: &mut Random) {
        let first = self.va.pages().start.into_raw();
        let all = self.va.pages().end.into_raw() - first;
        let start = start_of(&self.vram).unwrap();

        for page in [0, all - 1, random.below(all), random.below(all)] {
            let found = bench.look(first + page).unwrap().map(|it| it.address);
            let expected = start + page * PAGE_SIZE;
            let expected = self.pages.contains(&page).then_some(expected);
            assert_eq!(found, expected, "page {page} of {:?}", self.pages);
        }
    }
}

/// The part of an address space that all threads change.
const SHARED: Range<u64> = 1 << 20..(1 << 20) + 2 * LARGE;

/// Makes a random change in `shared`, whose state is unknown because all threads change it.
fn change_shared<F: TestFormat>(bench: &Bench<F>, shared: &Arc<VaRange>, random: &mut Random) {
    let start = random.below(2 * LARGE - 4);
    let pages = start..(start + 1 + random.below(LARGE)).min(2 * LARGE);
    let result = match random.below(4) {
        0 => bench.unmap(shared, pages),
        1 => bench.protect(shared, pages, Access::ReadOnly),
        _ => {
            let vram = bench.alloc(2 * LARGE).unwrap();
            bench.map(shared, pages.clone(), &vram, pages.start, Access::ReadWrite)
        }
    };
    result.unwrap();
}

/// Changes an address space at random. Sends some of the jobs to the next thread, which runs them.
fn change<F: TestFormat>(
    number: u64,
    bench: &Bench<F>,
    shared: &Arc<VaRange>,
    to_next: &mpsc::Sender<Submitted<F>>,
    from_previous: &mpsc::Receiver<Submitted<F>>,
) {
    let mut random = Random::new(number);
    let mut held: Vec<Mapped> = Vec::new();

    for _ in 0..ROUNDS {
        match (random.below(4), held.len()) {
            (0 | 1, 0..=5) => {
                let pages = 1 + random.below(LARGE + 100);
                let mapped = Mapped {
                    va: bench.reserve(pages).unwrap(),
                    vram: bench.alloc(pages).unwrap(),
                    pages: 0..pages,
                };
                let Mapped { va, vram, pages } = &mapped;
                let access = Access::ReadWrite;
                bench.map(va, pages.clone(), vram, 0, access).unwrap();
                held.push(mapped);
            }
            (2, 1..) => {
                let index = usize::try_from(random.below(held.len() as u64)).unwrap();
                let mapped = &mut held[index];
                let Range { start, end } = mapped.pages.clone();
                let middle = start + (end - start) / 2;
                if middle > start {
                    bench.unmap(&mapped.va, start..middle).unwrap();
                    mapped.pages = middle..end;
                }
            }
            (3, 1..) => {
                let index = usize::try_from(random.below(held.len() as u64)).unwrap();
                let Mapped { va, .. } = held.swap_remove(index);
                let pages = va.pages().end.into_raw() - va.pages().start.into_raw();
                let job = bench.submit_unmap(&va, 0..pages).unwrap();
                to_next.send(job).unwrap();
            }
            _ => change_shared(bench, shared, &mut random),
        }
        for mapped in &held {
            mapped.check(bench, &mut random);
        }
        for job in from_previous.try_iter() {
            bench.run(job).cleanup().unwrap();
        }
    }
    assert_eq!(host::take_warnings(), 0);
}

fn address_space<F: TestFormat>() {
    let mut bench = Bench::<F>::new().unwrap();
    let (memory, data) = (bench.memory.clone(), bench.data.clone());
    let (tables, free) = (memory.avail(), data.avail());
    let shared = bench.reserve_at(SHARED).unwrap();

    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::channel()).unzip();
    thread::scope(|scope| {
        let (bench, shared) = (&bench, &shared);
        for (number, receiver) in (0..THREADS).zip(receivers) {
            let next = usize::try_from((number + 1) % THREADS).unwrap();
            let sender = senders[next].clone();
            scope.spawn(move || {
                change(number, bench, shared, &sender, &receiver);
                // The previous one may go on for longer.
                drop(sender);
                for job in receiver {
                    bench.run(job).cleanup().unwrap();
                }
            });
        }
        drop(senders);
    });

    bench.check().unwrap();
    drop(shared);
    bench.teardown().unwrap();
    bench.check().unwrap();
    assert_eq!((memory.avail(), data.avail()), (tables, free));
}

/// Maps, accesses and unmaps memory through BAR1 at random.
fn use_bar1(number: u64, fixture: &Fixture) {
    let mut random = Random::new(number);
    let (bar0, bar1) = (fixture.gpu.bar0(), fixture.gpu.bar1());
    let mut held: Vec<(Bar1Mapping<MmuV2>, u64)> = Vec::new();
    let places = |mapping: &Bar1Mapping<MmuV2>| [0, mapping.size() - 8];

    for round in 0..ROUNDS {
        let size = match random.below(8) {
            0 => PageSize::Size2M.bytes(),
            _ => (1 + random.below(16)) * PAGE_SIZE,
        };
        match (random.below(2), fixture.vram.alloc(size, PageSize::Size4K)) {
            (0, Ok(vram)) if held.len() < 6 => {
                let memory = Memory {
                    vram: Arc::new(vram, GFP_KERNEL).unwrap(),
                    offset: 0,
                };
                let access = Access::ReadWrite;
                let mapping = fixture
                    .bar1
                    .map(memory, size, access, &fixture.mmu, &bar0)
                    .unwrap();
                let value = number << 32 | round;
                for place in places(&mapping) {
                    mapping.write64(&bar1, value, place).unwrap();
                }
                held.push((mapping, value));
            }
            (_, Err(error)) => assert_eq!(error, ENOSPC),
            (_, Ok(_)) if held.is_empty() => {}
            (_, Ok(_)) => {
                let index = usize::try_from(random.below(held.len() as u64)).unwrap();
                let (mapping, _) = held.swap_remove(index);
                if random.below(2) == 0 {
                    mapping.unmap(&fixture.mmu, &bar0).unwrap();
                }
            }
        }
        for (mapping, value) in &held {
            for place in places(mapping) {
                assert_eq!(mapping.read64(&bar1, place).unwrap(), *value);
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
    let fixture = Fixture::new().unwrap();
    fixture.gpu.set_trigger_polls(0);
    let root = fixture.bar1.root();

    thread::scope(|scope| {
        for number in 0..THREADS {
            let fixture = &fixture;
            scope.spawn(move || use_bar1(number, fixture));
        }
    });

    assert_eq!(fixture.gpu.take_bar1_fault(), None);
    let bar0 = fixture.gpu.bar0();
    fixture.bar1.teardown(&fixture.mmu, &bar0).unwrap();
    fixture.gpu.check_clean().unwrap();
    assert_eq!(fixture.gpu.vram_read64(root), 0);
    let Fixture { vram, bar1, .. } = fixture;
    drop(bar1);
    assert_eq!(vram.avail(), vram.size());
}

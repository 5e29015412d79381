// SPDX-License-Identifier: GPL-2.0

//! Random operations, against an oracle.
//!
//! A [`World`] is an address space on a software GPU, what should be mapped in it, and what else is
//! held: addresses, memory, and jobs that are not run yet. It takes steps at random; after each one
//! the GPU has to find what the oracle says, the tables in VRAM have to be those that are held, and
//! memory, tables and addresses have to be free exactly if nothing needs them any more.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    mm::{
        address::{
            PageSize,
            Vfn,
            VramAddress,
            PAGE_SIZE, //
        },
        model::{
            Access as ModelAccess,
            Fault, //
        },
        va::{
            VaRange,
            VaRequest, //
        },
        vmm::{
            job::{
                Access,
                Memory,
                Ran,
                Submitted, //
            },
            tests::bench::{
                ensure,
                ensure_eq,
                vfns,
                Bench,
                TestFormat,
                LARGE, //
            }, //
        },
        vram::{
            Vram,
            VramAllocator, //
        }, //
    },
    num::u64_as_usize, //
};

mod check;
mod oracle;
pub(crate) mod places;
mod steps;

use self::oracle::Oracle;

/// What is to be done.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Where the random numbers start.
    pub(crate) seed: u64,
    /// How many steps are taken.
    pub(crate) steps: u64,
    /// Every how many steps all that is mapped is compared.
    pub(crate) compare_every: u64,
    /// Calls its argument, which runs a job: the place to forbid what must not be done there.
    pub(crate) around_run: fn(&mut dyn FnMut()),
}

impl Plan {
    /// Steps that are taken with one address space, until it is torn down.
    const ROUND: u64 = 500;

    /// Takes the steps.
    ///
    /// # Errors
    ///
    /// Any, and a message, if something is not as it should be.
    pub(crate) fn run<F: TestFormat>(&self) -> Result {
        let mut random = Random::new(self.seed);
        let mut left = self.steps;
        let mut round = 0;

        while left > 0 {
            let steps = left.min(Self::ROUND);
            left -= steps;
            World::<F>::new(*self, random, round)?.round(steps)?;
            random = Random::new(random.next());
            round += 1;
        }

        Ok(())
    }
}

/// Random numbers: a xorshift generator.
#[derive(Clone, Copy)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // Zero would stay zero.
        let mut random = Self((seed ^ 0x9e37_79b9_7f4a_7c15) | 1);
        random.next();

        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;

        self.0
    }

    /// Returns a number less than `end`, or zero.
    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end.max(1)
    }

    /// Returns a number of `range`, which is not empty.
    fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// Returns true once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Returns the index of an element, if there is one.
    fn pick<T>(&mut self, of: &[T]) -> Option<usize> {
        let count = u64::try_from(of.len()).ok().filter(|&count| count > 0)?;

        Some(u64_as_usize(self.below(count)))
    }
}

/// Addresses that were reserved.
struct Area {
    number: u64,
    /// The handle; [`None`] once it was dropped.
    va: Option<Arc<VaRange>>,
    pages: Range<u64>,
}

impl Area {
    /// The number of what the firmware uses.
    const FIRMWARE: u64 = 0;
}

/// Memory that was allocated.
struct Block {
    number: u64,
    /// The handle; [`None`] once it was dropped.
    vram: Option<Arc<Vram>>,
    /// Number of pages.
    pages: u64,
}

/// What a job does; areas and memory are given by their numbers.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Map { memory: u64, access: Access },
    Unmap,
    Protect(Access),
}

/// A job that is submitted and not run.
struct Pending<F: TestFormat> {
    job: Submitted<F>,
    kind: Kind,
    area: u64,
    pages: Range<u64>,
    /// What will be mapped.
    extents: KVec<oracle::Extent>,
}

impl<F: TestFormat> Pending<F> {
    /// Returns the number of the memory that it maps.
    fn memory(&self) -> Option<u64> {
        match self.kind {
            Kind::Map { memory, .. } => Some(memory),
            _ => None,
        }
    }
}

/// An address space, what should be mapped in it, and what else is held.
struct World<F: TestFormat> {
    bench: Bench<F>,
    /// Whether the address space is that of a BAR, whose root is the firmware's.
    of_bar: bool,
    plan: Plan,
    random: Random,
    /// Where something may be mapped.
    windows: KVec<Range<u64>>,
    oracle: Oracle,
    areas: KVec<Area>,
    blocks: KVec<Block>,
    pending: KVec<Pending<F>>,
    /// What was taken out and is not acknowledged: numbers of memory and of areas.
    quarantine: KVec<(u64, u64)>,
    /// Whether what the TLB holds may be out of date.
    stale: bool,
    /// The tables when it was last up to date.
    tables: KVec<VramAddress>,
    /// Whether an invalidate hangs.
    hung: bool,
    /// Number of the next area or block.
    next: u64,
    /// Keeps free memory in pieces.
    fragments: KVec<Vram>,
    /// Bytes of memory, allocated or not, but for `fragments`.
    data_size: u64,
}

impl<F: TestFormat> World<F> {
    /// Makes a world in which nothing is mapped, but by the firmware in the address space of a BAR:
    /// every third round has one. In every second round, free memory is in pieces of 1 MiB.
    fn new(plan: Plan, random: Random, round: u64) -> Result<Self> {
        let of_bar = round % 3 == 2;
        let bench = match of_bar {
            true => places::bench_of_bar()?,
            false => Bench::new()?,
        };
        let mut random = random;
        // The first look finds that an invalidate is done: no delay of this thread is a time-out.
        bench.gpu.set_trigger_polls(0);
        let mut windows = KVec::new();
        // Not all of them each time: fewer tables are looked through in less time.
        let first = random.next();
        for window in places::windows::<F>(of_bar)
            .iter()
            .cycle()
            .skip(u64_as_usize(first % 6))
        {
            if windows.len() == 2 {
                break;
            }
            windows.push(window.clone(), GFP_KERNEL)?;
        }
        let mut areas = KVec::new();
        for pages in places::firmware_pages(of_bar) {
            let area = Area {
                number: Area::FIRMWARE,
                va: None,
                pages: pages.clone(),
            };
            areas.push(area, GFP_KERNEL)?;
        }

        let mut fragments = KVec::new();
        if round % 2 == 1 {
            fragment(&bench.data, &mut fragments)?;
        }

        Ok(Self {
            fragments,
            data_size: bench.data.avail(),
            bench,
            of_bar,
            plan,
            random,
            windows,
            oracle: Oracle::new(),
            areas,
            blocks: KVec::new(),
            pending: KVec::new(),
            quarantine: KVec::new(),
            stale: false,
            tables: KVec::new(),
            hung: false,
            next: 0,
        })
    }

    /// Takes steps, and ends with nothing held.
    fn round(mut self, steps: u64) -> Result {
        for number in 0..steps {
            let touched = self.step()?;
            self.check(&touched)
                .and_then(|()| match number % self.plan.compare_every {
                    0 => self.compare(),
                    _ => Ok(()),
                })
                .inspect_err(|_| {
                    pr_err!(
                        "seed {:#x}: step {} of a round, at pages {:#x?}\n",
                        self.plan.seed,
                        number,
                        touched
                    );
                })?;
        }
        self.compare()?;

        self.end()
    }
}

/// Allocates every second MiB, so that no more than one MiB is free in one piece.
fn fragment(data: &VramAllocator, fragments: &mut KVec<Vram>) -> Result {
    let mut freed = KVec::new();

    while let Ok(vram) = data.alloc(LARGE / 2 * PAGE_SIZE, PageSize::Size4K) {
        let start = vram.ranges().next().ok_or(EINVAL)?.start.into_raw() / PAGE_SIZE;
        match start % LARGE {
            // What is free starts as a large page would.
            0 => freed.push(vram, GFP_KERNEL)?,
            _ => fragments.push(vram, GFP_KERNEL)?,
        }
    }

    Ok(())
}

/// The number of steps in KUnit.
pub(crate) const PLAN: Plan = Plan {
    seed: 0x6e6f_7661,
    steps: 10_000,
    compare_every: 100,
    around_run: |run| run(),
};

#[kunit_tests(nova_mm_random_v2)]
mod suite {
    use super::*;
    use crate::mm::format::v2::MmuV2;

    #[test]
    fn random_operations_agree_with_an_oracle() -> Result {
        pr_info!("seed {:#x}, {} steps\n", PLAN.seed, PLAN.steps);

        PLAN.run::<MmuV2>()
    }
}

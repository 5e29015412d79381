// SPDX-License-Identifier: GPL-2.0

//! Random operations, compared with an oracle.
//!
//! A [`RandomTest`] consists of an address space on a GPU model, the expected mappings, memory to
//! be mapped, and jobs that have not run yet. It performs random steps. After each step,
//! translations must match the oracle, exactly the tables that the address space owns must be
//! reachable, and exactly the memory and tables that are not needed must be free.

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
        flag::Flag,
        format::{
            Access,
            Aperture,
            PageAttributes,
            PageSizes,
            PteKind, //
        },
        memory::{
            Backing,
            Coherence,
            Mappable,
            SysMemory, //
        },
        model::{
            Access as ModelAccess,
            Fault,
            GpuModel,
            Translation, //
        },
        vmm::{
            tests::fixture::{
                ensure,
                ensure_eq,
                vfns,
                Fixture,
                TestFormat,
                LARGE, //
            },
            Job,
            JobError, //
        },
        vram::{
            Vram,
            VramAllocator, //
        }, //
    },
    num::u64_as_usize, //
};

mod check;
pub(crate) mod layout;
mod ops;
mod oracle;

use self::oracle::{
    Extent,
    Oracle,
    Target, //
};

/// Parameters of a test.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Seed of the random numbers.
    pub(crate) seed: u64,
    /// Number of steps.
    pub(crate) steps: u64,
    /// Interval, in steps, at which all mappings are compared.
    pub(crate) compare_every: u64,
    /// Calls its argument, which runs a job. Host tests use it to forbid operations during the run.
    pub(crate) around_run: fn(&mut dyn FnMut()),
}

impl Plan {
    /// Number of steps with one address space before its teardown.
    const ROUND: u64 = 500;

    /// Performs the steps.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] or the error of an operation, after logging a message, if a check fails.
    pub(crate) fn run<F: TestFormat>(&self) -> Result {
        let mut random = Random::new(self.seed);
        let mut left = self.steps;
        let mut round = 0;

        while left > 0 {
            let steps = left.min(Self::ROUND);
            left -= steps;
            RandomTest::<F>::new(*self, random, round)?
                .round(steps)
                .inspect_err(|_| pr_err!("seed {:#x}, round {}\n", self.seed, round))?;
            random = Random::new(random.next());
            round += 1;
        }

        Ok(())
    }
}

/// A xorshift generator of pseudorandom numbers.
#[derive(Clone, Copy)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // The state must not be zero.
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

    /// Returns a number from `range`, which must not be empty.
    fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// Returns true once in `times` calls on average.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Returns the index of a random element, or [`None`] if there are no elements.
    fn pick<T>(&mut self, of: &[T]) -> Option<usize> {
        let count = u64::try_from(of.len()).ok().filter(|&count| count > 0)?;

        Some(u64_as_usize(self.below(count)))
    }
}

/// A block of allocated memory.
struct Block {
    number: u64,
    /// The handle, or [`None`] after it was dropped.
    memory: Option<Arc<dyn Mappable>>,
    aperture: Aperture,
    /// First page and number of pages of each contiguous run.
    runs: KVec<(u64, u64)>,
    /// Number of pages.
    pages: u64,
    /// Set when the owner is dropped. [`None`] for VRAM.
    is_freed: Option<Arc<Flag>>,
}

/// An owner of system memory that records when it is dropped.
struct Owner(Arc<Flag>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// The kind of a job.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Map,
    Unmap,
    Protect(Access),
}

/// A job that has been prepared and has not run.
struct PendingJob {
    job: Job,
    kind: Kind,
    pages: Range<u64>,
    /// The mappings that the job adds.
    extents: KVec<Extent>,
}

impl PendingJob {
    /// Returns whether the job maps the block with this number.
    fn maps(&self, memory: u64) -> bool {
        self.extents
            .iter()
            .any(|extent| extent.target.memory() == Some(memory))
    }
}

/// An address space, its expected mappings, and the objects that the steps use.
struct RandomTest<F: TestFormat> {
    fixture: Fixture<F>,
    /// Whether a BAR uses the address space, so that the root belongs to the firmware.
    of_bar: bool,
    /// Page sizes supported for VRAM, the largest one first.
    sizes: &'static [PageSize],
    plan: Plan,
    random: Random,
    /// Ranges in which memory is mapped.
    windows: KVec<Range<u64>>,
    oracle: Oracle,
    /// Mappings before the job whose invalidation failed.
    before: Oracle,
    /// Pages that this job has mapped or unmapped.
    replaced: Range<u64>,
    blocks: KVec<Block>,
    pending: KVec<PendingJob>,
    /// Numbers of the blocks that were unmapped since the failed invalidation.
    deferred: KVec<u64>,
    /// Whether an invalidation has failed, so that the TLB may be stale and jobs fail.
    stale: bool,
    /// Whether an invalidation hangs.
    hung: bool,
    /// Tables at the time when the TLB was last up to date.
    tables: KVec<VramAddress>,
    /// Number of the next block.
    next: u64,
    /// Allocated memory that fragments the free memory.
    fragments: KVec<Vram>,
    /// Size of the memory in bytes, allocated or not, excluding `fragments`.
    data_size: u64,
}

impl<F: TestFormat> RandomTest<F> {
    /// Creates a test in which only the firmware of a BAR has mappings.
    ///
    /// One round in three uses 512 MiB pages, and one a BAR. In one round in four, free memory is
    /// fragmented into blocks of 1 MiB, and in another one into small blocks.
    fn new(plan: Plan, random: Random, round: u64) -> Result<Self> {
        let (has_huge, of_bar) = (round % 3 == 1, round % 3 == 2);
        let fixture = if of_bar {
            layout::fixture_of_bar()?
        } else if has_huge {
            Fixture::with_page_sizes(
                layout::with_huge_pages::<F>(),
                PageSizes::COMMON.with(PageSize::Size512M),
            )?
        } else {
            Fixture::new()?
        };
        let mut random = random;
        // Invalidations complete at the first poll, so that a delayed thread does not run into a
        // timeout.
        fixture.gpu.set_trigger_polls(0);

        let mut fragments = KVec::new();
        match round % 4 {
            1 => fragment(&fixture.data, &mut fragments)?,
            3 => fragment_small(&fixture.data, &mut random, &mut fragments)?,
            _ => {}
        }

        Ok(Self {
            fragments,
            data_size: fixture.data.avail(),
            fixture,
            of_bar,
            sizes: match has_huge {
                true => &SIZES,
                false => &SIZES[1..],
            },
            windows: windows::<F>(&mut random, of_bar, has_huge)?,
            plan,
            random,
            oracle: Oracle::new(),
            before: Oracle::new(),
            replaced: 0..0,
            blocks: KVec::new(),
            pending: KVec::new(),
            deferred: KVec::new(),
            stale: false,
            hung: false,
            tables: KVec::new(),
            next: 0,
        })
    }

    /// Performs the steps, and checks that all memory is free at the end.
    fn round(mut self, steps: u64) -> Result {
        for number in 0..steps {
            let touched = self.step().inspect_err(|_| {
                pr_err!("step {} of a round\n", number);
            })?;
            self.check(&touched)
                .and_then(|()| match number % self.plan.compare_every {
                    0 => self.compare(),
                    _ => Ok(()),
                })
                .inspect_err(|_| {
                    pr_err!("step {} of a round, at pages {:#x?}\n", number, touched);
                })?;
        }
        self.compare()?;

        self.end()
    }
}

/// Page sizes for VRAM above 4 KiB.
const SIZES: [PageSize; 3] = [PageSize::Size512M, PageSize::Size2M, PageSize::Size64K];

/// Returns two ranges in which memory is mapped. Few ranges keep the number of tables to compare
/// low.
fn windows<F: TestFormat>(
    random: &mut Random,
    of_bar: bool,
    has_huge: bool,
) -> Result<KVec<Range<u64>>> {
    let all = layout::windows::<F>(of_bar);
    let first = match has_huge {
        true => layout::HUGE_WINDOW,
        false => random.pick(&all).unwrap_or(0),
    };
    let mut windows = KVec::new();
    for window in all.iter().cycle().skip(first).take(2) {
        windows.push(window.clone(), GFP_KERNEL)?;
    }

    Ok(windows)
}

/// Allocates every second MiB, so that free blocks have at most 1 MiB.
fn fragment(data: &VramAllocator, fragments: &mut KVec<Vram>) -> Result {
    let mut freed = KVec::new();

    while let Ok(vram) = data.alloc(LARGE / 2 * PAGE_SIZE, PageSize::Size4K) {
        let start = vram.ranges().next().ok_or(EINVAL)?.start.into_raw() / PAGE_SIZE;
        match start % LARGE {
            // Free blocks are aligned like large pages.
            0 => freed.push(vram, GFP_KERNEL)?,
            _ => fragments.push(vram, GFP_KERNEL)?,
        }
    }

    Ok(())
}

/// Allocates nearly all memory, and fragments the rest into blocks of all sizes from 4 KiB to 1
/// MiB.
fn fragment_small(data: &VramAllocator, random: &mut Random, fragments: &mut KVec<Vram>) -> Result {
    let rest = 16 * LARGE * PAGE_SIZE;
    fragments.push(
        data.alloc(data.avail() - rest, PageSize::Size2M)?,
        GFP_KERNEL,
    )?;
    let mut freed = KVec::new();

    while data.avail() > 0 {
        let size = PAGE_SIZE << random.below(9);
        let vram = data.alloc(size.min(data.avail()), PageSize::Size4K)?;
        match random.once_in(2) {
            true => freed.push(vram, GFP_KERNEL)?,
            false => fragments.push(vram, GFP_KERNEL)?,
        }
    }

    Ok(())
}

/// Parameters of the test in KUnit.
pub(crate) const PLAN: Plan = Plan {
    seed: 0x6e6f_7661,
    steps: 5_000,
    compare_every: 100,
    around_run: |run| run(),
};

#[kunit_tests(nova_core_mm_random_v2)]
mod suite {
    use super::*;
    use crate::mm::format::v2::MmuV2;

    #[test]
    fn random_operations_match_oracle() -> Result {
        pr_info!("seed {:#x}, {} steps\n", PLAN.seed, PLAN.steps);

        PLAN.run::<MmuV2>()
    }
}

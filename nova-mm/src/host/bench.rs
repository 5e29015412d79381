// SPDX-License-Identifier: GPL-2.0

//! Benchmarks of jobs on hardware that does nothing, so that only the driver is measured.

use crate::mm::{
    address::{PageSize, Vfn, VramAddress, PAGE_SIZE},
    format::{v2::MmuV2, Access, MmuFormat, PageAttributes, PageSizes},
    hw::{MmuConfig, MmuHw},
    memory::{Backing, Mappable},
    mmio::{DeviceBar, Mmio, Registers},
    pramin::{hal::tu102::TU102_HAL, Pramin},
    tlb::Tlb,
    vmm::{Job, Vmm},
    vram::{Vram, VramAllocator},
};
use kernel::{error::Result, host, prelude::*, sync::Arc};
use std::{hint::black_box, ops::Range, sync::Mutex};

const GIB: u64 = 1 << 30;

/// First mapped page, aligned to 1 GiB.
const FIRST_PAGE: u64 = 4 * GIB / PAGE_SIZE;

/// Registers and VRAM that ignore writes and read as zero, so that invalidations complete at once.
struct Nothing;

impl DeviceBar for Nothing {
    fn with(&self, access: &mut dyn FnMut(&dyn Mmio)) -> Result {
        access(self);
        Ok(())
    }
}

impl Mmio for Nothing {
    fn read32(&self, offset: usize) -> Result<u32> {
        black_box(offset);
        Ok(0)
    }

    fn read64(&self, offset: usize) -> Result<u64> {
        black_box(offset);
        Ok(0)
    }

    fn write32(&self, value: u32, offset: usize) -> Result {
        black_box((value, offset));
        Ok(())
    }

    fn write64(&self, value: u64, offset: usize) -> Result {
        black_box((value, offset));
        Ok(())
    }
}

/// Numbers of accesses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Writes of page table entries.
    pub entries: u64,
    /// Reads of VRAM.
    pub reads: u64,
    /// Writes of the register that programs the PRAMIN window.
    pub moves: u64,
    /// Accesses to the registers that invalidate the TLB.
    pub invalidates: u64,
    /// Maximum number of accesses in a hold of the hardware lock.
    pub longest_hold: u64,
}

/// The same as [`Nothing`], with access counts.
#[derive(Default)]
struct Counter(Mutex<State>);

#[derive(Default)]
struct State {
    counts: Counts,
    /// Number of accesses in the current hold of the hardware lock, and the thread's number of
    /// sleeps before it.
    hold: (u64, usize),
}

impl Counter {
    fn count(&self, offset: usize, is_write: bool) {
        let mut state = self.0.lock().unwrap();
        // The driver has a scheduling point between two holds.
        let sleeps = host::sleeps();
        if state.hold.1 != sleeps {
            state.hold = (0, sleeps);
        }
        state.hold.0 += 1;
        let hold = state.hold.0;
        let counts = &mut state.counts;
        counts.longest_hold = counts.longest_hold.max(hold);
        *match (offset, is_write) {
            (0x70_0000..0x80_0000, true) => &mut counts.entries,
            (0x70_0000..0x80_0000, false) => &mut counts.reads,
            (0x1700, true) => &mut counts.moves,
            _ => &mut counts.invalidates,
        } += 1;
    }
}

struct Shared(std::sync::Arc<Counter>);

impl DeviceBar for Shared {
    fn with(&self, access: &mut dyn FnMut(&dyn Mmio)) -> Result {
        access(&*self.0);
        Ok(())
    }
}

impl Mmio for Counter {
    fn read32(&self, offset: usize) -> Result<u32> {
        self.count(offset, false);
        Ok(0)
    }

    fn read64(&self, offset: usize) -> Result<u64> {
        self.count(offset, false);
        Ok(0)
    }

    fn write32(&self, _value: u32, offset: usize) -> Result {
        self.count(offset, true);
        Ok(())
    }

    fn write64(&self, _value: u64, offset: usize) -> Result {
        self.count(offset, true);
        Ok(())
    }
}

/// Operation of a job on the first pages of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Maps memory with 4 KiB pages.
    MapSmall,
    /// Maps memory with 2 MiB pages.
    MapLarge,
    /// Makes the mappings read-only.
    Protect,
    /// Unmaps the mappings.
    Unmap,
    /// Maps one page of fragmented memory.
    MapOne,
}

/// An address space, and a job in any stage.
pub struct Bench {
    vmm: Arc<Vmm>,
    pages: u64,
    vram: Arc<Vram>,
    job: Option<Job>,
    counter: Option<std::sync::Arc<Counter>>,
    /// Allocated memory between the blocks of fragmented `vram`.
    _gaps: Vec<Vram>,
}

fn hw(registers: Registers) -> Result<Arc<MmuHw>> {
    let config = MmuConfig {
        format: &MmuV2 as &'static dyn MmuFormat,
        page_sizes: PageSizes::COMMON,
        pramin: Pramin::new(TU102_HAL),
        tlb: Tlb::new(),
    };
    MmuHw::new(registers, config)
}

fn vram(range: Range<u64>) -> Result<VramAllocator> {
    VramAllocator::new(&[VramAddress::new(range.start)..VramAddress::new(range.end)])
}

fn vfns(pages: Range<u64>) -> Result<Range<Vfn>> {
    Ok(Vfn::new(pages.start)?..Vfn::new(pages.end)?)
}

impl Bench {
    /// Creates an empty address space, and memory for `pages` 4 KiB pages.
    pub fn new(pages: u64) -> Self {
        Self::on(Arc::new(Nothing, GFP_KERNEL).unwrap(), pages)
            .expect("creating the address space succeeds")
    }

    /// Creates the same with access counts.
    pub fn counting(pages: u64) -> Self {
        let counter = std::sync::Arc::new(Counter::default());
        let bar = Arc::new(Shared(counter.clone()), GFP_KERNEL).unwrap();
        let mut bench = Self::on(bar, pages).expect("creating the address space succeeds");
        bench.counter = Some(counter);
        bench
    }

    fn on(bar: Arc<dyn DeviceBar>, pages: u64) -> Result<Self> {
        // Leave enough memory for the tables of 64 GiB in 4 KiB pages.
        let memory = vram(GIB..GIB + pages.next_multiple_of(1 << 18) * PAGE_SIZE + 2 * GIB)?;
        let vmm = Vmm::new(
            hw(Registers::new(bar))?,
            memory.clone(),
            vfns(0..(1 << 49) / PAGE_SIZE)?,
        )?;
        // An additional page allows misaligned memory, and an additional large page other memory.
        let size = (pages + PageSize::Size2M.pages() + 1) * PAGE_SIZE;
        Ok(Self {
            vram: Arc::new(memory.alloc(size, PageSize::Size2M)?, GFP_KERNEL)?,
            vmm,
            pages,
            job: None,
            counter: None,
            _gaps: Vec::new(),
        })
    }

    /// Creates the same with memory of `blocks` separate one-page blocks.
    pub fn fragmented(blocks: u64) -> Self {
        Self::try_fragmented(blocks).expect("creating the address space succeeds")
    }

    fn try_fragmented(blocks: u64) -> Result<Self> {
        let mut bench = Self::on(Arc::new(Nothing, GFP_KERNEL)?, 1)?;
        let memory = vram(8 * GIB..8 * GIB + 2 * blocks * PAGE_SIZE)?;
        let all: Vec<_> = (0..2 * blocks)
            .map(|_| memory.alloc(PAGE_SIZE, PageSize::Size4K))
            .collect::<Result<_>>()?;
        let (free, gaps): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| {
            it.run(0)
                .is_some_and(|run| run.address / PAGE_SIZE % 2 == 0)
        });
        drop(free);
        let vram = memory.alloc(blocks * PAGE_SIZE, PageSize::Size4K)?;
        assert_eq!(vram.ranges().count() as u64, blocks);
        bench.vram = Arc::new(vram, GFP_KERNEL)?;
        bench._gaps = gaps;
        Ok(bench)
    }

    /// Prepares a job for the first pages.
    pub fn prepare(&mut self, operation: Operation) {
        let pages = FIRST_PAGE..FIRST_PAGE + self.pages;
        self.prepare_at(operation, pages);
    }

    /// Prepares a job for `pages`.
    pub fn prepare_at(&mut self, operation: Operation, pages: Range<u64>) {
        let job = self.try_prepare(operation, pages);
        self.job = Some(job.expect("preparing the job succeeds"));
    }

    fn try_prepare(&self, operation: Operation, pages: Range<u64>) -> Result<Job> {
        let pages = vfns(pages)?;
        let first = match operation {
            Operation::MapSmall => 1,
            Operation::MapOne => self.vram.pages() - 1,
            _ => 0,
        };
        match operation {
            Operation::MapSmall | Operation::MapLarge | Operation::MapOne => {
                let backing = Backing::new(self.vram.clone(), first, PageAttributes::default());
                self.vmm.prepare_map(pages, backing)
            }
            Operation::Protect => self.vmm.prepare_protect(pages, Access::ReadOnly),
            Operation::Unmap => self.vmm.prepare_unmap(pages),
        }
    }

    /// Runs the prepared job.
    pub fn run(&mut self) {
        let job = self.job.as_mut().expect("a job is prepared");
        job.run().expect("running the job succeeds");
    }

    /// Frees the job.
    pub fn free(&mut self) {
        self.job.take().expect("a job is prepared").free();
    }

    /// Prepares, runs and frees a job.
    pub fn complete(&mut self, operation: Operation) {
        self.prepare(operation);
        self.run();
        self.free();
    }

    /// Returns the accesses since the last call.
    pub fn take_counts(&self) -> Counts {
        let counter = self
            .counter
            .as_ref()
            .expect("the benchmark counts accesses");
        std::mem::take(&mut *counter.0.lock().unwrap()).counts
    }

    /// Tears down the address space.
    pub fn teardown(&self) {
        self.vmm.teardown().expect("the teardown succeeds");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.job = None;
        self.teardown();
    }
}

/// Returns the number of bytes of system memory that a mapping of `pages` 4 KiB pages uses,
/// including its page tables.
pub fn system_memory(pages: u64) -> u64 {
    let mut bench = Bench::new(pages);
    let before = host::live_bytes();
    bench.complete(Operation::MapSmall);
    (host::live_bytes() - before).try_into().unwrap()
}

/// Maps `count` single pages that are not adjacent, each with a separate mapping. Returns the
/// accesses of the teardown.
pub fn teardown_of(count: u64) -> Counts {
    let mut bench = Bench::counting(2);
    for number in 0..count {
        let page = FIRST_PAGE + 2 * number;
        bench.prepare_at(Operation::MapSmall, page..page + 1);
        bench.run();
        bench.free();
    }
    bench.take_counts();
    bench.teardown();
    bench.take_counts()
}

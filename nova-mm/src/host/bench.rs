// SPDX-License-Identifier: GPL-2.0

//! Jobs to be measured, on hardware that does nothing: what remains is the driver's own work.

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

/// The first page that is mapped, aligned to 1 GiB.
const FIRST_PAGE: u64 = 4 * GIB / PAGE_SIZE;

/// Registers and VRAM that accept what is written and read as zero: an invalidation is done at once.
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

/// Accesses, counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Writes of page table entries.
    pub entries: u64,
    /// Reads of VRAM.
    pub reads: u64,
    /// Writes of the register that moves the PRAMIN window.
    pub moves: u64,
    /// Accesses to the registers that invalidate the TLB.
    pub invalidates: u64,
    /// The most accesses in a hold of the hardware lock.
    pub longest_hold: u64,
}

/// The same as [`Nothing`], but it counts.
#[derive(Default)]
struct Counter(Mutex<State>);

#[derive(Default)]
struct State {
    counts: Counts,
    /// Accesses in the present hold of the hardware lock, and how often the thread had slept before.
    hold: (u64, usize),
}

impl Counter {
    fn count(&self, offset: usize, is_write: bool) {
        let mut state = self.0.lock().unwrap();
        // Between two holds there is a scheduling point.
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

/// What a job does with the first pages of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Maps memory in pages of 4 KiB.
    MapSmall,
    /// Maps memory in pages of 2 MiB.
    MapLarge,
    /// Makes what is mapped read-only.
    Protect,
    /// Unmaps what is mapped.
    Unmap,
    /// Maps one page of fragmented memory.
    MapOne,
}

/// An address space, and a job in one of its stages.
pub struct Bench {
    vmm: Arc<Vmm>,
    pages: u64,
    vram: Arc<Vram>,
    job: Option<Job>,
    counter: Option<std::sync::Arc<Counter>>,
    /// Memory between the blocks of `vram`, if that is fragmented.
    _gaps: Vec<Vram>,
}

fn hw(registers: Registers) -> Result<Arc<MmuHw>> {
    let config = MmuConfig {
        format: &MmuV2 as &'static dyn MmuFormat,
        page_sizes: PageSizes::COMMON,
        pramin: Pramin::with_hal(TU102_HAL),
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
    /// Makes an address space of which no page is mapped, and memory for `pages` pages of 4 KiB.
    pub fn new(pages: u64) -> Self {
        Self::on(Arc::new(Nothing, GFP_KERNEL).unwrap(), pages).expect("there is memory")
    }

    /// Makes one that counts accesses.
    pub fn counting(pages: u64) -> Self {
        let counter = std::sync::Arc::new(Counter::default());
        let bar = Arc::new(Shared(counter.clone()), GFP_KERNEL).unwrap();
        let mut bench = Self::on(bar, pages).expect("there is memory");
        bench.counter = Some(counter);
        bench
    }

    fn on(bar: Arc<dyn DeviceBar>, pages: u64) -> Result<Self> {
        // Enough for the tables of 64 GiB in pages of 4 KiB as well.
        let memory = vram(GIB..GIB + pages.next_multiple_of(1 << 18) * PAGE_SIZE + 2 * GIB)?;
        let vmm = Vmm::new(
            hw(Registers::new(bar))?,
            memory.clone(),
            vfns(0..(1 << 49) / PAGE_SIZE)?,
        )?;
        // One page more, to start at one that is not aligned; and one large page for another turn.
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

    /// Makes one whose memory has `blocks` blocks of one page, none next to another.
    pub fn fragmented(blocks: u64) -> Self {
        Self::try_fragmented(blocks).expect("there is memory")
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

    /// The first stage of a job.
    pub fn prepare(&mut self, operation: Operation) {
        let pages = FIRST_PAGE..FIRST_PAGE + self.pages;
        self.prepare_at(operation, pages);
    }

    /// The same for other pages.
    pub fn prepare_at(&mut self, operation: Operation, pages: Range<u64>) {
        let job = self.try_prepare(operation, pages);
        self.job = Some(job.expect("there is memory"));
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

    /// The second stage.
    pub fn run(&mut self) {
        let job = self.job.as_mut().expect("a job is prepared");
        job.run().expect("the job works");
    }

    /// The third stage.
    pub fn free(&mut self) {
        self.job.take().expect("a job has run").free();
    }

    /// All stages.
    pub fn complete(&mut self, operation: Operation) {
        self.prepare(operation);
        self.run();
        self.free();
    }

    /// Returns the accesses since the last call.
    pub fn take_counts(&self) -> Counts {
        let counter = self.counter.as_ref().expect("accesses are counted");
        std::mem::take(&mut *counter.0.lock().unwrap()).counts
    }

    /// Unmaps everything.
    pub fn teardown(&self) {
        self.vmm.teardown().expect("it is torn down");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.job = None;
        self.teardown();
    }
}

/// Returns the bytes of system memory that the page tables and the mapping of `pages` pages of 4 KiB
/// take, in one mapping.
pub fn system_memory(pages: u64) -> u64 {
    let mut bench = Bench::new(pages);
    let before = host::live_bytes();
    bench.complete(Operation::MapSmall);
    (host::live_bytes() - before).try_into().unwrap()
}

/// Maps `count` single pages, each in a mapping of its own and not next to another, and returns the
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

// SPDX-License-Identifier: GPL-2.0

//! Jobs to be measured, on hardware that does nothing: what is left is the driver's own work.

use crate::mm::{
    address::{PageSize, Vfn, VramAddress, PAGE_SIZE},
    format::{v2::MmuV2, Format, PageSizes},
    mmio::Mmio,
    mmu::Mmu,
    pramin::{hal::tu102::TU102_HAL, Pramin},
    tlb::Tlb,
    va::{VaRange, VaRequest},
    vmm::{
        job::{Access, Memory, Ran, Submitted},
        Vmm,
    },
    vram::{Vram, VramAllocator},
};
use kernel::{error::Result, new_mutex, prelude::*, sync::Arc, sync::Mutex};

const GIB: u64 = 1 << 30;

/// The first page that is mapped, aligned to 1 GiB.
const FIRST_PAGE: u64 = 4 * GIB / PAGE_SIZE;

/// Registers and VRAM that take what is written and read as zero: an invalidate is done at once.
struct Nothing;

impl Mmio for Nothing {
    fn read32(&self, _offset: usize) -> Result<u32> {
        Ok(0)
    }

    fn read64(&self, _offset: usize) -> Result<u64> {
        Ok(0)
    }

    fn write32(&self, _value: u32, _offset: usize) -> Result {
        Ok(())
    }

    fn write64(&self, _value: u64, _offset: usize) -> Result {
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
}

/// An address space, and a job in one of its stages.
pub struct Bench {
    mmu: Pin<KBox<Mutex<Mmu>>>,
    vmm: Arc<Vmm<MmuV2>>,
    va: Arc<VaRange>,
    vram: Arc<Vram>,
    submitted: Option<Submitted<MmuV2>>,
    ran: Option<Ran<MmuV2>>,
}

impl Bench {
    /// Makes an address space with so many pages of 4 KiB, at most 1 GiB, of which none is mapped.
    pub fn new(pages: u64) -> Self {
        Self::try_new(pages).expect("there is memory")
    }

    fn try_new(pages: u64) -> Result<Self> {
        let mmu = Mmu {
            pramin: Pramin::with_hal(TU102_HAL),
            tlb: Tlb::new(),
            page_sizes: PageSizes::COMMON,
        };
        let mmu = KBox::pin_init(new_mutex!(mmu, "nova_mm_bench"), GFP_KERNEL)?;
        let region = VramAddress::new(GIB)..VramAddress::new(4 * GIB);
        let memory = VramAllocator::new(&[region])?;
        let limits = Vfn::new(0)?..Vfn::new((1 << MmuV2::VA_BITS) / PAGE_SIZE)?;
        let vmm = Vmm::new(limits, memory.clone(), &mmu, &Nothing)?;
        let fixed = Vfn::new(FIRST_PAGE)?..Vfn::new(FIRST_PAGE + pages)?;
        // One page more, to start at one that is not aligned; and one large page for another turn.
        let size = (pages + PageSize::Size2M.pages() + 1) * PAGE_SIZE;
        Ok(Self {
            va: vmm.reserve(VaRequest::Fixed(fixed))?,
            vram: Arc::new(memory.alloc(size, PageSize::Size2M)?, GFP_KERNEL)?,
            mmu,
            vmm,
            submitted: None,
            ran: None,
        })
    }

    /// The first stage of a job.
    pub fn submit(&mut self, operation: Operation) {
        self.submitted = Some(self.try_submit(operation).expect("there is memory"));
    }

    fn try_submit(&self, operation: Operation) -> Result<Submitted<MmuV2>> {
        let pages = self.va.pages();
        let offset = match operation {
            Operation::MapSmall => PAGE_SIZE,
            _ => 0,
        };
        match operation {
            Operation::MapSmall | Operation::MapLarge => {
                let vram = self.vram.clone();
                let memory = Memory { vram, offset };
                self.vmm
                    .submit_map(&self.va, pages, memory, Access::ReadWrite)
            }
            Operation::Protect => self.vmm.submit_protect(&self.va, pages, Access::ReadOnly),
            Operation::Unmap => self.vmm.submit_unmap(&self.va, pages),
        }
    }

    /// The second stage.
    pub fn run(&mut self) {
        let submitted = self.submitted.take().expect("a job is submitted");
        self.ran = Some(submitted.run(&self.mmu, &Nothing));
    }

    /// The third stage.
    pub fn clean_up(&mut self) {
        let ran = self.ran.take().expect("a job is run");
        ran.cleanup().expect("the job works");
    }

    /// All stages.
    pub fn complete(&mut self, operation: Operation) {
        self.submit(operation);
        self.run();
        self.clean_up();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.vmm
            .teardown(&self.mmu, &Nothing)
            .expect("it is torn down");
    }
}

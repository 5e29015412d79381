// SPDX-License-Identifier: GPL-2.0

//! Tests on the hardware, when the driver is bound to a GPU.
//!
//! They use memory that they have allocated, and leave nothing behind. That one fails is for the
//! caller to report; it does not break anything.

use core::ops::Range;

use kernel::{
    fmt,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::{
    mm::{
        address::{
            PageSize,
            Vfn,
            VirtualAddress,
            VramAddress,
            PAGE_SIZE, //
        },
        bar1::{
            Bar1,
            Bar1Mapping, //
        },
        format::Format,
        mmio::Mmio,
        mmu::Mmu,
        va::VaRequest,
        vmm::{
            job::{
                Access,
                Memory,
                Submitted, //
            },
            Vmm, //
        },
        vram::{
            Vram,
            VramAllocator, //
        },
        walk::{
            walk,
            Found, //
        }, //
    },
    num::u64_as_usize, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// What the tests use.
pub(crate) struct SelfTest<'a, F: Format> {
    /// Where the memory comes from.
    pub(crate) vram: &'a VramAllocator,
    /// The hardware lock.
    pub(crate) mmu: &'a Mutex<Mmu>,
    /// The address space behind BAR1.
    pub(crate) bar1: &'a Arc<Bar1<F>>,
    /// BAR0.
    pub(crate) bar0: &'a dyn Mmio,
    /// BAR1.
    pub(crate) aperture: &'a dyn Mmio,
}

/// A test: its name, and what it does.
type Test<'a, F> = (&'static str, fn(&SelfTest<'a, F>) -> Result<(), Defect>);

/// What has gone wrong in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Something could not be done.
    Failed(Error),
    /// Memory, or an entry of a page table, was not what it had to be.
    Wrong {
        /// Which one.
        what: &'static str,
        /// What it had to be.
        expected: u64,
        /// What it was.
        found: u64,
    },
}

impl From<Error> for Defect {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "{:?}", error),
            Self::Wrong {
                what,
                expected,
                found,
            } => write!(f, "{}: expected {:#x}, found {:#x}", what, expected, found),
        }
    }
}

/// Checks that `found` is what was `expected`.
fn check(what: &'static str, expected: u64, found: u64) -> Result<(), Defect> {
    if expected == found {
        return Ok(());
    }

    Err(Defect::Wrong {
        what,
        expected,
        found,
    })
}

/// Returns a value to write at `offset`, in bytes: both halves of it are different everywhere.
const fn pattern(offset: u64) -> u64 {
    let low = offset ^ 0xa5a5_a5a5;

    (!low << 32) | (low & 0xffff_ffff)
}

/// Returns where the byte at `offset` of `memory` is.
fn address_in(memory: &Vram, offset: u64) -> Result<VramAddress> {
    let mut offset = offset;
    for range in memory.ranges() {
        let size = range.end.into_raw() - range.start.into_raw();
        if offset < size {
            return range.start.checked_add(offset);
        }
        offset -= size;
    }

    Err(EINVAL)
}

impl<'a, F: Format> SelfTest<'a, F> {
    /// All tests.
    pub(crate) const ALL: [Test<'a, F>; 5] = [
        ("PRAMIN", Self::pramin),
        ("page tables", Self::own_tables),
        ("BAR1", Self::both_ways),
        ("BAR1, TLB", Self::other_memory),
        ("BAR1, page of 2 MiB", Self::large_page),
    ];

    /// What is written through PRAMIN is read back, within one position of the window and in
    /// another.
    fn pramin(&self) -> Result<(), Defect> {
        let size = PageSize::Size2M.bytes();
        let memory = self.vram.alloc(size, PageSize::Size2M)?;
        let offsets = [0, 8, size / 2 - 8, size / 2, size - 8];

        for offset in offsets {
            self.write(&memory, offset, pattern(offset))?;
        }
        for offset in offsets {
            check("word", pattern(offset), self.read(&memory, offset)?)?;
        }

        let mut mmu = self.mmu.lock();
        let mut window = mmu.pramin.window(self.bar0);
        let address = address_in(&memory, 0)?;
        let low = window.read32(address)?;
        let high = window.read32(address.checked_add(4)?)?;
        check("low half", pattern(0) & 0xffff_ffff, low.into())?;
        check("high half", pattern(0) >> 32, high.into())
    }

    /// The tables of an address space that nobody uses say what was mapped, and what was changed.
    fn own_tables(&self) -> Result<(), Defect> {
        let pages = Vfn::new(0)?..Vfn::new(PageSize::Size2M.pages())?;
        let vmm = Vmm::<F>::new(pages.clone(), self.vram.clone(), self.mmu, self.bar0)?;

        let found = self.change_tables(&vmm, pages);
        // Whatever was wrong, nothing stays mapped.
        vmm.teardown(self.mmu, self.bar0)?;

        found
    }

    fn change_tables(&self, vmm: &Arc<Vmm<F>>, pages: Range<Vfn>) -> Result<(), Defect> {
        let size = PageSize::Size2M;
        let memory = Memory {
            vram: self.memory(size.bytes(), size)?,
            offset: 0,
        };
        let va = vmm.reserve(VaRequest::Fixed(pages.clone()))?;
        let map = || vmm.submit_map(&va, pages.clone(), memory.clone(), Access::ReadWrite);
        let middle = pages.start.checked_add(size.pages() / 2)?;

        map()?.cancel();
        self.check_page(vmm, middle, None)?;

        self.run(map()?)?;
        self.check_page(vmm, middle, Some((size, false)))?;

        // The page of 2 MiB has to be split for that.
        let one = middle..middle.checked_add(1)?;
        self.run(vmm.submit_protect(&va, one, Access::ReadOnly)?)?;
        self.check_page(vmm, middle, Some((PageSize::Size4K, true)))?;
        self.check_page(vmm, pages.start, Some((PageSize::Size4K, false)))?;

        self.run(vmm.submit_unmap(&va, pages)?)?;
        self.check_page(vmm, middle, None)
    }

    /// Runs a job, and cleans up after it.
    fn run(&self, job: Submitted<F>) -> Result {
        let ran = job.run(self.mmu, self.bar0);
        let result = ran.result();

        ran.cleanup().and(result)
    }

    /// Checks the size of a page that is mapped, and whether it is read-only, in the page tables.
    fn check_page(
        &self,
        vmm: &Vmm<F>,
        page: Vfn,
        expected: Option<(PageSize, bool)>,
    ) -> Result<(), Defect> {
        let found = match self.walk(vmm.pdb(), page.address())? {
            Found::Page { pte, size } => Some((size, pte.read_only)),
            Found::Nothing => None,
            _ => return Err(Defect::Failed(EIO)),
        };
        // What is compared: the size in bytes, zero if nothing is mapped, and one if read-only.
        let number = |page: Option<(PageSize, bool)>| {
            page.map_or(0, |(size, read_only)| size.bytes() | u64::from(read_only))
        };

        check("page", number(expected), number(found))
    }

    /// What is written through BAR1 is read through PRAMIN, and the other way round, and two
    /// mappings of the same memory agree.
    fn both_ways(&self) -> Result<(), Defect> {
        let size = 4 * PAGE_SIZE;
        let memory = self.memory(size, PageSize::Size4K)?;
        let mapping = self.map(&memory, 0, size, Access::ReadWrite)?;
        let last_page = self.map(&memory, size - PAGE_SIZE, PAGE_SIZE, Access::ReadOnly)?;

        for offset in (0..size).step_by(u64_as_usize(PAGE_SIZE)) {
            let at = u64_as_usize(offset);

            mapping.write64(self.aperture, pattern(offset), at)?;
            // The write has arrived once something has been read.
            check("BAR1", pattern(offset), mapping.read64(self.aperture, at)?)?;
            check("PRAMIN", pattern(offset), self.read(&memory, offset)?)?;

            self.write(&memory, offset, !pattern(offset))?;
            let low = mapping.read32(self.aperture, at)?;
            check("BAR1", !pattern(offset) & 0xffff_ffff, low.into())?;
        }
        mapping.write32(self.aperture, 0x1234_5678, 4)?;
        let high = mapping.read32(self.aperture, 4)?;
        check("high half", 0x1234_5678, high.into())?;

        let expected = !pattern(size - PAGE_SIZE);
        check(
            "second mapping",
            expected,
            last_page.read64(self.aperture, 0)?,
        )?;

        last_page.unmap(self.mmu, self.bar0)?;
        Ok(mapping.unmap(self.mmu, self.bar0)?)
    }

    /// An address that is mapped to other memory gives access to that.
    fn other_memory(&self) -> Result<(), Defect> {
        let mut before = None;

        for value in [pattern(0), pattern(8)] {
            let memory = self.memory(PAGE_SIZE, PageSize::Size4K)?;
            let mapping = self.map(&memory, 0, PAGE_SIZE, Access::ReadWrite)?;
            // There are no other mappings now, so the highest free address is the same again.
            let address = mapping.address().into_raw();
            check("address", before.unwrap_or(address), address)?;
            before = Some(address);

            self.write(&memory, 0, value)?;
            check("word", value, mapping.read64(self.aperture, 0)?)?;
            mapping.unmap(self.mmu, self.bar0)?;
        }

        Ok(())
    }

    /// Memory of 2 MiB is mapped by one entry, which is gone after it is unmapped.
    fn large_page(&self) -> Result<(), Defect> {
        let size = PageSize::Size2M.bytes();
        let memory = self.memory(size, PageSize::Size2M)?;
        let mapping = self.map(&memory, 0, size, Access::ReadWrite)?;
        let address = mapping.address();

        let last = size - 8;
        self.write(&memory, last, pattern(last))?;
        let found = mapping.read64(self.aperture, u64_as_usize(last))?;
        check("last word", pattern(last), found)?;

        let start = address_in(&memory, 0)?;
        match self.walk(self.bar1.root(), address)? {
            Found::Page { pte, size: page } => {
                check("size of the page", size, page.bytes())?;
                check("address of the page", start.into_raw(), pte.address)?;
            }
            _ => return Err(Defect::Failed(ENOENT)),
        }
        mapping.unmap(self.mmu, self.bar0)?;

        match self.walk(self.bar1.root(), address)? {
            Found::Nothing => Ok(()),
            _ => Err(Defect::Failed(EEXIST)),
        }
    }

    fn memory(&self, size: u64, min_page: PageSize) -> Result<Arc<Vram>> {
        Ok(Arc::new(self.vram.alloc(size, min_page)?, GFP_KERNEL)?)
    }

    fn map(
        &self,
        memory: &Arc<Vram>,
        offset: u64,
        size: u64,
        access: Access,
    ) -> Result<Bar1Mapping<F>> {
        let memory = Memory {
            vram: memory.clone(),
            offset,
        };

        self.bar1.map(memory, size, access, self.mmu, self.bar0)
    }

    /// Writes a word through PRAMIN.
    fn write(&self, memory: &Vram, offset: u64, value: u64) -> Result {
        let mut mmu = self.mmu.lock();
        let mut window = mmu.pramin.window(self.bar0);
        window.write64(address_in(memory, offset)?, value)?;

        window.finish().map(|_| ())
    }

    /// Reads a word through PRAMIN.
    fn read(&self, memory: &Vram, offset: u64) -> Result<u64> {
        let mut mmu = self.mmu.lock();

        mmu.pramin
            .window(self.bar0)
            .read64(address_in(memory, offset)?)
    }

    /// Finds out from the page tables themselves what is mapped.
    fn walk(&self, root: VramAddress, address: VirtualAddress) -> Result<Found> {
        let mut mmu = self.mmu.lock();
        let sizes = mmu.page_sizes;
        let mut window = mmu.pramin.window(self.bar0);
        let mut read = |address| window.read64(address);

        Ok(walk::<F>(&mut read, sizes, root, address)?.found)
    }
}

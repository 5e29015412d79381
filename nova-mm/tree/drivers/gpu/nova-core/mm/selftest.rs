// SPDX-License-Identifier: GPL-2.0

//! Tests on the hardware, when the driver is bound to a GPU.
//!
//! They use memory that they have allocated, and leave nothing behind. That one fails is for the
//! caller to report; it does not break anything.

use kernel::{
    fmt,
    prelude::*,
    sync::Arc, //
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
        bar1::Bar1Mapping,
        format::{
            Access,
            PageAttributes,
            PteKind, //
        },
        gpu_mm::GpuMm,
        memory::{
            Backing,
            Coherence,
            SysMemory, //
        },
        vmm::{
            Job,
            PdbRef,
            Vmm, //
        },
        vram::Vram,
        walk::{
            walk,
            Found, //
        }, //
    },
    num::u64_as_usize, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// The tests, on the memory of a GPU.
pub(crate) struct SelfTest<'a>(pub(crate) &'a GpuMm);

/// A test: its name, and what it does.
type Test<'a> = (&'static str, fn(&SelfTest<'a>) -> Result<(), SelfTestError>);

/// What has gone wrong in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SelfTestError {
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

impl From<Error> for SelfTestError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for SelfTestError {
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
fn check(what: &'static str, expected: u64, found: u64) -> Result<(), SelfTestError> {
    if expected == found {
        return Ok(());
    }

    Err(SelfTestError::Wrong {
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

impl<'a> SelfTest<'a> {
    /// All tests.
    pub(crate) const ALL: [Test<'a>; 6] = [
        ("PRAMIN", Self::pramin),
        ("page tables", Self::own_tables),
        ("page tables, other memory", Self::other_memory_in_tables),
        ("BAR1", Self::both_ways),
        ("BAR1, TLB", Self::other_memory),
        ("BAR1, page of 2 MiB", Self::large_page),
    ];

    /// What is written through PRAMIN is read back, within one position of the window and in
    /// another.
    fn pramin(&self) -> Result<(), SelfTestError> {
        let size = PageSize::Size2M.bytes();
        let memory = self.0.vram().alloc(size, PageSize::Size2M)?;
        let offsets = [0, 8, size / 2 - 8, size / 2, size - 8];

        for offset in offsets {
            self.write(&memory, offset, pattern(offset))?;
        }
        for offset in offsets {
            check("word", pattern(offset), self.read(&memory, offset)?)?;
        }

        let address = address_in(&memory, 0)?;
        let (low, high) = self.0.hw().vram().access(2, |window| {
            let low = window.read32(address)?;

            Ok((low, window.read32(address.checked_add(4)?)?))
        })?;
        check("low half", pattern(0) & 0xffff_ffff, low.into())?;
        check("high half", pattern(0) >> 32, high.into())
    }

    /// The tables of an unused address space contain what was mapped, and what was changed.
    fn own_tables(&self) -> Result<(), SelfTestError> {
        let pages = Vfn::new(0)?..Vfn::new(PageSize::Size2M.pages())?;
        let vmm = Vmm::new(self.0.hw().clone(), self.0.vram().clone(), pages)?;

        let found = self.change_tables(&vmm);
        // Whatever was wrong, nothing stays mapped.
        vmm.teardown()?;

        found
    }

    fn change_tables(&self, vmm: &Arc<Vmm>) -> Result<(), SelfTestError> {
        let size = PageSize::Size2M;
        let pages = Vfn::new(0)?..Vfn::new(size.pages())?;
        let memory = self.memory(size.bytes(), size)?;
        let pdb = vmm.pdb();
        let map = || {
            let backing = Backing::new(memory.clone(), 0, PageAttributes::default());
            vmm.prepare_map(pages.clone(), backing)
        };
        let middle = pages.start.checked_add(size.pages() / 2)?;

        map()?.free();
        self.check_page(&pdb, middle, None)?;

        run(map()?)?;
        self.check_page(&pdb, middle, Some((size, false)))?;

        // The page of 2 MiB has to be split for that.
        let one = middle..middle.checked_add(1)?;
        run(vmm.prepare_protect(one, Access::ReadOnly)?)?;
        self.check_page(&pdb, middle, Some((PageSize::Size4K, true)))?;
        self.check_page(&pdb, pages.start, Some((PageSize::Size4K, false)))?;

        run(vmm.prepare_unmap(pages.clone())?)?;
        self.check_page(&pdb, middle, None)
    }

    /// The tables of an unused address space contain system memory and sparse ranges that were
    /// mapped. As nothing uses the address space, nothing accesses that memory.
    fn other_memory_in_tables(&self) -> Result<(), SelfTestError> {
        let pages = Vfn::new(0)?..Vfn::new(PageSize::Size2M.pages())?;
        let vmm = Vmm::new(self.0.hw().clone(), self.0.vram().clone(), pages)?;

        let found = self.map_other_memory(&vmm);
        vmm.teardown()?;

        found
    }

    fn map_other_memory(&self, vmm: &Arc<Vmm>) -> Result<(), SelfTestError> {
        const DMA: [u64; 2] = [0x10_0000, 0x8000_0000];

        let size = PageSize::Size2M;
        let pdb = vmm.pdb();
        let all = Vfn::new(0)?..Vfn::new(size.pages())?;
        run(vmm.prepare_map(all.clone(), Backing::sparse())?)?;

        for (coherence, start) in [(Coherence::Coherent, 3), (Coherence::NonCoherent, 7)] {
            let ranges = DMA.into_iter().map(|address| (address, PAGE_SIZE));
            let memory = SysMemory::new(ranges, coherence, ())?;
            let memory = Arc::new(memory, GFP_KERNEL).map_err(Error::from)?;
            let attributes = PageAttributes {
                kind: PteKind::Generic,
                privileged: true,
                ..PageAttributes::default()
            };
            let pages = Vfn::new(start)?..Vfn::new(start + 2)?;
            run(vmm.prepare_map(pages, Backing::new(memory, 0, attributes))?)?;
        }
        // What was written before is invalidated once more.
        vmm.retry_invalidate()?;

        for start in [3, 7] {
            for (page, address) in (start..).zip(DMA) {
                match self.walk(&pdb, Vfn::new(page)?.address())? {
                    Found::Page { pte, .. } => check("address of the page", address, pte.address)?,
                    _ => return Err(SelfTestError::Failed(ENOENT)),
                }
            }
        }
        for page in [0, 2, 5, 9, size.pages() - 1] {
            if self.walk(&pdb, Vfn::new(page)?.address())? != Found::Sparse {
                return Err(SelfTestError::Failed(EINVAL));
            }
        }

        Ok(run(vmm.prepare_unmap(all)?)?)
    }

    /// Checks the size of a page that is mapped, and whether it is read-only, in the page tables.
    fn check_page(
        &self,
        pdb: &PdbRef,
        page: Vfn,
        expected: Option<(PageSize, bool)>,
    ) -> Result<(), SelfTestError> {
        let found = match self.walk(pdb, page.address())? {
            Found::Page { pte, size } => Some((size, pte.read_only)),
            Found::Invalid => None,
            _ => return Err(SelfTestError::Failed(EIO)),
        };
        // What is compared: the size in bytes, zero if nothing is mapped, and one if read-only.
        let number = |page: Option<(PageSize, bool)>| {
            page.map_or(0, |(size, read_only)| size.bytes() | u64::from(read_only))
        };

        check("page", number(expected), number(found))
    }

    /// What is written through BAR1 is read through PRAMIN, and the other way round, and two
    /// mappings of the same memory agree.
    fn both_ways(&self) -> Result<(), SelfTestError> {
        let size = 4 * PAGE_SIZE;
        let memory = self.memory(size, PageSize::Size4K)?;
        let mapping = self.map(&memory, 0, size, Access::ReadWrite)?;
        let last_page = self.map(&memory, size - PAGE_SIZE, PAGE_SIZE, Access::ReadOnly)?;

        for offset in (0..size).step_by(u64_as_usize(PAGE_SIZE)) {
            let at = u64_as_usize(offset);

            mapping.write64(pattern(offset), at)?;
            // The write has arrived once something has been read.
            check("BAR1", pattern(offset), mapping.read64(at)?)?;
            check("PRAMIN", pattern(offset), self.read(&memory, offset)?)?;

            self.write(&memory, offset, !pattern(offset))?;
            let low = mapping.read32(at)?;
            check("BAR1", !pattern(offset) & 0xffff_ffff, low.into())?;
        }
        mapping.write32(0x1234_5678, 4)?;
        let high = mapping.read32(4)?;
        check("high half", 0x1234_5678, high.into())?;

        let expected = !pattern(size - PAGE_SIZE);
        check("second mapping", expected, last_page.read64(0)?)?;

        last_page.unmap()?;
        Ok(mapping.unmap()?)
    }

    /// An address that is mapped to other memory gives access to that.
    fn other_memory(&self) -> Result<(), SelfTestError> {
        let mut before = None;

        for value in [pattern(0), pattern(8)] {
            let memory = self.memory(PAGE_SIZE, PageSize::Size4K)?;
            let mapping = self.map(&memory, 0, PAGE_SIZE, Access::ReadWrite)?;
            // There are no other mappings now, so the highest free address is the same again.
            let address = mapping.address().into_raw();
            check("address", before.unwrap_or(address), address)?;
            before = Some(address);

            self.write(&memory, 0, value)?;
            check("word", value, mapping.read64(0)?)?;
            mapping.unmap()?;
        }

        Ok(())
    }

    /// Memory of 2 MiB is mapped by one entry, which is gone after it is unmapped.
    fn large_page(&self) -> Result<(), SelfTestError> {
        let size = PageSize::Size2M.bytes();
        let memory = self.memory(size, PageSize::Size2M)?;
        let mapping = self.map(&memory, 0, size, Access::ReadWrite)?;
        let address = mapping.address();

        let last = size - 8;
        self.write(&memory, last, pattern(last))?;
        let found = mapping.read64(u64_as_usize(last))?;
        check("last word", pattern(last), found)?;

        let start = address_in(&memory, 0)?;
        match self.walk(&self.0.bar1().pdb(), address)? {
            Found::Page { pte, size: page } => {
                check("size of the page", size, page.bytes())?;
                check("address of the page", start.into_raw(), pte.address)?;
            }
            _ => return Err(SelfTestError::Failed(ENOENT)),
        }
        mapping.unmap()?;

        match self.walk(&self.0.bar1().pdb(), address)? {
            Found::Invalid => Ok(()),
            _ => Err(SelfTestError::Failed(EEXIST)),
        }
    }

    fn memory(&self, size: u64, min_page: PageSize) -> Result<Arc<Vram>> {
        Ok(Arc::new(self.0.vram().alloc(size, min_page)?, GFP_KERNEL)?)
    }

    fn map(
        &self,
        memory: &Arc<Vram>,
        offset: u64,
        size: u64,
        access: Access,
    ) -> Result<Bar1Mapping> {
        self.0.bar1().map(memory, offset, size, access)
    }

    /// Writes a word through PRAMIN.
    fn write(&self, memory: &Vram, offset: u64, value: u64) -> Result {
        let address = address_in(memory, offset)?;
        let mut session = self.0.hw().vram();
        session.access(1, |window| window.write64(address, value))?;

        session.finish().map(|_| ())
    }

    /// Reads a word through PRAMIN.
    fn read(&self, memory: &Vram, offset: u64) -> Result<u64> {
        self.0.hw().vram().read64(address_in(memory, offset)?)
    }

    /// Finds out from the page tables themselves what is mapped.
    fn walk(&self, pdb: &PdbRef, address: VirtualAddress) -> Result<Found> {
        let hw = self.0.hw();
        let mut session = hw.vram();
        let mut read = |address| session.read64(address);

        Ok(walk(
            hw.format(),
            &mut read,
            hw.page_sizes(),
            pdb.address(),
            address,
        )?
        .found)
    }
}

/// Runs a job, and frees it.
fn run(mut job: Job) -> Result {
    Ok(job.run()?)
}

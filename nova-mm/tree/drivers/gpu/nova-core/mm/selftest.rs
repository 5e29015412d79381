// SPDX-License-Identifier: GPL-2.0

//! Self-tests on the hardware, which run when the driver is bound to a GPU.
//!
//! They access only memory that they have allocated, and free it. A failure is reported by the
//! caller and has no other effect.

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

/// The self-tests of the memory management of a GPU.
pub(crate) struct SelfTest<'a>(pub(crate) &'a GpuMm);

/// The name and the function of a test.
type Test<'a> = (&'static str, fn(&SelfTest<'a>) -> Result<(), SelfTestError>);

/// The reason of a test failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SelfTestError {
    /// An operation failed.
    Failed(Error),
    /// A value in memory or in a page table entry is wrong.
    Mismatch {
        /// The name of the value.
        name: &'static str,
        /// The expected value.
        expected: u64,
        /// The value that was read.
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
            Self::Failed(error) => write!(f, "failed: {:?}", error),
            Self::Mismatch {
                name,
                expected,
                found,
            } => write!(
                f,
                "{} mismatch: expected {:#x}, found {:#x}",
                name, expected, found
            ),
        }
    }
}

/// Checks that the value `found` is the `expected` one.
fn check(name: &'static str, expected: u64, found: u64) -> Result<(), SelfTestError> {
    if expected == found {
        return Ok(());
    }

    Err(SelfTestError::Mismatch {
        name,
        expected,
        found,
    })
}

/// Returns a value to write at `offset` in bytes. Both of its halves differ between offsets.
const fn pattern(offset: u64) -> u64 {
    let low = offset ^ 0xa5a5_a5a5;

    (!low << 32) | (low & 0xffff_ffff)
}

/// Returns the VRAM address of the byte at `offset` in `memory`.
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
        ("pramin", Self::pramin),
        ("page-tables", Self::page_tables),
        ("page-tables-sysmem", Self::page_tables_sysmem),
        ("bar1", Self::bar1),
        ("bar1-tlb", Self::bar1_tlb),
        ("bar1-2m", Self::bar1_2m),
    ];

    /// Checks that PRAMIN reads back written values, with and without reprogramming the window.
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

    /// Checks the entries of an unused address space after memory has been mapped, protected, and
    /// unmapped.
    fn page_tables(&self) -> Result<(), SelfTestError> {
        let pages = Vfn::new(0)?..Vfn::new(PageSize::Size2M.pages())?;
        let vmm = Vmm::new(self.0.hw().clone(), self.0.vram().clone(), pages)?;

        let found = self.change_tables(&vmm);
        // Unmap everything even if the test has failed.
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

        // This splits the page of 2 MiB.
        let one = middle..middle.checked_add(1)?;
        run(vmm.prepare_protect(one, Access::ReadOnly)?)?;
        self.check_page(&pdb, middle, Some((PageSize::Size4K, true)))?;
        self.check_page(&pdb, pages.start, Some((PageSize::Size4K, false)))?;

        run(vmm.prepare_unmap(pages.clone())?)?;
        self.check_page(&pdb, middle, None)
    }

    /// Checks the entries of system memory and sparse ranges in an unused address space. Nothing
    /// accesses the memory, because the GPU does not use the address space.
    fn page_tables_sysmem(&self) -> Result<(), SelfTestError> {
        let pages = Vfn::new(0)?..Vfn::new(PageSize::Size2M.pages())?;
        let vmm = Vmm::new(self.0.hw().clone(), self.0.vram().clone(), pages)?;

        let found = self.map_sysmem(&vmm);
        vmm.teardown()?;

        found
    }

    fn map_sysmem(&self, vmm: &Arc<Vmm>) -> Result<(), SelfTestError> {
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
        // Invalidating again must not fail.
        vmm.retry_invalidate()?;

        for start in [3, 7] {
            for (page, address) in (start..).zip(DMA) {
                match self.walk(&pdb, Vfn::new(page)?.address())? {
                    Found::Page { pte, .. } => check("page address", address, pte.address)?,
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

    /// Checks the size and the access of the page that is mapped at `page`. `expected` is the size
    /// and whether the page is read-only, or [`None`] if nothing is mapped.
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
        // Compare a single number: the size in bytes, plus one if read-only, or zero if nothing is
        // mapped.
        let number = |page: Option<(PageSize, bool)>| {
            page.map_or(0, |(size, read_only)| size.bytes() | u64::from(read_only))
        };

        check("page", number(expected), number(found))
    }

    /// Checks that PRAMIN reads values written through BAR1 and vice versa, and that two mappings
    /// of the same memory agree.
    fn bar1(&self) -> Result<(), SelfTestError> {
        let size = 4 * PAGE_SIZE;
        let memory = self.memory(size, PageSize::Size4K)?;
        let mapping = self.map(&memory, 0, size, Access::ReadWrite)?;
        let last_page = self.map(&memory, size - PAGE_SIZE, PAGE_SIZE, Access::ReadOnly)?;

        for offset in (0..size).step_by(u64_as_usize(PAGE_SIZE)) {
            let at = u64_as_usize(offset);

            mapping.write64(pattern(offset), at)?;
            // The read waits until the write has arrived in VRAM.
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

    /// Checks that mapping other memory at the same address takes effect.
    fn bar1_tlb(&self) -> Result<(), SelfTestError> {
        let mut before = None;

        for value in [pattern(0), pattern(8)] {
            let memory = self.memory(PAGE_SIZE, PageSize::Size4K)?;
            let mapping = self.map(&memory, 0, PAGE_SIZE, Access::ReadWrite)?;
            // Without other mappings, the highest free address is the same in each iteration.
            let address = mapping.address().into_raw();
            check("address", before.unwrap_or(address), address)?;
            before = Some(address);

            self.write(&memory, 0, value)?;
            check("word", value, mapping.read64(0)?)?;
            mapping.unmap()?;
        }

        Ok(())
    }

    /// Checks that a single entry maps 2 MiB of contiguous memory, and that unmapping clears it.
    fn bar1_2m(&self) -> Result<(), SelfTestError> {
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
                check("page size", size, page.bytes())?;
                check("page address", start.into_raw(), pte.address)?;
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

    /// Translates `address` by walking the page tables in VRAM.
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

/// Runs a job and frees it.
fn run(mut job: Job) -> Result {
    Ok(job.run()?)
}

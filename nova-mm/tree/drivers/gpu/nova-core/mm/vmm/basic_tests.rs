// SPDX-License-Identifier: GPL-2.0

//! Tests of address spaces with a fake BAR0: the page tables that jobs write.

use super::*;

use crate::{
    gpu::Chipset,
    mm::{
        address::PageSize,
        fake::{
            self,
            FakeBar, //
        },
        flag::Flag,
        format::PageAttributes,
        hw::MmuConfig,
        memory::{
            Coherence,
            SysMemory, //
        },
        vram::Vram,
        walk::{
            walk,
            Found, //
        },
    },
};

/// Number of pages that can be mapped.
const PAGES: u64 = 2 * PageSize::Size2M.pages();

/// An address space whose page tables are in the VRAM of a fake BAR0.
struct Fixture {
    hw: Arc<MmuHw>,
    tables: VramAllocator,
    vmm: Arc<Vmm>,
    /// Memory to map, which nothing accesses.
    memory: Arc<Vram>,
}

impl Fixture {
    fn new() -> Result<Self> {
        let registers = FakeBar::new()?.registers()?;
        let hw = MmuHw::new(registers, MmuConfig::new(Chipset::TU102)?)?;
        let tables = VramAllocator::new(&[fake::vram(0)..fake::vram_end()])?;
        let size = PageSize::Size2M.bytes();
        let data = VramAllocator::new(&[VramAddress::new(size)..VramAddress::new(2 * size)])?;

        Ok(Self {
            vmm: Vmm::new(hw.clone(), tables.clone(), pages(0..PAGES)?)?,
            hw,
            tables,
            memory: Arc::new(data.alloc(size, PageSize::Size2M)?, GFP_KERNEL)?,
        })
    }

    /// Prepares a job that maps the memory from its page `first` on.
    fn prepare_map(&self, range: Range<u64>, first: u64) -> Result<Job> {
        let backing = Backing::new(self.memory.clone(), first, PageAttributes::default());

        self.vmm.prepare_map(pages(range)?, backing)
    }

    /// Returns the page that is mapped at page `page`, as its size, the address that it has there,
    /// and whether it is read-only.
    fn mapped(&self, page: u64) -> Result<Option<(PageSize, u64, bool)>> {
        let address = Vfn::new(page)?.address();
        let mut session = self.hw.vram();
        let walk = walk(
            self.hw.format(),
            &mut |address| session.read64(address),
            self.hw.page_sizes(),
            self.vmm.pdb().address(),
            address,
        )?;

        match walk.found {
            Found::Page { pte, size } => {
                let offset = address.into_raw() % size.bytes();
                Ok(Some((size, pte.address + offset, pte.read_only)))
            }
            Found::Invalid => Ok(None),
            _ => Err(EIO),
        }
    }
}

/// The owner of memory, which records that it has been dropped.
struct Owner(Arc<Flag>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.set();
    }
}

fn pages(range: Range<u64>) -> Result<Range<Vfn>> {
    Ok(Vfn::new(range.start)?..Vfn::new(range.end)?)
}

/// Runs a job, and frees it.
fn run(mut job: Job) -> Result {
    Ok(job.run()?)
}

#[kunit_tests(nova_core_mm_vmm_basic)]
mod suite {
    use super::*;

    /// Address of the memory, which starts at 2 MiB.
    const MEMORY: u64 = PageSize::Size2M.bytes();

    #[test]
    fn map_small_pages() -> Result {
        let fixture = Fixture::new()?;

        run(fixture.prepare_map(5..8, 1)?)?;
        let small = |address| Some((PageSize::Size4K, address, false));
        assert_eq!(fixture.mapped(4)?, None);
        assert_eq!(fixture.mapped(5)?, small(MEMORY + 0x1000));
        assert_eq!(fixture.mapped(7)?, small(MEMORY + 0x3000));
        assert_eq!(fixture.mapped(8)?, None);

        fixture.vmm.teardown()
    }

    #[test]
    fn map_2m_page_protect_part() -> Result {
        let fixture = Fixture::new()?;
        let large = PageSize::Size2M.pages();

        run(fixture.prepare_map(large..2 * large, 0)?)?;
        let found = Some((PageSize::Size2M, MEMORY + 0x3000, false));
        assert_eq!(fixture.mapped(large + 3)?, found);

        let part = pages(large + 3..large + 4)?;
        run(fixture.vmm.prepare_protect(part, Access::ReadOnly)?)?;
        let found = Some((PageSize::Size4K, MEMORY + 0x3000, true));
        assert_eq!(fixture.mapped(large + 3)?, found);
        let found = Some((PageSize::Size4K, MEMORY + 0x4000, false));
        assert_eq!(fixture.mapped(large + 4)?, found);

        fixture.vmm.teardown()
    }

    #[test]
    fn map_replaces_mapping() -> Result {
        let fixture = Fixture::new()?;

        run(fixture.prepare_map(0..4, 0)?)?;
        run(fixture.prepare_map(2..3, 9)?)?;
        for (page, offset) in [(1, 0x1000), (2, 0x9000), (3, 0x3000)] {
            let found = Some((PageSize::Size4K, MEMORY + offset, false));
            assert_eq!(fixture.mapped(page)?, found);
        }

        fixture.vmm.teardown()
    }

    #[test]
    fn unmap_frees_tables() -> Result {
        let fixture = Fixture::new()?;
        let before = fixture.tables.avail();

        run(fixture.prepare_map(0..512, 0)?)?;
        run(fixture.prepare_map(512..513, 0)?)?;
        assert!(fixture.tables.avail() < before);
        run(fixture.vmm.prepare_unmap(pages(0..PAGES)?)?)?;
        assert_eq!(fixture.mapped(0)?, None);
        assert_eq!(fixture.tables.avail(), before);

        Ok(())
    }

    #[test]
    fn cancelled_job_changes_nothing() -> Result {
        let fixture = Fixture::new()?;
        let before = fixture.tables.avail();

        drop(fixture.prepare_map(0..1, 0)?);
        assert_eq!(fixture.mapped(0)?, None);
        assert_eq!(fixture.tables.avail(), before);

        Ok(())
    }

    #[test]
    fn free_releases_unmapped_memory() -> Result {
        let fixture = Fixture::new()?;
        let is_released = Arc::new(Flag::new(), GFP_KERNEL)?;
        let memory = SysMemory::new(
            [(0x10_0000, 0x1000)].into_iter(),
            Coherence::Coherent,
            Owner(is_released.clone()),
        )?;
        let backing = Backing::new(Arc::new(memory, GFP_KERNEL)?, 0, PageAttributes::default());

        run(fixture.vmm.prepare_map(pages(0..1)?, backing)?)?;
        let mut unmap = fixture.vmm.prepare_unmap(pages(0..1)?)?;
        unmap.run()?;
        assert_eq!(fixture.mapped(0)?, None);
        assert!(!is_released.is_set());
        unmap.free();
        assert!(is_released.is_set());

        Ok(())
    }
}

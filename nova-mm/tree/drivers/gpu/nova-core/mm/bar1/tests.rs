// SPDX-License-Identifier: GPL-2.0

//! Tests of BAR1 against the software GPU.

use kernel::{
    new_mutex,
    prelude::*,
    sizes::*,
    sync::{
        Arc,
        Mutex, //
    },
    time::Delta, //
};

use crate::{
    gpu::Chipset,
    mm::{
        address::{
            PageSize,
            VramAddress,
            PAGE_SIZE, //
        },
        bar1::{
            Bar1,
            Bar1Mapping, //
        },
        format::{
            v2::MmuV2,
            PageSizes, //
        },
        mmu::Mmu,
        model::{
            Config,
            SoftGpu, //
        },
        pramin::Pramin,
        tlb::Tlb,
        vmm::job::{
            Access,
            Memory, //
        },
        vram::{
            Vram,
            VramAllocator, //
        }, //
    },
    num::usize_as_u64, //
};

mod hardware;
mod retry;

/// A GPU of the Turing generation, and BAR1 as the driver sees it.
pub(crate) struct Fixture {
    pub(crate) gpu: Arc<SoftGpu>,
    pub(crate) mmu: Pin<KBox<Mutex<Mmu>>>,
    pub(crate) vram: VramAllocator,
    pub(crate) bar1: Arc<Bar1<MmuV2>>,
}

/// Where the firmware has its own page tables.
const FIRMWARE: u64 = usize_as_u64(SZ_16M - SZ_1M);

impl Fixture {
    /// Makes one in whose root directory the firmware has nothing.
    pub(crate) fn new() -> Result<Self> {
        Self::with_firmware(Config::default(), |_| ())
    }

    /// Makes one of a GPU whose page tables `firmware` has written to before.
    fn with_firmware(config: Config, firmware: impl FnOnce(&SoftGpu)) -> Result<Self> {
        let gpu = SoftGpu::new(config)?;
        firmware(&gpu);

        let mmu = Mmu {
            pramin: Pramin::new(Chipset::TU102),
            tlb: Tlb::with_timeout(Delta::from_millis(20)),
            page_sizes: PageSizes::COMMON,
        };
        let mmu = KBox::pin_init(new_mutex!(mmu), GFP_KERNEL)?;
        let vram = VramAllocator::new(&[VramAddress::new(0)..VramAddress::new(FIRMWARE)])?;
        let bar1 = Bar1::new(
            config.bar1_pdb,
            config.bar1_size,
            vram.clone(),
            &mmu,
            &gpu.bar0(),
        )?;

        Ok(Self {
            gpu,
            mmu,
            vram,
            bar1,
        })
    }

    fn memory(&self, size: u64) -> Result<Arc<Vram>> {
        Ok(Arc::new(
            self.vram.alloc(size, PageSize::Size2M)?,
            GFP_KERNEL,
        )?)
    }

    fn map(
        &self,
        vram: &Arc<Vram>,
        offset: u64,
        size: u64,
        access: Access,
    ) -> Result<Bar1Mapping<MmuV2>> {
        let memory = Memory {
            vram: vram.clone(),
            offset,
        };

        self.bar1
            .map(memory, size, access, &self.mmu, &self.gpu.bar0())
    }

    fn unmap(&self, mapping: Bar1Mapping<MmuV2>) -> Result {
        mapping.unmap(&self.mmu, &self.gpu.bar0())
    }

    fn teardown(&self) -> Result {
        self.bar1.teardown(&self.mmu, &self.gpu.bar0())
    }

    /// Returns whether nothing of ours is left in the root directory, which has four entries.
    fn root_is_empty(&self) -> bool {
        let root = self.bar1.root();

        (0..4).all(|entry| match root.checked_add(entry * 8) {
            Ok(address) => self.gpu.vram_read64(address) == 0,
            Err(_) => false,
        })
    }
}

/// Returns the address of the first byte of memory that is in one piece.
fn start(vram: &Vram) -> Result<VramAddress> {
    Ok(vram.ranges().next().ok_or(EINVAL)?.start)
}

#[kunit_tests(nova_mm_bar1)]
mod suite {
    use super::*;

    #[test]
    fn accesses_reach_the_memory() -> Result {
        let fixture = Fixture::new()?;
        let io = fixture.gpu.bar1();
        let vram = fixture.memory(4 * PAGE_SIZE)?;
        let mapping = fixture.map(&vram, 0, 4 * PAGE_SIZE, Access::ReadWrite)?;

        mapping.write64(&io, 0x0123_4567_89ab_cdef, 0x3ff8)?;
        mapping.write32(&io, 0x5555_aaaa, 0x1004)?;

        assert_eq!(mapping.read64(&io, 0x3ff8)?, 0x0123_4567_89ab_cdef);
        assert_eq!(mapping.read32(&io, 0x3ff8)?, 0x89ab_cdef);
        let last = start(&vram)?.checked_add(0x3ff8)?;
        assert_eq!(fixture.gpu.vram_read64(last), 0x0123_4567_89ab_cdef);
        assert_eq!(mapping.read32(&io, 0x1004)?, 0x5555_aaaa);
        assert!(fixture.gpu.take_bar1_fault().is_none());

        fixture.unmap(mapping)?;
        fixture.gpu.check_clean()
    }

    #[test]
    fn accesses_stay_within_the_mapping() -> Result {
        let fixture = Fixture::new()?;
        let io = fixture.gpu.bar1();
        let vram = fixture.memory(2 * PAGE_SIZE)?;
        let mapping = fixture.map(&vram, PAGE_SIZE, PAGE_SIZE, Access::ReadWrite)?;
        fixture.gpu.reset_counts();

        assert_eq!(mapping.size(), SZ_4K);
        for offset in [0x1000, 0xffc, usize::MAX, usize::MAX - 7, 0x2000] {
            assert_eq!(mapping.read64(&io, offset).err(), Some(EINVAL));
            assert_eq!(mapping.write64(&io, 0, offset).err(), Some(EINVAL));
        }
        for offset in [0x1000, 0xffe, 1, usize::MAX] {
            assert_eq!(mapping.read32(&io, offset).err(), Some(EINVAL));
            assert_eq!(mapping.write32(&io, 0, offset).err(), Some(EINVAL));
        }
        assert_eq!(fixture.gpu.counts().total(), 0);

        mapping.write32(&io, 1, 0xffc)?;
        assert_eq!(mapping.read32(&io, 0xffc)?, 1);

        fixture.unmap(mapping)
    }

    #[test]
    fn read_only_mappings_are_not_written() -> Result {
        let fixture = Fixture::new()?;
        let io = fixture.gpu.bar1();
        let vram = fixture.memory(PAGE_SIZE)?;
        let mapping = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadOnly)?;
        fixture.gpu.vram_write64(start(&vram)?, 7);

        assert_eq!(mapping.read64(&io, 0)?, 7);
        assert_eq!(mapping.write64(&io, 1, 0).err(), Some(EACCES));
        assert_eq!(mapping.write32(&io, 1, 0).err(), Some(EACCES));
        assert_eq!(mapping.read64(&io, 0)?, 7);

        fixture.unmap(mapping)
    }

    /// Defect 12 of earlier versions: a mapping kept the address space borrowed.
    #[test]
    fn several_mappings_at_once() -> Result {
        let fixture = Fixture::new()?;
        let io = fixture.gpu.bar1();
        let vram = fixture.memory(4 * PAGE_SIZE)?;
        let all = fixture.map(&vram, 0, 4 * PAGE_SIZE, Access::ReadWrite)?;
        let second = fixture.map(&vram, PAGE_SIZE, PAGE_SIZE, Access::ReadOnly)?;
        let other = fixture.memory(PAGE_SIZE)?;
        let third = fixture.map(&other, 0, PAGE_SIZE, Access::ReadWrite)?;

        all.write64(&io, 1, 0x1000)?;
        third.write64(&io, 3, 0)?;
        assert_eq!(second.read64(&io, 0)?, 1);

        fixture.unmap(all)?;
        assert_eq!(second.read64(&io, 0)?, 1);
        assert_eq!(third.read64(&io, 0)?, 3);

        fixture.unmap(third)?;
        fixture.unmap(second)?;
        assert!(fixture.root_is_empty());
        fixture.gpu.check_clean()
    }

    #[test]
    fn unmapped_addresses_fault() -> Result {
        let fixture = Fixture::new()?;
        let io = fixture.gpu.bar1();
        let before = fixture.vram.avail();
        let vram = fixture.memory(PAGE_SIZE)?;
        let mapping = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        let address = mapping.address();
        mapping.write64(&io, 1, 0)?;
        fixture.unmap(mapping)?;

        let other = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadOnly)?;
        assert_eq!(other.address(), address);
        fixture.unmap(other)?;
        let offset = usize::try_from(address.into_raw())?;
        let _ = crate::mm::mmio::Mmio::read64(&io, offset)?;
        assert_eq!(
            fixture.gpu.take_bar1_fault().map(|(at, _)| at),
            Some(address)
        );

        drop(vram);
        assert_eq!(fixture.vram.avail(), before);
        fixture.gpu.check_clean()
    }

    #[test]
    fn dropped_mappings_are_unmapped_by_the_next_operation() -> Result {
        let fixture = Fixture::new()?;
        let io = fixture.gpu.bar1();
        let before = fixture.vram.avail();
        let vram = fixture.memory(PAGE_SIZE)?;
        let mapping = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        mapping.write64(&io, 1, 0)?;
        let address = mapping.address();

        fixture.gpu.reset_counts();
        drop(mapping);
        drop(vram);
        // Dropping does not touch the hardware, so the memory is in use.
        assert_eq!(fixture.gpu.counts().total(), 0);
        assert!(fixture.vram.avail() < before);
        assert!(!fixture.root_is_empty());

        let vram = fixture.memory(PAGE_SIZE)?;
        let mapping = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        assert_eq!(mapping.address(), address);
        fixture.gpu.vram_write64(start(&vram)?, 2);
        assert_eq!(mapping.read64(&io, 0)?, 2);

        drop(mapping);
        drop(vram);
        fixture
            .bar1
            .unmap_dropped(&fixture.mmu, &fixture.gpu.bar0())?;
        assert_eq!(fixture.vram.avail(), before);
        assert!(fixture.root_is_empty());
        fixture.gpu.check_clean()
    }

    #[test]
    fn mappings_may_outlive_the_teardown() -> Result {
        let fixture = Fixture::new()?;
        let io = fixture.gpu.bar1();
        let before = fixture.vram.avail();
        let vram = fixture.memory(PAGE_SIZE)?;
        let dropped = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        let kept = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        drop(dropped);

        fixture.teardown()?;
        assert!(fixture.root_is_empty());
        // No access reaches BAR1, where the addresses may be in use for other mappings.
        fixture.gpu.reset_counts();
        assert_eq!(kept.read32(&io, 0).err(), Some(ENODEV));
        assert_eq!(kept.read64(&io, 0).err(), Some(ENODEV));
        assert_eq!(kept.write32(&io, 1, 0).err(), Some(ENODEV));
        assert_eq!(kept.write64(&io, 1, 0).err(), Some(ENODEV));
        assert_eq!(fixture.gpu.counts().total(), 0);
        let again = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite);
        assert_eq!(again.err(), Some(ENODEV));

        let Fixture {
            gpu,
            vram: pool,
            bar1,
            ..
        } = fixture;
        drop(vram);
        drop(bar1);
        drop(kept);
        assert_eq!(pool.avail(), before);
        gpu.check_clean()
    }

    #[test]
    fn a_time_out_gives_nothing_back_too_early() -> Result {
        let fixture = Fixture::new()?;
        let before = fixture.vram.avail();
        let vram = fixture.memory(PAGE_SIZE)?;
        fixture.gpu.hang_invalidate(0);

        let mapping = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite);
        assert_eq!(mapping.err(), Some(ETIMEDOUT));
        drop(vram);
        assert!(fixture.vram.avail() < before);

        // The GPU goes on: what was not acknowledged before is taken out, and then given back.
        fixture.gpu.recover();
        fixture
            .bar1
            .unmap_dropped(&fixture.mmu, &fixture.gpu.bar0())?;
        assert_eq!(fixture.vram.avail(), before);
        assert!(fixture.root_is_empty());

        Ok(())
    }

    #[test]
    fn sizes_that_cannot_be_mapped() -> Result {
        let fixture = Fixture::new()?;
        let vram = fixture.memory(2 * PAGE_SIZE)?;
        let map = |offset, size| fixture.map(&vram, offset, size, Access::ReadWrite).err();

        assert_eq!(map(0, 0), Some(EINVAL));
        assert_eq!(map(0, 0x800), Some(EINVAL));
        assert_eq!(map(0, PAGE_SIZE + 0x800), Some(EINVAL));
        assert_eq!(map(0x800, PAGE_SIZE), Some(EINVAL));
        assert_eq!(map(PAGE_SIZE, 2 * PAGE_SIZE), Some(EINVAL));
        assert_eq!(map(0, usize_as_u64(SZ_512M)), Some(ENOSPC));
        assert_eq!(map(PAGE_SIZE, PAGE_SIZE), None);

        Ok(())
    }

    /// Defects 3 and 13 of earlier versions: what the firmware has mapped was overwritten.
    #[test]
    fn what_the_firmware_maps_stays() -> Result {
        let config = Config::default();
        let root = config.bar1_pdb.into_raw();
        // The entry of the last 2 MiB of BAR1 in the last directory.
        let last = config.bar1_size / usize_as_u64(SZ_2M) - 1;
        let tables = [FIRMWARE, FIRMWARE + 0x1000, FIRMWARE + 0x2000];
        // In a directory, bits 2:1 are 1 for VRAM, and bits 32:8 are the page of the table; the
        // second half of a dual entry is the same. A large page has bit 0 set, and bits 2:1 are 0.
        let pde = |table: u64| (table >> 12 << 8) | 1 << 1;
        let large_page = |page: u64| (page >> 12 << 8) | 1;
        let at = VramAddress::new;
        let fixture = Fixture::with_firmware(config, |gpu| {
            for table in tables {
                for word in 0..512 {
                    gpu.vram_write64(at(table + word * 8), 0);
                }
            }
            gpu.vram_write64(at(root), pde(tables[0]));
            gpu.vram_write64(at(tables[0]), pde(tables[1]));
            gpu.vram_write64(at(tables[1]), pde(tables[2]));
            gpu.vram_write64(at(tables[2]), large_page(usize_as_u64(SZ_8M)));
            // A table of small pages in system memory, for the 2 MiB before the last ones.
            gpu.vram_write64(at(tables[2] + 0x10 * last - 8), 0x1234_5600 | 2 << 1);
        })?;
        let firmwares = |gpu: &SoftGpu| {
            [
                gpu.vram_read64(at(root)),
                gpu.vram_read64(at(tables[0])),
                gpu.vram_read64(at(tables[1])),
                gpu.vram_read64(at(tables[2])),
                gpu.vram_read64(at(tables[2] + 0x10 * last - 8)),
            ]
        };
        let before = firmwares(&fixture.gpu);
        let avail = fixture.vram.avail();

        let vram = fixture.memory(2 * PAGE_SIZE)?;
        let small = fixture.map(&vram, 0, 2 * PAGE_SIZE, Access::ReadWrite)?;
        let large_memory = fixture.memory(usize_as_u64(SZ_2M))?;
        let large = fixture.map(&large_memory, 0, usize_as_u64(SZ_2M), Access::ReadWrite)?;
        let end = config.bar1_size;
        assert_eq!(small.address().into_raw(), end - 2 * PAGE_SIZE);
        assert_eq!(large.address().into_raw(), end - 3 * usize_as_u64(SZ_2M));
        assert_eq!(firmwares(&fixture.gpu), before);

        fixture.unmap(small)?;
        drop(large);
        fixture.teardown()?;
        drop((vram, large_memory));
        assert_eq!(firmwares(&fixture.gpu), before);
        // Nothing is left beside them.
        assert_eq!(fixture.gpu.vram_read64(at(tables[2] + 0x10 * last + 8)), 0);
        assert_eq!(
            fixture.gpu.vram_read64(at(tables[2] + 0x10 * last - 0x20)),
            0
        );
        assert_eq!(fixture.vram.avail(), avail);

        fixture.gpu.check_clean()
    }
}

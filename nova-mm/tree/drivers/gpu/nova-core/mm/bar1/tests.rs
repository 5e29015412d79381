// SPDX-License-Identifier: GPL-2.0

//! Tests of BAR1 against the GPU model.

use kernel::{
    prelude::*,
    sizes::*,
    sync::Arc,
    time::Delta, //
};

use crate::{
    gpu::Chipset,
    mm::{
        address::{
            PageSize,
            Vfn,
            VramAddress,
            PAGE_SIZE, //
        },
        bar1::{
            Bar1,
            Bar1Mapping, //
        },
        format::Access,
        hw::{
            MmuConfig,
            MmuHw, //
        },
        mmio::Mmio,
        model::{
            Config,
            GpuModel, //
        },
        tlb::Tlb,
        va::VaRequest,
        vram::{
            Vram,
            VramAllocator, //
        }, //
    },
    num::usize_as_u64, //
};

mod hardware;
mod retry;

/// A Turing GPU model and the driver's BAR1.
pub(crate) struct Fixture {
    pub(crate) gpu: Arc<GpuModel>,
    pub(crate) hw: Arc<MmuHw>,
    pub(crate) vram: VramAllocator,
    pub(crate) bar1: Arc<Bar1>,
}

/// Address of the firmware's page tables.
const FIRMWARE: u64 = usize_as_u64(SZ_16M - SZ_1M);

impl Fixture {
    /// Creates a fixture whose firmware root directory is empty.
    pub(crate) fn new() -> Result<Self> {
        Self::with_firmware(Config::default(), |_| ())
    }

    /// Creates a fixture after `firmware` has written page tables of its own.
    fn with_firmware(config: Config, firmware: impl FnOnce(&GpuModel)) -> Result<Self> {
        let gpu = GpuModel::new(config)?;
        firmware(&gpu);

        let mmu = MmuConfig {
            tlb: Tlb::with_timeout(Delta::from_millis(20)),
            ..MmuConfig::new(Chipset::TU102)?
        };
        let hw = MmuHw::new(gpu.registers()?, mmu)?;
        let vram = VramAllocator::new(&[VramAddress::new(0)..VramAddress::new(FIRMWARE)])?;
        let bar1 = Bar1::new(
            hw.clone(),
            vram.clone(),
            config.bar1_pdb,
            Some(gpu.aperture()?),
            config.bar1_size,
        )?;

        Ok(Self {
            gpu,
            hw,
            vram,
            bar1,
        })
    }

    /// Allocates memory in 2 MiB blocks as far as possible.
    fn memory(&self, size: u64) -> Result<Arc<Vram>> {
        Ok(Arc::new(
            self.vram.alloc(size, PageSize::Size2M)?,
            GFP_KERNEL,
        )?)
    }

    fn map(&self, vram: &Arc<Vram>, offset: u64, size: u64, access: Access) -> Result<Bar1Mapping> {
        self.bar1.map(vram, offset, size, access)
    }

    /// Returns whether the driver has removed its entries from the four-entry root directory.
    fn root_is_empty(&self) -> bool {
        let root = self.bar1.pdb().address();

        (0..4).all(|entry| match root.checked_add(entry * 8) {
            Ok(address) => self.gpu.vram_read64(address) == 0,
            Err(_) => false,
        })
    }
}

/// Returns the address of the first byte of `vram`.
fn start(vram: &Vram) -> Result<VramAddress> {
    Ok(vram.ranges().next().ok_or(EINVAL)?.start)
}

#[kunit_tests(nova_core_mm_bar1)]
mod suite {
    use super::*;

    #[test]
    fn access_hits_memory() -> Result {
        let fixture = Fixture::new()?;
        let vram = fixture.memory(4 * PAGE_SIZE)?;
        let mapping = fixture.map(&vram, 0, 4 * PAGE_SIZE, Access::ReadWrite)?;

        mapping.write64(0x0123_4567_89ab_cdef, 0x3ff8)?;
        mapping.write32(0x5555_aaaa, 0x1004)?;

        assert_eq!(mapping.read64(0x3ff8)?, 0x0123_4567_89ab_cdef);
        assert_eq!(mapping.read32(0x3ff8)?, 0x89ab_cdef);
        let last = start(&vram)?.checked_add(0x3ff8)?;
        assert_eq!(fixture.gpu.vram_read64(last), 0x0123_4567_89ab_cdef);
        assert_eq!(mapping.read32(0x1004)?, 0x5555_aaaa);
        assert!(fixture.gpu.take_bar1_fault().is_none());

        mapping.unmap()?;
        fixture.gpu.check_clean()
    }

    #[test]
    fn access_outside_mapping_fails() -> Result {
        let fixture = Fixture::new()?;
        let vram = fixture.memory(2 * PAGE_SIZE)?;
        let mapping = fixture.map(&vram, PAGE_SIZE, PAGE_SIZE, Access::ReadWrite)?;
        fixture.gpu.reset_counts();

        assert_eq!(mapping.size(), SZ_4K);
        for offset in [0x1000, 0xffc, usize::MAX, usize::MAX - 7, 0x2000] {
            assert_eq!(mapping.read64(offset).err(), Some(EINVAL));
            assert_eq!(mapping.write64(0, offset).err(), Some(EINVAL));
        }
        for offset in [0x1000, 0xffe, 1, usize::MAX] {
            assert_eq!(mapping.read32(offset).err(), Some(EINVAL));
            assert_eq!(mapping.write32(0, offset).err(), Some(EINVAL));
        }
        assert_eq!(fixture.gpu.counts().total(), 0);

        mapping.write32(1, 0xffc)?;
        assert_eq!(mapping.read32(0xffc)?, 1);

        mapping.unmap()
    }

    #[test]
    fn read_only_mapping_write_fails() -> Result {
        let fixture = Fixture::new()?;
        let vram = fixture.memory(PAGE_SIZE)?;
        let mapping = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadOnly)?;
        fixture.gpu.vram_write64(start(&vram)?, 7);

        assert_eq!(mapping.read64(0)?, 7);
        assert_eq!(mapping.write64(1, 0).err(), Some(EACCES));
        assert_eq!(mapping.write32(1, 0).err(), Some(EACCES));
        assert_eq!(mapping.read64(0)?, 7);

        mapping.unmap()
    }

    /// Several mappings exist at the same time, because a mapping does not borrow the address
    /// space.
    #[test]
    fn mappings_coexist() -> Result {
        let fixture = Fixture::new()?;
        let vram = fixture.memory(4 * PAGE_SIZE)?;
        let all = fixture.map(&vram, 0, 4 * PAGE_SIZE, Access::ReadWrite)?;
        let second = fixture.map(&vram, PAGE_SIZE, PAGE_SIZE, Access::ReadOnly)?;
        let other = fixture.memory(PAGE_SIZE)?;
        let third = fixture.map(&other, 0, PAGE_SIZE, Access::ReadWrite)?;

        all.write64(1, 0x1000)?;
        third.write64(3, 0)?;
        assert_eq!(second.read64(0)?, 1);

        all.unmap()?;
        assert_eq!(second.read64(0)?, 1);
        assert_eq!(third.read64(0)?, 3);

        third.unmap()?;
        second.unmap()?;
        assert!(fixture.root_is_empty());
        fixture.gpu.check_clean()
    }

    #[test]
    fn access_unmapped_faults() -> Result {
        let fixture = Fixture::new()?;
        let before = fixture.vram.avail();
        let vram = fixture.memory(PAGE_SIZE)?;
        let mapping = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        let address = mapping.address();
        mapping.write64(1, 0)?;
        mapping.unmap()?;

        let other = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadOnly)?;
        assert_eq!(other.address(), address);
        other.unmap()?;
        let offset = usize::try_from(address.into_raw())?;
        let _ = fixture.gpu.bar1().read64(offset)?;
        assert_eq!(
            fixture.gpu.take_bar1_fault().map(|(at, _)| at),
            Some(address)
        );

        drop(vram);
        assert_eq!(fixture.vram.avail(), before);
        fixture.gpu.check_clean()
    }

    #[test]
    fn dropped_mapping_unmapped_by_next_op() -> Result {
        let fixture = Fixture::new()?;
        let before = fixture.vram.avail();
        let vram = fixture.memory(PAGE_SIZE)?;
        let mapping = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        mapping.write64(1, 0)?;
        let address = mapping.address();

        fixture.gpu.reset_counts();
        drop(mapping);
        drop(vram);
        // Dropping does not access the hardware, so the memory stays mapped.
        assert_eq!(fixture.gpu.counts().total(), 0);
        assert!(fixture.vram.avail() < before);
        assert!(!fixture.root_is_empty());

        let vram = fixture.memory(PAGE_SIZE)?;
        let mapping = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        assert_eq!(mapping.address(), address);
        fixture.gpu.vram_write64(start(&vram)?, 2);
        assert_eq!(mapping.read64(0)?, 2);

        drop(mapping);
        drop(vram);
        fixture.bar1.unmap_dropped()?;
        assert_eq!(fixture.vram.avail(), before);
        assert!(fixture.root_is_empty());
        fixture.gpu.check_clean()
    }

    #[test]
    fn mapping_after_teardown_fails() -> Result {
        let fixture = Fixture::new()?;
        let before = fixture.vram.avail();
        let vram = fixture.memory(PAGE_SIZE)?;
        let dropped = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        let kept = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        drop(dropped);

        fixture.bar1.teardown()?;
        assert!(fixture.root_is_empty());
        // Accesses no longer reach BAR1, where the addresses may belong to other mappings.
        fixture.gpu.reset_counts();
        assert_eq!(kept.read32(0).err(), Some(ENODEV));
        assert_eq!(kept.read64(0).err(), Some(ENODEV));
        assert_eq!(kept.write32(1, 0).err(), Some(ENODEV));
        assert_eq!(kept.write64(1, 0).err(), Some(ENODEV));
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
    fn map_timeout_keeps_memory() -> Result {
        let fixture = Fixture::new()?;
        let before = fixture.vram.avail();
        let vram = fixture.memory(PAGE_SIZE)?;
        fixture.gpu.hang_invalidate(0);

        let mapping = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite);
        assert_eq!(mapping.err(), Some(ETIMEDOUT));
        drop(vram);
        assert!(fixture.vram.avail() < before);

        // Each operation retries the invalidation first.
        assert_eq!(fixture.bar1.unmap_dropped(), Err(ETIMEDOUT));
        assert!(fixture.vram.avail() < before);
        assert!(!fixture.root_is_empty());

        fixture.gpu.recover();
        fixture.bar1.unmap_dropped()?;
        assert_eq!(fixture.vram.avail(), before);
        assert!(fixture.root_is_empty());
        fixture.gpu.check_clean()
    }

    /// The TLB may hold the old translation, so these addresses must not be reused.
    #[test]
    fn unmap_timeout_keeps_addresses() -> Result {
        let fixture = Fixture::new()?;
        let before = fixture.vram.avail();
        let vram = fixture.memory(PAGE_SIZE)?;
        let mapping = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        let page = Vfn::try_from(mapping.address())?;
        let reserve = || {
            let pages = page..page.checked_add(1)?;
            fixture.bar1.va.reserve(VaRequest::Fixed(pages)).map(drop)
        };
        drop(vram);

        fixture.gpu.hang_invalidate(0);
        assert_eq!(mapping.unmap(), Err(ETIMEDOUT));
        assert_eq!(reserve(), Err(EBUSY));
        assert!(fixture.vram.avail() < before);

        fixture.gpu.recover();
        fixture.bar1.unmap_dropped()?;
        assert_eq!(reserve(), Ok(()));
        assert_eq!(fixture.vram.avail(), before);
        fixture.gpu.check_clean()
    }

    /// The driver may be unbound while mappings exist.
    #[test]
    fn unbound_device_fails() -> Result {
        let fixture = Fixture::new()?;
        let vram = fixture.memory(PAGE_SIZE)?;
        let mapping = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        fixture.gpu.unbind_after(Some(0));
        fixture.gpu.reset_counts();

        assert_eq!(mapping.read32(0).err(), Some(ENODEV));
        assert_eq!(mapping.read64(0).err(), Some(ENODEV));
        assert_eq!(mapping.write32(1, 0).err(), Some(ENODEV));
        assert_eq!(mapping.write64(1, 0).err(), Some(ENODEV));
        let other = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite);
        assert_eq!(other.err(), Some(ENODEV));
        assert_eq!(mapping.unmap(), Err(ENODEV));
        assert_eq!(fixture.bar1.teardown(), Err(ENODEV));
        assert_eq!(fixture.gpu.counts().total(), 0);

        // The GPU may access the memory for as long as it is powered.
        let Fixture {
            gpu,
            vram: pool,
            bar1,
            ..
        } = fixture;
        drop((vram, bar1));
        assert!(pool.leaked() > PAGE_SIZE);
        gpu.check_clean()
    }

    #[test]
    fn map_invalid_size_fails() -> Result {
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

    /// Entries of the firmware are neither overwritten nor removed at any level.
    #[test]
    fn firmware_mappings_preserved() -> Result {
        let config = Config::default();
        let root = config.bar1_pdb.into_raw();
        // Index of the entry for the last 2 MiB of BAR1 in the last directory.
        let last = config.bar1_size / usize_as_u64(SZ_2M) - 1;
        let tables = [FIRMWARE, FIRMWARE + 0x1000, FIRMWARE + 0x2000];
        // In a PDE, bits 2:1 are 1 for VRAM and bits 32:8 hold the page number of the table, as in
        // the second half of a dual PDE. In a large PTE, bit 0 is set and bits 2:1 are 0.
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
            // A table of small pages in system memory, for the 2 MiB before the last.
            gpu.vram_write64(at(tables[2] + 0x10 * last - 8), 0x1234_5600 | 2 << 1);
        })?;
        let firmwares = |gpu: &GpuModel| {
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

        small.unmap()?;
        drop(large);
        fixture.bar1.teardown()?;
        drop((vram, large_memory));
        assert_eq!(firmwares(&fixture.gpu), before);
        // No other entry remains.
        assert_eq!(fixture.gpu.vram_read64(at(tables[2] + 0x10 * last + 8)), 0);
        assert_eq!(
            fixture.gpu.vram_read64(at(tables[2] + 0x10 * last - 0x20)),
            0
        );
        assert_eq!(fixture.vram.avail(), avail);

        fixture.gpu.check_clean()
    }
}

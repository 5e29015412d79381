// SPDX-License-Identifier: GPL-2.0

//! Tests of the per-GPU memory management.

use super::*;

use kernel::time::Delta;

use crate::{
    gpu::Chipset,
    mm::{
        address::{
            PageSize,
            PAGE_SIZE, //
        },
        bar1::Bar1Mapping,
        format::Access,
        model::{
            Config,
            Generation,
            GpuModel,
            WideAccess, //
        },
        regions::{
            FbDescription,
            FbRegion,
            FbRegions, //
        },
        tlb::Tlb, //
    }, //
};

const MIB: u64 = 1 << 20;

/// A GPU model and its memory management.
pub(crate) struct Fixture {
    pub(crate) gpu: Arc<GpuModel>,
    pub(crate) mm: GpuMm,
}

impl Fixture {
    /// Creates a Turing fixture with `size` bytes of VRAM, of which the GPU model has the last 16
    /// MiB. In these 16 MiB, the first MiB and the three MiB from offset 2 MiB on are usable. The
    /// root directory of BAR1 is in the last page.
    pub(crate) fn new(size: u64) -> Result<Self> {
        Self::with_bars(size, Config::default(), bars)
    }

    /// Creates a fixture on the Turing GPU that `config` describes, with the BARs that `bars`
    /// returns.
    pub(crate) fn with_bars(
        size: u64,
        config: Config,
        bars: impl FnOnce(&Arc<GpuModel>) -> Result<(Registers, Aperture)>,
    ) -> Result<Self> {
        Self::with_chip(size, config, Chipset::TU102, bars)
    }

    /// Creates a fixture on the GPU that `config` describes, which is a `chipset`.
    fn with_chip(
        size: u64,
        config: Config,
        chipset: Chipset,
        bars: impl FnOnce(&Arc<GpuModel>) -> Result<(Registers, Aperture)>,
    ) -> Result<Self> {
        let start = size - 16 * MIB;
        let config = Config {
            vram_start: VramAddress::new(start),
            bar1_pdb: VramAddress::new(size - 0x1000),
            ..config
        };
        let gpu = GpuModel::new(config)?;
        let mm = new_mm(size, config, chipset, bars(&gpu)?)?;

        Ok(Self { gpu, mm })
    }

    /// Maps a new page in BAR1.
    fn map_page(&self) -> Result<Bar1Mapping> {
        let vram = self.mm.vram().alloc(PAGE_SIZE, PageSize::Size4K)?;
        let vram = Arc::new(vram, GFP_KERNEL)?;

        self.mm.bar1().map(&vram, 0, PAGE_SIZE, Access::ReadWrite)
    }
}

/// Returns the BARs of a GPU model.
fn bars(gpu: &Arc<GpuModel>) -> Result<(Registers, Aperture)> {
    Ok((gpu.registers()?, gpu.aperture()?))
}

fn new_mm(
    size: u64,
    config: Config,
    chipset: Chipset,
    (registers, aperture): (Registers, Aperture),
) -> Result<GpuMm> {
    let start = config.vram_start.into_raw();
    let region = FbRegion {
        base: start,
        limit: start + MIB - 1,
        reserved: 0,
        is_protected: false,
        supports_compression: true,
        supports_iso: true,
    };
    let mut table = [region; FbRegions::MAX];
    table[1].base = start + 2 * MIB;
    table[1].limit = start + 5 * MIB - 1;

    let fb_info = FbInfo::new(&FbDescription {
        length: size,
        firmware: &[],
        regions: &FbRegions { count: 2, table },
        bar1_pdb: config.bar1_pdb.into_raw(),
    })?;
    let mmu = MmuConfig {
        tlb: Tlb::with_timeout(Delta::from_millis(20)),
        ..MmuConfig::new(chipset)?
    };

    GpuMm::new(mmu, fb_info, registers, Some(aperture), config.bar1_size)
}

/// Uses a mapping in BAR1 of each chip whose name starts with `prefix`.
fn use_bar1_of_chips(prefix: &str, generation: Generation) -> Result {
    let config = Config {
        generation,
        ..Config::default()
    };

    for &chipset in Chipset::ALL {
        if !chipset.name().starts_with(prefix) {
            continue;
        }
        let fixture = Fixture::with_chip(16 * MIB, config, chipset, bars)?;
        let mapping = fixture.map_page()?;

        mapping.write64(0x0123_4567_89ab_cdef, 8)?;
        assert_eq!(mapping.read64(8)?, 0x0123_4567_89ab_cdef);
        assert_eq!(fixture.gpu.take_bar1_fault(), None);
        fixture.mm.teardown()?;
        let root = fixture.mm.bar1().pdb().address();
        assert_eq!(fixture.gpu.vram_read64(root), 0);
        fixture.gpu.check_clean()?;
    }

    Ok(())
}

#[kunit_tests(nova_core_mm_gpu_mm)]
mod suite {
    use super::*;

    #[test]
    fn new_allocator_has_usable_memory() -> Result {
        let Fixture { mm, .. } = Fixture::new(16 * MIB)?;

        assert_eq!(mm.vram().size(), 4 * MIB);
        assert_eq!(mm.vram().avail(), 4 * MIB);
        assert_eq!(mm.usable_regions().len(), 2);
        assert_eq!(
            mm.bar1().pdb().address(),
            VramAddress::new(16 * MIB - 0x1000)
        );

        Ok(())
    }

    /// The register of Turing has 24 bits for an address in units of 64 KiB.
    #[test]
    fn new_vram_above_pramin_fails() {
        const TIB: u64 = 1 << 40;

        assert!(Fixture::new(TIB).is_ok());
        assert_eq!(Fixture::new(TIB + 0x1000).err(), Some(EINVAL));
        assert_eq!(Fixture::new(2 * TIB).err(), Some(EINVAL));
    }

    /// Uses both ends of each allocated range, so that all allocatable memory is covered.
    #[test]
    fn alloc_memory_accessible() -> Result {
        let Fixture { gpu, mm } = Fixture::new(16 * MIB)?;
        let vram = mm.vram().alloc(mm.vram().avail(), PageSize::Size4K)?;
        let ends = |range: Range<VramAddress>| {
            [
                range.start,
                VramAddress::new(range.end.into_raw() - 8), //
            ]
        };

        let mut session = mm.hw().vram();
        for address in vram.ranges().flat_map(ends) {
            session.replace64(address, 0, address.into_raw() | 1)?;
        }
        let _ = session.finish()?;

        assert!(vram.ranges().count() >= 3);
        for address in vram.ranges().flat_map(ends) {
            assert_eq!(gpu.vram_read64(address), address.into_raw() | 1);
        }
        gpu.check_clean()
    }

    /// Page tables can be read, written and used if PRAMIN supports only 32-bit accesses.
    #[test]
    fn narrow_pramin_works() -> Result {
        for wide_access in [
            WideAccess::LowerHalf,
            WideAccess::Dropped,
            WideAccess::Swapped,
        ] {
            let config = Config {
                wide_access,
                ..Config::default()
            };
            let fixture = Fixture::with_bars(16 * MIB, config, bars)?;
            let mapping = fixture.map_page()?;

            mapping.write64(0x0123_4567_89ab_cdef, 8)?;
            assert_eq!(mapping.read64(8)?, 0x0123_4567_89ab_cdef);
            assert_eq!(fixture.gpu.take_bar1_fault(), None);
            fixture.mm.teardown()?;
            let root = fixture.mm.bar1().pdb().address();
            assert_eq!(fixture.gpu.vram_read64(root), 0);
            fixture.gpu.check_clean()?;
        }

        Ok(())
    }

    #[test]
    fn bar1_of_chips_v2() -> Result {
        use_bar1_of_chips("tu", Generation::Turing)?;
        use_bar1_of_chips("ga", Generation::Ampere)?;
        use_bar1_of_chips("ad", Generation::Ampere)
    }

    #[test]
    fn bar1_of_chips_v3() -> Result {
        use_bar1_of_chips("gh", Generation::Hopper)?;
        use_bar1_of_chips("gb", Generation::Blackwell)
    }

    #[test]
    fn teardown_clears_firmware_tables() -> Result {
        let fixture = Fixture::new(16 * MIB)?;
        let root = fixture.mm.bar1().pdb().address();
        let mapping = fixture.map_page()?;
        assert_ne!(fixture.gpu.vram_read64(root), 0);

        fixture.mm.teardown()?;
        assert_eq!(fixture.gpu.vram_read64(root), 0);

        // The mapping may be dropped before or after the teardown.
        let Fixture { gpu, mm } = fixture;
        let vram = mm.vram().clone();
        drop(mm);
        drop(mapping);
        assert_eq!(vram.avail(), 4 * MIB);
        gpu.check_clean()
    }

    /// At any time, unbinding the device is reported as an error and leaves no memory allocated.
    #[test]
    fn unbound_device_fails() -> Result {
        let config = Config {
            bar1_pdb: VramAddress::new(16 * MIB - 0x1000),
            ..Config::default()
        };

        for sections in 0.. {
            let gpu = GpuModel::new(config)?;
            gpu.unbind_after(Some(sections));
            let mm = new_mm(16 * MIB, config, Chipset::TU102, bars(&gpu)?);
            if !gpu.is_unbound() {
                assert!(mm.is_ok() && sections > 1);
                break;
            }
            // The device may be unbound right after the last access.
            assert!(mm.is_ok() || mm.err() == Some(ENODEV));
        }

        Ok(())
    }
}

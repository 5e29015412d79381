// SPDX-License-Identifier: GPL-2.0

//! Tests of the memory management of a GPU.

use super::*;

use crate::{
    gpu::Chipset,
    mm::{
        address::{
            PageSize,
            PAGE_SIZE, //
        },
        model::{
            Config,
            SoftGpu,
            WideAccess, //
        },
        regions::{
            FbDescription,
            FbRegion,
            FbRegions, //
        },
        vmm::job::{
            Access,
            Memory, //
        }, //
    }, //
};

const MIB: u64 = 1 << 20;

/// A Turing, and its memory management.
struct Fixture {
    gpu: Arc<SoftGpu>,
    mm: Pin<KBox<GpuMm>>,
}

impl Fixture {
    /// Makes one with `size` bytes of VRAM, of which the software GPU has the last 16 MiB. The
    /// first of these and the three from the third on are usable. The root of BAR1 is in the last
    /// page.
    fn new(size: u64) -> Result<Self> {
        Self::with_config(size, Config::default())
    }

    fn with_config(size: u64, config: Config) -> Result<Self> {
        let start = size - 16 * MIB;
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

        let config = Config {
            vram_start: VramAddress::new(start),
            bar1_pdb: VramAddress::new(size - 0x1000),
            ..config
        };
        let framebuffer = Framebuffer::new(&FbDescription {
            length: size,
            firmware: &[],
            regions: &FbRegions { count: 2, table },
            bar1_root: config.bar1_pdb.into_raw(),
        })?;
        let gpu = SoftGpu::new(config)?;
        let mmu = Mmu::new(Chipset::TU102);
        let mm = KBox::pin_init(
            GpuMm::new(mmu, framebuffer, config.bar1_size, &gpu.bar0()),
            GFP_KERNEL,
        )?;

        Ok(Self { gpu, mm })
    }
}

#[kunit_tests(nova_mm_gpu_mm)]
mod suite {
    use super::*;

    #[test]
    fn usable_memory_is_in_the_allocator() -> Result {
        let Fixture { mm, .. } = Fixture::new(16 * MIB)?;

        assert_eq!(mm.vram().size(), 4 * MIB);
        assert_eq!(mm.vram().avail(), 4 * MIB);
        assert_eq!(mm.usable().len(), 2);
        assert_eq!(mm.bar1().root(), VramAddress::new(16 * MIB - 0x1000));

        Ok(())
    }

    /// The register of Turing has 24 bits for an address in units of 64 KiB.
    #[test]
    fn all_of_the_framebuffer_has_to_be_reached() {
        const TIB: u64 = 1 << 40;

        assert!(Fixture::new(TIB).is_ok());
        assert_eq!(Fixture::new(TIB + 0x1000).err(), Some(EINVAL));
        assert_eq!(Fixture::new(2 * TIB).err(), Some(EINVAL));
    }

    /// The ends of each allocated range, so that all that can be allocated is reached.
    #[test]
    fn allocated_memory_is_written_through_pramin() -> Result {
        let Fixture { gpu, mm } = Fixture::new(16 * MIB)?;
        let vram = mm.vram().alloc(mm.vram().avail(), PageSize::Size4K)?;
        let ends = |range: Range<VramAddress>| {
            [
                range.start,
                VramAddress::new(range.end.into_raw() - 8), //
            ]
        };

        {
            let bar = gpu.bar0();
            let mut mmu = mm.mmu().lock();
            let mut window = mmu.pramin.window(&bar);

            for address in vram.ranges().flat_map(ends) {
                window.write64(address, address.into_raw() | 1)?;
            }
            let _ = window.finish()?;
        }

        assert!(vram.ranges().count() >= 3);
        for address in vram.ranges().flat_map(ends) {
            assert_eq!(gpu.vram_read64(address), address.into_raw() | 1);
        }
        gpu.check_clean()
    }

    /// Page tables are read, written and used if PRAMIN takes accesses of 32 bits only.
    #[test]
    fn narrow_pramin_is_enough() -> Result {
        for wide_access in [
            WideAccess::LowerHalf,
            WideAccess::Dropped,
            WideAccess::Swapped,
        ] {
            let config = Config {
                wide_access,
                ..Config::default()
            };
            let Fixture { gpu, mm } = Fixture::with_config(16 * MIB, config)?;
            let (bar0, bar1) = (gpu.bar0(), gpu.bar1());
            let memory = Memory {
                vram: Arc::new(mm.vram().alloc(PAGE_SIZE, PageSize::Size4K)?, GFP_KERNEL)?,
                offset: 0,
            };
            let mapping = mm
                .bar1()
                .map(memory, PAGE_SIZE, Access::ReadWrite, mm.mmu(), &bar0)?;

            mapping.write64(&bar1, 0x0123_4567_89ab_cdef, 8)?;
            assert_eq!(mapping.read64(&bar1, 8)?, 0x0123_4567_89ab_cdef);
            assert_eq!(gpu.take_bar1_fault(), None);
            mm.teardown(&bar0)?;
            assert_eq!(gpu.vram_read64(mm.bar1().root()), 0);
            gpu.check_clean()?;
        }

        Ok(())
    }

    #[test]
    fn teardown_leaves_nothing_in_the_firmwares_tables() -> Result {
        let Fixture { gpu, mm } = Fixture::new(16 * MIB)?;
        let bar0 = gpu.bar0();
        let memory = Memory {
            vram: Arc::new(mm.vram().alloc(PAGE_SIZE, PageSize::Size4K)?, GFP_KERNEL)?,
            offset: 0,
        };
        let mapping = mm
            .bar1()
            .map(memory, PAGE_SIZE, Access::ReadWrite, mm.mmu(), &bar0)?;
        assert_ne!(gpu.vram_read64(mm.bar1().root()), 0);

        mm.teardown(&bar0)?;
        assert_eq!(gpu.vram_read64(mm.bar1().root()), 0);

        // The mapping may be dropped before or after it.
        let vram = mm.vram().clone();
        drop(mm);
        drop(mapping);
        assert_eq!(vram.avail(), 4 * MIB);
        gpu.check_clean()
    }
}

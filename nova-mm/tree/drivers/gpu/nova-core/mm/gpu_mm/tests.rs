// SPDX-License-Identifier: GPL-2.0

//! Tests of the memory management of a GPU, without address spaces.

use super::*;

use crate::{
    gpu::Chipset,
    mm::{
        address::PageSize,
        model::{
            Config,
            SoftGpu, //
        },
        regions::{
            FbDescription,
            FbRegion,
            FbRegions, //
        }, //
    }, //
};

const MIB: u64 = 1 << 20;

/// Returns the memory management of a Turing with `size` bytes of VRAM, of which the first MiB and
/// the three from the third on are usable. The root of BAR1 is the last page.
fn gpu_mm(size: u64) -> Result<Pin<KBox<GpuMm>>> {
    let region = FbRegion {
        base: 0,
        limit: MIB - 1,
        reserved: 0,
        is_protected: false,
        supports_compression: true,
        supports_iso: true,
    };
    let mut table = [region; FbRegions::MAX];

    table[1].base = 2 * MIB;
    table[1].limit = 5 * MIB - 1;

    let framebuffer = Framebuffer::new(&FbDescription {
        size,
        firmware: &[],
        regions: &FbRegions { count: 2, table },
        bar1_root: size - 0x1000,
    })?;

    KBox::pin_init(
        GpuMm::new(Mmu::new(Chipset::TU102), framebuffer),
        GFP_KERNEL,
    )
}

#[kunit_tests(nova_mm_gpu_mm)]
mod suite {
    use super::*;

    #[test]
    fn usable_memory_is_in_the_allocator() -> Result {
        let mm = gpu_mm(16 * MIB)?;

        assert_eq!(mm.vram().size(), 4 * MIB);
        assert_eq!(mm.vram().avail(), 4 * MIB);
        assert_eq!(mm.usable().len(), 2);
        assert_eq!(mm.bar1_root(), VramAddress::new(16 * MIB - 0x1000));

        Ok(())
    }

    /// The register of Turing has 24 bits for an address in units of 64 KiB.
    #[test]
    fn all_of_the_framebuffer_has_to_be_reached() {
        const TIB: u64 = 1 << 40;

        assert!(gpu_mm(TIB).is_ok());
        assert_eq!(gpu_mm(TIB + 0x1000).err(), Some(EINVAL));
        assert_eq!(gpu_mm(2 * TIB).err(), Some(EINVAL));
    }

    /// The ends of each allocated range, so that all that can be allocated is reached.
    #[test]
    fn allocated_memory_is_written_through_pramin() -> Result {
        let gpu = SoftGpu::new(Config::default())?;
        let mm = gpu_mm(16 * MIB)?;
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

    /// The firmware's page tables are not in memory that can be allocated.
    #[test]
    fn the_root_of_bar1_is_read_through_pramin() -> Result {
        let mm = gpu_mm(16 * MIB)?;
        let gpu = SoftGpu::new(Config {
            bar1_pdb: mm.bar1_root(),
            ..Config::default()
        })?;

        gpu.vram_write64(mm.bar1_root(), 0x1234_5678_9abc_def0);

        let bar = gpu.bar0();
        let mut mmu = mm.mmu().lock();
        let mut window = mmu.pramin.window(&bar);

        assert_eq!(window.read64(mm.bar1_root())?, 0x1234_5678_9abc_def0);
        gpu.check_clean()
    }
}

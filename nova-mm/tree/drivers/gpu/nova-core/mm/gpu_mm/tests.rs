// SPDX-License-Identifier: GPL-2.0

//! Tests of the whole of memory management, without address spaces.

use super::*;

use crate::{
    gpu::Chipset,
    mm::regions::{
        FbDescription,
        FbRegion,
        FbRegions, //
    }, //
};

const MIB: u64 = 1 << 20;

/// Returns a framebuffer of `size` bytes: the first MiB and the third one are usable, and the root
/// of BAR1 is the last page.
fn framebuffer(size: u64) -> Result<Framebuffer> {
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
    table[1].limit = 3 * MIB - 1;

    Ok(Framebuffer::new(&FbDescription {
        size,
        firmware: &[],
        regions: &FbRegions { count: 2, table },
        bar1_root: size - 0x1000,
    })?)
}

/// Returns the memory management of a GPU of the Turing generation with so many bytes of VRAM.
fn gpu_mm(size: u64) -> Result<Pin<KBox<GpuMm>>> {
    KBox::pin_init(
        GpuMm::new(Mmu::new(Chipset::TU102), framebuffer(size)?),
        GFP_KERNEL,
    )
}

#[kunit_tests(nova_mm_gpu_mm)]
mod suite {
    use super::*;

    #[test]
    fn usable_memory_is_in_the_allocator() -> Result {
        let mm = gpu_mm(16 * MIB)?;

        assert_eq!(mm.vram().size(), 2 * MIB);
        assert_eq!(mm.vram().avail(), 2 * MIB);
        assert_eq!(mm.usable().len(), 2);
        assert_eq!(mm.bar1_root(), VramAddress::new(16 * MIB - 0x1000));

        Ok(())
    }

    /// The register of Turing has 24 bits for an address in units of 64 KiB.
    #[test]
    fn all_of_the_framebuffer_can_be_reached() {
        const TIB: u64 = 1 << 40;

        assert!(gpu_mm(TIB).is_ok());
        assert_eq!(gpu_mm(TIB + 0x1000).err(), Some(EINVAL));
        assert_eq!(gpu_mm(2 * TIB).err(), Some(EINVAL));
    }
}

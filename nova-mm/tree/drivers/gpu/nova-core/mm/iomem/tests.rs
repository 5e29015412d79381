// SPDX-License-Identifier: GPL-2.0

//! Tests that accesses through `readl()` and similar functions have the same effects as direct
//! ones.

use kernel::prelude::*;

#[kunit_tests(nova_core_mm_iomem)]
mod suite {
    use kernel::{
        prelude::*,
        sizes::SZ_16M,
        sync::Arc, //
    };

    use crate::mm::{
        address::VramAddress,
        iomem::MappedGpu,
        mmio::Mmio,
        model::{
            Config,
            Counts,
            GpuModel, //
        },
    };

    /// Performs all kinds of accesses to BAR0. Returns the values read.
    fn use_bar0(bar: &dyn Mmio) -> Result<[u64; 4]> {
        bar.write32(0x21, 0x1700)?;
        bar.write64(0x1122_3344_5566_7788, 0x70_0010)?;
        bar.write32(0x99aa_bbcc, 0x7f_fffc)?;
        let read = [
            bar.read64(0x70_0010)?,
            bar.read32(0x70_0014)?.into(),
            bar.read32(0x7f_fffc)?.into(),
        ];
        bar.write32(0x100, 0xb8_30a0)?;
        bar.write32(0, 0xb8_30a4)?;
        bar.write32(0x8000_0001, 0xb8_30b0)?;
        let mut polls = 1;
        while bar.read32(0xb8_30b0)? >> 31 != 0 {
            polls += 1;
        }

        Ok([read[0], read[1], read[2], polls])
    }

    /// Maps the first 2 MiB of VRAM in BAR1 and accesses it. Returns the values read.
    fn use_bar1(gpu: &GpuModel, bar: &dyn Mmio) -> Result<[u64; 3]> {
        let pdb = Config::default().bar1_pdb.into_raw();
        for (entry, word) in [
            (pdb, 0x3102),
            (0x3_1000, 0x3202),
            (0x3_2000, 0x3302),
            (0x3_3000, 0x1),
            (0x3_3008, 0),
            (0x3_3010, 0),
            (0x3_3018, 0),
            (0x1_0008, 0x1122_3344_5566_7788),
        ] {
            gpu.vram_write64(VramAddress::new(entry), word);
        }
        bar.write64(0x99aa_bbcc_ddee_ff00, 0x1_0010)?;

        Ok([
            bar.read64(0x1_0008)?,
            bar.read32(0x1_0014)?.into(),
            bar.read32(0x20_0000)?.into(),
        ])
    }

    #[test]
    fn readl_bar0_same_effect() -> Result {
        let direct = GpuModel::new(Config::default())?;
        let values = use_bar0(&direct.bar0())?;
        assert_eq!(values, [0x1122_3344_5566_7788, 0x1122_3344, 0x99aa_bbcc, 2]);

        let behind = GpuModel::new(Config::default())?;
        let mapped = MappedGpu::new(&behind)?;
        assert_eq!(use_bar0(mapped.bar0())?, values);

        assert!(direct.counts().total() > 0);
        assert_eq!(behind.counts(), direct.counts());
        direct.check_clean()?;
        behind.check_clean()
    }

    #[test]
    fn readl_bar1_same_effect() -> Result {
        let direct = GpuModel::new(Config::default())?;
        let values = use_bar1(&direct, &direct.bar1())?;
        assert_eq!(
            values,
            [0x1122_3344_5566_7788, 0x99aa_bbcc, u32::MAX.into()]
        );

        let behind = GpuModel::new(Config::default())?;
        let mapped = MappedGpu::new(&behind)?;
        assert_eq!(use_bar1(&behind, mapped.bar1())?, values);

        assert_eq!(behind.counts(), direct.counts());
        assert_eq!(direct.counts().bar1_reads, 3);
        direct.check_clean()?;
        behind.check_clean()
    }

    #[test]
    fn invalid_access_fails() -> Result {
        let gpu = GpuModel::new(Config::default())?;
        let mapped = MappedGpu::new(&gpu)?;
        let bar: &dyn Mmio = mapped.bar0();

        assert_eq!(bar.read64(0x70_0004).err(), Some(EINVAL));
        assert_eq!(bar.write32(0, SZ_16M).err(), Some(EINVAL));
        assert_eq!(gpu.counts(), Counts::default());
        gpu.check_clean()
    }

    #[test]
    fn map_second_gpu_ebusy() -> Result {
        let first = GpuModel::new(Config::default())?;
        let second = GpuModel::new(Config::default())?;
        // More often than the kernel has address space for mappings.
        for _ in 0..100 {
            let mapped = MappedGpu::new(&first)?;
            assert_eq!(MappedGpu::new(&second).err(), Some(EBUSY));
            drop(mapped);
            drop(MappedGpu::new(&second)?);
        }

        Ok(())
    }

    /// Mappings of the BARs remain valid while the driver holds references to them.
    #[test]
    fn bar_references_keep_mapping() -> Result {
        let gpu = GpuModel::new(Config::default())?;
        let mapped = Arc::new(MappedGpu::new(&gpu)?, GFP_KERNEL)?;
        let (registers, aperture) = (mapped.registers()?, mapped.aperture()?);
        drop(mapped);
        assert_eq!(MappedGpu::new(&gpu).err(), Some(EBUSY));

        let values = registers.access(|bar| use_bar0(bar))?;
        assert_eq!(values, [0x1122_3344_5566_7788, 0x1122_3344, 0x99aa_bbcc, 2]);
        let values = aperture.access(|bar| use_bar1(&gpu, bar))?;
        assert_eq!(
            values,
            [0x1122_3344_5566_7788, 0x99aa_bbcc, u32::MAX.into()]
        );

        drop((registers, aperture));
        drop(MappedGpu::new(&gpu)?);
        gpu.check_clean()
    }
}

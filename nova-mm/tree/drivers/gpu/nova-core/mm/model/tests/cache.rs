// SPDX-License-Identifier: GPL-2.0

//! What the TLB keeps, and what makes it forget.

use kernel::prelude::*;

#[kunit_tests(nova_mm_model_tlb)]
mod suite {
    use kernel::prelude::*;

    use crate::mm::{
        address::{
            VirtualAddress,
            VramAddress, //
        },
        mmio::Mmio,
        model::{
            tests::{
                v2::{
                    PD0,
                    SMALL, //
                },
                Bench,
                ALL_PDB,
                HUBTLB_ONLY,
                PDB,
                TRIGGER_ALL_VA, //
            },
            Access,
            Config,
            Fault,
            Violation,
            POISON, //
        },
    };

    #[test]
    fn translations_are_kept_until_they_are_invalidated() -> Result {
        let bench = Bench::with_tables()?;
        bench.set(SMALL, 0x501);
        assert_eq!(bench.read(0), Ok(0x5000));

        bench.set(SMALL, 0);
        assert_eq!(bench.read(0x10), Ok(0x5010));
        assert_eq!(bench.walk(0), Err(Fault::Unmapped));

        bench.invalidate(PDB, TRIGGER_ALL_VA)?;
        assert_eq!(bench.read(0), Err(Fault::Unmapped));
        bench.gpu.check_clean()
    }

    #[test]
    fn the_absence_of_entries_is_kept() -> Result {
        let bench = Bench::with_tables()?;
        assert_eq!(bench.read(0), Err(Fault::Unmapped));
        assert_eq!(bench.read(0x20_0000), Err(Fault::Unmapped));

        bench.set(SMALL, 0x501);
        bench.set(PD0 + 16, 0x4_0001);
        assert_eq!(bench.read(0), Err(Fault::Unmapped));
        // What was absent is all that the directory entry spans.
        assert_eq!(bench.read(0x3f_0000), Err(Fault::Unmapped));

        bench.invalidate(PDB, TRIGGER_ALL_VA)?;
        assert_eq!(bench.read(0), Ok(0x5000));
        assert_eq!(bench.read(0x3f_0000), Ok(0x5f_0000));

        let bench = Bench::new(Config {
            negative_caching: false,
            ..Config::default()
        })?;
        crate::mm::model::tests::v2::write_directories(&bench);
        assert_eq!(bench.read(0), Err(Fault::Unmapped));
        bench.set(SMALL, 0x501);
        assert_eq!(bench.read(0), Ok(0x5000));
        Ok(())
    }

    #[test]
    fn pointers_to_tables_are_kept() -> Result {
        let bench = Bench::with_tables()?;
        let other = 0x1_7000;
        bench.zero(other);
        bench.set(SMALL, 0x501);
        bench.set(other + 8, 0x601);
        assert_eq!(bench.read(0), Ok(0x5000));

        // Another address, which was never looked up, still goes by way of the old table.
        bench.set(PD0 + 8, 0x1702);
        bench.set(SMALL + 8, 0x701);
        assert_eq!(bench.read(0x1000), Ok(0x7000));

        bench.invalidate(PDB, TRIGGER_ALL_VA)?;
        assert_eq!(bench.read(0x1000), Ok(0x6000));
        bench.gpu.check_clean()
    }

    #[test]
    fn a_table_that_is_freed_too_early_is_poison() -> Result {
        let bench = Bench::with_tables()?;
        assert_eq!(bench.read(0), Err(Fault::Unmapped));
        bench.set(PD0 + 8, 0);
        bench
            .gpu
            .poison(VramAddress::new(SMALL)..VramAddress::new(SMALL + 0x1000));

        assert_eq!(bench.gpu.vram_read64(VramAddress::new(SMALL)), POISON);
        assert_eq!(bench.walk(0x1000), Err(Fault::Unmapped));
        bench.gpu.check_clean()?;
        assert_eq!(bench.read(0x1000), Err(Fault::Poison));
        assert_eq!(
            bench.gpu.take_violation(),
            Some(Violation::Poison(VirtualAddress::new(0x1000)))
        );
        Ok(())
    }

    #[test]
    fn fresh_memory_is_poison_until_it_is_written() -> Result {
        let bench = Bench::with_tables()?;
        let table = 0x1_7000;
        assert_eq!(bench.gpu.vram_read64(VramAddress::new(table)), POISON);
        bench.set(PD0 + 8, 0x1702);
        bench.set(table, 0x501);

        assert_eq!(bench.walk(0), Ok(0x5000));
        bench.gpu.check_clean()?;
        assert_eq!(bench.walk(0x1000), Err(Fault::Poison));
        assert!(bench.gpu.check_clean().is_err());
        Ok(())
    }

    #[test]
    fn an_invalidate_is_of_one_address_space() -> Result {
        let bench = Bench::with_tables()?;
        bench.set(SMALL, 0x501);
        assert_eq!(bench.read(0), Ok(0x5000));
        bench.set(SMALL, 0x601);

        bench.invalidate(PDB + 0x1000, TRIGGER_ALL_VA)?;
        assert_eq!(bench.read(0), Ok(0x5000));
        bench.invalidate(PDB + 0x1000, TRIGGER_ALL_VA | ALL_PDB)?;
        assert_eq!(bench.read(0), Ok(0x6000));
        Ok(())
    }

    #[test]
    fn an_invalidate_names_the_whole_address() -> Result {
        let high = 0x123_4567_0000_0000;
        let bench = Bench::new(Config {
            vram_start: VramAddress::new(high),
            bar1_pdb: VramAddress::new(high),
            ..Config::default()
        })?;
        let pdb = VramAddress::new(high);
        let translate = || {
            bench
                .gpu
                .translate(pdb, VirtualAddress::new(0), Access::READ)
        };
        assert_eq!(translate(), Err(Fault::Unmapped));
        bench.set(high, 0x8);

        // Bits 39:12 alone are not enough.
        bench.bar.write32(0x6700_0000, 0xb8_30a0)?;
        for (upper, expected) in [(0, Fault::Unmapped), (0x1_2345, Fault::Sparse)] {
            bench.bar.write32(upper, 0xb8_30a4)?;
            bench.bar.write32(TRIGGER_ALL_VA, 0xb8_30b0)?;
            while bench.is_pending()? {}
            assert_eq!(translate(), Err(expected));
        }
        bench.gpu.check_clean()
    }

    #[test]
    fn an_invalidate_can_be_of_the_hub_alone() -> Result {
        let bench = Bench::with_tables()?;
        bench.set(SMALL, 0x501);
        assert_eq!(bench.read(0), Ok(0x5000));
        assert_eq!(bench.access(0, Access::HUB_READ), Ok(0x5000));
        bench.set(SMALL, 0x601);

        bench.invalidate(PDB, TRIGGER_ALL_VA | HUBTLB_ONLY)?;
        assert_eq!(bench.access(0, Access::HUB_READ), Ok(0x6000));
        assert_eq!(bench.read(0), Ok(0x5000));

        bench.set(SMALL, 0x701);
        bench.invalidate(PDB, TRIGGER_ALL_VA)?;
        assert_eq!(bench.access(0, Access::HUB_READ), Ok(0x7000));
        assert_eq!(bench.read(0), Ok(0x7000));
        Ok(())
    }

    #[test]
    fn an_invalidate_has_no_effect_before_it_is_done() -> Result {
        let bench = Bench::with_tables()?;
        bench.gpu.set_trigger_polls(2);
        bench.set(SMALL, 0x501);
        assert_eq!(bench.read(0), Ok(0x5000));
        bench.set(SMALL, 0);

        bench.start_invalidate(PDB, TRIGGER_ALL_VA)?;
        for _ in 0..2 {
            assert_eq!(bench.read(0), Ok(0x5000));
            assert!(bench.is_pending()?);
        }
        assert_eq!(bench.read(0), Ok(0x5000));
        assert!(!bench.is_pending()?);
        assert_eq!(bench.read(0), Err(Fault::Unmapped));
        bench.gpu.check_clean()
    }

    #[test]
    fn an_invalidate_can_hang() -> Result {
        let bench = Bench::with_tables()?;
        bench.set(SMALL, 0x501);
        assert_eq!(bench.read(0), Ok(0x5000));
        bench.set(SMALL, 0);
        bench.gpu.hang_invalidate(1);
        bench.invalidate(PDB + 0x1000, TRIGGER_ALL_VA)?;

        bench.start_invalidate(PDB, TRIGGER_ALL_VA)?;
        for _ in 0..1000 {
            assert!(bench.is_pending()?);
        }
        assert_eq!(bench.read(0), Ok(0x5000));
        bench.gpu.recover();
        assert!(!bench.is_pending()?);
        assert_eq!(bench.read(0), Err(Fault::Unmapped));
        bench.invalidate(PDB, TRIGGER_ALL_VA)
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of what the TLB caches and of what an invalidate covers.

use kernel::prelude::*;

#[kunit_tests(nova_core_mm_model_tlb)]
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
                Fixture,
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
    fn translation_cached() -> Result {
        let fixture = Fixture::with_tables()?;
        fixture.set(SMALL, 0x501);
        assert_eq!(fixture.read(0), Ok(0x5000));

        fixture.set(SMALL, 0);
        assert_eq!(fixture.read(0x10), Ok(0x5010));
        assert_eq!(fixture.walk(0), Err(Fault::Unmapped));

        fixture.invalidate(PDB, TRIGGER_ALL_VA)?;
        assert_eq!(fixture.read(0), Err(Fault::Unmapped));
        fixture.gpu.check_clean()
    }

    #[test]
    fn invalid_entry_cached() -> Result {
        let fixture = Fixture::with_tables()?;
        assert_eq!(fixture.read(0), Err(Fault::Unmapped));
        assert_eq!(fixture.read(0x20_0000), Err(Fault::Unmapped));

        fixture.set(SMALL, 0x501);
        fixture.set(PD0 + 16, 0x4_0001);
        assert_eq!(fixture.read(0), Err(Fault::Unmapped));
        // The invalid entry translates the whole range that it spans.
        assert_eq!(fixture.read(0x3f_0000), Err(Fault::Unmapped));

        fixture.invalidate(PDB, TRIGGER_ALL_VA)?;
        assert_eq!(fixture.read(0), Ok(0x5000));
        assert_eq!(fixture.read(0x3f_0000), Ok(0x5f_0000));

        let fixture = Fixture::new(Config {
            negative_caching: false,
            ..Config::default()
        })?;
        crate::mm::model::tests::v2::write_directories(&fixture);
        assert_eq!(fixture.read(0), Err(Fault::Unmapped));
        fixture.set(SMALL, 0x501);
        assert_eq!(fixture.read(0), Ok(0x5000));
        Ok(())
    }

    #[test]
    fn directory_entry_cached() -> Result {
        let fixture = Fixture::with_tables()?;
        let other = 0x1_7000;
        fixture.zero(other);
        fixture.set(SMALL, 0x501);
        fixture.set(other + 8, 0x601);
        assert_eq!(fixture.read(0), Ok(0x5000));

        // Another address, which has not been translated yet, still uses the old table.
        fixture.set(PD0 + 8, 0x1702);
        fixture.set(SMALL + 8, 0x701);
        assert_eq!(fixture.read(0x1000), Ok(0x7000));

        fixture.invalidate(PDB, TRIGGER_ALL_VA)?;
        assert_eq!(fixture.read(0x1000), Ok(0x6000));
        fixture.gpu.check_clean()
    }

    #[test]
    fn walk_freed_table_violation() -> Result {
        let fixture = Fixture::with_tables()?;
        assert_eq!(fixture.read(0), Err(Fault::Unmapped));
        fixture.set(PD0 + 8, 0);
        fixture
            .gpu
            .poison(VramAddress::new(SMALL)..VramAddress::new(SMALL + 0x1000));

        assert_eq!(fixture.gpu.vram_read64(VramAddress::new(SMALL)), POISON);
        assert_eq!(fixture.walk(0x1000), Err(Fault::Unmapped));
        fixture.gpu.check_clean()?;
        assert_eq!(fixture.read(0x1000), Err(Fault::Poison));
        assert_eq!(
            fixture.gpu.take_violation(),
            Some(Violation::Poison(VirtualAddress::new(0x1000)))
        );
        Ok(())
    }

    #[test]
    fn walk_fresh_memory_violation() -> Result {
        let fixture = Fixture::with_tables()?;
        let table = 0x1_7000;
        assert_eq!(fixture.gpu.vram_read64(VramAddress::new(table)), POISON);
        fixture.set(PD0 + 8, 0x1702);
        fixture.set(table, 0x501);

        assert_eq!(fixture.walk(0), Ok(0x5000));
        fixture.gpu.check_clean()?;
        assert_eq!(fixture.walk(0x1000), Err(Fault::Poison));
        assert!(fixture.gpu.check_clean().is_err());
        Ok(())
    }

    #[test]
    fn invalidate_selects_address_space() -> Result {
        let fixture = Fixture::with_tables()?;
        fixture.set(SMALL, 0x501);
        assert_eq!(fixture.read(0), Ok(0x5000));
        fixture.set(SMALL, 0x601);

        fixture.invalidate(PDB + 0x1000, TRIGGER_ALL_VA)?;
        assert_eq!(fixture.read(0), Ok(0x5000));
        fixture.invalidate(PDB + 0x1000, TRIGGER_ALL_VA | ALL_PDB)?;
        assert_eq!(fixture.read(0), Ok(0x6000));
        Ok(())
    }

    #[test]
    fn invalidate_compares_whole_pdb() -> Result {
        let high = 0x123_4567_0000_0000;
        let fixture = Fixture::new(Config {
            vram_start: VramAddress::new(high),
            bar1_pdb: VramAddress::new(high),
            ..Config::default()
        })?;
        let pdb = VramAddress::new(high);
        let translate = || {
            fixture
                .gpu
                .translate(pdb, VirtualAddress::new(0), Access::READ)
        };
        assert_eq!(translate(), Err(Fault::Unmapped));
        fixture.set(high, 0x8);

        // Bits 39:12 alone do not identify the address space.
        fixture.bar.write32(0x6700_0000, 0xb8_30a0)?;
        for (upper, expected) in [(0, Fault::Unmapped), (0x1_2345, Fault::Sparse)] {
            fixture.bar.write32(upper, 0xb8_30a4)?;
            fixture.bar.write32(TRIGGER_ALL_VA, 0xb8_30b0)?;
            while fixture.is_pending()? {}
            assert_eq!(translate(), Err(expected));
        }
        fixture.gpu.check_clean()
    }

    #[test]
    fn invalidate_hub_only() -> Result {
        let fixture = Fixture::with_tables()?;
        fixture.set(SMALL, 0x501);
        assert_eq!(fixture.read(0), Ok(0x5000));
        assert_eq!(fixture.access(0, Access::HUB_READ), Ok(0x5000));
        fixture.set(SMALL, 0x601);

        fixture.invalidate(PDB, TRIGGER_ALL_VA | HUBTLB_ONLY)?;
        assert_eq!(fixture.access(0, Access::HUB_READ), Ok(0x6000));
        assert_eq!(fixture.read(0), Ok(0x5000));

        fixture.set(SMALL, 0x701);
        fixture.invalidate(PDB, TRIGGER_ALL_VA)?;
        assert_eq!(fixture.access(0, Access::HUB_READ), Ok(0x7000));
        assert_eq!(fixture.read(0), Ok(0x7000));
        Ok(())
    }

    #[test]
    fn invalidate_pending_no_effect() -> Result {
        let fixture = Fixture::with_tables()?;
        fixture.gpu.set_trigger_polls(2);
        fixture.set(SMALL, 0x501);
        assert_eq!(fixture.read(0), Ok(0x5000));
        fixture.set(SMALL, 0);

        fixture.start_invalidate(PDB, TRIGGER_ALL_VA)?;
        for _ in 0..2 {
            assert_eq!(fixture.read(0), Ok(0x5000));
            assert!(fixture.is_pending()?);
        }
        assert_eq!(fixture.read(0), Ok(0x5000));
        assert!(!fixture.is_pending()?);
        assert_eq!(fixture.read(0), Err(Fault::Unmapped));
        fixture.gpu.check_clean()
    }

    #[test]
    fn invalidate_hang() -> Result {
        let fixture = Fixture::with_tables()?;
        fixture.set(SMALL, 0x501);
        assert_eq!(fixture.read(0), Ok(0x5000));
        fixture.set(SMALL, 0);
        fixture.gpu.hang_invalidate(1);
        fixture.invalidate(PDB + 0x1000, TRIGGER_ALL_VA)?;

        fixture.start_invalidate(PDB, TRIGGER_ALL_VA)?;
        for _ in 0..1000 {
            assert!(fixture.is_pending()?);
        }
        assert_eq!(fixture.read(0), Ok(0x5000));
        fixture.gpu.recover();
        assert!(!fixture.is_pending()?);
        assert_eq!(fixture.read(0), Err(Fault::Unmapped));
        fixture.invalidate(PDB, TRIGGER_ALL_VA)
    }
}

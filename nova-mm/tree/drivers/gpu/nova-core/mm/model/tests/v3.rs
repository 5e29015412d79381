// SPDX-License-Identifier: GPL-2.0

//! Tests of page tables of MMU v3, word by word.

use kernel::prelude::*;

#[kunit_tests(nova_core_mm_model_v3)]
mod suite {
    use kernel::prelude::*;

    use crate::mm::{
        address::{
            PageSize,
            VirtualAddress,
            VramAddress, //
        },
        format::Aperture,
        mmio::Mmio,
        model::{
            tests::{
                Fixture,
                PDB, //
            },
            Config,
            Fault,
            Generation,
            Translation,
            Violation, //
        },
    };

    const PD3: u64 = 0x1_1000;
    const PD2: u64 = 0x1_2000;
    const PD1: u64 = 0x1_3000;
    const PD0: u64 = 0x1_4000;
    const SMALL: u64 = 0x1_5000;
    const BIG: u64 = 0x1_6100;

    fn fixture(generation: Generation) -> Result<Fixture> {
        let fixture = Fixture::new(Config {
            generation,
            ..Config::default()
        })?;
        write_directories(&fixture);

        Ok(fixture)
    }

    /// Writes the directories for the first 2 MiB, down to an empty table of small pages.
    fn write_directories(fixture: &Fixture) {
        for table in [PDB, PD3, PD2, PD1, PD0, SMALL, BIG & !0xfff] {
            fixture.zero(table);
        }
        // PCF 2: cached, no ATS.
        fixture.set(PDB, 0x1_1012);
        fixture.set(PD3, 0x1_2012);
        fixture.set(PD2, 0x1_3012);
        fixture.set(PD1, 0x1_4012);
        fixture.set(PD0 + 8, 0x1_5012);
    }

    fn walk(fixture: &Fixture, address: u64) -> Result<Translation, Fault> {
        fixture
            .gpu
            .walk(VramAddress::new(PDB), VirtualAddress::new(address))
    }

    fn plain(address: u64, page_size: PageSize) -> Translation {
        Translation {
            aperture: Aperture::Vram,
            address,
            page_size,
            peer: 0,
            kind: 0,
            read_only: false,
            privileged: false,
            volatile: false,
            no_atomics: false,
        }
    }

    #[test]
    fn page_sizes_translate() -> Result {
        let fixture = fixture(Generation::Blackwell)?;
        fixture.set(SMALL + 8, 0x5001);
        fixture.set(PD0 + 16, 0x1_6112);
        fixture.set(BIG + 8 * 2, 0x3_0001);
        fixture.set(PD0 + 32, 0x40_0001);
        fixture.set(PD1 + 8, 0x2000_0001);
        fixture.set(PD2 + 8, (1 << 38) | 1);

        for (address, expected) in [
            (0x1abc, plain(0x5abc, PageSize::Size4K)),
            (0x22_1234, plain(0x3_1234, PageSize::Size64K)),
            (0x5f_edcb, plain(0x5f_edcb, PageSize::Size2M)),
            (0x2123_4567, plain(0x2123_4567, PageSize::Size512M)),
            ((1 << 38) + 0x1_2345_6789, {
                plain((1 << 38) + 0x1_2345_6789, PageSize::Size256G)
            }),
        ] {
            assert_eq!(walk(&fixture, address), Ok(expected));
        }
        for absent in [0, 0x20_0000, 0x60_0000, 1 << 30, 1 << 47, 1 << 56] {
            assert_eq!(walk(&fixture, absent), Err(Fault::Unmapped));
        }
        assert_eq!(walk(&fixture, 1 << 57), Err(Fault::OutOfRange));
        fixture.gpu.check_clean()?;

        let fixture = self::fixture(Generation::Hopper)?;
        fixture.set(PD2 + 8, (1 << 38) | 1);
        assert_eq!(walk(&fixture, 1 << 38), Err(Fault::Malformed));
        Ok(())
    }

    #[test]
    fn attributes() -> Result {
        let fixture = fixture(Generation::Hopper)?;
        let small = plain(0x5000, PageSize::Size4K);
        for (word, expected) in [
            // PCF 0x10: only access counting is disabled.
            (0x5081, small),
            (
                0x5089,
                Translation {
                    volatile: true,
                    ..small
                },
            ),
            (
                0x5011,
                Translation {
                    privileged: true,
                    ..small
                },
            ),
            (
                0x5021,
                Translation {
                    read_only: true,
                    ..small
                },
            ),
            (
                0x5641,
                Translation {
                    kind: 6,
                    no_atomics: true,
                    ..small
                },
            ),
            (
                0x000f_ffff_ffff_f00d,
                Translation {
                    aperture: Aperture::SysCoherent,
                    address: 0xf_ffff_ffff_f000,
                    volatile: true,
                    ..small
                },
            ),
            (
                0x000f_ffff_ffff_f00f,
                Translation {
                    aperture: Aperture::SysNonCoherent,
                    address: 0xf_ffff_ffff_f000,
                    volatile: true,
                    ..small
                },
            ),
            (
                0xa000_0000_0000_9003,
                Translation {
                    aperture: Aperture::Peer,
                    address: 0x9000,
                    peer: 5,
                    ..small
                },
            ),
        ] {
            fixture.set(SMALL, word);
            assert_eq!(walk(&fixture, 0), Ok(expected));
        }
        Ok(())
    }

    /// System memory pages of all sizes, coherent and not, side by side.
    #[test]
    fn sysmem_page_sizes() -> Result {
        let fixture = fixture(Generation::Hopper)?;
        fixture.set(SMALL + 8 * 31, 0x508d);
        fixture.set(PD0, 0x1_6112);
        fixture.set(BIG + 8 * 2, 0x3_008f);
        fixture.set(PD0 + 32, 0x40_008d);
        fixture.set(PD1 + 8, 0x2000_008f);

        for (address, aperture, expected) in [
            (
                0x1_fabc,
                Aperture::SysCoherent,
                plain(0x5abc, PageSize::Size4K),
            ),
            (
                0x2_1234,
                Aperture::SysNonCoherent,
                plain(0x3_1234, PageSize::Size64K),
            ),
            (
                0x5f_edcb,
                Aperture::SysCoherent,
                plain(0x5f_edcb, PageSize::Size2M),
            ),
            (
                0x2123_4567,
                Aperture::SysNonCoherent,
                plain(0x2123_4567, PageSize::Size512M),
            ),
        ] {
            let expected = Translation {
                aperture,
                volatile: true,
                ..expected
            };
            assert_eq!(walk(&fixture, address), Ok(expected));
        }
        assert_eq!(walk(&fixture, 0x3_0000), Err(Fault::Unmapped));
        fixture.gpu.check_clean()
    }

    #[test]
    fn sparse_and_invalid_entries() -> Result {
        let fixture = fixture(Generation::Hopper)?;
        fixture.set(SMALL, 0x8);
        fixture.set(PD0 + 16, 0x1_6112);
        fixture.set(BIG, 0x8);
        // Sparse entries with and without ATS.
        fixture.set(PD0 + 32, 0x18);
        fixture.set(PD1 + 8, 0x8);
        // Invalid without ATS.
        fixture.set(PD1 + 16, 0x10);

        for sparse in [0, 0x20_0000, 0x40_0000, 0x2000_0000] {
            assert_eq!(walk(&fixture, sparse), Err(Fault::Sparse));
        }
        assert_eq!(walk(&fixture, 0x4000_0000), Err(Fault::Unmapped));

        // An entry that disables small pages.
        fixture.set(PD0, 0x1_6112);
        fixture.set(SMALL, 0x5001);
        fixture.set(BIG, 0x18);
        assert_eq!(walk(&fixture, 0), Err(Fault::Unmapped));
        fixture.set(BIG, 0);
        assert_eq!(walk(&fixture, 0), Ok(plain(0x5000, PageSize::Size4K)));
        // The big page takes precedence while both are valid.
        fixture.set(BIG, 0x3_0001);
        assert_eq!(walk(&fixture, 0), Ok(plain(0x3_0000, PageSize::Size64K)));
        fixture.gpu.check_clean()
    }

    #[test]
    fn malformed_words() -> Result {
        let fixture = fixture(Generation::Hopper)?;
        for (entry, word) in [
            (PDB, 0x1_1013),
            (PD1, 0x1_4022),
            (PD1, 0x1_4010),
            (PD1, 0x1_4052),
            (PD0 + 8, 0x1_5013),
            (SMALL, 0x5000),
            (SMALL, 0x18),
            (SMALL, 0x5701),
            (SMALL, 0x0010_0000_0000_5001),
        ] {
            write_directories(&fixture);
            fixture.set(SMALL, 0x5001);
            fixture.set(entry, word);
            assert_eq!(walk(&fixture, 0), Err(Fault::Malformed));
        }
        Ok(())
    }

    #[test]
    fn window_register() -> Result {
        for (generation, too_large) in [
            (Generation::Hopper, 0x0040_0021),
            (Generation::Blackwell, 0x0080_0021),
        ] {
            let fixture = fixture(generation)?;
            fixture.bar.write32(0x21, 0x10_fd40)?;
            fixture.set(0x21_0000, 7);
            assert_eq!(fixture.bar.read64(0x70_0000)?, 7);
            fixture.gpu.check_clean()?;

            fixture.bar.write32(too_large, 0x10_fd40)?;
            assert_eq!(
                fixture.gpu.take_violation(),
                Some(Violation::WindowValue(too_large))
            );
            fixture.bar.write32(0x21, 0x1700)?;
            assert_eq!(
                fixture.gpu.take_violation(),
                Some(Violation::Register(0x1700))
            );
        }
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of page tables of MMU v2, word by word.

use kernel::prelude::*;

use super::{
    Fixture,
    PDB,
    TRIGGER_ALL_VA, //
};

/// Tables of the address space at [`PDB`].
pub(super) const PD2: u64 = 0x1_1000;
pub(super) const PD1: u64 = 0x1_2000;
pub(super) const PD0: u64 = 0x1_3000;
pub(super) const SMALL: u64 = 0x1_4000;
const BIG: u64 = 0x1_5100;
const SMALL_OF_BOTH: u64 = 0x1_6000;
const BIG_OF_BOTH: u64 = 0x1_5200;

/// Writes the directories for the first 2 MiB, down to an empty table of small pages.
pub(super) fn write_directories(fixture: &Fixture) {
    for table in [PDB, PD2, PD1, PD0, SMALL] {
        fixture.zero(table);
    }
    fixture.set(PDB, 0x1102);
    fixture.set(PD2, 0x1202);
    fixture.set(PD1, 0x1302);
    fixture.set(PD0 + 8, 0x1402);
}

#[kunit_tests(nova_core_mm_model_v2)]
mod suite {
    use kernel::prelude::*;

    use super::*;
    use crate::mm::{
        address::{
            PageSize,
            VirtualAddress,
            VramAddress, //
        },
        format::Aperture,
        model::{
            Access,
            Config,
            Fault,
            Generation,
            Translation, //
        },
    };

    /// Returns the translation of a VRAM page with default attributes.
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

    fn walk(fixture: &Fixture, address: u64) -> Result<Translation, Fault> {
        fixture
            .gpu
            .walk(VramAddress::new(PDB), VirtualAddress::new(address))
    }

    #[test]
    fn page_sizes_translate() -> Result {
        let fixture = Fixture::with_tables()?;
        fixture.set(SMALL + 8, 0x501);
        // A table of big pages for the second 2 MiB, and a 2 MiB page for the third.
        fixture.zero(BIG & !0xfff);
        fixture.set(PD0 + 16, 0x1512);
        fixture.set(BIG + 8 * 2, 0x3001);
        fixture.set(PD0 + 32, 0x4_0001);

        assert_eq!(walk(&fixture, 0x1abc), Ok(plain(0x5abc, PageSize::Size4K)));
        assert_eq!(
            walk(&fixture, 0x22_1234),
            Ok(plain(0x3_1234, PageSize::Size64K))
        );
        assert_eq!(
            walk(&fixture, 0x5f_edcb),
            Ok(plain(0x5f_edcb, PageSize::Size2M))
        );
        for absent in [0x0, 0x2000, 0x20_0000, 0x60_0000, 0x2000_0000, 1 << 40] {
            assert_eq!(walk(&fixture, absent), Err(Fault::Unmapped));
        }
        assert_eq!(walk(&fixture, 1 << 49), Err(Fault::OutOfRange));
        fixture.gpu.check_clean()
    }

    #[test]
    fn last_page() -> Result {
        let fixture = Fixture::with_tables()?;
        fixture.set(PDB, 0);
        fixture.set(PDB + 8 * 3, 0x1102);
        fixture.set(PD2 + 8 * 511, 0x1202);
        fixture.set(PD1 + 8 * 511, 0x1302);
        fixture.set(PD0 + 16 * 255 + 8, 0x1402);
        fixture.set(SMALL + 8 * 511, 0x501);

        assert_eq!(fixture.walk((1 << 49) - 1), Ok(0x5fff));
        Ok(())
    }

    #[test]
    fn page_512m_needs_ampere() -> Result {
        for (generation, found) in [
            (Generation::Turing, Err(Fault::Malformed)),
            (Generation::Ampere, Ok(0x2123_4567)),
        ] {
            let fixture = Fixture::new(Config {
                generation,
                ..Config::default()
            })?;
            write_directories(&fixture);
            fixture.set(PD1 + 8, 0x200_0001);
            assert_eq!(fixture.walk(0x2123_4567), found);
        }
        Ok(())
    }

    #[test]
    fn attributes() -> Result {
        let fixture = Fixture::with_tables()?;
        let small = plain(0x5000, PageSize::Size4K);
        for (word, expected) in [
            (
                0x541,
                Translation {
                    read_only: true,
                    ..small
                },
            ),
            (
                0x521,
                Translation {
                    privileged: true,
                    ..small
                },
            ),
            (
                0x581,
                Translation {
                    no_atomics: true,
                    ..small
                },
            ),
            (
                0x0600_0000_0000_0509,
                Translation {
                    kind: 6,
                    volatile: true,
                    ..small
                },
            ),
            (
                0x0000_0001_2345_670d,
                Translation {
                    aperture: Aperture::SysCoherent,
                    address: 0x12_3456_7000,
                    volatile: true,
                    ..small
                },
            ),
            (
                0x003f_ffff_ffff_ff07,
                Translation {
                    aperture: Aperture::SysNonCoherent,
                    address: 0x3ff_ffff_ffff_f000,
                    ..small
                },
            ),
            (
                0x0000_0006_0000_0903,
                Translation {
                    aperture: Aperture::Peer,
                    address: 0x9000,
                    peer: 3,
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
        let fixture = Fixture::new(Config {
            generation: Generation::Ampere,
            ..Config::default()
        })?;
        write_directories(&fixture);
        fixture.zero(BIG & !0xfff);
        fixture.set(SMALL + 8 * 31, 0x50d);
        fixture.set(PD0, 0x1512);
        fixture.set(BIG + 8 * 2, 0x300f);
        fixture.set(PD0 + 32, 0x4_000d);
        fixture.set(PD1 + 8, 0x200_000f);

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
    fn access_rights() -> Result {
        let fixture = Fixture::with_tables()?;
        fixture.set(SMALL, 0x541);
        fixture.set(SMALL + 8, 0x521);

        assert_eq!(fixture.access(0, Access::READ), Ok(0x5000));
        assert_eq!(fixture.access(0, Access::WRITE), Err(Fault::ReadOnly));
        assert_eq!(fixture.access(0x1000, Access::READ), Err(Fault::Privileged));
        assert_eq!(fixture.access(0x1000, Access::HUB_WRITE), Ok(0x5000));
        Ok(())
    }

    #[test]
    fn sparse_at_each_level() -> Result {
        let fixture = Fixture::with_tables()?;
        fixture.set(SMALL, 0x8);
        fixture.zero(BIG & !0xfff);
        fixture.set(PD0 + 16, 0x1512);
        fixture.set(BIG, 0x8);
        fixture.set(PD0 + 32, 0x8);
        fixture.set(PD1 + 8, 0x8);
        fixture.set(PD2 + 8, 0x8);

        for sparse in [0, 0x20_0000, 0x40_0000, 0x2000_0000, 1 << 38] {
            assert_eq!(walk(&fixture, sparse), Err(Fault::Sparse));
        }
        Ok(())
    }

    #[test]
    fn big_pages_precede_small() -> Result {
        let fixture = Fixture::with_tables()?;
        fixture.zero(BIG_OF_BOTH & !0xfff);
        fixture.zero(SMALL_OF_BOTH);
        fixture.set(PD0, 0x1522);
        fixture.set(PD0 + 8, 0x1602);
        fixture.set(SMALL_OF_BOTH, 0x501);
        fixture.set(SMALL_OF_BOTH + 8 * 16, 0x601);
        fixture.set(SMALL_OF_BOTH + 8 * 32, 0x701);

        // Both encodings of "no small pages", an invalid entry, and a sparse one.
        fixture.set(BIG_OF_BOTH, 0x20);
        assert_eq!(fixture.walk(0), Err(Fault::Unmapped));
        fixture.set(BIG_OF_BOTH, 0x28);
        assert_eq!(fixture.walk(0), Err(Fault::Unmapped));
        assert_eq!(fixture.walk(0x1_0000), Ok(0x6000));
        fixture.set(BIG_OF_BOTH + 8, 0x8);
        assert_eq!(fixture.walk(0x1_0000), Err(Fault::Sparse));
        fixture.gpu.check_clean()?;

        // The big page takes precedence while both are valid, in the walk and in the TLB.
        fixture.set(BIG_OF_BOTH + 8 * 2, 0x3001);
        assert_eq!(fixture.walk(0x2_0000), Ok(0x3_0000));
        assert_eq!(fixture.read(0x2_0000), Ok(0x3_0000));
        // The small pages next to the big one are valid.
        fixture.set(SMALL_OF_BOTH + 8 * 48, 0x801);
        assert_eq!(fixture.walk(0x3_0000), Ok(0x8000));
        assert_eq!(fixture.read(0x3_0000), Ok(0x8000));

        // The small page is used once the big one is invalid and the TLB is invalidated.
        fixture.set(BIG_OF_BOTH + 8 * 2, 0);
        assert_eq!(fixture.walk(0x2_0000), Ok(0x7000));
        assert_eq!(fixture.read(0x2_f000), Ok(0x3_f000));
        fixture.invalidate(PDB, TRIGGER_ALL_VA)?;
        assert_eq!(fixture.read(0x2_0000), Ok(0x7000));
        assert_eq!(fixture.read(0x2_f000), Err(Fault::Unmapped));
        fixture.gpu.check_clean()
    }

    #[test]
    fn malformed_words() -> Result {
        let fixture = Fixture::with_tables()?;
        // PTEs in directories without pages, undefined bits, and pointers without an aperture.
        for (entry, word) in [
            (PDB, 0x1103),
            (PD2, 0x1203),
            (PD1, 0x1303),
            (PD1, 0x1312),
            (PD1, 0x1300),
            (PD1, 0x2_0000_1302),
            (PD0 + 8, 0x1403),
            (SMALL, 0x511),
            (SMALL, 0x500),
            (SMALL, 0x20),
            (SMALL, 0x0700_0000_0000_0501),
            (SMALL, 0x2_0000_0501),
        ] {
            write_directories(&fixture);
            fixture.set(SMALL, 0x501);
            fixture.set(entry, word);
            assert_eq!(fixture.walk(0), Err(Fault::Malformed));
        }
        // A misaligned 2 MiB page.
        write_directories(&fixture);
        fixture.set(PD0 + 16, 0x1_0001);
        assert_eq!(fixture.walk(0x20_0000), Err(Fault::Malformed));
        // A table in system memory, which the model does not have.
        fixture.set(PD1, 0x1304);
        assert_eq!(fixture.walk(0), Err(Fault::NotInVram));
        fixture.gpu.check_clean()
    }
}

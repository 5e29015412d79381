// SPDX-License-Identifier: GPL-2.0

//! Tables of MMU v2, word by word.

use kernel::prelude::*;

use super::{
    Bench,
    PDB, //
};

/// Tables of the address space at [`PDB`].
pub(super) const PD2: u64 = 0x1_1000;
pub(super) const PD1: u64 = 0x1_2000;
pub(super) const PD0: u64 = 0x1_3000;
pub(super) const SMALL: u64 = 0x1_4000;
const BIG: u64 = 0x1_5100;
const SMALL_OF_BOTH: u64 = 0x1_6000;
const BIG_OF_BOTH: u64 = 0x1_5200;

/// Writes directories down to an empty table of small pages for the first 2 MiB.
pub(super) fn write_directories(bench: &Bench) {
    for table in [PDB, PD2, PD1, PD0, SMALL] {
        bench.zero(table);
    }
    bench.set(PDB, 0x1102);
    bench.set(PD2, 0x1202);
    bench.set(PD1, 0x1302);
    bench.set(PD0 + 8, 0x1402);
}

#[kunit_tests(nova_mm_model_v2)]
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
            Translation,
            Violation, //
        },
    };

    /// What a plain page of VRAM is translated to.
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

    fn walk(bench: &Bench, address: u64) -> Result<Translation, Fault> {
        bench
            .gpu
            .walk(VramAddress::new(PDB), VirtualAddress::new(address))
    }

    #[test]
    fn pages_of_all_sizes() -> Result {
        let bench = Bench::with_tables()?;
        bench.set(SMALL + 8, 0x501);
        // A table of big pages for the second 2 MiB, and a page of 2 MiB for the third.
        bench.zero(BIG & !0xfff);
        bench.set(PD0 + 16, 0x1512);
        bench.set(BIG + 8 * 2, 0x3001);
        bench.set(PD0 + 32, 0x4_0001);

        assert_eq!(walk(&bench, 0x1abc), Ok(plain(0x5abc, PageSize::Size4K)));
        assert_eq!(
            walk(&bench, 0x22_1234),
            Ok(plain(0x3_1234, PageSize::Size64K))
        );
        assert_eq!(
            walk(&bench, 0x5f_edcb),
            Ok(plain(0x5f_edcb, PageSize::Size2M))
        );
        for absent in [0x0, 0x2000, 0x20_0000, 0x60_0000, 0x2000_0000, 1 << 40] {
            assert_eq!(walk(&bench, absent), Err(Fault::Unmapped));
        }
        assert_eq!(walk(&bench, 1 << 49), Err(Fault::OutOfRange));
        bench.gpu.check_clean()
    }

    #[test]
    fn the_last_page_of_the_address_space() -> Result {
        let bench = Bench::with_tables()?;
        bench.set(PDB, 0);
        bench.set(PDB + 8 * 3, 0x1102);
        bench.set(PD2 + 8 * 511, 0x1202);
        bench.set(PD1 + 8 * 511, 0x1302);
        bench.set(PD0 + 16 * 255 + 8, 0x1402);
        bench.set(SMALL + 8 * 511, 0x501);

        assert_eq!(bench.walk((1 << 49) - 1), Ok(0x5fff));
        Ok(())
    }

    #[test]
    fn pages_of_512m_come_with_ampere() -> Result {
        for (generation, found) in [
            (Generation::Turing, Err(Fault::Invalid)),
            (Generation::Ampere, Ok(0x2123_4567)),
        ] {
            let bench = Bench::new(Config {
                generation,
                ..Config::default()
            })?;
            write_directories(&bench);
            bench.set(PD1 + 8, 0x200_0001);
            assert_eq!(bench.walk(0x2123_4567), found);
        }
        Ok(())
    }

    #[test]
    fn attributes() -> Result {
        let bench = Bench::with_tables()?;
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
            bench.set(SMALL, word);
            assert_eq!(walk(&bench, 0), Ok(expected));
        }
        Ok(())
    }

    #[test]
    fn rights_are_those_of_the_access() -> Result {
        let bench = Bench::with_tables()?;
        bench.set(SMALL, 0x541);
        bench.set(SMALL + 8, 0x521);

        assert_eq!(bench.access(0, Access::READ), Ok(0x5000));
        assert_eq!(bench.access(0, Access::WRITE), Err(Fault::ReadOnly));
        assert_eq!(bench.access(0x1000, Access::READ), Err(Fault::Privileged));
        assert_eq!(bench.access(0x1000, Access::HUB_WRITE), Ok(0x5000));
        Ok(())
    }

    #[test]
    fn sparse_entries_of_all_levels() -> Result {
        let bench = Bench::with_tables()?;
        bench.set(SMALL, 0x8);
        bench.zero(BIG & !0xfff);
        bench.set(PD0 + 16, 0x1512);
        bench.set(BIG, 0x8);
        bench.set(PD0 + 32, 0x8);
        bench.set(PD1 + 8, 0x8);
        bench.set(PD2 + 8, 0x8);

        for sparse in [0, 0x20_0000, 0x40_0000, 0x2000_0000, 1 << 38] {
            assert_eq!(walk(&bench, sparse), Err(Fault::Sparse));
        }
        Ok(())
    }

    #[test]
    fn big_pages_come_before_small_ones() -> Result {
        let bench = Bench::with_tables()?;
        bench.zero(BIG_OF_BOTH & !0xfff);
        bench.zero(SMALL_OF_BOTH);
        bench.set(PD0, 0x1522);
        bench.set(PD0 + 8, 0x1602);
        bench.set(SMALL_OF_BOTH, 0x501);
        bench.set(SMALL_OF_BOTH + 8 * 16, 0x601);
        bench.set(SMALL_OF_BOTH + 8 * 32, 0x701);

        // No small pages, by both of its encodings; nothing; and sparse.
        bench.set(BIG_OF_BOTH, 0x20);
        assert_eq!(bench.walk(0), Err(Fault::Unmapped));
        bench.set(BIG_OF_BOTH, 0x28);
        assert_eq!(bench.walk(0), Err(Fault::Unmapped));
        assert_eq!(bench.walk(0x1_0000), Ok(0x6000));
        bench.set(BIG_OF_BOTH + 8, 0x8);
        assert_eq!(bench.walk(0x1_0000), Err(Fault::Sparse));
        bench.gpu.check_clean()?;

        // Which of two pages counts is not defined.
        bench.set(BIG_OF_BOTH + 8 * 2, 0x3001);
        assert_eq!(bench.walk(0x2_0000), Err(Fault::Invalid));
        assert_eq!(
            bench.gpu.violation(),
            Some(Violation::BothSizes(VirtualAddress::new(0x2_0000)))
        );
        Ok(())
    }

    #[test]
    fn words_without_a_meaning() -> Result {
        let bench = Bench::with_tables()?;
        // A page in a directory that has none, bits that are none, tables that are said to be a
        // page, or not to be there.
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
            write_directories(&bench);
            bench.set(SMALL, 0x501);
            bench.set(entry, word);
            assert_eq!(bench.walk(0), Err(Fault::Invalid));
        }
        // A page of 2 MiB that is not aligned.
        write_directories(&bench);
        bench.set(PD0 + 16, 0x1_0001);
        assert_eq!(bench.walk(0x20_0000), Err(Fault::Invalid));
        // A table in system memory, of which there is none.
        bench.set(PD1, 0x1304);
        assert_eq!(bench.walk(0), Err(Fault::OutOfReach));
        bench.gpu.check_clean()
    }
}

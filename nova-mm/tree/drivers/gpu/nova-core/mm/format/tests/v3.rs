// SPDX-License-Identifier: GPL-2.0

//! Tests of the page table format of MMU v3.
//!
//! The expected words are composed by hand from the published bit positions, independently of the
//! format.

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        VramAddress, //
    },
    format::{
        self,
        tests::{
            self,
            vram_page,
            GoldenRun, //
        },
        v3::MmuV3,
        Access,
        Aperture,
        Entry,
        EntryType,
        Format,
        PageAttributes,
        Pde,
        Pte,
        PteKind, //
    },
};

/// The format. Its trait is not imported because [`Format`] has functions with the same names.
const FORMAT: &dyn format::MmuFormat = &MmuV3;

/// Width of a VRAM address: the only published field for VRAM ends at bit 39.
const VRAM_BITS: u32 = 40;

/// Width of a system memory or peer address: the field ends at bit 51.
const SYS_BITS: u32 = 52;

/// Names of the PCF values of a valid PTE, in numerical order.
const PTE_PCF: [&str; 32] = [
    "REGULAR_RW_ATOMIC_CACHED_ACE",
    "REGULAR_RW_ATOMIC_UNCACHED_ACE",
    "PRIVILEGE_RW_ATOMIC_CACHED_ACE",
    "PRIVILEGE_RW_ATOMIC_UNCACHED_ACE",
    "REGULAR_RO_ATOMIC_CACHED_ACE",
    "REGULAR_RO_ATOMIC_UNCACHED_ACE",
    "PRIVILEGE_RO_ATOMIC_CACHED_ACE",
    "PRIVILEGE_RO_ATOMIC_UNCACHED_ACE",
    "REGULAR_RW_NO_ATOMIC_CACHED_ACE",
    "REGULAR_RW_NO_ATOMIC_UNCACHED_ACE",
    "PRIVILEGE_RW_NO_ATOMIC_CACHED_ACE",
    "PRIVILEGE_RW_NO_ATOMIC_UNCACHED_ACE",
    "REGULAR_RO_NO_ATOMIC_CACHED_ACE",
    "REGULAR_RO_NO_ATOMIC_UNCACHED_ACE",
    "PRIVILEGE_RO_NO_ATOMIC_CACHED_ACE",
    "PRIVILEGE_RO_NO_ATOMIC_UNCACHED_ACE",
    "REGULAR_RW_ATOMIC_CACHED_ACD",
    "REGULAR_RW_ATOMIC_UNCACHED_ACD",
    "PRIVILEGE_RW_ATOMIC_CACHED_ACD",
    "PRIVILEGE_RW_ATOMIC_UNCACHED_ACD",
    "REGULAR_RO_ATOMIC_CACHED_ACD",
    "REGULAR_RO_ATOMIC_UNCACHED_ACD",
    "PRIVILEGE_RO_ATOMIC_CACHED_ACD",
    "PRIVILEGE_RO_ATOMIC_UNCACHED_ACD",
    "REGULAR_RW_NO_ATOMIC_CACHED_ACD",
    "REGULAR_RW_NO_ATOMIC_UNCACHED_ACD",
    "PRIVILEGE_RW_NO_ATOMIC_CACHED_ACD",
    "PRIVILEGE_RW_NO_ATOMIC_UNCACHED_ACD",
    "REGULAR_RO_NO_ATOMIC_CACHED_ACD",
    "REGULAR_RO_NO_ATOMIC_UNCACHED_ACD",
    "PRIVILEGE_RO_NO_ATOMIC_CACHED_ACD",
    "PRIVILEGE_RO_NO_ATOMIC_UNCACHED_ACD",
];

fn table(aperture: Aperture, address: u64, volatile: bool, no_ats: bool) -> Pde {
    Pde {
        aperture,
        address,
        volatile,
        no_ats,
        unknown: 0,
    }
}

fn page(aperture: Aperture, address: u64) -> Pte {
    Pte {
        aperture,
        ..vram_page(address)
    }
}

fn decode_pde(word: u64) -> Entry {
    MmuV3::decode(EntryType::Pde, PageSize::Size512M, [word, 0])
}

fn decode_dual(words: [u64; 2]) -> Entry {
    MmuV3::decode(EntryType::Dual, PageSize::Size2M, words)
}

fn decode_pte(word: u64) -> Entry {
    MmuV3::decode(EntryType::Pte, PageSize::Size4K, [word, 0])
}

#[kunit_tests(nova_core_mm_format_v3)]
mod suite {
    use super::*;

    #[test]
    fn levels() -> Result {
        let shifts = [56, 47, 38, 29, 21, 12];
        let entries = [2, 512, 512, 512, 256, 512];

        assert_eq!(MmuV3::VA_BITS, 57);
        assert_eq!(MmuV3::LEVELS.len(), 6);
        assert!(MmuV3::LEVELS.iter().map(|level| level.shift).eq(shifts));
        assert!(MmuV3::LEVELS
            .iter()
            .map(|level| level.entries())
            .eq(entries));

        tests::levels_cover_address::<MmuV3>()?;
        tests::indices_compose_page::<MmuV3>()
    }

    #[test]
    fn pde_vram_words() {
        // The address in place; APERTURE 1 at bit 1; PCF 2, cached and without ATS, at bit 3.
        let own = MmuV3::own_table(VramAddress::new(0x12_3456_7000));
        assert_eq!(MmuV3::encode_pde(&own), Ok(0x12_3456_7012));
        // The highest page: ones in 39:12.
        let last = MmuV3::own_table(VramAddress::new(0xff_ffff_f000));
        assert_eq!(MmuV3::encode_pde(&last), Ok(0xff_ffff_f012));
    }

    #[test]
    fn pde_system_words() {
        // APERTURE 2; PCF 1, uncached and with ATS. The highest page: ones in 51:12.
        let last = table(Aperture::SysCoherent, 0xf_ffff_ffff_f000, true, false);
        assert_eq!(MmuV3::encode_pde(&last), Ok(0xf_ffff_ffff_f00c));
        assert_eq!(decode_pde(0xf_ffff_ffff_f00c), Entry::Table(last));
        // APERTURE 3; PCF 0.
        let non_coherent = table(Aperture::SysNonCoherent, 0x1000, false, false);
        assert_eq!(MmuV3::encode_pde(&non_coherent), Ok(0x1006));
    }

    #[test]
    fn dual_words() {
        // The addresses in place, for the big table from bit 8; APERTURE 1; PCF 2.
        let big = MmuV3::own_table(VramAddress::new(0x1234_5600));
        let small = MmuV3::own_table(VramAddress::new(0x1234_5000));

        assert_eq!(MmuV3::encode_dual(Some(&big), None), Ok([0x1234_5612, 0]));
        assert_eq!(MmuV3::encode_dual(None, Some(&small)), Ok([0, 0x1234_5012]));
        assert_eq!(
            MmuV3::encode_dual(Some(&big), Some(&small)),
            Ok([0x1234_5612, 0x1234_5012])
        );
        // The highest address: ones in 51:8; APERTURE 3; PCF 3.
        let last = table(Aperture::SysNonCoherent, 0xf_ffff_ffff_ff00, true, true);
        assert_eq!(
            MmuV3::encode_dual(Some(&last), None),
            Ok([0xf_ffff_ffff_ff1e, 0])
        );
    }

    #[test]
    fn pde_pcf() {
        // Bit 0 of PCF is uncached, bit 1 is no ATS. Bit 2 has no published meaning, so PDEs that
        // point to a directory preserve it.
        for pcf in 0..8 {
            let pde = table(Aperture::Vram, 0x1000, pcf & 1 != 0, pcf & 2 != 0);
            let valid = Entry::Table(Pde {
                unknown: (pcf & 4) << 3,
                ..pde
            });
            let unused = match pcf {
                0 | 2 => Entry::Invalid,
                1 | 3 => Entry::Sparse,
                _ => Entry::Malformed,
            };

            assert_eq!(decode_pde(0x1002 | pcf << 3), valid);
            assert_eq!(decode_pde(pcf << 3), unused);
            assert_eq!(decode_dual([pcf << 3, 0]), unused);
            // ATS in an invalid half for big pages does not affect the half for small pages.
            let dual = Entry::Dual {
                big: None,
                small: Some(pde),
            };
            let small = if pcf < 4 { dual } else { Entry::Malformed };
            assert_eq!(decode_dual([0, 0x1002 | pcf << 3]), small);
            assert_eq!(decode_dual([2 << 3, 0x1002 | pcf << 3]), small);
            assert_eq!(decode_dual([1 << 3, 0x1002 | pcf << 3]), Entry::Malformed);
        }
    }

    #[test]
    fn pte_pcf() -> Result {
        for (pcf, name) in (0..).zip(PTE_PCF) {
            let pte = Pte {
                volatile: name.contains("_UNCACHED"),
                privileged: name.contains("PRIVILEGE_"),
                read_only: name.contains("_RO_"),
                no_atomics: name.contains("_NO_ATOMIC"),
                no_access_counting: name.contains("_ACD"),
                ..page(Aperture::Vram, 0x1234_5000)
            };
            // The address in place; PCF at bit 3; VALID, bit 0.
            let word = 0x1234_5001 | pcf << 3;

            assert_eq!(MmuV3::encode_pte(&pte, PageSize::Size4K), Ok(word));
            assert_eq!(decode_pte(word), Entry::Page(pte));
        }

        Ok(())
    }

    #[test]
    fn invalid_pte_pcf() -> Result {
        for pcf in 0..32 {
            let entry = match pcf {
                0 => Entry::Invalid,
                1 => Entry::Sparse,
                // 2 is "mapping nowhere", and 3 is valid only for big pages.
                _ => Entry::Malformed,
            };

            assert_eq!(decode_pte(pcf << 3), entry);
        }

        tests::no_small_pages_only_in_big_tables::<MmuV3>(3 << 3)
    }

    /// PCF 0x02 is PRIVILEGE_RW_ATOMIC_CACHED_ACE and 0x10 is REGULAR_RW_ATOMIC_CACHED_ACD.
    #[test]
    fn pte_pcf_privilege_access_counting() -> Result {
        let plain = page(Aperture::Vram, 0);
        let privileged = Pte {
            privileged: true,
            no_access_counting: false,
            ..plain
        };

        assert_eq!(
            MmuV3::encode_pte(&privileged, PageSize::Size4K)?,
            0x02 << 3 | 1
        );
        assert_eq!(MmuV3::encode_pte(&plain, PageSize::Size4K)?, 0x10 << 3 | 1);

        Ok(())
    }

    #[test]
    fn pte_vram_words() {
        let encode = |pte: &Pte| MmuV3::encode_pte(pte, PageSize::Size4K);
        let plain = page(Aperture::Vram, 0x12_3456_7000);
        let read_only = Pte {
            read_only: true,
            ..plain
        };
        let generic = Pte {
            kind: PteKind::Generic,
            ..plain
        };

        // The address in place; PCF 0x10, or 0x14 for read-only, at bit 3; VALID, bit 0.
        assert_eq!(encode(&plain), Ok(0x12_3456_7081));
        assert_eq!(encode(&read_only), Ok(0x12_3456_70a1));
        // KIND 6 at bit 8.
        assert_eq!(encode(&generic), Ok(0x12_3456_7681));
        assert_eq!(decode_pte(0x12_3456_7681), Entry::Page(generic));
        // The highest page: ones in 39:12.
        assert_eq!(
            encode(&page(Aperture::Vram, 0xff_ffff_f000)),
            Ok(0xff_ffff_f081)
        );
    }

    #[test]
    fn pte_peer_system_words() {
        let encode = |pte: &Pte| MmuV3::encode_pte(pte, PageSize::Size4K);
        let peer = Pte {
            peer: 5,
            ..page(Aperture::Peer, 0x1234_5000)
        };
        let coherent = Pte {
            volatile: true,
            ..page(Aperture::SysCoherent, 0x1234_5000)
        };

        // APERTURE 1, which means VRAM in a PDE; 5 in 63:61.
        assert_eq!(encode(&peer), Ok(0xa000_0000_1234_5083));
        // Peer addresses are as wide as system memory addresses: ones in 51:12; 7 in 63:61.
        let last_peer = Pte {
            peer: 7,
            ..page(Aperture::Peer, 0xf_ffff_ffff_f000)
        };
        assert_eq!(encode(&last_peer), Ok(0xe00f_ffff_ffff_f083));
        assert_eq!(decode_pte(0xe00f_ffff_ffff_f083), Entry::Page(last_peer));
        // APERTURE 2; PCF 0x11.
        assert_eq!(encode(&coherent), Ok(0x1234_508d));
        // APERTURE 3; the highest page, ones in 51:12.
        let last = page(Aperture::SysNonCoherent, 0xf_ffff_ffff_f000);
        assert_eq!(encode(&last), Ok(0xf_ffff_ffff_f087));
    }

    #[test]
    fn pte_kind_7_malformed() {
        let last = Pte {
            kind: PteKind::Other(0xf),
            ..page(Aperture::Vram, 0)
        };

        assert_eq!(decode_pte(0x781), Entry::Malformed);
        assert_eq!(decode_pte(0xf81), Entry::Page(last));
    }

    #[test]
    fn pte_large_words() -> Result {
        let encode = |address, size| MmuV3::encode_pte(&page(Aperture::Vram, address), size);

        assert_eq!(encode(0x1234_0000, PageSize::Size64K), Ok(0x1234_0081));
        assert_eq!(encode(0x1_2340_0000, PageSize::Size2M), Ok(0x1_2340_0081));
        assert_eq!(encode(0x6000_0000, PageSize::Size512M), Ok(0x6000_0081));
        assert_eq!(
            encode(0x80_0000_0000, PageSize::Size256G),
            Ok(0x80_0000_0081)
        );

        tests::large_page_second_word_malformed::<MmuV3>()
    }

    #[test]
    fn sparse_words() -> Result {
        // PCF 3, sparse and no ATS, in PDEs; PCF 1 in PTEs.
        assert_eq!(FORMAT.encode_sparse(EntryType::Pde), [0x18, 0]);
        assert_eq!(FORMAT.encode_sparse(EntryType::Dual), [0x18, 0]);
        assert_eq!(FORMAT.encode_sparse(EntryType::Pte), [8, 0]);

        tests::zero_words_decode_invalid::<MmuV3>()?;
        tests::sparse_round_trips::<MmuV3>()
    }

    /// Bits 63:52, 11:6 and 5 of a one-word PDE have no published meaning. Bit 5 belongs to PCF.
    #[test]
    fn pde_unknown_attributes() -> Result {
        tests::unknown_attributes_round_trip::<MmuV3>(0xfff0_0000_0000_0fe0)?;

        // PCF 4 and 7 contain unknown attributes; 8 is a bit of the word above PCF.
        for (pcf, known) in [(4, 0), (7, 3), (8, 0)] {
            let pde = Pde {
                unknown: (pcf & !3) << 3,
                ..table(Aperture::Vram, 0x1000, known & 1 != 0, known & 2 != 0)
            };

            assert_eq!(MmuV3::encode_pde(&pde), Ok(0x1002 | pcf << 3));
            assert_eq!(decode_pde(0x1002 | pcf << 3), Entry::Table(pde));
            assert_eq!(decode_pde(pcf << 3), Entry::Malformed);
        }
        // Failed reads return words that are malformed.
        for word in [u64::MAX, 0xbad0_ac01_bad0_ac01, 0xbadf_1002_badf_1002] {
            assert_eq!(decode_pde(word), Entry::Malformed);
        }

        Ok(())
    }

    /// PCF of a PTE has 5 bits. The next bit is the lowest bit of KIND.
    #[test]
    fn pte_pcf_ends_at_kind() {
        let kind_1 = Pte {
            kind: PteKind::Other(1),
            no_access_counting: false,
            ..page(Aperture::Vram, 0x1000)
        };

        assert_eq!(decode_pte(0x1001 | 0x20 << 3), Entry::Page(kind_1));
    }

    #[test]
    fn decode_stray_bits_malformed() {
        // An address without an aperture or VALID.
        assert_eq!(decode_pde(0x1000), Entry::Malformed);
        assert_eq!(decode_pte(0x1000), Entry::Malformed);
        // The half for small pages: sparse, or with the bit that marks a PTE.
        assert_eq!(decode_dual([0, 0x18]), Entry::Malformed);
        assert_eq!(decode_dual([0, 0x1234_5013]), Entry::Malformed);
        // VRAM addresses of 1 TiB and above.
        assert_eq!(decode_pde(0x100_0000_0012), Entry::Malformed);
        assert_eq!(decode_dual([0x100_0000_0012, 0]), Entry::Malformed);
        assert_eq!(decode_pte(0x100_0000_0081), Entry::Malformed);
        // Bits above the address, and a peer number for VRAM.
        assert_eq!(decode_dual([0x10_0000_0000_0012, 0]), Entry::Malformed);
        assert_eq!(decode_pte(0x10_0000_0000_0081), Entry::Malformed);
        assert_eq!(decode_pte(0x2000_0000_0000_0081), Entry::Malformed);
        // A misaligned 2 MiB page.
        assert_eq!(decode_dual([0x1234_5081, 0]), Entry::Malformed);
    }

    /// Valid entries that do not point to a table in VRAM.
    #[test]
    fn decode_other_than_vram_table() {
        let big = MmuV3::own_table(VramAddress::new(0x1234_5600));
        let sys = table(Aperture::SysCoherent, 0x1000, true, false);
        let peer = Pte {
            peer: 1,
            ..page(Aperture::Peer, 0x6000_0000)
        };

        // A PTE for peer memory. Its APERTURE, 1, would mean VRAM in a PDE.
        assert_eq!(decode_pde(0x2000_0000_6000_0083), Entry::Page(peer));
        assert_eq!(decode_dual([0x2000_0000_6000_0083, 0]), Entry::Page(peer));
        for level in &MmuV3::LEVELS[..2] {
            assert_eq!(
                level.decode(FORMAT, [0x2000_0000_6000_0083, 0]),
                Entry::Malformed
            );
            assert_eq!(level.decode(FORMAT, [0x81, 0]), Entry::Malformed);
        }
        // A table of big pages without a table of small pages.
        let dual = Entry::Dual {
            big: Some(big),
            small: None,
        };
        assert_eq!(decode_dual([0x1234_5612, 0]), dual);
        // A table in system memory.
        assert_eq!(decode_pde(0x100c), Entry::Table(sys));
    }

    #[test]
    fn encode_address_too_large_einval() {
        // The first addresses above 1 TiB of VRAM and above 52 bits of other memory.
        let vram = page(Aperture::Vram, 0x100_0000_0000);
        let peer = page(Aperture::Peer, 0x10_0000_0000_0000);
        let sys = page(Aperture::SysCoherent, 0x10_0000_0000_0000);

        for pte in [vram, peer, sys] {
            let pde = table(pte.aperture, pte.address, false, true);

            assert_eq!(MmuV3::encode_pte(&pte, PageSize::Size4K), Err(EINVAL));
            assert_eq!(MmuV3::encode_pte(&pte, PageSize::Size256G), Err(EINVAL));
            assert_eq!(MmuV3::encode_pde(&pde), Err(EINVAL));
            assert_eq!(MmuV3::encode_dual(Some(&pde), None), Err(EINVAL));
            assert_eq!(MmuV3::encode_dual(None, Some(&pde)), Err(EINVAL));
        }
    }

    /// Runs that end with the last page of each aperture.
    #[test]
    fn run_words() -> Result {
        // APERTURE 0; PCF 0x10; the address in 39:12.
        let runs = [
            GoldenRun {
                size: PageSize::Size4K,
                count: 512,
                address: 0xff_ffe0_0000,
                first: 0xff_ffe0_0081,
                last: 0xff_ffff_f081,
                step: 0x1000,
            },
            GoldenRun {
                size: PageSize::Size64K,
                count: 32,
                address: 0xff_ffe0_0000,
                first: 0xff_ffe0_0081,
                last: 0xff_ffff_0081,
                step: 0x1_0000,
            },
            GoldenRun {
                size: PageSize::Size2M,
                count: 256,
                address: 0xff_e000_0000,
                first: 0xff_e000_0081,
                last: 0xff_ffe0_0081,
                step: 0x20_0000,
            },
            GoldenRun {
                size: PageSize::Size512M,
                count: 4,
                address: 0xff_8000_0000,
                first: 0xff_8000_0081,
                last: 0xff_e000_0081,
                step: 0x2000_0000,
            },
            GoldenRun {
                size: PageSize::Size256G,
                count: 2,
                address: 0x80_0000_0000,
                first: 0x80_0000_0081,
                last: 0xc0_0000_0081,
                step: 0x40_0000_0000,
            },
        ];
        tests::runs_have_words(FORMAT, Aperture::Vram, &runs)?;

        // APERTURE 1; PCF 0x10; the address in 51:12; the number of the peer GPU, 5, in 63:61.
        let runs = [
            GoldenRun {
                size: PageSize::Size4K,
                count: 512,
                address: 0xf_ffff_ffe0_0000,
                first: 0xa00f_ffff_ffe0_0083,
                last: 0xa00f_ffff_ffff_f083,
                step: 0x1000,
            },
            GoldenRun {
                size: PageSize::Size256G,
                count: 2,
                address: 0xf_ff80_0000_0000,
                first: 0xa00f_ff80_0000_0083,
                last: 0xa00f_ffc0_0000_0083,
                step: 0x40_0000_0000,
            },
        ];
        tests::runs_have_words(FORMAT, Aperture::Peer, &runs)?;

        // APERTURE 2; PCF 0x11; the address in 51:12.
        let runs = [
            GoldenRun {
                size: PageSize::Size4K,
                count: 512,
                address: 0xf_ffff_ffe0_0000,
                first: 0xf_ffff_ffe0_008d,
                last: 0xf_ffff_ffff_f08d,
                step: 0x1000,
            },
            GoldenRun {
                size: PageSize::Size64K,
                count: 32,
                address: 0xf_ffff_ffe0_0000,
                first: 0xf_ffff_ffe0_008d,
                last: 0xf_ffff_ffff_008d,
                step: 0x1_0000,
            },
            GoldenRun {
                size: PageSize::Size2M,
                count: 256,
                address: 0xf_ffff_e000_0000,
                first: 0xf_ffff_e000_008d,
                last: 0xf_ffff_ffe0_008d,
                step: 0x20_0000,
            },
            GoldenRun {
                size: PageSize::Size512M,
                count: 4,
                address: 0xf_ffff_8000_0000,
                first: 0xf_ffff_8000_008d,
                last: 0xf_ffff_e000_008d,
                step: 0x2000_0000,
            },
            GoldenRun {
                size: PageSize::Size256G,
                count: 2,
                address: 0xf_ff80_0000_0000,
                first: 0xf_ff80_0000_008d,
                last: 0xf_ffc0_0000_008d,
                step: 0x40_0000_0000,
            },
        ];
        tests::runs_have_words(FORMAT, Aperture::SysCoherent, &runs)?;

        // APERTURE 3; PCF 0x11.
        let runs = [
            GoldenRun {
                size: PageSize::Size4K,
                count: 512,
                address: 0xf_ffff_ffe0_0000,
                first: 0xf_ffff_ffe0_008f,
                last: 0xf_ffff_ffff_f08f,
                step: 0x1000,
            },
            GoldenRun {
                size: PageSize::Size2M,
                count: 256,
                address: 0xf_ffff_e000_0000,
                first: 0xf_ffff_e000_008f,
                last: 0xf_ffff_ffe0_008f,
                step: 0x20_0000,
            },
        ];
        tests::runs_have_words(FORMAT, Aperture::SysNonCoherent, &runs)?;

        Ok(())
    }

    /// The words of PTEs with each attribute of a mapping.
    #[test]
    fn run_attributes() -> Result {
        let plain = PageAttributes::default();
        let encode = |attributes: PageAttributes| {
            let page = Pte::new(Aperture::Vram, 0x1234_5000, &attributes);

            FORMAT
                .encode_run(&page, PageSize::Size4K, 1)
                .map(|run| run.first)
        };

        assert_eq!(encode(plain), Ok(0x1234_5081));
        for (attributes, word) in [
            // PCF 0x11: uncached, bit 3.
            (
                PageAttributes {
                    volatile: true,
                    ..plain
                },
                0x1234_5089,
            ),
            // PCF 0x12: privilege, bit 4.
            (
                PageAttributes {
                    privileged: true,
                    ..plain
                },
                0x1234_5091,
            ),
            // PCF 0x14: read-only, bit 5.
            (
                PageAttributes {
                    access: Access::ReadOnly,
                    ..plain
                },
                0x1234_50a1,
            ),
            // KIND 6 at bit 8.
            (
                PageAttributes {
                    kind: PteKind::Generic,
                    ..plain
                },
                0x1234_5681,
            ),
        ] {
            assert_eq!(encode(attributes), Ok(word));
        }

        // KIND has 4 bits. 7 is not valid.
        for number in 0..=u8::MAX {
            let kind = PteKind::from(number);
            let word = 0x1234_5081 | u64::from(number) << 8;
            let expected = match number {
                7 => Err(EINVAL),
                0..=15 => Ok(word),
                _ => Err(EINVAL),
            };

            assert_eq!(encode(PageAttributes { kind, ..plain }), expected);
        }

        Ok(())
    }

    #[test]
    fn own_table_words() {
        let table = VramAddress::new(0x1234_5000);
        let big = VramAddress::new(0x1234_5600);
        // The last possible tables in VRAM, and the first addresses after them.
        let last = VramAddress::new(0xff_ffff_f000);
        let last_big = VramAddress::new(0xff_ffff_ff00);
        let end = VramAddress::new(0x100_0000_0000);
        let dual = |big, small| FORMAT.encode_own_dual(big, small);

        // The address in place; APERTURE 1 at bit 1; PCF 2, cached and without ATS, at bit 3.
        assert_eq!(FORMAT.encode_own_pde(table), Ok([0x1234_5012, 0]));
        assert_eq!(FORMAT.encode_own_pde(last), Ok([0xff_ffff_f012, 0]));
        assert_eq!(FORMAT.encode_own_pde(big), Err(EINVAL));
        assert_eq!(FORMAT.encode_own_pde(end), Err(EINVAL));
        // The address of a big table, from bit 8.
        assert_eq!(dual(Some(big), None), Ok([0x1234_5612, 0]));
        assert_eq!(dual(None, Some(table)), Ok([0, 0x1234_5012]));
        assert_eq!(dual(Some(big), Some(table)), Ok([0x1234_5612, 0x1234_5012]));
        assert_eq!(
            dual(Some(last_big), Some(last)),
            Ok([0xff_ffff_ff12, 0xff_ffff_f012])
        );
        assert_eq!(dual(None, None), Ok([0, 0]));
        for (big, small) in [
            (Some(end), None),
            (None, Some(end)),
            (None, Some(big)),
            (Some(VramAddress::new(0x80)), None),
        ] {
            assert_eq!(dual(big, small), Err(EINVAL));
        }
    }

    #[test]
    fn runs_match_pages() -> Result {
        tests::runs_match_pages::<MmuV3>()?;
        tests::runs_end_at_address_limit::<MmuV3>(VRAM_BITS, SYS_BITS, SYS_BITS)
    }

    #[test]
    fn run_invalid_einval() -> Result {
        tests::run_invalid_einval::<MmuV3>()?;
        tests::run_wrong_step_einval::<MmuV3>()
    }

    #[test]
    fn tables_round_trip() -> Result {
        tests::tables_round_trip::<MmuV3>(VRAM_BITS, SYS_BITS)
    }

    #[test]
    fn pages_round_trip() -> Result {
        tests::page_addresses_round_trip::<MmuV3>(VRAM_BITS, SYS_BITS, SYS_BITS)?;
        tests::page_kinds_round_trip::<MmuV3>(16)?;
        tests::page_peers_round_trip::<MmuV3>()?;
        tests::page_attributes_round_trip::<MmuV3>()
    }

    #[test]
    fn random_words_round_trip() -> Result {
        tests::random_words_round_trip::<MmuV3>()?;
        tests::second_word_ignored::<MmuV3>()
    }

    #[test]
    fn decode_every_bit() -> Result {
        tests::decode_every_bit::<MmuV3>()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of the page table format of MMU v2.
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
        v2::MmuV2,
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
const FORMAT: &dyn format::MmuFormat = &MmuV2;

/// Width of a VRAM or peer address: the page number has 25 bits.
const VRAM_BITS: u32 = 37;

/// Width of a system memory address: the page number has 46 bits.
const SYS_BITS: u32 = 58;

fn table(aperture: Aperture, address: u64, volatile: bool) -> Pde {
    Pde {
        aperture,
        volatile,
        ..Pde::vram(VramAddress::new(address))
    }
}

fn page(aperture: Aperture, address: u64) -> Pte {
    Pte {
        aperture,
        ..vram_page(address)
    }
}

fn decode_pde(word: u64) -> Entry {
    MmuV2::decode(EntryType::Pde, PageSize::Size512M, [word, 0])
}

fn decode_dual(words: [u64; 2]) -> Entry {
    MmuV2::decode(EntryType::Dual, PageSize::Size2M, words)
}

fn decode_pte(word: u64) -> Entry {
    MmuV2::decode(EntryType::Pte, PageSize::Size4K, [word, 0])
}

#[kunit_tests(nova_core_mm_format_v2)]
mod suite {
    use super::*;

    #[test]
    fn format_properties() {
        let own = FORMAT.encode_own_pde(VramAddress::new(0x1234_5000));

        assert_eq!(FORMAT.va_bits(), 49);
        assert_eq!(FORMAT.levels().len(), 5);
        assert_eq!(own, Ok([0x123_4502, 0]));
    }

    #[test]
    fn pte_new_attributes() {
        use Aperture::*;

        for (aperture, volatile) in [
            (Vram, false),
            (Peer, false),
            (SysCoherent, true),
            (SysNonCoherent, true),
        ] {
            let plain = Pte {
                aperture,
                address: 0x1234_5000,
                peer: 0,
                kind: PteKind::Pitch,
                volatile,
                privileged: false,
                read_only: false,
                no_atomics: false,
                no_access_counting: true,
            };
            let special = PageAttributes {
                kind: PteKind::Other(9),
                access: Access::ReadOnly,
                volatile: true,
                privileged: true,
            };

            assert_eq!(
                Pte::new(aperture, 0x1234_5000, &PageAttributes::default()),
                plain
            );
            assert_eq!(
                Pte::new(aperture, 0x1234_5000, &special),
                Pte {
                    kind: PteKind::Other(9),
                    volatile: true,
                    privileged: true,
                    read_only: true,
                    ..plain
                }
            );
        }
    }

    #[test]
    fn levels() -> Result {
        let shifts = [47, 38, 29, 21, 12];
        let entries = [4, 512, 512, 256, 512];

        assert_eq!(MmuV2::VA_BITS, 49);
        assert_eq!(MmuV2::LEVELS.len(), 5);
        assert!(MmuV2::LEVELS.iter().map(|level| level.shift).eq(shifts));
        assert!(MmuV2::LEVELS
            .iter()
            .map(|level| level.entries())
            .eq(entries));

        tests::levels_cover_address::<MmuV2>()?;
        tests::indices_compose_page::<MmuV2>()
    }

    #[test]
    fn pde_vram_words() {
        // Page 0x12345 at bit 8; APERTURE 1 at bit 1.
        assert_eq!(
            MmuV2::encode_pde(&Pde::vram(VramAddress::new(0x1234_5000))),
            Ok(0x123_4502)
        );
        // The same with VOL, bit 3.
        let volatile = table(Aperture::Vram, 0x1234_5000, true);
        assert_eq!(MmuV2::encode_pde(&volatile), Ok(0x123_450a));
        // The highest page: 25 ones in 32:8.
        let last = table(Aperture::Vram, 0x1f_ffff_f000, false);
        assert_eq!(MmuV2::encode_pde(&last), Ok(0x1_ffff_ff02));
    }

    #[test]
    fn pde_system_words() {
        // Page 1 at bit 8; APERTURE 2, or 3 for non-coherent memory, at bit 1.
        let coherent = table(Aperture::SysCoherent, 0x1000, false);
        assert_eq!(MmuV2::encode_pde(&coherent), Ok(0x104));
        let non_coherent = table(Aperture::SysNonCoherent, 0x1000, false);
        assert_eq!(MmuV2::encode_pde(&non_coherent), Ok(0x106));
        // The highest page, 46 ones in 53:8, with VOL.
        let last = table(Aperture::SysCoherent, 0x3ff_ffff_ffff_f000, true);
        assert_eq!(MmuV2::encode_pde(&last), Ok(0x3f_ffff_ffff_ff0c));
        assert_eq!(decode_pde(0x3f_ffff_ffff_ff0c), Entry::Table(last));
    }

    #[test]
    fn dual_words() {
        // Big: 0x123456 units of 256 bytes at bit 4. Small: page 0x12345 at bit 8.
        let big = Pde::vram(VramAddress::new(0x1234_5600));
        let small = Pde::vram(VramAddress::new(0x1234_5000));

        assert_eq!(MmuV2::encode_dual(Some(&big), None), Ok([0x123_4562, 0]));
        assert_eq!(MmuV2::encode_dual(None, Some(&small)), Ok([0, 0x123_4502]));
        assert_eq!(
            MmuV2::encode_dual(Some(&big), Some(&small)),
            Ok([0x123_4562, 0x123_4502])
        );
        // The highest address: 50 ones in 53:4, APERTURE 3, VOL.
        let last = table(Aperture::SysNonCoherent, 0x3ff_ffff_ffff_ff00, true);
        assert_eq!(
            MmuV2::encode_dual(Some(&last), None),
            Ok([0x3f_ffff_ffff_fffe, 0])
        );
        // The highest VRAM address: 29 ones in 32:4.
        let last = table(Aperture::Vram, 0x1f_ffff_ff00, false);
        assert_eq!(
            MmuV2::encode_dual(Some(&last), None),
            Ok([0x1_ffff_fff2, 0])
        );
        // Bit 9 of the address of a big table is stored in bit 5, which is NO_ATS in a PDE.
        let big = Pde::vram(VramAddress::new(0x200));
        let directory = Pde {
            no_ats: true,
            ..Pde::vram(VramAddress::new(0))
        };
        assert_eq!(MmuV2::encode_dual(Some(&big), None), Ok([0x22, 0]));
        assert_eq!(decode_pde(0x22), Entry::Table(directory));
    }

    /// NO_ATS is bit 5 of a one-word PDE. The driver never sets it, but firmware may.
    #[test]
    fn pde_no_ats() -> Result {
        let own = MmuV2::own_table(VramAddress::new(0x1234_5000));
        let no_ats = Pde {
            no_ats: true,
            ..own
        };
        let sys = Pde {
            no_ats: true,
            ..table(Aperture::SysNonCoherent, 0x1000, true)
        };

        assert_eq!(MmuV2::encode_pde(&own), Ok(0x123_4502));
        assert_eq!(MmuV2::encode_pde(&no_ats), Ok(0x123_4522));
        assert_eq!(decode_pde(0x123_4522), Entry::Table(no_ats));
        assert_eq!(decode_pde(0x12e), Entry::Table(sys));
        assert_eq!(decode_pde(0x20), Entry::Invalid);
        assert_eq!(decode_pde(0x28), Entry::Sparse);

        // A dual PDE has no NO_ATS bit.
        assert_eq!(MmuV2::encode_dual(Some(&no_ats), None), Err(EINVAL));
        assert_eq!(MmuV2::encode_dual(None, Some(&no_ats)), Err(EINVAL));
        assert_eq!(decode_dual([0x20, 0]), Entry::Malformed);
        assert_eq!(decode_dual([0x28, 0]), Entry::Malformed);
        assert_eq!(decode_dual([0, 0x123_4522]), Entry::Malformed);

        Ok(())
    }

    /// Bits 63:54, 7:6 and 4 of a one-word PDE have no published meaning.
    #[test]
    fn pde_unknown_attributes() -> Result {
        tests::unknown_attributes_round_trip::<MmuV2>(0xffc0_0000_0000_00d0)?;

        // Failed reads return words that are malformed.
        for word in [u64::MAX, 0xbad0_ac01_bad0_ac01, 0xbadf_1002_badf_1002] {
            assert_eq!(decode_pde(word), Entry::Malformed);
        }
        // Addresses of 128 GiB and above are malformed, with and without unknown attributes.
        assert_eq!(decode_pde(0x2_0123_4502), Entry::Malformed);
        assert_eq!(decode_pde(0x20_0000_0123_4542), Entry::Malformed);

        Ok(())
    }

    #[test]
    fn pte_vram_words() {
        let encode = |pte: &Pte| MmuV2::encode_pte(pte, PageSize::Size4K);
        let plain = page(Aperture::Vram, 0x1234_5000);

        // Page 0x12345 at bit 8; VALID, bit 0; APERTURE 0.
        assert_eq!(encode(&plain), Ok(0x123_4501));
        // READ_ONLY, bit 6.
        assert_eq!(
            encode(&Pte {
                read_only: true,
                ..plain
            }),
            Ok(0x123_4541)
        );
        // The highest page: 25 ones in 32:8.
        assert_eq!(
            encode(&page(Aperture::Vram, 0x1f_ffff_f000)),
            Ok(0x1_ffff_ff01)
        );

        for (pte, word) in [
            // VOL, bit 3.
            (
                Pte {
                    volatile: true,
                    ..plain
                },
                0x123_4509,
            ),
            // PRIVILEGE, bit 5.
            (
                Pte {
                    privileged: true,
                    ..plain
                },
                0x123_4521,
            ),
            // ATOMIC_DISABLE, bit 7.
            (
                Pte {
                    no_atomics: true,
                    ..plain
                },
                0x123_4581,
            ),
            // KIND at bit 56: 6, or 0xff.
            (
                Pte {
                    kind: PteKind::Generic,
                    ..plain
                },
                0x600_0000_0123_4501,
            ),
            (
                Pte {
                    kind: PteKind::Other(0xff),
                    ..plain
                },
                0xff00_0000_0123_4501,
            ),
        ] {
            assert_eq!(encode(&pte), Ok(word));
            assert_eq!(decode_pte(word), Entry::Page(pte));
        }
    }

    #[test]
    fn pte_peer_system_words() {
        let encode = |pte: &Pte| MmuV2::encode_pte(pte, PageSize::Size4K);
        let peer = Pte {
            peer: 5,
            ..page(Aperture::Peer, 0x1234_5000)
        };
        let coherent = Pte {
            volatile: true,
            ..page(Aperture::SysCoherent, 0x1234_5000)
        };

        // APERTURE 1, which means VRAM in a PDE; 5 in 35:33.
        assert_eq!(encode(&peer), Ok(0xa_0123_4503));
        // APERTURE 2 and VOL.
        assert_eq!(encode(&coherent), Ok(0x123_450d));
        // APERTURE 3; the highest page, 46 ones in 53:8.
        let last = page(Aperture::SysNonCoherent, 0x3ff_ffff_ffff_f000);
        assert_eq!(encode(&last), Ok(0x3f_ffff_ffff_ff07));
    }

    #[test]
    fn pte_large_words() -> Result {
        let encode = |address, size| MmuV2::encode_pte(&page(Aperture::Vram, address), size);

        // The fields are those of a 4 KiB PTE; the bits of the offset in the page are zero.
        assert_eq!(encode(0x1234_0000, PageSize::Size64K), Ok(0x123_4001));
        assert_eq!(encode(0x1_2340_0000, PageSize::Size2M), Ok(0x1234_0001));
        assert_eq!(encode(0x6000_0000, PageSize::Size512M), Ok(0x600_0001));
        assert_eq!(encode(0, PageSize::Size256G), Err(EINVAL));

        tests::large_page_second_word_malformed::<MmuV2>()
    }

    #[test]
    fn sparse_words() -> Result {
        // VOL, bit 3, alone.
        for kind in [EntryType::Pde, EntryType::Dual, EntryType::Pte] {
            assert_eq!(FORMAT.encode_sparse(kind), [8, 0]);
        }

        // PRIVILEGE, bit 5, alone; or with VOL.
        tests::no_small_pages_only_in_big_tables::<MmuV2>(0x20)?;
        tests::no_small_pages_only_in_big_tables::<MmuV2>(0x28)?;
        tests::zero_words_decode_invalid::<MmuV2>()?;
        tests::sparse_round_trips::<MmuV2>()
    }

    #[test]
    fn decode_stray_bits_malformed() {
        // An address or an attribute without an aperture.
        assert_eq!(decode_pde(0x100), Entry::Malformed);
        assert_eq!(decode_pde(0x10), Entry::Malformed);
        assert_eq!(decode_dual([0, 8]), Entry::Malformed);
        assert_eq!(decode_dual([8, 0x123_4502]), Entry::Malformed);
        assert_eq!(decode_dual([0, 0x123_4503]), Entry::Malformed);
        // An address or READ_ONLY without VALID.
        assert_eq!(decode_pte(0x123_4500), Entry::Malformed);
        assert_eq!(decode_pte(0x40), Entry::Malformed);
        // ENCRYPTED, bit 4.
        assert_eq!(decode_pte(0x123_4511), Entry::Malformed);
        // COMPTAGLINE, 55:36, and a peer number for VRAM.
        assert_eq!(decode_pte(0x10_0123_4501), Entry::Malformed);
        assert_eq!(decode_pte(0x80_0000_0123_4501), Entry::Malformed);
        assert_eq!(decode_pte(0x2_0123_4501), Entry::Malformed);
        // KIND 7 is not valid.
        assert_eq!(decode_pte(0x700_0000_0123_4501), Entry::Malformed);
        // A misaligned 2 MiB page.
        assert_eq!(decode_dual([0x123_4501, 0]), Entry::Malformed);
    }

    /// Bit 0 of an invalid PDE must be clear. If it is set, the entry is a writable page at VRAM
    /// address zero.
    #[test]
    fn invalid_pde_bit_0_clear() -> Result {
        let first_page = Entry::Page(page(Aperture::Vram, 0));

        assert_eq!(decode_pde(1), first_page);
        assert_eq!(decode_dual([1, 0]), first_page);
        assert_eq!(decode_pde(0), Entry::Invalid);
        assert_eq!(MmuV2::encode_dual(None, None), Ok([0, 0]));
        assert_eq!(MmuV2::encode_sparse(EntryType::Pde)[0] & 1, 0);
        assert_eq!(MmuV2::encode_sparse(EntryType::Dual)[0] & 1, 0);

        Ok(())
    }

    /// Valid entries that do not point to a table in VRAM.
    #[test]
    fn decode_other_than_vram_table() {
        let big = Pde::vram(VramAddress::new(0x1234_5600));
        let sys = table(Aperture::SysCoherent, 0x1000, false);

        // A PTE in the two levels that support pages, and in the levels that do not.
        assert_eq!(
            decode_dual([0x1234_0001, 0]),
            Entry::Page(page(Aperture::Vram, 0x1_2340_0000))
        );
        assert_eq!(
            decode_pde(0x600_0001),
            Entry::Page(page(Aperture::Vram, 0x6000_0000))
        );
        for level in &MmuV2::LEVELS[..2] {
            assert_eq!(level.decode(FORMAT, [0x600_0001, 0]), Entry::Malformed);
        }
        // A table of big pages without a table of small pages.
        assert_eq!(
            decode_dual([0x123_4562, 0]),
            Entry::Dual {
                big: Some(big),
                small: None
            }
        );
        // A table in system memory.
        assert_eq!(decode_pde(0x104), Entry::Table(sys));
        assert_eq!(
            decode_dual([0, 0x104]),
            Entry::Dual {
                big: None,
                small: Some(sys)
            }
        );
    }

    #[test]
    fn encode_address_too_large_einval() {
        // The first addresses above 128 GiB of VRAM and above 58 bits of system memory.
        let vram = page(Aperture::Vram, 0x20_0000_0000);
        let peer = page(Aperture::Peer, 0x20_0000_0000);
        let sys = page(Aperture::SysCoherent, 0x400_0000_0000_0000);

        for pte in [vram, peer, sys] {
            let pde = table(pte.aperture, pte.address, false);

            assert_eq!(MmuV2::encode_pte(&pte, PageSize::Size4K), Err(EINVAL));
            assert_eq!(MmuV2::encode_pte(&pte, PageSize::Size2M), Err(EINVAL));
            assert_eq!(MmuV2::encode_pde(&pde), Err(EINVAL));
            assert_eq!(MmuV2::encode_dual(Some(&pde), None), Err(EINVAL));
            assert_eq!(MmuV2::encode_dual(None, Some(&pde)), Err(EINVAL));
        }
    }

    #[test]
    fn encode_inexpressible_einval() {
        let plain = page(Aperture::Vram, 0);
        let counted = Pte {
            no_access_counting: false,
            ..plain
        };
        let no_kind = Pte {
            kind: PteKind::Other(7),
            ..plain
        };
        let peer = table(Aperture::Peer, 0x1000, false);

        assert_eq!(MmuV2::encode_pte(&counted, PageSize::Size4K), Err(EINVAL));
        assert_eq!(MmuV2::encode_pte(&no_kind, PageSize::Size4K), Err(EINVAL));
        assert_eq!(MmuV2::encode_pde(&peer), Err(EINVAL));
    }

    /// Runs that end with the last page of each aperture.
    #[test]
    fn run_words() -> Result {
        // APERTURE 0; 25 bits of page number in 32:8.
        let runs = [
            GoldenRun {
                size: PageSize::Size4K,
                count: 512,
                address: 0x1f_ffe0_0000,
                first: 0x1_fffe_0001,
                last: 0x1_ffff_ff01,
                step: 0x100,
            },
            GoldenRun {
                size: PageSize::Size64K,
                count: 32,
                address: 0x1f_ffe0_0000,
                first: 0x1_fffe_0001,
                last: 0x1_ffff_f001,
                step: 0x1000,
            },
            GoldenRun {
                size: PageSize::Size2M,
                count: 256,
                address: 0x1f_e000_0000,
                first: 0x1_fe00_0001,
                last: 0x1_fffe_0001,
                step: 0x2_0000,
            },
            GoldenRun {
                size: PageSize::Size512M,
                count: 4,
                address: 0x1f_8000_0000,
                first: 0x1_f800_0001,
                last: 0x1_fe00_0001,
                step: 0x200_0000,
            },
        ];
        tests::runs_have_words(FORMAT, Aperture::Vram, &runs)?;

        // APERTURE 1; the same bits, and the number of the peer GPU, 5, in 35:33.
        let runs = [
            GoldenRun {
                size: PageSize::Size4K,
                count: 512,
                address: 0x1f_ffe0_0000,
                first: 0xb_fffe_0003,
                last: 0xb_ffff_ff03,
                step: 0x100,
            },
            GoldenRun {
                size: PageSize::Size512M,
                count: 4,
                address: 0x1f_8000_0000,
                first: 0xb_f800_0003,
                last: 0xb_fe00_0003,
                step: 0x200_0000,
            },
        ];
        tests::runs_have_words(FORMAT, Aperture::Peer, &runs)?;

        // APERTURE 2 and VOL; 46 bits of page number in 53:8.
        let runs = [
            GoldenRun {
                size: PageSize::Size4K,
                count: 512,
                address: 0x3ff_ffff_ffe0_0000,
                first: 0x3f_ffff_fffe_000d,
                last: 0x3f_ffff_ffff_ff0d,
                step: 0x100,
            },
            GoldenRun {
                size: PageSize::Size64K,
                count: 32,
                address: 0x3ff_ffff_ffe0_0000,
                first: 0x3f_ffff_fffe_000d,
                last: 0x3f_ffff_ffff_f00d,
                step: 0x1000,
            },
            GoldenRun {
                size: PageSize::Size2M,
                count: 256,
                address: 0x3ff_ffff_e000_0000,
                first: 0x3f_ffff_fe00_000d,
                last: 0x3f_ffff_fffe_000d,
                step: 0x2_0000,
            },
            GoldenRun {
                size: PageSize::Size512M,
                count: 4,
                address: 0x3ff_ffff_8000_0000,
                first: 0x3f_ffff_f800_000d,
                last: 0x3f_ffff_fe00_000d,
                step: 0x200_0000,
            },
        ];
        tests::runs_have_words(FORMAT, Aperture::SysCoherent, &runs)?;

        // APERTURE 3 and VOL.
        let runs = [
            GoldenRun {
                size: PageSize::Size4K,
                count: 512,
                address: 0x3ff_ffff_ffe0_0000,
                first: 0x3f_ffff_fffe_000f,
                last: 0x3f_ffff_ffff_ff0f,
                step: 0x100,
            },
            GoldenRun {
                size: PageSize::Size2M,
                count: 256,
                address: 0x3ff_ffff_e000_0000,
                first: 0x3f_ffff_fe00_000f,
                last: 0x3f_ffff_fffe_000f,
                step: 0x2_0000,
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

        assert_eq!(encode(plain), Ok(0x123_4501));
        for (attributes, word) in [
            // VOL, bit 3.
            (
                PageAttributes {
                    volatile: true,
                    ..plain
                },
                0x123_4509,
            ),
            // PRIVILEGE, bit 5.
            (
                PageAttributes {
                    privileged: true,
                    ..plain
                },
                0x123_4521,
            ),
            // READ_ONLY, bit 6.
            (
                PageAttributes {
                    access: Access::ReadOnly,
                    ..plain
                },
                0x123_4541,
            ),
            // KIND 6 at bit 56.
            (
                PageAttributes {
                    kind: PteKind::Generic,
                    ..plain
                },
                0x600_0000_0123_4501,
            ),
        ] {
            assert_eq!(encode(attributes), Ok(word));
        }

        // KIND has 8 bits. 7 is not valid.
        for number in 0..=u8::MAX {
            let kind = PteKind::from(number);
            let word = 0x123_4501 | u64::from(number) << 56;
            let expected = match number {
                7 => Err(EINVAL),
                _ => Ok(word),
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
        let last = VramAddress::new(0x1f_ffff_f000);
        let last_big = VramAddress::new(0x1f_ffff_ff00);
        let end = VramAddress::new(0x20_0000_0000);
        let dual = |big, small| FORMAT.encode_own_dual(big, small);

        // Page number at bit 8; APERTURE 1 at bit 1.
        assert_eq!(FORMAT.encode_own_pde(table), Ok([0x123_4502, 0]));
        assert_eq!(FORMAT.encode_own_pde(last), Ok([0x1_ffff_ff02, 0]));
        assert_eq!(FORMAT.encode_own_pde(big), Err(EINVAL));
        assert_eq!(FORMAT.encode_own_pde(end), Err(EINVAL));
        // Address of a big table in units of 256 bytes at bit 4.
        assert_eq!(dual(Some(big), None), Ok([0x123_4562, 0]));
        assert_eq!(dual(None, Some(table)), Ok([0, 0x123_4502]));
        assert_eq!(dual(Some(big), Some(table)), Ok([0x123_4562, 0x123_4502]));
        assert_eq!(
            dual(Some(last_big), Some(last)),
            Ok([0x1_ffff_fff2, 0x1_ffff_ff02])
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
        tests::runs_match_pages::<MmuV2>()?;
        tests::runs_end_at_address_limit::<MmuV2>(VRAM_BITS, VRAM_BITS, SYS_BITS)
    }

    #[test]
    fn run_invalid_einval() -> Result {
        tests::run_invalid_einval::<MmuV2>()?;
        tests::run_wrong_step_einval::<MmuV2>()
    }

    #[test]
    fn tables_round_trip() -> Result {
        tests::tables_round_trip::<MmuV2>(VRAM_BITS, SYS_BITS)
    }

    #[test]
    fn pages_round_trip() -> Result {
        tests::page_addresses_round_trip::<MmuV2>(VRAM_BITS, VRAM_BITS, SYS_BITS)?;
        tests::page_kinds_round_trip::<MmuV2>(256)?;
        tests::page_peers_round_trip::<MmuV2>()?;
        tests::page_attributes_round_trip::<MmuV2>()
    }

    #[test]
    fn random_words_round_trip() -> Result {
        tests::random_words_round_trip::<MmuV2>()?;
        tests::second_word_ignored::<MmuV2>()
    }

    #[test]
    fn decode_every_bit() -> Result {
        tests::decode_every_bit::<MmuV2>()
    }
}

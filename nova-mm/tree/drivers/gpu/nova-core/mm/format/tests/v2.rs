// SPDX-License-Identifier: GPL-2.0

//! Version 2 of the MMU.
//!
//! The words were put together by hand from the published bits, and not by way of the format.

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        VramAddress, //
    },
    format::{
        tests,
        v2::MmuV2,
        Aperture,
        Entry,
        EntryKind,
        Format,
        Kind,
        Pde,
        Pte, //
    },
};

/// Number of bits of an address of VRAM, of this GPU or of another: 25 bits of page number.
const VRAM_BITS: u32 = 37;

/// Number of bits of an address of system memory: those of 46 bits of pages.
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
        ..Pte::vram(VramAddress::new(address), false)
    }
}

fn decode_pde(word: u64) -> Entry {
    MmuV2::decode(EntryKind::Pde, PageSize::Size512M, [word, 0])
}

fn decode_dual(words: [u64; 2]) -> Entry {
    MmuV2::decode(EntryKind::Dual, PageSize::Size2M, words)
}

fn decode_pte(word: u64) -> Entry {
    MmuV2::decode(EntryKind::Pte, PageSize::Size4K, [word, 0])
}

#[kunit_tests(nova_mm_format_v2)]
mod suite {
    use super::*;

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

        tests::levels_cover_the_address::<MmuV2>()?;
        tests::indices_make_up_the_page::<MmuV2>()
    }

    #[test]
    fn tables_in_vram() {
        // Page 0x12345 at bit 8; APERTURE 1 at bit 1.
        assert_eq!(
            MmuV2::encode_pde(&Pde::vram(VramAddress::new(0x1234_5000))),
            Ok(0x123_4502)
        );
        // The same with VOL, bit 3.
        let volatile = table(Aperture::Vram, 0x1234_5000, true);
        assert_eq!(MmuV2::encode_pde(&volatile), Ok(0x123_450a));
        // The highest page: 25 bits of ones in 32:8.
        let last = table(Aperture::Vram, 0x1f_ffff_f000, false);
        assert_eq!(MmuV2::encode_pde(&last), Ok(0x1_ffff_ff02));
    }

    #[test]
    fn tables_in_system_memory() {
        // Page 1 at bit 8; APERTURE 2, or 3 for not coherent, at bit 1.
        let coherent = table(Aperture::SysCoherent, 0x1000, false);
        assert_eq!(MmuV2::encode_pde(&coherent), Ok(0x104));
        let non_coherent = table(Aperture::SysNonCoherent, 0x1000, false);
        assert_eq!(MmuV2::encode_pde(&non_coherent), Ok(0x106));
        // The highest page, 46 bits of ones in 53:8, with VOL.
        let last = table(Aperture::SysCoherent, 0x3ff_ffff_ffff_f000, true);
        assert_eq!(MmuV2::encode_pde(&last), Ok(0x3f_ffff_ffff_ff0c));
        assert_eq!(decode_pde(0x3f_ffff_ffff_ff0c), Entry::Table(last));
    }

    #[test]
    fn dual_entries() {
        // Big: 0x123456 units of 256 bytes at bit 4. Small: page 0x12345 at bit 8.
        let big = Pde::vram(VramAddress::new(0x1234_5600));
        let small = Pde::vram(VramAddress::new(0x1234_5000));

        assert_eq!(MmuV2::encode_dual(Some(&big), None), Ok([0x123_4562, 0]));
        assert_eq!(MmuV2::encode_dual(None, Some(&small)), Ok([0, 0x123_4502]));
        assert_eq!(
            MmuV2::encode_dual(Some(&big), Some(&small)),
            Ok([0x123_4562, 0x123_4502])
        );
        // The highest of all: 50 bits of ones in 53:4, APERTURE 3, VOL.
        let last = table(Aperture::SysNonCoherent, 0x3ff_ffff_ffff_ff00, true);
        assert_eq!(
            MmuV2::encode_dual(Some(&last), None),
            Ok([0x3f_ffff_ffff_fffe, 0])
        );
        // The highest of VRAM: 29 bits of ones in 32:4.
        let last = table(Aperture::Vram, 0x1f_ffff_ff00, false);
        assert_eq!(
            MmuV2::encode_dual(Some(&last), None),
            Ok([0x1_ffff_fff2, 0])
        );
        // Bit 9 of the address of a big table is bit 5, which in a PDE is NO_ATS.
        let big = Pde::vram(VramAddress::new(0x200));
        let directory = Pde {
            no_ats: true,
            ..Pde::vram(VramAddress::new(0))
        };
        assert_eq!(MmuV2::encode_dual(Some(&big), None), Ok([0x22, 0]));
        assert_eq!(decode_pde(0x22), Entry::Table(directory));
    }

    /// NO_ATS, bit 5 of an entry of one word. The driver leaves it clear, the firmware need not.
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
        assert_eq!(decode_pde(0x20), Entry::Absent);
        assert_eq!(decode_pde(0x28), Entry::Sparse);

        // A dual entry has no place for it.
        assert_eq!(MmuV2::encode_dual(Some(&no_ats), None), Err(EINVAL));
        assert_eq!(MmuV2::encode_dual(None, Some(&no_ats)), Err(EINVAL));
        assert_eq!(decode_dual([0x20, 0]), Entry::Invalid);
        assert_eq!(decode_dual([0, 0x123_4522]), Entry::Invalid);

        tests::unmapped_entries_come_back::<MmuV2>(true, false)
    }

    /// Bits 63:54, 7:6 and 4 of an entry of one word have no published meaning.
    #[test]
    fn pde_unknown_attributes() -> Result {
        tests::unknown_attributes_come_back::<MmuV2>(0xffc0_0000_0000_00d0)?;

        // Words read from a bus that cannot reach the memory are neither directories nor absent.
        for word in [u64::MAX, 0xbad0_ac01_bad0_ac01, 0xbadf_1002_badf_1002] {
            assert_eq!(decode_pde(word), Entry::Invalid);
        }
        // Nor is an address above 128 GiB, with or without such attributes.
        assert_eq!(decode_pde(0x2_0123_4502), Entry::Invalid);
        assert_eq!(decode_pde(0x20_0000_0123_4542), Entry::Invalid);

        Ok(())
    }

    #[test]
    fn pages_of_vram() {
        let encode = |pte: &Pte| MmuV2::encode_pte(pte, PageSize::Size4K);
        let plain = page(Aperture::Vram, 0x1234_5000);

        // Page 0x12345 at bit 8; VALID, bit 0; APERTURE 0.
        assert_eq!(encode(&plain), Ok(0x123_4501));
        // READ_ONLY, bit 6.
        assert_eq!(
            encode(&Pte::vram(VramAddress::new(0x1234_5000), true)),
            Ok(0x123_4541)
        );
        // The highest page: 25 bits of ones in 32:8.
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
                    kind: Kind::Generic,
                    ..plain
                },
                0x600_0000_0123_4501,
            ),
            (
                Pte {
                    kind: Kind::Other(0xff),
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
    fn pages_elsewhere() {
        let encode = |pte: &Pte| MmuV2::encode_pte(pte, PageSize::Size4K);
        let peer = Pte {
            peer: 5,
            ..page(Aperture::Peer, 0x1234_5000)
        };
        let coherent = Pte {
            volatile: true,
            ..page(Aperture::SysCoherent, 0x1234_5000)
        };

        // APERTURE 1, which in a PDE is VRAM; 5 in 35:33.
        assert_eq!(encode(&peer), Ok(0xa_0123_4503));
        // APERTURE 2 and VOL.
        assert_eq!(encode(&coherent), Ok(0x123_450d));
        // APERTURE 3; the highest page, 46 bits of ones in 53:8.
        let last = page(Aperture::SysNonCoherent, 0x3ff_ffff_ffff_f000);
        assert_eq!(encode(&last), Ok(0x3f_ffff_ffff_ff07));
    }

    #[test]
    fn large_pages() -> Result {
        let encode = |address, size| MmuV2::encode_pte(&page(Aperture::Vram, address), size);

        // The same bits as a PTE's, with zeroes where the page has its offset.
        assert_eq!(encode(0x1234_0000, PageSize::Size64K), Ok(0x123_4001));
        assert_eq!(encode(0x1_2340_0000, PageSize::Size2M), Ok(0x1234_0001));
        assert_eq!(encode(0x6000_0000, PageSize::Size512M), Ok(0x600_0001));
        assert_eq!(encode(0, PageSize::Size256G), Err(EINVAL));

        tests::large_pages_have_one_word::<MmuV2>()
    }

    #[test]
    fn unused_entries() -> Result {
        // VOL, bit 3, alone.
        assert_eq!(MmuV2::encode_sparse(EntryKind::Pde), [8, 0]);
        assert_eq!(MmuV2::encode_sparse(EntryKind::Dual), [8, 0]);
        assert_eq!(MmuV2::encode_sparse(EntryKind::Pte)[0], 8);

        // PRIVILEGE, bit 5, alone; or with VOL.
        tests::only_big_entries_hide_small_pages::<MmuV2>(0x20)?;
        tests::only_big_entries_hide_small_pages::<MmuV2>(0x28)?;
        tests::zero_is_absent::<MmuV2>()?;
        tests::sparse_comes_back::<MmuV2>()
    }

    #[test]
    fn stray_bits_are_not_overlooked() {
        // Without an aperture: an address, or an attribute.
        assert_eq!(decode_pde(0x100), Entry::Invalid);
        assert_eq!(decode_pde(0x10), Entry::Invalid);
        assert_eq!(decode_dual([0, 8]), Entry::Invalid);
        assert_eq!(decode_dual([8, 0x123_4502]), Entry::Invalid);
        assert_eq!(decode_dual([0, 0x123_4503]), Entry::Invalid);
        // Without VALID: an address, or READ_ONLY.
        assert_eq!(decode_pte(0x123_4500), Entry::Invalid);
        assert_eq!(decode_pte(0x40), Entry::Invalid);
        // ENCRYPTED, bit 4.
        assert_eq!(decode_pte(0x123_4511), Entry::Invalid);
        // COMPTAGLINE, 55:36; a peer for VRAM.
        assert_eq!(decode_pte(0x10_0123_4501), Entry::Invalid);
        assert_eq!(decode_pte(0x80_0000_0123_4501), Entry::Invalid);
        assert_eq!(decode_pte(0x2_0123_4501), Entry::Invalid);
        // KIND 7, which is no kind.
        assert_eq!(decode_pte(0x700_0000_0123_4501), Entry::Invalid);
        // A page of 2 MiB that is not aligned.
        assert_eq!(decode_dual([0x123_4501, 0]), Entry::Invalid);
    }

    /// The bit that looks like "invalid" makes a page of a directory's entry: of VRAM, at zero, for
    /// everybody to write.
    #[test]
    fn an_absent_pde_has_not_bit_0() -> Result {
        let first_page = Entry::Page(page(Aperture::Vram, 0));

        assert_eq!(decode_pde(1), first_page);
        assert_eq!(decode_dual([1, 0]), first_page);
        assert_eq!(decode_pde(0), Entry::Absent);
        assert_eq!(MmuV2::encode_dual(None, None), Ok([0, 0]));
        assert_eq!(MmuV2::encode_sparse(EntryKind::Pde)[0] & 1, 0);
        assert_eq!(MmuV2::encode_sparse(EntryKind::Dual)[0] & 1, 0);

        Ok(())
    }

    /// What a walk that looks for tables must not take for nothing.
    #[test]
    fn what_is_no_table_in_vram_is_not_absent() {
        let big = Pde::vram(VramAddress::new(0x1234_5600));
        let sys = table(Aperture::SysCoherent, 0x1000, false);

        // A page in the two upper kinds of directories, and where there are none.
        assert_eq!(
            decode_dual([0x1234_0001, 0]),
            Entry::Page(page(Aperture::Vram, 0x1_2340_0000))
        );
        assert_eq!(
            decode_pde(0x600_0001),
            Entry::Page(page(Aperture::Vram, 0x6000_0000))
        );
        for level in &MmuV2::LEVELS[..2] {
            assert_eq!(level.decode::<MmuV2>([0x600_0001, 0]), Entry::Invalid);
        }
        // A table of big pages, and none of small ones.
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
    fn what_does_not_fit_is_an_error() {
        // The first byte beyond 128 GiB of VRAM, and beyond 58 bits of system memory.
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
    fn what_cannot_be_expressed_is_an_error() {
        let plain = page(Aperture::Vram, 0);
        let counted = Pte {
            no_access_counting: false,
            ..plain
        };
        let no_kind = Pte {
            kind: Kind::Other(7),
            ..plain
        };
        let peer = table(Aperture::Peer, 0x1000, false);

        assert_eq!(MmuV2::encode_pte(&counted, PageSize::Size4K), Err(EINVAL));
        assert_eq!(MmuV2::encode_pte(&no_kind, PageSize::Size4K), Err(EINVAL));
        assert_eq!(MmuV2::encode_pde(&peer), Err(EINVAL));
    }

    #[test]
    fn tables_come_back() -> Result {
        tests::tables_come_back::<MmuV2>(VRAM_BITS, SYS_BITS)
    }

    #[test]
    fn pages_come_back() -> Result {
        tests::addresses_of_pages_come_back::<MmuV2>(VRAM_BITS, VRAM_BITS, SYS_BITS)?;
        tests::kinds_come_back::<MmuV2>(256)?;
        tests::peers_come_back::<MmuV2>()?;
        tests::attributes_come_back::<MmuV2>()
    }

    #[test]
    fn random_words_come_back() -> Result {
        tests::random_words_come_back::<MmuV2>()?;
        tests::single_words_stand_alone::<MmuV2>()
    }

    #[test]
    fn every_bit_counts() -> Result {
        tests::every_bit_counts::<MmuV2>()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Version 3 of the MMU.
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
        v3::MmuV3,
        Aperture,
        Entry,
        EntryKind,
        Format,
        Kind,
        Pde,
        Pte, //
    },
};

/// Number of bits of an address of VRAM: the one published field that is for VRAM ends at bit 39.
const VRAM_BITS: u32 = 40;

/// Number of bits of an address of system memory or of another GPU: the field ends at bit 51.
const SYS_BITS: u32 = 52;

/// The names of PCF in a valid PTE, in the order of their numbers.
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
        ..Pte::vram(VramAddress::new(address), false)
    }
}

fn decode_pde(word: u64) -> Entry {
    MmuV3::decode(EntryKind::Pde, PageSize::Size512M, [word, 0])
}

fn decode_dual(words: [u64; 2]) -> Entry {
    MmuV3::decode(EntryKind::Dual, PageSize::Size2M, words)
}

fn decode_pte(word: u64) -> Entry {
    MmuV3::decode(EntryKind::Pte, PageSize::Size4K, [word, 0])
}

#[kunit_tests(nova_mm_format_v3)]
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

        tests::levels_cover_the_address::<MmuV3>()?;
        tests::indices_make_up_the_page::<MmuV3>()
    }

    #[test]
    fn tables_in_vram() {
        // The address in its place; APERTURE 1 at bit 1; PCF 2, cached and without ATS, at bit 3.
        let own = MmuV3::own_table(VramAddress::new(0x12_3456_7000));
        assert_eq!(MmuV3::encode_pde(&own), Ok(0x12_3456_7012));
        // The highest page: ones in 39:12.
        let last = MmuV3::own_table(VramAddress::new(0xff_ffff_f000));
        assert_eq!(MmuV3::encode_pde(&last), Ok(0xff_ffff_f012));
    }

    #[test]
    fn tables_in_system_memory() {
        // APERTURE 2; PCF 1, uncached and with ATS. The highest page: ones in 51:12.
        let last = table(Aperture::SysCoherent, 0xf_ffff_ffff_f000, true, false);
        assert_eq!(MmuV3::encode_pde(&last), Ok(0xf_ffff_ffff_f00c));
        assert_eq!(decode_pde(0xf_ffff_ffff_f00c), Entry::Table(last));
        // APERTURE 3; PCF 0.
        let non_coherent = table(Aperture::SysNonCoherent, 0x1000, false, false);
        assert_eq!(MmuV3::encode_pde(&non_coherent), Ok(0x1006));
    }

    #[test]
    fn dual_entries() {
        // The addresses in their places, big from bit 8; APERTURE 1; PCF 2.
        let big = MmuV3::own_table(VramAddress::new(0x1234_5600));
        let small = MmuV3::own_table(VramAddress::new(0x1234_5000));

        assert_eq!(MmuV3::encode_dual(Some(&big), None), Ok([0x1234_5612, 0]));
        assert_eq!(MmuV3::encode_dual(None, Some(&small)), Ok([0, 0x1234_5012]));
        assert_eq!(
            MmuV3::encode_dual(Some(&big), Some(&small)),
            Ok([0x1234_5612, 0x1234_5012])
        );
        // The highest of all: ones in 51:8; APERTURE 3; PCF 3.
        let last = table(Aperture::SysNonCoherent, 0xf_ffff_ffff_ff00, true, true);
        assert_eq!(
            MmuV3::encode_dual(Some(&last), None),
            Ok([0xf_ffff_ffff_ff1e, 0])
        );
    }

    #[test]
    fn pcf_of_directories() {
        // From bit 3 up: uncached, no ATS. The third bit has no published meaning, so that it is
        // kept where the entry points to a directory.
        for pcf in 0..8 {
            let pde = table(Aperture::Vram, 0x1000, pcf & 1 != 0, pcf & 2 != 0);
            let valid = Entry::Table(Pde {
                unknown: (pcf & 4) << 3,
                ..pde
            });
            let unused = match pcf {
                0 | 2 => Entry::Absent,
                1 | 3 => Entry::Sparse,
                _ => Entry::Invalid,
            };

            assert_eq!(decode_pde(0x1002 | pcf << 3), valid);
            assert_eq!(decode_pde(pcf << 3), unused);
            assert_eq!(decode_dual([pcf << 3, 0]), unused);
            // A table of small pages counts, whatever an absent half for big pages says of ATS.
            let dual = Entry::Dual {
                big: None,
                small: Some(pde),
            };
            let small = if pcf < 4 { dual } else { Entry::Invalid };
            assert_eq!(decode_dual([0, 0x1002 | pcf << 3]), small);
            assert_eq!(decode_dual([2 << 3, 0x1002 | pcf << 3]), small);
            assert_eq!(decode_dual([1 << 3, 0x1002 | pcf << 3]), Entry::Invalid);
        }
    }

    #[test]
    fn pcf_of_pages() -> Result {
        for (pcf, name) in (0..).zip(PTE_PCF) {
            let pte = Pte {
                volatile: name.contains("_UNCACHED"),
                privileged: name.contains("PRIVILEGE_"),
                read_only: name.contains("_RO_"),
                no_atomics: name.contains("_NO_ATOMIC"),
                no_access_counting: name.contains("_ACD"),
                ..page(Aperture::Vram, 0x1234_5000)
            };
            // The address in its place; PCF at bit 3; VALID, bit 0.
            let word = 0x1234_5001 | pcf << 3;

            assert_eq!(MmuV3::encode_pte(&pte, PageSize::Size4K), Ok(word));
            assert_eq!(decode_pte(word), Entry::Page(pte));
        }

        Ok(())
    }

    #[test]
    fn pcf_of_unused_pages() -> Result {
        for pcf in 0..32 {
            let entry = match pcf {
                0 => Entry::Absent,
                1 => Entry::Sparse,
                // 2 is "mapping nowhere", 3 is for big pages alone.
                _ => Entry::Invalid,
            };

            assert_eq!(decode_pte(pcf << 3), entry);
        }

        tests::only_big_entries_hide_small_pages::<MmuV3>(3 << 3)
    }

    /// PCF 0x02 is PRIVILEGE_RW_ATOMIC_CACHED_ACE and 0x10 is REGULAR_RW_ATOMIC_CACHED_ACD.
    #[test]
    fn privilege_and_access_counting_are_not_swapped() -> Result {
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
    fn pages_of_vram() {
        let encode = |pte: &Pte| MmuV3::encode_pte(pte, PageSize::Size4K);
        let plain = page(Aperture::Vram, 0x12_3456_7000);
        let read_only = Pte::vram(VramAddress::new(0x12_3456_7000), true);
        let generic = Pte {
            kind: Kind::Generic,
            ..plain
        };

        // The address in its place; PCF 0x10, or 0x14 for read-only, at bit 3; VALID, bit 0.
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
    fn pages_elsewhere() {
        let encode = |pte: &Pte| MmuV3::encode_pte(pte, PageSize::Size4K);
        let peer = Pte {
            peer: 5,
            ..page(Aperture::Peer, 0x1234_5000)
        };
        let coherent = Pte {
            volatile: true,
            ..page(Aperture::SysCoherent, 0x1234_5000)
        };

        // APERTURE 1, which in a PDE is VRAM; 5 in 63:61.
        assert_eq!(encode(&peer), Ok(0xa000_0000_1234_5083));
        // The address is as wide as in system memory: ones in 51:12; 7 in 63:61.
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
    fn kind_7_is_no_kind_and_15_is_one() {
        let last = Pte {
            kind: Kind::Other(0xf),
            ..page(Aperture::Vram, 0)
        };

        assert_eq!(decode_pte(0x781), Entry::Invalid);
        assert_eq!(decode_pte(0xf81), Entry::Page(last));
    }

    #[test]
    fn large_pages() -> Result {
        let encode = |address, size| MmuV3::encode_pte(&page(Aperture::Vram, address), size);

        assert_eq!(encode(0x1234_0000, PageSize::Size64K), Ok(0x1234_0081));
        assert_eq!(encode(0x1_2340_0000, PageSize::Size2M), Ok(0x1_2340_0081));
        assert_eq!(encode(0x6000_0000, PageSize::Size512M), Ok(0x6000_0081));
        assert_eq!(
            encode(0x80_0000_0000, PageSize::Size256G),
            Ok(0x80_0000_0081)
        );

        tests::large_pages_have_one_word::<MmuV3>()
    }

    #[test]
    fn unused_entries() -> Result {
        // PCF 3, sparse and ATS not allowed, as in the entries that point to tables; PCF 1 in a
        // PTE.
        assert_eq!(MmuV3::encode_sparse(EntryKind::Pde), [0x18, 0]);
        assert_eq!(MmuV3::encode_sparse(EntryKind::Dual), [0x18, 0]);
        assert_eq!(MmuV3::encode_sparse(EntryKind::Pte)[0], 8);

        tests::zero_is_absent::<MmuV3>()?;
        tests::sparse_comes_back::<MmuV3>()
    }

    /// PCF of an entry without an aperture: 0 and 2 are invalid, 1 and 3 sparse, with ATS allowed
    /// and not allowed.
    #[test]
    fn unmapped_entries_ats() -> Result {
        for kind in [EntryKind::Pde, EntryKind::Dual] {
            for (pcf, sparse, no_ats) in [
                (0, false, false),
                (1, true, false),
                (2, false, true),
                (3, true, true),
            ] {
                assert_eq!(
                    MmuV3::encode_unmapped(kind, sparse, no_ats),
                    Ok([pcf << 3, 0])
                );
            }
        }

        tests::unmapped_entries_come_back::<MmuV3>(true, true)
    }

    /// Bits 63:52, 11:6 and 5 of an entry of one word, the last of which is a bit of PCF, have no
    /// published meaning.
    #[test]
    fn pde_unknown_attributes() -> Result {
        tests::unknown_attributes_come_back::<MmuV3>(0xfff0_0000_0000_0fe0)?;

        // PCF 4 and 7 are attributes that are not known; 8 is another bit of the word.
        for (pcf, known) in [(4, 0), (7, 3), (8, 0)] {
            let pde = Pde {
                unknown: (pcf & !3) << 3,
                ..table(Aperture::Vram, 0x1000, known & 1 != 0, known & 2 != 0)
            };

            assert_eq!(MmuV3::encode_pde(&pde), Ok(0x1002 | pcf << 3));
            assert_eq!(decode_pde(0x1002 | pcf << 3), Entry::Table(pde));
            assert_eq!(decode_pde(pcf << 3), Entry::Invalid);
        }
        // Words read from a bus that cannot reach the memory are neither directories nor absent.
        for word in [u64::MAX, 0xbad0_ac01_bad0_ac01, 0xbadf_1002_badf_1002] {
            assert_eq!(decode_pde(word), Entry::Invalid);
        }

        Ok(())
    }

    /// PCF has 5 bits in a page. The next bit is the lowest one of KIND.
    #[test]
    fn pte_pcf_ends_at_kind() {
        let kind_1 = Pte {
            kind: Kind::Other(1),
            no_access_counting: false,
            ..page(Aperture::Vram, 0x1000)
        };

        assert_eq!(decode_pte(0x1001 | 0x20 << 3), Entry::Page(kind_1));
    }

    #[test]
    fn stray_bits_are_not_overlooked() {
        // Without an aperture or VALID: an address.
        assert_eq!(decode_pde(0x1000), Entry::Invalid);
        assert_eq!(decode_pte(0x1000), Entry::Invalid);
        // In the half for small pages: sparse, or the bit that makes a page of an entry.
        assert_eq!(decode_dual([0, 0x18]), Entry::Invalid);
        assert_eq!(decode_dual([0, 0x1234_5013]), Entry::Invalid);
        // VRAM from 1 TiB up.
        assert_eq!(decode_pde(0x100_0000_0012), Entry::Invalid);
        assert_eq!(decode_dual([0x100_0000_0012, 0]), Entry::Invalid);
        assert_eq!(decode_pte(0x100_0000_0081), Entry::Invalid);
        // Above the address; a peer for VRAM.
        assert_eq!(decode_dual([0x10_0000_0000_0012, 0]), Entry::Invalid);
        assert_eq!(decode_pte(0x10_0000_0000_0081), Entry::Invalid);
        assert_eq!(decode_pte(0x2000_0000_0000_0081), Entry::Invalid);
        // A page of 2 MiB that is not aligned.
        assert_eq!(decode_dual([0x1234_5081, 0]), Entry::Invalid);
    }

    /// What a walk that looks for tables must not take for nothing, or for a table.
    #[test]
    fn what_is_no_table_in_vram_is_not_absent() {
        let big = MmuV3::own_table(VramAddress::new(0x1234_5600));
        let sys = table(Aperture::SysCoherent, 0x1000, true, false);
        let peer = Pte {
            peer: 1,
            ..page(Aperture::Peer, 0x6000_0000)
        };

        // A page of peer memory: its APERTURE, 1, would be VRAM in an entry that points to a table.
        assert_eq!(decode_pde(0x2000_0000_6000_0083), Entry::Page(peer));
        assert_eq!(decode_dual([0x2000_0000_6000_0083, 0]), Entry::Page(peer));
        for level in &MmuV3::LEVELS[..2] {
            assert_eq!(
                level.decode::<MmuV3>([0x2000_0000_6000_0083, 0]),
                Entry::Invalid
            );
            assert_eq!(level.decode::<MmuV3>([0x81, 0]), Entry::Invalid);
        }
        // A table of big pages, and none of small ones.
        let dual = Entry::Dual {
            big: Some(big),
            small: None,
        };
        assert_eq!(decode_dual([0x1234_5612, 0]), dual);
        // A table in system memory.
        assert_eq!(decode_pde(0x100c), Entry::Table(sys));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        // The first byte beyond 1 TiB of VRAM, and beyond 52 bits of other memory.
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

    #[test]
    fn tables_come_back() -> Result {
        tests::tables_come_back::<MmuV3>(VRAM_BITS, SYS_BITS)
    }

    #[test]
    fn pages_come_back() -> Result {
        tests::addresses_of_pages_come_back::<MmuV3>(VRAM_BITS, SYS_BITS, SYS_BITS)?;
        tests::kinds_come_back::<MmuV3>(16)?;
        tests::peers_come_back::<MmuV3>()?;
        tests::attributes_come_back::<MmuV3>()
    }

    #[test]
    fn random_words_come_back() -> Result {
        tests::random_words_come_back::<MmuV3>()?;
        tests::single_words_stand_alone::<MmuV3>()
    }

    #[test]
    fn every_bit_counts() -> Result {
        tests::every_bit_counts::<MmuV3>()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Walker tests with MMU v2.

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        VirtualAddress,
        VramAddress, //
    },
    format::{
        tests::vram_page,
        v2::MmuV2,
        PageSizes, //
    },
    walk::{
        tests,
        walk,
        Found, //
    },
};

#[kunit_tests(nova_core_mm_walk_v2)]
mod suite {
    use super::*;

    #[test]
    fn invalid_entries_at_any_level() -> Result {
        tests::invalid_entries_at_any_level::<MmuV2>()
    }

    #[test]
    fn sparse_at_any_level() -> Result {
        tests::sparse_at_any_level::<MmuV2>()
    }

    #[test]
    fn pages_at_any_level() -> Result {
        tests::pages_at_any_level::<MmuV2>()
    }

    #[test]
    fn pages_of_chips() -> Result {
        tests::pages_of_chip::<MmuV2>(PageSizes::COMMON)?;
        tests::pages_of_chip::<MmuV2>(PageSizes::COMMON.with(PageSize::Size512M))
    }

    #[test]
    fn pages_span_size() -> Result {
        tests::pages_span_size::<MmuV2>()
    }

    #[test]
    fn big_pages_precede_small() -> Result {
        // PRIVILEGE, without and with VOL.
        tests::big_pages_precede_small::<MmuV2>(0x20)?;
        tests::big_pages_precede_small::<MmuV2>(0x28)
    }

    #[test]
    fn big_pages_alone() -> Result {
        tests::big_pages_alone::<MmuV2>()
    }

    #[test]
    fn system_tables_at_any_level() -> Result {
        tests::system_tables_at_any_level::<MmuV2>()
    }

    #[test]
    fn malformed_entries_at_any_level() -> Result {
        tests::malformed_entries_at_any_level::<MmuV2>()
    }

    #[test]
    fn address_too_large_einval() -> Result {
        tests::address_too_large_einval::<MmuV2>()
    }

    #[test]
    fn root_misaligned_einval() -> Result {
        tests::root_misaligned_einval::<MmuV2>()
    }

    #[test]
    fn read_error_ends_walk() -> Result {
        tests::read_error_ends_walk::<MmuV2>()
    }

    /// The words and the addresses are composed by hand.
    #[test]
    fn read_addresses() -> Result {
        let words = [
            // Bits 48:47 of the address are 2. The next table is at page 2.
            (0x1010, 0x202),
            // Bits 46:38 are 0x8d, bits 37:29 are 0x2b.
            (0x2468, 0x302),
            (0x3158, 0x402),
            // Bits 28:21 are 0x3c, in units of two words: big pages at 0x5300, small ones at
            // 0x6000.
            (0x43c0, 0x532),
            (0x43c8, 0x602),
            // Bits 20:16 are 9: no big page. Bits 20:12 are 0x9a.
            (0x5348, 0),
            (0x64d0, 0x123_4501),
        ];
        let page = Found::Page {
            pte: vram_page(0x1234_5000),
            size: PageSize::Size4K,
        };
        let mut expected = words.iter();

        let walk = walk(
            &MmuV2,
            &mut |address| match expected.next() {
                Some((next, word)) if address == VramAddress::new(*next) => Ok(*word),
                _ => Err(EIO),
            },
            PageSizes::COMMON,
            VramAddress::new(0x1000),
            VirtualAddress::new(0x1_2345_6789_abcd),
        )?;
        assert_eq!(walk.level, 4);
        assert_eq!(walk.found, page);
        assert!(expected.next().is_none());

        Ok(())
    }
}

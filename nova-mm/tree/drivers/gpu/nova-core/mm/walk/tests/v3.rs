// SPDX-License-Identifier: GPL-2.0

//! Walker tests with MMU v3.

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        VirtualAddress,
        VramAddress, //
    },
    format::{
        tests::vram_page,
        v3::MmuV3,
        PageSizes, //
    },
    walk::{
        tests,
        walk,
        Found, //
    },
};

#[kunit_tests(nova_core_mm_walk_v3)]
mod suite {
    use super::*;

    #[test]
    fn invalid_entries_at_any_level() -> Result {
        tests::invalid_entries_at_any_level::<MmuV3>()
    }

    #[test]
    fn sparse_at_any_level() -> Result {
        tests::sparse_at_any_level::<MmuV3>()
    }

    #[test]
    fn pages_at_any_level() -> Result {
        tests::pages_at_any_level::<MmuV3>()
    }

    /// Only Blackwell supports 256 GiB pages.
    #[test]
    fn page_sizes_of_chips() -> Result {
        let hopper = PageSizes::COMMON.with(PageSize::Size512M);

        tests::pages_of_chip::<MmuV3>(hopper)?;
        tests::pages_of_chip::<MmuV3>(hopper.with(PageSize::Size256G))
    }

    #[test]
    fn pages_span_size() -> Result {
        tests::pages_span_size::<MmuV3>()
    }

    #[test]
    fn big_pages_precede_small() -> Result {
        // PCF 3.
        tests::big_pages_precede_small::<MmuV3>(0x18)
    }

    #[test]
    fn big_pages_alone() -> Result {
        tests::big_pages_alone::<MmuV3>()
    }

    #[test]
    fn system_tables_at_any_level() -> Result {
        tests::system_tables_at_any_level::<MmuV3>()
    }

    #[test]
    fn malformed_entries_at_any_level() -> Result {
        tests::malformed_entries_at_any_level::<MmuV3>()
    }

    #[test]
    fn address_too_large_einval() -> Result {
        tests::address_too_large_einval::<MmuV3>()
    }

    #[test]
    fn root_misaligned_einval() -> Result {
        tests::root_misaligned_einval::<MmuV3>()
    }

    #[test]
    fn read_error_ends_walk() -> Result {
        tests::read_error_ends_walk::<MmuV3>()
    }

    /// The words and the addresses are composed by hand.
    #[test]
    fn read_addresses() -> Result {
        let words = [
            // Bit 56 of the address is 1. The next table is at 0x2000.
            (0x1008, 0x2012),
            // Bits 55:47 are 0x46, bits 46:38 are 0x115, bits 37:29 are 0x13c.
            (0x2230, 0x3012),
            (0x38a8, 0x4012),
            (0x49e0, 0x5012),
            // Bits 28:21 are 0x4d, in units of two words: big pages at 0x6300, small ones at
            // 0x7000.
            (0x54d0, 0x6312),
            (0x54d8, 0x7012),
            // Bits 20:16 are 0xb: no big page. Bits 20:12 are 0xbc.
            (0x6358, 0),
            (0x75e0, 0x1234_5081),
        ];
        let page = Found::Page {
            pte: vram_page(0x1234_5000),
            size: PageSize::Size4K,
        };
        let mut expected = words.iter();

        let walk = walk(
            &MmuV3,
            &mut |address| match expected.next() {
                Some((next, word)) if address == VramAddress::new(*next) => Ok(*word),
                _ => Err(EIO),
            },
            PageSizes::COMMON,
            VramAddress::new(0x1000),
            VirtualAddress::new(0x123_4567_89ab_cdef),
        )?;
        assert_eq!(walk.level, 5);
        assert_eq!(walk.found, page);
        assert!(expected.next().is_none());

        Ok(())
    }
}

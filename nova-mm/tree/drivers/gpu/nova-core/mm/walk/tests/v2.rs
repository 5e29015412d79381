// SPDX-License-Identifier: GPL-2.0

//! Version 2 of the MMU.

use kernel::prelude::*;

use crate::gpu::Chipset;

use crate::mm::{
    address::{
        PageSize,
        VirtualAddress,
        VramAddress, //
    },
    format::{
        v2::MmuV2,
        PageSizes,
        Pte, //
    },
    walk::{
        tests,
        walk,
        Found, //
    },
};

#[kunit_tests(nova_mm_walk_v2)]
mod suite {
    use super::*;

    #[test]
    fn nothing_at_any_level() -> Result {
        tests::nothing_at_any_level::<MmuV2>()
    }

    #[test]
    fn sparse_at_any_level() -> Result {
        tests::sparse_at_any_level::<MmuV2>()
    }

    #[test]
    fn pages_at_any_level() -> Result {
        tests::pages_at_any_level::<MmuV2>()
    }

    /// Turing has no pages of 512 MiB, all later chips have.
    #[test]
    fn chips_differ_in_page_sizes() -> Result {
        use Chipset::*;

        for &chipset in Chipset::ALL {
            let is_turing = matches!(chipset, TU102 | TU104 | TU106 | TU117 | TU116);
            let sizes = PageSizes::of(chipset);

            assert_eq!(sizes.contains(PageSize::Size512M), !is_turing);
            assert!(!sizes.contains(PageSize::Size256G));
            for size in [PageSize::Size4K, PageSize::Size64K, PageSize::Size2M] {
                assert!(sizes.contains(size));
            }
            tests::pages_of_the_chip::<MmuV2>(sizes)?;
        }

        Ok(())
    }

    #[test]
    fn pages_end() -> Result {
        tests::pages_end::<MmuV2>()
    }

    #[test]
    fn big_pages_come_first() -> Result {
        // PRIVILEGE alone, or with VOL.
        tests::big_pages_come_first::<MmuV2>(0x20)?;
        tests::big_pages_come_first::<MmuV2>(0x28)
    }

    #[test]
    fn big_pages_alone() -> Result {
        tests::big_pages_alone::<MmuV2>()
    }

    #[test]
    fn foreign_tables_at_any_level() -> Result {
        tests::foreign_tables_at_any_level::<MmuV2>()
    }

    #[test]
    fn invalid_entries_at_any_level() -> Result {
        tests::invalid_entries_at_any_level::<MmuV2>()
    }

    #[test]
    fn addresses_are_not_cut_off() -> Result {
        tests::addresses_are_not_cut_off::<MmuV2>()
    }

    #[test]
    fn roots_are_aligned() -> Result {
        tests::roots_are_aligned::<MmuV2>()
    }

    #[test]
    fn errors_are_passed_on() -> Result {
        tests::errors_are_passed_on::<MmuV2>()
    }

    /// The words and where they are were put together by hand.
    #[test]
    fn words_that_are_read() -> Result {
        let words = [
            // The number of the entry at 48:47 of the address is 2. The table is at page 2.
            (0x1010, 0x202),
            // 46:38 is 0x8d, 37:29 is 0x2b.
            (0x2468, 0x302),
            (0x3158, 0x402),
            // 28:21 is 0x3c, in units of two words: big pages at 0x5300, small ones at 0x6000.
            (0x43c0, 0x532),
            (0x43c8, 0x602),
            // 20:16 is 9: no big page. 20:12 is 0x9a.
            (0x5348, 0),
            (0x64d0, 0x123_4501),
        ];
        let page = Found::Page {
            pte: Pte::vram(VramAddress::new(0x1234_5000), false),
            size: PageSize::Size4K,
        };
        let mut expected = words.iter();

        let walk = walk::<MmuV2>(
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

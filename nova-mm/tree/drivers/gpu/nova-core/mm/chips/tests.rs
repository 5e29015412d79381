// SPDX-License-Identifier: GPL-2.0

//! Tests of the table of chips.

use kernel::prelude::*;

use super::*;

/// Calls `check` with the MMU of each chip of nova-core whose name starts with one of `prefixes`.
fn for_chips(prefixes: &[&str], check: impl Fn(&ChipMmu)) -> Result {
    for &chipset in Chipset::ALL {
        if prefixes.iter().any(|it| chipset.name().starts_with(it)) {
            check(find(chipset).ok_or(ENODEV)?);
        }
    }

    Ok(())
}

/// Checks the format and the page sizes of an MMU. All chips support the sizes up to 2 MiB.
fn check_mmu(mmu: &ChipMmu, va_bits: u32, sizes: &[PageSize]) {
    assert_eq!(mmu.format.va_bits(), va_bits);
    for size in [PageSize::Size4K, PageSize::Size64K, PageSize::Size2M] {
        assert!(mmu.page_sizes.contains(size));
    }
    for size in [PageSize::Size512M, PageSize::Size256G] {
        assert_eq!(mmu.page_sizes.contains(size), sizes.contains(&size));
    }
}

/// Checks that PRAMIN reaches the whole VRAM of the largest boards.
fn check_reach(mmu: &ChipMmu, gib: u64) {
    assert!(mmu.pramin.max_base().into_raw() >= (gib << 30) - (1 << 20));
}

#[kunit_tests(nova_core_mm_chips)]
mod suite {
    use super::*;

    #[test]
    fn turing_v2() -> Result {
        for_chips(&["tu"], |mmu| {
            check_mmu(mmu, 49, &[]);
            check_reach(mmu, 80);
        })
    }

    #[test]
    fn ampere_ada_v2_512m() -> Result {
        for_chips(&["ga", "ad"], |mmu| {
            check_mmu(mmu, 49, &[PageSize::Size512M]);
            check_reach(mmu, 80);
        })
    }

    #[test]
    fn hopper_v3_512m() -> Result {
        for_chips(&["gh"], |mmu| {
            check_mmu(mmu, 57, &[PageSize::Size512M]);
            check_reach(mmu, 256);
        })
    }

    #[test]
    fn blackwell_v3_256g() -> Result {
        for_chips(&["gb"], |mmu| {
            check_mmu(mmu, 57, &[PageSize::Size512M, PageSize::Size256G]);
            check_reach(mmu, 512);
        })
    }
}

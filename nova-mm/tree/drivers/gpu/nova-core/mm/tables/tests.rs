// SPDX-License-Identifier: GPL-2.0

//! Tests of page tables, through the jobs of an address space on a GPU model.
//!
//! The tests are generic over the page table format.

use crate::mm::format::v2::MmuV2;

pub(crate) mod map;
pub(crate) mod protect;
pub(crate) mod remap;
pub(crate) mod unmap;

/// Defines a suite of these tests for a format.
macro_rules! tables_suite {
    ($module:ident, $suite:ident, $format:ty) => {
        $crate::mm::vmm::tests::suite! {
            $module, $suite, $format,
            $crate::mm::tables::tests, {
                map::map_one_page,
                map::map_small_pages,
                map::map_across_each_boundary,
                map::map_uses_largest_pages,
                map::map_scattered_vram,
                map::map_writes_tables_before_linking,
                map::map_uses_present_tables,
                map::map_gigabyte_of_2m_pages,
                map::map_access,
                map::map_last_page,
                map::fill_up_allocates_missing_only,
                map::fill_up_unencodable_einval,
                unmap::unmap_whole_mapping,
                unmap::unmap_one_of_two_2m_pages,
                unmap::unmap_part_of_small_pages,
                unmap::unmap_part_of_2m_page,
                unmap::unmap_unmapped,
                unmap::unmap_frees_empty_tables,
                unmap::unmap_range_with_holes,
                unmap::unmap_skips_prepared_table,
                remap::remap_2m_over_small,
                remap::remap_small_over_2m,
                remap::remap_middle_of_2m_page,
                remap::remap_same_again,
                remap::remap_several_mappings,
                protect::protect_small_pages,
                protect::protect_2m_page,
                protect::protect_part_of_2m_page,
                protect::protect_same_access,
                protect::protect_same_access_then_unmap,
                protect::protect_unmapped,
            }
        }
    };
}

tables_suite!(v2, nova_core_mm_tables_v2, MmuV2);

mod v3;

// SPDX-License-Identifier: GPL-2.0

//! Tests of page tables, by way of the jobs of an address space on a software GPU.
//!
//! They are written once for all formats.

use crate::mm::format::v2::MmuV2;

pub(crate) mod map;
pub(crate) mod protect;
pub(crate) mod remap;
pub(crate) mod unmap;

/// Makes a suite of these tests for a format.
macro_rules! tables_suite {
    ($module:ident, $suite:ident, $format:ty) => {
        $crate::mm::vmm::tests::suite! {
            $module, $suite, $format,
            $crate::mm::tables::tests, {
                map::map_a_page,
                map::map_pages_of_a_table,
                map::across_a_boundary_of_each_level,
                map::large_pages_where_everything_allows_them,
                map::map_memory_in_pieces,
                map::new_tables_are_written_once_before_they_are_linked,
                map::present_tables_are_used,
                map::map_a_gigabyte_of_large_pages,
                map::permissions,
                map::map_the_last_page,
                unmap::unmap_all_of_it,
                unmap::unmap_parts_of_small_pages,
                unmap::unmap_parts_of_a_large_page,
                unmap::unmap_what_is_not_mapped,
                unmap::tables_that_are_empty_are_freed,
                unmap::unmap_a_range_with_holes,
                remap::remap_a_large_page_over_small_ones,
                remap::remap_small_pages_over_a_large_one,
                remap::remap_into_the_middle_of_a_large_page,
                remap::remap_the_same_again,
                remap::remap_some_of_several_mappings,
                protect::protect_small_pages,
                protect::protect_a_large_page,
                protect::protect_parts_of_a_large_page,
                protect::protect_what_is_so_already,
                protect::protect_what_is_not_mapped,
            }
        }
    };
}

tables_suite!(v2, nova_mm_tables_v2, MmuV2);

mod v3;

// SPDX-License-Identifier: GPL-2.0

//! Tests of address spaces on a GPU model.
//!
//! Tests that are independent of the format are written once, as functions that are generic over
//! it. A suite is made of a list of them for each format.

use crate::mm::format::v2::MmuV2;

pub(crate) mod changed;
pub(crate) mod cut_off;
mod expect;
pub(crate) mod faults;
pub(crate) mod figures;
pub(crate) mod firmware;
pub(crate) mod fixture;
pub(crate) mod hardware;
pub(crate) mod jobs;
pub(crate) mod locks;
pub(crate) mod mappings;
pub(crate) mod observe;
#[cfg(CONFIG_KUNIT)]
mod queue;
pub(crate) mod random;
pub(crate) mod retry;
pub(crate) mod spaces;
pub(crate) mod stages;
pub(crate) mod teardown;
pub(crate) mod timeouts;

/// Makes a suite of tests that are generic over the format, by their paths in a module.
macro_rules! suite {
    (
        $module:ident, $suite:ident, $format:ty, $parent:path,
        { $($file:ident :: $test:ident,)* }
    ) => {
        #[kernel::prelude::kunit_tests($suite)]
        mod $module {
            use super::*;
            use $parent as tests;

            $(
                #[test]
                fn $test() -> kernel::prelude::Result {
                    tests::$file::$test::<$format>()
                }
            )*
        }
    };
}
pub(crate) use suite;

/// Makes the suites of these tests for a format.
macro_rules! vmm_suites {
    (
        $format:ty,
        $vmm:ident: $vmm_suite:ident,
        $stages:ident: $stages_suite:ident,
        $locks:ident: $locks_suite:ident $(,)?
    ) => {
        $crate::mm::vmm::tests::suite! {
            $vmm, $vmm_suite, $format,
            $crate::mm::vmm::tests, {
                firmware::firmware_entries_survive,
                firmware::tables_are_freed_after_entries,
                firmware::firmware_pages_are_busy,
                firmware::unreadable_directory_is_busy,
                firmware::changed_entry_is_busy,
                firmware::empty_tables_are_unlinked,
                firmware::hub_is_invalidated,
                firmware::vacant_entries_are_restored,
                firmware::unknown_entries_are_reported,
                firmware::whole_path_is_verified,
                retry::teardown_skips_busy_mapping,
                retry::busy_teardown_times_out,
                retry::busy_memory_is_kept,
                retry::busy_job_is_repeated,
                cut_off::interrupted_map_keeps_memory,
                cut_off::interrupted_remap_keeps_tables,
                cut_off::interrupted_teardown_frees_nothing,
                cut_off::interrupted_teardown_keeps_tables,
                jobs::pages_out_of_limits_einval,
                jobs::map_past_memory_einval,
                jobs::limits_out_of_format_einval,
                jobs::map_unencodable_vram_einval,
                jobs::no_vram_for_tables_enospc,
                jobs::address_spaces_are_independent,
                jobs::second_run_einval,
                teardown::teardown_unmaps_everything,
                teardown::teardown_fails_jobs,
                teardown::teardown_times_out,
                teardown::teardown_frees_deferred,
                teardown::missing_teardown_keeps_memory,
            }
        }

        $crate::mm::vmm::tests::suite! {
            $stages, $stages_suite, $format,
            $crate::mm::vmm::tests, {
                stages::prepare_allocates_missing_tables,
                stages::prepare_allocates_for_splits,
                stages::prepare_zeroes_tables,
                stages::prepare_reuses_zeroed_tables,
                stages::cancelled_jobs_leave_nothing,
                stages::jobs_share_prepared_tables,
                stages::unmap_keeps_tables_of_jobs,
                stages::job_runs_after_others,
                stages::run_needs_no_vram,
                stages::only_free_frees,
                stages::mapped_part_keeps_memory,
                timeouts::timeout_frees_nothing,
                timeouts::pending_invalidate_is_awaited,
                timeouts::timeout_keeps_replaced_table,
                timeouts::deferred_is_never_freed,
                timeouts::broken_tables_are_never_freed,
                timeouts::broken_empty_tables_are_never_freed,
            }
        }

        $crate::mm::vmm::tests::suite! {
            $locks, $locks_suite, $format,
            $crate::mm::vmm::tests, {
                locks::run_does_not_wait_for_memory,
                locks::run_does_not_wait_for_memory_in_a_bar,
            }
        }
    };
}

vmm_suites! {
    MmuV2,
    v2: nova_core_mm_vmm_v2,
    stages_v2: nova_core_mm_stages,
    locks_v2: nova_core_mm_locks,
}

mod random_v3;
mod v3;

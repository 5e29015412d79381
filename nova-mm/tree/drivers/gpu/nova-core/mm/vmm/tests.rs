// SPDX-License-Identifier: GPL-2.0

//! Tests of address spaces on a GPU model.
//!
//! Tests that are independent of the page table format are functions that are generic over it. The
//! suites list them for each format.

use crate::mm::format::v2::MmuV2;

mod asserts;
pub(crate) mod changed;
pub(crate) mod faults;
pub(crate) mod firmware;
pub(crate) mod fixture;
pub(crate) mod hardware;
pub(crate) mod jobs;
pub(crate) mod locks;
pub(crate) mod mappings;
pub(crate) mod mmio_counts;
#[cfg(CONFIG_KUNIT)]
mod queue;
pub(crate) mod random;
pub(crate) mod retry;
pub(crate) mod spaces;
pub(crate) mod stages;
pub(crate) mod teardown;
pub(crate) mod timeouts;
pub(crate) mod trace;
pub(crate) mod unbind;

/// Defines a suite of tests that are generic over the format. The tests are given by their paths in
/// a module.
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

/// Defines the suites of the tests in this module for a format.
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
                firmware::firmware_entries_preserved,
                firmware::tables_freed_after_entries,
                firmware::firmware_pages_ebusy,
                firmware::unreadable_directory_ebusy,
                firmware::changed_entry_ebusy,
                firmware::empty_tables_unlinked,
                firmware::bar_job_invalidates_hub,
                firmware::vacant_entries_restored,
                firmware::sparse_entry_never_mixed,
                firmware::unknown_entries_reported,
                firmware::whole_path_verified,
                retry::teardown_skips_busy_mapping,
                retry::teardown_returns_first_error,
                retry::busy_teardown_timeout,
                retry::busy_memory_kept,
                retry::busy_job_retried,
                unbind::interrupted_map_keeps_memory,
                unbind::interrupted_remap_keeps_tables,
                unbind::interrupted_link_keeps_tables,
                unbind::interrupted_teardown_keeps_memory,
                unbind::interrupted_teardown_keeps_tables,
                jobs::pages_out_of_limits_einval,
                jobs::map_past_memory_einval,
                jobs::limits_out_of_format_einval,
                jobs::map_unencodable_vram_einval,
                jobs::no_vram_for_tables_enospc,
                jobs::address_spaces_independent,
                jobs::second_run_einval,
                teardown::teardown_unmaps_everything,
                teardown::teardown_fails_jobs,
                teardown::teardown_timeout,
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
                stages::cancel_frees_everything,
                stages::jobs_share_prepared_tables,
                stages::unmap_keeps_prepared_tables,
                stages::run_after_other_jobs,
                stages::run_needs_no_vram,
                stages::memory_freed_by_free_only,
                stages::mapped_part_keeps_memory,
                timeouts::timeout_frees_nothing,
                timeouts::run_waits_for_pending_invalidate,
                timeouts::timeout_keeps_replaced_table,
                timeouts::hung_gpu_deferred_never_freed,
                timeouts::broken_tables_never_freed,
                timeouts::broken_empty_tables_never_freed,
            }
        }

        $crate::mm::vmm::tests::suite! {
            $locks, $locks_suite, $format,
            $crate::mm::vmm::tests, {
                locks::run_no_memory_wait,
                locks::run_in_bar_no_memory_wait,
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

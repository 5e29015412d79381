// SPDX-License-Identifier: GPL-2.0

//! Tests of address spaces on a software GPU.
//!
//! Tests that are independent of the format are written once, as functions that are generic over
//! it. A suite is made of a list of them for each format.

use crate::mm::format::v2::MmuV2;

pub(crate) mod bench;
pub(crate) mod changed;
pub(crate) mod cut_off;
mod expect;
pub(crate) mod faults;
pub(crate) mod figures;
pub(crate) mod firmware;
pub(crate) mod hardware;
pub(crate) mod jobs;
pub(crate) mod locks;
pub(crate) mod observe;
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
                firmware::foreign_entries_survive,
                firmware::entries_go_before_tables,
                firmware::foreign_addresses_are_in_use,
                firmware::directories_that_cannot_be_shared,
                firmware::a_changed_entry_is_busy,
                firmware::entries_go_when_nothing_is_mapped,
                firmware::the_hub_is_invalidated,
                firmware::unmapped_entries_are_restored,
                firmware::unknown_entries_are_reported,
                firmware::the_whole_path_is_verified,
                retry::teardown_goes_on,
                retry::teardown_goes_on_after_a_time_out,
                retry::busy_memory_is_kept,
                retry::busy_jobs_are_run_again,
                cut_off::maps_are_cut_off,
                cut_off::maps_over_tables_are_cut_off,
                cut_off::teardowns_are_cut_off,
                cut_off::unlinked_tables_are_kept,
                jobs::pages_are_of_the_range,
                jobs::memory_is_large_enough,
                jobs::addresses_out_of_range,
                jobs::memory_out_of_reach,
                jobs::no_memory_for_tables,
                jobs::address_spaces_are_apart,
                teardown::everything_is_unmapped,
                teardown::jobs_cannot_be_run_any_more,
                teardown::a_time_out,
                teardown::of_a_quarantine,
                teardown::is_not_called,
            }
        }

        $crate::mm::vmm::tests::suite! {
            $stages, $stages_suite, $format,
            $crate::mm::vmm::tests, {
                stages::tables_are_counted,
                stages::tables_for_splits_are_counted,
                stages::cancel_leaves_nothing,
                stages::two_jobs_bring_the_same_tables,
                stages::other_jobs_run_first,
                stages::memory_is_exhausted_before_the_run,
                stages::only_the_cleanup_frees,
                stages::parts_keep_the_whole,
                timeouts::failed_job_frees_nothing,
                timeouts::pending_invalidates,
                timeouts::tables_stay_in_quarantine,
                timeouts::quarantine_is_never_freed,
                timeouts::tables_that_are_broken_are_never_freed,
                timeouts::tables_that_are_broken_and_empty_are_never_freed,
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
    v2: nova_mm_vmm_v2,
    stages_v2: nova_mm_stages,
    locks_v2: nova_mm_locks,
}

mod random_v3;
mod v3;

// SPDX-License-Identifier: GPL-2.0

//! Random operations, faults and figures with version 3 of the MMU.

use kernel::prelude::*;

use crate::mm::{
    format::v3::MmuV3,
    vmm::tests::{
        changed,
        faults,
        figures,
        hardware,
        random::PLAN,
        spaces, //
    }, //
};

#[kunit_tests(nova_mm_random_v3)]
mod random_suite {
    use super::*;

    #[test]
    fn random_operations_agree_with_an_oracle() -> Result {
        pr_info!("seed {:#x}, {} steps\n", PLAN.seed, PLAN.steps);

        PLAN.run::<MmuV3>()
    }
}

#[kunit_tests(nova_mm_faults_v3)]
mod faults_suite {
    use super::*;

    #[test]
    fn vram_for_tables_runs_out_anywhere() -> Result {
        faults::vram_runs_out::<MmuV3>()
    }

    #[test]
    fn any_job_is_cancelled() -> Result {
        faults::jobs_are_cancelled::<MmuV3>()
    }

    #[test]
    fn any_invalidate_times_out() -> Result {
        faults::invalidates_time_out::<MmuV3>()
    }

    #[test]
    fn what_is_in_quarantine_needs_a_strong_invalidate() -> Result {
        faults::a_later_upgrade_waits_for_accesses::<MmuV3>()
    }

    #[test]
    fn directories_of_the_firmware_stay() -> Result {
        faults::a_directory_of_the_firmware_stays::<MmuV3>()
    }
}

#[kunit_tests(nova_mm_hardware_v3)]
mod hardware_suite {
    use super::*;

    #[test]
    fn each_access_fails() -> Result {
        hardware::each_access_fails::<MmuV3>()
    }

    #[test]
    fn each_access_of_a_teardown_fails() -> Result {
        hardware::each_access_of_a_teardown_fails::<MmuV3>()
    }

    #[test]
    fn narrow_writes_are_never_mixed() -> Result {
        hardware::narrow::pages_are_never_mixed::<MmuV3>()
    }
}

#[kunit_tests(nova_mm_changed_v3)]
mod changed_suite {
    use super::*;

    #[test]
    fn attributes_are_kept() -> Result {
        changed::attributes_are_kept::<MmuV3>()
    }

    #[test]
    fn each_word_is_changed() -> Result {
        changed::each_word_is_changed::<MmuV3>()
    }

    #[test]
    fn each_word_is_changed_before_teardown() -> Result {
        changed::each_word_is_changed_before_teardown::<MmuV3>()
    }
}

#[kunit_tests(nova_mm_spaces_v3)]
mod spaces_suite {
    use super::*;

    #[test]
    fn changes_stay_apart() -> Result {
        spaces::changes_stay_apart::<MmuV3>()
    }

    #[test]
    fn jobs_are_sent() -> Result {
        spaces::jobs_are_sent::<MmuV3>()
    }
}

#[kunit_tests(nova_mm_figures_v3)]
mod figures_suite {
    use super::*;

    #[test]
    fn operations_cost_no_more_than_they_must() -> Result {
        figures::costs_are_bounded::<MmuV3>()
    }

    #[test]
    fn a_table_that_is_filled_is_written_once_and_then_linked() -> Result {
        figures::tables_are_filled_once::<MmuV3>()
    }
}

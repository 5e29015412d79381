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

#[kunit_tests(nova_core_mm_random_v3)]
mod random_suite {
    use super::*;

    #[test]
    fn random_operations_match_the_oracle() -> Result {
        pr_info!("seed {:#x}, {} steps\n", PLAN.seed, PLAN.steps);

        PLAN.run::<MmuV3>()
    }
}

#[kunit_tests(nova_core_mm_faults_v3)]
mod faults_suite {
    use super::*;

    #[test]
    fn prepare_without_vram_fails() -> Result {
        faults::vram_runs_out::<MmuV3>()
    }

    #[test]
    fn cancelled_job_has_no_effect() -> Result {
        faults::jobs_are_cancelled::<MmuV3>()
    }

    #[test]
    fn timeout_defers_frees() -> Result {
        faults::invalidates_time_out::<MmuV3>()
    }

    #[test]
    fn deferred_frees_need_downgrade() -> Result {
        faults::deferred_frees_need_downgrade::<MmuV3>()
    }

    #[test]
    fn empty_firmware_directory_stays() -> Result {
        faults::empty_firmware_directory_stays::<MmuV3>()
    }
}

#[kunit_tests(nova_core_mm_hardware_v3)]
mod hardware_suite {
    use super::*;

    #[test]
    fn access_fails() -> Result {
        hardware::each_access_fails::<MmuV3>()
    }

    #[test]
    fn access_of_teardown_fails() -> Result {
        hardware::each_teardown_access_fails::<MmuV3>()
    }

    #[test]
    fn device_is_unbound() -> Result {
        hardware::each_unbind::<MmuV3>()
    }

    #[test]
    fn narrow_writes_are_never_mixed() -> Result {
        hardware::narrow::pages_are_never_mixed::<MmuV3>()
    }
}

#[kunit_tests(nova_core_mm_changed_v3)]
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
    fn each_word_is_changed_at_teardown() -> Result {
        changed::each_word_is_changed_at_teardown::<MmuV3>()
    }
}

#[kunit_tests(nova_core_mm_spaces_v3)]
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

#[kunit_tests(nova_core_mm_figures_v3)]
mod figures_suite {
    use super::*;

    #[test]
    fn costs_are_bounded() -> Result {
        figures::costs_are_bounded::<MmuV3>()
    }

    #[test]
    fn full_table_written_once() -> Result {
        figures::full_table_written_once::<MmuV3>()
    }

    #[test]
    fn empty_table_not_zeroed_again() -> Result {
        figures::empty_table_not_zeroed_again::<MmuV3>()
    }
}

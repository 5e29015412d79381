// SPDX-License-Identifier: GPL-2.0

//! Tests of random operations, failures and costs with MMU v3.

use kernel::prelude::*;

use crate::mm::{
    format::v3::MmuV3,
    vmm::tests::{
        changed,
        faults,
        hardware,
        mmio_counts,
        random::PLAN,
        spaces, //
    }, //
};

#[kunit_tests(nova_core_mm_random_v3)]
mod random_suite {
    use super::*;

    #[test]
    fn random_operations_match_oracle() -> Result {
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
    fn cancel_has_no_effect() -> Result {
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
    fn empty_firmware_directory_kept() -> Result {
        faults::empty_firmware_directory_kept::<MmuV3>()
    }
}

#[kunit_tests(nova_core_mm_hardware_v3)]
mod hardware_suite {
    use super::*;

    #[test]
    fn job_access_failure() -> Result {
        hardware::each_access_fails::<MmuV3>()
    }

    #[test]
    fn teardown_access_failure() -> Result {
        hardware::each_teardown_access_fails::<MmuV3>()
    }

    #[test]
    fn job_device_unbound() -> Result {
        hardware::each_unbind::<MmuV3>()
    }

    #[test]
    fn narrow_writes_never_mixed() -> Result {
        hardware::narrow::pages_are_never_mixed::<MmuV3>()
    }
}

#[kunit_tests(nova_core_mm_changed_v3)]
mod changed_suite {
    use super::*;

    #[test]
    fn directory_attributes_preserved() -> Result {
        changed::directory_attributes_preserved::<MmuV3>()
    }

    #[test]
    fn job_changed_word() -> Result {
        changed::job_changed_word::<MmuV3>()
    }

    #[test]
    fn teardown_changed_word() -> Result {
        changed::teardown_changed_word::<MmuV3>()
    }
}

#[kunit_tests(nova_core_mm_spaces_v3)]
mod spaces_suite {
    use super::*;

    #[test]
    fn updates_leave_other_space() -> Result {
        spaces::updates_leave_other_space::<MmuV3>()
    }

    #[test]
    fn job_and_vmm_send() -> Result {
        spaces::job_and_vmm_send::<MmuV3>()
    }
}

#[kunit_tests(nova_core_mm_figures_v3)]
mod figures_suite {
    use super::*;

    #[test]
    fn mmio_counts_bounded() -> Result {
        mmio_counts::mmio_counts_bounded::<MmuV3>()
    }

    #[test]
    fn full_table_written_once() -> Result {
        mmio_counts::full_table_written_once::<MmuV3>()
    }

    #[test]
    fn empty_table_zeroed_once() -> Result {
        mmio_counts::empty_table_zeroed_once::<MmuV3>()
    }
}

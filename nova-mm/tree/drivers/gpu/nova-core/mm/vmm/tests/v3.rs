// SPDX-License-Identifier: GPL-2.0

//! Tests of address spaces with MMU v3.

use crate::mm::{
    format::{
        v3::MmuV3,
        MmuFormat, //
    },
    model::Generation,
    pramin::hal::{
        gh100::GH100_HAL,
        PraminHal, //
    },
    vmm::tests::fixture::TestFormat, //
};

impl TestFormat for MmuV3 {
    const GENERATION: Generation = Generation::Hopper;
    const VRAM_END: u64 = 1 << 40;
    const HALF: u64 = 1 << 32;

    fn hal() -> &'static dyn PraminHal {
        GH100_HAL
    }

    fn mmu() -> &'static dyn MmuFormat {
        &MmuV3
    }
}

vmm_suites! {
    MmuV3,
    suite: nova_core_mm_vmm_v3,
    stages: nova_core_mm_stages_v3,
    locks: nova_core_mm_locks_v3,
}

// SPDX-License-Identifier: GPL-2.0

//! Mapping tests with MMU v3.

use crate::mm::{
    format::{
        v3::MmuV3,
        Access,
        PageAttributes, //
    },
    vmm::tests::mappings::{
        is_volatile,
        Published, //
    }, //
};

impl Published for MmuV3 {
    const SYSMEM_END: u64 = 1 << 52;
    const KINDS: u16 = 1 << 4;
    // PCF 5:3 of a PDE is SPARSE_ATS_NOT_ALLOWED, PCF 7:3 of a PTE is SPARSE.
    const SPARSE: [u64; 3] = [3 << 3, 3 << 3, 1 << 3];
    // APERTURE 2:1 is VIDEO_MEMORY, and PCF is VALID_CACHED_ATS_NOT_ALLOWED.
    const PDE: u64 = 1 << 1 | 2 << 3;

    fn split_pde(word: u64) -> (u64, u64) {
        // ADDRESS 51:12.
        let address = word & 0x000f_ffff_ffff_f000;

        (address, word - address)
    }

    fn split_big_pde(word: u64) -> (u64, u64) {
        // ADDRESS_BIG 51:8.
        let address = word & 0x000f_ffff_ffff_ff00;

        (address, word - address)
    }

    fn page(aperture: u64, address: u64, attributes: &PageAttributes) -> u64 {
        // VALID 0, APERTURE 2:1, PCF 7:3, KIND 11:8, ADDRESS 51:12. In PCF, bit 0 is UNCACHED, 1
        // PRIVILEGE, 2 READ_ONLY, 3 NO_ATOMIC, and 4 ACD, which disables access counting.
        let pcf = u64::from(is_volatile(aperture, attributes))
            | u64::from(attributes.privileged) << 1
            | u64::from(attributes.access == Access::ReadOnly) << 2
            | 1 << 4;

        1 | aperture << 1 | pcf << 3 | u64::from(u8::from(attributes.kind)) << 8 | address
    }
}

mappings_suite!(suite, nova_core_mm_mappings_v3, MmuV3);

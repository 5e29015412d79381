// SPDX-License-Identifier: GPL-2.0

//! The registers that invalidate TLBs.

use kernel::prelude::*;

use crate::{
    mm::{
        address::{
            Pfn,
            VramAddress, //
        },
        tlb::{
            TlbChange,
            TlbScope, //
        },
    },
    num::u32_as_u64,
    regs::macros::register, //
};

use super::fit;

// VIRTUAL_FUNCTION_PRIV (TU102 `dev_vm.h`; the same up to GB20x), at 0x00b80000 in BAR0 of the
// physical function
register!(NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_PDB @ 0x00b830a0,
    "Root page directory of the address space to invalidate" {
    31:4    addr as u32, "Bits 39:12 of the address";
    1:1     aperture as bool, "Aperture of the directory, VRAM if clear";
});

register!(NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_UPPER_PDB @ 0x00b830a4,
    "Upper bits of the address of the root page directory" {
    19:0    addr as u32, "Bits 59:40 of the address";
});

/// The values of the two registers for one root page directory.
pub(crate) struct InvalidatePdb {
    pub(crate) pdb: NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_PDB,
    pub(crate) upper_pdb: NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_UPPER_PDB,
}

impl InvalidatePdb {
    /// Returns the values for the directory at `address` in VRAM.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `address` is not aligned to 4 KiB, or is 2^60 or higher.
    pub(crate) fn vram(address: VramAddress) -> Result<Self> {
        use NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_PDB as Pdb;
        use NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_UPPER_PDB as UpperPdb;

        const LOWER_MAX: u32 = Pdb::ADDR_MASK >> Pdb::ADDR_SHIFT;
        const UPPER_MAX: u32 = UpperPdb::ADDR_MASK >> UpperPdb::ADDR_SHIFT;
        const LOWER_COUNT: u64 = u32_as_u64(LOWER_MAX) + 1;

        let pfn = Pfn::try_from(address)?.into_raw();

        Ok(Self {
            pdb: Pdb::default().set_addr(fit(pfn % LOWER_COUNT, LOWER_MAX)?),
            upper_pdb: UpperPdb::default().set_addr(fit(pfn / LOWER_COUNT, UPPER_MAX)?),
        })
    }
}

/// The accesses with earlier translations that an invalidation waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum InvalidateAck {
    /// No accesses: they may still be in flight when the invalidation is done.
    #[default]
    None = 0,
    /// All accesses.
    Globally = 1,
    /// All accesses that stay within the node.
    Intranode = 2,
}

impl From<InvalidateAck> for u8 {
    fn from(ack: InvalidateAck) -> Self {
        // CAST: The enum is represented by a `u8`.
        ack as Self
    }
}

impl TryFrom<u8> for InvalidateAck {
    type Error = Error;

    fn try_from(value: u8) -> Result<Self> {
        match value {
            0 => Ok(Self::None),
            1 => Ok(Self::Globally),
            2 => Ok(Self::Intranode),
            _ => Err(EINVAL),
        }
    }
}

register!(NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE @ 0x00b830b0,
    "Invalidates translations that the GPU has cached" {
    31:31   trigger as bool, "Starts an invalidation; reads as set until it is done";
    26:24   cache_level as u8, "Page table levels to invalidate, all if zero";
    8:7     ack as u8 ?=> InvalidateAck, "Accesses to wait for";
    6:6     sys_membar as bool, "Makes the writes of these accesses visible to all observers";
    2:2     hubtlb_only as bool, "Invalidates the TLBs of the hub only";
    1:1     all_pdb as bool, "Invalidates all address spaces";
    0:0     all_va as bool, "Invalidates all addresses of the address space";
});

impl NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE {
    /// Returns the value that starts an invalidation.
    pub(crate) fn start(scope: TlbScope, change: TlbChange) -> Self {
        let value = Self::default()
            .set_trigger(true)
            .set_all_va(true)
            .set_hubtlb_only(scope == TlbScope::Hub)
            .set_all_pdb(scope == TlbScope::Hub);

        match change {
            TlbChange::Upgrade => value,
            // The caller may free memory next that accesses in flight still target. Wait for these
            // accesses, and for their writes to become visible.
            TlbChange::Downgrade => value.set_ack(InvalidateAck::Globally).set_sys_membar(true),
        }
    }
}

impl From<u32> for NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE {
    fn from(value: u32) -> Self {
        Self(value)
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The registers that invalidate TLBs.

use kernel::{
    io::{
        register,
        register::Register, //
    },
    prelude::*, //
};

use crate::{
    bounded_enum,
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
    num::u32_as_u64, //
};

// VIRTUAL_FUNCTION_PRIV (TU102 `dev_vm.h`; the same up to GB20x), at 0x00b80000 in BAR0 of the
// physical function
register! {
    /// Root page directory of the address space to invalidate.
    pub(crate) NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_PDB(u32) @ 0x00b830a0 {
        /// Bits 39:12 of the address.
        31:4    addr;
        /// Aperture of the directory, VRAM if clear.
        1:1     aperture => bool;
    }
}

impl_register!(NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_PDB);

register! {
    /// Upper bits of the address of the root page directory.
    pub(crate) NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_UPPER_PDB(u32) @ 0x00b830a4 {
        /// Bits 59:40 of the address.
        19:0    addr;
    }
}

impl_register!(NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_UPPER_PDB);

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

        const LOWER_COUNT: u64 = u32_as_u64(Pdb::ADDR_MASK >> Pdb::ADDR_SHIFT) + 1;

        let pfn = Pfn::try_from(address)?.into_raw();

        Ok(Self {
            pdb: Pdb::zeroed()
                .try_with_addr(pfn % LOWER_COUNT)
                .map_err(|_| EINVAL)?,
            upper_pdb: UpperPdb::zeroed()
                .try_with_addr(pfn / LOWER_COUNT)
                .map_err(|_| EINVAL)?,
        })
    }
}

bounded_enum! {
    /// The accesses with earlier translations that an invalidation waits for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum InvalidateAck with TryFrom<Bounded<u32, 2>> {
        /// No accesses: they may still be in flight when the invalidation is done.
        None = 0,
        /// All accesses.
        Globally = 1,
        /// All accesses that stay within the node.
        Intranode = 2,
    }
}

register! {
    /// Invalidates translations that the GPU has cached.
    pub(crate) NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE(u32) @ 0x00b830b0 {
        /// Starts an invalidation; reads as set until it is done.
        31:31   trigger => bool;
        /// Page table levels to invalidate, all if zero.
        26:24   cache_level;
        /// Accesses to wait for.
        8:7     ack ?=> InvalidateAck;
        /// Makes the writes of these accesses visible to all observers.
        6:6     sys_membar => bool;
        /// Invalidates the TLBs of the hub only.
        2:2     hubtlb_only => bool;
        /// Invalidates all address spaces.
        1:1     all_pdb => bool;
        /// Invalidates all addresses of the address space.
        0:0     all_va => bool;
    }
}

impl_register!(NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE);

impl NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE {
    /// Returns the value that starts an invalidation.
    pub(crate) fn start(scope: TlbScope, change: TlbChange) -> Self {
        let value = Self::zeroed()
            .with_trigger(true)
            .with_all_va(true)
            .with_hubtlb_only(scope == TlbScope::Hub)
            .with_all_pdb(scope == TlbScope::Hub);

        match change {
            TlbChange::Upgrade => value,
            // The caller may free memory next that accesses in flight still target. Wait for these
            // accesses, and for their writes to become visible.
            TlbChange::Downgrade => value
                .with_ack(InvalidateAck::Globally)
                .with_sys_membar(true),
        }
    }
}

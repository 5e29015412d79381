// SPDX-License-Identifier: GPL-2.0

//! Registers that memory management uses.
//!
//! They are accessed through [`Mmio`](crate::mm::mmio::Mmio), which KUnit tests implement, not
//! through [`Io`](kernel::io::Io).
//!
//! Names, offsets and fields come from the `dev_*.h` headers in open-gpu-kernel-modules. A comment
//! above each group names the chip and the header.

use core::ops::Range;

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

// PRAMIN (TU102 `dev_ram.h`; the same offset up to GB20x)

/// The PRAMIN aperture, which shows a part of VRAM, in bytes from the start of BAR0.
pub(crate) const NV_PRAMIN: Range<usize> = 0x0070_0000..0x0080_0000;

/// Unit of the base fields of the window registers, in bytes of VRAM.
const BAR0_WINDOW_UNIT: u64 = 1 << 16;

/// Implements the offset of a register and, if it is a window register, its constructor.
macro_rules! impl_register {
    ($register:ident) => {
        impl $register {
            /// Offset in BAR0, in bytes.
            pub(crate) const OFFSET: usize = <Self as Register>::OFFSET;
        }
    };
    ($register:ident, window) => {
        impl_register!($register);

        impl $register {
            /// Highest VRAM address at which the aperture can start, in bytes.
            pub(crate) const MAX_BASE: VramAddress = VramAddress::new(
                u32_as_u64(Self::BASE_MASK >> Self::BASE_SHIFT) * BAR0_WINDOW_UNIT,
            );

            /// Returns the value that makes the aperture start at address `base` in VRAM.
            ///
            /// # Errors
            ///
            /// [`EINVAL`] if `base` is not a multiple of 64 KiB, or is above [`Self::MAX_BASE`].
            pub(crate) fn vram(base: VramAddress) -> Result<Self> {
                let base = base.into_raw();
                if base % BAR0_WINDOW_UNIT != 0 {
                    return Err(EINVAL);
                }

                // In the registers with a field `target`, zero selects VRAM.
                Self::zeroed()
                    .try_with_base(base / BAR0_WINDOW_UNIT)
                    .map_err(|_| EINVAL)
            }
        }
    };
}

// PBUS (GM107 `dev_bus.h`; up to Ada)

register! {
    /// Memory that the PRAMIN aperture shows.
    pub(crate) NV_PBUS_BAR0_WINDOW(u32) @ 0x00001700 {
        /// Aperture of the memory, VRAM if zero.
        25:24   target;
        /// Address of the start, in units of 64 KiB.
        23:0    base;
    }
}

impl_register!(NV_PBUS_BAR0_WINDOW, window);

// XAL (GH100 and GB100 `dev_nv_xal_ep_zb.h`)
pub(crate) mod gh100 {
    use super::*;

    register! {
        /// Memory that the PRAMIN aperture shows.
        pub(crate) NV_XAL_EP_BAR0_WINDOW(u32) @ 0x0010fd40 {
            /// Address of the start in VRAM, in units of 64 KiB.
            21:0    base;
        }
    }

    impl_register!(NV_XAL_EP_BAR0_WINDOW, window);
}

pub(crate) mod gb100 {
    use super::*;

    register! {
        /// Memory that the PRAMIN aperture shows.
        pub(crate) NV_XAL_EP_BAR0_WINDOW(u32) @ 0x0010fd40 {
            /// Address of the start in VRAM, in units of 64 KiB.
            22:0    base;
        }
    }

    impl_register!(NV_XAL_EP_BAR0_WINDOW, window);
}

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

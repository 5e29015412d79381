// SPDX-License-Identifier: GPL-2.0

//! Registers of memory management.
//!
//! They are accessed through [`Mmio`](crate::mm::mmio::Mmio), not by the methods that `register!`
//! makes. Setters of fields drop the bits that do not fit; the functions below each register, which
//! make whole values of it, return an error instead.
//!
//! Names, offsets and fields are those of the headers `dev_*.h` in open-gpu-kernel-modules, of the
//! chip that is named above each group.

// Required to retain the original register names used by OpenRM, which are all capital snake case
// but are mapped to types.
#![allow(non_camel_case_types)]

use core::ops::Range;

use kernel::prelude::*;

use crate::{
    mm::address::{
        Pfn,
        VramAddress, //
    },
    num::u32_as_u64,
    regs::macros::register, //
};

/// Returns `value` if it is at most `max`, the largest one that its field can hold.
fn fit(value: u64, max: u32) -> Result<u32> {
    u32::try_from(value)
        .ok()
        .filter(|value| *value <= max)
        .ok_or(EINVAL)
}

// PRAMIN (TU102 `dev_ram.h`; the same offset up to GB20x)

/// The aperture of BAR0 behind which a part of VRAM is, in bytes from the start of BAR0.
pub(crate) const NV_PRAMIN: Range<usize> = 0x0070_0000..0x0080_0000;

/// Bytes of VRAM in a unit of the fields that say where the aperture is.
const BAR0_WINDOW_UNIT: u64 = 1 << 16;

/// Gives a window register what is made of its field `base`.
macro_rules! impl_bar0_window {
    ($register:ident) => {
        impl $register {
            /// Largest value of the field.
            const MAX: u32 = Self::BASE_MASK >> Self::BASE_SHIFT;

            /// Highest address at which the aperture can start.
            pub(crate) const MAX_BASE: VramAddress =
                VramAddress::new(u32_as_u64(Self::MAX) * BAR0_WINDOW_UNIT);

            /// Returns the value by which the aperture starts at `base` of VRAM, in bytes.
            ///
            /// # Errors
            ///
            /// [`EINVAL`] if `base` is no multiple of 64 KiB, or above [`Self::MAX_BASE`].
            pub(crate) fn vram(base: VramAddress) -> Result<Self> {
                let base = base.into_raw();
                if base % BAR0_WINDOW_UNIT != 0 {
                    return Err(EINVAL);
                }

                // Where there is a target, zero is VRAM.
                Ok(Self::default().set_base(fit(base / BAR0_WINDOW_UNIT, Self::MAX)?))
            }
        }
    };
}

// PBUS (GM107 `dev_bus.h`; up to Ada)

register!(NV_PBUS_BAR0_WINDOW @ 0x00001700, "What is behind the PRAMIN aperture" {
    25:24   target as u8, "Kind of memory, VRAM if zero";
    23:0    base as u32, "Address of the start, in units of 64 KiB";
});

impl_bar0_window!(NV_PBUS_BAR0_WINDOW);

// XAL (GH100 and GB100 `dev_nv_xal_ep_zb.h`)

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod gh100 {
    use super::*;

    register!(NV_XAL_EP_BAR0_WINDOW @ 0x0010fd40, "What is behind the PRAMIN aperture" {
        21:0    base as u32, "Address of the start in VRAM, in units of 64 KiB";
    });

    impl_bar0_window!(NV_XAL_EP_BAR0_WINDOW);
}

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod gb100 {
    use super::*;

    register!(NV_XAL_EP_BAR0_WINDOW @ 0x0010fd40, "What is behind the PRAMIN aperture" {
        22:0    base as u32, "Address of the start in VRAM, in units of 64 KiB";
    });

    impl_bar0_window!(NV_XAL_EP_BAR0_WINDOW);
}

// VIRTUAL_FUNCTION_PRIV (TU102 `dev_vm.h`; the same up to GB20x), as the physical function has it:
// at 0x00b80000 of BAR0

register!(NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_PDB @ 0x00b830a0,
    "Which address space is invalidated: its root page directory" {
    31:4    addr as u32, "Bits 39:12 of the address";
    1:1     aperture as bool, "Kind of memory, VRAM if clear";
});

register!(NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_UPPER_PDB @ 0x00b830a4,
    "Upper part of the address of the root page directory" {
    19:0    addr as u32, "Bits 59:40 of the address";
});

/// The values by which the registers name one root page directory.
pub(crate) struct InvalidatePdb {
    pub(crate) pdb: NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_PDB,
    pub(crate) upper_pdb: NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_UPPER_PDB,
}

impl InvalidatePdb {
    /// Returns the values that name the directory at `address` of VRAM, in bytes.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `address` is not aligned to 4 KiB, or is 2^60 or above.
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

/// When an invalidate counts as done, with respect to accesses that were translated before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum InvalidateAck {
    /// They may still be under way.
    #[default]
    None = 0,
    /// All of them are done.
    Globally = 1,
    /// Those are done that do not leave for another node.
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
    31:31   trigger as bool, "Starts an invalidate; reads as set until it is done";
    26:24   cache_level as u8, "Levels of the page tables that are meant, all of them if zero";
    8:7     ack as u8 ?=> InvalidateAck, "Which accesses it waits for";
    6:6     sys_membar as bool, "Whether what these accesses wrote is made visible to all";
    2:2     hubtlb_only as bool, "Whether only the TLBs of the hub are meant";
    1:1     all_pdb as bool, "Whether all address spaces are meant";
    0:0     all_va as bool, "Whether all addresses of the address space are meant";
});

impl From<u32> for NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE {
    fn from(value: u32) -> Self {
        Self(value)
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Registers that memory management uses.
//!
//! They are accessed through [`Mmio`](crate::mm::mmio::Mmio), not through the methods that
//! `register!` generates. The generated setters truncate values that exceed their fields. Use the
//! constructors below each register, which return an error instead.
//!
//! Names, offsets and fields come from the `dev_*.h` headers in open-gpu-kernel-modules. A comment
//! above each group names the chip and the header.

// Required to retain the original register names used by OpenRM, which are all capital snake case
// but are mapped to types.
#![allow(non_camel_case_types)]

use core::ops::Range;

use kernel::prelude::*;

use crate::{
    mm::address::VramAddress,
    num::u32_as_u64,
    regs::macros::register, //
};

/// Returns `value`, or [`EINVAL`] if it is above `max`, the largest value of its field.
fn fit(value: u64, max: u32) -> Result<u32> {
    u32::try_from(value)
        .ok()
        .filter(|value| *value <= max)
        .ok_or(EINVAL)
}

// PRAMIN (TU102 `dev_ram.h`; the same offset up to GB20x)

/// The PRAMIN aperture, which shows a part of VRAM, in bytes from the start of BAR0.
pub(crate) const NV_PRAMIN: Range<usize> = 0x0070_0000..0x0080_0000;

/// Unit of the base fields of the window registers, in bytes of VRAM.
const BAR0_WINDOW_UNIT: u64 = 1 << 16;

/// Implements the constructor of a window register and the bound of its field `base`.
macro_rules! impl_bar0_window {
    ($register:ident) => {
        impl $register {
            /// Largest value of the field `base`.
            const MAX: u32 = Self::BASE_MASK >> Self::BASE_SHIFT;

            /// Highest VRAM address at which the aperture can start, in bytes.
            pub(crate) const MAX_BASE: VramAddress =
                VramAddress::new(u32_as_u64(Self::MAX) * BAR0_WINDOW_UNIT);

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

                // The default is zero. In the registers with a field `target`, zero selects VRAM.
                Ok(Self::default().set_base(fit(base / BAR0_WINDOW_UNIT, Self::MAX)?))
            }
        }
    };
}

// PBUS (GM107 `dev_bus.h`; up to Ada)

register!(NV_PBUS_BAR0_WINDOW @ 0x00001700, "Memory that the PRAMIN aperture shows" {
    25:24   target as u8, "Aperture of the memory, VRAM if zero";
    23:0    base as u32, "Address of the start, in units of 64 KiB";
});

impl_bar0_window!(NV_PBUS_BAR0_WINDOW);

// XAL (GH100 and GB100 `dev_nv_xal_ep_zb.h`)
pub(crate) mod gh100 {
    use super::*;

    register!(NV_XAL_EP_BAR0_WINDOW @ 0x0010fd40, "Memory that the PRAMIN aperture shows" {
        21:0    base as u32, "Address of the start in VRAM, in units of 64 KiB";
    });

    impl_bar0_window!(NV_XAL_EP_BAR0_WINDOW);
}

pub(crate) mod gb100 {
    use super::*;

    register!(NV_XAL_EP_BAR0_WINDOW @ 0x0010fd40, "Memory that the PRAMIN aperture shows" {
        22:0    base as u32, "Address of the start in VRAM, in units of 64 KiB";
    });

    impl_bar0_window!(NV_XAL_EP_BAR0_WINDOW);
}

mod invalidate;

pub(crate) use invalidate::{
    InvalidatePdb,
    NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE,
    NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_PDB,
    NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_UPPER_PDB, //
};

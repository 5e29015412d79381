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
    mm::address::VramAddress,
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

mod invalidate;

pub(crate) use invalidate::{
    InvalidatePdb,
    NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE,
    NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_PDB,
    NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_UPPER_PDB, //
};

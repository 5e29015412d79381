// SPDX-License-Identifier: GPL-2.0

use kernel::prelude::*;

use crate::mm::{
    address::VramAddress,
    mmio::Mmio, //
};

pub(crate) mod gb100;
pub(crate) mod gh100;
pub(crate) mod tu102;

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// The register that selects the part of VRAM that the PRAMIN aperture shows.
pub(crate) trait PraminHal: Send + Sync {
    /// Returns the highest address at which the aperture can start, in bytes.
    fn max_base(&self) -> VramAddress;

    /// Programs the aperture to start at address `base` in VRAM.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `base` is not a multiple of 64 KiB, or is above
    /// [`max_base`](Self::max_base). The register is not written.
    fn write_base(&self, bar: &dyn Mmio, base: VramAddress) -> Result;
}

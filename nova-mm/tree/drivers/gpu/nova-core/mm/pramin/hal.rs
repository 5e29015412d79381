// SPDX-License-Identifier: GPL-2.0

use kernel::prelude::*;

use crate::{
    gpu::Chipset,
    mm::{
        address::VramAddress,
        mmio::Mmio, //
    },
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod gb100;
#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
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

/// Returns the HAL corresponding to `chipset`.
pub(super) fn pramin_hal(chipset: Chipset) -> &'static dyn PraminHal {
    use Chipset::*;

    match chipset {
        TU102 | TU104 | TU106 | TU117 | TU116 | GA100 | GA102 | GA103 | GA104 | GA106 | GA107
        | AD102 | AD103 | AD104 | AD106 | AD107 => tu102::TU102_HAL,
    }
}

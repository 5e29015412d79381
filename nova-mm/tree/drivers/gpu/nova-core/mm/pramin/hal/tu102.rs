// SPDX-License-Identifier: GPL-2.0

use kernel::prelude::*;

use crate::mm::{
    address::VramAddress,
    mmio::Mmio,
    pramin::hal::PraminHal,
    regs, //
};

struct Tu102;

impl PraminHal for Tu102 {
    fn max_base(&self) -> VramAddress {
        regs::NV_PBUS_BAR0_WINDOW::MAX_BASE
    }

    fn write_base(&self, bar: &dyn Mmio, base: VramAddress) -> Result {
        let window = regs::NV_PBUS_BAR0_WINDOW::vram(base)?;

        bar.write32(window.into(), regs::NV_PBUS_BAR0_WINDOW::OFFSET)
    }
}

const TU102: Tu102 = Tu102;
pub(crate) const TU102_HAL: &dyn PraminHal = &TU102;

// SPDX-License-Identifier: GPL-2.0

use kernel::prelude::*;

use crate::mm::{
    address::VramAddress,
    mmio::Mmio,
    pramin::hal::PraminHal,
    regs::gh100 as regs, //
};

struct Gh100;

impl PraminHal for Gh100 {
    fn max_base(&self) -> VramAddress {
        regs::NV_XAL_EP_BAR0_WINDOW::MAX_BASE
    }

    fn write_base(&self, bar: &dyn Mmio, base: VramAddress) -> Result {
        let window = regs::NV_XAL_EP_BAR0_WINDOW::vram(base)?;

        bar.write32(window.into(), regs::NV_XAL_EP_BAR0_WINDOW::OFFSET)
    }
}

const GH100: Gh100 = Gh100;
pub(crate) const GH100_HAL: &dyn PraminHal = &GH100;

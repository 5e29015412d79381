// SPDX-License-Identifier: GPL-2.0

//! Access to BARs with [`Io`].

use kernel::{
    io::{
        self,
        Io,
        Region, //
    },
    prelude::*, //
};

use crate::mm::mmio::Mmio;

impl<const SIZE: usize> Mmio for io::Mmio<'_, Region<SIZE>> {
    fn read32(&self, offset: usize) -> Result<u32> {
        self.try_read32(offset)
    }

    fn read64(&self, offset: usize) -> Result<u64> {
        self.try_read64(offset)
    }

    fn write32(&self, value: u32, offset: usize) -> Result {
        self.try_write32(value, offset)
    }

    fn write64(&self, value: u64, offset: usize) -> Result {
        self.try_write64(value, offset)
    }
}

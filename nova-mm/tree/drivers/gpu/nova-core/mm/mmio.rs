// SPDX-License-Identifier: GPL-2.0

//! The seam between memory management and the hardware.

use kernel::{
    io::Io,
    prelude::*, //
};

/// Accesses to a BAR of the GPU.
///
/// Memory management reaches the hardware through this trait alone: in the driver by way of
/// [`Io`], that is of `readl()` and its kin; in the tests, a software GPU can take its place.
///
/// Each method is one access on the bus, in program order with those before it. Offsets are in
/// bytes from the start of the BAR and multiples of the width of the access.
///
/// # Errors
///
/// [`EINVAL`] if the access is misaligned or does not lie in the BAR, without having done it.
pub(crate) trait Mmio {
    /// Reads 32 bits.
    fn read32(&self, offset: usize) -> Result<u32>;

    /// Reads 64 bits.
    fn read64(&self, offset: usize) -> Result<u64>;

    /// Writes 32 bits.
    fn write32(&self, value: u32, offset: usize) -> Result;

    /// Writes 64 bits.
    fn write64(&self, value: u64, offset: usize) -> Result;
}

impl<const SIZE: usize> Mmio for Io<SIZE> {
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

// SPDX-License-Identifier: GPL-2.0

//! Access to the BARs of a GPU.
//!
//! Memory management accesses the hardware only through the traits of this module. The driver
//! implements them with `Io` and `Devres`; KUnit tests implement them without hardware.

use kernel::{
    prelude::*,
    sync::Arc, //
};

mod io;

/// A mapped BAR.
///
/// Each access is a single transaction on the bus, in program order. Offsets are in bytes from the
/// start of the BAR and must be multiples of the access width. No method sleeps.
///
/// # Errors
///
/// [`EINVAL`] if the access is misaligned or outside the BAR. The access is not made.
pub(crate) trait Mmio {
    /// Reads 32 bits.
    fn read32(&self, offset: usize) -> Result<u32>;

    /// Reads 64 bits.
    fn read64(&self, offset: usize) -> Result<u64>;

    /// Writes 32 bits.
    fn write32(&self, value: u32, offset: usize) -> Result;

    /// Writes 64 bits.
    fn write64(&self, value: u64, offset: usize) -> Result;

    /// Writes `count` words of 64 bits, `stride` bytes apart, starting with `first` and increasing
    /// by `step`.
    ///
    /// After an error, an unspecified number of the words has been written.
    fn fill64(&self, offset: usize, stride: usize, first: u64, step: u64, count: usize) -> Result {
        let mut offset = offset;
        let mut value = first;
        for _ in 0..count {
            self.write64(value, offset)?;
            offset += stride;
            value = value.wrapping_add(step);
        }

        Ok(())
    }
}

/// A BAR of a device that may be unbound at any time.
pub(crate) trait DeviceBar: Send + Sync {
    /// Calls `access` with the BAR, which stays mapped until `access` returns.
    ///
    /// `access` runs in an RCU read-side critical section, so it must neither sleep nor take long.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the device is unbound. `access` is not called.
    fn with(&self, access: &mut dyn FnMut(&dyn Mmio)) -> Result;
}

/// BAR0 of a GPU: its registers.
///
/// BAR0 and BAR1 have different types so that they cannot be confused.
#[derive(Clone)]
pub(crate) struct Registers(Arc<dyn DeviceBar>);

/// BAR1 of a GPU: the aperture through which the CPU accesses an address space.
#[derive(Clone)]
pub(crate) struct Aperture(Arc<dyn DeviceBar>);

/// Defines the methods of the types of both BARs.
macro_rules! impl_bar {
    ($bar:ident) => {
        impl $bar {
            /// Wraps a BAR.
            pub(crate) fn new(bar: Arc<dyn DeviceBar>) -> Self {
                Self(bar)
            }

            /// Calls `access` with the BAR and returns its result; see [`DeviceBar::with`].
            ///
            /// # Errors
            ///
            /// [`ENODEV`] if the device is unbound, and errors of `access`.
            pub(crate) fn access<R>(
                &self,
                access: impl FnOnce(&dyn Mmio) -> Result<R>,
            ) -> Result<R> {
                let mut access = Some(access);
                let mut result = Err(ENODEV);

                self.0.with(&mut |bar| {
                    if let Some(access) = access.take() {
                        result = access(bar);
                    }
                })?;

                result
            }
        }
    };
}

impl_bar!(Registers);
impl_bar!(Aperture);

// SPDX-License-Identifier: GPL-2.0

use kernel::{
    bindings,
    ffi::c_void,
    io::{
        Io,
        IoRaw, //
    },
    prelude::*,
    sizes::SZ_16M, //
};

use crate::mm::mmio::Mmio;

/// A mapping of one of the BARs.
///
/// # Invariants
///
/// The address is the start of 16 MiB of I/O memory mapped by `ioremap()`.
pub(super) struct Mapping(IoRaw<SZ_16M>);

impl Mapping {
    /// Maps the BAR at the physical address `start`. May sleep.
    pub(super) fn new(start: u64) -> Result<Self> {
        // SAFETY: `add_regions()` has added emulated I/O memory of this size at `start`.
        let address = unsafe { bindings::ioremap(start, SZ_16M) };
        if address.is_null() {
            return Err(ENOMEM);
        }

        // INVARIANT: `ioremap()` returned the address.
        // CAST: `IoRaw` takes addresses as `usize`.
        Ok(Self(IoRaw::new(address as usize, SZ_16M)?))
    }

    /// Returns the BAR.
    pub(super) fn bar(&self) -> &dyn Mmio {
        // SAFETY: By the type invariant.
        let io: &Io<SZ_16M> = unsafe { Io::from_raw(&self.0) };

        io
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, the memory is mapped. No reference to it remains.
        // CAST: Recovers the pointer that `ioremap()` returned.
        unsafe { bindings::iounmap(self.0.addr() as *mut c_void) };
    }
}

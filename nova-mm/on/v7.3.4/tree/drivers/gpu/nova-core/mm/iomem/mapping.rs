// SPDX-License-Identifier: GPL-2.0

use kernel::{
    bindings,
    ffi::c_void,
    io::{
        self,
        MmioRaw,
        Region, //
    },
    prelude::*,
    sizes::SZ_16M, //
};

use crate::mm::mmio::Mmio;

/// A mapping of one of the BARs.
///
/// # Invariants
///
/// `raw` and `bar` are the same 16 MiB of I/O memory, mapped by `ioremap()`.
pub(super) struct Mapping {
    raw: MmioRaw<Region<SZ_16M>>,
    bar: io::Mmio<'static, Region<SZ_16M>>,
}

impl Mapping {
    /// Maps the BAR at the physical address `start`. May sleep.
    pub(super) fn new(start: u64) -> Result<Self> {
        // SAFETY: `add_regions()` has added emulated I/O memory of this size at `start`.
        let address = unsafe { bindings::ioremap(start, SZ_16M) };
        if address.is_null() {
            return Err(ENOMEM);
        }
        let raw = MmioRaw::new_region(address.addr(), SZ_16M)?;

        // INVARIANT: `ioremap()` returned the address.
        Ok(Self {
            raw,
            // SAFETY: The memory stays mapped until `self` is dropped, and `bar` does not leave it.
            bar: unsafe { io::Mmio::from_raw(raw) },
        })
    }

    /// Returns the BAR.
    pub(super) fn bar(&self) -> &dyn Mmio {
        &self.bar
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, the memory is mapped. No reference to it remains.
        // CAST: Recovers the pointer that `ioremap()` returned.
        unsafe { bindings::iounmap(self.raw.addr() as *mut c_void) };
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Invalidation of the translations that the GPU has cached.

use kernel::{
    prelude::*,
    time::Delta, //
};

use crate::mm::{
    address::VramAddress,
    mmio::Mmio,
    regs::{
        InvalidatePdb,
        NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE,
        NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_PDB,
        NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_UPPER_PDB, //
    },
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod basic_tests;
#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// The registers that invalidate the TLBs of a GPU.
///
/// [`MmuHw`](crate::mm::hw::MmuHw) protects it with a lock, which it does not hold while it waits
/// for an invalidation. The firmware may use the same registers at any time, and the driver cannot
/// lock it out.
pub(crate) struct Tlb {
    timeout: Delta,
    /// Number of invalidations that the driver has started.
    started: u64,
    /// Number of these invalidations that are known to be done. They are done in order.
    done: u64,
    is_wedged: bool,
}

/// The units of the GPU that may have cached translations of an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlbScope {
    /// The units behind the hub. This is sufficient for the address spaces of BARs only.
    ///
    /// It invalidates the translations of all address spaces. The GSP firmware binds the address
    /// space of a BAR, so the driver does not know to which root page directory the hardware
    /// attributes the translations. Translations of BAR2 seemed to survive an invalidation of the
    /// root page directory in its page tables, after which the CPU could access freed memory. The
    /// cost is that other clients of the hub refill their TLBs.
    Hub,
    /// All units.
    All,
}

/// The effect of a page table update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlbChange {
    /// The update has added mappings or access rights, and has removed or moved nothing.
    Upgrade,
    /// The update has removed or moved a mapping, a page table, or an access right.
    Downgrade,
}

impl Tlb {
    /// Creates a `Tlb` with a timeout of two seconds. Does not access the hardware.
    pub(crate) fn new() -> Self {
        Self::with_timeout(Delta::from_secs(2))
    }

    /// Creates a `Tlb` with a given timeout. Does not access the hardware.
    pub(crate) fn with_timeout(timeout: Delta) -> Self {
        Self {
            timeout,
            started: 0,
            done: 0,
            is_wedged: false,
        }
    }

    /// Returns the timeout of a single wait for the GPU.
    pub(super) fn timeout(&self) -> Delta {
        self.timeout
    }

    /// Returns whether an invalidation has timed out, and none has completed since.
    pub(super) fn is_wedged(&self) -> bool {
        self.is_wedged
    }

    /// Records that an invalidation has timed out.
    pub(super) fn set_wedged(&mut self) {
        self.is_wedged = true;
    }

    /// Starts an invalidation and returns its number, or [`None`] if the GPU is still busy with an
    /// earlier one. `bar` is BAR0. Does not sleep.
    ///
    /// The firmware may have started the earlier invalidation, or an invalidation of the driver may
    /// have timed out. The registers must not be written until it is done.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `pdb` is not aligned to 4 KiB, or too high for the registers. No register is
    /// written.
    pub(super) fn start(
        &mut self,
        bar: &dyn Mmio,
        pdb: VramAddress,
        scope: TlbScope,
        change: TlbChange,
    ) -> Result<Option<u64>> {
        let InvalidatePdb { pdb, upper_pdb } = InvalidatePdb::vram(pdb)?;
        if self.is_busy(bar)? {
            return Ok(None);
        }

        bar.write32(
            pdb.into(),
            NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_PDB::OFFSET,
        )?;
        bar.write32(
            upper_pdb.into(),
            NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_UPPER_PDB::OFFSET,
        )?;
        bar.write32(
            NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE::start(scope, change).into(),
            NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE::OFFSET,
        )?;
        self.started += 1;

        Ok(Some(self.started))
    }

    /// Returns whether the invalidation `number` is done; `bar` is BAR0. Does not sleep.
    pub(super) fn is_done(&mut self, bar: &dyn Mmio, number: u64) -> Result<bool> {
        // Invalidations start only after all earlier ones are done.
        if self.done < number && !self.is_busy(bar)? {
            self.done = self.started;
            self.is_wedged = false;
        }

        Ok(self.done >= number)
    }

    /// Returns whether the GPU is busy with an invalidation.
    fn is_busy(&self, bar: &dyn Mmio) -> Result<bool> {
        let value = bar.read32(NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE::OFFSET)?;

        Ok(NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE::from(value).trigger())
    }
}

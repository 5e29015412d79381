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
        InvalidateAck,
        InvalidatePdb,
        NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE,
        NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_PDB,
        NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_UPPER_PDB, //
    },
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// The registers that invalidate the TLBs of a GPU.
///
/// [`MmuHw`](crate::mm::hw::MmuHw) keeps it in a lock and waits for invalidations without holding
/// it. The firmware of the GPU may use the same registers at any time, which no lock of the driver
/// excludes.
pub(crate) struct Tlb {
    timeout: Delta,
    /// Number of invalidations that were started.
    started: u64,
    /// Number of invalidations that are known to be done, the first ones.
    done: u64,
    is_wedged: bool,
}

/// Which units of the GPU may have cached translations of an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlbScope {
    /// Those behind the hub: enough for the address spaces of BARs, and only for them.
    ///
    /// The translations of all address spaces are invalidated there, not only the named one. The
    /// GSP firmware binds the address space of a BAR, so the driver does not know the root to which
    /// the hardware attributes the translations, and translations of BAR2 seemed to survive an
    /// invalidate that names the root of its page tables. The CPU could then access memory after it
    /// was freed. The cost is that other clients of the hub refill their TLBs.
    Hub,
    /// All of them.
    All,
}

/// What was changed in page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlbChange {
    /// Something was added, and nothing taken away or moved.
    Upgrade,
    /// Something was taken away or moved: a mapping, a page table or a right.
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

    /// Returns how long to wait for the GPU, each time that it is waited for.
    pub(super) fn timeout(&self) -> Delta {
        self.timeout
    }

    /// Returns whether an invalidation has timed out, and none has completed since.
    pub(super) fn is_wedged(&self) -> bool {
        self.is_wedged
    }

    /// Notes that an invalidation has timed out.
    pub(super) fn set_wedged(&mut self) {
        self.is_wedged = true;
    }

    /// Starts an invalidation and returns its number, unless the GPU is still busy with an earlier
    /// one; `bar` is BAR0. Does not sleep.
    ///
    /// The earlier one may be the firmware's, or one of the driver's that timed out. The registers
    /// must not be written until it is done.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the address of the directory is not aligned to 4 KiB, or too high for the
    /// registers. Nothing is written then.
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
            trigger(scope, change).into(),
            NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE::OFFSET,
        )?;
        self.started += 1;

        Ok(Some(self.started))
    }

    /// Returns whether the invalidation `number` is done; `bar` is BAR0. Does not sleep.
    pub(super) fn is_done(&mut self, bar: &dyn Mmio, number: u64) -> Result<bool> {
        // Later invalidations start only after the earlier ones are done.
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

/// Returns the value that starts an invalidate.
fn trigger(scope: TlbScope, change: TlbChange) -> NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE {
    let value = NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE::default()
        .set_trigger(true)
        .set_all_va(true)
        .set_hubtlb_only(scope == TlbScope::Hub)
        .set_all_pdb(scope == TlbScope::Hub);

    match change {
        TlbChange::Upgrade => value,
        // Accesses that were translated before may be under way. What they go to may be freed next,
        // so wait for them and for what they wrote.
        TlbChange::Downgrade => value.set_ack(InvalidateAck::Globally).set_sys_membar(true),
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Invalidation of the translations that the GPU has cached.

use kernel::{
    io::poll::read_poll_timeout,
    prelude::*,
    time::Delta, //
};

use crate::mm::{
    address::VramAddress,
    mmio::Mmio,
    pramin::WritesVisible,
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

/// The registers by which the GPU is told to forget translations.
///
/// There is one for a GPU; where it is shared, it lives in a lock. The GPU's firmware may use the
/// same registers at any time, which no lock of the driver excludes.
pub(crate) struct Tlb {
    /// How long to wait for the GPU, each time that it is waited for.
    timeout: Delta,
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
    /// Time between two looks at whether the GPU is done. It is short enough to be a busy wait.
    const POLL_DELAY: Delta = Delta::from_micros(1);

    /// Returns what waits for the GPU two seconds at most; the hardware is not touched.
    pub(crate) fn new() -> Self {
        Self::with_timeout(Delta::from_secs(2))
    }

    /// Returns what waits for the GPU no longer than `timeout`; the hardware is not touched.
    pub(crate) fn with_timeout(timeout: Delta) -> Self {
        Self { timeout }
    }

    /// Makes the GPU forget all translations of an address space, and waits until it has.
    ///
    /// `bar` is BAR0, and `pdb` the address in VRAM of the address space's root page directory, in
    /// bytes. `_visible` is used up: it proves that the changes are in VRAM, where the GPU looks
    /// next.
    ///
    /// After an [upgrade](TlbChange::Upgrade) the GPU uses what was added. After a
    /// [downgrade](TlbChange::Downgrade) it also has ended all accesses by way of what was taken
    /// away, and their effects are visible. Only then may memory be freed that was mapped, or that
    /// held page tables, and may virtual addresses be given to somebody else.
    ///
    /// This may sleep, for twice the timeout in the worst case. It does not allocate and takes no
    /// lock.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `pdb` is not aligned to 4 KiB, or too high for the registers; nothing is
    ///   written then.
    /// - [`ETIMEDOUT`] if the GPU is not done in time, be it with this invalidate or with one that
    ///   somebody else has started before.
    ///
    /// After any error, the GPU may go on using what it has cached. Nothing that was taken away may
    /// be freed, neither memory nor page tables nor virtual addresses, until a later invalidate of
    /// the address space for a downgrade succeeds, or the GPU is reset.
    pub(crate) fn invalidate(
        &mut self,
        bar: &dyn Mmio,
        _visible: WritesVisible<'_>,
        pdb: VramAddress,
        scope: TlbScope,
        change: TlbChange,
    ) -> Result {
        let InvalidatePdb { pdb, upper_pdb } = InvalidatePdb::vram(pdb)?;

        // The registers must not be touched while the GPU is at an earlier invalidate. That may be
        // the firmware's, or one of the driver's that took too long.
        self.wait_idle(bar)?;

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

        self.wait_idle(bar)
    }

    /// Waits until the GPU is not at an invalidate.
    fn wait_idle(&self, bar: &dyn Mmio) -> Result {
        read_poll_timeout(
            || bar.read32(NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE::OFFSET),
            |value| !NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE::from(*value).trigger(),
            Self::POLL_DELAY,
            self.timeout,
        )
        .map(|_| ())
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

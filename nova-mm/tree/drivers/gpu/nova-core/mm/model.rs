// SPDX-License-Identifier: GPL-2.0

//! The GPU model that KUnit tests run against.
//!
//! [`GpuModel`] has VRAM, a BAR0 with the registers that memory management uses, a BAR1, page
//! tables and a TLB. The code under test accesses it through [`Mmio`](crate::mm::mmio::Mmio), as it
//! accesses a real GPU.
//!
//! The model is as hostile as hardware may be. A write through PRAMIN reaches VRAM only when it is
//! read back or pushed out by later writes. The TLB caches translations, invalid entries and
//! pointers to tables until they are invalidated. Uninitialized VRAM contains values that look like
//! page tables. Accesses that the rules of the hardware forbid are recorded as a [`Violation`].
//!
//! The walkers decode page tables with their own constants. They share no code with the formats
//! that the driver encodes with, so a mistake goes unnoticed only if it is made twice.

use core::ops::Range;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

use crate::mm::{
    address::{
        VirtualAddress,
        VramAddress, //
    },
    mmio::{
        Aperture,
        Registers, //
    },
};

mod bar0;
mod bar1;
mod chunked;
mod config;
mod reachable;
mod state;
mod tlb;
mod vram;
pub(crate) mod walk;
mod walk_v2;
mod walk_v3;

mod tests;

pub(crate) use bar0::ModelBar0;
pub(crate) use bar1::ModelBar1;
pub(crate) use config::{
    Config,
    Generation,
    WideAccess, //
};
pub(crate) use state::{
    Counts,
    Direction,
    Logged,
    Violation, //
};
pub(crate) use vram::POISON;
pub(crate) use walk::{
    Access,
    Fault,
    Translation, //
};

use state::State;

/// A GPU model.
///
/// One mutex protects all state, so methods may sleep and threads may share the model. Accesses to
/// the BARs and translations do not allocate.
pub(crate) struct GpuModel {
    state: Arc<Mutex<State>>,
}

impl GpuModel {
    /// Creates a GPU in the state after reset: the address of the PRAMIN window is unspecified, the
    /// TLB is empty, and the root page directory of BAR1 has no entries.
    pub(crate) fn new(config: Config) -> Result<Arc<Self>> {
        let state = State::new(config)?;
        let state = Arc::pin_init(new_mutex!(state, "GpuModel"), GFP_KERNEL)?;

        Ok(Arc::new(Self { state }, GFP_KERNEL)?)
    }

    /// Returns BAR0, which contains the registers.
    pub(crate) fn bar0(&self) -> ModelBar0 {
        ModelBar0::new(self.state.clone())
    }

    /// Returns BAR1, through which the CPU accesses the address space at [`Config::bar1_pdb`].
    pub(crate) fn bar1(&self) -> ModelBar1 {
        ModelBar1::new(self.state.clone())
    }

    /// Returns BAR0 as the driver accesses it.
    pub(crate) fn registers(&self) -> Result<Registers> {
        Ok(Registers::new(Arc::new(self.bar0(), GFP_KERNEL)?))
    }

    /// Returns BAR1 as the driver accesses it.
    pub(crate) fn aperture(&self) -> Result<Aperture> {
        Ok(Aperture::new(Arc::new(self.bar1(), GFP_KERNEL)?))
    }

    /// Makes one access to BAR0 fail without being performed: the one after the next `skip`
    /// accesses in `direction`.
    pub(crate) fn fail_access(&self, direction: Direction, skip: u64) {
        let mut state = self.state.lock();
        state.failures.next = Some((direction, skip));
        state.failures.has_failed = false;
    }

    /// Returns whether the access has failed, and cancels the failure if it is still to come.
    pub(crate) fn has_failed(&self) -> bool {
        let mut state = self.state.lock();
        state.failures.next = None;

        state.failures.has_failed
    }

    /// Unbinds the device after BAR0 has been used `sections` more times, each in its own RCU
    /// read-side critical section. [`None`] binds it again.
    pub(crate) fn unbind_after(&self, sections: Option<u64>) {
        self.state.lock().failures.unbound_in = sections;
    }

    /// Returns whether the device is unbound.
    pub(crate) fn is_unbound(&self) -> bool {
        self.state.lock().failures.unbound_in == Some(0)
    }

    /// Returns the number of times that BAR0 has been used.
    pub(crate) fn sections(&self) -> u64 {
        self.state.lock().failures.sections
    }

    /// Returns the numbers of accesses since the last [`reset_counts`](Self::reset_counts).
    pub(crate) fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    /// Resets the numbers of accesses to zero.
    pub(crate) fn reset_counts(&self) {
        self.state.lock().counts = Counts::default();
    }

    /// Reads VRAM directly, as the GPU sees it. The address must be a multiple of 8.
    ///
    /// An address outside VRAM is a violation and reads as all ones.
    pub(crate) fn vram_read64(&self, address: VramAddress) -> u64 {
        self.state.lock().vram_read64(address.into_raw())
    }

    /// Writes VRAM directly, as the GPU does. The address must be a multiple of 8.
    ///
    /// An address outside VRAM is a violation; nothing is written.
    pub(crate) fn vram_write64(&self, address: VramAddress, value: u64) {
        self.state.lock().vram_write64(address.into_raw(), value);
    }

    /// Reads `count` consecutive words of VRAM; see [`vram_read64`](Self::vram_read64).
    pub(crate) fn vram_read(&self, address: VramAddress, count: usize) -> Result<KVec<u64>> {
        let mut words = KVec::from_elem(0, count, GFP_KERNEL)?;
        let mut state = self.state.lock();
        for (word, at) in words.iter_mut().zip((address.into_raw()..).step_by(8)) {
            *word = state.vram_read64(at);
        }

        Ok(words)
    }

    /// Writes consecutive words of VRAM; see [`vram_write64`](Self::vram_write64).
    pub(crate) fn vram_write(&self, address: VramAddress, words: &[u64]) {
        let mut state = self.state.lock();
        for (&word, at) in words.iter().zip((address.into_raw()..).step_by(8)) {
            state.vram_write64(at, word);
        }
    }

    /// Fills VRAM with [`POISON`]. A walk that reads it before it is written again is a violation.
    ///
    /// The bounds of the range must be multiples of 8.
    pub(crate) fn poison(&self, range: Range<VramAddress>) {
        self.state
            .lock()
            .poison(range.start.into_raw()..range.end.into_raw());
    }

    /// Retires the 4 KiB page at `page`, which was a page table. A walk that reads it before one of
    /// its words is written again is a violation. The contents do not change.
    pub(crate) fn retire(&self, page: VramAddress) {
        self.state.lock().retire(page);
    }

    /// Translates an address for an access of a client, using and filling the TLB.
    pub(crate) fn translate(
        &self,
        pdb: VramAddress,
        address: VirtualAddress,
        access: Access,
    ) -> Result<Translation, Fault> {
        self.state
            .lock()
            .translate(pdb.into_raw(), address.into_raw(), access)
    }

    /// Translates an address by the present page tables in VRAM, without checking access rights.
    pub(crate) fn walk(
        &self,
        pdb: VramAddress,
        address: VirtualAddress,
    ) -> Result<Translation, Fault> {
        self.state.lock().walk(pdb.into_raw(), address.into_raw())
    }

    /// Sets the number of register reads for which later invalidates are pending.
    pub(crate) fn set_trigger_polls(&self, reads: u32) {
        self.state.lock().invalidate.polls = reads;
    }

    /// Makes one invalidate hang until [`recover`](Self::recover): the one after the next `skip`.
    pub(crate) fn hang_invalidate(&self, skip: u32) {
        self.state.lock().invalidate.hang_in = Some(skip);
    }

    /// Starts an invalidate of the firmware, which is pending for `reads` reads of the register.
    pub(crate) fn leave_pending(&self, reads: u32) {
        self.state.lock().invalidate.leave_pending(reads);
    }

    /// Completes an invalidate that hangs or is pending.
    pub(crate) fn recover(&self) {
        self.state.lock().complete_invalidate();
    }

    /// Moves the PRAMIN window, as the firmware may at any time between sessions. Using the window
    /// before the driver has programmed it again is a violation.
    pub(crate) fn clobber_window(&self) {
        self.state.lock().window = None;
    }

    /// Completes all posted writes through PRAMIN.
    pub(crate) fn drain(&self) {
        self.state.lock().vram.drain();
    }

    /// Starts a log of up to `capacity` accesses and invalidates, replacing an older log.
    pub(crate) fn start_log(&self, capacity: usize) -> Result {
        let log = KVec::with_capacity(capacity, GFP_KERNEL)?;
        self.state.lock().log = Some(log);

        Ok(())
    }

    /// Ends the log and returns it. Events beyond its capacity are dropped, and are a violation.
    pub(crate) fn take_log(&self) -> KVec<Logged> {
        self.state.lock().log.take().unwrap_or_default()
    }

    /// Returns the offset of the last access through BAR1 that faulted since the last call, and the
    /// reason of the fault.
    pub(crate) fn take_bar1_fault(&self) -> Option<(VirtualAddress, Fault)> {
        self.state.lock().bar1_fault.take()
    }

    /// Returns the first violation.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.state.lock().violation
    }

    /// Returns and clears the first violation.
    pub(crate) fn take_violation(&self) -> Option<Violation> {
        self.state.lock().violation.take()
    }

    /// Checks that there was no violation.
    ///
    /// # Errors
    ///
    /// [`EIO`], after logging the violation, if there was one.
    pub(crate) fn check_clean(&self) -> Result {
        match self.violation() {
            Some(violation) => {
                pr_err!("GPU model: {:?}\n", violation);
                Err(EIO)
            }
            None => Ok(()),
        }
    }
}

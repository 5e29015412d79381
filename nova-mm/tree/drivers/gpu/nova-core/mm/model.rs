// SPDX-License-Identifier: GPL-2.0

//! The GPU model, for tests.
//!
//! [`SoftGpu`] has VRAM, a BAR0 with the registers that memory management uses, a BAR1, page tables
//! and a TLB. The code under test reaches it by way of [`Mmio`](crate::mm::mmio::Mmio), as it
//! reaches a real one.
//!
//! It is as hostile as hardware may be. What was written through PRAMIN is not in VRAM before it is
//! read back, or pushed out by later writes. The TLB keeps what it has seen, absent entries and
//! pointers to tables as well, until it is told to forget. VRAM that nobody has written holds
//! rubbish that looks like page tables. What the rules of the hardware forbid is noted as a
//! [`Violation`].
//!
//! The walkers decode page tables with numbers of their own: they share no code with the formats
//! that the driver encodes with, so a mistake has to be made twice to be missed.

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
mod config;
#[cfg(CONFIG_INDIRECT_IOMEM)]
pub(crate) mod iomem;
mod reach;
mod state;
mod tlb;
mod vram;
pub(crate) mod walk;
mod walk_v2;
mod walk_v3;
mod words;

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

/// A model of a GPU.
///
/// All of it is behind one mutex, so methods may sleep and threads may share it. Accesses to its
/// BARs and translations do not allocate.
pub(crate) struct SoftGpu {
    state: Arc<Mutex<State>>,
}

impl SoftGpu {
    /// Makes a GPU that has just been started: the window of PRAMIN is somewhere, the TLB is empty,
    /// and the root page directory of BAR1 has no entries.
    pub(crate) fn new(config: Config) -> Result<Arc<Self>> {
        let state = State::new(config)?;
        let state = Arc::pin_init(new_mutex!(state, "SoftGpu"), GFP_KERNEL)?;

        Ok(Arc::new(Self { state }, GFP_KERNEL)?)
    }

    /// Returns the BAR with the registers.
    pub(crate) fn bar0(&self) -> ModelBar0 {
        ModelBar0::new(self.state.clone())
    }

    /// Returns the BAR through which the CPU uses the address space at [`Config::bar1_pdb`].
    pub(crate) fn bar1(&self) -> ModelBar1 {
        ModelBar1::new(self.state.clone())
    }

    /// Returns BAR0 as the driver gets it.
    pub(crate) fn registers(&self) -> Result<Registers> {
        Ok(Registers::new(Arc::new(self.bar0(), GFP_KERNEL)?))
    }

    /// Returns BAR1 as the driver gets it.
    pub(crate) fn aperture(&self) -> Result<Aperture> {
        Ok(Aperture::new(Arc::new(self.bar1(), GFP_KERNEL)?))
    }

    /// Lets the access to BAR0 in `direction` after the next `skip` ones fail, without being made.
    pub(crate) fn fail_access(&self, direction: Direction, skip: u64) {
        let mut state = self.state.lock();
        state.failures.next = Some((direction, skip));
        state.failures.has_failed = false;
    }

    /// Returns whether there was the access that was to fail. No further one fails.
    pub(crate) fn has_failed(&self) -> bool {
        let mut state = self.state.lock();
        state.failures.next = None;

        state.failures.has_failed
    }

    /// Unbinds the device after BAR0 has been used `sections` more times, each in an RCU read-side
    /// critical section of its own; [`None`] binds it again.
    pub(crate) fn unbind_after(&self, sections: Option<u64>) {
        self.state.lock().failures.unbound_in = sections;
    }

    /// Returns whether the device is unbound.
    pub(crate) fn is_unbound(&self) -> bool {
        self.state.lock().failures.unbound_in == Some(0)
    }

    /// Returns how many times BAR0 has been used.
    pub(crate) fn sections(&self) -> u64 {
        self.state.lock().failures.sections
    }

    /// Returns how many accesses there were since the last [`reset_counts`](Self::reset_counts).
    pub(crate) fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    /// Counts from zero again.
    pub(crate) fn reset_counts(&self) {
        self.state.lock().counts = Counts::default();
    }

    /// Reads VRAM as the GPU sees it, by the back door. Addresses are multiples of 8.
    ///
    /// Outside of VRAM, this is a violation and reads as all ones.
    pub(crate) fn vram_read64(&self, address: VramAddress) -> u64 {
        self.state.lock().vram_read64(address.into_raw())
    }

    /// Writes VRAM as the GPU does, by the back door. Addresses are multiples of 8.
    ///
    /// Outside of VRAM, this is a violation and does nothing.
    pub(crate) fn vram_write64(&self, address: VramAddress, value: u64) {
        self.state.lock().vram_write64(address.into_raw(), value);
    }

    /// Fills VRAM with [`POISON`]: a walk that reads it is a violation until it is written again.
    ///
    /// The range is in multiples of 8 bytes.
    pub(crate) fn poison(&self, range: Range<VramAddress>) {
        self.state
            .lock()
            .poison(range.start.into_raw()..range.end.into_raw());
    }

    /// Retires the page of 4 KiB at `page`, which has been a page table: a walk that reads it is a
    /// violation until a word of it is written again. The contents do not change.
    pub(crate) fn retire(&self, page: VramAddress) {
        self.state.lock().retire(page);
    }

    /// Translates an address as an access of a client does: the TLB is used, and filled.
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

    /// Translates an address by what the page tables in VRAM say now, without regard to rights.
    pub(crate) fn walk(
        &self,
        pdb: VramAddress,
        address: VirtualAddress,
    ) -> Result<Translation, Fault> {
        self.state.lock().walk(pdb.into_raw(), address.into_raw())
    }

    /// Lets each invalidate that starts from now on be pending for `reads` reads of its register.
    pub(crate) fn set_trigger_polls(&self, reads: u32) {
        self.state.lock().invalidate.polls = reads;
    }

    /// Lets the invalidate after the next `skip` ones hang until [`recover`](Self::recover).
    pub(crate) fn hang_invalidate(&self, skip: u32) {
        self.state.lock().invalidate.hang_in = Some(skip);
    }

    /// Starts an invalidate on behalf of somebody else, which is pending for `reads` reads.
    pub(crate) fn leave_pending(&self, reads: u32) {
        self.state.lock().invalidate.leave_pending(reads);
    }

    /// Lets an invalidate that hangs, or is pending, be done at once.
    pub(crate) fn recover(&self) {
        self.state.lock().complete_invalidate();
    }

    /// Moves the window of PRAMIN, as the firmware may at any time between sessions: using it
    /// before it is moved again is a violation.
    pub(crate) fn disturb_window(&self) {
        self.state.lock().window = None;
    }

    /// Lets what was written through PRAMIN arrive.
    pub(crate) fn drain(&self) {
        self.state.lock().vram.drain();
    }

    /// Starts a log of up to `capacity` writes and invalidates; an older one is dropped.
    pub(crate) fn start_log(&self, capacity: usize) -> Result {
        let log = KVec::with_capacity(capacity, GFP_KERNEL)?;
        self.state.lock().log = Some(log);

        Ok(())
    }

    /// Ends the log and returns it; more than its capacity is a violation and not in it.
    pub(crate) fn take_log(&self) -> KVec<Logged> {
        self.state.lock().log.take().unwrap_or_default()
    }

    /// Returns the offset of the last access through BAR1 that faulted, if any did since the last
    /// call, and why.
    pub(crate) fn take_bar1_fault(&self) -> Option<(VirtualAddress, Fault)> {
        self.state.lock().bar1_fault.take()
    }

    /// Returns the first violation, if there was any.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.state.lock().violation
    }

    /// Returns the first violation and forgets it.
    pub(crate) fn take_violation(&self) -> Option<Violation> {
        self.state.lock().violation.take()
    }

    /// Checks that there was no violation.
    ///
    /// # Errors
    ///
    /// [`EIO`], and a message, if there was one.
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

// SPDX-License-Identifier: GPL-2.0

//! Jobs, which update the mappings of an address space.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    hw::{
        PendingInvalidate,
        Retry, //
    },
    pramin::PraminFlushed,
    stack::Stack,
    tables::{
        Change,
        PtPrealloc, //
    },
    vma::{
        Reservation,
        VmaTree, //
    },
    vmm::{
        deferred::{
            ReadyFrees,
            Removed, //
        },
        State,
        Vmm, //
    },
};

/// A prepared update of the mappings of an address space, which owns all resources that it needs.
///
/// Dropping a job that has not run cancels it. Dropping a job may sleep, and is the same as
/// [`Self::free`].
pub(crate) struct Job {
    vmm: Arc<Vmm>,
    pages: Range<u64>,
    change: Change,
    /// Nodes for the mappings that the job adds or splits.
    nodes: [Option<Reservation>; 2],
    /// Receives the mappings and tables that the job removes; [`None`] once the job has changed
    /// something.
    removed: Option<KBox<Removed>>,
    /// Objects that the GPU can no longer access after the job has run.
    ready: Option<ReadyFrees>,
    /// Whether the job has pinned the tables that it may need.
    is_pinned: bool,
}

/// The error of a job, and its effect on the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobError {
    /// Nothing has been changed. The job can be run again.
    ///
    /// - [`EBUSY`]: the firmware has changed an entry that the job needs.
    /// - [`EIO`]: an earlier invalidation of the TLB has timed out, see
    ///   [`Vmm::retry_invalidate`]; or the address space is broken.
    /// - [`ENODEV`]: the address space has been torn down, or the device is unbound.
    /// - [`EINVAL`]: the job has already run.
    Unchanged(Error),
    /// The page tables have been changed, and the TLB has not been invalidated.
    ///
    /// The GPU may use the old or the new translations. Memory and tables that the job has removed
    /// stay allocated until the invalidation of a later job, or [`Vmm::retry_invalidate`],
    /// succeeds.
    ///
    /// - [`ETIMEDOUT`]: the GPU did not respond in time.
    /// - [`EIO`]: an earlier invalidation has timed out.
    /// - [`ENODEV`]: the device is unbound.
    NotInvalidated(Error),
    /// The change has been made in part. The address space can no longer be used, and all memory
    /// that it has mapped stays allocated.
    ///
    /// - [`ENODEV`]: the device was unbound during the update.
    Broken(Error),
}

impl From<JobError> for Error {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Unchanged(e) | JobError::NotInvalidated(e) | JobError::Broken(e) => e,
        }
    }
}

impl Job {
    /// Prepares a job.
    pub(super) fn new(vmm: &Arc<Vmm>, pages: Range<u64>, change: Change) -> Result<Self> {
        let second = match change {
            Change::Unmap => None,
            Change::Map(_) | Change::Protect(_) => Some(Reservation::new(GFP_KERNEL)?),
        };
        let mut job = Self {
            vmm: vmm.clone(),
            pages,
            change,
            nodes: [Some(Reservation::new(GFP_KERNEL)?), second],
            removed: Some(Removed::new()?),
            ready: None,
            is_pinned: false,
        };
        job.pin_tables()?;

        Ok(job)
    }

    /// Pins the tables that the job may need, and allocates missing ones.
    fn pin_tables(&mut self) -> Result {
        let Self {
            vmm, pages, change, ..
        } = self;
        let mut prealloc = PtPrealloc::new();

        loop {
            // Memory must not be allocated under the lock. While it is released, other jobs may
            // remove tables, so pinning may have to be repeated.
            let missing = vmm
                .state
                .lock()
                .tables
                .pin(&vmm.hw, change, pages, &mut prealloc)?;
            match missing {
                Some(counts) => prealloc.fill_up(&counts, &vmm.hw, &vmm.memory)?,
                None => break,
            }
        }
        self.is_pinned = true;

        Ok(())
    }

    /// Updates the page tables, and invalidates the TLB once.
    ///
    /// May sleep; takes the table lock and the hardware lock. Neither allocates nor frees memory,
    /// so that a DMA fence may wait for it.
    ///
    /// # Errors
    ///
    /// See [`JobError`].
    pub(crate) fn run(&mut self) -> Result<(), JobError> {
        let vmm = self.vmm.clone();
        let mut state = vmm.state.lock();

        let (pending, flushed) = self.update(&vmm, &mut state)?;
        let done = flushed
            .and_then(|flushed| {
                vmm.hw
                    .invalidate(pending, flushed, vmm.pdb, vmm.scope, Retry::No)
            })
            .map_err(JobError::NotInvalidated)?;
        state.tables.set_invalidated();
        self.ready = Some(state.deferred.take_ready(done));

        Ok(())
    }

    /// Updates the page tables and the mappings. Returns the pending invalidation, and the result
    /// of waiting until the update has arrived in VRAM.
    fn update(
        &mut self,
        vmm: &Vmm,
        state: &mut State,
    ) -> Result<(PendingInvalidate, Result<PraminFlushed>), JobError> {
        if state.is_closed {
            return Err(JobError::Unchanged(ENODEV));
        }
        if vmm.hw.is_wedged() || !state.tables.is_intact() {
            return Err(JobError::Unchanged(EIO));
        }
        let mut removed = self.removed.take().ok_or(JobError::Unchanged(EINVAL))?;

        let mut vram = vmm.hw.vram();
        let result = state.tables.update(
            &vmm.hw,
            &mut vram,
            &self.change,
            &self.pages,
            &state.vmas,
            &mut removed.tables,
        );
        if let Err(e) = result.as_ref().map_err(|e| *e) {
            if state.tables.is_intact() {
                self.removed = Some(removed);
                return Err(JobError::Unchanged(e));
            }
        }

        // If the change has been made in part, the GPU may access both the old and the new memory.
        // Both stay allocated.
        let flushed = vram.finish();
        self.update_vmas(&mut state.vmas, &mut removed);
        let has_older = !state.deferred.is_empty();
        state.deferred.push(removed);

        let mut pending = result.map_err(JobError::Broken)?;
        if has_older {
            // Accesses through entries that an earlier job has removed may still be in flight.
            pending.downgrade();
        }

        Ok((pending, flushed))
    }

    fn update_vmas(&mut self, vmas: &mut VmaTree, removed: &mut Removed) {
        if let Change::Protect(access) = &self.change {
            vmas.protect(&self.pages, *access, &mut self.nodes);
            return;
        }

        let [first, second] = &mut self.nodes;
        if let Some(node) = first.take() {
            *first = vmas.remove(&self.pages, node, &mut removed.vmas);
        }
        if let (Change::Map(backing), Some(node)) = (&self.change, second.take()) {
            *second = vmas.insert(self.pages.clone(), backing.clone(), node);
        }
    }

    /// Frees unused preallocated objects, and objects that the GPU can no longer access. May sleep;
    /// takes the table lock.
    pub(crate) fn free(self) {}
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.is_pinned {
            return;
        }
        let mut unused = Stack::new();
        let mut state = self.vmm.state.lock();
        let State {
            tables, deferred, ..
        } = &mut *state;
        // After an interrupted update, the GPU may still walk any of the tables.
        if tables.is_intact() {
            let deferred = &mut deferred.others().tables;
            tables.unpin(
                &self.vmm.hw,
                &self.change,
                &self.pages,
                deferred,
                &mut unused,
            );
        }
        drop(state);
        // Free without holding the lock.
        drop(unused);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Jobs: changes of what is mapped in an address space.

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

/// A change of what is mapped in an address space, which has everything that it needs.
///
/// [`Self::run`] makes the change. A job that is dropped without having run is cancelled. Dropping
/// it may sleep; it is the same as [`Self::free`].
pub(crate) struct Job {
    vmm: Arc<Vmm>,
    pages: Range<u64>,
    change: Change,
    /// For the mappings that the job adds, and for those that it splits.
    nodes: [Option<Reservation>; 2],
    /// For what the job removes; [`None`] once it has changed something.
    removed: Option<KBox<Removed>>,
    /// What the GPU can no longer reach since the job has run.
    ready: Option<ReadyFrees>,
    /// Whether the tables are pinned that the job needs.
    is_pinned: bool,
}

/// Why a job has failed, and what that means for the address space.
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
    /// The GPU may use the old or the new translations. What the job has removed is kept until an
    /// invalidation of the address space succeeds: that of a later job, or
    /// [`Vmm::retry_invalidate`].
    ///
    /// - [`ETIMEDOUT`]: the GPU did not answer in time.
    /// - [`EIO`]: nor did it answer to an earlier invalidation.
    /// - [`ENODEV`]: the device is unbound.
    NotInvalidated(Error),
    /// A part of the change has been made. The address space cannot be used any longer, and nothing
    /// that it has mapped is freed.
    ///
    /// - [`ENODEV`]: the device was unbound meanwhile.
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

    /// Makes sure that the tables exist that the job may need.
    fn pin_tables(&mut self) -> Result {
        let Self {
            vmm, pages, change, ..
        } = self;
        let mut prealloc = PtPrealloc::new();

        loop {
            // Nothing is allocated under the lock. Meanwhile, other jobs may remove tables.
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

    /// Changes the page tables, and invalidates the TLB once.
    ///
    /// Context: may sleep; takes the table lock and the hardware lock. Neither allocates nor frees
    /// memory, so that a DMA fence may wait for it.
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

    /// Makes the change to the page tables and to the mappings, and returns the invalidation that
    /// has to follow, and whether the change has arrived in VRAM.
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

        // If a part of the change has been made, the GPU may reach what was mapped before and what
        // was to be mapped: both are kept.
        let flushed = vram.finish();
        self.update_vmas(&mut state.vmas, &mut removed);
        let has_older = !state.deferred.is_empty();
        state.deferred.push(removed);

        let mut pending = result.map_err(JobError::Broken)?;
        if has_older {
            // Accesses through entries that were removed then may be under way.
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

    /// Frees what is not needed, or no longer.
    ///
    /// Context: may sleep; takes the table lock.
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
        // After an interrupted update, it is not known which tables the GPU may reach.
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
        // Freed without holding the lock.
        drop(unused);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Deferred frees of memory and page tables that the GPU may still access through its TLB.

use kernel::prelude::*;

use crate::mm::{
    hw::InvalidateDone,
    stack::{
        Link,
        Stack, //
    },
    tables::Table,
    vma::VmaTree, //
};

/// The tables and mappings that a job has removed from an address space.
///
/// It is allocated when the job is prepared, and filled when the job runs.
pub(super) struct Removed {
    /// Unlinked tables.
    pub(super) tables: Stack<Table>,
    /// Removed mappings, which keep the mapped memory alive.
    pub(super) vmas: VmaTree,
    /// The next object in a [`Stack`].
    below: Option<KBox<Removed>>,
}

impl Removed {
    /// Creates an empty object. May sleep, because it allocates memory.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if memory allocation fails.
    pub(super) fn new() -> Result<KBox<Self>> {
        Ok(KBox::new(Self::empty(), GFP_KERNEL)?)
    }

    fn empty() -> Self {
        Self {
            tables: Stack::new(),
            vmas: VmaTree::new(),
            below: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.vmas.is_empty()
    }

    /// Makes dropping the mappings leak their memory, and leaks the VRAM of the tables.
    fn leak_on_drop(&mut self) {
        self.vmas.leak_on_drop();
        while let Some(table) = self.tables.pop() {
            table.leak_on_drop();
        }
    }
}

impl Link for Removed {
    fn below(&mut self) -> &mut Option<KBox<Self>> {
        &mut self.below
    }
}

/// Objects that the GPU can no longer access. Dropping this frees them, and may sleep.
pub(super) struct ReadyFrees {
    _jobs: Stack<Removed>,
    _others: Removed,
}

/// Objects that the GPU may still access through its TLB.
///
/// All objects that are removed from an address space are added here. Only a completed invalidation
/// releases them.
///
/// # Invariants
///
/// Only an invalidation that starts after a job has updated the page tables releases the objects
/// that the job has added.
pub(super) struct DeferredFrees {
    /// Objects that jobs have removed, separate for each job, because several jobs may have removed
    /// mappings of the same pages.
    jobs: Stack<Removed>,
    /// Objects that the teardown has removed, and tables that became unused after a job. The
    /// mappings do not overlap, so they fit into a single tree, and no memory is allocated.
    others: Removed,
}

impl DeferredFrees {
    pub(super) fn new() -> Self {
        Self {
            jobs: Stack::new(),
            others: Removed::empty(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.others.is_empty()
    }

    /// Adds the objects that a job has removed. Does not allocate memory.
    pub(super) fn push(&mut self, removed: KBox<Removed>) {
        self.jobs.push(removed);
    }

    /// Returns the object that receives mappings and tables from the teardown, and tables that
    /// become unused.
    pub(super) fn others(&mut self) -> &mut Removed {
        &mut self.others
    }

    /// Removes and returns all objects, after an invalidation.
    pub(super) fn take_ready(&mut self, _done: InvalidateDone) -> ReadyFrees {
        ReadyFrees {
            _jobs: self.jobs.take(),
            _others: core::mem::replace(&mut self.others, Removed::empty()),
        }
    }

    /// Makes dropping the objects leak their VRAM.
    pub(super) fn leak_on_drop(&mut self) {
        while let Some(mut removed) = self.jobs.pop() {
            removed.leak_on_drop();
        }
        self.others.leak_on_drop();
    }
}

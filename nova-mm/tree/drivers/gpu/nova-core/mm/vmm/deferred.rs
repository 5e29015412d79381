// SPDX-License-Identifier: GPL-2.0

//! What is no longer mapped, and must not be freed yet.

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

/// What a job has removed from an address space.
///
/// It is allocated when the job is prepared, and filled when it runs.
pub(super) struct Removed {
    /// Tables that are no longer linked.
    pub(super) tables: Stack<Table>,
    /// Mappings, which keep the mapped memory alive.
    pub(super) vmas: VmaTree,
    /// What an earlier job has removed.
    below: Option<KBox<Removed>>,
}

impl Removed {
    /// Creates an empty object.
    ///
    /// Context: may sleep; allocates.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if memory runs out.
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

    /// Keeps the memory from being freed when it is dropped, and drops the tables.
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

/// Objects that the GPU can no longer reach. Dropping them frees them, and may sleep.
pub(super) struct ReadyFrees {
    _jobs: Stack<Removed>,
    _others: Removed,
}

/// Objects that the GPU may still reach through its TLB.
///
/// Everything that is removed from an address space is added to these, and only an invalidation
/// that has completed gets it out again.
///
/// # Invariants
///
/// An object that was added in run `n` of the address space is released by an invalidation that
/// started after that run had changed the page tables.
pub(super) struct DeferredFrees {
    /// What jobs have removed. Each job has an object of its own, since several jobs may have
    /// removed mappings of the same pages.
    jobs: Stack<Removed>,
    /// What the teardown has removed, and tables that became unused after a job. No two of these
    /// mappings have a page in common, so a single object is enough and nothing is allocated.
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

    /// Adds what a job has removed. Does not allocate.
    pub(super) fn push(&mut self, removed: KBox<Removed>) {
        self.jobs.push(removed);
    }

    /// Returns the object for what the teardown removes, and for tables that become unused.
    pub(super) fn others(&mut self) -> &mut Removed {
        &mut self.others
    }

    /// Returns everything, after an invalidation.
    pub(super) fn take_ready(&mut self, _done: InvalidateDone) -> ReadyFrees {
        ReadyFrees {
            _jobs: self.jobs.take(),
            _others: core::mem::replace(&mut self.others, Removed::empty()),
        }
    }

    /// Keeps the memory from being freed when it is dropped, and drops everything.
    pub(super) fn leak_on_drop(&mut self) {
        while let Some(mut removed) = self.jobs.pop() {
            removed.leak_on_drop();
        }
        self.others.leak_on_drop();
    }
}

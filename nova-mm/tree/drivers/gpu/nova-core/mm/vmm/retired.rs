// SPDX-License-Identifier: GPL-2.0

//! What is not mapped any more, and may not be freed yet.

use kernel::prelude::*;

use crate::mm::{
    stack::{
        Link,
        Stack, //
    },
    tables::{
        Acknowledged,
        Node, //
    },
    vmm::records::Records, //
};

/// What a job has taken out of an address space.
///
/// It is allocated when the job is submitted and filled when it is run.
pub(super) struct Retired {
    /// Tables that are not linked any more.
    pub(super) tables: Stack<Node>,
    /// What is not mapped any more: its addresses and its memory.
    pub(super) records: Records,
    /// What another job has taken out before.
    below: Option<KBox<Retired>>,
}

impl Retired {
    /// Makes one that is empty.
    ///
    /// Context: may sleep; allocates.
    pub(super) fn new() -> Result<KBox<Self>> {
        Ok(KBox::new(Self::empty(), GFP_KERNEL)?)
    }

    fn empty() -> Self {
        Self {
            tables: Stack::new(),
            records: Records::new(),
            below: None,
        }
    }

    /// Returns whether there are neither tables nor records.
    fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.records.is_empty()
    }

    /// Keeps the VRAM from being freed when it is dropped, and drops the tables.
    fn keep_vram(&mut self) {
        self.records.keep_vram();
        keep_tables(&mut self.tables);
    }
}

impl Link for Retired {
    fn below(&mut self) -> &mut Option<KBox<Self>> {
        &mut self.below
    }
}

/// Drops tables without freeing their VRAM.
pub(super) fn keep_tables(tables: &mut Stack<Node>) {
    while let Some(table) = tables.pop() {
        table.keep_allocated();
    }
}

/// What nothing can reach any more. Dropping it frees it, which may sleep.
pub(super) struct Released {
    _jobs: Stack<Retired>,
    _teardown: Retired,
}

impl Released {
    /// Returns nothing.
    pub(super) fn empty() -> Self {
        Self {
            _jobs: Stack::new(),
            _teardown: Retired::empty(),
        }
    }
}

/// What the GPU may still reach by way of what its TLB holds.
///
/// Everything that is taken out of an address space comes here, and there is one way to get it out:
/// an acknowledged invalidation. It must not be dropped before.
pub(super) struct Quarantine {
    /// Tables and records that jobs have removed. Each job has a separate object, since several
    /// jobs may have removed records of the same addresses.
    jobs: Stack<Retired>,
    /// Tables and records that the teardown has removed. No job maps anything after it has begun,
    /// so one object is enough, and the teardown allocates nothing.
    teardown: Retired,
}

impl Quarantine {
    pub(super) fn new() -> Self {
        Self {
            jobs: Stack::new(),
            teardown: Retired::empty(),
        }
    }

    /// Returns whether there is nothing that the GPU may still reach.
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.teardown.is_empty()
    }

    /// Adds what a job has taken out. Does not allocate.
    pub(super) fn push(&mut self, retired: KBox<Retired>) {
        self.jobs.push(retired);
    }

    /// Returns the object that the teardown moves tables and records to.
    pub(super) fn teardown(&mut self) -> &mut Retired {
        &mut self.teardown
    }

    /// Returns everything, after an invalidation that came after it was added.
    pub(super) fn release(&mut self, _: Acknowledged) -> Released {
        Released {
            _jobs: self.jobs.take(),
            _teardown: core::mem::replace(&mut self.teardown, Retired::empty()),
        }
    }

    /// Keeps the VRAM from being freed when it is dropped, and drops everything.
    pub(super) fn keep_vram(&mut self) {
        while let Some(mut retired) = self.jobs.pop() {
            retired.keep_vram();
        }
        self.teardown.keep_vram();
    }
}

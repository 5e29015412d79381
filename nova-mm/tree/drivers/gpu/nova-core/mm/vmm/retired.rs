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
        Ok(KBox::new(
            Self {
                tables: Stack::new(),
                records: Records::new(),
                below: None,
            },
            GFP_KERNEL,
        )?)
    }
}

impl Link for Retired {
    fn below(&mut self) -> &mut Option<KBox<Self>> {
        &mut self.below
    }
}

/// What nothing can reach any more. Dropping it frees it, which may sleep.
pub(super) type Released = Stack<Retired>;

/// What the GPU may still reach by way of what its TLB holds.
///
/// Everything that is taken out of an address space comes here, and there is one way to get it out:
/// an acknowledged invalidation. It must not be dropped before.
pub(super) struct Quarantine(Stack<Retired>);

impl Quarantine {
    pub(super) const fn new() -> Self {
        Self(Stack::new())
    }

    /// Returns whether there is nothing that the GPU may still reach.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what a job has taken out. Does not allocate.
    pub(super) fn push(&mut self, retired: KBox<Retired>) {
        self.0.push(retired);
    }

    /// Returns everything, after an invalidation that came after it was added.
    pub(super) fn release(&mut self, _: Acknowledged) -> Released {
        self.0.take()
    }
}

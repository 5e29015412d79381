// SPDX-License-Identifier: GPL-2.0

//! What is not mapped any more, and may not be freed yet.

use kernel::prelude::*;

use crate::mm::{
    tables::{
        Acknowledged,
        NodeStack, //
    },
    vmm::records::Records, //
};

/// What a job has taken out of an address space.
///
/// It is allocated when the job is submitted and filled when it is run.
pub(super) struct Retired {
    /// Tables that are not linked any more.
    pub(super) tables: NodeStack,
    /// What is not mapped any more: its addresses and its memory.
    pub(super) records: Records,
    /// What another job has taken out.
    next: Option<KBox<Retired>>,
}

impl Retired {
    /// Makes one that is empty.
    ///
    /// Context: may sleep; allocates.
    pub(super) fn new() -> Result<KBox<Self>> {
        Ok(KBox::new(
            Self {
                tables: NodeStack::new(),
                records: Records::new(),
                next: None,
            },
            GFP_KERNEL,
        )?)
    }
}

/// What the GPU may still reach by way of what its TLB holds.
///
/// Everything that is taken out of an address space comes here, and there is one way to get it out:
/// an acknowledged invalidation. If there is none, as the GPU does not answer any more, it is never
/// freed.
pub(super) struct Quarantine {
    last: Option<KBox<Retired>>,
}

impl Quarantine {
    pub(super) const fn new() -> Self {
        Self { last: None }
    }

    /// Returns whether there is nothing that the GPU may still reach.
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// Adds what a job has taken out. Does not allocate.
    pub(super) fn push(&mut self, mut retired: KBox<Retired>) {
        retired.next = self.last.take();
        self.last = Some(retired);
    }

    /// Returns everything, after an invalidation that came after it was added.
    pub(super) fn release(&mut self, _: Acknowledged) -> Released {
        Released {
            last: self.last.take(),
        }
    }
}

impl Drop for Quarantine {
    fn drop(&mut self) {
        if let Some(last) = self.last.take() {
            pr_warn!("GPU memory is lost: its TLB has never been invalidated\n");
            // The memory may still be written to, so it must not be used for anything else.
            core::mem::forget(last);
        }
    }
}

/// What nothing can reach any more. Dropping it frees it, which may sleep.
pub(super) struct Released {
    last: Option<KBox<Retired>>,
}

impl Released {
    pub(super) const fn nothing() -> Self {
        Self { last: None }
    }
}

impl Drop for Released {
    fn drop(&mut self) {
        // One by one: each dropping the next would use up the stack.
        while let Some(mut retired) = self.last.take() {
            self.last = retired.next.take();
        }
    }
}

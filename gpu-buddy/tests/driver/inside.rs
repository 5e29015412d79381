// SPDX-License-Identifier: GPL-2.0

//! A look at the allocator from the inside, by C code that knows its structures.

use kernel::bindings;

/// A block that is not split, in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub start: u64,
    pub size: u64,
    pub allocated: bool,
    pub clear: bool,
}

/// How many leaves there are at most.
const MAX_LEAVES: usize = 8192;

/// A pair of eyes.
pub struct Inside {
    mm: *mut bindings::gpu_buddy,
    /// Where C stores leaves; kept, because to make it takes time.
    found: Vec<bindings::host_buddy_leaf>,
    /// What was seen last.
    pub leaves: Vec<Leaf>,
}

impl Inside {
    /// Prepares to look into an allocator.
    ///
    /// # Safety
    ///
    /// The allocator is there, and nobody else uses it, whenever it is looked at.
    pub unsafe fn new(mm: *mut bindings::gpu_buddy) -> Self {
        Self {
            mm,
            found: vec![Default::default(); MAX_LEAVES],
            leaves: Vec::new(),
        }
    }

    /// Looks; panics if the allocator is broken.
    pub fn look(&mut self) -> &[Leaf] {
        // SAFETY: By the safety requirements of `new`; that it is valid is what the test finds out.
        let (count, chunk) = unsafe {
            (
                bindings::host_buddy_leaves(self.mm, self.found.as_mut_ptr(), MAX_LEAVES),
                (*self.mm).chunk_size,
            )
        };
        let Ok(count) = usize::try_from(count) else {
            panic!(
                "line {} of c/test_buddy.c found the allocator broken",
                -count
            );
        };
        self.leaves.clear();
        self.leaves
            .extend(self.found[..count].iter().map(|leaf| Leaf {
                start: leaf.offset / chunk,
                size: 1 << leaf.order,
                allocated: leaf.allocated,
                clear: leaf.clear,
            }));
        &self.leaves
    }
}

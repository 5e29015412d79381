// SPDX-License-Identifier: GPL-2.0

//! The expected mappings of an address space: a sorted list that is independent of the code under
//! test.

use core::ops::Range;

use kernel::prelude::*;

use crate::mm::{
    address::PAGE_SIZE,
    format::{
        Access,
        Aperture,
        PageAttributes, //
    },
};

use super::{
    Fault,
    PageSize,
    Translation, //
};

/// Pages that are mapped to contiguous memory, or that are sparse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Number of the first page.
    pub(super) start: u64,
    /// End of the pages.
    pub(super) end: u64,
    /// The target of the first page.
    pub(super) target: Target,
}

/// The target of a mapped page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// No memory; accesses do not fault.
    Sparse,
    /// A page of memory.
    Page {
        /// Number of the block of memory.
        memory: u64,
        aperture: Aperture,
        /// Number of the page in the aperture.
        frame: u64,
        attributes: PageAttributes,
    },
}

impl Target {
    /// Returns the target of the page `pages` pages later in the same mapping.
    pub(super) fn after(self, pages: u64) -> Self {
        match self {
            Self::Page {
                memory,
                aperture,
                frame,
                attributes,
            } => Self::Page {
                memory,
                aperture,
                frame: frame + pages,
                attributes,
            },
            Self::Sparse => Self::Sparse,
        }
    }

    /// Returns the number of the block of memory, unless the page is sparse.
    pub(super) fn memory(self) -> Option<u64> {
        match self {
            Self::Page { memory, .. } => Some(memory),
            Self::Sparse => None,
        }
    }

    /// Returns the page of VRAM, unless the target is other memory.
    pub(super) fn vram_frame(self) -> Option<u64> {
        match self {
            Self::Page {
                aperture: Aperture::Vram,
                frame,
                ..
            } => Some(frame),
            _ => None,
        }
    }

    /// Returns the same target with another access.
    fn with_access(self, access: Access) -> Self {
        match self {
            Self::Page {
                memory,
                aperture,
                frame,
                attributes,
            } => Self::Page {
                memory,
                aperture,
                frame,
                attributes: PageAttributes {
                    access,
                    ..attributes
                },
            },
            Self::Sparse => Self::Sparse,
        }
    }

    /// Returns the expected translation of a 4 KiB page.
    fn translation(self) -> Result<Translation, Fault> {
        match self {
            Self::Page {
                aperture,
                frame,
                attributes,
                ..
            } => Ok(Translation {
                aperture,
                address: frame * PAGE_SIZE,
                page_size: PageSize::Size4K,
                peer: 0,
                kind: attributes.kind.into(),
                read_only: attributes.access == Access::ReadOnly,
                privileged: attributes.privileged,
                // The GPU does not cache system memory.
                volatile: attributes.volatile || aperture != Aperture::Vram,
                no_atomics: false,
            }),
            Self::Sparse => Err(Fault::Sparse),
        }
    }
}

impl Extent {
    /// Returns the part from `start` to `end`, or [`None`] if it is empty.
    fn part(&self, start: u64, end: u64) -> Option<Self> {
        let start = start.max(self.start);
        let part = Self {
            start,
            end: end.min(self.end),
            target: self.target.after(start.saturating_sub(self.start)),
        };

        (part.start < part.end).then_some(part)
    }
}

/// The expected mappings of an address space.
pub(super) struct Oracle(KVec<Extent>);

impl Oracle {
    pub(super) fn new() -> Self {
        Self(KVec::new())
    }

    pub(super) fn copy(&self) -> Result<Self> {
        let mut extents = KVec::new();
        extents.extend_from_slice(&self.0, GFP_KERNEL)?;

        Ok(Self(extents))
    }

    /// Returns all mappings in ascending order.
    pub(super) fn extents(&self) -> &[Extent] {
        &self.0
    }

    /// Returns the target of a page, or [`None`] if it is unmapped.
    pub(super) fn at(&self, page: u64) -> Option<Target> {
        Some(self.within(&(page..page + 1)).next()?.target)
    }

    /// Returns the expected translation of a page, as if all pages had 4 KiB.
    pub(super) fn translation(&self, page: u64) -> Result<Translation, Fault> {
        self.at(page).ok_or(Fault::Unmapped)?.translation()
    }

    /// Returns the parts of mappings within `pages`.
    pub(super) fn within<'a>(&'a self, pages: &Range<u64>) -> impl Iterator<Item = Extent> + 'a {
        let Range { start, end } = *pages;
        let first = self.0.partition_point(|extent| extent.end <= start);

        self.0[first..]
            .iter()
            .map_while(move |extent| extent.part(start, end))
    }

    /// Replaces the mappings of `pages` with `new`, which are within `pages`.
    pub(super) fn replace(&mut self, pages: &Range<u64>, new: &[Extent]) -> Result {
        let mut extents = KVec::with_capacity(self.0.len() + new.len() + 1, GFP_KERNEL)?;

        for extent in &self.0 {
            let below = extent.part(0, pages.start);
            let above = extent.part(pages.end, u64::MAX);
            for part in [below, above].into_iter().flatten() {
                extents.push(part, GFP_KERNEL)?;
            }
        }
        extents.extend_from_slice(new, GFP_KERNEL)?;
        // Use insertion sort, because nearly all elements are in order and `sort_unstable()` needs
        // too much stack.
        for next in 1..extents.len() {
            let mut at = next;
            while at > 0 && extents[at - 1].start > extents[at].start {
                extents.swap(at - 1, at);
                at -= 1;
            }
        }
        self.0 = extents;

        Ok(())
    }

    /// Changes the access to memory that is mapped at `pages`.
    pub(super) fn protect(&mut self, pages: &Range<u64>, access: Access) -> Result {
        let mut changed = KVec::new();
        for extent in self.within(pages) {
            changed.push(
                Extent {
                    target: extent.target.with_access(access),
                    ..extent
                },
                GFP_KERNEL,
            )?;
        }

        self.replace(pages, &changed)
    }
}

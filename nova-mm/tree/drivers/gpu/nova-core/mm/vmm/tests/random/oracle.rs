// SPDX-License-Identifier: GPL-2.0

//! The mappings that an address space should have: a sorted list, written independently of the code
//! under test.

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

/// Pages that are mapped to contiguous memory, or sparse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Number of the first page.
    pub(super) start: u64,
    /// Number of the last page, plus one.
    pub(super) end: u64,
    /// The target of the first page.
    pub(super) target: Target,
}

/// The target of a mapped page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Nothing; accesses do not fault.
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
    /// Returns the target of the page that follows `pages` pages later in the same mapping.
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

    /// Returns the number of the block of memory.
    pub(super) fn memory(self) -> Option<u64> {
        match self {
            Self::Page { memory, .. } => Some(memory),
            Self::Sparse => None,
        }
    }

    /// Returns the page of VRAM.
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

    /// Returns the same memory with another access.
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

    /// Returns the translation that the GPU should find in a page of 4 KiB.
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
                // System memory is never cached.
                volatile: attributes.volatile || aperture != Aperture::Vram,
                no_atomics: false,
            }),
            Self::Sparse => Err(Fault::Sparse),
        }
    }
}

impl Extent {
    /// Returns the part of it from `start` to `end`, if there is one.
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

/// The mappings that an address space should have.
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

    /// Returns all mappings, in the order of addresses.
    pub(super) fn extents(&self) -> &[Extent] {
        &self.0
    }

    /// Returns the target of a page, if it is mapped.
    pub(super) fn at(&self, page: u64) -> Option<Target> {
        Some(self.within(&(page..page + 1)).next()?.target)
    }

    /// Returns the translation that the GPU should find at a page, as if all pages had 4 KiB.
    pub(super) fn translation(&self, page: u64) -> Result<Translation, Fault> {
        self.at(page).ok_or(Fault::Unmapped)?.translation()
    }

    /// Returns the mappings within `pages`, cut to them.
    pub(super) fn within<'a>(&'a self, pages: &Range<u64>) -> impl Iterator<Item = Extent> + 'a {
        let Range { start, end } = *pages;
        let first = self.0.partition_point(|extent| extent.end <= start);

        self.0[first..]
            .iter()
            .map_while(move |extent| extent.part(start, end))
    }

    /// Replaces the mappings of `pages` with `new`, which lie within them.
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
        // An insertion sort: nearly all are in order. `sort_unstable()` needs more stack than there
        // is.
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

    /// Changes the access to the memory that is mapped at `pages`.
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

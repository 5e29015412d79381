// SPDX-License-Identifier: GPL-2.0

//! Benchmarks of virtual address requests in address spaces with many ranges in use.

use crate::mm::{
    address::{PageSize, Vfn, PAGE_SIZE},
    va::{VaRange, VaRequest, VaSpace},
};
use kernel::{error::Result, sync::Arc};

/// Width of an address in bits.
const VA_BITS: u32 = 49;

/// Number of 4 KiB pages in a large page.
const LARGE: u64 = PageSize::Size2M.pages();

/// Kind of request, and of ranges in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaOperation {
    /// Frees one of many adjacent one-page ranges, and reserves the highest free page.
    Highest,
    /// Frees one of many adjacent one-page ranges, and reserves the same page.
    Fixed,
    /// Reserves and frees two pages below one-page gaps.
    Holes,
    /// Reserves and frees a large page below gaps of this size without an aligned large page.
    Misaligned,
}

/// An address space with many ranges in use.
pub struct VaBench {
    operation: VaOperation,
    space: Arc<VaSpace>,
    ranges: Vec<VaRange>,
}

impl VaBench {
    /// Number of requests in [`Self::run`].
    pub const REQUESTS: usize = 128;

    /// Creates an address space with `count` ranges in use, or gaps for [`VaOperation::Holes`] and
    /// [`VaOperation::Misaligned`].
    pub fn new(operation: VaOperation, count: u64) -> Self {
        Self::try_new(operation, count).expect("creating the address space succeeds")
    }

    fn try_new(operation: VaOperation, count: u64) -> Result<Self> {
        let end = (1 << VA_BITS) / PAGE_SIZE;
        let space = VaSpace::new(Vfn::new(0)?..Vfn::new(end)?, VA_BITS)?;
        // From the top down, `length` pages are in use in every `distance` pages.
        let (length, distance) = match operation {
            VaOperation::Highest | VaOperation::Fixed => (1, 1),
            VaOperation::Holes => (1, 2),
            VaOperation::Misaligned => (2, 2 * LARGE),
        };
        let mut ranges = Vec::new();
        for number in 1..=count {
            let start = Vfn::new(end - 1 - number * distance)?;
            let pages = start..start.checked_add(length)?;
            ranges.push(space.reserve(VaRequest::Fixed(pages))?);
        }
        // The gap at the end.
        let start = Vfn::new(end - 1)?;
        let pages = start..start.checked_add(1)?;
        ranges.push(space.reserve(VaRequest::Fixed(pages))?);

        Ok(Self {
            operation,
            space,
            ranges,
        })
    }

    /// Performs the requests, distributed over all ranges.
    pub fn run(&mut self) {
        for request in 0..Self::REQUESTS {
            self.request(request).expect("the request succeeds");
        }
    }

    fn request(&mut self, number: usize) -> Result {
        let (pages, align) = match self.operation {
            VaOperation::Highest | VaOperation::Fixed => (1, PageSize::Size4K),
            VaOperation::Holes => (2, PageSize::Size4K),
            VaOperation::Misaligned => (LARGE, PageSize::Size2M),
        };
        let highest = VaRequest::Highest { pages, align };
        let request = match self.operation {
            VaOperation::Highest => {
                drop(self.take(number));
                highest
            }
            VaOperation::Fixed => VaRequest::Fixed(self.take(number).pages()),
            VaOperation::Holes | VaOperation::Misaligned => {
                drop(self.space.reserve(highest)?);
                return Ok(());
            }
        };
        self.ranges.push(self.space.reserve(request)?);
        Ok(())
    }

    /// Removes a range that depends on `number` from the ranges in use.
    fn take(&mut self, number: usize) -> VaRange {
        let index = number * self.ranges.len() / Self::REQUESTS;
        self.ranges.swap_remove(index)
    }
}

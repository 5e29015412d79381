// SPDX-License-Identifier: GPL-2.0

//! Requests for virtual addresses to be measured, on address spaces with many ranges in use.

use crate::mm::{
    address::{PageSize, Vfn, PAGE_SIZE},
    va::{VaRange, VaRequest, VaSpace},
};
use kernel::{error::Result, sync::Arc};

/// Width of the addresses in bits.
const VA_BITS: u32 = 49;

/// Number of pages of a large page.
const LARGE: u64 = PageSize::Size2M.pages();

/// A request, and the ranges in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaOperation {
    /// Frees one page among adjacent ranges of one page and reserves the highest free one.
    Highest,
    /// Frees one page among adjacent ranges of one page and reserves the same page.
    Fixed,
    /// Reserves and frees two pages below gaps of one page.
    Holes,
    /// Reserves and frees a large page below gaps that are as large but contain no aligned one.
    Misaligned,
}

/// An address space with many ranges in use.
pub struct VaBench {
    operation: VaOperation,
    space: Arc<VaSpace>,
    ranges: Vec<VaRange>,
}

impl VaBench {
    /// How often [`Self::run`] reserves and frees a range.
    pub const REQUESTS: usize = 128;

    /// Creates an address space with `count` ranges in use, or gaps for [`VaOperation::Holes`] and
    /// [`VaOperation::Misaligned`].
    pub fn new(operation: VaOperation, count: u64) -> Self {
        Self::try_new(operation, count).expect("there is memory")
    }

    fn try_new(operation: VaOperation, count: u64) -> Result<Self> {
        let end = (1 << VA_BITS) / PAGE_SIZE;
        let space = VaSpace::new(Vfn::new(0)?..Vfn::new(end)?, VA_BITS)?;
        // From the top down: `length` pages in use after every `distance` pages.
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

    /// Makes the requests, at places all over the ranges.
    pub fn run(&mut self) {
        for request in 0..Self::REQUESTS {
            self.request(request).expect("there are addresses");
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

    /// Removes a range from the held ones, another one for each number.
    fn take(&mut self, number: usize) -> VaRange {
        let index = number * self.ranges.len() / Self::REQUESTS;
        self.ranges.swap_remove(index)
    }
}

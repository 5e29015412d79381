// SPDX-License-Identifier: GPL-2.0

//! Pages: no more than the names that the mounted vectors use.

use core::{marker::PhantomData, ptr::NonNull};

/// Never made.
pub struct BorrowedPage<'a>(core::convert::Infallible, PhantomData<&'a ()>);

/// Iterates over the pages of memory.
pub trait AsPageIter {
    /// The iterator.
    type Iter<'a>: Iterator<Item = BorrowedPage<'a>>
    where
        Self: 'a;

    /// Iterates over the pages.
    fn page_iter(&mut self) -> Self::Iter<'_>;
}

/// Iterates over the pages of `vmalloc()`: the host has none.
pub struct VmallocPageIter<'a>(PhantomData<&'a ()>);

impl VmallocPageIter<'_> {
    /// Makes an iterator.
    ///
    /// # Safety
    ///
    /// None here.
    pub unsafe fn new(_buf: NonNull<u8>, _size: usize) -> Self {
        Self(PhantomData)
    }
}

impl<'a> Iterator for VmallocPageIter<'a> {
    type Item = BorrowedPage<'a>;

    fn next(&mut self) -> Option<BorrowedPage<'a>> {
        None
    }
}

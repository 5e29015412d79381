// SPDX-License-Identifier: GPL-2.0

//! Pages: only the names that the mounted vectors use.

use core::{marker::PhantomData, ptr::NonNull};

/// A page that is never created.
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

/// Iterates over the pages of `vmalloc()`, which the host does not have.
pub struct VmallocPageIter<'a>(PhantomData<&'a ()>);

impl VmallocPageIter<'_> {
    /// Creates an iterator.
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

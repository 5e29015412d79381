// SPDX-License-Identifier: GPL-2.0

//! What the driver drives: the C functions as C code calls them, or the binding.

use super::{Block, Give, Request};
use kernel::{bindings, error::Result};

/// An allocator. Addresses are relative to what it manages.
pub trait Backend: Sized {
    /// An allocation, or a list of blocks.
    type List;

    /// Whether this is the binding, which promises more than C and has fewer functions.
    const BINDING: bool;

    /// Makes an allocator for `size` bytes from `base` on.
    fn new(base: u64, size: u64, chunk: u64) -> Result<Self>;

    /// The C structure.
    fn raw(&mut self) -> *mut bindings::gpu_buddy;

    /// The counters: what is free, and what is free and clear, in bytes.
    fn avail(&mut self) -> (u64, u64);

    /// Allocates, either to the end of what there is, or something new.
    fn alloc(
        &mut self,
        request: &Request,
        onto: Option<&mut Self::List>,
    ) -> Result<Option<Self::List>>;

    /// The blocks of a list, in its order.
    fn blocks(&mut self, list: &Self::List) -> Vec<Block>;

    /// Gives all back.
    fn free(&mut self, list: Self::List, cleared: bool);

    /// Moves all of `from` to the end of `to`.
    fn append(&mut self, to: &mut Self::List, from: Self::List);

    // The binding has none of the following functions, so the driver calls them for C alone.

    /// Frees the block at position `at`, of which the list has more.
    fn free_one(&mut self, _list: &mut Self::List, _at: usize, _give: Give) {
        unimplemented!("only C has this function")
    }

    /// Trims the only block of the list.
    fn trim(&mut self, _list: &mut Self::List, _start: Option<u64>, _size: u64) -> Result {
        unimplemented!("only C has this function")
    }

    /// Moves the blocks from position `at` on to another list.
    fn split_off(&mut self, _list: &mut Self::List, _at: usize) -> Self::List {
        unimplemented!("only C has this function")
    }

    /// Marks all free memory as clear or dirty.
    fn reset_clear(&mut self, _clear: bool) {
        unimplemented!("only C has this function")
    }
}

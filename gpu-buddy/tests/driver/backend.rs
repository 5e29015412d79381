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

    /// The functions that only C has.
    fn only_in_c(&mut self) -> Option<&mut dyn OnlyInC<Self::List>> {
        None
    }
}

/// Functions of C that the binding does not have. `L` is the list of blocks.
pub trait OnlyInC<L> {
    /// Frees the block at position `at`, of which the list has more.
    fn free_one(&mut self, list: &mut L, at: usize, give: Give);

    /// Trims the only block of the list.
    fn trim(&mut self, list: &mut L, start: Option<u64>, size: u64) -> Result;

    /// Moves the blocks from position `at` on to another list.
    fn split_off(&mut self, list: &mut L, at: usize) -> L;

    /// Marks all free memory as clear or dirty.
    fn reset_clear(&mut self, clear: bool);
}

// SPDX-License-Identifier: GPL-2.0

//! What the driver drives: the C functions as C code calls them, or the binding.

use super::{Block, Give, Request};
use kernel::{bindings, error::Result};

/// An allocator. Addresses are relative to what it manages.
pub trait Backend: Sized {
    /// An allocation, or a list of blocks.
    type List;

    /// Whether this is the binding, which promises more than C, and has a bit less to offer.
    const BINDING: bool;

    /// Makes an allocator for `size` bytes from `base` on.
    fn new(base: u64, size: u64, chunk: u64) -> Result<Self>;

    /// The C structure.
    fn raw(&mut self) -> *mut bindings::gpu_buddy;

    /// The counters: what is free, and what is free and clear, in bytes.
    fn avail(&mut self) -> (u64, u64);

    /// The free blocks of an order, clear ones and others.
    fn order_stats(&mut self, order: u32) -> (u64, u64);

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

    /// Gives one block back, of which the list has more than `at`.
    fn free_one(&mut self, list: &mut Self::List, at: usize, give: Give);

    /// Keeps a part of the only block.
    fn trim(&mut self, list: &mut Self::List, start: Option<u64>, size: u64) -> Result;

    /// Keeps only the first bytes; nothing if there is no such function.
    fn shrink(&mut self, list: &mut Self::List, size: u64) -> Option<Result>;

    /// Takes the blocks from `at` on off the list.
    fn split_off(&mut self, list: &mut Self::List, at: usize) -> Result<Self::List>;

    /// Moves all of `from` to the end of `to`.
    fn append(&mut self, to: &mut Self::List, from: Self::List);

    /// Makes what is free clear, or dirty.
    fn reset_clear(&mut self, clear: bool);
}

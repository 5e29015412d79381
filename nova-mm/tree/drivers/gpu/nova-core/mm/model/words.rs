// SPDX-License-Identifier: GPL-2.0

//! Many words.

use kernel::prelude::*;

/// Number of words that are allocated in one piece: a page of 4 KiB.
const PIECE: usize = 512;

/// An array of words that is not allocated in one piece, so that it can be large.
pub(super) struct Words {
    pieces: KVec<KVec<u64>>,
    len: usize,
}

impl Words {
    /// Makes an array of at least `len` words that are all `word`.
    pub(super) fn new(word: u64, len: usize) -> Result<Self> {
        let count = len.div_ceil(PIECE);
        let mut pieces = KVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            pieces.push(KVec::from_elem(word, PIECE, GFP_KERNEL)?, GFP_KERNEL)?;
        }

        Ok(Self { pieces, len })
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns a word.
    pub(super) fn get(&self, index: usize) -> Option<&u64> {
        self.pieces.get(index / PIECE)?.get(index % PIECE)
    }

    /// Returns a word.
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut u64> {
        self.pieces.get_mut(index / PIECE)?.get_mut(index % PIECE)
    }
}

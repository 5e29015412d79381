// SPDX-License-Identifier: GPL-2.0

//! Arrays that need no large contiguous allocation.

use core::ops::Range;

use kernel::prelude::*;

/// Number of words in a chunk: a 4 KiB page.
const CHUNK: usize = 512;

/// An array of words that is allocated in chunks.
pub(super) struct ChunkedArray {
    chunks: KVec<KVec<u64>>,
    len: usize,
}

impl ChunkedArray {
    /// Creates an array of at least `len` words, all with the value `word`.
    pub(super) fn new(word: u64, len: usize) -> Result<Self> {
        let count = len.div_ceil(CHUNK);
        let mut chunks = KVec::with_capacity(count, GFP_KERNEL)?;
        // Copying is faster than `from_elem`, and most test cases create a model.
        let pattern = KVec::from_elem(word, CHUNK, GFP_KERNEL)?;
        for _ in 0..count {
            let mut chunk = KVec::with_capacity(CHUNK, GFP_KERNEL)?;
            chunk.extend_from_slice(&pattern, GFP_KERNEL)?;
            chunks.push(chunk, GFP_KERNEL)?;
        }

        Ok(Self { chunks, len })
    }

    /// Returns the requested number of words.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns a reference to a word.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&u64> {
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    /// Returns the words of a range, if one chunk contains them.
    pub(super) fn slice(&self, range: Range<usize>) -> Option<&[u64]> {
        let start = range.start % CHUNK;
        let words = self.chunks.get(range.start / CHUNK)?;

        words.get(start..start.checked_add(range.len())?)
    }

    /// Returns a mutable reference to a word.
    #[inline]
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut u64> {
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }
}

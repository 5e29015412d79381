// SPDX-License-Identifier: GPL-2.0

//! VRAM of the GPU model, and the posted writes to it.

use core::ops::Range;

use kernel::prelude::*;

use crate::{
    mm::model::chunked::ChunkedArray,
    num::{
        u64_as_usize,
        usize_as_u64, //
    }, //
};

/// Value of uninitialized VRAM.
///
/// It looks like a PTE of another owner's page: bit 0 is set and the aperture is VRAM.
pub(crate) const POISON: u64 = 0x06a5_a5a5_a5a5_a5c1;

/// Reason that an entry of a page table cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    OutOfVram,
    Poison,
}

/// A posted write: copies the bits in `mask` from `value` to the word at `index`.
#[derive(Clone, Copy, Default)]
struct Posted {
    index: usize,
    mask: u64,
    value: u64,
}

/// Mask of the lower half of a word.
const LOWER_HALF: u64 = 0xffff_ffff;

/// Maximum number of posted writes.
const QUEUE: usize = 32;

/// VRAM as an array of 64-bit words.
pub(super) struct Vram {
    start: u64,
    words: ChunkedArray,
    /// Two bits per word: whether its lower and its upper half are uninitialized.
    poison: ChunkedArray,
    /// One bit per 4 KiB page: whether the page is retired.
    retired: ChunkedArray,
    /// Posted writes in order: a ring with `queued` elements, starting at `first`.
    queue: [Posted; QUEUE],
    first: usize,
    queued: usize,
}

/// Returns the index in `poison` of the word with the two bits for the word at `index`, and the
/// shift of these bits.
fn poison_bits(index: usize) -> (usize, usize) {
    (index / 32, 2 * (index % 32))
}

/// Number of words in a page of 4 KiB.
const PAGE_WORDS: usize = 512;

/// Returns the index in `retired` of the word with the bit for the page that contains the word at
/// `index`, and the mask of this bit.
fn retired_bit(index: usize) -> (usize, u64) {
    let page = index / PAGE_WORDS;

    (page / 64, 1 << (page % 64))
}

/// Returns the two `poison` bits of those halves of a word that a write covers completely.
fn written_halves(mask: u64) -> u64 {
    u64::from(mask & LOWER_HALF == LOWER_HALF) | u64::from(mask | LOWER_HALF == u64::MAX) << 1
}

impl Vram {
    /// Creates VRAM of `size` bytes at address `start`, either zero or poisoned.
    pub(super) fn new(start: u64, size: u64, poisoned: bool) -> Result<Self> {
        if start % 4096 != 0 || size % 4096 != 0 || size == 0 {
            return Err(EINVAL);
        }
        start.checked_add(size).ok_or(EOVERFLOW)?;
        let count = u64_as_usize(size / 8);
        let (word, bits) = if poisoned { (POISON, u64::MAX) } else { (0, 0) };

        Ok(Self {
            start,
            words: ChunkedArray::new(word, count)?,
            poison: ChunkedArray::new(bits, count / 32)?,
            retired: ChunkedArray::new(0, count.div_ceil(PAGE_WORDS * 64))?,
            queue: [Posted::default(); QUEUE],
            first: 0,
            queued: 0,
        })
    }

    /// Returns the index of the word at an address.
    #[inline]
    fn index(&self, address: u64) -> Option<usize> {
        let offset = address.checked_sub(self.start)?;
        let index = u64_as_usize(offset / 8);

        (offset % 8 == 0 && index < self.words.len()).then_some(index)
    }

    /// Reads a word as the GPU does.
    #[inline]
    pub(super) fn read(&self, address: u64) -> Option<u64> {
        self.words.get(self.index(address)?).copied()
    }

    /// Reads an entry of a page table as the GPU does.
    pub(super) fn entry(&self, address: u64) -> Result<u64, ReadError> {
        let index = self.index(address).ok_or(ReadError::OutOfVram)?;
        let (at, shift) = poison_bits(index);
        if self
            .poison
            .get(at)
            .is_some_and(|bits| bits >> shift & 3 != 0)
        {
            return Err(ReadError::Poison);
        }
        let (at, bit) = retired_bit(index);
        if self.retired.get(at).is_some_and(|bits| bits & bit != 0) {
            return Err(ReadError::Poison);
        }

        self.words.get(index).copied().ok_or(ReadError::OutOfVram)
    }

    /// Returns the `count` words of a page table, if all are in one page and initialized.
    pub(super) fn table(&self, address: u64, count: usize) -> Option<&[u64]> {
        let first = self.index(address)?;
        let end = first.checked_add(count)?;
        let (at, page) = retired_bit(first);
        let is_retired = self.retired.get(at)? & page != 0;
        let is_initialized =
            (first / 32..end.div_ceil(32)).all(|at| self.poison.get(at).copied() == Some(0));

        if is_retired || !is_initialized {
            return None;
        }
        self.words.slice(first..end)
    }

    /// Writes the bits in `mask` of a word immediately.
    pub(super) fn write(&mut self, address: u64, mask: u64, value: u64) -> Option<()> {
        let index = self.index(address)?;
        self.apply(Posted { index, mask, value });

        Some(())
    }

    /// Posts a write of the bits in `mask` of a word. It reaches VRAM with the next
    /// [`drain`](Self::drain), or when later writes push it out.
    pub(super) fn post(&mut self, address: u64, mask: u64, value: u64) -> Option<()> {
        let index = self.index(address)?;
        if self.queued == QUEUE {
            self.complete_oldest();
        }
        let last = (self.first + self.queued) % QUEUE;
        self.queue[last] = Posted { index, mask, value };
        self.queued += 1;

        Some(())
    }

    /// Completes all posted writes.
    pub(super) fn drain(&mut self) {
        while self.queued > 0 {
            self.complete_oldest();
        }
    }

    /// Returns whether any write is posted.
    #[inline]
    pub(super) fn has_posted(&self) -> bool {
        self.queued > 0
    }

    /// Returns whether a write to the 4 KiB page at `page` is posted.
    pub(super) fn has_posted_to(&self, page: u64) -> bool {
        let Some(index) = self.index(page) else {
            return false;
        };

        (0..self.queued)
            .filter_map(|number| self.queue.get((self.first + number) % QUEUE))
            .any(|posted| posted.index / PAGE_WORDS == index / PAGE_WORDS)
    }

    /// Completes the oldest posted write.
    fn complete_oldest(&mut self) {
        let posted = self.queue[self.first];
        self.first = (self.first + 1) % QUEUE;
        self.queued -= 1;
        self.apply(posted);
    }

    fn apply(&mut self, posted: Posted) {
        if let Some(word) = self.words.get_mut(posted.index) {
            *word = (*word & !posted.mask) | (posted.value & posted.mask);
        }
        let (at, shift) = poison_bits(posted.index);
        // A write of one half does not initialize the other half.
        if let Some(bits) = self.poison.get_mut(at) {
            *bits &= !(written_halves(posted.mask) << shift);
        }
        let (at, bit) = retired_bit(posted.index);
        if let Some(bits) = self.retired.get_mut(at) {
            *bits &= !bit;
        }
    }

    /// Retires a page: reading it as a page table fails until it is written again. Does not change
    /// its contents.
    pub(super) fn retire(&mut self, page: u64) -> Option<()> {
        let (at, bit) = retired_bit(self.index(page)?);
        *self.retired.get_mut(at)? |= bit;

        Some(())
    }

    /// Marks the words of a range as uninitialized.
    pub(super) fn poison(&mut self, range: Range<u64>) -> Option<()> {
        if range.is_empty() {
            return Some(());
        }
        let first = self.index(range.start)?;
        let last = self.index(range.end.checked_sub(8)?)?;
        for index in first..=last {
            if let Some(word) = self.words.get_mut(index) {
                *word = POISON;
            }
            let (at, shift) = poison_bits(index);
            if let Some(bits) = self.poison.get_mut(at) {
                *bits |= 3 << shift;
            }
        }

        Some(())
    }

    /// Returns whether an address is in VRAM.
    pub(super) fn contains(&self, address: u64) -> bool {
        address
            .checked_sub(self.start)
            .is_some_and(|offset| offset / 8 < usize_as_u64(self.words.len()))
    }
}

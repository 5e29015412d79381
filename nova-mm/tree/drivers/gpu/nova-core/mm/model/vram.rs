// SPDX-License-Identifier: GPL-2.0

//! VRAM of the GPU model, and what is on its way there.

use core::ops::Range;

use kernel::prelude::*;

use crate::{
    mm::model::words::Words,
    num::{
        u64_as_usize,
        usize_as_u64, //
    }, //
};

/// What VRAM holds that nobody has written.
///
/// It looks like a page: bit 0 is set, the aperture is VRAM, and it is in use by somebody else.
pub(crate) const POISON: u64 = 0x06a5_a5a5_a5a5_a5c1;

/// Why an entry of a page table cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    OutOfVram,
    Poison,
}

/// A write on its way: the bits in `mask` of the word at `index` become those of `value`.
#[derive(Clone, Copy, Default)]
struct Posted {
    index: usize,
    mask: u64,
    value: u64,
}

/// Mask of the lower half of a word.
const LOWER_HALF: u64 = 0xffff_ffff;

/// Number of writes that can be on their way.
const QUEUE: usize = 32;

/// VRAM: dense, in words of 64 bits.
pub(super) struct Vram {
    start: u64,
    words: Words,
    /// Two bits for each word: whether its lower and its upper half are not written yet.
    poison: Words,
    /// One bit for each page of 4 KiB: whether it is retired.
    retired: Words,
    /// Writes in their order: a ring of `queued` ones that starts at `first`.
    queue: [Posted; QUEUE],
    first: usize,
    queued: usize,
}

/// A word, by its number, as seen by `poison`: the number of the word with its two bits, and how
/// far they are shifted.
fn poison_bits(index: usize) -> (usize, usize) {
    (index / 32, 2 * (index % 32))
}

/// Number of words in a page of 4 KiB.
const PAGE_WORDS: usize = 512;

/// Returns the number of the word of `retired` with the bit of the page that contains a word, and
/// the bit.
fn retired_bit(index: usize) -> (usize, u64) {
    let page = index / PAGE_WORDS;

    (page / 64, 1 << (page % 64))
}

/// The two bits of a word, as far as a write has reached the halves that they stand for.
fn written_halves(mask: u64) -> u64 {
    u64::from(mask & LOWER_HALF == LOWER_HALF) | u64::from(mask | LOWER_HALF == u64::MAX) << 1
}

impl Vram {
    /// Makes VRAM of `size` bytes that starts at address `start`; all is zero, or poisoned.
    pub(super) fn new(start: u64, size: u64, poisoned: bool) -> Result<Self> {
        if start % 4096 != 0 || size % 4096 != 0 || size == 0 {
            return Err(EINVAL);
        }
        start.checked_add(size).ok_or(EOVERFLOW)?;
        let count = u64_as_usize(size / 8);
        let (word, bits) = if poisoned { (POISON, u64::MAX) } else { (0, 0) };

        Ok(Self {
            start,
            words: Words::new(word, count)?,
            poison: Words::new(bits, count / 32)?,
            retired: Words::new(0, count.div_ceil(PAGE_WORDS * 64))?,
            queue: [Posted::default(); QUEUE],
            first: 0,
            queued: 0,
        })
    }

    /// Returns the number of the word at an address, if it is one.
    fn index(&self, address: u64) -> Option<usize> {
        let offset = address.checked_sub(self.start)?;
        let index = u64_as_usize(offset / 8);

        (offset % 8 == 0 && index < self.words.len()).then_some(index)
    }

    /// Reads a word as the GPU does.
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

    /// Writes the bits in `mask` of a word, which arrive at once.
    pub(super) fn write(&mut self, address: u64, mask: u64, value: u64) -> Option<()> {
        let index = self.index(address)?;
        self.apply(Posted { index, mask, value });

        Some(())
    }

    /// Writes the bits in `mask` of a word, which arrive with the next [`drain`](Self::drain), or
    /// when later writes push them out.
    pub(super) fn post(&mut self, address: u64, mask: u64, value: u64) -> Option<()> {
        let index = self.index(address)?;
        if self.queued == QUEUE {
            self.arrive();
        }
        let last = (self.first + self.queued) % QUEUE;
        self.queue[last] = Posted { index, mask, value };
        self.queued += 1;

        Some(())
    }

    /// Lets all writes arrive.
    pub(super) fn drain(&mut self) {
        while self.queued > 0 {
            self.arrive();
        }
    }

    /// Whether a write is on its way.
    pub(super) fn has_posted(&self) -> bool {
        self.queued > 0
    }

    /// Whether a write to the page of 4 KiB at `page` is on its way.
    pub(super) fn has_posted_to(&self, page: u64) -> bool {
        let Some(index) = self.index(page) else {
            return false;
        };

        (0..self.queued)
            .filter_map(|number| self.queue.get((self.first + number) % QUEUE))
            .any(|posted| posted.index / PAGE_WORDS == index / PAGE_WORDS)
    }

    /// Lets the oldest write arrive.
    fn arrive(&mut self) {
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
        // Half a word leaves the other half as it was.
        if let Some(bits) = self.poison.get_mut(at) {
            *bits &= !(written_halves(posted.mask) << shift);
        }
        let (at, bit) = retired_bit(posted.index);
        if let Some(bits) = self.retired.get_mut(at) {
            *bits &= !bit;
        }
    }

    /// Retires a page: it is no page table until it is written again. Its contents do not change.
    pub(super) fn retire(&mut self, page: u64) -> Option<()> {
        let (at, bit) = retired_bit(self.index(page)?);
        *self.retired.get_mut(at)? |= bit;

        Some(())
    }

    /// Poisons the words of a range.
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

    /// Whether an address is in VRAM.
    pub(super) fn contains(&self, address: u64) -> bool {
        address
            .checked_sub(self.start)
            .is_some_and(|offset| offset / 8 < usize_as_u64(self.words.len()))
    }
}

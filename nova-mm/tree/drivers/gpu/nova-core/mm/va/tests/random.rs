// SPDX-License-Identifier: GPL-2.0

//! Random requests, compared with a linear search through all ranges in use.

use super::*;
use crate::mm::va::gap::ALIGNMENTS;

/// Maximum number of ranges in use.
const MAX_RANGES: usize = 48;

/// Runs `steps` requests in each of two address spaces: one with a few 2 MiB pages, and one with a
/// few 256 GiB pages.
///
/// # Errors
///
/// - [`EINVAL`], after logging a message, if a result is wrong or an invariant of the tree is
///   broken.
/// - [`ENOMEM`] if memory allocation fails.
pub(crate) fn run(seed: u64, steps: u64) -> Result {
    for (limits, max_size) in [
        (3..4 * PageSize::Size2M.pages() + 5, 128),
        (5..6 * PageSize::Size256G.pages() + 77, 1 << 24),
    ] {
        let mut test = RandomTest {
            random: Random(seed),
            space: space(limits.clone())?,
            limits,
            max_size,
            held: KVec::new(),
        };
        for _ in 0..steps {
            test.step()?;
            test.check()?;
        }
    }

    Ok(())
}

/// An address space and its ranges in use.
struct RandomTest {
    random: Random,
    space: Arc<VaSpace>,
    limits: Range<u64>,
    /// Size limit of most requests, in pages.
    max_size: u64,
    held: KVec<VaRange>,
}

impl RandomTest {
    fn step(&mut self) -> Result {
        match self.random.below(8) {
            0..=3 => self.reserve_highest(),
            4 => self.reserve_fixed(),
            _ => self.free(),
        }
    }

    fn reserve_highest(&mut self) -> Result {
        let align = *self.random.pick(&ALIGNMENTS).ok_or(EINVAL)?;
        let pages = self.size();
        let expected = match pages {
            0 => Err(EINVAL),
            _ => self.highest_free(pages, align).ok_or(ENOSPC),
        };

        self.keep(highest(&self.space, pages, align), expected)
    }

    fn reserve_fixed(&mut self) -> Result {
        let start = match self.random.pick(&self.held).map(numbers) {
            Some(held) if self.random.below(4) > 0 => {
                let edge = *self.random.pick(&[held.start, held.end]).ok_or(EINVAL)?;
                (edge + self.random.below(3)).saturating_sub(1)
            }
            _ => self.random.below(self.limits.end + 2),
        };
        let pages = start..start + self.size().min(self.limits.end + 1);
        let is_within = self.limits.start <= pages.start && pages.end <= self.limits.end;
        let expected = if pages.is_empty() || !is_within {
            Err(EINVAL)
        } else if !self.is_free(&pages) {
            Err(EBUSY)
        } else {
            Ok(pages.clone())
        };

        self.keep(fixed(&self.space, pages), expected)
    }

    /// Compares the result of a request with the expected one, and stores the range.
    fn keep(&mut self, result: Result<VaRange>, expected: Result<Range<u64>>) -> Result {
        ensure_eq(result.as_ref().map(numbers).map_err(|e| *e), expected)?;
        if let Ok(range) = result {
            self.held.push(range, GFP_KERNEL)?;
        }
        if self.held.len() > MAX_RANGES {
            self.free()?;
        }

        Ok(())
    }

    fn free(&mut self) -> Result {
        if let Some(last) = self.held.len().checked_sub(1) {
            let index = usize::try_from(self.random.below(u64::try_from(last)? + 1))?;
            self.held.swap(index, last);
            self.held.pop();
        }

        Ok(())
    }

    /// Returns a random number of pages: usually small, sometimes zero or larger than the space.
    fn size(&mut self) -> u64 {
        match self.random.below(64) {
            0 => 0,
            1 => u64::MAX - self.random.below(3),
            2 => self.random.below(self.limits.end + 2),
            _ => {
                let bits = u64::BITS - self.max_size.leading_zeros();
                let end = 1 << self.random.below(bits.into());
                self.random.below(end) + 1
            }
        }
    }

    fn is_free(&self, pages: &Range<u64>) -> bool {
        let overlaps = |held: &Range<u64>| held.start < pages.end && pages.start < held.end;

        !self.held.iter().map(numbers).any(|held| overlaps(&held))
    }

    /// Returns the highest free range of this size and alignment. A range in use or the upper limit
    /// follows its gap.
    fn highest_free(&self, pages: u64, align: PageSize) -> Option<Range<u64>> {
        let highest_below = |end: u64| {
            let start = end.checked_sub(pages)? / align.pages() * align.pages();

            (start >= self.limits.start && self.is_free(&(start..start + pages))).then_some(start)
        };
        let below_held = self.held.iter().map(|held| numbers(held).start);
        let start = below_held
            .filter_map(highest_below)
            .max()
            .max(highest_below(self.limits.end))?;

        Some(start..start + pages)
    }

    /// Checks the invariants of the tree, and that exactly the stored ranges are in use.
    fn check(&mut self) -> Result {
        self.held.sort_unstable_by_key(|range| numbers(range).start);
        let used = self.space.used.lock().check()?;

        ensure_eq(used.len(), self.held.len())?;
        for (used, held) in used.iter().zip(&self.held) {
            ensure_eq(used, &held.pages())?;
        }

        Ok(())
    }
}

/// A generator of pseudorandom numbers.
struct Random(u64);

impl Random {
    /// Returns a number below `end`, or zero.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;

        (self.0 >> 8) % end.max(1)
    }

    /// Returns a random element of `items`, or [`None`] if it is empty.
    fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let len = u64::try_from(items.len()).ok()?;
        if len == 0 {
            return None;
        }

        items.get(usize::try_from(self.below(len)).ok()?)
    }
}

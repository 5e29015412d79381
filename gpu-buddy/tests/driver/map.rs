// SPDX-License-Identifier: GPL-2.0

//! What each chunk is, as runs of equal chunks: a bitmap that also has room for 2^52 bytes.

use std::ops::Range;

/// What a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Free, and nothing is known of what it holds.
    Dirty,
    /// Free and cleared.
    Clear,
    /// In use.
    Allocated,
}

/// A run of chunks of one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    start: u64,
    end: u64,
    state: State,
}

/// The state of all chunks.
///
/// The runs are ascending, without gaps, not empty, and differ from their neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map(Vec<Run>);

impl Map {
    /// Adds chunks at the end.
    pub fn push(&mut self, chunks: u64, state: State) {
        let start = self.len();
        match self.0.last_mut() {
            Some(last) if last.state == state => last.end += chunks,
            _ if chunks == 0 => (),
            _ => self.0.push(Run {
                start,
                end: start + chunks,
                state,
            }),
        }
    }

    /// The number of chunks.
    pub fn len(&self) -> u64 {
        self.0.last().map_or(0, |run| run.end)
    }

    /// Runs cut to a range.
    fn cut(&self, range: Range<u64>) -> impl Iterator<Item = Run> + '_ {
        let first = self.0.partition_point(|run| run.end <= range.start);
        self.0[first..]
            .iter()
            .take_while(move |run| run.start < range.end)
            .map(move |run| Run {
                start: run.start.max(range.start),
                end: run.end.min(range.end),
                state: run.state,
            })
    }

    /// Whether all chunks of a range are in that state.
    pub fn all(&self, range: Range<u64>, state: State) -> bool {
        self.cut(range).all(|run| run.state == state)
    }

    /// The chunks of a state.
    pub fn count(&self, state: State) -> u64 {
        let all = self.0.iter().filter(|run| run.state == state);
        all.map(|run| run.end - run.start).sum()
    }

    /// The chunks of a state in a range.
    pub fn count_in(&self, range: Range<u64>, state: State) -> u64 {
        let all = self.cut(range).filter(|run| run.state == state);
        all.map(|run| run.end - run.start).sum()
    }

    /// Sets the state of a range.
    pub fn set(&mut self, range: Range<u64>, state: State) {
        let first = self.0.partition_point(|run| run.end <= range.start);
        let after = self.0.partition_point(|run| run.start < range.end);
        if first >= after {
            return;
        }
        let (before, behind) = (self.0[first], self.0[after - 1]);
        let pieces = [
            Run {
                end: range.start,
                ..before
            },
            Run {
                start: range.start,
                end: range.end,
                state,
            },
            Run {
                start: range.end,
                ..behind
            },
        ];
        let pieces = pieces.into_iter().filter(|run| run.start < run.end);
        self.0.splice(first..after, pieces);
        self.0.dedup_by(|right, left| {
            let same = left.state == right.state;
            if same {
                left.end = right.end;
            }
            same
        });
    }

    /// Sets the state of all free chunks.
    pub fn set_free(&mut self, state: State) {
        let runs = std::mem::take(&mut self.0);
        for run in runs {
            let state = match run.state {
                State::Allocated => State::Allocated,
                _ => state,
            };
            self.push(run.end - run.start, state);
        }
    }

    /// The stretches of free chunks in a range, clear or not.
    pub fn free(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut runs = self
            .cut(range)
            .filter(|run| run.state != State::Allocated)
            .peekable();
        std::iter::from_fn(move || {
            let first = runs.next()?;
            let mut end = first.end;
            while let Some(next) = runs.next_if(|run| run.start == end) {
                end = next.end;
            }
            Some(first.start..end)
        })
    }

    /// How many free blocks of `size` chunks there are in a range once all is merged; such a block
    /// starts at a multiple of `align`, which is no less.
    pub fn blocks(&self, range: Range<u64>, size: u64, align: u64) -> u64 {
        self.free(range)
            .map(|free| super::blocks_between(free.start, free.end, size, align))
            .sum()
    }

    /// Whether somewhere in a range `size` free chunks follow on each other from a multiple of
    /// `align` on.
    pub fn has_stretch(&self, range: Range<u64>, size: u64, align: u64) -> bool {
        self.free(range)
            .any(|free| free.start.next_multiple_of(align) + size <= free.end)
    }
}

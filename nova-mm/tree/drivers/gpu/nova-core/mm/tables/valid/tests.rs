// SPDX-License-Identifier: GPL-2.0

//! Tests of the bitmap of valid entries, compared with an array of booleans.

use super::*;

use kernel::prelude::*;

/// Bounds at and next to the ends of words, and within words.
const BOUNDS: [usize; 14] = [0, 1, 31, 62, 63, 64, 65, 127, 128, 200, 448, 510, 511, 512];

/// A bitmap and its expected contents.
struct Checked {
    map: ValidMap,
    entries: [bool; ENTRIES],
}

impl Checked {
    fn new() -> Self {
        Self {
            map: ValidMap::new(),
            entries: [false; ENTRIES],
        }
    }

    fn expected(&self, entries: &Range<usize>) -> usize {
        self.entries[entries.clone()]
            .iter()
            .filter(|&&it| it)
            .count()
    }

    fn set(&mut self, entries: &Range<usize>) -> bool {
        let before = self.expected(entries);
        self.entries[entries.clone()].fill(true);

        self.map.set(entries) == before
    }

    fn clear(&mut self, entries: &Range<usize>) -> bool {
        let before = self.expected(entries);
        self.entries[entries.clone()].fill(false);

        self.map.clear(entries) == before
    }

    /// Returns whether the bitmap agrees on each entry, and on the range `entries`.
    fn agrees(&self, entries: &Range<usize>) -> bool {
        let is_same = |entry| self.map.is_set(entry) == self.entries[entry];
        let start = entries.clone().find(|&entry| self.entries[entry]);
        let run = start.map(|start| {
            let end = (start..entries.end).find(|&entry| !self.entries[entry]);

            start..end.unwrap_or(entries.end)
        });

        (0..ENTRIES).all(is_same)
            && self.map.count(entries) == self.expected(entries)
            && self.map.first_run(entries) == run
    }
}

/// Returns all ranges between [`BOUNDS`], including empty ones.
fn ranges() -> impl Iterator<Item = Range<usize>> {
    BOUNDS.into_iter().flat_map(|start| {
        let ends = BOUNDS.into_iter().filter(move |&end| end >= start);

        ends.map(move |end| start..end)
    })
}

#[kunit_tests(nova_core_mm_valid)]
mod suite {
    use super::*;

    #[test]
    fn new_empty() {
        let checked = Checked::new();
        assert!(ranges().all(|range| checked.agrees(&range)));
    }

    #[test]
    fn set_then_clear_each_range() {
        for range in ranges() {
            let mut checked = Checked::new();
            assert!(checked.set(&range));
            assert!(checked.agrees(&(0..ENTRIES)));
            assert!(checked.agrees(&range));
            // All entries are set already.
            assert!(checked.set(&range));
            for part in ranges() {
                assert!(checked.agrees(&part));
            }
            assert!(checked.clear(&range));
            assert!(checked.agrees(&(0..ENTRIES)));
        }
    }

    #[test]
    fn clear_leaves_other_entries() {
        for range in ranges() {
            let mut checked = Checked::new();
            assert!(checked.set(&(0..ENTRIES)));
            assert!(checked.clear(&range));
            assert!(checked.agrees(&(0..ENTRIES)));
            assert!(checked.agrees(&range));
        }
    }

    #[test]
    fn random_ranges_agree() {
        let mut checked = Checked::new();
        let mut random: usize = 1;
        let mut next = |end: usize| {
            random = random
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7f);

            (random >> 33) % end
        };

        for _ in 0..2000 {
            let start = next(ENTRIES + 1);
            let end = start + next(ENTRIES + 1 - start);
            let is_right = match next(2) {
                0 => checked.set(&(start..end)),
                _ => checked.clear(&(start..end)),
            };
            assert!(is_right);
            let start = next(ENTRIES + 1);
            assert!(checked.agrees(&(start..start + next(ENTRIES + 1 - start))));
        }
    }
}

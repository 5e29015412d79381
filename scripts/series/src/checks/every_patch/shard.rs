// SPDX-License-Identifier: GPL-2.0

//! Divides the units of `check --full` among machines.

use std::{fmt, str::FromStr};

/// One of several equal parts of a list. `2/4` is the second of four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    of: usize,
}

impl Shard {
    /// Returns this part of a list. The parts are disjoint and cover the list; the items of a part
    /// are adjacent, because adjacent patches have most objects in common.
    pub fn part<T>(self, all: &[T]) -> &[T] {
        let end = |index| all.len() * index / self.of;
        &all[end(self.index - 1)..end(self.index)]
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shard = text.split_once('/').and_then(|(index, of)| {
            let number = |text: &str| text.parse::<u16>().ok().map(usize::from);
            let (index, of) = (number(index)?, number(of)?);
            (1..=of).contains(&index).then_some(Self { index, of })
        });
        shard.ok_or_else(|| "expected I/N with I from 1 to N, for example 1/4".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_parts_cover_all_once() {
        for len in 0..12 {
            let all: Vec<usize> = (0..len).collect();
            for of in 1..6 {
                let parts = (1..=of).map(|index| Shard { index, of });
                let sizes: Vec<_> = parts.clone().map(|s| s.part(&all).len()).collect();
                let joined: Vec<_> = parts.flat_map(|s| s.part(&all).to_vec()).collect();
                assert_eq!(joined, all, "{of}");
                let (most, least) = (sizes.iter().max(), sizes.iter().min());
                assert!(most.unwrap() - least.unwrap() <= 1, "{sizes:?}");
            }
        }
    }

    #[test]
    fn shard_out_of_range_is_refused() {
        assert_eq!("2/4".parse::<Shard>().unwrap().to_string(), "2/4");
        for bad in ["0/4", "5/4", "1/0", "1", "1/2/3", "-1/2", "a/b", ""] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }
}

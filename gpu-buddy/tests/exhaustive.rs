// SPDX-License-Identifier: GPL-2.0

//! Every request of every kind in every state of a small allocator, against a search chunk by
//! chunk.

// The driver has more than these tests use.
#[allow(dead_code)]
mod driver;

use driver::{
    backend::{Backend, OnlyInC},
    blocks_between,
    c::Manager,
    inside,
    inside::Inside,
    unit, Block, Give, Request, CLEAR, CONTIGUOUS, RANGE, TRIM_DISABLE,
};
use kernel::error::code::*;
use std::ops::Range;

const CHUNK: u64 = 4096;

/// State of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Dirty,
    Clear,
    Taken,
}

/// All states of `count` chunks.
fn states(count: u32) -> impl Iterator<Item = Vec<Chunk>> {
    (0..3_usize.pow(count)).map(move |number| {
        let digit = |n| number / 3_usize.pow(n) % 3;
        let chunk = |n| [Chunk::Dirty, Chunk::Clear, Chunk::Taken][digit(n)];
        (0..count).map(chunk).collect()
    })
}

/// An allocator in a given state.
struct Small {
    mm: Manager,
    inside: Inside,
    taken: Vec<<Manager as Backend>::List>,
    chunks: Vec<Chunk>,
}

impl Small {
    fn new(chunks: &[Chunk]) -> Self {
        let mut mm = Manager::new(0, chunks.len() as u64 * CHUNK, CHUNK).expect("an allocator");
        let inside = inside(&mut mm);
        let mut small = Self {
            mm,
            inside,
            taken: Vec::new(),
            chunks: chunks.to_vec(),
        };
        let lists: Vec<_> = (0..chunks.len() as u64)
            .map(|n| {
                let request = request(n..n + 1, 1, 1, RANGE);
                let list = small.mm.alloc(&request, None).expect("a free chunk");
                list.expect("a list")
            })
            .collect();
        for (list, chunk) in lists.into_iter().zip(chunks) {
            match chunk {
                Chunk::Taken => small.taken.push(list),
                _ => small.mm.free(list, *chunk == Chunk::Clear),
            }
        }
        small
    }

    /// Looks at each chunk; panics if the allocator is broken.
    fn look(&mut self) -> Vec<Chunk> {
        let leaves = self.inside.look().iter();
        leaves
            .flat_map(|leaf| {
                let chunk = match (leaf.allocated, leaf.clear) {
                    (true, _) => Chunk::Taken,
                    (false, true) => Chunk::Clear,
                    (false, false) => Chunk::Dirty,
                };
                vec![chunk; leaf.size as usize]
            })
            .collect()
    }

    fn is_free(&self, range: Range<u64>) -> bool {
        let mut range = range.map(|n| self.chunks[n as usize]);
        range.all(|chunk| chunk != Chunk::Taken)
    }

    /// Whether a request can be met, in the simplest way to find out.
    fn has_room(&self, range: &Range<u64>, size: u64, align: u64, contiguous: bool) -> bool {
        let aligned = |start: &u64| start.is_multiple_of(align);
        let starts = range.clone().filter(aligned);
        if contiguous {
            let fits = |start: u64| start + size <= range.end && self.is_free(start..start + size);
            return starts.into_iter().any(fits);
        }
        let unit = unit(size, align);
        let fits = |start: &u64| *start + unit <= range.end && self.is_free(*start..*start + unit);
        starts.filter(fits).count() as u64 >= size.div_ceil(unit)
    }

    /// How many blocks of `unit` chunks that start at multiples of `align` there are in the free
    /// blocks, without merging any.
    fn ready(&mut self, range: &Range<u64>, unit: u64, align: u64) -> u64 {
        let leaves = self.inside.look().iter().filter(|leaf| !leaf.allocated);
        leaves
            .map(|leaf| {
                let end = (leaf.start + leaf.size).min(range.end);
                blocks_between(leaf.start.max(range.start), end, unit, align)
            })
            .sum()
    }

    /// Makes a request, frees its blocks, and returns the number of clear chunks that were lost to
    /// merging.
    fn run(&mut self, range: Range<u64>, size: u64, align: u64, flags: u32) -> u64 {
        let contiguous = flags & CONTIGUOUS != 0;
        let count = self.chunks.len() as u64;
        let unit = unit(size, align);
        let exact = range.end - range.start == size;
        let bounds = if contiguous {
            range.start
        } else {
            range.start | range.end
        };
        let expected = if exact && bounds % align != 0 {
            Some(EINVAL)
        } else if exact {
            (!self.is_free(range.clone())).then_some(ENOSPC)
        } else if !contiguous && size.next_multiple_of(unit) > count {
            Some(EINVAL)
        } else {
            (!self.has_room(&range, size, align, contiguous)).then_some(ENOSPC)
        };
        let ready = self.ready(&range, unit, align);
        let leaves = self.inside.leaves.clone();

        let what = request(range.clone(), size, align, flags);
        let result = self.mm.alloc(&what, None);
        let context = || format!("{what:x?} in {:?}", self.chunks);
        let list = match result {
            Err(error) => {
                assert_eq!(Some(error), expected, "{}", context());
                assert_eq!(self.inside.look(), leaves, "a failure changes nothing");
                return 0;
            }
            Ok(list) => list.expect("a list"),
        };
        assert_eq!(None, expected, "{}", context());

        let blocks = self.mm.blocks(&list);
        self.check(&blocks, &what);
        let lost = self.check_clear(&blocks);
        let merged = size.div_ceil(unit).saturating_sub(ready) * unit;
        let may_lose = if contiguous { 0 } else { merged };
        assert!(lost <= may_lose, "{lost} clear chunks for {what:x?}");
        let mut list = list;
        for _ in &blocks {
            self.mm.free_one(&mut list, 0, Give::AsItIs);
        }
        if lost == 0 {
            assert_eq!(self.inside.look(), leaves, "nothing was merged");
        }
        lost
    }

    fn check(&self, blocks: &[Block], request: &Request) {
        let context = || format!("{blocks:x?} for {request:x?}");
        let exact = request.start + request.size == request.end;
        let contiguous = exact || request.flags & CONTIGUOUS != 0;
        let mut end = None;
        for block in blocks {
            let follows = end == Some(block.offset);
            end = Some(block.offset + block.size);
            assert!(block.offset >= request.start, "{}", context());
            assert!(end <= Some(request.end), "{}", context());
            let aligned = block.offset.is_multiple_of(request.min);
            assert!(follows || aligned, "{}", context());
            // Only pieces of a block that was trimmed may be smaller.
            let trimmed = !request.size.is_multiple_of(request.min);
            assert!(
                request.flags & CONTIGUOUS != 0 || trimmed || block.size >= request.min,
                "{}",
                context()
            );
            let first = block == &blocks[0];
            assert!(follows || first || !contiguous, "{}", context());
        }
        let total: u64 = blocks.iter().map(|block| block.size).sum();
        if request.flags & TRIM_DISABLE == 0 || exact {
            assert_eq!(total, request.size, "{}", context());
        } else if request.flags & CONTIGUOUS == 0 {
            let rounded = request
                .size
                .next_multiple_of(unit(request.size, request.min));
            assert_eq!(total, rounded, "{}", context());
        } else {
            assert!(total >= request.size, "{}", context());
        }
    }

    /// Checks that all that is free is as it was, and counts the clear chunks in dirty blocks.
    fn check_clear(&mut self, blocks: &[Block]) -> u64 {
        let mut expected = self.chunks.clone();
        let mut lost = 0;
        for block in blocks {
            for n in block.offset / CHUNK..(block.offset + block.size) / CHUNK {
                let chunk = &mut expected[n as usize];
                assert!(!block.clear || *chunk == Chunk::Clear, "{block:x?}");
                lost += u64::from(!block.clear && *chunk == Chunk::Clear);
                *chunk = Chunk::Taken;
            }
        }
        assert_eq!(self.look(), expected, "what is free, after {blocks:x?}");
        lost
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        for list in self.taken.drain(..) {
            self.mm.free(list, false);
        }
    }
}

/// A request in chunks.
fn request(range: Range<u64>, size: u64, align: u64, flags: u32) -> Request {
    Request {
        start: range.start * CHUNK,
        end: range.end * CHUNK,
        size: size * CHUNK,
        min: align * CHUNK,
        flags,
    }
}

/// Runs all requests in a state of the allocator, and counts them.
fn all_requests(chunks: &[Chunk], flags: &[u32]) -> usize {
    let count = chunks.len() as u64;
    let mut small = Small::new(chunks);
    let mut requests = 0;
    for flags in flags {
        for size in 1..=count {
            for align in (0..)
                .map(|n| 1 << n)
                .take_while(|align| *align <= 2 * count)
            {
                for start in 0..=count - size {
                    for end in start + 1..=count {
                        requests += 1;
                        if small.run(start..end, size, align, RANGE | flags) != 0 {
                            small = Small::new(chunks);
                        }
                    }
                }
                requests += 1;
                if small.run(0..count, size, align, *flags) != 0 {
                    small = Small::new(chunks);
                }
            }
        }
    }
    requests
}

#[test]
fn contiguous_of_empty() {
    let flags = [CONTIGUOUS, CONTIGUOUS | CLEAR, CONTIGUOUS | TRIM_DISABLE];
    for count in [16, 21] {
        for chunk in [Chunk::Dirty, Chunk::Clear] {
            all_requests(&vec![chunk; count], &flags);
        }
    }
}

#[test]
fn contiguous_of_any_state() {
    let requests: usize = states(7)
        .map(|chunks| all_requests(&chunks, &[CONTIGUOUS]))
        .sum();
    println!("{requests} requests");
}

#[test]
fn blocks_of_any_state() {
    let flags = [0, CLEAR, TRIM_DISABLE];
    let requests: usize = states(6).map(|chunks| all_requests(&chunks, &flags)).sum();
    println!("{requests} requests");
}

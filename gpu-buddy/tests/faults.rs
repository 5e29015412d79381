// SPDX-License-Identifier: GPL-2.0

//! Each allocation of memory that an operation makes fails once, on every path that there is.
//!
//! The model test lets single allocations fail on the way; here it is all of them, one by one.

// The driver has more than these tests use.
#[allow(dead_code)]
mod driver;

use driver::{backend::Backend, Block, Request};
use driver::{CLEAR, CONTIGUOUS, RANGE, TOPDOWN, TRIM_DISABLE};
use kernel::{error::code::ENOMEM, host};

const CHUNK: u64 = 0x1000;

/// The chunks of the allocator; no power of two.
const CHUNKS: u64 = 0x5b;

/// How many arrays of counters an allocator has.
const SCOREBOARDS: usize = if driver::SMALL_ALIGNED { 2 } else { 0 };

/// What is in use, in chunks, and whether what is next to it is clear: 0x10 and more are free.
const USED: &[(u64, u64)] = &[(0x03, 0x01), (0x0c, 0x02), (0x27, 0x01)];

/// The requests: start, end, size, and the smallest block in chunks, and the flags.
const REQUESTS: &[(u64, u64, u64, u64, u32)] = &[
    (0, CHUNKS, 1, 1, 0),
    (0, CHUNKS, 1, 1, TOPDOWN),
    (0, CHUNKS, 1, 1, CLEAR),
    (0, CHUNKS, 0x15, 1, 0),
    (0, CHUNKS, 0x15, 4, 0),
    (0, CHUNKS, 0x15, 4, CLEAR | TOPDOWN),
    (0, CHUNKS, 0x15, 4, TRIM_DISABLE),
    (0, CHUNKS, 0x3b, 1, 0),
    // Needs clear and dirty blocks merged, the second one only in part.
    (0, CHUNKS, 0x18, 8, 0),
    (0, CHUNKS, 0x3d, 8, 0),
    (0x08, CHUNKS, 0x3d, 8, RANGE),
    (0, CHUNKS, 5, 1, CONTIGUOUS),
    (0, CHUNKS, 5, 4, CONTIGUOUS | CLEAR),
    (0, CHUNKS, 5, 4, CONTIGUOUS | TRIM_DISABLE),
    // More than any aligned block.
    (0, CHUNKS, 0x23, 1, CONTIGUOUS),
    (0, CHUNKS, 0x31, 1, CONTIGUOUS),
    (0x05, 0x2a, 3, 1, RANGE),
    (0x05, 0x2a, 3, 2, RANGE | CLEAR),
    (0x11, 0x3a, 0x13, 1, RANGE),
    (0x11, 0x3a, 7, 2, RANGE | CONTIGUOUS),
    // Exactly that.
    (0x11, 0x26, 0x15, 1, RANGE),
    (0x12, 0x26, 0x14, 2, RANGE),
    // Exactly that, with a clear chunk that is joined with a dirty one.
    (0x1c, 0x1e, 2, 2, RANGE),
    (0x1c, 0x22, 6, 2, RANGE),
    (0x28, 0x5b, 0x33, 1, RANGE | CONTIGUOUS),
];

/// Runs `run` with the first, the second, … allocation failing, until it makes no more of them.
/// Nothing may have changed after each failure. Returns how many there were.
fn each_allocation<B: Backend>(
    mm: &mut B,
    mut run: impl FnMut(&mut B) -> kernel::error::Result,
    what: &str,
) -> usize {
    let mut inside = driver::inside(mm);
    for n in 1.. {
        let (before, avail) = (driver::map(inside.look()), mm.avail());
        let live = host::live_objects();
        host::fail_allocation(n);
        let result = run(mm);
        let failed = host::allocation_to_fail() == 0;
        host::fail_allocation(0);
        assert_eq!(host::take_warnings(), 0, "{what}: warnings");
        if !failed {
            result.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            return n - 1;
        }
        assert_eq!(result, Err(ENOMEM), "{what}: allocation {n} fails");
        let after = driver::map(inside.look());
        assert_eq!(after, before, "{what}: allocation {n} fails");
        assert_eq!(mm.avail(), avail, "{what}: allocation {n} fails");
        // As many objects as blocks: free blocks may lie as if nothing had been split.
        assert!(host::live_objects() <= live, "{what}: allocation {n} leaks");
    }
    unreachable!()
}

/// An allocator with some of it in use, and some of it clear.
fn prepare<B: Backend>() -> (B, Vec<B::List>) {
    let mut mm = B::new(0, CHUNKS * CHUNK, CHUNK).expect("an allocator");
    let mut reserve = |start: u64, len: u64| {
        let request = Request {
            start: start * CHUNK,
            end: (start + len) * CHUNK,
            size: len * CHUNK,
            min: CHUNK,
            flags: RANGE,
        };
        let list = mm.alloc(&request, None).expect("it is free");
        list.expect("a list")
    };
    let used = USED
        .iter()
        .map(|(start, len)| reserve(*start, *len))
        .collect();
    let clear = [(0x10, 0x04), (0x1c, 0x01), (0x30, 0x08), (0x50, 0x02)];
    let clear = clear.map(|(start, len)| reserve(start, len));
    for list in clear {
        mm.free(list, true);
    }
    (mm, used)
}

fn requests<B: Backend>() {
    let mut failures = 0;
    for &(start, end, size, min, flags) in REQUESTS {
        let request = Request {
            start: start * CHUNK,
            end: end * CHUNK,
            size: size * CHUNK,
            min: min * CHUNK,
            flags,
        };
        let live = host::live_objects();
        let (mut mm, used) = prepare::<B>();
        let mut list = None;
        let run = |mm: &mut B| {
            list = mm.alloc(&request, None)?;
            Ok(())
        };
        failures += each_allocation(&mut mm, run, &format!("{request:x?}"));
        mm.free(list.expect("a list"), false);
        used.into_iter().for_each(|list| mm.free(list, false));
        drop(mm);
        assert_eq!(host::live_objects(), live, "{request:x?} leaks");
        assert_eq!(host::take_warnings(), 0);
    }
    println!("{failures} failures");
    assert!(failures > 50, "{failures} failures only");
}

/// Trims of a block of 16 chunks.
fn trims<B: Backend>() {
    let live = host::live_objects();
    let mut failures = 0;
    for (start, size) in [(0, 1), (0, 31), (1, 1), (7, 18), (31, 1), (16, 16)] {
        let (mut mm, used) = prepare::<B>();
        let request = Request {
            start: 0,
            end: CHUNKS * CHUNK,
            size: 0x10 * CHUNK,
            min: 0x10 * CHUNK,
            flags: TOPDOWN,
        };
        let mut list = mm.alloc(&request, None).expect("room").expect("a list");
        let [block] = mm.blocks(&list)[..] else {
            panic!("one block")
        };
        let size = (size * CHUNK / 2).next_multiple_of(CHUNK);
        let at = block.offset + start * CHUNK / 2 / CHUNK * CHUNK;
        let run = |mm: &mut B| {
            let before = mm.blocks(&list);
            let c = mm.only_in_c().expect("trims are tested on C");
            let result = c.trim(&mut list, Some(at), size);
            if result.is_err() {
                assert_eq!(mm.blocks(&list), before, "a failure changes nothing");
            }
            result
        };
        failures += each_allocation(&mut mm, run, &format!("{at:x} {size:x}"));
        mm.free(list, true);
        used.into_iter().for_each(|list| mm.free(list, false));
    }
    println!("{failures} failures");
    assert!(failures > 20, "{failures} failures only");
    assert_eq!(host::live_objects(), live, "a leak");
    assert_eq!(host::take_warnings(), 0);
}

/// Making an allocator, with several roots.
fn creation<B: Backend>() -> usize {
    let live = host::live_objects();
    for n in 1.. {
        host::fail_allocation(n);
        let result = B::new(CHUNK, CHUNKS * CHUNK, CHUNK);
        let failed = host::allocation_to_fail() == 0;
        host::fail_allocation(0);
        if !failed {
            assert!(result.is_ok());
            drop(result);
            assert_eq!(host::live_objects(), live);
            return n - 1;
        }
        assert_eq!(result.err(), Some(ENOMEM), "allocation {n} fails");
        assert_eq!(host::live_objects(), live, "allocation {n} leaks");
        assert_eq!(host::take_warnings(), 0);
    }
    unreachable!()
}

/// Joining allocations and freeing memory allocate nothing.
#[test]
#[cfg_attr(other_base, ignore = "the binding is that of the default base")]
fn append_and_free_need_no_memory() {
    use driver::binding::Manager;

    let (mut mm, used) = prepare::<Manager>();
    let request = Request {
        start: 0,
        end: CHUNKS * CHUNK,
        size: 7 * CHUNK,
        min: CHUNK,
        flags: 0,
    };
    let mut list = mm.alloc(&request, None).expect("room").expect("a list");
    let more = mm.alloc(&request, None).expect("room").expect("a list");
    let blocks: Vec<Block> = [mm.blocks(&list), mm.blocks(&more)].concat();
    host::fail_allocation(1);
    mm.append(&mut list, more);
    assert_eq!(mm.blocks(&list), blocks);
    mm.free(list, true);
    assert_eq!(host::allocation_to_fail(), 1);
    host::fail_allocation(0);
    used.into_iter().for_each(|list| mm.free(list, false));
}

#[test]
fn requests_of_c() {
    requests::<driver::c::Manager>();
}

#[test]
#[cfg_attr(other_base, ignore = "the binding is that of the default base")]
fn requests_of_the_binding() {
    requests::<driver::binding::Manager>();
}

#[test]
fn trims_of_c() {
    trims::<driver::c::Manager>();
}

#[test]
fn creation_by_c() {
    // The array of trees, two of them, the array of roots, and five roots.
    assert_eq!(creation::<driver::c::Manager>(), 9 + SCOREBOARDS);
}

#[test]
#[cfg_attr(other_base, ignore = "the binding is that of the default base")]
fn creation_by_the_binding() {
    // And what the handles share.
    assert_eq!(creation::<driver::binding::Manager>(), 10 + SCOREBOARDS);
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of the binding alone: its errors, its ranges, and the auto traits of its types.

// The binding is that of the default base.
#![cfg(not(other_base))]

use gpu_buddy::{
    bindings::{self, latest_gpu_buddy},
    gpu::buddy::{
        AllocatedBlock, AllocatedBlocks, GpuBuddy, GpuBuddyAllocFlag, GpuBuddyAllocFlags,
        GpuBuddyAllocMode, GpuBuddyParams,
    },
};
use kernel::{prelude::*, ptr::Alignment};
use std::{
    marker::PhantomData,
    ops::{Deref, Range},
};

const CHUNK: u64 = 0x1000;

/// Where the managed range starts: aligned to more than any request here asks for.
const BASE: u64 = 64 * CHUNK;

type Blocks = Pin<KBox<AllocatedBlocks>>;

fn align(bytes: u64) -> Alignment {
    Alignment::new_checked(usize::try_from(bytes).unwrap()).unwrap()
}

/// An allocator, and the C struct in it.
struct Buddy {
    buddy: GpuBuddy,
    mm: *mut bindings::gpu_buddy,
}

impl Deref for Buddy {
    type Target = GpuBuddy;

    fn deref(&self) -> &GpuBuddy {
        &self.buddy
    }
}

impl Buddy {
    /// Returns the number of bytes that are free and known to be cleared.
    fn clear_avail(&self) -> u64 {
        // SAFETY: The allocator is valid, and used by this thread alone.
        unsafe { (*self.mm).clear_avail }
    }

    /// Returns whether all memory is free and dirty, in as few blocks as possible.
    fn is_whole(&self) -> bool {
        let mut leaves = [bindings::host_buddy_leaf::default(); 64];
        // SAFETY: The allocator is valid, and used by this thread alone.
        let count =
            unsafe { bindings::host_buddy_leaves(self.mm, leaves.as_mut_ptr(), leaves.len()) };
        let roots = (self.size() / CHUNK).count_ones() as usize;
        usize::try_from(count) == Ok(roots)
            && self.clear_avail() == 0
            && leaves[..roots].iter().all(|leaf| !leaf.allocated)
    }
}

fn new(base_offset: u64, size: u64, chunk: u64) -> Result<Buddy> {
    let buddy = GpuBuddy::new(GpuBuddyParams {
        base_offset,
        size,
        chunk_size: align(chunk),
    })?;
    let mm = latest_gpu_buddy();
    Ok(Buddy { buddy, mm })
}

fn alloc(
    buddy: &GpuBuddy,
    mode: GpuBuddyAllocMode,
    size: u64,
    min_block_size: u64,
    flags: GpuBuddyAllocFlags,
) -> Result<Blocks> {
    let init = buddy.alloc_blocks(mode, size, align(min_block_size), flags);
    KBox::pin_init(init, GFP_KERNEL)
}

fn reserve(buddy: &GpuBuddy, range: Range<u64>) -> Result<Blocks> {
    KBox::pin_init(buddy.reserve(range), GFP_KERNEL)
}

/// Returns the sum of the sizes of the blocks.
fn total_size(blocks: &AllocatedBlocks) -> u64 {
    blocks.iter().map(|block| block.size()).sum()
}

/// Returns the absolute addresses of the blocks if they are contiguous.
fn range_of(blocks: &AllocatedBlocks) -> Option<Range<u64>> {
    let start = blocks.iter().map(|block| block.offset()).min()?;
    let end = start + total_size(blocks);
    let within = |block: AllocatedBlock<'_>| block.offset() + block.size() <= end;
    blocks.iter().all(within).then_some(start..end)
}

#[test]
fn new_end_overflows_einval() {
    for (base, size) in [
        (1 << 63, 1 << 63),
        (u64::MAX - CHUNK + 1, CHUNK),
        (CHUNK, u64::MAX),
        (2 * CHUNK, u64::MAX - CHUNK),
    ] {
        assert_eq!(
            new(base, size, CHUNK).err(),
            Some(EINVAL),
            "{base:#x}, {size:#x}"
        );
    }
    for (base, size) in [
        (0, u64::MAX),
        (CHUNK, u64::MAX - CHUNK),
        ((1 << 63) - CHUNK, 1 << 63),
        (u64::MAX - 2 * CHUNK + 1, CHUNK),
    ] {
        let buddy = new(base, size, CHUNK).unwrap();
        let last = buddy.size() - CHUNK..buddy.size();
        let blocks = reserve(&buddy, last.clone()).unwrap();
        let range = base + last.start..base + last.end;
        assert_eq!(range_of(&blocks), Some(range));
    }
}

#[test]
fn base_misaligned_einval() {
    assert_eq!(new(CHUNK / 2, CHUNK, CHUNK).err(), Some(EINVAL));
    assert_eq!(new(CHUNK, 4 * CHUNK, 2 * CHUNK).err(), Some(EINVAL));

    // Blocks of one chunk are aligned at this base, blocks of two chunks are not.
    let buddy = new(CHUNK, 4 * CHUNK, CHUNK).unwrap();
    let none = GpuBuddyAllocFlags::empty();
    assert!(alloc(&buddy, GpuBuddyAllocMode::Simple, CHUNK, CHUNK, none).is_ok());
    for flags in [none, GpuBuddyAllocFlag::Contiguous.into()] {
        let ret = alloc(&buddy, GpuBuddyAllocMode::Simple, CHUNK, 2 * CHUNK, flags);
        assert_eq!(ret.err(), Some(EINVAL));
    }
}

#[test]
fn append_other_allocator_einval() {
    let (buddy, other) = (
        new(BASE, 8 * CHUNK, CHUNK).unwrap(),
        new(BASE, 8 * CHUNK, CHUNK).unwrap(),
    );
    let mut blocks = reserve(&buddy, CHUNK..2 * CHUNK).unwrap();
    let mut others = reserve(&other, 2 * CHUNK..4 * CHUNK).unwrap();
    assert_eq!(blocks.as_mut().append(others.as_mut()), Err(EINVAL));
    assert_eq!(others.as_mut().append(blocks.as_mut()), Err(EINVAL));

    // Neither has changed, and each is freed to its allocator.
    assert_eq!(range_of(&blocks), Some(BASE + CHUNK..BASE + 2 * CHUNK));
    assert_eq!(range_of(&others), Some(BASE + 2 * CHUNK..BASE + 4 * CHUNK));
    drop(blocks);
    assert!(buddy.is_whole());
    assert_eq!(other.avail(), 6 * CHUNK);
    drop(others);
    assert!(other.is_whole());

    let mut blocks = reserve(&buddy, 0..CHUNK).unwrap();
    let mut others = reserve(&buddy, CHUNK..2 * CHUNK).unwrap();
    assert_eq!(blocks.as_mut().append(others.as_mut()), Ok(()));
    assert_eq!(range_of(&blocks), Some(BASE..BASE + 2 * CHUNK));
    assert!(others.is_empty());
}

/// The size of the allocator that gets each request, in chunks.
const CHUNKS: u64 = 13;

/// Returns whether a request fits into `range` if all memory is free, by trying each address. All
/// arguments are in chunks.
fn fits(range: &Range<u64>, size: u64, min: u64, contiguous: bool) -> bool {
    let aligned = |offset: &u64| offset.is_multiple_of(min);
    if contiguous {
        return range
            .clone()
            .filter(aligned)
            .any(|offset| offset + size <= range.end);
    }
    let blocks = range
        .clone()
        .filter(aligned)
        .filter(|offset| offset + min <= range.end);
    blocks.count() as u64 * min >= size
}

#[test]
fn alloc_each_request_when_empty() {
    let buddy = new(BASE, CHUNKS * CHUNK, CHUNK).unwrap();
    let (mut too_large, mut met) = (0, 0);
    let ranges = (0..CHUNKS).flat_map(|start| (start + 1..=CHUNKS).map(move |end| start..end));
    for chunks in ranges {
        for (size, order) in (1..=CHUNKS + 3).flat_map(|size| (0..5).map(move |o| (size, o))) {
            for contiguous in [false, true] {
                let whole = chunks == (0..CHUNKS);
                let range = chunks.start * CHUNK..chunks.end * CHUNK;
                let mut modes = vec![GpuBuddyAllocMode::Range(range.clone())];
                if whole {
                    modes.extend([GpuBuddyAllocMode::Simple, GpuBuddyAllocMode::TopDown]);
                }
                for mode in modes {
                    let what =
                        format!("{size} in {chunks:?}, order {order}, {contiguous}, {mode:?}");
                    let mut flags = GpuBuddyAllocFlags::empty();
                    if contiguous {
                        flags |= GpuBuddyAllocFlag::Contiguous;
                    }
                    let min = CHUNK << order;
                    let result = alloc(&buddy, mode, size * CHUNK, min, flags);
                    if !fits(&chunks, size, 1 << order, contiguous) {
                        assert_eq!(result.err(), Some(E2BIG), "{what}");
                        too_large += 1;
                        continue;
                    }
                    let blocks = result.unwrap_or_else(|error| panic!("{error:?}: {what}"));
                    assert_eq!(total_size(&blocks), size * CHUNK, "{what}");
                    for block in blocks.iter() {
                        assert!(BASE + range.start <= block.offset(), "{what}");
                        assert!(block.offset() + block.size() <= BASE + range.end, "{what}");
                    }
                    let start = blocks.iter().map(|block| block.offset()).min();
                    assert_eq!(start.unwrap() % min, 0, "{what}");
                    assert!(!contiguous || range_of(&blocks).is_some(), "{what}");
                    met += 1;
                }
            }
        }
    }
    assert!(buddy.is_whole());
    assert!(too_large > 1000 && met > 1000, "{too_large} and {met}");
}

#[test]
fn contiguous_whole_range_stays_clear() {
    let size = 3 * CHUNK;
    let buddy = new(BASE, size, CHUNK).unwrap();
    for mode in [
        GpuBuddyAllocMode::Simple,
        GpuBuddyAllocMode::TopDown,
        GpuBuddyAllocMode::Range(0..size),
    ] {
        let mut all = reserve(&buddy, 0..size).unwrap();
        all.as_mut().free_cleared();
        let flags = GpuBuddyAllocFlag::Contiguous | GpuBuddyAllocFlag::Clear;
        let blocks = alloc(&buddy, mode, size, 2 * CHUNK, flags).unwrap();
        assert!(blocks.iter().all(|block| block.is_clear()));
    }
}

/// Pages that are known to be clear are freed as clear and allocated again, from the top.
#[test]
fn clear_pages_from_top() {
    let buddy = new(BASE, 64 * CHUNK, CHUNK).unwrap();
    // The smallest free block is at the bottom.
    let _low = reserve(&buddy, 0..CHUNK).unwrap();
    let page = || {
        let flags = GpuBuddyAllocFlag::Clear.into();
        let page = alloc(&buddy, GpuBuddyAllocMode::TopDown, CHUNK, CHUNK, flags).unwrap();
        let block = page.iter().next().unwrap();
        let (offset, is_clear) = (block.offset() - BASE, block.is_clear());
        (page, offset / CHUNK, is_clear)
    };

    // Nothing is clear yet.
    let (mut first, offset, is_clear) = page();
    assert_eq!((offset, is_clear), (63, false));
    let (mut second, offset, is_clear) = page();
    assert_eq!((offset, is_clear), (62, false));

    // The clear page is preferred, although a dirty one is higher.
    second.as_mut().free_cleared();
    drop(first);
    assert_eq!(buddy.clear_avail(), CHUNK);
    (first, ..) = page();
    assert_eq!(range_of(&first), Some(BASE + 62 * CHUNK..BASE + 63 * CHUNK));
    assert!(first.iter().all(|block| block.is_clear()));
    assert_eq!(buddy.clear_avail(), 0);

    // Dropping it frees it as dirty memory, whatever it was.
    drop(first);
    assert_eq!(buddy.clear_avail(), 0);
    let (_third, offset, is_clear) = page();
    assert_eq!((offset, is_clear), (63, false));
}

#[test]
fn range_malformed_einval() {
    let buddy = new(BASE, 4 * CHUNK, CHUNK).unwrap();
    let half = CHUNK / 2;
    for (start, end) in (0..12).flat_map(|start| (0..12).map(move |end| (start, end))) {
        let good = start < end && end <= 8 && start % 2 == 0 && end % 2 == 0;
        let range = start * half..end * half;
        let expected = (!good).then_some(EINVAL);
        assert_eq!(reserve(&buddy, range.clone()).err(), expected, "{range:x?}");
        // The error is the same for a size that does not fit.
        for size in [CHUNK, 64 * CHUNK] {
            let mode = GpuBuddyAllocMode::Range(range.clone());
            let ret = alloc(&buddy, mode, size, CHUNK, GpuBuddyAllocFlags::empty());
            let too_large = (size > 4 * CHUNK).then_some(E2BIG);
            assert_eq!(ret.err(), expected.or(too_large), "{size:#x} in {range:x?}");
        }
    }
    // Absolute addresses are beyond the end of the managed range.
    assert_eq!(reserve(&buddy, BASE..BASE + CHUNK).err(), Some(EINVAL));
}

#[test]
fn alloc_too_little_free_enospc() {
    let buddy = new(BASE, 8 * CHUNK, CHUNK).unwrap();
    let taken = reserve(&buddy, 3 * CHUNK..4 * CHUNK).unwrap();
    let none = GpuBuddyAllocFlags::empty();
    let contiguous = GpuBuddyAllocFlag::Contiguous.into();
    let requests = [
        (GpuBuddyAllocMode::Simple, 8 * CHUNK, CHUNK, none),
        (GpuBuddyAllocMode::Simple, 7 * CHUNK, 2 * CHUNK, none),
        (GpuBuddyAllocMode::TopDown, 5 * CHUNK, CHUNK, contiguous),
        (
            GpuBuddyAllocMode::Range(2 * CHUNK..5 * CHUNK),
            3 * CHUNK,
            CHUNK,
            none,
        ),
        (
            GpuBuddyAllocMode::Range(2 * CHUNK..6 * CHUNK),
            3 * CHUNK,
            CHUNK,
            contiguous,
        ),
    ];
    for (mode, size, min, flags) in requests.clone() {
        let ret = alloc(&buddy, mode, size, min, flags);
        assert_eq!(ret.err(), Some(ENOSPC));
    }
    drop(taken);
    for (mode, size, min, flags) in requests {
        assert!(alloc(&buddy, mode, size, min, flags).is_ok());
    }
}

/// Tells at compile time which auto traits `T` has: the constants of the inherent `impl` blocks
/// exist only for types that have the trait.
struct AutoTrait<T>(PhantomData<T>);

trait NoAutoTrait {
    const SEND: bool = false;
    const SYNC: bool = false;
    const UNPIN: bool = false;
}

impl<T> NoAutoTrait for AutoTrait<T> {}

impl<T: Send> AutoTrait<T> {
    const SEND: bool = true;
}

impl<T: Sync> AutoTrait<T> {
    const SYNC: bool = true;
}

impl<T: Unpin> AutoTrait<T> {
    const UNPIN: bool = true;
}

macro_rules! assert_auto_traits {
    ($($type:ty: $send:literal, $sync:literal, $unpin:literal;)*) => {
        $(
            const _: () = {
                assert!(AutoTrait::<$type>::SEND == $send, "`Send` differs");
                assert!(AutoTrait::<$type>::SYNC == $sync, "`Sync` differs");
                assert!(AutoTrait::<$type>::UNPIN == $unpin, "`Unpin` differs");
            };
        )*
    };
}

assert_auto_traits! {
    // Type                         Send   Sync   Unpin
    GpuBuddy:                       true,  true,  true;
    GpuBuddyParams:                 true,  true,  true;
    GpuBuddyAllocMode:              true,  true,  true;
    GpuBuddyAllocFlag:              true,  true,  true;
    GpuBuddyAllocFlags:             true,  true,  true;
    AllocatedBlocks:                true,  true,  false;
    AllocatedBlock<'static>:        true,  true,  true;
    // A type with other traits, to test the table itself.
    *mut u8:                        false, false, true;
}

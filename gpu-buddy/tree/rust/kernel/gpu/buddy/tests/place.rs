// SPDX-License-Identifier: GPL-2.0

//! Tests of where the blocks of an allocation are.

use super::{
    alloc::{
        alloc,
        occupy, //
    },
    *, //
};
use core::ops::Range;

assert_auto_traits! {
    // Type                     Send   Sync   Unpin
    AllocatedBlock<'static>:    true,  true,  true;
}

/// Returns the sum of the sizes of the blocks.
pub(super) fn total_size(blocks: &AllocatedBlocks) -> u64 {
    blocks.iter().map(|block| block.size()).sum()
}

/// Returns the range of the blocks if they are contiguous, as offsets from [`BASE`].
pub(super) fn range_of(blocks: &AllocatedBlocks) -> Option<Range<u64>> {
    let start = blocks.iter().map(|block| block.offset()).min()? - BASE;
    // Blocks do not overlap, so they have no gaps if their sizes add up to the range.
    let end = start + total_size(blocks);
    blocks
        .iter()
        .all(|block| block.offset() - BASE + block.size() <= end)
        .then_some(start..end)
}

#[macros::kunit_tests(rust_gpu_buddy_place)]
mod suite {
    use super::*;
    use GpuBuddyAllocFlag::{
        Clear,
        Contiguous,
        TrimDisable, //
    };
    use GpuBuddyAllocMode::{
        Range as In,
        Simple,
        TopDown, //
    };

    #[test]
    fn iter_returns_blocks_in_list_order() -> Result {
        let buddy = buddy(16 * MIB)?;
        let blocks = occupy(&buddy, MIB..8 * MIB)?;
        let offsets = [MIB, 2 * MIB, 4 * MIB].map(|offset| BASE + offset);
        assert!(blocks.iter().map(|block| block.offset()).eq(offsets));
        assert!(blocks.iter().map(|block| block.order()).eq([8, 9, 10]));
        assert_eq!(total_size(&blocks), 7 * MIB);
        Ok(())
    }

    #[test]
    fn modes_choose_place() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(16 * MIB)?;
        let before = Snapshot::new(&buddy);
        for (mode, expected) in [
            (Simple, 15 * MIB),
            (TopDown, 15 * MIB),
            (In(2 * MIB..10 * MIB), 2 * MIB),
        ] {
            let blocks = alloc(&buddy, mode, MIB, 4 * KIB, none)?;
            assert_eq!(range_of(&blocks), Some(expected..expected + MIB));
            assert_eq!(buddy.avail(), 15 * MIB);
        }
        assert!(Snapshot::new(&buddy) == before);

        // With a hole at the bottom, only top-down splits a large block.
        let low = occupy(&buddy, 0..MIB)?;
        let rest = occupy(&buddy, 2 * MIB..8 * MIB)?;
        let blocks = alloc(&buddy, Simple, MIB, 4 * KIB, none)?;
        assert_eq!(range_of(&blocks), Some(MIB..2 * MIB));
        drop(blocks);
        let blocks = alloc(&buddy, TopDown, MIB, 4 * KIB, none)?;
        assert_eq!(range_of(&blocks), Some(15 * MIB..16 * MIB));

        drop((low, rest, blocks));
        assert!(Snapshot::new(&buddy) == before);
        Ok(())
    }

    #[test]
    fn modes_place_blocks_of_1_gib() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy_at(0, 1 << 30, 4 * KIB)?;
        let before = Snapshot::new(&buddy);
        for mode in [Simple, TopDown] {
            let blocks = alloc(&buddy, mode, 16 * MIB, 16 * MIB, none)?;
            assert_eq!(blocks.iter().count(), 1);
            for block in blocks.iter() {
                assert_eq!(block.offset(), (1 << 30) - 16 * MIB);
                assert_eq!(block.order(), 12);
                assert_eq!(block.size(), 16 * MIB);
            }
            assert_eq!(buddy.avail(), (1 << 30) - 16 * MIB);
            drop(blocks);
            assert!(Snapshot::new(&buddy) == before);
        }

        // Two holes of 4 MiB are not contiguous.
        let range = In(0..16 * MIB);
        let _low = alloc(&buddy, In(0..4 * MIB), 4 * MIB, 4 * MIB, none)?;
        let _high = alloc(&buddy, In(8 * MIB..12 * MIB), 4 * MIB, 4 * MIB, none)?;
        let ret = alloc(&buddy, range.clone(), 8 * MIB, 4 * MIB, Contiguous);
        assert_eq!(ret.err(), Some(ENOSPC));
        let blocks = alloc(&buddy, range, 8 * MIB, 4 * MIB, none)?;
        let mut offsets = blocks.iter().map(|block| block.offset());
        let (first, second) = (offsets.next(), offsets.next());
        assert_eq!(first.min(second), Some(4 * MIB));
        assert_eq!(first.max(second), Some(12 * MIB));
        assert!(offsets.next().is_none());
        assert!(blocks.iter().all(|block| block.size() == 4 * MIB));
        assert_eq!(buddy.avail(), (1 << 30) - 16 * MIB);
        Ok(())
    }

    #[test]
    fn alloc_just_fits() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let contiguous = GpuBuddyAllocFlags::from(Contiguous);
        let buddy = buddy(16 * MIB)?;
        for (range, size, align, flags) in [
            (0..3 * MIB + 512 * KIB, 3 * MIB, 4 * KIB, contiguous),
            (0..12 * KIB, 12 * KIB, 8 * KIB, contiguous),
            (2 * MIB..7 * MIB, 3 * MIB, 4 * MIB, contiguous),
            (2 * MIB..7 * MIB, MIB, 4 * MIB, contiguous),
            (2 * MIB..7 * MIB, 4 * MIB, 4 * KIB, contiguous),
            (4 * KIB..20 * KIB, 12 * KIB, 8 * KIB, contiguous),
            (4 * KIB..128 * KIB, 64 * KIB, 64 * KIB, none),
        ] {
            let blocks = alloc(&buddy, In(range.clone()), size, align, flags)?;
            let found = range_of(&blocks).ok_or(EINVAL)?;
            assert_eq!(found.end - found.start, size);
            assert!(range.start <= found.start && found.end <= range.end);
            assert_eq!(found.start & (align - 1), 0);
        }
        Ok(())
    }

    #[test]
    fn alloc_aligns_blocks() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(16 * MIB)?;
        let in_range = In(0..16 * MIB);
        let _taken = occupy(&buddy, 0..4 * KIB)?;
        for size in [4 * KIB, 12 * KIB, 64 * KIB, MIB, 3 * MIB - 4 * KIB, 5 * MIB] {
            for align in [4 * KIB, 64 * KIB, MIB, 2 * MIB] {
                for (flags, mode) in [
                    (none, Simple),
                    (none, in_range.clone()),
                    (Contiguous.into(), Simple),
                    (Contiguous.into(), in_range.clone()),
                ] {
                    let blocks = alloc(&buddy, mode, size, align, flags)?;
                    assert_eq!(total_size(&blocks), size);
                    let first = blocks.iter().map(|block| block.offset()).min();
                    assert!(first.is_some_and(|offset| offset & (align - 1) == 0));
                    for block in blocks.iter() {
                        assert_eq!(block.offset() & (block.size() - 1), 0);
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn alloc_whole_managed_range() -> Result {
        let none = GpuBuddyAllocFlags::default();
        // Not a power of two, and not a multiple of the larger alignments.
        let size = MIB + 12 * KIB;
        let buddy = buddy(size)?;
        let all = 0..size;
        let contiguous = GpuBuddyAllocFlags::from(Contiguous);
        for (mode, align, flags, err) in [
            (Simple, 4 * KIB, none, None),
            (TopDown, 4 * KIB, none, None),
            (In(all.clone()), 4 * KIB, none, None),
            (Simple, 4 * KIB, contiguous, None),
            (Simple, 4 * KIB, Clear.into(), None),
            (Simple, 8 * KIB, none, Some(E2BIG)),
            (In(all.clone()), 8 * KIB, none, Some(E2BIG)),
            // The start is aligned, and the size is not rounded up.
            (Simple, MIB, contiguous, None),
            (TopDown, MIB, contiguous, None),
            (In(all.clone()), MIB, contiguous, None),
        ] {
            match alloc(&buddy, mode, size, align, flags) {
                Ok(blocks) => {
                    assert_eq!(err, None);
                    assert_eq!(range_of(&blocks), Some(0..size));
                    assert_eq!(buddy.avail(), 0);
                }
                Err(e) => assert_eq!(err, Some(e)),
            }
            assert_eq!(buddy.avail(), size);
        }
        Ok(())
    }

    // An `Alignment` is a `usize`.
    #[cfg(CONFIG_64BIT)]
    #[test]
    fn alloc_from_largest_allocator() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy_at(0, u64::MAX, 4 * KIB)?;
        let before = Snapshot::new(&buddy);
        let half = 1 << 63;
        for (size, align, flags) in [
            (buddy.size(), 4 * KIB, none),
            (buddy.size(), half, Contiguous.into()),
            (half + 4 * KIB, 4 * KIB, Contiguous.into()),
            (half, half, none),
            (16 << 40, 4 * KIB, none),
        ] {
            let blocks = alloc(&buddy, Simple, size, align, flags)?;
            assert_eq!(total_size(&blocks), size);
            let start = blocks.iter().map(|block| block.offset()).min();
            let last = blocks
                .iter()
                .map(|block| block.offset() + (block.size() - 1))
                .max();
            assert_eq!(
                start.zip(last).map(|(start, last)| last - start),
                Some(size - 1)
            );
        }
        // Rounded up to their alignment these exceed the allocator, or overflow.
        for align in [16 << 40, half] {
            let ret = alloc(&buddy, Simple, buddy.size(), align, none);
            assert_eq!(ret.err(), Some(E2BIG));
        }
        assert!(Snapshot::new(&buddy) == before);
        Ok(())
    }

    #[test]
    fn trim_disable_keeps_rounded_size() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(16 * MIB)?;
        for (size, align, flags, total) in [
            (12 * KIB, 16 * KIB, none, 12 * KIB),
            (12 * KIB, 16 * KIB, TrimDisable.into(), 16 * KIB),
            (20 * KIB, 4 * KIB, Contiguous.into(), 20 * KIB),
            (20 * KIB, 4 * KIB, Contiguous | TrimDisable, 32 * KIB),
        ] {
            let blocks = alloc(&buddy, Simple, size, align, flags)?;
            assert_eq!(total_size(&blocks), total);
            assert_eq!(buddy.avail(), 16 * MIB - total);
        }
        Ok(())
    }

    #[test]
    fn contiguous_joins_smaller_blocks() -> Result {
        let buddy = buddy(16 * MIB)?;
        let _low = occupy(&buddy, 0..5 * MIB)?;
        let _middle = occupy(&buddy, 10 * MIB..11 * MIB)?;
        let _high = occupy(&buddy, 15 * MIB..16 * MIB)?;
        // No block of 8 MiB is free, but these 5 MiB are, in blocks of at most 2 MiB.
        let blocks = alloc(&buddy, Simple, 5 * MIB, MIB, Contiguous)?;
        assert_eq!(range_of(&blocks), Some(5 * MIB..10 * MIB));
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of making an allocator, and of requests to it.

#[macros::kunit_tests(rust_gpu_buddy)]
mod suite {
    use super::super::*;
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

    fn new(base_offset: u64, size: u64, chunk_size: u64) -> Result<GpuBuddy> {
        GpuBuddy::new(GpuBuddyParams {
            base_offset,
            size,
            chunk_size: align(chunk_size)?,
        })
    }

    #[test]
    fn params() -> Result {
        for (base_offset, size, chunk_size) in [
            (0, 0, 4 * KIB),
            (0, 4 * KIB - 1, 4 * KIB),
            (0, 64 * KIB, 2 * KIB),
            (4 * KIB - 1, 64 * KIB, 4 * KIB),
            (4 * KIB, 64 * KIB, 8 * KIB),
            (1 << 63, 1 << 63, 4 * KIB),
            (u64::MAX - 4 * KIB + 1, 4 * KIB, 4 * KIB),
        ] {
            let ret = new(base_offset, size, chunk_size);
            assert_eq!(ret.err(), Some(EINVAL));
        }

        for (base_offset, size, chunk_size, rounded, max_order) in [
            (0, 4 * KIB, 4 * KIB, 4 * KIB, 0),
            (4 * KIB, 8 * KIB - 1, 4 * KIB, 4 * KIB, 0),
            (MIB, MIB + 12 * KIB, 4 * KIB, MIB + 12 * KIB, 8),
            (MIB, MIB + 12 * KIB, 64 * KIB, MIB, 4),
            (4 * KIB, 1 << 63, 4 * KIB, 1 << 63, 51),
            (0, u64::MAX, 4 * KIB, !(4 * KIB - 1), 51),
            #[cfg(CONFIG_64BIT)]
            (0, 1 << 63, 1 << 63, 1 << 63, 0),
        ] {
            let buddy = new(base_offset, size, chunk_size)?;
            assert_eq!(buddy.base_offset(), base_offset);
            assert_eq!(buddy.chunk_size(), align(chunk_size)?);
            assert_eq!(buddy.size(), rounded);
            assert_eq!(buddy.avail(), rounded);
            assert_eq!(buddy.clear_avail(), 0);
            assert_eq!(buddy.max_order(), max_order);
            assert!(Snapshot::new(&buddy).adds_up(chunk_size));
        }
        Ok(())
    }

    #[test]
    fn modes() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(16 * MIB)?;
        let before = Snapshot::new(&buddy);
        for (mode, expected) in [
            (Simple, BASE + 15 * MIB),
            (TopDown, BASE + 15 * MIB),
            (In(2 * MIB..10 * MIB), BASE + 2 * MIB),
        ] {
            let blocks = alloc(&buddy, mode, MIB, 4 * KIB, none)?;
            assert_eq!(blocks.contiguous_range(), Some(expected..expected + MIB));
            assert_eq!(buddy.avail(), 15 * MIB);
        }
        assert!(Snapshot::new(&buddy) == before);

        // With a hole at the bottom, only top-down splits a large block.
        let low = reserve(&buddy, 0..MIB)?;
        let rest = reserve(&buddy, 2 * MIB..8 * MIB)?;
        let blocks = alloc(&buddy, Simple, MIB, 4 * KIB, none)?;
        assert_eq!(blocks.contiguous_range(), Some(BASE + MIB..BASE + 2 * MIB));
        drop(blocks);
        let blocks = alloc(&buddy, TopDown, MIB, 4 * KIB, none)?;
        let top = BASE + 15 * MIB..BASE + 16 * MIB;
        assert_eq!(blocks.contiguous_range(), Some(top));

        drop((low, rest, blocks));
        assert!(Snapshot::new(&buddy) == before);
        Ok(())
    }

    #[test]
    fn alloc_malformed_einval() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(16 * MIB)?;
        let before = Snapshot::new(&buddy);
        let end = 16 * MIB;
        let inverted = Range { start: MIB, end: 0 };
        for flags in [none, Contiguous.into()] {
            for (mode, size, align) in [
                (Simple, 0, 4 * KIB),
                (Simple, 4 * KIB - 1, 4 * KIB),
                (Simple, 6 * KIB, 4 * KIB),
                (Simple, MIB, 2 * KIB),
                // A malformed request is not too large.
                (Simple, u64::MAX, 4 * KIB),
                (Simple, 32 * MIB, 2 * KIB),
                (In(0..MIB), 2 * MIB + 1, 4 * KIB),
                (In(0..MIB), 2 * MIB, 2 * KIB),
                // No address is a multiple of 128 MiB, although offsets from the base are.
                (Simple, MIB, 128 * MIB),
                (In(0..0), MIB, 4 * KIB),
                (In(MIB..MIB), MIB, 4 * KIB),
                (In(inverted.clone()), MIB, 4 * KIB),
                (In(0..end + 4 * KIB), MIB, 4 * KIB),
                (In(end..end + MIB), MIB, 4 * KIB),
                (In(0..!(4 * KIB - 1)), MIB, 4 * KIB),
                (In(0..u64::MAX), MIB, 4 * KIB),
                (In(1..2 * MIB), MIB, 4 * KIB),
                (In(0..2 * MIB - 1), MIB, 4 * KIB),
                // Absolute addresses.
                (In(BASE..BASE + MIB), MIB, 4 * KIB),
                (In(BASE..BASE + end), MIB, 4 * KIB),
            ] {
                let ret = alloc(&buddy, mode, size, align, flags);
                assert_eq!(ret.err(), Some(EINVAL));
            }
        }
        assert!(Snapshot::new(&buddy) == before);
        Ok(())
    }

    #[test]
    fn alloc_never_fits_e2big() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let contiguous = GpuBuddyAllocFlags::from(Contiguous);
        let buddy = buddy(16 * MIB)?;
        let before = Snapshot::new(&buddy);
        let end = 16 * MIB;
        for (mode, size, align, flags) in [
            (Simple, end + 4 * KIB, 4 * KIB, none),
            (Simple, end + 4 * KIB, 4 * KIB, contiguous),
            (Simple, end - 4 * KIB, 32 * MIB, none),
            (TopDown, 32 * MIB, 4 * KIB, none),
            (Simple, !(4 * KIB - 1), 4 * KIB, none),
            (Simple, !(4 * KIB - 1), 4 * KIB, contiguous),
            // Rounding the size up overflows.
            (Simple, !(4 * KIB - 1), 64 * MIB, none),
            (In(0..MIB), MIB + 4 * KIB, 4 * KIB, none),
            (In(0..MIB), MIB + 4 * KIB, 4 * KIB, contiguous),
            // A second block does not fit.
            (In(0..12 * KIB), 12 * KIB, 8 * KIB, none),
            // The range has no address that is aligned and far enough from its end.
            (In(4 * KIB..end), end - 4 * KIB, 8 * KIB, contiguous),
            (In(4 * KIB..end), 4 * KIB, 16 * MIB, contiguous),
            (In(2 * MIB..6 * MIB), 3 * MIB, 4 * MIB, contiguous),
            (In(4 * KIB..124 * KIB), 64 * KIB, 64 * KIB, none),
            (In(4 * KIB..128 * KIB), 68 * KIB, 64 * KIB, none),
        ] {
            let ret = alloc(&buddy, mode, size, align, flags);
            assert_eq!(ret.err(), Some(E2BIG));
        }
        assert!(Snapshot::new(&buddy) == before);
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
            let found = blocks.contiguous_range().ok_or(EINVAL)?;
            let (start, end) = (found.start - BASE, found.end - BASE);
            assert_eq!(end - start, size);
            assert!(range.start <= start && end <= range.end);
            assert_eq!(start & (align - 1), 0);
        }
        Ok(())
    }

    #[test]
    fn modes_place_blocks() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = new(0, 1 << 30, 4 * KIB)?;
        let before = Snapshot::new(&buddy);
        for mode in [Simple, TopDown] {
            let blocks = alloc(&buddy, mode, 16 * MIB, 16 * MIB, none)?;
            assert_eq!(blocks.iter().count(), 1);
            for block in &*blocks {
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
    fn flags_operators() {
        let all = [Contiguous, Clear, TrimDisable];
        let none = GpuBuddyAllocFlags::empty();
        assert_eq!(none, GpuBuddyAllocFlags::default());
        assert_eq!(usize::from(none), 0);
        assert_eq!(usize::from(!none), GpuBuddyAllocFlags::all_bits());
        for (n, a) in all.into_iter().enumerate() {
            let set = GpuBuddyAllocFlags::from(a);
            assert_eq!(usize::from(set).count_ones(), 1);
            assert_eq!(!a, !set);
            assert_eq!(!!a, set);
            assert!(!none.contains(a) && set.contains(a) && (!none).contains(a));
            assert!(!none.contains_any(set) && !set.contains_any(none));
            assert!(set.contains_all(none) && set.contains_all(set) && !none.contains_all(set));
            for (m, b) in all.into_iter().enumerate() {
                let both = a | b;
                assert_eq!(both, set | b);
                assert_eq!(both, set | GpuBuddyAllocFlags::from(b));
                assert_eq!(a & b, if n == m { set } else { none });
                assert_eq!(both & b, b.into());
                assert_eq!(a ^ b, if n == m { none } else { both });
                assert_eq!((both ^ a) | a, both);
                assert!(both.contains_any(a | b) && both.contains_all(b.into()));
                assert_eq!(set.contains_all(both), n == m);

                let mut flags = none;
                flags |= a;
                flags |= both;
                assert_eq!(flags, both);
                flags &= b;
                assert_eq!(flags, b.into());
                flags ^= both;
                assert_eq!(flags, both ^ b);
                flags ^= b;
                assert_eq!(flags, both);
                flags &= !both;
                assert_eq!(flags, none);
            }
        }
    }

    #[test]
    fn no_space() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(16 * MIB)?;
        // Each other MiB is free.
        let mut taken = reserve(&buddy, 0..MIB)?;
        for offset in (2..16).step_by(2) {
            let mut block = reserve(&buddy, offset * MIB..(offset + 1) * MIB)?;
            taken.as_mut().append(block.as_mut())?;
        }
        let before = Snapshot::new(&buddy);
        for (mode, size, align, flags) in [
            (Simple, 9 * MIB, 4 * KIB, none),
            (TopDown, 9 * MIB, 4 * KIB, none),
            (Simple, 2 * MIB, 2 * MIB, none),
            (Simple, 2 * MIB, 4 * KIB, Contiguous.into()),
            (TopDown, 2 * MIB, 4 * KIB, Contiguous.into()),
            (In(0..4 * MIB), 3 * MIB, 4 * KIB, none),
            (In(0..4 * MIB), 2 * MIB, 4 * KIB, Contiguous.into()),
            (In(0..MIB), MIB, 4 * KIB, none),
            (Simple, 16 * MIB, 4 * KIB, none),
        ] {
            let ret = alloc(&buddy, mode, size, align, flags);
            assert_eq!(ret.err(), Some(ENOSPC));
            assert!(Snapshot::new(&buddy) == before);
        }

        let rest = simple(&buddy, 8 * MIB)?;
        assert_eq!(buddy.avail(), 0);
        assert_eq!(simple(&buddy, 4 * KIB).err(), Some(ENOSPC));
        drop((rest, taken));
        assert_eq!(buddy.order_stats(buddy.max_order()).dirty_blocks, 1);
        Ok(())
    }

    #[test]
    fn alignment() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(16 * MIB)?;
        let in_range = In(0..16 * MIB);
        let _taken = reserve(&buddy, 0..4 * KIB)?;
        for size in [4 * KIB, 12 * KIB, 64 * KIB, MIB, 3 * MIB - 4 * KIB, 5 * MIB] {
            for align in [4 * KIB, 64 * KIB, MIB, 2 * MIB] {
                for (flags, mode) in [
                    (none, Simple),
                    (none, in_range.clone()),
                    (Contiguous.into(), Simple),
                    (Contiguous.into(), in_range.clone()),
                ] {
                    let blocks = alloc(&buddy, mode, size, align, flags)?;
                    assert_eq!(blocks.total_size(), size);
                    let first = blocks.iter().map(|block| block.offset()).min();
                    assert!(first.is_some_and(|offset| offset & (align - 1) == 0));
                    for block in &*blocks {
                        assert_eq!(block.offset() & (block.size() - 1), 0);
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn whole_range() -> Result {
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
            // The start is aligned, and no more is asked for.
            (Simple, MIB, contiguous, None),
            (TopDown, MIB, contiguous, None),
            (In(all.clone()), MIB, contiguous, None),
        ] {
            match alloc(&buddy, mode, size, align, flags) {
                Ok(blocks) => {
                    assert_eq!(err, None);
                    assert_eq!(blocks.contiguous_range(), Some(BASE..BASE + size));
                    assert_eq!(buddy.avail(), 0);
                }
                Err(e) => assert_eq!(err, Some(e)),
            }
            assert_eq!(buddy.avail(), size);
        }
        Ok(())
    }

    /// Contiguous memory that fills its range is allocated as it is, with its smaller blocks.
    #[test]
    fn contiguous_whole_range_stays_clear() -> Result {
        let buddy = buddy(12 * KIB)?;
        for mode in [Simple, TopDown, In(0..12 * KIB)] {
            let mut all = reserve(&buddy, 0..12 * KIB)?;
            all.as_mut().free_cleared();
            assert_eq!(buddy.clear_avail(), 12 * KIB);

            let blocks = alloc(&buddy, mode, 12 * KIB, 8 * KIB, Contiguous | Clear)?;
            assert!(blocks.iter().all(|block| block.is_clear()));
        }
        Ok(())
    }

    /// Only blocks that are too small are joined, and become dirty.
    #[test]
    fn exact_range_stays_clear() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(MIB)?;
        reserve(&buddy, 64 * KIB..128 * KIB)?
            .as_mut()
            .free_cleared();
        mottle(&buddy, 128 * KIB..192 * KIB)?;
        let range = In(64 * KIB..256 * KIB);
        let blocks = alloc(&buddy, range, 192 * KIB, 64 * KIB, none)?;
        let is_clear = blocks.iter().map(|block| (block.size(), block.is_clear()));
        assert!(is_clear.eq([(64 * KIB, true), (64 * KIB, false), (64 * KIB, false)]));
        assert_eq!(buddy.clear_avail(), 0);
        Ok(())
    }

    #[test]
    fn blocks_are_not_too_small_for_clear_neighbors() -> Result {
        let none = GpuBuddyAllocFlags::default();
        for flags in [none, Clear.into()] {
            for (offset, mode, size) in [
                (0, Simple, MIB),
                (0, TopDown, MIB),
                (256 * KIB, In(256 * KIB..512 * KIB), 256 * KIB),
                (256 * KIB, In(256 * KIB..512 * KIB), 128 * KIB),
            ] {
                let buddy = buddy(MIB)?;
                mottle(&buddy, offset..offset + size)?;
                assert_eq!(buddy.clear_avail(), size / 2);

                let blocks = alloc(&buddy, mode, size, 64 * KIB, flags)?;
                assert_eq!(blocks.total_size(), size);
                assert!(blocks.iter().all(|block| block.size() >= 64 * KIB));
                drop(blocks);
                assert!(Snapshot::new(&buddy).adds_up(4 * KIB));
            }
        }
        Ok(())
    }

    // An `Alignment` is a `usize`.
    #[cfg(CONFIG_64BIT)]
    #[test]
    fn largest_allocator() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = new(0, u64::MAX, 4 * KIB)?;
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
            assert_eq!(blocks.total_size(), size);
            assert!(blocks.contiguous_range().is_some());
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
    fn trim_disable() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(16 * MIB)?;
        for (size, align, flags, total) in [
            (12 * KIB, 16 * KIB, none, 12 * KIB),
            (12 * KIB, 16 * KIB, TrimDisable.into(), 16 * KIB),
            (20 * KIB, 4 * KIB, Contiguous.into(), 20 * KIB),
            (20 * KIB, 4 * KIB, Contiguous | TrimDisable, 32 * KIB),
        ] {
            let blocks = alloc(&buddy, Simple, size, align, flags)?;
            assert_eq!(blocks.total_size(), total);
            assert_eq!(buddy.avail(), 16 * MIB - total);
        }
        Ok(())
    }

    #[test]
    fn contiguous_around_what_is_taken() -> Result {
        let buddy = buddy(16 * MIB)?;
        let _low = reserve(&buddy, 0..5 * MIB)?;
        let _middle = reserve(&buddy, 10 * MIB..11 * MIB)?;
        let _high = reserve(&buddy, 15 * MIB..16 * MIB)?;
        // No block of 8 MiB is free, but these 5 MiB are, in blocks of at most 2 MiB.
        let blocks = alloc(&buddy, Simple, 5 * MIB, MIB, Contiguous)?;
        let expected = BASE + 5 * MIB..BASE + 10 * MIB;
        assert_eq!(blocks.contiguous_range(), Some(expected));
        assert_eq!(blocks.total_size(), 5 * MIB);
        Ok(())
    }
}

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
        let range = BASE + 2 * MIB..BASE + 10 * MIB;
        for (mode, expected) in [
            (Simple, BASE + 15 * MIB),
            (TopDown, BASE + 15 * MIB),
            (In(range.clone()), range.start),
        ] {
            let blocks = alloc(&buddy, mode, MIB, 4 * KIB, none)?;
            assert_eq!(blocks.contiguous_range(), Some(expected..expected + MIB));
            assert_eq!(buddy.avail(), 15 * MIB);
        }
        assert!(Snapshot::new(&buddy) == before);

        // With a hole at the bottom, only top-down splits what is large.
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
    fn requests_that_cannot_be_met() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(16 * MIB)?;
        let before = Snapshot::new(&buddy);
        let end = BASE + 16 * MIB;
        let inverted = Range {
            start: BASE + MIB,
            end: BASE,
        };
        for (mode, size, align, flags) in [
            (Simple, 0, 4 * KIB, none),
            (Simple, 4 * KIB - 1, 4 * KIB, none),
            (Simple, 6 * KIB, 4 * KIB, none),
            (Simple, MIB, 2 * KIB, none),
            (Simple, 16 * MIB + 4 * KIB, 4 * KIB, none),
            (Simple, 16 * MIB + 4 * KIB, 4 * KIB, Contiguous.into()),
            (Simple, 16 * MIB - 4 * KIB, 32 * MIB, none),
            (TopDown, 32 * MIB, 4 * KIB, none),
            (Simple, u64::MAX, 4 * KIB, none),
            #[cfg(CONFIG_64BIT)]
            (Simple, !(4 * KIB - 1), 1 << 63, none),
            // No address is a multiple of 128 MiB, although offsets from the base are.
            (Simple, MIB, 128 * MIB, none),
            (Simple, MIB, 128 * MIB, Contiguous.into()),
            (In(BASE..BASE), MIB, 4 * KIB, none),
            (In(inverted), MIB, 4 * KIB, none),
            (In(0..MIB), MIB, 4 * KIB, none),
            (In(BASE - 4 * KIB..BASE + MIB), MIB, 4 * KIB, none),
            (In(BASE..end + 4 * KIB), MIB, 4 * KIB, none),
            (In(end..end + MIB), MIB, 4 * KIB, none),
            (In(BASE..u64::MAX), MIB, 4 * KIB, none),
            (In(BASE + 1..BASE + 2 * MIB), MIB, 4 * KIB, none),
            (In(BASE..BASE + 2 * MIB - 1), MIB, 4 * KIB, none),
            (In(BASE..BASE + MIB), MIB + 4 * KIB, 4 * KIB, none),
            (In(BASE..BASE + 12 * KIB), 12 * KIB, 8 * KIB, none),
            (
                In(BASE + 4 * KIB..end),
                16 * MIB - 4 * KIB,
                8 * KIB,
                Contiguous.into(),
            ),
        ] {
            let ret = alloc(&buddy, mode, size, align, flags);
            assert_eq!(ret.err(), Some(EINVAL));
        }
        assert!(Snapshot::new(&buddy) == before);
        Ok(())
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
            (In(BASE..BASE + 4 * MIB), 3 * MIB, 4 * KIB, none),
            (
                In(BASE..BASE + 4 * MIB),
                2 * MIB,
                4 * KIB,
                Contiguous.into(),
            ),
            (In(BASE..BASE + MIB), MIB, 4 * KIB, none),
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
        let in_range = In(BASE..BASE + 16 * MIB);
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
        let all = BASE..BASE + size;
        let contiguous = GpuBuddyAllocFlags::from(Contiguous);
        for (mode, align, flags, err) in [
            (Simple, 4 * KIB, none, None),
            (TopDown, 4 * KIB, none, None),
            (In(all.clone()), 4 * KIB, none, None),
            (Simple, 4 * KIB, contiguous, None),
            (Simple, 4 * KIB, Clear.into(), None),
            (Simple, 8 * KIB, none, Some(EINVAL)),
            (In(all.clone()), 8 * KIB, none, Some(EINVAL)),
            // The start is aligned, and no more is asked for.
            (Simple, MIB, contiguous, None),
            (TopDown, MIB, contiguous, None),
            (In(all.clone()), MIB, contiguous, None),
        ] {
            match alloc(&buddy, mode, size, align, flags) {
                Ok(blocks) => {
                    assert_eq!(err, None);
                    assert_eq!(blocks.contiguous_range(), Some(all.clone()));
                    assert_eq!(buddy.avail(), 0);
                }
                Err(e) => assert_eq!(err, Some(e)),
            }
            assert_eq!(buddy.avail(), size);
        }
        Ok(())
    }

    #[test]
    fn blocks_are_not_too_small_for_clear_neighbours() -> Result {
        let none = GpuBuddyAllocFlags::default();
        for flags in [none, Clear.into()] {
            for (offset, mode, size) in [
                (0, Simple, MIB),
                (0, TopDown, MIB),
                (256 * KIB, In(BASE + 256 * KIB..BASE + 512 * KIB), 256 * KIB),
                (256 * KIB, In(BASE + 256 * KIB..BASE + 512 * KIB), 128 * KIB),
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

    #[test]
    fn what_never_fits_into_a_range() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let contiguous = GpuBuddyAllocFlags::from(Contiguous);
        let buddy = buddy(16 * MIB)?;
        for (range, size, align, flags, err) in [
            // The single block would be 4 MiB.
            (
                0..3 * MIB + 512 * KIB,
                3 * MIB,
                4 * KIB,
                contiguous,
                Some(EINVAL),
            ),
            (0..4 * MIB, 3 * MIB, 4 * KIB, contiguous, None),
            // It would have to start at 4 MiB.
            (2 * MIB..7 * MIB, 4 * MIB, 4 * KIB, contiguous, Some(EINVAL)),
            (2 * MIB..8 * MIB, 4 * MIB, 4 * KIB, contiguous, None),
            (2 * MIB..7 * MIB, MIB, 4 * MIB, contiguous, Some(EINVAL)),
            (2 * MIB..8 * MIB, MIB, 4 * MIB, contiguous, None),
            // No aligned block lies in the range.
            (4 * KIB..124 * KIB, 64 * KIB, 64 * KIB, none, Some(EINVAL)),
            (4 * KIB..128 * KIB, 64 * KIB, 64 * KIB, none, None),
            (4 * KIB..128 * KIB, 68 * KIB, 64 * KIB, none, Some(EINVAL)),
        ] {
            let mode = In(BASE + range.start..BASE + range.end);
            assert_eq!(alloc(&buddy, mode, size, align, flags).err(), err);
        }
        Ok(())
    }

    // An `Alignment` is no more than a `usize`.
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
        // To round these up to their alignment is more than there is, or more than there can be.
        for align in [16 << 40, half] {
            let ret = alloc(&buddy, Simple, buddy.size(), align, none);
            assert_eq!(ret.err(), Some(EINVAL));
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

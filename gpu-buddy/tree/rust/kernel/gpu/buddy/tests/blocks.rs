// SPDX-License-Identifier: GPL-2.0

//! Tests of allocations, and of the free memory.

#[macros::kunit_tests(rust_gpu_buddy_blocks)]
mod suite {
    use super::super::*;
    use GpuBuddyAllocFlag::Clear;
    use GpuBuddyAllocMode::{
        Simple,
        TopDown, //
    };

    #[test]
    fn clear_is_a_preference() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(16 * MIB)?;
        let mut blocks = reserve(&buddy, MIB..3 * MIB)?;
        blocks.as_mut().free_cleared();
        assert_eq!(buddy.clear_avail(), 2 * MIB);

        let clear = alloc(&buddy, Simple, MIB, MIB, Clear)?;
        assert!(clear.iter().all(|block| block.is_clear()));
        assert_eq!(buddy.clear_avail(), MIB);
        let dirty = alloc(&buddy, Simple, MIB, MIB, none)?;
        assert!(dirty.iter().all(|block| !block.is_clear()));
        assert_eq!(buddy.clear_avail(), MIB);

        // There is not as much of either as is asked for.
        let both = alloc(&buddy, Simple, 14 * MIB, MIB, Clear)?;
        let clear_size = |blocks: &Blocks| -> u64 {
            let clear = blocks.iter().filter(|block| block.is_clear());
            clear.map(|block| block.size()).sum()
        };
        assert_eq!(clear_size(&both), MIB);
        drop(both);
        assert_eq!(buddy.clear_avail(), 0);
        drop((clear, dirty));
        assert_eq!(buddy.order_stats(buddy.max_order()).dirty_blocks, 1);
        Ok(())
    }

    #[test]
    fn clear_pages_from_top() -> Result {
        let buddy = buddy(MIB)?;
        let page = || alloc(&buddy, TopDown, 4 * KIB, 4 * KIB, Clear);
        let top = |n: u64| Some(BASE + MIB - n * 4 * KIB..BASE + MIB - (n - 1) * 4 * KIB);
        // The smallest free block is at the bottom.
        let _low = reserve(&buddy, 0..4 * KIB)?;

        // Nothing is clear yet.
        let mut first = page()?;
        assert_eq!(first.contiguous_range(), top(1));
        let mut second = page()?;
        assert_eq!(second.contiguous_range(), top(2));
        assert!(second.iter().all(|block| !block.is_clear()));

        // The clear page is preferred, although a dirty one is higher.
        second.as_mut().free_cleared();
        drop(first);
        assert_eq!(buddy.clear_avail(), 4 * KIB);
        first = page()?;
        assert_eq!(first.contiguous_range(), top(2));
        assert!(first.iter().all(|block| block.is_clear()));
        assert_eq!(buddy.clear_avail(), 0);

        // It may have been written to, so dropping it frees it as dirty memory.
        drop(first);
        assert_eq!(buddy.clear_avail(), 0);
        assert_eq!(page()?.contiguous_range(), top(1));
        Ok(())
    }

    #[test]
    fn iteration() -> Result {
        let buddy = buddy(16 * MIB)?;
        let blocks = reserve(&buddy, MIB..8 * MIB)?;
        let offsets = [MIB, 2 * MIB, 4 * MIB].map(|offset| BASE + offset);
        assert!(blocks.iter().map(|block| block.offset()).eq(offsets));
        let back = blocks.iter().rev().map(|block| block.offset());
        assert!(back.eq(offsets.into_iter().rev()));
        assert!(blocks.iter().map(|block| block.order()).eq([8, 9, 10]));

        let mut iter = blocks.iter();
        iter.next();
        let copy = iter.clone();
        iter.next_back();
        iter.next();
        for _ in 0..2 {
            assert!(iter.next().is_none());
            assert!(iter.next_back().is_none());
        }
        assert_eq!(copy.count(), 2);

        let mut total = 0;
        for block in &*blocks {
            total += block.size();
        }
        assert_eq!(total, blocks.total_size());
        assert!(!blocks.is_empty());
        Ok(())
    }

    #[test]
    fn contiguous_range() -> Result {
        let buddy = buddy(16 * MIB)?;
        let mut blocks = reserve(&buddy, 4 * MIB..5 * MIB)?;
        // Leave a gap, fill it, and go on before it.
        for (offset, range) in [
            (7, None),
            (6, None),
            (5, Some(4..8)),
            (3, Some(3..8)),
            (0, None),
        ] {
            let mut more = reserve(&buddy, offset * MIB..(offset + 1) * MIB)?;
            blocks.as_mut().append(more.as_mut())?;
            let expected = range.map(|range| BASE + range.start * MIB..BASE + range.end * MIB);
            assert_eq!(blocks.contiguous_range(), expected);
        }
        blocks.as_mut().free_cleared();
        assert_eq!(blocks.contiguous_range(), None);
        assert_eq!(blocks.total_size(), 0);
        assert!(blocks.iter().next().is_none());
        Ok(())
    }

    #[test]
    fn fixed_ranges() -> Result {
        let buddy = buddy(MIB)?;
        let before = Snapshot::new(&buddy);
        for start in (0..128 * KIB).step_by(4096) {
            for end in (start + 4 * KIB..=128 * KIB).step_by(4096) {
                let blocks = reserve(&buddy, start..end)?;
                assert_eq!(blocks.contiguous_range(), Some(BASE + start..BASE + end));
                assert_eq!(reserve(&buddy, start..end).err(), Some(ENOSPC));
                let ret = reserve(&buddy, end - 4 * KIB..end + 4 * KIB);
                assert_eq!(ret.err(), Some(ENOSPC));
                drop(blocks);
                assert!(Snapshot::new(&buddy) == before);
            }
        }
        for range in [
            0..0,
            MIB..MIB,
            Range {
                start: 8 * KIB,
                end: 4 * KIB,
            },
            0..MIB + 4096,
            0..2048,
            2048..4096,
        ] {
            assert_eq!(reserve(&buddy, range).err(), Some(EINVAL));
        }
        Ok(())
    }

    #[test]
    fn reset_clear() -> Result {
        let buddy = buddy(MIB)?;
        let taken = reserve(&buddy, 0..4 * KIB)?;
        mottle(&buddy, 512 * KIB..MIB)?;
        for is_clear in [true, false, true] {
            buddy.reset_clear(is_clear);
            assert_eq!(buddy.avail(), MIB - 4 * KIB);
            assert_eq!(
                buddy.clear_avail(),
                if is_clear { MIB - 4 * KIB } else { 0 }
            );
            assert!(Snapshot::new(&buddy).adds_up(4 * KIB));
            // All that can be merged is: there is one block of each order.
            for order in 0..8 {
                let stats = buddy.order_stats(order);
                assert_eq!(stats.clear_blocks + stats.dirty_blocks, 1);
            }
        }
        assert!(taken.iter().all(|block| !block.is_clear()));
        Ok(())
    }

    #[test]
    fn blocks_keep_the_allocator() -> Result {
        fn shared_between_threads<T: Send + Sync>(_: &T) {}

        let buddy = buddy(MIB)?;
        shared_between_threads(&buddy);
        let other = buddy.clone();
        let blocks = simple(&buddy, 64 * KIB)?;
        shared_between_threads(&*blocks);
        drop(buddy);
        assert_eq!(other.avail(), MIB - 64 * KIB);
        drop(other);
        assert_eq!(
            blocks.contiguous_range(),
            Some(BASE + MIB - 64 * KIB..BASE + MIB)
        );
        Ok(())
    }
}

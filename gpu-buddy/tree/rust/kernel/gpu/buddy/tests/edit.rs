// SPDX-License-Identifier: GPL-2.0

//! Tests of trimming, splitting, joining and freeing allocations in part.

#[macros::kunit_tests(rust_gpu_buddy_edit)]
mod suite {
    use super::super::*;

    /// Returns the absolute address of the 4 KiB chunk with this number.
    fn chunk(number: u64) -> u64 {
        BASE + number * 4 * KIB
    }

    #[test]
    fn trim_to_each_range() -> Result {
        let buddy = buddy(MIB)?;
        let before = Snapshot::new(&buddy);
        for start in 16..32 {
            for end in start + 1..=32 {
                let mut blocks = reserve(&buddy, 64 * KIB..128 * KIB)?;
                blocks.as_mut().trim(chunk(start)..chunk(end))?;
                assert_eq!(blocks.contiguous_range(), Some(chunk(start)..chunk(end)));
                assert_eq!(buddy.avail(), MIB - (end - start) * 4 * KIB);
                let ascending = |pair: (AllocatedBlock<'_>, AllocatedBlock<'_>)| {
                    pair.0.offset() < pair.1.offset()
                };
                assert!(blocks.iter().zip(blocks.iter().skip(1)).all(ascending));
                drop(blocks);
                assert!(Snapshot::new(&buddy) == before);
            }
        }
        Ok(())
    }

    #[test]
    fn trim_rejects() -> Result {
        let buddy = buddy(MIB)?;
        let mut blocks = reserve(&buddy, 64 * KIB..128 * KIB)?;
        let before = Snapshot::new(&buddy);
        for range in [
            chunk(16)..chunk(16),
            chunk(17)..chunk(16),
            chunk(15)..chunk(17),
            chunk(15)..chunk(31),
            chunk(17)..chunk(33),
            chunk(15)..chunk(33),
            chunk(16)..chunk(17) - 1,
            chunk(16) + 2048..chunk(17) + 2048,
            0..chunk(20),
            chunk(16)..u64::MAX,
        ] {
            assert_eq!(blocks.as_mut().trim(range), Err(EINVAL));
            assert_eq!(blocks.contiguous_range(), Some(chunk(16)..chunk(32)));
            assert!(Snapshot::new(&buddy) == before);
        }

        // There has to be exactly one block.
        let mut other = reserve(&buddy, 0..4 * KIB)?;
        blocks.as_mut().append(other.as_mut())?;
        assert_eq!(blocks.as_mut().trim(chunk(16)..chunk(17)), Err(EINVAL));
        assert_eq!(other.as_mut().trim(chunk(0)..chunk(1)), Err(EINVAL));
        assert_eq!(blocks.total_size(), 68 * KIB);
        Ok(())
    }

    #[test]
    fn what_is_cut_off_is_dirty() -> Result {
        let buddy = buddy(MIB)?;
        buddy.reset_clear(true);
        let mut blocks = reserve(&buddy, 64 * KIB..128 * KIB)?;
        assert_eq!(buddy.clear_avail(), MIB - 64 * KIB);
        blocks.as_mut().trim(chunk(16)..chunk(19))?;
        assert_eq!(buddy.clear_avail(), MIB - 64 * KIB);
        assert!(blocks.iter().all(|block| block.is_clear()));

        blocks.as_mut().shrink(4 * KIB)?;
        assert_eq!(buddy.clear_avail(), MIB - 64 * KIB);
        assert!(blocks.iter().all(|block| block.is_clear()));
        assert!(Snapshot::new(&buddy).adds_up(4 * KIB));
        drop(blocks);

        // One that fails does not change it either.
        let mut blocks = reserve(&buddy, 512 * KIB..576 * KIB)?;
        let before = Snapshot::new(&buddy);
        assert_eq!(blocks.as_mut().shrink(2 * KIB), Err(EINVAL));
        assert!(blocks.iter().all(|block| block.is_clear()));
        assert!(Snapshot::new(&buddy) == before);
        Ok(())
    }

    #[test]
    fn shrink_to_each_size() -> Result {
        let buddy = buddy(MIB)?;
        let before = Snapshot::new(&buddy);
        for chunks in 0..=28 {
            // 16 KiB, 32 KiB and 64 KiB.
            let mut blocks = reserve(&buddy, 16 * KIB..128 * KIB)?;
            blocks.as_mut().shrink(chunks * 4 * KIB)?;
            let expected = (chunks > 0).then(|| chunk(4)..chunk(4 + chunks));
            assert_eq!(blocks.contiguous_range(), expected);
            assert_eq!(buddy.avail(), MIB - chunks * 4 * KIB);
            drop(blocks);
            assert!(Snapshot::new(&buddy) == before);
        }

        // In the order of the list, not of the addresses.
        let mut blocks = reserve(&buddy, 64 * KIB..128 * KIB)?;
        let mut low = reserve(&buddy, 0..64 * KIB)?;
        blocks.as_mut().append(low.as_mut())?;
        blocks.as_mut().shrink(68 * KIB)?;
        let expected = [(chunk(16), 64 * KIB), (chunk(0), 4 * KIB)];
        let kept = blocks.iter().map(|block| (block.offset(), block.size()));
        assert!(kept.eq(expected));
        Ok(())
    }

    #[test]
    fn shrink_rejects() -> Result {
        let buddy = buddy(MIB)?;
        let mut blocks = reserve(&buddy, 16 * KIB..128 * KIB)?;
        let before = Snapshot::new(&buddy);
        for size in [
            112 * KIB + 4096,
            u64::MAX,
            1,
            2 * KIB,
            66 * KIB,
            112 * KIB - 1,
        ] {
            assert_eq!(blocks.as_mut().shrink(size), Err(EINVAL));
            let orders = blocks.iter().map(|block| block.order());
            assert!(orders.eq([2, 3, 4]));
            assert_eq!(blocks.contiguous_range(), Some(chunk(4)..chunk(32)));
            assert!(Snapshot::new(&buddy) == before);
        }
        Ok(())
    }

    #[test]
    fn split_and_append() -> Result {
        let buddy = buddy(MIB)?;
        let mut blocks = reserve(&buddy, 16 * KIB..128 * KIB)?;
        let before = Snapshot::new(&buddy);
        for at in 0..=3 {
            let mut tail = KBox::pin_init(blocks.as_mut().split_off(at), GFP_KERNEL)?;
            assert_eq!(blocks.iter().count(), at);
            assert!(tail.iter().map(|block| block.order()).eq((2..5).skip(at)));
            blocks.as_mut().append(tail.as_mut())?;
            assert!(tail.is_empty());
            assert!(blocks.iter().map(|block| block.order()).eq(2..5));
            blocks.as_mut().append(tail.as_mut())?;
        }
        let ret = KBox::pin_init(blocks.as_mut().split_off(4), GFP_KERNEL);
        assert_eq!(ret.err(), Some(EINVAL));
        assert_eq!(blocks.iter().count(), 3);
        assert!(Snapshot::new(&buddy) == before);

        let tail = KBox::pin_init(blocks.as_mut().split_off(1), GFP_KERNEL)?;
        drop(tail);
        assert_eq!(buddy.avail(), MIB - 16 * KIB);
        Ok(())
    }

    #[test]
    fn append_takes_nothing_from_another_allocator() -> Result {
        let (one, two) = (buddy(MIB)?, buddy(MIB)?);
        let mut blocks = simple(&one, 4 * KIB)?;
        let mut others = simple(&two, 8 * KIB)?;
        assert_eq!(blocks.as_mut().append(others.as_mut()), Err(EINVAL));
        assert_eq!(blocks.total_size(), 4 * KIB);
        assert_eq!(others.total_size(), 8 * KIB);
        drop((blocks, others));
        assert_eq!((one.avail(), two.avail()), (MIB, MIB));
        Ok(())
    }

    #[test]
    fn single_blocks() -> Result {
        let buddy = buddy(MIB)?;
        for (offset, rest) in [(4, [3, 4]), (8, [2, 4]), (16, [2, 3])] {
            let mut blocks = reserve(&buddy, 16 * KIB..128 * KIB)?;
            let block = KBox::pin_init(blocks.as_mut().take_block(chunk(offset)), GFP_KERNEL)?;
            assert_eq!(block.iter().count(), 1);
            assert!(block.iter().all(|block| block.offset() == chunk(offset)));
            assert!(blocks.iter().map(|block| block.order()).eq(rest));
            assert_eq!(buddy.avail(), MIB - 112 * KIB);
            drop(block);
            assert_eq!(buddy.avail(), MIB - blocks.total_size());

            // It is no longer on the list, and no block starts in the middle of another.
            for offset in [chunk(offset), chunk(5), chunk(17), 0, u64::MAX] {
                assert_eq!(blocks.as_mut().free_block(offset), Err(ENOENT));
                assert!(blocks.iter().map(|block| block.order()).eq(rest));
            }
            let last = blocks.iter().next_back().map(|block| block.offset());
            blocks.as_mut().free_block(last.ok_or(EINVAL)?)?;
            assert_eq!(blocks.iter().count(), 1);
        }
        assert_eq!(buddy.avail(), MIB);
        Ok(())
    }

    #[test]
    fn free_cleared() -> Result {
        let buddy = buddy(MIB)?;
        let mut blocks = reserve(&buddy, 16 * KIB..128 * KIB)?;
        blocks.as_mut().free_cleared();
        assert!(blocks.is_empty());
        assert_eq!((buddy.avail(), buddy.clear_avail()), (MIB, 112 * KIB));
        blocks.as_mut().free_cleared();
        assert_eq!((buddy.avail(), buddy.clear_avail()), (MIB, 112 * KIB));
        assert!(Snapshot::new(&buddy).adds_up(4 * KIB));
        drop(blocks);

        // Clear memory is dirty after use, unless the owner has cleared it.
        drop(reserve(&buddy, 16 * KIB..32 * KIB)?);
        assert_eq!(buddy.clear_avail(), 96 * KIB);
        reserve(&buddy, 32 * KIB..64 * KIB)?.as_mut().free_cleared();
        assert_eq!(buddy.clear_avail(), 96 * KIB);
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of cleared memory.

use super::{
    alloc::{
        alloc,
        occupy,
        Blocks, //
    },
    place::{
        range_of,
        total_size, //
    },
    *, //
};
use core::ops::Range;

/// Returns the number of bytes that are free and known to be cleared.
fn clear_avail(buddy: &GpuBuddy) -> u64 {
    Snapshot::new(buddy).clear_avail
}

/// Makes every other of the 4 KiB chunks of `range` free and clear, the rest free and dirty.
fn alternate(buddy: &GpuBuddy, range: Range<u64>) -> Result {
    for offset in range.step_by(8 << 10) {
        let mut clear = occupy(buddy, offset..offset + 4 * KIB)?;
        let dirty = occupy(buddy, offset + 4 * KIB..offset + 8 * KIB)?;
        clear.as_mut().free_cleared();
        drop(dirty);
    }
    Ok(())
}

#[macros::kunit_tests(rust_gpu_buddy_clear)]
mod suite {
    use super::*;
    use GpuBuddyAllocFlag::{
        Clear,
        Contiguous, //
    };
    use GpuBuddyAllocMode::{
        Range as In,
        Simple,
        TopDown, //
    };

    #[test]
    fn free_cleared_counts_as_clear() -> Result {
        let buddy = buddy(MIB)?;
        let mut blocks = occupy(&buddy, 16 * KIB..128 * KIB)?;
        blocks.as_mut().free_cleared();
        assert!(blocks.is_empty());
        assert_eq!((buddy.avail(), clear_avail(&buddy)), (MIB, 112 * KIB));
        blocks.as_mut().free_cleared();
        assert_eq!((buddy.avail(), clear_avail(&buddy)), (MIB, 112 * KIB));
        assert!(Snapshot::new(&buddy).adds_up(4 * KIB));
        drop(blocks);

        // Clear memory is dirty after use, unless the owner has cleared it.
        drop(occupy(&buddy, 16 * KIB..32 * KIB)?);
        assert_eq!(clear_avail(&buddy), 96 * KIB);
        occupy(&buddy, 32 * KIB..64 * KIB)?.as_mut().free_cleared();
        assert_eq!(clear_avail(&buddy), 96 * KIB);
        Ok(())
    }

    #[test]
    fn clear_flag_is_preference() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(16 * MIB)?;
        let before = Snapshot::new(&buddy);
        occupy(&buddy, MIB..3 * MIB)?.as_mut().free_cleared();
        assert_eq!(clear_avail(&buddy), 2 * MIB);

        let clear = alloc(&buddy, Simple, MIB, MIB, Clear)?;
        assert!(clear.iter().all(|block| block.is_clear()));
        assert_eq!(clear_avail(&buddy), MIB);
        let dirty = alloc(&buddy, Simple, MIB, MIB, none)?;
        assert!(dirty.iter().all(|block| !block.is_clear()));
        assert_eq!(clear_avail(&buddy), MIB);

        // Neither kind alone has enough free memory.
        let both = alloc(&buddy, Simple, 14 * MIB, MIB, Clear)?;
        let clear_size = |blocks: &Blocks| -> u64 {
            let clear = blocks.iter().filter(|block| block.is_clear());
            clear.map(|block| block.size()).sum()
        };
        assert_eq!(clear_size(&both), MIB);
        drop(both);
        assert_eq!(clear_avail(&buddy), 0);
        drop((clear, dirty));
        assert!(Snapshot::new(&buddy) == before);
        Ok(())
    }

    #[test]
    fn clear_pages_from_top() -> Result {
        let buddy = buddy(MIB)?;
        let page = || alloc(&buddy, TopDown, 4 * KIB, 4 * KIB, Clear);
        let top = |n: u64| Some(MIB - n * 4 * KIB..MIB - (n - 1) * 4 * KIB);
        // The smallest free block is at the bottom.
        let _low = occupy(&buddy, 0..4 * KIB)?;

        // Nothing is clear yet.
        let mut first = page()?;
        assert_eq!(range_of(&first), top(1));
        let mut second = page()?;
        assert_eq!(range_of(&second), top(2));
        assert!(second.iter().all(|block| !block.is_clear()));

        // The clear page is preferred, although a dirty one is higher.
        second.as_mut().free_cleared();
        drop(first);
        assert_eq!(clear_avail(&buddy), 4 * KIB);
        first = page()?;
        assert_eq!(range_of(&first), top(2));
        assert!(first.iter().all(|block| block.is_clear()));
        assert_eq!(clear_avail(&buddy), 0);

        // It may have been written to, so dropping it frees it as dirty memory.
        drop(first);
        assert_eq!(clear_avail(&buddy), 0);
        assert_eq!(range_of(&*page()?), top(1));
        Ok(())
    }

    /// A contiguous request that fills its range gets the smaller blocks without merging them.
    #[test]
    fn contiguous_whole_range_stays_clear() -> Result {
        let buddy = buddy(12 * KIB)?;
        for mode in [Simple, TopDown, In(0..12 * KIB)] {
            occupy(&buddy, 0..12 * KIB)?.as_mut().free_cleared();
            assert_eq!(clear_avail(&buddy), 12 * KIB);

            let blocks = alloc(&buddy, mode, 12 * KIB, 8 * KIB, Contiguous | Clear)?;
            assert!(blocks.iter().all(|block| block.is_clear()));
        }
        Ok(())
    }

    /// Only blocks that are too small are merged, and become dirty.
    #[test]
    fn exact_range_stays_clear() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let buddy = buddy(MIB)?;
        occupy(&buddy, 64 * KIB..128 * KIB)?.as_mut().free_cleared();
        alternate(&buddy, 128 * KIB..192 * KIB)?;
        let range = In(64 * KIB..256 * KIB);
        let blocks = alloc(&buddy, range, 192 * KIB, 64 * KIB, none)?;
        let is_clear = blocks.iter().map(|block| (block.size(), block.is_clear()));
        assert!(is_clear.eq([(64 * KIB, true), (64 * KIB, false), (64 * KIB, false)]));
        assert_eq!(clear_avail(&buddy), 0);
        Ok(())
    }

    #[test]
    fn alternating_clear_blocks_large_enough() -> Result {
        let none = GpuBuddyAllocFlags::default();
        for flags in [none, Clear.into()] {
            for (offset, mode, size) in [
                (0, Simple, MIB),
                (0, TopDown, MIB),
                (256 * KIB, In(256 * KIB..512 * KIB), 256 * KIB),
                (256 * KIB, In(256 * KIB..512 * KIB), 128 * KIB),
            ] {
                let buddy = buddy(MIB)?;
                alternate(&buddy, offset..offset + size)?;
                assert_eq!(clear_avail(&buddy), size / 2);

                let blocks = alloc(&buddy, mode, size, 64 * KIB, flags)?;
                assert_eq!(total_size(&blocks), size);
                assert!(blocks.iter().all(|block| block.size() >= 64 * KIB));
                drop(blocks);
                assert!(Snapshot::new(&buddy).adds_up(4 * KIB));
            }
        }
        Ok(())
    }
}

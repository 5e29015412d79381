// SPDX-License-Identifier: GPL-2.0

//! Tests of reserving ranges and joining allocations.

use super::{
    alloc::Blocks,
    place::range_of,
    *, //
};
use core::ops::Range;

fn reserve(buddy: &GpuBuddy, range: Range<u64>) -> Result<Blocks> {
    KBox::pin_init(buddy.reserve(range), GFP_KERNEL)
}

#[macros::kunit_tests(rust_gpu_buddy_reserve)]
mod suite {
    use super::*;

    #[test]
    fn reserve_each_range() -> Result {
        let buddy = buddy(MIB)?;
        let before = Snapshot::new(&buddy);
        for start in (0..128 * KIB).step_by(4096) {
            for end in (start + 4 * KIB..=128 * KIB).step_by(4096) {
                let blocks = reserve(&buddy, start..end)?;
                assert_eq!(range_of(&blocks), Some(start..end));
                let next = blocks.iter().skip(1).map(|block| block.offset());
                assert!(blocks
                    .iter()
                    .zip(next)
                    .all(|(block, next)| block.offset() < next));
                assert_eq!(reserve(&buddy, start..end).err(), Some(ENOSPC));
                let ret = reserve(&buddy, end - 4 * KIB..end + 4 * KIB);
                assert_eq!(ret.err(), Some(ENOSPC));
                drop(blocks);
                assert!(Snapshot::new(&buddy) == before);
            }
        }
        Ok(())
    }

    #[test]
    fn reserve_malformed_einval() -> Result {
        let buddy = buddy(MIB)?;
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
            // Absolute addresses.
            BASE..BASE + 4096,
        ] {
            assert_eq!(reserve(&buddy, range).err(), Some(EINVAL));
        }
        assert_eq!(buddy.avail(), MIB);
        Ok(())
    }

    #[test]
    fn append_keeps_order() -> Result {
        let buddy = buddy(MIB)?;
        let mut blocks = reserve(&buddy, 64 * KIB..128 * KIB)?;
        let mut more = reserve(&buddy, 16 * KIB..64 * KIB)?;
        blocks.as_mut().append(more.as_mut())?;
        let offsets = [64 * KIB, 16 * KIB, 32 * KIB].map(|offset| BASE + offset);
        assert!(blocks.iter().map(|block| block.offset()).eq(offsets));
        assert!(more.iter().next().is_none());
        Ok(())
    }

    #[test]
    fn append_moves_blocks() -> Result {
        let buddy = buddy(MIB)?;
        let before = Snapshot::new(&buddy);
        let mut blocks = reserve(&buddy, 0..4 * KIB)?;
        let mut more = reserve(&buddy, 8 * KIB..12 * KIB)?;
        let taken = Snapshot::new(&buddy);
        blocks.as_mut().append(more.as_mut())?;
        assert!(more.is_empty() && !blocks.is_empty());
        drop(more);
        assert!(Snapshot::new(&buddy) == taken);
        drop(blocks);
        assert!(Snapshot::new(&buddy) == before);
        Ok(())
    }

    #[test]
    fn append_other_allocator_einval() -> Result {
        let (one, two) = (buddy(MIB)?, buddy(MIB)?);
        let mut blocks = reserve(&one, 0..4 * KIB)?;
        let mut others = reserve(&two, 0..8 * KIB)?;
        assert_eq!(blocks.as_mut().append(others.as_mut()), Err(EINVAL));
        assert!(!blocks.is_empty() && !others.is_empty());

        // Each is freed to its allocator.
        drop(blocks);
        assert_eq!((one.avail(), two.avail()), (MIB, MIB - 8 * KIB));
        drop(others);
        assert_eq!((one.avail(), two.avail()), (MIB, MIB));
        Ok(())
    }
}

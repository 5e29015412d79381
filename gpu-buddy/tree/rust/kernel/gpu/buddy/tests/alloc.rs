// SPDX-License-Identifier: GPL-2.0

//! Tests of requests, their errors and their lifetime.

use super::*;
use core::ops::Range;

assert_auto_traits! {
    // Type             Send   Sync   Unpin
    AllocatedBlocks:    true,  true,  false;
}

pub(super) type Blocks = Pin<KBox<AllocatedBlocks>>;

pub(super) fn alloc(
    buddy: &GpuBuddy,
    mode: GpuBuddyAllocMode,
    size: u64,
    min_block_size: u64,
    flags: impl Into<GpuBuddyAllocFlags>,
) -> Result<Blocks> {
    KBox::pin_init(
        buddy.alloc_blocks(mode, size, align(min_block_size)?, flags),
        GFP_KERNEL,
    )
}

/// Allocates the whole range at these offsets from [`BASE`].
pub(super) fn occupy(buddy: &GpuBuddy, range: Range<u64>) -> Result<Blocks> {
    let (size, mode) = (range.end - range.start, GpuBuddyAllocMode::Range(range));
    alloc(buddy, mode, size, 4 * KIB, GpuBuddyAllocFlags::default())
}

#[macros::kunit_tests(rust_gpu_buddy_alloc)]
mod suite {
    use super::*;
    use GpuBuddyAllocFlag::Contiguous;
    use GpuBuddyAllocMode::{
        Range as In,
        Simple,
        TopDown, //
    };

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
                // A malformed request is reported as malformed even if it is too large.
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
    fn alloc_too_little_free_enospc() -> Result {
        let none = GpuBuddyAllocFlags::default();
        let contiguous = GpuBuddyAllocFlags::from(Contiguous);
        let buddy = buddy(16 * MIB)?;
        let whole = Snapshot::new(&buddy);
        // Every other MiB is free.
        let mut taken = KVec::new();
        for offset in (0..16).step_by(2) {
            let blocks = occupy(&buddy, offset * MIB..(offset + 1) * MIB)?;
            taken.push(blocks, GFP_KERNEL)?;
        }
        let before = Snapshot::new(&buddy);
        for (mode, size, align, flags) in [
            (Simple, 9 * MIB, 4 * KIB, none),
            (TopDown, 9 * MIB, 4 * KIB, none),
            (Simple, 2 * MIB, 2 * MIB, none),
            (Simple, 2 * MIB, 4 * KIB, contiguous),
            (TopDown, 2 * MIB, 4 * KIB, contiguous),
            (In(0..4 * MIB), 3 * MIB, 4 * KIB, none),
            (In(0..4 * MIB), 2 * MIB, 4 * KIB, contiguous),
            (In(0..MIB), MIB, 4 * KIB, none),
            (Simple, 16 * MIB, 4 * KIB, none),
        ] {
            let ret = alloc(&buddy, mode, size, align, flags);
            assert_eq!(ret.err(), Some(ENOSPC));
            assert!(Snapshot::new(&buddy) == before);
        }

        let rest = alloc(&buddy, Simple, 8 * MIB, 4 * KIB, none)?;
        assert_eq!(buddy.avail(), 0);
        let ret = alloc(&buddy, Simple, 4 * KIB, 4 * KIB, none);
        assert_eq!(ret.err(), Some(ENOSPC));
        drop((rest, taken));
        assert!(Snapshot::new(&buddy) == whole);
        Ok(())
    }

    #[test]
    fn alloc_outlives_gpu_buddy() -> Result {
        let buddy = buddy(MIB)?;
        let blocks = occupy(&buddy, 0..64 * KIB)?;
        assert_eq!(buddy.avail(), MIB - 64 * KIB);
        drop(buddy);
        assert!(!blocks.is_empty());
        Ok(())
    }
}

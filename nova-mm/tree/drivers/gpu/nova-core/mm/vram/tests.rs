// SPDX-License-Identifier: GPL-2.0

//! Tests of the VRAM allocator.

use core::slice;

use super::*;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Returns a region from offsets in bytes.
fn region(range: Range<u64>) -> Range<VramAddress> {
    VramAddress::new(range.start)..VramAddress::new(range.end)
}

/// Creates an allocator for `regions`.
fn allocator<const N: usize>(regions: [Range<u64>; N]) -> Result<VramAllocator> {
    VramAllocator::new(&regions.map(region))
}

/// Creates an allocator for one region.
fn allocator_of(range: Range<u64>) -> Result<VramAllocator> {
    VramAllocator::new(slice::from_ref(&region(range)))
}

/// Returns the length of a range in bytes.
fn len(range: &Range<VramAddress>) -> u64 {
    range.end.into_raw() - range.start.into_raw()
}

/// Returns whether all of `vram` lies in one of `regions`.
fn lies_in(vram: &Vram, regions: &[Range<u64>]) -> bool {
    vram.ranges().all(|range| {
        regions.iter().any(|region| {
            region.start <= range.start.into_raw() && range.end.into_raw() <= region.end
        })
    })
}

#[kunit_tests(nova_core_mm_vram)]
mod suite {
    use super::*;

    /// An allocation can consist of memory from several regions.
    #[test]
    fn alloc_uses_all_regions() -> Result {
        let regions = [MIB..2 * MIB, 3 * MIB..5 * MIB];
        let allocator = allocator(regions.clone())?;

        assert_eq!(allocator.size(), 3 * MIB);
        assert_eq!(allocator.avail(), 3 * MIB);

        let vram = allocator.alloc(3 * MIB, PageSize::Size4K)?;

        assert_eq!(allocator.avail(), 0);
        assert_eq!(vram.size(), 3 * MIB);
        assert_eq!(vram.ranges().map(|range| len(&range)).sum::<u64>(), 3 * MIB);
        assert!(lies_in(&vram, &regions));

        drop(vram);
        assert_eq!(allocator.avail(), 3 * MIB);

        Ok(())
    }

    #[test]
    fn alloc_each_page_once() -> Result {
        let regions = [4 * KIB..24 * KIB, 32 * KIB..44 * KIB, 44 * KIB..48 * KIB];
        let allocator = allocator(regions.clone())?;
        let mut taken = KVec::new();

        for _ in 0..9 {
            let vram = allocator.alloc(4 * KIB, PageSize::Size4K)?;
            let range = vram.ranges().next().ok_or(EINVAL)?;

            assert_eq!(len(&range), 4 * KIB);
            assert!(lies_in(&vram, &regions));
            assert!(taken.iter().all(|(other, _)| *other != range));
            taken.push((range, vram), GFP_KERNEL)?;
        }

        assert_eq!(allocator.avail(), 0);
        assert_eq!(
            allocator.alloc(4 * KIB, PageSize::Size4K).err(),
            Some(ENOSPC)
        );
        drop(taken);
        assert_eq!(allocator.avail(), 36 * KIB);

        Ok(())
    }

    /// Blocks are aligned with respect to VRAM, not to the start of their region.
    #[test]
    fn blocks_aligned_in_vram() -> Result {
        for start in [0, 4 * KIB, 64 * KIB, MIB, 3 * MIB + 4 * KIB] {
            let allocator = allocator_of(start..16 * MIB)?;

            for page in [PageSize::Size64K, PageSize::Size2M] {
                let vram = allocator.alloc(3 * page.bytes(), page)?;

                for range in vram.ranges() {
                    assert_eq!(range.start.into_raw() % page.bytes(), 0);
                    assert_eq!(range.end.into_raw() % page.bytes(), 0);
                }
            }
        }

        Ok(())
    }

    /// The free memory is misaligned, or smaller than the rounded size.
    #[test]
    fn alloc_fallback_to_small_blocks() -> Result {
        for (region, size) in [
            (MIB..4 * MIB - 4 * KIB, 2 * MIB),
            (4 * KIB..64 * KIB, 8 * KIB),
            (0..3 * MIB, 3 * MIB),
        ] {
            let allocator = allocator_of(region)?;

            assert_eq!(allocator.alloc(size, PageSize::Size2M)?.size(), size);
            assert_eq!(allocator.alloc(size, PageSize::Size256G)?.size(), size);
        }

        Ok(())
    }

    /// The unused part of the last large block remains free.
    #[test]
    fn alloc_rest_uses_small_block() -> Result {
        let allocator = allocator_of(0..16 * MIB)?;
        let vram = allocator.alloc(2 * MIB + 4 * KIB, PageSize::Size2M)?;

        assert_eq!(vram.size(), 2 * MIB + 4 * KIB);
        assert_eq!(allocator.avail(), 14 * MIB - 4 * KIB);
        assert_eq!(vram.ranges().next().map(|range| len(&range)), Some(2 * MIB));

        Ok(())
    }

    #[test]
    fn scattered_memory_ranges() -> Result {
        let allocator = allocator_of(0..64 * KIB)?;
        let mut pages = KVec::new();
        let mut kept = KVec::new();

        for _ in 0..16 {
            pages.push(allocator.alloc_table()?, GFP_KERNEL)?;
        }
        while let Some(page) = pages.pop() {
            // Free every other page.
            if page.address().into_raw() % (8 * KIB) == 0 {
                kept.push(page, GFP_KERNEL)?;
            }
        }

        let vram = allocator.alloc(20 * KIB, PageSize::Size64K)?;

        assert_eq!(vram.ranges().count(), 5);
        assert!(vram.ranges().all(|range| len(&range) == 4 * KIB));
        assert_eq!(allocator.avail(), 12 * KIB);
        assert_eq!(
            allocator.alloc(16 * KIB, PageSize::Size4K).err(),
            Some(ENOSPC)
        );

        Ok(())
    }

    /// As [`Vram::ranges`] guarantees, for contiguous and scattered memory.
    #[test]
    fn ranges_descending_and_aligned() -> Result {
        let allocator = allocator([4 * KIB..3 * MIB, 4 * MIB..16 * MIB + 12 * KIB])?;
        let mut held = KVec::new();

        for size in [
            MIB - 4 * KIB,
            4 * KIB,
            5 * MIB,
            36 * KIB,
            3 * MIB + 20 * KIB,
            5 * MIB,
        ] {
            for page in [PageSize::Size4K, PageSize::Size64K, PageSize::Size2M] {
                let Ok(vram) = allocator.alloc(size, page) else {
                    continue;
                };
                let mut before = u64::MAX;

                assert_eq!(vram.ranges().map(|range| len(&range)).sum::<u64>(), size);
                for range in vram.ranges() {
                    assert!(len(&range).is_power_of_two());
                    assert!(len(&range) <= before);
                    assert_eq!(range.start.into_raw() % len(&range), 0);
                    before = len(&range);
                }
                held.push(vram, GFP_KERNEL)?;
            }
            // Leave holes of all sizes.
            if held.len() % 2 == 0 {
                drop(held.pop());
            }
        }
        assert!(held.len() > 6);

        Ok(())
    }

    /// Page tables are allocated from the top and do not split other large blocks.
    #[test]
    fn tables_keep_large_blocks() -> Result {
        let allocator = allocator_of(0..4 * MIB)?;
        let mut tables = KVec::new();

        for _ in 0..512 {
            tables.push(allocator.alloc_table()?, GFP_KERNEL)?;
        }
        let vram = allocator.alloc(2 * MIB, PageSize::Size2M)?;

        assert_eq!(vram.ranges().count(), 1);
        assert_eq!(allocator.avail(), 0);

        Ok(())
    }

    #[test]
    fn alloc_invalid_size_fails() -> Result {
        let allocator = allocator([0..MIB, 2 * MIB..3 * MIB])?;

        assert_eq!(allocator.alloc(0, PageSize::Size4K).err(), Some(EINVAL));
        assert_eq!(allocator.alloc(KIB, PageSize::Size4K).err(), Some(EINVAL));
        assert_eq!(
            allocator.alloc(4 * KIB + 1, PageSize::Size4K).err(),
            Some(EINVAL)
        );

        // These sizes can never be satisfied. The hole between the regions does not count.
        for size in [2 * MIB + 4 * KIB, 3 * MIB, 4 * MIB, 1 << 63] {
            for page in [PageSize::Size4K, PageSize::Size2M] {
                assert_eq!(allocator.alloc(size, page).err(), Some(E2BIG));
            }
        }
        assert_eq!(allocator.avail(), 2 * MIB);

        // This size can be satisfied, but not while `table` is allocated.
        let table = allocator.alloc_table()?;
        for page in [PageSize::Size4K, PageSize::Size64K] {
            assert_eq!(allocator.alloc(2 * MIB, page).err(), Some(ENOSPC));
        }
        drop(table);
        assert!(allocator.alloc(2 * MIB, PageSize::Size4K).is_ok());

        Ok(())
    }

    /// Only memory that is marked stays allocated when the last reference is dropped.
    #[test]
    fn leak_on_drop_memory_not_freed() -> Result {
        let allocator = allocator_of(0..MIB)?;
        let first = Arc::new(allocator.alloc(12 * KIB, PageSize::Size4K)?, GFP_KERNEL)?;
        let second = allocator.alloc(64 * KIB, PageSize::Size64K)?;
        let table = allocator.alloc_table()?;
        let other = allocator.alloc(8 * KIB, PageSize::Size4K)?;
        assert_eq!(allocator.leaked(), 0);

        let shared = first.clone();
        first.leak_on_drop();
        first.leak_on_drop();
        table.leak_on_drop();
        second.leak_on_drop();
        let address = table.address();
        drop((first, table));
        // Another reference to the first allocation exists.
        assert_eq!(allocator.leaked(), 4 * KIB);
        drop((shared, other, second));
        assert_eq!(allocator.leaked(), (12 + 64 + 4) * KIB);
        assert_eq!(allocator.avail(), MIB - (12 + 64 + 4) * KIB);

        // The memory is not allocated again. It is freed with the last handle of the allocator.
        let rest = allocator.alloc(allocator.avail(), PageSize::Size4K)?;
        assert!(rest.ranges().all(|range| !range.contains(&address)));
        assert_eq!(allocator.alloc_table().err(), Some(ENOSPC));
        rest.leak_on_drop();
        drop(allocator);
        drop(rest);

        Ok(())
    }

    #[test]
    fn invalid_regions_fail() -> Result {
        let refused =
            |regions: &[Range<VramAddress>]| VramAllocator::new(regions).err() == Some(EINVAL);

        assert!(refused(&[]));
        // Empty and inverted.
        assert!(refused(&[region(MIB..MIB)]));
        assert!(refused(&[VramAddress::new(2 * MIB)..VramAddress::new(MIB)]));
        // Misaligned at the start and at the end.
        assert!(refused(&[region(KIB..MIB)]));
        assert!(refused(&[region(0..MIB + KIB)]));
        assert!(refused(&[region(0..MIB), region(2 * MIB..3 * MIB + KIB)]));
        // Overlapping and not in ascending order.
        assert!(refused(&[region(0..2 * MIB), region(MIB..3 * MIB)]));
        assert!(refused(&[region(2 * MIB..3 * MIB), region(0..MIB)]));
        assert!(refused(&[region(0..3 * MIB), region(MIB..2 * MIB)]));
        // Adjacent regions are valid.
        assert!(!refused(&[region(0..MIB), region(MIB..2 * MIB)]));

        Ok(())
    }

    #[test]
    fn tables_use_all_pages() -> Result {
        let allocator = allocator_of(4 * KIB..12 * KIB)?;
        let page = allocator.alloc_table()?;
        let other = allocator.alloc_table()?;

        assert_ne!(page.address(), other.address());
        assert_eq!(allocator.alloc_table().err(), Some(ENOSPC));
        for table in [&page, &other] {
            assert!([4 * KIB, 8 * KIB].contains(&table.address().into_raw()));
        }

        let address = page.address();

        drop(page);
        assert_eq!(allocator.alloc_table()?.address(), address);

        Ok(())
    }

    /// Page tables leave large blocks free for the memory that they map.
    #[test]
    fn tables_allocated_from_top() -> Result {
        let allocator = allocator([0..2 * MIB, 3 * MIB..4 * MIB])?;
        let mut tables = KVec::new();

        for number in 1..=256 {
            let table = allocator.alloc_table()?;
            let expected = 4 * MIB - number * 4 * KIB;
            assert_eq!(table.address(), VramAddress::new(expected));
            tables.push(table, GFP_KERNEL)?;
        }
        let vram = allocator.alloc(2 * MIB, PageSize::Size2M)?;
        assert_eq!(vram.ranges().count(), 1);
        drop(vram);

        // The upper region is exhausted.
        let table = allocator.alloc_table()?;
        assert_eq!(table.address(), VramAddress::new(2 * MIB - 4 * KIB));

        Ok(())
    }

    /// A page is known to be zero if its last owner marked it so, and it was not allocated since.
    #[test]
    fn alloc_table_reports_zeroed() -> Result {
        let allocator = allocator_of(0..16 * KIB)?;
        let fresh = allocator.alloc_table()?;
        assert!(!fresh.is_zero());

        let mut zero = allocator.alloc_table()?;
        let address = zero.address();
        zero.set_zero(true);
        drop(zero);
        // The allocator prefers this page to higher ones that are not known to be zero.
        drop(fresh);
        let mut zero = allocator.alloc_table()?;
        assert_eq!(zero.address(), address);
        assert!(zero.is_zero());

        zero.set_zero(false);
        drop(zero);
        assert!(!allocator.alloc_table()?.is_zero());

        Ok(())
    }

    /// Owners of other memory write it without reporting its contents.
    #[test]
    fn freed_memory_not_known_zeroed() -> Result {
        let allocator = allocator_of(0..16 * KIB)?;
        let mut tables = KVec::new();
        for _ in 0..4 {
            let mut table = allocator.alloc_table()?;
            table.set_zero(true);
            tables.push(table, GFP_KERNEL)?;
        }
        drop(tables);

        drop(allocator.alloc(16 * KIB, PageSize::Size4K)?);
        for _ in 0..4 {
            assert!(!allocator.alloc_table()?.is_zero());
        }

        Ok(())
    }

    /// Runs are counted across ranges, in the order in which the pages are mapped.
    #[test]
    fn runs_continue_to_end_of_range() -> Result {
        let allocator = allocator([0..12 * KIB, 64 * KIB..80 * KIB])?;
        let vram = allocator.alloc(28 * KIB, PageSize::Size4K)?;
        assert_eq!(vram.pages(), 7);
        assert_eq!(vram.last_page(), 76 * KIB);
        assert_eq!(vram.aperture(), Aperture::Vram);

        let mut page = 0;
        for range in vram.ranges() {
            let pages = len(&range) / PAGE_SIZE;
            for skipped in 0..pages {
                let run = Run {
                    address: range.start.into_raw() + skipped * PAGE_SIZE,
                    pages: pages - skipped,
                };
                assert_eq!(vram.run(page + skipped), Some(run));
            }
            page += pages;
        }
        assert_eq!(page, vram.pages());
        for beyond in [page, page + 1, u64::MAX] {
            assert_eq!(vram.run(beyond), None);
        }

        Ok(())
    }

    #[test]
    fn memory_outlives_handles() -> Result {
        let allocator = allocator_of(MIB..2 * MIB)?;
        let other = allocator.clone();
        let vram = allocator.alloc(64 * KIB, PageSize::Size64K)?;

        drop(allocator);
        assert_eq!(other.avail(), MIB - 64 * KIB);
        drop(other);
        assert!(lies_in(&vram, slice::from_ref(&(MIB..2 * MIB))));

        Ok(())
    }

    /// Compiles only if the types are `Send` and `Sync`.
    #[test]
    fn types_send_and_sync() -> Result {
        fn share(_: &(impl Send + Sync)) {}

        let allocator = allocator_of(0..MIB)?;

        share(&allocator);
        share(&allocator.alloc_table()?);
        share(&Arc::new(
            allocator.alloc(MIB / 2, PageSize::Size4K)?,
            GFP_KERNEL,
        )?);

        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of the allocation of virtual addresses.

use super::*;

use crate::mm::{
    address::PAGE_SIZE,
    format::v2::MmuV2, //
};

/// Number of pages of a large page.
const LARGE: u64 = PageSize::Size2M.pages();

/// Number of pages that MMU v2 can address.
const ALL: u64 = (1 << MmuV2::VA_BITS) / PAGE_SIZE;

/// Makes pages of their numbers.
fn vfns(pages: Range<u64>) -> Result<Range<Vfn>> {
    Ok(Vfn::new(pages.start)?..Vfn::new(pages.end)?)
}

fn space(limits: Range<u64>) -> Result<Arc<VaSpace>> {
    VaSpace::new::<MmuV2>(vfns(limits)?)
}

fn fixed(space: &Arc<VaSpace>, pages: Range<u64>) -> Result<Arc<VaRange>> {
    space.reserve(VaRequest::Fixed(vfns(pages)?))
}

fn any(space: &Arc<VaSpace>, pages: u64, align: PageSize) -> Result<Arc<VaRange>> {
    space.reserve(VaRequest::Any { pages, align })
}

/// Returns the numbers of the pages of a range.
fn numbers(range: &VaRange) -> Range<u64> {
    range.pages().start.into_raw()..range.pages().end.into_raw()
}

#[kunit_tests(nova_mm_va)]
mod suite {
    use super::*;
    use PageSize::*;

    #[test]
    fn the_lowest_that_fits() -> Result {
        let space = space(10..100)?;
        let first = any(&space, 5, Size4K)?;
        let second = any(&space, 10, Size4K)?;
        let third = any(&space, 3, Size4K)?;
        assert_eq!(numbers(&first), 10..15);
        assert_eq!(numbers(&second), 15..25);
        assert_eq!(numbers(&third), 25..28);

        // Too large for the first hole, then not, then of the same size.
        drop(first);
        assert_eq!(numbers(&*any(&space, 6, Size4K)?), 28..34);
        let small = any(&space, 2, Size4K)?;
        assert_eq!(numbers(&small), 10..12);
        assert_eq!(numbers(&*any(&space, 3, Size4K)?), 12..15);
        drop(second);
        assert_eq!(numbers(&*any(&space, 13, Size4K)?), 12..25);

        Ok(())
    }

    #[test]
    fn alignment() -> Result {
        let space = space(3..8 * LARGE)?;
        let large = any(&space, 7, Size2M)?;
        assert_eq!(numbers(&large), LARGE..LARGE + 7);
        let next = any(&space, LARGE, Size2M)?;
        assert_eq!(numbers(&next), 2 * LARGE..3 * LARGE);
        // What was left out is for those that need no alignment.
        let small = any(&space, LARGE - 3, Size4K)?;
        assert_eq!(numbers(&small), 3..LARGE);
        let medium = any(&space, 1, Size64K)?;
        assert_eq!(numbers(&medium), LARGE + 16..LARGE + 17);
        // Large enough, but not where it is aligned.
        assert_eq!(any(&space, 5 * LARGE + 1, Size2M).err(), Some(ENOSPC));
        assert_eq!(
            numbers(&*any(&space, 5 * LARGE, Size2M)?),
            3 * LARGE..8 * LARGE
        );

        Ok(())
    }

    #[test]
    fn the_highest_that_fits() -> Result {
        let space = space(3..8 * LARGE + 5)?;
        let highest = |pages, align| space.reserve(VaRequest::Highest { pages, align });
        let first = highest(5, Size4K)?;
        assert_eq!(numbers(&first), 8 * LARGE..8 * LARGE + 5);
        let second = highest(1, Size4K)?;
        assert_eq!(numbers(&second), 8 * LARGE - 1..8 * LARGE);
        // Aligned downwards. The next requests use the gap.
        let large = highest(LARGE, Size2M)?;
        assert_eq!(numbers(&large), 6 * LARGE..7 * LARGE);
        let medium = highest(17, Size64K)?;
        assert_eq!(numbers(&medium), 8 * LARGE - 32..8 * LARGE - 15);
        assert_eq!(
            numbers(&*highest(15, Size64K)?),
            8 * LARGE - 48..8 * LARGE - 33
        );

        // The highest hole first, whatever the size of the others; one of the same size fits.
        drop(first);
        assert_eq!(numbers(&*highest(5, Size4K)?), 8 * LARGE..8 * LARGE + 5);
        assert_eq!(numbers(&*highest(6, Size4K)?), 8 * LARGE - 7..8 * LARGE - 1);
        drop(second);
        assert_eq!(numbers(&*highest(6, Size4K)?), 8 * LARGE - 1..8 * LARGE + 5);

        // Down to the first address, and no further.
        let rest = highest(6 * LARGE - 3, Size4K)?;
        assert_eq!(numbers(&rest), 3..6 * LARGE);
        assert_eq!(highest(LARGE, Size4K).err(), Some(ENOSPC));
        drop(rest);
        assert_eq!(highest(6 * LARGE - 3, Size64K).err(), Some(ENOSPC));
        assert_eq!(numbers(&*highest(5 * LARGE, Size2M)?), LARGE..6 * LARGE);
        for pages in [0, 8 * LARGE, 1 << 40, u64::MAX] {
            let error = if pages == 0 { EINVAL } else { ENOSPC };
            assert_eq!(highest(pages, Size4K).err(), Some(error));
        }

        Ok(())
    }

    #[test]
    fn fixed_ranges() -> Result {
        let space = space(10..100)?;
        let pages = vfns(20..30)?;
        let range = fixed(&space, 20..30)?;
        assert_eq!(range.pages(), pages);
        assert!(range.is_of(&space));
        assert!(range.contains(&pages));
        assert!(range.contains(&vfns(29..30)?));
        assert!(!range.contains(&vfns(19..21)?));
        assert!(!range.contains(&vfns(29..31)?));
        assert!(!range.contains(&vfns(25..25)?));

        // Next to it, on both sides.
        let below = fixed(&space, 10..20)?;
        let above = fixed(&space, 30..100)?;
        assert_eq!(any(&space, 1, Size4K).err(), Some(ENOSPC));
        drop((below, above));
        assert_eq!(numbers(&*any(&space, 70, Size4K)?), 30..100);

        Ok(())
    }

    #[test]
    fn every_kind_of_overlap_is_busy() -> Result {
        let space = space(0..100)?;
        let ranges = [fixed(&space, 20..30)?, fixed(&space, 40..50)?];

        for pages in [
            20..30,
            19..21,
            29..31,
            10..100,
            0..21,
            29..40,
            30..41,
            21..29,
            45..46,
            40..41,
            49..50,
            49..100,
            0..100,
        ] {
            assert_eq!(fixed(&space, pages).err(), Some(EBUSY));
        }
        // Nothing of it was taken.
        for pages in [0..20, 30..40, 50..100] {
            assert_eq!(numbers(&*fixed(&space, pages.clone())?), pages);
        }
        drop(ranges);
        assert_eq!(numbers(&*fixed(&space, 0..100)?), 0..100);

        Ok(())
    }

    /// Neither outside of an aperture nor of what the MMU has: there, indices would name others.
    #[test]
    fn limits_of_the_format() -> Result {
        let aperture = space(16..64)?;
        for pages in [15..17, 0..16, 63..65, 64..65, 16..16, 0..100, ALL..ALL + 1] {
            assert_eq!(fixed(&aperture, pages).err(), Some(EINVAL));
        }
        assert_eq!(any(&aperture, 49, Size4K).err(), Some(ENOSPC));
        assert_eq!(any(&aperture, 0, Size4K).err(), Some(EINVAL));
        assert_eq!(aperture.limits(), vfns(16..64)?);

        let whole = space(0..ALL)?;
        assert_eq!(numbers(&*fixed(&whole, ALL - 1..ALL)?), ALL - 1..ALL);
        assert_eq!(fixed(&whole, ALL - 1..ALL + 1).err(), Some(EINVAL));
        assert_eq!(fixed(&whole, ALL..ALL + 1).err(), Some(EINVAL));
        for limits in [0..ALL + 1, ALL..ALL + 1, 5..5] {
            assert_eq!(space(limits).err(), Some(EINVAL));
        }

        // An address is not rounded.
        let start = crate::mm::address::VirtualAddress::new(0x2_0800);
        assert_eq!(crate::mm::address::pages(start, 0x1000).err(), Some(EINVAL));

        Ok(())
    }

    #[test]
    fn nothing_is_left() -> Result {
        let space = space(0..4)?;
        let ranges = [any(&space, 2, Size4K)?, any(&space, 2, Size4K)?];
        assert_eq!(any(&space, 1, Size4K).err(), Some(ENOSPC));
        drop(ranges);
        assert_eq!(any(&space, 5, Size4K).err(), Some(ENOSPC));
        assert_eq!(
            any(&space, 4, Size2M).map(|range| numbers(&range)),
            Ok(0..4)
        );

        Ok(())
    }

    #[test]
    fn free_again_when_the_last_reference_is_dropped() -> Result {
        let space = space(0..4)?;
        let range = fixed(&space, 0..4)?;
        let other = range.clone();
        drop(range);
        assert_eq!(fixed(&space, 3..4).err(), Some(EBUSY));
        drop(other);
        assert_eq!(numbers(&*fixed(&space, 3..4)?), 3..4);

        Ok(())
    }

    /// Sums that do not fit into an address are no addresses.
    #[test]
    fn nothing_wraps_at_the_top() -> Result {
        let space = space(ALL - LARGE - 1..ALL)?;

        for pages in [
            LARGE + 2,
            ALL,
            u64::MAX / PAGE_SIZE,
            u64::MAX / PAGE_SIZE + 1,
            u64::MAX - LARGE,
            u64::MAX,
        ] {
            assert_eq!(any(&space, pages, Size4K).err(), Some(ENOSPC));
            assert_eq!(any(&space, pages, Size2M).err(), Some(ENOSPC));
        }
        assert_eq!(any(&space, 1, Size256G).err(), Some(ENOSPC));
        assert_eq!(numbers(&*any(&space, LARGE, Size2M)?), ALL - LARGE..ALL);

        Ok(())
    }

    #[test]
    fn a_range_is_of_its_space() -> Result {
        let spaces = [space(0..4)?, space(0..4)?];
        let range = fixed(&spaces[0], 0..4)?;
        assert!(range.is_of(&spaces[0]));
        assert!(!range.is_of(&spaces[1]));
        assert!(fixed(&spaces[1], 0..4).is_ok());

        Ok(())
    }
}

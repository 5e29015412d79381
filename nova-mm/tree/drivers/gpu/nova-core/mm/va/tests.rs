// SPDX-License-Identifier: GPL-2.0

//! Tests of the virtual address allocator.

use core::{
    fmt::Debug,
    panic::Location, //
};

use super::*;
use crate::mm::address::PAGE_SIZE;

pub(crate) mod random;

/// Number of 4 KiB pages in a large page.
const LARGE: u64 = PageSize::Size2M.pages();

/// Width of an address in bits.
const VA_BITS: u32 = 49;

/// Number of pages in the address space.
const ALL: u64 = (1 << VA_BITS) / PAGE_SIZE;

/// Converts page numbers.
pub(crate) fn vfns(pages: Range<u64>) -> Result<Range<Vfn>> {
    Ok(Vfn::new(pages.start)?..Vfn::new(pages.end)?)
}

pub(crate) fn space(limits: Range<u64>) -> Result<Arc<VaSpace>> {
    VaSpace::new(vfns(limits)?, VA_BITS)
}

pub(crate) fn fixed(space: &Arc<VaSpace>, pages: Range<u64>) -> Result<VaRange> {
    space.reserve(VaRequest::Fixed(vfns(pages)?))
}

pub(crate) fn highest(space: &Arc<VaSpace>, pages: u64, align: PageSize) -> Result<VaRange> {
    space.reserve(VaRequest::Highest { pages, align })
}

/// Returns the page numbers of a range.
pub(crate) fn numbers(range: &VaRange) -> Range<u64> {
    range.pages().start.into_raw()..range.pages().end.into_raw()
}

/// Logs the values and returns [`EINVAL`] if they differ.
#[track_caller]
pub(crate) fn ensure_eq<T: PartialEq + Debug>(found: T, expected: T) -> Result {
    if found == expected {
        return Ok(());
    }
    let place = Location::caller();
    pr_err!(
        "{}:{}: {:?}, expected {:?}\n",
        place.file(),
        place.line(),
        found,
        expected
    );

    Err(EINVAL)
}

/// Reserves and frees ranges of a tree in many orders. `locked` is called with each change that
/// [`VaSpace`] makes while holding its lock.
pub(crate) fn change_tree(locked: impl Fn(&mut dyn FnMut())) -> Result {
    const RANGES: u64 = 500;
    let mut tree = RangeTree::new();

    // Factors that are coprime to `RANGES`.
    for [insert, remove] in [[1, 1], [499, 1], [7, 211], [211, 499]] {
        for number in (0..RANGES).map(|i| i * insert % RANGES) {
            let pages = vfns(2 * number..2 * number + 1)?;
            let mut node = Some(Node::new(GFP_KERNEL)?);
            locked(&mut || {
                if let Some(node) = node.take() {
                    tree.insert(node, pages.clone());
                }
            });
        }
        ensure_eq(u64::try_from(tree.check()?.len())?, RANGES)?;

        for number in (0..RANGES).map(|i| i * remove % RANGES) {
            let start = Vfn::new(2 * number)?;
            let mut node = None;
            locked(&mut || node = tree.remove(start));
            ensure_eq(node.is_some(), true)?;
        }
        ensure_eq(tree.check()?.len(), 0)?;
    }

    Ok(())
}

#[kunit_tests(nova_core_mm_va)]
mod suite {
    use super::*;
    use PageSize::*;

    #[test]
    fn highest_prefers_top() -> Result {
        let space = space(10..100)?;
        let first = highest(&space, 5, Size4K)?;
        let second = highest(&space, 10, Size4K)?;
        let third = highest(&space, 3, Size4K)?;
        assert_eq!(numbers(&first), 95..100);
        assert_eq!(numbers(&second), 85..95);
        assert_eq!(numbers(&third), 82..85);

        // The gap at the top is first too small, then larger than the range, then exactly as large.
        drop(first);
        assert_eq!(numbers(&highest(&space, 6, Size4K)?), 76..82);
        let small = highest(&space, 2, Size4K)?;
        assert_eq!(numbers(&small), 98..100);
        assert_eq!(numbers(&highest(&space, 3, Size4K)?), 95..98);
        drop(second);
        assert_eq!(numbers(&highest(&space, 13, Size4K)?), 85..98);

        Ok(())
    }

    #[test]
    fn highest_aligns_downwards() -> Result {
        let space = space(3..8 * LARGE + 5)?;
        let first = highest(&space, 5, Size4K)?;
        assert_eq!(numbers(&first), 8 * LARGE..8 * LARGE + 5);
        let second = highest(&space, 1, Size4K)?;
        assert_eq!(numbers(&second), 8 * LARGE - 1..8 * LARGE);
        let large = highest(&space, LARGE, Size2M)?;
        assert_eq!(numbers(&large), 6 * LARGE..7 * LARGE);
        // Requests that fit into the gap above use it.
        let medium = highest(&space, 17, Size64K)?;
        assert_eq!(numbers(&medium), 8 * LARGE - 32..8 * LARGE - 15);
        assert_eq!(
            numbers(&highest(&space, 15, Size64K)?),
            8 * LARGE - 48..8 * LARGE - 33
        );

        drop(first);
        assert_eq!(
            numbers(&highest(&space, 6, Size4K)?),
            8 * LARGE - 7..8 * LARGE - 1
        );
        drop(second);
        assert_eq!(
            numbers(&highest(&space, 6, Size4K)?),
            8 * LARGE - 1..8 * LARGE + 5
        );

        Ok(())
    }

    #[test]
    fn highest_at_lower_limit() -> Result {
        let space = space(3..6 * LARGE)?;
        let all = highest(&space, 6 * LARGE - 3, Size4K)?;
        assert_eq!(numbers(&all), 3..6 * LARGE);
        assert_eq!(highest(&space, 1, Size4K).err(), Some(ENOSPC));
        drop(all);

        // The gap is large enough, but has no suitable aligned address.
        assert_eq!(highest(&space, 6 * LARGE - 3, Size64K).err(), Some(ENOSPC));
        assert_eq!(highest(&space, 5 * LARGE + 1, Size2M).err(), Some(ENOSPC));
        assert_eq!(
            numbers(&highest(&space, 5 * LARGE, Size2M)?),
            LARGE..6 * LARGE
        );
        assert_eq!(
            numbers(&highest(&space, 6 * LARGE - 16, Size64K)?),
            16..6 * LARGE
        );

        Ok(())
    }

    #[test]
    fn highest_skips_misaligned_gaps() -> Result {
        for align in gap::ALIGNMENTS {
            let unit = align.pages();
            let space = space(0..6 * unit + 1)?;
            // Two gaps of `2 * unit - 1` pages, of which only the lower one is aligned.
            let ranges = [
                fixed(&space, 0..2 * unit)?,
                fixed(&space, 4 * unit - 1..4 * unit + 1)?,
                fixed(&space, 6 * unit..6 * unit + 1)?,
            ];
            let range = highest(&space, unit, align)?;
            assert_eq!(numbers(&range), 5 * unit..6 * unit);
            drop(range);
            let lower = highest(&space, unit + 1, align).map(|range| numbers(&range));
            let expected = match align {
                // Each gap has one page.
                Size4K => Err(ENOSPC),
                _ => Ok(2 * unit..3 * unit + 1),
            };
            assert_eq!(lower, expected);
            drop(ranges);
        }

        Ok(())
    }

    #[test]
    fn highest_no_gap_enospc() -> Result {
        let space = space(0..4)?;
        assert_eq!(highest(&space, 5, Size4K).err(), Some(ENOSPC));
        let ranges = [highest(&space, 2, Size4K)?, highest(&space, 2, Size4K)?];
        assert_eq!(highest(&space, 1, Size4K).err(), Some(ENOSPC));
        drop(ranges);
        assert_eq!(numbers(&highest(&space, 4, Size2M)?), 0..4);

        Ok(())
    }

    #[test]
    fn highest_size_overflow_enospc() -> Result {
        let space = space(ALL - LARGE - 1..ALL)?;

        for pages in [
            LARGE + 2,
            ALL,
            u64::MAX / PAGE_SIZE,
            u64::MAX / PAGE_SIZE + 1,
            u64::MAX - LARGE,
            u64::MAX,
        ] {
            assert_eq!(highest(&space, pages, Size4K).err(), Some(ENOSPC));
            assert_eq!(highest(&space, pages, Size2M).err(), Some(ENOSPC));
        }
        assert_eq!(highest(&space, 0, Size4K).err(), Some(EINVAL));
        assert_eq!(highest(&space, 1, Size256G).err(), Some(ENOSPC));
        assert_eq!(numbers(&highest(&space, LARGE, Size2M)?), ALL - LARGE..ALL);

        Ok(())
    }

    #[test]
    fn fixed_at_both_limits() -> Result {
        let space = space(10..100)?;
        let range = fixed(&space, 20..30)?;
        assert_eq!(range.pages(), vfns(20..30)?);
        let below = fixed(&space, 10..20)?;
        let above = fixed(&space, 30..100)?;
        assert_eq!(highest(&space, 1, Size4K).err(), Some(ENOSPC));
        drop((below, above));
        assert_eq!(numbers(&highest(&space, 70, Size4K)?), 30..100);
        assert_eq!(numbers(&fixed(&space, 10..11)?), 10..11);
        assert_eq!(numbers(&fixed(&space, 99..100)?), 99..100);

        Ok(())
    }

    #[test]
    fn fixed_overlap_ebusy() -> Result {
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
        // Failed requests must not reserve any pages.
        for pages in [0..20, 30..40, 50..100] {
            assert_eq!(numbers(&fixed(&space, pages.clone())?), pages);
        }
        drop(ranges);
        assert_eq!(numbers(&fixed(&space, 0..100)?), 0..100);

        Ok(())
    }

    #[test]
    fn fixed_outside_limits_einval() -> Result {
        let aperture = space(16..64)?;
        for pages in [15..17, 0..16, 63..65, 64..65, 16..16, 0..100, ALL..ALL + 1] {
            assert_eq!(fixed(&aperture, pages).err(), Some(EINVAL));
        }

        let whole = space(0..ALL)?;
        assert_eq!(numbers(&fixed(&whole, ALL - 1..ALL)?), ALL - 1..ALL);
        assert_eq!(fixed(&whole, ALL - 1..ALL + 1).err(), Some(EINVAL));
        assert_eq!(fixed(&whole, ALL..ALL + 1).err(), Some(EINVAL));
        assert_eq!(numbers(&fixed(&whole, 0..ALL)?), 0..ALL);

        Ok(())
    }

    #[test]
    fn limits_too_wide_einval() -> Result {
        for limits in [0..ALL + 1, ALL..ALL + 1, 5..5] {
            assert_eq!(space(limits).err(), Some(EINVAL));
        }
        let last = u64::MAX / PAGE_SIZE;
        for (va_bits, end) in [(12, 1), (13, 2), (57, 1 << 45), (63, 1 << 51)] {
            let space = VaSpace::new(vfns(0..end)?, va_bits)?;
            assert_eq!(numbers(&highest(&space, end, Size4K)?), 0..end);
            let error = VaSpace::new(vfns(0..end + 1)?, va_bits).err();
            assert_eq!(error, Some(EINVAL));
        }
        for va_bits in [64, 65, u32::MAX] {
            let space = VaSpace::new(vfns(0..last)?, va_bits)?;
            assert_eq!(numbers(&highest(&space, 1, Size4K)?), last - 1..last);
        }

        Ok(())
    }

    #[test]
    fn range_drop_frees() -> Result {
        let space = space(0..4)?;
        let range = fixed(&space, 0..4)?;
        assert_eq!(fixed(&space, 3..4).err(), Some(EBUSY));
        drop(range);
        assert_eq!(numbers(&fixed(&space, 3..4)?), 3..4);

        Ok(())
    }

    #[test]
    fn range_keeps_space() -> Result {
        let (space, other) = (space(0..4)?, space(0..4)?);
        let range = fixed(&space, 0..4)?;
        assert!(fixed(&other, 0..4).is_ok());
        drop(space);
        assert_eq!(numbers(&range), 0..4);
        drop(range);

        Ok(())
    }

    /// Frees six ranges in all possible orders.
    #[test]
    fn range_drop_any_order() -> Result {
        const RANGES: usize = 6;

        for mut order in 0..(1..=RANGES).product::<usize>() {
            let space = space(0..60)?;
            let mut ranges = KVec::new();
            for start in [30, 10, 50, 0, 20, 40] {
                ranges.push(fixed(&space, start..start + 5)?, GFP_KERNEL)?;
            }
            for left in (1..=RANGES).rev() {
                ranges.swap(order % left, left - 1);
                order /= left;
                ranges.pop();
                assert_eq!(space.used.lock().check()?.len(), left - 1);
            }
            assert_eq!(numbers(&highest(&space, 60, Size4K)?), 0..60);
        }

        Ok(())
    }

    #[test]
    fn tree_balanced_any_order() -> Result {
        change_tree(|change| change())
    }

    #[test]
    fn random_requests() -> Result {
        random::run(0x6e6f_7661, 2_000)
    }

    #[test]
    fn space_send_and_sync() {
        fn is_shared<T: Send + Sync>() {}

        is_shared::<VaSpace>();
        is_shared::<VaRange>();
    }
}

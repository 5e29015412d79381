// SPDX-License-Identifier: GPL-2.0

//! Tests of the mappings of an address space, including a comparison with an array of pages.

use super::*;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    address::PAGE_SIZE,
    format::PageAttributes,
    memory::{
        Coherence,
        Mappable,
        SysMemory, //
    },
};

type Memory = Arc<SysMemory<()>>;

/// Creates memory with `1 << 20` pages at `address`.
fn memory_at(address: u64) -> Result<Memory> {
    let ranges = [(address, PAGE_SIZE << 20)].into_iter();

    Ok(Arc::new(
        SysMemory::new(ranges, Coherence::Coherent, ())?,
        GFP_KERNEL,
    )?)
}

fn backing(memory: &Memory, first: u64) -> Backing {
    Backing::new(memory.clone(), first, PageAttributes::default())
}

fn node() -> Result<Reservation> {
    Reservation::new(GFP_KERNEL)
}

/// Maps pages that are not mapped. Returns whether they were merged with the preceding mapping.
fn insert(vmas: &mut VmaTree, pages: Range<u64>, backing: Backing) -> Result<bool> {
    Ok(vmas.insert(pages, backing, node()?).is_some())
}

/// Unmaps pages. Returns the mappings that were removed completely, and whether one was split.
fn remove(vmas: &mut VmaTree, pages: Range<u64>) -> Result<(VmaTree, bool)> {
    let mut removed = VmaTree::new();
    let node = vmas.remove(&pages, node()?, &mut removed);

    Ok((removed, node.is_none()))
}

/// Changes the access to pages. Returns the number of mappings that were split.
fn protect(vmas: &mut VmaTree, pages: Range<u64>, access: Access) -> Result<usize> {
    let mut nodes = [Some(node()?), Some(node()?)];
    vmas.protect(&pages, access, &mut nodes);

    Ok(nodes.iter().filter(|node| node.is_none()).count())
}

/// Returns the first page and the end of each mapping.
fn all(vmas: &VmaTree) -> Result<KVec<(u64, u64)>> {
    let mut all = KVec::new();
    let mut from = 0;
    while let Some((pages, _)) = vmas.first_from(from) {
        from = pages.end;
        all.push((pages.start, pages.end), GFP_KERNEL)?;
    }

    Ok(all)
}

/// Address of the memory at a page and the access to it, or [`None`] if the page is sparse.
type Mapped = Option<(u64, Access)>;

fn mapped(vmas: &VmaTree, page: u64) -> Option<Mapped> {
    let (start, backing) = vmas.find(page)?;
    if backing.is_sparse() {
        return Some(None);
    }
    let access = match backing.is_changed_by(Access::ReadOnly) {
        true => Access::ReadWrite,
        false => Access::ReadOnly,
    };

    Some(Some((backing.run(page - start).ok()?.address, access)))
}

/// Number of pages in the random test.
const PAGES: u64 = 64;

#[kunit_tests(nova_core_mm_vma)]
mod suite {
    use super::*;
    use Access::*;

    #[test]
    fn find_returns_mapping_of_page() -> Result {
        let memory = memory_at(0)?;
        let mut vmas = VmaTree::new();
        assert!(vmas.is_empty() && vmas.bounds().is_none());
        assert!(vmas.find(5).is_none() && vmas.first_from(0).is_none());
        insert(&mut vmas, 10..20, backing(&memory, 7))?;
        insert(&mut vmas, 30..31, backing(&memory, 50))?;

        assert!(!vmas.is_empty());
        assert_eq!(vmas.bounds(), Some(10..31));
        for (page, start) in [
            (0, None),
            (9, None),
            (10, Some(10)),
            (19, Some(10)),
            (20, None),
            (29, None),
            (30, Some(30)),
            (31, None),
            (u64::MAX, None),
        ] {
            assert_eq!(vmas.find(page).map(|(start, _)| start), start);
        }
        for (page, pages) in [
            (0, Some(10..20)),
            (10, Some(10..20)),
            (19, Some(10..20)),
            (20, Some(30..31)),
            (30, Some(30..31)),
            (31, None),
        ] {
            assert_eq!(vmas.first_from(page).map(|(pages, _)| pages), pages);
        }
        assert_eq!(mapped(&vmas, 12), Some(Some((9 * PAGE_SIZE, ReadWrite))));

        Ok(())
    }

    #[test]
    fn insert_merges_continuation() -> Result {
        let (memory, other) = (memory_at(0)?, memory_at(1 << 40)?);
        let mut vmas = VmaTree::new();
        assert!(!insert(&mut vmas, 10..20, backing(&memory, 5))?);
        assert!(insert(&mut vmas, 20..25, backing(&memory, 15))?);
        assert_eq!(&all(&vmas)?[..], &[(10, 25)]);
        assert_eq!(mapped(&vmas, 24), Some(Some((19 * PAGE_SIZE, ReadWrite))));

        // Either a gap or a difference between the mappings prevents merging.
        assert!(!insert(&mut vmas, 26..30, backing(&memory, 21))?);
        assert!(!insert(&mut vmas, 30..35, backing(&memory, 26))?);
        assert!(!insert(&mut vmas, 35..40, backing(&other, 31))?);
        let read_only = backing(&other, 36).with_access(ReadOnly);
        assert!(!insert(&mut vmas, 40..45, read_only)?);
        assert!(!insert(&mut vmas, 45..50, Backing::sparse())?);
        assert!(insert(&mut vmas, 50..55, Backing::sparse())?);
        let expected = [(10, 25), (26, 30), (30, 35), (35, 40), (40, 45), (45, 55)];
        assert_eq!(&all(&vmas)?[..], &expected);

        Ok(())
    }

    #[test]
    fn remove_cuts_mappings() -> Result {
        for (pages, rest, removed, is_split) in [
            (0..10, &[(10, 20), (30, 40)][..], &[][..], false),
            (10..20, &[(30, 40)], &[(10, 20)], false),
            (5..25, &[(30, 40)], &[(10, 20)], false),
            (5..15, &[(15, 20), (30, 40)], &[], false),
            (15..25, &[(10, 15), (30, 40)], &[], false),
            (12..15, &[(10, 12), (15, 20), (30, 40)], &[], true),
            (10..15, &[(15, 20), (30, 40)], &[], false),
            (15..20, &[(10, 15), (30, 40)], &[], false),
            (15..35, &[(10, 15), (35, 40)], &[], false),
            (0..50, &[], &[(10, 20), (30, 40)], false),
            (20..30, &[(10, 20), (30, 40)], &[], false),
        ] {
            let memory = memory_at(0)?;
            let mut vmas = VmaTree::new();
            insert(&mut vmas, 10..20, backing(&memory, 0))?;
            insert(&mut vmas, 30..40, backing(&memory, 100))?;

            let (gone, was_split) = remove(&mut vmas, pages.clone())?;
            assert_eq!(&all(&vmas)?[..], rest);
            assert_eq!(&all(&gone)?[..], removed);
            assert_eq!(was_split, is_split);
            for page in 0..50 {
                let address = match page {
                    _ if pages.contains(&page) => None,
                    10..=19 => Some(page - 10),
                    30..=39 => Some(page + 70),
                    _ => None,
                };
                let expected = address.map(|page| Some((page * PAGE_SIZE, ReadWrite)));
                assert_eq!(mapped(&vmas, page), expected);
            }
        }

        Ok(())
    }

    #[test]
    fn protect_splits_changed_mappings() -> Result {
        for (pages, access, rest, splits) in [
            (
                12..15,
                ReadOnly,
                &[(10, 12), (12, 15), (15, 20), (30, 40)][..],
                2,
            ),
            (10..15, ReadOnly, &[(10, 15), (15, 20), (30, 40)], 1),
            (15..20, ReadOnly, &[(10, 15), (15, 20), (30, 40)], 1),
            (10..20, ReadOnly, &[(10, 20), (30, 40)], 0),
            (5..25, ReadOnly, &[(10, 20), (30, 40)], 0),
            // Pages that already have the access, and sparse ranges, are not changed.
            (12..15, ReadWrite, &[(10, 20), (30, 40)], 0),
            (32..35, ReadOnly, &[(10, 20), (30, 40)], 0),
            (15..35, ReadOnly, &[(10, 15), (15, 20), (30, 40)], 1),
            (20..30, ReadOnly, &[(10, 20), (30, 40)], 0),
        ] {
            let memory = memory_at(0)?;
            let mut vmas = VmaTree::new();
            insert(&mut vmas, 10..20, backing(&memory, 0))?;
            insert(&mut vmas, 30..40, Backing::sparse())?;

            assert_eq!(protect(&mut vmas, pages.clone(), access)?, splits);
            assert_eq!(&all(&vmas)?[..], rest);
            for page in 10..20 {
                let expected = if pages.contains(&page) {
                    access
                } else {
                    ReadWrite
                };
                let address = (page - 10) * PAGE_SIZE;
                assert_eq!(mapped(&vmas, page), Some(Some((address, expected))));
            }
        }

        Ok(())
    }

    #[test]
    fn other_access_skips_same_and_sparse() -> Result {
        let memory = memory_at(0)?;
        let mut vmas = VmaTree::new();
        insert(&mut vmas, 10..20, backing(&memory, 0))?;
        insert(&mut vmas, 20..30, Backing::sparse())?;
        insert(
            &mut vmas,
            30..40,
            backing(&memory, 50).with_access(ReadOnly),
        )?;
        insert(&mut vmas, 40..50, backing(&memory, 70))?;

        for (pages, access, expected) in [
            (0..100, ReadOnly, Some((10..20, 10))),
            (12..15, ReadOnly, Some((12..15, 10))),
            (0..100, ReadWrite, Some((30..40, 30))),
            (35..100, ReadWrite, Some((35..40, 30))),
            (20..100, ReadOnly, Some((40..50, 40))),
            (20..45, ReadOnly, Some((40..45, 40))),
            (20..40, ReadOnly, None),
            (0..30, ReadWrite, None),
            (50..60, ReadOnly, None),
            // An empty range within a mapping.
            (15..15, ReadOnly, None),
        ] {
            let found = vmas.first_with_other_access(&pages, access);
            assert_eq!(found.map(|(part, start, _)| (part, start)), expected);
        }

        Ok(())
    }

    #[test]
    fn move_to_selects_by_start() -> Result {
        let memory = memory_at(0)?;
        let mut vmas = VmaTree::new();
        for start in [0, 10, 20, 30] {
            insert(&mut vmas, start..start + 5, backing(&memory, 2 * start))?;
        }
        let mut other = VmaTree::new();
        vmas.move_to(&(10..30), &mut other);
        assert_eq!(&all(&vmas)?[..], &[(0, 5), (30, 35)]);
        assert_eq!(&all(&other)?[..], &[(10, 15), (20, 25)]);
        vmas.move_to(&(0..100), &mut other);
        assert!(vmas.is_empty());
        assert_eq!(other.bounds(), Some(0..35));

        Ok(())
    }

    #[test]
    fn random_operations_match_pages() -> Result {
        const LEN: usize = 64;

        let memories = [memory_at(0)?, memory_at(1 << 40)?];
        let mut vmas = VmaTree::new();
        let mut expected: [Option<Mapped>; LEN] = [None; LEN];
        let mut random: u64 = 1;
        let mut next = |end: u64| {
            random = random
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7f);

            (random >> 33) % end
        };

        for _ in 0..3000 {
            let start = next(PAGES);
            let end = start + 1 + next(PAGES - start);
            let pages = usize::try_from(start)?..usize::try_from(end)?;
            let access = if next(2) == 0 { ReadOnly } else { ReadWrite };
            let operation = next(4);

            if operation == 0 {
                protect(&mut vmas, start..end, access)?;
                for (_, old) in expected[pages].iter_mut().flatten().flatten() {
                    *old = access;
                }
            } else {
                remove(&mut vmas, start..end)?;
                expected[pages.clone()].fill(None);
                let memory = &memories[usize::from(operation == 2)];
                // Pages often continue the preceding mapping.
                let first = start + 100 * next(2);
                if operation < 3 {
                    let backing = backing(memory, first).with_access(access);
                    insert(&mut vmas, start..end, backing)?;
                    for (page, mapped) in (first..).zip(&mut expected[pages]) {
                        let run = memory.run(page).ok_or(EINVAL)?;
                        *mapped = Some(Some((run.address, access)));
                    }
                } else if next(2) == 0 {
                    insert(&mut vmas, start..end, Backing::sparse())?;
                    expected[pages].fill(Some(None));
                }
            }

            for (page, &expected) in (0..).zip(&expected) {
                assert_eq!(mapped(&vmas, page), expected);
            }
            for (start, end) in all(&vmas)? {
                assert!(start < end && end <= PAGES);
            }
        }

        Ok(())
    }
}

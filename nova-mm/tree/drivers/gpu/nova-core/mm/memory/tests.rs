// SPDX-License-Identifier: GPL-2.0

//! Tests of the memory that can be mapped in address spaces.

use super::*;

use crate::mm::format::{
    v2::MmuV2,
    PteKind, //
};

/// Sets a flag when it is dropped.
struct Owner(Arc<Flag>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Creates system memory from ranges, each given as address and number of pages.
fn sys_memory(ranges: &[(u64, u64)]) -> Result<Arc<SysMemory<()>>> {
    let ranges = ranges
        .iter()
        .map(|&(start, pages)| (start, pages * PAGE_SIZE));

    Ok(Arc::new(
        SysMemory::new(ranges, Coherence::Coherent, ())?,
        GFP_KERNEL,
    )?)
}

fn backing(memory: &Arc<SysMemory<()>>, first: u64) -> Backing {
    Backing::new(memory.clone(), first, PageAttributes::default())
}

fn run(address: u64, pages: u64) -> Option<Run> {
    Some(Run { address, pages })
}

#[kunit_tests(nova_core_mm_memory)]
mod suite {
    use super::*;

    #[test]
    fn sysmem_bad_ranges_einval() {
        let new = |ranges: &[(u64, u64)]| {
            let ranges = ranges.iter().copied();

            SysMemory::new(ranges, Coherence::Coherent, ()).map(drop)
        };
        for ranges in [
            &[][..],
            &[(0x1000, 0)],
            &[(0x1000, 0x1800)],
            &[(0x1800, 0x1000)],
            &[(0x1000, 0x1000), (0x4000, 1)],
            // The end of the range is not a valid address.
            &[(u64::MAX - 0xfff, 0x1000)],
            &[(0x1000, u64::MAX - 0xfff)],
        ] {
            assert_eq!(new(ranges), Err(EINVAL));
        }
        assert_eq!(new(&[(u64::MAX - 0x1fff, 0x1000)]), Ok(()));
        assert_eq!(new(&[(0, 0x1000)]), Ok(()));
    }

    #[test]
    fn sysmem_runs_in_order() -> Result {
        let memory = sys_memory(&[(0x9000, 2), (0x1000, 1), (0x2000, 3), (0x7000, 1)])?;
        assert_eq!(memory.pages(), 7);
        assert_eq!(memory.last_page(), 0xa000);

        for (page, expected) in [
            (0, run(0x9000, 2)),
            (1, run(0xa000, 1)),
            // Adjacent ranges form a single run.
            (2, run(0x1000, 4)),
            (3, run(0x2000, 3)),
            (5, run(0x4000, 1)),
            (6, run(0x7000, 1)),
            (7, None),
            (u64::MAX, None),
        ] {
            assert_eq!(memory.run(page), expected);
        }

        Ok(())
    }

    #[test]
    fn sysmem_last_page_of_adjacent_ranges() -> Result {
        let memory = sys_memory(&[(0x1000, 1), (0x2000, 3)])?;
        assert_eq!(memory.last_page(), 0x4000);
        assert_eq!(memory.run(0), run(0x1000, 4));

        Ok(())
    }

    #[test]
    fn sysmem_aperture_of_coherence() -> Result {
        for (coherence, aperture) in [
            (Coherence::Coherent, Aperture::SysCoherent),
            (Coherence::NonCoherent, Aperture::SysNonCoherent),
        ] {
            let memory = SysMemory::new([(0, PAGE_SIZE)].into_iter(), coherence, ())?;
            assert_eq!(memory.aperture(), aperture);
        }

        Ok(())
    }

    #[test]
    fn sysmem_drops_owner() -> Result {
        let dropped = Arc::new(Flag::new(), GFP_KERNEL)?;
        let owner = Owner(dropped.clone());
        let memory = SysMemory::new([(0, PAGE_SIZE)].into_iter(), Coherence::Coherent, owner)?;
        assert!(!dropped.is_set());
        drop(memory);
        assert!(dropped.is_set());

        // The owner is also dropped if the ranges are rejected.
        let dropped = Arc::new(Flag::new(), GFP_KERNEL)?;
        let owner = Owner(dropped.clone());
        let memory = SysMemory::new([(0, 1)].into_iter(), Coherence::Coherent, owner);
        assert!(memory.is_err() && dropped.is_set());

        Ok(())
    }

    #[test]
    fn sysmem_leak_on_drop_leaks_owner() -> Result {
        static DROPPED: Flag = Flag::new();

        struct StaticOwner;

        impl Drop for StaticOwner {
            fn drop(&mut self) {
                DROPPED.set();
            }
        }

        let ranges = [(0, PAGE_SIZE)].into_iter();
        let memory = SysMemory::new(ranges, Coherence::Coherent, StaticOwner)?;
        memory.leak_on_drop();
        drop(memory);
        assert!(!DROPPED.is_set());

        Ok(())
    }

    #[test]
    fn backing_check_counts_pages() -> Result {
        let memory = sys_memory(&[(0x9000, 2), (0x1000, 4)])?;
        for (first, pages, expected) in [
            (0, 1, Ok(())),
            (0, 6, Ok(())),
            (5, 1, Ok(())),
            (0, 7, Err(EINVAL)),
            (6, 1, Err(EINVAL)),
            (u64::MAX, 1, Err(EINVAL)),
            (1, u64::MAX, Err(EINVAL)),
        ] {
            assert_eq!(backing(&memory, first).check(&MmuV2, pages), expected);
        }
        assert_eq!(Backing::sparse().check(&MmuV2, u64::MAX), Ok(()));

        Ok(())
    }

    #[test]
    fn backing_check_encodes_last_page() -> Result {
        // Addresses of system memory have 58 bits in MMU v2.
        for (address, expected) in [((1 << 58) - 0x1000, Ok(())), (1 << 58, Err(EINVAL))] {
            let memory = sys_memory(&[(address, 1), (0x1000, 1)])?;
            assert_eq!(backing(&memory, 0).check(&MmuV2, 2), expected);
        }
        let attributes = PageAttributes {
            kind: PteKind::Other(0x07),
            ..PageAttributes::default()
        };
        let backing = Backing::new(sys_memory(&[(0, 1)])?, 0, attributes);
        assert_eq!(backing.check(&MmuV2, 1), Err(EINVAL));

        Ok(())
    }

    #[test]
    fn backing_runs_from_first_page() -> Result {
        let memory = sys_memory(&[(0x9000, 2), (0x1000, 4)])?;
        let backing = backing(&memory, 1);
        assert_eq!(backing.run(0).ok(), run(0xa000, 1));
        assert_eq!(backing.run(2).ok(), run(0x2000, 3));
        assert_eq!(backing.after(2).run(1).ok(), run(0x3000, 2));
        assert_eq!(backing.run(5), Err(EINVAL));

        Ok(())
    }

    #[test]
    fn backing_continued_by_next_pages() -> Result {
        let (memory, other) = (sys_memory(&[(0, 9)])?, sys_memory(&[(0, 9)])?);
        let first = backing(&memory, 2);
        assert!(first.is_continued_by(3, &backing(&memory, 5)));
        assert!(!first.is_continued_by(3, &backing(&memory, 4)));
        assert!(!first.is_continued_by(3, &backing(&memory, 6)));
        assert!(!first.is_continued_by(3, &backing(&other, 5)));
        let read_only = backing(&memory, 5).with_access(Access::ReadOnly);
        assert!(!first.is_continued_by(3, &read_only));
        assert!(!first.is_continued_by(3, &Backing::sparse()));
        assert!(!Backing::sparse().is_continued_by(3, &first));
        assert!(Backing::sparse().is_continued_by(3, &Backing::sparse()));

        Ok(())
    }

    #[test]
    fn backing_sparse_no_pages() {
        let backing = Backing::sparse();
        assert!(backing.is_sparse());
        for size in [PageSize::Size4K, PageSize::Size64K, PageSize::Size2M] {
            assert!(!backing.allows(size));
            assert_eq!(backing.encode(&MmuV2, 0, size, 1), Err(EINVAL));
        }
    }

    #[test]
    fn backing_sysmem_allows_4k_only() -> Result {
        let backing = backing(&sys_memory(&[(0, 1 << 20)])?, 0);
        assert!(backing.allows(PageSize::Size4K));
        for size in [PageSize::Size64K, PageSize::Size2M, PageSize::Size512M] {
            assert!(!backing.allows(size));
        }

        Ok(())
    }
}

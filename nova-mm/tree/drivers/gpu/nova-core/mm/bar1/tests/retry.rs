// SPDX-License-Identifier: GPL-2.0

//! Tests of the location of BAR1, of the allocation of its addresses, and of unmapping after the
//! firmware has changed an entry.

use super::*;

use crate::mm::bar1::find_resource;

/// Number of 2 MiB mappings.
const COUNT: usize = 4;

const LARGE: u64 = usize_as_u64(SZ_2M);

/// Directory of the firmware with one entry for each 2 MiB of BAR1.
const DIRECTORY: u64 = FIRMWARE + 0x2000;

/// Creates a BAR1 whose directories belong to the firmware.
fn fixture() -> Result<Fixture> {
    let config = Config::default();
    let tables = [FIRMWARE, FIRMWARE + 0x1000, DIRECTORY];
    let pde = |table: u64| (table >> 12 << 8) | 1 << 1;

    Fixture::with_firmware(config, |gpu| {
        let write = |address, value| gpu.vram_write64(VramAddress::new(address), value);
        for table in tables {
            for word in 0..512 {
                write(table + word * 8, 0);
            }
        }
        write(config.bar1_pdb.into_raw(), pde(tables[0]));
        write(tables[0], pde(tables[1]));
        write(tables[1], pde(tables[2]));
    })
}

/// Creates [`COUNT`] mappings in separate entries. Only the mappings hold references to the memory.
fn mappings(fixture: &Fixture) -> Result<KVec<Bar1Mapping>> {
    let mut mappings = KVec::new();
    for _ in 0..COUNT {
        let vram = fixture.memory(LARGE)?;
        let mapping = fixture.map(&vram, 0, LARGE, Access::ReadWrite)?;
        mappings.push(mapping, GFP_KERNEL)?;
    }

    Ok(mappings)
}

/// Returns the address of the word that maps the large page of a mapping or points to its table.
fn entry(mapping: &Bar1Mapping) -> VramAddress {
    let entry = DIRECTORY + mapping.address().into_raw() / LARGE * 16;

    VramAddress::new(if usize_as_u64(mapping.size()) == LARGE {
        entry
    } else {
        entry + 8
    })
}

impl Fixture {
    /// Returns the number of entries in the firmware's last directory.
    fn entries(&self) -> usize {
        let word = |index: u64| VramAddress::new(DIRECTORY + index * 8);

        (0..512)
            .filter(|&index| self.gpu.vram_read64(word(index)) != 0)
            .count()
    }
}

#[kunit_tests(nova_core_mm_bar1_retry)]
mod suite {
    use super::*;

    #[test]
    fn find_resource_after_bar0() {
        let find = |sizes: [u64; 3]| {
            find_resource(|number| {
                let index = usize::try_from(number)?;
                sizes.get(index).copied().ok_or(EINVAL)
            })
        };

        assert_eq!(find([16 << 20, 256 << 20, 0]), Ok((1, 256 << 20)));
        // The second half of a 64-bit BAR0 has no size.
        assert_eq!(find([16 << 20, 0, 256 << 20]), Ok((2, 256 << 20)));
        assert_eq!(find([16 << 20, 256 << 20, 32 << 20]), Ok((1, 256 << 20)));
        assert_eq!(find([16 << 20, 0, 0]), Err(ENODEV));
        assert_eq!(find_resource(|_| Err(EINVAL)), Err(EINVAL));
    }

    #[test]
    fn new_unusable_size_einval() -> Result {
        let fixture = Fixture::new()?;
        let new = |size| {
            let (hw, vram) = (fixture.hw.clone(), fixture.vram.clone());
            let root = fixture.bar1.pdb().address();
            let aperture = fixture.gpu.aperture().ok()?;

            Bar1::new(hw, vram, root, Some(aperture), size).err()
        };

        for size in [0, 1, PAGE_SIZE - 1, (1 << 49) + PAGE_SIZE, u64::MAX] {
            assert_eq!(new(size), Some(EINVAL));
        }
        assert_eq!(new(PAGE_SIZE), None);
        assert_eq!(new(1 << 49), None);

        Ok(())
    }

    /// The firmware's console is at the start of BAR1, so the driver allocates from the end.
    #[test]
    fn map_uses_start_last() -> Result {
        let fixture = Fixture::new()?;
        let size = Config::default().bar1_size;
        let vram = fixture.memory(LARGE)?;
        let first = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        assert_eq!(first.address().into_raw(), size - PAGE_SIZE);

        let mut rest = KVec::new();
        while let Ok(mapping) = fixture.map(&vram, 0, LARGE, Access::ReadOnly) {
            rest.push(mapping, GFP_KERNEL)?;
        }
        let last = rest.last().ok_or(EINVAL)?;
        assert_eq!(last.address().into_raw(), 0);
        assert_eq!(usize_as_u64(rest.len()), size / LARGE - 1);

        Ok(())
    }

    /// A mapping of at least 2 MiB is aligned to 2 MiB regardless of earlier mappings.
    #[test]
    fn map_large_aligned() -> Result {
        let fixture = Fixture::new()?;
        let vram = fixture.memory(2 * LARGE)?;
        let small = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        fixture.gpu.reset_counts();
        let large = fixture.map(&vram, 0, 2 * LARGE, Access::ReadWrite)?;
        assert_eq!(large.address().into_raw() % LARGE, 0);
        // One word per 2 MiB is written instead of a table.
        assert_eq!(fixture.gpu.counts().pramin_writes, 2);
        // One page less than 2 MiB needs no alignment.
        let medium = fixture.map(&vram, 0, LARGE - PAGE_SIZE, Access::ReadWrite)?;
        assert_eq!(
            medium.address().into_raw(),
            small.address().into_raw() - (LARGE - PAGE_SIZE)
        );

        Ok(())
    }

    /// A changed entry blocks only its own mapping: all others are unmapped, and later calls retry.
    #[test]
    fn unmap_dropped_error_continues() -> Result {
        let fixture = fixture()?;
        let before = fixture.vram.avail();

        for changed in 0..COUNT {
            let mappings = mappings(&fixture)?;
            let at = entry(&mappings[changed]);
            let old = fixture.gpu.vram_read64(at);
            fixture.gpu.vram_write64(at, old ^ 1 << 30);

            drop(mappings);
            for _ in 0..3 {
                assert_eq!(fixture.bar1.unmap_dropped(), Err(EBUSY));
                assert_eq!(fixture.entries(), 1);
                assert_eq!(fixture.vram.avail(), before - LARGE);
            }
            // Other mappings are not affected.
            let vram = fixture.memory(PAGE_SIZE)?;
            let other = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
            other.unmap()?;
            drop(vram);

            fixture.gpu.vram_write64(at, old);
            fixture.bar1.unmap_dropped()?;
            assert_eq!(fixture.vram.avail(), before);
            assert_eq!(fixture.entries(), 0);
            fixture.gpu.check_clean()?;
        }

        Ok(())
    }

    #[test]
    fn unmap_failure_retried() -> Result {
        let fixture = fixture()?;
        let before = fixture.vram.avail();

        // Each kind of operation retries the unmap first.
        for next in 0..3 {
            let vram = fixture.memory(PAGE_SIZE)?;
            let mapping = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
            let at = entry(&mapping);
            let old = fixture.gpu.vram_read64(at);
            drop(vram);
            fixture.gpu.vram_write64(at, 0);
            assert_eq!(mapping.unmap(), Err(EBUSY));
            assert!(fixture.vram.avail() < before);
            fixture.gpu.vram_write64(at, old);

            match next {
                0 => fixture.bar1.unmap_dropped()?,
                1 => {
                    let vram = fixture.memory(PAGE_SIZE)?;
                    let other = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
                    other.unmap()?;
                }
                _ => fixture.bar1.teardown()?,
            }
            assert_eq!(fixture.vram.avail(), before);
            assert_eq!(fixture.entries(), 0);
        }

        fixture.gpu.check_clean()
    }

    /// Each call waits for the GPU once instead of once per mapping.
    #[test]
    fn unmap_dropped_waits_for_hung_gpu_once() -> Result {
        let fixture = fixture()?;
        let before = fixture.vram.avail();
        let mappings = mappings(&fixture)?;
        let held = fixture.vram.avail();
        drop(mappings);

        fixture.gpu.hang_invalidate(0);
        assert_eq!(fixture.bar1.unmap_dropped(), Err(ETIMEDOUT));
        assert_eq!(fixture.entries(), COUNT - 1);
        fixture.gpu.reset_counts();
        for _ in 0..COUNT {
            assert_eq!(fixture.bar1.unmap_dropped(), Err(ETIMEDOUT));
            assert_eq!(fixture.entries(), COUNT - 1);
            assert_eq!(fixture.vram.avail(), held);
        }
        // Page tables stay unchanged until the GPU responds.
        let counts = fixture.gpu.counts();
        assert_eq!(counts.total(), counts.trigger_polls);

        fixture.gpu.recover();
        fixture.bar1.unmap_dropped()?;
        assert_eq!(fixture.entries(), 0);
        assert_eq!(fixture.vram.avail(), before);

        fixture.gpu.check_clean()
    }

    #[test]
    fn teardown_error_continues() -> Result {
        for changed in 0..COUNT {
            let fixture = fixture()?;
            let before = fixture.vram.avail();
            let mut mappings = mappings(&fixture)?;
            let at = entry(&mappings[changed]);
            let old = fixture.gpu.vram_read64(at);
            fixture.gpu.vram_write64(at, 0);
            // One mapping failed to unmap, one was dropped, and the others still exist.
            let busy = mappings.remove(changed)?;
            assert_eq!(busy.unmap(), Err(EBUSY));
            drop(mappings.pop());

            for _ in 0..2 {
                assert_eq!(fixture.bar1.teardown(), Err(EBUSY));
                assert_eq!(fixture.entries(), 0);
                assert_eq!(fixture.vram.avail(), before - LARGE);
            }
            for mapping in &mappings {
                assert_eq!(mapping.read32(0).err(), Some(ENODEV));
            }
            fixture.gpu.vram_write64(at, old);
            fixture.bar1.teardown()?;
            assert_eq!(fixture.vram.avail(), before);
            assert_eq!(fixture.entries(), 0);

            // The remaining mapping objects no longer access the hardware.
            fixture.gpu.reset_counts();
            while let Some(mapping) = mappings.pop() {
                assert_eq!(mapping.unmap(), Err(ENODEV));
            }
            assert_eq!(fixture.bar1.unmap_dropped(), Ok(()));
            assert_eq!(fixture.gpu.counts().total(), 0);
            fixture.gpu.check_clean()?;
        }

        Ok(())
    }

    /// A map that lacks addresses fails with the error of the busy mapping that occupies them.
    #[test]
    fn busy_mapping_keeps_addresses() -> Result {
        let fixture = fixture()?;
        let vram = fixture.memory(LARGE)?;
        let mapping = fixture.map(&vram, 0, LARGE, Access::ReadWrite)?;
        let at = entry(&mapping);
        let old = fixture.gpu.vram_read64(at);
        drop(mapping);
        fixture.gpu.vram_write64(at, 0);

        let size = Config::default().bar1_size;
        let map = |size| fixture.map(&vram, 0, size, Access::ReadWrite).err();
        assert_eq!(map(size), Some(EBUSY));
        assert_eq!(map(2 * size), Some(EBUSY));
        assert_eq!(map(LARGE), None);
        fixture.gpu.vram_write64(at, old);
        assert_eq!(map(2 * size), Some(ENOSPC));

        fixture.bar1.teardown()
    }

    /// A failed map that changed nothing leaves no pending work and no addresses in use.
    #[test]
    fn map_failure_leaves_no_work() -> Result {
        let fixture = fixture()?;
        let before = fixture.vram.avail();
        let vram = fixture.memory(PAGE_SIZE)?;
        let mapping = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        let address = mapping.address();
        let at = entry(&mapping);
        mapping.unmap()?;

        fixture.gpu.vram_write64(at, 1 << 20);
        let failed = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite);
        assert_eq!(failed.err(), Some(EBUSY));
        fixture.gpu.vram_write64(at, 0);
        fixture.gpu.reset_counts();
        assert_eq!(fixture.bar1.unmap_dropped(), Ok(()));
        assert_eq!(fixture.gpu.counts().total(), 0);
        let mapping = fixture.map(&vram, 0, PAGE_SIZE, Access::ReadWrite)?;
        assert_eq!(mapping.address(), address);
        mapping.unmap()?;
        drop(vram);
        assert_eq!(fixture.vram.avail(), before);

        fixture.gpu.check_clean()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Tests that make the hardware fail at each point of each operation on BAR1: an access, an
//! invalidation, or the whole device.
//!
//! Memory that the GPU can access must never be freed. BAR1 either continues as if there had been
//! no failure, or fails as a whole.

use super::*;

use crate::mm::{
    address::VirtualAddress,
    model::{
        Access as ModelAccess,
        Direction, //
    },
    vmm::tests::fixture::{
        ensure,
        ensure_eq, //
    }, //
};

/// Size of BAR1.
const SIZE: u64 = usize_as_u64(SZ_8M);

/// BAR1 with a mapping in use and a dropped one. Only the mappings hold references to the memory.
struct Setup {
    fixture: Fixture,
    mapping: Option<Bar1Mapping>,
}

/// An operation on a [`Setup`].
type Op = fn(&mut Setup) -> Result;

const OPS: [Op; 6] = [
    // The next two operations unmap the dropped mapping first.
    |setup| setup.map(PAGE_SIZE),
    |setup| setup.map(usize_as_u64(SZ_2M)),
    // Needs new tables of big and of small pages.
    |setup| setup.map(usize_as_u64(SZ_2M) - PAGE_SIZE),
    |setup| match setup.mapping.take() {
        Some(mapping) => mapping.unmap(),
        None => Ok(()),
    },
    |setup| setup.fixture.bar1.unmap_dropped(),
    |setup| setup.fixture.bar1.teardown(),
];

impl Setup {
    fn new() -> Result<Self> {
        let config = Config {
            bar1_size: SIZE,
            trigger_polls: 0,
            ..Config::default()
        };
        let fixture = Fixture::with_firmware(config, |_| ())?;
        let vram = fixture.memory(2 * PAGE_SIZE)?;
        let mapping = fixture.map(&vram, 0, 2 * PAGE_SIZE, Access::ReadWrite)?;
        drop(fixture.map(&vram, 0, PAGE_SIZE, Access::ReadOnly)?);
        let setup = Self {
            fixture,
            mapping: Some(mapping),
        };
        // Fill the TLB.
        for offset in (0..SIZE).step_by(1 << PageSize::Size4K.shift()) {
            let address = VirtualAddress::new(offset);
            let root = setup.root();
            let _ = setup
                .fixture
                .gpu
                .translate(root, address, ModelAccess::HUB_READ);
        }

        Ok(setup)
    }

    /// Maps new memory and drops the mapping, so the next operation unmaps it.
    fn map(&mut self, size: u64) -> Result {
        let vram = self.fixture.memory(size)?;

        self.fixture
            .map(&vram, 0, size, Access::ReadWrite)
            .map(drop)
    }

    fn root(&self) -> VramAddress {
        self.fixture.bar1.pdb().address()
    }
}

/// Fails if the GPU can access free memory of `vram`.
fn ensure_free_unreachable(gpu: &GpuModel, root: VramAddress, vram: &VramAllocator) -> Result {
    gpu.drain();
    let free = vram.alloc(vram.avail(), PageSize::Size4K)?;
    let is_free = |address: VramAddress| free.ranges().any(|range| range.contains(&address));

    for table in gpu.reachable_tables(root)? {
        ensure!(!is_free(table.address));
    }
    for offset in (0..SIZE).step_by(1 << PageSize::Size4K.shift()) {
        let address = VirtualAddress::new(offset);
        for found in [
            gpu.walk(root, address),
            gpu.translate(root, address, ModelAccess::HUB_READ),
        ] {
            ensure!(!found.is_ok_and(|found| is_free(VramAddress::new(found.address))));
        }
    }

    Ok(())
}

/// Makes one access of an operation fail: the one after `skip` others. Returns whether that made
/// BAR1 unusable, or [`None`] if the operation makes fewer accesses.
fn fail_access(op: Op, direction: Direction, skip: u64) -> Result<Option<bool>> {
    let mut setup = Setup::new()?;
    let (gpu, vram) = (setup.fixture.gpu.clone(), setup.fixture.vram.clone());
    let root = setup.root();

    gpu.fail_access(direction, skip);
    let result = op(&mut setup);
    if !gpu.has_failed() {
        result?;
        return Ok(None);
    }
    ensure!(matches!(result, Ok(()) | Err(EIO)));
    ensure_free_unreachable(&gpu, root, &vram)?;

    // Repeat the operation now that the hardware works.
    let again = op(&mut setup);
    ensure!(matches!(again, Ok(()) | Err(EIO)));
    ensure_free_unreachable(&gpu, root, &vram)?;
    let torn_down = setup.fixture.bar1.teardown();
    ensure!(matches!(torn_down, Ok(()) | Err(EIO)));
    if torn_down.is_ok() {
        ensure_eq!(again, Ok(()));
        ensure!(setup.fixture.root_is_empty());
        drop(setup);
        ensure_eq!(vram.avail(), vram.size());
    } else {
        drop(setup);
        ensure_free_unreachable(&gpu, root, &vram)?;
    }
    gpu.check_clean()?;

    Ok(Some(torn_down.is_err()))
}

/// Makes one invalidation of an operation time out: the one after `skip` others. Returns whether
/// the operation got that far.
fn hang_invalidation(op: Op, skip: u32) -> Result<bool> {
    let mut setup = Setup::new()?;
    let (gpu, vram) = (setup.fixture.gpu.clone(), setup.fixture.vram.clone());
    let root = setup.root();

    gpu.reset_counts();
    gpu.hang_invalidate(skip);
    let result = op(&mut setup);
    let has_hung = gpu.counts().invalidates > u64::from(skip);
    if has_hung {
        // The operation does not attempt later invalidations.
        ensure!(matches!(result, Ok(()) | Err(ETIMEDOUT) | Err(EIO)));
        ensure_eq!(gpu.counts().invalidates, u64::from(skip) + 1);
        ensure_free_unreachable(&gpu, root, &vram)?;
    } else {
        result?;
    }

    gpu.recover();
    if !has_hung {
        // The teardown issues another invalidation.
        let _ = setup.fixture.bar1.teardown();
        gpu.recover();
    }
    setup.fixture.bar1.teardown()?;
    ensure!(setup.fixture.root_is_empty());
    drop(setup);
    ensure_eq!(vram.avail(), vram.size());
    gpu.check_clean()?;

    Ok(has_hung)
}

/// Unbinds the device after `skip` uses of BAR0 in an operation. Returns whether the operation
/// noticed.
fn unbind(op: Op, skip: u64) -> Result<bool> {
    let mut setup = Setup::new()?;
    let (gpu, vram) = (setup.fixture.gpu.clone(), setup.fixture.vram.clone());
    let root = setup.root();

    gpu.unbind_after(Some(skip));
    let before = gpu.sections();
    let result = op(&mut setup);
    if gpu.sections() - before <= skip {
        result?;
        return Ok(false);
    }
    // After an interrupted update, later jobs of the operation fail with `EIO`.
    ensure!(matches!(result, Err(ENODEV) | Err(EIO)));
    ensure_free_unreachable(&gpu, root, &vram)?;

    gpu.reset_counts();
    if let Some(mapping) = &setup.mapping {
        ensure_eq!(mapping.read32(0), Err(ENODEV));
    }
    ensure!(setup.map(PAGE_SIZE).is_err());
    ensure!(setup.fixture.bar1.teardown().is_err());
    ensure_eq!(gpu.counts().total(), 0);
    drop(setup);
    ensure_free_unreachable(&gpu, root, &vram)?;
    gpu.check_clean()?;

    Ok(true)
}

#[kunit_tests(nova_core_mm_bar1_hardware)]
mod suite {
    use super::*;

    #[test]
    fn invalidate_timeout_at_each_point() -> Result {
        for op in OPS {
            let mut skip = 0;
            while hang_invalidation(op, skip)? {
                skip += 1;
            }
            assert!(skip > 0);
        }

        Ok(())
    }

    #[test]
    fn access_failure_at_each_point() -> Result {
        let mut lost = [0, 0];
        for direction in [Direction::Write, Direction::Read] {
            for op in OPS {
                // Most writes fill tables that are not linked yet, so test only some of these.
                for number in (0..).filter(|number| number % 512 < 20 || number % 512 > 500) {
                    let Some(is_lost) = fail_access(op, direction, number)? else {
                        break;
                    };
                    lost[usize::from(is_lost)] += 1;
                }
            }
        }
        assert!(lost[0] > 20 && lost[1] > 20);

        Ok(())
    }

    #[test]
    fn unbind_at_each_point() -> Result {
        for op in OPS {
            let mut skip = 0;
            while unbind(op, skip)? {
                skip += 1;
            }
            assert!(skip > 0);
        }

        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The hardware fails at each point of each operation on BAR1: an access, an invalidation, or the
//! whole device.
//!
//! In all cases, memory that the GPU can reach is not freed. BAR1 either continues as if nothing
//! had happened, or fails as a whole.

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

/// BAR1 with a mapping that is used and one that was dropped. Only the mappings hold references to
/// the memory.
struct Scene {
    fixture: Fixture,
    mapping: Option<Bar1Mapping>,
}

/// An operation on a [`Scene`].
type Step = fn(&mut Scene) -> Result;

const STEPS: [Step; 6] = [
    // These unmap the dropped mapping first.
    |scene| scene.map(PAGE_SIZE),
    |scene| scene.map(usize_as_u64(SZ_2M)),
    // This needs new page tables, of big and of small pages.
    |scene| scene.map(usize_as_u64(SZ_2M) - PAGE_SIZE),
    |scene| match scene.mapping.take() {
        Some(mapping) => mapping.unmap(),
        None => Ok(()),
    },
    |scene| scene.fixture.bar1.unmap_dropped(),
    |scene| scene.fixture.bar1.teardown(),
];

impl Scene {
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
        let scene = Self {
            fixture,
            mapping: Some(mapping),
        };
        // Fill the TLB.
        for offset in (0..SIZE).step_by(1 << PageSize::Size4K.shift()) {
            let address = VirtualAddress::new(offset);
            let root = scene.root();
            let _ = scene
                .fixture
                .gpu
                .translate(root, address, ModelAccess::HUB_READ);
        }

        Ok(scene)
    }

    /// Maps new memory. The mapping is dropped, so the next step unmaps it.
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

/// Fails if the GPU can reach free memory of `vram`.
fn ensure_apart(gpu: &SoftGpu, root: VramAddress, vram: &VramAllocator) -> Result {
    gpu.drain();
    let free = vram.alloc(vram.avail(), PageSize::Size4K)?;
    let is_free = |address: VramAddress| free.ranges().any(|range| range.contains(&address));

    for table in gpu.reach(root)? {
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

/// Lets the access after `skip` others fail in a step. Returns whether BAR1 could no longer be used
/// after that; [`None`] if the step makes fewer accesses.
fn fail(step: Step, direction: Direction, skip: u64) -> Result<Option<bool>> {
    let mut scene = Scene::new()?;
    let (gpu, vram) = (scene.fixture.gpu.clone(), scene.fixture.vram.clone());
    let root = scene.root();

    gpu.fail_access(direction, skip);
    let result = step(&mut scene);
    if !gpu.has_failed() {
        result?;
        return Ok(None);
    }
    ensure!(matches!(result, Ok(()) | Err(EIO)));
    ensure_apart(&gpu, root, &vram)?;

    // Again, while the hardware works.
    let again = step(&mut scene);
    ensure!(matches!(again, Ok(()) | Err(EIO)));
    ensure_apart(&gpu, root, &vram)?;
    let torn_down = scene.fixture.bar1.teardown();
    ensure!(matches!(torn_down, Ok(()) | Err(EIO)));
    if torn_down.is_ok() {
        ensure_eq!(again, Ok(()));
        ensure!(scene.fixture.root_is_empty());
        drop(scene);
        ensure_eq!(vram.avail(), vram.size());
    } else {
        drop(scene);
        ensure_apart(&gpu, root, &vram)?;
    }
    gpu.check_clean()?;

    Ok(Some(torn_down.is_err()))
}

/// Lets the invalidation after `skip` others time out in a step. Returns whether there was one.
fn hang(step: Step, skip: u32) -> Result<bool> {
    let mut scene = Scene::new()?;
    let (gpu, vram) = (scene.fixture.gpu.clone(), scene.fixture.vram.clone());
    let root = scene.root();

    gpu.reset_counts();
    gpu.hang_invalidate(skip);
    let result = step(&mut scene);
    let has_hung = gpu.counts().invalidates > u64::from(skip);
    if has_hung {
        // Later invalidations of the same step are not attempted.
        ensure!(matches!(result, Ok(()) | Err(ETIMEDOUT) | Err(EIO)));
        ensure_eq!(gpu.counts().invalidates, u64::from(skip) + 1);
        ensure_apart(&gpu, root, &vram)?;
    } else {
        result?;
    }

    gpu.recover();
    if !has_hung {
        // The teardown invalidates once more.
        let _ = scene.fixture.bar1.teardown();
        gpu.recover();
    }
    scene.fixture.bar1.teardown()?;
    ensure!(scene.fixture.root_is_empty());
    drop(scene);
    ensure_eq!(vram.avail(), vram.size());
    gpu.check_clean()?;

    Ok(has_hung)
}

/// Unbinds the device after `skip` uses of BAR0 in a step. Returns whether the step noticed.
fn unbind(step: Step, skip: u64) -> Result<bool> {
    let mut scene = Scene::new()?;
    let (gpu, vram) = (scene.fixture.gpu.clone(), scene.fixture.vram.clone());
    let root = scene.root();

    gpu.unbind_after(Some(skip));
    let before = gpu.sections();
    let result = step(&mut scene);
    if gpu.sections() - before <= skip {
        result?;
        return Ok(false);
    }
    // After an interrupted update, later jobs of the step fail with `EIO`.
    ensure!(matches!(result, Err(ENODEV) | Err(EIO)));
    ensure_apart(&gpu, root, &vram)?;

    gpu.reset_counts();
    if let Some(mapping) = &scene.mapping {
        ensure_eq!(mapping.read32(0), Err(ENODEV));
    }
    ensure!(scene.map(PAGE_SIZE).is_err());
    ensure!(scene.fixture.bar1.teardown().is_err());
    ensure_eq!(gpu.counts().total(), 0);
    drop(scene);
    ensure_apart(&gpu, root, &vram)?;
    gpu.check_clean()?;

    Ok(true)
}

#[kunit_tests(nova_core_mm_bar1_hardware)]
mod suite {
    use super::*;

    #[test]
    fn each_invalidation_times_out() -> Result {
        for step in STEPS {
            let mut skip = 0;
            while hang(step, skip)? {
                skip += 1;
            }
            assert!(skip > 0);
        }

        Ok(())
    }

    #[test]
    fn each_access_fails() -> Result {
        let mut lost = [0, 0];
        for direction in [Direction::Write, Direction::Read] {
            for step in STEPS {
                // Most writes fill tables that are not linked yet.
                for number in (0..).filter(|number| number % 512 < 20 || number % 512 > 500) {
                    let Some(is_lost) = fail(step, direction, number)? else {
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
    fn unbound_at_each_point() -> Result {
        for step in STEPS {
            let mut skip = 0;
            while unbind(step, skip)? {
                skip += 1;
            }
            assert!(skip > 0);
        }

        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! One access to the hardware fails while BAR1 is used, whichever it is.
//!
//! Nothing is freed that the GPU can reach, and BAR1 goes on as if nothing had happened, or is lost
//! as a whole.

use super::*;

use crate::mm::{
    address::VirtualAddress,
    mmio::Mmio,
    model::Access as ModelAccess,
    vmm::tests::{
        bench::{
            ensure,
            ensure_eq, //
        },
        hardware::{
            Direction,
            Faulty, //
        }, //
    }, //
};

/// Size of BAR1.
const SIZE: u64 = usize_as_u64(SZ_8M);

/// BAR1 with a mapping that is used, and one that was dropped. Nothing but the mappings keeps the
/// memory.
struct Scene {
    fixture: Fixture,
    mapping: Option<Bar1Mapping<MmuV2>>,
}

/// An operation on a [`Scene`] that accesses the hardware through a BAR0.
type Step = fn(&mut Scene, &dyn Mmio) -> Result;

const STEPS: [Step; 5] = [
    // Both unmap the dropped mapping first.
    |scene, bar0| scene.map(PAGE_SIZE, bar0),
    |scene, bar0| scene.map(usize_as_u64(SZ_2M), bar0),
    |scene, bar0| match scene.mapping.take() {
        Some(mapping) => mapping.unmap(&scene.fixture.mmu, bar0),
        None => Ok(()),
    },
    |scene, bar0| scene.fixture.bar1.unmap_dropped(&scene.fixture.mmu, bar0),
    |scene, bar0| scene.fixture.bar1.teardown(&scene.fixture.mmu, bar0),
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
        for offset in (0..SIZE).step_by(1 << PageSize::Size4K.shift()) {
            let _ = scene.translate(offset);
        }

        Ok(scene)
    }

    fn map(&mut self, size: u64, bar0: &dyn Mmio) -> Result {
        let memory = Memory {
            vram: self.fixture.memory(size)?,
            offset: 0,
        };
        let mmu = &self.fixture.mmu;
        let bar1 = &self.fixture.bar1;

        // It is dropped, and unmapped by the next step.
        bar1.map(memory, size, Access::ReadWrite, mmu, bar0)
            .map(drop)
    }

    /// Returns the VRAM address that the GPU, including its TLB, translates an offset of BAR1 to.
    fn translate(&self, offset: u64) -> Option<u64> {
        let address = VirtualAddress::new(offset);
        let root = self.fixture.bar1.root();

        self.fixture
            .gpu
            .translate(root, address, ModelAccess::HUB_READ)
            .ok()
            .map(|found| found.address)
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

/// Lets the access after `number` others fail in a step. Returns whether BAR1 was lost by that;
/// [`None`] if the step makes fewer accesses.
fn fail(step: Step, direction: Direction, number: u64) -> Result<Option<bool>> {
    let mut scene = Scene::new()?;
    let bar0 = scene.fixture.gpu.bar0();
    let bar = Faulty::new(&bar0, direction, number);

    let result = step(&mut scene, &bar);
    if !bar.has_failed() {
        result?;
        return Ok(None);
    }
    let (gpu, vram) = (scene.fixture.gpu.clone(), scene.fixture.vram.clone());
    let root = scene.fixture.bar1.root();
    ensure!(matches!(result, Ok(()) | Err(EIO)));
    ensure_apart(&gpu, root, &vram)?;

    // Once more, with hardware that works.
    let again = step(&mut scene, &bar0);
    ensure!(matches!(again, Ok(()) | Err(EIO)));
    ensure_apart(&gpu, root, &vram)?;
    let torn_down = scene.fixture.teardown();
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

/// Lets the invalidate after `skip` others hang in a step. Returns whether there was one.
fn hang(step: Step, skip: u32) -> Result<bool> {
    let mut scene = Scene::new()?;
    let (gpu, vram) = (scene.fixture.gpu.clone(), scene.fixture.vram.clone());
    let (bar0, root) = (gpu.bar0(), scene.fixture.bar1.root());

    gpu.reset_counts();
    gpu.hang_invalidate(skip);
    let result = step(&mut scene, &bar0);
    let has_hung = gpu.counts().invalidates > u64::from(skip);
    if has_hung {
        ensure!(matches!(result, Ok(()) | Err(ETIMEDOUT)));
        ensure_apart(&gpu, root, &vram)?;
    } else {
        result?;
    }

    gpu.recover();
    if !has_hung {
        // There is one more, that of the teardown.
        let _ = scene.fixture.teardown();
        gpu.recover();
    }
    scene.fixture.teardown()?;
    ensure!(scene.fixture.root_is_empty());
    drop(scene);
    ensure_eq!(vram.avail(), vram.size());
    gpu.check_clean()?;

    Ok(has_hung)
}

#[kunit_tests(nova_mm_bar1_hardware)]
mod suite {
    use super::*;

    #[test]
    fn each_invalidate_hangs() -> Result {
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
}

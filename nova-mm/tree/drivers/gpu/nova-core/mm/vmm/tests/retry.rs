// SPDX-License-Identifier: GPL-2.0

//! Tests of teardowns and jobs that are repeated after the firmware has changed an entry.

use kernel::prelude::*;

use crate::mm::{
    address::{
        Vfn,
        PAGE_SIZE, //
    },
    format::{
        Access::*,
        Pde, //
    },
    vmm::{
        tests::{
            firmware::{
                ensure_busy,
                entries,
                fixture,
                last_directory,
                page,
                set,
                snapshot,
                FOREIGN, //
            },
            fixture::{
                ensure,
                ensure_eq,
                Area,
                Fixture,
                TestFormat,
                LARGE, //
            },
        },
        JobError, //
    }, //
};

/// Number of mappings, in separate entries of the firmware's last directory.
const COUNT: u64 = 4;

/// Index of the entry of the first mapping.
const FIRST: u64 = FOREIGN + 1;

/// The address space of a BAR with [`COUNT`] mappings, and the state before they were made.
struct Scene<F: TestFormat> {
    fixture: Fixture<F>,
    vas: KVec<Area>,
    /// Contents of the firmware's VRAM before.
    before: KVec<u64>,
    /// Free bytes for data and free pages for tables before.
    free: (u64, u64),
}

impl<F: TestFormat> Scene<F> {
    /// Maps small pages and large pages in turn. The mappings are the only owners of the memory.
    fn new() -> Result<Self> {
        let mut fixture = fixture::<F>()?;
        let before = snapshot(&fixture.gpu)?;
        let free = (fixture.data.avail(), fixture.free_tables());
        let mut vas = KVec::new();

        for slot in FIRST..FIRST + COUNT {
            let vram = fixture.alloc(LARGE)?;
            let va = fixture.reserve_at(slot * LARGE..(slot + 1) * LARGE)?;
            let skip = slot % 2;
            fixture.map(&va, 0..LARGE - skip, &vram, skip, ReadWrite)?;
            vas.push(va, GFP_KERNEL)?;
        }
        fixture.check()?;

        Ok(Self {
            fixture,
            vas,
            before,
            free,
        })
    }

    /// Returns the entry of mapping `number`.
    fn entry(&self, number: u64) -> Result<KVec<u64>> {
        let slot = FIRST + number;

        entries::<F>(&self.fixture.gpu, slot..slot + 1)
    }

    /// Returns the numbers of free bytes for data and of free pages for tables.
    fn free(&self) -> (u64, u64) {
        (self.fixture.data.avail(), self.fixture.free_tables())
    }

    /// Changes the entry of mapping `number` as the firmware may, and returns its old words.
    fn change(&self, number: u64) -> Result<KVec<u64>> {
        let old = self.entry(number)?;
        let new = F::encode_dual(None, Some(&Pde::vram(page(20))))?;
        set(
            &self.fixture.gpu,
            last_directory::<F>(),
            FIRST + number,
            &new,
        )?;

        Ok(old)
    }

    /// Writes the entry of mapping `number`.
    fn restore(&self, number: u64, words: &[u64]) -> Result {
        set(
            &self.fixture.gpu,
            last_directory::<F>(),
            FIRST + number,
            words,
        )
    }
}

/// A teardown unmaps and frees all mappings except the one whose entry the firmware has changed. It
/// unmaps that one after the entry is restored.
pub(crate) fn teardown_skips_busy_mapping<F: TestFormat>() -> Result {
    for changed in 0..COUNT {
        let mut scene = Scene::<F>::new()?;
        let old = scene.change(changed)?;
        let new = scene.entry(changed)?;
        // Memory and, with small pages, one table remain in use.
        let table = (FIRST + changed) % 2;
        let left = (scene.free.0 - LARGE * PAGE_SIZE, scene.free.1 - table);

        // However often it is called.
        for call in 0..3 {
            scene.fixture.gpu.reset_counts();
            ensure_eq!(scene.fixture.teardown(), Err(EBUSY));
            ensure_eq!(scene.fixture.gpu.counts().invalidates, u64::from(call == 0));
            for number in 0..COUNT {
                let expected = if number == changed { &*new } else { &[0, 0] };
                ensure_eq!(&*scene.entry(number)?, expected);
            }
            scene.fixture.gpu.check_clean()?;
            ensure_eq!(scene.free(), left);
            ensure!(!scene.fixture.vmm.has_deferred());
        }
        // Jobs fail nevertheless.
        ensure_eq!(scene.fixture.unmap(&scene.vas[0], 0..1), Err(ENODEV));

        scene.restore(changed, &old)?;
        scene.fixture.teardown()?;
        ensure!(snapshot(&scene.fixture.gpu)? == scene.before);
        ensure_eq!(scene.free(), scene.free);
        scene.fixture.gpu.reset_counts();
        scene.fixture.teardown()?;
        ensure_eq!(scene.fixture.gpu.counts().total(), 0);
        for number in 0..COUNT {
            let start = (FIRST + number) * LARGE;
            ensure_eq!(scene.fixture.look(start)?, None);
        }
        scene.fixture.check()?;
    }

    Ok(())
}

/// If the invalidation times out as well, nothing is freed until a later call.
pub(crate) fn busy_teardown_times_out<F: TestFormat>() -> Result {
    let mut scene = Scene::<F>::new()?;
    let old = scene.change(1)?;
    let held = scene.free();

    scene.fixture.gpu.hang_invalidate(0);
    ensure_eq!(scene.fixture.teardown(), Err(EBUSY));
    ensure!(scene.fixture.vmm.has_deferred());
    ensure_eq!(scene.free(), held);
    scene.restore(1, &old)?;
    ensure_eq!(scene.fixture.teardown(), Err(ETIMEDOUT));
    ensure_eq!(scene.free(), held);
    scene.fixture.gpu.recover();
    scene.fixture.teardown()?;
    ensure_eq!(scene.free(), scene.free);
    ensure!(snapshot(&scene.fixture.gpu)? == scene.before);

    scene.fixture.check()
}

/// Dropping the address space after a failed teardown keeps the memory allocated that is still
/// mapped.
pub(crate) fn busy_memory_is_kept<F: TestFormat>() -> Result {
    for changed in 0..COUNT {
        let scene = Scene::<F>::new()?;
        scene.change(changed)?;
        ensure_eq!(scene.fixture.teardown(), Err(EBUSY));
        let left = scene.free();
        let table = (FIRST + changed) % 2;

        let Scene { fixture, vas, .. } = scene;
        let Fixture {
            vmm, data, memory, ..
        } = fixture;
        drop((vas, vmm));
        ensure_eq!((data.avail(), memory.avail() / PAGE_SIZE), left);
        ensure_eq!(data.leaked(), LARGE * PAGE_SIZE);
        ensure_eq!(memory.leaked(), table * PAGE_SIZE);
    }

    Ok(())
}

/// A job that has failed with `EBUSY` can be run again. A job that has changed page tables cannot.
pub(crate) fn busy_job_is_repeated<F: TestFormat>() -> Result {
    let mut scene = Scene::<F>::new()?;
    let vram = scene.fixture.alloc(2 * LARGE)?;
    let va = scene.vas[1].clone();
    let fixture = &scene.fixture;
    let jobs = [
        fixture.prepare_map(&va, 0..LARGE, &vram, 3, ReadWrite)?,
        fixture.prepare_protect(&va, 3..9, ReadOnly)?,
        fixture.prepare_map(&va, 0..LARGE, &vram, LARGE, ReadWrite)?,
        fixture.prepare_protect(&va, 3..9, ReadOnly)?,
        fixture.prepare_unmap(&va, 9..20)?,
        fixture.prepare_unmap(&va, 0..LARGE)?,
    ];

    for job in jobs {
        let old = scene.change(1)?;
        let mut job = ensure_busy(&scene.fixture, job)?;
        scene.restore(1, &old)?;
        job.run()?;
        job.free();
        scene.fixture.check()?;
    }
    scene.fixture.expect_unmapped(&va, 0..LARGE)?;

    let mut job = scene.fixture.prepare_unmap(&scene.vas[0], 0..LARGE)?;
    scene.fixture.gpu.hang_invalidate(0);
    ensure_eq!(job.run(), Err(JobError::NotInvalidated(ETIMEDOUT)));
    scene.fixture.gpu.recover();
    scene.fixture.vmm.retry_invalidate()?;
    ensure_eq!(job.run(), Err(JobError::Unchanged(EINVAL)));
    job.free();
    scene.fixture.teardown()?;
    let first = Vfn::new(FIRST * LARGE)?;
    let found = scene.fixture.gpu.walk(scene.fixture.pdb(), first.address());
    ensure!(found.is_err());
    drop(vram);
    ensure_eq!(scene.free(), scene.free);

    scene.fixture.check()
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of teardown and of repeated jobs when the firmware has changed an entry.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    address::{
        Vfn,
        PAGE_SIZE, //
    },
    format::Pde,
    va::VaRange,
    vmm::{
        job::Access::*,
        tests::{
            bench::{
                ensure,
                ensure_eq,
                Bench,
                TestFormat,
                LARGE, //
            },
            firmware::{
                bench,
                entries,
                last_directory,
                page,
                set,
                snapshot,
                FOREIGN, //
            }, //
        }, //
    }, //
};

/// Number of mappings, in separate entries of the firmware's last directory.
const COUNT: u64 = 4;

/// The entry of the first one.
const FIRST: u64 = FOREIGN + 1;

/// The address space of a BAR with [`COUNT`] mappings, and the state without them.
struct Scene<F: TestFormat> {
    bench: Bench<F>,
    vas: KVec<Arc<VaRange>>,
    /// Contents of the firmware's VRAM without the mappings.
    before: KVec<u64>,
    /// Free bytes for data and free pages for tables without the mappings.
    free: (u64, u64),
}

impl<F: TestFormat> Scene<F> {
    /// Maps small pages and large pages in turn. Only the mappings hold references to the memory.
    fn new() -> Result<Self> {
        let mut bench = bench::<F>()?;
        let before = snapshot(&bench.gpu)?;
        let free = (bench.data.avail(), bench.free_tables());
        let mut vas = KVec::new();

        for slot in FIRST..FIRST + COUNT {
            let vram = bench.alloc(LARGE)?;
            let va = bench.reserve_at(slot * LARGE..(slot + 1) * LARGE)?;
            let skip = slot % 2;
            bench.map(&va, 0..LARGE - skip, &vram, skip, ReadWrite)?;
            vas.push(va, GFP_KERNEL)?;
        }
        bench.check()?;

        Ok(Self {
            bench,
            vas,
            before,
            free,
        })
    }

    /// Returns the entry of mapping `number`.
    fn entry(&self, number: u64) -> Result<KVec<u64>> {
        let slot = FIRST + number;

        entries::<F>(&self.bench.gpu, slot..slot + 1)
    }

    /// Returns free bytes and pages.
    fn free(&self) -> (u64, u64) {
        (self.bench.data.avail(), self.bench.free_tables())
    }

    /// Changes the entry of mapping `number` as the firmware may, and returns its old words.
    fn change(&self, number: u64) -> Result<KVec<u64>> {
        let old = self.entry(number)?;
        let new = F::encode_dual(None, Some(&Pde::vram(page(20))))?;
        set(&self.bench.gpu, last_directory::<F>(), FIRST + number, &new)?;

        Ok(old)
    }

    /// Writes the entry of mapping `number`.
    fn restore(&self, number: u64, words: &[u64]) -> Result {
        set(
            &self.bench.gpu,
            last_directory::<F>(),
            FIRST + number,
            words,
        )
    }
}

/// Whichever entry the firmware has changed, teardown unmaps and frees all other mappings. Once the
/// entry is restored, it unmaps the last one.
pub(crate) fn teardown_goes_on<F: TestFormat>() -> Result {
    for changed in 0..COUNT {
        let mut scene = Scene::<F>::new()?;
        let old = scene.change(changed)?;
        let new = scene.entry(changed)?;
        // Memory and, with small pages, one table remain in use.
        let table = (FIRST + changed) % 2;
        let left = (scene.free.0 - LARGE * PAGE_SIZE, scene.free.1 - table);

        // As often as it is called.
        for call in 0..3 {
            scene.bench.gpu.reset_counts();
            ensure_eq!(scene.bench.teardown(), Err(EBUSY));
            ensure_eq!(scene.bench.gpu.counts().invalidates, u64::from(call == 0));
            for number in 0..COUNT {
                let expected = if number == changed { &*new } else { &[0, 0] };
                ensure_eq!(&*scene.entry(number)?, expected);
            }
            scene.bench.gpu.check_clean()?;
            ensure_eq!(scene.free(), left);
            ensure!(!scene.bench.vmm.is_quarantined());
        }
        // Jobs fail all the same.
        ensure_eq!(scene.bench.unmap(&scene.vas[0], 0..1), Err(ENODEV));

        scene.restore(changed, &old)?;
        scene.bench.teardown()?;
        ensure!(snapshot(&scene.bench.gpu)? == scene.before);
        ensure_eq!(scene.free(), scene.free);
        scene.bench.gpu.reset_counts();
        scene.bench.teardown()?;
        ensure_eq!(scene.bench.gpu.counts().total(), 0);
        for number in 0..COUNT {
            let start = (FIRST + number) * LARGE;
            ensure_eq!(scene.bench.look(start)?, None);
        }
        scene.bench.check()?;
    }

    Ok(())
}

/// If the GPU does not answer either, nothing is freed until a later call.
pub(crate) fn teardown_goes_on_after_a_time_out<F: TestFormat>() -> Result {
    let mut scene = Scene::<F>::new()?;
    let old = scene.change(1)?;
    let held = scene.free();

    scene.bench.gpu.hang_invalidate(0);
    ensure_eq!(scene.bench.teardown(), Err(EBUSY));
    ensure!(scene.bench.vmm.is_quarantined());
    ensure_eq!(scene.free(), held);
    scene.restore(1, &old)?;
    ensure_eq!(scene.bench.teardown(), Err(ETIMEDOUT));
    ensure_eq!(scene.free(), held);
    scene.bench.gpu.recover();
    scene.bench.teardown()?;
    ensure_eq!(scene.free(), scene.free);
    ensure!(snapshot(&scene.bench.gpu)? == scene.before);

    scene.bench.check()
}

/// Dropping the address space after a failed teardown keeps the memory that is still mapped.
pub(crate) fn busy_memory_is_kept<F: TestFormat>() -> Result {
    for changed in 0..COUNT {
        let scene = Scene::<F>::new()?;
        scene.change(changed)?;
        ensure_eq!(scene.bench.teardown(), Err(EBUSY));
        let left = scene.free();
        let table = (FIRST + changed) % 2;

        let Scene { bench, vas, .. } = scene;
        let Bench {
            vmm, data, memory, ..
        } = bench;
        drop((vas, vmm));
        ensure_eq!((data.avail(), memory.avail() / PAGE_SIZE), left);
        ensure_eq!(data.kept(), LARGE * PAGE_SIZE);
        ensure_eq!(memory.kept(), table * PAGE_SIZE);
    }

    Ok(())
}

/// A job that has failed with `EBUSY` can be run again.
pub(crate) fn busy_jobs_are_run_again<F: TestFormat>() -> Result {
    let mut scene = Scene::<F>::new()?;
    let vram = scene.bench.alloc(2 * LARGE)?;
    let va = scene.vas[1].clone();
    let jobs = [
        scene.bench.submit_map(&va, 0..LARGE, &vram, 3, ReadWrite)?,
        scene.bench.submit_protect(&va, 3..9, ReadOnly)?,
        scene
            .bench
            .submit_map(&va, 0..LARGE, &vram, LARGE, ReadWrite)?,
        scene.bench.submit_protect(&va, 3..9, ReadOnly)?,
        scene.bench.submit_unmap(&va, 9..20)?,
        scene.bench.submit_unmap(&va, 0..LARGE)?,
    ];

    for job in jobs {
        let old = scene.change(1)?;
        let held = scene.free();
        let (result, job) = scene.bench.run(job).cleanup_or_return();
        ensure_eq!(result, Err(EBUSY));
        let (result, job) = scene.bench.run(job.ok_or(EINVAL)?).cleanup_or_return();
        ensure_eq!(result, Err(EBUSY));
        ensure_eq!(scene.free(), held);

        scene.restore(1, &old)?;
        let (result, job) = scene.bench.run(job.ok_or(EINVAL)?).cleanup_or_return();
        ensure_eq!(result, Ok(()));
        ensure!(job.is_none());
        scene.bench.check()?;
    }
    scene.bench.expect_unmapped(&va, 0..LARGE)?;

    // A job that has changed the tables is not returned. Only the invalidation is missing.
    let job = scene.bench.submit_unmap(&scene.vas[0], 0..LARGE)?;
    scene.bench.gpu.hang_invalidate(0);
    let (result, job) = scene.bench.run(job).cleanup_or_return();
    ensure_eq!(result, Err(ETIMEDOUT));
    ensure!(job.is_none());
    scene.bench.gpu.recover();
    scene.bench.teardown()?;
    let first = Vfn::new(FIRST * LARGE)?;
    ensure!(scene
        .bench
        .gpu
        .walk(scene.bench.vmm.pdb(), first.address())
        .is_err());
    drop((va, vram));
    ensure_eq!(scene.free(), scene.free);

    scene.bench.check()
}

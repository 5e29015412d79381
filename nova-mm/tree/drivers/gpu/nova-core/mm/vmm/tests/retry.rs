// SPDX-License-Identifier: GPL-2.0

//! Tests of retrying teardowns and jobs after the firmware has changed an entry.

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        Vfn,
        PAGE_SIZE, //
    },
    format::{
        tests::vram_page,
        Access::*,
        Pde, //
    },
    vmm::{
        tests::{
            firmware::{
                directories,
                ensure_busy,
                entries,
                fixture,
                last_directory,
                page,
                set,
                snapshot,
                FIRMWARE_ENTRIES, //
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

/// Number of mappings, each in a separate entry of the firmware's last directory.
const COUNT: u64 = 4;

/// Index of the entry for the first mapping.
const FIRST: u64 = FIRMWARE_ENTRIES + 1;

/// The address space of a BAR with [`COUNT`] mappings, and the state before they were made.
struct Setup<F: TestFormat> {
    fixture: Fixture<F>,
    vas: KVec<Area>,
    /// Contents of the firmware's VRAM before the mappings.
    before: KVec<u64>,
    /// Free bytes of memory to be mapped and free pages for page tables before the mappings.
    free: (u64, u64),
}

impl<F: TestFormat> Setup<F> {
    /// Maps small pages and large pages alternately. The mappings own the only references to the
    /// memory.
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

    /// Returns the entry for mapping `number`.
    fn entry(&self, number: u64) -> Result<KVec<u64>> {
        let slot = FIRST + number;

        entries::<F>(&self.fixture.gpu, slot..slot + 1)
    }

    /// Returns the free bytes of memory to be mapped and the free pages for page tables.
    fn free(&self) -> (u64, u64) {
        (self.fixture.data.avail(), self.fixture.free_tables())
    }

    /// Changes the entry for mapping `number` as the firmware may. Returns the old words.
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

    /// Writes the entry for mapping `number`.
    fn restore(&self, number: u64, words: &[u64]) -> Result {
        set(
            &self.fixture.gpu,
            last_directory::<F>(),
            FIRST + number,
            words,
        )
    }
}

/// A teardown unmaps and frees all mappings except the one whose entry the firmware has changed.
/// Once the entry is restored, another teardown unmaps that mapping.
pub(crate) fn teardown_skips_busy_mapping<F: TestFormat>() -> Result {
    for changed in 0..COUNT {
        let mut setup = Setup::<F>::new()?;
        let old = setup.change(changed)?;
        let new = setup.entry(changed)?;
        // Memory remains in use, and one table if the mapping has small pages.
        let table = (FIRST + changed) % 2;
        let left = (setup.free.0 - LARGE * PAGE_SIZE, setup.free.1 - table);

        // Later calls have the same result.
        for call in 0..3 {
            setup.fixture.gpu.reset_counts();
            ensure_eq!(setup.fixture.teardown(), Err(EBUSY));
            ensure_eq!(setup.fixture.gpu.counts().invalidates, u64::from(call == 0));
            for number in 0..COUNT {
                let expected = if number == changed { &*new } else { &[0, 0] };
                ensure_eq!(&*setup.entry(number)?, expected);
            }
            setup.fixture.gpu.check_clean()?;
            ensure_eq!(setup.free(), left);
            ensure!(!setup.fixture.vmm.has_deferred());
        }
        // Jobs fail nonetheless.
        ensure_eq!(setup.fixture.unmap(&setup.vas[0], 0..1), Err(ENODEV));

        setup.restore(changed, &old)?;
        setup.fixture.teardown()?;
        ensure!(snapshot(&setup.fixture.gpu)? == setup.before);
        ensure_eq!(setup.free(), setup.free);
        setup.fixture.gpu.reset_counts();
        setup.fixture.teardown()?;
        ensure_eq!(setup.fixture.gpu.counts().total(), 0);
        for number in 0..COUNT {
            let start = (FIRST + number) * LARGE;
            ensure_eq!(setup.fixture.lookup(start)?, None);
        }
        setup.fixture.check()?;
    }

    Ok(())
}

/// A teardown fails if it cannot unmap a mapping below pages of the firmware, and still unmaps the
/// mapping above them.
pub(crate) fn teardown_returns_first_error<F: TestFormat>() -> Result {
    const USED: u64 = 2;
    const BELOW: u64 = USED - 1;
    const ABOVE: u64 = USED + 1;

    let page_of_firmware = F::encode_pte(&vram_page(8 << 30), PageSize::Size2M)?;
    let mut fixture = Fixture::<F>::of_bar(|gpu, root| {
        let last = directories::<F>(gpu, root)?;

        set(gpu, last, USED, &[page_of_firmware, 0])
    })?;
    let vram = fixture.alloc(LARGE)?;
    for slot in [BELOW, ABOVE] {
        let va = fixture.reserve_at(slot * LARGE..(slot + 1) * LARGE)?;
        fixture.map(&va, 0..LARGE, &vram, 0, ReadWrite)?;
    }
    let old = entries::<F>(&fixture.gpu, BELOW..BELOW + 1)?;
    let new = F::encode_dual(None, Some(&Pde::vram(page(20))))?;
    set(&fixture.gpu, last_directory::<F>(), BELOW, &new)?;

    ensure_eq!(fixture.teardown(), Err(EBUSY));
    let above = entries::<F>(&fixture.gpu, ABOVE..ABOVE + 1)?;
    ensure_eq!(&*above, &[0, 0]);
    set(&fixture.gpu, last_directory::<F>(), BELOW, &old)?;
    fixture.teardown()?;

    fixture.check()
}

/// If the invalidation times out as well, memory is not freed until a later call.
pub(crate) fn busy_teardown_timeout<F: TestFormat>() -> Result {
    let mut setup = Setup::<F>::new()?;
    let old = setup.change(1)?;
    let held = setup.free();

    setup.fixture.gpu.hang_invalidate(0);
    ensure_eq!(setup.fixture.teardown(), Err(EBUSY));
    ensure!(setup.fixture.vmm.has_deferred());
    ensure_eq!(setup.free(), held);
    setup.restore(1, &old)?;
    ensure_eq!(setup.fixture.teardown(), Err(ETIMEDOUT));
    ensure_eq!(setup.free(), held);
    setup.fixture.gpu.recover();
    setup.fixture.teardown()?;
    ensure_eq!(setup.free(), setup.free);
    ensure!(snapshot(&setup.fixture.gpu)? == setup.before);

    setup.fixture.check()
}

/// Dropping the address space after a failed teardown leaves the memory allocated that is still
/// mapped.
pub(crate) fn busy_memory_kept<F: TestFormat>() -> Result {
    for changed in 0..COUNT {
        let setup = Setup::<F>::new()?;
        setup.change(changed)?;
        ensure_eq!(setup.fixture.teardown(), Err(EBUSY));
        let left = setup.free();
        let table = (FIRST + changed) % 2;

        let Setup { fixture, vas, .. } = setup;
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

/// A job that failed with `EBUSY` can be retried. A job that changed page tables cannot.
pub(crate) fn busy_job_retried<F: TestFormat>() -> Result {
    let mut setup = Setup::<F>::new()?;
    let vram = setup.fixture.alloc(2 * LARGE)?;
    let va = setup.vas[1].clone();
    let fixture = &setup.fixture;
    let jobs = [
        fixture.prepare_map(&va, 0..LARGE, &vram, 3, ReadWrite)?,
        fixture.prepare_protect(&va, 3..9, ReadOnly)?,
        fixture.prepare_map(&va, 0..LARGE, &vram, LARGE, ReadWrite)?,
        fixture.prepare_protect(&va, 3..9, ReadOnly)?,
        fixture.prepare_unmap(&va, 9..20)?,
        fixture.prepare_unmap(&va, 0..LARGE)?,
    ];

    for job in jobs {
        let old = setup.change(1)?;
        let mut job = ensure_busy(&setup.fixture, job)?;
        setup.restore(1, &old)?;
        job.run()?;
        job.free();
        setup.fixture.check()?;
    }
    setup.fixture.expect_unmapped(&va, 0..LARGE)?;

    let mut job = setup.fixture.prepare_unmap(&setup.vas[0], 0..LARGE)?;
    setup.fixture.gpu.hang_invalidate(0);
    ensure_eq!(job.run(), Err(JobError::NotInvalidated(ETIMEDOUT)));
    setup.fixture.gpu.recover();
    setup.fixture.vmm.retry_invalidate()?;
    ensure_eq!(job.run(), Err(JobError::Unchanged(EINVAL)));
    job.free();
    setup.fixture.teardown()?;
    let first = Vfn::new(FIRST * LARGE)?;
    let found = setup.fixture.gpu.walk(setup.fixture.pdb(), first.address());
    ensure!(found.is_err());
    drop(vram);
    ensure_eq!(setup.free(), setup.free);

    setup.fixture.check()
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of system memory.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    address::{
        PageSize,
        PAGE_SIZE, //
    },
    flag::Flag,
    format::{
        Access::*,
        Aperture,
        PageAttributes, //
    },
    memory::{
        Backing,
        Coherence,
        SysMemory, //
    },
    model::Fault,
    vmm::{
        tests::{
            fixture::{
                ensure,
                ensure_eq,
                start_of,
                within,
                Fixture,
                TestFormat,
                LARGE, //
            },
            mappings::{
                ensure_either,
                expect_fault,
                expect_pages,
                expect_size,
                map,
                vram_at,
                Expected,
                Published, //
            },
            trace::DOWNGRADE, //
        },
        JobError, //
    }, //
};

/// DMA addresses and sizes in pages, in mapping order. They are not sorted, and some are adjacent.
const RANGES: [(u64, u64); 6] = [
    (0x1_2345_6000, 1),
    (0x40_0000_0000, 700),
    (0x40_002b_c000, 20),
    (0x5000, 3),
    (0x1000, 4),
    (0x80_0001_0000, 64),
];

/// Number of pages in [`RANGES`].
const COUNT: u64 = 792;

/// Returns the address of page `page` of [`RANGES`].
fn address(page: u64) -> u64 {
    let mut first = 0;
    for (address, pages) in RANGES {
        if page < first + pages {
            return address + (page - first) * PAGE_SIZE;
        }
        first += pages;
    }

    u64::MAX
}

/// Sets a flag when it is dropped.
struct Owner(Arc<Flag>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Returns the memory in [`RANGES`].
///
/// Dropping the fixture leaks the owner of memory that is still mapped. Tests that leave it mapped
/// use an owner without memory of its own, so that kmemleak has nothing to report.
fn memory<T: Send + Sync>(coherence: Coherence, owner: T) -> Result<Arc<SysMemory<T>>> {
    let ranges = RANGES
        .into_iter()
        .map(|(address, pages)| (address, pages * PAGE_SIZE));
    let memory = SysMemory::new(ranges, coherence, owner)?;

    Ok(Arc::new(memory, GFP_KERNEL)?)
}

/// Returns the memory in [`RANGES`], and a flag that is set when its owner is dropped.
fn owned_memory(coherence: Coherence) -> Result<(Arc<SysMemory<Owner>>, Arc<Flag>)> {
    let dropped = Arc::new(Flag::new(), GFP_KERNEL)?;
    let memory = memory(coherence, Owner(dropped.clone()))?;

    Ok((memory, dropped))
}

/// Expects the memory in [`RANGES`], starting at its page `skip`.
fn expected(aperture: Aperture, attributes: PageAttributes) -> Expected<'static> {
    Expected {
        aperture,
        address: &address,
        attributes,
    }
}

/// Both kinds of system memory and their apertures.
const KINDS: [(Coherence, Aperture); 2] = [
    (Coherence::Coherent, Aperture::SysCoherent),
    (Coherence::NonCoherent, Aperture::SysNonCoherent),
];

/// Returns attributes that allow only reads.
fn read_only() -> PageAttributes {
    PageAttributes {
        access: ReadOnly,
        ..PageAttributes::default()
    }
}

/// Scattered memory is mapped in the order of its ranges, starting at any page.
pub(crate) fn sysmem_maps_in_order<F: TestFormat>() -> Result {
    for (coherence, aperture) in KINDS {
        for skip in [0, 1, 5, 701, 725] {
            let mut fixture = Fixture::<F>::new()?;
            let memory = memory(coherence, ())?;
            let va = fixture.reserve_at(LARGE - 5..LARGE - 5 + COUNT)?;
            let backing = Backing::new(memory, skip, PageAttributes::default());
            map(&fixture, &va, 0..COUNT - skip, backing)?;
            fixture.check()?;

            let from_skip = |page| address(skip + page);
            let expected = Expected {
                address: &from_skip,
                ..expected(aperture, PageAttributes::default())
            };
            expect_pages(&fixture, &va, 0..COUNT - skip, &expected)?;
            expect_fault(&fixture, &va, COUNT - skip..COUNT, Fault::Unmapped)?;
        }
    }

    Ok(())
}

/// Larger pages are not used even if the memory is contiguous and aligned.
pub(crate) fn sysmem_uses_4k_pages<F: TestFormat>() -> Result {
    for (coherence, aperture) in KINDS {
        let mut fixture = Fixture::<F>::new()?;
        let size = 2 * PageSize::Size2M.bytes();
        let memory = SysMemory::new([(size, size)].into_iter(), coherence, ())?;
        let memory = Arc::new(memory, GFP_KERNEL)?;
        let va = fixture.reserve(2 * LARGE)?;
        let backing = Backing::new(memory, 0, PageAttributes::default());
        map(&fixture, &va, 0..2 * LARGE, backing)?;
        fixture.check()?;

        expect_size(&fixture, &va, 0..2 * LARGE, PageSize::Size4K)?;
        let address = vram_at(size);
        let expected = Expected {
            address: &address,
            ..expected(aperture, PageAttributes::default())
        };
        expect_pages(&fixture, &va, 0..2 * LARGE, &expected)?;
    }

    Ok(())
}

/// Parts of the memory.
const PARTS: [Range<u64>; 5] = [0..1, 3..9, 0..700, 690..740, COUNT - 1..COUNT];

/// The rest stays mapped at all times.
pub(crate) fn sysmem_unmap_part<F: TestFormat>() -> Result {
    for (coherence, aperture) in KINDS {
        for part in PARTS {
            let mut fixture = Fixture::<F>::new()?;
            let memory = memory(coherence, ())?;
            let va = fixture.reserve(COUNT)?;
            let backing = Backing::new(memory, 0, PageAttributes::default());
            map(&fixture, &va, 0..COUNT, backing)?;
            fixture.check()?;

            let (pdb, first) = (fixture.pdb(), va.start());
            let job = fixture.prepare_unmap(&va, part.clone())?;
            let (job, seen) = fixture.trace(job, &mut |gpu| {
                for rest in [0..part.start, part.end..COUNT] {
                    // A sample of the pages, including pages after the part.
                    for page in rest.step_by(7) {
                        let pages = page..page + 1;
                        ensure_either(gpu, pdb, first, pages, &address, &address)?;
                    }
                }
                let before = part.start.saturating_sub(1)..part.start;
                ensure_either(gpu, pdb, first, before, &address, &address)
            })?;
            job.free();
            fixture.check()?;
            ensure_eq!(seen.command, DOWNGRADE);
            let expected = expected(aperture, PageAttributes::default());
            expect_pages(&fixture, &va, 0..part.start, &expected)?;
            expect_fault(&fixture, &va, part.clone(), Fault::Unmapped)?;
            expect_pages(&fixture, &va, part.end..COUNT, &expected)?;
        }
    }

    Ok(())
}

/// One word is written per page whose access changes.
pub(crate) fn sysmem_protect<F: TestFormat>() -> Result {
    for (coherence, aperture) in KINDS {
        for part in PARTS {
            let mut fixture = Fixture::<F>::new()?;
            let memory = memory(coherence, ())?;
            let va = fixture.reserve(COUNT)?;
            let backing = Backing::new(memory, 0, PageAttributes::default());
            map(&fixture, &va, 0..COUNT, backing)?;

            let job = fixture.prepare_protect(&va, part.clone(), ReadOnly)?;
            let seen = fixture.trace_and_free(job)?;
            ensure_eq!(seen.writes, usize::try_from(part.end - part.start)?);
            ensure_eq!(seen.command, DOWNGRADE);
            let rest = expected(aperture, PageAttributes::default());
            expect_pages(&fixture, &va, 0..part.start, &rest)?;
            let changed = expected(aperture, read_only());
            expect_pages(&fixture, &va, part.clone(), &changed)?;
            expect_pages(&fixture, &va, part.end..COUNT, &rest)?;
        }
    }

    Ok(())
}

/// Memory moves from VRAM to system memory and back. The GPU finds one or the other at all times.
pub(crate) fn sysmem_replaces_vram_and_back<F: TestFormat>() -> Result {
    for (coherence, aperture) in KINDS {
        // 4 KiB, 64 KiB and 2 MiB pages.
        for skip in [1, 16, 0] {
            let mut fixture = Fixture::<F>::new()?;
            let vram = fixture.alloc(2 * LARGE)?;
            let (memory, dropped) = owned_memory(coherence)?;
            let va = fixture.reserve(LARGE)?;
            fixture.map(&va, 0..LARGE, &vram, skip, ReadWrite)?;
            fixture.check()?;

            let (pdb, first) = (fixture.pdb(), va.start());
            let in_vram = vram_at(start_of(&vram)? + skip * PAGE_SIZE);
            let backing = Backing::new(memory, 0, PageAttributes::default());
            let job = fixture.vmm.prepare_map(within(&va, 0..LARGE)?, backing)?;
            let (job, seen) = fixture.trace(job, &mut |gpu| {
                ensure_either(gpu, pdb, first, 0..LARGE, &in_vram, &address)
            })?;
            job.free();
            fixture.check()?;
            ensure_eq!(seen.command, DOWNGRADE);
            let expected = expected(aperture, PageAttributes::default());
            expect_pages(&fixture, &va, 0..LARGE, &expected)?;

            let job = fixture.prepare_map(&va, 0..LARGE, &vram, skip, ReadOnly)?;
            let (job, _) = fixture.trace(job, &mut |gpu| {
                ensure_either(gpu, pdb, first, 0..LARGE, &in_vram, &address)
            })?;
            ensure!(!dropped.is_set());
            job.free();
            ensure!(dropped.is_set());
            fixture.check()?;
            fixture.expect_mapped(&va, 0..LARGE, &vram, skip, ReadOnly)?;
        }
    }

    Ok(())
}

/// Freeing the job drops the owner, because the GPU no longer uses the memory.
pub(crate) fn sysmem_owner_dropped_by_free<F: TestFormat>() -> Result {
    let fixture = Fixture::<F>::new()?;
    let (memory, dropped) = owned_memory(Coherence::Coherent)?;
    let va = fixture.reserve(COUNT)?;
    let backing = Backing::new(memory, 0, PageAttributes::default());
    map(&fixture, &va, 0..COUNT, backing)?;

    let mut job = fixture.prepare_unmap(&va, 0..COUNT)?;
    job.run()?;
    ensure!(!dropped.is_set());
    job.free();
    ensure!(dropped.is_set());

    Ok(())
}

/// A mapped part of the memory keeps its owner alive, as does a second mapping of the memory.
pub(crate) fn sysmem_owner_kept_by_part<F: TestFormat>() -> Result {
    let fixture = Fixture::<F>::new()?;
    let (memory, dropped) = owned_memory(Coherence::NonCoherent)?;
    let va = fixture.reserve(2 * COUNT)?;
    let backing = Backing::new(memory, 0, PageAttributes::default());
    map(&fixture, &va, 0..COUNT, backing.clone())?;
    map(&fixture, &va, COUNT..2 * COUNT, backing)?;

    for part in [0..3, 10..COUNT, 3..10, COUNT..2 * COUNT - 2] {
        fixture.unmap(&va, part)?;
        ensure!(!dropped.is_set());
    }
    fixture.unmap(&va, 0..2 * COUNT)?;
    ensure!(dropped.is_set());

    Ok(())
}

/// The owner is kept alive until the TLB has been invalidated.
pub(crate) fn sysmem_owner_kept_after_timeout<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let (memory, dropped) = owned_memory(Coherence::Coherent)?;
    let va = fixture.reserve(COUNT)?;
    let backing = Backing::new(memory, 0, PageAttributes::default());
    map(&fixture, &va, 0..COUNT, backing)?;

    let mut job = fixture.prepare_unmap(&va, 0..COUNT)?;
    fixture.gpu.hang_invalidate(0);
    ensure_eq!(job.run(), Err(JobError::NotInvalidated(ETIMEDOUT)));
    job.free();
    ensure!(!dropped.is_set());
    fixture.gpu.recover();
    fixture.vmm.retry_invalidate()?;
    ensure!(dropped.is_set());

    fixture.check()
}

/// Whether a [`StaticOwner`] has been dropped.
static DROPPED: Flag = Flag::new();

/// An owner that does not lose memory when it is leaked.
struct StaticOwner;

impl Drop for StaticOwner {
    fn drop(&mut self) {
        DROPPED.set();
    }
}

/// The owner of mapped memory is leaked if the address space is dropped without a teardown, because
/// the GPU may still access the memory.
pub(crate) fn sysmem_owner_leaked_without_unmap<F: TestFormat>() -> Result {
    let fixture = Fixture::<F>::new()?;
    let ranges = [(0x1000, PAGE_SIZE)].into_iter();
    let memory = SysMemory::new(ranges, Coherence::Coherent, StaticOwner)?;
    let memory = Arc::new(memory, GFP_KERNEL)?;
    let va = fixture.reserve(1)?;
    map(
        &fixture,
        &va,
        0..1,
        Backing::new(memory, 0, PageAttributes::default()),
    )?;

    drop(fixture);
    ensure!(!DROPPED.is_set());

    Ok(())
}

/// An address that entries cannot represent is an error and is not truncated.
pub(crate) fn sysmem_unencodable_einval<F: Published>() -> Result {
    for (coherence, aperture) in KINDS {
        let fixture = Fixture::<F>::new()?;
        let va = fixture.reserve(2)?;
        let memory_at = |address| -> Result<_> {
            let ranges = [(0x1000, PAGE_SIZE), (address, PAGE_SIZE)];
            let memory = SysMemory::new(ranges.into_iter(), coherence, ())?;

            Ok(Arc::new(memory, GFP_KERNEL)?)
        };

        let memory = memory_at(F::SYSMEM_END)?;
        let backing = Backing::new(memory, 0, PageAttributes::default());
        let job = fixture.vmm.prepare_map(within(&va, 0..2)?, backing);
        ensure_eq!(job.err(), Some(EINVAL));

        let last = F::SYSMEM_END - PAGE_SIZE;
        let backing = Backing::new(memory_at(last)?, 0, PageAttributes::default());
        map(&fixture, &va, 0..2, backing)?;
        let last_address = move |page| if page == 0 { 0x1000 } else { last };
        let expected = Expected {
            address: &last_address,
            ..expected(aperture, PageAttributes::default())
        };
        expect_pages(&fixture, &va, 0..2, &expected)?;
    }

    Ok(())
}

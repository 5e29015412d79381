// SPDX-License-Identifier: GPL-2.0

//! Tests of invalid requests.

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
    format::Access::*,
    tables::tests::map::levels,
    vmm::{
        tests::fixture::{
            backing,
            complete,
            ensure,
            ensure_eq,
            vfns,
            vram_range,
            Fixture,
            TestFormat,
            LARGE, //
        },
        JobError,
        Vmm, //
    },
    vram::VramAllocator, //
};

/// Jobs can only change pages within the limits of their address space.
pub(crate) fn pages_out_of_limits_einval<F: TestFormat>() -> Result {
    let fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(64)?;
    let vmm = Vmm::new(fixture.hw.clone(), fixture.memory.clone(), vfns(10..20)?)?;
    let free = fixture.free_tables();
    fixture.gpu.reset_counts();

    for pages in [
        9..11,
        19..21,
        20..21,
        10..10,
        0..1 << 30,
        Range { start: 15, end: 12 },
    ] {
        let pages = vfns(pages)?;
        let job = vmm.prepare_map(pages.clone(), backing(&vram, 0, ReadWrite));
        ensure_eq!(job.err(), Some(EINVAL));
        let job = vmm.prepare_unmap(pages.clone());
        ensure_eq!(job.err(), Some(EINVAL));
        let job = vmm.prepare_protect(pages, ReadOnly);
        ensure_eq!(job.err(), Some(EINVAL));
    }
    ensure_eq!(fixture.free_tables(), free);
    ensure_eq!(fixture.gpu.counts().total(), 0);

    complete(vmm.prepare_map(vfns(10..20)?, backing(&vram, 0, ReadWrite))?)?;
    vmm.teardown()
}

/// The memory must have at least as many pages as are mapped.
pub(crate) fn map_past_memory_einval<F: TestFormat>() -> Result {
    let fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(16)?;
    let va = fixture.reserve(64)?;
    let free = fixture.free_tables();
    let prepare = |skip, count| {
        fixture
            .prepare_map(&va, 0..count, &vram, skip, ReadWrite)
            .map(drop)
    };

    for (skip, count) in [
        (0, 17),
        (1, 16),
        (15, 2),
        (16, 1),
        (17, 1),
        (1 << 51, 1),
        (u64::MAX, 1),
        (u64::MAX - 1, 3),
    ] {
        ensure_eq!(prepare(skip, count), Err(EINVAL));
    }
    for (skip, count) in [(0, 16), (1, 15), (15, 1)] {
        ensure_eq!(prepare(skip, count), Ok(()));
    }
    ensure_eq!(fixture.free_tables(), free);

    Ok(())
}

/// A VRAM address that entries cannot represent is an error and is not truncated.
pub(crate) fn map_unencodable_vram_einval<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let (end, size) = (F::VRAM_END, PageSize::Size2M.bytes());
    let memory = VramAllocator::new(&[vram_range(&(end - size..end + size))])?;
    let va = fixture.reserve(2 * LARGE)?;
    let free = fixture.free_tables();
    fixture.gpu.reset_counts();

    let all = Arc::new(memory.alloc(2 * size, PageSize::Size4K)?, GFP_KERNEL)?;
    for count in [1, LARGE, 2 * LARGE] {
        let job = fixture.prepare_map(&va, 0..count, &all, 2 * LARGE - count, ReadWrite);
        ensure_eq!(job.err(), Some(EINVAL));
    }
    ensure_eq!(fixture.gpu.counts().total(), 0);
    ensure_eq!(fixture.free_tables(), free);
    drop(all);

    // The last memory that entries can represent, in a large page and in small ones.
    let below = VramAllocator::new(&[vram_range(&(end - size..end))])?;
    let below = Arc::new(below.alloc(size, PageSize::Size2M)?, GFP_KERNEL)?;
    fixture.map(&va, 0..LARGE, &below, 0, ReadWrite)?;
    fixture.map(&va, LARGE..2 * LARGE - 1, &below, 1, ReadWrite)?;
    fixture.check()?;
    fixture.expect_mapped(&va, 0..LARGE, &below, 0, ReadWrite)?;
    fixture.expect_mapped(&va, LARGE..2 * LARGE - 1, &below, 1, ReadWrite)
}

/// Rejects limits beyond the addresses of the format.
pub(crate) fn limits_out_of_format_einval<F: TestFormat>() -> Result {
    let fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(2)?;
    let end = (1 << F::VA_BITS) / PAGE_SIZE;
    let free = fixture.free_tables();

    for limits in [0..end + 1, end..end + 1, 7..7, Range { start: 8, end: 7 }] {
        let vmm = Vmm::new(fixture.hw.clone(), fixture.memory.clone(), vfns(limits)?);
        ensure_eq!(vmm.err(), Some(EINVAL));
    }
    let va = fixture.reserve_at(end - 1..end + 1)?;
    let job = fixture.prepare_map(&va, 0..2, &vram, 0, ReadWrite);
    ensure_eq!(job.err(), Some(EINVAL));
    ensure_eq!(fixture.free_tables(), free);

    fixture.gpu.check_clean()
}

/// Without VRAM for page tables, creating an address space or preparing a job fails, and leaks no
/// memory.
pub(crate) fn no_vram_for_tables_enospc<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(1)?;
    let va = fixture.reserve(1)?;
    let too_few = levels::<F>() - 2;
    let left = fixture.memory.alloc(
        fixture.memory.avail() - too_few * PAGE_SIZE,
        PageSize::Size4K,
    )?;

    let job = fixture.prepare_map(&va, 0..1, &vram, 0, ReadWrite);
    ensure_eq!(job.err(), Some(ENOSPC));
    ensure_eq!(fixture.free_tables(), too_few);
    let rest = fixture
        .memory
        .alloc(too_few * PAGE_SIZE, PageSize::Size4K)?;
    let vmm = Vmm::new(fixture.hw.clone(), fixture.memory.clone(), vfns(0..1)?);
    ensure_eq!(vmm.err(), Some(ENOSPC));
    drop((left, rest));
    fixture.map(&va, 0..1, &vram, 0, ReadWrite)?;
    ensure!(fixture.lookup(va.start())?.is_some());

    fixture.check()
}

/// Address spaces share only the hardware and the VRAM.
pub(crate) fn address_spaces_independent<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(LARGE)?;
    let limits = vfns(0..LARGE)?;
    let other = Vmm::new(fixture.hw.clone(), fixture.memory.clone(), limits.clone())?;
    let their_pdb = other.pdb().address();
    ensure!(their_pdb != fixture.pdb());

    let va = fixture.map_all(&vram, ReadWrite)?;
    fixture.check()?;
    let address = va.pages().start.address();
    ensure!(fixture.gpu.walk(their_pdb, address).is_err());
    complete(other.prepare_map(limits.clone(), backing(&vram, 0, ReadOnly))?)?;
    fixture.expect_mapped(&va, 0..LARGE, &vram, 0, ReadWrite)?;
    let found = fixture.gpu.walk(their_pdb, limits.start.address());
    ensure_eq!(found.map(|found| found.read_only), Ok(true));
    other.teardown()?;
    fixture.expect_mapped(&va, 0..LARGE, &vram, 0, ReadWrite)?;

    fixture.check()
}

/// A job cannot be run twice.
pub(crate) fn second_run_einval<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::new()?;
    let vram = fixture.alloc(4)?;
    let va = fixture.reserve(4)?;

    let mut job = fixture.prepare_map(&va, 0..4, &vram, 0, ReadWrite)?;
    job.run()?;
    fixture.gpu.reset_counts();
    ensure_eq!(job.run(), Err(JobError::Unchanged(EINVAL)));
    ensure_eq!(fixture.gpu.counts().total(), 0);
    job.free();
    fixture.expect_mapped(&va, 0..4, &vram, 0, ReadWrite)?;

    fixture.check()
}

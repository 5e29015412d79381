// SPDX-License-Identifier: GPL-2.0

//! Tests of what is asked for and cannot be.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    address::{
        PageSize,
        PAGE_SIZE, //
    },
    vmm::{
        job::{
            Access::*,
            Memory, //
        },
        tests::bench::{
            ensure,
            ensure_eq,
            vfns,
            vram_range,
            Bench,
            TestFormat,
            LARGE, //
        }, //
        Vmm,
    },
    vram::VramAllocator, //
};

/// Only pages of the range that is shown are changed, and of the address space that it is of.
pub(crate) fn pages_are_of_the_range<F: TestFormat>() -> Result {
    let bench = Bench::<F>::new()?;
    let other = Bench::<F>::new()?;
    let vram = bench.alloc(64)?;
    let va = bench.reserve_at(10..20)?;
    let _next = bench.reserve_at(20..30)?;
    let foreign = other.reserve_at(10..20)?;
    let free = bench.free_tables();
    let memory = Memory {
        vram: vram.clone(),
        offset: 0,
    };

    for (va, pages) in [
        (&va, 9..11),
        (&va, 19..21),
        (&va, 20..21),
        (&va, 10..10),
        (&va, 0..1 << 30),
        (&foreign, 10..20),
    ] {
        let pages = vfns(pages)?;
        let job = bench
            .vmm
            .submit_map(va, pages.clone(), memory.clone(), ReadWrite);
        ensure_eq!(job.err(), Some(EINVAL));
        let job = bench.vmm.submit_unmap(va, pages.clone());
        ensure_eq!(job.err(), Some(EINVAL));
        let job = bench.vmm.submit_protect(va, pages, ReadOnly);
        ensure_eq!(job.err(), Some(EINVAL));
    }
    ensure_eq!(bench.free_tables(), free);

    Ok(())
}

/// As much memory is needed as there are pages, and it starts at a page.
pub(crate) fn memory_is_large_enough<F: TestFormat>() -> Result {
    let bench = Bench::<F>::new()?;
    let vram = bench.alloc(16)?;
    let va = bench.reserve(64)?;
    let free = bench.free_tables();
    let submit = |offset, count| {
        let memory = Memory {
            vram: vram.clone(),
            offset,
        };
        let start = va.pages().start.into_raw();

        bench
            .vmm
            .submit_map(&va, vfns(start..start + count)?, memory, ReadWrite)
            .map(drop)
    };

    for offset in [1, 8, 2048, PAGE_SIZE - 1, PAGE_SIZE + 1, u64::MAX] {
        ensure_eq!(submit(offset, 1), Err(EINVAL));
    }
    for (skip, count) in [(0, 17), (1, 16), (15, 2), (16, 1), (17, 1), (1 << 51, 1)] {
        ensure_eq!(submit(skip * PAGE_SIZE, count), Err(EINVAL));
    }
    for (skip, count) in [(0, 16), (1, 15), (15, 1)] {
        ensure_eq!(submit(skip * PAGE_SIZE, count), Ok(()));
    }
    ensure_eq!(bench.free_tables(), free);

    Ok(())
}

/// An address that an entry has no room for is an error, and not another address.
pub(crate) fn memory_out_of_reach<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let (end, size) = (F::VRAM_END, PageSize::Size2M.bytes());
    let memory = VramAllocator::new(&[vram_range(&(end - size..end + size))])?;
    let va = bench.reserve(2 * LARGE)?;
    let free = bench.free_tables();
    bench.gpu.reset_counts();

    let all = Arc::new(memory.alloc(2 * size, PageSize::Size4K)?, GFP_KERNEL)?;
    for count in [1, LARGE, 2 * LARGE] {
        let job = bench.submit_map(&va, 0..count, &all, 2 * LARGE - count, ReadWrite);
        ensure_eq!(job.err(), Some(EINVAL));
    }
    ensure_eq!(bench.gpu.counts().total(), 0);
    ensure_eq!(bench.free_tables(), free);
    drop(all);

    // The last memory that entries can name, in a large page and in small ones.
    let below = VramAllocator::new(&[vram_range(&(end - size..end))])?;
    let below = Arc::new(below.alloc(size, PageSize::Size2M)?, GFP_KERNEL)?;
    bench.map(&va, 0..LARGE, &below, 0, ReadWrite)?;
    bench.map(&va, LARGE..2 * LARGE - 1, &below, 1, ReadWrite)?;
    bench.check()?;
    bench.expect_mapped(&va, 0..LARGE, &below, 0, ReadWrite)?;
    bench.expect_mapped(&va, LARGE..2 * LARGE - 1, &below, 1, ReadWrite)
}

/// Of addresses that the format does not have there is no address space.
pub(crate) fn addresses_out_of_range<F: TestFormat>() -> Result {
    let bench = Bench::<F>::new()?;
    let end = (1 << F::VA_BITS) / PAGE_SIZE;
    let free = bench.free_tables();

    for limits in [0..end + 1, end..end + 1, 7..7] {
        let vmm = Vmm::<F>::new(vfns(limits)?, bench.memory.clone(), &bench.mmu, &bench.bar);
        ensure_eq!(vmm.err(), Some(EINVAL));
    }
    ensure_eq!(bench.reserve_at(end - 1..end + 1).err(), Some(EINVAL));
    ensure_eq!(bench.free_tables(), free);
    bench.gpu.check_clean()
}

/// An address space without memory for its root, or a job without memory for its tables.
pub(crate) fn no_memory_for_tables<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(1)?;
    let va = bench.reserve(1)?;
    let levels = u64::try_from(F::LEVELS.len())?;
    let left = bench.memory.alloc(
        bench.memory.avail() - (levels - 2) * PAGE_SIZE,
        PageSize::Size4K,
    )?;

    let job = bench.submit_map(&va, 0..1, &vram, 0, ReadWrite);
    ensure_eq!(job.err(), Some(ENOSPC));
    // What was there for it was given back.
    ensure_eq!(bench.free_tables(), levels - 2);
    let rest = bench
        .memory
        .alloc((levels - 2) * PAGE_SIZE, PageSize::Size4K)?;
    let vmm = Vmm::<F>::new(vfns(0..1)?, bench.memory.clone(), &bench.mmu, &bench.bar);
    ensure_eq!(vmm.err(), Some(ENOSPC));
    drop((left, rest));
    bench.map(&va, 0..1, &vram, 0, ReadWrite)?;
    ensure!(bench.look(va.pages().start.into_raw())?.is_some());

    bench.check()
}

/// Several address spaces share the hardware and the memory, and nothing else.
pub(crate) fn address_spaces_are_apart<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::new()?;
    let vram = bench.alloc(LARGE)?;
    let limits = vfns(0..LARGE)?;
    let other = Vmm::<F>::new(limits.clone(), bench.memory.clone(), &bench.mmu, &bench.bar)?;
    ensure!(other.pdb() != bench.vmm.pdb());

    let va = bench.map_all(&vram, ReadWrite)?;
    bench.check()?;
    let address = va.pages().start.address();
    ensure!(bench.gpu.walk(other.pdb(), address).is_err());
    let theirs = other.reserve(crate::mm::va::VaRequest::Fixed(limits.clone()))?;
    let memory = Memory { vram, offset: 0 };
    other
        .submit_map(&theirs, limits, memory.clone(), ReadOnly)?
        .run(&bench.mmu, &bench.bar)
        .cleanup()?;
    bench.expect_mapped(&va, 0..LARGE, &memory.vram, 0, ReadWrite)?;
    let found = bench.gpu.walk(other.pdb(), theirs.pages().start.address());
    ensure_eq!(found.map(|found| found.read_only), Ok(true));
    other.teardown(&bench.mmu, &bench.bar)?;
    bench.expect_mapped(&va, 0..LARGE, &memory.vram, 0, ReadWrite)?;

    bench.check()
}

// SPDX-License-Identifier: GPL-2.0

//! Address spaces that are dropped while the GPU may use them. Their VRAM stays allocated, and kernel
//! memory is freed. Dropping the allocators frees the rest.

use crate::mm::{
    address::PAGE_SIZE,
    format::{v2::MmuV2, v3::MmuV3},
    vmm::{
        job::Access::ReadWrite,
        tests::{
            bench::{Bench, TestFormat, LARGE},
            random::places,
        },
    },
};
use kernel::{error::Result, host};

/// Makes an address space with small pages, large ones, and directories of all levels.
fn mapped<F: TestFormat>(of_bar: bool) -> Result<Bench<F>> {
    let bench = match of_bar {
        true => places::bench_of_bar::<F>()?,
        false => Bench::new()?,
    };
    for (pages, skip) in [(32 * LARGE, 1), (8 * LARGE, 0)] {
        let vram = bench.alloc(pages + skip)?;
        let va = bench.reserve(pages)?;
        bench.map(&va, 0..pages, &vram, skip, ReadWrite)?;
    }
    Ok(bench)
}

/// Drops the result of `make`, first the address space, then the allocators. Returns how much of the
/// VRAM for data stayed allocated in between, in pages.
fn drop_all<F: TestFormat>(make: impl FnOnce() -> Result<Bench<F>>) -> u64 {
    let live = host::live_objects();
    let Bench {
        vmm,
        data,
        memory,
        gpu,
        bar,
        mmu,
        ..
    } = make().unwrap();
    let mapped = host::live_objects();
    drop(vmm);
    // Each table has a shadow.
    assert!(host::live_objects() < mapped - 32);
    let kept = data.kept() / PAGE_SIZE;
    drop((data, memory, gpu, bar, mmu));
    assert_eq!(host::live_objects(), live, "something leaks");
    assert_eq!(host::take_warnings(), 0);
    kept
}

fn dropped<F: TestFormat>() {
    const ALL: u64 = (64 + 8) * LARGE;

    // Without a teardown, mapped or in quarantine.
    for of_bar in [false, true] {
        assert_eq!(drop_all(|| mapped::<F>(of_bar)), ALL);
        let in_quarantine = || {
            let bench = mapped::<F>(of_bar)?;
            bench.gpu.hang_invalidate(0);
            bench.teardown().unwrap_err();
            Ok(bench)
        };
        assert_eq!(drop_all(in_quarantine), ALL);
    }

    // Unmapped by a job whose invalidation timed out.
    let unmapped = || {
        let bench = Bench::<F>::new()?;
        let vram = bench.alloc(64 * LARGE)?;
        let va = bench.reserve(40 * LARGE)?;
        bench.map(&va, 0..40 * LARGE, &vram, 1, ReadWrite)?;
        bench.gpu.hang_invalidate(0);
        bench.unmap(&va, 0..40 * LARGE).unwrap_err();
        Ok(bench)
    };
    assert_eq!(drop_all(unmapped), 64 * LARGE);

    // After a teardown, nothing stays allocated.
    let live = host::live_objects();
    let bench = mapped::<F>(true).unwrap();
    bench.teardown().unwrap();
    assert_eq!((bench.data.kept(), bench.memory.kept()), (0, 0));
    drop(bench);
    assert_eq!(host::live_objects(), live);
}

#[test]
fn address_spaces_v2() {
    dropped::<MmuV2>();
}

#[test]
fn address_spaces_v3() {
    dropped::<MmuV3>();
}

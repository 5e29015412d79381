// SPDX-License-Identifier: GPL-2.0

//! Each allocation of memory that an operation makes fails once: then nothing has changed, and
//! nothing leaks. While a job runs, all of them fail.

use crate::mm::{
    address::{PageSize, PAGE_SIZE},
    bar1::tests::Fixture,
    format::{v2::MmuV2, v3::MmuV3},
    va::VaRequest,
    vmm::{
        job::{Access, Memory},
        tests::{
            bench::{vfns, Bench, TestFormat, BAR_PAGES},
            faults::{Scene, OPERATIONS},
            random::places,
        },
        Vmm,
    },
};
use kernel::{error::code::ENOMEM, host, prelude::*, sync::Arc};

/// Runs `run` with the first, the second, … allocation failing, until it makes no more of them, and
/// calls `check` after each failure. Returns what it makes in the end, and how many failed.
fn each_allocation<T>(
    what: &str,
    mut run: impl FnMut() -> Result<T>,
    mut check: impl FnMut(),
) -> (T, usize) {
    for n in 1.. {
        let live = host::live_objects();
        host::fail_allocation(n);
        let result = run();
        let failed = host::allocation_to_fail() == 0;
        host::fail_allocation(0);
        assert_eq!(host::take_warnings(), 0, "{what}: warnings");
        if !failed {
            let made = result.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            return (made, n - 1);
        }
        assert_eq!(result.err(), Some(ENOMEM), "{what}: allocation {n} fails");
        assert_eq!(host::live_objects(), live, "{what}: allocation {n} leaks");
        check();
    }
    unreachable!()
}

/// Calls `run` while every allocation fails; it may not even ask for one.
pub(super) fn without_allocations<T>(run: impl FnOnce() -> T) -> T {
    let asked = host::allocations();
    let result = host::fail_all_allocations(run);
    assert_eq!(host::allocations(), asked, "a job allocates while it runs");
    result
}

/// All operations, on tables that are there and that are not.
fn operations<F: TestFormat>() {
    let live = host::live_objects();
    let mut failures = 0;
    for populated in [false, true] {
        for operation in &OPERATIONS {
            let mut scene = Scene::<F>::new(populated).unwrap();
            let (mapped, held) = (scene.mapped().unwrap(), scene.held());
            let (job, failed) = each_allocation(
                &format!("{operation:?}"),
                || scene.submit(operation),
                || assert_eq!(scene.held(), held),
            );
            failures += failed;
            assert!(scene.mapped().unwrap() == mapped);
            scene.bench.check().unwrap();

            let bench = &scene.bench;
            let ran = without_allocations(|| bench.run(job));
            ran.cleanup().unwrap();
            scene.check().unwrap();
            without_allocations(|| bench_teardown(&scene));
            scene.end().unwrap();
        }
    }
    assert!(failures > 24 * 4, "only {failures} allocations failed");
    assert_eq!(host::live_objects(), live, "something leaks");
}

fn bench_teardown<F: TestFormat>(scene: &Scene<F>) {
    scene.bench.teardown().unwrap();
}

/// Reservations of addresses.
fn reservations<F: TestFormat>() {
    let bench = Bench::<F>::new().unwrap();
    let any = VaRequest::Any {
        pages: 7,
        align: PageSize::Size64K,
    };
    for request in [any, VaRequest::Fixed(vfns(1..5).unwrap())] {
        let (va, failed) = each_allocation("reserve", || bench.vmm.reserve(request.clone()), || ());
        assert!(failed >= 2);
        drop(va);
    }
    let end = (1 << F::VA_BITS) / PAGE_SIZE;
    bench.reserve_at(0..end).expect("all is free");
}

/// Address spaces, with a root of their own and with one of the firmware.
fn address_spaces<F: TestFormat>() {
    let bench = Bench::<F>::new().unwrap();
    let avail = bench.memory.avail();
    let check = || assert_eq!(bench.memory.avail(), avail);
    let new = || {
        let limits = vfns(0..0x1234)?;
        Vmm::<F>::new(limits, bench.memory.clone(), &bench.mmu, &bench.bar)
    };
    let (vmm, failed) = each_allocation("Vmm::new", new, check);
    assert!(failed >= 5);
    drop(vmm);
    check();

    let bench = places::bench_of_bar::<F>().unwrap();
    let root = bench.vmm.pdb();
    let of_bar = || {
        let limits = vfns(0..BAR_PAGES)?;
        Vmm::<F>::of_bar(root, limits, bench.memory.clone(), &bench.mmu, &bench.bar)
    };
    let (vmm, failed) = each_allocation("Vmm::of_bar", of_bar, || ());
    assert!(failed >= 10);
    drop(vmm);
    places::check_firmware(&bench).unwrap();
}

/// Mappings of BAR1. To unmap them, nothing is allocated.
#[test]
fn bar1() {
    let fixture = Fixture::new().unwrap();
    let bar0 = fixture.gpu.bar0();
    let avail = fixture.vram.avail();

    for size in [PAGE_SIZE, PageSize::Size2M.bytes()] {
        let vram = fixture.vram.alloc(size, PageSize::Size2M).unwrap();
        let memory = Memory {
            vram: Arc::new(vram, GFP_KERNEL).unwrap(),
            offset: 0,
        };
        let held = fixture.vram.avail();
        let access = Access::ReadWrite;
        let map = || {
            fixture
                .bar1
                .map(memory.clone(), size, access, &fixture.mmu, &bar0)
        };
        let check = || {
            assert_eq!(fixture.vram.avail(), held);
            assert_eq!(fixture.gpu.vram_read64(fixture.bar1.root()), 0);
        };
        let (mapping, failed) = each_allocation("Bar1::map", map, check);
        assert!(failed >= 10);
        let unmap = || mapping.unmap(&fixture.mmu, &bar0);
        without_allocations(unmap).unwrap();
        check();
        drop(map().unwrap());
        without_allocations(|| fixture.bar1.unmap_dropped(&fixture.mmu, &bar0)).unwrap();
        check();
    }
    without_allocations(|| fixture.bar1.teardown(&fixture.mmu, &bar0)).unwrap();
    assert_eq!(fixture.vram.avail(), avail);
}

#[test]
fn operations_v2() {
    operations::<MmuV2>();
}

#[test]
fn reservations_v2() {
    reservations::<MmuV2>();
}

#[test]
fn address_spaces_v2() {
    address_spaces::<MmuV2>();
}

#[test]
fn operations_v3() {
    operations::<MmuV3>();
}

#[test]
fn reservations_v3() {
    reservations::<MmuV3>();
}

#[test]
fn address_spaces_v3() {
    address_spaces::<MmuV3>();
}

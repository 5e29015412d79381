// SPDX-License-Identifier: GPL-2.0

//! Tests that let each memory allocation of an operation fail once. The operation must then have no
//! effect and must not leak memory. Running jobs must neither allocate nor free memory.

use crate::mm::{
    address::{PageSize, PAGE_SIZE},
    bar1::tests::Fixture as Bar1Fixture,
    format::{v2::MmuV2, v3::MmuV3, Access},
    va::{VaRequest, VaSpace},
    vmm::{
        tests::{
            faults::{Setup, OPERATIONS},
            fixture::{all_pages, vfns, Fixture, TestFormat, BAR_PAGES},
            random::layout,
        },
        Vmm,
    },
};
use kernel::{error::code::ENOMEM, host, prelude::*, sync::Arc};

/// Calls `run` with the first allocation failing, then with the second, and so on, until it
/// succeeds. Calls `check` after each failure. Returns the result and the number of failed
/// allocations.
///
/// The VRAM allocator tracks page tables that a failed call has zeroed as separate blocks. Each
/// failure is therefore repeated, and must not leave more objects than the first one did.
pub(super) fn each_allocation<T>(
    what: &str,
    mut run: impl FnMut() -> Result<T>,
    mut check: impl FnMut(),
) -> (T, usize) {
    for n in 1.. {
        if let Some(made) = fail_allocation(what, n, &mut run) {
            return (made, n - 1);
        }
        check();
        let live = host::live_objects();
        if fail_allocation(what, n, &mut run).is_none() {
            assert!(host::live_objects() <= live, "{what}: allocation {n} leaks");
        }
        check();
    }
    unreachable!()
}

/// Calls `run` with allocation `n` failing. Returns the result if `run` makes fewer allocations.
fn fail_allocation<T>(what: &str, n: usize, run: &mut impl FnMut() -> Result<T>) -> Option<T> {
    host::fail_allocation(n);
    let result = run();
    let failed = host::allocation_to_fail() == 0;
    host::fail_allocation(0);
    assert_eq!(host::take_warnings(), 0, "{what}: warnings");
    if !failed {
        return Some(result.unwrap_or_else(|error| panic!("{what}: {error:?}")));
    }
    assert_eq!(result.err(), Some(ENOMEM), "{what}: allocation {n} fails");
    None
}

/// Calls `run` while every allocation fails. Panics if `run` attempts one.
pub(super) fn without_allocations<T>(run: impl FnOnce() -> T) -> T {
    let asked = host::allocations();
    let result = host::fail_all_allocations(run);
    assert_eq!(host::allocations(), asked, "attempted to allocate memory");
    result
}

/// Calls `run`, and panics if it allocates or frees memory.
fn with_fixed_memory<T>(run: impl FnOnce() -> T) -> T {
    let live = (host::live_objects(), host::live_bytes());
    let result = without_allocations(run);
    assert_eq!((host::live_objects(), host::live_bytes()), live);
    result
}

/// Tests all operations on an empty and on a populated address space.
fn operations<F: TestFormat>() {
    let live = host::live_objects();
    let mut failures = 0;
    for populated in [false, true] {
        for operation in &OPERATIONS {
            let mut setup = Setup::<F>::new(populated).unwrap();
            let (mapped, held) = (setup.mapped().unwrap(), setup.held());
            let (mut job, failed) = each_allocation(
                &format!("{operation:?}"),
                || setup.prepare(operation),
                || assert_eq!(setup.held(), held),
            );
            failures += failed;
            assert!(setup.mapped().unwrap() == mapped);
            setup.fixture.check().unwrap();

            with_fixed_memory(|| job.run()).unwrap();
            without_allocations(|| job.free());
            setup.check().unwrap();
            without_allocations(|| setup.fixture.teardown()).unwrap();
            setup.end().unwrap();
        }
    }
    assert!(failures > 24 * 4, "only {failures} allocations failed");
    assert_eq!(host::live_objects(), live, "leaked objects");
}

/// Tests jobs that fail on a GPU that does not respond, and jobs that fail after a teardown.
fn failing_jobs<F: TestFormat>() {
    let live = host::live_objects();
    for operation in &OPERATIONS {
        let setup = Setup::<F>::new(true).unwrap();
        let mut jobs = [(); 3].map(|()| setup.prepare(operation).unwrap());
        setup.fixture.gpu.hang_invalidate(0);
        for job in &mut jobs {
            with_fixed_memory(|| job.run()).unwrap_err();
        }
        without_allocations(|| setup.fixture.vmm.retry_invalidate()).unwrap_err();
        setup.fixture.gpu.recover();
        without_allocations(|| setup.fixture.vmm.retry_invalidate()).unwrap();
        without_allocations(|| setup.fixture.teardown()).unwrap();
        for job in &mut jobs {
            with_fixed_memory(|| job.run()).unwrap_err();
        }
        without_allocations(|| drop(jobs));
        setup.end().unwrap();
    }
    assert_eq!(host::live_objects(), live, "leaked objects");
}

/// Tests reservations of virtual addresses.
fn reservations<F: TestFormat>() {
    let live = host::live_objects();
    let va = VaSpace::new(all_pages::<F>().unwrap(), F::mmu().va_bits()).unwrap();
    let highest = VaRequest::Highest {
        pages: 7,
        align: PageSize::Size64K,
    };
    for request in [highest, VaRequest::Fixed(vfns(1..5).unwrap())] {
        let (va, failed) = each_allocation("reserve", || va.reserve(request.clone()), || ());
        assert!(failed >= 1);
        drop(va);
    }
    let all = VaRequest::Fixed(all_pages::<F>().unwrap());
    va.reserve(all).expect("all addresses are free");
    drop(va);
    assert_eq!(host::live_objects(), live, "leaked objects");
}

/// Tests the creation of address spaces, with and without a root that belongs to the firmware.
fn address_spaces<F: TestFormat>() {
    let live = host::live_objects();
    let fixture = Fixture::<F>::new().unwrap();
    let (hw, memory) = (&fixture.hw, &fixture.memory);
    let avail = memory.avail();
    let check = || assert_eq!(memory.avail(), avail);
    let new = || Vmm::new(hw.clone(), memory.clone(), vfns(0..0x1234)?);
    let (vmm, failed) = each_allocation("Vmm::new", new, check);
    assert!(failed >= 5);
    drop(vmm);
    check();

    drop(fixture);
    let fixture = layout::fixture_of_bar::<F>().unwrap();
    let (hw, memory) = (&fixture.hw, &fixture.memory);
    let root = fixture.pdb();
    let of_bar = || Vmm::of_bar(hw.clone(), memory.clone(), vfns(0..BAR_PAGES)?, root);
    let (vmm, failed) = each_allocation("Vmm::of_bar", of_bar, || ());
    assert!(failed >= 10);
    drop(vmm);
    layout::check_firmware(&fixture).unwrap();
    drop(fixture);
    assert_eq!(host::live_objects(), live, "leaked objects");
}

/// Tests mappings of BAR1. Unmapping must not allocate memory.
#[test]
fn bar1() {
    let live = host::live_objects();
    let fixture = Bar1Fixture::new().unwrap();
    let root = fixture.bar1.pdb().address();
    let avail = fixture.vram.avail();

    for size in [PAGE_SIZE, PageSize::Size2M.bytes()] {
        let vram = fixture.vram.alloc(size, PageSize::Size2M).unwrap();
        let vram = Arc::new(vram, GFP_KERNEL).unwrap();
        let held = fixture.vram.avail();
        let check = || {
            // Mappings of earlier calls were dropped.
            without_allocations(|| fixture.bar1.unmap_dropped()).unwrap();
            assert_eq!(fixture.vram.avail(), held);
            assert_eq!(fixture.gpu.vram_read64(root), 0);
        };
        let map = || {
            let mapping = fixture.bar1.map(&vram, 0, size, Access::ReadWrite)?;
            without_allocations(|| mapping.unmap())
        };
        let ((), failed) = each_allocation("Bar1::map", map, check);
        assert!(failed >= 10);
        check();
        drop(fixture.bar1.map(&vram, 0, size, Access::ReadWrite).unwrap());
        check();
    }
    let vram = fixture.vram.alloc(PAGE_SIZE, PageSize::Size4K).unwrap();
    let vram = Arc::new(vram, GFP_KERNEL).unwrap();
    let mapping = fixture.bar1.map(&vram, 0, PAGE_SIZE, Access::ReadOnly);
    drop(vram);
    without_allocations(|| fixture.bar1.teardown()).unwrap();
    without_allocations(|| drop(mapping));
    assert_eq!(fixture.vram.avail(), avail);
    drop(fixture);
    assert_eq!(host::live_objects(), live, "leaked objects");
}

#[test]
fn operations_v2() {
    operations::<MmuV2>();
}

#[test]
fn failing_jobs_v2() {
    failing_jobs::<MmuV2>();
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
fn failing_jobs_v3() {
    failing_jobs::<MmuV3>();
}

#[test]
fn reservations_v3() {
    reservations::<MmuV3>();
}

#[test]
fn address_spaces_v3() {
    address_spaces::<MmuV3>();
}

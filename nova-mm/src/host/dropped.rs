// SPDX-License-Identifier: GPL-2.0

//! Tests of address spaces that are dropped while the GPU may use them. Their VRAM stays allocated,
//! and their kernel memory is freed. Dropping the allocators frees the rest.

use crate::mm::{
    address::PAGE_SIZE,
    format::{v2::MmuV2, v3::MmuV3, Access::ReadWrite},
    model::Direction,
    vmm::tests::{
        fixture::{Fixture, TestFormat, LARGE},
        random::layout,
    },
};
use kernel::{error::Result, host};

/// Creates an address space with small pages, large ones, and directories of all levels.
fn mapped<F: TestFormat>(of_bar: bool) -> Result<Fixture<F>> {
    let fixture = match of_bar {
        true => layout::fixture_of_bar::<F>()?,
        false => Fixture::new()?,
    };
    // The firmware may use the pages below.
    let first = 20 * LARGE;
    for (start, pages, skip) in [(first, 32 * LARGE, 1), (first + 32 * LARGE, 8 * LARGE, 0)] {
        let vram = fixture.alloc(pages + skip)?;
        let va = fixture.reserve_at(start..start + pages)?;
        fixture.map(&va, 0..pages, &vram, skip, ReadWrite)?;
    }
    Ok(fixture)
}

/// Drops the address space of the fixture that `make` creates, then the allocators. Returns the
/// number of mapped pages that stayed allocated in between.
fn drop_all<F: TestFormat>(make: impl FnOnce() -> Result<Fixture<F>>) -> u64 {
    let live = host::live_objects();
    let Fixture {
        vmm,
        data,
        memory,
        gpu,
        hw,
        ..
    } = make().unwrap();
    let mapped = host::live_objects();
    drop(vmm);
    // Each table is a separate object.
    assert!(host::live_objects() < mapped - 32);
    let leaked = data.leaked() / PAGE_SIZE;
    drop((data, memory, gpu, hw));
    assert_eq!(host::live_objects(), live, "leaked objects");
    assert_eq!(host::take_warnings(), 0);
    leaked
}

fn dropped<F: TestFormat>() {
    const ALL: u64 = (64 + 8) * LARGE;

    for of_bar in [false, true] {
        // Without a teardown.
        assert_eq!(drop_all(|| mapped::<F>(of_bar)), ALL);
        // After a teardown whose invalidation timed out, and after an interrupted teardown.
        let timed_out = || {
            let fixture = mapped::<F>(of_bar)?;
            fixture.gpu.hang_invalidate(0);
            fixture.teardown().unwrap_err();
            Ok(fixture)
        };
        assert_eq!(drop_all(timed_out), ALL);
        let interrupted = || {
            let fixture = mapped::<F>(of_bar)?;
            fixture.gpu.fail_access(Direction::Write, 1);
            fixture.teardown().unwrap_err();
            Ok(fixture)
        };
        assert_eq!(drop_all(interrupted), ALL);
    }

    // Unmapped by a job whose invalidation timed out.
    let unmapped = || {
        let fixture = Fixture::<F>::new()?;
        let vram = fixture.alloc(64 * LARGE)?;
        let va = fixture.reserve(40 * LARGE)?;
        fixture.map(&va, 0..40 * LARGE, &vram, 1, ReadWrite)?;
        fixture.gpu.hang_invalidate(0);
        fixture.unmap(&va, 0..40 * LARGE).unwrap_err();
        Ok(fixture)
    };
    assert_eq!(drop_all(unmapped), 64 * LARGE);

    // Prepared jobs leave no memory allocated.
    let live = host::live_objects();
    let fixture = Fixture::<F>::new().unwrap();
    let vram = fixture.alloc(64 * LARGE).unwrap();
    let va = fixture.reserve(40 * LARGE).unwrap();
    let job = fixture
        .prepare_map(&va, 0..40 * LARGE, &vram, 1, ReadWrite)
        .unwrap();
    let (data, memory) = (fixture.data.clone(), fixture.memory.clone());
    drop((fixture, vram));
    drop(job);
    assert_eq!((data.avail(), data.leaked()), (data.size(), 0));
    assert_eq!((memory.avail(), memory.leaked()), (memory.size(), 0));
    drop((data, memory));
    assert_eq!(host::live_objects(), live);

    // A teardown leaves no memory allocated.
    let fixture = mapped::<F>(true).unwrap();
    fixture.teardown().unwrap();
    assert_eq!((fixture.data.leaked(), fixture.memory.leaked()), (0, 0));
    drop(fixture);
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

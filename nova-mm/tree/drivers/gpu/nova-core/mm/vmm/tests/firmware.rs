// SPDX-License-Identifier: GPL-2.0

//! Tests of address spaces whose root belongs to the firmware, as that of BAR1 does.

use core::ops::Range;

use kernel::prelude::*;

use crate::{
    mm::{
        address::{
            PageSize,
            Vfn,
            VramAddress,
            PAGE_SIZE, //
        },
        format::{
            Aperture,
            EntryKind,
            Pde,
            Pte, //
        },
        model::{
            Fault,
            SoftGpu, //
        },
        va::VaRequest,
        vmm::{
            job::Access::*,
            tests::{
                bench::{
                    ensure,
                    ensure_eq,
                    Bench,
                    TestFormat,
                    BAR_PAGES,
                    FIRMWARE,
                    LARGE, //
                },
                observe::{
                    DOWNGRADE,
                    HUB,
                    UPGRADE, //
                },
            }, //
        },
    },
    num::usize_as_u64, //
};

/// Memory of the firmware that it maps.
const MEMORY: u64 = 8 << 30;

/// Entries of the last directory that are the firmware's: as many large pages of addresses.
const FOREIGN: u64 = 6;

/// Returns the number of a page of VRAM of the firmware as an address.
fn page(number: u64) -> VramAddress {
    VramAddress::new(FIRMWARE.start + number * PAGE_SIZE)
}

/// Returns a table in system memory.
fn in_system_memory() -> Pde {
    Pde {
        aperture: Aperture::SysCoherent,
        ..Pde::vram(VramAddress::new(0x7654_3000))
    }
}

/// Makes a table of the firmware, without entries, and returns it.
fn table(gpu: &SoftGpu, number: u64) -> VramAddress {
    for offset in (0..PAGE_SIZE).step_by(8) {
        gpu.vram_write64(VramAddress::new(page(number).into_raw() + offset), 0);
    }

    page(number)
}

/// Writes the words of an entry of a table.
fn set(gpu: &SoftGpu, table: VramAddress, index: u64, words: &[u64]) -> Result {
    let width = usize_as_u64(words.len());
    for (number, &word) in (0..).zip(words) {
        gpu.vram_write64(table.checked_add(8 * (index * width + number))?, word);
    }

    Ok(())
}

/// Makes directories from the root down to the last one, of which that of `level` is the first that
/// the root does not have yet; returns the last one.
fn directories<F: TestFormat>(gpu: &SoftGpu, root: VramAddress) -> Result<VramAddress> {
    let mut directory = root;
    for number in 0..usize_as_u64(F::LEVELS.len()) - 2 {
        let below = table(gpu, number);
        set(gpu, directory, 0, &[F::encode_pde(&Pde::vram(below))?])?;
        directory = below;
    }

    Ok(directory)
}

/// Fills the first entries of the last directory with one of each kind.
fn fill<F: TestFormat>(gpu: &SoftGpu, directory: VramAddress) -> Result {
    let memory = |number: u64| Pte::vram(VramAddress::new(MEMORY + number * PAGE_SIZE), false);
    let small = table(gpu, 8);
    let big = table(gpu, 9);
    let both = table(gpu, 10);

    let large_page = F::encode_pte(&memory(0), PageSize::Size2M)?;
    set(gpu, directory, 0, &[large_page, 0])?;
    set(
        gpu,
        small,
        7,
        &[F::encode_pte(&memory(1), PageSize::Size4K)?],
    )?;
    set(
        gpu,
        directory,
        1,
        &F::encode_dual(None, Some(&Pde::vram(small)))?,
    )?;
    set(
        gpu,
        big,
        3,
        &[F::encode_pte(&memory(16), PageSize::Size64K)?],
    )?;
    set(
        gpu,
        directory,
        2,
        &F::encode_dual(Some(&Pde::vram(big)), None)?,
    )?;
    set(
        gpu,
        directory,
        3,
        &F::encode_dual(None, Some(&in_system_memory()))?,
    )?;
    set(gpu, directory, 4, &F::encode_sparse(EntryKind::Dual))?;
    set(
        gpu,
        directory,
        5,
        &F::encode_dual(Some(&Pde::vram(big)), Some(&Pde::vram(both)))?,
    )
}

/// Makes the address space of a BAR that the firmware uses.
fn bench<F: TestFormat>() -> Result<Bench<F>> {
    Bench::of_bar(|gpu, root| fill::<F>(gpu, directories::<F>(gpu, root)?))
}

/// Returns the last directory of [`bench`].
fn last_directory<F: TestFormat>() -> VramAddress {
    page(usize_as_u64(F::LEVELS.len()) - 3)
}

/// Returns all that the firmware has in VRAM.
fn snapshot(gpu: &SoftGpu) -> Result<KVec<u64>> {
    let mut words = KVec::new();
    for address in FIRMWARE.step_by(8) {
        words.push(gpu.vram_read64(VramAddress::new(address)), GFP_KERNEL)?;
    }

    Ok(words)
}

/// Returns the words of entries of the last directory.
fn entries<F: TestFormat>(gpu: &SoftGpu, indices: Range<u64>) -> Result<KVec<u64>> {
    let mut words = KVec::new();
    for word in 2 * indices.start..2 * indices.end {
        let address = last_directory::<F>().checked_add(8 * word)?;
        words.push(gpu.vram_read64(address), GFP_KERNEL)?;
    }

    Ok(words)
}

/// Fails unless the GPU finds what the firmware has mapped.
fn ensure_foreign<F: TestFormat>(bench: &Bench<F>) -> Result {
    let found = |page: u64| {
        let found = bench.gpu.walk(bench.vmm.pdb(), Vfn::new(page)?.address());
        Ok::<_, Error>(found.map(|found| (found.page_size, found.address - MEMORY)))
    };

    ensure_eq!(found(1)?, Ok((PageSize::Size2M, PAGE_SIZE)));
    ensure_eq!(found(LARGE + 6)?, Err(Fault::Unmapped));
    ensure_eq!(found(LARGE + 7)?, Ok((PageSize::Size4K, PAGE_SIZE)));
    ensure_eq!(
        found(2 * LARGE + 50)?,
        Ok((PageSize::Size64K, 18 * PAGE_SIZE))
    );
    ensure_eq!(found(3 * LARGE)?, Err(Fault::OutOfReach));
    ensure_eq!(found(4 * LARGE)?, Err(Fault::Sparse));

    Ok(())
}

/// Leaves and tables of the firmware, in whatever memory, are neither missing nor overwritten.
pub(crate) fn foreign_entries_survive<F: TestFormat>() -> Result {
    let mut bench = bench::<F>()?;
    let before = snapshot(&bench.gpu)?;
    let foreign = entries::<F>(&bench.gpu, 0..FOREIGN)?;
    ensure_foreign(&bench)?;

    // All that is left, in large pages, in small ones, in both.
    let count = BAR_PAGES - FOREIGN * LARGE;
    let vram = bench.alloc(BAR_PAGES)?;
    let va = bench.reserve(count)?;
    ensure_eq!(va.pages().start.into_raw(), FOREIGN * LARGE);
    for (pages, skip) in [
        (0..3 * LARGE, 0),
        (2 * LARGE..4 * LARGE, 1),
        (LARGE + 3..LARGE + 9, 7),
        (count - 9..count, 0),
        (3 * LARGE..4 * LARGE, 0),
    ] {
        bench.map(&va, pages.clone(), &vram, skip, ReadWrite)?;
        bench.check()?;
        bench.expect_mapped(&va, pages, &vram, skip, ReadWrite)?;
        ensure_eq!(entries::<F>(&bench.gpu, 0..FOREIGN)?, foreign);
        ensure_foreign(&bench)?;
    }
    bench.unmap(&va, 7..3 * LARGE - 7)?;
    bench.check()?;
    ensure_foreign(&bench)?;
    bench.teardown()?;
    bench.check()?;
    ensure_foreign(&bench)?;

    // Nothing of ours is left, and nothing else is gone.
    ensure!(snapshot(&bench.gpu)? == before);
    ensure_eq!(bench.table_count()?, 0);
    bench.expect_unmapped(&va, 0..4 * LARGE)
}

/// The addresses that the firmware uses are not handed out.
pub(crate) fn foreign_addresses_are_in_use<F: TestFormat>() -> Result {
    let bench = bench::<F>()?;
    for slot in 0..FOREIGN {
        for page in [slot * LARGE, slot * LARGE + 9, slot * LARGE + LARGE - 1] {
            ensure_eq!(bench.reserve_at(page..page + 1).err(), Some(EBUSY));
        }
    }
    let first = bench.vmm.reserve(VaRequest::Any {
        pages: 1,
        align: PageSize::Size4K,
    })?;
    ensure_eq!(first.pages().start.into_raw(), FOREIGN * LARGE);
    let rest = BAR_PAGES - FOREIGN * LARGE;
    ensure_eq!(bench.reserve(rest).err(), Some(ENOSPC));
    drop(first);
    ensure!(bench.reserve(rest).is_ok());
    ensure_eq!(bench.reserve(rest + 1).err(), Some(ENOSPC));

    Ok(())
}

/// A directory in system memory, or a word that nobody knows: all that it spans is in use.
pub(crate) fn directories_that_cannot_be_shared<F: TestFormat>() -> Result {
    for word in [F::encode_pde(&in_system_memory())?, 0x8000_0000_0000_0000] {
        let mut bench = Bench::<F>::of_bar(|gpu, root| {
            let directory = table(gpu, 0);
            set(gpu, root, 0, &[F::encode_pde(&Pde::vram(directory))?])?;
            set(gpu, directory, 0, &[word])
        })?;
        ensure_eq!(bench.reserve(1).err(), Some(ENOSPC));
        bench.teardown()?;
        ensure_eq!(bench.gpu.vram_read64(page(0)), word);
        if word >> 63 == 0 {
            bench.check()?;
        }
    }

    Ok(())
}

/// If the firmware changes an entry that a job needs, nothing is changed by the job.
pub(crate) fn a_changed_entry_is_busy<F: TestFormat>() -> Result {
    const SLOT: u64 = FOREIGN + 2;

    let mut bench = bench::<F>()?;
    let directory = last_directory::<F>();
    let vram = bench.alloc(2 * LARGE)?;
    let va = bench.reserve_at(SLOT * LARGE..(SLOT + 2) * LARGE)?;
    let foreign = Pte::vram(VramAddress::new(MEMORY), false);
    let foreign = [F::encode_pte(&foreign, PageSize::Size2M)?, 0];
    // The second word counts as well.
    let pointer = F::encode_dual(None, Some(&in_system_memory()))?;

    // Where nothing was, where a table of ours was, and where a large page of ours was.
    for (mapped, skip) in [(0, 0), (5, 1), (2 * LARGE, 0)] {
        if mapped > 0 {
            bench.map(&va, 0..mapped, &vram, skip, ReadWrite)?;
        }
        bench.check()?;
        let ours = entries::<F>(&bench.gpu, SLOT + 1..SLOT + 2)?;
        let all = entries::<F>(&bench.gpu, SLOT..SLOT + 1)?;

        for (slot, old, new) in [(SLOT, &all, foreign), (SLOT + 1, &ours, pointer)] {
            set(&bench.gpu, directory, slot, &new)?;
            let before = snapshot(&bench.gpu)?;
            let free = (bench.data.avail(), bench.free_tables());
            bench.gpu.reset_counts();

            let result = bench.map(&va, 0..2 * LARGE, &vram, 0, ReadOnly);
            ensure_eq!(result, Err(EBUSY));
            if old.iter().any(|&word| word != 0) {
                ensure_eq!(bench.unmap(&va, 0..2 * LARGE), Err(EBUSY));
            }
            let counts = bench.gpu.counts();
            ensure_eq!((counts.pramin_writes, counts.invalidates), (0, 0));
            ensure!(snapshot(&bench.gpu)? == before);
            ensure_eq!((bench.data.avail(), bench.free_tables()), free);
            ensure!(!bench.vmm.is_quarantined());
            set(&bench.gpu, directory, slot, old)?;
        }
        bench.check()?;
    }

    // With the entry as it was, jobs work again.
    bench.map(&va, 0..2 * LARGE, &vram, 0, ReadOnly)?;
    bench.check()?;
    bench.expect_mapped(&va, 0..2 * LARGE, &vram, 0, ReadOnly)
}

/// Tables are freed after their entries are gone, from the root as well, and the TLB knows of it.
pub(crate) fn entries_go_before_tables<F: TestFormat>() -> Result {
    // A root without entries, and one with tables.
    for shares in [false, true] {
        let mut bench = match shares {
            false => Bench::<F>::of_bar(|_, _| Ok(()))?,
            true => bench::<F>()?,
        };
        let before = snapshot(&bench.gpu)?;
        let free = bench.free_tables();
        let first = FOREIGN * LARGE;
        let vram = bench.alloc(2 * LARGE)?;
        let va = bench.reserve_at(first..first + 2 * LARGE)?;
        bench.map(&va, 0..LARGE + 5, &vram, 1, ReadWrite)?;
        bench.check()?;
        bench.expect_mapped(&va, 0..LARGE + 5, &vram, 1, ReadWrite)?;
        let used = bench.free_tables();
        ensure!(used < free);

        // Nothing is free as long as the TLB may have the tables.
        bench.gpu.hang_invalidate(0);
        ensure_eq!(bench.teardown(), Err(ETIMEDOUT));
        ensure!(snapshot(&bench.gpu)? == before);
        ensure_eq!(bench.free_tables(), used);
        bench.gpu.recover();
        bench.teardown()?;
        ensure_eq!(bench.free_tables(), free);

        // The check makes walks of what was free a violation.
        bench.check()?;
        bench.expect_unmapped(&va, 0..2 * LARGE)?;
        ensure!(snapshot(&bench.gpu)? == before);
        let Bench { gpu, vmm, .. } = bench;
        let pdb = vmm.pdb();
        drop(vmm);
        ensure_eq!(
            gpu.walk(pdb, Vfn::new(first)?.address()),
            Err(Fault::Unmapped)
        );
        gpu.check_clean()?;
    }

    Ok(())
}

/// Unmapping takes entries and tables out as soon as they are empty, at the firmware's as well.
pub(crate) fn entries_go_when_nothing_is_mapped<F: TestFormat>() -> Result {
    let mut bench = Bench::<F>::of_bar(|_, _| Ok(()))?;
    let before = snapshot(&bench.gpu)?;
    let free = bench.free_tables();
    let vram = bench.alloc(LARGE)?;
    let vas = [bench.map_all(&vram, ReadWrite)?, bench.reserve(LARGE)?];
    bench.map(&vas[1], 0..LARGE - 1, &vram, 1, ReadOnly)?;
    bench.check()?;

    // Several at once, and in any order.
    bench.expect_mapped(&vas[0], 0..LARGE, &vram, 0, ReadWrite)?;
    bench.expect_mapped(&vas[1], 0..LARGE - 1, &vram, 1, ReadOnly)?;
    bench.unmap(&vas[0], 0..LARGE)?;
    bench.check()?;
    bench.expect_mapped(&vas[1], 0..LARGE - 1, &vram, 1, ReadOnly)?;
    bench.unmap(&vas[1], 0..LARGE)?;
    bench.check()?;
    ensure!(snapshot(&bench.gpu)? == before);
    ensure_eq!(bench.free_tables(), free);

    Ok(())
}

/// Only the TLBs of the hub have what is mapped in a BAR. The entries are read before they are
/// written, and nothing else is.
pub(crate) fn the_hub_is_invalidated<F: TestFormat>() -> Result {
    let mut bench = bench::<F>()?;
    let vram = bench.alloc(2 * LARGE)?;
    let va = bench.reserve(2 * LARGE)?;
    let levels = F::LEVELS.len();

    let seen = bench.observe_all(bench.submit_map(&va, 0..LARGE, &vram, 1, ReadWrite)?)?;
    ensure_eq!(seen.command, UPGRADE | HUB);
    // Two words of one entry.
    ensure_eq!(seen.reads, 2);
    let seen = bench.observe_all(bench.submit_map(&va, 3..7, &vram, 0, ReadWrite)?)?;
    ensure_eq!((seen.command, seen.reads), (DOWNGRADE | HUB, 0));
    let seen = bench.observe_all(bench.submit_protect(&va, 3..7, ReadOnly)?)?;
    ensure_eq!((seen.command, seen.reads), (DOWNGRADE | HUB, 0));
    let seen = bench.observe_all(bench.submit_unmap(&va, 0..LARGE)?)?;
    ensure_eq!((seen.command, seen.reads), (DOWNGRADE | HUB, 2));
    ensure_eq!(seen.writes, 1);

    // Where the firmware has the root only, that is what is read.
    let mut bench = Bench::<F>::of_bar(|_, _| Ok(()))?;
    let va = bench.reserve(2 * LARGE)?;
    let seen = bench.observe_all(bench.submit_map(&va, 0..LARGE, &vram, 0, ReadWrite)?)?;
    ensure_eq!((seen.command, seen.reads), (UPGRADE | HUB, 1));
    ensure_eq!(bench.table_count()?, usize_as_u64(levels) - 2);
    let seen =
        bench.observe_all(bench.submit_map(&va, LARGE..LARGE + 9, &vram, 0, ReadWrite)?)?;
    ensure_eq!((seen.command, seen.reads), (UPGRADE | HUB, 0));

    Ok(())
}

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
            Entry,
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
pub(super) const FOREIGN: u64 = 5;

/// The entry after these is sparse.
const SPARSE: u64 = FOREIGN;

/// Returns the number of a page of VRAM of the firmware as an address.
pub(super) fn page(number: u64) -> VramAddress {
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
pub(super) fn table(gpu: &SoftGpu, number: u64) -> VramAddress {
    for offset in (0..PAGE_SIZE).step_by(8) {
        gpu.vram_write64(VramAddress::new(page(number).into_raw() + offset), 0);
    }

    page(number)
}

/// Writes the words of an entry of a table.
pub(super) fn set(gpu: &SoftGpu, table: VramAddress, index: u64, words: &[u64]) -> Result {
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
    set(
        gpu,
        directory,
        4,
        &F::encode_dual(Some(&Pde::vram(big)), Some(&Pde::vram(both)))?,
    )?;
    set(gpu, directory, SPARSE, &F::encode_sparse(EntryKind::Dual))
}

/// Makes the address space of a BAR that the firmware uses.
pub(super) fn bench<F: TestFormat>() -> Result<Bench<F>> {
    Bench::of_bar(|gpu, root| fill::<F>(gpu, directories::<F>(gpu, root)?))
}

/// Returns the last directory of [`bench`].
pub(super) fn last_directory<F: TestFormat>() -> VramAddress {
    page(usize_as_u64(F::LEVELS.len()) - 3)
}

/// Returns all that the firmware has in VRAM.
pub(super) fn snapshot(gpu: &SoftGpu) -> Result<KVec<u64>> {
    let mut words = KVec::new();
    for address in FIRMWARE.step_by(8) {
        words.push(gpu.vram_read64(VramAddress::new(address)), GFP_KERNEL)?;
    }

    Ok(words)
}

/// Returns the words of entries of the last directory.
pub(super) fn entries<F: TestFormat>(gpu: &SoftGpu, indices: Range<u64>) -> Result<KVec<u64>> {
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
    bench.expect_unmapped(&va, LARGE..4 * LARGE)
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
        // Only entries that cannot be decoded are reported.
        let is_known = word >> 63 == 0;
        ensure_eq!(bench.vmm.unknown_entries().is_none(), is_known);
        bench.teardown()?;
        ensure_eq!(bench.gpu.vram_read64(page(0)), word);
        if is_known {
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
        let first = (SPARSE + 1) * LARGE;
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
    // One word in each of the firmware's directories, and two in the last one.
    let path = levels;

    let seen =
        bench.observe_all(bench.submit_map(&va, LARGE..2 * LARGE, &vram, 1, ReadWrite)?)?;
    ensure_eq!((seen.command, seen.reads), (UPGRADE | HUB, path));
    let pages = LARGE + 3..LARGE + 7;
    let seen = bench.observe_all(bench.submit_map(&va, pages.clone(), &vram, 0, ReadWrite)?)?;
    ensure_eq!((seen.command, seen.reads), (DOWNGRADE | HUB, path));
    let seen = bench.observe_all(bench.submit_protect(&va, pages, ReadOnly)?)?;
    ensure_eq!((seen.command, seen.reads), (DOWNGRADE | HUB, path));
    let seen = bench.observe_all(bench.submit_unmap(&va, LARGE..2 * LARGE)?)?;
    ensure_eq!((seen.command, seen.reads), (DOWNGRADE | HUB, path));
    ensure_eq!(seen.writes, 1);
    // The entry of the last directory is absent, so it is not read.
    let seen = bench.observe_all(bench.submit_unmap(&va, LARGE..2 * LARGE)?)?;
    ensure_eq!((seen.reads, seen.writes), (path - 2, 0));

    // Where the firmware has the root only, that is what is read.
    let mut bench = Bench::<F>::of_bar(|_, _| Ok(()))?;
    let va = bench.reserve(2 * LARGE)?;
    let seen = bench.observe_all(bench.submit_map(&va, 0..LARGE, &vram, 0, ReadWrite)?)?;
    ensure_eq!((seen.command, seen.reads), (UPGRADE | HUB, 1));
    ensure_eq!(bench.table_count()?, usize_as_u64(levels) - 2);
    let seen =
        bench.observe_all(bench.submit_map(&va, LARGE..LARGE + 9, &vram, 0, ReadWrite)?)?;
    ensure_eq!((seen.command, seen.reads), (UPGRADE | HUB, 1));

    Ok(())
}

/// Returns all words of attributes with which an entry of a level maps nothing.
fn unmapped_words<F: TestFormat>(level: usize) -> Result<KVec<u64>> {
    let level = F::LEVELS.get(level).ok_or(EINVAL)?;
    let mut words = KVec::new();

    for word in 0..256 {
        if matches!(level.decode::<F>([word, 0]), Entry::Absent | Entry::Sparse) {
            words.push(word, GFP_KERNEL)?;
        }
    }
    ensure!(words.contains(&F::encode_sparse(level.kind)[0]));

    Ok(words)
}

/// Addresses at which the firmware maps nothing are free, and unmapping restores its entry: sparse
/// addresses are sparse again.
pub(crate) fn unmapped_entries_are_restored<F: TestFormat>() -> Result {
    let last = F::LEVELS.len() - 2;

    // In the last directory, and in the one above it.
    for level in [last, last - 1] {
        for word in unmapped_words::<F>(level)? {
            unmapped_entry_is_restored::<F>(level, word)?;
        }
    }

    Ok(())
}

fn unmapped_entry_is_restored<F: TestFormat>(level: usize, word: u64) -> Result {
    let is_last = level == F::LEVELS.len() - 2;
    let mut bench = Bench::<F>::of_bar(|gpu, root| {
        let last = directories::<F>(gpu, root)?;
        match is_last {
            true => set(gpu, last, SPARSE, &[word, 0]),
            false => set(gpu, page(usize_as_u64(level) - 1), 0, &[word]),
        }
    })?;
    let before = snapshot(&bench.gpu)?;
    let start = SPARSE * LARGE;
    let address = Vfn::new(start)?.address();
    let fault = bench.gpu.walk(bench.vmm.pdb(), address).err();
    let kind = F::LEVELS.get(level).ok_or(EINVAL)?.kind;
    if word == F::encode_sparse(kind)[0] {
        ensure_eq!(fault, Some(Fault::Sparse));
    }

    let vram = bench.alloc(LARGE)?;
    let va = bench.reserve_at(start..start + LARGE)?;
    // A table, a large page, and each of them in place of the other.
    for skips in [&[1][..], &[0], &[1, 0], &[0, 1]] {
        for &skip in skips {
            let pages = 0..LARGE - skip;
            bench.unmap(&va, LARGE - 1..LARGE)?;
            bench.map(&va, pages.clone(), &vram, skip, ReadWrite)?;
            bench.check()?;
            bench.expect_mapped(&va, pages, &vram, skip, ReadWrite)?;
        }
        bench.unmap(&va, 0..LARGE)?;
        bench.check()?;
        ensure!(snapshot(&bench.gpu)? == before);
        ensure_eq!(bench.gpu.walk(bench.vmm.pdb(), address).err(), fault);
    }

    bench.map(&va, 3..LARGE, &vram, 3, ReadWrite)?;
    bench.teardown()?;
    ensure!(snapshot(&bench.gpu)? == before);
    ensure_eq!(bench.table_count()?, 0);

    Ok(())
}

/// Entries that cannot be decoded are reported with the words that were read.
pub(crate) fn unknown_entries_are_reported<F: TestFormat>() -> Result {
    // Reads of a device that is gone, and the GPU's answer for memory that it cannot read.
    for word in [u64::MAX, 0xbad0_0200_bad0_0200] {
        let bench = Bench::<F>::of_bar(|gpu, root| {
            let last = directories::<F>(gpu, root)?;
            for slot in [3, 7, 8] {
                set(gpu, last, slot, &[word, word])?;
            }

            Ok(())
        })?;
        let Some(unknown) = bench.vmm.unknown_entries() else {
            return Err(EINVAL);
        };
        ensure_eq!((unknown.count, unknown.pages), (3, 3 * LARGE));
        ensure_eq!(unknown.first.words, [word, word]);
        ensure_eq!(
            unknown.first.address,
            last_directory::<F>().checked_add(3 * 16)?
        );
        ensure_eq!(
            (unknown.first.start, unknown.first.end),
            (3 * LARGE, 4 * LARGE)
        );
        ensure_eq!(
            bench.reserve_at(3 * LARGE..3 * LARGE + 1).err(),
            Some(EBUSY)
        );
        ensure!(bench.reserve_at(4 * LARGE..7 * LARGE).is_ok());

        // And if it is the root itself.
        let bench = Bench::<F>::of_bar(|gpu, root| set(gpu, root, 0, &[word]))?;
        let Some(unknown) = bench.vmm.unknown_entries() else {
            return Err(EINVAL);
        };
        ensure_eq!((unknown.count, unknown.pages), (1, BAR_PAGES));
        ensure_eq!(unknown.first.words, [word, 0]);
        ensure_eq!(unknown.first.address, bench.vmm.pdb());
    }

    ensure_eq!(bench::<F>()?.vmm.unknown_entries(), None);

    // A directory in VRAM that PRAMIN cannot reach, where entries can point to one.
    if let Ok(word) = F::encode_pde(&Pde::vram(VramAddress::new(1 << 45))) {
        let bench = Bench::<F>::of_bar(|gpu, root| set(gpu, root, 0, &[word]))?;
        let words = bench.vmm.unknown_entries().map(|it| it.first.words);
        ensure_eq!(words, Some([word, 0]));
        ensure_eq!(bench.reserve(1).err(), Some(ENOSPC));
    }

    Ok(())
}

/// No operation changes anything below an entry that the firmware has changed.
pub(crate) fn the_whole_path_is_verified<F: TestFormat>() -> Result {
    let mut bench = bench::<F>()?;
    let vram = bench.alloc(2 * LARGE)?;
    let va = bench.reserve_at((FOREIGN + 1) * LARGE..(FOREIGN + 2) * LARGE)?;
    bench.map(&va, 0..LARGE / 2, &vram, 1, ReadWrite)?;
    bench.check()?;
    let depth = usize_as_u64(F::LEVELS.len()) - 2;

    for level in 0..=depth {
        let table = match level {
            0 => bench.vmm.pdb(),
            _ => page(level - 1),
        };
        // The word that points to the next directory, or both words of the last entry.
        let words = if level == depth {
            [2 * (FOREIGN + 1), 2 * (FOREIGN + 1) + 1]
        } else {
            [0, 0]
        };
        for index in words {
            let address = table.checked_add(8 * index)?;
            let old = bench.gpu.vram_read64(address);
            // Cleared, changed in one bit, and undefined.
            for new in [0, old ^ 1 << 40, u64::MAX] {
                if new == old {
                    continue;
                }
                bench.gpu.vram_write64(address, new);
                let before = snapshot(&bench.gpu)?;
                let free = (bench.data.avail(), bench.free_tables());
                bench.gpu.reset_counts();

                ensure_eq!(
                    bench.map(&va, LARGE - 9..LARGE - 1, &vram, 0, ReadWrite),
                    Err(EBUSY)
                );
                ensure_eq!(bench.map(&va, 0..9, &vram, 0, ReadWrite), Err(EBUSY));
                ensure_eq!(bench.map(&va, 0..LARGE, &vram, 0, ReadWrite), Err(EBUSY));
                ensure_eq!(bench.protect(&va, 3..9, ReadOnly), Err(EBUSY));
                ensure_eq!(bench.protect(&va, 0..LARGE, ReadOnly), Err(EBUSY));
                ensure_eq!(bench.unmap(&va, 3..9), Err(EBUSY));
                ensure_eq!(bench.unmap(&va, 0..LARGE), Err(EBUSY));

                let counts = bench.gpu.counts();
                ensure_eq!((counts.pramin_writes, counts.invalidates), (0, 0));
                ensure!(snapshot(&bench.gpu)? == before);
                ensure_eq!((bench.data.avail(), bench.free_tables()), free);
                bench.gpu.vram_write64(address, old);
            }
        }
    }

    bench.check()?;
    bench.expect_mapped(&va, 0..LARGE / 2, &vram, 1, ReadWrite)?;
    bench.unmap(&va, 0..LARGE)?;
    bench.check()
}

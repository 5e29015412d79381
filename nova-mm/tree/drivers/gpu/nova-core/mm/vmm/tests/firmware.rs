// SPDX-License-Identifier: GPL-2.0

//! Tests of address spaces whose root belongs to the firmware, such as that of BAR1.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    mm::{
        address::{
            PageSize,
            Vfn,
            VramAddress,
            PAGE_SIZE, //
        },
        format::{
            tests::vram_page,
            Access::*,
            Aperture,
            Entry,
            EntryType,
            Pde, //
        },
        model::{
            Fault,
            SoftGpu, //
        },
        vmm::{
            tests::{
                fixture::{
                    backing,
                    ensure,
                    ensure_eq,
                    vfns,
                    Area,
                    Fixture,
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
            },
            Job,
            JobError, //
        },
        vram::Vram, //
    },
    num::usize_as_u64, //
};

/// Address of the memory that the firmware has mapped.
const MEMORY: u64 = 8 << 30;

/// Number of entries of the last directory that belong to the firmware, the first ones.
pub(super) const FOREIGN: u64 = 5;

/// The entry after these is sparse.
const SPARSE: u64 = FOREIGN;

/// Returns the address of page `number` of the firmware's VRAM.
pub(super) fn page(number: u64) -> VramAddress {
    VramAddress::new(FIRMWARE.start + number * PAGE_SIZE)
}

/// Returns an entry that points to a table in system memory.
fn in_system_memory() -> Pde {
    Pde {
        aperture: Aperture::SysCoherent,
        ..Pde::vram(VramAddress::new(0x7654_3000))
    }
}

/// Creates a table of the firmware without entries, and returns its address.
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

/// Creates directories of the firmware below the root, and returns the address of the last one.
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
    let memory = |number: u64| vram_page(MEMORY + number * PAGE_SIZE);
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
    set(gpu, directory, SPARSE, &F::encode_sparse(EntryType::Dual))
}

/// Creates the address space of a BAR that the firmware uses.
pub(super) fn fixture<F: TestFormat>() -> Result<Fixture<F>> {
    Fixture::of_bar(|gpu, root| fill::<F>(gpu, directories::<F>(gpu, root)?))
}

/// Returns the last directory of [`fixture`].
pub(super) fn last_directory<F: TestFormat>() -> VramAddress {
    page(usize_as_u64(F::LEVELS.len()) - 3)
}

/// Returns the contents of the firmware's VRAM.
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

/// Fails unless the firmware's mappings are as [`fill`] has made them.
fn ensure_foreign<F: TestFormat>(fixture: &Fixture<F>) -> Result {
    let found = |page: u64| {
        let found = fixture.gpu.walk(fixture.pdb(), Vfn::new(page)?.address());
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

/// Runs a job, which must fail because the firmware has changed an entry, and must not write
/// anything. Returns it, as it can be run again.
pub(super) fn ensure_busy<F: TestFormat>(fixture: &Fixture<F>, mut job: Job) -> Result<Job> {
    let before = snapshot(&fixture.gpu)?;
    let free = (fixture.data.avail(), fixture.free_tables());
    fixture.gpu.reset_counts();

    for _ in 0..2 {
        ensure_eq!(job.run(), Err(JobError::Unchanged(EBUSY)));
    }
    let counts = fixture.gpu.counts();
    ensure_eq!((counts.pramin_writes, counts.invalidates), (0, 0));
    ensure!(snapshot(&fixture.gpu)? == before);
    ensure_eq!((fixture.data.avail(), fixture.free_tables()), free);
    ensure!(!fixture.vmm.has_deferred());

    Ok(job)
}

/// Pages and tables of the firmware, in whatever memory, are preserved.
pub(crate) fn firmware_entries_survive<F: TestFormat>() -> Result {
    let mut fixture = fixture::<F>()?;
    let before = snapshot(&fixture.gpu)?;
    let foreign = entries::<F>(&fixture.gpu, 0..FOREIGN)?;
    ensure_foreign(&fixture)?;

    // All other pages, in large pages, in small ones, in both.
    let count = BAR_PAGES - FOREIGN * LARGE;
    let vram = fixture.alloc(BAR_PAGES)?;
    let va = fixture.reserve_at(FOREIGN * LARGE..BAR_PAGES)?;
    for (pages, skip) in [
        (0..3 * LARGE, 0),
        (2 * LARGE..4 * LARGE, 1),
        (3 * LARGE + 32..3 * LARGE + 100, 32),
        (LARGE + 3..LARGE + 9, 7),
        (count - 9..count, 0),
        (3 * LARGE..4 * LARGE, 0),
    ] {
        fixture.map(&va, pages.clone(), &vram, skip, ReadWrite)?;
        fixture.check()?;
        fixture.expect_mapped(&va, pages, &vram, skip, ReadWrite)?;
        ensure_eq!(entries::<F>(&fixture.gpu, 0..FOREIGN)?, foreign);
        ensure_foreign(&fixture)?;
    }
    fixture.unmap(&va, 7..3 * LARGE - 7)?;
    fixture.check()?;
    ensure_foreign(&fixture)?;
    fixture.teardown()?;
    fixture.check()?;
    ensure_foreign(&fixture)?;

    // The driver's entries are gone, and no others.
    ensure!(snapshot(&fixture.gpu)? == before);
    ensure_eq!(fixture.table_count()?, 0);
    fixture.expect_unmapped(&va, LARGE..4 * LARGE)
}

/// Returns the error with which jobs for these pages fail to be prepared, if they do. It is the
/// same for all kinds of jobs.
fn refusal<F: TestFormat>(fixture: &Fixture<F>, pages: Range<u64>) -> Result<Option<Error>> {
    let pages = || vfns(pages.clone());
    let vram = fixture.alloc(BAR_PAGES)?;
    let map = fixture
        .vmm
        .prepare_map(pages()?, backing(&vram, 0, ReadWrite));
    let error = map.err();
    ensure_eq!(fixture.vmm.prepare_unmap(pages()?).err(), error);
    ensure_eq!(fixture.vmm.prepare_protect(pages()?, ReadOnly).err(), error);

    Ok(error)
}

/// Jobs cannot be prepared for pages that the firmware uses.
pub(crate) fn firmware_pages_are_busy<F: TestFormat>() -> Result {
    let fixture = fixture::<F>()?;
    let used = fixture.vmm.firmware_pages();
    ensure!(used
        .iter()
        .cloned()
        .eq((0..FOREIGN).map(|slot| slot * LARGE..(slot + 1) * LARGE)));

    for slot in 0..FOREIGN {
        for page in [slot * LARGE, slot * LARGE + 9, slot * LARGE + LARGE - 1] {
            ensure_eq!(refusal(&fixture, page..page + 1)?, Some(EBUSY));
        }
    }
    let first = FOREIGN * LARGE;
    ensure_eq!(refusal(&fixture, first - 1..first + 1)?, Some(EBUSY));
    ensure_eq!(refusal(&fixture, 0..BAR_PAGES)?, Some(EBUSY));
    ensure_eq!(refusal(&fixture, first..BAR_PAGES)?, None);
    // The end of the BAR is checked first.
    ensure_eq!(refusal(&fixture, 0..BAR_PAGES + 1)?, Some(EINVAL));

    Ok(())
}

/// The firmware uses all pages below a directory in system memory, and below a malformed entry.
pub(crate) fn unreadable_directory_is_busy<F: TestFormat>() -> Result {
    for word in [F::encode_pde(&in_system_memory())?, 0x8000_0000_0000_0000] {
        let mut fixture = Fixture::<F>::of_bar(|gpu, root| {
            let directory = table(gpu, 0);
            set(gpu, root, 0, &[F::encode_pde(&Pde::vram(directory))?])?;
            set(gpu, directory, 0, &[word])
        })?;
        for page in [0, BAR_PAGES / 2, BAR_PAGES - 1] {
            ensure_eq!(refusal(&fixture, page..page + 1)?, Some(EBUSY));
        }
        // Only malformed entries are reported.
        let is_known = word >> 63 == 0;
        ensure_eq!(fixture.vmm.unknown_entries().is_none(), is_known);
        fixture.teardown()?;
        ensure_eq!(fixture.gpu.vram_read64(page(0)), word);
        if is_known {
            fixture.check()?;
        }
    }

    Ok(())
}

/// If the firmware changes an entry that a job needs, the job changes nothing.
pub(crate) fn changed_entry_is_busy<F: TestFormat>() -> Result {
    const SLOT: u64 = FOREIGN + 2;

    let mut fixture = fixture::<F>()?;
    let directory = last_directory::<F>();
    let vram = fixture.alloc(2 * LARGE)?;
    let va = fixture.reserve_at(SLOT * LARGE..(SLOT + 2) * LARGE)?;
    let foreign = [F::encode_pte(&vram_page(MEMORY), PageSize::Size2M)?, 0];
    // The second word counts as well.
    let pointer = F::encode_dual(None, Some(&in_system_memory()))?;

    // Over unmapped pages, over a table of the driver, and over its large pages.
    for (mapped, skip) in [(0, 0), (5, 1), (2 * LARGE, 0)] {
        if mapped > 0 {
            fixture.map(&va, 0..mapped, &vram, skip, ReadWrite)?;
        }
        fixture.check()?;
        let ours = entries::<F>(&fixture.gpu, SLOT + 1..SLOT + 2)?;
        let all = entries::<F>(&fixture.gpu, SLOT..SLOT + 1)?;
        let free = (fixture.data.avail(), fixture.free_tables());

        for (slot, old, new) in [(SLOT, &all, foreign), (SLOT + 1, &ours, pointer)] {
            set(&fixture.gpu, directory, slot, &new)?;
            let map = fixture.prepare_map(&va, 0..2 * LARGE, &vram, 0, ReadOnly)?;
            ensure_busy(&fixture, map)?.free();
            if old.iter().any(|&word| word != 0) {
                ensure_busy(&fixture, fixture.prepare_unmap(&va, 0..2 * LARGE)?)?.free();
            }
            ensure_eq!((fixture.data.avail(), fixture.free_tables()), free);
            set(&fixture.gpu, directory, slot, old)?;
        }
        fixture.check()?;
    }

    // With the entry as it was, jobs work again.
    fixture.map(&va, 0..2 * LARGE, &vram, 0, ReadOnly)?;
    fixture.check()?;
    fixture.expect_mapped(&va, 0..2 * LARGE, &vram, 0, ReadOnly)
}

/// Tables are freed after the entries that point to them are cleared, in the root as well, and
/// after the TLB has been invalidated.
pub(crate) fn tables_are_freed_after_entries<F: TestFormat>() -> Result {
    // An empty root, and one with directories of the firmware.
    for shares in [false, true] {
        let mut fixture = match shares {
            false => Fixture::<F>::of_bar(|_, _| Ok(()))?,
            true => fixture::<F>()?,
        };
        let before = snapshot(&fixture.gpu)?;
        let free = fixture.free_tables();
        let first = (SPARSE + 1) * LARGE;
        let vram = fixture.alloc(2 * LARGE)?;
        let va = fixture.reserve_at(first..first + 2 * LARGE)?;
        fixture.map(&va, 0..LARGE + 5, &vram, 1, ReadWrite)?;
        fixture.check()?;
        fixture.expect_mapped(&va, 0..LARGE + 5, &vram, 1, ReadWrite)?;
        let used = fixture.free_tables();
        ensure!(used < free);

        // Nothing is freed while the TLB may have cached the tables.
        fixture.gpu.hang_invalidate(0);
        ensure_eq!(fixture.teardown(), Err(ETIMEDOUT));
        ensure!(snapshot(&fixture.gpu)? == before);
        ensure_eq!(fixture.free_tables(), used);
        fixture.gpu.recover();
        fixture.teardown()?;
        ensure_eq!(fixture.free_tables(), free);

        // From this check on, walks through the freed tables are violations.
        fixture.check()?;
        fixture.expect_unmapped(&va, 0..2 * LARGE)?;
        ensure!(snapshot(&fixture.gpu)? == before);
        let Fixture { gpu, vmm, .. } = fixture;
        let pdb = vmm.pdb().address();
        drop(vmm);
        ensure_eq!(
            gpu.walk(pdb, Vfn::new(first)?.address()),
            Err(Fault::Unmapped)
        );
        gpu.check_clean()?;
    }

    Ok(())
}

/// Unmapping the last page of a table frees the table and clears its entry, in the root as well.
pub(crate) fn empty_tables_are_unlinked<F: TestFormat>() -> Result {
    let mut fixture = Fixture::<F>::of_bar(|_, _| Ok(()))?;
    let before = snapshot(&fixture.gpu)?;
    let free = fixture.free_tables();
    let vram = fixture.alloc(LARGE)?;
    let vas = [fixture.map_all(&vram, ReadWrite)?, fixture.reserve(LARGE)?];
    fixture.map(&vas[1], 0..LARGE - 1, &vram, 1, ReadOnly)?;
    fixture.check()?;

    fixture.expect_mapped(&vas[0], 0..LARGE, &vram, 0, ReadWrite)?;
    fixture.expect_mapped(&vas[1], 0..LARGE - 1, &vram, 1, ReadOnly)?;
    fixture.unmap(&vas[0], 0..LARGE)?;
    fixture.check()?;
    fixture.expect_mapped(&vas[1], 0..LARGE - 1, &vram, 1, ReadOnly)?;
    fixture.unmap(&vas[1], 0..LARGE)?;
    fixture.check()?;
    ensure!(snapshot(&fixture.gpu)? == before);
    ensure_eq!(fixture.free_tables(), free);

    Ok(())
}

/// Jobs of a BAR read each entry of the firmware on the path to their pages, and no others, and
/// invalidate the TLBs of the hub only.
pub(crate) fn hub_is_invalidated<F: TestFormat>() -> Result {
    let mut fixture = fixture::<F>()?;
    let vram = fixture.alloc(2 * LARGE)?;
    let va = fixture.reserve_at(FOREIGN * LARGE..(FOREIGN + 2) * LARGE)?;
    let levels = F::LEVELS.len();
    // One word in each of the firmware's directories, and two in the last one.
    let path = levels;

    let map = fixture.prepare_map(&va, LARGE..2 * LARGE, &vram, 1, ReadWrite)?;
    let seen = fixture.observe_all(map)?;
    ensure_eq!((seen.command, seen.reads), (UPGRADE | HUB, path));
    let pages = LARGE + 3..LARGE + 7;
    let seen =
        fixture.observe_all(fixture.prepare_map(&va, pages.clone(), &vram, 0, ReadWrite)?)?;
    ensure_eq!((seen.command, seen.reads), (DOWNGRADE | HUB, path));
    let seen = fixture.observe_all(fixture.prepare_protect(&va, pages, ReadOnly)?)?;
    ensure_eq!((seen.command, seen.reads), (DOWNGRADE | HUB, path));
    let seen = fixture.observe_all(fixture.prepare_unmap(&va, LARGE..2 * LARGE)?)?;
    ensure_eq!((seen.command, seen.reads), (DOWNGRADE | HUB, path));
    ensure_eq!(seen.writes, 1);
    // The entry of the last directory is not valid, so it is not read.
    let seen = fixture.observe_all(fixture.prepare_unmap(&va, LARGE..2 * LARGE)?)?;
    ensure_eq!((seen.reads, seen.writes), (path - 2, 0));

    // If the firmware has only the root, only that is read.
    let mut fixture = Fixture::<F>::of_bar(|_, _| Ok(()))?;
    let va = fixture.reserve(2 * LARGE)?;
    let seen = fixture.observe_all(fixture.prepare_map(&va, 0..LARGE, &vram, 0, ReadWrite)?)?;
    ensure_eq!((seen.command, seen.reads), (UPGRADE | HUB, 1));
    ensure_eq!(fixture.table_count()?, usize_as_u64(levels) - 2);
    let seen =
        fixture.observe_all(fixture.prepare_map(&va, LARGE..LARGE + 9, &vram, 0, ReadWrite)?)?;
    ensure_eq!((seen.command, seen.reads), (UPGRADE | HUB, 1));

    Ok(())
}

/// Returns all words of a single byte with which an entry of a level is invalid or sparse.
fn vacant_words<F: TestFormat>(level: usize) -> Result<KVec<u64>> {
    let level = F::LEVELS.get(level).ok_or(EINVAL)?;
    let mut words = KVec::new();

    for word in 0..256 {
        if matches!(
            level.decode(F::mmu(), [word, 0]),
            Entry::Invalid | Entry::Sparse
        ) {
            words.push(word, GFP_KERNEL)?;
        }
    }
    ensure!(words.contains(&F::encode_sparse(level.kind)[0]));

    Ok(words)
}

/// Pages at which the firmware maps nothing can be mapped, and unmapping restores its entries:
/// sparse pages become sparse again.
pub(crate) fn vacant_entries_are_restored<F: TestFormat>() -> Result {
    let last = F::LEVELS.len() - 2;

    // In the last directory, and in the one above it.
    for level in [last, last - 1] {
        for word in vacant_words::<F>(level)? {
            vacant_entry_is_restored::<F>(level, word)?;
        }
    }

    Ok(())
}

fn vacant_entry_is_restored<F: TestFormat>(level: usize, word: u64) -> Result {
    let is_last = level == F::LEVELS.len() - 2;
    let mut fixture = Fixture::<F>::of_bar(|gpu, root| {
        let last = directories::<F>(gpu, root)?;
        match is_last {
            true => set(gpu, last, SPARSE, &[word, 0]),
            false => set(gpu, page(usize_as_u64(level) - 1), 0, &[word]),
        }
    })?;
    let before = snapshot(&fixture.gpu)?;
    let start = SPARSE * LARGE;
    let address = Vfn::new(start)?.address();
    let fault = fixture.gpu.walk(fixture.pdb(), address).err();
    let kind = F::LEVELS.get(level).ok_or(EINVAL)?.kind;
    if word == F::encode_sparse(kind)[0] {
        ensure_eq!(fault, Some(Fault::Sparse));
    }

    let vram = fixture.alloc(LARGE)?;
    let va = fixture.reserve_at(start..start + LARGE)?;
    // A table, a large page, and each of them in place of the other.
    for skips in [&[1][..], &[0], &[1, 0], &[0, 1]] {
        for &skip in skips {
            let pages = 0..LARGE - skip;
            fixture.unmap(&va, LARGE - 1..LARGE)?;
            fixture.map(&va, pages.clone(), &vram, skip, ReadWrite)?;
            fixture.check()?;
            fixture.expect_mapped(&va, pages, &vram, skip, ReadWrite)?;
        }
        fixture.unmap(&va, 0..LARGE)?;
        fixture.check()?;
        ensure!(snapshot(&fixture.gpu)? == before);
        ensure_eq!(fixture.gpu.walk(fixture.pdb(), address).err(), fault);
    }

    fixture.map(&va, 3..LARGE, &vram, 3, ReadWrite)?;
    fixture.teardown()?;
    ensure!(snapshot(&fixture.gpu)? == before);
    ensure_eq!(fixture.table_count()?, 0);

    Ok(())
}

/// Malformed entries are reported with their words.
pub(crate) fn unknown_entries_are_reported<F: TestFormat>() -> Result {
    // What reads return after the device is gone, and for memory that the GPU cannot read.
    for word in [u64::MAX, 0xbad0_0200_bad0_0200] {
        let fixture = Fixture::<F>::of_bar(|gpu, root| {
            let last = directories::<F>(gpu, root)?;
            for slot in [3, 7, 8] {
                set(gpu, last, slot, &[word, word])?;
            }

            Ok(())
        })?;
        let Some(unknown) = fixture.vmm.unknown_entries() else {
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
        ensure_eq!(refusal(&fixture, 3 * LARGE..3 * LARGE + 1)?, Some(EBUSY));
        ensure_eq!(refusal(&fixture, 4 * LARGE..7 * LARGE)?, None);

        // In the root.
        let fixture = Fixture::<F>::of_bar(|gpu, root| set(gpu, root, 0, &[word]))?;
        let Some(unknown) = fixture.vmm.unknown_entries() else {
            return Err(EINVAL);
        };
        ensure_eq!((unknown.count, unknown.pages), (1, BAR_PAGES));
        ensure_eq!(unknown.first.words, [word, 0]);
        ensure_eq!(unknown.first.address, fixture.pdb());
    }

    ensure_eq!(fixture::<F>()?.vmm.unknown_entries(), None);

    // A directory in VRAM that PRAMIN cannot reach, where entries can point to one.
    if let Ok(word) = F::encode_pde(&Pde::vram(VramAddress::new(1 << 45))) {
        let fixture = Fixture::<F>::of_bar(|gpu, root| set(gpu, root, 0, &[word]))?;
        let words = fixture.vmm.unknown_entries().map(|it| it.first.words);
        ensure_eq!(words, Some([word, 0]));
        ensure_eq!(refusal(&fixture, 0..1)?, Some(EBUSY));
    }

    Ok(())
}

/// Returns a job of each kind: for some pages and for all pages below an entry of the last
/// directory.
fn jobs<F: TestFormat>(fixture: &Fixture<F>, va: &Area, vram: &Arc<Vram>) -> Result<[Job; 7]> {
    Ok([
        fixture.prepare_map(va, LARGE - 9..LARGE - 1, vram, 0, ReadWrite)?,
        fixture.prepare_map(va, 0..9, vram, 0, ReadWrite)?,
        fixture.prepare_map(va, 0..LARGE, vram, 0, ReadWrite)?,
        fixture.prepare_protect(va, 3..9, ReadOnly)?,
        fixture.prepare_protect(va, 0..LARGE, ReadOnly)?,
        fixture.prepare_unmap(va, 3..9)?,
        fixture.prepare_unmap(va, 0..LARGE)?,
    ])
}

/// No job changes anything below an entry that the firmware has changed.
pub(crate) fn whole_path_is_verified<F: TestFormat>() -> Result {
    let mut fixture = fixture::<F>()?;
    let vram = fixture.alloc(2 * LARGE)?;
    let va = fixture.reserve_at((FOREIGN + 1) * LARGE..(FOREIGN + 2) * LARGE)?;
    fixture.map(&va, 0..LARGE / 2, &vram, 1, ReadWrite)?;
    fixture.check()?;
    let depth = usize_as_u64(F::LEVELS.len()) - 2;

    for level in 0..=depth {
        let table = match level {
            0 => fixture.pdb(),
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
            let old = fixture.gpu.vram_read64(address);
            // Cleared, changed in one bit, and undefined.
            for new in [0, old ^ 1 << 40, u64::MAX] {
                if new == old {
                    continue;
                }
                fixture.gpu.vram_write64(address, new);
                let free = (fixture.data.avail(), fixture.free_tables());
                for job in jobs(&fixture, &va, &vram)? {
                    ensure_busy(&fixture, job)?.free();
                }
                ensure_eq!((fixture.data.avail(), fixture.free_tables()), free);
                fixture.gpu.vram_write64(address, old);
            }
        }
    }

    fixture.check()?;
    fixture.expect_mapped(&va, 0..LARGE / 2, &vram, 1, ReadWrite)?;
    fixture.unmap(&va, 0..LARGE)?;
    fixture.check()
}

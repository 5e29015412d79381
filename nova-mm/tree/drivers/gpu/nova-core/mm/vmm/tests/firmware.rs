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
            GpuModel,
            Logged, //
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
                trace::{
                    DOWNGRADE,
                    EMPTY_TABLE,
                    HUB,
                    UPGRADE, //
                },
            },
            Job,
            JobError, //
        },
        vram::Vram, //
    },
    num::{
        u64_as_usize,
        usize_as_u64, //
    }, //
};

/// Address of memory that the firmware has mapped.
const MEMORY: u64 = 8 << 30;

/// Number of entries at the start of the last directory that belong to the firmware.
pub(super) const FIRMWARE_ENTRIES: u64 = 5;

/// Index of a sparse entry of the firmware, after these entries.
const SPARSE: u64 = FIRMWARE_ENTRIES;

/// Returns the address of page `number` of the firmware's VRAM.
pub(super) fn page(number: u64) -> VramAddress {
    VramAddress::new(FIRMWARE.start + number * PAGE_SIZE)
}

/// Returns a PDE that points to a table in system memory.
fn in_system_memory() -> Pde {
    Pde {
        aperture: Aperture::SysCoherent,
        ..Pde::vram(VramAddress::new(0x7654_3000))
    }
}

/// Zeroes page `number` of the firmware's VRAM for use as a table, and returns its address.
pub(super) fn table(gpu: &GpuModel, number: u64) -> VramAddress {
    gpu.vram_write(page(number), &EMPTY_TABLE);

    page(number)
}

/// Writes the words of an entry of a table.
pub(super) fn set(gpu: &GpuModel, table: VramAddress, index: u64, words: &[u64]) -> Result {
    let width = usize_as_u64(words.len());
    for (number, &word) in (0..).zip(words) {
        gpu.vram_write64(table.checked_add(8 * (index * width + number))?, word);
    }

    Ok(())
}

/// Creates directories of the firmware below the root. Returns the address of the last one.
pub(super) fn directories<F: TestFormat>(gpu: &GpuModel, root: VramAddress) -> Result<VramAddress> {
    let mut directory = root;
    for number in 0..usize_as_u64(F::LEVELS.len()) - 2 {
        let below = table(gpu, number);
        set(gpu, directory, 0, &[F::encode_pde(&Pde::vram(below))?])?;
        directory = below;
    }

    Ok(directory)
}

/// Fills the first entries of the last directory with one entry of each type.
fn fill<F: TestFormat>(gpu: &GpuModel, directory: VramAddress) -> Result {
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

/// Creates a BAR's address space with mappings of the firmware.
pub(super) fn fixture<F: TestFormat>() -> Result<Fixture<F>> {
    Fixture::of_bar(|gpu, root| fill::<F>(gpu, directories::<F>(gpu, root)?))
}

/// Returns the last directory of [`fixture`].
pub(super) fn last_directory<F: TestFormat>() -> VramAddress {
    page(usize_as_u64(F::LEVELS.len()) - 3)
}

/// Returns the contents of the firmware's VRAM.
pub(super) fn snapshot(gpu: &GpuModel) -> Result<KVec<u64>> {
    gpu.vram_read(
        VramAddress::new(FIRMWARE.start),
        u64_as_usize((FIRMWARE.end - FIRMWARE.start) / 8),
    )
}

/// Returns the words of entries of the last directory.
pub(super) fn entries<F: TestFormat>(gpu: &GpuModel, indices: Range<u64>) -> Result<KVec<u64>> {
    let address = last_directory::<F>().checked_add(16 * indices.start)?;

    gpu.vram_read(address, u64_as_usize(2 * (indices.end - indices.start)))
}

/// Fails unless the firmware's mappings are unchanged since [`fill`].
fn ensure_firmware_mappings<F: TestFormat>(fixture: &Fixture<F>) -> Result {
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
    ensure_eq!(found(3 * LARGE)?, Err(Fault::NotInVram));

    Ok(())
}

/// Runs a job twice, which must fail because the firmware has changed an entry, and must not write
/// page tables. Returns the job, which can be run again.
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

/// Pages and tables of the firmware are preserved, whether they are in VRAM or system memory.
pub(crate) fn firmware_entries_preserved<F: TestFormat>() -> Result {
    let mut fixture = fixture::<F>()?;
    let before = snapshot(&fixture.gpu)?;
    let firmware_words = entries::<F>(&fixture.gpu, 0..FIRMWARE_ENTRIES)?;
    ensure_firmware_mappings(&fixture)?;

    // All other pages, with large pages, small pages, and both.
    let count = BAR_PAGES - FIRMWARE_ENTRIES * LARGE;
    let vram = fixture.alloc(BAR_PAGES)?;
    let va = fixture.reserve_at(FIRMWARE_ENTRIES * LARGE..BAR_PAGES)?;
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
        ensure_eq!(
            entries::<F>(&fixture.gpu, 0..FIRMWARE_ENTRIES)?,
            firmware_words
        );
        ensure_firmware_mappings(&fixture)?;
    }
    fixture.unmap(&va, 7..3 * LARGE - 7)?;
    fixture.check()?;
    ensure_firmware_mappings(&fixture)?;
    fixture.teardown()?;
    fixture.check()?;
    ensure_firmware_mappings(&fixture)?;

    // All entries of the driver have been removed, and no others.
    ensure!(snapshot(&fixture.gpu)? == before);
    ensure_eq!(fixture.table_count()?, 0);
    fixture.expect_unmapped(&va, LARGE..4 * LARGE)
}

/// Returns the error of preparing a job for `pages`. The error is the same for all kinds of jobs.
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

/// Preparing jobs for pages that the firmware uses fails.
pub(crate) fn firmware_pages_ebusy<F: TestFormat>() -> Result {
    let fixture = fixture::<F>()?;
    let used = fixture.vmm.firmware_pages();
    ensure!(used
        .iter()
        .cloned()
        .eq((0..FIRMWARE_ENTRIES).map(|slot| slot * LARGE..(slot + 1) * LARGE)));

    for slot in 0..FIRMWARE_ENTRIES {
        for page in [slot * LARGE, slot * LARGE + 9, slot * LARGE + LARGE - 1] {
            ensure_eq!(refusal(&fixture, page..page + 1)?, Some(EBUSY));
        }
    }
    let first = FIRMWARE_ENTRIES * LARGE;
    ensure_eq!(refusal(&fixture, first - 1..first + 1)?, Some(EBUSY));
    ensure_eq!(refusal(&fixture, 0..BAR_PAGES)?, Some(EBUSY));
    ensure_eq!(refusal(&fixture, first..BAR_PAGES)?, None);
    // The end of the BAR is checked first.
    ensure_eq!(refusal(&fixture, 0..BAR_PAGES + 1)?, Some(EINVAL));

    Ok(())
}

/// All pages below a directory in system memory or below a malformed entry belong to the firmware.
pub(crate) fn unreadable_directory_ebusy<F: TestFormat>() -> Result {
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

/// If the firmware changes an entry that a job depends on, the job changes nothing.
pub(crate) fn changed_entry_ebusy<F: TestFormat>() -> Result {
    const SLOT: u64 = FIRMWARE_ENTRIES + 2;

    let mut fixture = fixture::<F>()?;
    let directory = last_directory::<F>();
    let vram = fixture.alloc(2 * LARGE)?;
    let va = fixture.reserve_at(SLOT * LARGE..(SLOT + 2) * LARGE)?;
    let firmware_words = [F::encode_pte(&vram_page(MEMORY), PageSize::Size2M)?, 0];
    // Changes of the second word are detected as well.
    let pointer = F::encode_dual(None, Some(&in_system_memory()))?;

    // On unmapped pages, on a table of the driver, and on its large pages.
    for (mapped, skip) in [(0, 0), (5, 1), (2 * LARGE, 0)] {
        if mapped > 0 {
            fixture.map(&va, 0..mapped, &vram, skip, ReadWrite)?;
        }
        fixture.check()?;
        let ours = entries::<F>(&fixture.gpu, SLOT + 1..SLOT + 2)?;
        let all = entries::<F>(&fixture.gpu, SLOT..SLOT + 1)?;
        let free = (fixture.data.avail(), fixture.free_tables());

        for (slot, old, new) in [(SLOT, &all, firmware_words), (SLOT + 1, &ours, pointer)] {
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

    // Jobs work again once the entry is restored.
    fixture.map(&va, 0..2 * LARGE, &vram, 0, ReadOnly)?;
    fixture.check()?;
    fixture.expect_mapped(&va, 0..2 * LARGE, &vram, 0, ReadOnly)
}

/// Tables are freed after the entries that point to them are cleared, including entries of the
/// root, and after the TLB is invalidated.
pub(crate) fn tables_freed_after_entries<F: TestFormat>() -> Result {
    // With an empty root, and with directories of the firmware below it.
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

        // No table is freed while the TLB may have cached it.
        fixture.gpu.hang_invalidate(0);
        ensure_eq!(fixture.teardown(), Err(ETIMEDOUT));
        ensure!(snapshot(&fixture.gpu)? == before);
        ensure_eq!(fixture.free_tables(), used);
        fixture.gpu.recover();
        fixture.teardown()?;
        ensure_eq!(fixture.free_tables(), free);

        // After this check, walks through the freed tables are violations.
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

/// Unmapping the last page of a table frees the table and clears its entry, even in the root.
pub(crate) fn empty_tables_unlinked<F: TestFormat>() -> Result {
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

/// Jobs of a BAR read exactly the entries of the firmware on the path to their pages, and
/// invalidate only the TLBs of the hub.
pub(crate) fn bar_job_invalidates_hub<F: TestFormat>() -> Result {
    let mut fixture = fixture::<F>()?;
    let vram = fixture.alloc(2 * LARGE)?;
    let va = fixture.reserve_at(FIRMWARE_ENTRIES * LARGE..(FIRMWARE_ENTRIES + 2) * LARGE)?;
    let levels = F::LEVELS.len();
    // One word in each of the firmware's directories, and two in the last one.
    let path = levels;

    let map = fixture.prepare_map(&va, LARGE..2 * LARGE, &vram, 1, ReadWrite)?;
    let seen = fixture.trace_and_free(map)?;
    ensure_eq!((seen.command, seen.reads), (UPGRADE | HUB, path));
    let pages = LARGE + 3..LARGE + 7;
    let seen =
        fixture.trace_and_free(fixture.prepare_map(&va, pages.clone(), &vram, 0, ReadWrite)?)?;
    ensure_eq!((seen.command, seen.reads), (DOWNGRADE | HUB, path));
    let seen = fixture.trace_and_free(fixture.prepare_protect(&va, pages, ReadOnly)?)?;
    ensure_eq!((seen.command, seen.reads), (DOWNGRADE | HUB, path));
    let seen = fixture.trace_and_free(fixture.prepare_unmap(&va, LARGE..2 * LARGE)?)?;
    ensure_eq!((seen.command, seen.reads), (DOWNGRADE | HUB, path));
    ensure_eq!(seen.writes, 1);
    // The entry of the last directory is not valid, so it is not read.
    let seen = fixture.trace_and_free(fixture.prepare_unmap(&va, LARGE..2 * LARGE)?)?;
    ensure_eq!((seen.reads, seen.writes), (path - 2, 0));

    // If only the root belongs to the firmware, only the root is read.
    let mut fixture = Fixture::<F>::of_bar(|_, _| Ok(()))?;
    let va = fixture.reserve(2 * LARGE)?;
    let seen =
        fixture.trace_and_free(fixture.prepare_map(&va, 0..LARGE, &vram, 0, ReadWrite)?)?;
    ensure_eq!((seen.command, seen.reads), (UPGRADE | HUB, 1));
    ensure_eq!(fixture.table_count()?, usize_as_u64(levels) - 2);
    let seen = fixture.trace_and_free(fixture.prepare_map(
        &va,
        LARGE..LARGE + 9,
        &vram,
        0,
        ReadWrite,
    )?)?;
    ensure_eq!((seen.command, seen.reads), (UPGRADE | HUB, 1));

    Ok(())
}

/// Returns all words below 256 that are invalid or sparse entries of a level.
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

/// Pages that the firmware has not mapped can be mapped. Unmapping restores the firmware's entries,
/// so sparse pages become sparse again.
pub(crate) fn vacant_entries_restored<F: TestFormat>() -> Result {
    let last = F::LEVELS.len() - 2;

    // In the last directory, and in the directory above it.
    for level in [last, last - 1] {
        for word in vacant_words::<F>(level)? {
            vacant_entry_restored::<F>(level, word)?;
        }
    }

    Ok(())
}

fn vacant_entry_restored<F: TestFormat>(level: usize, word: u64) -> Result {
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
    // A table, a large page, and each in place of the other.
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

/// A sparse entry of the firmware is replaced in the same way as a valid one if each word takes two
/// writes: its lower half is zero while the upper one changes.
pub(crate) fn sparse_entry_never_mixed<F: TestFormat>() -> Result {
    let sparse = F::encode_sparse(EntryType::Dual);
    let fixture = Fixture::<F>::of_narrow_bar(|gpu, root| {
        set(gpu, directories::<F>(gpu, root)?, SPARSE, &sparse)
    })?;
    let lower = last_directory::<F>().checked_add(16 * SPARSE)?;
    let upper = lower.checked_add(4)?;
    let vram = fixture.alloc(LARGE)?;
    let va = fixture.reserve_at(SPARSE * LARGE..(SPARSE + 1) * LARGE)?;
    fixture.gpu.start_log(64)?;
    fixture.map(&va, 0..LARGE, &vram, 0, ReadWrite)?;

    let mut shown = sparse[0];
    ensure!(shown != 0);
    let mut changes = 0;
    for event in &fixture.gpu.take_log() {
        let Logged::Write { address, value, .. } = *event else {
            continue;
        };
        if address == lower {
            shown = value;
        } else if address == upper {
            ensure_eq!(shown, 0);
            changes += 1;
        }
    }
    ensure_eq!(changes, 1);
    ensure!(shown != 0);

    fixture.expect_mapped(&va, 0..LARGE, &vram, 0, ReadWrite)
}

/// Malformed entries are reported together with their words.
pub(crate) fn unknown_entries_reported<F: TestFormat>() -> Result {
    // Values of reads after the device is gone, and from memory that the GPU cannot access.
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

        // A malformed entry in the root.
        let fixture = Fixture::<F>::of_bar(|gpu, root| set(gpu, root, 0, &[word]))?;
        let Some(unknown) = fixture.vmm.unknown_entries() else {
            return Err(EINVAL);
        };
        ensure_eq!((unknown.count, unknown.pages), (1, BAR_PAGES));
        ensure_eq!(unknown.first.words, [word, 0]);
        ensure_eq!(unknown.first.address, fixture.pdb());
    }

    ensure_eq!(fixture::<F>()?.vmm.unknown_entries(), None);

    // A directory in VRAM above the range of PRAMIN, if entries of the format can point there.
    let far = VramAddress::new(F::VRAM_END / 2);
    if far > F::hal().max_base() {
        let word = F::encode_pde(&Pde::vram(far))?;
        let fixture = Fixture::<F>::of_bar(|gpu, root| set(gpu, root, 0, &[word]))?;
        let words = fixture.vmm.unknown_entries().map(|it| it.first.words);
        ensure_eq!(words, Some([word, 0]));
        ensure_eq!(refusal(&fixture, 0..1)?, Some(EBUSY));
    }

    Ok(())
}

/// Returns a job of each kind, for some of the pages and for all pages below an entry of the last
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

/// A job changes nothing if the firmware has changed any entry on the path to its pages.
pub(crate) fn whole_path_verified<F: TestFormat>() -> Result {
    let mut fixture = fixture::<F>()?;
    let vram = fixture.alloc(2 * LARGE)?;
    let va = fixture.reserve_at((FIRMWARE_ENTRIES + 1) * LARGE..(FIRMWARE_ENTRIES + 2) * LARGE)?;
    fixture.map(&va, 0..LARGE / 2, &vram, 1, ReadWrite)?;
    fixture.check()?;
    let depth = usize_as_u64(F::LEVELS.len()) - 2;

    for level in 0..=depth {
        let table = match level {
            0 => fixture.pdb(),
            _ => page(level - 1),
        };
        // The PDE for the next directory, or both words of the last entry.
        let words = if level == depth {
            [2 * (FIRMWARE_ENTRIES + 1), 2 * (FIRMWARE_ENTRIES + 1) + 1]
        } else {
            [0, 0]
        };
        for index in words {
            let address = table.checked_add(8 * index)?;
            let old = fixture.gpu.vram_read64(address);
            // Zero, one bit changed, and all ones.
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

// SPDX-License-Identifier: GPL-2.0

//! Tests that let the firmware change each word of its page tables.
//!
//! A job fails without side effects if the word is on the path to its pages. Changes of other words
//! do not affect it. The driver never overwrites the word, and never frees memory that the GPU can
//! access.

use core::ops::Range;

use kernel::prelude::*;

use crate::{
    mm::{
        address::{
            PageSize,
            VramAddress,
            PAGE_SIZE, //
        },
        format::{
            tests::vram_page,
            Entry,
            Format,
            Pde, //
        },
        vmm::{
            tests::{
                firmware::{
                    ensure_busy,
                    snapshot, //
                },
                fixture::{
                    complete,
                    ensure,
                    ensure_eq,
                    within_raw,
                    Fixture,
                    TestFormat,
                    FIRMWARE,
                    LARGE, //
                },
                hardware::{
                    ensure_free_unreachable,
                    fill_tlb,
                    same_pages,
                    Map,
                    Operation,
                    Setup,
                    OPERATIONS,
                    PAGES,
                    POPULATED, //
                },
                random::layout, //
            },
            JobError, //
        }, //
    },
    num::usize_as_u64, //
};

/// Index of the entry of the firmware's last directory that translates the first page of a
/// [`Setup`].
const FIRST: u64 = 2;

/// Creates a BAR's address space in which all directories belong to the firmware.
fn setup<F: TestFormat>() -> Result<Setup<F>> {
    let fixture = Fixture::of_bar(|gpu, root| layout::directories::<F>(gpu, root).map(drop))?;

    Setup::on(fixture, FIRST * LARGE..FIRST * LARGE + PAGES)
}

/// The driver uses directories of the firmware regardless of the attributes of their entries, and
/// preserves the entries.
pub(crate) fn directory_attributes_preserved<F: TestFormat>() -> Result {
    let plain = Pde::vram(VramAddress::new(0));
    let all = Pde {
        volatile: true,
        no_ats: true,
        unknown: 1 << 63 | 1 << 6,
        ..plain
    };

    for attributes in [
        Pde {
            no_ats: true,
            ..plain
        },
        Pde {
            unknown: 1 << 63,
            ..plain
        },
        all,
    ] {
        let fixture = Fixture::<F>::of_newer_bar(|gpu, root| {
            layout::directories::<F>(gpu, root)?;
            let mut table = root;
            for number in 0..usize_as_u64(F::LEVELS.len() - 2) {
                let below = VramAddress::new(FIRMWARE.start + number * PAGE_SIZE);
                let pde = Pde {
                    address: below.into_raw(),
                    ..attributes
                };
                gpu.vram_write64(table, F::encode_pde(&pde)?);
                table = below;
            }

            Ok(())
        })?;
        let pages = FIRST * LARGE..FIRST * LARGE + PAGES;
        let mut setup = Setup::on(fixture, pages)?;

        for operation in &OPERATIONS {
            setup.complete(operation)?;
            setup.fixture.check()?;
        }
        setup.fixture.teardown()?;
        setup.fixture.check()?;
        for depth in 0..F::LEVELS.len() - 2 {
            let address = Word { depth, index: 0 }.address(&setup)?;
            let word = setup.fixture.gpu.vram_read64(address);
            let Entry::Table(pde) = F::LEVELS[depth].decode(F::mmu(), [word, 0]) else {
                return Err(EINVAL);
            };
            ensure_eq!(
                pde,
                Pde {
                    address: pde.address,
                    ..attributes
                }
            );
        }
    }

    Ok(())
}

/// A word of a directory that belongs to the firmware.
#[derive(Clone, Copy, Debug)]
struct Word {
    /// Level of the directory, counted from the root.
    depth: usize,
    /// Index of the word in the directory.
    index: u64,
}

impl Word {
    /// Returns all words on the path to the pages of a [`Setup`], and some adjacent words.
    fn all<F: Format>() -> Result<KVec<Self>> {
        let last = F::LEVELS.len() - 2;
        let mut words = KVec::new();
        for depth in 0..last {
            for index in 0..2 {
                words.push(Self { depth, index }, GFP_KERNEL)?;
            }
        }
        for index in 2 * (FIRST - 1)..2 * (FIRST + PAGES / LARGE + 1) {
            words.push(Self { depth: last, index }, GFP_KERNEL)?;
        }

        Ok(words)
    }

    fn address<F: TestFormat>(self, setup: &Setup<F>) -> Result<VramAddress> {
        let table = match self.depth.checked_sub(1) {
            None => setup.fixture.pdb(),
            Some(number) => VramAddress::new(FIRMWARE.start + usize_as_u64(number) * PAGE_SIZE),
        };

        table.checked_add(8 * self.index)
    }

    /// Returns the pages of a [`Setup`], relative to its start, that the entry containing the word
    /// translates.
    fn pages<F: Format>(self) -> Option<Range<u64>> {
        if self.depth < F::LEVELS.len() - 2 {
            return (self.index == 0).then_some(0..PAGES);
        }
        let start = (self.index / 2).checked_sub(FIRST)? * LARGE;

        (start < PAGES).then_some(start..start + LARGE)
    }

    /// Returns whether `operation` depends on the word: the entry containing it translates a page
    /// of `operation`, and memory is or will be mapped below the entry.
    fn is_needed_by<F: Format>(self, operation: &Operation) -> bool {
        let Some(pages) = self.pages::<F>() else {
            return false;
        };
        let Range { start, end } = operation.pages().clone();
        let wanted = pages.start.max(start)..pages.end.min(end);
        // An entry of the last directory is valid if any of its pages is mapped.
        let is_mapped = POPULATED.iter().any(|it| {
            let large = it.pages().start / LARGE;

            wanted.start < (large + 1) * LARGE && large * LARGE < wanted.end
        });

        !wanted.is_empty() && (matches!(operation, Map(..)) || is_mapped)
    }
}

/// Returns words that the firmware may write in place of `old`.
fn replacements<F: Format>(old: u64) -> Result<[u64; 3]> {
    let page = vram_page(1 << 33);

    // An invalid entry, another address, and a PTE.
    Ok([
        if old == 0 { 1 << 33 } else { 0 },
        old ^ 1 << 20,
        F::encode_pte(&page, PageSize::Size2M)?,
    ])
}

/// The firmware changes each word before each operation.
pub(crate) fn job_changed_word<F: TestFormat>() -> Result {
    let mut busy = 0;
    for operation in &OPERATIONS {
        let mut model = setup::<F>()?;
        model.complete(operation)?;
        model.fixture.check()?;
        let after = model.mapped()?;

        for &word in &Word::all::<F>()? {
            for number in 0..3 {
                let mut setup = setup::<F>()?;
                let is_needed = word.is_needed_by::<F>(operation);
                change(&mut setup, operation, word, number, is_needed)?;
                busy += u32::from(is_needed);
                ensure!(same_pages(&setup.mapped()?, &after));

                setup.fixture.teardown()?;
                setup.fixture.check()?;
                ensure_eq!(setup.fixture.memory.avail(), setup.fixture.memory.size());
                ensure_eq!(setup.fixture.data.avail(), setup.fixture.data.size());
            }
        }
    }
    ensure!(busy > 100);

    Ok(())
}

/// Runs `operation` while a word has replacement `number`, and retries it afterwards if it failed.
fn change<F: TestFormat>(
    setup: &mut Setup<F>,
    operation: &Operation,
    word: Word,
    number: usize,
    is_needed: bool,
) -> Result {
    let address = word.address(setup)?;
    let gpu = setup.fixture.gpu.clone();
    let old = gpu.vram_read64(address);
    let new = replacements::<F>(old)?[number];
    let tables = setup.fixture.owned()?;
    gpu.vram_write64(address, new);

    let job = setup.prepare(operation)?;
    if !is_needed {
        complete(job)?;
        gpu.drain();
        ensure_eq!(gpu.vram_read64(address), new);
        gpu.vram_write64(address, old);

        return setup.fixture.check();
    }

    let mut job = ensure_busy(&setup.fixture, job)?;
    gpu.vram_write64(address, old);
    let pools = (&setup.fixture.memory, &setup.fixture.data);
    let pages = (within_raw(&setup.va, &(0..PAGES)), true);
    ensure_free_unreachable(&gpu, setup.fixture.pdb(), pages, pools, &tables)?;
    job.run()?;
    ensure_eq!(job.run(), Err(JobError::Unchanged(EINVAL)));
    job.free();

    setup.fixture.check()
}

/// The firmware changes each word before a teardown. The teardown frees all mappings whose path
/// does not contain the word, and a second teardown frees the rest.
pub(crate) fn teardown_changed_word<F: TestFormat>() -> Result {
    let mut busy = 0;
    let empty = {
        let setup = setup::<F>()?;
        setup.fixture.teardown()?;
        snapshot(&setup.fixture.gpu)?
    };

    for &word in &Word::all::<F>()? {
        for number in 0..3 {
            let mut setup = setup::<F>()?;
            let (gpu, pdb) = (setup.fixture.gpu.clone(), setup.fixture.pdb());
            let address = word.address(&setup)?;
            let old = gpu.vram_read64(address);
            let new = replacements::<F>(old)?[number];
            let tables = setup.fixture.owned()?;
            let pages = word.pages::<F>();
            let is_left = |it: &Operation| {
                pages
                    .as_ref()
                    .is_some_and(|pages| pages.contains(&it.pages().start))
            };
            let left = POPULATED.iter().filter(|it| is_left(it)).count();

            gpu.vram_write64(address, new);
            let result = setup.fixture.teardown();
            ensure_eq!(result, if left > 0 { Err(EBUSY) } else { Ok(()) });
            gpu.drain();
            ensure_eq!(gpu.vram_read64(address), new);
            gpu.vram_write64(address, old);
            if left > 0 {
                busy += 1;
                // All mappings have the same amount of memory.
                let data = &setup.fixture.data;
                ensure_eq!(
                    data.size() - data.avail(),
                    usize_as_u64(left) * 2 * LARGE * PAGE_SIZE
                );
                let pools = (&setup.fixture.memory, &setup.fixture.data);
                // Only mappings that are not a single 2 MiB page have tables.
                let kept = match is_left(&POPULATED[1]) {
                    true => &tables[..],
                    false => &[],
                };
                let pages = (within_raw(&setup.va, &(0..PAGES)), true);
                ensure_free_unreachable(&gpu, pdb, pages, pools, kept)?;
                setup.fixture.teardown()?;
            }

            ensure!(snapshot(&gpu)? == empty);
            setup.fixture.check()?;
            ensure_eq!(setup.fixture.memory.avail(), setup.fixture.memory.size());
            ensure_eq!(setup.fixture.data.avail(), setup.fixture.data.size());
            fill_tlb(&gpu, pdb, &setup.va, true)?;
        }
    }
    ensure!(busy > 10);

    Ok(())
}

#[kunit_tests(nova_core_mm_changed_v2)]
mod suite {
    use super::*;
    use crate::mm::format::v2::MmuV2;

    #[test]
    fn directory_attributes_preserved() -> Result {
        super::directory_attributes_preserved::<MmuV2>()
    }

    #[test]
    fn job_changed_word() -> Result {
        super::job_changed_word::<MmuV2>()
    }

    #[test]
    fn teardown_changed_word() -> Result {
        super::teardown_changed_word::<MmuV2>()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The firmware changes any one word of its page tables.
//!
//! A job fails and changes nothing if the word is on the path to its pages. Other words do not
//! matter. The word is never overwritten, and memory that the GPU can reach is never freed.

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
                    ensure_apart,
                    look,
                    same_pages,
                    Map,
                    Operation,
                    Scene,
                    OPERATIONS,
                    PAGES,
                    POPULATED, //
                },
                random::places, //
            },
            JobError, //
        }, //
    },
    num::usize_as_u64, //
};

/// Index of the entry of the firmware's last directory at which the pages of a [`Scene`] start.
const FIRST: u64 = 2;

/// Creates the address space of a BAR in which all directories belong to the firmware.
fn scene<F: TestFormat>() -> Result<Scene<F>> {
    let fixture = Fixture::of_bar(|gpu, root| places::directories::<F>(gpu, root).map(drop))?;

    Scene::on(fixture, FIRST * LARGE..FIRST * LARGE + PAGES)
}

/// The driver uses directories of the firmware whatever the attributes of their entries are, and
/// does not change the entries.
pub(crate) fn attributes_are_kept<F: TestFormat>() -> Result {
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
            places::directories::<F>(gpu, root)?;
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
        let mut scene = Scene::on(fixture, pages)?;

        for operation in &OPERATIONS {
            scene.complete(operation)?;
            scene.fixture.check()?;
        }
        scene.fixture.teardown()?;
        scene.fixture.check()?;
        for depth in 0..F::LEVELS.len() - 2 {
            let address = Word { depth, index: 0 }.address(&scene)?;
            let word = scene.fixture.gpu.vram_read64(address);
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

/// A word of a directory of the firmware.
#[derive(Clone, Copy, Debug)]
struct Word {
    /// Number of the directory's level, counted from the root.
    depth: usize,
    /// Number of the word in the directory.
    index: u64,
}

impl Word {
    /// Returns all words on the path to the pages of a [`Scene`], and some adjacent ones.
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

    fn address<F: TestFormat>(self, scene: &Scene<F>) -> Result<VramAddress> {
        let table = match self.depth.checked_sub(1) {
            None => scene.fixture.pdb(),
            Some(number) => VramAddress::new(FIRMWARE.start + usize_as_u64(number) * PAGE_SIZE),
        };

        table.checked_add(8 * self.index)
    }

    /// Returns the pages below the entry that contains the word, if they are some of a [`Scene`],
    /// counted from its start.
    fn pages<F: Format>(self) -> Option<Range<u64>> {
        if self.depth < F::LEVELS.len() - 2 {
            return (self.index == 0).then_some(0..PAGES);
        }
        let start = (self.index / 2).checked_sub(FIRST)? * LARGE;

        (start < PAGES).then_some(start..start + LARGE)
    }

    /// Returns whether `operation` needs the word: whether one of the pages of `operation` is below
    /// the entry that contains it, and memory is mapped there or will be.
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

/// Returns words with which the firmware may replace `old`.
fn replacements<F: Format>(old: u64) -> Result<[u64; 3]> {
    let page = vram_page(1 << 33);

    // An invalid entry, another address, and a page of the firmware.
    Ok([
        if old == 0 { 1 << 33 } else { 0 },
        old ^ 1 << 20,
        F::encode_pte(&page, PageSize::Size2M)?,
    ])
}

/// The firmware changes each word before each operation.
pub(crate) fn each_word_is_changed<F: TestFormat>() -> Result {
    let mut busy = 0;
    for operation in &OPERATIONS {
        let mut model = scene::<F>()?;
        model.complete(operation)?;
        model.fixture.check()?;
        let after = model.mapped()?;

        for &word in &Word::all::<F>()? {
            for number in 0..3 {
                let mut scene = scene::<F>()?;
                let is_needed = word.is_needed_by::<F>(operation);
                change(&mut scene, operation, word, number, is_needed)?;
                busy += u32::from(is_needed);
                ensure!(same_pages(&scene.mapped()?, &after));

                scene.fixture.teardown()?;
                scene.fixture.check()?;
                ensure_eq!(scene.fixture.memory.avail(), scene.fixture.memory.size());
                ensure_eq!(scene.fixture.data.avail(), scene.fixture.data.size());
            }
        }
    }
    ensure!(busy > 100);

    Ok(())
}

/// Runs `operation` while a word has replacement `number`, and again afterwards if that has failed.
fn change<F: TestFormat>(
    scene: &mut Scene<F>,
    operation: &Operation,
    word: Word,
    number: usize,
    is_needed: bool,
) -> Result {
    let address = word.address(scene)?;
    let gpu = scene.fixture.gpu.clone();
    let old = gpu.vram_read64(address);
    let new = replacements::<F>(old)?[number];
    let tables = scene.fixture.owned()?;
    gpu.vram_write64(address, new);

    let job = scene.prepare(operation)?;
    if !is_needed {
        complete(job)?;
        gpu.drain();
        ensure_eq!(gpu.vram_read64(address), new);
        gpu.vram_write64(address, old);

        return scene.fixture.check();
    }

    let mut job = ensure_busy(&scene.fixture, job)?;
    gpu.vram_write64(address, old);
    let pools = (&scene.fixture.memory, &scene.fixture.data);
    let pages = (within_raw(&scene.va, &(0..PAGES)), true);
    ensure_apart(&gpu, scene.fixture.pdb(), pages, pools, &tables)?;
    job.run()?;
    ensure_eq!(job.run(), Err(JobError::Unchanged(EINVAL)));
    job.free();

    scene.fixture.check()
}

/// The firmware changes each word before a teardown, which frees the mappings whose path does not
/// contain the word. Another teardown frees the rest.
pub(crate) fn each_word_is_changed_at_teardown<F: TestFormat>() -> Result {
    let mut busy = 0;
    let empty = {
        let scene = scene::<F>()?;
        scene.fixture.teardown()?;
        snapshot(&scene.fixture.gpu)?
    };

    for &word in &Word::all::<F>()? {
        for number in 0..3 {
            let mut scene = scene::<F>()?;
            let (gpu, pdb) = (scene.fixture.gpu.clone(), scene.fixture.pdb());
            let address = word.address(&scene)?;
            let old = gpu.vram_read64(address);
            let new = replacements::<F>(old)?[number];
            let tables = scene.fixture.owned()?;
            let pages = word.pages::<F>();
            let is_left = |it: &Operation| {
                pages
                    .as_ref()
                    .is_some_and(|pages| pages.contains(&it.pages().start))
            };
            let left = POPULATED.iter().filter(|it| is_left(it)).count();

            gpu.vram_write64(address, new);
            let result = scene.fixture.teardown();
            ensure_eq!(result, if left > 0 { Err(EBUSY) } else { Ok(()) });
            gpu.drain();
            ensure_eq!(gpu.vram_read64(address), new);
            gpu.vram_write64(address, old);
            if left > 0 {
                busy += 1;
                // All of them have the same amount of memory.
                let data = &scene.fixture.data;
                ensure_eq!(
                    data.size() - data.avail(),
                    usize_as_u64(left) * 2 * LARGE * PAGE_SIZE
                );
                let pools = (&scene.fixture.memory, &scene.fixture.data);
                // Only the mappings that do not consist of a page of 2 MiB have tables.
                let kept = match is_left(&POPULATED[1]) {
                    true => &tables[..],
                    false => &[],
                };
                let pages = (within_raw(&scene.va, &(0..PAGES)), true);
                ensure_apart(&gpu, pdb, pages, pools, kept)?;
                scene.fixture.teardown()?;
            }

            ensure!(snapshot(&gpu)? == empty);
            scene.fixture.check()?;
            ensure_eq!(scene.fixture.memory.avail(), scene.fixture.memory.size());
            ensure_eq!(scene.fixture.data.avail(), scene.fixture.data.size());
            look(&gpu, pdb, &scene.va, true)?;
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
    fn attributes_are_kept() -> Result {
        super::attributes_are_kept::<MmuV2>()
    }

    #[test]
    fn each_word_is_changed() -> Result {
        super::each_word_is_changed::<MmuV2>()
    }

    #[test]
    fn each_word_is_changed_at_teardown() -> Result {
        super::each_word_is_changed_at_teardown::<MmuV2>()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The firmware changes one word of its page tables, whichever it is.
//!
//! An operation fails and changes nothing if the word lies on the path to its pages. Other words do
//! not matter. The word is never overwritten, and memory that the GPU reaches is never freed.

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
            Entry,
            Format,
            Pde,
            Pte, //
        },
        vmm::tests::{
            bench::{
                ensure,
                ensure_eq,
                within_raw,
                Bench,
                TestFormat,
                FIRMWARE,
                LARGE, //
            },
            hardware::{
                ensure_apart,
                look,
                Map,
                Operation,
                Scene,
                OPERATIONS,
                PAGES,
                POPULATED, //
            },
            random::places, //
        }, //
    },
    num::usize_as_u64, //
};

/// The entry of the last directory of the firmware that the pages of a [`Scene`] begin at.
const FIRST: u64 = 2;

/// Makes the address space of a BAR in which all directories are the firmware's.
fn scene<F: TestFormat>() -> Result<Scene<F>> {
    let bench = Bench::of_bar(|gpu, root| places::directories::<F>(gpu, root).map(drop))?;

    Scene::on(bench, FIRST * LARGE..FIRST * LARGE + PAGES)
}

/// A directory of the firmware is used regardless of the attributes of its entry, and the entry is
/// not changed.
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
        let bench = Bench::<F>::of_newer_bar(|gpu, root| {
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
        let mut scene = Scene::on(bench, pages)?;

        for operation in &OPERATIONS {
            scene.bench.run(scene.submit(operation)?).cleanup()?;
            scene.bench.check()?;
        }
        scene.bench.teardown()?;
        scene.bench.check()?;
        for depth in 0..F::LEVELS.len() - 2 {
            let address = Word { depth, index: 0 }.address(&scene)?;
            let word = scene.bench.gpu.vram_read64(address);
            let Entry::Table(pde) = F::LEVELS[depth].decode::<F>([word, 0]) else {
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
    /// How far the directory is below the root.
    depth: usize,
    /// Which word of it.
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
            None => scene.bench.vmm.pdb(),
            Some(number) => VramAddress::new(FIRMWARE.start + usize_as_u64(number) * PAGE_SIZE),
        };

        table.checked_add(8 * self.index)
    }

    /// Returns the pages that it decides about, if these are some of a [`Scene`], counted from the
    /// start of that.
    fn pages<F: Format>(self) -> Option<Range<u64>> {
        if self.depth < F::LEVELS.len() - 2 {
            return (self.index == 0).then_some(0..PAGES);
        }
        let start = (self.index / 2).checked_sub(FIRST)? * LARGE;

        (start < PAGES).then_some(start..start + LARGE)
    }

    /// Returns whether `operation` needs the word: whether it decides about one of the pages of
    /// `operation`, and memory is mapped there or will be.
    fn is_needed_by<F: Format>(self, operation: &Operation) -> bool {
        let Some(pages) = self.pages::<F>() else {
            return false;
        };
        let Range { start, end } = operation.pages().clone();
        let wanted = pages.start.max(start)..pages.end.min(end);
        // Entries of the last directory span a large page, whatever of it is mapped.
        let is_mapped = POPULATED.iter().any(|it| {
            let large = it.pages().start / LARGE;

            wanted.start < (large + 1) * LARGE && large * LARGE < wanted.end
        });

        !wanted.is_empty() && (matches!(operation, Map(..)) || is_mapped)
    }
}

/// Returns words that the firmware may write in place of `old`.
fn replacements<F: Format>(old: u64) -> Result<[u64; 3]> {
    let page = Pte::vram(VramAddress::new(1 << 33), false);

    // An absent entry, another address, and a page of the firmware.
    Ok([
        if old == 0 { 1 << 33 } else { 0 },
        old ^ 1 << 20,
        F::encode_pte(&page, PageSize::Size2M)?,
    ])
}

/// Returns the words of the firmware's tables.
fn snapshot<F: TestFormat>(scene: &Scene<F>) -> Result<KVec<u64>> {
    let mut words = KVec::new();
    for address in FIRMWARE.step_by(8) {
        let word = scene.bench.gpu.vram_read64(VramAddress::new(address));
        words.push(word, GFP_KERNEL)?;
    }

    Ok(words)
}

/// Each word is changed before each operation, to one of its replacements in turn.
pub(crate) fn each_word_is_changed<F: TestFormat>() -> Result {
    words_are_changed::<F>(1)
}

/// The same with `count` replacements for each word and operation. There are three.
pub(crate) fn words_are_changed<F: TestFormat>(count: usize) -> Result {
    let mut busy = 0;
    let mut turn = 0;
    for operation in &OPERATIONS {
        let mut model = scene::<F>()?;
        model.bench.run(model.submit(operation)?).cleanup()?;
        model.bench.check()?;
        let after = model.mapped()?;

        for &word in &Word::all::<F>()? {
            turn += 1;
            for number in turn..turn + count {
                let mut scene = scene::<F>()?;
                let is_needed = word.is_needed_by::<F>(operation);
                change(&mut scene, operation, word, number % 3, is_needed)?;
                busy += u32::from(is_needed);
                let is_same = |(a, b): (&Option<_>, &Option<_>)| a.is_some() == b.is_some();
                ensure!(scene.mapped()?.iter().zip(&after).all(is_same));

                scene.bench.teardown()?;
                scene.bench.check()?;
                ensure_eq!(scene.bench.memory.avail(), scene.bench.memory.size());
                ensure_eq!(scene.bench.data.avail(), scene.bench.data.size());
            }
        }
    }
    ensure!(usize::try_from(busy)? > 33 * count);

    Ok(())
}

/// Runs `operation` while a word has a replacement of the number `number`, and once more afterwards
/// if it has failed.
fn change<F: TestFormat>(
    scene: &mut Scene<F>,
    operation: &Operation,
    word: Word,
    number: usize,
    is_needed: bool,
) -> Result {
    let address = word.address(scene)?;
    let gpu = scene.bench.gpu.clone();
    let old = gpu.vram_read64(address);
    let new = replacements::<F>(old)?[number];
    let tables = scene.bench.owned()?;
    gpu.vram_write64(address, new);
    let before = snapshot(scene)?;
    gpu.reset_counts();

    let result = scene.bench.run(scene.submit(operation)?).cleanup();
    ensure_eq!(result, if is_needed { Err(EBUSY) } else { Ok(()) });
    gpu.drain();
    ensure_eq!(gpu.vram_read64(address), new);
    if is_needed {
        let counts = gpu.counts();
        ensure_eq!((counts.pramin_writes, counts.invalidates), (0, 0));
        ensure!(snapshot(scene)? == before);
    }

    gpu.vram_write64(address, old);
    if is_needed {
        let pools = (&scene.bench.memory, &scene.bench.data);
        let pages = (within_raw(&scene.va, &(0..PAGES)), true);
        ensure_apart(&gpu, scene.bench.vmm.pdb(), pages, pools, &tables)?;
        scene.bench.run(scene.submit(operation)?).cleanup()?;
    }

    scene.bench.check()
}

/// Each word is changed before a teardown, which frees the mappings that do not depend on it.
/// Another teardown frees the rest.
pub(crate) fn each_word_is_changed_before_teardown<F: TestFormat>() -> Result {
    let mut busy = 0;
    let empty = {
        let scene = scene::<F>()?;
        scene.bench.teardown()?;
        snapshot(&scene)?
    };

    for &word in &Word::all::<F>()? {
        for number in 0..3 {
            let mut scene = scene::<F>()?;
            let (gpu, pdb) = (scene.bench.gpu.clone(), scene.bench.vmm.pdb());
            let address = word.address(&scene)?;
            let old = gpu.vram_read64(address);
            let new = replacements::<F>(old)?[number];
            let tables = scene.bench.owned()?;
            let pages = word.pages::<F>();
            let is_left = |it: &Operation| {
                pages
                    .as_ref()
                    .is_some_and(|pages| pages.contains(&it.pages().start))
            };
            let left = POPULATED.iter().filter(|it| is_left(it)).count();

            gpu.vram_write64(address, new);
            let result = scene.bench.teardown();
            ensure_eq!(result, if left > 0 { Err(EBUSY) } else { Ok(()) });
            gpu.drain();
            ensure_eq!(gpu.vram_read64(address), new);
            gpu.vram_write64(address, old);
            if left > 0 {
                busy += 1;
                // Each has as much memory as any other.
                let data = &scene.bench.data;
                ensure_eq!(
                    data.size() - data.avail(),
                    usize_as_u64(left) * 2 * LARGE * PAGE_SIZE
                );
                let pools = (&scene.bench.memory, &scene.bench.data);
                // Only the small pages have a table.
                let kept = match is_left(&POPULATED[1]) {
                    true => &tables[..],
                    false => &[],
                };
                let pages = (within_raw(&scene.va, &(0..PAGES)), true);
                ensure_apart(&gpu, pdb, pages, pools, kept)?;
                scene.bench.teardown()?;
            }

            ensure!(snapshot(&scene)? == empty);
            scene.bench.check()?;
            ensure_eq!(scene.bench.memory.avail(), scene.bench.memory.size());
            ensure_eq!(scene.bench.data.avail(), scene.bench.data.size());
            look(&gpu, pdb, &scene.va, true)?;
        }
    }
    ensure!(busy > 10);

    Ok(())
}

#[kunit_tests(nova_mm_changed_v2)]
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
    fn each_word_is_changed_before_teardown() -> Result {
        super::each_word_is_changed_before_teardown::<MmuV2>()
    }
}

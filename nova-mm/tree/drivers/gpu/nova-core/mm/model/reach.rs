// SPDX-License-Identifier: GPL-2.0

//! Finds all page tables that are reachable from a root, by reading VRAM.

use kernel::prelude::*;

use crate::{
    mm::{
        address::{
            PageSize,
            VramAddress, //
        },
        model::{
            walk::{
                Pointer,
                Step,
                Walker, //
            },
            SoftGpu, //
        }, //
    },
    num::usize_as_u64, //
};

/// A table that can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Address of the table.
    pub(crate) address: VramAddress,
    /// Whether the table is a directory, and not a table of pages.
    pub(crate) is_directory: bool,
    /// Number of entries that are not just invalid.
    pub(crate) live: usize,
    /// Number of entries that are a page of 2 MiB, but also have a pointer to a table of small
    /// pages, which the GPU ignores. Zero unless a job is replacing one with the other.
    pub(crate) mixed: usize,
    /// Number of 4 KiB pages below dual entries that are valid or sparse although the 64 KiB page
    /// at the same address is, too. Zero unless a job is replacing one with the other: no published
    /// header defines which of them the GPU uses.
    pub(crate) overlaps: usize,
}

/// The type of a table.
#[derive(Clone, Copy)]
enum Table {
    /// A directory of this level, counted from the root.
    Directory(usize),
    /// A table of pages of this size.
    Pages(PageSize),
}

impl SoftGpu {
    /// Returns all tables that can be reached from the root `pdb`, which comes first, by following
    /// every entry of every table in VRAM.
    ///
    /// # Errors
    ///
    /// - [`EIO`], with a message, if a table has words that were not written, or if its address is
    ///   not in VRAM.
    /// - [`EINVAL`], with a message, if a table has malformed entries.
    /// - [`ENOMEM`] if allocating memory fails.
    pub(crate) fn reach(&self, pdb: VramAddress) -> Result<KVec<Reached>> {
        let mut found = KVec::new();
        let walker = self.state.lock().config.walker();
        self.reach_table(walker, Table::Directory(0), pdb.into_raw(), &mut found)?;

        Ok(found)
    }

    fn reach_table(
        &self,
        walker: &dyn Walker,
        table: Table,
        address: u64,
        found: &mut KVec<Reached>,
    ) -> Result {
        let number = found.len();
        found.push(
            Reached {
                address: VramAddress::new(address),
                is_directory: matches!(table, Table::Directory(_)),
                live: 0,
                mixed: 0,
                overlaps: 0,
            },
            GFP_KERNEL,
        )?;

        let (count, width) = shape(walker, table).ok_or(EINVAL)?;
        let words = self.read_table(address, count * width)?;
        for entry in words.chunks(width) {
            // Most of them are so.
            if entry.iter().all(|&word| word == 0) {
                continue;
            }
            let step = decode(walker, table, entry).ok_or(EINVAL)?;
            let overlaps = self.overlaps(walker, step)?;
            if let Some(reached) = found.get_mut(number) {
                reached.live += usize::from(step != Step::Absent);
                reached.mixed += usize::from(is_mixed(step, entry));
                reached.overlaps += overlaps;
            }
            self.follow(walker, table, step, found).inspect_err(|_| {
                pr_err!("GPU model: table {:#x}: entry {:x?}\n", address, entry);
            })?;
        }

        Ok(())
    }

    /// Goes on with the tables that an entry of `table` points to.
    fn follow(
        &self,
        walker: &dyn Walker,
        table: Table,
        step: Step,
        found: &mut KVec<Reached>,
    ) -> Result {
        let mut visit = |pointer: Option<Pointer>, table| match pointer.and_then(|to| to.vram) {
            Some(address) => self.reach_table(walker, table, address, found),
            None => Ok(()),
        };

        match (step, table) {
            (Step::Table(pointer), Table::Directory(depth)) => {
                visit(Some(pointer), Table::Directory(depth + 1))
            }
            (Step::Dual { big, small }, _) => {
                visit(big, Table::Pages(PageSize::Size64K))?;
                visit(small, Table::Pages(PageSize::Size4K))
            }
            (Step::Invalid | Step::Table(_), _) => Err(EINVAL),
            _ => Ok(()),
        }
    }

    /// Returns the number of 4 KiB pages below a dual entry that overlap a 64 KiB page.
    fn overlaps(&self, walker: &dyn Walker, step: Step) -> Result<usize> {
        let Step::Dual { big, small } = step else {
            return Ok(0);
        };
        let in_vram = |pointer: Option<Pointer>| pointer.and_then(|pointer| pointer.vram);
        let (Some(big), Some(small)) = (in_vram(big), in_vram(small)) else {
            return Ok(0);
        };
        let big = self.read_table(big, 32)?;
        let small = self.read_table(small, 512)?;
        let is_used = |size, word| {
            let step = walker.page_entry(size, word);

            matches!(step, Step::Page(_) | Step::Sparse)
        };

        Ok(big
            .iter()
            .zip(small.chunks(16))
            .filter(|(word, _)| is_used(PageSize::Size64K, **word))
            .flat_map(|(_, words)| words)
            .filter(|word| is_used(PageSize::Size4K, **word))
            .count())
    }

    /// Reads the words of a table. They are decoded after the lock is released, because decoding
    /// may allocate.
    fn read_table(&self, address: u64, count: usize) -> Result<KVec<u64>> {
        let mut words = KVec::with_capacity(count, GFP_KERNEL)?;
        let state = self.state.lock();

        for number in 0..count {
            let at = address + 8 * usize_as_u64(number);
            match state.vram.entry(at) {
                Ok(word) => words.push_within_capacity(word).map_err(|_| ENOMEM)?,
                Err(error) => {
                    drop(state);
                    pr_err!("GPU model: table word at {:#x}: {:?}\n", at, error);
                    return Err(EIO);
                }
            }
        }

        Ok(words)
    }
}

/// Returns how many entries a table has, and how many words each.
fn shape(walker: &dyn Walker, table: Table) -> Option<(usize, usize)> {
    let levels = walker.directories();

    Some(match table {
        Table::Directory(depth) => {
            let width = if depth + 1 == levels.len() { 2 } else { 1 };
            (1 << levels.get(depth)?.bits, width)
        }
        Table::Pages(PageSize::Size64K) => (32, 1),
        Table::Pages(_) => (512, 1),
    })
}

fn decode(walker: &dyn Walker, table: Table, entry: &[u64]) -> Option<Step> {
    let words = [*entry.first()?, entry.get(1).copied().unwrap_or(0)];

    Some(match table {
        Table::Directory(depth) => {
            walker.directory_entry(walker.directories().get(depth)?.shift, words)
        }
        Table::Pages(size) => walker.page_entry(size, words[0]),
    })
}

/// Returns whether an entry is a page whose second word is not zero.
fn is_mixed(step: Step, entry: &[u64]) -> bool {
    matches!(step, Step::Page(_)) && entry.get(1).is_some_and(|&word| word != 0)
}

#[kunit_tests(nova_core_mm_model_reach)]
mod tests {
    use super::*;
    use crate::mm::model::Config;

    /// Tables of MMU v2 for the first 2 MiB.
    const PDB: u64 = 0x1_0000;
    const PD2: u64 = 0x1_1000;
    const PD1: u64 = 0x1_2000;
    const PD0: u64 = 0x1_3000;
    const BIG: u64 = 0x1_4000;
    const SMALL: u64 = 0x1_5000;

    fn set(gpu: &SoftGpu, address: u64, word: u64) {
        gpu.vram_write64(VramAddress::new(address), word);
    }

    fn count_overlaps(gpu: &SoftGpu) -> Result<usize> {
        let mut sum = 0;
        for table in gpu.reach(VramAddress::new(PDB))? {
            assert!(table.overlaps == 0 || table.address == VramAddress::new(PD0));
            sum += table.overlaps;
        }

        Ok(sum)
    }

    #[test]
    fn overlaps_of_big_and_small_pages() -> Result {
        let gpu = SoftGpu::new(Config {
            poisoned: false,
            ..Config::default()
        })?;
        for (entry, word) in [(PDB, 0x1102), (PD2, 0x1202), (PD1, 0x1302)] {
            set(&gpu, entry, word);
        }
        set(&gpu, PD0, 0x1402);
        set(&gpu, PD0 + 8, 0x1502);

        // The first and the last 4 KiB page of the third 64 KiB, a sparse one, and those around.
        for (index, word) in [
            (31, 0x501),
            (32, 0x601),
            (33, 0x8),
            (47, 0x701),
            (48, 0x801),
        ] {
            set(&gpu, SMALL + 8 * index, word);
        }
        assert_eq!(count_overlaps(&gpu)?, 0);

        // A page, sparse, no small pages by both of its encodings, and invalid.
        for (word, overlaps) in [(0x3001, 3), (0x8, 3), (0x20, 0), (0x28, 0), (0, 0)] {
            set(&gpu, BIG + 8 * 2, word);
            assert_eq!(count_overlaps(&gpu)?, overlaps);
        }

        // Without a table of small pages, and with one in system memory.
        set(&gpu, BIG + 8 * 2, 0x3001);
        for word in [0, 0x1504] {
            set(&gpu, PD0 + 8, word);
            assert_eq!(count_overlaps(&gpu)?, 0);
        }
        gpu.check_clean()
    }
}

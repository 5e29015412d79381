// SPDX-License-Identifier: GPL-2.0

//! Enumerates the page tables that are reachable from a PDB by reading VRAM.

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
            GpuModel, //
        }, //
    },
    num::usize_as_u64, //
};

/// A page table that is reachable from the PDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReachableTable {
    /// Address of the table.
    pub(crate) address: VramAddress,
    /// Whether the table is a directory rather than a table of PTEs.
    pub(crate) is_directory: bool,
    /// Number of entries that are not plain invalid.
    pub(crate) nr_valid: usize,
    /// Number of 2 MiB PTEs whose second word points to a table of small pages, which the GPU
    /// ignores. Zero unless a job is replacing the PTE or the table.
    pub(crate) mixed: usize,
    /// Number of 4 KiB PTEs below dual PDEs that are valid or sparse while the 64 KiB PTE at the
    /// same address is valid or sparse as well. Zero unless a job is replacing one with the other:
    /// no published header defines which of the two the GPU uses.
    pub(crate) overlaps: usize,
}

/// The type of a table.
#[derive(Clone, Copy)]
enum Table {
    /// A directory of this level, counted from the root.
    Directory(usize),
    /// A table of PTEs for pages of this size.
    Pages(PageSize),
}

impl GpuModel {
    /// Returns all tables that are reachable from `pdb`, starting with the root directory, by
    /// following every entry of every table in VRAM.
    ///
    /// # Errors
    ///
    /// - [`EIO`], after logging a message, if a table contains uninitialized words or is not in
    ///   VRAM.
    /// - [`EINVAL`], after logging a message, if a table contains malformed entries.
    /// - [`ENOMEM`] if allocating memory fails.
    pub(crate) fn reachable_tables(&self, pdb: VramAddress) -> Result<KVec<ReachableTable>> {
        let mut found = KVec::new();
        let walker = self.state.lock().config.walker();
        self.visit_table(walker, Table::Directory(0), pdb.into_raw(), &mut found)?;

        Ok(found)
    }

    fn visit_table(
        &self,
        walker: &dyn Walker,
        table: Table,
        address: u64,
        found: &mut KVec<ReachableTable>,
    ) -> Result {
        let number = found.len();
        found.push(
            ReachableTable {
                address: VramAddress::new(address),
                is_directory: matches!(table, Table::Directory(_)),
                nr_valid: 0,
                mixed: 0,
                overlaps: 0,
            },
            GFP_KERNEL,
        )?;

        let (count, width) = shape(walker, table).ok_or(EINVAL)?;
        let words = self.read_table(address, count * width)?;
        for entry in words.chunks(width) {
            // Most entries are zero.
            if entry.iter().all(|&word| word == 0) {
                continue;
            }
            let step = decode(walker, table, entry).ok_or(EINVAL)?;
            let overlaps = self.overlaps(walker, step)?;
            if let Some(reached) = found.get_mut(number) {
                reached.nr_valid += usize::from(step != Step::Invalid);
                reached.mixed += usize::from(is_mixed(step, entry));
                reached.overlaps += overlaps;
            }
            self.visit_children(walker, table, step, found)
                .inspect_err(|_| {
                    pr_err!("GPU model: table {:#x}: entry {:x?}\n", address, entry);
                })?;
        }

        Ok(())
    }

    /// Continues with the tables that an entry of `table` points to.
    fn visit_children(
        &self,
        walker: &dyn Walker,
        table: Table,
        step: Step,
        found: &mut KVec<ReachableTable>,
    ) -> Result {
        let mut visit = |pointer: Option<Pointer>, table| match pointer.and_then(|to| to.vram) {
            Some(address) => self.visit_table(walker, table, address, found),
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
            (Step::Malformed | Step::Table(_), _) => Err(EINVAL),
            _ => Ok(()),
        }
    }

    /// Returns the number of 4 KiB PTEs below a dual PDE that overlap a 64 KiB PTE.
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

    /// Reads the words of a table. The caller decodes them without holding the lock, because
    /// decoding may allocate.
    fn read_table(&self, address: u64, count: usize) -> Result<KVec<u64>> {
        let mut words = KVec::with_capacity(count, GFP_KERNEL)?;
        let state = self.state.lock();

        if let Some(table) = state.vram.table(address, count) {
            words.extend_from_slice(table, GFP_KERNEL)?;
            return Ok(words);
        }
        // Find the word that cannot be read.
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

/// Returns the number of entries of a table, and the number of words per entry.
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

/// Returns whether an entry is a PTE whose second word is not zero.
fn is_mixed(step: Step, entry: &[u64]) -> bool {
    matches!(step, Step::Page(_)) && entry.get(1).is_some_and(|&word| word != 0)
}

#[kunit_tests(nova_core_mm_model_reach)]
mod tests {
    use super::*;

    use kernel::sync::Arc;

    use crate::mm::model::Config;

    /// Tables of MMU v2 that translate the first 2 MiB.
    const PDB: u64 = 0x1_0000;
    const PD2: u64 = 0x1_1000;
    const PD1: u64 = 0x1_2000;
    const PD0: u64 = 0x1_3000;
    const BIG: u64 = 0x1_4000;
    const SMALL: u64 = 0x1_5000;

    fn set(gpu: &GpuModel, address: u64, word: u64) {
        gpu.vram_write64(VramAddress::new(address), word);
    }

    fn with_tables() -> Result<Arc<GpuModel>> {
        let gpu = GpuModel::new(Config {
            poisoned: false,
            ..Config::default()
        })?;
        for (entry, word) in [(PDB, 0x1102), (PD2, 0x1202), (PD1, 0x1302)] {
            set(&gpu, entry, word);
        }
        set(&gpu, PD0, 0x1402);
        set(&gpu, PD0 + 8, 0x1502);

        Ok(gpu)
    }

    fn count_overlaps(gpu: &GpuModel) -> Result<usize> {
        let mut sum = 0;
        for table in gpu.reachable_tables(VramAddress::new(PDB))? {
            assert!(table.overlaps == 0 || table.address == VramAddress::new(PD0));
            sum += table.overlaps;
        }

        Ok(sum)
    }

    #[test]
    fn uninitialized_words_rejected() -> Result {
        let gpu = with_tables()?;
        let count = || {
            gpu.reachable_tables(VramAddress::new(PDB))
                .map(|all| all.len())
        };
        assert_eq!(count(), Ok(6));

        // A table of big pages has 32 words.
        for (address, result) in [
            (SMALL, Err(EIO)),
            (SMALL + 8 * 31, Err(EIO)),
            (SMALL + 8 * 32, Err(EIO)),
            (SMALL + 8 * 511, Err(EIO)),
            (BIG + 8 * 31, Err(EIO)),
            (BIG + 8 * 32, Ok(6)),
        ] {
            gpu.poison(VramAddress::new(address)..VramAddress::new(address + 8));
            assert_eq!(count(), result);
            set(&gpu, address, 0);
            assert_eq!(count(), Ok(6));
        }

        gpu.retire(VramAddress::new(BIG));
        assert_eq!(count(), Err(EIO));
        set(&gpu, BIG, 0);
        assert_eq!(count(), Ok(6));
        gpu.check_clean()
    }

    #[test]
    fn overlaps_big_and_small() -> Result {
        let gpu = with_tables()?;

        // The first and the last 4 KiB page of the third 64 KiB page, a sparse one, and the
        // adjacent ones.
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

        // A page, a sparse entry, both encodings of "no small pages", and an invalid entry.
        for (word, overlaps) in [(0x3001, 3), (0x8, 3), (0x20, 0), (0x28, 0), (0, 0)] {
            set(&gpu, BIG + 8 * 2, word);
            assert_eq!(count_overlaps(&gpu)?, overlaps);
        }

        // With no table of small pages, and with one in system memory.
        set(&gpu, BIG + 8 * 2, 0x3001);
        for word in [0, 0x1504] {
            set(&gpu, PD0 + 8, word);
            assert_eq!(count_overlaps(&gpu)?, 0);
        }
        gpu.check_clean()
    }
}

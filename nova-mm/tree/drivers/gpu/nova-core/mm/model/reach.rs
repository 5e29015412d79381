// SPDX-License-Identifier: GPL-2.0

//! What tables can be reached from a root, by what is in VRAM.

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
    /// Where it is.
    pub(crate) address: VramAddress,
    /// How many of its entries say anything.
    pub(crate) live: usize,
    /// How many of its entries are a page, and have a pointer to a table of small pages beside it,
    /// which does not count. There are such while one takes the place of the other, and not for
    /// longer.
    pub(crate) mixed: usize,
}

/// What a table is.
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
    /// - [`EIO`], and a message, if a table has words that nobody has written, or is not in VRAM's
    ///   part that there is.
    /// - [`EINVAL`], and a message, if a table has words that have no meaning.
    /// - [`ENOMEM`] if there is no memory.
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
                live: 0,
                mixed: 0,
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
            if let Some(reached) = found.get_mut(number) {
                reached.live += usize::from(step != Step::Absent);
                reached.mixed += usize::from(is_mixed(step, entry));
            }
            self.follow(walker, table, step, found).inspect_err(|_| {
                pr_err!("software GPU: table {:#x}: entry {:x?}\n", address, entry);
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

    /// Reads the words of a table. They are decoded without the lock, under which nobody allocates.
    fn read_table(&self, address: u64, count: usize) -> Result<KVec<u64>> {
        let mut words = KVec::with_capacity(count, GFP_KERNEL)?;
        let state = self.state.lock();

        for number in 0..count {
            let at = address + 8 * usize_as_u64(number);
            match state.vram.entry(at) {
                Ok(word) => words.push_within_capacity(word).map_err(|_| ENOMEM)?,
                Err(error) => {
                    drop(state);
                    pr_err!("software GPU: table word at {:#x}: {:?}\n", at, error);
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

/// Whether an entry is a page and has a second word that says something.
fn is_mixed(step: Step, entry: &[u64]) -> bool {
    matches!(step, Step::Page(_)) && entry.get(1).is_some_and(|&word| word != 0)
}

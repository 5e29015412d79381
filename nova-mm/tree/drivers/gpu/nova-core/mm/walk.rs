// SPDX-License-Identifier: GPL-2.0

//! The walk through page tables: what is there for an address.
//!
//! This reads tables of whatever format as the GPU does, and changes nothing. It is to find out
//! what the firmware has in tables that it owns, and to check what was written.

use core::ops::ControlFlow;

use kernel::prelude::*;

use crate::{
    mm::{
        address::{
            PageSize,
            Pfn,
            Vfn,
            VirtualAddress,
            VramAddress,
            PAGE_SIZE, //
        },
        format::{
            Aperture,
            Entry,
            Format,
            Level,
            PageSizes,
            Pde,
            Pte,
            BIG_PAGES, //
        },
    },
    num::usize_as_u64, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// What a walk has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    /// The level of the last entry that was read, as an index of [`Format::LEVELS`].
    ///
    /// Tables of big pages count as the last level.
    pub(crate) level: usize,
    /// What is there for the address.
    pub(crate) found: Found,
}

/// What is there for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing: an access faults.
    Nothing,
    /// Nothing is mapped, but accesses do not fault.
    Sparse,
    /// A page, of any size that the chip has.
    Page {
        /// What the entry says.
        pte: Pte,
        /// Size of the page. It starts at the multiple of it at or below the address.
        size: PageSize,
    },
    /// Not known: a table that is not in the VRAM of this GPU, and is not followed, decides.
    Foreign(Pde),
    /// Not known: these words have no meaning that this driver knows. For an entry of one word, the
    /// second is zero.
    Invalid([u64; 2]),
}

/// Walks through page tables from their `root` down, to what is there for `address`, which need not
/// be aligned.
///
/// `read` reads the 64 bits at an address of VRAM, once for each word of each entry on the way.
/// Whether the walk may sleep depends on it alone. The caller makes sure that the tables do not
/// change meanwhile.
///
/// A page whose size is not in `sizes`, the page sizes of the chip, is [`Found::Invalid`]: the GPU
/// faults there.
///
/// Where there are both a big page and small ones, the big page counts. No header says so, only the
/// drivers of NVIDIA imply it; nobody should write such tables.
///
/// # Errors
///
/// [`EINVAL`] if `root` is not aligned to 4 KiB, or `address` has more bits than the format has;
/// and any error of `read`.
pub(crate) fn walk<F: Format>(
    read: &mut impl FnMut(VramAddress) -> Result<u64>,
    sizes: PageSizes,
    root: VramAddress,
    address: VirtualAddress,
) -> Result<Walk> {
    // Only the bits of the format select entries. An address with more would get those of another.
    if address.into_raw() >> F::VA_BITS != 0 {
        return Err(EINVAL);
    }

    let page = Vfn::new(address.into_raw() / PAGE_SIZE)?;
    let mut table = Pfn::try_from(root)?.address();
    let mut walker = Walker { read, sizes, page };

    for (number, level) in F::LEVELS.iter().enumerate() {
        match walker.step::<F>(number, level, table)? {
            ControlFlow::Continue(below) => table = below,
            ControlFlow::Break(walk) => return Ok(walk),
        }
    }

    // Not reached, as no format has entries in its last level that point to a table.
    Err(EINVAL)
}

/// The result of a step: the table to go on with, or that of the walk.
type Step = ControlFlow<Walk, VramAddress>;

/// A walk under way.
struct Walker<'a, R> {
    /// Reads the 64 bits at an address of VRAM.
    read: &'a mut R,
    /// The sizes of pages that the chip has.
    sizes: PageSizes,
    /// The page that contains the address.
    page: Vfn,
}

impl<R: FnMut(VramAddress) -> Result<u64>> Walker<'_, R> {
    /// Goes on from a `table` of a `level`, whose number is `number`.
    fn step<F: Format>(
        &mut self,
        number: usize,
        level: &Level,
        table: VramAddress,
    ) -> Result<Step> {
        let words = self.read_entry(level, table)?;

        match level.decode::<F>(words) {
            Entry::Table(pde) => Ok(follow(number, pde)),
            Entry::Dual { big, small } => self.choose::<F>(number, big, small),
            entry => Ok(self.arrive(number, level, entry, words)),
        }
    }

    /// Goes on from a dual entry of the level `number`: by its table of `big` pages, unless that
    /// has nothing to say and there is one of `small` pages.
    fn choose<F: Format>(
        &mut self,
        number: usize,
        big: Option<Pde>,
        small: Option<Pde>,
    ) -> Result<Step> {
        if let Some(pde) = big {
            let table = match follow(number, pde) {
                ControlFlow::Continue(table) => table,
                foreign => return Ok(foreign),
            };
            let words = self.read_entry(&BIG_PAGES, table)?;
            let entry = BIG_PAGES.decode::<F>(words);

            if entry != Entry::Absent || small.is_none() {
                return Ok(self.arrive(number + 1, &BIG_PAGES, entry, words));
            }
        }

        match small {
            Some(pde) => Ok(follow(number, pde)),
            None => Ok(self.arrive(number, &BIG_PAGES, Entry::Absent, [0; 2])),
        }
    }

    /// Reads the entry of a `table` of a `level` that the address selects.
    fn read_entry(&mut self, level: &Level, table: VramAddress) -> Result<[u64; 2]> {
        let word_size = usize_as_u64(size_of::<u64>());
        let first = usize_as_u64(level.index(self.page) * level.kind.words());
        let mut words = [0; 2];

        for (number, word) in (first..).zip(words.iter_mut().take(level.kind.words())) {
            *word = (self.read)(table.checked_add(number * word_size)?)?;
        }

        Ok(words)
    }

    /// Ends the walk with an entry that does not point to a table.
    fn arrive(&self, number: usize, level: &Level, entry: Entry, words: [u64; 2]) -> Step {
        let found = match (entry, level.leaf) {
            (Entry::Absent | Entry::NoSmallPages, _) => Found::Nothing,
            (Entry::Sparse, _) => Found::Sparse,
            (Entry::Page(pte), Some(size)) if self.sizes.contains(size) => {
                Found::Page { pte, size }
            }
            _ => Found::Invalid(words),
        };

        ControlFlow::Break(Walk {
            level: number,
            found,
        })
    }
}

/// Goes on to the table that an entry of the level `number` points to, if it can be read.
fn follow(number: usize, pde: Pde) -> Step {
    match pde.aperture {
        Aperture::Vram => ControlFlow::Continue(VramAddress::new(pde.address)),
        _ => ControlFlow::Break(Walk {
            level: number,
            found: Found::Foreign(pde),
        }),
    }
}

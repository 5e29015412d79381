// SPDX-License-Identifier: GPL-2.0

//! Page table walks.
//!
//! [`walk`] reads page tables as the GPU does and does not modify them. The self-test uses it to
//! verify the entries that the driver has written.

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
            Level,
            MmuFormat,
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

/// The result of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    /// The level of the last entry that was read, as an index of [`MmuFormat::levels`].
    ///
    /// Tables of big pages count as the last level.
    pub(crate) level: usize,
    /// The translation of the address.
    pub(crate) found: Found,
}

/// The translation of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The entry is not valid: an access faults.
    Invalid,
    /// The entry is sparse: an access does not fault, but reaches no memory.
    Sparse,
    /// A page, of any size that the chip supports.
    Page {
        /// The page.
        pte: Pte,
        /// Size of the page. It starts at the multiple of it at or below the address.
        size: PageSize,
    },
    /// The translation depends on a table in system memory, which the walk does not read.
    SysmemTable(Pde),
    /// The entry, by its words, is malformed. For an entry of one word, the second word is zero.
    Malformed([u64; 2]),
}

/// Translates `address`, which need not be aligned, by walking the page tables of a `format` whose
/// root page directory is at `pdb`.
///
/// `read` reads the 64-bit word at an address of VRAM and is called once for each word of each
/// entry on the path. The walk itself does not sleep. The caller must ensure that the tables do not
/// change during the walk.
///
/// A page whose size is not in `sizes`, the page sizes of the chip, is [`Found::Malformed`]: the
/// GPU faults there.
///
/// A big page takes precedence over small pages at the same addresses. The NVIDIA drivers imply
/// this, but no published header defines it, so page tables should not contain both.
///
/// # Errors
///
/// - [`EINVAL`] if `pdb` is not aligned to 4 KiB, or `address` has more bits than the format
///   translates.
/// - Errors of `read`.
pub(crate) fn walk(
    format: &dyn MmuFormat,
    read: &mut impl FnMut(VramAddress) -> Result<u64>,
    sizes: PageSizes,
    pdb: VramAddress,
    address: VirtualAddress,
) -> Result<Walk> {
    // Levels ignore higher bits, so that the walk would translate another address.
    if address.into_raw() >> format.va_bits() != 0 {
        return Err(EINVAL);
    }

    let page = Vfn::new(address.into_raw() / PAGE_SIZE)?;
    let mut table = Pfn::try_from(pdb)?.address();
    let mut walker = Walker {
        format,
        read,
        sizes,
        page,
    };

    for (number, level) in format.levels().iter().enumerate() {
        match walker.step(number, level, table)? {
            ControlFlow::Continue(below) => table = below,
            ControlFlow::Break(walk) => return Ok(walk),
        }
    }

    // Not reached: in all formats, entries of the last level do not point to tables.
    Err(EINVAL)
}

/// The result of a step: the next table, or the result of the walk.
type Step = ControlFlow<Walk, VramAddress>;

/// The state of a walk.
struct Walker<'a, R> {
    /// The format of the tables.
    format: &'a dyn MmuFormat,
    /// Reads the 64-bit word at an address of VRAM.
    read: &'a mut R,
    /// The page sizes of the chip.
    sizes: PageSizes,
    /// The page that contains the address.
    page: Vfn,
}

impl<R: FnMut(VramAddress) -> Result<u64>> Walker<'_, R> {
    /// Reads the entry for the page in a `table` of `level`, whose index is `number`.
    fn step(&mut self, number: usize, level: &Level, table: VramAddress) -> Result<Step> {
        let words = self.read_entry(level, table)?;

        match level.decode(self.format, words) {
            Entry::Table(pde) => Ok(descend(number, pde)),
            Entry::Dual { big, small } => self.select_pt(number, big, small),
            entry => Ok(self.finish(number, level, entry, words)),
        }
    }

    /// Selects the table below a dual entry of the level `number`: the table of `big` pages, or the
    /// table of `small` pages if it exists and the entry of the big page is invalid.
    fn select_pt(&mut self, number: usize, big: Option<Pde>, small: Option<Pde>) -> Result<Step> {
        if let Some(pde) = big {
            let table = match descend(number, pde) {
                ControlFlow::Continue(table) => table,
                end => return Ok(end),
            };
            let words = self.read_entry(&BIG_PAGES, table)?;
            let entry = BIG_PAGES.decode(self.format, words);

            if entry != Entry::Invalid || small.is_none() {
                return Ok(self.finish(number + 1, &BIG_PAGES, entry, words));
            }
        }

        match small {
            Some(pde) => Ok(descend(number, pde)),
            None => Ok(self.finish(number, &BIG_PAGES, Entry::Invalid, [0; 2])),
        }
    }

    /// Reads the entry for the page in a `table` of a `level`.
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
    fn finish(&self, number: usize, level: &Level, entry: Entry, words: [u64; 2]) -> Step {
        let found = match (entry, level.leaf) {
            (Entry::Invalid | Entry::NoSmallPages, _) => Found::Invalid,
            (Entry::Sparse, _) => Found::Sparse,
            (Entry::Page(pte), Some(size)) if self.sizes.contains(size) => {
                Found::Page { pte, size }
            }
            _ => Found::Malformed(words),
        };

        ControlFlow::Break(Walk {
            level: number,
            found,
        })
    }
}

/// Continues in the table that an entry of the level `number` points to, if it is in VRAM.
fn descend(number: usize, pde: Pde) -> Step {
    match pde.aperture {
        Aperture::Vram => ControlFlow::Continue(VramAddress::new(pde.address)),
        _ => ControlFlow::Break(Walk {
            level: number,
            found: Found::SysmemTable(pde),
        }),
    }
}

// SPDX-License-Identifier: GPL-2.0

//! How the software GPU walks page tables.
//!
//! The walk is the same for all formats: directories, of which the last has entries with two
//! pointers, and below them tables of small and of big pages. A [`Walker`] knows the entries.

use crate::mm::{
    address::PageSize,
    format::Aperture,
    model::vram::{
        ReadError,
        Vram, //
    }, //
};

/// What an access is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    /// Whether it is a write.
    pub(crate) write: bool,
    /// Whether the client is privileged.
    pub(crate) privileged: bool,
    /// Whether the client is behind the hub, as the BARs are, rather than in the graphics engine.
    pub(crate) hub: bool,
}

impl Access {
    /// A read by an engine that has no privileges.
    pub(crate) const READ: Self = Self {
        write: false,
        privileged: false,
        hub: false,
    };

    /// A write by an engine that has no privileges.
    pub(crate) const WRITE: Self = Self {
        write: true,
        privileged: false,
        hub: false,
    };

    /// A read through a BAR.
    pub(crate) const HUB_READ: Self = Self {
        write: false,
        privileged: true,
        hub: true,
    };

    /// A write through a BAR.
    pub(crate) const HUB_WRITE: Self = Self {
        write: true,
        privileged: true,
        hub: true,
    };
}

/// What a virtual address is translated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Translation {
    /// Where the memory is.
    pub(crate) aperture: Aperture,
    /// Address of the byte in the aperture.
    pub(crate) address: u64,
    /// Size of the page that it is in.
    pub(crate) page_size: PageSize,
    /// Which GPU's memory it is, if it is that of another one.
    pub(crate) peer: u8,
    /// How the page is laid out, by its number.
    pub(crate) kind: u8,
    /// Whether writes fault.
    pub(crate) read_only: bool,
    /// Whether accesses without privileges fault.
    pub(crate) privileged: bool,
    /// Whether accesses by-pass the caches.
    pub(crate) volatile: bool,
    /// Whether atomic operations fault.
    pub(crate) no_atomics: bool,
}

/// Why there is no translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The address has more bits than the page tables translate.
    OutOfRange,
    /// There is no entry.
    Unmapped,
    /// The entry is sparse: reads are zero and writes are dropped.
    Sparse,
    /// The page is read-only.
    ReadOnly,
    /// The page is for privileged clients.
    Privileged,
    /// A table is, or points to, VRAM that nobody has written.
    Poison,
    /// A table is where the model has no memory: not in VRAM.
    OutOfReach,
    /// An entry has no meaning, or one that the hardware does not define.
    Invalid,
}

/// A page as an entry describes it; its address is that of its first byte.
pub(super) type Leaf = Translation;

/// A pointer to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    /// Address in VRAM in bytes, or `None` if the table is elsewhere.
    pub(super) vram: Option<u64>,
}

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Absent,
    Sparse,
    /// In a table of big pages: do not look at small ones.
    NoSmallPages,
    Table(Pointer),
    /// At least one of them.
    Dual {
        big: Option<Pointer>,
        small: Option<Pointer>,
    },
    Page(Leaf),
    Invalid,
}

/// A level of directories: bits `shift..shift + bits` of an address select an entry.
#[derive(Clone, Copy)]
pub(super) struct DirectoryLevel {
    pub(super) shift: u32,
    pub(super) bits: u32,
}

/// Knows the entries of a format.
pub(super) trait Walker: Send + Sync {
    /// The directories from the root; the entries of the last one have two words.
    fn directories(&self) -> &'static [DirectoryLevel];

    /// Decodes an entry of the directory whose entries span `1 << shift` bytes; `words[1]` is zero
    /// unless it is the last directory.
    fn directory_entry(&self, shift: u32, words: [u64; 2]) -> Step;

    /// Decodes an entry of a table of pages of that size, 4 KiB or 64 KiB.
    fn page_entry(&self, size: PageSize, word: u64) -> Step;
}

/// Where a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// In a directory of this level, counted from the root, at this address.
    Directory(usize, u64),
    /// In the tables of pages.
    Tables {
        big: Option<Pointer>,
        small: Option<Pointer>,
    },
}

/// What a walk finds in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Absent,
    Sparse,
    Page(Leaf),
}

/// What went wrong in a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WalkError {
    /// The access faults.
    Fault(Fault),
    /// A big and a small page are both there; which one counts is not defined.
    BothSizes,
}

impl From<Fault> for WalkError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<ReadError> for WalkError {
    fn from(error: ReadError) -> Self {
        Self::Fault(match error {
            ReadError::OutOfVram => Fault::OutOfReach,
            ReadError::Poison => Fault::Poison,
        })
    }
}

/// Returns how many bits of an address the format translates.
pub(super) fn address_bits(walker: &dyn Walker) -> u32 {
    walker
        .directories()
        .first()
        .map_or(0, |root| root.shift + root.bits)
}

/// Walks on for `address` from `next`, and returns what is found, and the binary logarithm of the
/// size of the range around `address` for which the last entry read stands.
///
/// `visit` is told each pointer on the way: the binary logarithm of what its entry spans, and where
/// it leads.
pub(super) fn walk(
    vram: &Vram,
    walker: &dyn Walker,
    mut next: Next,
    address: u64,
    mut visit: impl FnMut(u32, Next),
) -> Result<(u32, Found), WalkError> {
    let levels = walker.directories();

    while let Next::Directory(depth, table) = next {
        let level = levels.get(depth).ok_or(Fault::Invalid)?;
        let dual = depth + 1 == levels.len();
        let index = (address >> level.shift) & ((1 << level.bits) - 1);
        let words = if dual {
            let entry = table + 16 * index;
            [vram.entry(entry)?, vram.entry(entry + 8)?]
        } else {
            [vram.entry(table + 8 * index)?, 0]
        };

        let found = match walker.directory_entry(level.shift, words) {
            Step::Absent => Found::Absent,
            Step::Sparse => Found::Sparse,
            Step::Page(leaf) => Found::Page(leaf),
            Step::Table(pointer) if !dual => {
                let table = pointer.vram.ok_or(Fault::OutOfReach)?;
                next = Next::Directory(depth + 1, table);
                visit(level.shift, next);
                continue;
            }
            Step::Dual { big, small } if dual => {
                next = Next::Tables { big, small };
                visit(level.shift, next);
                continue;
            }
            _ => return Err(Fault::Invalid.into()),
        };
        return Ok((level.shift, found));
    }

    let Next::Tables { big, small } = next else {
        return Err(Fault::Invalid.into());
    };
    walk_tables(vram, walker, big, small, address)
}

/// Ends a walk in the tables of pages: the big page counts, then the small one.
fn walk_tables(
    vram: &Vram,
    walker: &dyn Walker,
    big: Option<Pointer>,
    small: Option<Pointer>,
    address: u64,
) -> Result<(u32, Found), WalkError> {
    if let Some(big) = big {
        let table = big.vram.ok_or(Fault::OutOfReach)?;
        let word = vram.entry(table + 8 * ((address >> 16) & 0x1f))?;
        match walker.page_entry(PageSize::Size64K, word) {
            Step::Page(leaf) => {
                if small_page_is_there(vram, walker, small, address) {
                    return Err(WalkError::BothSizes);
                }
                return Ok((16, Found::Page(leaf)));
            }
            Step::Sparse => return Ok((16, Found::Sparse)),
            Step::NoSmallPages => return Ok((16, Found::Absent)),
            Step::Absent => {}
            _ => return Err(Fault::Invalid.into()),
        }
    }

    let Some(small) = small else {
        return Ok((16, Found::Absent));
    };
    let word = vram.entry(small_entry(small.vram.ok_or(Fault::OutOfReach)?, address))?;
    match walker.page_entry(PageSize::Size4K, word) {
        Step::Page(leaf) => Ok((12, Found::Page(leaf))),
        Step::Sparse => Ok((12, Found::Sparse)),
        Step::Absent => Ok((12, Found::Absent)),
        _ => Err(Fault::Invalid.into()),
    }
}

/// Returns the address of the entry in a table of small pages.
fn small_entry(table: u64, address: u64) -> u64 {
    table + 8 * ((address >> 12) & 0x1ff)
}

/// Whether a table of small pages has a page at `address`.
fn small_page_is_there(
    vram: &Vram,
    walker: &dyn Walker,
    small: Option<Pointer>,
    address: u64,
) -> bool {
    small
        .and_then(|small| small.vram)
        .and_then(|table| vram.entry(small_entry(table, address)).ok())
        .is_some_and(|word| {
            matches!(
                walker.page_entry(PageSize::Size4K, word),
                Step::Page(_) | Step::Sparse
            )
        })
}

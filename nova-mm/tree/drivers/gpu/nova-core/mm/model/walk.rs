// SPDX-License-Identifier: GPL-2.0

//! Page table walks of the GPU model.
//!
//! All formats share a structure: levels of directories, the last of which has entries with two
//! pointers, and below them tables of small and big pages. A [`Walker`] decodes the entries.

use crate::mm::{
    address::PageSize,
    format::Aperture,
    model::vram::{
        ReadError,
        Vram, //
    }, //
};

/// An access to an address space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    /// Whether this is a write.
    pub(crate) write: bool,
    /// Whether the client is privileged.
    pub(crate) privileged: bool,
    /// Whether the client is connected to the hub, as the BARs are, rather than to the graphics
    /// engine.
    pub(crate) hub: bool,
}

impl Access {
    /// A read by an unprivileged engine.
    pub(crate) const READ: Self = Self {
        write: false,
        privileged: false,
        hub: false,
    };

    /// A write by an unprivileged engine.
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

/// The translation of a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Translation {
    /// Aperture that contains the byte.
    pub(crate) aperture: Aperture,
    /// Address of the byte in the aperture.
    pub(crate) address: u64,
    /// Size of the page.
    pub(crate) page_size: PageSize,
    /// Number of the peer GPU that owns the memory, for the peer aperture.
    pub(crate) peer: u8,
    /// Page kind.
    pub(crate) kind: u8,
    /// Whether writes fault.
    pub(crate) read_only: bool,
    /// Whether unprivileged accesses fault.
    pub(crate) privileged: bool,
    /// Whether accesses bypass the caches.
    pub(crate) volatile: bool,
    /// Whether atomic operations fault.
    pub(crate) no_atomics: bool,
}

/// Reason of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The address has more bits than the page tables translate.
    OutOfRange,
    /// The entry is invalid.
    Unmapped,
    /// The entry is sparse: reads return zero and writes are dropped.
    Sparse,
    /// The access is a write and the page is read-only.
    ReadOnly,
    /// The page is reserved for privileged clients.
    Privileged,
    /// A table is in, or an entry of it is, uninitialized VRAM.
    Poison,
    /// A table is outside VRAM. The model has no other memory.
    NotInVram,
    /// An entry is malformed, or its meaning is not defined by the hardware.
    Malformed,
}

/// A page as described by its PTE, with the address of its first byte.
pub(super) type Leaf = Translation;

/// A pointer to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    /// Address in VRAM in bytes, or `None` if the table is outside VRAM.
    pub(super) vram: Option<u64>,
}

/// Decoded entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Invalid,
    Sparse,
    /// In a table of big pages: do not look for small pages.
    NoSmallPages,
    Table(Pointer),
    /// At least one of the pointers is present.
    Dual {
        big: Option<Pointer>,
        small: Option<Pointer>,
    },
    Page(Leaf),
    Malformed,
}

/// A level of directories: bits `shift..shift + bits` of an address select an entry.
#[derive(Clone, Copy)]
pub(super) struct DirectoryLevel {
    pub(super) shift: u32,
    pub(super) bits: u32,
}

/// Decodes the entries of a format.
pub(super) trait Walker: Send + Sync {
    /// The directories, starting with the root. Entries of the last one have two words.
    fn directories(&self) -> &'static [DirectoryLevel];

    /// Decodes an entry of the directory whose entries span `1 << shift` bytes. `words[1]` is zero
    /// except in the last directory.
    fn directory_entry(&self, shift: u32, words: [u64; 2]) -> Step;

    /// Decodes an entry of a table of 4 KiB or 64 KiB pages.
    fn page_entry(&self, size: PageSize, word: u64) -> Step;
}

/// The next step of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// In the directory at this level, counted from the root, and address.
    Directory(usize, u64),
    /// In the tables of PTEs.
    Tables {
        big: Option<Pointer>,
        small: Option<Pointer>,
    },
}

/// The result of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Invalid,
    Sparse,
    Page(Leaf),
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::OutOfVram => Self::NotInVram,
            ReadError::Poison => Self::Poison,
        }
    }
}

/// Returns the number of address bits that the format translates.
pub(super) fn address_bits(walker: &dyn Walker) -> u32 {
    walker
        .directories()
        .first()
        .map_or(0, |root| root.shift + root.bits)
}

/// Continues a walk for `address` from `next`. Returns its result, and the binary logarithm of the
/// size of the range around `address` that the last entry translates.
///
/// `visit` is called for each pointer on the path, with the binary logarithm of the size of the
/// range that its entry translates, and the next step.
pub(super) fn walk(
    vram: &Vram,
    walker: &dyn Walker,
    mut next: Next,
    address: u64,
    mut visit: impl FnMut(u32, Next),
) -> Result<(u32, Found), Fault> {
    let levels = walker.directories();

    while let Next::Directory(depth, table) = next {
        let level = levels.get(depth).ok_or(Fault::Malformed)?;
        let dual = depth + 1 == levels.len();
        let index = (address >> level.shift) & ((1 << level.bits) - 1);
        let words = if dual {
            let entry = table + 16 * index;
            [vram.entry(entry)?, vram.entry(entry + 8)?]
        } else {
            [vram.entry(table + 8 * index)?, 0]
        };

        let found = match walker.directory_entry(level.shift, words) {
            Step::Invalid => Found::Invalid,
            Step::Sparse => Found::Sparse,
            Step::Page(leaf) => Found::Page(leaf),
            Step::Table(pointer) if !dual => {
                let table = pointer.vram.ok_or(Fault::NotInVram)?;
                next = Next::Directory(depth + 1, table);
                visit(level.shift, next);
                continue;
            }
            Step::Dual { big, small } if dual => {
                next = Next::Tables { big, small };
                visit(level.shift, next);
                continue;
            }
            _ => return Err(Fault::Malformed),
        };
        return Ok((level.shift, found));
    }

    let Next::Tables { big, small } = next else {
        return Err(Fault::Malformed);
    };
    walk_tables(vram, walker, big, small, address)
}

/// Completes a walk in the tables of PTEs. A big page takes precedence over small pages.
///
/// While the driver replaces one with the other, both are valid and both are correct: one is the
/// old mapping and the other the new one. They must not stay valid together, because no published
/// header defines the precedence. A walk cannot detect this, but `GpuModel::reachable_tables()`
/// counts such pages.
fn walk_tables(
    vram: &Vram,
    walker: &dyn Walker,
    big: Option<Pointer>,
    small: Option<Pointer>,
    address: u64,
) -> Result<(u32, Found), Fault> {
    if let Some(big) = big {
        let table = big.vram.ok_or(Fault::NotInVram)?;
        let word = vram.entry(table + 8 * ((address >> 16) & 0x1f))?;
        match walker.page_entry(PageSize::Size64K, word) {
            Step::Page(leaf) => return Ok((16, Found::Page(leaf))),
            Step::Sparse => return Ok((16, Found::Sparse)),
            Step::NoSmallPages => return Ok((16, Found::Invalid)),
            Step::Invalid => {}
            _ => return Err(Fault::Malformed),
        }
    }

    let Some(small) = small else {
        return Ok((16, Found::Invalid));
    };
    let table = small.vram.ok_or(Fault::NotInVram)?;
    let word = vram.entry(table + 8 * ((address >> 12) & 0x1ff))?;
    match walker.page_entry(PageSize::Size4K, word) {
        Step::Page(leaf) => Ok((12, Found::Page(leaf))),
        Step::Sparse => Ok((12, Found::Sparse)),
        Step::Invalid => Ok((12, Found::Invalid)),
        _ => Err(Fault::Malformed),
    }
}

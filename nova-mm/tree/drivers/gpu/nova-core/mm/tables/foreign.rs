// SPDX-License-Identifier: GPL-2.0

//! Page tables that belong to the firmware.
//!
//! The root of the address space of BAR1 is the GSP firmware's, and so may be some of the tables
//! below it. The driver may add entries where nothing is mapped, and removes them again. It
//! preserves the firmware's mappings and tables.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::Mutex, //
};

use crate::mm::{
    address::VramAddress,
    format::{
        Aperture,
        Entry,
        EntryKind,
        Format,
        Pde, //
    },
    mmio::Mmio,
    mmu::Mmu,
    pramin::PraminWindow,
    tables::{
        node::Node,
        slots::slots,
        update::Change,
        PageTables, //
    }, //
};

impl<F: Format> PageTables<F> {
    /// Adopts the tables below a root that belongs to the firmware, within `pages`, and calls
    /// `in_use` with each entry whose pages the firmware uses.
    ///
    /// A directory of the firmware is shared if it is in VRAM. All pages of any other valid entry
    /// count as in use, and so do all pages of a valid entry of the last directory.
    ///
    /// An absent or sparse entry maps nothing, so its pages are free. A mapping there replaces the
    /// entry, and unmapping the last page restores all its bits.
    ///
    /// Context: may sleep; allocates, and takes the hardware lock without allocating under it.
    ///
    /// # Errors
    ///
    /// - [`ENOMEM`] if there is no memory for the shadows.
    /// - Those of [`PraminWindow::read64`] and of `in_use`.
    pub(crate) fn import(
        root: VramAddress,
        pages: &Range<u64>,
        mmu: &Mutex<Mmu>,
        bar: &dyn Mmio,
        in_use: &mut dyn FnMut(ForeignEntry) -> Result,
    ) -> Result<Self> {
        let mut root = read_table::<F>(root, 0, pages, mmu, bar)?;
        import_below::<F>(&mut root, 0, pages, mmu, bar, in_use)?;

        Ok(Self::with_root(KBox::into_inner(root)))
    }
}

/// An entry of the firmware that prevents the driver from using its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForeignEntry {
    /// Number of the first page that it spans.
    pub(crate) start: u64,
    /// Number of the last page that it spans, plus one.
    pub(crate) end: u64,
    /// Address of the entry in VRAM.
    pub(crate) address: VramAddress,
    /// Words of the entry. The second one is zero if the entry has a single word.
    pub(crate) words: [u64; 2],
    /// Whether the driver understands the entry. It does not if the words decode to nothing, or if
    /// the directory that they point to cannot be read.
    pub(crate) is_known: bool,
}

/// Creates the shadows of the directories below `node`, a table of the firmware whose shadow is
/// complete.
fn import_below<F: Format>(
    node: &mut Node,
    level_index: usize,
    pages: &Range<u64>,
    mmu: &Mutex<Mmu>,
    bar: &dyn Mmio,
    in_use: &mut dyn FnMut(ForeignEntry) -> Result,
) -> Result {
    let level = F::LEVELS.get(level_index).ok_or(EINVAL)?;

    for slot in slots(level, pages) {
        if node.is_absent(slot.index) {
            continue;
        }
        let words = node.entry(slot.index);
        let is_known = match level.decode::<F>(words) {
            Entry::Absent | Entry::Sparse => {
                node.set_vacant(slot.index)?;
                continue;
            }
            Entry::Table(Pde {
                aperture: Aperture::Vram,
                address,
                ..
            }) if level.kind == EntryKind::Pde => {
                let address = VramAddress::new(address);
                match read_table::<F>(address, level_index + 1, &slot.pages, mmu, bar) {
                    Ok(mut child) => {
                        let below = level_index + 1;
                        import_below::<F>(&mut child, below, &slot.pages, mmu, bar, in_use)?;
                        node.replace_child(slot.index, Some(child));
                        continue;
                    }
                    // The address is out of reach.
                    Err(e) if e == EINVAL => false,
                    Err(e) => return Err(e),
                }
            }
            entry => entry != Entry::Invalid,
        };

        in_use(ForeignEntry {
            start: slot.pages.start,
            end: slot.pages.end,
            address: node.word_address(slot.index, 0)?,
            words,
            is_known,
        })?;
    }

    Ok(())
}

/// Creates the shadow of a table of the firmware, and reads the entries that span `pages`.
///
/// Allocates, but not while holding the hardware lock.
fn read_table<F: Format>(
    address: VramAddress,
    level_index: usize,
    pages: &Range<u64>,
    mmu: &Mutex<Mmu>,
    bar: &dyn Mmio,
) -> Result<KBox<Node>> {
    let level = F::LEVELS.get(level_index).ok_or(EINVAL)?;
    let mut node = KBox::new(Node::foreign(level, address)?, GFP_KERNEL)?;

    let mut mmu = mmu.lock();
    let mut window = mmu.pramin.window(bar);

    for slot in slots(level, pages) {
        let entry = node.read(&mut window, slot.index)?;
        node.note(slot.index, entry);
    }

    Ok(node)
}

/// Checks that the firmware has not changed the entries of its tables that the GPU walks through to
/// translate `pages`.
///
/// This includes entries that the change does not write. If one of them no longer leads to the
/// tables that the change updates, the GPU does not see the update, and these tables may belong to
/// another mapping. Absent entries matter only to maps, since there is nothing to unmap or protect.
///
/// # Errors
///
/// - [`EBUSY`] if it has changed one.
/// - Those of the window.
pub(super) fn verify<F: Format, I>(
    root: &Node,
    pages: &Range<u64>,
    change: &Change<'_, I>,
    window: &mut PraminWindow<'_>,
) -> Result {
    verify_table::<F, I>(root, 0, pages, change, window)
}

fn verify_table<F: Format, I>(
    node: &Node,
    level_index: usize,
    pages: &Range<u64>,
    change: &Change<'_, I>,
    window: &mut PraminWindow<'_>,
) -> Result {
    if !node.is_foreign() {
        return Ok(());
    }

    for slot in slots(F::LEVELS.get(level_index).ok_or(EINVAL)?, pages) {
        let is_needed = match change {
            Change::Map { .. } => true,
            Change::Unmap | Change::Protect { .. } => !node.is_absent(slot.index),
        };
        if !is_needed {
            continue;
        }

        if node.read(window, slot.index)? != node.entry(slot.index) {
            return Err(EBUSY);
        }
        if let Some(child) = node.child(slot.index) {
            verify_table::<F, I>(child, level_index + 1, &slot.pages, change, window)?;
        }
    }

    Ok(())
}

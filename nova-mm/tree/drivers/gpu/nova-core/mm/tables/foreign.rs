// SPDX-License-Identifier: GPL-2.0

//! Page tables that belong to the firmware.
//!
//! The root of the address space of BAR1 is the GSP firmware's, and so may be some of the tables
//! below it. Entries of ours may be added to them where there are none, and are taken out again.
//! What the firmware has entered stays as it is, and so do its tables.

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
    /// Takes over the tables below a root that belongs to the firmware, as far as `pages` are
    /// concerned, and calls `in_use` with each range of pages that the firmware uses.
    ///
    /// A directory of the firmware is shared if it is in VRAM. What an entry of it maps otherwise
    /// counts as in use as a whole, and so does what an entry of the last directory spans.
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
        in_use: &mut dyn FnMut(Range<u64>) -> Result,
    ) -> Result<Self> {
        let root = import_table::<F>(root, 0, pages, mmu, bar, in_use)?;

        Ok(Self::with_root(root))
    }
}

/// Makes the shadow of a table of the firmware and of the directories below it.
fn import_table<F: Format>(
    address: VramAddress,
    level_index: usize,
    pages: &Range<u64>,
    mmu: &Mutex<Mmu>,
    bar: &dyn Mmio,
    in_use: &mut dyn FnMut(Range<u64>) -> Result,
) -> Result<Node> {
    let level = F::LEVELS.get(level_index).ok_or(EINVAL)?;
    let mut node = Node::foreign(level, address)?;

    read_entries::<F>(&mut node, level_index, pages, mmu, bar)?;

    for slot in slots(level, pages) {
        if node.is_absent(slot.index) {
            continue;
        }
        match directory::<F>(level_index, node.entry(slot.index)) {
            Some(address) => {
                let child =
                    import_table::<F>(address, level_index + 1, &slot.pages, mmu, bar, in_use)?;
                node.replace_child(slot.index, Some(KBox::new(child, GFP_KERNEL)?));
            }
            None => in_use(slot.pages)?,
        }
    }

    Ok(node)
}

/// Reads the entries of a table that span `pages`.
///
/// Nothing is allocated while the hardware lock is held.
fn read_entries<F: Format>(
    node: &mut Node,
    level_index: usize,
    pages: &Range<u64>,
    mmu: &Mutex<Mmu>,
    bar: &dyn Mmio,
) -> Result {
    let level = F::LEVELS.get(level_index).ok_or(EINVAL)?;
    let mut mmu = mmu.lock();
    let mut window = mmu.pramin.window(bar);

    for slot in slots(level, pages) {
        let entry = node.read(&mut window, slot.index)?;
        node.note(slot.index, entry);
    }

    Ok(())
}

/// Returns the directory in VRAM that an entry points to, if it does.
fn directory<F: Format>(level_index: usize, entry: [u64; 2]) -> Option<VramAddress> {
    let level = F::LEVELS.get(level_index)?;
    if level.kind != EntryKind::Pde {
        return None;
    }

    match level.decode::<F>(entry) {
        Entry::Table(Pde {
            aperture: Aperture::Vram,
            address,
            ..
        }) => Some(VramAddress::new(address)),
        _ => None,
    }
}

/// Checks that the entries of the firmware's tables which a change of `pages` may write are as they
/// were when they were last read or written.
///
/// # Errors
///
/// - [`EBUSY`] if one is not.
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
        let child = node.child(slot.index);
        if let Some(child) = child.filter(|child| child.is_foreign()) {
            verify_table::<F, I>(child, level_index + 1, &slot.pages, change, window)?;
            continue;
        }

        let may_be_written = match change {
            // A table that is there already is used, unless a large page takes its place.
            Change::Map { .. } => child.is_none() || slot.is_whole,
            Change::Unmap => !node.is_absent(slot.index),
            Change::Protect { .. } => child.is_none() && !node.is_absent(slot.index),
        };
        if may_be_written && node.read(window, slot.index)? != node.entry(slot.index) {
            return Err(EBUSY);
        }
    }

    Ok(())
}

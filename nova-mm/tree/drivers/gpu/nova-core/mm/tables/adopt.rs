// SPDX-License-Identifier: GPL-2.0

//! Firmware-owned page tables.
//!
//! The GSP firmware owns the root page directory of BAR1, and possibly some of the tables below it.
//! The driver adds entries where nothing is mapped, and removes them again. It preserves the
//! firmware's mappings and tables.

use core::ops::Range;

use kernel::prelude::*;

use crate::mm::{
    address::VramAddress,
    format::{
        Aperture,
        Entry,
        EntryType,
        Pde, //
    },
    hw::{
        MmuHw,
        VramSession, //
    },
    tables::{
        slots::slots,
        table::{
            Child,
            Table, //
        },
    },
};

/// An entry of the firmware that prevents the driver from using its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FirmwareEntry {
    /// Number of the first page that it spans.
    pub(crate) start: u64,
    /// Number of the last page that it spans, plus one.
    pub(crate) end: u64,
    /// Address of the entry in VRAM.
    pub(crate) address: VramAddress,
    /// Words of the entry. The second one is zero if the entry has a single word.
    pub(crate) words: [u64; 2],
    /// Whether the driver understands the entry: the words can be decoded, and the directory that
    /// they point to, if any, can be read.
    pub(crate) is_known: bool,
}

/// Reads the firmware's table at `address` and the directories below it, limited to entries that
/// span `pages`. Calls `in_use` with each entry whose pages the firmware uses.
///
/// The driver shares the firmware's directories in VRAM. All pages of any other valid entry count
/// as in use, and so do all pages of a valid entry of the last directory.
///
/// An invalid or sparse entry maps nothing, so its pages are free. A mapping there replaces the
/// entry, and unmapping the last page restores all its bits.
///
/// May sleep and allocates memory; takes the hardware lock, but does not allocate under it.
///
/// # Errors
///
/// - [`ENOMEM`] if memory allocation fails.
/// - Errors of [`VramSession`] and of `in_use`.
pub(super) fn adopt(
    hw: &MmuHw,
    address: VramAddress,
    level_index: usize,
    pages: &Range<u64>,
    in_use: &mut dyn FnMut(FirmwareEntry) -> Result,
) -> Result<KBox<Table>> {
    let mut table = read_table(hw, address, level_index, pages)?;
    let format = hw.format();
    let level = format.levels().get(level_index).ok_or(EINVAL)?;

    for slot in slots(level, pages) {
        if !table.is_valid(slot.index) {
            continue;
        }
        let words = table.entry(slot.index);
        let is_known = match level.decode(format, words) {
            Entry::Invalid | Entry::Sparse => {
                table.set_vacant(slot.index)?;
                continue;
            }
            Entry::Table(Pde {
                aperture: Aperture::Vram,
                address,
                ..
            }) if level.kind == EntryType::Pde => {
                let address = VramAddress::new(address);
                match adopt(hw, address, level_index + 1, &slot.pages, in_use) {
                    Ok(child) => {
                        table.replace_child(slot.index, Child::Small, Some(child));
                        continue;
                    }
                    // PRAMIN cannot show the address.
                    Err(e) if e == EINVAL => false,
                    Err(e) => return Err(e),
                }
            }
            entry => entry != Entry::Malformed,
        };

        in_use(FirmwareEntry {
            start: slot.pages.start,
            end: slot.pages.end,
            address: table.entry_address(slot.index)?,
            words,
            is_known,
        })?;
    }

    Ok(table)
}

/// Reads the entries of a firmware-owned table that span `pages`.
fn read_table(
    hw: &MmuHw,
    address: VramAddress,
    level_index: usize,
    pages: &Range<u64>,
) -> Result<KBox<Table>> {
    let level = hw.format().levels().get(level_index).ok_or(EINVAL)?;
    let mut table = Table::firmware(level, address)?;
    let mut vram = hw.vram();

    for slot in slots(level, pages) {
        let entry = table.read(&mut vram, slot.index)?;
        table.set_shadow(slot.index, entry);
    }

    Ok(table)
}

/// Checks that the firmware has not changed the entries of its tables that translate `pages`.
///
/// This includes entries that the change does not write. If one of them no longer leads to the
/// tables that the change updates, the GPU does not see the update, and these tables may belong to
/// another mapping. Invalid entries are only checked if the change maps memory.
///
/// # Errors
///
/// - [`EBUSY`] if the firmware has changed an entry.
/// - Errors of the session.
pub(super) fn verify(
    hw: &MmuHw,
    vram: &mut VramSession<'_>,
    table: &Table,
    level_index: usize,
    pages: &Range<u64>,
    is_map: bool,
) -> Result {
    if !table.is_firmware() {
        return Ok(());
    }
    let level = hw.format().levels().get(level_index).ok_or(EINVAL)?;

    for slot in slots(level, pages) {
        if !is_map && !table.is_valid(slot.index) {
            continue;
        }
        if table.read(vram, slot.index)? != table.entry(slot.index) {
            return Err(EBUSY);
        }
        if let Some(child) = table.child(slot.index, Child::Small) {
            verify(hw, vram, child, level_index + 1, &slot.pages, is_map)?;
        }
    }

    Ok(())
}

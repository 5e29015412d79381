// SPDX-License-Identifier: GPL-2.0

//! The TLB of the GPU model.
//!
//! It keeps translations, the absence of such, and pointers to tables, each until it is told to
//! forget or needs the place for something else. It never looks at VRAM by itself.

use kernel::prelude::*;

use crate::{
    mm::model::walk::{
        Found,
        Next, //
    },
    num::u64_as_usize, //
};

/// Number of entries; a power of two.
const ENTRIES: u64 = 1024;

/// Sizes of pages, as binary logarithms: ranges for which the end of a walk can stand.
const ENDS: [u32; 7] = [12, 16, 21, 29, 38, 47, 56];
/// The same of directory entries that point to tables, the smallest first.
const TABLES: [u32; 5] = [21, 29, 38, 47, 56];

/// Whose address space an entry is of, and in which part of the TLB it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) pdb: u64,
    pub(super) hub: bool,
}

/// What an entry stands for: the range of `1 << shift` bytes around an address.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    space: Space,
    shift: u32,
    number: u64,
    is_table: bool,
}

impl Key {
    fn new(space: Space, shift: u32, address: u64, is_table: bool) -> Self {
        Self {
            space,
            shift,
            number: address >> shift,
            is_table,
        }
    }

    /// Returns the place where the entry is, if it is anywhere.
    fn place(self) -> usize {
        let mut hash = self.space.pdb >> 12;
        for part in [
            u64::from(self.space.hub),
            u64::from(self.shift),
            u64::from(self.is_table),
            self.number,
        ] {
            hash = (hash ^ part)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29);
        }

        u64_as_usize(hash % ENTRIES)
    }
}

#[derive(Clone, Copy)]
enum Value {
    End(Found),
    Table(Next),
}

/// The TLB.
pub(super) struct Tlb {
    entries: KVec<Option<(Key, Value)>>,
}

impl Tlb {
    /// Makes an empty one.
    pub(super) fn new() -> Result<Self> {
        let entries = KVec::from_elem(None, u64_as_usize(ENTRIES), GFP_KERNEL)?;

        Ok(Self { entries })
    }

    fn get(&self, key: Key) -> Option<Value> {
        match self.entries.get(key.place())? {
            Some((found, value)) if *found == key => Some(*value),
            _ => None,
        }
    }

    fn put(&mut self, key: Key, value: Value) {
        if let Some(entry) = self.entries.get_mut(key.place()) {
            *entry = Some((key, value));
        }
    }

    /// Returns the end of a walk that was kept.
    pub(super) fn end(&self, space: Space, address: u64) -> Option<(u32, Found)> {
        ENDS.iter().find_map(
            |&shift| match self.get(Key::new(space, shift, address, false))? {
                Value::End(found) => Some((shift, found)),
                Value::Table(_) => None,
            },
        )
    }

    /// Returns the last part of a walk that was kept.
    pub(super) fn table(&self, space: Space, address: u64) -> Option<Next> {
        TABLES.iter().find_map(
            |&shift| match self.get(Key::new(space, shift, address, true))? {
                Value::Table(next) => Some(next),
                Value::End(_) => None,
            },
        )
    }

    /// Keeps the end of a walk, which stands for `1 << shift` bytes.
    pub(super) fn keep_end(&mut self, space: Space, address: u64, shift: u32, found: Found) {
        self.put(Key::new(space, shift, address, false), Value::End(found));
    }

    /// Keeps where a directory entry that spans `1 << shift` bytes leads.
    pub(super) fn keep_table(&mut self, space: Space, address: u64, shift: u32, next: Next) {
        self.put(Key::new(space, shift, address, true), Value::Table(next));
    }

    /// Forgets what is of an address space, or of all of them, in the part of the hub or in both.
    pub(super) fn forget(&mut self, pdb: Option<u64>, hub_only: bool) {
        for entry in self.entries.iter_mut() {
            if entry.is_some_and(|(key, _)| {
                pdb.map_or(true, |pdb| pdb == key.space.pdb) && (key.space.hub || !hub_only)
            }) {
                *entry = None;
            }
        }
    }
}

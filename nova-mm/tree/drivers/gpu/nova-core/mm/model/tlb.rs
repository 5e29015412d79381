// SPDX-License-Identifier: GPL-2.0

//! The TLB of the GPU model.
//!
//! The TLB caches translations, invalid entries, and pointers to tables. It drops an entry only
//! when it is invalidated or when another entry needs its slot, and does not notice changes in
//! VRAM.

use kernel::prelude::*;

use crate::{
    mm::model::walk::{
        Found,
        Next, //
    },
    num::u64_as_usize, //
};

/// Number of slots, a power of two.
const ENTRIES: u64 = 1024;

/// Binary logarithms of the sizes that the last entry of a walk may translate.
const ENDS: [u32; 7] = [12, 16, 21, 29, 38, 47, 56];
/// Binary logarithms of the ranges that PDEs translate, the smallest first.
const TABLES: [u32; 5] = [21, 29, 38, 47, 56];

/// Address space of an entry, and the part of the TLB that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) pdb: u64,
    pub(super) hub: bool,
}

/// Identity of an entry: the range of `1 << shift` bytes that contains an address.
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

    /// Returns the only slot that the entry may occupy.
    fn slot(self) -> usize {
        let kind =
            u64::from(self.shift) << 2 | u64::from(self.is_table) << 1 | u64::from(self.space.hub);
        let mut hash = self.space.pdb >> 12;
        for part in [kind, self.number] {
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
    /// Creates an empty TLB.
    pub(super) fn new() -> Result<Self> {
        let entries = KVec::from_elem(None, u64_as_usize(ENTRIES), GFP_KERNEL)?;

        Ok(Self { entries })
    }

    fn get(&self, key: Key) -> Option<Value> {
        match self.entries.get(key.slot())? {
            Some((found, value)) if *found == key => Some(*value),
            _ => None,
        }
    }

    fn put(&mut self, key: Key, value: Value) {
        if let Some(entry) = self.entries.get_mut(key.slot()) {
            *entry = Some((key, value));
        }
    }

    /// Returns a cached result of a walk.
    pub(super) fn end(&self, space: Space, address: u64) -> Option<(u32, Found)> {
        ENDS.iter().find_map(
            |&shift| match self.get(Key::new(space, shift, address, false))? {
                Value::End(found) => Some((shift, found)),
                Value::Table(_) => None,
            },
        )
    }

    /// Returns the cached pointer that is closest to the end of the walk.
    pub(super) fn table(&self, space: Space, address: u64) -> Option<Next> {
        TABLES.iter().find_map(
            |&shift| match self.get(Key::new(space, shift, address, true))? {
                Value::Table(next) => Some(next),
                Value::End(_) => None,
            },
        )
    }

    /// Caches the result of a walk for `1 << shift` bytes.
    pub(super) fn insert_end(&mut self, space: Space, address: u64, shift: u32, found: Found) {
        self.put(Key::new(space, shift, address, false), Value::End(found));
    }

    /// Caches the target of a PDE that spans `1 << shift` bytes.
    pub(super) fn insert_table(&mut self, space: Space, address: u64, shift: u32, next: Next) {
        self.put(Key::new(space, shift, address, true), Value::Table(next));
    }

    /// Invalidates an address space, or all of them, in the hub's part of the TLB or in both parts.
    pub(super) fn invalidate(&mut self, pdb: Option<u64>, hub_only: bool) {
        for entry in self.entries.iter_mut() {
            if entry.is_some_and(|(key, _)| {
                (pdb.is_none() || pdb == Some(key.space.pdb)) && (key.space.hub || !hub_only)
            }) {
                *entry = None;
            }
        }
    }
}

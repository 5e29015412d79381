// SPDX-License-Identifier: GPL-2.0

//! A page table and its shadow.

use kernel::prelude::*;

use crate::{
    mm::{
        address::VramAddress,
        format::{
            EntryKind,
            Level, //
        },
        pramin::PraminWindow,
        stack::Link,
        vram::TablePage, //
    },
    num::usize_as_u64, //
};

/// Size in bytes of a word of a table.
const WORD: u64 = usize_as_u64(size_of::<u64>());

/// A page table in VRAM, with a copy of its entries in system memory.
///
/// The copy is what decisions are made from: tables are not read back.
pub(crate) struct Node {
    /// The page that the table lies in; [`None`] if it belongs to the firmware.
    memory: Option<TablePage>,
    address: VramAddress,
    /// The words of the table, as they are in VRAM or, while the table is not linked yet, will be.
    words: KVec<u64>,
    /// Words of the firmware's entries that map nothing but are not zero, such as sparse ones, at
    /// the same indices as in `words`. These entries count as absent. Empty if there are none.
    vacant: KVec<u64>,
    /// The tables that the entries point to, by the index of the entry; empty on the last level.
    children: KVec<Option<KBox<Node>>>,
    /// What kind of entries it has.
    kind: EntryKind,
    /// Number of entries that are not absent.
    live: usize,
    /// The table below this one in a stack.
    below: Option<KBox<Node>>,
}

impl Node {
    /// Makes a table of `level` without entries, which is in VRAM only once it has been written
    /// with [`Self::write`].
    ///
    /// Context: may sleep; allocates.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if there is no memory for the shadow.
    pub(super) fn new(level: &Level, memory: TablePage) -> Result<Self> {
        Self::shadow(level, memory.address(), Some(memory))
    }

    /// Makes the shadow of a table of `level` that belongs to the firmware, and seems to be empty
    /// until its entries are told with [`Self::note`].
    ///
    /// Context: may sleep; allocates.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if there is no memory for the shadow.
    pub(super) fn foreign(level: &Level, address: VramAddress) -> Result<Self> {
        Self::shadow(level, address, None)
    }

    fn shadow(level: &Level, address: VramAddress, memory: Option<TablePage>) -> Result<Self> {
        let words = level.entries() * level.kind.words();
        let children = match level.kind {
            EntryKind::Pte => 0,
            EntryKind::Pde | EntryKind::Dual => level.entries(),
        };

        Ok(Self {
            memory,
            address,
            words: KVec::from_elem(0, words, GFP_KERNEL)?,
            vacant: KVec::new(),
            children: {
                let mut slots = KVec::with_capacity(children, GFP_KERNEL)?;
                for _ in 0..children {
                    slots.push(None, GFP_KERNEL)?;
                }
                slots
            },
            kind: level.kind,
            live: 0,
            below: None,
        })
    }

    /// Returns where the table is.
    pub(super) fn address(&self) -> VramAddress {
        self.address
    }

    /// Returns whether the table belongs to the firmware.
    pub(super) fn is_foreign(&self) -> bool {
        self.memory.is_none()
    }

    /// Returns the number of entries.
    pub(super) fn entries(&self) -> usize {
        self.words.len() / self.kind.words()
    }

    /// Returns the number of entries that are not absent.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Returns whether all entries are absent.
    pub(super) fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Returns the words of entry `index`, the second of which is zero if it has but one.
    pub(super) fn entry(&self, index: usize) -> [u64; 2] {
        self.entry_of(&self.words, index)
    }

    /// Returns the words that entry `index` has while it is absent. They are zero unless the
    /// firmware has written others.
    pub(super) fn vacant(&self, index: usize) -> [u64; 2] {
        self.entry_of(&self.vacant, index)
    }

    /// Returns the words of entry `index` in `words`, zeros if it is not there.
    fn entry_of(&self, words: &[u64], index: usize) -> [u64; 2] {
        let first = index * self.kind.words();

        match words.get(first..first + self.kind.words()) {
            Some(&[word]) => [word, 0],
            Some(&[low, high]) => [low, high],
            _ => [0, 0],
        }
    }

    /// Returns whether entry `index` is absent.
    pub(super) fn is_absent(&self, index: usize) -> bool {
        self.is_vacant(index, self.entry(index))
    }

    /// Returns whether entry `index` is absent when its words are `entry`.
    fn is_vacant(&self, index: usize, entry: [u64; 2]) -> bool {
        entry == [0, 0] || (!self.vacant.is_empty() && entry == self.vacant(index))
    }

    /// Makes entry `index` count as absent with its present words.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if memory runs out.
    pub(super) fn set_vacant(&mut self, index: usize) -> Result {
        if self.is_absent(index) {
            return Ok(());
        }
        if self.vacant.is_empty() {
            self.vacant = KVec::from_elem(0, self.words.len(), GFP_KERNEL)?;
        }

        let first = index * self.kind.words();
        let words = first..first + self.kind.words();
        if let (Some(vacant), Some(words)) =
            (self.vacant.get_mut(words.clone()), self.words.get(words))
        {
            vacant.copy_from_slice(words);
            self.live -= 1;
        }

        Ok(())
    }

    /// Returns the table that entry `index` points to, if it is known.
    pub(super) fn child(&self, index: usize) -> Option<&Node> {
        self.children.get(index)?.as_deref()
    }

    /// Returns the table that entry `index` points to, if it is known.
    pub(super) fn child_mut(&mut self, index: usize) -> Option<&mut Node> {
        self.children.get_mut(index)?.as_deref_mut()
    }

    /// Replaces the table that entry `index` points to, and returns the one before.
    pub(super) fn replace_child(
        &mut self,
        index: usize,
        child: Option<KBox<Node>>,
    ) -> Option<KBox<Node>> {
        match self.children.get_mut(index) {
            Some(slot) => core::mem::replace(slot, child),
            None => None,
        }
    }

    /// Changes the shadow of an entry, and not the entry itself.
    pub(super) fn note(&mut self, index: usize, entry: [u64; 2]) {
        let was_live = !self.is_absent(index);
        let is_live = !self.is_vacant(index, entry);

        let first = index * self.kind.words();
        if let Some(words) = self.words.get_mut(first..first + self.kind.words()) {
            words.copy_from_slice(&entry[..self.kind.words()]);
            self.live = self.live - usize::from(was_live) + usize::from(is_live);
        }
    }

    /// Changes an entry in the shadow and in VRAM.
    ///
    /// Only words that change are written. Where both words of an entry do, the one that gets a
    /// value comes before the one that loses it: there is no moment at which nothing is mapped.
    pub(super) fn set(
        &mut self,
        window: &mut PraminWindow<'_>,
        index: usize,
        entry: [u64; 2],
    ) -> Result {
        let old = self.entry(index);
        self.note(index, entry);

        let order = if entry[0] == 0 { [1, 0] } else { [0, 1] };
        for word in order {
            if old[word] != entry[word] {
                window.replace64(self.word_address(index, word)?, old[word], entry[word])?;
            }
        }

        Ok(())
    }

    /// Writes all words of the shadow to VRAM.
    pub(super) fn write(&self, window: &mut PraminWindow<'_>) -> Result {
        let mut address = self.address;
        for &word in &self.words {
            window.write64(address, word)?;
            address = address.checked_add(WORD)?;
        }

        Ok(())
    }

    /// Reads an entry from VRAM, past the shadow.
    pub(super) fn read(&self, window: &mut PraminWindow<'_>, index: usize) -> Result<[u64; 2]> {
        let mut entry = [0, 0];
        for (word, value) in entry.iter_mut().take(self.kind.words()).enumerate() {
            *value = window.read64(self.word_address(index, word)?)?;
        }

        Ok(entry)
    }

    /// Returns the address in VRAM of a word of entry `index`.
    pub(super) fn word_address(&self, index: usize, word: usize) -> Result<VramAddress> {
        self.address
            .checked_add(usize_as_u64(index * self.kind.words() + word) * WORD)
    }

    /// Keeps the memory of this table, and of all below it that are not the firmware's, from being
    /// freed when they are dropped.
    pub(crate) fn keep_allocated(&self) {
        if let Some(memory) = &self.memory {
            memory.keep_allocated();
        }
        for child in self.children.iter().flatten() {
            child.keep_allocated();
        }
    }

    /// Calls `f` with the address of this table and of all below it that are not the firmware's.
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    pub(super) fn for_each_owned(&self, f: &mut dyn FnMut(VramAddress)) {
        if !self.is_foreign() {
            f(self.address);
        }
        for child in self.children.iter().flatten() {
            child.for_each_owned(f);
        }
    }
}

impl Link for Node {
    fn below(&mut self) -> &mut Option<KBox<Self>> {
        &mut self.below
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A page table, and its state in system memory.

use core::ops::Range;

use kernel::prelude::*;

use crate::{
    mm::{
        address::{
            PageSize,
            VramAddress, //
        },
        format::{
            Entry,
            EntryType,
            Level, //
        },
        hw::VramSession,
        stack::Link,
        tables::valid::ValidMap,
        vram::TablePage, //
    },
    num::usize_as_u64, //
};

/// Size in bytes of a word of a table.
const WORD: u64 = usize_as_u64(size_of::<u64>());

/// A page table in VRAM.
///
/// A table that the driver owns is either
///
/// - *linked*: an entry of its parent points to it, and it has valid entries; or
/// - *prepared*: its parent tracks it, but no entry points to it. It has no valid entries, except
///   while a job fills it. Jobs that may need it [pin](Self::pin) it.
///
/// A table that is neither linked nor pinned and has no tables below it is removed.
pub(crate) struct Table {
    /// The page that contains the table; [`None`] if the firmware owns it.
    page: Option<TablePage>,
    address: VramAddress,
    contents: Contents,
    /// Number of valid entries.
    nr_valid: usize,
    /// Number of jobs that may need the table.
    pins: usize,
    state: TableState,
    /// Number of the last job that has unlinked the table, or zero.
    unlinked_by: u64,
    /// The next table in a [`Stack`](crate::mm::stack::Stack).
    below: Option<KBox<Table>>,
}

/// Whether the GPU may walk a table, and whether its content in VRAM is up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableState {
    /// Linked. VRAM is up to date.
    Linked,
    /// Not linked. VRAM is up to date.
    Prepared,
    /// Not linked. VRAM is out of date and has to be written before the table is linked.
    Stale,
}

/// The shadow of a table: the state of its entries in system memory.
enum Contents {
    /// The valid entries of a table of pages.
    Pages(ValidMap),
    /// The entries of a directory.
    Directory(Directory),
}

/// The entries of a directory.
struct Directory {
    kind: EntryType,
    /// The words of the entries. They match VRAM unless the table is stale.
    words: KVec<u64>,
    /// Words of the firmware's entries that map nothing but are not zero, such as sparse entries,
    /// at the same indices as in `words`. These entries count as invalid. Empty without such
    /// entries.
    vacant: KVec<u64>,
    /// The tables below: one for each entry, or two for each dual entry, first the table of big
    /// pages.
    children: KVec<Option<KBox<Table>>>,
    /// Number of tables in `children`.
    nr_children: usize,
}

/// The position of a table below an entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Child {
    /// Below an entry of one word, or the table of small pages of a dual entry.
    Small,
    /// The table of big pages of a dual entry.
    Big,
}

impl Child {
    /// Returns the position of the other table of a dual entry.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Small => Self::Big,
            Self::Big => Self::Small,
        }
    }
}

impl Table {
    /// Creates a table of `level` in `page`, without valid entries. May sleep, because it allocates
    /// memory.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if memory allocation fails.
    pub(super) fn new(level: &Level, page: TablePage) -> Result<KBox<Self>> {
        let state = if page.is_zero() {
            TableState::Prepared
        } else {
            TableState::Stale
        };

        Self::with_state(level, page.address(), Some(page), state)
    }

    /// Creates the empty shadow of a firmware-owned table of `level`; populate it with
    /// [`Self::set_shadow`]. May sleep, because it allocates memory.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if memory allocation fails.
    pub(super) fn firmware(level: &Level, address: VramAddress) -> Result<KBox<Self>> {
        Self::with_state(level, address, None, TableState::Linked)
    }

    fn with_state(
        level: &Level,
        address: VramAddress,
        page: Option<TablePage>,
        state: TableState,
    ) -> Result<KBox<Self>> {
        let contents = match level.kind {
            EntryType::Pte => Contents::Pages(ValidMap::new()),
            EntryType::Pde | EntryType::Dual => Contents::Directory(Directory::new(level)?),
        };

        Ok(KBox::new(
            Self {
                page,
                address,
                contents,
                nr_valid: 0,
                pins: 0,
                state,
                unlinked_by: 0,
                below: None,
            },
            GFP_KERNEL,
        )?)
    }

    /// Returns the address of the table.
    pub(super) fn address(&self) -> VramAddress {
        self.address
    }

    /// Returns whether the firmware owns the table.
    pub(super) fn is_firmware(&self) -> bool {
        self.page.is_none()
    }

    /// Returns the number of valid entries.
    pub(super) fn nr_valid(&self) -> usize {
        self.nr_valid
    }

    pub(super) fn state(&self) -> TableState {
        self.state
    }

    /// Records that an entry now points to the table.
    pub(super) fn set_linked(&mut self) {
        self.state = TableState::Linked;
    }

    /// Records that VRAM is up to date, in a table that is not linked.
    pub(super) fn set_prepared(&mut self) {
        self.state = TableState::Prepared;
    }

    /// Records that the job with number `job` has unlinked the table, and marks all entries
    /// invalid.
    ///
    /// If the job has cleared the entries one by one, VRAM is up to date. Otherwise the table
    /// becomes stale.
    pub(super) fn set_unlinked(&mut self, job: u64) {
        self.unlinked_by = job;
        if self.nr_valid == 0 {
            self.set_prepared();
        } else {
            self.clear_shadow();
            self.state = TableState::Stale;
        }
    }

    /// Returns the number of the last job that has unlinked the table, or zero.
    pub(super) fn unlinked_by(&self) -> u64 {
        self.unlinked_by
    }

    /// Marks all entries invalid, without writing VRAM.
    fn clear_shadow(&mut self) {
        self.nr_valid = 0;
        match &mut self.contents {
            Contents::Pages(valid) => *valid = ValidMap::new(),
            Contents::Directory(directory) => directory.words.iter_mut().for_each(|it| *it = 0),
        }
    }

    /// Keeps the table from being removed while a job may need it.
    pub(super) fn pin(&mut self) {
        self.pins += 1;
    }

    /// Undoes [`Self::pin`].
    pub(super) fn unpin(&mut self) {
        self.pins = self.pins.saturating_sub(1);
    }

    /// Returns whether a job may need the table.
    pub(super) fn is_pinned(&self) -> bool {
        self.pins > 0
    }

    /// Returns whether the table can be removed: it is neither linked nor pinned, and has no tables
    /// below it.
    pub(super) fn is_unused(&self) -> bool {
        !self.is_firmware()
            && self.state != TableState::Linked
            && !self.is_pinned()
            && !self.has_children()
    }

    /// Returns the VRAM address of the word with index `word`.
    fn word_address(&self, word: usize) -> Result<VramAddress> {
        self.address.checked_add(usize_as_u64(word) * WORD)
    }

    /// Makes dropping the table leak its VRAM, and the VRAM of all tables below it that the driver
    /// owns.
    pub(crate) fn leak_on_drop(&self) {
        if let Some(page) = &self.page {
            page.leak_on_drop();
        }
        for child in self.children().iter().flatten() {
            child.leak_on_drop();
        }
    }

    /// Calls `visit` with the address of each linked table that the driver owns: this table and all
    /// tables below it.
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    pub(super) fn for_each_owned(&self, visit: &mut dyn FnMut(VramAddress)) {
        if !self.is_firmware() && self.state == TableState::Linked {
            visit(self.address);
        }
        for child in self.children().iter().flatten() {
            child.for_each_owned(visit);
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // Invalid entries of the driver's tables are zero.
        let is_zero = self.state == TableState::Prepared && self.nr_valid == 0;
        if let Some(page) = &mut self.page {
            page.set_zero(is_zero);
        }
    }
}

/// Methods for tables of pages.
impl Table {
    /// Returns the map of valid entries of a table of pages, or [`None`] for a directory.
    pub(super) fn valid(&self) -> Option<&ValidMap> {
        match &self.contents {
            Contents::Pages(valid) => Some(valid),
            Contents::Directory(_) => None,
        }
    }

    /// Writes valid `entries` to a table of pages, starting with `first` and increasing by `step`.
    /// Returns how many of them were valid before.
    pub(super) fn fill(
        &mut self,
        vram: &mut VramSession<'_>,
        entries: &Range<usize>,
        first: u64,
        step: u64,
    ) -> Result<usize> {
        let address = self.word_address(entries.start)?;
        let Contents::Pages(valid) = &mut self.contents else {
            return Err(EINVAL);
        };
        let replaced = valid.set(entries);
        self.nr_valid += entries.len() - replaced;

        vram.fill64(address, first, step, entries.len(), replaced > 0)?;
        Ok(replaced)
    }

    /// Clears the valid entries among `entries` of a table of pages, and returns their number.
    pub(super) fn clear(
        &mut self,
        vram: &mut VramSession<'_>,
        entries: &Range<usize>,
    ) -> Result<usize> {
        let mut cleared = 0;
        while let Some(run) = self.valid().and_then(|valid| valid.first_run(entries)) {
            let address = self.word_address(run.start)?;
            if let Contents::Pages(valid) = &mut self.contents {
                cleared += valid.clear(&run);
                self.nr_valid -= run.len();
            }
            vram.fill64(address, 0, 0, run.len(), true)?;
        }

        Ok(cleared)
    }

    /// Writes zeros to `entries` of a stale table of pages, which has no valid entries.
    pub(super) fn zero(&self, vram: &mut VramSession<'_>, entries: &Range<usize>) -> Result {
        let address = self.word_address(entries.start)?;

        vram.fill64(address, 0, 0, entries.len(), false)
    }
}

/// Methods for directories. If an index is out of range, they do nothing, or return zeros or
/// [`None`].
impl Table {
    fn directory(&self) -> Option<&Directory> {
        match &self.contents {
            Contents::Pages(_) => None,
            Contents::Directory(directory) => Some(directory),
        }
    }

    fn directory_mut(&mut self) -> Option<&mut Directory> {
        match &mut self.contents {
            Contents::Pages(_) => None,
            Contents::Directory(directory) => Some(directory),
        }
    }

    fn children(&self) -> &[Option<KBox<Table>>] {
        self.directory().map_or(&[], |it| &it.children)
    }

    /// Returns whether there are tables below this one, linked or prepared.
    pub(super) fn has_children(&self) -> bool {
        self.directory().is_some_and(|it| it.nr_children > 0)
    }

    /// Returns the words of entry `index`. The second one is zero if the entry has a single word.
    pub(super) fn entry(&self, index: usize) -> [u64; 2] {
        self.directory()
            .map_or([0, 0], |it| it.entry(&it.words, index))
    }

    /// Returns the words of entry `index` in its invalid state. They are zero unless the firmware
    /// has written others.
    pub(super) fn vacant(&self, index: usize) -> [u64; 2] {
        self.directory()
            .map_or([0, 0], |it| it.entry(&it.vacant, index))
    }

    /// Returns whether entry `index` is valid.
    pub(super) fn is_valid(&self, index: usize) -> bool {
        self.directory()
            .is_some_and(|it| it.is_valid(index, it.entry(&it.words, index)))
    }

    /// Makes entry `index` count as invalid with its present words. May sleep, because it allocates
    /// memory.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if memory allocation fails.
    pub(super) fn set_vacant(&mut self, index: usize) -> Result {
        if !self.is_valid(index) {
            return Ok(());
        }
        if let Some(directory) = self.directory_mut() {
            directory.set_vacant(index)?;
            self.nr_valid -= 1;
        }

        Ok(())
    }

    /// Sets the shadow of an entry, without writing VRAM.
    pub(super) fn set_shadow(&mut self, index: usize, entry: [u64; 2]) {
        let Some(directory) = self.directory_mut() else {
            return;
        };
        let was_valid = directory.is_valid(index, directory.entry(&directory.words, index));
        let is_valid = directory.is_valid(index, entry);

        let range = directory.range(index);
        if let Some(words) = directory.words.get_mut(range) {
            for (word, new) in words.iter_mut().zip(entry) {
                *word = new;
            }
            self.nr_valid = self.nr_valid + usize::from(is_valid) - usize::from(was_valid);
        }
    }

    /// Sets an entry, and writes it to VRAM unless the table is stale.
    ///
    /// Only words that change are written. If both words of an entry change, the word that becomes
    /// valid is written first, so that the range is never transiently unmapped.
    ///
    /// Sparse entries are an exception, because an entry must not be sparse in one word and point
    /// to a table in the other. An entry that becomes sparse, or is no longer sparse, is therefore
    /// invalid for a moment.
    pub(super) fn set(
        &mut self,
        vram: &mut VramSession<'_>,
        index: usize,
        entry: [u64; 2],
    ) -> Result {
        let old = self.entry(index);
        self.set_shadow(index, entry);
        if self.state == TableState::Stale {
            return Ok(());
        }

        let Some(directory) = self.directory() else {
            return Ok(());
        };
        let first = directory.range(index).start;
        let has_sparse = directory.is_sparse(vram, old) || directory.is_sparse(vram, entry);
        let order = if (old[1] == 0 && entry[1] != 0) != has_sparse {
            [1, 0]
        } else {
            [0, 1]
        };
        for word in order {
            if old[word] != entry[word] {
                vram.replace64(self.word_address(first + word)?, old[word], entry[word])?;
            }
        }

        Ok(())
    }

    /// Sets `count` entries from `index` on, as [`Self::set`] does. Their first words start with
    /// `first` and increase by `step`; their second words are zero. Returns how many of the entries
    /// were valid before.
    pub(super) fn set_run(
        &mut self,
        vram: &mut VramSession<'_>,
        index: usize,
        count: usize,
        first: u64,
        step: u64,
    ) -> Result<usize> {
        let (state, address) = (self.state, self.address);
        let Some(directory) = self.directory_mut() else {
            return Err(EINVAL);
        };
        let words = directory.kind.words();
        let is_sparse = directory.is_sparse(vram, [first, 0]);
        let start = directory.range(index).start;
        let mut address = address.checked_add(usize_as_u64(start) * WORD)?;
        let entries = directory
            .words
            .get_mut(start..start + count * words)
            .ok_or(EINVAL)?;
        let vacant = directory.vacant.get(start..start + count * words);

        let (mut replaced, mut is_live, mut is_simple) = (0, false, true);
        for (number, entry) in entries.chunks_exact(words).enumerate() {
            let is_vacant = vacant.is_some_and(|it| it[number * words..][..words] == *entry);
            let is_zero = entry.iter().all(|&word| word == 0);
            replaced += usize::from(!is_vacant && !is_zero);
            // A vacant entry of the firmware may be sparse, so it counts as live.
            is_live |= !is_zero;
            is_simple &= entry[1..].iter().all(|&word| word == 0);
        }
        vram.access(count, |window| {
            let mut value = first;
            if is_simple && state != TableState::Stale {
                window.fill64(address, words, first, step, count, is_live)?;
            }
            for entry in entries.chunks_exact_mut(words) {
                if let ([_, second], true) = (&mut *entry, is_sparse) {
                    // A sparse entry must not point to a table; see `set`.
                    let old = core::mem::take(second);
                    if old != 0 && state != TableState::Stale {
                        window.replace64(address.checked_add(WORD)?, old, 0)?;
                    }
                }
                for (word, new) in entry.iter_mut().zip([value, 0]) {
                    let old = core::mem::replace(word, new);
                    if !is_simple && old != new && state != TableState::Stale {
                        window.replace64(address, old, new)?;
                    }
                    address = address.checked_add(WORD)?;
                }
                value = value.wrapping_add(step);
            }

            Ok(())
        })?;
        self.nr_valid += count - replaced;

        Ok(replaced)
    }

    /// Writes all entries of a stale directory to VRAM.
    pub(super) fn write(&mut self, vram: &mut VramSession<'_>) -> Result {
        let address = self.address;
        let Some(directory) = self.directory() else {
            return Ok(());
        };
        vram.access(directory.words.len(), |window| {
            let mut address = address;
            for &word in &directory.words {
                window.write64(address, word)?;
                address = address.checked_add(WORD)?;
            }

            Ok(())
        })?;
        self.set_prepared();

        Ok(())
    }

    /// Reads an entry from VRAM.
    pub(super) fn read(&self, vram: &mut VramSession<'_>, index: usize) -> Result<[u64; 2]> {
        let mut entry = [0, 0];
        let range = self.directory().map_or(0..0, |it| it.range(index));
        for (word, value) in range.zip(entry.iter_mut()) {
            *value = vram.read64(self.word_address(word)?)?;
        }

        Ok(entry)
    }

    /// Returns the VRAM address of entry `index`.
    pub(super) fn entry_address(&self, index: usize) -> Result<VramAddress> {
        self.word_address(self.directory().map_or(0, |it| it.range(index).start))
    }

    /// Returns the table below entry `index`, if any.
    pub(super) fn child(&self, index: usize, child: Child) -> Option<&Table> {
        let directory = self.directory()?;

        directory
            .children
            .get(directory.slot(index, child))?
            .as_deref()
    }

    /// Returns the table below entry `index`, if any.
    pub(super) fn child_mut(&mut self, index: usize, child: Child) -> Option<&mut Table> {
        let directory = self.directory_mut()?;
        let slot = directory.slot(index, child);

        directory.children.get_mut(slot)?.as_deref_mut()
    }

    /// Replaces the table below entry `index`, and returns the previous one.
    pub(super) fn replace_child(
        &mut self,
        index: usize,
        child: Child,
        table: Option<KBox<Table>>,
    ) -> Option<KBox<Table>> {
        let directory = self.directory_mut()?;
        let slot = directory.slot(index, child);
        let place = directory.children.get_mut(slot)?;
        directory.nr_children += usize::from(table.is_some());
        directory.nr_children -= usize::from(place.is_some());

        core::mem::replace(place, table)
    }

    /// Returns the number of entries.
    pub(super) fn entries(&self) -> usize {
        self.directory()
            .map_or(0, |it| it.words.len() / it.kind.words())
    }
}

impl Directory {
    fn new(level: &Level) -> Result<Self> {
        let words = level.entries() * level.kind.words();
        // A dual entry has as many words as tables.
        let mut children = KVec::with_capacity(words, GFP_KERNEL)?;
        for _ in 0..words {
            children.push(None, GFP_KERNEL)?;
        }

        Ok(Self {
            kind: level.kind,
            words: KVec::from_elem(0, words, GFP_KERNEL)?,
            vacant: KVec::new(),
            children,
            nr_children: 0,
        })
    }

    /// Returns the indices of the words of entry `index`.
    fn range(&self, index: usize) -> Range<usize> {
        let words = self.kind.words();

        index * words..(index + 1) * words
    }

    /// Returns the index in `children` of a table below entry `index`.
    fn slot(&self, index: usize, child: Child) -> usize {
        let range = self.range(index);

        match child {
            Child::Big => range.start,
            Child::Small => range.end - 1,
        }
    }

    /// Returns the words of entry `index` in `words`, or zeros if `words` does not contain it.
    fn entry(&self, words: &[u64], index: usize) -> [u64; 2] {
        match words.get(self.range(index)) {
            Some(&[word]) => [word, 0],
            Some(&[low, high]) => [low, high],
            _ => [0, 0],
        }
    }

    /// Returns whether `entry` is a sparse dual entry.
    fn is_sparse(&self, vram: &VramSession<'_>, entry: [u64; 2]) -> bool {
        self.kind == EntryType::Dual
            && vram.format().decode(self.kind, PageSize::Size2M, entry) == Entry::Sparse
    }

    /// Returns whether the words `entry` would make entry `index` valid.
    fn is_valid(&self, index: usize, entry: [u64; 2]) -> bool {
        entry != [0, 0] && (self.vacant.is_empty() || entry != self.entry(&self.vacant, index))
    }

    fn set_vacant(&mut self, index: usize) -> Result {
        if self.vacant.is_empty() {
            self.vacant = KVec::from_elem(0, self.words.len(), GFP_KERNEL)?;
        }
        let range = self.range(index);
        if let (Some(vacant), Some(words)) =
            (self.vacant.get_mut(range.clone()), self.words.get(range))
        {
            for (vacant, word) in vacant.iter_mut().zip(words) {
                *vacant = *word;
            }
        }

        Ok(())
    }
}

impl Link for Table {
    fn below(&mut self) -> &mut Option<KBox<Self>> {
        &mut self.below
    }
}

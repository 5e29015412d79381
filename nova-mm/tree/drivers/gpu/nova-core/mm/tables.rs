// SPDX-License-Identifier: GPL-2.0

//! The page tables of an address space.
//!
//! Tables live in VRAM, where each access goes over the bus, and reads are slow. [`PageTables`]
//! therefore tracks their state in system memory: the entries of directories, and which entries of
//! the tables of pages are valid. The [mappings](crate::mm::vma::VmaTree) determine which memory a
//! valid entry maps. An update writes the entries that it changes, and reads none, except the
//! firmware's.
//!
//! [`PageTables::pin`] prepares the tables that an update may need: their parents track them, but
//! no entry points to them yet. The pins of a job guarantee that these tables exist when it runs.
//! They are removed when the last job that may need them is freed. Neither an update nor
//! [`PageTables::unpin`] allocates or frees memory.

use core::ops::Range;

use kernel::prelude::*;

use crate::mm::{
    address::VramAddress,
    format::Access,
    hw::{
        MmuHw,
        PendingInvalidate,
        VramSession, //
    },
    memory::Backing,
    stack::Stack,
    tlb::TlbChange,
    vma::VmaTree,
    vram::VramAllocator, //
};

mod adopt;
pub(crate) use self::adopt::FirmwareEntry;

mod prepare;
use self::prepare::Need;
pub(crate) use self::prepare::PtPrealloc;

mod segments;
use self::segments::Source;

mod slots;

mod table;
pub(crate) use self::table::Table;

mod update;
use self::update::Update;

mod valid;

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod tests;

/// The page tables of an address space.
///
/// Methods take page numbers, and half-open ranges of them.
pub(crate) struct PageTables {
    root: KBox<Table>,
    /// Whether the tracked state matches the tables in VRAM.
    is_intact: bool,
    /// Number of the last job that has run.
    job: u64,
    /// Number of the last job that an invalidation has followed.
    invalidated: u64,
}

/// A change of the mappings of a range.
pub(crate) enum Change {
    /// Maps memory, and replaces existing mappings.
    Map(Backing),
    /// Removes all mappings.
    Unmap,
    /// Changes the access to all mapped memory.
    Protect(Access),
}

impl Change {
    /// Returns the new access if the change affects the access only.
    fn access(&self) -> Option<Access> {
        match self {
            Self::Protect(access) => Some(*access),
            Self::Map(_) | Self::Unmap => None,
        }
    }
}

impl PageTables {
    /// Creates the page tables of an empty address space: the root page directory only.
    ///
    /// May sleep and allocates memory; takes the hardware lock, but does not allocate under it.
    ///
    /// # Errors
    ///
    /// - [`ENOSPC`] if no VRAM is free.
    /// - [`ENOMEM`] if memory allocation fails.
    /// - Errors of [`VramSession`].
    pub(crate) fn new(hw: &MmuHw, memory: &VramAllocator) -> Result<Self> {
        let level = hw.format().levels().first().ok_or(EINVAL)?;
        let mut root = Table::new(level, memory.alloc_table()?)?;
        prepare::zero(&mut root, hw)?;
        // The GPU cannot have cached entries of the new table, so no invalidation is needed.
        let _ = hw.vram().finish()?;
        root.set_linked();

        Ok(Self::with_root(root))
    }

    /// Adopts the firmware's page tables below the root page directory at `pdb`, within `pages`.
    /// Calls `in_use` with each entry whose pages the firmware uses; see [`FirmwareEntry`].
    ///
    /// May sleep and allocates memory; takes the hardware lock, but does not allocate under it.
    ///
    /// # Errors
    ///
    /// - [`ENOMEM`] if memory allocation fails.
    /// - Errors of [`VramSession`] and of `in_use`.
    pub(crate) fn adopt(
        hw: &MmuHw,
        pdb: VramAddress,
        pages: &Range<u64>,
        in_use: &mut dyn FnMut(FirmwareEntry) -> Result,
    ) -> Result<Self> {
        Ok(Self::with_root(adopt::adopt(hw, pdb, 0, pages, in_use)?))
    }

    fn with_root(root: KBox<Table>) -> Self {
        Self {
            root,
            is_intact: true,
            job: 0,
            invalidated: 0,
        }
    }

    /// Returns the address of the root page directory, the PDB.
    pub(crate) fn pdb(&self) -> VramAddress {
        self.root.address()
    }

    /// Returns whether the tracked state matches the tables in VRAM. It does unless an update was
    /// interrupted, after which all further updates fail.
    pub(crate) fn is_intact(&self) -> bool {
        self.is_intact
    }

    /// Pins the tables that `change` of `pages` may need. Missing tables are taken from `prealloc`.
    /// If it has too few, returns the numbers of missing tables, and changes nothing.
    ///
    /// Neither allocates nor frees memory.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the memory has too few pages.
    pub(crate) fn pin(
        &mut self,
        hw: &MmuHw,
        change: &Change,
        pages: &Range<u64>,
        prealloc: &mut PtPrealloc,
    ) -> Result<Option<prepare::Counts>> {
        let levels = hw.format().levels();

        prepare::pin(
            &mut self.root,
            levels,
            pages,
            &need(hw, change, pages),
            prealloc,
        )
    }

    /// Undoes [`Self::pin`], and removes unused tables. Tables that the GPU may still walk are
    /// moved to `deferred`, the others to `unused`.
    ///
    /// Neither allocates nor frees memory.
    pub(crate) fn unpin(
        &mut self,
        hw: &MmuHw,
        change: &Change,
        pages: &Range<u64>,
        deferred: &mut Stack<Table>,
        unused: &mut Stack<Table>,
    ) {
        let invalidated = self.invalidated;
        let levels = hw.format().levels();
        let need = need(hw, change, pages);

        // This cannot fail, because pinning has visited the same memory.
        let _ = prepare::unpin(&mut self.root, levels, 0, pages, &need, &mut |table| {
            if table.unlinked_by() > invalidated {
                deferred.push(table);
            } else {
                unused.push(table);
            }
        });
    }

    /// Applies `change` to `pages`. `vmas` are the mappings before the change. Tables that become
    /// unlinked and are not pinned are moved to `removed`.
    ///
    /// Neither allocates nor frees memory.
    ///
    /// # Errors
    ///
    /// - [`EBUSY`] if the firmware has changed an entry on the path to the tables. Nothing is
    ///   changed.
    /// - [`EIO`] if an earlier update was interrupted. Nothing is changed.
    /// - Errors of the session. If [`Self::is_intact`] returns false afterwards, the change has
    ///   been made in part.
    pub(crate) fn update(
        &mut self,
        hw: &MmuHw,
        vram: &mut VramSession<'_>,
        change: &Change,
        pages: &Range<u64>,
        vmas: &VmaTree,
        removed: &mut Stack<Table>,
    ) -> Result<PendingInvalidate> {
        if !self.is_intact {
            return Err(EIO);
        }
        let is_map = matches!(change, Change::Map(_));
        adopt::verify(hw, vram, &self.root, 0, pages, is_map)?;

        self.job += 1;
        let mut update = Update {
            hw,
            vmas,
            removed,
            vram,
            job: self.job,
            revokes: !matches!(change, Change::Protect(Access::ReadWrite)),
            protects: change.access().map(|access| (pages.clone(), access)),
            change: TlbChange::Upgrade,
        };
        // From here on, an error leaves a partial change.
        self.is_intact = false;
        update.apply(&mut self.root, change, pages)?;
        self.is_intact = true;

        Ok(PendingInvalidate::new(update.change))
    }

    /// Records that the TLB has been invalidated after the last update.
    pub(crate) fn set_invalidated(&mut self) {
        self.invalidated = self.job;
    }

    /// Makes dropping the tables leak their VRAM, except the firmware's tables.
    pub(crate) fn leak_on_drop(&self) {
        self.root.leak_on_drop();
    }

    /// Calls `visit` with the address of each linked table that the driver owns.
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    pub(crate) fn for_each_owned(&self, visit: &mut dyn FnMut(VramAddress)) {
        self.root.for_each_owned(visit);
    }
}

impl Update<'_, '_> {
    /// Applies `change` to `pages`, below the table `root`.
    fn apply(&mut self, root: &mut Table, change: &Change, pages: &Range<u64>) -> Result {
        match change {
            Change::Map(backing) => {
                let source = Source::new(self.hw, backing, pages.start);

                self.map(root, 0, pages, &source)
            }
            Change::Unmap => self.unmap(root, 0, pages),
            Change::Protect(access) => self.protect(root, *access, pages),
        }
    }

    /// Maps the memory at `pages` again, with access `access`.
    fn protect(&mut self, root: &mut Table, access: Access, pages: &Range<u64>) -> Result {
        let vmas = self.vmas;
        let mut rest = pages.clone();
        while let Some((part, start, backing)) = vmas.first_with_other_access(&rest, access) {
            let backing = backing.with_access(access);
            self.map(root, 0, &part, &Source::new(self.hw, &backing, start))?;
            rest.start = part.end;
        }

        Ok(())
    }
}

/// Returns the table requirements of `change` to `pages`.
fn need<'a>(hw: &MmuHw, change: &'a Change, pages: &Range<u64>) -> Need<'a> {
    match change {
        Change::Map(backing) => Need::Map(Source::new(hw, backing, pages.start)),
        Change::Unmap | Change::Protect(_) => Need::Split,
    }
}

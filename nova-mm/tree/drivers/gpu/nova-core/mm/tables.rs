// SPDX-License-Identifier: GPL-2.0

//! The page tables of an address space.
//!
//! Tables live in VRAM, where each access goes over the bus, and reads are slow. [`PageTables`]
//! keeps in system memory what it takes to decide without reading them: the entries of directories,
//! and which entries of the tables of pages are valid. What a valid entry maps is known from the
//! [mappings](crate::mm::vma::VmaTree). Hence an update only writes, and only what changes.
//!
//! The tables that an update may need are [prepared](PageTables::prepare) beforehand: they are
//! known below their parents, but no entry points to them. A job pins what it has prepared. So the
//! tables are still there when it runs, and are removed when the last job that may need them is
//! freed. Neither an update nor [`PageTables::unpin`] allocates or frees.

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
/// Pages are given by their numbers, and ranges are half-open.
pub(crate) struct PageTables {
    root: KBox<Table>,
    /// Whether the tables are as the driver believes.
    is_intact: bool,
    /// Number of the last job that has run.
    job: u64,
    /// Number of the last job that was followed by an invalidation.
    invalidated: u64,
}

/// A change of what is mapped.
pub(crate) enum Change {
    /// Maps memory, in place of whatever is mapped there.
    Map(Backing),
    /// Unmaps whatever is mapped there.
    Unmap,
    /// Changes the access to whatever memory is mapped there.
    Protect(Access),
}

impl Change {
    /// Returns the access that mapped memory gets, if that is all that changes.
    fn access(&self) -> Option<Access> {
        match self {
            Self::Protect(access) => Some(*access),
            Self::Map(_) | Self::Unmap => None,
        }
    }
}

impl PageTables {
    /// Creates tables that map nothing, of which only the root exists.
    ///
    /// Context: may sleep; allocates, and takes the hardware lock without allocating under it.
    ///
    /// # Errors
    ///
    /// - [`ENOSPC`] if there is no VRAM left.
    /// - [`ENOMEM`] if memory runs out.
    /// - Those of [`VramSession`].
    pub(crate) fn new(hw: &MmuHw, memory: &VramAllocator) -> Result<Self> {
        let level = hw.format().levels().first().ok_or(EINVAL)?;
        let mut root = Table::new(level, memory.alloc_table()?)?;
        prepare::zero(&mut root, hw)?;
        // The GPU cannot have cached anything of it, so there is nothing to invalidate.
        let _ = hw.vram().finish()?;
        root.set_linked();

        Ok(Self::with_root(root))
    }

    /// Adopts the tables below a root that belongs to the firmware, within `pages`, and calls
    /// `in_use` with each entry whose pages the firmware uses; see [`FirmwareEntry`].
    ///
    /// Context: may sleep; allocates, and takes the hardware lock without allocating under it.
    ///
    /// # Errors
    ///
    /// - [`ENOMEM`] if memory runs out.
    /// - Those of [`VramSession`] and of `in_use`.
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

    /// Returns the address of the root page directory.
    pub(crate) fn pdb(&self) -> VramAddress {
        self.root.address()
    }

    /// Returns whether the tables are as the driver believes, as they are unless an update was
    /// interrupted. If not, all further updates fail.
    pub(crate) fn is_intact(&self) -> bool {
        self.is_intact
    }

    /// Adds the tables that `change` of `pages` may need, from `prealloc`, and pins them. If it takes
    /// more prealloc, returns how many, and changes nothing.
    ///
    /// Neither allocates nor frees.
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

    /// Undoes [`Self::pin`], and removes the tables that are unused. Those that the GPU may still
    /// reach go to `deferred`, the others to `unused`.
    ///
    /// Neither allocates nor frees.
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

        // This cannot fail, as pinning has walked through the same memory.
        let _ = prepare::unpin(&mut self.root, levels, 0, pages, &need, &mut |table| {
            if table.unlinked_by() > invalidated {
                deferred.push(table);
            } else {
                unused.push(table);
            }
        });
    }

    /// Makes `change` to `pages`. `vmas` are the mappings before it. Tables that are no longer
    /// linked, and that no job may need, go to `removed`.
    ///
    /// Neither allocates nor frees.
    ///
    /// # Errors
    ///
    /// - [`EBUSY`] if the firmware has changed an entry that is needed. Nothing is changed then.
    /// - [`EIO`] if an earlier update was interrupted. Nothing is changed then.
    /// - Those of the session. If [`Self::is_intact`] returns false afterwards, a part of the
    ///   change has been made.
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
        // From here on, an error leaves the change half made.
        self.is_intact = false;
        update.apply(&mut self.root, change, pages)?;
        self.is_intact = true;

        Ok(PendingInvalidate::new(update.change))
    }

    /// Records that the TLB has been invalidated after the last update.
    pub(crate) fn set_invalidated(&mut self) {
        self.invalidated = self.job;
    }

    /// Keeps the VRAM of the tables that are not the firmware's from being freed when they are
    /// dropped.
    pub(crate) fn leak_on_drop(&self) {
        self.root.leak_on_drop();
    }

    /// Calls `visit` with the address of each linked table that is not the firmware's.
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    pub(crate) fn for_each_owned(&self, visit: &mut dyn FnMut(VramAddress)) {
        self.root.for_each_owned(visit);
    }
}

impl Update<'_, '_> {
    /// Makes `change` to `pages`, below the table `root`.
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

    /// Maps the memory again that is mapped at `pages`, with another access.
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

/// Returns which tables `change` of `pages` may need.
fn need<'a>(hw: &MmuHw, change: &'a Change, pages: &Range<u64>) -> Need<'a> {
    match change {
        Change::Map(backing) => Need::Map(Source::new(hw, backing, pages.start)),
        Change::Unmap | Change::Protect(_) => Need::Split,
    }
}

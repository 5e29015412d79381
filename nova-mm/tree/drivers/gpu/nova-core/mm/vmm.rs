// SPDX-License-Identifier: GPL-2.0

//! Address spaces of the GPU.
//!
//! Jobs update mappings. Different threads may execute the three stages of a job, as a scheduler
//! does:
//!
//! 1. *Prepare* ([`Vmm::prepare_map`] and similar methods) allocates everything that the job may
//!    need. It may fail. Dropping a prepared job undoes the preparation.
//! 2. *Run* ([`Job::run`]) updates the page tables and invalidates the TLB. A DMA fence may wait
//!    for it, so it neither allocates nor frees memory, nor takes a lock under which memory is
//!    allocated or freed.
//! 3. *Free* ([`Job::free`]) frees everything that is no longer needed.
//!
//! An address space does not allocate virtual addresses; its user decides where memory is mapped.
//! It holds a reference to mapped memory. The job that unmaps the memory drops it in its last
//! stage.
//!
//! # Locks
//!
//! Locks are taken in this order:
//!
//! 1. the *table lock* of an address space, held while a job runs;
//! 2. the *hardware lock* in [`MmuHw`], held for the accesses to one page table at a time.
//!
//! Holders of either lock neither allocate nor free memory. *Run* does not take the locks of the
//! VRAM allocator, under which no other lock is taken.
//!
//! # TLB
//!
//! Memory and page tables that *run* removes stay allocated until the TLB has been invalidated. If
//! the invalidation fails, the job fails. The next successful invalidation of the address space
//! releases them.

use core::ops::Range;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::mm::{
    address::{
        Vfn,
        VramAddress, //
    },
    format::Access,
    hw::{
        MmuHw,
        PendingInvalidate,
        Retry, //
    },
    memory::Backing,
    tables::{
        Change,
        FirmwareEntry,
        PageTables, //
    },
    tlb::{
        TlbChange,
        TlbScope, //
    },
    vma::VmaTree,
    vram::VramAllocator, //
};

mod deferred;
use self::deferred::{
    DeferredFrees,
    ReadyFrees, //
};

mod job;
pub(crate) use self::job::Job;
pub(crate) use self::job::JobError;

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod basic_tests;
#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod tests;

/// An address space of the GPU.
///
/// Unless nothing is mapped, [`Self::teardown`] must be called before the last reference is
/// dropped, because the GPU may use the page tables until then. If it is not called, or fails, the
/// VRAM of the tables and the mapped memory
/// [are leaked](crate::mm::memory::Mappable::leak_on_drop).
#[pin_data]
pub(crate) struct Vmm {
    hw: Arc<MmuHw>,
    /// Address of the root page directory.
    pdb: VramAddress,
    /// The units that cache translations of this address space.
    scope: TlbScope,
    /// Numbers of the pages that can be mapped.
    limits: Range<u64>,
    /// Numbers of the pages that the firmware uses, in ascending order.
    firmware: KVec<Range<u64>>,
    /// The firmware's entries that could not be decoded.
    unknown: Option<UnknownEntries>,
    /// The allocator of page tables.
    memory: VramAllocator,
    /// The table lock.
    #[pin]
    state: Mutex<State>,
}

/// The state that the table lock protects.
struct State {
    tables: PageTables,
    vmas: VmaTree,
    deferred: DeferredFrees,
    /// Whether [`Vmm::teardown`] has been called, after which all jobs fail.
    is_closed: bool,
}

/// A reference to the root page directory (PDB) of an address space.
///
/// An object that makes the GPU use the address space, such as a channel, must hold one: it keeps
/// the root page directory allocated.
#[derive(Clone)]
pub(crate) struct PdbRef(Arc<Vmm>);

impl PdbRef {
    /// Returns the VRAM address of the root page directory.
    pub(crate) fn address(&self) -> VramAddress {
        self.0.pdb
    }
}

/// The firmware's entries that could not be decoded. Their addresses are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownEntries {
    /// The first one.
    pub(crate) first: FirmwareEntry,
    /// Number of these entries.
    pub(crate) count: u64,
    /// Number of pages of 4 KiB that these entries span.
    pub(crate) pages: u64,
}

impl UnknownEntries {
    /// Adds `entry` to the entries `found` before.
    fn with(found: Option<Self>, entry: FirmwareEntry) -> Self {
        let pages = entry.end - entry.start;

        match found {
            None => Self {
                first: entry,
                count: 1,
                pages,
            },
            Some(found) => Self {
                count: found.count + 1,
                pages: found.pages + pages,
                ..found
            },
        }
    }
}

impl Vmm {
    /// Creates an empty address space, in which pages within `limits` can be mapped. Its page
    /// tables are allocated from `memory`.
    ///
    /// May sleep and allocates memory; takes the hardware lock.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `limits` is empty, or exceeds the addresses of the page table format.
    /// - [`ENOSPC`] if no VRAM is free.
    /// - [`ENOMEM`] if memory allocation fails.
    /// - Errors of [`VramSession`](crate::mm::hw::VramSession).
    pub(crate) fn new(
        hw: Arc<MmuHw>,
        memory: VramAllocator,
        limits: Range<Vfn>,
    ) -> Result<Arc<Self>> {
        let limits = check_limits(&hw, limits)?;
        let tables = PageTables::new(&hw, &memory)?;

        Self::with_tables(hw, memory, limits, tables, KVec::new(), None, TlbScope::All)
    }

    /// Adopts the address space of a BAR, whose root page directory at `pdb` the firmware owns.
    ///
    /// The firmware's mappings within `limits` are preserved, and their
    /// [pages](Self::firmware_pages) cannot be mapped. The same applies to pages of
    /// [entries that could not be decoded](Self::unknown_entries).
    ///
    /// May sleep and allocates memory; takes the hardware lock.
    ///
    /// # Errors
    ///
    /// See [`Self::new`].
    pub(crate) fn of_bar(
        hw: Arc<MmuHw>,
        memory: VramAllocator,
        limits: Range<Vfn>,
        pdb: VramAddress,
    ) -> Result<Arc<Self>> {
        let limits = check_limits(&hw, limits)?;
        let mut firmware = KVec::new();
        let mut unknown = None;

        let tables = PageTables::adopt(&hw, pdb, &limits, &mut |entry| {
            firmware.push(entry.start..entry.end, GFP_KERNEL)?;
            if !entry.is_known {
                unknown = Some(UnknownEntries::with(unknown, entry));
            }

            Ok(())
        })?;

        Self::with_tables(hw, memory, limits, tables, firmware, unknown, TlbScope::Hub)
    }

    fn with_tables(
        hw: Arc<MmuHw>,
        memory: VramAllocator,
        limits: Range<u64>,
        tables: PageTables,
        firmware: KVec<Range<u64>>,
        unknown: Option<UnknownEntries>,
        scope: TlbScope,
    ) -> Result<Arc<Self>> {
        let state = State {
            is_closed: false,
            vmas: VmaTree::new(),
            deferred: DeferredFrees::new(),
            tables,
        };

        Arc::pin_init(
            pin_init!(Self {
                pdb: state.tables.pdb(),
                hw,
                scope,
                limits,
                firmware,
                unknown,
                memory,
                state <- new_mutex!(state, "nova_core_mm_tables"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns a reference to the root page directory.
    pub(crate) fn pdb(self: &Arc<Self>) -> PdbRef {
        PdbRef(self.clone())
    }

    /// Returns the numbers of the pages that the firmware uses, in ascending order.
    pub(crate) fn firmware_pages(&self) -> &[Range<u64>] {
        &self.firmware
    }

    /// Returns the firmware's entries that could not be decoded when the tables were adopted.
    pub(crate) fn unknown_entries(&self) -> Option<&UnknownEntries> {
        self.unknown.as_ref()
    }

    /// Prepares a job that maps `backing` at `pages` and replaces the mappings that exist there
    /// when it runs.
    ///
    /// The job uses the largest pages that the virtual and the physical addresses allow. The
    /// address space keeps the memory alive until it is unmapped and the GPU no longer uses it.
    ///
    /// May sleep and allocates memory; takes the locks of an address space.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `pages` is empty or exceeds the limits of the address space, the memory has
    ///   too few pages, or its address or an attribute has no encoding.
    /// - [`EBUSY`] if the firmware uses one of the pages.
    /// - [`ENOSPC`] if no VRAM is free for tables.
    /// - [`ENOMEM`] if memory allocation fails.
    /// - Errors of [`VramSession`](crate::mm::hw::VramSession).
    pub(crate) fn prepare_map(
        self: &Arc<Self>,
        pages: Range<Vfn>,
        backing: Backing,
    ) -> Result<Job> {
        let count = pages.end.into_raw().saturating_sub(pages.start.into_raw());
        backing.check(self.hw.format(), count)?;

        Job::new(self, self.check(pages)?, Change::Map(backing))
    }

    /// Prepares a job that removes the mappings, if any, that exist at `pages` when it runs.
    ///
    /// Large pages that extend beyond an end of `pages` are split.
    ///
    /// See [`Self::prepare_map`] for locks and errors.
    pub(crate) fn prepare_unmap(self: &Arc<Self>, pages: Range<Vfn>) -> Result<Job> {
        Job::new(self, self.check(pages)?, Change::Unmap)
    }

    /// Prepares a job that changes the access to the memory that is mapped at `pages` when it runs.
    /// Sparse ranges do not change.
    ///
    /// See [`Self::prepare_map`] for locks and errors.
    pub(crate) fn prepare_protect(
        self: &Arc<Self>,
        pages: Range<Vfn>,
        access: Access,
    ) -> Result<Job> {
        Job::new(self, self.check(pages)?, Change::Protect(access))
    }

    /// Checks that `pages` can be mapped, and returns their numbers.
    fn check(&self, pages: Range<Vfn>) -> Result<Range<u64>> {
        let pages = pages.start.into_raw()..pages.end.into_raw();
        if pages.is_empty() || pages.start < self.limits.start || pages.end > self.limits.end {
            return Err(EINVAL);
        }
        let next = self
            .firmware
            .partition_point(|used| used.end <= pages.start);
        if self
            .firmware
            .get(next)
            .is_some_and(|used| used.start < pages.end)
        {
            return Err(EBUSY);
        }

        Ok(pages)
    }

    /// Returns whether an invalidation of the GPU's TLB has timed out, so that jobs fail at once.
    /// May sleep; takes the hardware lock.
    pub(crate) fn is_wedged(&self) -> bool {
        self.hw.is_wedged()
    }

    /// Invalidates the TLB again after an invalidation has failed, and completes the frees that
    /// this failure has deferred.
    ///
    /// If it succeeds, the GPU no longer counts as wedged. The driver also calls this after a reset
    /// of the GPU, which empties the TLB.
    ///
    /// May sleep; takes the table lock and the hardware lock.
    ///
    /// # Errors
    ///
    /// - [`EIO`] if an earlier update of the page tables was interrupted. Nothing is freed.
    /// - Errors of [`MmuHw::invalidate`].
    pub(crate) fn retry_invalidate(&self) -> Result {
        let ready = self.invalidate_all(&mut self.state.lock())?;
        // Free without holding the lock.
        drop(ready);

        Ok(())
    }

    /// Unmaps everything, so that the GPU no longer uses any page tables but the root page
    /// directory. Jobs that run afterwards fail, even if this fails.
    ///
    /// If a mapping cannot be unmapped, this continues with the others, invalidates the TLB, and
    /// frees the unmapped memory. Further calls retry the remaining mappings, if any.
    ///
    /// May sleep; takes the table lock and the hardware lock. Does not allocate memory, but frees
    /// memory.
    ///
    /// # Errors
    ///
    /// The first of these:
    ///
    /// - [`EBUSY`] if the firmware has changed an entry. The mappings below it remain.
    /// - [`ETIMEDOUT`] if the TLB is not invalidated in time. Nothing is freed.
    /// - [`EIO`] if an earlier update of the page tables was interrupted.
    /// - [`ENODEV`] if the device is unbound. If this interrupts an update of the page tables, all
    ///   further calls fail.
    pub(crate) fn teardown(&self) -> Result {
        let (result, ready) = self.unmap_all();
        // Free without holding the lock.
        drop(ready);

        result
    }

    fn unmap_all(&self) -> (Result, Option<ReadyFrees>) {
        let mut state = self.state.lock();

        state.is_closed = true;
        if !state.tables.is_intact() {
            return (Err(EIO), None);
        }
        let unmapped = state.unmap_all(&self.hw, &self.firmware);
        if state.deferred.is_empty() {
            return (unmapped, None);
        }

        match self.invalidate_all(&mut state) {
            Ok(ready) => (unmapped, Some(ready)),
            Err(e) => (unmapped.and(Err(e)), None),
        }
    }

    /// Invalidates the TLB, even if an earlier invalidation has timed out, and returns the deferred
    /// frees.
    fn invalidate_all(&self, state: &mut State) -> Result<ReadyFrees> {
        // After an interrupted update, the page tables may still map memory that the update was
        // supposed to unmap.
        if !state.tables.is_intact() {
            return Err(EIO);
        }
        let flushed = self.hw.vram().finish()?;
        let pending = PendingInvalidate::new(TlbChange::Downgrade);
        let done = self
            .hw
            .invalidate(pending, flushed, self.pdb, self.scope, Retry::Yes)?;
        state.tables.set_invalidated();

        Ok(state.deferred.take_ready(done))
    }

    /// Calls `visit` with the address of each linked table that the driver owns, under the table
    /// lock.
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    pub(crate) fn for_each_table(&self, visit: &mut dyn FnMut(VramAddress)) {
        self.state.lock().tables.for_each_owned(visit);
    }

    /// Returns whether there are deferred frees.
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    pub(crate) fn has_deferred(&self) -> bool {
        !self.state.lock().deferred.is_empty()
    }
}

/// Checks the limits of an address space and returns them as page numbers.
fn check_limits(hw: &MmuHw, limits: Range<Vfn>) -> Result<Range<u64>> {
    if limits.is_empty() || limits.end.address().into_raw() > 1 << hw.format().va_bits() {
        return Err(EINVAL);
    }

    Ok(limits.start.into_raw()..limits.end.into_raw())
}

impl State {
    /// Unmaps all mappings that can be unmapped, and returns the first error. Skips the pages that
    /// the firmware uses.
    fn unmap_all(&mut self, hw: &MmuHw, firmware: &[Range<u64>]) -> Result {
        let Some(all) = self.vmas.bounds() else {
            return Ok(());
        };
        let mut result = Ok(());
        let mut next = all.start;
        let end = all.end..all.end;
        for used in Iterator::chain(firmware.iter(), [&end]) {
            let pages = next..used.start.min(all.end);
            next = next.max(used.end);
            if pages.is_empty() {
                continue;
            }
            let unmapped = self.unmap_each(hw, &pages);
            if unmapped.is_err() && unmapped != Err(EBUSY) {
                return unmapped;
            }
            result = result.and(unmapped);
        }

        result
    }

    /// Unmaps all mappings within `pages` that can be unmapped, in one update if possible. The
    /// firmware uses none of `pages`.
    fn unmap_each(&mut self, hw: &MmuHw, pages: &Range<u64>) -> Result {
        let unmapped = self.unmap(hw, pages);
        if unmapped != Err(EBUSY) {
            return unmapped;
        }

        let mut next = pages.start;
        while let Some((vma_pages, _)) = self.vmas.first_from(next) {
            if vma_pages.start >= pages.end {
                break;
            }
            next = vma_pages.end;
            let result = self.unmap(hw, &vma_pages);
            if result.is_err() && result != Err(EBUSY) {
                return result;
            }
        }

        unmapped
    }

    /// Unmaps `pages`, which must not split a mapping.
    fn unmap(&mut self, hw: &MmuHw, pages: &Range<u64>) -> Result {
        let Self {
            tables,
            vmas,
            deferred,
            ..
        } = self;
        let removed = deferred.others();
        let mut vram = hw.vram();
        // The caller invalidates the TLB once for all updates.
        let _ = tables.update(
            hw,
            &mut vram,
            &Change::Unmap,
            pages,
            vmas,
            &mut removed.tables,
        )?;
        drop(vram);
        vmas.move_to(pages, &mut removed.vmas);

        Ok(())
    }

    /// Returns whether the GPU may access memory that this state owns.
    fn is_in_use(&self) -> bool {
        !self.vmas.is_empty() || !self.deferred.is_empty() || !self.tables.is_intact()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if !self.is_in_use() {
            return;
        }

        // The GPU may still access this VRAM, so it is leaked. Kernel memory is freed.
        self.vmas.leak_on_drop();
        self.tables.leak_on_drop();
        self.deferred.leak_on_drop();
    }
}

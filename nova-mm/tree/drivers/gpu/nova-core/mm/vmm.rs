// SPDX-License-Identifier: GPL-2.0

//! Address spaces of the GPU.
//!
//! Jobs change what is mapped. The three stages of a job may be run by different threads, as those
//! of the jobs of a scheduler are:
//!
//! 1. *Prepare* ([`Vmm::prepare_map`] and its kin) allocates everything that the job may need. It
//!    may fail, and dropping the job afterwards leaves nothing behind.
//! 2. *Run* ([`Job::run`]) changes the page tables and invalidates the TLB. A DMA fence may wait
//!    for it: it neither allocates nor frees memory, nor takes a lock under which anyone does.
//! 3. *Free* ([`Job::free`]) frees what is no longer needed.
//!
//! An address space does not allocate virtual addresses: its user decides where memory is mapped.
//! It holds a reference to mapped memory, and drops it in the last stage of the job that unmaps the
//! memory.
//!
//! # Locks
//!
//! In this order:
//!
//! 1. the table lock of an address space, held while a job runs;
//! 2. the hardware lock, in [`MmuHw`], held for the accesses to one page table at a time.
//!
//! No one allocates or frees memory while holding one of them. The locks of the VRAM allocator are
//! not taken in *run*, and nothing else is locked while they are held.
//!
//! # TLB
//!
//! Memory and page tables that *run* removes are kept until the TLB has been invalidated. If that
//! fails, the job fails, and the next invalidation of the address space that succeeds releases
//! them.

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
pub(crate) mod tests;

/// An address space of the GPU.
///
/// [`Self::teardown`] has to be called before the last reference is dropped, unless nothing is
/// mapped: the GPU may use the page tables until then. If it is not called, or fails, the VRAM of
/// the tables and the mapped memory [stay allocated](crate::mm::memory::Mappable::leak_on_drop).
#[pin_data]
pub(crate) struct Vmm {
    hw: Arc<MmuHw>,
    /// Address of the root of the page tables.
    pdb: VramAddress,
    /// What caches translations of this address space.
    scope: TlbScope,
    /// Numbers of the pages that can be mapped.
    limits: Range<u64>,
    /// The pages that the firmware uses, in ascending order.
    firmware: KVec<Range<u64>>,
    /// Entries of the firmware that could not be decoded.
    unknown: Option<UnknownEntries>,
    /// Where the page tables come from.
    memory: VramAllocator,
    /// The table lock.
    #[pin]
    state: Mutex<State>,
}

/// What the table lock protects.
struct State {
    tables: PageTables,
    vmas: VmaTree,
    deferred: DeferredFrees,
    /// Whether [`Vmm::teardown`] has been called, after which all jobs fail.
    is_closed: bool,
}

/// The root of the page tables of an address space, the page directory base.
///
/// Whatever makes the GPU use the address space, such as a channel, holds this. The root stays
/// allocated until it is dropped.
#[derive(Clone)]
pub(crate) struct PdbRef(Arc<Vmm>);

impl PdbRef {
    /// Returns the address of the root in VRAM.
    pub(crate) fn address(&self) -> VramAddress {
        self.0.pdb
    }
}

/// Entries of the firmware that could not be decoded, so that their addresses are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownEntries {
    /// The first one.
    pub(crate) first: FirmwareEntry,
    /// Number of these entries.
    pub(crate) count: u64,
    /// Number of pages of 4 KiB that they span.
    pub(crate) pages: u64,
}

impl UnknownEntries {
    /// Adds `entry` to those `found` before.
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
    /// Creates an address space with page tables of its own, which maps nothing.
    ///
    /// Pages within `limits` can be mapped; `memory` is where its tables come from.
    ///
    /// Context: may sleep; allocates, and takes the hardware lock.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `limits` is empty, or not within what the format can address.
    /// - [`ENOSPC`] if there is no VRAM left.
    /// - [`ENOMEM`] if memory runs out.
    /// - Those of [`VramSession`](crate::mm::hw::VramSession).
    pub(crate) fn new(
        hw: Arc<MmuHw>,
        memory: VramAllocator,
        limits: Range<Vfn>,
    ) -> Result<Arc<Self>> {
        let limits = check_limits(&hw, limits)?;
        let tables = PageTables::new(&hw, &memory)?;

        Self::with_tables(hw, memory, limits, tables, KVec::new(), None, TlbScope::All)
    }

    /// Adopts the address space of a BAR, whose root `pdb` belongs to the firmware.
    ///
    /// Mappings of the firmware within `limits` are preserved, and their
    /// [pages](Self::firmware_pages) cannot be mapped. Nor can those of
    /// [entries that could not be decoded](Self::unknown_entries).
    ///
    /// Context: may sleep; allocates, and takes the hardware lock.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`].
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

    /// Returns the root of the page tables.
    pub(crate) fn pdb(self: &Arc<Self>) -> PdbRef {
        PdbRef(self.clone())
    }

    /// Returns the numbers of the pages that the firmware uses, in ascending order.
    pub(crate) fn firmware_pages(&self) -> &[Range<u64>] {
        &self.firmware
    }

    /// Returns the entries of the firmware that could not be decoded when the tables were adopted.
    pub(crate) fn unknown_entries(&self) -> Option<&UnknownEntries> {
        self.unknown.as_ref()
    }

    /// Prepares a job that maps `backing` at `pages`, in place of whatever is mapped there when it
    /// runs.
    ///
    /// The largest pages are used that the addresses on both sides allow. The memory is kept alive
    /// until it is no longer mapped and the GPU no longer uses it.
    ///
    /// Context: may sleep; allocates, and takes the locks of an address space.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `pages` is empty or out of the limits of the address space, the memory has
    ///   too few pages, or the page tables cannot name it or its attributes.
    /// - [`EBUSY`] if the firmware uses one of the pages.
    /// - [`ENOSPC`] if there is no VRAM left for tables.
    /// - [`ENOMEM`] if memory runs out.
    /// - Those of [`VramSession`](crate::mm::hw::VramSession).
    pub(crate) fn prepare_map(
        self: &Arc<Self>,
        pages: Range<Vfn>,
        backing: Backing,
    ) -> Result<Job> {
        let count = pages.end.into_raw().saturating_sub(pages.start.into_raw());
        backing.check(self.hw.format(), count)?;

        Job::new(self, self.check(pages)?, Change::Map(backing))
    }

    /// Prepares a job that unmaps whatever is mapped at `pages` when it runs, if anything is.
    ///
    /// Pages that are mapped only in part become smaller ones.
    ///
    /// Context and errors are those of [`Self::prepare_map`].
    pub(crate) fn prepare_unmap(self: &Arc<Self>, pages: Range<Vfn>) -> Result<Job> {
        Job::new(self, self.check(pages)?, Change::Unmap)
    }

    /// Prepares a job that changes the access to whatever memory is mapped at `pages` when it runs.
    /// Sparse ranges stay as they are.
    ///
    /// Context and errors are those of [`Self::prepare_map`].
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
    ///
    /// Context: may sleep; takes the hardware lock.
    pub(crate) fn is_wedged(&self) -> bool {
        self.hw.is_wedged()
    }

    /// Invalidates the TLB once more after an invalidation has failed, and frees what has been kept
    /// because of that.
    ///
    /// If it succeeds, the GPU no longer counts as wedged. It is also how the driver resumes after
    /// a reset of the GPU, which empties the TLB.
    ///
    /// Context: may sleep; takes the table lock and the hardware lock.
    ///
    /// # Errors
    ///
    /// - [`EIO`] if an earlier update of the page tables was interrupted. Nothing is freed then.
    /// - Those of [`MmuHw::invalidate`].
    pub(crate) fn retry_invalidate(&self) -> Result {
        let ready = self.invalidate_all(&mut self.state.lock())?;
        // Freed without holding the lock.
        drop(ready);

        Ok(())
    }

    /// Unmaps everything, so that the GPU uses none of the page tables any longer, except the root.
    /// All jobs that run afterwards fail, even if this fails.
    ///
    /// If a mapping cannot be unmapped, this continues with the others, invalidates the TLB and
    /// frees the memory that has been unmapped. Further calls retry the rest, and do nothing if
    /// there is none.
    ///
    /// Context: may sleep; takes the table lock and the hardware lock. Allocates nothing, and frees
    /// what was mapped.
    ///
    /// # Errors
    ///
    /// The first of these:
    ///
    /// - [`EBUSY`] if the firmware has changed an entry. The mappings below it remain.
    /// - [`ETIMEDOUT`] if the TLB has not been invalidated in time. Nothing is freed then.
    /// - [`EIO`] if an earlier update of the page tables was interrupted.
    /// - [`ENODEV`] if the device is unbound. If that happened during an update of the page tables,
    ///   all further calls fail.
    pub(crate) fn teardown(&self) -> Result {
        let (result, ready) = self.unmap_all();
        // Freed without holding the lock.
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

    /// Invalidates the TLB, even if an earlier invalidation has timed out, and returns what the GPU
    /// can no longer reach.
    fn invalidate_all(&self, state: &mut State) -> Result<ReadyFrees> {
        // If an update was interrupted, the page tables may still map what it was to remove.
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
}

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
impl Vmm {
    /// Calls `visit` with the address of each linked table that is not the firmware's, under the
    /// table lock.
    pub(crate) fn for_each_table(&self, visit: &mut dyn FnMut(VramAddress)) {
        self.state.lock().tables.for_each_owned(visit);
    }

    /// Returns whether something is kept that the GPU may still reach.
    pub(crate) fn has_deferred(&self) -> bool {
        !self.state.lock().deferred.is_empty()
    }
}

/// Checks the limits of an address space, and returns the numbers of its pages.
fn check_limits(hw: &MmuHw, limits: Range<Vfn>) -> Result<Range<u64>> {
    if limits.is_empty() || limits.end.address().into_raw() > 1 << hw.format().va_bits() {
        return Err(EINVAL);
    }

    Ok(limits.start.into_raw()..limits.end.into_raw())
}

impl State {
    /// Unmaps everything that can be unmapped, except the pages that the firmware uses. Returns the
    /// first error.
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

    /// Unmaps what can be unmapped of `pages`, which the firmware does not use, in one update if
    /// possible.
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

    /// Unmaps `pages`, which consist of whole mappings and unmapped pages.
    fn unmap(&mut self, hw: &MmuHw, pages: &Range<u64>) -> Result {
        let Self {
            tables,
            vmas,
            deferred,
            ..
        } = self;
        let removed = deferred.others();
        let mut vram = hw.vram();
        // The caller invalidates the TLB once for all of them.
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

    /// Returns whether the GPU may use memory that this owns.
    fn is_in_use(&self) -> bool {
        !self.vmas.is_empty() || !self.deferred.is_empty() || !self.tables.is_intact()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if !self.is_in_use() {
            return;
        }

        // The GPU may access this VRAM. Kernel memory is freed.
        self.vmas.leak_on_drop();
        self.tables.leak_on_drop();
        self.deferred.leak_on_drop();
    }
}

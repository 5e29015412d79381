// SPDX-License-Identifier: GPL-2.0

//! Address spaces of the GPU.
//!
//! What is mapped is changed by jobs, in three stages that can be run by different threads, as the
//! jobs of a scheduler are:
//!
//! 1. *Submit* ([`Vmm::submit_map`] and its kin) allocates everything that the job may need. It may
//!    fail, and until the next stage the job can be cancelled, which leaves nothing behind.
//! 2. *Run* ([`Submitted::run`](job::Submitted::run)) changes the page tables and invalidates the
//!    TLB. The signalling of a DMA fence may wait for it: it neither allocates nor frees memory,
//!    nor does it take a lock under which anybody does.
//! 3. *Clean up* ([`Ran::cleanup`](job::Ran::cleanup)) frees what is not needed any more.
//!
//! # Locks
//!
//! In this order:
//!
//! 1. the table lock of an address space, in *run* only;
//! 2. the hardware lock, the `Mutex<Mmu>`.
//!
//! Nobody allocates or frees VRAM or memory for a table while holding one of them. The lock of the
//! virtual addresses and those of the VRAM allocators are not taken in *run*, and nothing else is
//! locked while they are held.
//!
//! # What the TLB holds
//!
//! Virtual addresses, VRAM and page tables that are taken out in *run* are kept until the TLB has
//! been invalidated. If that times out, the job fails and they stay in quarantine: the next job
//! whose invalidation is acknowledged releases them.

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
    format::Format,
    mmio::Mmio,
    mmu::Mmu,
    stack::Stack,
    tables::{
        ForeignEntry,
        Node,
        PageTables,
        Spares,
        Work, //
    },
    tlb::TlbScope,
    va::{
        VaRange,
        VaRequest,
        VaSpace, //
    },
    vram::VramAllocator, //
};

pub(crate) mod job;

mod records;
use self::records::Records;

mod retired;
use self::retired::{
    keep_tables,
    Quarantine,
    Released, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod tests;

/// An address space of the GPU, whose page tables are of format `F`.
///
/// [`Self::teardown`] has to be called before the last reference is dropped, unless nothing is
/// mapped: the GPU may use the page tables until then. If it is not called, or fails, the VRAM of
/// the tables and the mapped VRAM [stay allocated](crate::mm::vram::Vram::keep_allocated).
#[pin_data]
pub(crate) struct Vmm<F: Format> {
    /// Address of the root of the page tables.
    pdb: VramAddress,
    /// What caches entries of this address space.
    scope: TlbScope,
    /// The virtual addresses.
    va: Arc<VaSpace>,
    /// The virtual addresses that the firmware uses.
    _foreign: KVec<Arc<VaRange>>,
    /// Entries of the firmware that could not be decoded.
    unknown: Option<UnknownEntries>,
    /// Where the page tables come from.
    memory: VramAllocator,
    /// The table lock.
    #[pin]
    state: Mutex<State<F>>,
}

/// What the table lock protects.
struct State<F> {
    tables: PageTables<F>,
    records: Records,
    quarantine: Quarantine,
    /// Tables that an interrupted change has unlinked. The GPU may still reach them.
    cut_off: Stack<Node>,
    /// Whether [`Vmm::teardown`] has been called, after which all jobs fail.
    is_closed: bool,
    /// For [`Vmm::teardown`]. Always empty, since it never splits a large page.
    spares: Spares,
}

/// Entries of the firmware that could not be decoded, so that their addresses are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownEntries {
    /// The first one.
    pub(crate) first: ForeignEntry,
    /// Number of these entries.
    pub(crate) count: u64,
    /// Number of pages of 4 KiB that they span.
    pub(crate) pages: u64,
}

impl UnknownEntries {
    /// Adds `entry` to those `found` before.
    fn with(found: Option<Self>, entry: ForeignEntry) -> Self {
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

impl<F: Format> Vmm<F> {
    /// Creates an address space with page tables of its own, which maps nothing.
    ///
    /// Its addresses are `limits`; `memory` is where its tables come from.
    ///
    /// Context: may sleep; allocates, and takes the hardware lock.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `limits` is empty, or not within what the format can address.
    /// - [`ENOSPC`] if there is no VRAM left.
    /// - [`ENOMEM`] if there is no memory.
    /// - Those of [`PraminWindow::write64`](crate::mm::pramin::PraminWindow::write64).
    pub(crate) fn new(
        limits: Range<Vfn>,
        memory: VramAllocator,
        mmu: &Mutex<Mmu>,
        bar: &dyn Mmio,
    ) -> Result<Arc<Self>> {
        let va = VaSpace::new::<F>(limits)?;
        let tables = PageTables::new(&memory, mmu, bar)?;

        Self::with_tables(tables, va, KVec::new(), None, TlbScope::All, memory)
    }

    /// Takes over the address space of a BAR, whose root `pdb` belongs to the firmware.
    ///
    /// Mappings of the firmware in `limits` are preserved and their addresses reserved. So are the
    /// addresses of [entries that could not be decoded](Self::unknown_entries).
    ///
    /// Context: may sleep; allocates, and takes the hardware lock.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`].
    pub(crate) fn of_bar(
        pdb: VramAddress,
        limits: Range<Vfn>,
        memory: VramAllocator,
        mmu: &Mutex<Mmu>,
        bar: &dyn Mmio,
    ) -> Result<Arc<Self>> {
        let pages = limits.start.into_raw()..limits.end.into_raw();
        let va = VaSpace::new::<F>(limits)?;

        let mut foreign = KVec::new();
        let mut unknown = None;
        let tables = PageTables::import(pdb, &pages, mmu, bar, &mut |entry| {
            let pages = Vfn::new(entry.start)?..Vfn::new(entry.end)?;
            foreign.push(va.reserve(VaRequest::Fixed(pages))?, GFP_KERNEL)?;
            if !entry.is_known {
                unknown = Some(UnknownEntries::with(unknown, entry));
            }

            Ok(())
        })?;

        Self::with_tables(tables, va, foreign, unknown, TlbScope::Hub, memory)
    }

    fn with_tables(
        tables: PageTables<F>,
        va: Arc<VaSpace>,
        foreign: KVec<Arc<VaRange>>,
        unknown: Option<UnknownEntries>,
        scope: TlbScope,
        memory: VramAllocator,
    ) -> Result<Arc<Self>> {
        let state = State {
            spares: Spares::none::<F>(&memory)?,
            is_closed: false,
            records: Records::new(),
            quarantine: Quarantine::new(),
            cut_off: Stack::new(),
            tables,
        };

        Arc::pin_init(
            pin_init!(Self {
                pdb: state.tables.root(),
                scope,
                va,
                _foreign: foreign,
                unknown,
                memory,
                state <- new_mutex!(state, "nova_mm_tables"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the address of the root of the page tables, the page directory base.
    pub(crate) fn pdb(&self) -> VramAddress {
        self.pdb
    }

    /// Returns the entries of the firmware that could not be decoded when the tables were adopted.
    pub(crate) fn unknown_entries(&self) -> Option<&UnknownEntries> {
        self.unknown.as_ref()
    }

    /// Takes virtual addresses; they are given back when the last reference to them is dropped, and
    /// nothing is mapped there.
    ///
    /// Context: may sleep; allocates.
    ///
    /// # Errors
    ///
    /// As for [`VaSpace::reserve`].
    pub(crate) fn reserve(&self, request: VaRequest) -> Result<Arc<VaRange>> {
        self.va.reserve(request)
    }

    /// Unmaps everything, so that the GPU uses none of the page tables any more, except for the
    /// root. All jobs that run afterwards fail, even if this has failed.
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
    /// - Others if the hardware could not be accessed. If that was in the middle of a change, all
    ///   further calls fail with [`EIO`].
    pub(crate) fn teardown(&self, mmu: &Mutex<Mmu>, bar: &dyn Mmio) -> Result {
        let (result, released) = self.unmap_all(mmu, bar);
        // Free it without holding the locks.
        drop(released);

        result
    }

    fn unmap_all(&self, mmu: &Mutex<Mmu>, bar: &dyn Mmio) -> (Result, Released) {
        let mut state = self.state.lock();
        let mut mmu = mmu.lock();

        state.is_closed = true;
        if !state.tables.is_intact() {
            return (Err(EIO), Released::empty());
        }
        let unmapped = state.unmap_all(&mut mmu, bar);

        match self.release_all(&mut state, &mut mmu, bar) {
            Ok(released) => (unmapped, released),
            Err(e) => (unmapped.and(Err(e)), Released::empty()),
        }
    }

    /// Invalidates the TLB if the quarantine is not empty, and empties it.
    fn release_all(&self, state: &mut State<F>, mmu: &mut Mmu, bar: &dyn Mmio) -> Result<Released> {
        if state.quarantine.is_empty() {
            return Ok(Released::empty());
        }
        let acknowledged = PageTables::<F>::unflushed(mmu.pramin.window(bar))?.invalidate(
            &mut mmu.tlb,
            bar,
            self.pdb,
            self.scope,
        )?;

        Ok(state.quarantine.release(acknowledged))
    }
}

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
impl<F: Format> Vmm<F> {
    /// Calls `visit` with the address of each table that is not the firmware's, under the table
    /// lock.
    pub(crate) fn for_each_table(&self, visit: &mut dyn FnMut(VramAddress)) {
        self.state.lock().tables.for_each_owned(visit);
    }

    /// Returns whether something is in quarantine.
    pub(crate) fn is_quarantined(&self) -> bool {
        !self.state.lock().quarantine.is_empty()
    }
}

impl<F: Format> State<F> {
    /// Unmaps all records that can be unmapped, and moves them to the quarantine. Returns the first
    /// error.
    fn unmap_all(&mut self, mmu: &mut Mmu, bar: &dyn Mmio) -> Result {
        let mut result = Ok(());
        let mut next = 0;

        while let Some(pages) = self.records.first_from(next) {
            next = pages.end;
            result = result.and(self.unmap_record(&pages, mmu, bar));
            if !self.tables.is_intact() {
                break;
            }
        }

        result
    }

    /// Unmaps `pages`, which are a whole record, and moves the record to the quarantine.
    fn unmap_record(&mut self, pages: &Range<u64>, mmu: &mut Mmu, bar: &dyn Mmio) -> Result {
        let mut tables = Stack::new();
        let work = Work {
            spares: &mut self.spares,
            retired: &mut tables,
            window: mmu.pramin.window(bar),
        };
        // The caller invalidates the TLB once for all records.
        let unmapped = self.tables.unmap(pages, work).map(|_| ());

        if unmapped.is_ok() {
            let retired = self.quarantine.teardown();
            retired.tables.append(&mut tables);
            self.records.take(pages.start, &mut retired.records);
        } else {
            self.cut_off.append(&mut tables);
        }

        unmapped
    }
}

impl<F> State<F> {
    /// Returns whether the GPU may use something that this owns.
    fn is_in_use(&self) -> bool {
        !self.records.is_empty() || !self.quarantine.is_empty() || !self.tables.is_intact()
    }
}

impl<F> Drop for State<F> {
    fn drop(&mut self) {
        if !self.is_in_use() {
            return;
        }

        // The GPU may access this VRAM. Kernel memory is freed.
        self.records.keep_vram();
        self.tables.keep_allocated();
        self.quarantine.keep_vram();
        keep_tables(&mut self.cut_off);
    }
}

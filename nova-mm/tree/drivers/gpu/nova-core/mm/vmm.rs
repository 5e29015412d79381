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
    tables::{
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

mod kept;
use self::kept::Kept;

mod records;
use self::records::{
    Records,
    Reservation, //
};

mod retired;
use self::retired::{
    Quarantine,
    Released,
    Retired, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod tests;

/// An address space of the GPU, whose page tables are of format `F`.
///
/// [`Self::teardown`] has to be called before the last reference is dropped, unless nothing is
/// mapped: the GPU may use the page tables until then. If it is not, they and all that is mapped
/// are lost rather than freed.
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
    /// Where the page tables come from.
    memory: VramAllocator,
    /// The table lock.
    #[pin]
    state: Mutex<Kept<F>>,
}

/// What the table lock protects.
struct State<F> {
    tables: PageTables<F>,
    records: Records,
    quarantine: Quarantine,
    /// What [`Vmm::teardown`] needs; [`None`] once it has been called.
    exit: Option<Exit>,
}

/// What it takes to unmap everything.
struct Exit {
    /// None: nothing is split.
    spares: Spares,
    /// Not used up either.
    spare: Reservation,
    /// For what is taken out.
    retired: KBox<Retired>,
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

        Self::with_tables(tables, va, KVec::new(), TlbScope::All, memory)
    }

    /// Takes over the address space of a BAR, whose root `pdb` belongs to the firmware.
    ///
    /// What the firmware has mapped in `limits` stays as it is; the addresses count as in use.
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
        let tables = PageTables::import(pdb, &pages, mmu, bar, &mut |pages| {
            let pages = Vfn::new(pages.start)?..Vfn::new(pages.end)?;
            foreign.push(va.reserve(VaRequest::Fixed(pages))?, GFP_KERNEL)?;

            Ok(())
        })?;

        Self::with_tables(tables, va, foreign, TlbScope::Hub, memory)
    }

    fn with_tables(
        tables: PageTables<F>,
        va: Arc<VaSpace>,
        foreign: KVec<Arc<VaRange>>,
        scope: TlbScope,
        memory: VramAllocator,
    ) -> Result<Arc<Self>> {
        let state = Kept::new(State {
            exit: Some(Exit {
                spares: Spares::none::<F>(&memory)?,
                spare: Reservation::new(GFP_KERNEL)?,
                retired: Retired::new()?,
            }),
            records: Records::new(),
            quarantine: Quarantine::new(),
            tables,
        })?;

        Arc::pin_init(
            pin_init!(Self {
                pdb: state.tables.root(),
                scope,
                va,
                _foreign: foreign,
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
    /// root. No job can be run afterwards.
    ///
    /// If the TLB is not invalidated in time it can be called again.
    ///
    /// Context: may sleep; takes the table lock and the hardware lock. Allocates nothing, and frees
    /// what was mapped.
    ///
    /// # Errors
    ///
    /// As for [`Ran::cleanup`](job::Ran::cleanup).
    pub(crate) fn teardown(&self, mmu: &Mutex<Mmu>, bar: &dyn Mmio) -> Result {
        // The locks are not held any more when it is freed.
        self.unmap_all(mmu, bar).map(drop)
    }

    fn unmap_all(&self, mmu: &Mutex<Mmu>, bar: &dyn Mmio) -> Result<Released> {
        let mut state = self.state.lock();
        let mut mmu = mmu.lock();
        let mmu = &mut *mmu;

        state.unmap_all(mmu, bar)?;
        if state.quarantine.is_empty() {
            return Ok(Released::new());
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
    /// Takes everything that is mapped out of the page tables and into quarantine.
    fn unmap_all(&mut self, mmu: &mut Mmu, bar: &dyn Mmio) -> Result {
        if !self.tables.is_intact() {
            return Err(EIO);
        }
        let Some(mut exit) = self.exit.take() else {
            // What could not be unmapped before cannot be unmapped now.
            return if self.records.is_empty() {
                Ok(())
            } else {
                Err(EIO)
            };
        };

        let mut spare = Some(exit.spare);
        let mut result = Ok(());
        while let (Some(pages), Some(node)) = (self.records.first(), spare.take()) {
            let work = Work {
                spares: &mut exit.spares,
                retired: &mut exit.retired.tables,
                window: mmu.pramin.window(bar),
            };
            // The TLB is invalidated once, when everything has been unmapped.
            result = self.tables.unmap(&pages, work).map(|_| ());
            if result.is_err() {
                break;
            }
            spare = self.records.remove(&pages, node, &mut exit.retired.records);
        }
        self.quarantine.push(exit.retired);

        result
    }
}

impl<F> State<F> {
    /// Returns whether the GPU may use something that this owns.
    fn is_in_use(&self) -> bool {
        !self.records.is_empty() || !self.quarantine.is_empty() || !self.tables.is_intact()
    }
}

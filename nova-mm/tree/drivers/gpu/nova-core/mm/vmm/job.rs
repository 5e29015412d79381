// SPDX-License-Identifier: GPL-2.0

//! Jobs: changes of what is mapped in an address space, stage by stage.

use core::ops::Range;

use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::mm::{
    address::{
        Vfn,
        VramAddress,
        PAGE_SIZE, //
    },
    format::{
        Format,
        Pte, //
    },
    mmio::Mmio,
    mmu::Mmu,
    tables::{
        PageTables,
        Spares,
        Unflushed,
        Work, //
    },
    va::VaRange,
    vmm::{
        records::{
            Record,
            Records,
            Reservation, //
        },
        retired::{
            Released,
            Retired, //
        },
        State,
        Vmm, //
    },
    vram::Vram, //
};

/// What may be done with mapped memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reading. Writes fault.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

impl Access {
    fn is_read_only(self) -> bool {
        self == Self::ReadOnly
    }
}

/// Memory that is to be mapped.
#[derive(Clone)]
pub(crate) struct Memory {
    /// The memory.
    pub(crate) vram: Arc<Vram>,
    /// Offset into it of the first byte that is mapped, in bytes; a multiple of [`PAGE_SIZE`].
    pub(crate) offset: u64,
}

/// What a job does.
enum Operation {
    Map {
        memory: Memory,
        access: Access,
        node: Option<Reservation>,
    },
    Unmap,
    Protect(Access),
}

impl Operation {
    /// Makes the change to the page tables.
    fn change<'w, F: Format>(
        &self,
        tables: &mut PageTables<F>,
        pages: &Range<u64>,
        work: Work<'_, 'w>,
    ) -> Result<Unflushed<'w>> {
        match self {
            Self::Map { memory, access, .. } => tables.map(
                pages,
                memory.vram.ranges(),
                memory.offset / PAGE_SIZE,
                access.is_read_only(),
                work,
            ),
            Self::Unmap => tables.unmap(pages, work),
            Self::Protect(access) => tables.protect(pages, access.is_read_only(), work),
        }
    }
}

impl<F: Format> Vmm<F> {
    /// Submits a job that maps `memory` at `pages`, a part of `va`, in place of whatever is mapped
    /// there when it is run.
    ///
    /// Pages of 2 MiB are used where the addresses on both sides allow it. The addresses and the
    /// memory are kept until they are not mapped any more and the GPU has forgotten them.
    ///
    /// Context: may sleep; allocates.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `va` is of another address space or does not contain `pages`, `pages` is
    ///   empty, the offset is misaligned, there is not enough memory behind it, or it lies where
    ///   the page tables cannot name it.
    /// - [`ENOSPC`] if there is no VRAM left for tables.
    /// - [`ENOMEM`] if there is no memory.
    pub(crate) fn submit_map(
        self: &Arc<Self>,
        va: &Arc<VaRange>,
        pages: Range<Vfn>,
        memory: Memory,
        access: Access,
    ) -> Result<Submitted<F>> {
        let numbers = self.check(va, &pages)?;
        let skip = memory.skipped_pages()?;
        memory.check_encodable::<F>()?;

        let spares = Spares::for_map::<F>(&numbers, memory.vram.ranges(), skip, &self.memory)?;
        let operation = Operation::Map {
            memory,
            access,
            node: Some(Reservation::new(GFP_KERNEL)?),
        };

        Submitted::new(self, va, numbers, operation, spares)
    }

    /// Submits a job that takes away what is mapped at `pages`, a part of `va`, when it is run.
    ///
    /// It does not matter whether it has been mapped in one piece, or at all. A page of 2 MiB that
    /// is mapped only in part then becomes pages of 4 KiB.
    ///
    /// Context: may sleep; allocates.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `va` is of another address space or does not contain `pages`, or `pages` is
    ///   empty.
    /// - [`ENOSPC`] if there is no VRAM left for tables.
    /// - [`ENOMEM`] if there is no memory.
    pub(crate) fn submit_unmap(
        self: &Arc<Self>,
        va: &Arc<VaRange>,
        pages: Range<Vfn>,
    ) -> Result<Submitted<F>> {
        self.submit_change(va, pages, Operation::Unmap)
    }

    /// Submits a job that changes what may be done with what is mapped at `pages`, a part of `va`,
    /// when it is run.
    ///
    /// Context: may sleep; allocates.
    ///
    /// # Errors
    ///
    /// As for [`Self::submit_unmap`].
    pub(crate) fn submit_protect(
        self: &Arc<Self>,
        va: &Arc<VaRange>,
        pages: Range<Vfn>,
        access: Access,
    ) -> Result<Submitted<F>> {
        self.submit_change(va, pages, Operation::Protect(access))
    }

    fn submit_change(
        self: &Arc<Self>,
        va: &Arc<VaRange>,
        pages: Range<Vfn>,
        operation: Operation,
    ) -> Result<Submitted<F>> {
        let numbers = self.check(va, &pages)?;
        // No page reaches beyond the addresses that it is mapped in, so none is split there.
        let spares = if pages == va.pages() {
            Spares::none::<F>(&self.memory)?
        } else {
            Spares::for_split::<F>(&numbers, &self.memory)?
        };

        Submitted::new(self, va, numbers, operation, spares)
    }

    /// Checks that `pages` are a part of `va`, which is of this address space, and returns their
    /// numbers.
    fn check(&self, va: &VaRange, pages: &Range<Vfn>) -> Result<Range<u64>> {
        if !va.is_of(&self.va) || !va.contains(pages) {
            return Err(EINVAL);
        }

        Ok(pages.start.into_raw()..pages.end.into_raw())
    }
}

impl Memory {
    /// Returns how many pages lie before the first one that is mapped.
    fn skipped_pages(&self) -> Result<u64> {
        if self.offset % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }

        Ok(self.offset / PAGE_SIZE)
    }

    /// Checks that entries can name the memory, so that mapping it cannot fail.
    fn check_encodable<F: Format>(&self) -> Result {
        let last_level = F::LEVELS.last().ok_or(EINVAL)?;
        let size = last_level.leaf.ok_or(EINVAL)?;

        for range in self.vram.ranges() {
            let last_page = range.end.into_raw().checked_sub(PAGE_SIZE).ok_or(EINVAL)?;
            F::encode_pte(&Pte::vram(VramAddress::new(last_page), false), size)?;
        }

        Ok(())
    }
}

/// A job that has everything it needs and has not done anything yet.
///
/// Dropping it cancels it: what was allocated for it is freed, which may sleep.
#[must_use = "a job that is dropped is cancelled"]
pub(crate) struct Submitted<F: Format> {
    vmm: Arc<Vmm<F>>,
    va: Arc<VaRange>,
    pages: Range<u64>,
    operation: Operation,
    spares: Spares,
    /// For the record that is cut in two.
    spare: Option<Reservation>,
    /// For what is taken out.
    retired: Option<KBox<Retired>>,
}

impl<F: Format> Submitted<F> {
    fn new(
        vmm: &Arc<Vmm<F>>,
        va: &Arc<VaRange>,
        pages: Range<u64>,
        operation: Operation,
        spares: Spares,
    ) -> Result<Self> {
        Ok(Self {
            vmm: vmm.clone(),
            va: va.clone(),
            pages,
            operation,
            spares,
            spare: Some(Reservation::new(GFP_KERNEL)?),
            retired: Some(Retired::new()?),
        })
    }

    /// Cancels the job.
    ///
    /// Context: may sleep.
    pub(crate) fn cancel(self) {}

    /// Runs the job: changes the page tables and invalidates the TLB, once.
    ///
    /// Context: may sleep; takes the table lock and the hardware lock, and neither allocates nor
    /// frees, so that the signalling of a DMA fence may wait for it.
    pub(crate) fn run(mut self, mmu: &Mutex<Mmu>, bar: &dyn Mmio) -> Ran<F> {
        let result = self.execute(mmu, bar);

        Ran { job: self, result }
    }

    fn execute(&mut self, mmu: &Mutex<Mmu>, bar: &dyn Mmio) -> Result<Released> {
        let vmm = self.vmm.clone();
        let mut state = vmm.state.lock();
        let State {
            tables,
            records,
            quarantine,
            is_closed,
            ..
        } = &mut *state;
        if *is_closed {
            return Err(ENODEV);
        }
        if !tables.is_intact() {
            // Nothing is taken out of the records and thought to be unmapped.
            return Err(EIO);
        }
        let mut retired = self.retired.take().ok_or(EINVAL)?;

        let mut mmu = mmu.lock();
        let mmu = &mut *mmu;
        let work = Work {
            spares: &mut self.spares,
            retired: &mut retired.tables,
            window: mmu.pramin.window(bar),
        };
        let changed = self.operation.change(tables, &self.pages, work);
        if changed.is_err() && tables.is_intact() {
            self.retired = Some(retired);
            return changed.map(|_| Released::empty());
        }

        // If only a part of the change has been made, the GPU may reach what was mapped before and
        // what was to be mapped.
        self.record(records, &mut retired);
        let has_older = !quarantine.is_empty();
        quarantine.push(retired);

        let mut changed = changed?;
        if has_older {
            // Of what was taken out then, accesses may be on their way.
            changed.downgrade();
        }
        let acknowledged = changed.invalidate(&mut mmu.tlb, bar, vmm.pdb, vmm.scope)?;

        Ok(quarantine.release(acknowledged))
    }

    /// Brings the records of what is mapped up to date.
    fn record(&mut self, records: &mut Records, retired: &mut Retired) {
        if matches!(self.operation, Operation::Protect(_)) {
            return;
        }
        if let Some(spare) = self.spare.take() {
            self.spare = records.remove(&self.pages, spare, &mut retired.records);
        }

        if let Operation::Map { memory, node, .. } = &mut self.operation {
            if let Some(node) = node.take() {
                let record = Record::new(self.pages.end, self.va.clone(), memory.vram.clone());
                records.insert(self.pages.start, record, node);
            }
        }
    }
}

/// A job that has been run. What it does not need any more is still allocated.
#[must_use = "whether the job has failed is told by `cleanup`"]
pub(crate) struct Ran<F: Format> {
    /// What is left of what was allocated for it.
    job: Submitted<F>,
    result: Result<Released>,
}

impl<F: Format> Ran<F> {
    /// Returns whether the job has failed, without freeing anything.
    ///
    /// Context: any.
    ///
    /// # Errors
    ///
    /// As for [`Self::cleanup`].
    pub(crate) fn result(&self) -> Result {
        match &self.result {
            Ok(_) => Ok(()),
            Err(e) => Err(*e),
        }
    }

    /// Frees what is not needed any more, and returns whether the job has failed.
    ///
    /// Context: may sleep.
    ///
    /// # Errors
    ///
    /// - [`ETIMEDOUT`] if the TLB has not been invalidated in time. The change has been made in the
    ///   page tables, but the GPU may go on using what was there before. Nothing of that is freed
    ///   before a later job of the address space has been acknowledged.
    /// - [`EBUSY`] if the firmware has changed an entry that the job needs. Nothing has been
    ///   changed.
    /// - [`ENODEV`] if the address space has been torn down. Nothing has been changed.
    /// - Others if the hardware could not be accessed. The address space cannot be used any more.
    pub(crate) fn cleanup(self) -> Result {
        self.cleanup_or_return().0
    }

    /// Does the same, and returns the job if it has failed without changing anything, so that the
    /// caller can run it again.
    ///
    /// Context: may sleep.
    pub(crate) fn cleanup_or_return(self) -> (Result, Option<Submitted<F>>) {
        let Self { job, result } = self;
        // A job that changes something hands this to the quarantine.
        let is_unchanged = job.retired.is_some();

        (result.map(drop), is_unchanged.then_some(job))
    }
}

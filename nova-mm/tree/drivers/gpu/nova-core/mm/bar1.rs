// SPDX-License-Identifier: GPL-2.0

//! BAR1, through which the CPU accesses an address space of the GPU.
//!
//! The GSP firmware owns the root of that address space and tells where it is. [`Bar1`] adds
//! mappings to it and takes them out again, next to what the firmware maps there.

use core::ops::Range;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::{
    mm::{
        address::{
            PageSize,
            Vfn,
            VirtualAddress,
            VramAddress,
            PAGE_SIZE, //
        },
        flag::Flag,
        format::Format,
        mmio::Mmio,
        mmu::Mmu,
        stack::{
            Link,
            Stack, //
        },
        va::VaRequest,
        vmm::{
            job::{
                Access,
                Memory,
                Submitted, //
            },
            UnknownEntries,
            Vmm, //
        },
        vram::VramAllocator, //
    },
    num::{
        u64_as_usize,
        usize_as_u64, //
    }, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod tests;

/// Finds BAR1 among the resources of the PCI device, and returns the number of its resource and its
/// size; `len` returns the size of a resource in bytes.
///
/// On some chips, BAR0 is 64 bits wide and takes two resources. The second one has no size, and
/// BAR1 comes after it.
///
/// # Errors
///
/// - [`ENODEV`] if neither of the two resources has a size: BAR1 is disabled, or did not fit into
///   the address space of the bus.
/// - Any error of `len`.
pub(crate) fn find_resource(len: impl Fn(u32) -> Result<u64>) -> Result<(u32, u64)> {
    for number in [1, 2] {
        let size = len(number)?;
        if size > 0 {
            return Ok((number, size));
        }
    }

    Err(ENODEV)
}

/// The address space behind BAR1.
///
/// An address in it is an offset into BAR1.
///
/// Addresses are allocated from its end downwards. Firmware and boot loaders leave the console at
/// offset 0 of BAR1, and efifb may continue to draw there, which would overwrite any memory mapped
/// at these addresses. The size of the console is not known, so its addresses are used last rather
/// than excluded.
///
/// [`Self::teardown`] has to be called before the GSP is shut down and before the driver is
/// unbound, since the GPU uses the page tables until then.
#[pin_data]
pub(crate) struct Bar1<F: Format> {
    vmm: Arc<Vmm<F>>,
    /// What unmaps the mappings that were dropped. Nothing is locked or allocated under this lock.
    #[pin]
    dropped: Mutex<Stack<Exit<F>>>,
    /// Whether [`Self::teardown`] has been called.
    is_closed: Flag,
}

/// What it takes to unmap a mapping.
struct Exit<F: Format> {
    /// [`None`] if it is unmapped.
    job: Option<Submitted<F>>,
    below: Option<KBox<Exit<F>>>,
}

impl<F: Format> Exit<F> {
    /// Unmaps the mapping. If nothing has been changed, it can be called again.
    fn run(&mut self, mmu: &Mutex<Mmu>, bar0: &dyn Mmio) -> Result {
        let Some(job) = self.job.take() else {
            return Ok(());
        };
        let (result, job) = job.run(mmu, bar0).cleanup_or_return();
        self.job = job;

        result
    }
}

impl<F: Format> Link for Exit<F> {
    fn below(&mut self) -> &mut Option<KBox<Self>> {
        &mut self.below
    }
}

impl<F: Format> Bar1<F> {
    /// Takes over the address space with the root `root`, for a BAR1 of `size` bytes.
    ///
    /// `memory` is where page tables come from.
    ///
    /// Context: may sleep; allocates, and takes the hardware lock.
    ///
    /// # Errors
    ///
    /// As for [`Vmm::of_bar`].
    pub(crate) fn new(
        root: VramAddress,
        size: u64,
        memory: VramAllocator,
        mmu: &Mutex<Mmu>,
        bar0: &dyn Mmio,
    ) -> Result<Arc<Self>> {
        let pages = Vfn::new(0)?..Vfn::new(size / PAGE_SIZE)?;
        let vmm = Vmm::of_bar(root, pages, memory, mmu, bar0)?;

        Arc::pin_init(
            pin_init!(Self {
                vmm,
                dropped <- new_mutex!(Stack::new(), "nova_mm_bar1"),
                is_closed: Flag::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the address of the root of the page tables.
    pub(crate) fn root(&self) -> VramAddress {
        self.vmm.pdb()
    }

    /// Returns the entries of the firmware's page tables that could not be decoded when the address
    /// space was adopted. Their addresses are not used.
    pub(crate) fn unknown_entries(&self) -> Option<&UnknownEntries> {
        self.vmm.unknown_entries()
    }

    /// Maps `size` bytes of `memory`, a multiple of [`PAGE_SIZE`], so that the CPU can access them.
    ///
    /// Context: may sleep; allocates, and takes the locks of an address space.
    ///
    /// # Errors
    ///
    /// - [`ENODEV`] after [`Self::teardown`].
    /// - As for [`Vmm::reserve`], [`Vmm::submit_map`] and [`Ran::cleanup`]. If the TLB is not
    ///   invalidated in time, the next operation on BAR1 removes the mapping again.
    ///
    /// [`Ran::cleanup`]: crate::mm::vmm::job::Ran::cleanup
    pub(crate) fn map(
        self: &Arc<Self>,
        memory: Memory,
        size: u64,
        access: Access,
        mmu: &Mutex<Mmu>,
        bar0: &dyn Mmio,
    ) -> Result<Bar1Mapping<F>> {
        if self.is_closed.is_set() {
            return Err(ENODEV);
        }
        // Later operations retry mappings that cannot be unmapped now. They matter only if their
        // addresses are needed.
        let unmapped = self.unmap_dropped(mmu, bar0);
        let va = self.vmm.reserve(request(size)?);
        if va.as_ref().is_err_and(|e| *e == ENOSPC) {
            unmapped?;
        }
        let va = va?;
        let pages = va.pages();
        let job = self.vmm.submit_map(&va, pages.clone(), memory, access)?;
        let exit = Exit {
            job: Some(self.vmm.submit_unmap(&va, pages.clone())?),
            below: None,
        };
        let mut mapping = Bar1Mapping {
            bar1: self.clone(),
            range: byte_offsets(&pages),
            access,
            exit: Some(KBox::new(exit, GFP_KERNEL)?),
        };

        // From here on, dropping the mapping unmaps what has been mapped.
        let (mapped, unchanged) = job.run(mmu, bar0).cleanup_or_return();
        if unchanged.is_some() {
            mapping.exit = None;
        }

        mapped.map(|()| mapping)
    }

    /// Unmaps mappings that were dropped without being unmapped.
    ///
    /// If one mapping cannot be unmapped, this continues with the others, and the next operation
    /// retries it. If the GPU does not answer, this stops and leaves the rest for the next
    /// operation.
    ///
    /// Context: may sleep; takes the locks of an address space.
    ///
    /// # Errors
    ///
    /// The first one that there was, as for [`Ran::cleanup`](crate::mm::vmm::job::Ran::cleanup).
    pub(crate) fn unmap_dropped(&self, mmu: &Mutex<Mmu>, bar0: &dyn Mmio) -> Result {
        let mut exits = self.dropped.lock().take();
        let mut result = Ok(());

        while let Some(exit) = exits.pop() {
            let unmapped = self.unmap(exit, mmu, bar0);
            result = result.and(unmapped);
            if unmapped == Err(ETIMEDOUT) {
                break;
            }
        }
        self.dropped.lock().append(&mut exits);

        result
    }

    /// Unmaps a mapping, or queues it for the next operation if that fails.
    fn unmap(&self, mut exit: KBox<Exit<F>>, mmu: &Mutex<Mmu>, bar0: &dyn Mmio) -> Result {
        let result = exit.run(mmu, bar0);
        // After a teardown, all jobs fail.
        if exit.job.is_some() && !self.is_closed.is_set() {
            self.dropped.lock().push(exit);
        }

        result
    }

    /// Unmaps everything: mappings that are still there cannot be used any more, and no new ones
    /// can be made. What the firmware maps is not touched.
    ///
    /// If a mapping cannot be unmapped, this continues with the others. Further calls retry it.
    ///
    /// Context: may sleep; takes the locks of an address space.
    ///
    /// # Errors
    ///
    /// As for [`Vmm::teardown`].
    pub(crate) fn teardown(&self, mmu: &Mutex<Mmu>, bar0: &dyn Mmio) -> Result {
        self.is_closed.set();
        self.vmm.teardown(mmu, bar0)?;

        // There is nothing left for them to unmap. Do not free them under the lock.
        let exits = self.dropped.lock().take();
        drop(exits);

        Ok(())
    }
}

/// Returns what addresses are asked for to map `size` bytes.
fn request(size: u64) -> Result<VaRequest> {
    if size % PAGE_SIZE != 0 {
        return Err(EINVAL);
    }
    let align = if size >= PageSize::Size2M.bytes() {
        PageSize::Size2M
    } else {
        PageSize::Size4K
    };

    Ok(VaRequest::Highest {
        pages: size / PAGE_SIZE,
        align,
    })
}

/// Returns where pages lie in BAR1, in bytes.
fn byte_offsets(pages: &Range<Vfn>) -> Range<usize> {
    let offset = |address: VirtualAddress| u64_as_usize(address.into_raw());

    offset(pages.start.address())..offset(pages.end.address())
}

/// Memory that the CPU can access by way of BAR1.
///
/// Any number of them can exist at a time. A mapping that is dropped, which may sleep, is unmapped
/// by the next operation on BAR1, or at the latest by [`Bar1::teardown`]; its addresses and its
/// memory are in use until then. [`Self::unmap`] does it at once.
pub(crate) struct Bar1Mapping<F: Format> {
    bar1: Arc<Bar1<F>>,
    /// Where it lies in BAR1, in bytes.
    range: Range<usize>,
    access: Access,
    /// What unmaps it, allocated beforehand so that it cannot fail for lack of memory.
    exit: Option<KBox<Exit<F>>>,
}

impl<F: Format> Bar1Mapping<F> {
    /// Returns where it starts in BAR1, which is its address in the address space behind it.
    pub(crate) fn address(&self) -> VirtualAddress {
        VirtualAddress::new(usize_as_u64(self.range.start))
    }

    /// Returns the size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.range.end - self.range.start
    }

    /// Reads 32 bits at `offset` into the mapping, in bytes; `bar1` is BAR1.
    ///
    /// Context: any.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the access is misaligned, or not within the mapping or the BAR.
    /// - [`ENODEV`] after [`Bar1::teardown`], when the mapping no longer exists.
    pub(crate) fn read32(&self, bar1: &dyn Mmio, offset: usize) -> Result<u32> {
        bar1.read32(self.offset(offset, size_of::<u32>())?)
    }

    /// Reads 64 bits; see [`Self::read32`].
    pub(crate) fn read64(&self, bar1: &dyn Mmio, offset: usize) -> Result<u64> {
        bar1.read64(self.offset(offset, size_of::<u64>())?)
    }

    /// Writes 32 bits at `offset` into the mapping, in bytes; `bar1` is BAR1.
    ///
    /// The write is posted: it has reached VRAM once something has been read through the mapping.
    ///
    /// Context: any.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the access is misaligned, or not within the mapping or the BAR.
    /// - [`EACCES`] if the mapping is read-only.
    /// - [`ENODEV`] after [`Bar1::teardown`], when the mapping no longer exists.
    pub(crate) fn write32(&self, bar1: &dyn Mmio, value: u32, offset: usize) -> Result {
        bar1.write32(value, self.writable_offset(offset, size_of::<u32>())?)
    }

    /// Writes 64 bits; see [`Self::write32`].
    pub(crate) fn write64(&self, bar1: &dyn Mmio, value: u64, offset: usize) -> Result {
        bar1.write64(value, self.writable_offset(offset, size_of::<u64>())?)
    }

    /// Returns where an access of `width` bytes at `offset` is in BAR1.
    fn offset(&self, offset: usize, width: usize) -> Result<usize> {
        if self.bar1.is_closed.is_set() {
            return Err(ENODEV);
        }
        let end = offset.checked_add(width).ok_or(EINVAL)?;
        if end > self.size() {
            return Err(EINVAL);
        }

        Ok(self.range.start + offset)
    }

    fn writable_offset(&self, offset: usize, width: usize) -> Result<usize> {
        if self.access == Access::ReadOnly {
            return Err(EACCES);
        }

        self.offset(offset, width)
    }

    /// Unmaps the memory. If that fails, the next operation on BAR1 retries it, as for a mapping
    /// that was dropped.
    ///
    /// Context: may sleep; takes the locks of an address space.
    ///
    /// # Errors
    ///
    /// As for [`Ran::cleanup`](crate::mm::vmm::job::Ran::cleanup).
    pub(crate) fn unmap(mut self, mmu: &Mutex<Mmu>, bar0: &dyn Mmio) -> Result {
        match self.exit.take() {
            Some(exit) => self.bar1.unmap(exit, mmu, bar0),
            None => Ok(()),
        }
    }
}

impl<F: Format> Drop for Bar1Mapping<F> {
    fn drop(&mut self) {
        // The hardware cannot be accessed here: the driver may be unbound.
        if let Some(exit) = self.exit.take() {
            self.bar1.dropped.lock().push(exit);
        }
    }
}

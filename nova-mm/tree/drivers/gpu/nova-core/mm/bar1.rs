// SPDX-License-Identifier: GPL-2.0

//! BAR1, through which the CPU accesses an address space of the GPU.
//!
//! The GSP firmware owns the root page directory of that address space and reports its address.
//! [`Bar1`] maps and unmaps memory there, and preserves the firmware's mappings.

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
        format::{
            Access,
            Aperture as MemoryAperture,
            PageAttributes, //
        },
        hw::MmuHw,
        memory::{
            Backing,
            Mappable,
            Run, //
        },
        mmio::Aperture,
        stack::{
            Link,
            Stack, //
        },
        va::{
            VaRange,
            VaRequest,
            VaSpace, //
        },
        vmm::{
            Job,
            JobError,
            PdbRef,
            UnknownEntries,
            Vmm, //
        },
        vram::{
            Vram,
            VramAllocator, //
        }, //
    },
    num::{
        u64_as_usize,
        usize_as_u64, //
    }, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod tests;

/// Finds BAR1 among the resources of the PCI device, and returns its resource number and its size
/// in bytes. `len` returns the size of a resource.
///
/// On some chips, BAR0 is 64 bits wide and takes two resources. The second one has size zero, and
/// BAR1 follows it.
///
/// # Errors
///
/// - [`ENODEV`] if both candidates have size zero, because BAR1 is disabled or did not fit into the
///   address space of the bus.
/// - Errors of `len`.
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
/// A virtual address in it is an offset into BAR1.
///
/// Addresses are allocated from the end downwards. Firmware and boot loaders leave the console at
/// offset 0 of BAR1, and efifb may continue to draw there, which would overwrite any memory mapped
/// at these addresses. The size of the console is not known, so its addresses are used last rather
/// than excluded.
///
/// [`Self::teardown`] must be called before the GSP is shut down and before the driver is unbound,
/// because the GPU uses the page tables until then.
#[pin_data]
pub(crate) struct Bar1 {
    vmm: Arc<Vmm>,
    /// The BAR; [`None`] if the driver could not map it.
    aperture: Option<Aperture>,
    /// The allocator of virtual addresses.
    va: Arc<VaSpace>,
    /// The addresses that the firmware uses.
    _firmware: KVec<VaRange>,
    /// Jobs that unmap dropped mappings. No other lock is taken and no memory is allocated under
    /// this lock.
    #[pin]
    dropped: Mutex<Stack<UnmapJob>>,
    /// Whether [`Self::teardown`] has been called.
    is_closed: Flag,
}

/// A job that unmaps a mapping in BAR1.
struct UnmapJob {
    /// The job; [`None`] if it has unmapped the mapping.
    job: Option<Job>,
    /// The next object in a [`Stack`].
    below: Option<KBox<UnmapJob>>,
}

impl UnmapJob {
    /// Unmaps the mapping. Can be called again after an error that has changed nothing.
    fn run(&mut self) -> Result<(), JobError> {
        let Some(job) = &mut self.job else {
            return Ok(());
        };
        let result = job.run();
        if !matches!(result, Err(JobError::Unchanged(_))) {
            self.job = None;
        }

        result
    }
}

impl Link for UnmapJob {
    fn below(&mut self) -> &mut Option<KBox<Self>> {
        &mut self.below
    }
}

/// VRAM that is mapped in BAR1, and the virtual addresses that the mapping occupies.
struct Bar1Memory {
    vram: Arc<Vram>,
    _va: VaRange,
}

impl Mappable for Bar1Memory {
    fn aperture(&self) -> MemoryAperture {
        self.vram.aperture()
    }

    fn pages(&self) -> u64 {
        self.vram.pages()
    }

    fn last_page(&self) -> u64 {
        self.vram.last_page()
    }

    fn run(&self, page: u64) -> Option<Run> {
        self.vram.run(page)
    }

    fn leak_on_drop(&self) {
        self.vram.leak_on_drop();
    }
}

impl Bar1 {
    /// Adopts the address space with the root page directory at `pdb`, for a BAR1 of `size` bytes.
    ///
    /// Page tables are allocated from `memory`. `aperture` is the BAR. Without it, nothing can be
    /// mapped.
    ///
    /// May sleep and allocates memory; takes the hardware lock.
    ///
    /// # Errors
    ///
    /// See [`Vmm::of_bar`].
    pub(crate) fn new(
        hw: Arc<MmuHw>,
        memory: VramAllocator,
        pdb: VramAddress,
        aperture: Option<Aperture>,
        size: u64,
    ) -> Result<Arc<Self>> {
        let pages = Vfn::new(0)?..Vfn::new(size / PAGE_SIZE)?;
        let va = VaSpace::new(pages.clone(), hw.format().va_bits())?;
        let vmm = Vmm::of_bar(hw, memory, pages, pdb)?;
        let mut firmware = KVec::new();
        for used in vmm.firmware_pages() {
            let used = VaRequest::Fixed(Vfn::new(used.start)?..Vfn::new(used.end)?);
            firmware.push(va.reserve(used)?, GFP_KERNEL)?;
        }

        Arc::pin_init(
            pin_init!(Self {
                vmm,
                aperture,
                va,
                _firmware: firmware,
                dropped <- new_mutex!(Stack::new(), "nova_core_mm_bar1"),
                is_closed: Flag::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns a reference to the root page directory.
    pub(crate) fn pdb(&self) -> PdbRef {
        self.vmm.pdb()
    }

    /// Returns the firmware's page table entries that could not be decoded when the address space
    /// was adopted. Their addresses are not used.
    pub(crate) fn unknown_entries(&self) -> Option<&UnknownEntries> {
        self.vmm.unknown_entries()
    }

    /// Maps `size` bytes of `vram`, starting at byte `offset`, so that the CPU can access them.
    /// Both must be multiples of [`PAGE_SIZE`].
    ///
    /// May sleep and allocates memory; takes the locks of an address space.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `size` or `offset` is not a multiple of [`PAGE_SIZE`], or the memory is too
    ///   small.
    /// - [`ENODEV`] after [`Self::teardown`], if the device is unbound, or if the driver could not
    ///   map BAR1.
    /// - Errors of [`VaSpace::reserve`], [`Vmm::prepare_map`], and [`JobError`]. If the TLB is not
    ///   invalidated in time, the mapping is treated like a dropped one.
    pub(crate) fn map(
        self: &Arc<Self>,
        vram: &Arc<Vram>,
        offset: u64,
        size: u64,
        access: Access,
    ) -> Result<Bar1Mapping> {
        if self.is_closed.is_set() || self.aperture.is_none() {
            return Err(ENODEV);
        }
        if offset % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        self.recover()?;
        // If a dropped mapping cannot be unmapped now, a later operation retries it. The error only
        // matters if its addresses are needed.
        let unmapped = self.unmap_dropped();
        let va = self.va.reserve(request(size)?);
        if va.as_ref().is_err_and(|e| *e == ENOSPC) {
            unmapped?;
        }
        let va = va?;
        let pages = va.pages();
        let memory = Bar1Memory {
            vram: vram.clone(),
            _va: va,
        };
        let attributes = PageAttributes {
            access,
            ..PageAttributes::default()
        };
        let backing = Backing::new(
            Arc::new(memory, GFP_KERNEL)?,
            offset / PAGE_SIZE,
            attributes,
        );
        let mut job = self.vmm.prepare_map(pages.clone(), backing)?;
        let unmap = UnmapJob {
            job: Some(self.vmm.prepare_unmap(pages.clone())?),
            below: None,
        };
        let mut mapping = Bar1Mapping {
            bar1: self.clone(),
            range: byte_offsets(&pages),
            access,
            unmap: Some(KBox::new(unmap, GFP_KERNEL)?),
        };

        // From here on, dropping `mapping` unmaps the memory.
        let mapped = job.run();
        if matches!(mapped, Err(JobError::Unchanged(_))) {
            mapping.unmap = None;
        }
        mapped?;

        Ok(mapping)
    }

    fn aperture(&self) -> Result<&Aperture> {
        self.aperture.as_ref().ok_or(ENODEV)
    }

    /// Unmaps mappings that were dropped without being unmapped.
    ///
    /// If a mapping cannot be unmapped, this continues with the others, and the next operation
    /// retries it. If the GPU does not respond, this stops and leaves the remaining mappings to the
    /// next operation.
    ///
    /// May sleep; takes the locks of an address space.
    ///
    /// # Errors
    ///
    /// The first error; see [`JobError`].
    pub(crate) fn unmap_dropped(&self) -> Result {
        self.recover()?;
        let mut dropped = self.dropped.lock().take();
        let mut result = Ok(());

        while let Some(unmap) = dropped.pop() {
            let unmapped = self.unmap(unmap);
            result = result.and(unmapped.map_err(Error::from));
            if matches!(unmapped, Err(JobError::NotInvalidated(_))) {
                break;
            }
        }
        self.dropped.lock().append(&mut dropped);

        result
    }

    /// If an invalidation has timed out, retries it, so that jobs can run again.
    ///
    /// DMA fences do not wait for operations on BAR1, so this may take long.
    fn recover(&self) -> Result {
        if self.vmm.is_wedged() {
            self.vmm.retry_invalidate()?;
        }

        Ok(())
    }

    /// Unmaps a mapping, or queues it for the next operation if that fails.
    fn unmap(&self, mut unmap: KBox<UnmapJob>) -> Result<(), JobError> {
        let result = unmap.run();
        // After a teardown, all jobs fail, so queueing the job would be useless.
        if unmap.job.is_some() && !self.is_closed.is_set() {
            self.dropped.lock().push(unmap);
        }

        result
    }

    /// Unmaps everything, except the firmware's mappings. Existing [`Bar1Mapping`]s can no longer
    /// be used, and new ones cannot be created.
    ///
    /// If a mapping cannot be unmapped, this continues with the others. Further calls retry it.
    ///
    /// May sleep; takes the locks of an address space.
    ///
    /// # Errors
    ///
    /// See [`Vmm::teardown`].
    pub(crate) fn teardown(&self) -> Result {
        self.is_closed.set();
        self.vmm.teardown()?;

        // The jobs have nothing left to unmap. Free them without holding the lock.
        let dropped = self.dropped.lock().take();
        drop(dropped);

        Ok(())
    }
}

/// Returns the address request for a mapping of `size` bytes.
fn request(size: u64) -> Result<VaRequest> {
    if size % PAGE_SIZE != 0 {
        return Err(EINVAL);
    }
    let align = [PageSize::Size2M, PageSize::Size64K]
        .into_iter()
        .find(|align| size >= align.bytes())
        .unwrap_or(PageSize::Size4K);

    Ok(VaRequest::Highest {
        pages: size / PAGE_SIZE,
        align,
    })
}

/// Returns the byte offsets of pages in BAR1.
fn byte_offsets(pages: &Range<Vfn>) -> Range<usize> {
    let offset = |address: VirtualAddress| u64_as_usize(address.into_raw());

    offset(pages.start.address())..offset(pages.end.address())
}

/// Memory that the CPU can access through BAR1.
///
/// Any number of mappings can exist at a time. [`Self::unmap`] unmaps the memory immediately.
/// Dropping a mapping, which may sleep, leaves this to the next operation on BAR1, or to
/// [`Bar1::teardown`] at the latest. Its addresses and its memory stay in use until then.
pub(crate) struct Bar1Mapping {
    bar1: Arc<Bar1>,
    /// Byte offsets in BAR1.
    range: Range<usize>,
    access: Access,
    /// The job that unmaps the mapping, allocated in advance so that unmapping needs no memory.
    unmap: Option<KBox<UnmapJob>>,
}

impl Bar1Mapping {
    /// Returns the virtual address of the mapping, which is also its offset in BAR1.
    pub(crate) fn address(&self) -> VirtualAddress {
        VirtualAddress::new(usize_as_u64(self.range.start))
    }

    /// Returns the size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.range.end - self.range.start
    }

    /// Reads 32 bits at `offset` into the mapping, in bytes. Does not sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the access is misaligned, or exceeds the mapping or the BAR.
    /// - [`ENODEV`] after [`Bar1::teardown`], or if the device is unbound.
    pub(crate) fn read32(&self, offset: usize) -> Result<u32> {
        let offset = self.offset(offset, size_of::<u32>())?;

        self.bar1.aperture()?.access(|bar| bar.read32(offset))
    }

    /// Reads 64 bits; see [`Self::read32`].
    pub(crate) fn read64(&self, offset: usize) -> Result<u64> {
        let offset = self.offset(offset, size_of::<u64>())?;

        self.bar1.aperture()?.access(|bar| bar.read64(offset))
    }

    /// Writes 32 bits at `offset` into the mapping, in bytes. Does not sleep.
    ///
    /// The write is posted. A read through the mapping waits until it has arrived in VRAM.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the access is misaligned, or exceeds the mapping or the BAR.
    /// - [`EACCES`] if the mapping is read-only.
    /// - [`ENODEV`] after [`Bar1::teardown`], or if the device is unbound.
    pub(crate) fn write32(&self, value: u32, offset: usize) -> Result {
        let offset = self.writable_offset(offset, size_of::<u32>())?;

        self.bar1
            .aperture()?
            .access(|bar| bar.write32(value, offset))
    }

    /// Writes 64 bits; see [`Self::write32`].
    pub(crate) fn write64(&self, value: u64, offset: usize) -> Result {
        let offset = self.writable_offset(offset, size_of::<u64>())?;

        self.bar1
            .aperture()?
            .access(|bar| bar.write64(value, offset))
    }

    /// Returns the offset in BAR1 of an access of `width` bytes at `offset` into the mapping.
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

    /// Unmaps the memory. If this fails, the next operation on BAR1 retries it, as for a dropped
    /// mapping.
    ///
    /// May sleep; takes the locks of an address space.
    ///
    /// # Errors
    ///
    /// See [`JobError`].
    pub(crate) fn unmap(mut self) -> Result {
        match self.unmap.take() {
            Some(unmap) => Ok(self.bar1.unmap(unmap)?),
            None => Ok(()),
        }
    }
}

impl Drop for Bar1Mapping {
    fn drop(&mut self) {
        // Waiting for a GPU that does not respond takes long, so the next operation on BAR1 unmaps
        // the memory. After a teardown, nothing is left to unmap.
        if let Some(unmap) = self.unmap.take().filter(|_| !self.bar1.is_closed.is_set()) {
            self.bar1.dropped.lock().push(unmap);
        }
    }
}

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
pub(crate) struct Bar1 {
    vmm: Arc<Vmm>,
    /// The BAR; [`None`] if the driver could not map it.
    aperture: Option<Aperture>,
    /// The virtual addresses of the address space.
    va: Arc<VaSpace>,
    /// The addresses that the firmware uses.
    _firmware: KVec<VaRange>,
    /// Jobs that unmap the mappings that were dropped. Nothing is locked or allocated under this
    /// lock.
    #[pin]
    dropped: Mutex<Stack<UnmapJob>>,
    /// Whether [`Self::teardown`] has been called.
    is_closed: Flag,
}

/// Unmaps a mapping.
struct UnmapJob {
    /// [`None`] if it is unmapped.
    job: Option<Job>,
    below: Option<KBox<UnmapJob>>,
}

impl UnmapJob {
    /// Unmaps the mapping. If nothing has been changed, it can be called again.
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

/// VRAM that is mapped in BAR1, and its addresses there, which are in use for as long.
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
    /// `memory` is where page tables come from, and `aperture` the BAR, without which
    /// nothing can be mapped in it.
    ///
    /// Context: may sleep; allocates, and takes the hardware lock.
    ///
    /// # Errors
    ///
    /// As for [`Vmm::of_bar`].
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

    /// Returns the root of the page tables.
    pub(crate) fn pdb(&self) -> PdbRef {
        self.vmm.pdb()
    }

    /// Returns the entries of the firmware's page tables that could not be decoded when the address
    /// space was adopted. Their addresses are not used.
    pub(crate) fn unknown_entries(&self) -> Option<&UnknownEntries> {
        self.vmm.unknown_entries()
    }

    /// Maps `size` bytes of `vram` from `offset` on, both multiples of [`PAGE_SIZE`], so that the
    /// CPU can access them.
    ///
    /// Context: may sleep; allocates, and takes the locks of an address space.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `size` or `offset` is not a multiple of [`PAGE_SIZE`], or the memory is too
    ///   small.
    /// - [`ENODEV`] after [`Self::teardown`], if the device is unbound, or if the driver could not
    ///   map BAR1.
    /// - As for [`VaSpace::reserve`] and [`Vmm::prepare_map`], and those of [`JobError`]. If the
    ///   TLB is not invalidated in time, the mapping is removed like one that was dropped.
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
        // Later operations retry mappings that cannot be unmapped now. They matter only if their
        // addresses are needed.
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

        // From here on, dropping the mapping unmaps what has been mapped.
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
    /// If one mapping cannot be unmapped, this continues with the others, and the next operation
    /// retries it. If the GPU does not answer, this stops and leaves the rest for the next
    /// operation.
    ///
    /// Context: may sleep; takes the locks of an address space.
    ///
    /// # Errors
    ///
    /// The first one that there was; see [`JobError`].
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
    /// No DMA fence waits for operations on BAR1, so that they may take the time.
    fn recover(&self) -> Result {
        if self.vmm.is_wedged() {
            self.vmm.retry_invalidate()?;
        }

        Ok(())
    }

    /// Unmaps a mapping, or queues it for the next operation if that fails.
    fn unmap(&self, mut unmap: KBox<UnmapJob>) -> Result<(), JobError> {
        let result = unmap.run();
        // After a teardown, all jobs fail.
        if unmap.job.is_some() && !self.is_closed.is_set() {
            self.dropped.lock().push(unmap);
        }

        result
    }

    /// Unmaps everything: mappings that still exist cannot be used any longer, and no new ones can
    /// be created. The firmware's mappings are preserved.
    ///
    /// If a mapping cannot be unmapped, this continues with the others. Further calls retry it.
    ///
    /// Context: may sleep; takes the locks of an address space.
    ///
    /// # Errors
    ///
    /// As for [`Vmm::teardown`].
    pub(crate) fn teardown(&self) -> Result {
        self.is_closed.set();
        self.vmm.teardown()?;

        // There is nothing left for them to unmap. They are not freed under the lock.
        let dropped = self.dropped.lock().take();
        drop(dropped);

        Ok(())
    }
}

/// Returns the addresses to request for a mapping of `size` bytes.
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

/// Returns where pages lie in BAR1, in bytes.
fn byte_offsets(pages: &Range<Vfn>) -> Range<usize> {
    let offset = |address: VirtualAddress| u64_as_usize(address.into_raw());

    offset(pages.start.address())..offset(pages.end.address())
}

/// Memory that the CPU can access through BAR1.
///
/// Any number of them can exist at a time. A mapping that is dropped, which may sleep, is unmapped
/// by the next operation on BAR1, or at the latest by [`Bar1::teardown`]; its addresses and its
/// memory are in use until then. [`Self::unmap`] does it at once.
pub(crate) struct Bar1Mapping {
    bar1: Arc<Bar1>,
    /// Where it lies in BAR1, in bytes.
    range: Range<usize>,
    access: Access,
    /// Unmaps it, allocated beforehand so that it cannot fail for lack of memory.
    unmap: Option<KBox<UnmapJob>>,
}

impl Bar1Mapping {
    /// Returns where it starts in BAR1, which is its address in the address space behind BAR1.
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
    /// - [`EINVAL`] if the access is misaligned, or not within the mapping or the BAR.
    /// - [`ENODEV`] after [`Bar1::teardown`], when the mapping no longer exists, or if the device
    ///   is unbound.
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
    /// The write is posted: it has reached VRAM once something has been read through the mapping.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the access is misaligned, or not within the mapping or the BAR.
    /// - [`EACCES`] if the mapping is read-only.
    /// - [`ENODEV`] after [`Bar1::teardown`], when the mapping no longer exists, or if the device
    ///   is unbound.
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
        // The GPU may not answer, which takes long. The next operation on BAR1 unmaps it. After a
        // teardown, there is none, and nothing to unmap.
        if let Some(unmap) = self.unmap.take().filter(|_| !self.bar1.is_closed.is_set()) {
            self.bar1.dropped.lock().push(unmap);
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Memory that address spaces map.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    address::{
        PageSize,
        PAGE_SIZE, //
    },
    flag::Flag,
    format::{
        Access,
        Aperture,
        MmuFormat,
        PageAttributes,
        Pte,
        PteRun, //
    },
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// Memory that an address space can map, and that stays allocated for as long as this object lives.
///
/// An address space holds a reference until the memory is unmapped and the TLB has been
/// invalidated. Dropping that reference is how the owner learns that the GPU no longer uses it.
///
/// Pages are of [`PAGE_SIZE`] bytes and counted from the start of the memory. No method sleeps.
pub(crate) trait Mappable: Send + Sync {
    /// Returns which memory it is.
    fn aperture(&self) -> Aperture;

    /// Returns the number of pages.
    fn pages(&self) -> u64;

    /// Returns the highest address of a page in bytes, a multiple of [`PAGE_SIZE`].
    fn last_page(&self) -> u64;

    /// Returns the contiguous memory from page `page` on; [`None`] if there is no such page.
    ///
    /// The time that this takes must grow no faster than the logarithm of the number of runs.
    fn run(&self, page: u64) -> Option<Run>;

    /// Keeps the memory allocated forever.
    ///
    /// An address space calls this before it drops its reference if the GPU may still access the
    /// memory, because the TLB could not be invalidated.
    fn leak_on_drop(&self);
}

/// Contiguous pages of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Address of the first page in bytes, a multiple of [`PAGE_SIZE`].
    pub(crate) address: u64,
    /// Number of pages, at least one.
    pub(crate) pages: u64,
}

/// What is behind a range of virtual addresses.
#[derive(Clone)]
pub(crate) struct Backing {
    /// The memory; [`None`] for a sparse range, in which reads return zero and writes are dropped.
    memory: Option<Arc<dyn Mappable>>,
    /// Number of the page of `memory` behind the first page of the range.
    first: u64,
    attributes: PageAttributes,
}

impl Backing {
    /// Backs a range with `memory`, from its page `first` on.
    pub(crate) fn new(memory: Arc<dyn Mappable>, first: u64, attributes: PageAttributes) -> Self {
        Self {
            memory: Some(memory),
            first,
            attributes,
        }
    }

    /// Backs a range with nothing, so that accesses do not fault.
    pub(crate) fn sparse() -> Self {
        Self {
            memory: None,
            first: 0,
            attributes: PageAttributes::default(),
        }
    }

    /// Returns the same memory with another access.
    pub(crate) fn with_access(&self, access: Access) -> Self {
        let mut backing = self.clone();
        backing.attributes.access = access;

        backing
    }

    /// Returns the attributes of the pages.
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    pub(crate) fn attributes(&self) -> &PageAttributes {
        &self.attributes
    }

    /// Returns whether there is memory, and the access to it is not `access`.
    pub(crate) fn is_changed_by(&self, access: Access) -> bool {
        self.memory.is_some() && self.attributes.access != access
    }

    /// Changes the access to the memory.
    pub(crate) fn set_access(&mut self, access: Access) {
        self.attributes.access = access;
    }

    /// Returns what is behind the part of the range that starts at its page `page`.
    pub(crate) fn after(&self, page: u64) -> Self {
        Self {
            first: self.first + page,
            ..self.clone()
        }
    }

    /// Returns whether the range is sparse.
    pub(crate) fn is_sparse(&self) -> bool {
        self.memory.is_none()
    }

    /// Checks that `pages` pages can be mapped, so that encoding their entries cannot fail.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the memory has too few pages, or an address or an attribute has no encoding.
    pub(crate) fn check(&self, format: &dyn MmuFormat, pages: u64) -> Result {
        let Some(memory) = &self.memory else {
            return Ok(());
        };
        let end = self.first.checked_add(pages).ok_or(EINVAL)?;
        if end > memory.pages() {
            return Err(EINVAL);
        }
        let last = Pte::new(memory.aperture(), memory.last_page(), &self.attributes);
        format.encode_run(&last, PageSize::Size4K, 1)?;

        Ok(())
    }

    /// Returns the contiguous memory behind the page `page` of the range, and what follows it.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there is no such page.
    pub(crate) fn run(&self, page: u64) -> Result<Run> {
        match &self.memory {
            Some(memory) => memory.run(self.first + page).ok_or(EINVAL),
            None => Ok(Run {
                address: 0,
                pages: u64::MAX,
            }),
        }
    }

    /// Returns whether pages of `size` can map it.
    ///
    /// Only VRAM is mapped by pages above 4 KiB: the pages of system memory are rarely contiguous,
    /// and nouveau does not use larger ones for it either (`vmmgp100.c`).
    pub(crate) fn allows(&self, size: PageSize) -> bool {
        match &self.memory {
            Some(memory) => size == PageSize::Size4K || memory.aperture() == Aperture::Vram,
            None => false,
        }
    }

    /// Returns the entries of `count` pages of `size` that map the contiguous memory at `address`.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if an address or an attribute has no encoding.
    pub(crate) fn encode(
        &self,
        format: &dyn MmuFormat,
        address: u64,
        size: PageSize,
        count: u64,
    ) -> Result<PteRun> {
        let memory = self.memory.as_ref().ok_or(EINVAL)?;
        let pte = Pte::new(memory.aperture(), address, &self.attributes);

        format.encode_run(&pte, size, count)
    }

    /// Keeps the memory allocated; see [`Mappable::leak_on_drop`].
    pub(crate) fn leak_on_drop(&self) {
        if let Some(memory) = &self.memory {
            memory.leak_on_drop();
        }
    }

    /// Returns whether `next` continues this range of `pages` pages: the same memory with the same
    /// attributes.
    pub(crate) fn is_continued_by(&self, pages: u64, next: &Self) -> bool {
        self.attributes == next.attributes
            && match (&self.memory, &next.memory) {
                (Some(memory), Some(other)) => {
                    Arc::ptr_eq(memory, other) && self.first + pages == next.first
                }
                (None, None) => true,
                _ => false,
            }
    }
}

/// System memory that the GPU accesses over the bus, and its owner.
///
/// It can be scattered. The owner keeps it allocated and mapped for DMA, and is dropped with this.
pub(crate) struct SysMemory<T> {
    runs: Runs,
    coherence: Coherence,
    owner: Option<T>,
    /// Whether the owner is leaked instead of dropped.
    leak_on_drop: Flag,
}

impl<T> Drop for SysMemory<T> {
    fn drop(&mut self) {
        if self.leak_on_drop.is_set() {
            core::mem::forget(self.owner.take());
        }
    }
}

/// Whether the GPU's accesses to system memory are coherent with the caches of the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coherence {
    /// They are: the GPU snoops the caches.
    Coherent,
    /// They are not: the driver has to clean and invalidate the caches.
    NonCoherent,
}

impl<T: Send + Sync> SysMemory<T> {
    /// Creates the description of memory at the DMA addresses `ranges`, given as address and size
    /// in bytes, in the order in which they are to be mapped.
    ///
    /// Context: may sleep; allocates.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if there is no range, or an address or a size is not a multiple of
    ///   [`PAGE_SIZE`], a size is zero, or a range wraps around.
    /// - [`ENOMEM`] if memory runs out.
    pub(crate) fn new(
        ranges: impl Iterator<Item = (u64, u64)>,
        coherence: Coherence,
        owner: T,
    ) -> Result<Self> {
        let mut runs = Runs::new();
        for (address, size) in ranges {
            if size == 0 || address % PAGE_SIZE != 0 || size % PAGE_SIZE != 0 {
                return Err(EINVAL);
            }
            address.checked_add(size).ok_or(EINVAL)?;
            let run = Run {
                address,
                pages: size / PAGE_SIZE,
            };
            if !runs.extend(&run) {
                runs.push(run)?;
            }
        }
        if runs.pages() == 0 {
            return Err(EINVAL);
        }

        Ok(Self {
            runs,
            coherence,
            owner: Some(owner),
            leak_on_drop: Flag::new(),
        })
    }
}

impl<T: Send + Sync> Mappable for SysMemory<T> {
    fn aperture(&self) -> Aperture {
        match self.coherence {
            Coherence::Coherent => Aperture::SysCoherent,
            Coherence::NonCoherent => Aperture::SysNonCoherent,
        }
    }

    fn pages(&self) -> u64 {
        self.runs.pages()
    }

    fn last_page(&self) -> u64 {
        self.runs.last_page()
    }

    fn run(&self, page: u64) -> Option<Run> {
        self.runs.run(page)
    }

    fn leak_on_drop(&self) {
        self.leak_on_drop.set();
    }
}

/// Consecutive runs of pages, for implementations of [`Mappable`].
pub(super) struct Runs {
    /// The runs, and the number of the first page of each.
    runs: KVec<(u64, Run)>,
    /// The highest address of a page in bytes, zero if there is none.
    last_page: u64,
}

impl Runs {
    pub(super) const fn new() -> Self {
        Self {
            runs: KVec::new(),
            last_page: 0,
        }
    }

    /// Adds a run after the others.
    ///
    /// Context: may sleep; allocates.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if memory runs out.
    pub(super) fn push(&mut self, run: Run) -> Result {
        self.runs.push((self.pages(), run), GFP_KERNEL)?;
        self.update_last_page(&run);

        Ok(())
    }

    /// Adds a run to the last one if it continues it, and returns whether it does.
    fn extend(&mut self, run: &Run) -> bool {
        match self.runs.last_mut() {
            Some((_, last)) if last.address + last.pages * PAGE_SIZE == run.address => {
                last.pages += run.pages;
            }
            _ => return false,
        }
        self.update_last_page(run);

        true
    }

    fn update_last_page(&mut self, run: &Run) {
        let last = run.address + (run.pages - 1) * PAGE_SIZE;
        self.last_page = self.last_page.max(last);
    }

    /// Returns the runs in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Run> + '_ {
        self.runs.iter().map(|(_, run)| run)
    }

    /// Returns the number of pages.
    pub(super) fn pages(&self) -> u64 {
        self.runs.last().map_or(0, |(first, run)| first + run.pages)
    }

    /// Returns the highest address of a page in bytes, zero if there is none.
    pub(super) fn last_page(&self) -> u64 {
        self.last_page
    }

    /// Returns the rest of the run that page `page` lies in, from that page on.
    pub(super) fn run(&self, page: u64) -> Option<Run> {
        let behind = self.runs.partition_point(|(first, _)| *first <= page);
        let (first, run) = self.runs.get(behind.checked_sub(1)?)?;
        let skipped = page - first;

        (skipped < run.pages).then(|| Run {
            address: run.address + skipped * PAGE_SIZE,
            pages: run.pages - skipped,
        })
    }
}

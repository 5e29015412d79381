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

/// Memory that an address space can map. It stays allocated for the lifetime of the object.
///
/// An address space holds a reference until the memory is unmapped and the TLB has been
/// invalidated. When it drops the reference, the GPU no longer accesses the memory, unless
/// [`Self::leak_on_drop`] has been called.
///
/// Pages have [`PAGE_SIZE`] bytes and are counted from the start of the memory. No method sleeps.
pub(crate) trait Mappable: Send + Sync {
    /// Returns the aperture of the memory.
    fn aperture(&self) -> Aperture;

    /// Returns the number of pages.
    fn pages(&self) -> u64;

    /// Returns the highest address of a page in bytes, a multiple of [`PAGE_SIZE`].
    fn last_page(&self) -> u64;

    /// Returns the contiguous memory that starts with page `page`, or [`None`] if `page` is out of
    /// range.
    ///
    /// Must take at most logarithmic time in the number of runs.
    fn run(&self, page: u64) -> Option<Run>;

    /// Makes dropping the object leak the memory.
    ///
    /// An address space calls this before it drops its reference if the TLB could not be
    /// invalidated, so that the GPU may still access the memory.
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

/// The backing of a range of virtual addresses: memory, or nothing if the range is sparse.
#[derive(Clone)]
pub(crate) struct Backing {
    /// The memory; [`None`] for a sparse range, in which reads return zero and writes are dropped.
    memory: Option<Arc<dyn Mappable>>,
    /// Number of the page of `memory` that backs the first page of the range.
    first: u64,
    attributes: PageAttributes,
}

impl Backing {
    /// Backs a range with `memory`, starting with its page `first`.
    pub(crate) fn new(memory: Arc<dyn Mappable>, first: u64, attributes: PageAttributes) -> Self {
        Self {
            memory: Some(memory),
            first,
            attributes,
        }
    }

    /// Creates the backing of a sparse range.
    pub(crate) fn sparse() -> Self {
        Self {
            memory: None,
            first: 0,
            attributes: PageAttributes::default(),
        }
    }

    /// Returns a backing by the same memory, with access `access`.
    pub(crate) fn with_access(&self, access: Access) -> Self {
        let mut backing = self.clone();
        backing.attributes.access = access;

        backing
    }

    /// Returns whether [`Self::set_access`] changes the entries: the range is not sparse, and its
    /// access is not `access`.
    pub(crate) fn is_changed_by(&self, access: Access) -> bool {
        self.memory.is_some() && self.attributes.access != access
    }

    /// Changes the access to the memory.
    pub(crate) fn set_access(&mut self, access: Access) {
        self.attributes.access = access;
    }

    /// Returns the backing of the part of the range that starts at its page `page`.
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

    /// Checks that `pages` pages can be mapped, so that encoding their entries later cannot fail.
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

    /// Returns the contiguous memory that backs the range from its page `page` on.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `page` is out of range.
    pub(crate) fn run(&self, page: u64) -> Result<Run> {
        match &self.memory {
            Some(memory) => memory.run(self.first + page).ok_or(EINVAL),
            None => Ok(Run {
                address: 0,
                pages: u64::MAX,
            }),
        }
    }

    /// Returns whether pages of `size` can map the memory.
    ///
    /// System memory is mapped by pages of 4 KiB only: it is rarely contiguous, and nouveau does
    /// not use larger pages for it either (`vmmgp100.c`).
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

    /// Makes dropping the memory leak it; see [`Mappable::leak_on_drop`].
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

/// System memory that the GPU accesses over the bus. It can be scattered.
///
/// The owner keeps the memory allocated and mapped for DMA, and is dropped with this object.
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
    /// The GPU snoops the caches.
    Coherent,
    /// The driver has to clean and invalidate the caches.
    NonCoherent,
}

impl<T: Send + Sync> SysMemory<T> {
    /// Describes memory at DMA addresses: `ranges` are pairs of address and size in bytes, in the
    /// order in which they are mapped. May sleep, because it allocates memory.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `ranges` is empty, an address or a size is not a multiple of [`PAGE_SIZE`],
    ///   a size is zero, or a range wraps around.
    /// - [`ENOMEM`] if memory allocation fails.
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
    /// The runs, each with the number of its first page.
    runs: KVec<(u64, Run)>,
    /// The highest address of a page in bytes; zero without runs.
    last_page: u64,
}

impl Runs {
    pub(super) const fn new() -> Self {
        Self {
            runs: KVec::new(),
            last_page: 0,
        }
    }

    /// Appends a run. May sleep, because it allocates memory.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if memory allocation fails.
    pub(super) fn push(&mut self, run: Run) -> Result {
        self.runs.push((self.pages(), run), GFP_KERNEL)?;
        self.update_last_page(&run);

        Ok(())
    }

    /// Merges a run into the last one if their memory is contiguous, and returns whether it is.
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

    /// Returns the highest address of a page in bytes, or zero without runs.
    pub(super) fn last_page(&self) -> u64 {
        self.last_page
    }

    /// Returns the part of a run that starts with page `page`, or [`None`] if `page` is out of
    /// range.
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

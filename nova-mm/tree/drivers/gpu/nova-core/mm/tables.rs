// SPDX-License-Identifier: GPL-2.0

//! The page tables of an address space.
//!
//! Tables live in VRAM, where each access goes over the bus. [`PageTables`] keeps a shadow of them
//! in system memory and decides from that alone, so that a change only writes, and only what
//! changes.
//!
//! A change is prepared by allocating all tables that it may need, [`Spares`]; making it neither
//! allocates nor frees. Tables are counted by their entries, and one that has none left is taken
//! out.

use core::{
    iter::Empty,
    marker::PhantomData,
    ops::Range, //
};

use kernel::{
    prelude::*,
    sync::Mutex, //
};

use crate::mm::{
    address::VramAddress,
    format::Format,
    mmio::Mmio,
    mmu::Mmu,
    pramin::{
        PraminWindow,
        WritesVisible, //
    },
    stack::Stack,
    tlb::{
        Tlb,
        TlbChange,
        TlbScope, //
    },
    vram::VramAllocator, //
};

mod extents;
use self::extents::Extents;

mod foreign;
pub(crate) use self::foreign::ForeignEntry;

mod node;
pub(crate) use self::node::Node;

mod slots;

mod spares;
pub(crate) use self::spares::Spares;

mod update;
use self::update::{
    Change,
    Update, //
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
pub(crate) mod tests;

/// The page tables of an address space, of format `F`.
///
/// Pages are given by their numbers, and ranges are half-open.
pub(crate) struct PageTables<F> {
    root: Node,
    /// Whether the tables agree with their shadows.
    intact: bool,
    _format: PhantomData<fn() -> F>,
}

impl<F: Format> PageTables<F> {
    /// Creates tables that map nothing, of which there is only the root.
    ///
    /// Context: may sleep; allocates, and takes the hardware lock without allocating under it.
    ///
    /// # Errors
    ///
    /// - [`ENOSPC`] if there is no VRAM left.
    /// - [`ENOMEM`] if there is no memory for the shadow.
    /// - Those of [`PraminWindow::write64`].
    pub(crate) fn new(memory: &VramAllocator, mmu: &Mutex<Mmu>, bar: &dyn Mmio) -> Result<Self> {
        let root = Node::new(F::LEVELS.first().ok_or(EINVAL)?, memory.alloc_table()?)?;

        let mut mmu = mmu.lock();
        let mut window = mmu.pramin.window(bar);
        root.write(&mut window)?;
        // Nobody can have seen what the page contained before, so there is nothing to invalidate.
        let _ = window.finish()?;

        Ok(Self::with_root(root))
    }

    fn with_root(root: Node) -> Self {
        Self {
            root,
            intact: true,
            _format: PhantomData,
        }
    }

    /// Returns where the root is.
    pub(crate) fn root(&self) -> VramAddress {
        self.root.address()
    }

    /// Returns the obligation to invalidate the TLB, without a change.
    ///
    /// # Errors
    ///
    /// Those of [`PraminWindow::finish`].
    pub(crate) fn unflushed(window: PraminWindow<'_>) -> Result<Unflushed<'_>> {
        Ok(Unflushed {
            visible: window.finish()?,
            change: TlbChange::Downgrade,
        })
    }

    /// Maps memory at `pages`, in place of whatever is mapped there: `ranges`, from their page
    /// `skip` on, with the same spares that [`Spares::for_map`] has counted for that.
    ///
    /// Neither allocates nor frees. Tables that are not linked any more go to `retired`.
    ///
    /// # Errors
    ///
    /// - [`EBUSY`] if the firmware has changed an entry that is needed; nothing is changed then.
    /// - [`EINVAL`] if the memory has too few pages.
    /// - Those of the window.
    pub(crate) fn map<'w>(
        &mut self,
        pages: &Range<u64>,
        ranges: impl Iterator<Item = Range<VramAddress>>,
        skip: u64,
        read_only: bool,
        work: Work<'_, 'w>,
    ) -> Result<Unflushed<'w>> {
        let change = Change::Map {
            extents: &mut Extents::new(ranges, skip)?,
            read_only,
        };

        self.update(change, pages, work)
    }

    /// Takes away what is mapped at `pages`, if anything is.
    ///
    /// # Errors
    ///
    /// As for [`Self::map`].
    pub(crate) fn unmap<'w>(
        &mut self,
        pages: &Range<u64>,
        work: Work<'_, 'w>,
    ) -> Result<Unflushed<'w>> {
        self.update(Change::Unmap::<Empty<_>>, pages, work)
    }

    /// Changes the permission of what is mapped at `pages`, if anything is.
    ///
    /// # Errors
    ///
    /// As for [`Self::map`].
    pub(crate) fn protect<'w>(
        &mut self,
        pages: &Range<u64>,
        read_only: bool,
        work: Work<'_, 'w>,
    ) -> Result<Unflushed<'w>> {
        self.update(Change::Protect::<Empty<_>> { read_only }, pages, work)
    }

    fn update<'w, I: Iterator<Item = Range<VramAddress>>>(
        &mut self,
        change: Change<'_, I>,
        pages: &Range<u64>,
        work: Work<'_, 'w>,
    ) -> Result<Unflushed<'w>> {
        let Work {
            spares,
            retired,
            mut window,
        } = work;
        if !self.intact {
            return Err(EIO);
        }
        foreign::verify::<F, _>(&self.root, pages, &change, &mut window)?;

        // From here on, an error leaves the change half done.
        self.intact = false;
        let change =
            Update::<F, _>::new(change, spares, retired, &mut window).run(&mut self.root, pages)?;
        let visible = window.finish()?;
        self.intact = true;

        Ok(Unflushed { visible, change })
    }

    /// Calls `f` with the address of each table that is not the firmware's.
    #[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
    pub(crate) fn for_each_owned(&self, f: &mut dyn FnMut(VramAddress)) {
        self.root.for_each_owned(f);
    }
}

impl<F> PageTables<F> {
    /// Returns whether the tables agree with their shadows, as they do unless the hardware could
    /// not be accessed in the middle of a change. If not, all further changes fail.
    pub(crate) fn is_intact(&self) -> bool {
        self.intact
    }

    /// Keeps the memory of the tables that are not the firmware's from being freed when they are
    /// dropped.
    pub(crate) fn keep_allocated(&self) {
        self.root.keep_allocated();
    }
}

/// What a change works with.
pub(crate) struct Work<'a, 'w> {
    /// The new tables.
    pub(crate) spares: &'a mut Spares,
    /// Where the tables go that are not linked any more.
    pub(crate) retired: &'a mut Stack<Node>,
    /// The way into VRAM.
    pub(crate) window: PraminWindow<'w>,
}

/// Page tables have been changed, and the TLB does not know yet.
///
/// Nothing that could be reached by way of the old entries may be freed before it does.
#[must_use = "the TLB may still hold what the page tables contained before"]
pub(crate) struct Unflushed<'w> {
    visible: WritesVisible<'w>,
    change: TlbChange,
}

impl Unflushed<'_> {
    /// Has the invalidation also wait for accesses by way of old entries, although none of this
    /// change was taken away.
    pub(crate) fn downgrade(&mut self) {
        self.change = TlbChange::Downgrade;
    }

    /// Makes the TLB forget what it holds of the address space with the root `pdb`.
    ///
    /// # Errors
    ///
    /// Those of [`Tlb::invalidate`]. Nothing may be freed then, until a later invalidation of the
    /// same address space is acknowledged.
    pub(crate) fn invalidate(
        self,
        tlb: &mut Tlb,
        bar: &dyn Mmio,
        pdb: VramAddress,
        scope: TlbScope,
    ) -> Result<Acknowledged> {
        tlb.invalidate(bar, self.visible, pdb, scope, self.change)?;

        Ok(Acknowledged(()))
    }
}

/// The TLB holds nothing of an address space any more that was taken out of its tables before.
pub(crate) struct Acknowledged(());

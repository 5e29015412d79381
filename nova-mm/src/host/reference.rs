// SPDX-License-Identifier: GPL-2.0

//! What page tables cost that are walked through for each page, for comparison.
//!
//! This is the shape of the address spaces that were proposed for nova-core before: two passes over
//! the pages, both of which walk from the root down for each 4 KiB page by reading VRAM. The first
//! one allocates the tables that are missing and zeroes them word by word; the second one reads the
//! entry of the page and writes it. Unmapping is the second pass alone; tables stay. There are no
//! large pages. The window of PRAMIN is moved when an access leaves it, and the TLB is invalidated
//! once, as in this series.

use crate::mm::{
    address::{Vfn, VramAddress},
    format::{Entry, EntryKind, Level, PageSizes, Pte},
    mmu::Mmu,
    model::{Counts, SoftGpu},
    pramin::{Pramin, PraminWindow},
    tlb::{Tlb, TlbChange, TlbScope},
    vmm::tests::{
        bench::TestFormat,
        figures::{self, Case, Layout, NEIGHBOURS},
    },
    vram::{TablePage, VramAllocator},
};
use crate::num::usize_as_u64;
use kernel::{error::Result, prelude::*, sync::Arc};
use std::{marker::PhantomData, ops::Range};

/// Where the range begins that a [`Case`] counts pages from, and its memory.
const FIRST_PAGE: u64 = 4 << 18;
const FIRST_FRAME: u64 = 16 << 18;

/// An address space whose tables are walked through for each page.
pub(super) struct Reference<F> {
    gpu: Arc<SoftGpu>,
    mmu: Mmu,
    memory: VramAllocator,
    tables: Vec<TablePage>,
    /// Whether each access is followed by a read, so that it has arrived.
    reads_back: bool,
    format: PhantomData<F>,
}

impl<F: TestFormat> Reference<F> {
    /// Does the operation of `case`, and returns what accesses it has taken.
    pub(super) fn measure(case: &Case, reads_back: bool) -> Result<Counts> {
        let mut reference = Self {
            gpu: figures::gpu::<F>()?,
            mmu: Mmu {
                pramin: Pramin::with_hal(F::hal()),
                tlb: Tlb::new(),
                page_sizes: PageSizes::COMMON,
            },
            memory: Layout::RootApart.memory()?,
            tables: Vec::new(),
            reads_back,
            format: PhantomData,
        };
        reference.change(|walk| walk.new_table().map(drop))?;
        if case.populated {
            for page in NEIGHBOURS {
                reference.map(page..page + 1, 0)?;
            }
        }
        if let Some((pages, skip)) = &case.before {
            reference.map(pages.clone(), *skip)?;
        }

        reference.gpu.reset_counts();
        match case.skip {
            Some(skip) => reference.map(case.pages.clone(), skip)?,
            None => reference.unmap(case.pages.clone())?,
        }
        reference.check(case)?;
        Ok(reference.gpu.counts())
    }

    fn map(&mut self, pages: Range<u64>, skip: u64) -> Result {
        self.change(|walk| {
            for page in pages.clone() {
                walk.prepare(page)?;
            }
            for (page, frame) in pages.clone().zip(skip..) {
                walk.execute(page, Some(frame))?;
            }
            Ok(())
        })
    }

    fn unmap(&mut self, pages: Range<u64>) -> Result {
        self.change(|walk| {
            for page in pages.clone() {
                walk.execute(page, None)?;
            }
            Ok(())
        })
    }

    /// Makes a change, and invalidates the TLB.
    fn change(&mut self, change: impl FnOnce(&mut Walk<'_, '_, F>) -> Result) -> Result {
        let bar = self.gpu.bar0();
        let mut walk = Walk::<F> {
            window: self.mmu.pramin.window(&bar),
            memory: &self.memory,
            tables: &mut self.tables,
            reads_back: self.reads_back,
            format: PhantomData,
        };
        change(&mut walk)?;
        let visible = walk.window.finish()?;
        let root = self.tables[0].address();
        self.mmu
            .tlb
            .invalidate(&bar, visible, root, TlbScope::All, TlbChange::Downgrade)
    }

    /// Checks that it has done what it is to be compared with.
    fn check(&self, case: &Case) -> Result {
        for page in [case.pages.start, case.pages.end - 1] {
            let address = Vfn::new(FIRST_PAGE + page)?.address();
            let found = self.gpu.walk(self.tables[0].address(), address);
            let frame = case
                .skip
                .map(|skip| FIRST_FRAME + skip + (page - case.pages.start));
            assert_eq!(found.ok().map(|found| found.address >> 12), frame);
        }
        self.gpu.check_clean()
    }
}

/// A session of accesses.
struct Walk<'a, 'w, F> {
    window: PraminWindow<'w>,
    memory: &'a VramAllocator,
    tables: &'a mut Vec<TablePage>,
    reads_back: bool,
    format: PhantomData<F>,
}

impl<F: TestFormat> Walk<'_, '_, F> {
    /// Walks until nothing is missing.
    fn prepare(&mut self, page: u64) -> Result {
        while let Err((level, at)) = self.walk(page)? {
            let table = self.new_table()?;
            let pde = F::own_table(table);
            let [first, second] = match level.kind {
                EntryKind::Dual => F::encode_dual(None, Some(&pde))?,
                _ => [F::encode_pde(&pde)?, 0],
            };
            match level.kind {
                EntryKind::Dual => self.write(at.checked_add(8)?, second)?,
                _ => self.write(at, first)?,
            }
        }
        Ok(())
    }

    /// Walks to the entry of a page, reads it and writes it.
    fn execute(&mut self, page: u64, frame: Option<u64>) -> Result {
        let at = self.walk(page)?.map_err(|_| EINVAL)?;
        self.read(at)?;
        let word = match frame {
            Some(frame) => {
                let address = VramAddress::new((FIRST_FRAME + frame) << 12);
                let page_4k = F::LEVELS[F::LEVELS.len() - 1].leaf.ok_or(EINVAL)?;
                F::encode_pte(&Pte::vram(address, false), page_4k)?
            }
            None => 0,
        };
        self.write(at, word)
    }

    /// Returns where the entry of a page is, or the entry that points to no table.
    // What a walk ends with, which nobody else has a use for.
    #[allow(clippy::type_complexity)]
    fn walk(&mut self, page: u64) -> Result<Result<VramAddress, (&'static Level, VramAddress)>> {
        let page = Vfn::new(FIRST_PAGE + page)?;
        let mut table = self.tables[0].address();
        for level in F::LEVELS {
            let words = usize_as_u64(level.kind.words());
            let at = table.checked_add(usize_as_u64(level.index(page)) * words * 8)?;
            if level.kind == EntryKind::Pte {
                return Ok(Ok(at));
            }
            let mut entry = [self.read(at)?, 0];
            if words == 2 {
                entry[1] = self.read(at.checked_add(8)?)?;
            }
            table = match level.decode::<F>(entry) {
                Entry::Table(pde)
                | Entry::Dual {
                    small: Some(pde), ..
                } => VramAddress::new(pde.address),
                _ => return Ok(Err((level, at))),
            };
        }
        Err(EINVAL)
    }

    fn new_table(&mut self) -> Result<VramAddress> {
        let table = self.memory.alloc_table()?;
        let address = table.address();
        self.tables.push(table);
        for word in 0..512 {
            self.write(address.checked_add(8 * word)?, 0)?;
        }
        Ok(address)
    }

    fn read(&mut self, at: VramAddress) -> Result<u64> {
        let word = self.window.read64(at)?;
        self.read_back(at)?;
        Ok(word)
    }

    fn write(&mut self, at: VramAddress, word: u64) -> Result {
        self.window.write64(at, word)?;
        self.read_back(at)
    }

    fn read_back(&mut self, at: VramAddress) -> Result {
        if self.reads_back {
            self.window.read64(at)?;
        }
        Ok(())
    }
}

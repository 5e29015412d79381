// SPDX-License-Identifier: GPL-2.0

//! Hardware accesses of page tables that are walked for each page, for comparison.
//!
//! This follows the design of the address spaces in earlier proposals for nova-core: two passes
//! over the pages, both of which walk from the root for each 4 KiB page by reading VRAM. The first
//! pass allocates missing tables and zeroes them word by word. The second pass reads and writes the
//! PTE. Unmapping consists of the second pass and keeps the tables. Large pages are not used. As in
//! this series, the PRAMIN window moves when an access is outside it, and the TLB is invalidated
//! once.

use crate::mm::{
    address::{Vfn, VramAddress},
    format::{tests::vram_page, Entry, EntryType, Level},
    mmio::Mmio,
    model::{Counts, Fault, GpuModel},
    pramin::{Pramin, PraminWindow},
    regs::{
        InvalidatePdb, NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE as Invalidate,
        NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_PDB as Pdb,
        NV_VIRTUAL_FUNCTION_PRIV_MMU_INVALIDATE_UPPER_PDB as UpperPdb,
    },
    vmm::tests::{
        fixture::TestFormat,
        mmio_counts::{self, Case, Layout, Operation, FIRST_FRAME, FIRST_PAGE, NEIGHBORS},
        trace::DOWNGRADE,
    },
    vram::{TablePage, VramAllocator},
};
use crate::num::usize_as_u64;
use kernel::{error::Result, prelude::*, sync::Arc};
use std::{marker::PhantomData, ops::Range};

/// An address space whose tables are walked for each page.
pub(super) struct Reference<F> {
    gpu: Arc<GpuModel>,
    pramin: Pramin,
    memory: VramAllocator,
    tables: Vec<TablePage>,
    /// Whether each access is followed by a read that flushes it.
    reads_back: bool,
    format: PhantomData<F>,
}

impl<F: TestFormat> Reference<F> {
    /// Performs the operation of `case`. Returns the numbers of its accesses.
    pub(super) fn measure(case: &Case, reads_back: bool) -> Result<Counts> {
        let mut reference = Self {
            gpu: mmio_counts::gpu::<F>()?,
            pramin: Pramin::new(F::hal()),
            memory: Layout::RootApart.memory()?,
            tables: Vec::new(),
            reads_back,
            format: PhantomData,
        };
        reference.change(|walk| walk.new_table().map(drop))?;
        if case.populated {
            for page in NEIGHBORS {
                reference.update(page..page + 1, Operation::Map(0))?;
            }
        }
        if let Some((pages, operation)) = &case.before {
            reference.update(pages.clone(), *operation)?;
        }

        reference.gpu.reset_counts();
        reference.update(case.pages.clone(), case.operation)?;
        reference.check(case)?;
        Ok(reference.gpu.counts())
    }

    fn update(&mut self, pages: Range<u64>, operation: Operation) -> Result {
        self.change(|walk| {
            if operation != Operation::Unmap {
                for page in pages.clone() {
                    walk.prepare(page)?;
                }
            }
            for (number, page) in pages.enumerate() {
                walk.execute(page, Self::entry(operation, number as u64)?)?;
            }
            Ok(())
        })
    }

    /// Returns the PTE that an operation writes for its page `number`.
    fn entry(operation: Operation, number: u64) -> Result<u64> {
        match operation {
            Operation::Map(skip) => {
                let page = vram_page((FIRST_FRAME + skip + number) << 12);
                let size = F::LEVELS[F::LEVELS.len() - 1].leaf.ok_or(EINVAL)?;
                F::encode_pte(&page, size)
            }
            Operation::MapSparse => Ok(F::encode_sparse(EntryType::Pte)[0]),
            Operation::Unmap => Ok(0),
        }
    }

    /// Updates the page tables and invalidates the TLB.
    fn change(&mut self, change: impl FnOnce(&mut Walk<'_, '_, F>) -> Result) -> Result {
        let bar = self.gpu.bar0();
        let mut walk = Walk::<F> {
            window: self.pramin.window(&bar),
            memory: &self.memory,
            tables: &mut self.tables,
            reads_back: self.reads_back,
            format: PhantomData,
        };
        change(&mut walk)?;
        let _ = walk.window.flush()?;

        let InvalidatePdb { pdb, upper_pdb } = InvalidatePdb::vram(self.tables[0].address())?;
        bar.read32(Invalidate::OFFSET)?;
        bar.write32(pdb.into(), Pdb::OFFSET)?;
        bar.write32(upper_pdb.into(), UpperPdb::OFFSET)?;
        bar.write32(DOWNGRADE, Invalidate::OFFSET)?;
        let value = bar.read32(Invalidate::OFFSET)?;
        assert!(!Invalidate::from(value).trigger());
        Ok(())
    }

    /// Checks the result of the operation.
    fn check(&self, case: &Case) -> Result {
        for page in [case.pages.start, case.pages.end - 1] {
            let address = Vfn::new(FIRST_PAGE + page)?.address();
            let found = self.gpu.walk(self.tables[0].address(), address);
            let expected = match case.operation {
                Operation::Map(skip) => Ok(FIRST_FRAME + skip + (page - case.pages.start)),
                Operation::MapSparse => Err(Fault::Sparse),
                Operation::Unmap => Err(Fault::Unmapped),
            };
            assert_eq!(found.map(|found| found.address >> 12), expected);
        }
        self.gpu.check_clean()
    }
}

/// An update of the page tables.
struct Walk<'a, 'w, F> {
    window: PraminWindow<'w>,
    memory: &'a VramAllocator,
    tables: &'a mut Vec<TablePage>,
    reads_back: bool,
    format: PhantomData<F>,
}

impl<F: TestFormat> Walk<'_, '_, F> {
    /// Adds tables until the walk to a page succeeds.
    fn prepare(&mut self, page: u64) -> Result {
        while let Err((level, at)) = self.walk(page)? {
            let table = self.new_table()?;
            let pde = F::own_table(table);
            let [first, second] = match level.kind {
                EntryType::Dual => F::encode_dual(None, Some(&pde))?,
                _ => [F::encode_pde(&pde)?, 0],
            };
            match level.kind {
                EntryType::Dual => self.write(at.checked_add(8)?, second)?,
                _ => self.write(at, first)?,
            }
        }
        Ok(())
    }

    /// Walks to the PTE of a page, reads it and writes it.
    fn execute(&mut self, page: u64, entry: u64) -> Result {
        let at = self.walk(page)?.map_err(|_| EINVAL)?;
        self.read(at)?;
        self.write(at, entry)
    }

    /// Returns the address of the PTE for a page, or the level and address of the entry at which
    /// the walk ends without a table.
    // Only the callers in this file use this type.
    #[allow(clippy::type_complexity)]
    fn walk(&mut self, page: u64) -> Result<Result<VramAddress, (&'static Level, VramAddress)>> {
        let page = Vfn::new(FIRST_PAGE + page)?;
        let mut table = self.tables[0].address();
        for level in F::LEVELS {
            let words = usize_as_u64(level.kind.words());
            let at = table.checked_add(usize_as_u64(level.index(page)) * words * 8)?;
            if level.kind == EntryType::Pte {
                return Ok(Ok(at));
            }
            let mut entry = [self.read(at)?, 0];
            if words == 2 {
                entry[1] = self.read(at.checked_add(8)?)?;
            }
            table = match level.decode(&F::default(), entry) {
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

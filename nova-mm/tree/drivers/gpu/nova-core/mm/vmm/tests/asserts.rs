// SPDX-License-Identifier: GPL-2.0

//! Checks of properties that an address space has at any time.

use core::ops::Range;

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        Vfn,
        VramAddress, //
    },
    format::{
        Access,
        Aperture, //
    },
    model::{
        Access as ModelAccess,
        Fault,
        Translation, //
    },
    vmm::tests::fixture::{
        ensure,
        ensure_eq,
        within_raw,
        Area,
        Fixture,
        TestFormat,
        FIRMWARE, //
    },
    vram::Vram, //
};

/// All kinds of accesses.
const ACCESSES: [ModelAccess; 4] = [
    ModelAccess::HUB_READ,
    ModelAccess::HUB_WRITE,
    ModelAccess::READ,
    ModelAccess::WRITE,
];

/// Returns the result of an access to a page if the page tables translate it to `walked`.
fn permitted(
    walked: Result<Translation, Fault>,
    access: ModelAccess,
) -> Result<Translation, Fault> {
    match walked {
        Ok(found) if found.read_only && access.write => Err(Fault::ReadOnly),
        Ok(found) if found.privileged && !access.privileged => Err(Fault::Privileged),
        other => other,
    }
}

impl<F: TestFormat> Fixture<F> {
    /// Translates a page by the page tables.
    ///
    /// Fails unless reads and writes of each client of the address space get the same result, using
    /// the present contents of the TLB.
    /// holds, for reads and for writes.
    pub(crate) fn translate(&self, page: u64) -> Result<Result<Translation, Fault>> {
        let address = Vfn::new(page)?.address();
        let walked = self.gpu.walk(self.pdb(), address);

        for access in ACCESSES {
            if access.hub || !self.is_bar {
                let found = self.gpu.translate(self.pdb(), address, access);
                ensure_eq!(found, permitted(walked, access));
            }
        }

        Ok(walked)
    }

    /// Translates a page of an address space without sparse pages. Returns [`None`] if the page is
    /// not mapped.
    pub(crate) fn lookup(&self, page: u64) -> Result<Option<Translation>> {
        match self.translate(page)? {
            Ok(translation) => Ok(Some(translation)),
            Err(fault) => {
                ensure_eq!(fault, Fault::Unmapped);
                Ok(None)
            }
        }
    }

    /// Fails unless `vram`, starting at its page `skip`, is mapped at `pages`, which are relative
    /// to the start of `va`.
    pub(crate) fn expect_mapped(
        &self,
        va: &Area,
        pages: Range<u64>,
        vram: &Vram,
        skip: u64,
        access: Access,
    ) -> Result {
        let memory = vram.ranges().flat_map(|range| {
            (range.start.into_raw()..range.end.into_raw()).step_by(1 << PageSize::Size4K.shift())
        });
        let mut memory = memory.skip(usize::try_from(skip)?);

        for page in within_raw(va, &pages) {
            let found = self.lookup(page)?.ok_or(EINVAL).inspect_err(|_| {
                pr_err!("page {:#x} is not mapped\n", page);
            })?;
            ensure_eq!(found.aperture, Aperture::Vram);
            ensure_eq!(Some(found.address), memory.next());
            ensure_eq!(found.read_only, access == Access::ReadOnly);
            ensure_eq!(found.kind, 0);
            ensure!(!found.privileged && !found.volatile && !found.no_atomics);
        }

        Ok(())
    }

    /// Fails unless `pages`, which are relative to the start of `va`, are unmapped.
    pub(crate) fn expect_unmapped(&self, va: &Area, pages: Range<u64>) -> Result {
        for page in within_raw(va, &pages) {
            ensure_eq!(self.lookup(page)?, None);
        }

        Ok(())
    }

    /// Returns the linked tables that the address space owns, in ascending order.
    pub(crate) fn owned(&self) -> Result<KVec<VramAddress>> {
        let mut count = 0;
        self.vmm.for_each_table(&mut |_| count += 1);
        // Allocate before taking the table lock.
        let mut owned = KVec::with_capacity(count, GFP_KERNEL)?;
        self.vmm.for_each_table(&mut |address| {
            let _ = owned.push_within_capacity(address);
        });
        ensure_eq!(owned.len(), count);
        owned.sort_unstable();

        Ok(owned)
    }

    /// Fails unless the page tables are consistent:
    ///
    /// - exactly the tables of the address space and of the firmware are reachable from the PDB;
    /// - each table is reachable only once, and none except the root is empty;
    /// - the GPU model has not recorded a violation.
    ///
    /// [Retires](crate::mm::model::GpuModel::retire) tables that were unlinked since the last
    /// check, unless frees are deferred because the TLB could not be invalidated.
    pub(crate) fn check(&mut self) -> Result {
        let owned = self.owned()?;
        let mut reached = KVec::new();
        for table in self.gpu.reachable_tables(self.pdb())? {
            ensure_eq!(table.mixed, 0);
            ensure_eq!(table.overlaps, 0);
            if FIRMWARE.contains(&table.address.into_raw()) {
                continue;
            }
            ensure!(table.nr_valid > 0 || table.address == self.pdb());
            reached.push(table.address, GFP_KERNEL)?;
        }
        reached.sort_unstable();
        ensure_eq!(reached, owned);

        if !self.vmm.has_deferred() {
            for &table in self.known.iter().filter(|table| !owned.contains(table)) {
                self.gpu.retire(table);
            }
            self.known = owned;
        }

        self.gpu.check_clean()
    }
}

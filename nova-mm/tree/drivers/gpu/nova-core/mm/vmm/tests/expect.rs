// SPDX-License-Identifier: GPL-2.0

//! Properties that an address space has at any time.

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

/// Returns the result of an access to a page whose translation is `walked`.
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
    /// Fails unless each client that uses the address space finds the same, with all that its TLB
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

    /// Does the same where no page is sparse, and returns the page if one is mapped.
    pub(crate) fn look(&self, page: u64) -> Result<Option<Translation>> {
        match self.translate(page)? {
            Ok(translation) => Ok(Some(translation)),
            Err(fault) => {
                ensure_eq!(fault, Fault::Unmapped);
                Ok(None)
            }
        }
    }

    /// Fails unless memory, from its page `skip` on, is mapped at `pages`, counted from the start
    /// of `va`.
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
            let found = self.look(page)?.ok_or(EINVAL).inspect_err(|_| {
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

    /// Fails unless nothing is mapped at `pages`, counted from the start of `va`.
    pub(crate) fn expect_unmapped(&self, va: &Area, pages: Range<u64>) -> Result {
        for page in within_raw(va, &pages) {
            ensure_eq!(self.look(page)?, None);
        }

        Ok(())
    }

    /// Returns the linked tables that the address space owns, in the order of their addresses.
    pub(crate) fn owned(&self) -> Result<KVec<VramAddress>> {
        let mut count = 0;
        self.vmm.for_each_table(&mut |_| count += 1);
        // Nothing is allocated under the table lock.
        let mut owned = KVec::with_capacity(count, GFP_KERNEL)?;
        self.vmm.for_each_table(&mut |address| {
            let _ = owned.push_within_capacity(address);
        });
        ensure_eq!(owned.len(), count);
        owned.sort_unstable();

        Ok(owned)
    }

    /// Fails unless the page tables are in order:
    ///
    /// - exactly the tables of the address space and of the firmware can be reached from the root;
    /// - each can be reached once, and none except the root is empty;
    /// - the GPU model has recorded no violation.
    ///
    /// Tables that were unlinked since the last check are
    /// [retired](crate::mm::model::SoftGpu::retire), unless the TLB could not be invalidated.
    pub(crate) fn check(&mut self) -> Result {
        let owned = self.owned()?;
        let mut reached = KVec::new();
        for table in self.gpu.reach(self.pdb())? {
            ensure_eq!(table.mixed, 0);
            ensure_eq!(table.overlaps, 0);
            if FIRMWARE.contains(&table.address.into_raw()) {
                continue;
            }
            ensure!(table.live > 0 || table.address == self.pdb());
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

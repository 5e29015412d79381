// SPDX-License-Identifier: GPL-2.0

//! What has to be true of an address space.

use core::ops::Range;

use kernel::prelude::*;

use crate::mm::{
    address::{
        PageSize,
        Vfn,
        VramAddress,
        PAGE_SIZE, //
    },
    format::Aperture,
    model::{
        Access as ModelAccess,
        Fault,
        Translation, //
    },
    va::VaRange,
    vmm::{
        job::Access,
        tests::bench::{
            ensure,
            ensure_eq,
            within_raw,
            Bench,
            TestFormat,
            FIRMWARE, //
        }, //
    },
    vram::Vram, //
};

impl<F: TestFormat> Bench<F> {
    /// Fails unless the GPU, with all that its TLBs hold, finds what the page tables say at this
    /// page, for reads and for writes; returns it.
    pub(crate) fn look(&self, page: u64) -> Result<Option<Translation>> {
        let address = Vfn::new(page)?.address();
        let walked = self.gpu.walk(self.vmm.pdb(), address);
        let written = match walked {
            Ok(translation) if translation.read_only => Err(Fault::ReadOnly),
            other => other,
        };
        let translate = |access| self.gpu.translate(self.vmm.pdb(), address, access);

        ensure_eq!(translate(ModelAccess::HUB_READ), walked);
        ensure_eq!(translate(ModelAccess::HUB_WRITE), written);
        if !self.is_bar {
            ensure_eq!(translate(ModelAccess::READ), walked);
            ensure_eq!(translate(ModelAccess::WRITE), written);
        }

        match walked {
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
        va: &VaRange,
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
    pub(crate) fn expect_unmapped(&self, va: &VaRange, pages: Range<u64>) -> Result {
        for page in within_raw(va, &pages) {
            ensure_eq!(self.look(page)?, None);
        }

        Ok(())
    }

    /// Returns the tables that the address space has, in the order of their addresses.
    pub(crate) fn owned(&self) -> Result<KVec<VramAddress>> {
        let mut count = 0;
        self.vmm.for_each_table(&mut |_| count += 1);
        // Nobody allocates under the table lock.
        let mut owned = KVec::with_capacity(count, GFP_KERNEL)?;
        self.vmm.for_each_table(&mut |address| {
            let _ = owned.push_within_capacity(address);
        });
        ensure_eq!(owned.len(), count);
        owned.sort_unstable();

        Ok(owned)
    }

    /// Fails unless all is in order:
    ///
    /// - the tables that can be reached from the root are those that the address space has, and
    ///   those of the firmware;
    /// - each is there once, and none but the root is empty;
    /// - the GPU has seen nothing that must not be.
    ///
    /// Tables that were given back since the last check are made unwritten, unless their address
    /// space could not be invalidated.
    pub(crate) fn check(&mut self) -> Result {
        let owned = self.owned()?;
        let mut reached = KVec::new();
        for table in self.gpu.reach(self.vmm.pdb())? {
            ensure_eq!(table.mixed, 0);
            if FIRMWARE.contains(&table.address.into_raw()) {
                continue;
            }
            ensure!(table.live > 0 || table.address == self.vmm.pdb());
            reached.push(table.address, GFP_KERNEL)?;
        }
        reached.sort_unstable();
        ensure_eq!(reached, owned);

        if !self.vmm.is_quarantined() {
            for &table in self.known.iter().filter(|table| !owned.contains(table)) {
                self.gpu.poison(table..table.checked_add(PAGE_SIZE)?);
            }
            self.known = owned;
        }

        self.gpu.check_clean()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Tests with two address spaces on one GPU.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    address::{
        PageSize,
        Vfn,
        VramAddress,
        PAGE_SIZE, //
    },
    format::Access::{
        ReadOnly,
        ReadWrite, //
    },
    hw::MmuHw,
    model::{
        Access,
        GpuModel, //
    },
    vmm::{
        tests::{
            fixture::{
                all_pages,
                complete,
                ensure,
                ensure_eq,
                within_raw,
                Area,
                Fixture,
                TestFormat,
                LARGE, //
            },
            hardware::{
                fill_tlb,
                Operation,
                OPERATIONS,
                PAGES,
                POPULATED, //
            },
            trace::TABLE_WORDS, //
        },
        Job,
        PdbRef,
        Vmm, //
    },
    vram::VramAllocator, //
};

/// An address space with its own memory.
struct Space {
    vmm: Arc<Vmm>,
    va: Area,
    data: VramAllocator,
}

impl Space {
    /// Creates an address space whose memory begins at address `data`. All use the same pages.
    fn new<F: TestFormat>(fixture: &Fixture<F>, data: u64) -> Result<Self> {
        let hw = fixture.hw.clone();
        let middle = PageSize::Size256G.pages();
        let start = VramAddress::new(data);

        Ok(Self {
            va: fixture.reserve_at(middle - 2 * LARGE..middle + LARGE)?,
            vmm: Vmm::new(hw, fixture.memory.clone(), all_pages::<F>()?)?,
            data: VramAllocator::new(&[start..start.checked_add(32 * LARGE * PAGE_SIZE)?])?,
        })
    }

    fn pdb(&self) -> VramAddress {
        self.vmm.pdb().address()
    }

    fn run(&self, operation: &Operation) -> Result {
        complete(operation.prepare(&self.vmm, &self.va, &self.data)?)
    }

    /// Returns all words of all tables.
    fn words(&self, gpu: &GpuModel) -> Result<KVec<u64>> {
        let mut words = KVec::new();
        for table in gpu.reachable_tables(self.pdb())? {
            let table = gpu.vram_read(table.address, TABLE_WORDS)?;
            words.extend_from_slice(&table, GFP_KERNEL)?;
        }

        Ok(words)
    }

    /// Fails unless the TLB matches the page tables, and all translations are in memory of this
    /// address space.
    fn check(&self, gpu: &GpuModel, data: u64) -> Result {
        for page in within_raw(&self.va, &(0..PAGES)) {
            let address = Vfn::new(page)?.address();
            let found = gpu.walk(self.pdb(), address);
            for access in [Access::READ, Access::HUB_READ] {
                ensure_eq!(gpu.translate(self.pdb(), address, access), found);
            }
            let memory = data..data + 32 * LARGE * PAGE_SIZE;
            ensure!(found.map_or(true, |found| memory.contains(&found.address)));
        }

        Ok(())
    }
}

/// Addresses of the memory of the two address spaces.
const DATA: [u64; 2] = [20 << 30, 24 << 30];

/// Operations on one address space change no entry of the other, and leave the TLB up to date for
/// both.
pub(crate) fn updates_leave_other_space<F: TestFormat>() -> Result {
    let fixture = Fixture::<F>::new()?;
    let gpu = &fixture.gpu;
    let free = fixture.memory.avail();
    let spaces = [
        Space::new(&fixture, DATA[0])?,
        Space::new(&fixture, DATA[1])?,
    ];
    ensure!(spaces[0].pdb() != spaces[1].pdb());

    // The two address spaces take turns in being one step ahead.
    for step in 0..=2 * (POPULATED.len() + OPERATIONS.len()) {
        let number = step.div_ceil(2) % 2;
        let operation = match POPULATED.get(step / 2) {
            Some(operation) => operation,
            None => match OPERATIONS.get(step / 2 - POPULATED.len()) {
                Some(operation) => operation,
                None => break,
            },
        };
        for space in &spaces {
            fill_tlb(gpu, space.pdb(), &space.va, false)?;
        }
        let other = spaces[1 - number].words(gpu)?;
        spaces[number].run(operation)?;
        ensure!(spaces[1 - number].words(gpu)? == other);
        for (space, data) in spaces.iter().zip(DATA) {
            space.check(gpu, data)?;
        }
        gpu.check_clean()?;
    }

    // Map memory in both. Tear down one, then the other.
    for space in &spaces {
        space.run(&POPULATED[0])?;
        fill_tlb(gpu, space.pdb(), &space.va, false)?;
    }
    let [first, second] = spaces;
    let words = second.words(gpu)?;
    first.vmm.teardown()?;
    ensure!(second.words(gpu)? == words);
    first.check(gpu, DATA[0])?;
    second.check(gpu, DATA[1])?;
    ensure_eq!(first.data.avail(), first.data.size());
    ensure!(second.data.avail() < second.data.size());
    second.vmm.teardown()?;
    ensure_eq!(second.data.avail(), second.data.size());
    drop((first, second));
    ensure_eq!(fixture.memory.avail(), free);

    gpu.check_clean()
}

/// Jobs can be sent to another thread between stages, and address spaces are shared by threads.
pub(crate) fn job_and_vmm_send<F: TestFormat>() -> Result {
    fn ensure_send<T: Send>() {}

    ensure_send::<Job>();
    ensure_send::<Arc<Vmm>>();
    ensure_send::<PdbRef>();
    ensure_send::<Arc<MmuHw>>();

    Ok(())
}

/// The root of an address space stays allocated while a reference to it exists.
pub(crate) fn pdb_ref_keeps_root_directory<F: TestFormat>() -> Result {
    let fixture = Fixture::<F>::new()?;
    let free = fixture.memory.avail();
    let vmm = Vmm::new(
        fixture.hw.clone(),
        fixture.memory.clone(),
        all_pages::<F>()?,
    )?;
    let pdb = vmm.pdb();
    vmm.teardown()?;
    drop(vmm);

    ensure_eq!(free - fixture.memory.avail(), PAGE_SIZE);
    ensure!(fixture.gpu.reachable_tables(pdb.address())?.len() == 1);
    drop(pdb);
    ensure_eq!(fixture.memory.avail(), free);

    Ok(())
}

/// Handles to an address space share its mappings.
pub(crate) fn handles_share_mappings<F: TestFormat>() -> Result {
    let fixture = Fixture::<F>::new()?;
    let other = fixture.share(1 << 20);
    let vram = fixture.alloc(8)?;
    let va = fixture.map_all(&vram, ReadWrite)?;

    other.expect_mapped(&va, 0..8, &vram, 0, ReadWrite)?;
    other.unmap(&va, 2..5)?;
    fixture.expect_unmapped(&va, 2..5)?;
    let next = other.map_all(&vram, ReadOnly)?;
    ensure!(next.start() >= 1 << 20);

    fixture.expect_mapped(&next, 0..8, &vram, 0, ReadOnly)
}

#[kunit_tests(nova_core_mm_spaces_v2)]
mod suite {
    use super::*;
    use crate::mm::format::v2::MmuV2;

    #[test]
    fn updates_leave_other_space() -> Result {
        super::updates_leave_other_space::<MmuV2>()
    }

    #[test]
    fn handles_share_mappings() -> Result {
        super::handles_share_mappings::<MmuV2>()
    }

    #[test]
    fn pdb_ref_keeps_root_directory() -> Result {
        super::pdb_ref_keeps_root_directory::<MmuV2>()
    }

    #[test]
    fn job_and_vmm_send() -> Result {
        super::job_and_vmm_send::<MmuV2>()
    }
}

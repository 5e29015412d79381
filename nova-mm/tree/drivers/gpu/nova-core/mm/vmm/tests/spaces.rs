// SPDX-License-Identifier: GPL-2.0

//! Two address spaces on one GPU.

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
    model::{
        Access,
        SoftGpu, //
    },
    va::{
        VaRange,
        VaRequest, //
    },
    vmm::{
        job::{
            Ran,
            Submitted, //
        },
        tests::{
            bench::{
                ensure,
                ensure_eq,
                vfns,
                within_raw,
                Bench,
                TestFormat,
                LARGE, //
            },
            hardware::{
                look,
                Operation,
                OPERATIONS,
                PAGES,
                POPULATED, //
            }, //
        },
        Vmm, //
    },
    vram::VramAllocator, //
};

/// One of them, with memory that only it maps.
struct Space<F: TestFormat> {
    vmm: Arc<Vmm<F>>,
    va: Arc<VaRange>,
    data: VramAllocator,
}

impl<F: TestFormat> Space<F> {
    /// Makes one whose memory begins at the address `data`. All have the same addresses in use.
    fn new(bench: &Bench<F>, data: u64) -> Result<Self> {
        let limits = vfns(0..(1 << F::VA_BITS) / PAGE_SIZE)?;
        let vmm = Vmm::new(limits, bench.memory.clone(), &bench.mmu, &bench.bar)?;
        let middle = PageSize::Size256G.pages();
        let pages = vfns(middle - 2 * LARGE..middle + LARGE)?;
        let start = VramAddress::new(data);

        Ok(Self {
            va: vmm.reserve(VaRequest::Fixed(pages))?,
            vmm,
            data: VramAllocator::new(&[start..start.checked_add(32 * LARGE * PAGE_SIZE)?])?,
        })
    }

    fn run(&self, bench: &Bench<F>, operation: &Operation) -> Result {
        let job = operation.submit(&self.vmm, &self.va, &self.data)?;

        bench.run(job).cleanup()
    }

    /// Returns all words of all tables.
    fn words(&self, gpu: &SoftGpu) -> Result<KVec<u64>> {
        let mut words = KVec::new();
        for table in gpu.reach(self.vmm.pdb())? {
            for offset in (0..PAGE_SIZE).step_by(8) {
                let word = gpu.vram_read64(table.address.checked_add(offset)?);
                words.push(word, GFP_KERNEL)?;
            }
        }

        Ok(words)
    }

    /// Fails unless the TLB agrees with the page tables, and all translations lead to memory of
    /// this address space.
    fn check(&self, gpu: &SoftGpu, data: u64) -> Result {
        for page in within_raw(&self.va, &(0..PAGES)) {
            let address = Vfn::new(page)?.address();
            let found = gpu.walk(self.vmm.pdb(), address);
            for access in [Access::READ, Access::HUB_READ] {
                ensure_eq!(gpu.translate(self.vmm.pdb(), address, access), found);
            }
            let memory = data..data + 32 * LARGE * PAGE_SIZE;
            ensure!(found.map_or(true, |found| memory.contains(&found.address)));
        }

        Ok(())
    }
}

/// Where the memory of each is.
const DATA: [u64; 2] = [20 << 30, 24 << 30];

/// Whatever is done in one, by turns, no entry of the other changes, and the TLB of none is stale.
pub(crate) fn changes_stay_apart<F: TestFormat>() -> Result {
    let bench = Bench::<F>::new()?;
    let gpu = &bench.gpu;
    let free = bench.memory.avail();
    let spaces = [Space::new(&bench, DATA[0])?, Space::new(&bench, DATA[1])?];
    ensure!(spaces[0].vmm.pdb() != spaces[1].vmm.pdb());

    // Each of them is a step ahead of the other for a while.
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
            look(gpu, space.vmm.pdb(), &space.va, false)?;
        }
        let other = spaces[1 - number].words(gpu)?;
        spaces[number].run(&bench, operation)?;
        ensure!(spaces[1 - number].words(gpu)? == other);
        for (space, data) in spaces.iter().zip(DATA) {
            space.check(gpu, data)?;
        }
        gpu.check_clean()?;
    }

    // Something is mapped in both. One is torn down, then the other.
    for space in &spaces {
        space.run(&bench, &POPULATED[0])?;
        look(gpu, space.vmm.pdb(), &space.va, false)?;
    }
    let [first, second] = spaces;
    let words = second.words(gpu)?;
    first.vmm.teardown(&bench.mmu, &bench.bar)?;
    ensure!(second.words(gpu)? == words);
    first.check(gpu, DATA[0])?;
    second.check(gpu, DATA[1])?;
    ensure_eq!(first.data.avail(), first.data.size());
    ensure!(second.data.avail() < second.data.size());
    second.vmm.teardown(&bench.mmu, &bench.bar)?;
    ensure_eq!(second.data.avail(), second.data.size());
    drop((first, second));
    ensure_eq!(bench.memory.avail(), free);

    gpu.check_clean()
}

/// A job goes from one thread to another between its stages.
pub(crate) fn jobs_are_sent<F: TestFormat>() -> Result {
    fn ensure_send<T: Send>() {}

    ensure_send::<Submitted<F>>();
    ensure_send::<Ran<F>>();

    Ok(())
}

#[kunit_tests(nova_mm_spaces_v2)]
mod suite {
    use super::*;
    use crate::mm::format::v2::MmuV2;

    #[test]
    fn changes_stay_apart() -> Result {
        super::changes_stay_apart::<MmuV2>()
    }

    #[test]
    fn jobs_are_sent() -> Result {
        super::jobs_are_sent::<MmuV2>()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! What the GPU can see while a job runs.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    address::{
        Vfn,
        VramAddress,
        PAGE_SIZE, //
    },
    model::{
        Logged,
        SoftGpu, //
    },
    vmm::{
        job::{
            Ran,
            Submitted, //
        },
        tests::bench::{
            ensure,
            ensure_eq,
            Bench,
            TestFormat, //
        }, //
    }, //
};

/// How many accesses of a job are logged at most.
const LOG: usize = 4096;

/// Bits of the register that starts an invalidate: `dev_vm.h` of TU102.
const TRIGGER: u32 = 1 << 31;
const ACK_GLOBALLY: u32 = 1 << 7;
const SYS_MEMBAR: u32 = 1 << 6;
const HUBTLB_ONLY: u32 = 1 << 2;
const ALL_PDB: u32 = 1 << 1;
const ALL_VA: u32 = 1 << 0;

/// An invalidate of a job that has added something.
pub(crate) const UPGRADE: u32 = TRIGGER | ALL_VA;
/// An invalidate of a job that has taken something away.
pub(crate) const DOWNGRADE: u32 = TRIGGER | ACK_GLOBALLY | SYS_MEMBAR | ALL_VA;
/// What these have besides in the address space of a BAR.
pub(crate) const HUB: u32 = HUBTLB_ONLY | ALL_PDB;

/// What a job has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    /// How many words it has written to page tables.
    pub(crate) writes: usize,
    /// How many of them to tables that were not linked yet.
    pub(crate) fresh: usize,
    /// How often it has read page tables before it changed them.
    pub(crate) reads: usize,
    /// How it has invalidated the TLB.
    pub(crate) command: u32,
}

/// A second GPU, which sees each state of the page tables by itself.
struct Replay {
    gpu: Arc<SoftGpu>,
    pdb: VramAddress,
    /// The tables that can be reached.
    reached: KVec<VramAddress>,
    /// The words that were written.
    written: KVec<VramAddress>,
    fresh: usize,
}

impl Replay {
    /// Copies the tables of `bench` to a GPU that has nothing else in its VRAM.
    fn new<F: TestFormat>(bench: &Bench<F>) -> Result<Self> {
        let mut replay = Self {
            gpu: Bench::<F>::gpu()?,
            pdb: bench.vmm.pdb(),
            reached: KVec::new(),
            written: KVec::with_capacity(LOG, GFP_KERNEL)?,
            fresh: 0,
        };

        for table in bench.gpu.reach(replay.pdb)? {
            for offset in (0..PAGE_SIZE).step_by(8) {
                let address = table.address.checked_add(offset)?;
                replay
                    .gpu
                    .vram_write64(address, bench.gpu.vram_read64(address));
            }
        }
        replay.follow()?;

        Ok(replay)
    }

    /// Follows all entries, which fails if one points to a table that is not written in full.
    fn follow(&mut self) -> Result {
        self.reached.clear();
        for table in self.gpu.reach(self.pdb)? {
            self.reached.push(table.address, GFP_KERNEL)?;
        }

        Ok(())
    }

    /// Writes a word of a table as the job did; calls `moment` if the GPU can notice.
    fn write(
        &mut self,
        address: VramAddress,
        value: u64,
        moment: &mut dyn FnMut(&SoftGpu) -> Result,
    ) -> Result {
        let table = VramAddress::new(address.into_raw() & !(PAGE_SIZE - 1));
        ensure!(self.gpu.vram_read64(address) != value);
        ensure!(!self.written.contains(&address));
        self.written
            .push_within_capacity(address)
            .map_err(|_| ENOSPC)?;
        self.gpu.vram_write64(address, value);

        if !self.reached.contains(&table) {
            self.fresh += 1;
            return Ok(());
        }
        self.follow()?;
        moment(&self.gpu)
    }
}

impl<F: TestFormat> Bench<F> {
    /// Runs a job; calls `moment` with a GPU for each state of the page tables that a GPU could
    /// have seen meanwhile, the first and the last one included.
    ///
    /// Fails unless, whatever the job does,
    ///
    /// - no table is linked that has not been written in full;
    /// - no word is written twice, or with what it holds anyway;
    /// - after the writes, the last one is read back, and nothing else;
    /// - after that, the TLB is invalidated once.
    pub(crate) fn observe(
        &self,
        job: Submitted<F>,
        moment: &mut dyn FnMut(&SoftGpu) -> Result,
    ) -> Result<(Ran<F>, Observed)> {
        let mut replay = Replay::new(self)?;
        moment(&replay.gpu)?;

        self.gpu.start_log(LOG)?;
        let ran = self.run(job);
        let log = self.gpu.take_log();
        let mut log = log.iter().peekable();

        let mut reads = 0;
        while log
            .next_if(|it| matches!(it, Logged::Read { .. }))
            .is_some()
        {
            reads += 1;
        }
        let mut last = None;
        while let Some(&Logged::Write {
            address,
            value,
            width,
        }) = log.next_if(|it| matches!(it, Logged::Write { .. }))
        {
            ensure_eq!(width, 8);
            replay.write(address, value, moment)?;
            last = Some(address);
        }
        if let Some(last) = last {
            let Some(&Logged::Read { address }) = log.next() else {
                pr_err!("the last word was not read back\n");
                return Err(EINVAL);
            };
            ensure_eq!(address.into_raw() & !7, last.into_raw());
        }
        let Some(&Logged::Invalidate { pdb, command }) = log.next() else {
            pr_err!("the TLB was not invalidated\n");
            return Err(EINVAL);
        };
        ensure_eq!(pdb, replay.pdb);
        ensure_eq!(log.next(), Some(&Logged::InvalidateDone));
        ensure_eq!(log.next(), None);
        replay.gpu.check_clean()?;

        Ok((
            ran,
            Observed {
                writes: replay.written.len(),
                fresh: replay.fresh,
                reads,
                command,
            },
        ))
    }

    /// Runs a job and cleans up, and fails unless it is as it should be, see [`Self::observe`] and
    /// [`Self::check`].
    pub(crate) fn observe_all(&mut self, job: Submitted<F>) -> Result<Observed> {
        let (ran, observed) = self.observe(job, &mut |_| Ok(()))?;
        ran.cleanup()?;
        self.check()?;

        Ok(observed)
    }
}

/// Number of words of a table of 4 KiB.
pub(crate) const TABLE_WORDS: usize = 512;

/// Fails unless page `first + n` is mapped to the memory at `address + n * 4 KiB`, for each `n` of
/// `pages`.
pub(crate) fn ensure_mapped_on(
    gpu: &SoftGpu,
    pdb: VramAddress,
    first: u64,
    address: u64,
    pages: impl Iterator<Item = u64>,
) -> Result {
    for n in pages {
        let page = Vfn::new(first + n)?.address();
        let found = gpu.walk(pdb, page).map(|found| found.address);
        ensure_eq!(found, Ok(address + n * PAGE_SIZE));
    }

    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! The states of the page tables that the GPU can see while a job runs.

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
        tests::fixture::{
            ensure,
            ensure_eq,
            Fixture,
            TestFormat, //
        },
        Job, //
    }, //
};

/// Maximum number of accesses of a job that are logged.
const LOG: usize = 4096;

/// Bits of the register that starts an invalidation: `dev_vm.h` of TU102.
const TRIGGER: u32 = 1 << 31;
const ACK_GLOBALLY: u32 = 1 << 7;
const SYS_MEMBAR: u32 = 1 << 6;
const HUBTLB_ONLY: u32 = 1 << 2;
const ALL_PDB: u32 = 1 << 1;
const ALL_VA: u32 = 1 << 0;

/// The invalidation of a job that has only added something.
pub(crate) const UPGRADE: u32 = TRIGGER | ALL_VA;
/// The invalidation of a job that has removed something.
pub(crate) const DOWNGRADE: u32 = TRIGGER | ACK_GLOBALLY | SYS_MEMBAR | ALL_VA;
/// Further bits of both in the address space of a BAR.
pub(crate) const HUB: u32 = HUBTLB_ONLY | ALL_PDB;

/// The accesses of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Number of words that it has written to page tables.
    pub(crate) writes: usize,
    /// Number of these words in tables that were not linked yet.
    pub(crate) fresh: usize,
    /// Number of words of page tables that it has read before it changed them.
    pub(crate) reads: usize,
    /// The command that has invalidated the TLB.
    pub(crate) command: u32,
}

/// A table that can be reached.
#[derive(Clone, Copy)]
struct Reached {
    address: VramAddress,
    is_directory: bool,
}

/// A second GPU model, on which the writes of a job are repeated one by one.
struct Replay<'a> {
    gpu: Arc<SoftGpu>,
    pdb: VramAddress,
    /// The GPU model on which the job has run.
    original: &'a SoftGpu,
    /// The accesses of the job there.
    log: &'a [Logged],
    /// The tables that can be reached.
    reached: KVec<Reached>,
    /// The words that were written.
    written: KVec<VramAddress>,
    fresh: usize,
}

impl<'a> Replay<'a> {
    /// Creates a replay on `gpu`, which contains the tables that can be reached at first.
    fn new(
        gpu: Arc<SoftGpu>,
        pdb: VramAddress,
        original: &'a SoftGpu,
        log: &'a [Logged],
    ) -> Result<Self> {
        let mut replay = Self {
            gpu,
            pdb,
            original,
            log,
            reached: KVec::new(),
            written: KVec::with_capacity(LOG, GFP_KERNEL)?,
            fresh: 0,
        };
        replay.follow()?;

        Ok(replay)
    }

    /// Follows all entries, which fails if one points to a table that is not written in full.
    fn follow(&mut self) -> Result {
        self.reached.clear();
        for table in self.gpu.reach(self.pdb)? {
            let reached = Reached {
                address: table.address,
                is_directory: table.is_directory,
            };
            self.reached.push(reached, GFP_KERNEL)?;
        }

        Ok(())
    }

    /// Writes a word of a table as the job has done. Calls `moment` if the GPU can see the word.
    fn write(
        &mut self,
        address: VramAddress,
        value: u64,
        moment: &mut dyn FnMut(&SoftGpu) -> Result,
    ) -> Result {
        let table = VramAddress::new(address.into_raw() & !(PAGE_SIZE - 1));
        let Some(linked) = self.reached.iter().find(|it| it.address == table).copied() else {
            return self.write_unlinked(table, address, value);
        };
        ensure!(!self.written.contains(&address));
        // Only pages are written again with the same word.
        if linked.is_directory && is_pointer(value) {
            ensure!(self.gpu.vram_read64(address) != value);
        }
        self.put(address, value)?;
        self.follow()?;
        moment(&self.gpu)
    }

    fn write_unlinked(&mut self, table: VramAddress, address: VramAddress, value: u64) -> Result {
        let is_in_table =
            |word: &VramAddress| word.into_raw() & !(PAGE_SIZE - 1) == table.into_raw();
        if !self.written.iter().any(is_in_table) {
            self.copy_unwritten(table)?;
        }
        self.fresh += 1;

        self.put(address, value)
    }

    fn put(&mut self, address: VramAddress, value: u64) -> Result {
        self.written
            .push_within_capacity(address)
            .map_err(|_| ENOSPC)?;
        self.gpu.vram_write64(address, value);

        Ok(())
    }

    /// Copies the words of a table that the job does not write. Others count as unwritten until the
    /// job writes them.
    fn copy_unwritten(&self, table: VramAddress) -> Result {
        for offset in (0..PAGE_SIZE).step_by(size_of::<u64>()) {
            let word = table.checked_add(offset)?;
            let is_written = self
                .log
                .iter()
                .any(|logged| matches!(logged, Logged::Write { address, .. } if *address == word));
            if !is_written {
                self.gpu.vram_write64(word, self.original.vram_read64(word));
            }
        }

        Ok(())
    }
}

impl<F: TestFormat> Fixture<F> {
    /// Runs a job. Calls `moment` with a GPU model for each state of the page tables that the GPU
    /// could have seen meanwhile, including the first and the last one.
    ///
    /// Fails unless, whatever the job does,
    ///
    /// - no table is linked that has not been written in full;
    /// - no word that the GPU can see is written twice, and no pointer to a table that is there
    ///   already;
    /// - after the writes, the last word is read back, and nothing else is read;
    /// - after that, the TLB is invalidated once.
    pub(crate) fn observe(
        &self,
        job: Job,
        moment: &mut dyn FnMut(&SoftGpu) -> Result,
    ) -> Result<(Job, Observed)> {
        let mut job = job;
        let gpu = self.copy_tables()?;
        moment(&gpu)?;

        self.gpu.start_log(LOG)?;
        let ran = job.run();
        let all = self.gpu.take_log();
        ran?;

        let mut replay = Replay::new(gpu, self.pdb(), &self.gpu, &all)?;
        let mut log = all.iter().peekable();
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
            job,
            Observed {
                writes: replay.written.len(),
                fresh: replay.fresh,
                reads,
                command,
            },
        ))
    }

    /// Copies the tables that can be reached to a GPU model that has nothing else in its VRAM.
    fn copy_tables(&self) -> Result<Arc<SoftGpu>> {
        let gpu = self.another_gpu()?;

        for table in self.gpu.reach(self.pdb())? {
            for offset in (0..PAGE_SIZE).step_by(size_of::<u64>()) {
                let address = table.address.checked_add(offset)?;
                gpu.vram_write64(address, self.gpu.vram_read64(address));
            }
        }

        Ok(gpu)
    }

    /// Runs a job and frees it. Fails unless all is as it should be, see [`Self::observe`] and
    /// [`Self::check`].
    pub(crate) fn observe_all(&mut self, job: Job) -> Result<Observed> {
        let (job, observed) = self.observe(job, &mut |_| Ok(()))?;
        job.free();
        self.check()?;

        Ok(observed)
    }
}

/// Returns whether a word of a directory points to a table, in all formats.
fn is_pointer(word: u64) -> bool {
    word & 1 == 0 && word & 0x6 != 0
}

/// Number of words of a table of 4 KiB.
pub(crate) const TABLE_WORDS: usize = 512;

/// Fails unless each page `first + n` is mapped to the memory at `address + n * 4 KiB`, where `n`
/// is from `pages`.
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

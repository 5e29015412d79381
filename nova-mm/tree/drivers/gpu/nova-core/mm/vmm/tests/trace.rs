// SPDX-License-Identifier: GPL-2.0

//! Traces of jobs: the page table states that the GPU can see while a job runs.

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
        GpuModel,
        Logged, //
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

/// Maximum number of logged accesses of a job.
const LOG: usize = 4096;

/// Bits of the register that starts an invalidation (TU102 `dev_vm.h`).
const TRIGGER: u32 = 1 << 31;
const ACK_GLOBALLY: u32 = 1 << 7;
const SYS_MEMBAR: u32 = 1 << 6;
const HUBTLB_ONLY: u32 = 1 << 2;
const ALL_PDB: u32 = 1 << 1;
const ALL_VA: u32 = 1 << 0;

/// Invalidation command of a job that only adds mappings.
pub(crate) const UPGRADE: u32 = TRIGGER | ALL_VA;
/// Invalidation command of a job that removes mappings or access rights.
pub(crate) const DOWNGRADE: u32 = TRIGGER | ACK_GLOBALLY | SYS_MEMBAR | ALL_VA;
/// Additional bits of both commands in a BAR's address space.
pub(crate) const HUB: u32 = HUBTLB_ONLY | ALL_PDB;

/// Summary of the accesses of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    /// Number of words written to page tables.
    pub(crate) writes: usize,
    /// Number of these words in tables that were not linked yet.
    pub(crate) fresh: usize,
    /// Number of words of page tables read before the first write.
    pub(crate) reads: usize,
    /// Command of the TLB invalidation.
    pub(crate) command: u32,
}

/// A table that is reachable from the PDB.
#[derive(Clone, Copy)]
struct Reachable {
    address: VramAddress,
    is_directory: bool,
}

/// A second GPU model on which the writes of a job are repeated one by one.
struct Replay<'a> {
    gpu: Arc<GpuModel>,
    pdb: VramAddress,
    /// GPU model on which the job ran.
    original: &'a GpuModel,
    /// Accesses of the job.
    log: &'a [Logged],
    /// Tables that are reachable now.
    reachable: KVec<Reachable>,
    /// Words written so far.
    written: KVec<VramAddress>,
    fresh: usize,
}

impl<'a> Replay<'a> {
    /// Creates a replay on `gpu`, which contains the tables that are reachable before the job.
    fn new(
        gpu: Arc<GpuModel>,
        pdb: VramAddress,
        original: &'a GpuModel,
        log: &'a [Logged],
    ) -> Result<Self> {
        let mut replay = Self {
            gpu,
            pdb,
            original,
            log,
            reachable: KVec::new(),
            written: KVec::with_capacity(LOG, GFP_KERNEL)?,
            fresh: 0,
        };
        replay.update_reachable()?;

        Ok(replay)
    }

    /// Updates the list of reachable tables. Fails if an entry points to a table that has not been
    /// written completely.
    fn update_reachable(&mut self) -> Result {
        self.reachable.clear();
        for table in self.gpu.reachable_tables(self.pdb)? {
            let reachable = Reachable {
                address: table.address,
                is_directory: table.is_directory,
            };
            self.reachable.push(reachable, GFP_KERNEL)?;
        }

        Ok(())
    }

    /// Repeats a write to a table. Calls `visit` if the GPU can see the word.
    fn write(
        &mut self,
        address: VramAddress,
        value: u64,
        visit: &mut dyn FnMut(&GpuModel) -> Result,
    ) -> Result {
        let table = VramAddress::new(address.into_raw() & !(PAGE_SIZE - 1));
        let Some(linked) = self
            .reachable
            .iter()
            .find(|it| it.address == table)
            .copied()
        else {
            return self.write_unlinked(table, address, value);
        };
        ensure!(!self.written.contains(&address));
        // Only PTEs may be rewritten with the same value.
        if linked.is_directory && is_pointer(value) {
            ensure!(self.gpu.vram_read64(address) != value);
        }
        self.write_word(address, value)?;
        self.update_reachable()?;
        visit(&self.gpu)
    }

    fn write_unlinked(&mut self, table: VramAddress, address: VramAddress, value: u64) -> Result {
        let is_in_table =
            |word: &VramAddress| word.into_raw() & !(PAGE_SIZE - 1) == table.into_raw();
        if !self.written.iter().any(is_in_table) {
            self.copy_unwritten(table)?;
        }
        self.fresh += 1;

        self.write_word(address, value)
    }

    fn write_word(&mut self, address: VramAddress, value: u64) -> Result {
        self.written
            .push_within_capacity(address)
            .map_err(|_| ENOSPC)?;
        self.gpu.vram_write64(address, value);

        Ok(())
    }

    /// Copies the words of a table that the job does not write. The others stay uninitialized until
    /// the job writes them.
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
    /// Runs a job. Calls `visit` with a GPU model for each state of the page tables that the GPU
    /// can see, including the first and the last one.
    ///
    /// Fails unless, for any job,
    ///
    /// - tables are linked only after they have been written completely;
    /// - no word that the GPU can see is written twice, and no PDE with its old value;
    /// - after the writes, only the last word is read back;
    /// - after that, the TLB is invalidated once.
    pub(crate) fn trace(
        &self,
        job: Job,
        visit: &mut dyn FnMut(&GpuModel) -> Result,
    ) -> Result<(Job, Trace)> {
        let mut job = job;
        let gpu = self.copy_tables()?;
        visit(&gpu)?;

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
            replay.write(address, value, visit)?;
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
            Trace {
                writes: replay.written.len(),
                fresh: replay.fresh,
                reads,
                command,
            },
        ))
    }

    /// Copies the reachable tables to a GPU model with otherwise uninitialized VRAM.
    fn copy_tables(&self) -> Result<Arc<GpuModel>> {
        let gpu = self.new_gpu()?;

        for table in self.gpu.reachable_tables(self.pdb())? {
            let words = self.gpu.vram_read(table.address, TABLE_WORDS)?;
            gpu.vram_write(table.address, &words);
        }

        Ok(gpu)
    }

    /// Runs and frees a job. Fails unless [`Self::trace`] and [`Self::check`] succeed.
    pub(crate) fn trace_and_free(&mut self, job: Job) -> Result<Trace> {
        let (job, trace) = self.trace(job, &mut |_| Ok(()))?;
        job.free();
        self.check()?;

        Ok(trace)
    }
}

/// Returns whether a word of a directory points to a table, in all formats.
fn is_pointer(word: u64) -> bool {
    word & 1 == 0 && word & 0x6 != 0
}

/// Number of words in a 4 KiB table.
pub(crate) const TABLE_WORDS: usize = 512;

/// A 4 KiB table without entries.
pub(crate) const EMPTY_TABLE: [u64; TABLE_WORDS] = [0; TABLE_WORDS];

/// Fails unless each page `first + n`, with `n` from `pages`, is mapped to the memory at `address +
/// n * 4 KiB`.
pub(crate) fn ensure_mapped_on(
    gpu: &GpuModel,
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

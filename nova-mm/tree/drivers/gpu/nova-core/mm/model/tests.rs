// SPDX-License-Identifier: GPL-2.0

//! The software GPU is as hostile as it says: tests that rely on it could not fail otherwise.
//!
//! Tables are written word by word, and registers by their offsets, so that nothing of the driver
//! is in the way.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::mm::{
    address::{
        VirtualAddress,
        VramAddress, //
    },
    mmio::Mmio,
    model::{
        Access,
        Config,
        Fault,
        ModelBar0,
        SoftGpu, //
    },
};

mod bus;
mod cache;
mod v2;
mod v3;

/// Root page directory of the tests' address space.
const PDB: u64 = 0x1_0000;

/// Bits of the register that starts an invalidate.
const TRIGGER_ALL_VA: u32 = 0x8000_0001;
const ALL_PDB: u32 = 0x2;
const HUBTLB_ONLY: u32 = 0x4;

/// A software GPU and its BAR0.
struct Bench {
    gpu: Arc<SoftGpu>,
    bar: ModelBar0,
}

impl Bench {
    fn new(config: Config) -> Result<Self> {
        let gpu = SoftGpu::new(config)?;
        let bar = gpu.bar0();

        Ok(Self { gpu, bar })
    }

    /// Makes an address space: directories of Turing at [`PDB`] and behind it, down to a table of
    /// small pages at [`SMALL`](v2::SMALL), which is empty.
    fn with_tables() -> Result<Self> {
        let bench = Self::new(Config::default())?;
        v2::write_directories(&bench);

        Ok(bench)
    }

    /// Writes a word of VRAM by the back door.
    fn set(&self, address: u64, value: u64) {
        self.gpu.vram_write64(VramAddress::new(address), value);
    }

    /// Zeroes a page of VRAM by the back door.
    fn zero(&self, page: u64) {
        for offset in (0..0x1000).step_by(8) {
            self.set(page + offset, 0);
        }
    }

    /// Returns where an address leads that an engine reads.
    fn read(&self, address: u64) -> Result<u64, Fault> {
        self.access(address, Access::READ)
    }

    /// Returns where an address leads.
    fn access(&self, address: u64, access: Access) -> Result<u64, Fault> {
        self.gpu
            .translate(VramAddress::new(PDB), VirtualAddress::new(address), access)
            .map(|translation| translation.address)
    }

    /// Returns where an address leads by the page tables as they are.
    fn walk(&self, address: u64) -> Result<u64, Fault> {
        self.gpu
            .walk(VramAddress::new(PDB), VirtualAddress::new(address))
            .map(|translation| translation.address)
    }

    /// Starts an invalidate of the address space at `pdb`.
    fn start_invalidate(&self, pdb: u64, command: u32) -> Result {
        let named = u32::try_from(pdb >> 8).map_err(|_| EINVAL)?;
        self.bar.write32(named, 0xb8_30a0)?;
        self.bar.write32(0, 0xb8_30a4)?;

        self.bar.write32(command, 0xb8_30b0)
    }

    /// Whether an invalidate is pending.
    fn is_pending(&self) -> Result<bool> {
        Ok(self.bar.read32(0xb8_30b0)? >> 31 != 0)
    }

    /// Invalidates, and waits until it is done.
    fn invalidate(&self, pdb: u64, command: u32) -> Result {
        self.start_invalidate(pdb, command)?;
        while self.is_pending()? {}

        Ok(())
    }
}

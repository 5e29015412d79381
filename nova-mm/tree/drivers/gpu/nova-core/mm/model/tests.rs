// SPDX-License-Identifier: GPL-2.0

//! Tests of the GPU model.
//!
//! They write page tables word by word and registers by offset, independently of the driver.

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
        GpuModel,
        ModelBar0, //
    },
};

mod bus;
mod cache;
mod v2;
mod v3;

/// Root page directory of the test address space.
const PDB: u64 = 0x1_0000;

/// Bits of the register that starts an invalidate.
const TRIGGER_ALL_VA: u32 = 0x8000_0001;
const ALL_PDB: u32 = 0x2;
const HUBTLB_ONLY: u32 = 0x4;

/// A GPU model and its BAR0.
struct Fixture {
    gpu: Arc<GpuModel>,
    bar: ModelBar0,
}

impl Fixture {
    fn new(config: Config) -> Result<Self> {
        let gpu = GpuModel::new(config)?;
        let bar = gpu.bar0();

        Ok(Self { gpu, bar })
    }

    /// Creates a fixture with an address space: MMU v2 directories starting at [`PDB`], down to an
    /// empty table of small pages at [`SMALL`](v2::SMALL).
    fn with_tables() -> Result<Self> {
        let fixture = Self::new(Config::default())?;
        v2::write_directories(&fixture);

        Ok(fixture)
    }

    /// Writes a word of VRAM directly.
    fn set(&self, address: u64, value: u64) {
        self.gpu.vram_write64(VramAddress::new(address), value);
    }

    /// Zeroes a page of VRAM directly.
    fn zero(&self, page: u64) {
        for offset in (0..0x1000).step_by(8) {
            self.set(page + offset, 0);
        }
    }

    /// Translates an address for a read by an engine.
    fn read(&self, address: u64) -> Result<u64, Fault> {
        self.access(address, Access::READ)
    }

    /// Translates an address for `access`.
    fn access(&self, address: u64, access: Access) -> Result<u64, Fault> {
        self.gpu
            .translate(VramAddress::new(PDB), VirtualAddress::new(address), access)
            .map(|translation| translation.address)
    }

    /// Translates an address by the page tables alone, bypassing the TLB.
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

    /// Returns whether an invalidate is pending.
    fn is_pending(&self) -> Result<bool> {
        Ok(self.bar.read32(0xb8_30b0)? >> 31 != 0)
    }

    /// Starts an invalidate and waits until it completes.
    fn invalidate(&self, pdb: u64, command: u32) -> Result {
        self.start_invalidate(pdb, command)?;
        while self.is_pending()? {}

        Ok(())
    }
}

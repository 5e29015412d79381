// SPDX-License-Identifier: GPL-2.0

//! BAR1 of the GPU model: the CPU's view of an address space.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

use crate::{
    mm::{
        address::{
            VirtualAddress,
            VramAddress, //
        },
        format::Aperture,
        mmio::{
            DeviceBar,
            Mmio, //
        },
        model::{
            bar0::{
                check_access,
                low32, //
            },
            state::{
                mask_and_shift,
                State,
                Violation, //
            },
            walk::{
                Access,
                Fault, //
            }, //
        }, //
    },
    num::{
        u64_as_usize,
        usize_as_u64, //
    }, //
};

/// A handle to BAR1 of a GPU model.
///
/// An offset is a virtual address of the address space. A faulting read returns all ones, a
/// faulting write has no effect, and [`take_bar1_fault`](super::GpuModel::take_bar1_fault) returns
/// the fault.
#[derive(Clone)]
pub(crate) struct ModelBar1 {
    state: Arc<Mutex<State>>,
}

impl ModelBar1 {
    pub(super) fn new(state: Arc<Mutex<State>>) -> Self {
        Self { state }
    }

    /// Reads `width` bytes.
    fn read(&self, offset: usize, width: usize) -> Result<u64> {
        let mut state = self.state.lock();
        check_access(offset, width, u64_as_usize(state.config.bar1_size))?;

        Ok(state.bar1_read(usize_as_u64(offset), width))
    }

    /// Writes `width` bytes.
    fn write(&self, offset: usize, width: usize, value: u64) -> Result {
        let mut state = self.state.lock();
        check_access(offset, width, u64_as_usize(state.config.bar1_size))?;
        state.bar1_write(usize_as_u64(offset), width, value);

        Ok(())
    }
}

impl DeviceBar for ModelBar1 {
    fn with(&self, access: &mut dyn FnMut(&dyn Mmio)) -> Result {
        if self.state.lock().failures.unbound_in == Some(0) {
            return Err(ENODEV);
        }
        access(self);

        Ok(())
    }
}

impl Mmio for ModelBar1 {
    fn read32(&self, offset: usize) -> Result<u32> {
        self.read(offset, 4).map(low32)
    }

    fn read64(&self, offset: usize) -> Result<u64> {
        self.read(offset, 8)
    }

    fn write32(&self, value: u32, offset: usize) -> Result {
        self.write(offset, 4, value.into())
    }

    fn write64(&self, value: u64, offset: usize) -> Result {
        self.write(offset, 8, value)
    }
}

impl State {
    fn bar1_read(&mut self, offset: u64, width: usize) -> u64 {
        self.counts.bar1_reads += 1;
        match self.bar1_address(offset, Access::HUB_READ) {
            Ok(address) => {
                let (mask, shift) = mask_and_shift(address, width);

                (self.vram_read64(address - address % 8) & mask) >> shift
            }
            Err(Fault::Sparse) => 0,
            Err(_) => u64::MAX,
        }
    }

    fn bar1_write(&mut self, offset: u64, width: usize, value: u64) {
        self.counts.bar1_writes += 1;
        if let Ok(address) = self.bar1_address(offset, Access::HUB_WRITE) {
            let (mask, shift) = mask_and_shift(address, width);
            let word = address - address % 8;
            if self.vram.write(word, mask, value << shift).is_none() {
                self.violate(Violation::OutOfVram(VramAddress::new(address)));
            }
        }
    }

    /// Returns the VRAM address that an offset accesses. Records faults, except those at sparse
    /// entries.
    fn bar1_address(&mut self, offset: u64, access: Access) -> Result<u64, Fault> {
        let pdb = self.config.bar1_pdb.into_raw();
        let result = match self.translate(pdb, offset, access) {
            Ok(translation) if translation.aperture == Aperture::Vram => Ok(translation.address),
            Ok(_) => Err(Fault::NotInVram),
            Err(fault) => Err(fault),
        };
        if let Err(fault) = result {
            if fault != Fault::Sparse {
                self.bar1_fault = Some((VirtualAddress::new(offset), fault));
            }
        }

        result
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A fake BAR0 for KUnit tests of the words that the driver writes.
//!
//! It has a small VRAM behind PRAMIN, and registers without side effects. Writes arrive at once,
//! and nothing walks the page tables.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

use crate::{
    mm::{
        address::VramAddress,
        mmio::{
            DeviceBar,
            Mmio,
            Registers, //
        },
        regs::{
            NV_PBUS_BAR0_WINDOW,
            NV_PRAMIN, //
        },
    },
    num::{
        u32_as_usize,
        u64_as_usize, //
    },
};

/// First address of the VRAM in bytes. It ends in another MiB than it starts in.
pub(crate) const VRAM_START: u64 = 0xf_8000;

/// Size of the VRAM in bytes.
pub(crate) const VRAM_SIZE: u64 = 0x1_0000;

/// Offset in bytes of the register that starts invalidations.
const INVALIDATE: usize = 0x00b8_30b0;

/// Bit of that register that is set while an invalidation is pending.
const TRIGGER: u32 = 1 << 31;

/// A fake BAR0. Clones refer to the same BAR.
#[derive(Clone)]
pub(crate) struct FakeBar(Arc<Mutex<State>>);

struct State {
    /// Words of 32 bits.
    vram: KVec<u32>,
    /// The part of VRAM that PRAMIN shows, in units of 64 KiB.
    window: u32,
    /// Writes to registers: offset and value.
    writes: KVec<(usize, u32)>,
    /// Number of reads of VRAM.
    reads: usize,
    /// Number of reads of the register that will find an invalidation pending.
    pending_polls: u32,
    is_unbound: bool,
}

impl FakeBar {
    /// Creates a BAR whose VRAM contains zeros.
    pub(crate) fn new() -> Result<Self> {
        let words = u64_as_usize(VRAM_SIZE) / size_of::<u32>();
        let state = State {
            vram: KVec::from_elem(0, words, GFP_KERNEL)?,
            window: u32::MAX,
            writes: KVec::new(),
            reads: 0,
            pending_polls: 0,
            is_unbound: false,
        };

        Ok(Self(Arc::pin_init(
            new_mutex!(state, "FakeBar"),
            GFP_KERNEL,
        )?))
    }

    /// Returns the BAR as the driver receives it.
    pub(crate) fn registers(&self) -> Result<Registers> {
        Ok(Registers::new(Arc::new(self.clone(), GFP_KERNEL)?))
    }

    /// Returns the writes to registers since the last call.
    pub(crate) fn take_writes(&self) -> KVec<(usize, u32)> {
        core::mem::take(&mut self.0.lock().writes)
    }

    /// Returns the number of reads of VRAM since the last call.
    pub(crate) fn take_reads(&self) -> usize {
        core::mem::take(&mut self.0.lock().reads)
    }

    /// Sets how many reads of the register will find an invalidation pending.
    pub(crate) fn set_pending_polls(&self, count: u32) {
        self.0.lock().pending_polls = count;
    }

    /// Makes all further accesses fail as after an unbind of the device.
    pub(crate) fn unbind(&self) {
        self.0.lock().is_unbound = true;
    }
}

impl State {
    /// Returns the index in `vram` of the word at `offset` in BAR0, which must lie in PRAMIN.
    fn index(&self, offset: usize) -> Result<usize> {
        let base = u32_as_usize(self.window) << 16;
        let address = base + (offset - NV_PRAMIN.start);
        let start = u64_as_usize(VRAM_START);

        Ok(address.checked_sub(start).ok_or(EINVAL)? / size_of::<u32>())
    }

    fn read(&mut self, offset: usize) -> Result<u32> {
        if NV_PRAMIN.contains(&offset) {
            let index = self.index(offset)?;

            return self.vram.get(index).copied().ok_or(EINVAL);
        }
        if offset == INVALIDATE && self.pending_polls > 0 {
            self.pending_polls -= 1;
            return Ok(TRIGGER);
        }

        Ok(0)
    }

    fn write(&mut self, value: u32, offset: usize) -> Result {
        if NV_PRAMIN.contains(&offset) {
            let index = self.index(offset)?;
            *self.vram.get_mut(index).ok_or(EINVAL)? = value;

            return Ok(());
        }
        if offset == NV_PBUS_BAR0_WINDOW::OFFSET {
            self.window = value;
        }

        Ok(self.writes.push((offset, value), GFP_KERNEL)?)
    }

    fn count_read(&mut self, offset: usize) {
        self.reads += usize::from(NV_PRAMIN.contains(&offset));
    }
}

impl Mmio for FakeBar {
    fn read32(&self, offset: usize) -> Result<u32> {
        let mut state = self.0.lock();
        state.count_read(offset);

        state.read(offset)
    }

    fn read64(&self, offset: usize) -> Result<u64> {
        let mut state = self.0.lock();
        state.count_read(offset);
        let low = state.read(offset)?;
        let high = state.read(offset + 4)?;

        Ok(u64::from(high) << 32 | u64::from(low))
    }

    fn write32(&self, value: u32, offset: usize) -> Result {
        self.0.lock().write(value, offset)
    }

    fn write64(&self, value: u64, offset: usize) -> Result {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        let mut state = self.0.lock();
        state.write(u32::from_le_bytes([a, b, c, d]), offset)?;

        state.write(u32::from_le_bytes([e, f, g, h]), offset + 4)
    }
}

impl DeviceBar for FakeBar {
    fn with(&self, access: &mut dyn FnMut(&dyn Mmio)) -> Result {
        if self.0.lock().is_unbound {
            return Err(ENODEV);
        }
        access(self);

        Ok(())
    }
}

/// Returns the address `offset` bytes from the start of the VRAM.
pub(crate) const fn vram(offset: u64) -> VramAddress {
    VramAddress::new(VRAM_START + offset)
}

/// Returns the address after the end of the VRAM.
pub(crate) const fn vram_end() -> VramAddress {
    vram(VRAM_SIZE)
}

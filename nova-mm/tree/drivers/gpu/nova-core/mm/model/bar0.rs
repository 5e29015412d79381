// SPDX-License-Identifier: GPL-2.0

//! BAR0 of the GPU model: the PRAMIN window and the registers that invalidate the TLB.
//!
//! Offsets and fields are taken from `dev_ram.h` and `dev_vm.h` of TU102 in
//! open-gpu-kernel-modules. In the headers of later chips, the definitions used here are the same.

use kernel::{
    prelude::*,
    sizes::SZ_16M,
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
            Mmio, //
        },
        model::{
            config::WideAccess,
            state::{
                mask_and_shift,
                Direction,
                Logged,
                State,
                Violation, //
            }, //
        }, //
    },
    num::usize_as_u64, //
};

/// Offsets of the first and the last byte of PRAMIN.
const PRAMIN: usize = 0x70_0000;
const PRAMIN_LAST: usize = 0x7f_ffff;
/// Address space to invalidate: bits 31:4 hold bits 39:12 of the address of its root page
/// directory. Bit 1 is set if the directory is not in VRAM.
const INVALIDATE_PDB: usize = 0xb8_30a0;
/// Bits 59:40 of the address of the root page directory.
const INVALIDATE_UPPER_PDB: usize = 0xb8_30a4;
/// Starts an invalidate.
const INVALIDATE: usize = 0xb8_30b0;

/// Bits of [`INVALIDATE`].
const ALL_VA: u32 = 1 << 0;
const ALL_PDB: u32 = 1 << 1;
const HUBTLB_ONLY: u32 = 1 << 2;
const SYS_MEMBAR: u32 = 1 << 6;
const ACK: u32 = 3 << 7;
const TRIGGER: u32 = 1 << 31;

/// Value of a read that no register or VRAM answers.
const ALL_ONES: u64 = u64::MAX;

/// Condition on which a pending invalidate completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    /// After this many more reads of the register.
    Reads(u32),
    /// Only by [`GpuModel::recover`](super::GpuModel::recover).
    Recovery,
}

/// The registers that invalidate the TLB.
pub(super) struct Invalidate {
    /// Number of reads that report the next invalidate as pending.
    pub(super) polls: u32,
    /// Number of invalidates before one hangs.
    pub(super) hang_in: Option<u32>,
    pdb: u32,
    upper_pdb: u32,
    command: u32,
    pending: Option<Pending>,
    /// Whether the driver has started the pending invalidate.
    by_driver: bool,
}

impl Invalidate {
    pub(super) fn new(polls: u32) -> Self {
        Self {
            polls,
            hang_in: None,
            pdb: 0,
            upper_pdb: 0,
            command: 0,
            pending: None,
            by_driver: false,
        }
    }

    /// Makes an invalidate pending that the firmware has started. Changes the registers.
    pub(super) fn leave_pending(&mut self, reads: u32) {
        self.pdb = 0;
        self.upper_pdb = 0;
        self.pending = Some(Pending::Reads(reads));
        self.by_driver = false;
    }

    /// Returns the address of the root page directory that the registers hold.
    fn target_pdb(&self) -> u64 {
        (u64::from(self.pdb >> 4) << 12) | (u64::from(self.upper_pdb & 0xf_ffff) << 40)
    }
}

/// A handle to BAR0 of a GPU model.
#[derive(Clone)]
pub(crate) struct ModelBar0 {
    state: Arc<Mutex<State>>,
}

impl ModelBar0 {
    pub(super) fn new(state: Arc<Mutex<State>>) -> Self {
        Self { state }
    }

    /// Reads `width` bytes.
    fn read(&self, offset: usize, width: usize) -> Result<u64> {
        check_access(offset, width, SZ_16M)?;
        let mut state = self.state.lock();
        state.failures.count(Direction::Read)?;

        Ok(state.bar0_read(offset, width))
    }

    /// Writes `width` bytes.
    fn write(&self, offset: usize, width: usize, value: u64) -> Result {
        check_access(offset, width, SZ_16M)?;
        let mut state = self.state.lock();
        state.failures.count(Direction::Write)?;
        state.bar0_write(offset, width, value);

        Ok(())
    }
}

/// Checks that an access is aligned and within a BAR of `size` bytes.
pub(super) fn check_access(offset: usize, width: usize, size: usize) -> Result {
    let end = offset.checked_add(width).ok_or(EINVAL)?;
    if offset % width != 0 || end > size {
        return Err(EINVAL);
    }

    Ok(())
}

/// Returns the lower half of a value.
pub(super) fn low32(value: u64) -> u32 {
    // CAST: The upper half is zero.
    (value & 0xffff_ffff) as u32
}

impl Mmio for ModelBar0 {
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

impl DeviceBar for ModelBar0 {
    fn with(&self, access: &mut dyn FnMut(&dyn Mmio)) -> Result {
        let mut state = self.state.lock();
        let failures = &mut state.failures;
        failures.sections += 1;
        if let Some(left) = &mut failures.unbound_in {
            *left = left.checked_sub(1).ok_or(ENODEV)?;
        }
        drop(state);
        access(self);

        Ok(())
    }
}

impl State {
    fn bar0_read(&mut self, offset: usize, width: usize) -> u64 {
        match offset {
            PRAMIN..=PRAMIN_LAST => self.pramin_read(offset - PRAMIN, width),
            INVALIDATE if width == 4 => self.poll_invalidate(),
            _ => self.register_read(offset, width),
        }
    }

    fn register_read(&mut self, offset: usize, width: usize) -> u64 {
        self.counts.other_reads += 1;
        if width == 4 {
            match offset {
                INVALIDATE_PDB => return self.invalidate.pdb.into(),
                INVALIDATE_UPPER_PDB => return self.invalidate.upper_pdb.into(),
                _ => {}
            }
        }
        self.violate(Violation::Register(offset));
        ALL_ONES
    }

    fn bar0_write(&mut self, offset: usize, width: usize, value: u64) {
        match offset {
            PRAMIN..=PRAMIN_LAST => self.pramin_write(offset - PRAMIN, width, value),
            _ if width != 4 => {
                self.counts.other_writes += 1;
                self.violate(Violation::Register(offset));
            }
            INVALIDATE => self.start_invalidate(low32(value)),
            _ if offset == self.window_register.offset => self.program_window(low32(value)),
            _ => self.register_write(offset, low32(value)),
        }
    }

    fn register_write(&mut self, offset: usize, value: u32) {
        self.counts.other_writes += 1;
        let (register, unused) = match offset {
            INVALIDATE_PDB => (&mut self.invalidate.pdb, 0x0000_000f),
            INVALIDATE_UPPER_PDB => (&mut self.invalidate.upper_pdb, 0xfff0_0000),
            _ => return self.violate(Violation::Register(offset)),
        };
        *register = value;
        if value & unused != 0 {
            self.violate(Violation::InvalidateValue(offset, value));
        }
        self.check_idle(offset);
    }

    fn program_window(&mut self, value: u32) {
        self.counts.window_writes += 1;
        let base = u64::from(value & self.window_register.base) << 16;
        if value & !self.window_register.base != 0 || !self.vram.contains(base) {
            self.violate(Violation::WindowValue(value));
        }
        self.window = Some(base);
    }

    /// Returns the VRAM address that an offset in PRAMIN accesses.
    fn pramin_address(&mut self, offset: usize) -> Option<u64> {
        let Some(window) = self.window else {
            self.violate(Violation::WindowNotProgrammed);
            return None;
        };
        let address = window + usize_as_u64(offset);
        if !self.vram.contains(address) {
            self.violate(Violation::OutOfVram(VramAddress::new(address)));
            return None;
        }

        Some(address)
    }

    /// Returns the value of an access through PRAMIN with the effect of [`WideAccess::Swapped`].
    fn swap_halves(&self, value: u64, width: usize) -> u64 {
        match (width, self.config.wide_access) {
            (8, WideAccess::Swapped) => value.rotate_left(32),
            _ => value,
        }
    }

    /// Returns the number of bytes of an access through PRAMIN that take effect.
    fn effective_width(&self, width: usize) -> usize {
        match (width, self.config.wide_access) {
            (8, WideAccess::LowerHalf) => 4,
            (8, WideAccess::Dropped) => 0,
            _ => width,
        }
    }

    fn pramin_read(&mut self, offset: usize, width: usize) -> u64 {
        self.counts.pramin_reads += 1;
        let Some(address) = self.pramin_address(offset) else {
            return ALL_ONES;
        };
        let width = self.effective_width(width);
        if width == 0 {
            return ALL_ONES;
        }
        self.log(Logged::Read {
            address: VramAddress::new(address),
        });
        // A read flushes earlier posted writes.
        self.vram.drain();
        let (mask, shift) = mask_and_shift(address, width);
        let word = self.vram.read(address - address % 8);

        word.map_or(ALL_ONES, |word| {
            self.swap_halves((word & mask) >> shift, width)
        })
    }

    fn pramin_write(&mut self, offset: usize, width: usize, value: u64) {
        self.counts.pramin_writes += 1;
        let Some(address) = self.pramin_address(offset) else {
            return;
        };
        let width = self.effective_width(width);
        if width == 0 {
            return;
        }
        let (mask, shift) = mask_and_shift(address, width);
        let value = self.swap_halves(value, width) & (mask >> shift);
        self.log(Logged::Write {
            address: VramAddress::new(address),
            value,
            width,
        });
        let word = address - address % 8;
        let done = if self.config.posted_writes {
            self.vram.post(word, mask, value << shift)
        } else {
            self.vram.write(word, mask, value << shift)
        };
        if done.is_none() {
            self.violate(Violation::OutOfVram(VramAddress::new(address)));
        }
    }

    /// Records a violation if an invalidate is pending when a register is written.
    fn check_idle(&mut self, offset: usize) {
        if self.invalidate.pending.is_some() {
            self.violate(Violation::InvalidatePending(offset));
        }
    }

    fn start_invalidate(&mut self, command: u32) {
        self.check_idle(INVALIDATE);
        let known = TRIGGER | ACK | SYS_MEMBAR | HUBTLB_ONLY | ALL_PDB | ALL_VA;
        let needed = TRIGGER | ALL_VA;
        if command & !known != 0 || command & needed != needed || command & ACK == ACK {
            self.violate(Violation::InvalidateValue(INVALIDATE, command));
        }
        if self.has_posted_tables(self.invalidate.target_pdb()) {
            self.violate(Violation::WritesNotFlushed);
        }

        self.counts.invalidates += 1;
        let invalidate = &mut self.invalidate;
        invalidate.command = command & !TRIGGER;
        invalidate.by_driver = true;
        invalidate.pending = Some(match invalidate.hang_in {
            Some(0) => Pending::Recovery,
            _ => Pending::Reads(invalidate.polls),
        });
        invalidate.hang_in = invalidate.hang_in.and_then(|left| left.checked_sub(1));
        let pdb = VramAddress::new(invalidate.target_pdb());
        self.log(Logged::Invalidate { pdb, command });
    }

    fn poll_invalidate(&mut self) -> u64 {
        self.counts.trigger_polls += 1;
        match &mut self.invalidate.pending {
            Some(Pending::Recovery) => {}
            Some(Pending::Reads(left)) if *left > 0 => *left -= 1,
            Some(Pending::Reads(_)) => self.complete_invalidate(),
            None => {}
        }
        let pending = self.invalidate.pending.map_or(0, |_| TRIGGER);

        (self.invalidate.command | pending).into()
    }

    /// Completes the pending invalidate, which takes effect only now.
    pub(super) fn complete_invalidate(&mut self) {
        if self.invalidate.pending.take().is_none() || !self.invalidate.by_driver {
            return;
        }
        let command = self.invalidate.command;
        let pdb = match command & ALL_PDB {
            0 => Some(self.invalidate.target_pdb()),
            _ => None,
        };
        // A root directory outside VRAM is not the driver's, so nothing of it is cached.
        if self.invalidate.pdb & 0x2 == 0 || pdb.is_none() {
            self.invalidate_tlb(pdb, command & HUBTLB_ONLY != 0);
        }
        self.log(Logged::InvalidateDone);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! State of the GPU model, protected by its mutex.

use core::ops::Range;

use kernel::prelude::*;

use crate::{
    mm::{
        address::{
            VirtualAddress,
            VramAddress, //
        },
        model::{
            bar0::Invalidate,
            config::{
                Config,
                WindowRegister, //
            },
            tlb::{
                Space,
                Tlb, //
            },
            vram::Vram,
            walk::{
                self,
                Access,
                Fault,
                Found,
                Leaf,
                Next,
                Pointer,
                Step,
                Translation,
                Walker, //
            }, //
        }, //
    },
    num::usize_as_u64, //
};

/// Numbers of accesses by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Writes to the register that programs the PRAMIN window.
    pub(crate) window_writes: u64,
    /// Reads through PRAMIN.
    pub(crate) pramin_reads: u64,
    /// Writes through PRAMIN.
    pub(crate) pramin_writes: u64,
    /// Invalidates that were started.
    pub(crate) invalidates: u64,
    /// Reads of the register that starts invalidates.
    pub(crate) trigger_polls: u64,
    /// Other reads of BAR0.
    pub(crate) other_reads: u64,
    /// Other writes of BAR0, including those that select the address space to invalidate.
    pub(crate) other_writes: u64,
    /// Reads through BAR1.
    pub(crate) bar1_reads: u64,
    /// Writes through BAR1.
    pub(crate) bar1_writes: u64,
}

impl Counts {
    /// Returns the number of all accesses.
    pub(crate) fn total(&self) -> u64 {
        self.window_writes
            + self.pramin_reads
            + self.pramin_writes
            + self.invalidates
            + self.trigger_polls
            + self.other_reads
            + self.other_writes
            + self.bar1_reads
            + self.bar1_writes
    }
}

/// Accesses that the rules of the hardware forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// PRAMIN was used before the window was programmed, or after the firmware has moved it.
    WindowNotProgrammed,
    /// The window was programmed with bits that the register does not have, or to an address
    /// outside VRAM.
    WindowValue(u32),
    /// The address is outside VRAM.
    OutOfVram(VramAddress),
    /// The offset is not one of a register of the model, or the access has a width that the
    /// register does not support.
    Register(usize),
    /// The TLB invalidation register at this offset was written while an invalidate is pending.
    InvalidatePending(usize),
    /// An invalidate was started before all writes to the page tables had reached VRAM.
    WritesNotFlushed,
    /// The TLB invalidation register at this offset was written with bits that are not valid for
    /// the driver.
    InvalidateValue(usize, u32),
    /// A walk for this address read uninitialized, poisoned or retired page tables.
    Poison(VirtualAddress),
    /// More events occurred than the capacity of the log.
    LogFull,
}

/// An event in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logged {
    /// A write through PRAMIN.
    Write {
        /// Address in VRAM.
        address: VramAddress,
        /// Value written.
        value: u64,
        /// Width in bytes: 4 or 8.
        width: usize,
    },
    /// A read through PRAMIN.
    Read {
        /// Address in VRAM.
        address: VramAddress,
    },
    /// The driver started an invalidate.
    Invalidate {
        /// Address of the root page directory in the registers.
        pdb: VramAddress,
        /// Value written to the register that starts the invalidate.
        command: u32,
    },
    /// An invalidate completed.
    InvalidateDone,
}

/// Direction of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Reads.
    Read,
    /// Writes.
    Write,
}

/// Accesses to BAR0 that fail, and the state of the device.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failures {
    /// The access that fails: its direction, and the number of earlier accesses in this direction.
    pub(super) next: Option<(Direction, u64)>,
    /// Whether the access has failed.
    pub(super) has_failed: bool,
    /// Number of uses of BAR0 after which the device is unbound.
    pub(super) unbound_in: Option<u64>,
    /// Number of uses of BAR0 so far.
    pub(super) sections: u64,
}

impl Failures {
    /// Counts an access. Returns an error if the access is the one that fails.
    pub(super) fn count(&mut self, direction: Direction) -> Result {
        match &mut self.next {
            Some((failing, left)) if *failing == direction => match left.checked_sub(1) {
                Some(rest) => *left = rest,
                None => {
                    self.next = None;
                    self.has_failed = true;
                    return Err(EIO);
                }
            },
            _ => {}
        }

        Ok(())
    }
}

/// State of a GPU model.
pub(super) struct State {
    pub(super) config: Config,
    pub(super) window_register: WindowRegister,
    /// Address of the PRAMIN window, if the driver has programmed it.
    pub(super) window: Option<u64>,
    pub(super) vram: Vram,
    pub(super) invalidate: Invalidate,
    pub(super) counts: Counts,
    pub(super) violation: Option<Violation>,
    pub(super) log: Option<KVec<Logged>>,
    pub(super) bar1_fault: Option<(VirtualAddress, Fault)>,
    pub(super) failures: Failures,
    walker: &'static dyn Walker,
    tlb: Tlb,
}

impl State {
    pub(super) fn new(config: Config) -> Result<Self> {
        let mut vram = Vram::new(
            config.vram_start.into_raw(),
            config.vram_size,
            config.poisoned,
        )?;
        for offset in (0..4096).step_by(8) {
            let address = config.bar1_pdb.into_raw() + offset;
            vram.write(address, u64::MAX, 0).ok_or(EINVAL)?;
        }

        Ok(Self {
            config,
            window_register: config.generation.window(),
            window: None,
            vram,
            invalidate: Invalidate::new(config.trigger_polls),
            counts: Counts::default(),
            violation: None,
            log: None,
            bar1_fault: None,
            failures: Failures::default(),
            walker: config.walker(),
            tlb: Tlb::new()?,
        })
    }

    /// Records a violation unless an earlier one is recorded.
    pub(super) fn violate(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// Appends to the log if one is active.
    pub(super) fn log(&mut self, logged: Logged) {
        if let Some(log) = &mut self.log {
            if log.push_within_capacity(logged).is_err() {
                self.violate(Violation::LogFull);
            }
        }
    }

    pub(super) fn vram_read64(&mut self, address: u64) -> u64 {
        self.vram.read(address).unwrap_or_else(|| {
            self.violate(Violation::OutOfVram(VramAddress::new(address)));
            u64::MAX
        })
    }

    pub(super) fn vram_write64(&mut self, address: u64, value: u64) {
        if self.vram.write(address, u64::MAX, value).is_none() {
            self.violate(Violation::OutOfVram(VramAddress::new(address)));
        }
    }

    pub(super) fn poison(&mut self, range: Range<u64>) {
        let start = VramAddress::new(range.start);
        if self.vram.poison(range).is_none() {
            self.violate(Violation::OutOfVram(start));
        }
    }

    pub(super) fn retire(&mut self, page: VramAddress) {
        if self.vram.retire(page.into_raw()).is_none() {
            self.violate(Violation::OutOfVram(page));
        }
    }

    /// Returns whether posted writes to the page tables below the root `pdb` have not reached VRAM.
    /// Does not allocate.
    ///
    /// Writes to other pages do not count, because other threads may be updating other page tables.
    pub(super) fn has_posted_tables(&self, pdb: u64) -> bool {
        self.vram.has_posted() && self.has_posted_below(0, pdb)
    }

    /// Does the same for the tables below the directory `table` of level `depth`.
    fn has_posted_below(&self, depth: usize, table: u64) -> bool {
        let levels = self.walker.directories();
        let Some(level) = levels.get(depth) else {
            return false;
        };
        let width = if depth + 1 == levels.len() { 2 } else { 1 };
        let is_posted = |pointer: Option<Pointer>| {
            let table = pointer.and_then(|pointer| pointer.vram);

            table.is_some_and(|table| self.vram.has_posted_to(table))
        };

        self.vram.has_posted_to(table)
            || (0..1u64 << level.bits).any(|index| {
                let entry = table + 8 * width * index;
                let word = |number: u64| self.vram.entry(entry + 8 * number).unwrap_or(0);
                let words = [word(0), if width == 2 { word(1) } else { 0 }];

                match self.walker.directory_entry(level.shift, words) {
                    Step::Table(Pointer { vram: Some(below) }) => {
                        self.has_posted_below(depth + 1, below)
                    }
                    Step::Dual { big, small } => is_posted(big) || is_posted(small),
                    _ => false,
                }
            })
    }

    /// Invalidates the cached translations of an address space, or of all of them.
    pub(super) fn invalidate_tlb(&mut self, pdb: Option<u64>, hub_only: bool) {
        self.tlb.invalidate(pdb, hub_only);
    }

    /// Translates an address using the TLB.
    pub(super) fn translate(
        &mut self,
        pdb: u64,
        address: u64,
        access: Access,
    ) -> Result<Translation, Fault> {
        self.check_range(address)?;
        let space = Space {
            pdb,
            hub: access.hub,
        };
        let (shift, found) = match self.tlb.end(space, address) {
            Some(end) => end,
            None => {
                let end = self.fill(space, address);
                end.inspect_err(|&fault| self.check_fault(address, fault))?
            }
        };
        let translation = translation_at(shift, found, address)?;

        if access.write && translation.read_only {
            return Err(Fault::ReadOnly);
        }
        if translation.privileged && !access.privileged {
            return Err(Fault::Privileged);
        }
        Ok(translation)
    }

    /// Continues the walk after the entries that the TLB has cached, and caches the result.
    fn fill(&mut self, space: Space, address: u64) -> Result<(u32, Found), Fault> {
        let tlb = &mut self.tlb;
        let start = tlb
            .table(space, address)
            .unwrap_or(Next::Directory(0, space.pdb));
        let (shift, found) = walk::walk(&self.vram, self.walker, start, address, |shift, next| {
            tlb.insert_table(space, address, shift, next);
        })?;
        if found != Found::Invalid || self.config.negative_caching {
            tlb.insert_end(space, address, shift, found);
        }

        Ok((shift, found))
    }

    /// Translates an address by the page tables in VRAM.
    pub(super) fn walk(&mut self, pdb: u64, address: u64) -> Result<Translation, Fault> {
        self.check_range(address)?;
        let start = Next::Directory(0, pdb);
        let (shift, found) = walk::walk(&self.vram, self.walker, start, address, |_, _| ())
            .inspect_err(|&fault| self.check_fault(address, fault))?;

        translation_at(shift, found, address)
    }

    fn check_range(&self, address: u64) -> Result<(), Fault> {
        match address.checked_shr(walk::address_bits(self.walker)) {
            None | Some(0) => Ok(()),
            Some(_) => Err(Fault::OutOfRange),
        }
    }

    /// Records a violation if the walk for `address` ended with a `fault` that must not happen.
    fn check_fault(&mut self, address: u64, fault: Fault) {
        if fault == Fault::Poison {
            self.violate(Violation::Poison(VirtualAddress::new(address)));
        }
    }
}

/// Returns the translation of `address` from the result for the surrounding `1 << shift` bytes.
fn translation_at(shift: u32, found: Found, address: u64) -> Result<Translation, Fault> {
    match found {
        Found::Invalid => Err(Fault::Unmapped),
        Found::Sparse => Err(Fault::Sparse),
        Found::Page(leaf) => Ok(Leaf {
            address: leaf.address + address % (1 << shift),
            ..leaf
        }),
    }
}

/// Returns the mask of an access of `width` bytes, 4 or 8, at `offset` of a word, and the shift.
pub(super) fn mask_and_shift(offset: u64, width: usize) -> (u64, u32) {
    match (usize_as_u64(width), offset % 8) {
        (4, 4) => (0xffff_ffff_0000_0000, 32),
        (4, _) => (0x0000_0000_ffff_ffff, 0),
        _ => (u64::MAX, 0),
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Access to VRAM through PRAMIN.
//!
//! PRAMIN is an aperture of 1 MiB in BAR0. Behind it is the part of VRAM that a register names, so
//! that the CPU reaches all of VRAM without page tables, if slowly.
//!
//! [`Pramin`] owns the register, [`PraminWindow`] is a session of accesses, and [`PraminFlushed`]
//! the proof that what was written is in VRAM, which an invalidation of the TLB requires.

use core::ops::Range;

use kernel::prelude::*;

use crate::{
    gpu::Chipset,
    mm::{
        address::VramAddress,
        mmio::Mmio,
        regs::NV_PRAMIN, //
    },
    num::{
        u64_as_usize,
        usize_as_u64, //
    },
};

pub(crate) mod hal;

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

use hal::PraminHal;

/// Size of the aperture in bytes. Windows start at multiples of it, so no access can cross the end.
const WINDOW_SIZE: u64 = usize_as_u64(NV_PRAMIN.end - NV_PRAMIN.start);

/// Owner of the PRAMIN aperture.
///
/// There is one for a GPU. Whoever accesses VRAM borrows it mutably for the time of a session, see
/// [`Pramin::window`]; where it is shared, it lives in a lock.
pub(crate) struct Pramin {
    hal: &'static dyn PraminHal,
    /// Whether an access of 64 bits is one on the bus, rather than two of 32 bits.
    is_64bit: bool,
    /// Address of the last four bytes that were written, unless they were read back since.
    last_write: Option<VramAddress>,
}

impl Pramin {
    /// Returns the aperture of a GPU of model `chipset`; the hardware is not touched.
    pub(crate) fn new(chipset: Chipset) -> Self {
        Self::with_hal(hal::pramin_hal(chipset))
    }

    /// Returns the aperture that is moved by way of `hal`; the hardware is not touched.
    pub(crate) fn with_hal(hal: &'static dyn PraminHal) -> Self {
        Self {
            hal,
            is_64bit: true,
            last_write: None,
        }
    }

    /// Determines whether the aperture takes accesses of 64 bits, and from then on splits them if
    /// it does not.
    ///
    /// Nothing is published about the widths that it takes, and other drivers use 32 bits only.
    /// This writes different values to the 8 bytes at `scratch` of VRAM, which the caller must own,
    /// and reads them back. `bar` is BAR0.
    ///
    /// # Errors
    ///
    /// - [`EIO`] if values written with 32 bits do not come back either.
    /// - [`EINVAL`] if `scratch` is not a multiple of 8, or out of reach of the aperture.
    pub(crate) fn probe(&mut self, bar: &dyn Mmio, scratch: VramAddress) -> Result {
        const PATTERNS: [u64; 2] = [0x0123_4567_89ab_cdef, !0x0123_4567_89ab_cdef];

        let mut takes = |is_64bit, value| {
            self.is_64bit = is_64bit;
            self.window(bar).reads_back(scratch, value)
        };

        // The value before an access of 64 bits must differ from the value written.
        for pattern in PATTERNS {
            if !takes(false, !pattern)? {
                return Err(EIO);
            }
            if !takes(true, pattern)? {
                self.is_64bit = false;
                break;
            }
        }
        // All of it has been read back.
        self.last_write = None;

        Ok(())
    }

    /// Checks that the aperture can be moved over all of `range` of VRAM.
    ///
    /// Whether there is VRAM is not checked, neither here nor in accesses: that is up to whoever
    /// allocates it.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if a part of it is out of reach.
    pub(crate) fn check_addressable(&self, range: Range<VramAddress>) -> Result {
        if range.is_empty() {
            return Ok(());
        }

        // There is a last byte, as the range is not empty.
        let (base, _) = split(VramAddress::new(range.end.into_raw() - 1));
        if base > self.hal.max_base() {
            return Err(EINVAL);
        }

        Ok(())
    }

    /// Starts a session of accesses by way of `bar`, which is BAR0.
    ///
    /// Nothing is assumed of where the aperture is: the GPU's firmware may have moved it since the
    /// last session. The first access moves it. That the firmware leaves it alone during a session
    /// is assumed, as there is no way to lock it out.
    ///
    /// Neither this nor the methods of the session sleep, allocate or take a lock.
    pub(crate) fn window<'a>(&'a mut self, bar: &'a dyn Mmio) -> PraminWindow<'a> {
        self.resume(bar, None)
    }

    /// Continues a session that left the aperture at `base`; see [`PraminWindow::base`].
    pub(super) fn resume<'a>(
        &'a mut self,
        bar: &'a dyn Mmio,
        base: Option<VramAddress>,
    ) -> PraminWindow<'a> {
        PraminWindow {
            pramin: self,
            bar,
            base,
        }
    }
}

/// Splits a value into its lower and its upper 32 bits.
fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();

    (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    )
}

/// Splits an address into that of the window that it is in, and its distance from there in bytes.
fn split(address: VramAddress) -> (VramAddress, u64) {
    let address = address.into_raw();
    let within = address % WINDOW_SIZE;

    (VramAddress::new(address - within), within)
}

/// A session of accesses to VRAM.
///
/// Accesses reach the GPU in program order. The aperture is moved by the first one and when one is
/// outside of the MiB in which it is. Addresses are in bytes and multiples of the width of the
/// access.
///
/// Writes are posted: when a method returns, the value may still be on its way to VRAM. They are
/// known to have arrived after [`flush`](Self::flush).
///
/// # Errors
///
/// [`EINVAL`] from each access if its address is misaligned, or out of reach of the aperture. VRAM
/// and the aperture are as before then.
pub(crate) struct PraminWindow<'a> {
    pramin: &'a mut Pramin,
    bar: &'a dyn Mmio,
    /// Where this session has moved the aperture, if it has.
    base: Option<VramAddress>,
}

impl PraminWindow<'_> {
    /// Returns where this session has moved the aperture, if it has.
    pub(super) fn base(&self) -> Option<VramAddress> {
        self.base
    }

    /// Reads 32 bits.
    pub(crate) fn read32(&mut self, address: VramAddress) -> Result<u32> {
        let offset = self.map_window::<u32>(address)?;

        self.bar.read32(offset)
    }

    /// Reads 64 bits, in one access if the aperture takes that.
    pub(crate) fn read64(&mut self, address: VramAddress) -> Result<u64> {
        let offset = self.map_window::<u64>(address)?;
        if self.pramin.is_64bit {
            return self.bar.read64(offset);
        }

        let low = self.read32(address)?;
        let high = self.read32(upper_half(address)?)?;

        Ok(u64::from(high) << 32 | u64::from(low))
    }

    /// Writes 64 bits that the GPU does not use meanwhile, in one access if the aperture takes
    /// that.
    pub(crate) fn write64(&mut self, address: VramAddress, value: u64) -> Result {
        if !self.pramin.is_64bit {
            return self.write_halves(address, value);
        }
        let offset = self.map_window::<u64>(address)?;
        // The upper half arrives last if a bus splits the access.
        let upper = upper_half(address)?;

        self.bar.write64(value, offset)?;
        self.pramin.last_write = Some(upper);

        Ok(())
    }

    /// Writes `count` words of a page table, starting with `first` at `address` and increasing by
    /// `step`. Each is `stride` words behind the one before, and all are in the same page of 4 KiB.
    ///
    /// `is_live` tells whether one of the present words may be a valid entry that the GPU reads. If
    /// so, and if each word takes more than one access, each is cleared first, so that the GPU
    /// never sees a word made of two halves.
    pub(crate) fn fill64(
        &mut self,
        address: VramAddress,
        stride: usize,
        first: u64,
        step: u64,
        count: usize,
        is_live: bool,
    ) -> Result {
        let stride = stride * size_of::<u64>();
        if !self.pramin.is_64bit {
            return self.fill_halves(address, stride, first, step, count, is_live);
        }
        let Some(distance) = count.checked_sub(1).map(|last| last * stride) else {
            return Ok(());
        };
        let offset = self.map_window::<u64>(address)?;
        let last = upper_half(address.checked_add(usize_as_u64(distance))?)?;

        // Even if this fails, some words may be on their way.
        self.pramin.last_write = Some(last);
        self.bar.fill64(offset, stride, first, step, count)
    }

    /// Does the same in two or three accesses for each word; `stride` is in bytes.
    #[cold]
    fn fill_halves(
        &mut self,
        address: VramAddress,
        stride: usize,
        first: u64,
        step: u64,
        count: usize,
        is_live: bool,
    ) -> Result {
        if count > 0 {
            self.map_window::<u64>(address)?;
        }
        let mut address = address;
        let mut value = first;
        for _ in 0..count {
            let (low, high) = halves(value);
            // The lower half is zero while the upper one changes.
            if is_live || low == 0 {
                self.write32(address, 0)?;
            }
            self.write32(upper_half(address)?, high)?;
            if low != 0 {
                self.write32(address, low)?;
            }
            address = address.checked_add(usize_as_u64(stride))?;
            value = value.wrapping_add(step);
        }

        Ok(())
    }

    /// Writes 64 bits in two accesses.
    #[cold]
    fn write_halves(&mut self, address: VramAddress, value: u64) -> Result {
        self.map_window::<u64>(address)?;
        let (low, high) = halves(value);

        self.write32(address, low)?;
        self.write32(upper_half(address)?, high)
    }

    /// Writes a word of a page table that the GPU may read at any time, in place of `old`, which is
    /// there now.
    ///
    /// If it takes two accesses, the GPU never sees a valid word of one half of each: a word whose
    /// lower half is zero is not valid, in all formats. If both halves change and both words are
    /// valid, there is a moment in which nothing is mapped.
    pub(crate) fn replace64(&mut self, address: VramAddress, old: u64, new: u64) -> Result {
        if self.pramin.is_64bit {
            return self.write64(address, new);
        }

        self.replace_halves(address, old, new)
    }

    /// Does the same in two accesses, or three.
    #[cold]
    fn replace_halves(&mut self, address: VramAddress, old: u64, new: u64) -> Result {
        self.map_window::<u64>(address)?;
        let (old_low, old_high) = halves(old);
        let (low, high) = halves(new);
        let mut shown = old_low;

        if high != old_high {
            if shown != 0 {
                shown = 0;
                self.write32(address, shown)?;
            }
            self.write32(upper_half(address)?, high)?;
        }
        if low != shown {
            self.write32(address, low)?;
        }

        Ok(())
    }

    /// Writes 32 bits.
    fn write32(&mut self, address: VramAddress, value: u32) -> Result {
        let offset = self.map_window::<u32>(address)?;

        self.bar.write32(value, offset)?;
        self.pramin.last_write = Some(address);

        Ok(())
    }

    /// Writes `value`, and returns whether it is read back, as 64 bits and as two halves.
    fn reads_back(&mut self, address: VramAddress, value: u64) -> Result<bool> {
        let (low, high) = halves(value);
        self.write64(address, value)?;

        Ok(self.read64(address)? == value
            && self.read32(address)? == low
            && self.read32(upper_half(address)?)? == high)
    }

    /// Waits until all that was written is in VRAM, in this session or in earlier ones.
    ///
    /// This reads back the word that was written last. Posted writes arrive in order, so the
    /// earlier ones have arrived as well. If nothing has been written since the last read-back,
    /// this reads nothing.
    ///
    /// # Errors
    ///
    /// Those of the read. The next call then reads the word.
    pub(crate) fn flush(&mut self) -> Result<PraminFlushed> {
        if let Some(address) = self.pramin.last_write {
            self.read32(address)?;
            self.pramin.last_write = None;
        }

        Ok(PraminFlushed(()))
    }

    /// Moves the aperture over a `T` at `address` unless it is there, and returns the offset of the
    /// `T` in BAR0.
    fn map_window<T>(&mut self, address: VramAddress) -> Result<usize> {
        if address.into_raw() % usize_as_u64(size_of::<T>()) != 0 {
            return Err(EINVAL);
        }

        let (base, within) = split(address);
        if self.base != Some(base) {
            self.pramin.hal.write_base(self.bar, base)?;
            self.base = Some(base);
        }

        Ok(NV_PRAMIN.start + u64_as_usize(within))
    }
}

/// Returns the address of the upper half of the 64 bits at `address`.
fn upper_half(address: VramAddress) -> Result<VramAddress> {
    address.checked_add(usize_as_u64(size_of::<u32>()))
}

/// Proof that everything written to VRAM through PRAMIN before it was created has arrived.
///
/// Only [`PraminWindow::flush`] creates it. An invalidation of the TLB consumes it, so that the GPU
/// cannot be made to read page tables again before the changes have arrived.
#[must_use = "an invalidation of the TLB has to follow if page tables were changed"]
pub(crate) struct PraminFlushed(());

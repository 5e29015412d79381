// SPDX-License-Identifier: GPL-2.0

//! Access to VRAM through PRAMIN.
//!
//! PRAMIN is an aperture of 1 MiB in BAR0. A register selects the part of VRAM that it shows. The
//! CPU can thus access all of VRAM without page tables, though slowly.
//!
//! [`Pramin`] owns the register, [`PraminWindow`] is a session of accesses, and [`PraminFlushed`]
//! proves that all writes have arrived in VRAM, which an invalidation of the TLB requires.

use core::ops::Range;

use kernel::prelude::*;

use crate::{
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
mod basic_tests;
#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

use hal::PraminHal;

/// Size of the aperture in bytes. The driver programs it to multiples of its size, so that no
/// access crosses its end.
const WINDOW_SIZE: u64 = usize_as_u64(NV_PRAMIN.end - NV_PRAMIN.start);

/// Owner of the PRAMIN aperture of a GPU.
///
/// Sessions of accesses borrow it mutably; see [`Pramin::window`]. If several users share it, a
/// lock has to protect it.
pub(crate) struct Pramin {
    hal: &'static dyn PraminHal,
    /// Whether the driver accesses 64 bits at once instead of splitting them into two halves.
    is_64bit: bool,
    /// Address of the last four bytes that were written; [`None`] if they have been read back.
    last_write: Option<VramAddress>,
}

impl Pramin {
    /// Creates the owner of an aperture that `hal` programs. Does not access the hardware.
    pub(crate) fn new(hal: &'static dyn PraminHal) -> Self {
        Self {
            hal,
            is_64bit: true,
            last_write: None,
        }
    }

    /// Determines whether the aperture supports accesses of 64 bits. If not, later accesses are
    /// split.
    ///
    /// The supported widths are not published, and other drivers use 32 bits only. This method
    /// writes different values to the 8 bytes at address `scratch` in VRAM, which the caller must
    /// own, and reads them back. `bar` is BAR0.
    ///
    /// # Errors
    ///
    /// - [`EIO`] if values that were written in accesses of 32 bits are not read back either.
    /// - [`EINVAL`] if `scratch` is not a multiple of 8, or the aperture cannot show it.
    pub(crate) fn probe(&mut self, bar: &dyn Mmio, scratch: VramAddress) -> Result {
        const PATTERNS: [u64; 2] = [0x0123_4567_89ab_cdef, !0x0123_4567_89ab_cdef];

        let mut supports = |is_64bit, value| {
            self.is_64bit = is_64bit;
            self.window(bar).reads_back(scratch, value)
        };

        // The value before an access of 64 bits must differ from the value written.
        for pattern in PATTERNS {
            if !supports(false, !pattern)? {
                return Err(EIO);
            }
            if !supports(true, pattern)? {
                self.is_64bit = false;
                break;
            }
        }
        // The last write has been read back.
        self.last_write = None;

        Ok(())
    }

    /// Checks that the aperture can show all of `range`.
    ///
    /// Neither this method nor the accesses check whether the addresses belong to VRAM. That is the
    /// responsibility of the allocator.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the aperture cannot show a part of `range`.
    pub(crate) fn check_addressable(&self, range: Range<VramAddress>) -> Result {
        if range.is_empty() {
            return Ok(());
        }

        // The range is not empty, so the subtraction does not underflow.
        let (base, _) = split(VramAddress::new(range.end.into_raw() - 1));
        if base > self.hal.max_base() {
            return Err(EINVAL);
        }

        Ok(())
    }

    /// Starts a session of accesses through `bar`, which is BAR0.
    ///
    /// The GPU's firmware may have reprogrammed the aperture since the last session, so the first
    /// access programs it. The driver assumes that the firmware does not reprogram it during a
    /// session, since it cannot lock out the firmware.
    ///
    /// Neither this method nor the methods of the session sleep, allocate memory, or take a lock.
    pub(crate) fn window<'a>(&'a mut self, bar: &'a dyn Mmio) -> PraminWindow<'a> {
        self.resume(bar, None)
    }

    /// Continues a session that has programmed the aperture to `base`; see [`PraminWindow::base`].
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

/// Splits an address into the base of the window that shows it and the offset in the window, in
/// bytes.
fn split(address: VramAddress) -> (VramAddress, u64) {
    let address = address.into_raw();
    let within = address % WINDOW_SIZE;

    (VramAddress::new(address - within), within)
}

/// A session of accesses to VRAM.
///
/// Accesses reach the GPU in program order. The first access programs the aperture, and so does
/// each access to an address that it does not show. Addresses are in bytes and must be multiples of
/// the access width.
///
/// Writes are posted: when a method returns, the value may not have arrived in VRAM yet.
/// [`flush`](Self::flush) waits for it.
///
/// # Errors
///
/// [`EINVAL`] from each access whose address is misaligned, or that the aperture cannot show. VRAM
/// and the aperture are not changed.
pub(crate) struct PraminWindow<'a> {
    pramin: &'a mut Pramin,
    bar: &'a dyn Mmio,
    /// The address to which this session has programmed the aperture; [`None`] before the first
    /// access.
    base: Option<VramAddress>,
}

impl PraminWindow<'_> {
    /// Returns the address to which this session has programmed the aperture, if any.
    pub(super) fn base(&self) -> Option<VramAddress> {
        self.base
    }

    /// Reads 32 bits.
    pub(crate) fn read32(&mut self, address: VramAddress) -> Result<u32> {
        let offset = self.map_window::<u32>(address)?;

        self.bar.read32(offset)
    }

    /// Reads 64 bits, in one access if the aperture supports it.
    pub(crate) fn read64(&mut self, address: VramAddress) -> Result<u64> {
        let offset = self.map_window::<u64>(address)?;
        if self.pramin.is_64bit {
            return self.bar.read64(offset);
        }

        let low = self.read32(address)?;
        let high = self.read32(upper_half(address)?)?;

        Ok(u64::from(high) << 32 | u64::from(low))
    }

    /// Writes 64 bits, in one access if the aperture supports it. The GPU must not use the word at
    /// the same time.
    pub(crate) fn write64(&mut self, address: VramAddress, value: u64) -> Result {
        if !self.pramin.is_64bit {
            return self.write_halves(address, value);
        }
        let offset = self.map_window::<u64>(address)?;
        // If a bus splits the access, the upper half arrives last.
        let upper = upper_half(address)?;

        self.bar.write64(value, offset)?;
        self.pramin.last_write = Some(upper);

        Ok(())
    }

    /// Writes `count` words of a page table, `stride` words apart, starting with `first` at
    /// `address` and increasing by `step`. All words must be in the same page of 4 KiB.
    ///
    /// `is_live` indicates that the GPU may use one of the present words as a valid entry. If each
    /// word takes two accesses, the words are then cleared first, so that the GPU never reads a
    /// valid word that is half old and half new.
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

        // If this fails, some words may have been written.
        self.pramin.last_write = Some(last);
        self.bar.fill64(offset, stride, first, step, count)
    }

    /// Implements [`Self::fill64`] with two or three accesses for each word; `stride` is in bytes.
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
            // Keep the word invalid while the upper half changes.
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

    /// Replaces the word `old` of a page table, which the GPU may read at any time.
    ///
    /// If this takes two accesses, the GPU never reads a valid word that is half old and half new:
    /// in all formats, a word whose lower half is zero is not valid. If both halves change and both
    /// words are valid, nothing is mapped for a moment.
    pub(crate) fn replace64(&mut self, address: VramAddress, old: u64, new: u64) -> Result {
        if self.pramin.is_64bit {
            return self.write64(address, new);
        }

        self.replace_halves(address, old, new)
    }

    /// Implements [`Self::replace64`] with up to three accesses.
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

    /// Writes `value` and returns whether it is read back, both as 64 bits and as two halves.
    fn reads_back(&mut self, address: VramAddress, value: u64) -> Result<bool> {
        let (low, high) = halves(value);
        self.write64(address, value)?;

        Ok(self.read64(address)? == value
            && self.read32(address)? == low
            && self.read32(upper_half(address)?)? == high)
    }

    /// Waits until all writes of this session and of earlier ones have arrived in VRAM.
    ///
    /// This reads back the last word that was written. Posted writes arrive in order, so the
    /// earlier ones have arrived as well. Without writes since the last read-back, this reads
    /// nothing.
    ///
    /// # Errors
    ///
    /// Errors of the read. The next call reads the word again.
    pub(crate) fn flush(&mut self) -> Result<PraminFlushed> {
        if let Some(address) = self.pramin.last_write {
            self.read32(address)?;
            self.pramin.last_write = None;
        }

        Ok(PraminFlushed(()))
    }

    /// Programs the aperture to show `address` unless it already does, and returns the offset of
    /// `address` in BAR0. `T` has the access width.
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
/// Only [`PraminWindow::flush`] creates it. An invalidation of the TLB consumes it, so that the
/// driver cannot make the GPU read page tables again before their updates have arrived.
#[must_use = "after an update of page tables, the TLB has to be invalidated"]
pub(crate) struct PraminFlushed(());

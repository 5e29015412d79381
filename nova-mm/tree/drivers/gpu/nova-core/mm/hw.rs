// SPDX-License-Identifier: GPL-2.0

//! The hardware that page table updates share: the PRAMIN window and the TLB invalidation
//! registers.

use core::ops::Range;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        MutexGuard, //
    },
    task::might_sleep,
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    },
};

use crate::{
    gpu::Chipset,
    mm::{
        address::VramAddress,
        chips,
        format::{
            MmuFormat,
            PageSizes, //
        },
        mmio::Registers,
        pramin::{
            Pramin,
            PraminFlushed,
            PraminWindow, //
        },
        tlb::{
            Tlb,
            TlbChange,
            TlbScope, //
        },
    },
};

#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod basic_tests;
#[cfg(CONFIG_NOVA_CORE_KUNIT_TEST)]
mod tests;

/// The MMU of a GPU.
///
/// # Locking
///
/// The *hardware lock*, a mutex, protects the PRAMIN window and the invalidation registers. Jobs
/// take it while a DMA fence may wait for them. Holders must therefore not allocate memory, or wait
/// for anything that may allocate memory.
///
/// It is held for a bounded time: for the accesses to one page table, or for a few register
/// accesses. It is never held while waiting for the GPU.
///
/// BAR0 is accessed in short RCU read-side critical sections. If the driver is unbound between
/// them, accesses fail with [`ENODEV`].
#[pin_data]
pub(crate) struct MmuHw {
    registers: Registers,
    format: &'static dyn MmuFormat,
    page_sizes: PageSizes,
    #[pin]
    state: Mutex<State>,
}

/// The state that the hardware lock protects.
struct State {
    pramin: Pramin,
    tlb: Tlb,
}

/// The properties of the MMU that differ between chips.
pub(crate) struct MmuConfig {
    /// The format of the page tables.
    pub(crate) format: &'static dyn MmuFormat,
    /// The page sizes that entries can have.
    pub(crate) page_sizes: PageSizes,
    /// Access to VRAM.
    pub(crate) pramin: Pramin,
    /// Invalidation of the TLBs.
    pub(crate) tlb: Tlb,
}

impl MmuConfig {
    /// Returns the configuration for a `chipset`.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if memory management does not support the chip.
    pub(crate) fn new(chipset: Chipset) -> Result<Self> {
        let mmu = chips::find(chipset).ok_or(ENODEV)?;

        Ok(Self {
            format: mmu.format,
            page_sizes: mmu.page_sizes,
            pramin: Pramin::new(mmu.pramin),
            tlb: Tlb::new(),
        })
    }
}

/// Whether to attempt an invalidation after an earlier one has timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Fail at once, so that jobs do not queue up if the GPU does not respond.
    No,
    /// Attempt it. If it completes, the GPU is usable again.
    Yes,
}

/// Page tables have been updated, and the TLB has not been invalidated yet.
///
/// Memory that the GPU could access through the old entries must not be freed before.
#[must_use = "the TLB may still contain the old translations"]
pub(crate) struct PendingInvalidate {
    change: TlbChange,
}

impl PendingInvalidate {
    pub(crate) fn new(change: TlbChange) -> Self {
        Self { change }
    }

    /// Makes the invalidation also wait for accesses through entries that an earlier update has
    /// removed.
    pub(super) fn downgrade(&mut self) {
        self.change = TlbChange::Downgrade;
    }
}

/// Proof of an invalidation: the TLB does not contain translations of an address space that were
/// removed from its page tables before the invalidation.
pub(crate) struct InvalidateDone(());

impl MmuHw {
    /// Maximum number of page table words that are accessed in one hold of the hardware lock, which
    /// is one table. This does not count the read-back of the last word, nor accesses that program
    /// the window.
    pub(crate) const HOLD_WORDS: usize = 512;

    /// Number of initial polls with a short delay, and this delay.
    const BUSY_POLLS: u32 = 10;
    const BUSY_DELAY: Delta = Delta::from_micros(1);

    /// Delay between later polls.
    const POLL_DELAY: Delta = Delta::from_micros(50);

    /// Creates the MMU of the GPU with these `registers`. Does not access the hardware. May sleep,
    /// because it allocates memory.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if memory allocation fails.
    pub(crate) fn new(registers: Registers, config: MmuConfig) -> Result<Arc<Self>> {
        let MmuConfig {
            format,
            page_sizes,
            pramin,
            tlb,
        } = config;

        Arc::pin_init(
            pin_init!(Self {
                registers,
                format,
                page_sizes,
                state <- new_mutex!(State { pramin, tlb }, "nova_core_mmu"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the format of the page tables.
    pub(crate) fn format(&self) -> &'static dyn MmuFormat {
        self.format
    }

    /// Returns the page sizes that entries can have.
    pub(crate) fn page_sizes(&self) -> PageSizes {
        self.page_sizes
    }

    /// Determines how VRAM is accessed through PRAMIN; see [`Pramin::probe`]. May sleep; takes the
    /// hardware lock.
    pub(crate) fn probe_pramin(&self, scratch: VramAddress) -> Result {
        let mut state = self.state.lock();

        self.registers
            .access(|bar| state.pramin.probe(bar, scratch))
    }

    /// Checks that all of `range` can be accessed; see [`Pramin::check_addressable`]. May sleep;
    /// takes the hardware lock.
    pub(crate) fn check_addressable(&self, range: Range<VramAddress>) -> Result {
        self.state.lock().pramin.check_addressable(range)
    }

    /// Starts a session of accesses to VRAM.
    pub(crate) fn vram(&self) -> VramSession<'_> {
        VramSession {
            hw: self,
            hold: None,
        }
    }

    /// Returns whether an invalidation has timed out, so that further ones fail at once. May sleep;
    /// takes the hardware lock.
    pub(crate) fn is_wedged(&self) -> bool {
        self.state.lock().tlb.is_wedged()
    }

    /// Invalidates the translations of an address space, and waits until the GPU has done so.
    ///
    /// `pdb` is the address of the root page directory, and `scope` selects the units that may have
    /// cached translations. After an [upgrade](TlbChange::Upgrade), the GPU uses the entries that
    /// were added. After a [downgrade](TlbChange::Downgrade), it has also completed all accesses
    /// through removed entries. The memory that these entries mapped and removed page tables may be
    /// freed only then.
    ///
    /// `_flushed` proves that the update has arrived in VRAM.
    ///
    /// May sleep; takes the hardware lock, but does not hold it while it waits. Does not allocate
    /// memory.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `pdb` cannot be encoded.
    /// - [`ETIMEDOUT`] if the GPU does not complete the invalidation, or an earlier one, in time.
    ///   The GPU then counts as wedged.
    /// - [`EIO`] if the GPU is wedged, unless `retry` is [`Retry::Yes`]. The hardware is not
    ///   accessed.
    /// - [`ENODEV`] if the device is unbound.
    ///
    /// After any error, the GPU may continue to use the old translations. Memory and page tables
    /// that they refer to must not be freed until a later invalidation for a downgrade succeeds.
    pub(crate) fn invalidate(
        &self,
        pending: PendingInvalidate,
        _flushed: PraminFlushed,
        pdb: VramAddress,
        scope: TlbScope,
        retry: Retry,
    ) -> Result<InvalidateDone> {
        let change = pending.change;
        let mut number = None;

        self.wait(|state| {
            if state.tlb.is_wedged() && retry == Retry::No {
                return Err(EIO);
            }
            number = self
                .registers
                .access(|bar| state.tlb.start(bar, pdb, scope, change))?;

            Ok(number.is_some())
        })?;
        let number = number.ok_or(EIO)?;
        self.wait(|state| self.registers.access(|bar| state.tlb.is_done(bar, number)))?;

        Ok(InvalidateDone(()))
    }

    /// Calls `poll` under the hardware lock until it returns true. Between the calls, it sleeps
    /// without holding the lock.
    fn wait(&self, mut poll: impl FnMut(&mut State) -> Result<bool>) -> Result {
        let start = Instant::<Monotonic>::now();
        let mut polls = 0;

        loop {
            // Read the clock before the registers, so that a thread that is delayed between the two
            // still sees that the GPU is done.
            let waited = start.elapsed();
            let mut state = self.state.lock();
            if poll(&mut state)? {
                return Ok(());
            }
            if waited > state.tlb.timeout() {
                state.tlb.set_wedged();
                return Err(ETIMEDOUT);
            }
            drop(state);

            polls += 1;
            fsleep(if polls <= Self::BUSY_POLLS {
                Self::BUSY_DELAY
            } else {
                Self::POLL_DELAY
            });
        }
    }
}

/// A session of accesses to VRAM, which holds the hardware lock for bounded periods.
///
/// The first access takes the lock. After [`MmuHw::HOLD_WORDS`] words, the session releases the
/// lock, passes a scheduling point, and takes the lock again. The accesses of sessions therefore
/// interleave, but a method call is not interrupted by other sessions.
///
/// The methods may sleep. They do not allocate memory.
///
/// # Errors
///
/// [`ENODEV`] from each access if the device is unbound, and errors of [`PraminWindow`].
pub(crate) struct VramSession<'a> {
    hw: &'a MmuHw,
    hold: Option<Hold<'a>>,
}

/// A period in which a session holds the hardware lock.
struct Hold<'a> {
    state: MutexGuard<'a, State>,
    /// The address to which the session has programmed the PRAMIN window in this hold.
    base: Option<VramAddress>,
    /// Number of words that may still be accessed.
    left: usize,
}

impl VramSession<'_> {
    /// Returns the format of the page tables.
    pub(crate) fn format(&self) -> &'static dyn MmuFormat {
        self.hw.format()
    }

    /// Reads 64 bits.
    pub(crate) fn read64(&mut self, address: VramAddress) -> Result<u64> {
        self.access(1, |window| window.read64(address))
    }

    /// Writes a word of a page table in place of `old`; see [`PraminWindow::replace64`].
    pub(crate) fn replace64(&mut self, address: VramAddress, old: u64, new: u64) -> Result {
        self.access(1, |window| window.replace64(address, old, new))
    }

    /// Writes consecutive words of a page table, at most [`MmuHw::HOLD_WORDS`]; see
    /// [`PraminWindow::fill64`].
    pub(crate) fn fill64(
        &mut self,
        address: VramAddress,
        first: u64,
        step: u64,
        count: usize,
        is_live: bool,
    ) -> Result {
        self.access(count, |window| {
            window.fill64(address, 1, first, step, count, is_live)
        })
    }

    /// Calls `access` under the hardware lock, for accesses of up to `words` words.
    pub(crate) fn access<R>(
        &mut self,
        words: usize,
        access: impl FnOnce(&mut PraminWindow<'_>) -> Result<R>,
    ) -> Result<R> {
        let registers = &self.hw.registers;
        let Hold { state, base, left } = Self::hold(self.hw, &mut self.hold, words);
        *left = left.saturating_sub(words);

        registers.access(|bar| {
            let mut window = state.pramin.resume(bar, *base);
            let result = access(&mut window);
            *base = window.base();

            result
        })
    }

    /// Waits until all writes have arrived in VRAM, and ends the session.
    pub(crate) fn finish(mut self) -> Result<PraminFlushed> {
        // The read-back does not count towards `MmuHw::HOLD_WORDS`.
        self.access(0, |window| window.flush())
    }

    /// Returns a hold that allows access to `words` words.
    fn hold<'h, 'a>(
        hw: &'a MmuHw,
        hold: &'h mut Option<Hold<'a>>,
        words: usize,
    ) -> &'h mut Hold<'a> {
        if hold.as_ref().is_some_and(|hold| hold.left < words) {
            *hold = None;
            // A scheduling point.
            might_sleep();
        }

        hold.get_or_insert_with(|| Hold {
            state: hw.state.lock(),
            base: None,
            left: MmuHw::HOLD_WORDS,
        })
    }
}

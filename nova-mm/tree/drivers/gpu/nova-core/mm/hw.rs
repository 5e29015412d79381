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
        format::{
            mmu_format,
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
mod tests;

/// The MMU of a GPU, as the driver programs it.
///
/// # Locking
///
/// A mutex protects the PRAMIN window and the invalidation registers: the *hardware lock*. Jobs
/// take it while a DMA fence may wait for them. Hence no one allocates memory while holding it, or
/// waits for someone who does.
///
/// It is held for a bounded time: for the accesses that one page table takes, or for a few register
/// accesses. It is never held while waiting for the GPU.
///
/// BAR0 is accessed in short RCU read-side critical sections. If the driver is unbound in between,
/// accesses fail with [`ENODEV`].
#[pin_data]
pub(crate) struct MmuHw {
    registers: Registers,
    format: &'static dyn MmuFormat,
    page_sizes: PageSizes,
    #[pin]
    state: Mutex<State>,
}

/// What the hardware lock protects.
struct State {
    pramin: Pramin,
    tlb: Tlb,
}

/// What differs between chips.
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
    /// Returns the configuration for a GPU of model `chipset`.
    pub(crate) fn new(chipset: Chipset) -> Self {
        Self {
            format: mmu_format(chipset),
            page_sizes: PageSizes::of(chipset),
            pramin: Pramin::new(chipset),
            tlb: Tlb::new(),
        }
    }
}

/// Whether an invalidation is attempted although an earlier one has timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It fails at once, so that jobs do not queue up behind a GPU that does not answer.
    No,
    /// It is attempted. If it completes, the GPU is usable again.
    Yes,
}

/// Page tables have been changed, and the TLB has not been invalidated.
///
/// Nothing that could be reached through the old entries may be freed before it has.
#[must_use = "the TLB may still hold what the page tables contained before"]
pub(crate) struct PendingInvalidate {
    change: TlbChange,
}

impl PendingInvalidate {
    pub(crate) fn new(change: TlbChange) -> Self {
        Self { change }
    }

    /// Makes the invalidation also wait for accesses through entries that were removed earlier.
    pub(super) fn downgrade(&mut self) {
        self.change = TlbChange::Downgrade;
    }
}

/// The TLB holds no translation of an address space that was removed from its page tables before
/// the invalidation.
pub(crate) struct InvalidateDone(());

impl MmuHw {
    /// Maximum number of words of page tables that are accessed in one hold of the hardware lock:
    /// those of one table. Moving the window and reading back the last word come on top.
    pub(crate) const HOLD_WORDS: usize = 512;

    /// How often the GPU is polled without sleeping, and the delay between these polls.
    const BUSY_POLLS: u32 = 10;
    const BUSY_DELAY: Delta = Delta::from_micros(1);

    /// Delay between later polls.
    const POLL_DELAY: Delta = Delta::from_micros(50);

    /// Creates the MMU of a GPU with these `registers`. Does not access the hardware.
    ///
    /// Context: may sleep; allocates.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if memory runs out.
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

    /// Determines how VRAM is accessed through PRAMIN; see [`Pramin::probe`].
    ///
    /// Context: may sleep; takes the hardware lock.
    pub(crate) fn probe_pramin(&self, scratch: VramAddress) -> Result {
        let mut state = self.state.lock();

        self.registers
            .access(|bar| state.pramin.probe(bar, scratch))
    }

    /// Checks that all of `range` of VRAM can be accessed; see [`Pramin::check_addressable`].
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

    /// Returns whether an invalidation has timed out, so that further ones fail at once.
    ///
    /// Context: may sleep; takes the hardware lock.
    pub(crate) fn is_wedged(&self) -> bool {
        self.state.lock().tlb.is_wedged()
    }

    /// Invalidates the translations of an address space, and waits until the GPU has done so.
    ///
    /// `pdb` is the address of the root page directory, and `scope` where translations may be
    /// cached. After an [upgrade](TlbChange::Upgrade), the GPU uses the entries that were added.
    /// After a [downgrade](TlbChange::Downgrade), it has also completed all accesses through
    /// removed entries. Only then may the memory be freed that these entries mapped, or that
    /// contained removed page tables.
    ///
    /// `_flushed` proves that the changes are in VRAM.
    ///
    /// Context: may sleep; takes the hardware lock, and does not hold it while it waits. Does not
    /// allocate.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the address of the directory cannot be encoded.
    /// - [`ETIMEDOUT`] if the GPU does not complete the invalidation, or an earlier one, in time.
    ///   The GPU then counts as wedged.
    /// - [`EIO`] if the GPU is wedged, without [`Retry::Yes`]. The hardware is not accessed.
    /// - [`ENODEV`] if the device is unbound.
    ///
    /// After any error, the GPU may go on using the old translations. What they refer to must not
    /// be freed until a later invalidation for a downgrade succeeds.
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

    /// Calls `poll` under the hardware lock until it returns true, and sleeps in between without
    /// the lock.
    fn wait(&self, mut poll: impl FnMut(&mut State) -> Result<bool>) -> Result {
        let start = Instant::<Monotonic>::now();
        let mut polls = 0;

        loop {
            // The clock is read before the registers: a thread that was delayed in between still
            // sees that the GPU is done.
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

/// A session of accesses to VRAM, in holds of the hardware lock of bounded length.
///
/// The lock is taken by the first access. It is released and taken again, with a scheduling point
/// in between, when a table has been accessed in one hold. The accesses of a session hence
/// interleave with those of others; a single call of its methods does not.
///
/// Context: methods may sleep. They do not allocate.
///
/// # Errors
///
/// [`ENODEV`] from each access if the device is unbound, and those of [`PraminWindow`].
pub(crate) struct VramSession<'a> {
    hw: &'a MmuHw,
    hold: Option<Hold<'a>>,
}

/// A hold of the hardware lock.
struct Hold<'a> {
    state: MutexGuard<'a, State>,
    /// Where the session has moved the PRAMIN window in this hold.
    base: Option<VramAddress>,
    /// How many more words may be accessed.
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

    /// Waits until all that was written is in VRAM, and ends the session.
    pub(crate) fn finish(mut self) -> Result<PraminFlushed> {
        // The read-back comes on top of what a hold may access.
        self.access(0, |window| window.flush())
    }

    /// Returns a hold in which `words` words may be accessed.
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

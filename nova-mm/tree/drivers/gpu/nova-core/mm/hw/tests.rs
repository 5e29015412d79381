// SPDX-License-Identifier: GPL-2.0

//! Tests of the hardware lock, and of waiting for the GPU, on the GPU model.

use super::*;

use crate::{
    mm::{
        address::VirtualAddress,
        model::{
            Access,
            Config,
            Counts,
            Fault,
            Logged,
            SoftGpu,
            WideAccess, //
        },
    },
    num::usize_as_u64, //
};

const MIB: u64 = 1 << 20;

/// How long tests wait for a GPU that hangs.
const TIMEOUT: Delta = Delta::from_millis(20);

/// Root page directories.
const ROOT: VramAddress = VramAddress::new(MIB);
const OTHER_ROOT: VramAddress = VramAddress::new(2 * MIB);

/// An entry of a root page directory that is sparse: volatile without an aperture.
const SPARSE: u64 = 1 << 3;

/// Returns the model of a GPU and its MMU.
fn with_config(config: Config) -> Result<(Arc<SoftGpu>, Arc<MmuHw>)> {
    let gpu = SoftGpu::new(config)?;
    let mmu = MmuConfig {
        tlb: Tlb::with_timeout(TIMEOUT),
        ..MmuConfig::new(Chipset::TU102)
    };
    let hw = MmuHw::new(gpu.registers()?, mmu)?;

    Ok((gpu, hw))
}

/// Returns the model of a Turing GPU and its MMU.
fn turing() -> Result<(Arc<SoftGpu>, Arc<MmuHw>)> {
    with_config(Config::default())
}

/// Invalidates the translations of an address space after an entry was removed.
fn invalidate(hw: &MmuHw, pdb: VramAddress, retry: Retry) -> Result {
    let flushed = hw.vram().finish()?;
    let pending = PendingInvalidate::new(TlbChange::Downgrade);

    hw.invalidate(pending, flushed, pdb, TlbScope::All, retry)
        .map(|_| ())
}

/// Returns an address of a number of bytes.
fn at(address: u64) -> VramAddress {
    VramAddress::new(address)
}

#[kunit_tests(nova_core_mm_hw)]
mod suite {
    use super::*;

    /// No other order compiles: an invalidation requires the proof that the writes have arrived.
    #[test]
    fn writes_arrive_before_invalidation() -> Result {
        let (gpu, hw) = turing()?;
        let look = || gpu.translate(ROOT, VirtualAddress::new(0), Access::READ);
        gpu.vram_write64(ROOT, 0);
        assert_eq!(look(), Err(Fault::Unmapped));

        gpu.start_log(8)?;
        let mut session = hw.vram();
        session.replace64(ROOT, 0, SPARSE)?;
        let flushed = session.finish()?;
        let pending = PendingInvalidate::new(TlbChange::Upgrade);
        hw.invalidate(pending, flushed, ROOT, TlbScope::All, Retry::No)?;

        assert_eq!(look(), Err(Fault::Sparse));
        assert_eq!(
            gpu.take_log()[..],
            [
                Logged::Write {
                    address: ROOT,
                    value: SPARSE,
                    width: 8,
                },
                Logged::Read {
                    address: ROOT.checked_add(4)?,
                },
                Logged::Invalidate {
                    pdb: ROOT,
                    command: 0x8000_0001,
                },
                Logged::InvalidateDone,
            ]
        );
        gpu.check_clean()
    }

    /// An upgrade that follows a downgrade without an invalidation waits for accesses, too.
    #[test]
    fn downgraded_invalidation_is_acknowledged() -> Result {
        let (gpu, hw) = turing()?;
        gpu.start_log(2)?;
        let mut pending = PendingInvalidate::new(TlbChange::Upgrade);
        pending.downgrade();
        hw.invalidate(pending, hw.vram().finish()?, ROOT, TlbScope::All, Retry::No)?;

        let started = Logged::Invalidate {
            pdb: ROOT,
            command: 0x8000_00c1,
        };
        assert_eq!(gpu.take_log()[..], [started, Logged::InvalidateDone]);
        gpu.check_clean()
    }

    /// Jobs that follow a timeout must not wait for it again, one after the other.
    #[test]
    fn timeout_wedges() -> Result {
        let (gpu, hw) = turing()?;
        let timed = |retry| {
            let start = Instant::<Monotonic>::now();
            let result = invalidate(&hw, ROOT, retry);

            (result, start.elapsed())
        };
        gpu.hang_invalidate(1);
        assert_eq!(timed(Retry::No).0, Ok(()));
        assert!(!hw.is_wedged());

        let (result, time) = timed(Retry::No);
        assert_eq!(result, Err(ETIMEDOUT));
        assert!(time >= TIMEOUT);
        assert!(hw.is_wedged());

        gpu.reset_counts();
        for _ in 0..3 {
            assert_eq!(timed(Retry::No).0, Err(EIO));
        }
        assert_eq!(gpu.counts().total(), 0);

        // A retry waits for the invalidation that hangs, and writes no register.
        let (result, time) = timed(Retry::Yes);
        assert_eq!(result, Err(ETIMEDOUT));
        assert!(time >= TIMEOUT);
        assert_eq!(gpu.counts().total(), gpu.counts().trigger_polls);

        // Only an invalidation of its own tells the driver that the GPU works again.
        gpu.recover();
        assert_eq!(timed(Retry::No).0, Err(EIO));
        assert_eq!(timed(Retry::Yes).0, Ok(()));
        assert!(!hw.is_wedged());
        assert_eq!(timed(Retry::No).0, Ok(()));
        gpu.check_clean()
    }

    /// Neither are the registers written while the GPU executes an invalidation of the firmware.
    #[test]
    fn busy_gpu_times_out() -> Result {
        let (gpu, hw) = turing()?;
        gpu.leave_pending(u32::MAX);

        assert_eq!(invalidate(&hw, ROOT, Retry::No), Err(ETIMEDOUT));
        assert!(hw.is_wedged());
        assert!(gpu.counts().trigger_polls > 1);
        assert_eq!(gpu.counts().total(), gpu.counts().trigger_polls);
        gpu.check_clean()
    }

    #[test]
    fn pdb_out_of_range_fails() -> Result {
        let (gpu, hw) = turing()?;

        for pdb in [1, 0x800, 1 << 60, u64::MAX - 0xfff] {
            assert_eq!(invalidate(&hw, at(pdb), Retry::No), Err(EINVAL));
        }
        assert_eq!(gpu.counts().total(), 0);
        assert!(!hw.is_wedged());

        Ok(())
    }

    /// Other sessions may use the window in between, so each hold of the lock moves it.
    #[test]
    fn session_releases_lock() -> Result {
        const HOLD: u64 = usize_as_u64(MmuHw::HOLD_WORDS);

        let (gpu, hw) = turing()?;
        for words in 0..3 * HOLD {
            gpu.vram_write64(at(3 * MIB + 8 * words), words);
        }

        let mut session = hw.vram();
        for words in 0..2 * HOLD + 1 {
            assert_eq!(session.read64(at(3 * MIB + 8 * words))?, words);
            assert_eq!(gpu.counts().window_writes, words / HOLD + 1);
        }
        drop(session);

        // A call that accesses as many words is not interrupted.
        gpu.reset_counts();
        let mut session = hw.vram();
        session.fill64(ROOT, 0, 1, MmuHw::HOLD_WORDS, false)?;
        session.replace64(ROOT, 0, 1)?;
        assert_eq!(gpu.counts().window_writes, 2);
        // Nor is the word read back in another hold than the last write.
        let _ = session.finish()?;
        assert_eq!(gpu.counts().window_writes, 2);
        assert_eq!(gpu.vram_read64(ROOT), 1);
        gpu.check_clean()
    }

    /// Including the words that were written in earlier holds of the lock, or by another session.
    #[test]
    fn finish_flushes_all_writes() -> Result {
        let (gpu, hw) = turing()?;
        let mut other = hw.vram();
        other.replace64(OTHER_ROOT, 0, 7)?;
        drop(other);

        let mut session = hw.vram();
        session.fill64(ROOT, 0, 0, MmuHw::HOLD_WORDS, false)?;
        session.replace64(ROOT, 0, 1)?;
        let _ = session.finish()?;

        assert_eq!(gpu.vram_read64(OTHER_ROOT), 7);
        assert_eq!(gpu.vram_read64(ROOT), 1);
        assert_eq!(gpu.vram_read64(at(MIB + 8 * 511)), 0);
        gpu.check_clean()
    }

    /// No RCU read-side critical section spans more than one call or one poll.
    #[test]
    fn each_access_has_own_section() -> Result {
        let (gpu, hw) = turing()?;
        let sections = gpu.sections();

        let mut session = hw.vram();
        session.fill64(ROOT, 0, 0, 2, false)?;
        session.replace64(ROOT, 0, 1)?;
        let flushed = session.finish()?;
        assert_eq!(gpu.sections() - sections, 3);

        let sections = gpu.sections();
        gpu.set_trigger_polls(5);
        let pending = PendingInvalidate::new(TlbChange::Upgrade);
        hw.invalidate(pending, flushed, ROOT, TlbScope::All, Retry::No)?;
        assert_eq!(gpu.sections() - sections, 1 + 6);
        gpu.check_clean()
    }

    #[test]
    fn unbound_device_fails() -> Result {
        let (gpu, hw) = turing()?;
        let flushed = hw.vram().finish()?;
        let pending = PendingInvalidate::new(TlbChange::Upgrade);
        gpu.unbind_after(Some(0));

        assert_eq!(hw.vram().read64(ROOT).err(), Some(ENODEV));
        assert_eq!(hw.vram().replace64(ROOT, 0, 1), Err(ENODEV));
        assert_eq!(hw.vram().fill64(ROOT, 0, 0, 1, false), Err(ENODEV));
        assert_eq!(hw.vram().finish().err(), Some(ENODEV));
        assert_eq!(hw.probe_pramin(ROOT), Err(ENODEV));
        let result = hw.invalidate(pending, flushed, ROOT, TlbScope::All, Retry::Yes);
        assert_eq!(result.err(), Some(ENODEV));

        assert_eq!(gpu.counts(), Counts::default());
        // The GPU has not been asked anything.
        assert!(!hw.is_wedged());

        Ok(())
    }

    /// A wait does not go on until the timeout.
    #[test]
    fn unbound_while_waiting_fails() -> Result {
        for sections in 1..5 {
            let (gpu, hw) = turing()?;
            gpu.hang_invalidate(0);
            let flushed = hw.vram().finish()?;
            gpu.unbind_after(Some(sections));

            let pending = PendingInvalidate::new(TlbChange::Downgrade);
            let result = hw.invalidate(pending, flushed, ROOT, TlbScope::All, Retry::No);
            assert_eq!(result.err(), Some(ENODEV));
            assert_eq!(gpu.counts().trigger_polls, sections);
            assert!(!hw.is_wedged());
        }

        Ok(())
    }

    #[test]
    fn probe_selects_width() -> Result {
        for (wide_access, writes) in [(WideAccess::Whole, 1), (WideAccess::Dropped, 2)] {
            let (gpu, hw) = with_config(Config {
                wide_access,
                ..Config::default()
            })?;
            hw.probe_pramin(ROOT)?;
            gpu.reset_counts();

            hw.vram().fill64(ROOT, u64::MAX, 0, 1, false)?;
            assert_eq!(gpu.counts().pramin_writes, writes);
            let _ = hw.vram().finish()?;
            assert_eq!(gpu.vram_read64(ROOT), u64::MAX);
            gpu.check_clean()?;
        }

        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Tests of the hardware lock and of waiting for the GPU, on the GPU model.

use super::*;

use crate::{
    mm::{
        address::VirtualAddress,
        model::{
            Access,
            Config,
            Counts,
            Fault,
            GpuModel,
            Logged,
            WideAccess, //
        },
    },
    num::usize_as_u64, //
};

const MIB: u64 = 1 << 20;

/// Timeout of tests in which the GPU hangs.
const TIMEOUT: Delta = Delta::from_millis(20);

/// Root page directories.
const ROOT: VramAddress = VramAddress::new(MIB);
const OTHER_ROOT: VramAddress = VramAddress::new(2 * MIB);

/// A sparse entry of a root page directory: VOL without an aperture.
const SPARSE: u64 = 1 << 3;

/// Creates a GPU model and its MMU.
fn with_config(config: Config) -> Result<(Arc<GpuModel>, Arc<MmuHw>)> {
    let gpu = GpuModel::new(config)?;
    let mmu = MmuConfig {
        tlb: Tlb::with_timeout(TIMEOUT),
        ..MmuConfig::new(Chipset::TU102)?
    };
    let hw = MmuHw::new(gpu.registers()?, mmu)?;

    Ok((gpu, hw))
}

/// Creates a Turing GPU model and its MMU.
fn turing() -> Result<(Arc<GpuModel>, Arc<MmuHw>)> {
    with_config(Config::default())
}

/// Invalidates the TLB after an entry was removed from an address space.
fn invalidate(hw: &MmuHw, pdb: VramAddress, retry: Retry) -> Result {
    let flushed = hw.vram().finish()?;
    let pending = PendingInvalidate::new(TlbChange::Downgrade);

    hw.invalidate(pending, flushed, pdb, TlbScope::All, retry)
        .map(|_| ())
}

/// Converts a number of bytes to an address.
fn at(address: u64) -> VramAddress {
    VramAddress::new(address)
}

#[kunit_tests(nova_core_mm_hw)]
mod suite {
    use super::*;

    /// The API enforces this order: an invalidation requires proof that the writes have been
    /// flushed.
    #[test]
    fn invalidate_follows_flush() -> Result {
        let (gpu, hw) = turing()?;
        let translate = || gpu.translate(ROOT, VirtualAddress::new(0), Access::READ);
        gpu.vram_write64(ROOT, 0);
        assert_eq!(translate(), Err(Fault::Unmapped));

        gpu.start_log(8)?;
        let mut session = hw.vram();
        session.replace64(ROOT, 0, SPARSE)?;
        let flushed = session.finish()?;
        let pending = PendingInvalidate::new(TlbChange::Upgrade);
        hw.invalidate(pending, flushed, ROOT, TlbScope::All, Retry::No)?;

        assert_eq!(translate(), Err(Fault::Sparse));
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

    /// A pending upgrade waits for accesses after it was turned into a downgrade.
    #[test]
    fn invalidate_downgraded_acknowledged() -> Result {
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

    /// Jobs after a timeout must not each wait for the GPU again.
    #[test]
    fn timeout_wedges_gpu() -> Result {
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

        // A retry waits for the hung invalidation without writing registers.
        let (result, time) = timed(Retry::Yes);
        assert_eq!(result, Err(ETIMEDOUT));
        assert!(time >= TIMEOUT);
        assert_eq!(gpu.counts().total(), gpu.counts().trigger_polls);

        // The driver assumes that the GPU has recovered only after one of its own invalidations.
        gpu.recover();
        assert_eq!(timed(Retry::No).0, Err(EIO));
        assert_eq!(timed(Retry::Yes).0, Ok(()));
        assert!(!hw.is_wedged());
        assert_eq!(timed(Retry::No).0, Ok(()));
        gpu.check_clean()
    }

    /// The driver does not write the registers while the GPU executes an invalidation of the
    /// firmware.
    #[test]
    fn busy_gpu_timeout() -> Result {
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

    /// Other sessions may use the window in between, so the window is programmed in each hold of
    /// the lock.
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

        // A call that accesses this many words is not interrupted.
        gpu.reset_counts();
        let mut session = hw.vram();
        session.fill64(ROOT, 0, 1, MmuHw::HOLD_WORDS, false)?;
        session.replace64(ROOT, 0, 1)?;
        assert_eq!(gpu.counts().window_writes, 2);
        // The word is read back in the same hold of the lock as the last write.
        let _ = session.finish()?;
        assert_eq!(gpu.counts().window_writes, 2);
        assert_eq!(gpu.vram_read64(ROOT), 1);
        gpu.check_clean()
    }

    /// The flush includes words written in earlier holds of the lock, or by another session.
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

    /// No RCU read-side critical section spans more than one call or poll.
    #[test]
    fn access_has_own_rcu_section() -> Result {
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
        // The GPU was not accessed, so it is not wedged.
        assert!(!hw.is_wedged());

        Ok(())
    }

    /// Waiting ends at once instead of at the timeout.
    #[test]
    fn wait_unbound_fails() -> Result {
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

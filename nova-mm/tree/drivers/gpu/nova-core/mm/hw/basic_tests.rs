// SPDX-License-Identifier: GPL-2.0

//! Tests of [`MmuHw`] with a fake BAR0.

use super::*;

use crate::mm::fake::{
    vram,
    FakeBar, //
};

/// Returns a fake BAR0, and the MMU of a Turing GPU behind it.
fn turing() -> Result<(FakeBar, Arc<MmuHw>)> {
    let bar = FakeBar::new()?;
    let config = MmuConfig {
        tlb: Tlb::with_timeout(Delta::from_micros(200)),
        ..MmuConfig::new(Chipset::TU102)?
    };
    let hw = MmuHw::new(bar.registers()?, config)?;

    Ok((bar, hw))
}

/// Invalidates the translations of the address space with the root at the start of VRAM.
fn invalidate(hw: &MmuHw, retry: Retry) -> Result {
    let pending = PendingInvalidate::new(TlbChange::Downgrade);
    let flushed = hw.vram().finish()?;

    hw.invalidate(pending, flushed, vram(0), TlbScope::All, retry)
        .map(|_| ())
}

#[kunit_tests(nova_core_mm_hw_basic)]
mod suite {
    use super::*;

    #[test]
    fn session_writes_words() -> Result {
        let (bar, hw) = turing()?;
        let mut session = hw.vram();

        session.fill64(vram(0), 5, 2, 3, false)?;
        session.replace64(vram(8), 7, 1)?;
        for (address, word) in [(vram(0), 5), (vram(8), 1), (vram(16), 9)] {
            assert_eq!(session.read64(address)?, word);
        }
        bar.take_reads();
        let _ = session.finish()?;
        assert_eq!(bar.take_reads(), 1);

        Ok(())
    }

    #[test]
    fn timeout_fails_later_invalidations() -> Result {
        let (bar, hw) = turing()?;

        bar.set_pending_polls(u32::MAX);
        assert_eq!(invalidate(&hw, Retry::No).err(), Some(ETIMEDOUT));
        assert!(hw.is_wedged());
        bar.set_pending_polls(0);
        assert_eq!(invalidate(&hw, Retry::No).err(), Some(EIO));
        assert_eq!(invalidate(&hw, Retry::Yes), Ok(()));
        assert!(!hw.is_wedged());

        invalidate(&hw, Retry::No)
    }

    #[test]
    fn unbound_device_enodev() -> Result {
        let (bar, hw) = turing()?;

        bar.unbind();
        assert_eq!(hw.vram().read64(vram(0)).err(), Some(ENODEV));
        assert_eq!(invalidate(&hw, Retry::No).err(), Some(ENODEV));

        Ok(())
    }

    #[test]
    fn probe_finds_64_bit_accesses() -> Result {
        let (bar, hw) = turing()?;

        hw.probe_pramin(vram(0))?;
        bar.take_reads();
        hw.vram().read64(vram(0))?;
        assert_eq!(bar.take_reads(), 1);

        Ok(())
    }
}

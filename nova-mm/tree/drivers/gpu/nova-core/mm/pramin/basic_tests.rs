// SPDX-License-Identifier: GPL-2.0

//! Tests of PRAMIN with a fake BAR0.

use super::{
    hal::tu102::TU102_HAL,
    *, //
};

use crate::mm::fake::{
    vram,
    FakeBar, //
};

/// Offset of the register that moves the window.
const WINDOW: usize = 0x1700;

/// Offset in the VRAM of the fake at which a MiB starts.
const NEXT_MIB: u64 = 0x8000;

#[kunit_tests(nova_core_mm_pramin_basic)]
mod suite {
    use super::*;

    #[test]
    fn window_follows_accesses() -> Result {
        let bar = FakeBar::new()?;
        let mut pramin = Pramin::new(TU102_HAL);
        let mut window = pramin.window(&bar);

        window.write64(vram(0), 1)?;
        window.write64(vram(8), 2)?;
        assert_eq!(bar.take_writes()[..], [(WINDOW, 0)]);
        window.write64(vram(NEXT_MIB), 3)?;
        assert_eq!(bar.take_writes()[..], [(WINDOW, 0x10)]);
        assert_eq!(window.read64(vram(8))?, 2);
        assert_eq!(bar.take_writes()[..], [(WINDOW, 0)]);
        assert_eq!(window.read64(vram(NEXT_MIB))?, 3);

        Ok(())
    }

    /// The firmware may have moved the window between two sessions.
    #[test]
    fn session_programs_window_again() -> Result {
        let bar = FakeBar::new()?;
        let mut pramin = Pramin::new(TU102_HAL);

        for _ in 0..2 {
            pramin.window(&bar).write64(vram(0), 1)?;
            assert_eq!(bar.take_writes()[..], [(WINDOW, 0)]);
        }

        Ok(())
    }

    #[test]
    fn flush_reads_back_once() -> Result {
        let bar = FakeBar::new()?;
        let mut pramin = Pramin::new(TU102_HAL);
        let mut window = pramin.window(&bar);

        window.write64(vram(0), 1)?;
        window.write64(vram(8), 2)?;
        assert_eq!(bar.take_reads(), 0);
        let _ = window.flush()?;
        assert_eq!(bar.take_reads(), 1);
        let _ = window.flush()?;
        assert_eq!(bar.take_reads(), 0);

        Ok(())
    }

    #[test]
    fn inaccessible_address_einval() -> Result {
        let bar = FakeBar::new()?;
        let mut pramin = Pramin::new(TU102_HAL);
        let mut window = pramin.window(&bar);

        // Misaligned, and with more bits than the register holds.
        for address in [vram(4), VramAddress::new(1 << 40)] {
            assert_eq!(window.read64(address).err(), Some(EINVAL));
            assert_eq!(window.write64(address, 1).err(), Some(EINVAL));
        }
        assert_eq!(bar.take_writes().len(), 0);

        Ok(())
    }
}

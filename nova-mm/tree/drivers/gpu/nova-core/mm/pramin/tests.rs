// SPDX-License-Identifier: GPL-2.0

//! Tests of PRAMIN, on the software GPU.

use kernel::sync::Arc;

use crate::mm::model::{
    Config,
    Logged,
    ModelBar0,
    SoftGpu,
    Violation,
    WideAccess,
    POISON, //
};

use super::{
    hal::tu102::TU102_HAL,
    *, //
};

const MIB: u64 = 1 << 20;

/// Returns a software GPU of Turing with its BAR0, and what accesses its VRAM.
fn turing() -> Result<(Arc<SoftGpu>, ModelBar0, Pramin)> {
    let gpu = SoftGpu::new(Config::default())?;
    let bar = gpu.bar0();

    Ok((gpu, bar, Pramin::with_hal(TU102_HAL)))
}

/// Returns a software GPU with this effect of accesses of 64 bits, its BAR0, and its PRAMIN after
/// the probe.
fn probed(wide_access: WideAccess) -> Result<(Arc<SoftGpu>, ModelBar0, Pramin)> {
    let gpu = SoftGpu::new(Config {
        wide_access,
        ..Config::default()
    })?;
    let bar = gpu.bar0();
    let mut pramin = Pramin::with_hal(TU102_HAL);
    pramin.probe(&bar, at(SCRATCH))?;

    Ok((gpu, bar, pramin))
}

/// Where is probed.
const SCRATCH: u64 = 6 * MIB - 8;

/// Returns an address of a number of bytes.
fn at(address: u64) -> VramAddress {
    VramAddress::new(address)
}

#[kunit_tests(nova_mm_pramin)]
mod suite {
    use super::*;

    /// Both widths reach the same words, the lower half of 64 bits first.
    #[test]
    fn values_arrive_where_they_belong() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        let mut window = pramin.window(&bar);

        window.write64(at(0x0001_2340), 0x0123_4567_89ab_cdef)?;
        window.write64(at(0x0030_0000), 0x3333_4444_1111_2222)?;

        assert_eq!(window.read32(at(0x0001_2340))?, 0x89ab_cdef);
        assert_eq!(window.read32(at(0x0001_2344))?, 0x0123_4567);
        assert_eq!(window.read64(at(0x0030_0000))?, 0x3333_4444_1111_2222);

        let _ = window.finish()?;
        assert_eq!(gpu.vram_read64(at(0x0001_2340)), 0x0123_4567_89ab_cdef);
        assert_eq!(gpu.vram_read64(at(0x0030_0000)), 0x3333_4444_1111_2222);
        gpu.check_clean()
    }

    /// The rule of other drivers, that the aperture has to start at the 64 KiB of the access, would
    /// move it with each of these.
    #[test]
    fn one_move_serves_a_mebibyte() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        let mut window = pramin.window(&bar);

        window.read32(at(4 * MIB - 4))?;
        for block in 0..16 {
            window.read64(at(3 * MIB + 0x1_0000 * block))?;
            window.read64(at(4 * MIB - 8 - 0x1_0000 * block))?;
        }
        let _ = window.finish()?;

        assert_eq!(gpu.counts().window_writes, 1);
        assert_eq!(gpu.counts().pramin_reads, 33);
        gpu.check_clean()
    }

    #[test]
    fn the_aperture_moves_when_an_access_leaves_it() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        let mut window = pramin.window(&bar);

        for (address, moves) in [
            (3 * MIB, 1),
            (4 * MIB - 8, 1),
            (4 * MIB, 2),
            (4 * MIB + 8, 2),
            (3 * MIB, 3),
            (9 * MIB, 4),
        ] {
            window.write64(at(address), address)?;
            assert_eq!(gpu.counts().window_writes, moves);
        }
        let _ = window.finish()?;

        for address in [4 * MIB - 8, 4 * MIB, 4 * MIB + 8, 3 * MIB, 9 * MIB] {
            assert_eq!(gpu.vram_read64(at(address)), address);
        }
        gpu.check_clean()
    }

    /// Between two sessions, somebody else moves the aperture, as the firmware may.
    #[test]
    fn session_assumes_no_position() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        gpu.vram_write64(at(3 * MIB), 0x33);
        gpu.vram_write64(at(5 * MIB), 0x55);

        let mut window = pramin.window(&bar);
        assert_eq!(window.read64(at(3 * MIB))?, 0x33);
        let _ = window.finish()?;

        gpu.disturb_window();
        gpu.reset_counts();

        let mut window = pramin.window(&bar);
        assert_eq!(window.read64(at(3 * MIB))?, 0x33);
        let _ = window.finish()?;

        assert_eq!(gpu.counts().window_writes, 1);
        gpu.check_clean()
    }

    /// Restoring it at the end of a session could undo a move that somebody else has made.
    #[test]
    fn session_end_moves_nothing() -> Result {
        let (gpu, bar, mut pramin) = turing()?;

        let mut window = pramin.window(&bar);
        window.write64(at(3 * MIB), 3)?;
        let _ = window.finish()?;
        assert_eq!(gpu.counts().window_writes, 1);

        pramin.window(&bar).write64(at(7 * MIB), 7)?;
        assert_eq!(gpu.counts().window_writes, 2);
        gpu.check_clean()
    }

    #[test]
    fn writes_are_visible_after_finish() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        let mut window = pramin.window(&bar);

        window.write64(at(MIB), 1)?;
        window.write64(at(2 * MIB), 2)?;
        window.write64(at(3 * MIB), 3)?;
        assert_eq!(gpu.vram_read64(at(MIB)), POISON);

        let _ = window.finish()?;
        assert_eq!(gpu.vram_read64(at(MIB)), 1);
        assert_eq!(gpu.vram_read64(at(2 * MIB)), 2);
        assert_eq!(gpu.vram_read64(at(3 * MIB)), 3);
        gpu.check_clean()
    }

    #[test]
    fn finish_reads_one_word_back() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        let mut window = pramin.window(&bar);

        for word in 0..512 {
            window.write64(at(MIB + 8 * word), word)?;
        }
        let _ = window.finish()?;

        assert_eq!(gpu.counts().window_writes, 1);
        assert_eq!(gpu.counts().pramin_writes, 512);
        assert_eq!(gpu.counts().pramin_reads, 1);
        assert_eq!(gpu.counts().total(), 514);
        gpu.check_clean()
    }

    /// It is the last word that was written, also if something else was read since.
    #[test]
    fn finish_goes_back_to_the_last_write() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        let mut window = pramin.window(&bar);

        window.write64(at(MIB), 1)?;
        window.write64(at(2 * MIB), 2)?;
        window.read64(at(3 * MIB))?;
        gpu.start_log(2)?;
        let _ = window.finish()?;

        let address = at(2 * MIB + 4);
        assert_eq!(gpu.take_log()[..], [Logged::Read { address }]);
        assert_eq!(gpu.counts().window_writes, 4);

        let mut window = pramin.window(&bar);
        window.write64(at(2 * MIB), 2)?;
        window.write64(at(MIB), 1)?;
        gpu.start_log(2)?;
        let _ = window.finish()?;

        let address = at(MIB + 4);
        assert_eq!(gpu.take_log()[..], [Logged::Read { address }]);
        gpu.check_clean()
    }

    #[test]
    fn a_session_without_writes_reads_nothing_back() -> Result {
        let (gpu, bar, mut pramin) = turing()?;

        let _ = pramin.window(&bar).finish()?;
        assert_eq!(gpu.counts().total(), 0);

        let mut window = pramin.window(&bar);
        window.write64(at(MIB), 1)?;
        let _ = window.finish()?;
        gpu.reset_counts();

        let _ = pramin.window(&bar).finish()?;
        assert_eq!(gpu.counts().total(), 0);

        Ok(())
    }

    /// An error makes a session end early; its writes must not be forgotten.
    #[test]
    fn what_a_dropped_session_wrote_is_left_to_the_next() -> Result {
        let (gpu, bar, mut pramin) = turing()?;

        pramin.window(&bar).write64(at(MIB), 1)?;
        assert_eq!(gpu.vram_read64(at(MIB)), POISON);

        let _ = pramin.window(&bar).finish()?;
        assert_eq!(gpu.vram_read64(at(MIB)), 1);
        gpu.check_clean()
    }

    #[test]
    fn misaligned_accesses_do_nothing() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        let mut window = pramin.window(&bar);

        for offset in [1, 2, 3, 5, 6, 7] {
            assert_eq!(window.read32(at(MIB + offset)).err(), Some(EINVAL));
        }
        // The last of these would cross the end of the aperture.
        for offset in [1, 2, 4, 7, MIB - 4] {
            assert_eq!(window.read64(at(MIB + offset)).err(), Some(EINVAL));
            assert_eq!(window.write64(at(MIB + offset), 1).err(), Some(EINVAL));
        }
        let _ = window.finish()?;

        assert_eq!(gpu.counts().total(), 0);

        Ok(())
    }

    #[test]
    fn accesses_out_of_reach_do_nothing() -> Result {
        const TOO_HIGH: [u64; 3] = [1 << 40, (1 << 56) + 8 * MIB, u64::MAX - 7];

        let (gpu, bar, mut pramin) = turing()?;
        let mut window = pramin.window(&bar);

        for address in TOO_HIGH {
            assert_eq!(window.read32(at(address)).err(), Some(EINVAL));
            assert_eq!(window.write64(at(address), 1).err(), Some(EINVAL));
        }
        assert_eq!(gpu.counts().total(), 0);

        // Nor do they make a session forget where the aperture is.
        window.write64(at(8 * MIB), 8)?;
        assert_eq!(window.write64(at(TOO_HIGH[1]), 1).err(), Some(EINVAL));
        assert_eq!(window.read64(at(8 * MIB))?, 8);
        assert_eq!(gpu.counts().window_writes, 1);

        let _ = window.finish()?;
        gpu.check_clean()
    }

    #[test]
    fn the_last_word_in_reach() -> Result {
        const END: u64 = 1 << 40;

        let gpu = SoftGpu::new(Config {
            vram_start: at(END - 8 * MIB),
            vram_size: 16 * MIB,
            bar1_pdb: at(END + 4 * MIB),
            ..Config::default()
        })?;
        let bar = gpu.bar0();
        let mut pramin = Pramin::with_hal(TU102_HAL);
        let mut window = pramin.window(&bar);

        window.write64(at(END - 8), 1)?;
        assert_eq!(window.write64(at(END), 2).err(), Some(EINVAL));
        let _ = window.finish()?;

        assert_eq!(gpu.vram_read64(at(END - 8)), 1);
        assert_eq!(gpu.vram_read64(at(END)), POISON);
        gpu.check_clean()
    }

    #[test]
    fn reach_ends_with_the_register() -> Result {
        const END: u64 = 1 << 40;

        let (_, _, pramin) = turing()?;

        assert_eq!(pramin.check_reach(at(0)..at(END)), Ok(()));
        assert_eq!(pramin.check_reach(at(END - 1)..at(END)), Ok(()));
        assert_eq!(pramin.check_reach(at(0)..at(END + 1)), Err(EINVAL));
        assert_eq!(pramin.check_reach(at(END)..at(END + 1)), Err(EINVAL));
        assert_eq!(pramin.check_reach(at(MIB)..at(u64::MAX)), Err(EINVAL));
        for nowhere in [0, END, u64::MAX] {
            assert_eq!(pramin.check_reach(at(nowhere)..at(nowhere)), Ok(()));
        }

        Ok(())
    }

    #[test]
    fn the_register_is_never_truncated() -> Result {
        const LAST: u64 = (1 << 40) - 0x1_0000;

        let (gpu, bar, _) = turing()?;

        assert_eq!(TU102_HAL.max_base(), at(LAST));
        TU102_HAL.write_base(&bar, at(LAST))?;
        // The software GPU minds as it has no VRAM there. The target is zero, which is VRAM.
        assert_eq!(
            gpu.take_violation(),
            Some(Violation::WindowValue(0x00ff_ffff))
        );

        gpu.reset_counts();
        for base in [1 << 40, (1 << 40) + 0x1_0000, 1 << 48, u64::MAX - 0xffff] {
            assert_eq!(TU102_HAL.write_base(&bar, at(base)), Err(EINVAL));
        }
        for base in [1, 0x1000, 0x8000, LAST + 0x8000] {
            assert_eq!(TU102_HAL.write_base(&bar, at(base)), Err(EINVAL));
        }
        assert_eq!(gpu.counts().total(), 0);

        Ok(())
    }

    #[test]
    fn probe_finds_the_width() -> Result {
        for (wide_access, is_64bit) in [
            (WideAccess::Whole, true),
            (WideAccess::LowerHalf, false),
            (WideAccess::Dropped, false),
            (WideAccess::Swapped, false),
        ] {
            let (gpu, bar, mut pramin) = probed(wide_access)?;
            assert_eq!(pramin.is_64bit, is_64bit);

            // The adjacent words are not touched, and nothing is left to be read back.
            for other in [SCRATCH - 8, SCRATCH + 8] {
                assert_eq!(gpu.vram_read64(at(other)), POISON);
            }
            gpu.reset_counts();
            let _ = pramin.window(&bar).finish()?;
            assert_eq!(gpu.counts().total(), 0);
            gpu.check_clean()?;
        }

        Ok(())
    }

    /// No value that was there by chance, and no width that was found before, changes the result.
    #[test]
    fn probe_starts_anew() -> Result {
        for before in [0, u64::MAX, 0x0123_4567_89ab_cdef, !0x0123_4567_89ab_cdef] {
            let (gpu, bar, mut pramin) = probed(WideAccess::LowerHalf)?;
            gpu.vram_write64(at(SCRATCH), before);
            pramin.is_64bit = true;
            pramin.probe(&bar, at(SCRATCH))?;
            assert!(!pramin.is_64bit);

            let (gpu, bar, mut pramin) = probed(WideAccess::Whole)?;
            gpu.vram_write64(at(SCRATCH), before);
            pramin.is_64bit = false;
            pramin.probe(&bar, at(SCRATCH))?;
            assert!(pramin.is_64bit);
        }

        Ok(())
    }

    #[test]
    fn probe_fails_without_vram() -> Result {
        let (gpu, bar, mut pramin) = turing()?;

        for (address, error) in [(16 * MIB, EIO), (MIB + 4, EINVAL), (1 << 40, EINVAL)] {
            assert_eq!(pramin.probe(&bar, at(address)), Err(error));
        }
        gpu.take_violation();

        Ok(())
    }

    /// Each value is written and read in two accesses, whatever they are used for.
    #[test]
    fn halves_arrive_where_they_belong() -> Result {
        let (gpu, bar, mut pramin) = probed(WideAccess::Dropped)?;
        let mut window = pramin.window(&bar);

        gpu.reset_counts();
        window.write64(at(2 * MIB - 8), 0x0123_4567_89ab_cdef)?;
        window.write64(at(3 * MIB), 0x3333_4444_1111_2222)?;
        assert_eq!(window.read64(at(2 * MIB - 8))?, 0x0123_4567_89ab_cdef);
        assert_eq!(window.read64(at(3 * MIB))?, 0x3333_4444_1111_2222);
        assert_eq!(gpu.counts().pramin_writes, 4);
        assert_eq!(gpu.counts().pramin_reads, 4);
        assert_eq!(gpu.counts().window_writes, 4);
        for offset in [1, 2, 4, MIB - 4] {
            assert_eq!(window.read64(at(MIB + offset)).err(), Some(EINVAL));
            assert_eq!(window.write64(at(MIB + offset), 1).err(), Some(EINVAL));
            assert_eq!(window.replace64(at(MIB + offset), 1, 2), Err(EINVAL));
        }

        window.write64(at(5 * MIB), 5)?;
        let _ = window.finish()?;
        assert_eq!(gpu.vram_read64(at(5 * MIB)), 5);
        gpu.check_clean()
    }

    /// A reader never sees a valid word that is neither the old nor the new one, in which an
    /// address could be made of half of each.
    #[test]
    fn replaced_words_are_never_mixed() -> Result {
        const LOWS: [u64; 3] = [0, 0x1111_1101, 0x2222_2201];
        const HIGHS: [u64; 3] = [0, 0x3333_3333 << 32, 0x4444_4444 << 32];
        let words = || {
            HIGHS
                .into_iter()
                .flat_map(|high| LOWS.map(|low| high | low))
        };

        for (old, new) in words().flat_map(|old| words().map(move |new| (old, new))) {
            let (gpu, bar, mut pramin) = probed(WideAccess::Dropped)?;
            gpu.vram_write64(at(MIB), old);
            gpu.start_log(8)?;
            let mut window = pramin.window(&bar);
            window.replace64(at(MIB), old, new)?;
            let _ = window.finish()?;

            let mut seen = old;
            let mut writes = 0;
            for event in &gpu.take_log() {
                let Logged::Write { address, value, .. } = *event else {
                    continue;
                };
                let shift = 8 * (address.into_raw() - MIB);
                seen = (seen & !(0xffff_ffff << shift)) | value << shift;
                writes += 1;
                assert!(seen == old || seen == new || seen & 0xffff_ffff == 0);
            }
            assert_eq!(seen, new);
            assert_eq!(gpu.vram_read64(at(MIB)), new);
            let halves = u32::from(old >> 32 != new >> 32) + u32::from((old ^ new) << 32 != 0);
            assert!(writes == halves || (writes == 3 && old >> 32 != new >> 32));
            gpu.check_clean()?;
        }

        Ok(())
    }

    /// Where an access of 64 bits is one, so is that.
    #[test]
    fn replace_takes_one_access() -> Result {
        let (gpu, bar, mut pramin) = probed(WideAccess::Whole)?;
        let mut window = pramin.window(&bar);

        gpu.reset_counts();
        window.replace64(at(MIB), 1, u64::MAX)?;
        assert_eq!(gpu.counts().pramin_writes, 1);
        let _ = window.finish()?;
        assert_eq!(gpu.vram_read64(at(MIB)), u64::MAX);
        gpu.check_clean()
    }

    #[test]
    fn every_chip_reaches_its_vram() {
        for &chipset in Chipset::ALL {
            let pramin = Pramin::new(chipset);

            assert_eq!(pramin.check_reach(at(0)..at(80 << 30)), Ok(()));
        }
    }
}

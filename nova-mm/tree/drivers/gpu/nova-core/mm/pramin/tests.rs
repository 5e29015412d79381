// SPDX-License-Identifier: GPL-2.0

//! Tests of PRAMIN on the GPU model.

use kernel::sync::Arc;

use crate::mm::model::{
    Config,
    Direction,
    GpuModel,
    Logged,
    ModelBar0,
    Violation,
    WideAccess,
    POISON, //
};

use super::{
    hal::tu102::TU102_HAL,
    *, //
};

const MIB: u64 = 1 << 20;

/// Returns a Turing GPU model, its BAR0, and its PRAMIN.
fn turing() -> Result<(Arc<GpuModel>, ModelBar0, Pramin)> {
    let gpu = GpuModel::new(Config::default())?;
    let bar = gpu.bar0();

    Ok((gpu, bar, Pramin::new(TU102_HAL)))
}

/// Returns a GPU model on which 64-bit accesses have this effect, its BAR0, and its PRAMIN after
/// the probe.
fn probed(wide_access: WideAccess) -> Result<(Arc<GpuModel>, ModelBar0, Pramin)> {
    let gpu = GpuModel::new(Config {
        wide_access,
        ..Config::default()
    })?;
    let bar = gpu.bar0();
    let mut pramin = Pramin::new(TU102_HAL);
    pramin.probe(&bar, at(SCRATCH))?;

    Ok((gpu, bar, pramin))
}

/// Address of the word that the probe writes.
const SCRATCH: u64 = 6 * MIB - 8;

/// Converts a number of bytes to an address.
fn at(address: u64) -> VramAddress {
    VramAddress::new(address)
}

/// Returns the value of the word at `address` after each write in the log.
fn states(log: &[Logged], address: VramAddress, old: u64) -> Result<KVec<u64>> {
    let mut states = KVec::new();
    let mut word = old;

    for event in log {
        let Logged::Write {
            address: written,
            value,
            width,
        } = *event
        else {
            continue;
        };
        let offset = written.into_raw().wrapping_sub(address.into_raw());
        word = match (offset, width) {
            (0, 8) => value,
            (0 | 4, 4) => {
                let shift = 8 * offset;
                (word & !(0xffff_ffff << shift)) | value << shift
            }
            _ => continue,
        };
        states.push(word, GFP_KERNEL)?;
    }

    Ok(states)
}

#[kunit_tests(nova_core_mm_pramin)]
mod suite {
    use super::*;

    /// Accesses of both widths access the same words. The lower half of a 64-bit word comes first.
    #[test]
    fn write_hits_address() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        let mut window = pramin.window(&bar);

        window.write64(at(0x0001_2340), 0x0123_4567_89ab_cdef)?;
        window.write64(at(0x0030_0000), 0x3333_4444_1111_2222)?;

        assert_eq!(window.read32(at(0x0001_2340))?, 0x89ab_cdef);
        assert_eq!(window.read32(at(0x0001_2344))?, 0x0123_4567);
        assert_eq!(window.read64(at(0x0030_0000))?, 0x3333_4444_1111_2222);

        let _ = window.flush()?;
        assert_eq!(gpu.vram_read64(at(0x0001_2340)), 0x0123_4567_89ab_cdef);
        assert_eq!(gpu.vram_read64(at(0x0030_0000)), 0x3333_4444_1111_2222);
        gpu.check_clean()
    }

    /// The window is not aligned to 64 KiB below each access, because it would then move each time.
    #[test]
    fn window_covers_1_mib() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        let mut window = pramin.window(&bar);

        window.read32(at(4 * MIB - 4))?;
        for block in 0..16 {
            window.read64(at(3 * MIB + 0x1_0000 * block))?;
            window.read64(at(4 * MIB - 8 - 0x1_0000 * block))?;
        }
        let _ = window.flush()?;

        assert_eq!(gpu.counts().window_writes, 1);
        assert_eq!(gpu.counts().pramin_reads, 33);
        gpu.check_clean()
    }

    #[test]
    fn window_moves_on_access_outside() -> Result {
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
        let _ = window.flush()?;

        for address in [4 * MIB - 8, 4 * MIB, 4 * MIB + 8, 3 * MIB, 9 * MIB] {
            assert_eq!(gpu.vram_read64(at(address)), address);
        }
        gpu.check_clean()
    }

    /// The firmware may move the window between two sessions.
    #[test]
    fn session_reprograms_window() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        gpu.vram_write64(at(3 * MIB), 0x33);
        gpu.vram_write64(at(5 * MIB), 0x55);

        let mut window = pramin.window(&bar);
        assert_eq!(window.read64(at(3 * MIB))?, 0x33);
        let _ = window.flush()?;

        gpu.clobber_window();
        gpu.reset_counts();

        let mut window = pramin.window(&bar);
        assert_eq!(window.read64(at(3 * MIB))?, 0x33);
        let _ = window.flush()?;

        assert_eq!(gpu.counts().window_writes, 1);
        gpu.check_clean()
    }

    /// Restoring the window could undo a move by the firmware.
    #[test]
    fn session_end_keeps_window() -> Result {
        let (gpu, bar, mut pramin) = turing()?;

        let mut window = pramin.window(&bar);
        window.write64(at(3 * MIB), 3)?;
        let _ = window.flush()?;
        assert_eq!(gpu.counts().window_writes, 1);

        pramin.window(&bar).write64(at(7 * MIB), 7)?;
        assert_eq!(gpu.counts().window_writes, 2);
        gpu.check_clean()
    }

    #[test]
    fn flush_makes_writes_visible() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        let mut window = pramin.window(&bar);

        window.write64(at(MIB), 1)?;
        window.write64(at(2 * MIB), 2)?;
        window.write64(at(3 * MIB), 3)?;
        assert_eq!(gpu.vram_read64(at(MIB)), POISON);

        let _ = window.flush()?;
        assert_eq!(gpu.vram_read64(at(MIB)), 1);
        assert_eq!(gpu.vram_read64(at(2 * MIB)), 2);
        assert_eq!(gpu.vram_read64(at(3 * MIB)), 3);
        gpu.check_clean()
    }

    #[test]
    fn flush_reads_one_word() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        let mut window = pramin.window(&bar);

        for word in 0..512 {
            window.write64(at(MIB + 8 * word), word)?;
        }
        let _ = window.flush()?;

        assert_eq!(gpu.counts().window_writes, 1);
        assert_eq!(gpu.counts().pramin_writes, 512);
        assert_eq!(gpu.counts().pramin_reads, 1);
        assert_eq!(gpu.counts().total(), 514);
        gpu.check_clean()
    }

    /// The flush reads the last written word even if another word was read since.
    #[test]
    fn flush_reads_last_written_word() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        let mut window = pramin.window(&bar);

        window.write64(at(MIB), 1)?;
        window.write64(at(2 * MIB), 2)?;
        window.read64(at(3 * MIB))?;
        gpu.start_log(2)?;
        let _ = window.flush()?;

        let address = at(2 * MIB + 4);
        assert_eq!(gpu.take_log()[..], [Logged::Read { address }]);
        assert_eq!(gpu.counts().window_writes, 4);

        let mut window = pramin.window(&bar);
        window.write64(at(2 * MIB), 2)?;
        window.write64(at(MIB), 1)?;
        gpu.start_log(2)?;
        let _ = window.flush()?;

        let address = at(MIB + 4);
        assert_eq!(gpu.take_log()[..], [Logged::Read { address }]);
        gpu.check_clean()
    }

    #[test]
    fn flush_no_writes_no_read() -> Result {
        let (gpu, bar, mut pramin) = turing()?;

        let _ = pramin.window(&bar).flush()?;
        assert_eq!(gpu.counts().total(), 0);

        let mut window = pramin.window(&bar);
        window.write64(at(MIB), 1)?;
        let _ = window.flush()?;
        gpu.reset_counts();

        let _ = pramin.window(&bar).flush()?;
        assert_eq!(gpu.counts().total(), 0);

        Ok(())
    }

    /// If a session ends early because of an error, the next flush covers its writes.
    #[test]
    fn session_drop_next_flush_reads() -> Result {
        let (gpu, bar, mut pramin) = turing()?;

        pramin.window(&bar).write64(at(MIB), 1)?;
        assert_eq!(gpu.vram_read64(at(MIB)), POISON);

        let _ = pramin.window(&bar).flush()?;
        assert_eq!(gpu.vram_read64(at(MIB)), 1);
        gpu.check_clean()
    }

    #[test]
    fn access_misaligned_fails() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        let mut window = pramin.window(&bar);

        for offset in [1, 2, 3, 5, 6, 7] {
            assert_eq!(window.read32(at(MIB + offset)).err(), Some(EINVAL));
        }
        // The last of these accesses would cross the end of the aperture.
        for offset in [1, 2, 4, 7, MIB - 4] {
            assert_eq!(window.read64(at(MIB + offset)).err(), Some(EINVAL));
            assert_eq!(window.write64(at(MIB + offset), 1).err(), Some(EINVAL));
        }
        let _ = window.flush()?;

        assert_eq!(gpu.counts().total(), 0);

        Ok(())
    }

    #[test]
    fn access_out_of_range_fails() -> Result {
        const TOO_HIGH: [u64; 3] = [1 << 40, (1 << 56) + 8 * MIB, u64::MAX - 7];

        let (gpu, bar, mut pramin) = turing()?;
        let mut window = pramin.window(&bar);

        for address in TOO_HIGH {
            assert_eq!(window.read32(at(address)).err(), Some(EINVAL));
            assert_eq!(window.write64(at(address), 1).err(), Some(EINVAL));
        }
        assert_eq!(gpu.counts().total(), 0);

        // The failed accesses do not invalidate the window position that the session has recorded.
        window.write64(at(8 * MIB), 8)?;
        assert_eq!(window.write64(at(TOO_HIGH[1]), 1).err(), Some(EINVAL));
        assert_eq!(window.read64(at(8 * MIB))?, 8);
        assert_eq!(gpu.counts().window_writes, 1);

        let _ = window.flush()?;
        gpu.check_clean()
    }

    #[test]
    fn access_last_word() -> Result {
        const END: u64 = 1 << 40;

        let gpu = GpuModel::new(Config {
            vram_start: at(END - 8 * MIB),
            vram_size: 16 * MIB,
            bar1_pdb: at(END + 4 * MIB),
            ..Config::default()
        })?;
        let bar = gpu.bar0();
        let mut pramin = Pramin::new(TU102_HAL);
        let mut window = pramin.window(&bar);

        window.write64(at(END - 8), 1)?;
        assert_eq!(window.write64(at(END), 2).err(), Some(EINVAL));
        let _ = window.flush()?;

        assert_eq!(gpu.vram_read64(at(END - 8)), 1);
        assert_eq!(gpu.vram_read64(at(END)), POISON);
        gpu.check_clean()
    }

    #[test]
    fn limit_of_register() -> Result {
        const END: u64 = 1 << 40;

        let (_, _, pramin) = turing()?;

        assert_eq!(pramin.check_addressable(at(0)..at(END)), Ok(()));
        assert_eq!(pramin.check_addressable(at(END - 1)..at(END)), Ok(()));
        assert_eq!(pramin.check_addressable(at(0)..at(END + 1)), Err(EINVAL));
        assert_eq!(pramin.check_addressable(at(END)..at(END + 1)), Err(EINVAL));
        assert_eq!(pramin.check_addressable(at(MIB)..at(u64::MAX)), Err(EINVAL));
        for nowhere in [0, END, u64::MAX] {
            assert_eq!(pramin.check_addressable(at(nowhere)..at(nowhere)), Ok(()));
        }

        Ok(())
    }

    #[test]
    fn base_out_of_range_fails() -> Result {
        const LAST: u64 = (1 << 40) - 0x1_0000;

        let (gpu, bar, _) = turing()?;

        assert_eq!(TU102_HAL.max_base(), at(LAST));
        TU102_HAL.write_base(&bar, at(LAST))?;
        // This is a violation because the model has no VRAM there. The target field is zero, which
        // selects VRAM.
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
    fn probe_finds_width() -> Result {
        for (wide_access, is_64bit) in [
            (WideAccess::Whole, true),
            (WideAccess::LowerHalf, false),
            (WideAccess::Dropped, false),
            (WideAccess::Swapped, false),
        ] {
            let (gpu, bar, mut pramin) = probed(wide_access)?;
            assert_eq!(pramin.is_64bit, is_64bit);

            // The adjacent words are unchanged, and no write remains to be flushed.
            for other in [SCRATCH - 8, SCRATCH + 8] {
                assert_eq!(gpu.vram_read64(at(other)), POISON);
            }
            gpu.reset_counts();
            let _ = pramin.window(&bar).flush()?;
            assert_eq!(gpu.counts().total(), 0);
            gpu.check_clean()?;
        }

        Ok(())
    }

    /// Neither the old value in VRAM nor an earlier result changes the result.
    #[test]
    fn probe_ignores_earlier_state() -> Result {
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
    fn probe_without_vram_fails() -> Result {
        let (gpu, bar, mut pramin) = turing()?;

        for (address, error) in [(16 * MIB, EIO), (MIB + 4, EINVAL), (1 << 40, EINVAL)] {
            assert_eq!(pramin.probe(&bar, at(address)), Err(error));
        }
        gpu.take_violation();

        Ok(())
    }

    /// Values are read and written in two accesses each.
    #[test]
    fn write_halves_hit_addresses() -> Result {
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
        let _ = window.flush()?;
        assert_eq!(gpu.vram_read64(at(5 * MIB)), 5);
        gpu.check_clean()
    }

    /// The GPU never sees a valid word whose address mixes halves of two values.
    #[test]
    fn replace_never_mixes_halves() -> Result {
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
            let _ = window.flush()?;

            let states = states(&gpu.take_log(), at(MIB), old)?;
            for &seen in &states {
                assert!(seen == old || seen == new || seen & 0xffff_ffff == 0);
            }
            assert_eq!(states.last().unwrap_or(&old), &new);
            assert_eq!(gpu.vram_read64(at(MIB)), new);
            let writes = states.len();
            let halves = usize::from(old >> 32 != new >> 32) + usize::from((old ^ new) << 32 != 0);
            assert!(writes == halves || (writes == 3 && old >> 32 != new >> 32));
            gpu.check_clean()?;
        }

        Ok(())
    }

    /// A 64-bit access replaces a word atomically.
    #[test]
    fn replace_single_access() -> Result {
        let (gpu, bar, mut pramin) = probed(WideAccess::Whole)?;
        let mut window = pramin.window(&bar);

        gpu.reset_counts();
        window.replace64(at(MIB), 1, u64::MAX)?;
        assert_eq!(gpu.counts().pramin_writes, 1);
        let _ = window.flush()?;
        assert_eq!(gpu.vram_read64(at(MIB)), u64::MAX);
        gpu.check_clean()
    }

    #[test]
    fn fill_writes_consecutive_words() -> Result {
        for (wide_access, accesses) in [(WideAccess::Whole, 1), (WideAccess::Dropped, 2)] {
            let (gpu, bar, mut pramin) = probed(wide_access)?;
            let mut window = pramin.window(&bar);
            gpu.reset_counts();

            // Both halves change, and the value wraps around.
            let first = u64::MAX - 1;
            let step = 0x1_0000_0001;
            window.fill64(at(2 * MIB - 8 * 500), 1, first, step, 500, false)?;
            assert_eq!(gpu.counts().pramin_writes, 500 * accesses);
            assert_eq!(gpu.counts().window_writes, 1);
            let _ = window.flush()?;
            assert_eq!(gpu.counts().pramin_reads, 1);

            for word in 0..500 {
                let value = first.wrapping_add(word * step);
                assert_eq!(gpu.vram_read64(at(2 * MIB - 8 * (500 - word))), value);
            }
            assert_eq!(gpu.vram_read64(at(2 * MIB - 8 * 501)), POISON);
            assert_eq!(gpu.vram_read64(at(2 * MIB)), POISON);
            gpu.check_clean()?;
        }

        Ok(())
    }

    /// A stride allows writing only the first words of two-word entries.
    #[test]
    fn fill_with_stride_skips_words() -> Result {
        for wide_access in [WideAccess::Whole, WideAccess::Dropped] {
            let (gpu, bar, mut pramin) = probed(wide_access)?;
            let mut window = pramin.window(&bar);
            window.fill64(at(MIB + 0xff0 - 16 * 9), 2, 1, 2, 10, false)?;
            let _ = window.flush()?;

            for entry in 0..10 {
                let address = MIB + 0xff0 - 16 * (9 - entry);
                assert_eq!(gpu.vram_read64(at(address)), 1 + 2 * entry);
                assert_eq!(gpu.vram_read64(at(address + 8)), POISON);
            }
            gpu.check_clean()?;
        }

        Ok(())
    }

    #[test]
    fn fill_no_words() -> Result {
        for wide_access in [WideAccess::Whole, WideAccess::Dropped] {
            let (gpu, bar, mut pramin) = probed(wide_access)?;
            gpu.reset_counts();

            let mut window = pramin.window(&bar);
            window.fill64(at(MIB), 1, 1, 1, 0, true)?;
            let _ = window.flush()?;
            assert_eq!(gpu.counts().total(), 0);
        }

        Ok(())
    }

    #[test]
    fn fill_out_of_range_fails() -> Result {
        for wide_access in [WideAccess::Whole, WideAccess::Dropped] {
            let (gpu, bar, mut pramin) = probed(wide_access)?;
            gpu.reset_counts();

            let mut window = pramin.window(&bar);
            for address in [MIB + 4, 1 << 40, u64::MAX - 7] {
                for is_live in [false, true] {
                    let result = window.fill64(at(address), 1, 1, 1, 2, is_live);
                    assert_eq!(result, Err(EINVAL));
                }
            }
            let _ = window.flush()?;
            assert_eq!(gpu.counts().total(), 0);
        }

        Ok(())
    }

    /// A walk of the GPU sees the old word, the new word, or an invalid word.
    #[test]
    fn fill_valid_words_never_mixes_halves() -> Result {
        const WORDS: [u64; 5] = [
            0,
            0x1111_1101,
            0x3333_3333_2222_2201,
            0x4444_4444_1111_1101,
            0x5555_5555 << 32,
        ];

        for (old, new) in WORDS
            .into_iter()
            .flat_map(|old| WORDS.map(move |new| (old, new)))
        {
            for wide_access in [WideAccess::Whole, WideAccess::Dropped] {
                let (gpu, bar, mut pramin) = probed(wide_access)?;
                for word in 0..3 {
                    gpu.vram_write64(at(MIB + 8 * word), old);
                }
                gpu.start_log(16)?;
                let mut window = pramin.window(&bar);
                window.fill64(at(MIB), 1, new, 0, 3, true)?;
                let _ = window.flush()?;

                let log = gpu.take_log();
                for word in 0..3 {
                    let states = states(&log, at(MIB + 8 * word), old)?;
                    for &seen in &states {
                        assert!(seen == old || seen == new || seen & 0xffff_ffff == 0);
                    }
                    assert_eq!(states.last(), Some(&new));
                    assert_eq!(gpu.vram_read64(at(MIB + 8 * word)), new);
                }
                gpu.check_clean()?;
            }
        }

        Ok(())
    }

    #[test]
    fn flush_failure_retried() -> Result {
        let (gpu, bar, mut pramin) = turing()?;
        pramin.window(&bar).write64(at(MIB), 1)?;

        gpu.fail_access(Direction::Read, 0);
        assert_eq!(pramin.window(&bar).flush().err(), Some(EIO));
        assert!(gpu.has_failed());
        assert_eq!(gpu.vram_read64(at(MIB)), POISON);

        let _ = pramin.window(&bar).flush()?;
        assert_eq!(gpu.vram_read64(at(MIB)), 1);
        gpu.check_clean()
    }
}

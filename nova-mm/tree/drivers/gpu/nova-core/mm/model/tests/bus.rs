// SPDX-License-Identifier: GPL-2.0

//! What the BARs of the software GPU do, and what they notice.

use kernel::prelude::*;

#[kunit_tests(nova_mm_model)]
mod suite {
    use kernel::prelude::*;

    use crate::mm::{
        address::{
            VirtualAddress,
            VramAddress, //
        },
        mmio::Mmio,
        model::{
            tests::{
                Bench,
                PDB,
                TRIGGER_ALL_VA, //
            },
            Config,
            Counts,
            Fault,
            Logged,
            Violation,
            WideAccess, //
        },
    };

    /// Offset of PRAMIN.
    const PRAMIN: usize = 0x70_0000;
    /// A page of VRAM, and what moves the window over it.
    const PAGE: VramAddress = VramAddress::new(0x21_0000);
    const WINDOW: u32 = 0x21;

    fn bench() -> Result<Bench> {
        let bench = Bench::new(Config::default())?;
        bench.bar.write32(WINDOW, 0x1700)?;

        Ok(bench)
    }

    #[test]
    fn writes_arrive_when_they_are_read_back() -> Result {
        let bench = bench()?;
        bench.set(PAGE.into_raw(), 1);
        bench.bar.write64(2, PRAMIN)?;
        assert_eq!(bench.gpu.vram_read64(PAGE), 1);

        // Any read pushes them, and a read of the word sees it at once.
        assert_eq!(bench.bar.read64(PRAMIN)?, 2);
        assert_eq!(bench.gpu.vram_read64(PAGE), 2);
        bench.bar.write64(3, PRAMIN)?;
        bench.bar.read32(PRAMIN + 0x800)?;
        assert_eq!(bench.gpu.vram_read64(PAGE), 3);
        bench.gpu.check_clean()
    }

    #[test]
    fn many_writes_push_each_other_in_order() -> Result {
        let bench = bench()?;
        for value in 0..40 {
            bench.bar.write64(value, PRAMIN)?;
        }
        let arrived = bench.gpu.vram_read64(PAGE);
        // Some have arrived, and not a few are on their way.
        assert!(arrived > 0 && arrived < 20);
        bench.gpu.drain();
        assert_eq!(bench.gpu.vram_read64(PAGE), 39);

        let bench = Bench::new(Config {
            posted_writes: false,
            ..Config::default()
        })?;
        bench.bar.write32(WINDOW, 0x1700)?;
        bench.bar.write64(2, PRAMIN)?;
        assert_eq!(bench.gpu.vram_read64(PAGE), 2);
        Ok(())
    }

    #[test]
    fn halves_of_words() -> Result {
        let bench = bench()?;
        bench.set(PAGE.into_raw(), 0);
        bench.bar.write32(0x1234_5678, PRAMIN + 4)?;
        bench.bar.write32(0x9abc_def0, PRAMIN)?;
        bench.bar.write32(1, PRAMIN + 0xc)?;

        assert_eq!(bench.bar.read64(PRAMIN)?, 0x1234_5678_9abc_def0);
        assert_eq!(bench.bar.read32(PRAMIN + 4)?, 0x1234_5678);
        assert_eq!(bench.bar.read32(PRAMIN)?, 0x9abc_def0);
        Ok(())
    }

    /// As on a chip whose PRAMIN takes accesses of 32 bits only.
    #[test]
    fn wide_accesses_need_not_work() -> Result {
        for (wide_access, written, read) in [
            (
                WideAccess::Whole,
                0x3333_4444_5555_6666,
                0x3333_4444_5555_6666,
            ),
            (WideAccess::LowerHalf, 0x1111_2222_5555_6666, 0x5555_6666),
            (WideAccess::Dropped, 0x1111_2222_1111_2222, u64::MAX),
            (
                WideAccess::Swapped,
                0x5555_6666_3333_4444,
                0x3333_4444_5555_6666,
            ),
        ] {
            let bench = Bench::new(Config {
                wide_access,
                ..Config::default()
            })?;
            bench.bar.write32(WINDOW, 0x1700)?;
            bench.bar.write32(0x1111_2222, PRAMIN)?;
            bench.bar.write32(0x1111_2222, PRAMIN + 4)?;

            bench.bar.write64(0x3333_4444_5555_6666, PRAMIN)?;
            assert_eq!(bench.bar.read64(PRAMIN)?, read);
            bench.gpu.drain();
            assert_eq!(bench.gpu.vram_read64(PAGE), written);
            bench.gpu.check_clean()?;
        }

        Ok(())
    }

    #[test]
    fn an_invalidate_before_writes_arrive_is_noticed() -> Result {
        let bench = bench()?;
        bench.bar.write64(2, PRAMIN)?;
        bench.invalidate(PDB, TRIGGER_ALL_VA)?;

        assert_eq!(bench.gpu.violation(), Some(Violation::WritesOnTheirWay));
        Ok(())
    }

    #[test]
    fn the_window_has_to_be_moved() -> Result {
        let bench = Bench::new(Config::default())?;
        assert_eq!(bench.bar.read64(PRAMIN)?, u64::MAX);
        assert_eq!(bench.gpu.take_violation(), Some(Violation::WindowNotMoved));

        bench.bar.write32(WINDOW, 0x1700)?;
        bench.bar.write64(1, PRAMIN)?;
        bench.gpu.check_clean()?;
        bench.gpu.disturb_window();
        bench.bar.write64(2, PRAMIN)?;
        assert_eq!(bench.gpu.violation(), Some(Violation::WindowNotMoved));
        bench.gpu.drain();
        assert_eq!(bench.gpu.vram_read64(PAGE), 1);
        Ok(())
    }

    #[test]
    fn the_window_moves_in_steps_of_64k() -> Result {
        let bench = bench()?;
        bench.set(0x21_0000, 1);
        bench.set(0x22_0000, 2);
        bench.set(0x30_fff8, 3);
        assert_eq!(bench.bar.read64(PRAMIN + 0xf_fff8)?, 3);
        bench.bar.write32(WINDOW + 1, 0x1700)?;
        assert_eq!(bench.bar.read64(PRAMIN)?, 2);
        bench.gpu.check_clean()?;

        // The target, a bit that is none, and no VRAM.
        for value in [0x0200_0021, 0x0400_0021, 0x100] {
            bench.bar.write32(value, 0x1700)?;
            assert_eq!(
                bench.gpu.take_violation(),
                Some(Violation::WindowValue(value))
            );
        }
        bench.bar.write32(0xff, 0x1700)?;
        bench.bar.read64(PRAMIN + 0x1_0000)?;
        assert_eq!(
            bench.gpu.violation(),
            Some(Violation::OutOfVram(VramAddress::new(0x100_0000)))
        );
        Ok(())
    }

    #[test]
    fn accesses_that_are_none() -> Result {
        let bench = bench()?;
        let before = bench.gpu.counts();
        assert_eq!(bench.bar.read32(PRAMIN + 2).err(), Some(EINVAL));
        assert_eq!(bench.bar.read64(PRAMIN + 4).err(), Some(EINVAL));
        assert_eq!(bench.bar.write64(0, 0x100_0000).err(), Some(EINVAL));
        assert_eq!(bench.bar.write32(0, usize::MAX - 3).err(), Some(EINVAL));
        assert_eq!(bench.gpu.counts(), before);
        bench.gpu.check_clean()?;

        bench.bar.read32(0x1234)?;
        assert_eq!(
            bench.gpu.take_violation(),
            Some(Violation::Register(0x1234))
        );
        bench.bar.write64(0, 0xb8_30a0)?;
        assert_eq!(bench.gpu.violation(), Some(Violation::Register(0xb8_30a0)));
        Ok(())
    }

    #[test]
    fn a_pending_invalidate_is_left_alone() -> Result {
        for offset in [0xb8_30a0, 0xb8_30a4, 0xb8_30b0] {
            let bench = bench()?;
            bench.gpu.leave_pending(2);
            let value = if offset == 0xb8_30b0 {
                TRIGGER_ALL_VA
            } else {
                0
            };
            bench.bar.write32(value, offset)?;
            assert_eq!(
                bench.gpu.violation(),
                Some(Violation::InvalidatePending(offset))
            );
        }

        let bench = bench()?;
        bench.gpu.leave_pending(2);
        assert!(bench.is_pending()? && bench.is_pending()? && !bench.is_pending()?);
        bench.invalidate(PDB, TRIGGER_ALL_VA)?;
        bench.gpu.check_clean()
    }

    #[test]
    fn invalidates_of_another_kind_are_noticed() -> Result {
        // Not of all addresses, not started, of some levels only, an acknowledgment that is none.
        for value in [0x8000_0000, 0x1, 0x8100_0001, 0x8000_0181] {
            let bench = bench()?;
            bench.bar.write32(value, 0xb8_30b0)?;
            assert_eq!(
                bench.gpu.violation(),
                Some(Violation::InvalidateValue(0xb8_30b0, value))
            );
        }
        let bench = bench()?;
        bench.bar.write32(0x101, 0xb8_30a0)?;
        assert_eq!(
            bench.gpu.violation(),
            Some(Violation::InvalidateValue(0xb8_30a0, 0x101))
        );
        // All that the driver uses.
        let bench = self::bench()?;
        bench.invalidate(PDB, TRIGGER_ALL_VA | 0x40 | 0x80)?;
        bench.gpu.check_clean()
    }

    #[test]
    fn accesses_are_counted_and_logged() -> Result {
        let bench = bench()?;
        bench.gpu.reset_counts();
        bench.gpu.start_log(8)?;
        bench.bar.write32(WINDOW, 0x1700)?;
        bench.bar.write64(7, PRAMIN + 8)?;
        bench.bar.write32(9, PRAMIN + 4)?;
        bench.bar.read32(PRAMIN)?;
        bench.invalidate(PDB, TRIGGER_ALL_VA)?;
        bench.gpu.bar1().write32(1, 0)?;
        bench.gpu.bar1().read64(0)?;

        let counts = Counts {
            window_writes: 1,
            pramin_reads: 1,
            pramin_writes: 2,
            invalidates: 1,
            trigger_polls: 2,
            other_reads: 0,
            other_writes: 2,
            bar1_reads: 1,
            bar1_writes: 1,
        };
        assert_eq!(bench.gpu.counts(), counts);
        assert_eq!(counts.total(), 11);
        let log = bench.gpu.take_log();
        let expected = [
            Logged::Write {
                address: PAGE.checked_add(8)?,
                value: 7,
                width: 8,
            },
            Logged::Write {
                address: PAGE.checked_add(4)?,
                value: 9,
                width: 4,
            },
            Logged::Read { address: PAGE },
            Logged::Invalidate {
                pdb: VramAddress::new(PDB),
                command: TRIGGER_ALL_VA,
            },
            Logged::InvalidateDone,
        ];
        assert!(log[..] == expected);
        bench.gpu.check_clean()
    }

    #[test]
    fn a_log_that_is_too_small_is_noticed() -> Result {
        let bench = bench()?;
        bench.gpu.start_log(1)?;
        // A vector may get more room than it was asked for.
        for _ in 0..100 {
            bench.bar.read32(PRAMIN)?;
        }
        assert_eq!(bench.gpu.violation(), Some(Violation::LogFull));
        Ok(())
    }

    #[test]
    fn bar1_goes_by_its_page_tables() -> Result {
        let bench = bench()?;
        let bar1 = bench.gpu.bar1();
        let pdb = Config::default().bar1_pdb.into_raw();
        for table in [0x3_1000, 0x3_2000, 0x3_3000, 0x3_4000] {
            bench.zero(table);
        }
        for (entry, word) in [
            (pdb, 0x3102),
            (0x3_1000, 0x3202),
            (0x3_2000, 0x3302),
            (0x3_3008, 0x3402),
            (0x3_4000, 0x21_001),
            (0x3_4008, 0x8),
        ] {
            bench.set(entry, word);
        }

        bar1.write64(0x1122_3344_5566_7788, 0x10)?;
        assert_eq!(bar1.read32(0x14)?, 0x1122_3344);
        let address = PAGE.checked_add(0x10)?;
        assert_eq!(bench.gpu.vram_read64(address), 0x1122_3344_5566_7788);
        // Sparse: zero, and not written. Nothing: all ones, and told.
        bar1.write32(1, 0x1000)?;
        assert_eq!(bar1.read32(0x1000)?, 0);
        assert_eq!(bench.gpu.take_bar1_fault(), None);
        assert_eq!(bar1.read32(0x2000)?, u32::MAX);
        let fault = (VirtualAddress::new(0x2000), Fault::Unmapped);
        assert_eq!(bench.gpu.take_bar1_fault(), Some(fault));
        assert_eq!(bar1.read32(256 << 20).err(), Some(EINVAL));
        bench.gpu.check_clean()
    }

    #[test]
    fn another_register_does_not_move_the_window() -> Result {
        let bench = bench()?;
        bench.bar.write32(WINDOW, 0x10_fd40)?;
        assert_eq!(bench.gpu.violation(), Some(Violation::Register(0x10_fd40)));
        Ok(())
    }
}

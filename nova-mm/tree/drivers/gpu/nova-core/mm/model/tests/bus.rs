// SPDX-License-Identifier: GPL-2.0

//! Tests of the BARs of the GPU model, and of the violations that it records.

use kernel::prelude::*;

#[kunit_tests(nova_core_mm_model)]
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
                v2::{
                    PD0,
                    SMALL, //
                },
                Fixture,
                PDB,
                TRIGGER_ALL_VA, //
            },
            Config,
            Counts,
            Direction,
            Fault,
            Logged,
            Violation,
            WideAccess, //
        },
    };

    /// Offset of PRAMIN.
    const PRAMIN: usize = 0x70_0000;
    /// A page of VRAM, and the register value that places the window there.
    const PAGE: VramAddress = VramAddress::new(0x21_0000);
    const WINDOW: u32 = 0x21;

    fn fixture() -> Result<Fixture> {
        let fixture = Fixture::new(Config::default())?;
        fixture.bar.write32(WINDOW, 0x1700)?;

        Ok(fixture)
    }

    #[test]
    fn read_flushes_posted_writes() -> Result {
        let fixture = fixture()?;
        fixture.set(PAGE.into_raw(), 1);
        fixture.bar.write64(2, PRAMIN)?;
        assert_eq!(fixture.gpu.vram_read64(PAGE), 1);

        // Any read flushes the writes, so the first read of the word returns its new value.
        assert_eq!(fixture.bar.read64(PRAMIN)?, 2);
        assert_eq!(fixture.gpu.vram_read64(PAGE), 2);
        fixture.bar.write64(3, PRAMIN)?;
        fixture.bar.read32(PRAMIN + 0x800)?;
        assert_eq!(fixture.gpu.vram_read64(PAGE), 3);
        fixture.gpu.check_clean()
    }

    #[test]
    fn posted_writes_in_order() -> Result {
        let fixture = fixture()?;
        for value in 0..40 {
            fixture.bar.write64(value, PRAMIN)?;
        }
        let arrived = fixture.gpu.vram_read64(PAGE);
        // Some of the writes have reached VRAM, and many have not.
        assert!(arrived > 0 && arrived < 20);
        fixture.gpu.drain();
        assert_eq!(fixture.gpu.vram_read64(PAGE), 39);

        let fixture = Fixture::new(Config {
            posted_writes: false,
            ..Config::default()
        })?;
        fixture.bar.write32(WINDOW, 0x1700)?;
        fixture.bar.write64(2, PRAMIN)?;
        assert_eq!(fixture.gpu.vram_read64(PAGE), 2);
        Ok(())
    }

    #[test]
    fn write32_changes_half() -> Result {
        let fixture = fixture()?;
        fixture.set(PAGE.into_raw(), 0);
        fixture.bar.write32(0x1234_5678, PRAMIN + 4)?;
        fixture.bar.write32(0x9abc_def0, PRAMIN)?;
        fixture.bar.write32(1, PRAMIN + 0xc)?;

        assert_eq!(fixture.bar.read64(PRAMIN)?, 0x1234_5678_9abc_def0);
        assert_eq!(fixture.bar.read32(PRAMIN + 4)?, 0x1234_5678);
        assert_eq!(fixture.bar.read32(PRAMIN)?, 0x9abc_def0);
        Ok(())
    }

    /// Models a chip whose PRAMIN supports only 32-bit accesses.
    #[test]
    fn wide_access_unsupported() -> Result {
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
            let fixture = Fixture::new(Config {
                wide_access,
                ..Config::default()
            })?;
            fixture.bar.write32(WINDOW, 0x1700)?;
            fixture.bar.write32(0x1111_2222, PRAMIN)?;
            fixture.bar.write32(0x1111_2222, PRAMIN + 4)?;

            fixture.bar.write64(0x3333_4444_5555_6666, PRAMIN)?;
            assert_eq!(fixture.bar.read64(PRAMIN)?, read);
            fixture.gpu.drain();
            assert_eq!(fixture.gpu.vram_read64(PAGE), written);
            fixture.gpu.check_clean()?;
        }

        Ok(())
    }

    #[test]
    fn invalidate_before_flush_violation() -> Result {
        // Writes to the root, to the last directory, and to the table of small pages.
        for table in [PDB, PD0, SMALL] {
            let fixture = Fixture::with_tables()?;
            fixture.bar.write32(WINDOW, 0x1700)?;
            fixture.bar.write64(2, PRAMIN)?;
            // The posted write is to a page that is not a page table.
            fixture.invalidate(PDB, TRIGGER_ALL_VA)?;
            fixture.gpu.check_clean()?;

            fixture.bar.write32(u32::try_from(table >> 16)?, 0x1700)?;
            let offset = usize::try_from(table & 0xffff)?;
            fixture.bar.write64(0, PRAMIN + offset + 0xff8)?;
            fixture.invalidate(PDB, TRIGGER_ALL_VA)?;
            assert_eq!(fixture.gpu.violation(), Some(Violation::WritesNotFlushed));
        }

        Ok(())
    }

    #[test]
    fn window_unprogrammed_violation() -> Result {
        let fixture = Fixture::new(Config::default())?;
        assert_eq!(fixture.bar.read64(PRAMIN)?, u64::MAX);
        assert_eq!(
            fixture.gpu.take_violation(),
            Some(Violation::WindowNotProgrammed)
        );

        fixture.bar.write32(WINDOW, 0x1700)?;
        fixture.bar.write64(1, PRAMIN)?;
        fixture.gpu.check_clean()?;
        fixture.gpu.clobber_window();
        fixture.bar.write64(2, PRAMIN)?;
        assert_eq!(
            fixture.gpu.violation(),
            Some(Violation::WindowNotProgrammed)
        );
        fixture.gpu.drain();
        assert_eq!(fixture.gpu.vram_read64(PAGE), 1);
        Ok(())
    }

    #[test]
    fn window_granularity_64k() -> Result {
        let fixture = fixture()?;
        fixture.set(0x21_0000, 1);
        fixture.set(0x22_0000, 2);
        fixture.set(0x30_fff8, 3);
        assert_eq!(fixture.bar.read64(PRAMIN + 0xf_fff8)?, 3);
        fixture.bar.write32(WINDOW + 1, 0x1700)?;
        assert_eq!(fixture.bar.read64(PRAMIN)?, 2);
        fixture.gpu.check_clean()?;

        // A target other than VRAM, an undefined bit, and an address outside VRAM.
        for value in [0x0200_0021, 0x0400_0021, 0x100] {
            fixture.bar.write32(value, 0x1700)?;
            assert_eq!(
                fixture.gpu.take_violation(),
                Some(Violation::WindowValue(value))
            );
        }
        fixture.bar.write32(0xff, 0x1700)?;
        fixture.bar.read64(PRAMIN + 0x1_0000)?;
        assert_eq!(
            fixture.gpu.violation(),
            Some(Violation::OutOfVram(VramAddress::new(0x100_0000)))
        );
        Ok(())
    }

    #[test]
    fn invalid_access_fails() -> Result {
        let fixture = fixture()?;
        let before = fixture.gpu.counts();
        assert_eq!(fixture.bar.read32(PRAMIN + 2).err(), Some(EINVAL));
        assert_eq!(fixture.bar.read64(PRAMIN + 4).err(), Some(EINVAL));
        assert_eq!(fixture.bar.write64(0, 0x100_0000).err(), Some(EINVAL));
        assert_eq!(fixture.bar.write32(0, usize::MAX - 3).err(), Some(EINVAL));
        assert_eq!(fixture.gpu.counts(), before);
        fixture.gpu.check_clean()?;

        fixture.bar.read32(0x1234)?;
        assert_eq!(
            fixture.gpu.take_violation(),
            Some(Violation::Register(0x1234))
        );
        fixture.bar.write64(0, 0xb8_30a0)?;
        assert_eq!(
            fixture.gpu.violation(),
            Some(Violation::Register(0xb8_30a0))
        );
        Ok(())
    }

    #[test]
    fn write_during_invalidate_violation() -> Result {
        for offset in [0xb8_30a0, 0xb8_30a4, 0xb8_30b0] {
            let fixture = fixture()?;
            fixture.gpu.leave_pending(2);
            let value = if offset == 0xb8_30b0 {
                TRIGGER_ALL_VA
            } else {
                0
            };
            fixture.bar.write32(value, offset)?;
            assert_eq!(
                fixture.gpu.violation(),
                Some(Violation::InvalidatePending(offset))
            );
        }

        let fixture = fixture()?;
        fixture.gpu.leave_pending(2);
        assert!(fixture.is_pending()? && fixture.is_pending()? && !fixture.is_pending()?);
        fixture.invalidate(PDB, TRIGGER_ALL_VA)?;
        fixture.gpu.check_clean()
    }

    #[test]
    fn invalidate_unused_bits_violation() -> Result {
        // Not all addresses, not started, only some levels, and an undefined acknowledgment.
        for value in [0x8000_0000, 0x1, 0x8100_0001, 0x8000_0181] {
            let fixture = fixture()?;
            fixture.bar.write32(value, 0xb8_30b0)?;
            assert_eq!(
                fixture.gpu.violation(),
                Some(Violation::InvalidateValue(0xb8_30b0, value))
            );
        }
        let fixture = fixture()?;
        fixture.bar.write32(0x101, 0xb8_30a0)?;
        assert_eq!(
            fixture.gpu.violation(),
            Some(Violation::InvalidateValue(0xb8_30a0, 0x101))
        );
        // All bits that the driver uses.
        let fixture = self::fixture()?;
        fixture.invalidate(PDB, TRIGGER_ALL_VA | 0x40 | 0x80)?;
        fixture.gpu.check_clean()
    }

    #[test]
    fn access_counts_and_log() -> Result {
        let fixture = fixture()?;
        fixture.gpu.reset_counts();
        fixture.gpu.start_log(8)?;
        fixture.bar.write32(WINDOW, 0x1700)?;
        fixture.bar.write64(7, PRAMIN + 8)?;
        fixture.bar.write32(9, PRAMIN + 4)?;
        fixture.bar.read32(PRAMIN)?;
        fixture.invalidate(PDB, TRIGGER_ALL_VA)?;
        fixture.gpu.bar1().write32(1, 0)?;
        fixture.gpu.bar1().read64(0)?;

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
        assert_eq!(fixture.gpu.counts(), counts);
        assert_eq!(counts.total(), 11);
        let log = fixture.gpu.take_log();
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
        fixture.gpu.check_clean()
    }

    #[test]
    fn log_full_violation() -> Result {
        let fixture = fixture()?;
        fixture.gpu.start_log(1)?;
        // The capacity of a vector may exceed the request.
        for _ in 0..100 {
            fixture.bar.read32(PRAMIN)?;
        }
        assert_eq!(fixture.gpu.violation(), Some(Violation::LogFull));
        Ok(())
    }

    #[test]
    fn bar1_uses_page_tables() -> Result {
        let fixture = fixture()?;
        let bar1 = fixture.gpu.bar1();
        let pdb = Config::default().bar1_pdb.into_raw();
        for table in [0x3_1000, 0x3_2000, 0x3_3000, 0x3_4000] {
            fixture.zero(table);
        }
        for (entry, word) in [
            (pdb, 0x3102),
            (0x3_1000, 0x3202),
            (0x3_2000, 0x3302),
            (0x3_3008, 0x3402),
            (0x3_4000, 0x21_001),
            (0x3_4008, 0x8),
        ] {
            fixture.set(entry, word);
        }

        bar1.write64(0x1122_3344_5566_7788, 0x10)?;
        assert_eq!(bar1.read32(0x14)?, 0x1122_3344);
        let address = PAGE.checked_add(0x10)?;
        assert_eq!(fixture.gpu.vram_read64(address), 0x1122_3344_5566_7788);
        // Sparse entries read as zero and drop writes. Invalid ones read as all ones and record a
        // fault.
        bar1.write32(1, 0x1000)?;
        assert_eq!(bar1.read32(0x1000)?, 0);
        assert_eq!(fixture.gpu.take_bar1_fault(), None);
        assert_eq!(bar1.read32(0x2000)?, u32::MAX);
        let fault = (VirtualAddress::new(0x2000), Fault::Unmapped);
        assert_eq!(fixture.gpu.take_bar1_fault(), Some(fault));
        assert_eq!(bar1.read32(256 << 20).err(), Some(EINVAL));
        fixture.gpu.check_clean()
    }

    #[test]
    fn access_failure_not_performed() -> Result {
        let fixture = fixture()?;
        fixture.set(PAGE.into_raw(), 1);
        fixture.gpu.fail_access(Direction::Write, 1);
        fixture.gpu.reset_counts();

        fixture.bar.write64(2, PRAMIN + 8)?;
        // Only valid accesses in the same direction count.
        fixture.bar.read64(PRAMIN + 8)?;
        assert_eq!(fixture.bar.write64(0, PRAMIN + 4), Err(EINVAL));
        assert_eq!(fixture.bar.write64(3, PRAMIN), Err(EIO));
        assert_eq!(fixture.gpu.counts().pramin_writes, 1);
        assert_eq!(fixture.bar.read64(PRAMIN)?, 1);
        // Later accesses succeed.
        fixture.bar.write64(4, PRAMIN)?;
        assert_eq!(fixture.bar.read64(PRAMIN)?, 4);

        assert!(fixture.gpu.has_failed());
        fixture.gpu.fail_access(Direction::Read, 0);
        assert!(!fixture.gpu.has_failed());
        assert_eq!(fixture.bar.read64(PRAMIN)?, 4);
        fixture.gpu.check_clean()
    }

    #[test]
    fn unbind_disables_bars() -> Result {
        let fixture = fixture()?;
        let (registers, aperture) = (fixture.gpu.registers()?, fixture.gpu.aperture()?);
        fixture.gpu.unbind_after(Some(2));
        fixture.gpu.reset_counts();
        let before = fixture.gpu.sections();

        // A section in progress ends before the device is unbound.
        registers.access(|bar| bar.read64(PRAMIN))?;
        registers.access(|bar| bar.read64(PRAMIN).and_then(|_| bar.read64(PRAMIN)))?;
        assert!(fixture.gpu.is_unbound());
        assert_eq!(registers.access(|bar| bar.read64(PRAMIN)), Err(ENODEV));
        assert_eq!(aperture.access(|bar| bar.read64(0)), Err(ENODEV));
        assert_eq!(fixture.gpu.sections() - before, 3);
        assert_eq!(fixture.gpu.counts().total(), 3);

        fixture.gpu.unbind_after(None);
        assert!(!fixture.gpu.is_unbound());
        registers.access(|bar| bar.read64(PRAMIN))?;
        assert_eq!(fixture.gpu.counts().total(), 4);
        fixture.gpu.check_clean()
    }

    #[test]
    fn hopper_register_violation() -> Result {
        let fixture = fixture()?;
        fixture.bar.write32(WINDOW, 0x10_fd40)?;
        assert_eq!(
            fixture.gpu.violation(),
            Some(Violation::Register(0x10_fd40))
        );
        Ok(())
    }
}
